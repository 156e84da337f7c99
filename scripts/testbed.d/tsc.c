// SPDX-License-Identifier: MIT
/*
 * Prints how often the time stamp counter counts in a millisecond, which a kernel that is emulated on a busy host,
 * and has nothing but the PIT to compare with, gets wrong by a factor of up to thirty.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

struct moment {
	uint64_t ns, ticks;
};

/* Both clocks at once: the pair with the least time between two looks at one of them. */
static struct moment now(void)
{
	struct moment best = { 0, 0 };
	uint64_t least = UINT64_MAX, before, after;
	struct timespec t;
	int i;

	for (i = 0; i < 100; i++) {
		before = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC, &t);
		after = __rdtsc();
		if (after - before < least) {
			least = after - before;
			best = (struct moment){ t.tv_sec * 1000000000ULL + t.tv_nsec, before + least / 2 };
		}
	}
	return best;
}

int main(void)
{
	struct moment start = now(), end;

	usleep(50000);
	end = now();
	printf("%llu\n", (unsigned long long)((end.ticks - start.ticks) * 1000000 / (end.ns - start.ns)));
	return 0;
}
