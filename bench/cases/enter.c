// SPDX-License-Identifier: MIT
/* Entering and leaving, and the memory that it takes. */
#include <dune-compat.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench.h"

/* ---- the first time: in a process of its own for each sample, which leaves its times ---- */

static struct times {
	uint64_t init, enter, leave;
	int error;
} *times;

static int (*initialize)(bool map_full);

static void begin_times(void)
{
	initialize = dune_init;
	times = mmap(NULL, sizeof(*times), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(times != MAP_FAILED);
}

/* As for a program of the first libdune. */
static void begin_compat_times(void)
{
	begin_times();
	initialize = dune_compat_init;
}

static void take_times(unsigned int i)
{
	uint64_t start, inited, entered, left;
	pid_t child = fork();
	int status;

	(void)i;
	if (!child) {
		start = ticks();
		times->error = initialize(true);
		inited = ticks();
		if (!times->error)
			times->error = dune_enter();
		entered = ticks();
		if (!times->error)
			times->error = dune_leave();
		left = ticks();
		times->init = inited - start;
		times->enter = entered - inited;
		times->leave = left - entered;
		_exit(times->error ? 1 : 0);
	}
	must(child > 0 && waitpid(child, &status, 0) == child && !status);
	bench_work += !times->error;
}

static uint64_t init(unsigned int i)
{
	take_times(i);
	return times->init;
}

static uint64_t enter(unsigned int i)
{
	take_times(i);
	return times->enter;
}

static uint64_t init_and_enter(unsigned int i)
{
	take_times(i);
	return times->init + times->enter;
}

static uint64_t leave(unsigned int i)
{
	take_times(i);
	return times->leave;
}

/* ---- again ---- */

static void leave_untimed(unsigned int i)
{
	(void)i;
	must(!dune_leave());
}

static uint64_t enter_again(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = dune_enter();

	(void)i;
	end = ticks();
	bench_work += !ret && dune_in_dune_mode();
	return end - start;
}

/* ---- a granule ---- */

#define GIB	(1UL << 30)

static unsigned char *granule_page;

/* The host has the page; libdune has no entry for this GiB. */
static void map_granule(unsigned int i)
{
	granule_page = mmap((void *)(0x600000000000 + i * GIB), PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_FIXED_NOREPLACE, -1, 0);
	must(granule_page != MAP_FAILED);
}

static uint64_t touch_granule(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	*(volatile unsigned char *)granule_page = 1;
	end = ticks();
	bench_work += *granule_page;
	return end - start;
}

static void unmap_granule(unsigned int i)
{
	(void)i;
	must(!munmap(granule_page, PAGE));
}

/* ---- memory: a cgroup counts pages, page tables, and what the kernel and the module allocate ---- */

#define CGROUPS		"cgroups"
#define CHILDREN	20
#define TOUCHED		(128UL << 20)

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return written;
}

static void begin_cgroups(void)
{
	if (mkdir(CGROUPS, 0700) && errno != EEXIST)
		bench_die("no folder for cgroups");
	if (access(CGROUPS "/cgroup.procs", F_OK)) {
		if (mount("none", CGROUPS, "cgroup2", 0, NULL))
			bench_skip("there are no cgroups");
	}
	if (!write_text(CGROUPS "/cgroup.subtree_control", "+memory"))
		bench_skip("there are no cgroups (version 2) for memory");
	rmdir(CGROUPS "/case");
	must(!mkdir(CGROUPS "/case", 0700));
}

static long cgroup_kib(void)
{
	FILE *file = fopen(CGROUPS "/case/memory.current", "re");
	long bytes;

	must(file && fscanf(file, "%ld", &bytes) == 1);
	fclose(file);
	return bytes / 1024;
}

