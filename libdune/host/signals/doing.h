/* SPDX-License-Identifier: MIT */
/*
 * What a thread is doing when a signal comes, and what becomes of both: one row for each doing, one column for each
 * kind of signal.  deliver.c goes by it; doc/design/signals.md has it in print.  HR3.
 */
#ifndef LIBDUNE_DOING_H
#define LIBDUNE_DOING_H

#include "host/host.h"

#pragma GCC visibility push(hidden)

/* SIGNAL(name, when a signal is of this kind) */
#define SIGNAL_KINDS(SIGNAL)											\
	SIGNAL(SENT, "by a process, a timer or the kernel; and all that is none of the others")			\
	SIGNAL(TRAP, "SIGSYS that a seccomp filter has made of a call at `__dune_syscall_site`")		\
	SIGNAL(ACCESS, "SIGSEGV or SIGBUS for the access that HR3 makes in the guest's place")			\
	SIGNAL(COPY, "SIGSEGV or SIGBUS in `__dune_copy()`, from or to memory of the program's")		\
	SIGNAL(PEEK, "SIGSEGV or SIGBUS in `__dune_peek()`, at the selector of user dispatch")

/* ACTION(name, what is done) */
#define SIGNAL_ACTIONS(ACTION)											\
	ACTION(DIE, "the process dies; also for a pair that cannot be")						\
	ACTION(DELIVER, "the guest is settled and calls the handler: now, or when it has interrupts on")	\
	ACTION(FORCE, "the guest is settled and calls the handler now; it cannot go on without")		\
	ACTION(FAULT, "the guest is settled and gets a page fault, if it handles those; else as FORCE")		\
	ACTION(DEFER, "HR3 goes on; the guest comes out before its next instruction and calls the handler")	\
	ACTION(REFUSE, "the call that HR3 makes is -ENOSYS; then as DEFER, before what waits already")		\
	ACTION(FAIL, "`__dune_copy()` returns false, and its caller says -EFAULT or sends SIGSEGV")

/* SETTLE(name, how the guest comes to stand where it can call a handler) */
#define SETTLES(SETTLE)												\
	SETTLE(NOTHING, "the registers in `dune_thread.vcpu` are all there is of the guest")			\
	SETTLE(RESULT, "the result of the call becomes the guest's RAX")					\
	SETTLE(OUTPUT, "as RESULT; and what the call may have written is marked in the page table")		\
	SETTLE(AGAIN, "the guest stands before its call, and makes it again after the handler")			\
	SETTLE(RETURN, "as AGAIN; where a filter forbids the rt_sigreturn, the guest stands behind it")		\
	SETTLE(RETURNED, "the guest gets registers and alternate stack of the frame that the kernel has loaded")\
	SETTLE(ACCESS, "the guest makes its access again")							\
	SETTLE(NEVER, "HR3 is in the middle of something: it cannot be")

/*
 * DOING(name, how it is settled, what is done with a signal SENT, TRAP, ACCESS, COPY, PEEK, what the thread does)
 *
 * Those before GUEST are said by dune_thread.doing.  The others stand beside the loop's instructions (run.S).
 */
#define DOINGS(DOING)												\
	DOING(LOOP,          NEVER,    DIE,     DIE,     DIE,     DIE,     DIE,					\
	      "only in `dune_thread.doing`: RIP says what")							\
	DOING(EXEC,          AGAIN,    DELIVER, REFUSE,  DIE,     FAIL,    DIE,					\
	      "an exec(), which can be abandoned at any instruction")						\
	DOING(OWN_CALL,      NEVER,    DEFER,   REFUSE,  DIE,     FAIL,    DIE,					\
	      "a call for the guest that no signal may interrupt: all are blocked but SIGSYS")			\
	DOING(FAULT,         NOTHING,  DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "what becomes of an access that the guest could not make")					\
	DOING(TOUCH,         ACCESS,   DELIVER, FORCE,   FAULT,   FAIL,    DIE,					\
	      "that access, made by HR3")									\
	DOING(RAISE,         NOTHING,  DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "an exception that the kernel makes a signal of, for a tracer to see")				\
	DOING(SIGRETURN,     RETURN,   DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "an rt_sigreturn of the guest's, not made yet")							\
	DOING(SIGRETURNED,   RETURNED, DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "the same, made by the kernel")									\
	DOING(MASK,          NOTHING,  DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "the mask of signals, which is set before the guest goes on")					\
	DOING(GUEST,         NOTHING,  DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "the guest runs, or is about to")									\
	DOING(CALL,          AGAIN,    DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "a call of the guest's that the loop makes: not made yet, or to be made again")			\
	DOING(RESULT,        RESULT,   DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "the same, made")											\
	DOING(OUTPUT,        AGAIN,    DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "a call that C code has looked at: not made yet, or to be made again")				\
	DOING(OUTPUT_RESULT, OUTPUT,   DELIVER, FORCE,   DIE,     FAIL,    DIE,					\
	      "the same, made")											\
	DOING(CODE,          NEVER,    DEFER,   REFUSE,  DIE,     FAIL,    DIE,					\
	      "C code of libdune's")

