// SPDX-License-Identifier: MIT
/*
 * What the guest comes out for other than system calls.  HR3.
 */
#include "host/host.h"
#include "host/signals.h"
#include "memory/memory.h"

/* So many times in a row the same access can fail although touching it works. */
#define FAULT_MAX	64

/* The trampoline clears fault_count at each system call: that is progress. */
static bool fault_repeated(struct dune_thread *t, const struct engine_fault *f)
{
	uint32_t kind = f->access | f->flags << 8;
	bool same = t->fault_count && t->fault_address == f->process &&
		    t->fault_rip == t->vcpu.regs->rip && t->fault_kind == kind;

	t->fault_address = f->process;
	t->fault_rip = t->vcpu.regs->rip;
	t->fault_kind = kind;
	t->fault_count = same ? t->fault_count + 1 : 1;
	return same;
}

/* SDM, "Page-Fault Exceptions" */
static uint32_t error_code(const struct dune_thread *t, const struct engine_fault *f)
{
	uint32_t error = 0;

	/* Without a granule there is nothing that could have refused. */
	if (!(f->flags & FAULT_NOWHERE))
		error |= PF_PRESENT;
	if (f->access & ACCESS_WRITE)
		error |= PF_WRITE;
	if (f->access & ACCESS_EXEC)
		error |= PF_FETCH;
	if (__dune_engine_cpl(&t->vcpu))
		error |= PF_USER;
	return error;
}

static bool fault_to_guest(struct dune_thread *t, const struct engine_fault *f, int signo, int code)
{
	/* libdune's #PF handler can say itself that it was not resolved. */
	if (f->flags & FAULT_ASKED) {
		t->vcpu.regs->rax = refusal(signo, code);
		return true;
	}
	if (!__dune_handles(T_PGFLT) || f->flags & FAULT_WALK)
		return false;
	__dune_engine_raise_pgflt(&t->vcpu, f->linear, error_code(t, f));
	return true;
}

/*
 * The kernel has refused the access that the guest has come out for: it would send @signo with @code.  Give it to the
 * program's handler for page faults, or back to libdune's.  Returns whether that can be done.
 */
bool __dune_fault_to_guest(struct dune_thread *t, int signo, int code)
{
	struct engine_fault f;

	__dune_engine_fault(&t->vcpu, &f);
	return fault_to_guest(t, &f, signo, code);
}

/* What the kernel would do: there is nothing, or not for this kind of access. */
static void refuse(struct dune_thread *t, const struct engine_fault *f, int code)
{
	if (!fault_to_guest(t, f, SIGSEGV, code))
		__dune_signal_fault(t, SIGSEGV, code, f->linear, error_code(t, f));
}

/*
 * Make the access from user mode: the kernel resolves it or sends the signal.  What takes the place
 * of the signal - the program's page-fault handler, or libdune's - is for deliver.c, so that
 * all that the kernel resolves - a growing stack, userfaultfd - stays the kernel's.
 */
static void touch(struct dune_thread *t, const struct engine_fault *f)
{
	bool held_back, caught;

	__dune_touch_begin(t);
	/* While another signal waits it is not the program that blocks this one. */
	held_back = READ_ONCE(t->deferred) && !(t->deferred_mask & 1UL << (SIGSEGV - 1));
	caught = __dune_handles(T_PGFLT) || f->flags & FAULT_ASKED || held_back ||
		 !__dune_has_handler(t->sighand, SIGSEGV);
	if (caught)
		__dune_touch_catch(t);
	if (f->access & ACCESS_WRITE)
		__dune_touch_write(f->process);
	else
		__dune_touch_read(f->process);
	__dune_touch_done(t);
}

static void host_fault(struct dune_thread *t)
{
	struct engine_fault f;
	bool repeated;

	__dune_engine_fault(&t->vcpu, &f);
	repeated = fault_repeated(t, &f);
	if (t->vcpu.regs->rip == (unsigned long)__dune_ring3_entry && !t->session)
		return __dune_ring3_entry_fault(t);
	if (f.flags & FAULT_DEVICE)
		__dune_fatal(SIGBUS,
			     "an access to device memory at %#lx, which this machine's CPU or administrator keeps "
			     "from guests",
			     f.linear);
	if (f.flags & FAULT_NOWHERE && !repeated)
		__dune_granule_recheck();
	else if (f.flags & FAULT_NOWHERE)
		refuse(t, &f, SEGV_MAPERR);
	else if (repeated && f.access & ACCESS_EXEC)
		refuse(t, &f, SEGV_ACCERR);
	else if (t->fault_count > FAULT_MAX)
		__dune_fatal(SIGBUS, "the access to %#lx (kind %#x) cannot be resolved", f.linear, t->fault_kind);
	else
		touch(t, &f);
}

static void host_shutdown(struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;
	uint32_t cpl = __dune_engine_cpl(&t->vcpu);
	struct engine_shutdown s;

	__dune_engine_shutdown(&t->vcpu, &s);
	__dune_message("the guest was shut down: %s (hardware reason %#x, qualification %#lx)",
		       s.reason, s.number, s.detail);
	/* Hardly ever a program's own doing: say all that is known, even under dune-run. */
	if (s.by_program || !option(DUNE_OPT_QUIET)) {
		struct dune_tf tf = {
			.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
			.rsi = r->rsi, .rdi = r->rdi, .rbp = r->rbp, .rsp = r->rsp,
			.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
			.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
			.rip = r->rip, .rflags = r->rflags,
			.cs = cpl ? SEL_USER_CS : SEL_KERNEL_CS,
			.ss = cpl ? SEL_USER_DS : SEL_KERNEL_DS,
			.err = __dune_engine_event_error(&t->vcpu),
		};

		dune_dump_trap_frame(&tf);
	}
	__dune_raise(SIGSEGV, SI_KERNEL, 0);
}

/* The guest has come out with the raw result @raw, for something else than a call. */
void __dune_host_exit(struct dune_thread *t, long raw)
{
	switch (__dune_engine_result(&t->vcpu, raw)) {
	case RUN_CALL:
		return;
	case RUN_INTR:	/* the kernel has done it on its way here */
	case RUN_WINDOW:
		if (t->deferred)
			__dune_signals_resume(t);
		return;
	case RUN_FAULT:
		set_doing(t, DOING_FAULT);
		host_fault(t);
		set_doing(t, DOING_LOOP);
		return;
	case RUN_SHUTDOWN:
		host_shutdown(t);
		return;
	case RUN_BAD_RIP:	/* from a frame of a signal, or as its handler */
		__dune_signal_fault(t, SIGSEGV, SI_KERNEL, 0, 0);
		return;
	case RUN_FAILED:
		break;
	}
	__dune_fatal(SIGABRT, "the guest cannot be run: error %ld", -raw);
}
