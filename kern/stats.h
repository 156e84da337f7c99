/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters, one instruction each to raise; /sys/kernel/debug/dune/stats shows their sums. */
#ifndef DUNE_STATS_H
#define DUNE_STATS_H

#include <linux/percpu.h>

#include "exit_kinds.h"

enum dune_stat {
	STAT_RUNS,		/* DUNE_RUN calls */
	STAT_INTR,		/* exits to user space for pending work */
	STAT_FAULTS,		/* ... for an unresolved access */
	STAT_SHUTDOWNS,
	STAT_TLB_FLUSHES,	/* of this CPU, before an entry */
	STAT_KICKS,		/* rounds of interrupts to other CPUs */
	STAT_MIGRATIONS,	/* a vCPU came to another CPU */
	STAT_VECTOR_LOADS,	/* the module loaded vector registers itself */
	STAT_YIELDS,		/* threads that waited for another's lock */
	STAT_CALLS,		/* system calls made inside */
	STAT_CALL_RETURNS,	/* DUNE_RUN came back as one of them */
	STAT_NR
};

struct dune_stats {
	u64 count[STAT_NR];
	u64 exits[X_NR_KINDS];
};

DECLARE_PER_CPU(struct dune_stats, dune_stats);

static __always_inline void dune_stat(enum dune_stat stat)
{
	this_cpu_inc(dune_stats.count[stat]);
}

static __always_inline void dune_stat_exit(enum dune_exit_kind kind)
{
	this_cpu_inc(dune_stats.exits[kind]);
}

void dune_stats_init(void);
void dune_stats_exit(void);

#endif