enum signal_kind {
#define SIGNAL(name, text)	SIGNAL_##name,
	SIGNAL_KINDS(SIGNAL)
#undef SIGNAL
	NR_SIGNAL_KINDS
};

enum signal_action {
#define ACTION(name, text)	ACTION_##name,
	SIGNAL_ACTIONS(ACTION)
#undef ACTION
};

enum settle {
#define SETTLE(name, text)	SETTLE_##name,
	SETTLES(SETTLE)
#undef SETTLE
};

enum doing {
#define DOING(name, ...)	DOING_##name,
	DOINGS(DOING)
#undef DOING
	NR_DOINGS
};

/* si_code of SIGSYS: newer than the headers of the oldest system that this builds on. */
#define SECCOMP_TRAP	1

struct doing_row {
	uint8_t settle;				/* enum settle */
	uint8_t actions[NR_SIGNAL_KINDS];	/* enum signal_action */
};

extern const struct doing_row __dune_doings[NR_DOINGS];

/* From @start on, a distance from __dune_run_loop, the loop does this.  run.S has the rows beside its instructions. */
struct loop_part {
	uint32_t start;
	uint32_t doing;		/* LOOP: the guest has come out, and RAX says why */
};

extern const char __dune_sigreturned[];
extern const struct loop_part __dune_loop_parts[], __dune_loop_parts_end[];

/* All that says what a thread was doing: HR3's registers, and dune_thread.doing.  So a test needs no guest. */
struct stopped {
	unsigned long rip;
	enum run_result result;	/* what RAX says, where the guest has just come out */
	unsigned long caller;	/* at a syscall instruction: the return address; else 0 */
	enum doing doing;
};

/* A signal may come before and after, but not in between. */
static inline void set_doing(struct dune_thread *t, enum doing doing)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	WRITE_ONCE(t->doing, doing);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline bool at(unsigned long rip, const char *site)
{
	return rip - (unsigned long)site <= SYSCALL_LENGTH;
}

static inline bool at_syscall(unsigned long rip)
{
	return at(rip, __dune_syscall_site) || at(rip, __dune_own_site);
}

static inline enum doing after_run(enum run_result result)
{
	switch (result) {
	case RUN_CALL:
		return DOING_CALL;
	case RUN_INTR:
	case RUN_FAULT:
	case RUN_WINDOW:
		return DOING_GUEST;
	default:
		return DOING_CODE;
	}
}

/* What has called a syscall instruction stands behind its own `call` if that has been made, else still in it. */
static inline unsigned long rip_in_caller(const struct stopped *s)
{
	if (!s->caller)
		return s->rip;
	return s->caller - (s->rip == (unsigned long)__dune_syscall_site || s->rip == (unsigned long)__dune_own_site);
}

static inline enum doing in_loop(const struct stopped *s)
{
	unsigned long offset = rip_in_caller(s) - (unsigned long)__dune_run_loop;
	const struct loop_part *part = __dune_loop_parts;

	while (part + 1 < __dune_loop_parts_end && offset >= part[1].start)
		part++;
	return part->doing == DOING_LOOP ? after_run(s->result) : part->doing;
}

/* What the thread is doing. */
static inline enum doing doing_when(const struct stopped *s)
{
	if (s->doing == DOING_LOOP)
		return in_loop(s);
	/* Its first instruction says so. */
	return s->rip == (unsigned long)__dune_sigreturned ? DOING_SIGRETURNED : s->doing;
}

/* The kernel has made SIGSYS of a call, as a seccomp filter said. */
static inline bool is_trap(const siginfo_t *info)
{
	return info->si_signo == SIGSYS && info->si_code == SECCOMP_TRAP;
}

static inline bool between(unsigned long rip, const void *first, const void *last)
{
	return rip >= (unsigned long)first && rip < (unsigned long)last;
}

static inline enum signal_kind kind_of_fault(unsigned long rip)
{
	if (between(rip, __dune_touch_read, __dune_touch_end))
		return SIGNAL_ACCESS;
	if (between(rip, __dune_copy, __dune_copy_failed))
		return SIGNAL_COPY;
	return rip == (unsigned long)__dune_peek ? SIGNAL_PEEK : SIGNAL_SENT;
}

static inline enum signal_kind kind_of(const siginfo_t *info, unsigned long rip)
{
	if (info->si_code <= 0)
		return SIGNAL_SENT;
	if (info->si_signo == SIGSEGV || info->si_signo == SIGBUS)
		return kind_of_fault(rip);
	return is_trap(info) && at(rip, __dune_syscall_site) ? SIGNAL_TRAP : SIGNAL_SENT;
}

#pragma GCC visibility pop

#endif /* LIBDUNE_DOING_H */
