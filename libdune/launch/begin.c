// SPDX-License-Identifier: MIT
/*
 * How a program begins in Dune mode, whoever has loaded it.  HR3, until it enters.
 */
#include "launch/inside.h"

void preload_fail(const char *what, int ret)
{
	__dune_message("%s: %s (error %d)%s", what, __dune_error_name(-ret), -ret,
		       ret == -ENOENT ? ": there is no /dev/dune: is the module loaded?" :
		       ret == -EACCES ? ": no permission to open /dev/dune" :
		       ret == -ENOMEM ? ": no memory, or a limit (RLIMIT_AS, RLIMIT_DATA) is too small" :
		       ret == -EMFILE ? ": no descriptor is free (RLIMIT_NOFILE)" : "");
	for (;;)
		dune_syscall1(__NR_exit_group, LAUNCH_FAILED);
}

void preload_prepare(void)
{
	dune_set_option(DUNE_OPT_STRICT, true);
	dune_set_option(DUNE_OPT_QUIET, true);
	__dune_process.fresh = true;
}

static void enter_ring0(bool debugged)
{
	int ret;

	preload_prepare();
	ret = dune_init(true);
	if (ret)
		preload_fail("cannot prepare Dune mode", ret);
	__dune_process.debugged = debugged;
	ret = dune_enter();
	__dune_process.fresh = false;
	if (ret)
		preload_fail("cannot enter Dune mode", ret);
}

void preload_enter(struct wishes wishes)
{
	__dune_process.check = wishes.check;
	__dune_process.no_dirty = wishes.no_dirty;
	if (wishes.ring0 && !wishes.check) {
		enter_ring0(wishes.debugged);
		return;
	}
	preload_enter_ring3(wishes.debugged);
	if (wishes.debugged)		/* have the debugger meet us in the guest */
		__asm__ volatile("int3" : : : "memory");
}

/* Files that another thread of the last program had execve() look at may have stayed open. */
int preload_keep(int fds, int count)
{
	int ret = __dune_engine_keep_fds(fds, count, CHECKED_FDS), first = __dune_engine_fds.first + 1;

	if (ret)
		preload_fail("cannot keep the descriptors of libdune's loader", ret);
	__dune_process.spare_fds = first + LOADER_FDS;
	dune_syscall3(__NR_close_range, first + LOADER_FDS, first + CHECKED_FDS - 2, 0);
	return first;
}
