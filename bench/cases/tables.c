// SPDX-License-Identifier: MIT
/* Changing page tables: by Dune's functions, and by mprotect(). */
#include <dune.h>
#include <string.h>
#include <sys/mman.h>

#include "../bench.h"

#define TABLE_PAGES	16384UL		/* 64 MiB */
#define DIRTY_PAGES	1024UL
#define GIB		(1UL << 30)

static unsigned char *table;
static ptent_t *root, *other;
static uint64_t bitmap[TABLE_PAGES / 64];

/* At 1 GiB, so that no range of the cases goes across page tables. */
static void map_table(void)
{
	table = mmap((void *)0x540000000000, TABLE_PAGES * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_FIXED_NOREPLACE, -1, 0);
	must(table != MAP_FAILED);
}

static void begin_table(void)
{
	map_table();
	must(dune_vm_scan(bench_root, table, TABLE_PAGES * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT,
			  NULL) >= 0);
}

static uint64_t protect_pages(unsigned int i, unsigned int n)
{
	int perm = i % 2 ? PERM_R | PERM_W : PERM_R;
	uint64_t start = ticks(), end;
	int ret = dune_vm_mprotect(bench_root, table + PAGE * 16, n * PAGE, perm);
	ptent_t *e;

	end = ticks();
	must(!ret && !dune_vm_lookup(bench_root, table + PAGE * 16, CREATE_NONE, &e));
	bench_work += !!(e[n - 1] & PTE_W) == i % 2 && !!(e[0] & PTE_W) == i % 2;
	return end - start;
}

static uint64_t protect_1(unsigned int i)
{
	return protect_pages(i, 1);
}

static uint64_t protect_100(unsigned int i)
{
	return protect_pages(i, 100);
}

/* What ends as one mapping with its neighbours differs from what is cut out of one. */
static unsigned long nr_pages;
static int from, to;

static void set_1_readable(void)
{
	map_table();
	nr_pages = 1;
	from = PROT_READ | PROT_WRITE;
	to = PROT_READ;
}

static void set_1_writable(void)
{
	set_1_readable();
	from = PROT_READ;
	to = PROT_READ | PROT_WRITE;
}

static void set_100_readable(void)
{
	set_1_readable();
	nr_pages = 100;
}

static void set_100_writable(void)
{
	set_1_writable();
	nr_pages = 100;
}

static void mprotect_from(unsigned int i)
{
	(void)i;
	must(!mprotect(table + PAGE * 16, nr_pages * PAGE, from));
}

static uint64_t mprotect_to(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = mprotect(table + PAGE * 16, nr_pages * PAGE, to);

	(void)i;
	end = ticks();
	bench_work += !ret;
	return end - start;
}

static void write_some(unsigned int i)
{
	(void)i;
	for (unsigned long k = 0; k < DIRTY_PAGES; k++)
		table[k * (TABLE_PAGES / DIRTY_PAGES) * PAGE]++;
}

static uint64_t scan_dirty(unsigned int i)
{
	uint64_t start = ticks(), end;
	long found = dune_vm_scan(bench_root, table, TABLE_PAGES * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, bitmap);

	(void)i;
	end = ticks();
	bench_work += found;
	return end - start;
}

static void begin_switch(void)
{
	other = dune_vm_clone(bench_root);
	must(other && !dune_vm_switch(other) && !dune_vm_switch(bench_root));
}

static uint64_t switch_space(unsigned int i)
{
	ptent_t *to = i % 2 ? bench_root : other;
	uint64_t start = ticks(), end;

	dune_vm_switch(to);
	end = ticks();
	bench_work += dune_vm_current() == to;
	return end - start;
}

static uint64_t page_alloc(unsigned int i)
{
	uint64_t start = ticks(), end;
	struct page *pg = dune_page_alloc();

	(void)i;
	dune_page_put(pg);
	end = ticks();
	bench_work += pg && dune_page_isfrompool(dune_page2pa(pg)) && !pg->ref;
	return end - start;
}

#define GIB_VA	((unsigned char *)0x500000000000)

static int map_gib(void)
{
	return dune_vm_map_phys(bench_root, GIB_VA, GIB, (void *)(dune_va_to_pa(&root) & -GIB), PERM_R);
}

static bool gib_is_mapped(ptent_t *in)
{
	ptent_t *e;

	return !dune_vm_lookup(in, GIB_VA + GIB - PAGE, CREATE_NONE, &e) && *e & PTE_P;
}

static uint64_t map_1_gib(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = map_gib();

	(void)i;
	end = ticks();
	must(!ret);
	bench_work += gib_is_mapped(bench_root);
	must(!dune_vm_unmap(bench_root, GIB_VA, GIB));
	return end - start;
}

static void begin_clone(void)
{
	must(!map_gib());
}

static uint64_t clone_space(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	root = dune_vm_clone(bench_root);
	end = ticks();
	must(root);
	bench_work += gib_is_mapped(root);
	must(!dune_vm_free(root));
	return end - start;
}

/* The first change of a page after cloning, which copies two tables. */
static void clone_untimed(unsigned int i)
{
	(void)i;
	root = dune_vm_clone(bench_root);
	must(root);
}

static uint64_t unshare(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = dune_vm_mprotect(root, GIB_VA, PAGE, PERM_R | PERM_COW);
	ptent_t *e;

	(void)i;
	end = ticks();
	must(!ret && !dune_vm_lookup(root, GIB_VA, CREATE_NONE, &e));
	bench_work += !!(*e & PTE_COW);
	must(!dune_vm_free(root));
	return end - start;
}

static const struct bench_case cases[] = {
	{ "mprotect() 1 page, read-only",	WHERE_BOTH, 100, 1, set_1_readable, mprotect_from, mprotect_to,
	  .mean_of = 10 },
	{ "mprotect() 1 page, writable",	WHERE_BOTH, 100, 1, set_1_writable, mprotect_from, mprotect_to,
	  .mean_of = 10 },
	{ "protect 1 page",			WHERE_DUNE, 400, 1, begin_table, NULL, protect_1 },
	{ "mprotect() 100 pages, read-only",	WHERE_BOTH, 50, 1, set_100_readable, mprotect_from, mprotect_to,
	  .mean_of = 8 },
	{ "mprotect() 100 pages, writable",	WHERE_BOTH, 50, 1, set_100_writable, mprotect_from, mprotect_to,
	  .mean_of = 8 },
	{ "protect 100 pages",			WHERE_DUNE, 400, 1, begin_table, NULL, protect_100 },
	{ "dirty bits of 64 MiB, 1,024 set",	WHERE_DUNE, 20, DIRTY_PAGES, begin_table, write_some, scan_dirty },
	{ "switch of the address space",	WHERE_DUNE, 400, 1, begin_switch, NULL, switch_space },
	{ "page_alloc + page_put",		WHERE_DUNE, 400, 1, NULL, NULL, page_alloc },
	{ "map 1 GiB by 4 KiB",			WHERE_DUNE, 4, 1, NULL, NULL, map_1_gib },
	{ "clone, 1 GiB of it by 4 KiB",	WHERE_DUNE, 20, 1, begin_clone, NULL, clone_space },
	{ "first change in a clone",		WHERE_DUNE, 20, 1, begin_clone, clone_untimed, unshare },
};

BENCH_GROUP(tables, true);
