// SPDX-License-Identifier: MIT
/*
 * Parsing lines of /proc/self/maps; pure.
 *
 *	begin-end rwxp offset major:minor inode          path
 *
 * Numbers are hexadecimal but for the inode's.  Behind it are blanks up to a column, and then the rest of the
 * line is the path, blanks included.
 *
 * HR3 and GR0.
 */
#include <stdint.h>

#include "base/procmap.h"

struct text {
	const char *at, *end;
	bool good;
};

static char next(const struct text *t)
{
	return t->at < t->end ? *t->at : 0;
}

static void skip(struct text *t, char c)
{
	if (next(t) == c && t->good)
		t->at++;
	else
		t->good = false;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 16;
}

/* At least one digit, and no more than 64 bits. */
static uint64_t number(struct text *t, unsigned int base)
{
	uint64_t value = 0;
	bool any = false;

	while ((unsigned int)digit(next(t)) < base) {
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit(next(t)), &value))
			t->good = false;
		t->at++;
		any = true;
	}
	if (!any)
		t->good = false;
	return value;
}

/* One of two characters; is it the first? */
static bool flag(struct text *t, char yes, char no)
{
	bool is = next(t) == yes;

	skip(t, is ? yes : no);
	return is;
}

static bool begins(const char *path, const char *with)
{
	while (*with)
		if (*path++ != *with++)
			return false;
	return true;
}

static int type_of(const char *path)
{
	static const struct {
		const char *name;
		int type;
	} names[] = {
		{ "[heap]", PROCMAP_TYPE_HEAP },
		{ "[stack", PROCMAP_TYPE_STACK },	/* old kernels: [stack:TID] */
		{ "[vsyscall]", PROCMAP_TYPE_VSYSCALL },
		{ "[vdso]", PROCMAP_TYPE_VDSO },
		{ "[vvar", PROCMAP_TYPE_VVAR },		/* [vvar_vclock] as well */
		{ "[anon:", PROCMAP_TYPE_ANONYMOUS },
		{ "[anon_shmem:", PROCMAP_TYPE_ANONYMOUS },
	};

	if (!*path)
		return PROCMAP_TYPE_ANONYMOUS;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (begins(path, names[i].name))
			return names[i].type;
	return *path == '[' ? PROCMAP_TYPE_UNKNOWN : PROCMAP_TYPE_FILE;
}

bool __dune_procmap_parse(char *line, size_t length, struct dune_procmap_entry *entry)
{
	struct text t = { line, line + length, true };

	entry->begin = number(&t, 16);
	skip(&t, '-');
	entry->end = number(&t, 16);
	skip(&t, ' ');
	entry->r = flag(&t, 'r', '-');
	entry->w = flag(&t, 'w', '-');
	entry->x = flag(&t, 'x', '-');
	entry->p = flag(&t, 'p', 's');
	skip(&t, ' ');
	entry->offset = number(&t, 16);
	skip(&t, ' ');
	number(&t, 16);
	skip(&t, ':');
	number(&t, 16);
	skip(&t, ' ');
	number(&t, 10);
	if (t.good && t.at < t.end)
		skip(&t, ' ');
	while (next(&t) == ' ')
		t.at++;
	line[length] = 0;
	entry->path = line + (t.at - line);
	entry->type = type_of(entry->path);
	return t.good && entry->begin < entry->end;
}