static void in_cgroup(bool dune, size_t touch, int ready, int go)
{
	char byte = 0, *at;

	if (!write_text(CGROUPS "/case/cgroup.procs", "0"))
		_exit(1);
	if (dune && (initialize(true) || dune_enter()))
		_exit(1);
	if (touch) {
		at = mmap(NULL, touch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED || madvise(at, touch, MADV_NOHUGEPAGE))
			_exit(1);
		for (size_t i = 0; i < touch; i += PAGE)
			at[i] = 1;
	}
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

/* KiB for each of @n processes. */
static uint64_t memory_of(unsigned int n, bool dune, size_t touch)
{
	int ready[2], go[2], status;
	bool ok = true;
	uint64_t kib;
	char byte;

	must(!pipe(ready) && !pipe(go));
	for (unsigned int i = 0; i < n; i++) {
		if (!fork())
			in_cgroup(dune, touch, ready[1], go[0]);
		must(read(ready[0], &byte, 1) == 1);
	}
	kib = cgroup_kib() / n;
	for (unsigned int i = 0; i < n; i++)
		must(write(go[1], &byte, 1) == 1);
	for (unsigned int i = 0; i < n; i++)
		ok &= wait(&status) > 0 && !status;
	for (unsigned int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
	bench_work += ok;
	return kib;
}

static uint64_t memory_plain(unsigned int i)
{
	(void)i;
	return memory_of(CHILDREN, false, 0);
}

static uint64_t memory_dune(unsigned int i)
{
	(void)i;
	initialize = dune_init;
	return memory_of(CHILDREN, true, 0);
}

static uint64_t memory_compat(unsigned int i)
{
	(void)i;
	initialize = dune_compat_init;
	return memory_of(CHILDREN, true, 0);
}

/* Without the pages themselves. */
static uint64_t memory_touched_plain(unsigned int i)
{
	(void)i;
	return (memory_of(1, false, TOUCHED) - TOUCHED / 1024) * (GIB / TOUCHED);
}

static uint64_t memory_touched_dune(unsigned int i)
{
	(void)i;
	initialize = dune_init;
	return (memory_of(1, true, TOUCHED) - TOUCHED / 1024) * (GIB / TOUCHED);
}

static uint64_t memory_touched_compat(unsigned int i)
{
	(void)i;
	initialize = dune_compat_init;
	return (memory_of(1, true, TOUCHED) - TOUCHED / 1024) * (GIB / TOUCHED);
}

#define OUTSIDE(name, begin, sample, ...)	\
	{ name, WHERE_DUNE, 25, 1, begin, NULL, sample, .mean_of = 8, .outside = true, ##__VA_ARGS__ }
#define MEMORY(name, where, sample)	\
	{ name, where, 1, 1, begin_cgroups, NULL, sample, .outside = true, .unit = "KiB" }

static const struct bench_case cases[] = {
	OUTSIDE("dune_init()",				begin_times, init, .checked = true),
	OUTSIDE("dune_compat_init()",			begin_compat_times, init),
	OUTSIDE("dune_enter()",				begin_times, enter, .checked = true),
	OUTSIDE("dune_init() + dune_enter()",		begin_times, init_and_enter),
	OUTSIDE("dune_leave()",				begin_times, leave),
	{ "dune_enter(), again",	WHERE_DUNE, 100, 1, NULL, leave_untimed, enter_again },
	{ "first touch of a granule",	WHERE_DUNE, 40, 1, NULL, map_granule, touch_granule, unmap_granule },
	MEMORY("memory of a process",			WHERE_LINUX, memory_plain),
	MEMORY("memory of a process that has entered",	WHERE_DUNE, memory_dune),
	MEMORY("memory of a process that has entered, dune_compat_init()",	WHERE_DUNE, memory_compat),
	MEMORY("memory beside each GiB touched, 4 KiB pages",	WHERE_LINUX, memory_touched_plain),
	MEMORY("memory beside each GiB touched, 4 KiB pages, entered",	WHERE_DUNE, memory_touched_dune),
	MEMORY("memory beside each GiB touched, 4 KiB pages, entered, dune_compat_init()",	WHERE_DUNE,
	       memory_touched_compat),
};

BENCH_GROUP(enter, false);
