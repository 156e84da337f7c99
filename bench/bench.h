/* SPDX-License-Identifier: MIT */
/*
 * What a case is, and what all of them share.
 *
 * A case is measured on each side it is for, in a fresh process: outside Dune mode, inside, or inside with another
 * way to run the guest.  First its samples are timed; then, in a pass of its own, what they make the kernel and
 * the module do is counted, as counting costs time.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096UL

/* The time-stamp counter: in the testbed it counts instructions. */
static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* ---- cases ---- */

enum side { SIDE_LINUX, SIDE_DUNE, SIDE_IOCTL, NR_SIDES };

#define WHERE_LINUX	(1 << SIDE_LINUX)
#define WHERE_DUNE	(1 << SIDE_DUNE)
#define WHERE_IOCTL	(1 << SIDE_IOCTL)	/* in Dune mode, with DUNE_OPT_RUN_IOCTL */
#define WHERE_BOTH	(WHERE_LINUX | WHERE_DUNE)

struct bench_case {
	const char *name;
	unsigned int where;		/* WHERE_* */
	unsigned int samples;		/* at most SAMPLES_MAX */
	unsigned int work;		/* what each call of sample() adds to bench_work: proof that it did it */
	/* Once, in the process that measures.  May be NULL, as may prepare and after.  bench_skip() ends it. */
	void (*begin)(void);
	/* Before sample @i; not timed. */
	void (*prepare)(unsigned int i);
	/* The operation; returns its ticks. */
	uint64_t (*sample)(unsigned int i);
	/* After sample @i; neither timed nor counted. */
	void (*after)(unsigned int i);
	/*
	 * A sample is the mean of so many calls but the longest fifth, in which the timer's interrupt may be: for
	 * what has more than one length, since a median jumps between those.
	 */
	unsigned int mean_of;		/* 0 is 1 */
	/* What nobody counts, for the model; in each sample: */
	unsigned int guest_traps;	/* exceptions that the guest handles itself */
	unsigned int guest_calls;	/* system calls of ring 3 */
	unsigned int walks;		/* TLB misses */
	unsigned long pages, dirty;	/* for cases of one kind that differ in them */
	unsigned int threads;		/* likewise; of the process */
	bool outside;			/* of WHERE_DUNE too: the measuring process does not enter, its children do */
	bool by_dune_run;		/* the measuring process is run-dynamic, and in Dune mode by dune-run */
	const char *unit;		/* what samples return if not ticks */
	bool checked;			/* in the baseline, though its group is not micro */
};

#define SAMPLES_MAX	2048

struct bench_group {
	const char *name;
	bool micro;			/* quick and steady: all of it is in the baseline */
	const struct bench_case *cases;
	unsigned int nr;
};

extern const struct bench_group bench_calls, bench_faults, bench_traps, bench_appel, bench_ring3, bench_tables,
	bench_alternatives, bench_dirty, bench_enter, bench_processes, bench_scaling, bench_flush, bench_programs,
	bench_gc;

#define BENCH_GROUP(id, is_micro)				\
	const struct bench_group bench_##id = {			\
		.name = #id, .micro = is_micro,			\
		.cases = cases, .nr = ARRAY_SIZE(cases),	\
	}

/* ---- what cases use ---- */

/* Raised inside the timed region by those that do the work: handlers, or what a result is compared with. */
extern uint64_t bench_work;

/* What ticks() adds to each sample; it is taken off. */
extern uint64_t bench_clock;

/* dune_vm_root(), in Dune mode. */
extern uint64_t *bench_root;

/* The case that is measured, and on which side. */
extern const struct bench_case *bench_current;
extern enum side bench_side;

/* This case cannot be measured here, and why. */
void bench_skip(const char *why) __attribute__((noreturn));

/*
 * On the side of Dune mode put dune-run, which is on PATH or the case is skipped, before the words of a command.
 * There is room for one more, and NULL at their end.
 */
void bench_by_dune_run(char **words);

/* The process ends, with the place: what a case rests on does not hold. */
#define bench_die(what)		bench_die_at(__FILE__, __LINE__, what)
void bench_die_at(const char *file, int line, const char *what) __attribute__((noreturn));

#define must(condition)		do { if (!(condition)) bench_die(#condition); } while (0)

/* ---- measure.c ---- */

struct bench_counts;

struct bench_result {
	uint64_t minimum, median, p90, maximum;
	unsigned int outliers;		/* samples of more than twice the median */
	char skipped[128];		/* why, or empty */
};

/* In this process, which is on the right side already.  @counts: NULL to leave out the pass that counts. */
void bench_measure(const struct bench_case *c, struct bench_result *result, struct bench_counts *counts);

/* ---- check.c ---- */

void bench_check_open(const char *path);
/*
 * False: longer than it should be, and to be measured once more.  @outside: the median outside Dune mode in this boot,
 * or 0 if it was not measured.
 */
bool bench_check(const char *name, uint64_t median, uint64_t outside, bool last_try);
/* It could not be measured, which is no better than too long; @skipped: unless the baseline's machine could not too. */
void bench_check_failed(const char *name, const char *why, bool skipped);
/* At the end: is all well?  @all: all cases were asked for. */
bool bench_check_end(bool all);

/* ---- counters.c ---- */

#define COUNTS_MAX	40

/* Medians of what the samples of the pass that counts did. */
struct bench_counts {
	int64_t value[COUNTS_MAX];
};

/* Their names, in order; NULL is the end. */
const char *bench_count_name(unsigned int i);
void bench_counters_open(void);
void bench_counters_read(struct bench_counts *counts);

#endif
