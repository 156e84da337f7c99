// SPDX-License-Identifier: MIT
/*
 * Where libdune's descriptor is.  HR3.
 */
#include <linux/fcntl.h>
#include <linux/resource.h>

#include "base/base.h"

/*
 * Out of the way of programs, which often try all up to 255, and not above 319: a fork goes through all up to the
 * next multiple of 64, and what describes 512 of them is a page.
 */
#define DUNE_FD		300

struct limit {
	uint64_t soft, hard;
};

/*
 * The program's limit is lower: raise it for a moment, if the process may.  What is open then stays open, and takes
 * none of the few that the program may have.
 */
static long move_beyond(const struct limit *limit, int fd)
{
	const uint64_t enough = DUNE_FD + 1;
	const struct limit more = { enough, limit->hard < enough ? enough : limit->hard };
	long ret;

	if (limit->soft >= enough || __dune_process.filtered)
		return -EINVAL;
	ret = dune_syscall4(__NR_prlimit64, 0, RLIMIT_NOFILE, &more, NULL);
	if (ret)
		return ret;
	ret = dune_syscall3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, DUNE_FD);
	dune_syscall4(__NR_prlimit64, 0, RLIMIT_NOFILE, limit, NULL);
	return ret;
}

/* Give the descriptor a high number if there is room; else it stays where it is. */
int __dune_move_fd(int fd)
{
	struct limit limit = { 0 };
	int wanted[] = { DUNE_FD, 200, 100, 20, 0 };
	long ret;

	if (!dune_syscall4(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) && limit.soft && limit.soft < 20)
		wanted[ARRAY_SIZE(wanted) - 1] = limit.soft - 1;
	ret = move_beyond(&limit, fd);
	if (!is_error(ret)) {
		own_syscall1(__NR_close, fd);
		return ret;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!wanted[i])
			break;
		ret = dune_syscall3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, wanted[i]);
		if (is_error(ret))
			continue;
		own_syscall1(__NR_close, fd);
		return ret;
	}
	return fd;
}
