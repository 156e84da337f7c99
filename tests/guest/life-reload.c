// SPDX-License-Identifier: MIT
/*
 * The module is unloaded as soon as nobody uses it, and loaded again, while processes open its device, enter Dune mode,
 * fork there, end and are killed: no moment of theirs is a wrong one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "modules.h"
#include "proc.h"

#define ROUNDS	40
#define MODULE	"/testbed/dune.ko"
#define DEVICE	"/dev/dune"

static struct {
	atomic_ulong opened, entered, forked, killed;
	atomic_uint failed;	/* the line */
} *shared;

#define FAIL_UNLESS(condition) do {		\
	if (!(condition)) {			\
		shared->failed = __LINE__;	\
		_exit(1);			\
	}					\
} while (0)

/* The device's node comes and goes, and a module that is being unloaded lets nobody in. */
static bool is_absent(int error)
{
	return error == ENOENT || error == ENODEV || error == ENXIO;
}

/* Whether there was a module. */
static bool opens(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	FAIL_UNLESS(fd >= 0 || is_absent(errno));
	if (fd < 0)
		return false;
	shared->opened++;
	close(fd);
	return true;
}

/* In a process of its own. */
static bool enters(void)
{
	int error = mode_enter();

	FAIL_UNLESS(!error || is_absent(-error));
	if (error)
		return false;
	shared->entered++;
	return true;
}

static bool forks(void)
{
	volatile int here = 1;
	int status;
	pid_t pid;

	if (!enters())
		return false;
	pid = fork();
	FAIL_UNLESS(pid >= 0);
	if (!pid) {
		here = 2;
		_exit(getppid() > 1 ? 3 : 4);
	}
	FAIL_UNLESS(waitpid(pid, &status, 0) == pid && status == EXITED(3) && here == 1);
	shared->forked++;
	return true;
}

static bool waits(void)
{
	if (!enters())
		return false;
	for (;;)
		getppid();
}

static bool in_child(bool (*fn)(void), unsigned int kill_after)
{
	int status;
	pid_t pid = fork();

	FAIL_UNLESS(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(!fn());
	}
	if (kill_after) {
		usleep(kill_after);
		kill(pid, SIGKILL);
	}
	FAIL_UNLESS(waitpid(pid, &status, 0) == pid);
	if (kill_after)
		shared->killed++;
	FAIL_UNLESS(kill_after || WIFEXITED(status));
	return !status;
}

/* It leaves the module alone now and then, so that it can go at all. */
static void works(unsigned int seed)
{
	for (;;) {
		switch (rand_r(&seed) % 4) {
		case 0: opens(); break;
		case 1: in_child(enters, 0); break;
		case 2: in_child(forks, 0); break;
		case 3: in_child(waits, 1 + rand_r(&seed) % 20000); break;
		}
		usleep(rand_r(&seed) % 10000);
	}
}

int main(void)
{
	pid_t workers[3];

	setvbuf(stdout, NULL, _IOLBF, 0);
	dune_set_option(DUNE_OPT_QUIET, true);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned int i = 0; i < 3; i++) {
		workers[i] = fork();
		if (!workers[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			works(i + 1);
		}
	}
	for (unsigned int i = 0; i < ROUNDS && !check_failures && !shared->failed; i++) {
		if (!CHECK(module_unload("dune"), "the module stays: %s", strerror(errno)))
			break;
		CHECK(module_load(MODULE), "load the module: %s", strerror(errno));
		usleep(i % 7 * 3000);
	}
	for (unsigned int i = 0; i < 3; i++) {
		kill(workers[i], SIGKILL);
		proc_wait(workers[i]);
	}
	CHECK_EQUAL(shared->failed, 0, "the line that failed");
	printf("opened %lu, entered %lu, forked %lu, killed %lu\n", shared->opened, shared->entered, shared->forked,
	       shared->killed);
	CHECK(shared->opened > 5 && shared->entered > 20 && shared->forked > 5 && shared->killed > 5,
	      "too little was done");
	return check_result();
}
