// SPDX-License-Identifier: MIT
/*
 * Threads and processes that a thread in Dune mode makes: they begin in Dune mode too,
 * with its registers.  HR3.
 *
 * A child that shares memory (a thread, vfork, posix_spawn) gets a thread area, so a host
 * stack, and a vCPU before it exists: where there is none, the call fails, as it does outside.
 * A child with memory of its own gets a copy of its parent's host stack and area, but not of the engine's page: the
 * guest's registers are kept on the host stack meanwhile.  What it needs besides it can only get itself; where the
 * kernel has no memory for that, it waits, as it would outside with the first page that it writes.
 */
#include <linux/resource.h>
#include <linux/sched.h>

#include "host/callbacks.h"
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/* In the child: its vCPU goes on with @state, with result 0. */
static HOT void resume_guest(struct dune_thread *t, const struct vcpu_state *state)
{
	__dune_engine_load(&t->vcpu, state);
	t->vcpu.regs->rax = 0;
	assert_ring(t);
	if (t->deferred)
		__dune_engine_come_out(&t->vcpu);
}

/* ---- children that share memory ---- */

/* The first thing that a new thread runs, on its host stack; signals are blocked. */
void __dune_thread_main(struct dune_thread *t)
{
	resume_guest(t, &t->boot);
	__dune_callback_begin(t, t->is_process ? DUNE_RING3_BY_VFORK : DUNE_RING3_BY_THREAD);
	__dune_signals_restore(t->boot_mask);
}

/* @stack: RSP of the child in the guest, 0 for its parent's.  0 and @prepared, or -errno. */
static long prepare_child(struct dune_thread *parent, uint64_t flags, unsigned long stack,
			  struct dune_thread **prepared)
{
	struct dune_thread *child = __dune_thread_alloc();
	long ret;

	if (!child)
		return -EAGAIN;
	child->cr3 = parent->cr3;
	child->trapno = parent->trapno;
	child->trap_err = parent->trap_err;
	child->trap_cr2 = parent->trap_cr2;
	child->vfork_child = flags & CLONE_VFORK;
	child->is_process = !(flags & CLONE_THREAD);
	__dune_filters_clone(child, parent, flags & CLONE_THREAD);
	__dune_engine_save(&parent->vcpu, &child->boot);
	if (stack)
		child->boot.regs.rsp = stack;
	__dune_signals_clone(child, parent, flags);
	((unsigned long *)child->host_top)[-1] = (unsigned long)__dune_thread_start;
	/*
	 * After vfork it is the parent's, who gives it up: when the child has ended or not, another thread could have
	 * the child's own by then.
	 */
	ret = __dune_vcpu_create(child, !(flags & CLONE_VFORK));
	if (ret)
		__dune_thread_free(child);
	*prepared = child;
	return ret;
}

/*
 * The child runs at once, on its own host stack, so @ret comes only in the parent.  A parent
 * of vfork gets its child's area back here: the child has called exec, or is gone.
 */
static void parent_done(struct dune_thread *child, uint64_t flags, long ret)
{
	if (!is_error(ret) && !(flags & CLONE_VFORK))
		return;
	__dune_vcpu_destroy(child);
	__dune_thread_bury(child);
}

/*
 * A process of its own with this memory can be killed before it begins.  Nobody would ever have its vCPU then: so the
 * kernel is to tell the engine who it is. The program, or a filter of its own, must not see that, nor need that word of
 * the call. Returns where the number goes, or NULL: @flags are the call's.
 */
static uint32_t *child_number(const struct dune_thread *child, uint64_t flags, uint64_t in_the_way)
{
	if (flags & (CLONE_THREAD | CLONE_VFORK))
		return NULL;
	if (!(flags & in_the_way) && !region_state()->filtered)
		return __dune_engine_child(&child->vcpu);
	__dune_engine_unknown_child(&child->vcpu);
	return NULL;
}

/* ---- children with memory of their own ---- */

/* In the area of another thread, which the child of a fork does not have. */
static bool sighand_is_elsewhere(const struct dune_thread *t)
{
	return t->sighand != &__dune_sighand && t->sighand != own_sighand(t);
}

struct lifted {
	struct { uint64_t soft, hard; } old;
	bool done;
};

/*
 * The program may have lowered RLIMIT_AS below what it has.  It can fork then, but not map anything; where the limit
 * can be raised, it is until the child has what it needs.
 */
static bool lift_limit(struct lifted *limit)
{
	uint64_t more[2] = { RLIM64_INFINITY, RLIM64_INFINITY };

	if (limit->done || dune_syscall4(__NR_prlimit64, 0, RLIMIT_AS, NULL, &limit->old))
		return false;
	limit->done = !dune_syscall4(__NR_prlimit64, 0, RLIMIT_AS, more, NULL);
	if (!limit->done && limit->old.soft < limit->old.hard) {
		more[0] = more[1] = limit->old.hard;
		limit->done = !dune_syscall4(__NR_prlimit64, 0, RLIMIT_AS, more, NULL);
	}
	return limit->done;
}

