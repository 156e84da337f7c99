// SPDX-License-Identifier: MIT
/*
 * A thread that may not execute CPUID (ARCH_SET_CPUID) gets SIGSEGV for it in Dune mode, whether that was so when it
 * entered or later; so do its threads and children, and nobody else. The emulators have no CPUID faulting. A copy of
 * the module stands in for that system call (tests/module/nocpuid.c).
 *
 *	proc-cpuid MODULE.ko
 */
#include <setjmp.h>

#include "mem.h"
#include "modules.h"

#define PARAMETER	"/sys/module/dune/parameters/cpuid"

static _Thread_local sigjmp_buf back;
static _Thread_local volatile int code;

static void on_segv(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	code = info->si_code;
	siglongjmp(back, 1);
}

static bool works(void)
{
	unsigned int a = 0, b, c = 0, d;

	if (sigsetjmp(back, 1)) {
		CHECK_EQ(code, SI_KERNEL);
		return false;
	}
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return true;
}

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
		CHECK_EQ(works(), allowed);
}

static void *in_thread(void *allowed)
{
	expect(allowed);
	/* Nobody else's. */
	allow(!allowed);
	expect(!allowed);
	return NULL;
}

/* A thread begins as the one that makes it; its vCPU may have been that of one which was not. */
static void threads(bool allowed)
{
	pthread_t thread;

	for (unsigned int i = 0; i < 4; i++) {
		CHECK(!pthread_create(&thread, NULL, in_thread, allowed ? &thread : NULL));
		CHECK(!pthread_join(thread, NULL));
		expect(allowed);
	}
}

static void child(bool allowed)
{
	pid_t pid = fork();

	if (!pid) {
		expect(allowed);
		_exit(0);
	}
	expect_exit(pid);
}

static void all(void)
{
	expect(true);
	allow(false);
	expect(true);	/* outside nothing comes of it */
	enter();
	expect(false);
	threads(false);
	child(false);
	allow(true);
	expect(true);
	threads(true);
	child(true);
	allow(false);
	expect(false);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	pid_t pid;

	if (argc != 2 || !module_load(argv[1]))
		FAIL("the module of this test");
	CHECK(!sigaction(SIGSEGV, &action, NULL));
	pid = fork();
	if (!pid) {
		all();
		_exit(0);
	}
	expect_exit(pid);
	CHECK(module_unload("dune"));
	return 0;
}
