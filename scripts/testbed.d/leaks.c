// SPDX-License-Identifier: MIT
/*
 * Nothing that the module allocated may be there after it was unloaded: no object to which no pointer leads
 * (kmemleak), and no page that it took itself (page_owner), to which kmemleak is blind.
 *
 * The kernel prints a frame of a module that is gone as a bare address. That makes it easy to tell whose it is; the
 * names are those that it had. Another module's init section may have been where the module came later, so time
 * counts too.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "leaks.h"

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define PAGE_OWNER	"/sys/kernel/debug/page_owner"
#define YOUNG_SECONDS	6	/* kmemleak says nothing of objects of the last five */

struct symbol {
	uint64_t address;
	char name[64];
};

static double begin;		/* by the kernel's clock of its log, which is page_owner's too */
static uint64_t module_start, module_end;
static struct symbol *symbols;
static size_t symbol_count;

/* ---- the module ---- */

/* A record that we write reads "priority,sequence,microseconds,flags;text". */
static double kernel_seconds(void)
{
	static const char text[] = "testbed: what time is it\n";
	int fd = open("/dev/kmsg", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	unsigned long long when = 0;
	char record[8192];
	ssize_t n;

	lseek(fd, 0, SEEK_END);
	if (write(fd, text, strlen(text)) > 0) {
		while ((n = read(fd, record, sizeof(record) - 1)) > 0) {
			record[n] = '\0';
			if (strstr(record, ";testbed: what time"))
				sscanf(record, "%*u,%*u,%llu", &when);
		}
	}
	close(fd);
	return when / 1e6;
}

void leaks_begin(void)
{
	if (!access(KMEMLEAK, F_OK))
		begin = kernel_seconds();
}

static uint64_t read_number(const char *module, const char *file, int base)
{
	char path[128], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/%s/%s", module, file);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return strtoull(text, NULL, base);
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

void leaks_note_module(const char *module)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], of[80], its[80];
	struct symbol s;

	snprintf(its, sizeof(its), "[%s]", module);
	module_start = read_number(module, "sections/.text", 16);
	module_end = module_start + read_number(module, "coresize", 10);
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %*c %63s %79s", &s.address, s.name, of) != 3 || strcmp(of, its))
			continue;
		if (!(symbol_count % 256))
			symbols = realloc(symbols, (symbol_count + 256) * sizeof(s));
		symbols[symbol_count++] = s;
	}
	if (f)
		fclose(f);
	qsort(symbols, symbol_count, sizeof(s), by_address);
}

static bool is_of_module(uint64_t address)
{
	return address >= module_start && address < module_end;
}

static const struct symbol *symbol_of(uint64_t address)
{
	size_t i = symbol_count;

	while (i && symbols[i - 1].address > address)
		i--;
	return i ? &symbols[i - 1] : NULL;
}

/* ---- records: a head and the frames of a stack, the innermost first ---- */

#define FRAMES_MAX	32

struct record {
	char head[256];
	double when;
	char frames[FRAMES_MAX][128];
	unsigned int count;
};

static void add_frame(struct record *r, const char *text)
{
	if (r->count < FRAMES_MAX)
		snprintf(r->frames[r->count++], sizeof(r->frames[0]), "%.*s", (int)strcspn(text, "\n"), text);
}

static bool frame_is_of_module(const char *frame)
{
	return !strncmp(frame, "0x", 2) && is_of_module(strtoull(frame, NULL, 16));
}

static void print_record(const struct record *r, const char *what, void (*print)(const char *line))
{
	char line[512];
	const struct symbol *s;
	uint64_t address;
	unsigned int i;

	snprintf(line, sizeof(line), "BUG: testbed: the module leaks %s: %.*s", what, (int)strcspn(r->head, "\n"),
		 r->head);
	print(line);
	for (i = 0; i < r->count; i++) {
		address = strtoull(r->frames[i], NULL, 16);
		s = frame_is_of_module(r->frames[i]) ? symbol_of(address) : NULL;
		if (s)
			snprintf(line, sizeof(line), " %s+0x%lx [dune]", s->name, address - s->address);
		else
			snprintf(line, sizeof(line), " %s", r->frames[i]);
		print(line);
	}
}

