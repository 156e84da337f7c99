// SPDX-License-Identifier: MIT
/* One case, in this process. */
#include <string.h>

#include "bench.h"

#define COUNTED		16	/* samples at most in the pass that counts */

uint64_t bench_work, bench_clock;
const struct bench_case *bench_current;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void find_clock(void)
{
	bench_clock = -1;
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t start = ticks(), end = ticks();

		if (end - start < bench_clock)
			bench_clock = end - start;
	}
}

/* What goes on around a sample. */
static void before_sample(const struct bench_case *c, unsigned int i)
{
	if (c->prepare)
		c->prepare(i);
	bench_work = 0;
}

static void after_sample(const struct bench_case *c, unsigned int i)
{
	if (c->after)
		c->after(i);
	if (bench_work != c->work)
		bench_die("the timed region did not contain the work");
}

static void time_samples(const struct bench_case *c, struct bench_result *result)
{
	static uint64_t samples[SAMPLES_MAX];
	unsigned int n = c->samples, i;

	must(n && n <= SAMPLES_MAX);
	for (i = 0; i < n; i++) {
		before_sample(c, i);
		samples[i] = c->sample(i);
		samples[i] -= samples[i] > bench_clock ? bench_clock : samples[i];
		after_sample(c, i);
	}
	qsort(samples, n, sizeof(samples[0]), compare);
	result->minimum = samples[0];
	result->median = samples[n / 2];
	result->p90 = samples[n * 9 / 10];
	result->maximum = samples[n - 1];
	for (i = n; i && samples[i - 1] > 2 * result->median; i--)
		;
	result->outliers = n - i;
}

static void add(struct bench_counts *sum, const struct bench_counts *before, const struct bench_counts *after, int sign)
{
	for (unsigned int i = 0; bench_count_name(i); i++)
		sum->value[i] += sign * (after->value[i] - before->value[i]);
}

/* What the reading itself adds is known from readings with nothing in between. */
static void count_samples(const struct bench_case *c, struct bench_result *result, struct bench_counts *sum)
{
	unsigned int n = c->samples < COUNTED ? c->samples : COUNTED, last = c->samples + n;
	struct bench_counts a, b;

	bench_counters_open();
	memset(sum, 0, sizeof(*sum));
	bench_counters_read(&a);
	for (unsigned int i = c->samples; i < last; i++) {
		before_sample(c, i);
		bench_counters_read(&a);
		c->sample(i);
		bench_counters_read(&b);
		after_sample(c, i);
		add(sum, &a, &b, 1);
		bench_counters_read(&a);
		bench_counters_read(&b);
		add(sum, &a, &b, -1);
	}
	result->counted = n;
}

void bench_measure(const struct bench_case *c, struct bench_result *result, struct bench_counts *counts)
{
	bench_current = c;
	find_clock();
	if (c->begin)
		c->begin();
	time_samples(c, result);
	count_samples(c, result, counts);
}
