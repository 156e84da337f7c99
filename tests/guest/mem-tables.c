// SPDX-License-Identifier: MIT
/*
 * A program that goes through its address space, a page here and a page there, and unmaps what is behind it, keeps as
 * much memory as it had: no tables of the second level for what is gone.
 */
#include "mem.h"

static void walk(unsigned long first, unsigned long step, unsigned int count, const char *what, long kib_each)
{
	long before = 0, used;

	/* The first ones fill caches. */
	for (unsigned int i = 0; i < count + 100; i++) {
		char *p = map((char *)first + i * step, PAGE, RW, ANON, -1);

		if (i == 100)
			before = read_key("/proc/meminfo", "MemFree:");
		CHECK_EQ(see(HERE, p), 0);
		put(HERE, p, i + 1);
		CHECK_EQ(see(HERE, p), i + 1);
		CHECK(!munmap(p, PAGE));
	}
	used = before - read_key("/proc/meminfo", "MemFree:");
	printf("%u pages %s apart: KiB more in use: %ld\n", count, what, used);
	fflush(stdout);
	CHECK(used < count * kib_each / 4);
}

int main(void)
{
	enter();
	walk(20UL << 40, HUGE, 10000, "2 MiB", 4);
	/* Two tables for each. */
	walk(40UL << 40, GIB, 2500, "1 GiB", 8);
	return 0;
}
