/* SPDX-License-Identifier: MIT */
/* The module's parameters and counters. */
#ifndef TESTS_MODULE_H
#define TESTS_MODULE_H

#include "check.h"

__attribute__((unused)) static void module_set_parameter(const char *name, const char *value)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/dune/parameters/%s", name);
	file = fopen(path, "w");
	DIE_UNLESS(file && fputs(value, file) > 0 && !fclose(file), path);
}

/* A line of debugfs: what has been counted since the module was loaded. */
__attribute__((unused)) static unsigned long module_counter(const char *name)
{
	static const char path[] = "/sys/kernel/debug/dune/stats";
	unsigned long value = 0;
	bool found = false;
	char line[128], key[64];
	FILE *file = fopen(path, "r");

	DIE_UNLESS(file, path);
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%63s %lu", key, &value) == 2 && !strcmp(key, name);
	fclose(file);
	DIE_UNLESS(found, name);
	return value;
}

#endif
