// SPDX-License-Identifier: MIT
/*
 * A memory cgroup that is full, and whose administrator has processes wait (version 1, memory.oom_control): in Dune
 * mode too the process waits, whatever the kernel has no memory for (a page, its table, the second-level table, a
 * granule), goes on when there is more, and leaves nothing that keeps the cgroup.
 */
#include "memory-cgroup.h"

struct walk {
	const char *what;
	unsigned long step, first;
	unsigned int count;
	const char *limit;
	unsigned int pages;	/* used before: so many kinds of allocations meet the limit */
};

/* In the child. */
static void walk(const struct walk *w, unsigned int used)
{
	char *before;

	enter();
	/* mmap() would fail, as it does outside. */
	before = map_anon((used + 1) * PAGE);
	for (unsigned int i = 0; i < w->count; i++)
		map((char *)w->first + i * w->step, PAGE, RW, ANON, -1);
	cgroup_join();
	for (unsigned int i = 0; i < used; i++)
		before[i * PAGE] = 1;
	for (unsigned int i = 0; i < w->count; i++)
		*(volatile unsigned int *)(w->first + i * w->step) = i + 1;
	for (unsigned int i = 0; i < w->count; i++)
		CHECK_EQ(*(volatile unsigned int *)(w->first + i * w->step), i + 1);
	_exit(0);
}

static void wait_till_full(pid_t pid)
{
	int status;

	for (unsigned int i = 0; cgroup_get("memory.failcnt") <= 0; i++) {
		CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
		if (i > 12000)
			FAIL("the cgroup does not get full: %ld bytes", cgroup_get("memory.usage_in_bytes"));
		usleep(5000);
	}
	for (unsigned int i = 0; i < 60; i++) {
		if (waitpid(pid, &status, WNOHANG))
			FAIL("status %#x of a process that should wait for memory", status);
		usleep(5000);
	}
}

static void fill(const struct walk *w, unsigned int used)
{
	pid_t pid;

	cgroup_begin();
	cgroup_set("memory.limit_in_bytes", w->limit);
	pid = fork();
	if (!pid)
		walk(w, used);
	wait_till_full(pid);
	cgroup_set("memory.limit_in_bytes", "64" MB);
	expect_exit(pid);
	cgroup_end();
}

int main(int argc, char **argv)
{
	static const struct walk walks[] = {
		{ "2 MiB", HUGE, 20UL << 40, 700, "4" MB, 6 },
		{ "512 GiB", 512 * GIB, 1UL << 40, 200, "2" MB, 9 },
	};
	long groups;

	if (argc > 1 && !strcmp(argv[1], "outside"))
		setenv("NODUNE", "1", 1);
	cgroup_mount();
	groups = cgroup_count();
	for (unsigned int i = 0; i < N_ELEMENTS(walks); i++)
		for (unsigned int used = 0; used < walks[i].pages; used++) {
			fill(&walks[i], used);
			printf("a page in each %s, %u pages before: waited\n", walks[i].what, used);
			fflush(stdout);
		}
	cgroup_expect_count(groups);
	umount(cgroup_top);
	return 0;
}
