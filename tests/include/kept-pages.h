/* SPDX-License-Identifier: MIT */
/*
 * Memory that is free, and that /proc/meminfo does not count as free.
 */
#ifndef KEPT_PAGES_H
#define KEPT_PAGES_H

#include <stdio.h>

/* KiB that the CPUs keep for themselves, by the zones' lists in /proc/zoneinfo. */
static long kept_by_cpus(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	long count, pages = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %ld", &count) == 1)
			pages += count;
	if (file)
		fclose(file);
	return pages * 4;
}

#endif
