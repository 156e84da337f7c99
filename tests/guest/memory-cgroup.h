/* SPDX-License-Identifier: MIT */
/*
 * A memory cgroup (version 1) that can be made full, and whose administrator has processes wait then
 * (memory.oom_control).
 */
#ifndef TESTS_MEMORY_CGROUP_H
#define TESTS_MEMORY_CGROUP_H

#include <sys/mount.h>
#include <sys/stat.h>

#include "mem.h"

#define MB		"000000"

static const char *cgroup_top = "/tmp/memory-cgroups", *cgroup = "/tmp/memory-cgroups/full";

static inline bool cgroup_try(const char *name, const char *value)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	return write_text(path, value);
}

static inline void cgroup_set(const char *name, const char *value)
{
	if (!cgroup_try(name, value))
		FAIL("%s to %s: errno %d", value, name, errno);
}

static inline long cgroup_get(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	return read_number(path);
}

static inline void cgroup_join(void)
{
	char pid[20];

	snprintf(pid, sizeof(pid), "%d", getpid());
	cgroup_set("cgroup.procs", pid);
}

/* How many there are, with those that are removed and not freed. */
static inline long cgroup_count(void)
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

/* Until none is left but those that were there. */
static inline void cgroup_expect_count(long expected)
{
	for (unsigned int i = 0; cgroup_count() != expected; i++) {
		if (i == 300)
			FAIL("%ld memory cgroups, not %ld", cgroup_count(), expected);
		write_text("/proc/sys/vm/drop_caches", "3");
		usleep(100000);
	}
}

static inline void cgroup_mount(void)
{
	mkdir(cgroup_top, 0755);
	if (mount("none", cgroup_top, "cgroup", 0, "memory"))
		SKIP("no memory cgroups of version 1: errno %d", errno);
}

static inline void cgroup_begin(void)
{
	CHECK(!mkdir(cgroup, 0755));
	cgroup_set("memory.oom_control", "1");
}

static inline void cgroup_end(void)
{
	CHECK(!rmdir(cgroup));
}

#endif
