// SPDX-License-Identifier: MIT
/*
 * The environment of a program that is started in Dune mode, without what is there for the object that does it: the
 * pointers and the strings are those that the program has outside Dune mode.  HR3.
 *
 * The object's path is cut out of LD_PRELOAD.  Where the program has no such variable there are two that name the
 * object alone, behind all others, or one beside DUNE_DEBUG: an even number of pointers goes (launch.h).
 * Into the environment of a program that is checked libdune puts nothing: there its loader is started.
 */
#include "launch/inside.h"

static const char variable[] = "LD_PRELOAD=";

#define VARIABLE_LENGTH	(sizeof(variable) - 1)

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

/* Have exec() put it back. */
static void remember(const char *start, const char *end)
{
	static char path[PGSIZE];

	if ((size_t)(end - start) >= sizeof(path))
		return;
	memcpy(path, start, end - start);
	path[end - start] = '\0';
	__dune_set_preload(path);
}

/* Cut our path out of LD_PRELOAD's list of paths; false: it was alone, the program has no such variable. */
static bool take_out(char *list)
{
	char *start = list, *end, *to;

	for (; *start; start = *end ? end + 1 : end) {
		for (end = start; *end && !separates(*end); end++)
			;
		if (!is_object(start, end))
			continue;
		remember(start, end);
		if (!*end && start == list)
			return false;
		to = start;
		if (*end)
			end++;
		else
			to--;		/* the separator before it */
		while ((*to++ = *end++))
			;
		return true;
	}
	return true;
}

static bool stays(char *string, bool check, struct wishes *wishes)
{
	if (preload_starts_with(string, DUNE_DEBUG_VARIABLE)) {
		/* Not in a program that a child of the debugged one executes. */
		if (__dune_debug_asked(string + sizeof(DUNE_DEBUG_VARIABLE) - 1))
			wishes->debugged = true;
		return false;
	}
	/* All that the program starts is to be so too. */
	if (preload_starts_with(string, DUNE_RING0_VARIABLE "1"))
		wishes->ring0 = true;
	if (preload_starts_with(string, DUNE_NO_DIRTY_VARIABLE "1"))
		wishes->no_dirty = true;
	return check || !preload_starts_with(string, variable) || take_out(string + VARIABLE_LENGTH);
}

/* Behind the environment's end the program may look for the auxiliary vector: it finds entries that say nothing. */
static void fill_gap(char **gap, const Elf64_auxv_t *auxv)
{
	Elf64_auxv_t *a = (Elf64_auxv_t *)gap;

	if ((char *)auxv - (char *)gap & (sizeof(*a) - 1))
		return;
	for (; a < auxv; a++)
		*a = (Elf64_auxv_t){ .a_type = AT_IGNORE };
}

/* The strings follow each other as the kernel has put them: those behind what is taken out move up to it. */
struct wishes preload_clean_environment(struct start *s, bool check)
{
	char **to = s->envp, *place = s->env_start, *next = place;
	struct wishes wishes = { 0 };
	bool in_order = true;

	for (char **from = s->envp; *from; from++) {
		char *string = *from;

		in_order = in_order && string == next;
		next = (char *)preload_string_end(string);
		if (!stays(string, check, &wishes))
			continue;
		if (in_order && string != place) {
			*to++ = place;
			while ((*place++ = *string++))
				;
			continue;
		}
		*to++ = string;
		place = (char *)preload_string_end(string);
	}
	*to++ = NULL;
	fill_gap(to, s->auxv);
	if (in_order) {
		for (char *p = place; p < s->env_end; p++)
			*p = '\0';
		s->env_end = place;
	}
	return wishes;
}
