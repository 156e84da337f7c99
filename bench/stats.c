// SPDX-License-Identifier: MIT
/* The counters in /sys/kernel/debug/dune/stats. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static int file = -1;

int bench_stats_open(void)
{
	file = open("/sys/kernel/debug/dune/stats", O_RDONLY | O_CLOEXEC);
	return file < 0 ? -1 : 0;
}

static uint64_t value(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

struct bench_stats bench_stats_read(void)
{
	static char text[4096];
	struct bench_stats stats = { 0 };
	ssize_t size;

	if (file < 0)
		return stats;
	size = pread(file, text, sizeof(text) - 1, 0);
	if (size <= 0)
		return stats;
	text[size] = 0;
	stats.runs = value(text, "runs ");
	stats.entries = value(text, "entries ");
	return stats;
}
