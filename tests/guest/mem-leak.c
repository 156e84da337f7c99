// SPDX-License-Identifier: MIT
/*
 * After 1,000 enters and exits, after 200 processes that were in Dune mode, and after threads that a thread in
 * Dune mode made, as much memory is in use as before: pages, slabs, page tables, per-CPU memory.
 *
 *	mem-leak [THREADS]
 */
#include "mem.h"

#include <dirent.h>

#include "kept-pages.h"

#define ENTERS		1000
#define PROCESSES	200

/* KiB of noise: a page for each time would be ten, or two and a half, times as much. */
#define NOISE		400

/* How often to measure again: what waits to be freed is gone at some time, a leak never. */
#define TRIES		10

static const char *const keys[] = {
	"MemFree:", "Cached:", "Buffers:", "Slab:", "SUnreclaim:", "PageTables:", "KernelStack:",
	"Percpu:", "VmallocUsed:", "AnonPages:", "Mlocked:",
};

enum { MEM_FREE, CACHED, BUFFERS, SLAB, SLAB_KEPT, PAGE_TABLES, STACKS, PERCPU, VMALLOC, ANON_PAGES };

static void measure(long *values)
{
	/* Let what waits for RCU and for work queues be freed. */
	write_text("/proc/sys/vm/drop_caches", "3");
	usleep(300000);
	write_text("/proc/sys/vm/drop_caches", "3");
	write_text("/proc/sys/vm/stat_refresh", "1");
	for (unsigned int i = 0; i < N_ELEMENTS(keys); i++)
		values[i] = read_key("/proc/meminfo", keys[i]);
	values[MEM_FREE] += kept_by_cpus();
}

/* KiB by which each may grow. */
static const struct limit {
	unsigned int key;
	long growth;
} limits[] = {
	{ SLAB_KEPT, 300 },
	{ PAGE_TABLES, 100 },
	{ STACKS, 200 },
	{ PERCPU, 100 },
	{ VMALLOC, 200 },
};

static long growth_of_all(const long *before, const long *after)
{
	return before[MEM_FREE] + before[CACHED] + before[BUFFERS] - after[MEM_FREE] - after[CACHED] - after[BUFFERS];
}

static bool has_grown(const long *before, const long *after)
{
	bool grown = growth_of_all(before, after) >= NOISE;

	for (unsigned int i = 0; i < N_ELEMENTS(limits); i++)
		grown |= after[limits[i].key] - before[limits[i].key] >= limits[i].growth;
	return grown;
}

/* Growth since @before, in KiB. */
static void compare(const char *what, const long *before)
{
	long after[N_ELEMENTS(keys)], used;

	for (unsigned int i = 0; i < TRIES; i++) {
		measure(after);
		if (!has_grown(before, after))
			break;
	}
	used = growth_of_all(before, after);
	printf("%s: KiB more in use: %ld of %ld", what, used, before[MEM_FREE]);
	for (unsigned int i = SLAB; i < N_ELEMENTS(keys); i++)
		printf(", %s %ld", keys[i], after[i] - before[i]);
	printf("\n");
	fflush(stdout);
	CHECK(!has_grown(before, after));
}

/* Measures; and the test of the test: a page for each of 200 processes would be seen. */
static void measure_finely(long *before)
{
	long after[N_ELEMENTS(keys)];

	for (unsigned int i = 0; i < TRIES; i++) {
		char *p;

		measure(before);
		p = map(NULL, PROCESSES * PAGE, RW, ANON | MAP_POPULATE, -1);
		measure(after);
		munmap(p, PROCESSES * PAGE);
		if (before[MEM_FREE] - after[MEM_FREE] > NOISE)
			return;
	}
	FAIL("%ld KiB of pages seem to be %ld", PROCESSES * PAGE / 1024, before[MEM_FREE] - after[MEM_FREE]);
}

static unsigned int mappings_and_files(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	DIR *files = opendir("/proc/self/fd");
	unsigned int n = 0;
	int c;

	CHECK(maps && files);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	while (readdir(files))
		n += 1000;
	fclose(maps);
	closedir(files);
	return n;
}

static void enter_and_leave(unsigned int times)
{
	for (unsigned int i = 0; i < times; i++) {
		CHECK_EQ(dune_enter(), 0);
		CHECK(dune_in_dune_mode());
		CHECK_EQ(dune_leave(), 0);
		CHECK(!dune_in_dune_mode());
	}
}

/* Each maps, touches and forks, in granules of its own, and ends in one of several ways. */
static void one_process(unsigned int i)
{
	char *p;
	pid_t pid;

	enter();
	p = map((char *)(20UL << 40) + i * GIB, 64 * PAGE, RW, ANON, -1);
	for (unsigned int n = 0; n < 64; n++)
		p[n * PAGE] = n;
	switch (i % 4) {
	case 0:
		_exit(0);
	case 1:
		dune_leave();
		_exit(0);
	case 2:
		kill(getpid(), SIGKILL);
		_exit(1);
	case 3:
		pid = fork();
		if (!pid) {
			p[5 * PAGE] = 1;
			_exit(0);
		}
		expect_exit(pid);
		_exit(0);
	}
}

static void processes(unsigned int count)
{
	int status;

	for (unsigned int i = 0; i < count; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			one_process(i);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, i % 4 == 2 ? SIGKILL : 0);
	}
}

static void *thread(void *arg)
{
	(void)arg;
	enter_and_leave(1);
	CHECK_EQ(dune_enter(), 0);
	return NULL;
}

/* Threads that enter, and end in Dune mode. */
static void threads(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		pthread_t t;

		CHECK(!pthread_create(&t, NULL, thread, NULL));
		CHECK(!pthread_join(t, NULL));
	}
}

static void *is_where_its_maker_is(void *inside)
{
	CHECK_EQ(dune_in_dune_mode(), inside != NULL);
	return NULL;
}

static void threads_of(bool inside, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		pthread_t t;

		CHECK(!pthread_create(&t, NULL, is_where_its_maker_is, inside ? &t : NULL));
		CHECK(!pthread_join(t, NULL));
	}
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 1 ? atoi(argv[1]) : 1000;
	long before[N_ELEMENTS(keys)];
	unsigned int kept;

	if (no_dune())
		SKIP("nothing to do without Dune mode");

	/* The first round of each fills caches. */
	processes(20);
	processes(20);
	measure_finely(before);
	processes(PROCESSES);
	compare("200 processes", before);

	CHECK_EQ(dune_init(true), 0);
	enter_and_leave(100);
	threads(10);
	measure(before);
	kept = mappings_and_files();
	enter_and_leave(ENTERS);
	compare("1,000 enters", before);
	CHECK_EQ(mappings_and_files(), kept);

	threads(100);
	compare("100 threads", before);
	CHECK_EQ(mappings_and_files(), kept);

	/* As many outside first: the kernel keeps something itself of each number that it has given. */
	threads_of(false, count);
	CHECK_EQ(dune_enter(), 0);
	threads_of(true, 20);
	measure(before);
	kept = mappings_and_files();
	threads_of(true, count);
	printf("%u threads made in Dune mode\n", count);
	compare("these", before);
	CHECK_EQ(mappings_and_files(), kept);
	return 0;
}
