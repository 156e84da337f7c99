// SPDX-License-Identifier: MIT
/*
 * A thread that may not execute CPUID (ARCH_SET_CPUID) gets SIGSEGV for it in Dune mode, whether that was so when it
 * entered or later; so do its threads and children, and nobody else. The emulators have no CPUID faulting. A copy of
 * the module stands in for that system call (tests/module/nocpuid.c).
 *
 *	proc-cpuid MODULE.ko
 */
#include "forbidden.h"
#include "modules.h"

#define PARAMETER	"/sys/module/dune/parameters/cpuid"

#define CPUID	__asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; cpuid" : : : "eax", "ebx", "ecx", "edx")

/* Of the calling thread. */
static void allow(bool on)
{
	int fd = open(PARAMETER, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, on ? "Y" : "N", 1), 1);
	close(fd);
}

static void expect(bool allowed)
{
	for (unsigned int i = 0; i < 3; i++)
		CHECK_EQ(WORKS(CPUID), allowed);
}

static const struct forbidden cpuid = { expect, allow };

static void all(void)
{
	expect(true);
	allow(false);
	expect(true);	/* outside nothing comes of it */
	enter();
	expect(false);
	forbidden_threads(&cpuid, false);
	forbidden_child(&cpuid, false);
	allow(true);
	expect(true);
	forbidden_threads(&cpuid, true);
	forbidden_child(&cpuid, true);
	allow(false);
	expect(false);
}

int main(int argc, char **argv)
{
	pid_t pid;

	if (argc != 2 || !module_load(argv[1]))
		FAIL("the module of this test");
	forbidden_catch();
	pid = fork();
	if (!pid) {
		all();
		_exit(0);
	}
	expect_exit(pid);
	CHECK(module_unload("dune"));
	return 0;
}
