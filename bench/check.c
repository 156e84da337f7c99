// SPDX-License-Identifier: MIT
/*
 * Compares medians with those of bench/baseline.tsv.  A line of it:
 *
 *	CASE	MEDIAN IN DUNE MODE[	MEDIAN OUTSIDE]
 *
 * What leaves the guest goes through the kernel, and another release of that may have longer paths; and what a fork
 * costs depends on where the linker has put the functions of the program that the child runs.  So where the same
 * program has been measured outside Dune mode too, in this very boot, what it takes there more than in the baseline, or
 * less, is taken off.
 */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench.h"

#define LIMIT	1.03

static struct line {
	char name[256];
	uint64_t median, outside;	/* outside: 0 if there is none */
	bool seen;
} lines[128];
static unsigned int nr_lines, nr_compared, nr_wrong;
static char release[64];	/* of the kernel that the baseline was made with */

static bool is_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return *value && !errno && !*end;
}

static bool parse(char *text, struct line *line)
{
	char *name = strtok(text, "\t"), *median = strtok(NULL, "\t"), *outside = strtok(NULL, "\t");

	*line = (struct line){ 0 };
	if (!median || strtok(NULL, "\t") || strlen(name) >= sizeof(line->name))
		return false;
	strcpy(line->name, name);
	return is_number(median, &line->median) && (!outside || is_number(outside, &line->outside));
}

void bench_check_open(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[512];

	if (!file) {
		perror(path);
		exit(2);
	}
	nr_lines = nr_compared = nr_wrong = 0;
	while (fgets(text, sizeof(text), file)) {
		text[strcspn(text, "\n")] = 0;
		if (!strncmp(text, "# kernel ", 9))
			snprintf(release, sizeof(release), "%.63s", text + 9);
		if (text[0] == '#' || !text[0])
			continue;
		if (nr_lines == ARRAY_SIZE(lines) || !parse(text, &lines[nr_lines])) {
			fprintf(stderr, "%s: no case and medians, or too many: %s\n", path, text);
			exit(2);
		}
		nr_lines++;
	}
	fclose(file);
}

static struct line *find(const char *name)
{
	for (unsigned int i = 0; i < nr_lines; i++)
		if (!strcmp(lines[i].name, name))
			return &lines[i];
	return NULL;
}

bool bench_check(const char *name, uint64_t median, uint64_t outside, bool last_try)
{
	struct line *line = find(name);
	double grown = line && line->outside && outside ? (double)outside - line->outside : 0;
	bool longer = !line || median - grown > line->median * LIMIT;

	if (longer && !last_try)
		return false;
	nr_compared++;
	nr_wrong += longer;
	if (!line) {
		printf("%s: %lu, not in the baseline\n", name, median);
		return true;
	}
	line->seen = true;
	if (longer)
		printf("%s: %lu, longer than %lu by %.1f%%\n", name, median, line->median,
		       100.0 * median / line->median - 100);
	if (longer && outside)
		printf("%s: outside Dune mode %lu, %lu in the baseline\n", name, outside, line->outside);
	if ((median - grown) * LIMIT < line->median)
		printf("%s: %lu, shorter than %lu (the baseline can be brought up to date)\n", name, median,
		       line->median);
	return true;
}

void bench_check_failed(const char *name, const char *why, bool skipped)
{
	struct line *line = find(name);

	if (skipped && !line)
		return;
	if (line)
		line->seen = true;
	nr_wrong++;
	printf("%s: not measured: %s\n", name, why);
}

bool bench_check_end(bool all)
{
	struct utsname name;

	for (unsigned int i = 0; all && i < nr_lines; i++) {
		if (lines[i].seen)
			continue;
		printf("%s: in the baseline only\n", lines[i].name);
		nr_wrong++;
	}
	printf("%u paths compared, %u not as they should be\n", nr_compared, nr_wrong);
	uname(&name);
	if (nr_wrong && strcmp(name.release, release))
		printf("This is Linux %s, the baseline is %s's. If the code of the baseline is as long here, "
		       "make a new one: doc/benchmarks.md, \"The baseline\".\n", name.release, release);
	return nr_compared && !nr_wrong;
}
