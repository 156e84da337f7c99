/* SPDX-License-Identifier: MIT */
/*
 * What the tests of processes, threads and signals share.  Each runs in Dune mode, or with the
 * argument "outside" as an ordinary program: the same checks hold, which tests the test.
 */
#ifndef TESTS_PROC_H
#define TESTS_PROC_H

#include <sys/wait.h>

#include <dune.h>

#include "check.h"
#include "mode.h"

static bool proc_inside __attribute__((unused));

/* Whatever runs must be where the program is. */
#define CHECK_WORLD(what) \
	CHECK(dune_in_dune_mode() == proc_inside, "%s is %sin Dune mode", what, proc_inside ? "not " : "")

__attribute__((unused)) static void proc_begin(int argc, char **argv)
{
	int error;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "outside"))
		return;
	proc_inside = true;
	dune_set_option(DUNE_OPT_QUIET, true);
	error = mode_enter();
	if (error) {
		printf("cannot enter Dune mode: %s\n", strerror(-error));
		exit(1);
	}
}

/* The status of a child, which must end within the test's time. */
__attribute__((unused)) static int proc_wait(pid_t pid)
{
	int status = -1;
	pid_t ret;

	do
		ret = waitpid(pid, &status, 0);
	while (ret < 0 && errno == EINTR);
	CHECK_EQUAL(ret, pid, "waitpid");
	return status;
}

/* Do what is in the parentheses in a child; its wait status. */
#define IN_CHILD(...) ({			\
	pid_t pid_;				\
						\
	fflush(stdout);				\
	pid_ = fork();				\
	if (!pid_) {				\
		check_failures = 0;		\
		__VA_ARGS__;			\
		_exit(check_failures != 0);	\
	}					\
	proc_wait(pid_);			\
})

#define EXITED(code)	((code) << 8)

#endif
