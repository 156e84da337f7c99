// SPDX-License-Identifier: MIT
/*
 * Signals: actions, masks and alternate stacks.  A program's handler would run outside Dune
 * mode: the kernel is given one of libdune's in its place, which has it run in the guest
 * (deliver.c), and the program's is kept in a table.  Default and ignored actions, and
 * masks, are the kernel's.  HR3 has no alternate stack: its stack pointer is always libdune's.
 */
#include <linux/sched.h>

#include "host/signals.h"

struct sighand __dune_sighand;

/*
 * What libdune's handler needs in place of the program's flags.  The kernel gets all others, those that it does not
 * know too, and says which of them it keeps.  SA_RESTART: it decides whether a call is made again.  SA_ONSTACK is for
 * threads that are not in Dune mode: of the others it knows no alternate stack.
 */
#define SA_OURS			(SA_SIGINFO | SA_RESTORER | SA_NODEFER)
#define UNBLOCKABLE		(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1))
#define ALTSTACK_MIN		2048

/*
 * A call of the program's is about to be made that no signal may interrupt.  Only SIGSYS must come, which a seccomp
 * filter may make of the call: the kernel kills who blocks that.
 */
HOT void __dune_call_begin(struct dune_thread *t)
{
	uint64_t mask = ~(1UL << (SIGSYS - 1)), old;

	if (!region_state()->filtered)
		mask = ALL_SIGNALS;
	set_mask(SIG_SETMASK, &mask, &old);
	t->calling_mask = t->deferred ? t->deferred_mask : old;
	set_doing(t, DOING_OWN_CALL);
}

/* @next: what goes on then. */
HOT void __dune_call_end(struct dune_thread *t, enum doing next)
{
	set_doing(t, next);
	if (t->deferred)
		__dune_signals_block();
	else
		__dune_signals_restore(t->calling_mask);
}

/* ---- actions ---- */

static bool is_fault(int signo)
{
	return signo == SIGSEGV || signo == SIGBUS;
}

/* SA_RESETHAND is the kernel's too, but where libdune's handler is to stay. */
static unsigned long our_flags(int signo)
{
	return is_fault(signo) ? SA_OURS | SA_RESETHAND : SA_OURS;
}

static struct sigaction_kernel host_action(int signo, const struct sigaction_kernel *action)
{
	return (struct sigaction_kernel){
		.handler = (unsigned long)__dune_host_handler,
		.flags = (action->flags & ~our_flags(signo)) | SA_SIGINFO | SA_RESTORER,
		.restorer = (unsigned long)__dune_sigreturn,
		.mask = ALL_SIGNALS,
	};
}

/* The handler last: a signal may come in between. */
static void store_action(struct sigaction_kernel *kept, const struct sigaction_kernel *action)
{
	kept->flags = action->flags;
	kept->restorer = action->restorer;
	kept->mask = action->mask & ~UNBLOCKABLE;
	__atomic_store_n(&kept->handler, action->handler, __ATOMIC_RELEASE);
}

/* The kernel has said @action of @signo: if that is libdune's, make it the program's @kept, with the flags it keeps. */
static void as_program_sees(int signo, struct sigaction_kernel *action, const struct sigaction_kernel *kept)
{
	const unsigned long ours = our_flags(signo), flags = action->flags;

	if (action->handler != (unsigned long)__dune_host_handler)
		return;
	*action = *kept;
	action->flags = (flags & ~ours) | (kept->flags & ours);
}

/*
 * The actions of SIGSEGV and SIGBUS change under a lock: libdune catches them now and then though the program does not.
 * With signals blocked, for a handler that resets its signal takes it too.  Of others nothing is locked: their action
 * in the kernel is the program's.
 */
static uint64_t lock_faults(void)
{
	uint64_t mask = __dune_signals_block();

	word_lock(&region_state()->actions, __dune_holder_host());
	return mask;
}

static void unlock_faults(uint64_t mask)
{
	word_unlock(&region_state()->actions);
	__dune_signals_restore(mask);
}

static bool faults_caught(const struct sighand *sighand)
{
	return sighand->faults_kept || sighand->touching;
}

/*
 * Give @signo the action @new; the program's last one goes to @old.  No signal that comes to libdune's handler may
 * find none of the program's: so a new one is there before the kernel knows of it, and an old one for as long as it
 * does.
 */
static long install_locked(struct sighand *sighand, int signo, const struct sigaction_kernel *new,
			   struct sigaction_kernel *old)
{
	struct sigaction_kernel host, *kept = &sighand->actions[signo], last = *kept;
	long ret;

	if (is_handler(new))
		store_action(kept, new);
	if (is_handler(new) || (is_fault(signo) && faults_caught(sighand)))
		host = host_action(signo, new);
	else
		host = *new;
	ret = set_action(signo, &host, old);
	if (ret) {
		store_action(kept, &last);
		return ret;
	}
	as_program_sees(signo, old, &last);
	store_action(kept, new);
	return 0;
}

