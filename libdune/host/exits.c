// SPDX-License-Identifier: MIT
/*
 * What the guest comes out for other than system calls.  HR3.
 */
#include "host/host.h"
#include "host/signals.h"
#include "memory/memory.h"

/* So many times in a row the same access can fail although touching it works. */
#define FAULT_MAX	64

/* The trampoline clears fault_count at each system call: that is progress.  So is a call that the engine makes. */
static bool fault_repeated(struct dune_thread *t, const struct engine_fault *f)
{
	uint32_t kind = f->access | f->flags << 8, calls = __dune_engine_calls_made(&t->vcpu);
	bool same = t->fault_count && t->fault_address == f->process &&
		    t->fault_rip == t->vcpu.regs->rip && t->fault_kind == kind && t->fault_calls == calls;

	t->fault_address = f->process;
	t->fault_rip = t->vcpu.regs->rip;
	t->fault_kind = kind;
	t->fault_calls = calls;
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

uint32_t __dune_fault_error(const struct dune_thread *t)
{
	struct engine_fault f;

	__dune_engine_fault(&t->vcpu, &f);
	return error_code(t, &f);
}

static bool fault_to_guest(struct dune_thread *t, const struct engine_fault *f, int signo, int code)
{
	/* libdune's #PF handler can say itself that it was not resolved. */
	if (f->flags & FAULT_ASKED) {
		t->vcpu.regs->rax = refusal(signo, code);
		return true;
	}
	/* After FAULT_MAX the handler does not resolve it, whatever it says. */
	if (!__dune_handles(T_PGFLT) || f->flags & FAULT_WALK || t->fault_count > FAULT_MAX)
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

struct near {
	unsigned long address;
	bool found;
};

static bool is_near(const struct dune_procmap_entry *entry, void *arg)
{
	struct near *near = arg;

	near->found = entry->end > near->address && entry->begin - near->address + GRANULE_SIZE < 2 * GRANULE_SIZE;
	return entry->end <= near->address;
}

/* Is there, at @address or above, what could be grown by the kernel to be there? */
static bool something_near(unsigned long address)
{
	struct near near = { .address = address };

	return __dune_procmap_each(is_near, &near) || near.found;
}

/*
 * Make the access from user mode: the kernel resolves it or sends the signal.  What takes the place
 * of the signal - the program's page-fault handler, or libdune's - is for deliver.c, so that
 * all that the kernel resolves - a growing stack, userfaultfd - stays the kernel's.
 */
static void touch(struct dune_thread *t, const struct engine_fault *f)
{
	bool held_back, caught;

	/* libdune's #PF handler makes the signal of it: that is to be the only one for a tracer. */
	if (f->flags & FAULT_ASKED && __dune_traced() && !something_near(f->process))
		return refuse(t, f, SEGV_MAPERR);
	__dune_touch_begin(t);
	/* While another signal waits it is not the program that blocks this one. */
	held_back = READ_ONCE(t->deferred) && !(t->deferred_mask & 1UL << (SIGSEGV - 1));
	/*
	 * A tracer is to be stopped at once, by the signal that kills; but for dune-run's own, which is told otherwise.
	 */
	caught = __dune_handles(T_PGFLT) || f->flags & FAULT_ASKED || held_back ||
		 (!__dune_has_handler(t->sighand, SIGSEGV) && (__dune_debugged() || !__dune_traced()));
	if (caught)
		__dune_touch_catch(t);
	if (f->access & ACCESS_WRITE)
		__dune_touch_write(f->process);
	else
		__dune_touch_read(f->process);
	__dune_touch_done(t);
}

static void __attribute__((noreturn)) unresolved(struct dune_thread *t, const struct engine_fault *f)
{
	if (f->flags & FAULT_DEVICE)
		__dune_message("an access to device memory at %#lx, which this machine's CPU or administrator keeps "
			       "from guests", f->linear);
	else if (f->flags & FAULT_WALK)
		__dune_message("the guest's page table cannot be read: nothing is at guest-physical %#lx (a bad CR3, "
			       "or a bad entry)", f->gpa);
	else
		__dune_message("the access to %#lx (kind %#x) cannot be resolved", f->linear, t->fault_kind);
	t->trap_err = error_code(t, f);
	__dune_die_in_guest(t, f->flags & FAULT_WALK ? SIGSEGV : SIGBUS, SI_KERNEL);
}

/* The kernel sends its signal, if it has one for this. */
static void touch_or_die(struct dune_thread *t, const struct engine_fault *f)
{
	touch(t, f);
	if (t->fault_count > FAULT_MAX)
		unresolved(t, f);
}

/* The guard below the trap stack, of which the engine's page is none. */
static bool is_trap_guard(const struct dune_thread *t, unsigned long address)
{
	return address >= thread_area(t) + PAGE_SIZE && address < t->trap_low;
}

/* A handler of the program's has used more than there is: no other one can run there. */
static void __attribute__((noreturn)) handler_stack_overflow(struct dune_thread *t, const struct engine_fault *f)
{
	__dune_message("a handler of exceptions has used more than its stack of %lu KiB, at %#lx: "
		       "dune_set_handler_stack() can make it larger", __dune_process.trap_size / 1024,
		       (unsigned long)t->vcpu.regs->rip);
	t->trap_err = error_code(t, f);
	__dune_die_in_guest(t, SIGSEGV, SEGV_ACCERR);
}

static void host_fault(struct dune_thread *t)
{
	struct engine_fault f;
	bool repeated;

	__dune_engine_fault(&t->vcpu, &f);
	if (is_trap_guard(t, f.process))
		handler_stack_overflow(t, &f);
	repeated = fault_repeated(t, &f);
	if (t->vcpu.regs->rip == (unsigned long)__dune_ring3_entry && !t->session)
		return __dune_ring3_entry_fault(t);
	if (f.flags & FAULT_DEVICE)
		unresolved(t, &f);
	if (f.flags & FAULT_NOWHERE && !repeated)
		__dune_granule_recheck();
	else if (f.flags & FAULT_NOWHERE && f.flags & FAULT_WALK && !__dune_has_handler(t->sighand, SIGSEGV))
		unresolved(t, &f);
	else if (f.flags & FAULT_NOWHERE)
		refuse(t, &f, SEGV_MAPERR);
	else if (repeated && f.access & ACCESS_EXEC)
		refuse(t, &f, SEGV_ACCERR);
	else
		touch_or_die(t, &f);
}

/* Hardly ever a program's own doing: say so even under dune-run. */
static void host_shutdown(struct dune_thread *t)
{
	struct engine_shutdown s;

	__dune_engine_shutdown(&t->vcpu, &s);
	if (!s.by_program)
		__dune_process.options &= ~(1U << DUNE_OPT_QUIET);
	__dune_message("the guest was shut down: %s (hardware reason %#x, qualification %#lx)",
		       s.reason, s.number, s.detail);
	t->trap_err = __dune_engine_event_error(&t->vcpu);
	__dune_die_in_guest(t, SIGSEGV, SI_KERNEL);
}

/* The guest has come out with the raw result @raw, for something else than a call. */
void __dune_host_exit(struct dune_thread *t, long raw)
{
	switch (__dune_engine_result(&t->vcpu, raw)) {
	case RUN_CALL:
		return;
	case RUN_INTR:	/* the kernel has done it on its way here; or a tracer has stopped the thread */
		__dune_traced_maybe();
		__attribute__((fallthrough));
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
	__dune_fatal(SIGABRT, "the guest cannot be run: %s (error %ld)", __dune_error_name(-raw), -raw);
}