/* ---- objects ---- */

static bool object_is_of_module(const struct record *r)
{
	unsigned int i;

	if (r->when < begin)
		return false;
	for (i = 0; i < r->count; i++)
		if (frame_is_of_module(r->frames[i]))
			return true;
	return false;
}

static bool scan(void)
{
	int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC);
	bool scanned = fd >= 0 && write(fd, "scan", 4) == 4;

	if (fd >= 0)
		close(fd);
	return scanned;
}

static void report_objects(void (*print)(const char *line))
{
	struct record r = { .count = 0 };
	double now = kernel_seconds();
	char line[512], *frame;
	FILE *f;

	/* Twice: an object that was written to since the last scan counts as used. */
	sleep(YOUNG_SECONDS);
	if (!scan() || !scan()) {
		print("BUG: testbed: kmemleak is off");
		return;
	}
	f = fopen(KMEMLEAK, "re");
	while (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = '\0';
		if (!line[0] || !strncmp(line, "unreferenced object", 19)) {
			if (object_is_of_module(&r))
				print_record(&r, "an object", print);
			if (!line[0])
				break;
			r.count = 0;
			r.when = now;
			snprintf(r.head, sizeof(r.head), "%s", line);
			continue;
		}
		frame = strstr(line, "(age ");
		if (frame)
			r.when = now + 1 - atof(frame + 5);	/* counted in jiffies */
		frame = strstr(line, ">] ");
		if (frame)
			add_frame(&r, frame + 3);
	}
	if (f)
		fclose(f);
}

/* ---- pages ---- */

/* Below whoever asked for a page are the allocator's own functions. */
static bool is_page_allocator(const char *frame)
{
	static const char *const names[] = {
		"post_alloc_hook", "prep_new_page", "get_page_from_freelist", "__alloc_pages", "alloc_pages",
		"__get_free_pages", "get_zeroed_page", "__folio_alloc", "__alloc_pages_slowpath",
	};
	size_t length = strcspn(frame, "+."), i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == length && !strncmp(frame, names[i], length))
			return true;
	return false;
}

/*
 * Only pages that the module took itself: those of a slab, or of a program's memory, which it made the kernel take,
 * stay.
 */
static bool page_is_of_module(const struct record *r)
{
	unsigned int i = 0;

	while (i < r->count && is_page_allocator(r->frames[i]))
		i++;
	return r->when >= begin && i && i < r->count && frame_is_of_module(r->frames[i]);
}

/* A read gives one record: "Page allocated via order ...", "PFN ...", frames with a blank before them. */
static void report_pages(void (*print)(const char *line))
{
	int fd = open(PAGE_OWNER, O_RDONLY | O_CLOEXEC);
	char text[4096], *line, *rest;
	unsigned long pages = 0;
	struct record r;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text, sizeof(text) - 1)) > 0) {
		text[n] = '\0';
		pages++;
		rest = text;
		line = strsep(&rest, "\n");
		snprintf(r.head, sizeof(r.head), "%s", line);
		line = strstr(line, " ts ");
		r.when = line ? atof(line + 4) / 1e9 : 0;
		r.count = 0;
		while ((line = strsep(&rest, "\n")))
			if (*line == ' ')
				add_frame(&r, line + 1);
		if (page_is_of_module(&r))
			print_record(&r, "a page", print);
	}
	if (fd >= 0)
		close(fd);
	if (!pages)
		print("BUG: testbed: page_owner is off");
}

/* It goes off with its first report, and when it runs out of memory. */
static bool lockdep_is_on(void)
{
	FILE *f = fopen("/proc/lockdep_stats", "re");
	char line[256];
	int on = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " debug_locks: %d", &on) == 1)
			break;
	if (f)
		fclose(f);
	return on;
}

void leaks_report(void (*print)(const char *line))
{
	if (!module_start || access(KMEMLEAK, F_OK))
		return;
	if (!lockdep_is_on())
		print("BUG: testbed: lockdep is off");
	report_objects(print);
	report_pages(print);
}