static long install(struct sighand *sighand, int signo, const struct sigaction_kernel *new,
		    struct sigaction_kernel *old)
{
	uint64_t mask;
	long ret;

	if (!is_fault(signo))
		return install_locked(sighand, signo, new, old);
	mask = lock_faults();
	ret = install_locked(sighand, signo, new, old);
	unlock_faults(mask);
	return ret;
}

void __dune_signal_reset(struct sighand *sighand, int signo)
{
	const struct sigaction_kernel default_action = { 0 };
	struct sigaction_kernel old;

	/* A filter may forbid what is not needed. */
	if (is_fault(signo) && READ_ONCE(sighand->faults_kept))
		sighand->actions[signo] = default_action;
	else
		install(sighand, signo, &default_action, &old);
}

static int adopt_actions(struct sighand *sighand)
{
	struct sigaction_kernel action, old;
	long ret;

	for (int signo = 1; signo <= NR_SIGNALS; signo++) {
		ret = set_action(signo, NULL, &action);
		if (!ret && is_handler(&action) && action.handler != (unsigned long)__dune_host_handler)
			ret = install(sighand, signo, &action, &old);
		if (ret)
			return ret;
	}
	return 0;
}

/* The program's actions again, but for what a thread that was not in Dune mode has changed meanwhile. */
static void release_actions(struct sighand *sighand)
{
	struct sigaction_kernel now;

	for (int signo = 1; signo <= NR_SIGNALS; signo++) {
		struct sigaction_kernel *kept = &sighand->actions[signo];

		if ((is_handler(kept) || (is_fault(signo) && faults_caught(sighand))) &&
		    !set_action(signo, NULL, &now) && now.handler == (unsigned long)__dune_host_handler)
			set_action(signo, kept, NULL);
		kept->handler = 0;
	}
	sighand->faults_kept = false;
}

static void catch_fault(struct sighand *sighand, int signo)
{
	struct sigaction_kernel *kept = &sighand->actions[signo], host;

	if (is_handler(kept) || set_action(signo, NULL, &host))
		return;
	if (host.handler == (unsigned long)__dune_host_handler)	/* another thread has just done it */
		return;
	*kept = host;
	host = host_action(signo, kept);
	set_action(signo, &host, NULL);
}

static void release_fault(struct sighand *sighand, int signo)
{
	const struct sigaction_kernel *kept = &sighand->actions[signo];
	struct sigaction_kernel old;

	if (is_handler(kept) || set_action(signo, kept, &old))
		return;
	if (old.handler != (unsigned long)__dune_host_handler)	/* by a thread that is not in Dune mode */
		set_action(signo, &old, NULL);
}

static void catch_faults(struct sighand *sighand)
{
	if (faults_caught(sighand))
		return;
	catch_fault(sighand, SIGSEGV);
	catch_fault(sighand, SIGBUS);
}

static void release_faults(struct sighand *sighand)
{
	if (faults_caught(sighand))
		return;
	release_fault(sighand, SIGSEGV);
	release_fault(sighand, SIGBUS);
}

/* Have SIGSEGV and SIGBUS go to libdune's handler from now on. */
void __dune_faults_keep(struct sighand *sighand)
{
	uint64_t mask;

	if (READ_ONCE(sighand->faults_kept))
		return;
	mask = lock_faults();
	catch_faults(sighand);
	sighand->faults_kept = true;
	unlock_faults(mask);
}

/* In the child of a fork: the threads that were making accesses are not there.  Signals are blocked. */
HOT void __dune_faults_forked(struct sighand *sighand)
{
	if (!sighand->touching)
		return;
	sighand->touching = 0;
	release_faults(sighand);
}

/*
 * An access that the program made is about to be made by HR3.  A signal that comes first, and has to wait, leaves all
 * signals blocked: SIGSEGV for the access would be fatal then.  So the access is not made, but by the guest again.
 */
void __dune_touch_begin(struct dune_thread *t)
{
	t->touch_mask = NO_MASK;
	set_doing(t, DOING_TOUCH);
}

/*
 * Have what the kernel sends for it come to libdune's handler, even where the program has none or blocks it.  Only as
 * long as that access takes: a signal that the program ignores is not to interrupt its calls, nor to be shown as caught
 * in /proc/PID/status.
 */
void __dune_touch_catch(struct dune_thread *t)
{
	const uint64_t faults = 1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1);
	uint64_t mask = lock_faults();

	catch_faults(t->sighand);
	t->sighand->touching++;
	t->touch_mask = mask;
	unlock_faults(mask & ~faults);
}

/* The other way round; all signals are blocked. */
void __dune_touch_release(struct dune_thread *t)
{
	word_lock(&region_state()->actions, __dune_holder_host());
	/* First: who is killed here must not be counted out twice. */
	WRITE_ONCE(t->touch_mask, NO_MASK);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->sighand->touching--;
	release_faults(t->sighand);
	word_unlock(&region_state()->actions);
}

/* @t is dead: it may have been making such an access. */
void __dune_touch_forget(struct dune_thread *t)
{
	uint64_t mask;

	if (t->doing != DOING_TOUCH || t->touch_mask == NO_MASK || t->sighand == own_sighand(t))
		return;
	mask = __dune_signals_block();
	__dune_touch_release(t);
	__dune_signals_restore(mask);
}

