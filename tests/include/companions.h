/* SPDX-License-Identifier: MIT */
/*
 * Processes that check themselves all the time, while something else goes on in the machine.  A program that uses
 * them has a table of companions, or takes memory_companions[], and calls companions_start().
 */
#ifndef COMPANIONS_H
#define COMPANIONS_H

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dune.h>

#include "check.h"
#include "patience.h"
#include "kvm-guest.h"

/* Shared with the companions: rounds of each, and the line that failed. */
struct shared {
	atomic_ulong rounds;
	atomic_uint failed;
};

#define FAIL_UNLESS(condition, self) do {				\
	if (!(condition)) {						\
		(self)->failed = __LINE__;				\
		_exit(1);						\
	}								\
} while (0)

struct companion {
	const char *name;
	void (*run)(struct shared *self);	/* forever */
};

#define COMPANIONS_MAX	8

static struct shared *companions_shared;
static pid_t companions_pids[COMPANIONS_MAX];

static void companions_start(const struct companion *companions, unsigned int count)
{
	companions_shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned int i = 0; i < count; i++) {
		companions_pids[i] = fork();
		if (companions_pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		companions[i].run(&companions_shared[i]);
	}
}

/* Each has done @rounds more. */
static bool companions_go_on(const struct companion *companions, unsigned int count, unsigned long rounds,
			     const char *during)
{
	unsigned long before[COMPANIONS_MAX];
	bool good = true;
	double end;

	for (unsigned int i = 0; i < count; i++)
		before[i] = companions_shared[i].rounds;
	for (unsigned int i = 0; i < count; i++) {
		struct shared *s = &companions_shared[i];
		int status = 0;

		for (end = patience_seconds() + 10;
		     s->rounds < before[i] + rounds && !s->failed && patience_seconds() < end;)
			usleep(5000);
		good &= CHECK(!s->failed, "%s, %s: failed at line %u", during, companions[i].name, s->failed);
		if (waitpid(companions_pids[i], &status, WNOHANG))
			good &= CHECK(false, "%s, %s: ended with %#x", during, companions[i].name, status);
		good &= CHECK(s->rounds >= before[i] + rounds, "%s, %s: stands still", during, companions[i].name);
	}
	return good;
}

__attribute__((unused)) static void companions_end(const struct companion *companions, unsigned int count)
{
	int status = -1;

	for (unsigned int i = 0; i < count; i++) {
		printf("%s: %lu rounds\n", companions[i].name, companions_shared[i].rounds);
		kill(companions_pids[i], SIGKILL);
		waitpid(companions_pids[i], &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %#x at the end",
		      companions[i].name, status);
	}
}

/* ---- Companions that many want ---------------------------------------------------- */

#define COMPANION_WORDS	8192

/* In Dune mode: memory that comes, is written, read and goes, and a system call. */
__attribute__((unused)) static void memory_companion(struct shared *self)
{
	pid_t pid = getpid();

	FAIL_UNLESS(!dune_init_and_enter(), self);
	for (unsigned long seed = 1;; seed++) {
		volatile uint64_t *memory = mmap(NULL, COMPANION_WORDS * 8, PROT_READ | PROT_WRITE,
						 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		FAIL_UNLESS(memory != MAP_FAILED, self);
		for (unsigned long i = 0; i < COMPANION_WORDS; i += 16) {
			FAIL_UNLESS(!memory[i], self);
			memory[i] = (i + seed) * pid;
		}
		for (unsigned long i = 0; i < COMPANION_WORDS; i += 16)
			FAIL_UNLESS(memory[i] == (i + seed) * pid, self);
		FAIL_UNLESS(!munmap((void *)memory, COMPANION_WORDS * 8), self);
		FAIL_UNLESS(dune_in_dune_mode() && syscall(SYS_getpid) == pid, self);
		self->rounds++;
	}
}

/* For a test that wants some processes in Dune mode and nothing else beside it. */
__attribute__((unused)) static const struct companion memory_companions[] = {
	{ "a process in Dune mode", memory_companion },
	{ "another one", memory_companion },
	{ "a third", memory_companion },
};

#define NR_MEMORY_COMPANIONS	(sizeof(memory_companions) / sizeof(memory_companions[0]))

/* A KVM guest; it leaves the CPU to others now and then. */
__attribute__((unused)) static void kvm_companion(struct shared *self)
{
	struct kvm_guest guest;
	const char *failed = kvm_guest_open(&guest);

	if (failed)
		printf("KVM: %s\n", failed);
	FAIL_UNLESS(!failed, self);
	for (;;) {
		FAIL_UNLESS(kvm_guest_run(&guest), self);
		self->rounds++;
		if (self->rounds % 16 == 0)
			usleep(1000);
	}
}

#endif
