// SPDX-License-Identifier: MIT
/*
 * A memory cgroup that is full, and whose administrator has processes wait (version 1, memory.oom_control): in Dune
 * mode too the process waits, whatever the kernel has no memory for (a page, its table, the second-level table, a
 * granule), goes on when there is more, and leaves nothing that keeps the cgroup.
 */
#include <sys/mount.h>
#include <sys/stat.h>

#include "mem.h"

#define MB		"000000"

static const char *top = "/tmp/memory-cgroups", *group = "/tmp/memory-cgroups/full";

static void set(const char *name, const char *value)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	if (!write_text(path, value))
		FAIL("%s to %s: errno %d", value, path, errno);
}

static long get(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return read_number(path);
}

/* How many there are, with those that are removed and not freed. */
static long count_groups(void)
{
	char line[200], name[50];
	long count = -1, n;
	FILE *file = fopen("/proc/cgroups", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%49s %*d %ld", name, &n) == 2 && !strcmp(name, "memory"))
			count = n;
	if (file)
		fclose(file);
	return count;
}

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
	char pid[20], *before;

	enter();
	/* mmap() would fail, as it does outside. */
	before = map_anon((used + 1) * PAGE);
	for (unsigned int i = 0; i < w->count; i++)
		map((char *)w->first + i * w->step, PAGE, RW, ANON, -1);
	snprintf(pid, sizeof(pid), "%d", getpid());
	set("cgroup.procs", pid);
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

	for (unsigned int i = 0; get("memory.failcnt") <= 0; i++) {
		CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
		if (i > 12000)
			FAIL("the cgroup does not get full: %ld bytes", get("memory.usage_in_bytes"));
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

	CHECK(!mkdir(group, 0755));
	set("memory.limit_in_bytes", w->limit);
	set("memory.oom_control", "1");
	pid = fork();
	if (!pid)
		walk(w, used);
	wait_till_full(pid);
	set("memory.limit_in_bytes", "64" MB);
	expect_exit(pid);
	CHECK(!rmdir(group));
}

static void expect_groups(long expected)
{
	for (unsigned int i = 0; count_groups() != expected; i++) {
		if (i == 300)
			FAIL("%ld memory cgroups, not %ld", count_groups(), expected);
		write_text("/proc/sys/vm/drop_caches", "3");
		usleep(100000);
	}
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
	mkdir(top, 0755);
	if (mount("none", top, "cgroup", 0, "memory"))
		SKIP("no memory cgroups of version 1: errno %d", errno);
	groups = count_groups();
	for (unsigned int i = 0; i < N_ELEMENTS(walks); i++)
		for (unsigned int used = 0; used < walks[i].pages; used++) {
			fill(&walks[i], used);
			printf("a page in each %s, %u pages before: waited\n", walks[i].what, used);
			fflush(stdout);
		}
	expect_groups(groups);
	umount(top);
	return 0;
}
