// SPDX-License-Identifier: MIT
/*
 * KSM: pages of equal contents become one; a write of either side gives the page back to
 * its owner alone, and shows to both.
 */
#include "mem.h"

#include <time.h>

#define DIR	"/sys/kernel/mm/ksm/"
#define COUNT	64

static struct ordinary *outside;

static uint64_t frame(const char *p)
{
	return pagemap(p) & ((1UL << 55) - 1);
}

static void fill(char *p, uint64_t value)
{
	for (unsigned int i = 0; i < PAGE / 8; i++)
		((volatile uint64_t *)p)[i] = value;
}

/* All of them in one frame, in the end. */
static bool merged(char *p)
{
	for (unsigned int i = 1; i < COUNT; i++)
		if (frame(p + i * PAGE) != frame(p))
			return false;
	return true;
}

static void merge(char *p)
{
	struct timespec start, now;

	CHECK(write_text(DIR "run", "1"));
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!merged(p)) {
		usleep(20000);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > start.tv_sec + 30)
			FAIL("not merged; pages_shared %ld, pages_sharing %ld",
			     read_number(DIR "pages_shared"), read_number(DIR "pages_sharing"));
	}
	CHECK(write_text(DIR "run", "0"));
}

int main(void)
{
	char *p;

	if (read_number(DIR "run") < 0)
		SKIP("the kernel has no KSM");
	write_text(DIR "pages_to_scan", "2000");
	write_text(DIR "sleep_millisecs", "5");
	write_text(DIR "use_zero_pages", "0");
	outside = ordinary_thread();
	enter();

	p = map_anon(COUNT * PAGE);
	CHECK(!madvise(p, COUNT * PAGE, MADV_NOHUGEPAGE));
	CHECK(!madvise(p, COUNT * PAGE, MADV_MERGEABLE));
	for (unsigned int round = 0; round < 3; round++) {
		/* Written by the guest, so that it is mapped writable there. */
		for (unsigned int i = 0; i < COUNT; i++)
			fill(p + i * PAGE, 0xabcd + round);
		merge(p);
		for (unsigned int i = 0; i < COUNT; i++)
			CHECK_EQ(see(i & 1 ? HERE : outside, p + i * PAGE + 8), 0xabcd + round);

		/* Every second one is written, by turns. */
		for (unsigned int i = 0; i < COUNT; i += 2)
			put(i & 2 ? HERE : outside, p + i * PAGE, i);
		for (unsigned int i = 0; i < COUNT; i++) {
			BOTH_SEE(outside, p + i * PAGE, i & 1 ? 0xabcd + round : i);
			BOTH_SEE(outside, p + i * PAGE + 8, 0xabcd + round);
		}
	}
	CHECK(write_text(DIR "run", "2"));		/* each page on its own again */
	for (unsigned int i = 0; i < COUNT; i++)
		BOTH_SEE(outside, p + i * PAGE, i & 1 ? 0xabcd + 2 : i);
	CHECK(frame(p + PAGE) != frame(p + 3 * PAGE));
	CHECK(write_text(DIR "run", "0"));
	return 0;
}
