// SPDX-License-Identifier: MIT
/*
 * Flushing translations when the process has several threads.  Those that wait are on no CPU: what they cost is
 * being there.  Those that run, each on a CPU of its own, are interrupted: that the flush reached them is shown by
 * a page that is exchanged under their eyes.  Those that change pages of their own share one CPU: whoever has the lock
 * of the page tables may not be on it.
 */
#include <dune.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../bench.h"

#define THREADS_MAX	8

/* A page of its own between others that no permission of it makes one mapping with. */
static unsigned char *area;
#define PAGE_AT(i)	(area + (1 + 2 * (i)) * PAGE)
#define FIRST		1
#define SECOND		2

static struct runner {
	volatile unsigned long rounds;
	volatile unsigned char seen;
	char pad[48];
} runners[THREADS_MAX];

static unsigned char *own_pages;	/* one for each of those that change them */

static unsigned int nr_others;
static bool others_run;
static cpu_set_t allowed;		/* to the process */
static uint64_t entries[2];		/* of the two pages; their turns under PAGE_AT(0) */
static pthread_barrier_t never;

/* The n-th of those that the process may use. */
static void stay_on(unsigned int n)
{
	unsigned int cpu = 0;
	cpu_set_t set;

	while (!CPU_ISSET(cpu, &allowed) || n--)
		must(++cpu < CPU_SETSIZE);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(!sched_setaffinity(0, sizeof(set), &set));
}

static void *wait_for_ever(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&never);
	return NULL;
}

static void *look_at_the_page(void *arg)
{
	struct runner *runner = arg;

	stay_on(runner - runners);
	for (;;) {
		runner->seen = *(volatile unsigned char *)PAGE_AT(0);
		runner->rounds++;
	}
	return NULL;
}

static void map_pages(void)
{
	area = mmap(NULL, 5 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area != MAP_FAILED);
	for (unsigned int i = 0; i < 2; i++) {
		must(!mprotect(PAGE_AT(i), PAGE, PROT_READ | PROT_WRITE));
		*PAGE_AT(i) = i ? SECOND : FIRST;
	}
}

static void start_others(void)
{
	unsigned int i, threads = bench_current->threads;
	pthread_t thread;

	must(!sched_getaffinity(0, sizeof(allowed), &allowed));
	if (others_run && CPU_COUNT(&allowed) < (int)threads)
		bench_skip("a CPU for each thread is needed (scripts/bench --smp)");
	map_pages();
	must(threads <= THREADS_MAX && !pthread_barrier_init(&never, NULL, THREADS_MAX + 1));
	for (i = 1; i < threads; i++)
		must(!pthread_create(&thread, NULL, others_run ? look_at_the_page : wait_for_ever, &runners[i]));
	nr_others = threads - 1;
	if (others_run)
		stay_on(0);
}

/* Until each of those that run has looked since now. */
static void wait_a_round(void)
{
	for (unsigned int i = 1; others_run && i <= nr_others; i++) {
		unsigned long since = runners[i].rounds;

		while (runners[i].rounds - since < 2)
			__builtin_ia32_pause();
	}
}

static bool all_see(unsigned char value)
{
	bool same = *(volatile unsigned char *)PAGE_AT(0) == value;

	wait_a_round();
	for (unsigned int i = 1; others_run && i <= nr_others; i++)
		same &= runners[i].seen == value;
	return same;
}

static void begin_waiting(void)
{
	start_others();
}

static void begin_running(void)
{
	others_run = true;
	start_others();
}

/* ---- the flush alone: an entry is changed by hand before it ---- */

static ptent_t *entry_of(void *addr)
{
	ptent_t *e;

	must(!dune_vm_lookup(bench_root, addr, CREATE_NORMAL, &e) && *e & PTE_P);
	return e;
}

static void find_entries(void)
{
	for (unsigned int i = 0; i < 2; i++)
		entries[i] = *entry_of(PAGE_AT(i));
}

static void begin_waiting_flush(void)
{
	start_others();
	find_entries();
}

static void begin_running_flush(void)
{
	begin_running();
	find_entries();
}

static void exchange_page(unsigned int i)
{
	must(all_see(i % 2 ? SECOND : FIRST));
	*entry_of(PAGE_AT(0)) = entries[(i + 1) % 2];
}

static uint64_t flush(unsigned int i)
{
	uint64_t start = ticks(), end;

	dune_flush_tlb();
	end = ticks();
	bench_work += all_see(i % 2 ? FIRST : SECOND);
	return end - start;
}

/* ---- a page is made read-only ---- */

static void make_writable(unsigned int i)
{
	(void)i;
	must(!(bench_side == SIDE_LINUX ? mprotect(PAGE_AT(0), PAGE, PROT_READ | PROT_WRITE) :
	       dune_vm_mprotect(bench_root, PAGE_AT(0), PAGE, PERM_R | PERM_W)));
	*PAGE_AT(0) = FIRST;
	wait_a_round();
}

static uint64_t make_readable(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = bench_side == SIDE_LINUX ? mprotect(PAGE_AT(0), PAGE, PROT_READ) :
		  dune_vm_mprotect(bench_root, PAGE_AT(0), PAGE, PERM_R);

	(void)i;
	end = ticks();
	bench_work += !ret && all_see(FIRST);
	return end - start;
}

/* ---- the same while the others do, on one CPU ---- */

static int protect_page(unsigned char *page, bool writable)
{
	if (bench_side == SIDE_LINUX)
		return mprotect(page, PAGE, writable ? PROT_READ | PROT_WRITE : PROT_READ);
	return dune_vm_mprotect(bench_root, page, PAGE, writable ? PERM_R | PERM_W : PERM_R);
}

static void *change_own_page(void *arg)
{
	struct runner *runner = arg;

	for (;;)
		must(!protect_page(own_pages + (runner - runners) * 2 * PAGE, runner->rounds++ % 2));
	return NULL;
}

static void begin_changing(void)
{
	pthread_t thread;

	must(!sched_getaffinity(0, sizeof(allowed), &allowed));
	stay_on(0);
	map_pages();
	own_pages = mmap(NULL, 2 * THREADS_MAX * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	must(own_pages != MAP_FAILED && bench_current->threads <= THREADS_MAX);
	for (unsigned int i = 1; i < bench_current->threads; i++)
		must(!pthread_create(&thread, NULL, change_own_page, &runners[i]));
}

#define FLUSH(n, how, begin)	\
	{ "flush, others " how, WHERE_DUNE, 40, 1, begin, exchange_page, flush, .threads = n }
#define PROTECT(n, how, begin)	\
	{ "protect a page, others " how, WHERE_BOTH, 40, 1, begin, make_writable, make_readable, .threads = n }
#define CHANGE(n, how, begin)	\
	{ "protect a page, others " how, WHERE_BOTH, 800, 1, begin, make_writable, make_readable, .threads = n }
#define KIND(one, how, begin)	one(1, how, begin), one(2, how, begin), one(4, how, begin), one(8, how, begin)

static const struct bench_case cases[] = {
	KIND(FLUSH, "wait", begin_waiting_flush),
	KIND(FLUSH, "run", begin_running_flush),
	KIND(PROTECT, "wait", begin_waiting),
	KIND(PROTECT, "run", begin_running),
	KIND(CHANGE, "change theirs on one CPU", begin_changing),
};

BENCH_GROUP(flush, false);
