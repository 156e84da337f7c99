// SPDX-License-Identifier: MIT
/*
 * Handlers that never return: siglongjmp() out of those of calls, of faults, of signals from another thread, on an
 * alternate stack and on the thread's own, in system calls that wait. Nothing grows, and nothing stays blocked.
 *
 *	proc-longjmp inside|outside [TIMES]
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#include "proc.h"

static sigjmp_buf buffer;
static volatile sig_atomic_t ready;
static volatile bool over;
static int *volatile nowhere = (int *)8;
static int ends[2];

static void leave(int signo)
{
	CHECK_WORLD("a handler");
	siglongjmp(buffer, signo);
}

/* Not before there is somewhere to go; and once, for the next one comes as soon as siglongjmp() lets it. */
static void leave_if_ready(int signo)
{
	if (!ready)
		return;
	ready = 0;
	siglongjmp(buffer, signo);
}

static void *sends(void *main_thread)
{
	while (!over)
		if (ready)
			pthread_kill(*(pthread_t *)main_thread, SIGUSR2);
	return NULL;
}

static void waits(void)
{
	char byte;

	ready = 1;
	for (;;)
		CHECK(read(ends[0], &byte, 1) < 0, "read");
}

/* One of three ways into a handler; that of another thread's signal is by a call that waits. */
static void once(unsigned long i)
{
	static const int signals[] = { SIGUSR1, SIGSEGV, SIGILL, SIGUSR2 };
	volatile int came;

	came = sigsetjmp(buffer, 1);
	if (!came) {
		switch (i % 4) {
		case 0:
			syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
			break;
		case 1:
			*nowhere = 1;
			break;
		case 2:
			__asm__ volatile("ud2");
			break;
		case 3:
			waits();
		}
		CHECK(false, "nothing has come: %lu", i);
	}
	ready = 0;
	CHECK(came == signals[i % 4], "signal %d, number %lu", came, i);
}

int main(int argc, char **argv)
{
	unsigned long times = argc > 2 ? strtoul(argv[2], NULL, 0) : 10000;
	struct sigaction action = { .sa_handler = leave };
	pthread_t me = pthread_self(), sender;
	static char stack[65536];
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct proc_size before;
	sigset_t mask;

	proc_begin(argc, argv);
	DIE_UNLESS(!pipe(ends) && !sigaltstack(&alternate, NULL), "pipe, sigaltstack");
	sigaction(SIGUSR1, &action, NULL);
	action.sa_flags = SA_ONSTACK;
	sigaction(SIGSEGV, &action, NULL);
	action.sa_flags = SA_NODEFER;
	sigaction(SIGILL, &action, NULL);
	action.sa_handler = leave_if_ready;
	action.sa_flags = SA_ONSTACK | SA_RESTART;
	sigaction(SIGUSR2, &action, NULL);
	DIE_UNLESS(!pthread_create(&sender, NULL, sends, &me), "pthread_create");
	for (unsigned long i = 0; i < 100; i++)
		once(i);
	before = proc_size();
	for (unsigned long i = 0; i < times && !check_failures; i++)
		once(i);
	over = true;
	pthread_join(sender, NULL);
	proc_check_growth(&before, "handlers that do not return");
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int signo = 1; signo < NSIG; signo++)
		CHECK(sigismember(&mask, signo) != 1, "signal %d is blocked", signo);
	printf("%lu times\n", times);
	return check_result();
}
