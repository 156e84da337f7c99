// SPDX-License-Identifier: MIT
/*
 * A collector that finds by soft-dirty bits which old objects were written loses none that is in use: for each of its
 * collections the other threads put references into an old heap, and the collector looks for them only in what the
 * bits say was written.  A reference that it has not found is a lost object.
 *
 * proc-survivors outside|... [THREADS [COLLECTIONS]]
 */
#include <stdint.h>
#include <sys/mman.h>

#include "proc.h"
#include "epochs.h"

#define PAGE	4096UL
#define PAGES	512		/* of the old heap */

static int clear_refs, pagemap;
static char *heap;
static uint64_t found[PAGES];		/* what the collector knows of each page */

static volatile uint64_t *slot(unsigned int page)
{
	return (uint64_t *)(heap + page * PAGE + page % 64 * 64);
}

/*
 * Each has pages of its own, some of which it writes in every epoch: so its CPU always has a translation that says that
 * the page was written.  Every so often the kernel writes for it.
 */
static void write_some(unsigned int thread, uint64_t *seed, const int *pipe)
{
	for (unsigned int i = 0; i < EPOCH_WRITES; i++) {
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

static void mutator_begins(void)
{
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
	unsigned int collections = argc > 3 ? atoi(argv[3]) : 10000, lost;

	proc_begin(argc, argv);
	nr_threads = argc > 2 ? atoi(argv[2]) : 1;
	heap = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(heap != MAP_FAILED, "mmap");
	memset(heap, 0, PAGES * PAGE);
	clear_refs = open("/proc/self/clear_refs", O_WRONLY);
	pagemap = open("/proc/self/pagemap", O_RDONLY);
	lost = survive(collections, 10);
	printf("%u collections, %u threads: %u objects lost\n", collections, nr_threads, lost);
	return check_result();
}
