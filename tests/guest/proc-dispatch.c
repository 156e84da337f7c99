// SPDX-License-Identifier: MIT
/*
 * System call user dispatch: calls from outside a range of code, or while a byte says so, become SIGSYS.
 */
#include <linux/audit.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "proc.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH	59
#endif
#define OFF	0
#define ON	1
#define PASS	0
#define BLOCK	1

extern char __executable_start, etext;

static volatile char selector;
static volatile siginfo_t seen;
static volatile long seen_rax, seen_rip, result;
static volatile int times;

static long dispatch(unsigned long mode, unsigned long offset, unsigned long length, const volatile char *byte)
{
	return prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, offset, length, byte);
}

static void on_call(int signo, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signo;
	selector = PASS;
	memcpy((void *)&seen, info, sizeof(*info));
	seen_rax = r[REG_RAX];
	seen_rip = r[REG_RIP];
	r[REG_RAX] = result;
	times++;
}

static void catch(void)
{
	struct sigaction action = { .sa_sigaction = on_call, .sa_flags = SA_SIGINFO };

	sigaction(SIGSYS, &action, NULL);
}

static long call(long nr, long a, unsigned long *address)
{
	unsigned long at;
	long ret;

	__asm__ volatile("lea 1f(%%rip), %1; syscall; 1:"
			 : "=a"(ret), "=&r"(at) : "0"(nr), "D"(a) : "rcx", "r11", "memory");
	*address = at;
	return ret;
}

static void by_selector(void)
{
	unsigned long address;
	pid_t pid = getpid();

	CHECK_EQUAL(dispatch(ON, 0, 0, &selector), 0, "on");
	CHECK_EQUAL(getpid(), pid, "a call that passes");
	for (int i = 0; i < 100; i++) {
		result = 4000 + i;
		selector = BLOCK;
		CHECK_EQUAL(call(SYS_getppid, 0, &address), 4000 + i, "a call that is dispatched");
	}
	CHECK_EQUAL(times, 100, "how often");
	CHECK_EQUAL(seen.si_signo, SIGSYS, "si_signo");
	CHECK_EQUAL(seen.si_code, 2 /* SYS_USER_DISPATCH */, "si_code");
	CHECK_EQUAL(seen.si_errno, 0, "si_errno");
	CHECK_EQUAL((unsigned long)seen.si_call_addr, address, "si_call_addr");
	CHECK_EQUAL(seen.si_syscall, SYS_getppid, "si_syscall");
	CHECK_EQUAL(seen.si_arch, AUDIT_ARCH_X86_64, "si_arch");
	CHECK_EQUAL(seen_rax, SYS_getppid, "RAX in the handler");
	CHECK_EQUAL(seen_rip, address, "RIP in the handler");
	/* Those that libdune looks at, and those that are none. */
	selector = BLOCK;
	CHECK_EQUAL(call(SYS_munmap, 0, &address), result, "munmap");
	selector = BLOCK;
	CHECK_EQUAL(call(SYS_fork, 0, &address), result, "fork");
	selector = BLOCK;
	CHECK_EQUAL(call(99999, 0, &address), result, "a number that the kernel does not have");
	CHECK_EQUAL(seen.si_syscall, 99999, "si_syscall");
	CHECK_EQUAL(dispatch(OFF, 0, 0, NULL), 0, "off");
	selector = BLOCK;
	CHECK_EQUAL(getpid(), pid, "a call when it is off");
	selector = PASS;
}

/* All of this program may call; what lies elsewhere is dispatched. */
static void by_range(void)
{
	static const unsigned char code[] = { 0x89, 0xf8, 0x0f, 0x05, 0xc3 };	/* mov %edi, %eax; syscall; ret */
	unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long (*foreign)(long) = (void *)page;
	const unsigned long start = (unsigned long)&__executable_start;
	pid_t pid = getpid();

	memcpy(page, code, sizeof(code));
	CHECK_EQUAL(foreign(SYS_getpid), pid, "a foreign call");
	CHECK_EQUAL(dispatch(ON, start, (unsigned long)&etext - start, NULL), 0, "on for a range");
	for (int i = 0; i < 1000; i++) {
		result = i;
		CHECK_EQUAL(foreign(SYS_getpid), i, "a foreign call that is dispatched");
		CHECK_EQUAL(getpid(), pid, "a call of its own");
	}
	CHECK_EQUAL((unsigned long)seen.si_call_addr, (unsigned long)page + 4, "si_call_addr");
	CHECK_EQUAL(dispatch(OFF, 0, 0, NULL), 0, "off");
	CHECK_EQUAL(foreign(SYS_getpid), pid, "a foreign call when it is off");
	munmap(page, 4096);
}

