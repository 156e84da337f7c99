/* SPDX-License-Identifier: MIT */
/*
 * What a thread may be forbidden, and told back by SIGSEGV: does it work?  And who it is forbidden with the thread:
 * those that it makes.
 */
#ifndef TESTS_FORBIDDEN_H
#define TESTS_FORBIDDEN_H

#include <setjmp.h>

#include "mem.h"

static _Thread_local sigjmp_buf forbidden_back;
static _Thread_local volatile int forbidden_code;

static inline void forbidden_on_segv(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	forbidden_code = info->si_code;
	siglongjmp(forbidden_back, 1);
}

static inline void forbidden_catch(void)
{
	struct sigaction action = { .sa_sigaction = forbidden_on_segv, .sa_flags = SA_SIGINFO };

	CHECK(!sigaction(SIGSEGV, &action, NULL));
}

/* Does it work?  If not, as it should: by a SIGSEGV of the kernel's. */
#define WORKS(instruction) ({				\
	bool works_ = !sigsetjmp(forbidden_back, 1);	\
							\
	if (works_)					\
		instruction;				\
	else						\
		CHECK_EQ(forbidden_code, SI_KERNEL);	\
	works_;						\
})

struct forbidden {
	void (*expect)(bool allowed);	/* of the calling thread */
	void (*allow)(bool allowed);
};

struct forbidden_thread {
	const struct forbidden *what;
	bool allowed;
};

static inline void *forbidden_in_thread(void *arg)
{
	const struct forbidden_thread *t = arg;

	t->what->expect(t->allowed);
	/* Nobody else's. */
	t->what->allow(!t->allowed);
	t->what->expect(!t->allowed);
	return NULL;
}

/* A thread begins as the one that makes it; its vCPU may have been that of one which was not. */
static inline void forbidden_threads(const struct forbidden *what, bool allowed)
{
	struct forbidden_thread t = { what, allowed };
	pthread_t thread;

	for (unsigned int i = 0; i < 4; i++) {
		CHECK(!pthread_create(&thread, NULL, forbidden_in_thread, &t));
		CHECK(!pthread_join(thread, NULL));
		what->expect(allowed);
	}
}

static inline void forbidden_child(const struct forbidden *what, bool allowed)
{
	pid_t pid = fork();

	if (!pid) {
		what->expect(allowed);
		_exit(0);
	}
	expect_exit(pid);
}

#endif /* TESTS_FORBIDDEN_H */
