// SPDX-License-Identifier: MIT
/*
 * Which pages were written? Of `pages` mapped ones `dirty` are written, evenly spread; a sample forgets what was
 * written before, writes, and finds the pages. Dune's scan forgets as it finds, by one call, so that there is no
 * first step.
 */
#include <dune.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bench.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

static unsigned char *area;
static unsigned long nr_pages, dirty, step;
static uint64_t *bitmap;

static unsigned long available_pages(void)
{
	unsigned long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	must(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	fclose(file);
	return kib / 4;
}

static void map_area(void)
{
	nr_pages = bench_current->pages;
	dirty = bench_current->dirty;
	step = nr_pages / dirty;
	if (nr_pages + nr_pages / 8 + 16384 > available_pages())
		bench_skip("not enough memory (scripts/bench --mem)");
	area = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area != MAP_FAILED && !madvise(area, nr_pages * PAGE, MADV_NOHUGEPAGE));
	madvise(area, nr_pages * PAGE, MADV_POPULATE_WRITE);	/* Linux 5.14; only quicker */
	for (unsigned long i = 0; i < nr_pages; i++)
		area[i * PAGE] = 1;
	bitmap = calloc(nr_pages / 64 + 1, 8);
	must(bitmap);
}

static inline void write_pages(void)
{
	for (unsigned long i = 0; i < dirty; i++)
		area[i * step * PAGE]++;
}

static inline void note(uintptr_t addr)
{
	unsigned long i = (addr - (uintptr_t)area) / PAGE;

	bitmap[i / 64] |= 1UL << i % 64;
}

/* Those written and no others. */
static void check(unsigned int i)
{
	(void)i;
	for (unsigned long k = 0; k < nr_pages; k++) {
		bool found = bitmap[k / 64] >> k % 64 & 1;

		if (found != (k % step == 0 && k / step < dirty))
			bench_die("another page than those written was found, or one was not");
		bench_work += found;
	}
	memset(bitmap, 0, (nr_pages / 64 + 1) * 8);
}

/* ---- not tracked ---- */

static uint64_t only_write(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	write_pages();
	return ticks() - start;
}

static void check_written(unsigned int i)
{
	for (unsigned long k = 0; k < dirty; k++)
		bench_work += area[k * step * PAGE] == (unsigned char)(i + 2);
}

/* ---- Dune ---- */

static void begin_scan(void)
{
	map_area();
	must(dune_vm_scan(bench_root, area, nr_pages * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, NULL) >= 0);
}

static uint64_t scan(unsigned int i)
{
	uint64_t start = ticks(), end;
	long found;

	(void)i;
	write_pages();
	found = dune_vm_scan(bench_root, area, nr_pages * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, bitmap);
	end = ticks();
	must(found == (long)dirty);
	return end - start;
}

/* ---- mprotect() and SIGSEGV ---- */

static void on_segv(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr & -PAGE;

	(void)sig;
	(void)context;
	note(addr);
	if (mprotect((void *)addr, PAGE, PROT_READ | PROT_WRITE))
		bench_die("mprotect in the handler");
}

static void begin_mprotect(void)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	map_area();
	must(!sigaction(SIGSEGV, &action, NULL));
}

static uint64_t track_mprotect(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = mprotect(area, nr_pages * PAGE, PROT_READ);

	(void)i;
	write_pages();
	end = ticks();
	must(!ret);
	return end - start;
}

/* ---- soft-dirty ---- */

#define SOFT_DIRTY	(1UL << 55)

static int clear_refs, pagemap;
static uint64_t entries[2048];

static void begin_soft_dirty(void)
{
	map_area();
	clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	must(clear_refs >= 0 && pagemap >= 0 && write(clear_refs, "4", 1) == 1);
	must(pread(pagemap, entries, 8, (uintptr_t)area / PAGE * 8) == 8);
	if (entries[0] & SOFT_DIRTY)
		bench_skip("the kernel has no soft-dirty bits");
}

static uint64_t track_soft_dirty(unsigned int i)
{
	uint64_t start = ticks(), end;
	bool ok = write(clear_refs, "4", 1) == 1;

	(void)i;
	write_pages();
	for (unsigned long at = 0; at < nr_pages; at += ARRAY_SIZE(entries)) {
		unsigned long n = nr_pages - at < ARRAY_SIZE(entries) ? nr_pages - at : ARRAY_SIZE(entries);

		ok &= pread(pagemap, entries, n * 8, ((uintptr_t)area / PAGE + at) * 8) == (ssize_t)(n * 8);
		for (unsigned long k = 0; k < n; k++)
			if (entries[k] & SOFT_DIRTY)
				bitmap[(at + k) / 64] |= 1UL << k % 64;
	}
	end = ticks();
	must(ok);
	return end - start;
}

/* ---- userfaultfd's write protection ---- */

static int uffd;

static bool write_protect(uintptr_t addr, unsigned long size, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { addr, size }, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return !ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

static void *unprotect(void *arg)
{
	struct uffd_msg message;

	(void)arg;
	while (read(uffd, &message, sizeof(message)) == sizeof(message)) {
		note(message.arg.pagefault.address);
		write_protect(message.arg.pagefault.address & -PAGE, PAGE, false);
	}
	return NULL;
}

static bool open_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	return uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api);
}

