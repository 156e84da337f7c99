/* SPDX-License-Identifier: MIT */
/*
 * Where a program runs that knows nothing of Dune: "ring 0 of a guest", "ring 3 of a guest" or "no guest".
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A thread in Dune mode shares a page with the module, whatever ring it is in. */
static inline bool world_has_run_page(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	bool found = false;
	char line[512];

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
