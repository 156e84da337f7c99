// SPDX-License-Identifier: MIT
/*
 * What the program has registered: functions, and what they are called with.
 *
 * A handler is found by one pointer, and never changes once it is made: so whoever has read the pointer, and may then
 * be off the CPU for as long as it likes, calls a function with the argument that belongs to it.  Nor is one ever
 * freed; who registers the same again gets the same.
 *
 * HR3 and GR0.
 */
#include "guest/guest.h"

#define NR_HANDLERS	2048

enum { FREE, BEING_MADE, MADE };

static struct handler handlers[NR_HANDLERS];
static uint8_t states[NR_HANDLERS];

static bool equal(const struct handler *a, const struct handler *b)
{
	return a->code == b->code && a->arg == b->arg && a->cb == b->cb && a->vector == b->vector &&
	       a->bare == b->bare && a->pgflt == b->pgflt;
}

static unsigned int first_place(const struct handler *h)
{
	uint64_t n = ((uint64_t)h->cb ^ (uint64_t)h->arg << 20 ^ h->vector) * 0x9e3779b97f4a7c15;

	return n >> 32;
}

const struct handler *__dune_handler_make(const struct handler *wanted)
{
	unsigned int first = first_place(wanted);

	for (unsigned int i = 0; i < NR_HANDLERS; i++) {
		unsigned int at = (first + i) % NR_HANDLERS;
		uint8_t state = __atomic_load_n(&states[at], __ATOMIC_ACQUIRE);

		if (state == MADE && equal(&handlers[at], wanted))
			return &handlers[at];
		/* Of two threads at the same place one goes on: two that are equal do no harm. */
		if (state != FREE || !__atomic_compare_exchange_n(&states[at], &state, BEING_MADE, false,
								   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			continue;
		handlers[at] = *wanted;
		__atomic_store_n(&states[at], MADE, __ATOMIC_RELEASE);
		return &handlers[at];
	}
	return NULL;
}
