// SPDX-License-Identifier: MIT
/*
 * The environment of a program that is started in Dune mode: without the object that does it.  HR3.
 */
#include "launch/inside.h"

bool preload_starts_with(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return false;
	return true;
}

/* Does the path [start, end) name this object? */
static bool is_object(const char *start, const char *end)
{
	size_t size = sizeof(LAUNCH_OBJECT) - 1;

	return (size_t)(end - start) > size && end[-size - 1] == '/' && preload_starts_with(end - size, LAUNCH_OBJECT);
}

static bool separates(char c)
{
	return c == ':' || c == ' ';
}

/* Cut our path out of the list of paths; have exec() put it back. */
static void take_out(char *list)
{
	static char path[PGSIZE];
	char *start = list, *end;

	while (*start) {
		for (end = start; *end && !separates(*end); end++)
			;
		if (is_object(start, end) && (size_t)(end - start) < sizeof(path)) {
			memcpy(path, start, end - start);
			path[end - start] = '\0';
			__dune_set_preload(path);
			if (*end)
				end++;
			else if (start > list)
				start--;	/* the separator before it */
			do {
				*start++ = *end;
			} while (*end++);
			return;
		}
		start = *end ? end + 1 : end;
	}
}

struct wishes preload_clean_environment(char **envp)
{
	static const char variable[] = "LD_PRELOAD=";
	char **to = envp;
	struct wishes wishes = { 0 };

	for (; *envp; envp++) {
		if (preload_starts_with(*envp, DUNE_DEBUG_VARIABLE)) {
			wishes.debugged = true;
			continue;
		}
		/* All that the program starts is to be so too. */
		if (preload_starts_with(*envp, DUNE_RING0_VARIABLE "1"))
			wishes.ring0 = true;
		if (preload_starts_with(*envp, variable)) {
			take_out(*envp + sizeof(variable) - 1);
			if (!(*envp)[sizeof(variable) - 1])
				continue;
		}
		*to++ = *envp;
	}
	*to = NULL;
	return wishes;
}
