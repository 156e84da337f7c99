/* SPDX-License-Identifier: MIT */
/*
 * dune-trace: what main() and the callbacks share.
 */
#ifndef DUNE_TRACE_H
#define DUNE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dune-ring3.h>

#include "../decode/decode.h"

/* Shared by all processes: what main() has found out by the C library, and what -c counts. */
struct shared {
	bool counts;		/* -c: no lines */
	bool signals;		/* their lines too */
	bool numbered;		/* -o: the process's number before each line */
	bool executes;		/* execve is shown */
	bool killed;		/* that the first process was is said */
	int first;		/* the first process */
	struct names names;
	struct counter {
		uint64_t calls, errors, ticks;
	} counters[DUNE_RING3_CALLS];
};

static inline struct shared *shared(void)
{
	return dune_ring3_shared();
}

#endif /* DUNE_TRACE_H */
