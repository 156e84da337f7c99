/* SPDX-License-Identifier: MIT */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* The time-stamp counter: in the testbed it counts instructions. */
static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* One measured operation. */
struct bench_case {
	const char *name;
	/* Prepare sample @i; not timed.  May be NULL. */
	void (*prepare)(unsigned int i);
	/* The operation; returns its ticks. */
	uint64_t (*sample)(unsigned int i);
	unsigned int samples;
	unsigned int per_sample;	/* operations in one sample */
	unsigned int where;		/* WHERE_* */
};

#define WHERE_LINUX	1
#define WHERE_DUNE	2
#define WHERE_BOTH	3

struct bench_result {
	uint64_t minimum, median, p90;
	double exits, runs, crossings;	/* per operation; Dune only */
};

extern const struct bench_case bench_cases[];
extern const unsigned int nr_bench_cases;

/* The module's counters (debugfs). */
struct bench_stats {
	uint64_t runs;		/* DUNE_RUN calls */
	uint64_t entries;	/* VM entries */
};

int bench_stats_open(void);
struct bench_stats bench_stats_read(void);

/* cases.c: before and after all cases of one side. */
void cases_begin(void);
uint64_t cases_checksum(void);

#endif
