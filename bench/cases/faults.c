// SPDX-License-Identifier: MIT
/* Page faults that the kernel resolves, and what a TLB miss reads. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../bench.h"

#define PAGES	1024UL		/* each sample touches one of its own */

static unsigned char *area;

static void map_area(void)
{
	if (area)
		must(!munmap(area, PAGES * PAGE));
	area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area != MAP_FAILED && !madvise(area, PAGES * PAGE, MADV_NOHUGEPAGE));
}

static volatile unsigned char *page(unsigned int i)
{
	return area + i % PAGES * PAGE;
}

static bool is_resident(unsigned int i)
{
	unsigned char in_core;

	must(!mincore((void *)page(i), PAGE, &in_core));
	return in_core & 1;
}

static void fresh_page(unsigned int i)
{
	if (i % PAGES == 0)
		map_area();
	must(!is_resident(i));
}

static uint64_t touch_write(unsigned int i)
{
	uint64_t start = ticks();

	*page(i) = 1;
	return ticks() - start;
}

static uint64_t touch_read(unsigned int i)
{
	uint64_t start = ticks();

	(void)*page(i);
	return ticks() - start;
}

static void check_written(unsigned int i)
{
	bench_work += is_resident(i) && *page(i) == 1;
}

static void check_read(unsigned int i)
{
	bench_work += is_resident(i) && !*page(i);
}

static void read_page(unsigned int i)
{
	fresh_page(i);
	must(!*page(i));
}

/* The host has the page already, the guest does not: it is the kernel that writes it. */
static void fill_page(unsigned int i)
{
	static int zero = -1;

	if (zero < 0)
		zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (i % PAGES)
		return;
	map_area();
	must(read(zero, area, PAGES * PAGE) == PAGES * PAGE);
}

/* Many fresh pages after each other, as programs have them. */
#define RUN	64

static void fresh_pages(unsigned int i)
{
	static unsigned int next;

	(void)i;
	if (next++ % (PAGES / RUN) == 0)
		map_area();
}

static uint64_t touch_run(unsigned int i)
{
	volatile unsigned char *at = area + i % (PAGES / RUN) * RUN * PAGE;
	uint64_t start = ticks(), end;

	for (unsigned int k = 0; k < RUN; k++)
		at[k * PAGE] = 1;
	end = ticks();
	for (unsigned int k = 0; k < RUN; k++)
		bench_work += at[k * PAGE];
	return end - start;
}

/*
 * A read of a page that is mapped, but hardly in the TLB: a chain through 16,384 pages in an order without a pattern.
 * An emulator counts one instruction; what it costs can be seen on a CPU.
 */
#define CHAIN	16384UL
#define LINKS	1024

static void **chain_at;

static void begin_chain(void)
{
	char *p = mmap(NULL, CHAIN * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	unsigned long at = 0, next;

	must(p != MAP_FAILED);
	for (unsigned long i = 0; i < CHAIN; i++) {
		next = (at * 5 + 4097) % CHAIN;		/* of full period */
		*(void **)(p + at * PAGE + at % 64 * 64) = p + next * PAGE + next % 64 * 64;
		at = next;
	}
	must(at == 0);
	chain_at = (void **)p;
}

static uint64_t follow_chain(unsigned int i)
{
	void **at = chain_at, **from = at;
	uint64_t start = ticks(), end;

	(void)i;
	for (unsigned int k = 0; k < LINKS; k++)
		at = *(void *volatile *)at;
	end = ticks();
	chain_at = at;
	bench_work += at != from;
	return end - start;
}

static const struct bench_case cases[] = {
	{ "first write to a page",		WHERE_BOTH, PAGES, 1, NULL, fresh_page, touch_write, check_written },
	{ "first read of a page",		WHERE_BOTH, PAGES, 1, NULL, fresh_page, touch_read, check_read },
	{ "write after read",			WHERE_BOTH, PAGES, 1, NULL, read_page, touch_write, check_written },
	{ "first write, the host has the page",	WHERE_BOTH, PAGES, 1, NULL, fill_page, touch_write, check_written },
	{ "first write to 64 pages",		WHERE_BOTH, 160, RUN, NULL, fresh_pages, touch_run },
	{ "read 1,024 pages, TLB misses",	WHERE_BOTH, 64, 1, begin_chain, NULL, follow_chain,
	  .walks = LINKS },
};

BENCH_GROUP(faults, true);
