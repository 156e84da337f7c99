// SPDX-License-Identifier: MIT
/*
 * Threads and processes that are made while there is memory for a part of what that takes: one page, two pages, and so
 * on. The call fails as it does outside, or what it has made waits until there is memory, and runs. Nobody is killed.
 */
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include "memory-cgroup.h"
#include "patience.h"

#define PAGES_MAX	400	/* more than any of them takes */
#define STACK		(4 * PAGE)

struct shared {
	volatile int ready, go, done, ran;
	volatile long result;	/* of the call: a thread or process, or -errno */
};

static struct shared *shared;

static int child(void *unused)
{
	(void)unused;
	shared->ran = 1;
	return 0;
}

struct kind {
	const char *name;
	int flags;		/* of clone() */
	bool is_process;	/* it is waited for */
};

/*
 * The kernel kills a process into whose restartable sequences it cannot write for want of memory: also one that it has
 * just made. In Dune mode there are none.
 */
static void rseq_off(void)
{
	void *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	if (__rseq_size)
		syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

/* In Dune mode, in the cgroup. */
static void make(const struct kind *kind, char *stack)
{
	double end = patience_seconds() + 100;
	int pid = clone(child, kind->flags & CLONE_VM ? stack + STACK : stack, kind->flags, NULL), status = 0;

	shared->result = pid < 0 ? -errno : pid;
	if (pid < 0)
		CHECK(errno == ENOMEM || errno == EAGAIN);
	else if (kind->is_process)
		CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	while (pid >= 0 && !shared->ran && patience_seconds() < end)
		usleep(1000);
	CHECK_EQ(shared->ran, pid >= 0);
}

static void work_in_cgroup(const struct kind *kind)
{
	char *stack;

	rseq_off();
	enter();
	stack = map_anon(STACK);
	memset(stack, 1, STACK);
	cgroup_join();
	for (shared->ready = 1; !shared->go;)
		usleep(1000);
	make(kind, stack + (kind->flags & CLONE_VM ? 0 : STACK));
	shared->done = 1;
	_exit(0);
}

/* No more than @pages more; what the kernel has put by for the cgroup goes back first. */
static void limit_to(unsigned int pages)
{
	char text[20];

	cgroup_try("memory.limit_in_bytes", "4096");
	snprintf(text, sizeof(text), "%lu", cgroup_get("memory.usage_in_bytes") + pages * PAGE);
	cgroup_set("memory.limit_in_bytes", text);
}

enum outcome { FAILED, WAITED, RAN, OUTCOMES };

static enum outcome run(const struct kind *kind, unsigned int pages)
{
	enum outcome outcome;
	double end;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	cgroup_begin();
	pid = fork();
	if (!pid)
		work_in_cgroup(kind);
	while (!shared->ready)
		usleep(1000);
	limit_to(pages);
	shared->go = 1;
	end = patience_seconds() + 0.1;
	while (!shared->done && (cgroup_get("memory.failcnt") <= 0 || patience_seconds() < end))
		usleep(1000);
	outcome = shared->result < 0 ? FAILED : shared->done ? RAN : WAITED;
	cgroup_set("memory.limit_in_bytes", "64" MB);
	expect_exit(pid);
	cgroup_end();
	return outcome;
}

int main(int argc, char **argv)
{
	static const struct kind kinds[] = {
		{ "a thread", CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, false },
		{ "a process with the same memory", CLONE_VM | SIGCHLD, true },
		{ "vfork", CLONE_VM | CLONE_VFORK | SIGCHLD, true },
		{ "fork", SIGCHLD, true },
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "outside"))
		setenv("NODUNE", "1", 1);
	shared = (struct shared *)map(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	cgroup_mount();
	for (unsigned int i = 0; i < N_ELEMENTS(kinds); i++) {
		unsigned int counts[OUTCOMES] = { 0 }, pages;

		/* At the end there is enough, whatever the kernel has put by. */
		for (pages = 0; counts[RAN] < 3 && pages < PAGES_MAX; pages++)
			counts[run(&kinds[i], pages)]++;
		printf("%s: with 0 to %u pages it failed %u times, waited %u times\n", kinds[i].name, pages - 1,
		       counts[FAILED], counts[WAITED]);
		CHECK(counts[FAILED]);
		CHECK_EQ(counts[RAN], 3);
	}
	umount(cgroup_top);
	return 0;
}
