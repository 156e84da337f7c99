// SPDX-License-Identifier: MIT
/*
 * Where frames of signals go: many at once.
 */
#include <signal.h>
#include <unistd.h>

#include "proc.h"

#define MANY		400

static volatile sig_atomic_t seen;

static void set_handler(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	CHECK_EQUAL(sigaction(signo, &action, NULL), 0, "sigaction");
}

static void note(int signo, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	(void)signo;
	CHECK_WORLD("a handler");
	seen++;
}

/* Each is unblocked before the handler of the one before has begun. */
static void many(void)
{
	sigset_t mask;

	set_handler(SIGRTMIN, note, SA_NODEFER);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	seen = 0;
	for (int i = 0; i < MANY; i++)
		CHECK_EQUAL(sigqueue(getpid(), SIGRTMIN, (union sigval){ 0 }), 0, "sigqueue");
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	CHECK_EQUAL(seen, MANY, "handlers of signals that came at once");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	many();
	return check_result();
}
