// SPDX-License-Identifier: MIT
/* One case, in this process. */
#include <string.h>

#include "bench.h"

#define COUNTED		15	/* samples at most in the pass that counts */
#define FEW		40	/* samples */
#define CALLS_MAX	20	/* in each */
/* A little more than the ticks between two interrupts of the timer where they are instructions. */
#define STAGGER_BITS	19

uint64_t bench_work, bench_clock, *bench_root;
const struct bench_case *bench_current;
enum side bench_side;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* A sample without an operation. */
static uint64_t nothing(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	return ticks() - start;
}

static void find_clock(void)
{
	uint64_t (*volatile sample)(unsigned int i) = nothing;

	bench_clock = -1;
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t took = sample(i);

		if (took < bench_clock)
			bench_clock = took;
	}
}

/* What goes on around a sample. */
static void before_sample(const struct bench_case *c, unsigned int i)
{
	if (c->prepare)
		c->prepare(i);
	bench_work = 0;
}

/*
 * A few samples that keep step with the timer have its interrupt all in them, or none: that would be the luck of the
 * boot.  So they begin at random, the same in each run.
 */
static void stagger(unsigned int samples)
{
	static uint64_t random = 1;
	uint64_t start = ticks();

	if (samples > FEW)
		return;
	random = random * 6364136223846793005 + 1442695040888963407;	/* Knuth's MMIX */
	while (ticks() - start < random >> (64 - STAGGER_BITS))
		;
}

static void after_sample(const struct bench_case *c, unsigned int i)
{
	if (c->after)
		c->after(i);
	if (bench_work != c->work)
		bench_die("the timed region did not contain the work");
}

static unsigned int calls_of(const struct bench_case *c)
{
	return c->mean_of ? c->mean_of : 1;
}

static uint64_t time_call(const struct bench_case *c, unsigned int i)
{
	uint64_t took;

	stagger(c->samples * calls_of(c));
	before_sample(c, i);
	took = c->sample(i);
	if (!c->unit)
		took -= took > bench_clock ? bench_clock : took;
	after_sample(c, i);
	return took;
}

static uint64_t take_sample(const struct bench_case *c, unsigned int i)
{
	unsigned int calls = calls_of(c), kept = calls - calls / 5;
	uint64_t took[CALLS_MAX], sum = 0;

	for (unsigned int k = 0; k < calls; k++)
		took[k] = time_call(c, i * calls + k);
	qsort(took, calls, sizeof(took[0]), compare);
	for (unsigned int k = 0; k < kept; k++)
		sum += took[k];
	return sum / kept;
}

static void time_samples(const struct bench_case *c, struct bench_result *result)
{
	static uint64_t samples[SAMPLES_MAX];
	unsigned int n = c->samples, i;

	must(n && n <= SAMPLES_MAX && calls_of(c) <= CALLS_MAX);
	for (i = 0; i < n; i++)
		samples[i] = take_sample(c, i);
	qsort(samples, n, sizeof(samples[0]), compare);
	result->minimum = samples[0];
	result->median = samples[n / 2];
	result->p90 = samples[n * 9 / 10];
	result->maximum = samples[n - 1];
	for (i = n; i && samples[i - 1] > 2 * result->median; i--)
		;
	result->outliers = n - i;
}

static int compare_signed(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t median(int64_t *values, unsigned int n)
{
	qsort(values, n, sizeof(values[0]), compare_signed);
	return values[n / 2];
}

/* What the reading itself adds is known from readings with nothing in between. */
static void count_samples(const struct bench_case *c, struct bench_counts *counts)
{
	static struct bench_counts with[COUNTED][2], without[COUNTED][2];
	unsigned int n = c->samples < COUNTED ? c->samples : COUNTED, timed = c->samples * calls_of(c), i;
	int64_t a[COUNTED], b[COUNTED];

	bench_counters_open();
	memset(with, 0, sizeof(with));		/* so that its pages are there */
	memset(without, 0, sizeof(without));
	bench_counters_read(&with[0][0]);
	for (i = 0; i < n; i++) {
		before_sample(c, timed + i);
		bench_counters_read(&with[i][0]);
		c->sample(timed + i);
		bench_counters_read(&with[i][1]);
		after_sample(c, timed + i);
		bench_counters_read(&without[i][0]);
		bench_counters_read(&without[i][1]);
	}
	for (unsigned int k = 0; bench_count_name(k); k++) {
		for (i = 0; i < n; i++) {
			a[i] = with[i][1].value[k] - with[i][0].value[k];
			b[i] = without[i][1].value[k] - without[i][0].value[k];
		}
		counts->value[k] = median(a, n) - median(b, n);
	}
}

void bench_measure(const struct bench_case *c, struct bench_result *result, struct bench_counts *counts)
{
	bench_current = c;
	find_clock();
	if (c->begin)
		c->begin();
	time_samples(c, result);
	if (counts)
		count_samples(c, counts);
}
