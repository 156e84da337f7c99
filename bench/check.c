// SPDX-License-Identifier: MIT
/*
 * Compares medians with those of bench/baseline.tsv.  A line of it:
 *
 *	CASE	MEDIAN	guest|kernel
 *
 * "kernel": the sample leaves the guest, so its length depends on the kernel; it is compared on the release only that
 * the line "# kernel RELEASE" names.
 */
#include <string.h>
#include <sys/utsname.h>

#include "bench.h"

#define LIMIT	1.03

static struct line {
	char name[256];
	uint64_t median;
	bool in_kernel, seen;
} lines[128];
static unsigned int nr_lines, nr_compared, nr_longer;
static bool same_kernel;

void bench_check_open(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[256], where[16], *tab;
	struct utsname name;
	struct line *line;

	if (!file) {
		perror(path);
		exit(2);
	}
	uname(&name);
	while (fgets(text, sizeof(text), file)) {
		text[strcspn(text, "\n")] = 0;
		if (!strncmp(text, "# kernel ", 9))
			same_kernel = !strcmp(text + 9, name.release);
		tab = strchr(text, '\t');
		if (text[0] == '#' || !tab || nr_lines == ARRAY_SIZE(lines))
			continue;
		*tab = 0;
		line = &lines[nr_lines];
		snprintf(line->name, sizeof(line->name), "%s", text);
		if (sscanf(tab + 1, "%lu %15s", &line->median, where) != 2) {
			fprintf(stderr, "%s: no median and place: %s\n", path, text);
			exit(2);
		}
		line->in_kernel = !strcmp(where, "kernel");
		nr_lines++;
	}
	fclose(file);
	if (!same_kernel)
		printf("another kernel than the baseline's: paths through the kernel are not compared\n");
}

static struct line *find(const char *name)
{
	for (unsigned int i = 0; i < nr_lines; i++)
		if (!strcmp(lines[i].name, name))
			return &lines[i];
	return NULL;
}

bool bench_check_wants(const char *name)
{
	struct line *line = find(name);

	if (line)
		line->seen = true;
	return !line || same_kernel || !line->in_kernel;
}

bool bench_check(const char *name, uint64_t median, bool last_try)
{
	const struct line *line = find(name);
	bool longer = !line || median > line->median * LIMIT;

	if (longer && !last_try)
		return false;
	nr_compared++;
	nr_longer += longer;
	if (!line)
		printf("%s: %lu, not in the baseline\n", name, median);
	else if (longer)
		printf("%s: %lu, longer than %lu by %.1f%%\n", name, median, line->median,
		       100.0 * median / line->median - 100);
	else if (median * LIMIT < line->median)
		printf("%s: %lu, shorter than %lu (the baseline can be brought up to date)\n", name, median,
		       line->median);
	return true;
}

bool bench_check_end(bool all)
{
	for (unsigned int i = 0; all && i < nr_lines; i++) {
		if (lines[i].seen)
			continue;
		printf("%s: in the baseline only\n", lines[i].name);
		nr_longer++;
	}
	printf("%u paths compared, %u not as they should be\n", nr_compared, nr_longer);
	return nr_compared && !nr_longer;
}