static void *in_thread(void *pid)
{
	CHECK_EQUAL(getpid(), (long)pid, "another thread");
	return NULL;
}

static void inheritance(void)
{
	static char *const arguments[] = { "x", NULL };
	pthread_t thread;

	CHECK_EQUAL(IN_CHILD(
		dispatch(ON, 0, 0, &selector);
		CHECK(!pthread_create(&thread, NULL, in_thread, (void *)(long)getpid()), "a thread");
		CHECK(!pthread_join(thread, NULL), "the end of a thread");
		CHECK_EQUAL(IN_CHILD(selector = BLOCK; _exit(getpid() == syscall(SYS_gettid) ? 9 : 1)), EXITED(9),
			    "a child is not dispatched");
		execv("/proc/self/exe", arguments)
	), EXITED(44), "nor what is started by exec");
}

static void endings(void)
{
	CHECK_EQUAL(IN_CHILD(signal(SIGSYS, SIG_DFL); dispatch(ON, 0, 0, NULL); getpid()) & 0x7f, SIGSYS, "no handler");
	CHECK_EQUAL(IN_CHILD(signal(SIGSYS, SIG_IGN); dispatch(ON, 0, 0, NULL); getpid()) & 0x7f, SIGSYS, "ignored");
	CHECK_EQUAL(IN_CHILD(
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		dispatch(ON, 0, 0, NULL);
		getpid()
	) & 0x7f, SIGSYS, "blocked");
	CHECK_EQUAL(IN_CHILD(selector = 7; dispatch(ON, 0, 0, &selector); getpid()) & 0x7f, SIGSYS, "a bad selector");
	CHECK_EQUAL(IN_CHILD(dispatch(ON, 0, 0, (char *)8); getpid()) & 0x7f, SIGSEGV, "a selector that is nowhere");
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
}

/* Calls that pass are interrupted and restarted as ever. */
static void interrupted(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int fds[2];
	char byte;

	CHECK_EQUAL(pipe(fds), 0, "pipe");
	sigaction(SIGALRM, &action, NULL);
	CHECK_EQUAL(dispatch(ON, 0, 0, &selector), 0, "on");
	ualarm(200000, 0);
	CHECK_ERRNO(read(fds[0], &byte, 1), EINTR, "read");
	action.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &action, NULL);
	CHECK_EQUAL(IN_CHILD(
		pid_t parent = getppid();
		usleep(50000);
		kill(parent, SIGALRM);
		usleep(50000);
		write(fds[1], "x", 1);
		_exit(0)
	), EXITED(0), "a child");
	CHECK_EQUAL(read(fds[0], &byte, 1), 1, "read again");
	CHECK_EQUAL(alarms, 2, "alarms");
	CHECK_EQUAL(dispatch(OFF, 0, 0, NULL), 0, "off");
}

static void arguments(void)
{
	CHECK_ERRNO(dispatch(3, 0, 0, NULL), EINVAL, "an unknown mode");
	CHECK_ERRNO(dispatch(OFF, 1, 0, NULL), EINVAL, "off with an offset");
	CHECK_ERRNO(dispatch(OFF, 0, 1, NULL), EINVAL, "off with a length");
	CHECK_ERRNO(dispatch(OFF, 0, 0, &selector), EINVAL, "off with a selector");
	CHECK_ERRNO(dispatch(ON, 1, -1UL, &selector), EINVAL, "a range beyond the end");
	CHECK_ERRNO(dispatch(ON, 1, 0, &selector), EINVAL, "no range with an offset");
	CHECK_ERRNO(dispatch(ON, 0, 0, (char *)(1UL << 63)), EFAULT, "a selector of the kernel's");
}

int main(int argc, char **argv)
{
	if (argv[0][0] == 'x')
		return getpid() > 0 ? 44 : 1;
	proc_begin(argc, argv);
	if (dispatch(OFF, 0, 0, NULL)) {
		printf("this kernel has no system call user dispatch\n");
		return CHECK_SKIP;
	}
	catch();
	by_selector();
	by_range();
	inheritance();
	endings();
	interrupted();
	arguments();
	return check_result();
}
