// SPDX-License-Identifier: MIT
/*
 * A thread that may not read the TSC (PR_SET_TSC), or not execute CPUID (ARCH_SET_CPUID), gets the same signal in
 * Dune mode: whether it asked before it entered or inside, with its threads and children, and until it asks for the
 * opposite.
 */
#include <asm/prctl.h>
#include <sys/syscall.h>

#include "forbidden.h"

#define RDTSC	__asm__ volatile("rdtsc" : : : "eax", "edx")
#define RDTSCP	__asm__ volatile("rdtscp" : : : "eax", "ecx", "edx")
#define CPUID	__asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; cpuid" : : : "eax", "ebx", "ecx", "edx")

static void set_tsc(bool allowed)
{
	CHECK(!prctl(PR_SET_TSC, allowed ? PR_TSC_ENABLE : PR_TSC_SIGSEGV));
}

static void expect_tsc(bool allowed)
{
	int value = 0;

	CHECK(!prctl(PR_GET_TSC, &value));
	CHECK_EQ(value, allowed ? PR_TSC_ENABLE : PR_TSC_SIGSEGV);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_EQ(WORKS(RDTSC), allowed);
		CHECK_EQ(WORKS(RDTSCP), allowed);
	}
}

static const struct forbidden tsc = { expect_tsc, set_tsc };

static void cpuid(void)
{
	if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0UL)) {
		CHECK_EQ(errno, ENODEV);
		printf("this CPU has no CPUID faulting\n");
		return;
	}
	CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0UL), 0);
	CHECK(!WORKS(CPUID));
	CHECK(!WORKS(CPUID));
	CHECK(!syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1UL));
	CHECK(WORKS(CPUID));
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "outside"))
		setenv("NODUNE", "1", 1);
	forbidden_catch();
	if (!WORKS(RDTSCP))
		FAIL("no RDTSCP");
	set_tsc(false);
	expect_tsc(false);
	enter();
	expect_tsc(false);
	forbidden_threads(&tsc, false);
	forbidden_child(&tsc, false);
	set_tsc(true);
	expect_tsc(true);
	forbidden_threads(&tsc, true);
	forbidden_child(&tsc, true);
	set_tsc(false);
	expect_tsc(false);
	set_tsc(true);
	cpuid();
	return 0;
}