void __dune_touch_done(struct dune_thread *t)
{
	uint64_t mask = t->touch_mask;

	if (mask != NO_MASK) {
		__dune_signals_block();
		__dune_touch_release(t);
		__dune_signals_restore(mask);
	}
	set_doing(t, DOING_FAULT);
}

/*
 * A thread that enters Dune mode hands over its alternate stack, and the process's handlers, as far as no other has
 * done so; the last one that leaves gets those back.  Who enters while another one does waits for it.
 */
int __dune_signals_adopt(struct dune_thread *t)
{
	const struct altstack none = { .flags = SS_DISABLE };
	uint64_t state;
	int ret;

	dune_syscall2(__NR_sigaltstack, NULL, &t->altstack);
	if (!(t->altstack.flags & SS_DISABLE))
		dune_syscall2(__NR_sigaltstack, &none, NULL);
	if (__dune_process.fresh)
		return 0;
	state = memory_lock();
	ret = adopt_actions(t->sighand);
	memory_unlock(state);
	return ret;
}

/* Frees the thread's area too: of two that leave at once one is to be the last. */
void __dune_signals_release(struct dune_thread *t)
{
	uint64_t state;

	if (!(t->altstack.flags & SS_DISABLE))
		dune_syscall2(__NR_sigaltstack, &t->altstack, NULL);
	state = memory_lock();
	if (__dune_thread_alone(t))
		release_actions(t->sighand);
	__dune_thread_free(t);
	memory_unlock(state);
}

/* What the kernel shares, copies and resets in clone(). */
void __dune_signals_clone(struct dune_thread *child, const struct dune_thread *parent, uint64_t flags)
{
	if (flags & CLONE_VFORK)
		child->altstack = parent->altstack;
	if (flags & CLONE_SIGHAND) {
		child->sighand = parent->sighand;
		return;
	}
	child->sighand = own_sighand(child);
	if (flags & CLONE_CLEAR_SIGHAND)
		memset(child->sighand, 0, sizeof(*child->sighand));
	else
		*child->sighand = *parent->sighand;
	/* What the kernel copies meanwhile may have libdune's handler for them. */
	child->sighand->faults_kept |= child->sighand->touching;
	child->sighand->touching = 0;
}

/* ---- system calls ---- */

long __dune_sys_sigaction(struct dune_thread *t, struct guest_regs *r)
{
	struct sigaction_kernel new, old;
	const int signo = r->rdi;
	long ret;

	if (r->r10 != SIGSET_SIZE)
		return -EINVAL;
	if (r->rsi && __dune_copy_in(&new, r->rsi, sizeof(new)))
		return -EFAULT;
	if (signo < 1 || signo > NR_SIGNALS)
		return -EINVAL;
	if (r->rsi) {
		ret = install(t->sighand, signo, &new, &old);
	} else {
		ret = set_action(signo, NULL, &old);
		if (!ret)
			as_program_sees(signo, &old, &t->sighand->actions[signo]);
	}
	if (!ret && r->rdx)
		ret = __dune_copy_out(r->rdx, &old, sizeof(old));
	return ret;
}

bool __dune_on_altstack(const struct altstack *s, unsigned long sp)
{
	return !(s->flags & (SS_DISABLE | SS_AUTODISARM)) && sp - s->sp - 1 < s->size;
}

/* With the stack pointer at @sp.  0 or -errno. */
long __dune_set_altstack(struct dune_thread *t, const struct altstack *s, unsigned long sp)
{
	unsigned int mode = s->flags & ~SS_AUTODISARM;

	if (__dune_on_altstack(&t->altstack, sp))
		return -EPERM;
	if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE)
		return -EINVAL;
	if (mode != SS_DISABLE && s->size < ALTSTACK_MIN)
		return -ENOMEM;
	t->altstack = (struct altstack){
		.sp = mode == SS_DISABLE ? 0 : s->sp,
		.size = mode == SS_DISABLE ? 0 : s->size,
		.flags = s->flags & ~SS_ONSTACK,
	};
	return 0;
}

long __dune_sys_sigaltstack(struct dune_thread *t, struct guest_regs *r)
{
	struct altstack new, old = t->altstack;
	bool inside = __dune_on_altstack(&old, r->rsp);
	long ret;

	/* Nothing is asked of the kernel but what a filter says. */
	if (region_state()->filtered) {
		ret = dune_syscall2(__NR_sigaltstack, NULL, NULL);
		if (ret)
			return ret;
	}

	if (r->rdi) {
		ret = __dune_copy_in(&new, r->rdi, sizeof(new));
		if (!ret)
			ret = __dune_set_altstack(t, &new, r->rsp);
		if (ret)
			return ret;
	}
	if (!r->rsi)
		return 0;
	if (inside)
		old.flags |= SS_ONSTACK;
	return __dune_copy_out(r->rsi, &old, sizeof(old));
}
