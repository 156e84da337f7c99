/* SPDX-License-Identifier: MIT */
/*
 * Seconds for limits: how long to wait for what must come. Where the machine's time is the host's (svm), those in which
 * the emulator had to wait for a CPU do not count (scripts/testbed.d/clock.h); everywhere else they are seconds.
 */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>

#include "../../scripts/testbed.d/channel.h"

static inline double patience_seconds(void)
{
	static const volatile struct shared_clock *clock;
	static int looked;
	struct timespec t;
	const char *path;
	void *page;
	int fd;

	if (!looked) {
		path = getenv("TESTBED_CLOCK");		/* a test's own */
		fd = open(path ? path : SHARED_CLOCK_FILE, O_RDONLY | O_CLOEXEC);
		page = fd < 0 ? MAP_FAILED : mmap(NULL, SHARED_CLOCK_SIZE, PROT_READ, MAP_SHARED, fd, 0);
		if (fd >= 0)
			close(fd);
		if (page != MAP_FAILED)
			clock = page;
		looked = 1;
	}
	if (clock)
		return clock->nanoseconds / 1e9;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

#endif
