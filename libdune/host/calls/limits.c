// SPDX-License-Identifier: MIT
/*
 * How many descriptors a checked program may have.  Those of libdune lie above its soft limit, but below the kernel's
 * hard one.  So the kernel's is CHECKED_FDS higher than what the program has set, and is told.  So it is in each
 * process that is checked: what fork, vfork and exec keep is the kernel's.  HR3.
 */
#include <linux/resource.h>

#include "base/program.h"
#include "host/calls.h"

/* No limit is so high (nr_open), so the kernel refuses it as it is. */
#define NEVER		(~0UL - CHECKED_FDS)

/* @new, @old: addresses of the program's, or 0. */
static long limit_fds(uint64_t pid, uint64_t new, uint64_t old)
{
	struct fd_limit limit, before;
	long ret = 0;

	if (new)
		ret = __dune_copy_in(&limit, new, sizeof(limit));
	if (ret)
		return ret;
	if (new && limit.soft <= limit.hard && limit.hard < NEVER)
		limit.hard += CHECKED_FDS;
	ret = dune_syscall4(__NR_prlimit64, pid, RLIMIT_NOFILE, new ? &limit : NULL, &before);
	if (ret || !old)
		return ret;
	/* Another process may be none that is checked. */
	before.hard = before.hard > CHECKED_FDS ? before.hard - CHECKED_FDS : 0;
	if (before.soft > before.hard)
		before.soft = before.hard;
	return __dune_copy_out(old, &before, sizeof(before)) ? -EFAULT : 0;
}

long __dune_check_limit(const struct guest_regs *r, unsigned int nr)
{
	const bool any = nr == __NR_prlimit64;

	if ((unsigned int)(any ? r->rsi : r->rdi) != RLIMIT_NOFILE)
		return FORWARD_CALL;
	if (any)
		return limit_fds(r->rdi, r->rdx, r->r10);
	if (!r->rsi)
		return -EFAULT;
	return nr == __NR_setrlimit ? limit_fds(0, r->rsi, 0) : limit_fds(0, 0, r->rsi);
}
