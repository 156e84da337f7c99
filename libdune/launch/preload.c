// SPDX-License-Identifier: MIT
/*
 * The object that dune-run has the dynamic linker load first: it takes the program into Dune
 * mode before anything else of it runs, the constructors of its C library included.  So it
 * calls no library, needs none, and serves glibc and musl.
 *
 * HR3, until it enters.
 */
#include "launch/inside.h"

/* Tells glibc, which passes arguments to constructors, from musl, which does not. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));
extern char **__environ __attribute__((weak));

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
	ret = dune_enter();
	__dune_process.fresh = false;
	if (ret)
		preload_fail("cannot enter Dune mode", ret);
	if (debugged)
		__dune_debug_begin(current_thread());
}

void preload_enter(struct wishes wishes)
{
	if (wishes.ring0)
		enter_ring0(wishes.debugged);
	else
		preload_enter_ring3(wishes.debugged);
	if (wishes.debugged)		/* have the debugger meet us in the guest */
		__asm__ volatile("int3" : : : "memory");
}

static void __attribute__((constructor)) enter(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	if (!gnu_get_libc_version)
		envp = &__environ ? __environ : NULL;
	preload_enter(envp ? preload_clean_environment(envp) : (struct wishes){ 0 });
}
