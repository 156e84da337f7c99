// SPDX-License-Identifier: MIT
/*
 * Appel and Li's two benchmarks of virtual memory for user programs, with 100 pages.
 *
 * appel1: protect each of 100 pages, by a call each; then write to each: the handler of the fault makes that page
 * writable and protects another one. appel2: protect all of them at once; then write to each: the handler makes it
 * writable. All of it is timed, the protecting too.
 *
 * An ordinary program uses mprotect() and SIGSEGV; that program is run in Dune mode too, as it is.  A program that
 * knows of Dune can use dune_vm_mprotect(), or the entries of its page table, which it has looked up once.
 */
#include <dune.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "../bench.h"

#define PAGES		100UL
#define REGION		(2UL << 20)	/* so that all entries are of one table */

static char *region;
static ptent_t *entries;
static bool protect_another;

static void map_region(void)
{
	char *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	region = (char *)(((uintptr_t)p + REGION - 1) & -REGION);
	/* A neighbour of the same kind would make one mapping with it. */
	must(!madvise(region, REGION, MADV_NOHUGEPAGE) && !munmap(p, region - p));
	memset(region, 1, 2 * PAGES * PAGE);
}

/* Every page was written by the last sample, and can be written in the next one. */
static void check_written(unsigned int i)
{
	if (!i)
		return;
	for (unsigned long k = 0; k < PAGES; k++)
		must(region[k * PAGE] == (char)i);
}

static void write_all(unsigned int i)
{
	for (unsigned long k = 0; k < PAGES; k++)
		*(volatile char *)(region + k * PAGE) = i + 1;
}

/* ---- mprotect() and SIGSEGV ---- */

static void on_segv(int sig, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & -PAGE);

	(void)sig;
	(void)context;
	bench_work++;
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) ||
	    (protect_another && mprotect(page + PAGES * PAGE, PAGE, PROT_READ)))
		bench_die("mprotect in the handler");
}

static void begin_signals(void)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	map_region();
	must(!sigaction(SIGSEGV, &action, NULL));
}

static void prepare_signals(unsigned int i)
{
	check_written(i);
	must(!mprotect(region, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE));
}

static uint64_t appel1_signals(unsigned int i)
{
	uint64_t start;
	int ret = 0;

	protect_another = true;
	start = ticks();
	for (unsigned long k = 0; k < PAGES; k++)
		ret |= mprotect(region + k * PAGE, PAGE, PROT_READ);
	write_all(i);
	start = ticks() - start;
	must(!ret);
	return start;
}

static uint64_t appel2_signals(unsigned int i)
{
	uint64_t start = ticks();
	int ret = mprotect(region, PAGES * PAGE, PROT_READ);

	write_all(i);
	start = ticks() - start;
	must(!ret);
	return start;
}

/* ---- Dune, by the functions ---- */

DUNE_BARE static void allow_by_call(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	char *page = (char *)(addr & -PAGE);

	(void)error;
	(void)tf;
	bench_work++;
	if (dune_vm_mprotect(bench_root, page, PAGE, PERM_R | PERM_W) ||
	    (protect_another && dune_vm_mprotect(bench_root, page + PAGES * PAGE, PAGE, PERM_R)))
		dune_die();
}

static void begin_calls_bare(void)
{
	map_region();
	dune_register_bare_pgflt_handler(allow_by_call);
}

static void begin_calls_full(void)
{
	map_region();
	dune_register_pgflt_handler(allow_by_call);
}

static void prepare_dune(unsigned int i)
{
	check_written(i);
	must(!dune_vm_mprotect(bench_root, region, 2 * PAGES * PAGE, PERM_R | PERM_W));
}

static uint64_t appel1_calls(unsigned int i)
{
	uint64_t start;
	int ret = 0;

	protect_another = true;
	start = ticks();
	for (unsigned long k = 0; k < PAGES; k++)
		ret |= dune_vm_mprotect(bench_root, region + k * PAGE, PAGE, PERM_R);
	write_all(i);
	start = ticks() - start;
	must(!ret);
	return start;
}

static uint64_t appel2_calls(unsigned int i)
{
	uint64_t start = ticks();
	int ret = dune_vm_mprotect(bench_root, region, PAGES * PAGE, PERM_R);

	write_all(i);
	start = ticks() - start;
	must(!ret);
	return start;
}

/* ---- Dune, by the entries ---- */

static inline void invlpg(const void *va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline void protect_entry(unsigned long k)
{
	entries[k] &= ~(ptent_t)PTE_W;
	invlpg(region + k * PAGE);
}

static inline void allow_entry(unsigned long k)
{
	entries[k] |= PTE_W;
	invlpg(region + k * PAGE);
}

DUNE_BARE static void allow_by_entry_1(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	unsigned long k = (addr - (uintptr_t)region) / PAGE;

	(void)error;
	(void)tf;
	bench_work++;
	allow_entry(k);
	protect_entry(k + PAGES);
}

DUNE_BARE static void allow_by_entry_2(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	unsigned long k = (addr - (uintptr_t)region) / PAGE;

	(void)error;
	(void)tf;
	bench_work++;
	allow_entry(k);
}

static void look_up_entries(void)
{
	map_region();
	must(!dune_vm_lookup(bench_root, region, CREATE_NORMAL, &entries));
}

static void begin_entries_1(void)
{
	look_up_entries();
	dune_register_bare_pgflt_handler(allow_by_entry_1);
}

static void begin_entries_2(void)
{
	look_up_entries();
	dune_register_bare_pgflt_handler(allow_by_entry_2);
}

static void begin_entries_1_full(void)
{
	look_up_entries();
	dune_register_pgflt_handler(allow_by_entry_1);
}

static void begin_entries_2_full(void)
{
	look_up_entries();
	dune_register_pgflt_handler(allow_by_entry_2);
}

static uint64_t appel_entries(unsigned int i)
{
	uint64_t start = ticks();

	for (unsigned long k = 0; k < PAGES; k++)
		protect_entry(k);
	write_all(i);
	return ticks() - start;
}

#define LINUX(name, sample)		{ name, WHERE_BOTH, 40, PAGES, begin_signals, prepare_signals, sample }
#define DUNE(name, begin, sample)                                                               \
	{                                                                                       \
		name, WHERE_DUNE, 200, PAGES, begin, prepare_dune, sample, .guest_traps = PAGES \
	}

static const struct bench_case cases[] = {
	LINUX("appel1, mprotect() and SIGSEGV",				appel1_signals),
	DUNE("appel1, dune_vm_mprotect(), full handler",		begin_calls_full, appel1_calls),
	DUNE("appel1, dune_vm_mprotect(), bare handler",		begin_calls_bare, appel1_calls),
	DUNE("appel1, entries and invlpg, full handler",		begin_entries_1_full, appel_entries),
	DUNE("appel1, entries and invlpg, bare handler",		begin_entries_1, appel_entries),
	LINUX("appel2, mprotect() and SIGSEGV",				appel2_signals),
	DUNE("appel2, dune_vm_mprotect(), full handler",		begin_calls_full, appel2_calls),
	DUNE("appel2, dune_vm_mprotect(), bare handler",		begin_calls_bare, appel2_calls),
	DUNE("appel2, entries and invlpg, full handler",		begin_entries_2_full, appel_entries),
	DUNE("appel2, entries and invlpg, bare handler",		begin_entries_2, appel_entries),
};

BENCH_GROUP(appel, true);
