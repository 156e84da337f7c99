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

/* A parameter of one letter or digit: as text, for the other function. */
__attribute__((unused)) static void module_get_parameter(const char *name, char value[2])
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/dune/parameters/%s", name);
	file = fopen(path, "r");
	DIE_UNLESS(file && fgets(value, 2, file) && !fclose(file), path);
}

/* The number after a name in a file of debugfs. */
__attribute__((unused)) static unsigned long module_says(const char *name_of_file, const char *name)
{
	unsigned long value = 0;
	bool found = false;
	char path[128], line[128], key[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dune/%s", name_of_file);
	file = fopen(path, "r");
	DIE_UNLESS(file, path);
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%63s %lu", key, &value) == 2 && !strcmp(key, name);
	fclose(file);
	DIE_UNLESS(found, name);
	return value;
}

/* What has been counted since the module was loaded. */
__attribute__((unused)) static unsigned long module_counter(const char *name)
{
	return module_says("stats", name);
}

#endif
