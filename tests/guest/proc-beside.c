// SPDX-License-Identifier: MIT
/*
 * Signals of threads beside each other: some not in Dune mode while others are, and some that enter it at once.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc.h"

#define STACK	65536

static volatile sig_atomic_t seen;
static __thread sigjmp_buf back;
static int release[2];

static void set_handler(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	sigaddset(&action.sa_mask, SIGUSR2);
	CHECK_EQUAL(sigaction(signo, &action, NULL), 0, "sigaction");
}

static void outside(int signo, siginfo_t *info, void *context)
{
	sigset_t mask;

	(void)info;
	(void)context;
	seen++;
	CHECK(!dune_in_dune_mode(), "the handler is in Dune mode");
	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(sigismember(&mask, signo) && sigismember(&mask, SIGUSR2), "what the action blocks");
	CHECK(!sigismember(&mask, SIGALRM) && !sigismember(&mask, SIGTERM), "what it does not");
	if (signo == SIGSEGV)
		siglongjmp(back, 1);
}

static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char space[4096];

	space[0] = depth;
	return depth < 100000000 ? recurse(depth + 1) + space[0] : 0;
}

/* Made before there is Dune mode, and stays out of it. */
static void *ordinary(void *arg)
{
	stack_t alt = { .ss_sp = malloc(STACK), .ss_size = STACK };
	volatile unsigned int *volatile nowhere = (void *)16;
	int status;
	char c;

	CHECK_EQUAL(read(release[0], &c, 1), 1, "read");
	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack");
	seen = 0;
	pthread_kill(pthread_self(), SIGUSR1);
	CHECK_EQUAL(seen, 1, "handlers run");
	if (!sigsetjmp(back, 1))
		recurse(0);
	CHECK_EQUAL(seen, 2, "handlers of a stack that is too deep");
	/* SA_RESETHAND: the second one kills. */
	status = IN_CHILD(if (!sigsetjmp(back, 1)) *nowhere = 1);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "after a handler with SA_RESETHAND: %#x", status);
	return arg;
}

/* ---- at once ---- */

static pthread_barrier_t barrier;

static void note(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	(void)context;
	CHECK_WORLD("a handler");
	__atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
}

static void *enters(void *arg)
{
	for (int i = 0; i < 50; i++) {
		pthread_barrier_wait(&barrier);
		if (proc_inside)
			CHECK_EQUAL(dune_enter(), 0, "dune_enter");
		pthread_kill(pthread_self(), SIGUSR1);
		pthread_barrier_wait(&barrier);
		if (proc_inside)
			dune_leave();
	}
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	proc_inside = argc < 2 || strcmp(argv[1], "outside");
	if (proc_inside)
		DIE_UNLESS(!dune_init(true), "dune_init");
	DIE_UNLESS(!pipe(release), "pipe");

	set_handler(SIGUSR1, outside, 0);
	set_handler(SIGSEGV, outside, SA_ONSTACK | SA_RESETHAND);
	pthread_create(&threads[0], NULL, ordinary, NULL);
	if (proc_inside)
		DIE_UNLESS(!dune_enter(), "dune_enter");
	CHECK_EQUAL(write(release[1], "x", 1), 1, "write");
	pthread_join(threads[0], NULL);
	if (proc_inside)
		CHECK_EQUAL(dune_leave(), 0, "dune_leave");

	pthread_barrier_init(&barrier, NULL, 2);
	seen = 0;
	set_handler(SIGUSR1, note, 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, enters, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQUAL(seen, 100, "handlers of threads that enter at once");
	return check_result();
}
