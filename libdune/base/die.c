// SPDX-License-Identifier: MIT
/*
 * Death by a signal.  HR3, and __dune_raise() in GR0 too.
 */
#include "base/base.h"

/*
 * By an exception, since a filter may forbid all calls: the kernel kills whose exception becomes a signal that is
 * blocked.  Returns if there is no such exception.
 */
static void die_by_exception(int signo)
{
	__dune_signals_block();
	switch (signo) {
	case SIGILL:
		__asm__ volatile("ud2");
		break;
	case SIGTRAP:
		__asm__ volatile("int3");
		break;
	case SIGFPE:
		__asm__ volatile("div %0" : : "r"(0) : "rax", "rdx", "cc");
		break;
	case SIGBUS:	/* an alignment check */
		__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; movl 1(%%rsp), %%eax" : : : "rax", "memory");
		break;
	case SIGSEGV:
		__asm__ volatile("hlt");
		break;
	}
}

void __dune_signal_default(int signo)
{
	const struct sigaction_kernel default_action = { 0 };

	set_action(signo, &default_action, NULL);
}

/* Has the kernel that action? */
bool __dune_signal_is_default(int signo)
{
	struct sigaction_kernel now;

	return !set_action(signo, NULL, &now) && now.handler == (unsigned long)SIG_DFL;
}

/* Its default action, with this siginfo; @info NULL: as kill() sends it. */
void __dune_die_by(int signo, const siginfo_t *info)
{
	uint64_t mask = 1UL << (signo - 1);
	long pid, tid;

	if (region_state()->filtered)
		die_by_exception(signo);
	pid = dune_syscall0(__NR_getpid);
	tid = dune_syscall0(__NR_gettid);
	__dune_signal_default(signo);
	if (info)
		dune_syscall4(__NR_rt_tgsigqueueinfo, pid, tid, signo, info);
	else
		dune_syscall3(__NR_tgkill, pid, tid, signo);
	set_mask(SIG_UNBLOCK, &mask, NULL);
	/* Still here: the action is to ignore it, or this is an init that no signal kills. */
	dune_syscall3(__NR_tgkill, pid, tid, SIGKILL);
	for (;;)
		dune_syscall1(__NR_exit_group, 128 + signo);
}

static void __attribute__((noreturn)) host_raise(int signo, int code, unsigned long addr)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = signo;
	info.si_code = code;
	info.si_addr = (void *)addr;
	__dune_die_by(signo, &info);
}

/* The signal that this exception is outside Dune mode. */
void __dune_raise(int signo, int code, unsigned long addr)
{
	struct raise raise = { .signo = signo, .code = code, .addr = addr, .fatal = true };

	if (dune_in_guest())
		__dune_process.gate(PRIVATE_RAISE, (unsigned long)&raise, 0, 0);
	host_raise(signo, code, addr);
}