/* The kernel has no memory, or no file: wait a moment for more.  Anything else is the end. */
static void wait_or_die(int error, struct lifted *limit)
{
	if (error == -EAGAIN && lift_limit(limit))
		return;
	if (error != -ENOMEM && error != -ENFILE)
		__dune_fatal(SIGKILL, "a forked process cannot enter Dune mode: %s (error %d)%s",
			     __dune_error_name(-error), -error,
			     error == -EAGAIN ? ": it has more address space than RLIMIT_AS allows" : "");
	__dune_engine_yield(ENGINE_YIELD_MAX, NULL);
}

static void child_of_fork(struct dune_thread *t, const struct vcpu_state *state, uint64_t flags)
{
	struct lifted limit = { 0 };
	int ret;

	while ((ret = __dune_engine_fork_child(flags & CLONE_FILES)))
		wait_or_die(ret, &limit);
	if (sighand_is_elsewhere(t))
		t->sighand = own_sighand(t);
	__dune_faults_forked(t->sighand);
	if (flags & CLONE_CLEAR_SIGHAND)
		memset(t->sighand, 0, sizeof(*t->sighand));
	while ((ret = __dune_threads_drop_others(t)))
		wait_or_die(ret, &limit);
	__dune_dispatch_clear(t);
	if (region_state()->pagemaps)
		__dune_pagemap_forked();
	t->nr_pending = 0;		/* its parent's */
	t->robust_list = 0;
	t->filter_tid = 0;
	t->vfork_child = false;
	t->tid_word = TID_WORD_UNKNOWN;
	region_state()->path_slots = 0;
	while ((ret = __dune_vcpu_create(t, false)))
		wait_or_die(ret, &limit);
	if (limit.done)
		dune_syscall4(__NR_prlimit64, 0, RLIMIT_AS, &limit.old, NULL);
	resume_guest(t, state);
	__dune_callback_begin(t, DUNE_RING3_BY_FORK);
}

/* ---- the system calls ---- */

static HOT long fork_with_memory(struct dune_thread *t, uint64_t flags, unsigned long stack,
			     long nr, const long args[5])
{
	const uint32_t holder = t->holder | HOLDER_HOST;
	struct vcpu_state state;
	long ret;

	/*
	 * The child's descriptor is elsewhere then, and not beside those of callbacks; nor does the child know its
	 * parent's: by a duplicate of that the parent could map the registers of its vCPU.
	 */
	if (flags & CLONE_FILES && __dune_process.check)
		return -EPERM;
	__dune_engine_save(&t->vcpu, &state);
	__dune_call_begin(t);
	/* With the lock too: a child is to have the area of no other thread that forks. */
	mutex_lock(holder);
	word_lock(&region_state()->actions, holder);
	/* Another was killed here. */
	if (region_state()->forking)
		__dune_region_fork_end(holder_thread(region_state()->forking));
	if (sighand_is_elsewhere(t))
		*own_sighand(t) = *t->sighand;
	region_state()->forking = holder;
	ret = __dune_region_fork_begin(t);
	if (!ret) {
		ret = dune_syscall5(nr, args[0], args[1], args[2], args[3], args[4]);
		if (ret)
			__dune_region_fork_end(t);
	}
	region_state()->forking = 0;
	word_unlock(&region_state()->actions);
	mutex_unlock();
	if (!ret) {
		if (stack)
			state.regs.rsp = stack;
		child_of_fork(t, &state, flags);
	}
	__dune_call_end(t, DOING_LOOP);
	return ret;
}

/* clone(flags, stack, parent_tid, child_tid, tls) */
static HOT long do_clone(struct dune_thread *t, const long guest_args[5])
{
	uint64_t flags = (unsigned int)guest_args[0];
	unsigned long stack = guest_args[1];
	long args[5] = { flags, 0, guest_args[2], guest_args[3], guest_args[4] };
	struct dune_thread *child;
	uint32_t *number;
	long ret;

	if (!(flags & CLONE_VM))
		return fork_with_memory(t, flags, stack, __NR_clone, args);
	ret = prepare_child(t, flags, stack, &child);
	if (ret)
		return ret;
	__dune_call_begin(t);
	child->boot_mask = t->calling_mask;
	args[0] = __dune_tid_word_for_child(t, child, flags, args[3]);
	args[1] = child->host_top - sizeof(long);
	number = child_number(child, flags, CLONE_PARENT_SETTID | CLONE_PIDFD);
	if (number) {
		args[0] |= CLONE_PARENT_SETTID;
		args[2] = (long)number;
	}
	ret = dune_syscall5(__NR_clone, args[0], args[1], args[2], args[3], args[4]);
	parent_done(child, flags, ret);
	__dune_call_end(t, DOING_LOOP);
	return ret;
}

