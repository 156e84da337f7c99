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

/* Give the descriptor a high number if there is room; else it stays where it is. */
int __dune_move_fd(int fd)
{
	unsigned long limits[2] = { 0 };
	int wanted[] = { DUNE_FD, 200, 100, 20, 0 };
	long ret;

	if (!dune_syscall4(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, limits) && limits[0] && limits[0] < 20)
		wanted[ARRAY_SIZE(wanted) - 1] = limits[0] - 1;
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
