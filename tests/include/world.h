/* SPDX-License-Identifier: MIT */
/*
 * Where a program runs that knows nothing of Dune: "ring 0 of a guest", "ring 3 of a guest" or "no guest".
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef O_PATH	/* without _GNU_SOURCE */
#define O_PATH	010000000
#endif

/*
 * A thread in Dune mode shares a page with the module, whatever ring it is in. In ring 3 the map does not show it,
 * unless it is opened by another name.
 */
static inline bool world_has_run_page(void)
{
	int fd = open("/proc/self/maps", O_PATH | O_CLOEXEC);
	bool found = false;
	char line[512];
	FILE *maps;

	snprintf(line, sizeof(line), "/proc/self/fd/%d", fd);
	maps = fopen(line, "re");
	close(fd);
	while (maps && fgets(line, sizeof(line), maps))
		found |= strstr(line, " /dev/dune") != NULL;
	if (maps)
		fclose(maps);
	return found;
}

static inline const char *world(void)
{
	unsigned short cs;

	__asm__("movw %%cs, %0" : "=r"(cs));
	if (!(cs & 3))
		return "ring 0 of a guest";
	return world_has_run_page() ? "ring 3 of a guest" : "no guest";
}

#endif