HOT long __dune_sys_clone(struct dune_thread *t, struct guest_regs *r)
{
	const long args[5] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8 };

	return do_clone(t, args);
}

HOT long __dune_sys_fork(struct dune_thread *t, struct guest_regs *r)
{
	const long args[5] = { 0 };

	(void)r;
	return fork_with_memory(t, SIGCHLD, 0, __NR_fork, args);
}

long __dune_sys_vfork(struct dune_thread *t, struct guest_regs *r)
{
	const uint64_t flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
	struct dune_thread *child;
	long ret = prepare_child(t, flags, 0, &child);

	(void)r;
	if (ret)
		return ret;
	__dune_call_begin(t);
	child->boot_mask = t->calling_mask;
	ret = __dune_vfork(child->host_top);
	parent_done(child, flags, ret);
	__dune_call_end(t, DOING_LOOP);
	return ret;
}

/* More than any kernel knows; what is beyond the known must be 0, which the kernel checks. */
#define CLONE_ARGS_MAX	256

/* Where a stack may end, as the kernel looks at it. */
#define USER_STACK_MAX	((1UL << 47) - PAGE_SIZE)

/* And so must what is beyond that: 0, -E2BIG or -EFAULT, whatever comes first. */
static long check_zeros(unsigned long at, unsigned long end)
{
	char piece[CLONE_ARGS_MAX];

	while (at < end) {
		unsigned long room = PAGE_SIZE - (at & (PAGE_SIZE - 1)), n = end - at;

		n = n < room ? n : room;
		n = n < sizeof(piece) ? n : sizeof(piece);
		if (__dune_copy_in(piece, at, n))
			return -EFAULT;
		for (unsigned long i = 0; i < n; i++)
			if (piece[i])
				return -E2BIG;
		at += n;
	}
	return 0;
}

long __dune_sys_clone3(struct dune_thread *t, struct guest_regs *r)
{
	union {
		struct clone_args args;
		char bytes[CLONE_ARGS_MAX];
	} u;
	unsigned long size = r->rsi, stack, flags;
	long fork_args[5] = { (long)&u };
	struct dune_thread *child;
	uint32_t *number;
	long ret = 0;

	if (size > PAGE_SIZE)
		return -E2BIG;
	if (size < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	if (size > sizeof(u)) {
		ret = check_zeros(r->rdi + sizeof(u), r->rdi + size);
		size = sizeof(u);
	}
	if (!ret)
		ret = __dune_copy_in(&u, r->rdi, size);
	if (ret)	/* all that is known of begins with this much, and the kernel looks first at what is behind */
		return check_zeros(r->rdi + CLONE_ARGS_SIZE_VER2, r->rdi + r->rsi) ?: ret;
	fork_args[1] = size;
	/* Half a stack, or one that is nowhere, is an error of the caller's: let the kernel say so. */
	if (!u.args.stack != !u.args.stack_size || __builtin_add_overflow(u.args.stack, u.args.stack_size, &stack) ||
	    stack > USER_STACK_MAX) {
		u.args.stack = ~0UL;
		return dune_syscall2(__NR_clone3, &u, size);
	}
	u.args.stack = 0;
	u.args.stack_size = 0;
	if (!(u.args.flags & CLONE_VM))
		return fork_with_memory(t, u.args.flags, stack, __NR_clone3, fork_args);
	flags = u.args.flags;
	ret = prepare_child(t, flags, stack, &child);
	if (ret)
		return ret;
	__dune_call_begin(t);
	child->boot_mask = t->calling_mask;
	u.args.flags = __dune_tid_word_for_child(t, child, flags, u.args.child_tid);
	u.args.stack = child->host_top - PAGE_SIZE;
	u.args.stack_size = PAGE_SIZE - sizeof(long);
	number = child_number(child, flags, CLONE_PARENT_SETTID);
	if (number) {
		u.args.flags |= CLONE_PARENT_SETTID;
		u.args.parent_tid = (unsigned long)number;
	}
	ret = dune_syscall2(__NR_clone3, &u, size);
	parent_done(child, flags, ret);
	__dune_call_end(t, DOING_LOOP);
	return ret;
}

/* The end of one thread; its area goes to the next one. */
long __dune_sys_exit(struct dune_thread *t, struct guest_regs *r)
{
	long status = r->rdi;

	if (__dune_process.check)
		__dune_robust_end(t);
	__dune_signals_block();
	__dune_callback_end(t, (status & 0xff) << 8, false);
	if (t->vfork_child)
		return __dune_forward(r);
	__dune_thread_out(t);
	/* It may have a lock for that: whoever waits finds out by its vCPU that it lives. */
	if (__dune_tracking)
		__dune_tid_word_end(t);
	__dune_vcpu_destroy(t);
	__dune_exit_thread(status, __dune_thread_slot(t));
}
