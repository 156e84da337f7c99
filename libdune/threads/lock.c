// SPDX-License-Identifier: MIT
/*
 * The lock of the page tables, and of what goes with them; and others that are a word.  HR3 and GR0.
 */
#include "threads/threads.h"

static uint32_t first_mutex;
uint32_t *__dune_memory_mutex = &first_mutex;

bool __dune_memory_lock_is_mine(void)
{
	uint32_t holder = READ_ONCE(*__dune_memory_mutex);
	unsigned long offset;

	if (dune_in_guest())
		return holder == holder_guest();
	offset = (unsigned long)__builtin_frame_address(0) - __dune_process.region;
	return offset < GRANULE_SIZE && holder == offset / AREA_SIZE + 1;
}

/*
 * Nobody would ever let it go.  It happens where what libdune needs while it has the lock cannot be accessed, and the
 * program handles that exception.  The lock is free then, as the process needs it to die.
 */
static void die_of_own_lock(void)
{
	mutex_unlock();
	__dune_fatal(SIGSEGV, "the lock of the page tables is this thread's already: an exception has come while "
		     "libdune changed a page table, and its handler wants to change one. Is a table, or memory of "
		     "libdune's, damaged or without its permissions?");
}

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
void __dune_word_wait(uint32_t *word, uint32_t holder)
{
	unsigned long sleep = 0;
	int round = 0;

	if (word == __dune_memory_mutex && __dune_memory_lock_is_mine())
		die_of_own_lock();
	do {
		for (int i = 0; i < SPINS && READ_ONCE(*word); i++)
			__builtin_ia32_pause();
		if (!READ_ONCE(*word))
			continue;
		__dune_engine_yield(sleep);
		if (++round >= YIELDS)
			sleep = !sleep ? SLEEP : 2 * sleep <= ENGINE_YIELD_MAX ? 2 * sleep : sleep;
	} while (!word_try(word, holder));
}
