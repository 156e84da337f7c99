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
