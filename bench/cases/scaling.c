// SPDX-License-Identifier: MIT
/*
 * Several threads at once, each with the same number of operations: ticks from their start to the end of the last
 * one, for each operation of all. With one CPU the figure is flat unless threads stand in each other's way; with as
 * many CPUs as threads it falls as the work is shared.
 */
#include <dune.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bench.h"

#define THREADS_MAX	8
#define AREA_PAGES	256UL

static pthread_barrier_t start_line, end_line;
static void (*work)(unsigned char *own);
static unsigned char *areas[THREADS_MAX];
static unsigned int nr_threads;
static unsigned long operations;	/* of each thread */
static bool in_dune, stop;
static long own_pid;

static void calls(unsigned char *own)
{
	unsigned long right = 0;

	(void)own;
	for (unsigned long i = 0; i < operations; i++)
		right += syscall(SYS_getpid) == own_pid;
	__atomic_fetch_add(&bench_work, right, __ATOMIC_RELAXED);
}

static void first_writes(unsigned char *own)
{
	for (unsigned long i = 0; i < operations; i++)
		own[i * PAGE] = 1;
	__atomic_fetch_add(&bench_work, operations, __ATOMIC_RELAXED);
}

static void protect(unsigned char *own)
{
	unsigned long right = 0;

	for (unsigned long i = 0; i < operations; i++)
		right += !(
			in_dune ? dune_vm_mprotect(bench_root, own + i % 2 * PAGE, PAGE,
						   i & 2 ? PERM_R : PERM_R | PERM_W) :
				  mprotect(own + i % 2 * PAGE, PAGE, i & 2 ? PROT_READ : PROT_READ | PROT_WRITE));
	__atomic_fetch_add(&bench_work, right, __ATOMIC_RELAXED);
}

static void map_unmap(unsigned char *own)
{
	unsigned long right = 0;

	for (unsigned long i = 0; i < operations; i += 2) {
		right += mmap(own, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == own;
		*own = 1;
		right += !munmap(own, PAGE);
	}
	__atomic_fetch_add(&bench_work, right, __ATOMIC_RELAXED);
}

static void *run_thread(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&start_line);
		if (stop)
			return NULL;
		work(areas[(long)arg]);
		pthread_barrier_wait(&end_line);
	}
}

static void begin(void (*function)(unsigned char *own))
{
	pthread_t thread;

	work = function;
	own_pid = getpid();
	in_dune = dune_in_dune_mode();
	nr_threads = bench_current->threads;
	operations = bench_current->work / nr_threads;
	must(!pthread_barrier_init(&start_line, NULL, nr_threads + 1));
	must(!pthread_barrier_init(&end_line, NULL, nr_threads + 1));
	for (unsigned long i = 0; i < nr_threads; i++)
		must(!pthread_create(&thread, NULL, run_thread, (void *)i));
}

static void begin_calls(void)
{
	begin(calls);
}

static void begin_writes(void)
{
	begin(first_writes);
}

static void begin_protect(void)
{
	begin(protect);
}

static void begin_map(void)
{
	begin(map_unmap);
}

/*
 * How often the kernel's allocator leaves its shortest path depends on which objects of the caches behind a mapping
 * are in use, which changes slowly and outlives a sample: 2% in long waves, whose phase is the luck of the boot. Each
 * sample begins with partial slabs in order instead (Linux, ABI/testing/sysfs-kernel-slab, "shrink"). Not each kernel
 * has each cache; only root may.
 */
static void order_slabs(void)
{
	static const char *const caches[] = { "maple_node", "vm_area_struct", "anon_vma", "anon_vma_chain" };
	char path[64];

	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		int fd;

		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", caches[i]);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		must(write(fd, "1", 1) == 1 && !close(fd));
	}
}

static void map_areas(unsigned int i)
{
	(void)i;
	order_slabs();
	for (unsigned int k = 0; k < nr_threads; k++) {
		if (areas[k] && work != first_writes)
			continue;
		if (areas[k])
			must(!munmap(areas[k], (AREA_PAGES + 1) * PAGE));
		/* With a page between them that is not mapped. */
		areas[k] = mmap(NULL, (AREA_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);
		must(areas[k] != MAP_FAILED && !mprotect(areas[k] + AREA_PAGES * PAGE, PAGE, PROT_NONE) &&
		     !madvise(areas[k], AREA_PAGES * PAGE, MADV_NOHUGEPAGE));
		if (work != first_writes)
			areas[k][0] = areas[k][PAGE] = 1;
	}
}

static uint64_t all_at_once(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	pthread_barrier_wait(&start_line);
	pthread_barrier_wait(&end_line);
	return (ticks() - start) / bench_current->work + bench_clock;
}

/*
 * The cheap ones more often, so that each sample is several timer interrupts long. How many of these come while a
 * lock is held is chance, and costs the other threads a few rounds each. Samples lie in two clusters then, between
 * which a median jumps: hence fewer of them there, each the mean of several.
 */
#define ONE(name, begin, ops, samples, mean, n)	\
	{ name, WHERE_BOTH, samples, (n) * (ops), begin, map_areas, all_at_once, .threads = n, .mean_of = mean }
#define KIND(name, begin, ops, samples, mean)	\
	ONE(name, begin, ops, samples, mean, 1), ONE(name, begin, ops, samples, mean, 2), \
	ONE(name, begin, ops, samples, mean, 4), ONE(name, begin, ops, samples, mean, 8)

static const struct bench_case cases[] = {
	KIND("getpid at once", begin_calls, 1024, 21, 1),
	KIND("first write at once", begin_writes, AREA_PAGES, 21, 1),
	KIND("protect a page at once", begin_protect, 2048, 7, 9),
	KIND("mmap, touch, munmap at once", begin_map, 512, 7, 9),
};

BENCH_GROUP(scaling, false);
