/* SPDX-License-Identifier: MIT */
/*
 * Threads that write, and a collector: in each epoch every thread writes some, then the collector looks for what was
 * written.  Included behind proc.h or check.h.
 */
#ifndef EPOCHS_H
#define EPOCHS_H

#include <pthread.h>
#include <stdint.h>

#define EPOCH_WRITES	24	/* by each thread in an epoch */
#define THREADS_MAX	8

/* What each test has. */
static void mutator_begins(void);
static void write_some(unsigned int thread, uint64_t *seed, const int *pipe);
static unsigned int collect(unsigned int round);	/* how many objects are lost */

static _Atomic unsigned int epoch, arrived;
static _Atomic bool over;
static unsigned int nr_threads = 1;

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

/* Between two epochs it makes no call: it stays on its CPU, with what that knows. */
static void *mutator(void *arg)
{
	const unsigned int thread = (uintptr_t)arg;
	uint64_t seed = 88172645463325252UL + thread;
	unsigned int seen = 0;
	int pipes[2];

	mutator_begins();
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

/* How many objects are lost in @collections, or more than @most. */
static unsigned int survive(unsigned int collections, unsigned int most)
{
	unsigned int lost = 0;
	pthread_t threads[THREADS_MAX];

	over = false;
	epoch = 0;
	for (uintptr_t i = 0; i < nr_threads; i++)
		CHECK_EQUAL(pthread_create(&threads[i], NULL, mutator, (void *)i), 0, "pthread_create");
	for (unsigned int i = 1; i <= collections && lost < most; i++) {
		arrived = 0;
		epoch = i;
		while (arrived < nr_threads)
			__asm__ volatile("pause");
		lost += collect(i);
	}
	over = true;
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	return lost;
}

#endif
