// SPDX-License-Identifier: MIT
/*
 * learn [-o POLICY] -- PROGRAM...: a policy that permits what the program does in one run.  Nothing is refused, and
 * each line of the log has what would permit it.  An ordinary program's code.
 */
#include <errno.h>
#include <stdio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"
#include "sandbox/build.h"

struct item {
	char section[8], *text;
};

static struct item *items;
static size_t nr_items;

/* The value of a field of one of our lines, as it was before log.c has put it between quotes. */
static bool get_field(const char *line, const char *end, const char *name, char *to, size_t size)
{
	char key[24];
	const char *p;
	size_t n = 0;
	unsigned int c;

	snprintf(key, sizeof(key), "\"%s\":\"", name);
	p = memmem(line, end - line, key, strlen(key));
	if (!p)
		return false;
	for (p += strlen(key); p < end && *p != '"' && n < size - 1; p++) {
		if (*p == '\\' && p[1] == 'u' && sscanf(p + 2, "%4x", &c) == 1) {
			to[n++] = c;
			p += 5;
			continue;
		}
		if (*p == '\\')
			p++;
		to[n++] = *p;
	}
	to[n] = '\0';
	return p < end && *p == '"';
}

static void take_line(const char *line, size_t length)
{
	char section[8], text[PIPE_BUF];
	struct item *item;

	if (!get_field(line, line + length, "section", section, sizeof(section)) ||
	    !get_field(line, line + length, "permit", text, sizeof(text)))
		return;
	for (size_t i = 0; i < nr_items; i++)
		if (!strcmp(items[i].section, section) && !strcmp(items[i].text, text))
			return;
	items = realloc(items, (nr_items + 1) * sizeof(*items));
	if (!items)
		die("%s", strerror(ENOMEM));
	item = &items[nr_items++];
	memcpy(item->section, section, sizeof(section));
	item->text = strdup(text);
	if (!item->text)
		die("%s", strerror(ENOMEM));
}

/* ---- the policy ---- */

static int by_text(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	const int order = strcmp(x->section, y->section);

	return order ? order : strcmp(x->text, y->text);
}

/* "PATH: ro" or "PATH: rw": where the path ends. */
static size_t path_length(const struct item *item)
{
	return strlen(item->text) - 4;
}

static bool is_rw(const struct item *item)
{
	return item->text[strlen(item->text) - 1] == 'w';
}

/* Does another one permit it already: the same path, or a folder above it, with as much? */
static bool is_covered(const struct item *item)
{
	const size_t length = path_length(item);

	for (size_t i = 0; i < nr_items; i++) {
		const struct item *other = &items[i];
		const size_t n = path_length(other);

		if (other == item || strcmp(other->section, "files") || (is_rw(item) && !is_rw(other)))
			continue;
		if (n < length && !memcmp(other->text, item->text, n) && (n == 1 || item->text[n] == '/'))
			return true;
		if (n == length && !memcmp(other->text, item->text, n) && is_rw(other) && !is_rw(item))
			return true;
	}
	return false;
}

/* A wildcard in its name is written as that of one character, which it is as well. */
static void print_path(FILE *out, const char *text, size_t length)
{
	char path[POLICY_PATH_MAX];
	size_t n;

	for (n = 0; n < length && n < sizeof(path); n++)
		path[n] = strchr("*?[", text[n]) ? '?' : text[n];
	policy_print_quoted(out, path, n);
}

static void print_section(FILE *out, const char *section)
{
	bool any = false;

	for (size_t i = 0; i < nr_items; i++) {
		const struct item *item = &items[i];

		if (strcmp(item->section, section) || (!strcmp(section, "files") && is_covered(item)))
			continue;
		if (!any)
			fprintf(out, "%s:\n", section);
		any = true;
		if (!strcmp(section, "files")) {
			fputs("  ", out);
			print_path(out, item->text, path_length(item));
			fprintf(out, ": %s\n", is_rw(item) ? "rw" : "ro");
		} else if (!strcmp(section, "calls")) {
			fprintf(out, "  %s\n", item->text);
		} else {
			fputs("  - ", out);
			if (!strcmp(section, "exec"))
				print_path(out, item->text, strlen(item->text));
			else
				policy_print_quoted(out, item->text, strlen(item->text));
			fputc('\n', out);
		}
	}
}

static void print_policy(FILE *out, char *const *argv)
{
	static const char *const sections[] = { "files", "exec", "net", "calls" };

	fputs("# What this has done, in one run:", out);
	for (; *argv; argv++) {
		fputc(' ', out);
		for (const char *c = *argv; *c; c++)	/* the comment must not end in a word of the program's */
			fputc((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f ? '?' : *c, out);
	}
	fputs("\n# Read it before you trust it: a folder stands for all below it.\ninclude: [default]\n", out);
	if (nr_items)
		qsort(items, nr_items, sizeof(*items), by_text);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		print_section(out, sections[i]);
	fputs("...\n", out);
}

int learn(int argc, char **argv)
{
	struct run run = { .log = -1, .soak = true, .line = take_line };
	struct builder *b = builder_new();
	const char *file = NULL;
	FILE *out = stdout;
	int letter, status;
	struct policy *p;

	while ((letter = getopt(argc, argv, "+o:")) != -1) {
		if (letter != 'o')
			die("learn [-o POLICY] [--] PROGRAM [ARGUMENT...]");
		file = optarg;
	}
	if (optind == argc)
		die("learn: no program");
	if (!builder_refusals(b) || !builder_default(b, 1))
		die("%s", builder_error(b));
	permit_program(b, argv[optind]);
	p = builder_finish(b);
	run.policy = p;
	run.argv = argv + optind;
	run.environment = make_environment(p);
	if (file) {
		out = fopen(file, "we");
		if (!out)
			die("%s: %s", file, strerror(errno));
	}
	status = run_sandbox(&run);
	if (status == EXIT_OURS)
		return status;
	print_policy(out, argv + optind);
	if (fflush(out) || ferror(out))
		die("%s: %s", file ? file : "standard output", strerror(errno));
	return status;
}
