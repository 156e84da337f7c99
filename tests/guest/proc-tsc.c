// SPDX-License-Identifier: MIT
/*
 * A thread that may not read the TSC (PR_SET_TSC), or not execute CPUID (ARCH_SET_CPUID), gets the same signal in
 * Dune mode: whether it asked before it entered or inside, with its threads and children, and until it asks for the
 * opposite.
 */
#include <setjmp.h>
#include <asm/prctl.h>
#include <sys/syscall.h>

#include "mem.h"

static _Thread_local sigjmp_buf back;
static _Thread_local volatile int code;

static void on_segv(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	code = info->si_code;
	siglongjmp(back, 1);
}

enum instruction { RDTSC, RDTSCP, CPUID };

/* Does it work?  If not, as it should: by a SIGSEGV of the kernel's. */
static bool works(enum instruction instruction)
{
	unsigned int a = 0, b, c = 0, d;

	if (sigsetjmp(back, 1)) {
		CHECK_EQ(code, SI_KERNEL);
		return false;
	}
	switch (instruction) {
	case RDTSC:
		__asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
		break;
	case RDTSCP:
		__asm__ volatile("rdtscp" : "=a"(a), "=c"(c), "=d"(d));
		break;
	case CPUID:
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		break;
	}
	return true;
}

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
		CHECK_EQ(works(RDTSC), allowed);
		CHECK_EQ(works(RDTSCP), allowed);
	}
}

static void *in_thread(void *allowed)
{
	expect_tsc(allowed);
	/* Nobody else's. */
	set_tsc(!allowed);
	expect_tsc(!allowed);
	return NULL;
}

/* A thread begins as the one that makes it; its vCPU may have been that of one which was not. */
static void threads(bool allowed)
{
	pthread_t thread;

	for (unsigned int i = 0; i < 4; i++) {
		CHECK(!pthread_create(&thread, NULL, in_thread, allowed ? &thread : NULL));
		CHECK(!pthread_join(thread, NULL));
		expect_tsc(allowed);
	}
}

static void child(bool allowed)
{
	pid_t pid = fork();

	if (!pid) {
		expect_tsc(allowed);
		_exit(0);
	}
	expect_exit(pid);
}

static void cpuid(void)
{
	if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0UL)) {
		CHECK_EQ(errno, ENODEV);
		printf("this CPU has no CPUID faulting\n");
		return;
	}
	CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0UL), 0);
	CHECK(!works(CPUID));
	CHECK(!works(CPUID));
	CHECK(!syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1UL));
	CHECK(works(CPUID));
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	if (argc > 1 && !strcmp(argv[1], "outside"))
		setenv("NODUNE", "1", 1);
	CHECK(!sigaction(SIGSEGV, &action, NULL));
	if (!works(RDTSCP))
		FAIL("no RDTSCP");
	set_tsc(false);
	expect_tsc(false);
	enter();
	expect_tsc(false);
	threads(false);
	child(false);
	set_tsc(true);
	expect_tsc(true);
	threads(true);
	child(true);
	set_tsc(false);
	expect_tsc(false);
	set_tsc(true);
	cpuid();
	return 0;
}
