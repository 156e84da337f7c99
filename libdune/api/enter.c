// SPDX-License-Identifier: MIT
/*
 * dune_enter() and dune_leave(): thread areas, vCPUs, and what DUNE_RUN
 * returns other than system calls.  HR3, but for the first lines of the two.
 */
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "internal.h"
#include "memory/vm.h"

/* ---- thread areas ---- */

static uint8_t slots[MAX_THREADS] = { SLOT_ZERO };	/* SLOT_*, atomic */
static unsigned int slots_seen;		/* no slot from here on was ever used; atomic */
uint32_t __dune_nr_threads;

/*
 * Whose vCPU each is: slot + 1, or 0.  Atomic.  The module hands out no vCPU of a thread that lives.  So when it hands out
 * one that was not given up, its thread has been killed alone, as a seccomp filter may, and the area is free.  Beside slots,
 * in pages that a fork does not write and copy.
 */
static uint16_t vcpu_slots[MAX_THREADS] __attribute__((section(".data")));
static unsigned int vcpus_seen;		/* all from here on are 0; atomic */

static void raise_to(unsigned int *seen, unsigned int value)
{
	unsigned int old = READ_ONCE(*seen);

	while (old < value)
		if (__atomic_compare_exchange_n(seen, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			break;
}

static unsigned long slot_area(unsigned int slot)
{
	return __dune_process.region + slot_offset(slot);
}

static unsigned int thread_slot(const struct dune_thread *t)
{
	return offset_slot(thread_area(t) - __dune_process.region);
}

uint8_t *__dune_thread_slot(struct dune_thread *t)
{
	return &slots[thread_slot(t)];
}

static void area_free(unsigned int slot)
{
	__atomic_fetch_sub(&__dune_nr_threads, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&slots[slot], SLOT_CLEAN, __ATOMIC_RELEASE);
}

/* vCPU @index belongs to the area @slot from now on.  Returns whether that of a dead thread became free. */
static HOT bool vcpu_taken(unsigned int index, unsigned int slot)
{
	unsigned int before;

	/* In the child of a fork it is so: write nothing, which would copy a page. */
	if (index >= ARRAY_SIZE(vcpu_slots) || READ_ONCE(vcpu_slots[index]) == slot + 1)
		return false;
	raise_to(&vcpus_seen, index + 1);
	before = __atomic_exchange_n(&vcpu_slots[index], slot + 1, __ATOMIC_ACQ_REL);
	if (before)
		area_free(before - 1);
	return before;
}

static bool has_vcpu(const struct dune_thread *t)
{
	return t->index < ARRAY_SIZE(vcpu_slots) && READ_ONCE(vcpu_slots[t->index]) == thread_slot(t) + 1;
}

static void vcpu_given_up(unsigned int index)
{
	if (index < ARRAY_SIZE(vcpu_slots))
		__atomic_store_n(&vcpu_slots[index], 0, __ATOMIC_RELEASE);
}

/* Returns what @slot was before, SLOT_BUSY if it cannot be had. */
static uint8_t slot_claim(unsigned int slot)
{
	uint8_t state = READ_ONCE(slots[slot]);

	if (state == SLOT_BUSY ||
	    !__atomic_compare_exchange_n(&slots[slot], &state, SLOT_BUSY, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return SLOT_BUSY;
	if (state == SLOT_NEW && __dune_region_open_area(slot_area(slot))) {
		__atomic_store_n(&slots[slot], SLOT_NEW, __ATOMIC_RELEASE);
		return SLOT_BUSY;
	}
	raise_to(&slots_seen, slot + 1);
	return state;
}

/* Ask the module for a vCPU only to learn of a thread that is no more. */
static bool find_dead(unsigned int slot)
{
	struct dune_vcpu_config config = { .tss_limit = sizeof(struct tss) - 1 };
	bool found;

	if (own_syscall3(__NR_ioctl, __dune_process.fd, DUNE_CREATE_VCPU, &config))
		return false;
	found = vcpu_taken(config.index, slot);
	vcpu_given_up(config.index);
	own_syscall3(__NR_ioctl, __dune_process.fd, DUNE_DESTROY_VCPU, config.index);
	return found;
}

static unsigned int claim_any(uint8_t *state)
{
	unsigned int slot;

	for (slot = 0; slot < MAX_THREADS; slot++) {
		*state = slot_claim(slot);
		if (*state != SLOT_BUSY)
			break;
	}
	return slot;
}

/* NULL if there is no area or no memory left. */
struct dune_thread *__dune_thread_alloc(void)
{
	struct dune_thread *t;
	unsigned long area;
	unsigned int slot;
	uint8_t state;

	do
		slot = claim_any(&state);
	while (slot == MAX_THREADS && find_dead(slot));
	if (slot == MAX_THREADS)
		return NULL;
	area = slot_area(slot);
	t = area_thread(area);
	if (state == SLOT_CLEAN)
		memset(t, 0, sizeof(*t));
	t->run = (struct dune_run *)(area + AREA_RUN);
	t->table = __dune_syscall_table;
	t->lstar_return = __dune_process.lstar_return;
	t->host_top = area + AREA_HOST_END;
	t->trap_low = area + AREA_TRAP;
	t->trap_high = area + AREA_TRAP_END;
	t->trap_top = area + AREA_TRAP_END;
	t->fd = __dune_process.fd;
	t->sighand = &__dune_sighand;
	t->altstack.flags = SS_DISABLE;
	t->cr3 = __dune_process.region_gpa + REGION_ROOT;
	__dune_fill_tss(t);
	/* Before it enters: whoever changes a page table then flushes its TLB too. */
	__atomic_fetch_add(&__dune_nr_threads, 1, __ATOMIC_SEQ_CST);
	return t;
}

void __dune_thread_free(struct dune_thread *t)
{
	area_free(thread_slot(t));
}

/* Have @nr areas for threads to come without a call of the kernel, as far as there is memory. */
void __dune_thread_reserve(unsigned int nr)
{
	for (unsigned int slot = 0; nr && slot < MAX_THREADS; slot++) {
		uint8_t state = READ_ONCE(slots[slot]);

		if (state == SLOT_BUSY)
			continue;
		if (state == SLOT_NEW) {
			if (slot_claim(slot) == SLOT_BUSY)
				return;
			__atomic_store_n(&slots[slot], SLOT_ZERO, __ATOMIC_RELEASE);
		}
		nr--;
	}
}

void __dune_threads_inherit(void)
{
	__dune_region_inherit(READ_ONCE(slots_seen));
}

/* Is no other thread in Dune mode? */
bool __dune_thread_alone(struct dune_thread *t)
{
	unsigned int end = READ_ONCE(slots_seen);

	for (unsigned int slot = 0; slot < end; slot++)
		if (READ_ONCE(slots[slot]) == SLOT_BUSY && &slots[slot] != __dune_thread_slot(t))
			return false;
	return true;
}

bool __dune_thread_in(uint64_t gpa)
{
	unsigned int end = READ_ONCE(slots_seen);

	for (unsigned int slot = 0; slot < end; slot++)
		if (READ_ONCE(slots[slot]) == SLOT_BUSY && READ_ONCE(area_thread(slot_area(slot))->cr3) == gpa)
			return true;
	return false;
}

/* Without mmap, which a filter may forbid: the page of a vCPU that is given up at once. */
static void fill_hole_by_vcpu(unsigned int slot)
{
	struct dune_vcpu_config config = {
		.tss_limit = sizeof(struct tss) - 1,
		.run = slot_area(slot) + AREA_RUN,
	};

	if (!own_syscall3(__NR_ioctl, __dune_process.fd, DUNE_CREATE_VCPU, &config))
		own_syscall3(__NR_ioctl, __dune_process.fd, DUNE_DESTROY_VCPU, config.index);
}

static void fill_hole(unsigned long start, unsigned long end)
{
	if (start < end)
		dune_syscall6(__NR_mmap, start, end - start, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/*
 * In the child of a fork the other threads do not exist.  Nor do the pages that they shared with
 * the kernel: plug the holes, or something of the program's may be put there.  All areas but the first, in which are
 * the tables too, go back to what they were at the beginning, if they are there at all.
 */
HOT void __dune_threads_drop_others(struct dune_thread *t)
{
	unsigned int own = t ? thread_slot(t) : 0, end = slots_seen;
	bool gone = __dune_region_forked(t);
	uint8_t free = __dune_process.filtered && !gone ? SLOT_CLEAN : SLOT_NEW;

	for (unsigned int slot = 0; slot < end; slot++) {
		if (t && slot == own)
			continue;
		if (__dune_process.filtered && !(slot && gone))
			fill_hole_by_vcpu(slot);
		if (slots[slot] != SLOT_NEW)
			slots[slot] = slot ? free : SLOT_CLEAN;
	}
	if (!__dune_process.filtered) {
		if (end && (!t || own))
			fill_hole(slot_area(0) + AREA_RUN, slot_area(0) + AREA_RUN + PAGE_SIZE);
		if (!gone) {
			if (own)
				fill_hole(slot_area(1), slot_area(own));
			fill_hole(slot_area(own + 1), slot_area(end));
		}
	}
	/* Whatever the other threads were at: of what they have not finished there is no other trace. */
	for (unsigned int index = 0; index < vcpus_seen; index++)
		if (vcpu_slots[index] && !(t && vcpu_slots[index] == own + 1))
			vcpu_given_up(index);
	/* Mostly it is so: write nothing. */
	if (__dune_nr_threads != (t ? 1 : 0))
		__dune_nr_threads = t ? 1 : 0;
}

/* ---- vCPUs ---- */

static void set_run_call(struct dune_thread *t)
{
	bool by_ioctl = option(DUNE_OPT_RUN_IOCTL);

	t->run_nr = by_ioctl ? __NR_ioctl : __NR_lseek;
	t->run_arg0 = t->fd;
	t->run_arg1 = by_ioctl ? DUNE_RUN : (unsigned long)DUNE_SEEK_VCPU(t->index);
	t->run_arg2 = by_ioctl ? t->index : DUNE_SEEK_RUN;
}

/*
 * The page of the first thread of all: where it goes there is nothing, and if something came meanwhile it is not
 * replaced.
 */
static long map_first_run(struct dune_thread *t)
{
	long ret = dune_syscall6(__NR_mmap, t->run, PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED_NOREPLACE, t->fd, DUNE_MMAP_RUN(t->index));

	__dune_process.first_run_absent = false;
	return is_error(ret) ? ret : 0;
}

/* Make a vCPU for @t and map its page, which comes zeroed. */
HOT int __dune_vcpu_create(struct dune_thread *t)
{
	bool first = __dune_process.first_run_absent && (unsigned long)t->run == __dune_process.region + AREA_RUN;
	struct dune_vcpu_config config = {
		.flags = option(DUNE_OPT_STRICT) ? DUNE_VCPU_STRICT : 0,
		.cr3 = t->cr3,
		.gdt_base = (unsigned long)t->run->gdt,
		.gdt_limit = sizeof(t->run->gdt) - 1,
		.idt_base = __dune_process.region + REGION_IDT,
		.idt_limit = 256 * 16 - 1,
		.tss_base = (unsigned long)&t->tss,
		.tss_limit = sizeof(t->tss) - 1,
		.lstar = __dune_process.lstar,
		.run = first ? 0 : (unsigned long)t->run,
	};
	long ret;

	ret = own_syscall3(__NR_ioctl, t->fd, DUNE_CREATE_VCPU, &config);
	if (ret)
		return ret;
	t->pcid = 0;
	t->cr4_bits = 0;
	/* In the child of a fork it is its parent's. */
	if (t->index != config.index && has_vcpu(t))
		vcpu_given_up(t->index);
	vcpu_taken(config.index, thread_slot(t));
	t->index = config.index;
	if (first)
		ret = map_first_run(t);
	if (ret) {
		__dune_vcpu_destroy(t);
		return ret;
	}
	t->run->kernel_gs_base = session_gs(t->session);
	set_run_call(t);
	__dune_fill_gdt(t);
	return 0;
}

void __dune_vcpu_destroy(struct dune_thread *t)
{
	vcpu_given_up(t->index);
	own_syscall3(__NR_ioctl, t->fd, DUNE_DESTROY_VCPU, t->index);
}

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
 * What GR0 needs to get as far as handling its own page faults.  It takes the lock of the page tables: a thread that changes
 * them, and was the only one when it took that, has flushed its TLB when this returns.
 */
static int map_first_granules(void)
{
	return __dune_granules_map((unsigned long)__ehdr_start, (unsigned long)_end);
}

#define NO_VCPU		(~0UL)

/* A forked child that was not in Dune mode still has its parent's file. */
static int follow_fork(void)
{
	long fd;

	/* Nothing but a file of another process refuses this with that. */
	if (own_syscall3(__NR_ioctl, __dune_process.fd, DUNE_DESTROY_VCPU, NO_VCPU) != -EIO)
		return 0;
	/* A thread that is not here was changing the page tables. */
	if (READ_ONCE(*__dune_memory_mutex) && !region_state()->forking)
		return -EBUSY;
	fd = __dune_attach(__dune_process.fd);
	if (is_error(fd))
		return fd;
	dune_syscall1(__NR_close, __dune_process.fd);
	__dune_process.fd = __dune_move_fd(fd);
	__dune_process.owners_mapped = false;
	__dune_threads_drop_others(NULL);
	if (region_state()->forking) {
		region_state()->forking = false;
		mutex_unlock();
	}
	return 0;
}

PUBLIC int dune_enter(void)
{
	struct dune_thread *t;
	int ret;

	if (dune_in_guest())
		return 0;
	if (!__dune_process.ready)
		return -EINVAL;
	ret = follow_fork();
	if (ret)
		return ret;
	t = __dune_thread_alloc();
	if (!t)
		return -ENOMEM;
	ret = __dune_vcpu_create(t);
	if (ret)
		goto free;
	ret = map_first_granules();
	if (!ret)
		ret = __dune_signals_adopt(t);
	if (ret)
		goto destroy;
	rseq_off();
	return __dune_enter_guest(t);

destroy:
	__dune_vcpu_destroy(t);
free:
	__dune_thread_free(t);
	return ret;
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

/* ---- exits ---- */

/* So many times in a row the same access can fail although touching it works. */
#define FAULT_MAX	64

/* The trampoline clears fault_count at each system call: that is progress. */
static bool fault_repeated(struct dune_thread *t)
{
	struct dune_run *run = t->run;
	bool same = t->fault_count && t->fault_hva == run->fault.hva &&
		    t->fault_rip == run->regs.rip && t->fault_flags == run->fault.flags;

	t->fault_hva = run->fault.hva;
	t->fault_rip = run->regs.rip;
	t->fault_flags = run->fault.flags;
	t->fault_count = same ? t->fault_count + 1 : 1;
	return same;
}

/* DUNE_HC_FAULT came from libdune's #PF handler, which can say itself that it was not resolved. */
static bool asked_by_handler(const struct dune_thread *t)
{
	return !t->run->fault.gpa && t->run->regs.rip == __dune_process.hypercall_return;
}

/* AMD's CPUs do not say the linear address: it is the process's, but where the program maps memory elsewhere. */
static unsigned long fault_address(const struct dune_run *run)
{
	return run->fault.flags & DUNE_FAULT_GVA ? run->fault.gva : run->fault.hva;
}

/* SDM, "Page-Fault Exceptions" */
static uint32_t error_code(const struct dune_run *run)
{
	uint32_t flags = run->fault.flags, error = 0;

	/* Without a granule there is nothing that could have refused. */
	if (!(flags & DUNE_FAULT_NO_GRANULE))
		error |= PF_PRESENT;
	if (flags & DUNE_FAULT_WRITE)
		error |= PF_WRITE;
	if (flags & DUNE_FAULT_EXEC)
		error |= PF_FETCH;
	if (run->cpl)
		error |= PF_USER;
	return error;
}

/*
 * The kernel has refused the access in run->fault: it would send @signo with @code.  Give it to the
 * program's handler for page faults, or back to libdune's.  Returns whether that can be done.
 */
bool __dune_fault_to_guest(struct dune_thread *t, int signo, int code)
{
	struct dune_run *run = t->run;

	if (asked_by_handler(t)) {
		run->regs.rax = refusal(signo, code);
		return true;
	}
	/* It was met in delivering an exception, or in the page table itself. */
	if (!__dune_handles(T_PGFLT) || run->event_info & DUNE_EVENT_VALID ||
	    run->fault.flags & DUNE_FAULT_WALK)
		return false;
	run->cr2 = fault_address(run);
	run->event_info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | DUNE_EVENT_ERROR | T_PGFLT;
	run->event_error = error_code(run);
	return true;
}

/* What the kernel would do: there is nothing, or not for this kind of access. */
static void refuse(struct dune_thread *t, int code, unsigned long addr)
{
	if (!__dune_fault_to_guest(t, SIGSEGV, code))
		__dune_signal_fault(t, SIGSEGV, code, addr, error_code(t->run));
}

/*
 * Make the access from user mode: the kernel resolves it or sends the signal.  What takes the place
 * of the signal - the program's page-fault handler, or libdune's - is for deliver.c, so that
 * all that the kernel resolves - a growing stack, userfaultfd - stays the kernel's.
 */
static void touch(struct dune_thread *t, unsigned long hva, bool write)
{
	bool held_back, caught;

	__dune_touch_begin(t);
	/* While another signal waits it is not the program that blocks this one. */
	held_back = READ_ONCE(t->deferred) && !(t->deferred_mask & 1UL << (SIGSEGV - 1));
	caught = __dune_handles(T_PGFLT) || asked_by_handler(t) || held_back || !__dune_has_handler(t->sighand, SIGSEGV);
	if (caught)
		__dune_touch_catch(t);
	if (write)
		__dune_touch_write(hva);
	else
		__dune_touch_read(hva);
	__dune_touch_done(t);
}

static void host_fault(struct dune_thread *t)
{
	struct dune_run *run = t->run;
	uint32_t flags = run->fault.flags;
	unsigned long hva = run->fault.hva;
	unsigned long addr = fault_address(run);
	bool repeated = fault_repeated(t);

	if (run->regs.rip == (unsigned long)__dune_ring3_entry && !t->session)
		return __dune_ring3_entry_fault(t);
	if (flags & DUNE_FAULT_NO_MEMORY)
		__dune_fatal(SIGBUS, "out of memory for an access to %#lx", addr);
	if (flags & DUNE_FAULT_DEVICE)
		__dune_fatal(SIGBUS, "an access to device memory at %#lx, which this machine's CPU or administrator keeps from guests", addr);
	if (flags & DUNE_FAULT_NO_GRANULE && !repeated)
		__dune_granule_recheck(run->fault.gpa);
	else if (flags & DUNE_FAULT_NO_GRANULE)
		refuse(t, SEGV_MAPERR, addr);
	else if (repeated && flags & DUNE_FAULT_EXEC)
		refuse(t, SEGV_ACCERR, addr);
	else if (t->fault_count > FAULT_MAX)
		__dune_fatal(SIGBUS, "the access to %#lx (flags %#x) cannot be resolved", addr, flags);
	else
		touch(t, hva, flags & DUNE_FAULT_WRITE);
}

static void host_shutdown(struct dune_thread *t)
{
	static const char *const reasons[] = {
		[DUNE_SHUTDOWN_TRIPLE] = "triple fault",
		[DUNE_SHUTDOWN_STATE] = "the CPU refused its state",
		[DUNE_SHUTDOWN_EXIT] = "unknown exit",
		[DUNE_SHUTDOWN_HARDWARE] = "the hardware went away",
	};
	struct dune_run *run = t->run;
	const struct dune_regs *r = &run->regs;
	uint32_t code = run->shutdown.code;

	__dune_message("the guest was shut down: %s (hardware reason %#x, qualification %#llx)",
		       code < ARRAY_SIZE(reasons) && reasons[code] ? reasons[code] : "?",
		       run->shutdown.hw_reason, run->shutdown.qualification);
	/* Hardly ever a program's own doing: say all that is known, even under dune-run. */
	if (code == DUNE_SHUTDOWN_TRIPLE || !option(DUNE_OPT_QUIET)) {
		struct dune_tf tf = {
			.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
			.rsi = r->rsi, .rdi = r->rdi, .rbp = r->rbp, .rsp = r->rsp,
			.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
			.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
			.rip = r->rip, .rflags = r->rflags,
			.cs = run->cpl ? DUNE_SEL_USER_CS : DUNE_SEL_KERNEL_CS,
			.ss = run->cpl ? DUNE_SEL_USER_DS : DUNE_SEL_KERNEL_DS,
			.err = run->event_error,
		};

		dune_dump_trap_frame(&tf);
	}
	__dune_raise(SIGSEGV, SI_KERNEL, 0);
}

/* DUNE_RUN returned @reason, which is not DUNE_EXIT_SYSCALL. */
void __dune_host_exit(struct dune_thread *t, long reason)
{
	switch (reason) {
	case DUNE_EXIT_INTR:	/* the kernel has done it on its way here */
	case DUNE_EXIT_WINDOW:
		if (t->deferred)
			__dune_signals_resume(t);
		return;
	case DUNE_EXIT_FAULT:
		t->complete = true;	/* the guest makes the access again */
		host_fault(t);
		t->complete = false;
		return;
	case DUNE_EXIT_SHUTDOWN:
		host_shutdown(t);
		return;
	case -EINVAL:		/* from a frame of a signal, or as its handler: the CPU would not go there */
		if (canonical(t->run->regs.rip))
			break;
		__dune_signal_fault(t, SIGSEGV, SI_KERNEL, 0, 0);
		return;
	}
	__dune_fatal(SIGABRT, "DUNE_RUN failed: error %ld", -reason);
}
