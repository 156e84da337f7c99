/* SPDX-License-Identifier: MIT */
/*
 * HR3: the program's signal handlers, which run in the guest.
 */
#ifndef LIBDUNE_SIGNALS_H
#define LIBDUNE_SIGNALS_H

#include "host/signals/doing.h"

#pragma GCC visibility push(hidden)

/* The program's handlers; those signals go to libdune's in the kernel.  SIG_DFL, SIG_IGN: it has none. */
struct sighand {
	struct sigaction_kernel actions[NR_SIGNALS + 1];
	/* SIGSEGV and SIGBUS go to libdune's handler although the program has none: */
	uint32_t touching;	/* while threads make accesses for the guest; so many do */
	bool faults_kept;	/* for good */
};

/* A signal that has come, until a handler of the program's can run. */
struct pending_signal {
	siginfo_t info;
	struct sigaction_kernel action;
};

/* One that waits for the guest to come out, and SIGSEGV, SIGBUS and SIGSYS, which are not blocked meanwhile. */
#define PENDING_MAX	4

static inline struct pending_signal *pending_signals(const struct dune_thread *t)
{
	return (struct pending_signal *)(thread_area(t) + AREA_PENDING);
}

/* If it is not shared with the thread that made this one. */
_Static_assert(AREA_SIGHAND + sizeof(struct sighand) <= AREA_CALL, "it fits");

static inline struct sighand *own_sighand(const struct dune_thread *t)
{
	return (struct sighand *)(thread_area(t) + AREA_SIGHAND);
}

void __dune_sigreturn(void);
void __dune_sigreturn_finish(struct dune_thread *t) __attribute__((noreturn));
void __dune_host_sigreturn(const void *context) __attribute__((noreturn));
void __dune_guest_sigreturn(const void *context) __attribute__((noreturn));

extern struct sighand __dune_sighand;	/* that of the first thread */

int __dune_signals_adopt(struct dune_thread *t);
void __dune_signals_release(struct dune_thread *t);
void __dune_signals_clone(struct dune_thread *child, const struct dune_thread *parent, uint64_t flags);
void __dune_host_handler(int signo, siginfo_t *info, void *context);
void __dune_signal_reset(struct sighand *sighand, int signo);
void __dune_call_again(struct dune_thread *t);
void __dune_signals_resume(struct dune_thread *t);
bool __dune_signals_first(struct dune_thread *t);
void __dune_signals_now(struct dune_thread *t);
void __dune_signal_dispatched(struct dune_thread *t, const siginfo_t *info);
void __dune_signal_killing(struct dune_thread *t, const siginfo_t *info) __attribute__((noreturn));
void __dune_signal_forced(struct dune_thread *t, const char *why);
void __dune_signal_exception(struct dune_thread *t, const struct raise *raise);
void __dune_signal_fault(struct dune_thread *t, int signo, int code, unsigned long addr, uint32_t error);
void __dune_die_in_guest(struct dune_thread *t, int signo, int code) __attribute__((noreturn));
void __dune_touch_begin(struct dune_thread *t);
void __dune_touch_catch(struct dune_thread *t);
void __dune_touch_release(struct dune_thread *t);
void __dune_touch_done(struct dune_thread *t);
void __dune_touch_forget(struct dune_thread *t);

/* No mask of the kernel's: SIGKILL cannot be blocked. */
#define NO_MASK		(~0UL)

/* The selectors of a program outside Dune mode, which frames have. */
#define USER_CS		0x33
#define USER_SS		0x2b

/* Values that the kernel reads as SIG_DFL and SIG_IGN. */
static inline bool is_handler(const struct sigaction_kernel *action)
{
	return action->handler > 1;
}

static inline bool __dune_has_handler(const struct sighand *sighand, int signo)
{
	return is_handler(&sighand->actions[signo]);
}

bool __dune_on_altstack(const struct altstack *s, unsigned long sp);
long __dune_set_altstack(struct dune_thread *t, const struct altstack *s, unsigned long sp);
void __dune_call_begin(struct dune_thread *t);
void __dune_call_end(struct dune_thread *t, enum doing next);
void __dune_faults_keep(struct sighand *sighand);
void __dune_faults_forked(struct sighand *sighand);
long __dune_sys_sigaction(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_sigaltstack(struct dune_thread *t, struct guest_regs *r);

struct ucontext;
void __dune_restart_loop(struct dune_thread *t, struct ucontext *host, uint64_t mask);

/* sigreturn.c */
long __dune_sys_sigreturn(struct dune_thread *t, struct guest_regs *r);
void __dune_sigreturn_load(struct dune_thread *t);

#pragma GCC visibility pop

#endif /* LIBDUNE_SIGNALS_H */
