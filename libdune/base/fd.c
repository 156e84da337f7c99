// SPDX-License-Identifier: MIT
/*
 * Where libdune's descriptor is: above the program's limit (RLIMIT_NOFILE).  What is open there stays open, it is none
 * of those that the program may have, and no call of the program's gets or reaches that number.  HR3.
 */
#include <linux/fcntl.h>
#include <linux/resource.h>

#include "base/base.h"
#include "base/program.h"

static long set_limit(const struct fd_limit *limit, struct fd_limit *old)
{
	return dune_syscall4(__NR_prlimit64, 0, RLIMIT_NOFILE, limit, old);
}

/* Only for as long as it takes: another thread of the program's could have more meanwhile. */
void __dune_fd_limit_raise(struct fd_limits *limits)
{
	struct fd_limit *own = &limits->own, *raised = &limits->raised;

	if (region_state()->filtered || set_limit(NULL, own))
		own->soft = own->hard = FD_HIGHEST;
	*raised = *own;
	if (region_state()->filtered || own->soft > FD_HIGHEST)
		return;
	raised->hard += own->soft == own->hard;		/* for which a privilege is needed */
	raised->soft = raised->hard;
	if (set_limit(raised, NULL))
		*raised = *own;
}

void __dune_fd_limit_restore(const struct fd_limits *limits)
{
	struct fd_limit now;

	if (limits->raised.soft == limits->own.soft)
		return;
	/* Who has set another one meanwhile is to have it. */
	if (!set_limit(&limits->own, &now) && (now.soft != limits->raised.soft || now.hard != limits->raised.hard))
		set_limit(&now, NULL);
}

/* Where the limit could not be raised it gets the highest number that is free: the program has one less. */
int __dune_fd_move(int fd, const struct fd_limits *limits)
{
	const int highest = limits->own.soft < FD_HIGHEST ? (int)limits->own.soft : FD_HIGHEST;

	for (int number = highest; number > fd; number--) {
		long ret = dune_syscall3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, number);

		if (ret == -EINVAL || ret == -EMFILE)
			continue;
		if (is_error(ret))
			break;
		own_syscall1(__NR_close, fd);
		return ret;
	}
	return fd;
}

int __dune_fd_hide(int fd)
{
	const int count = CHECKED_FDS - 1 - LOADER_FDS;
	uint64_t first = __dune_process.spare_fds;
	struct fd_limits limits;
	long ret;

	if (!first)
		return fd;
	__dune_fd_limit_raise(&limits);
	/* The program has lowered its limit: at least it cannot put anything there. */
	if (first > limits.raised.soft - count)
		first = limits.raised.soft - count;
	ret = dune_syscall3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, first);
	__dune_fd_limit_restore(&limits);
	own_syscall1(__NR_close, fd);
	if (ret >= (long)first + count) {
		own_syscall1(__NR_close, ret);
		return -EMFILE;
	}
	return ret;
}
