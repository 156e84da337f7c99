// SPDX-License-Identifier: MIT
/*
 * The lock of the page tables, and of what goes with them; and others that are a word.  HR3 and GR0.
 */
#include "threads/threads.h"

static uint32_t first_mutex;
uint32_t *__dune_memory_mutex = &first_mutex;

/* On a host stack, that of the thread whose area it is in. */
uint32_t __dune_holder_host(void)
{
	unsigned long area = (unsigned long)__builtin_frame_address(0) & -AREA_SIZE;

	return HOLDER_HOST | (area - __dune_process.region < GRANULE_SIZE ? area_thread(area)->holder : 0);
}

bool __dune_memory_lock_is_mine(void)
{
	uint32_t holder = READ_ONCE(*__dune_memory_mutex);

	if (dune_in_guest())
		return holder == holder_guest();
	return holder & HOLDER_AREA && (holder | HOLDER_HOST) == __dune_holder_host();
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

bool __dune_holder_wait(uint32_t holder, unsigned long sleep)
{
	const struct dune_thread *t = holder_thread(holder);

	/* No thread frees its area while it has a lock: if another has the area, or none, its thread is dead. */
	if (t && READ_ONCE(t->holder) != (holder & ~HOLDER_HOST))
		return true;
	return __dune_engine_yield(sleep, t ? &t->vcpu : NULL);
}

/*
 * What a dead thread has left undone under the lock of the page tables: each entry is there or not, and no less is
 * known to be in use than is; but what it has changed may be in a TLB.  In HR3 nobody changes what can be in one.
 */
static bool take_over(uint32_t *word, uint32_t dead, uint32_t holder)
{
	if (!__atomic_compare_exchange_n(word, &dead, holder, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	if (word == __dune_memory_mutex) {
		__dune_engine_doubt();
		__dune_engine_flush_all();
	}
	return true;
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
	uint32_t other;
	int round = 0;

	if (word == __dune_memory_mutex && __dune_memory_lock_is_mine())
		die_of_own_lock();
	do {
		for (int i = 0; i < SPINS && READ_ONCE(*word); i++)
			__builtin_ia32_pause();
		other = READ_ONCE(*word);
		if (!other)
			continue;
		if (__dune_holder_wait(other, sleep) && take_over(word, other, holder))
			return;
		if (++round >= YIELDS)
			sleep = !sleep ? SLEEP : 2 * sleep <= ENGINE_YIELD_MAX ? 2 * sleep : sleep;
	} while (!word_try(word, holder));
}
