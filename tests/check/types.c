// SPDX-License-Identifier: MIT
/*
 * libdune's table of system calls against the kernel's own types of their arguments, which tracefs tells: what is a
 * pointer there has an operand that is about memory, what has the name of a descriptor is one, and how much of a
 * length the kernel looks at is what the table says.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/syscalls.h"

#define EVENTS	"/sys/kernel/tracing/events/syscalls"
#define PREFIX	"sys_enter_"
#define SKIPPED	77
#define SOME	250	/* calls, of those that a kernel has */

static const struct name {
	const char *name, *function;
} rows[NR_SYSCALLS] = {
#define CALL(number, name, function, ...)	[number] = { #name, #function },
#include "base/syscalls-table.h"
#undef CALL
};

/* The kernel's functions whose names are not their calls'. */
static const char *const aliases[][2] = {
	{ "newstat", "stat" }, { "newlstat", "lstat" }, { "newfstat", "fstat" }, { "newuname", "uname" },
	{ "sendfile64", "sendfile" }, { "umount", "umount2" },
};

/* Arguments that are not what their types or names say. */
static const struct other {
	const char *call;
	int arg;
} others[] = {
	{ "getcpu", 2 },		/* not used since 2.6.24 */
	{ "get_thread_area", 0 },	/* the 32-bit ABI's */
	{ "set_thread_area", 0 },
	{ "close_range", 0 },		/* where a range begins */
	{ "pidfd_getfd", 1 },		/* of another process */
};

static unsigned int failures, calls;

static void __attribute__((format(printf, 3, 4))) fail(const char *call, int arg, const char *what, ...)
{
	va_list args;

	printf("%s, argument %d: ", call, arg);
	va_start(args, what);
	vprintf(what, args);
	va_end(args);
	putchar('\n');
	failures++;
}

static int find(const char *name)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (!strcmp(aliases[i][0], name))
			name = aliases[i][1];
	for (int nr = 0; nr < NR_SYSCALLS; nr++)
		if (rows[nr].name && !strcmp(rows[nr].name, name))
			return nr;
	return -1;
}

static bool is_other(const char *call, int arg)
{
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(others[i].call, call) && others[i].arg == arg)
			return true;
	return false;
}

static bool has(const struct call_row *row, int arg, bool memory)
{
	for_each_operand(o, row)
		if (o->arg == arg && (memory ? o->kind != DESCRIPTOR : o->kind == DESCRIPTOR))
			return true;
	return false;
}

static bool is_word(const char *text, const char *const *words)
{
	while (*words && strcmp(*words, text))
		words++;
	return *words;
}

static bool is_descriptor(const char *type, const char *name)
{
	static const char *const names[] = {
		"fd", "dfd", "olddfd", "newdfd", "oldfd", "newfd", "fildes", "epfd", "mqdes", "ufd", "pidfd", "in_fd",
		"out_fd", "fd_in", "fd_out", "fdin", "fdout", "fs_fd", "from_dfd", "to_dfd", "ruleset_fd", "fd1",
		"fd2", NULL
	};

	return !strchr(type, '*') && !strstr(type, "long") && is_word(name, names);
}

/* Has a value of @type more than 32 bits? */
static bool is_long(const char *type)
{
	static const char *const types[] = { "size_t", "loff_t", "u64", "__u64", NULL };

	return strstr(type, "long") || strchr(type, '*') || is_word(type, types);
}

static void check_length(const char *call, const struct call_row *row, int arg, const char *type)
{
	for_each_operand(o, row) {
		/* A number of vectors becomes one of 32 bits, whatever it is at first. */
		bool counts = o->size == SIZE_COUNT || o->size == SIZE_RESULT || o->size == SIZE_MESSAGES ||
			      o->size == SIZE_WAITERS || o->size == SIZE_AFTER;

		if (o->kind < KEPT || !counts || o->with != arg || (o->size == SIZE_WAITERS && o->bytes))
			continue;
		if (o->narrow && is_long(type))
			fail(call, arg, "the kernel looks at all of a length (%s), the table at 32 bits", type);
		if (!o->narrow && !is_long(type))
			fail(call, arg, "the kernel looks at 32 bits of a length (%s), the table at all", type);
	}
}

static void check_argument(const char *call, int nr, int arg, const char *type, const char *name)
{
	const struct call_row *row = call_of(nr);
	bool made = !(row->flags & CALL_UNCHECKED) && strcmp(rows[nr].function, "sys_nosys");

	if (!made || is_other(call, arg))
		return;
	if (!strncmp(type, "const ", strlen("const ")))
		type += strlen("const ");
	if (strchr(type, '*') && !has(row, arg, true))
		fail(call, arg, "%s %s, and the table knows no memory there", type, name);
	if (is_descriptor(type, name) && !has(row, arg, false))
		fail(call, arg, "%s %s, and the table knows no descriptor there", type, name);
	check_length(call, row, arg, type);
}

/* "	field:TYPE NAME;	offset:..."; of the arguments, which come after the number. */
static void check_call(const char *event)
{
	const char *call = event + strlen(PREFIX);
	char path[512], line[512];
	int nr = find(call), arg = -1;
	FILE *f;

	if (nr < 0)
		return;		/* of the 32-bit ABI, or newer than the table: ENOSYS */
	calls++;
	snprintf(path, sizeof(path), EVENTS "/%s/format", event);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *field = strstr(line, "field:"), *end = field ? strchr(field, ';') : NULL, *name;

		if (!end)
			continue;
		*end = '\0';
		field += strlen("field:");
		name = strrchr(field, ' ');
		if (!name)
			continue;
		*name++ = '\0';
		if (arg >= 0)
			check_argument(call, nr, arg++, field, name);
		else if (!strcmp(name, "__syscall_nr") || !strcmp(name, "nr"))
			arg = 0;
	}
	if (!f || arg < 0)
		fail(call, 0, "its format cannot be read");
	if (f)
		fclose(f);
}

int main(void)
{
	struct dirent *entry;
	DIR *events;

	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	events = opendir(EVENTS);
	if (!events) {
		puts("the kernel does not tell the types of its calls' arguments");
		return SKIPPED;
	}
	while ((entry = readdir(events)))
		if (!strncmp(entry->d_name, PREFIX, strlen(PREFIX)))
			check_call(entry->d_name);
	closedir(events);
	printf("%u calls compared\n", calls);
	if (calls < SOME)
		fail("all", 0, "too few calls were found");
	return failures != 0;
}
