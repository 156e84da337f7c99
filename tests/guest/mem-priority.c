// SPDX-License-Identifier: MIT
/*
 * A thread of high priority needs a page of a range that one of low priority, on the same CPU, is in the midst of
 * unmapping: it waits, and leaves the CPU to the other meanwhile.
 */
#include "mem.h"

#include <time.h>

#define SIZE	(128UL << 20)

static char *range;
static bool ready, unmapping, done;
static unsigned int met;	/* how often it needed one just then */
static double used, longest;	/* seconds: of the CPU, and until it had the page */

static double seconds(clockid_t clock)
{
	struct timespec t;

	CHECK(!clock_gettime(clock, &t));
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* The page at the end is unmapped last. */
static void *need_page(void *arg)
{
	const struct sched_param param = { .sched_priority = 1 };
	const struct timespec pause = { .tv_nsec = 3000000 };
	double start;

	CHECK(!sched_setscheduler(0, SCHED_FIFO, &param));
	used = seconds(CLOCK_THREAD_CPUTIME_ID);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		nanosleep(&pause, NULL);
		__atomic_store_n(&ready, true, __ATOMIC_RELEASE);
		if (!__atomic_load_n(&unmapping, __ATOMIC_ACQUIRE))
			continue;
		start = seconds(CLOCK_MONOTONIC);
		((volatile char *)range)[SIZE - PAGE]++;
		start = seconds(CLOCK_MONOTONIC) - start;
		if (__atomic_load_n(&unmapping, __ATOMIC_ACQUIRE))
			met++;
		if (start > longest)
			longest = start;
	}
	used = seconds(CLOCK_THREAD_CPUTIME_ID) - used;
	return arg;
}

int main(void)
{
	pthread_t thread;
	cpu_set_t set;
	double took;

	enter();
	range = mmap(NULL, SIZE, RW, ANON, -1, 0);
	CHECK(range != MAP_FAILED && !madvise(range, SIZE, MADV_NOHUGEPAGE));
	for (size_t i = 0; i < SIZE; i += PAGE)
		range[i] = 1;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
	CHECK(!pthread_create(&thread, NULL, need_page, NULL));
	while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
		usleep(1000);
	took = seconds(CLOCK_MONOTONIC);
	__atomic_store_n(&unmapping, true, __ATOMIC_RELEASE);
	CHECK(!madvise(range, SIZE, MADV_DONTNEED));
	__atomic_store_n(&unmapping, false, __ATOMIC_RELEASE);
	took = seconds(CLOCK_MONOTONIC) - took;
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	printf("%.0f ms, of which the other thread had %.0f; it met it %u times, and waited %.0f ms at most\n",
	       took * 1e3, used * 1e3, met, longest * 1e3);
	fflush(stdout);
	if (!met && longest < 1e-3)
		FAIL("nothing was needed while it was unmapped");
	if (used > 0.5 * took)
		FAIL("who waits kept the CPU");
	return 0;
}
