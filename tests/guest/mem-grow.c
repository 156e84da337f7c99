// SPDX-License-Identifier: MIT
/*
 * Memory that grows: the stack page by page and by a leap, a mapping that grows down, the
 * break past 4 GiB.
 */
#include "mem.h"

#include <alloca.h>

static struct ordinary *outside;

/* Frames of some 8 KiB, each of which holds its depth. */
static __attribute__((noinline)) long descend(unsigned int depth)
{
	volatile uint64_t frame[1000];
	long below;

	frame[0] = depth;
	frame[999] = ~(uint64_t)depth;
	below = depth ? descend(depth - 1) : 0;
	if (depth % 64 == 0) {
		CHECK_EQ(see(outside, (void *)&frame[0]), depth);
		CHECK_EQ(see(outside, (void *)&frame[999]), ~(uint64_t)depth);
	}
	return frame[0] == depth && frame[999] == ~(uint64_t)depth ? below + 1 : -100000;
}

static __attribute__((noinline)) void leap(void)
{
	char *low = alloca(3 << 20);

	put(HERE, low, 42);
	BOTH_SEE(outside, low, 42);
	CHECK_EQ(see(outside, low + (1 << 20)), 0);
}

static void growing_down(void)
{
	char *p = map(NULL, 64 * PAGE, PROT_NONE, ANON, -1);
	char *top;

	munmap(p, 64 * PAGE);
	top = map(p + 60 * PAGE, PAGE, RW, ANON | MAP_GROWSDOWN, -1);
	for (unsigned int i = 1; i < 16; i++) {
		put(i & 1 ? HERE : outside, top - i * PAGE, i);
		BOTH_SEE(outside, top - i * PAGE, i);
	}
	munmap(top - 15 * PAGE, 16 * PAGE);
}

static void the_break(void)
{
	const unsigned long step = 256UL << 20;
	char *start = sbrk(0);
	unsigned int n = 0;

	CHECK((unsigned long)start < 4 * GIB || no_dune());
	for (; (unsigned long)sbrk(0) < (unsigned long)start + 5 * GIB; n++) {
		char *old = sbrk(step);

		CHECK(old != (void *)-1);
		put(n & 1 ? HERE : outside, old + step - 8, n + 1);
		put(n & 1 ? HERE : outside, old + PAGE, ~(uint64_t)n);
	}
	CHECK((unsigned long)sbrk(0) > 4 * GIB);
	for (unsigned int i = 0; i < n; i++) {
		BOTH_SEE(outside, start + i * step + step - 8, i + 1);
		BOTH_SEE(outside, start + i * step + PAGE, ~(uint64_t)i);
	}
	/* Back, and up again: the memory is new. */
	CHECK(!brk(start));
	for (unsigned int i = 0; i < 4; i++)
		CHECK(sbrk(step) == start + i * step);
	BOTH_SEE(outside, start + step - 8, 0);
	BOTH_SEE(outside, start + PAGE, 0);
	put(HERE, start + 4 * step - 8, 5);
	BOTH_SEE(outside, start + 4 * step - 8, 5);
	CHECK(!brk(start));
}

int main(void)
{
	outside = ordinary_thread();
	enter();
	CHECK_EQ(descend(400), 401);
	leap();
	growing_down();
	the_break();
	return 0;
}
