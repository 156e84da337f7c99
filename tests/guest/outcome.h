/* SPDX-License-Identifier: MIT */
/*
 * The same accesses by an ordinary process and by one in Dune mode, and what becomes
 * of each: done, and what was read; or the signal that killed it, with its si_code and
 * si_addr.
 *
 * A child makes accesses from @first on until one kills it; the next child goes on
 * behind. Its parent, an ordinary process, traces it to see the signal.
 */
#ifndef TESTS_OUTCOME_H
#define TESTS_OUTCOME_H

#include "mem.h"

#include <sys/ptrace.h>

struct outcome {
	int made;		/* the access was begun */
	int done;		/* and it ended */
	uint64_t value;		/* what it said */
	int signo, code;
	unsigned long addr;
};

/* Makes access @number of @argument; returns what it read. */
typedef uint64_t (*access_fn)(unsigned int number, void *argument);

static inline void outcomes_child(access_fn fn, void *argument, struct outcome *outcomes,
				  unsigned int first, unsigned int end)
{
	CHECK(!ptrace(PTRACE_TRACEME, 0, 0, 0));
	for (unsigned int i = first; i < end; i++) {
		outcomes[i].made = 1;
		outcomes[i].value = fn(i, argument);
		outcomes[i].done = 1;
	}
	_exit(0);
}

/* The number of the first access that child @pid did not come to. */
static inline unsigned int outcomes_watch(pid_t pid, struct outcome *outcomes,
					  unsigned int first, unsigned int end)
{
	unsigned int at = first;
	siginfo_t info;
	int status;

	for (;;) {
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		memset(&info, 0, sizeof(info));
		CHECK(!ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
		while (at < end && outcomes[at].done)
			at++;
		CHECK(at < end);
		outcomes[at].signo = info.si_signo;
		outcomes[at].code = info.si_code;
		outcomes[at].addr = (unsigned long)info.si_addr;
		CHECK(!ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status)));
	}
	while (at < end && outcomes[at].done)
		at++;
	if (at == end) {
		CHECK_EQ(status, 0);
		return end;
	}
	if (!WIFSIGNALED(status) || WTERMSIG(status) != outcomes[at].signo)
		FAIL("access %u: status %#x, signal %d", at, status, outcomes[at].signo);
	return at + 1;
}

static inline struct outcome *outcomes_of(access_fn fn, void *argument, unsigned int count, bool dune)
{
	struct outcome *outcomes = (void *)map(NULL, count * sizeof(*outcomes) + PAGE, RW,
					       MAP_SHARED | MAP_ANONYMOUS, -1);
	unsigned int at = 0;

	while (at < count) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			if (dune) {
				enter();
				dune_set_option(DUNE_OPT_QUIET, true);
			}
			outcomes_child(fn, argument, outcomes, at, count);
		}
		at = outcomes_watch(pid, outcomes, at, count);
	}
	return outcomes;
}

/* Both, which must be alike; @name says what access @number is. Returns the outcomes. */
static inline struct outcome *outcomes_alike(access_fn fn, void *argument, unsigned int count,
					     const char *(*name)(unsigned int number))
{
	struct outcome *plain = outcomes_of(fn, argument, count, false);
	struct outcome *dune = outcomes_of(fn, argument, count, true);
	unsigned int different = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct outcome *a = &plain[i], *b = &dune[i];

		CHECK(a->made);
		if (a->done == b->done && a->value == b->value && a->signo == b->signo &&
		    a->code == b->code && a->addr == b->addr)
			continue;
		different++;
		printf("%s: an ordinary process %s %#lx, signal %d, code %d, address %#lx; "
		       "in Dune mode %s %#lx, signal %d, code %d, address %#lx\n", name(i),
		       a->done ? "gets" : "dies after", a->value, a->signo, a->code, a->addr,
		       b->done ? "gets" : "dies after", b->value, b->signo, b->code, b->addr);
	}
	fflush(stdout);
	CHECK_EQ(different, 0);
	return plain;
}

#endif /* TESTS_OUTCOME_H */