static bool register_area(void)
{
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_WP };

	range.range.start = (uintptr_t)area;
	range.range.len = nr_pages * PAGE;
	return !ioctl(uffd, UFFDIO_REGISTER, &range);
}

static void begin_uffd(void)
{
	pthread_t thread;

	if (!open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		bench_skip("the kernel has no write protection by userfaultfd");
	map_area();
	must(register_area() && !pthread_create(&thread, NULL, unprotect, NULL));
}

static uint64_t track_uffd(unsigned int i)
{
	uint64_t start = ticks(), end;
	bool ok = write_protect((uintptr_t)area, nr_pages * PAGE, true);

	(void)i;
	write_pages();
	end = ticks();
	must(ok);
	return end - start;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr & -PAGE;

	(void)sig;
	(void)context;
	note(addr);
	if (!write_protect(addr, PAGE, false))
		bench_die("write protection in the handler");
}

static void begin_uffd_sigbus(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	if (!open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS))
		bench_skip("the kernel has no write protection by userfaultfd");
	map_area();
	must(register_area() && !sigaction(SIGBUS, &action, NULL));
}

/* Linux 6.7: write faults are resolved by the kernel, and one call finds the pages and protects them again. */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, any_of, result;
};

#define SCAN			_IOWR('f', 16, struct scan_arg)
#define SCAN_WP_MATCHING	1
#define SCAN_CHECK_WPASYNC	2
#define IS_WRITTEN		2

static struct scan_region *regions;

static long scan_pagemap(void)
{
	struct scan_arg arg = {
		.size = sizeof(arg), .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)area, .end = (uintptr_t)area + nr_pages * PAGE,
		.vec = (uintptr_t)regions, .vec_len = nr_pages, .mask = IS_WRITTEN, .result = IS_WRITTEN,
	};

	return ioctl(pagemap, SCAN, &arg);
}

static void begin_async(void)
{
	if (!open_uffd(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		bench_skip("the kernel has no PAGEMAP_SCAN (Linux 6.7)");
	map_area();
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	regions = calloc(nr_pages, sizeof(*regions));
	must(pagemap >= 0 && regions);
	memset(regions, 1, nr_pages * sizeof(*regions));
	must(register_area() && scan_pagemap() >= 0);
	must(write_protect((uintptr_t)area, nr_pages * PAGE, true));
}

static uint64_t track_async(unsigned int i)
{
	uint64_t start = ticks(), end;
	long found;

	(void)i;
	write_pages();
	found = scan_pagemap();
	for (long r = 0; r < found; r++)
		for (uint64_t at = regions[r].start; at < regions[r].end; at += PAGE)
			note(at);
	end = ticks();
	must(found >= 0);
	return end - start;
}

/* ---- by the number of pages, 1,024 of them written; and by the number written ---- */

/* Where few pages are written, the first sample, which splits mappings, is another thing than those after it. */
#define SAMPLES(samples, written)	((written) < 1000 && (samples) < 15 ? 15 : (samples))
#define ONE(name, where, samples, begin, sample, after, mapped, written)                                      \
	{                                                                                                     \
		name, where, SAMPLES(samples, written), written, begin, NULL, sample, after, .pages = mapped, \
											     .dirty = written \
	}

#define KIND(...)			\
	ONE(__VA_ARGS__, 1 << 10, 1024),	\
	ONE(__VA_ARGS__, 1 << 12, 1024),	\
	ONE(__VA_ARGS__, 1 << 14, 1024),	\
	ONE(__VA_ARGS__, 1 << 16, 1024),	\
	ONE(__VA_ARGS__, 1 << 18, 1024),	\
	ONE(__VA_ARGS__, 1 << 20, 1024),	\
	ONE(__VA_ARGS__, 1 << 14, 16),		\
	ONE(__VA_ARGS__, 1 << 14, 164),		\
	ONE(__VA_ARGS__, 1 << 14, 1638),	\
	ONE(__VA_ARGS__, 1 << 14, 16384)

static const struct bench_case cases[] = {
	KIND("no tracking", WHERE_BOTH, 15, map_area, only_write, check_written),
	KIND("dune_vm_scan()", WHERE_DUNE, 15, begin_scan, scan, check),
	KIND("soft-dirty bits", WHERE_LINUX, 3, begin_soft_dirty, track_soft_dirty, check),
	KIND("mprotect() and SIGSEGV", WHERE_LINUX, 3, begin_mprotect, track_mprotect, check),
	KIND("userfaultfd, a thread", WHERE_LINUX, 3, begin_uffd, track_uffd, check),
	KIND("userfaultfd, SIGBUS", WHERE_LINUX, 3, begin_uffd_sigbus, track_uffd, check),
	KIND("userfaultfd, asynchronous, PAGEMAP_SCAN", WHERE_LINUX, 3, begin_async, track_async, check),
};

BENCH_GROUP(dirty, false);
