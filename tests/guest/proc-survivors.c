// SPDX-License-Identifier: MIT
/*
 * A collector that finds by soft-dirty bits which old objects were written loses none that is in use: for each of its
 * collections the other threads put references into an old heap, and the collector looks for them only in what the
 * bits say was written.  A reference that it has not found is a lost object.
 *
 * proc-survivors outside|... [THREADS [COLLECTIONS]]
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#include "proc.h"

#define PAGE	4096UL
#define PAGES	512		/* of the old heap */
#define WRITES	24		/* by each thread in an epoch */
#define THREADS_MAX	8

static int clear_refs, pagemap;
static char *heap;
static uint64_t found[PAGES];		/* what the collector knows of each page */
static _Atomic unsigned int epoch, arrived;
static _Atomic bool over;
static unsigned int nr_threads = 1;

static volatile uint64_t *slot(unsigned int page)
{
	return (uint64_t *)(heap + page * PAGE + page % 64 * 64);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

/*
 * Each has pages of its own, some of which it writes in every epoch: so its CPU always has a translation that says that
 * the page was written.  Every so often the kernel writes for it.
 */
static void write_some(unsigned int thread, uint64_t *seed, int pipe[2])
{
	for (unsigned int i = 0; i < WRITES; i++) {
		const uint64_t value = next_random(seed);
		const unsigned int page = (value >> 8) % (i & 1 ? 16 : PAGES / nr_threads) * nr_threads + thread;

		if (value % 64) {
			*slot(page) = value;
			continue;
		}
		CHECK_EQUAL(write(pipe[1], &value, sizeof(value)), sizeof(value), "write");
		CHECK_EQUAL(read(pipe[0], (void *)slot(page), sizeof(value)), sizeof(value), "read");
	}
}

/* Between two epochs it makes no call: it stays on its CPU, with what that knows. */
static void *mutator(void *arg)
{
	const unsigned int thread = (uintptr_t)arg;
	uint64_t seed = 88172645463325252UL + thread;
	unsigned int seen = 0;
	int pipes[2];

	CHECK_EQUAL(pipe(pipes), 0, "pipe");
	while (!over) {
		if (epoch == seen)
			continue;
		seen = epoch;
		write_some(thread, &seed, pipes);
		arrived++;
	}
	return NULL;
}

static unsigned int collect(unsigned int round)
{
	uint64_t entries[PAGES];
	unsigned int lost = 0, clean = 0;

	CHECK_EQUAL(pread(pagemap, entries, sizeof(entries), (uintptr_t)heap / PAGE * 8), sizeof(entries), "pread");
	CHECK_EQUAL(write(clear_refs, "4\n", 2), 2, "clear_refs");
	for (unsigned int i = 0; i < PAGES; i++) {
		if (entries[i] >> 55 & 1)
			found[i] = *slot(i);
		else
			clean++;
		lost += found[i] != *slot(i);
	}
	CHECK(!lost, "collection %u: %u objects are lost", round, lost);
	/* Else it would have found all without any bit. */
	if (round > 4)
		CHECK(clean > PAGES / 2, "collection %u: only %u pages are clean", round, clean);
	return lost;
}

int main(int argc, char **argv)
{
	unsigned int collections = argc > 3 ? atoi(argv[3]) : 10000, lost = 0;
	pthread_t threads[THREADS_MAX];

	proc_begin(argc, argv);
	nr_threads = argc > 2 ? atoi(argv[2]) : 1;
	heap = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(heap != MAP_FAILED, "mmap");
	memset(heap, 0, PAGES * PAGE);
	clear_refs = open("/proc/self/clear_refs", O_WRONLY);
	pagemap = open("/proc/self/pagemap", O_RDONLY);
	for (uintptr_t i = 0; i < nr_threads; i++)
		CHECK_EQUAL(pthread_create(&threads[i], NULL, mutator, (void *)i), 0, "pthread_create");
	for (unsigned int i = 1; i <= collections && lost < 10; i++) {
		arrived = 0;
		epoch = i;
		while (arrived < nr_threads)
			__asm__ volatile("pause");
		lost += collect(i);
	}
	over = true;
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	printf("%u collections, %u threads: %u objects lost\n", collections, nr_threads, lost);
	return check_result();
}
