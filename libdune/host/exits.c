// SPDX-License-Identifier: MIT
/*
 * What DUNE_RUN returns other than system calls.  HR3.
 */
#include "host/host.h"
#include "host/signals.h"
#include "memory/memory.h"

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
