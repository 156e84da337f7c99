// SPDX-License-Identifier: MIT
/*
 * dune_enter() and dune_leave(): thread areas and vCPUs.  HR3, but for the first lines of the two.
 */
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "api/api.h"
#include "host/callbacks.h"
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/* ---- entering and leaving ---- */

/* glibc 2.35 and later; absent elsewhere */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

#define RSEQ_SIGNATURE		0x53053053
#define RSEQ_UNREGISTER		1
#define RSEQ_CPU_ID		1		/* index of the word */
#define RSEQ_FAILED		((uint32_t)-2)

/*
 * The kernel compares HR3's RIP with a critical section, never the guest's, and would
 * not abort it: have glibc believe that restartable sequences are not available.
 */
static void rseq_off(void)
{
	const unsigned int sizes[] = { 32, &__rseq_size ? __rseq_size : 0 };
	unsigned long thread_pointer;
	uint32_t *area;

	if (!&__rseq_offset || !__rseq_offset)
		return;
	__asm__("mov %%fs:0, %0" : "=r"(thread_pointer));
	area = (uint32_t *)(thread_pointer + __rseq_offset);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		if (!dune_syscall4(__NR_rseq, area, sizes[i], RSEQ_UNREGISTER, RSEQ_SIGNATURE))
			area[RSEQ_CPU_ID] = RSEQ_FAILED;
}

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

/*
 * What GR0 needs to get as far as handling its own page faults.  It takes the lock of the page tables: a thread
 * that changes them, and was the only one when it took that, has flushed its TLB when this returns.
 */
static int map_first_granules(void)
{
	return __dune_granules_map((unsigned long)__ehdr_start, (unsigned long)_end);
}

/* A forked child that was not in Dune mode still has its parent's engine. */
static int follow_fork(void)
{
	static bool others_left;	/* what the parent's threads had could not be dropped yet */
	int ret;

	if (__dune_engine_is_parents()) {
		/* A thread that is not here was changing the page tables. */
		if (READ_ONCE(*__dune_memory_mutex) && READ_ONCE(*__dune_memory_mutex) != region_state()->forking)
			return -EBUSY;
		ret = __dune_engine_adopt();
		if (ret)
			return ret;
	} else if (!others_left) {
		return 0;
	}
	ret = __dune_threads_drop_others(NULL);
	others_left = ret;
	if (ret)
		return ret;
	/* Whoever had them is not here. */
	region_state()->forking = 0;
	word_unlock(&region_state()->actions);
	mutex_unlock();
	return 0;
}

/* The calling thread's area and vCPU, as *@thread: all but the guest's registers. */
static int prepare(struct dune_thread **thread)
{
	struct dune_thread *t;
	int ret;

	if (!__dune_process.ready)
		return -EINVAL;
	ret = follow_fork();
	if (ret)
		return ret;
	t = __dune_thread_alloc();
	if (!t)
		return -ENOMEM;
	ret = __dune_vcpu_create(t, false);
	if (ret)
		goto free;
	ret = map_first_granules();
	if (!ret)
		ret = __dune_signals_adopt(t);
	if (ret)
		goto destroy;
	rseq_off();
	t->tid_word = TID_WORD_UNKNOWN;
	*thread = t;
	return 0;

destroy:
	__dune_vcpu_destroy(t);
free:
	__dune_thread_free(t);
	return ret;
}

/* The first thread that is in the guest has the debugger meet it there. */
static void meet_debugger(void)
{
	if (!__atomic_exchange_n(&__dune_process.debugged, false, __ATOMIC_RELAXED))
		return;
	__dune_debug_begin(current_thread());
	__asm__ volatile("int3" : : : "memory");
}

PUBLIC int dune_enter(void)
{
	struct dune_thread *t;
	int ret;

	if (dune_in_guest())
		return 0;
	ret = prepare(&t);
	if (ret)
		return ret;
	ret = __dune_enter_guest(t);
	if (!ret && __dune_process.debugged)
		meet_debugger();
	return ret;
}

int __dune_enter_ring3(const struct guest_regs *regs, bool debugged)
{
	struct dune_thread *t;
	int ret = prepare(&t);

	if (ret)
		return ret;
	if (debugged)
		__dune_debug_begin(t);
	__dune_filter_maps();
	__dune_pagemap_begin();
	if (__dune_process.check) {
		__dune_check_calls();
		__dune_filters_begin(t);
	}
	*t->vcpu.regs = *regs;
	__dune_engine_set_cpl(&t->vcpu, 3);
	assert_ring(t);
	__dune_process.fresh = false;
	__dune_callback_begin(t, DUNE_RING3_BY_EXEC);
	__dune_run_anew(t);
}

PUBLIC int dune_leave(void)
{
	if (!dune_in_guest())
		return 0;
	/* What called it would have to go back through IRETQ or SYSRET. */
	return __dune_in_handler((unsigned long)__builtin_frame_address(0)) ? -EBUSY : __dune_leave_guest();
}

/* On the program's stack again: only now may another thread have the area. */
void __dune_leave_finish(struct dune_thread *t)
{
	uint64_t mask = t->boot_mask;

	/* What has not been delivered in the guest comes when the mask lets it. */
	for (unsigned int i = 0; i < t->nr_pending; i++)
		dune_syscall4(__NR_rt_tgsigqueueinfo, dune_syscall0(__NR_getpid), dune_syscall0(__NR_gettid),
			      pending_signals(t)[i].info.si_signo, &pending_signals(t)[i].info);
	__dune_vcpu_destroy(t);
	__dune_signals_release(t);
	__dune_signals_restore(mask);
}

