// SPDX-License-Identifier: MIT
/*
 * The lock of the page tables, and of what goes with them; and others that are a word.  HR3 and GR0.
 */
#include "threads/threads.h"

static uint32_t first_mutex;
uint32_t *__dune_memory_mutex = &first_mutex;

/*
 * Rounds of waiting for who is about to let the lock go.  PAUSE takes between 10 and 140 cycles (Intel's optimization
 * manual, "Pause Latency in Skylake Client Microarchitecture").
 */
#define SPINS	200

#define YIELDS	4	/* before it sleeps; the first time so long: */
#define SLEEP	50	/* us */

/*
 * Who holds the lock may be off the CPU, for long, and may be waiting for this one.  No sched_yield(): a program's
 * filter would see it. Each sleep is twice as long as the one before, for whoever wakes up takes the CPU from who is
 * at work.
 */
void __dune_word_wait(uint32_t *word)
{
	unsigned long sleep = 0;
	int round = 0;

	do {
		for (int i = 0; i < SPINS && READ_ONCE(*word); i++)
			__builtin_ia32_pause();
		if (!READ_ONCE(*word))
			continue;
		__dune_engine_yield(sleep);
		if (++round >= YIELDS)
			sleep = !sleep ? SLEEP : 2 * sleep <= ENGINE_YIELD_MAX ? 2 * sleep : sleep;
	} while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE));
}
