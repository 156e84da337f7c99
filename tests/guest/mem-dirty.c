// SPDX-License-Identifier: MIT
/*
 * Soft-dirty bits: after they are cleared, exactly the pages that were written since have
 * one, be it the guest that writes or an ordinary thread.
 */
#include "mem.h"

#define COUNT	64

static struct ordinary *outside;

static bool soft_dirty(const char *p)
{
	return pagemap(p) >> 55 & 1;
}

static void clear(void)
{
	CHECK(write_text("/proc/self/clear_refs", "4"));
}

static void rounds(char *p)
{
	for (unsigned int round = 0; round < 8; round++) {
		/* All are mapped for the guest, writable. */
		for (unsigned int i = 0; i < COUNT; i++)
			put(HERE, p + i * PAGE, i);
		clear();
		for (unsigned int i = 0; i < COUNT; i++) {
			CHECK(!soft_dirty(p + i * PAGE));
			CHECK_EQ(see(HERE, p + i * PAGE), i);	/* a read is no write */
		}
		for (unsigned int i = round % 3; i < COUNT; i += 3)
			put(i & 1 ? HERE : outside, p + i * PAGE, 1000 + i);
		for (unsigned int i = 0; i < COUNT; i++) {
			bool written = i >= round % 3 && (i - round % 3) % 3 == 0;

			if (soft_dirty(p + i * PAGE) != written)
				FAIL("round %u: page %u is %swritten, soft-dirty says %d", round, i,
				     written ? "" : "not ", !written);
			BOTH_SEE(outside, p + i * PAGE, written ? 1000 + i : i);
		}
	}
}

static void huge(void)
{
	char *p = map_aligned(HUGE, HUGE);

	madvise(p, HUGE, MADV_HUGEPAGE);
	put(HERE, p, 1);
	clear();
	CHECK_EQ(see(HERE, p), 1);
	CHECK(!soft_dirty(p) && !soft_dirty(p + 100 * PAGE));
	put(HERE, p + 100 * PAGE, 2);
	CHECK(soft_dirty(p + 100 * PAGE));
	BOTH_SEE(outside, p + 100 * PAGE, 2);
	munmap(p, HUGE);
}

/* The guest writes all the time: what is not reported in one round is in the next. */
static volatile bool stop;
static char *busy;

static long collect(long n, long b, long c)
{
	uint64_t before[COUNT];

	(void)b;
	(void)c;
	for (; n > 0; n--) {
		clear();
		for (unsigned int i = 0; i < COUNT; i++)
			before[i] = *(volatile uint64_t *)(busy + i * PAGE);
		sched_yield();
		for (unsigned int i = 0; i < COUNT; i++)
			if (*(volatile uint64_t *)(busy + i * PAGE) != before[i])
				CHECK(soft_dirty(busy + i * PAGE));
	}
	stop = true;
	return 0;
}

static void while_writing(void)
{
	busy = map_anon(COUNT * PAGE);
	begin(outside, collect, 30, 0, 0);
	while (!stop)
		for (unsigned int i = 0; i < COUNT; i++)
			++*(volatile uint64_t *)(busy + i * PAGE);
	CHECK_EQ(wait_for(outside), 0);
}

int main(void)
{
	char *p = map_anon(COUNT * PAGE), *shared;
	int fd = new_file(COUNT, 0);

	put(HERE, p, 1);
	clear();
	put(HERE, p, 2);
	if (!soft_dirty(p) || soft_dirty(p + PAGE))
		SKIP("the kernel has no soft-dirty bits");
	shared = map(NULL, COUNT * PAGE, RW, MAP_SHARED, fd);
	outside = ordinary_thread();
	enter();
	madvise(p, COUNT * PAGE, MADV_NOHUGEPAGE);
	rounds(p);
	rounds(shared);
	huge();
	while_writing();
	return 0;
}
