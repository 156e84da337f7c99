/* SPDX-License-Identifier: MIT */
/*
 * Where a program runs that knows nothing of Dune: "ring 0 of a guest", "ring 3 of a guest" or "no guest".
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/*
 * A thread in Dune mode shares a page with the module, whatever ring it is in. In ring 3 /proc/self/maps does not show
 * it. One descriptor is all that this takes; errno stays.
 */
static inline bool world_has_run_page(void)
{
	static const char device[] = "/dev/dune";
	int error = errno;
	DIR *mappings = opendir("/proc/self/map_files");
	bool found = false;
	struct dirent *entry;
	char target[sizeof(device)];

	while (mappings && (entry = readdir(mappings)))
		found |= readlinkat(dirfd(mappings), entry->d_name, target, sizeof(target)) == sizeof(device) - 1 &&
			 !memcmp(target, device, sizeof(device) - 1);
	if (mappings)
		closedir(mappings);
	errno = error;
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
