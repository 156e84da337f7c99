// SPDX-License-Identifier: MIT
/* kern/mmu/tdp.c, the walker of second-level page tables, on the formats of both vendors. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <linux/compiler.h>
#include <linux/mm.h>
#include "../../kern/mmu/tdp.h"
#include "../../kern/svm/npt.h"
#include "../../kern/vmx/ept.h"
#include "stubs/memory.h"

#define K4	(1ULL << 12)
#define M2	(1ULL << 21)
#define G1	(1ULL << 30)

#define CAP_EXEC_ONLY	(1ULL << 0)
#define CAP_BASE	((1ULL << 6) | (1ULL << 14))
#define CAP_2M		(1ULL << 16)
#define CAP_1G		(1ULL << 17)
#define CAP_AD		(1ULL << 21)
#define CAP_ALL		(CAP_BASE | CAP_2M | CAP_1G | CAP_AD)

/* The PAT that Linux sets: WB WC UC- UC WB WP UC- WT. */
#define LINUX_PAT	0x0407050600070106ULL
#define C_BIT		(1ULL << 51)

static struct tdp tdp;
static struct tdp_cache cache;
static LIST_HEAD(garbage);

static void make(const struct tdp_format *fmt, unsigned int levels)
{
	assert_non_null(fmt);
	assert_int_equal(tdp_init(&tdp, fmt, levels), 0);
}

static long count(const struct list_head *list)
{
	const struct list_head *at;
	long n = 0;

	for (at = list->next; at != list; at = at->next)
		n++;
	return n;
}

/* The root is one too. */
static long nr_tables(void)
{
	assert_int_equal(tdp.nr_tables, count(&tdp.tables));
	return 1 + tdp.nr_tables;
}

static void destroy(void)
{
	assert_int_equal(stub_pages, nr_tables() + count(&garbage) + cache.nr);
	tdp_garbage_free(&garbage);
	tdp_cache_release(&cache);
	tdp_destroy(&tdp);
	tdp_destroy(&tdp);
	assert_int_equal(stub_pages, 0);
}

static struct tdp_leaf leaf(u64 pfn, unsigned int level, u8 perms)
{
	return (struct tdp_leaf){ .pfn = pfn, .level = level, .perms = perms, .memtype = TDP_WB };
}

/* Map, filling the cache as told. */
static int map_leaf(u64 gpa, const struct tdp_leaf *l)
{
	int r = tdp_map(&tdp, &cache, gpa, l, &garbage);

	if (r == -ENOSPC) {
		assert_in_range(cache.need, 1, tdp.levels - 1);
		assert_int_equal(tdp_cache_fill(&cache), 0);
		r = tdp_map(&tdp, &cache, gpa, l, &garbage);
		assert_int_equal(cache.nr, 0);
	}
	assert_in_range(r, 0, TDP_FLUSH);
	return r;
}

static int map(u64 gpa, u64 pfn, unsigned int level, u8 perms)
{
	struct tdp_leaf l = leaf(pfn, level, perms);

	return map_leaf(gpa, &l);
}

struct found {
	unsigned int level;	/* 0: nothing */
	u64 pfn;		/* of the 4 KiB page */
	u8 perms;
	u64 entry;
};

static struct found lookup(u64 gpa)
{
	const struct tdp_format *fmt = tdp.fmt;
	struct found f = { };
	unsigned int level;
	u64 size;

	f.entry = tdp_lookup(&tdp, gpa, &level);
	if (!f.entry)
		return f;
	f.level = level;
	size = tdp_level_size(level);
	f.pfn = ((f.entry & fmt->address & ~(size - 1)) | (gpa & (size - 1))) >> 12;
	f.perms = f.entry & fmt->write ? TDP_WRITE : 0;
	if (fmt->exec ? f.entry & fmt->exec : !(f.entry & fmt->noexec))
		f.perms |= TDP_EXEC;
	return f;
}

static void expect(u64 gpa, u64 pfn, unsigned int level, u8 perms)
{
	struct found f = lookup(gpa);

	assert_int_equal(f.level, level);
	assert_int_equal(f.pfn, pfn);
	assert_int_equal(f.perms, perms);
}

static void expect_nothing(u64 gpa)
{
	assert_int_equal(lookup(gpa).level, 0);
}

static bool zap(u64 start, u64 end)
{
	return tdp_zap_range(&tdp, start, end, &garbage);
}

/* ---- formats ---- */

static void test_ept_entries(void **state)
{
	struct tdp_leaf l = leaf(0x12345, 1, TDP_WRITE | TDP_EXEC);

	(void)state;
	assert_null(ept_format(0));
	assert_null(ept_format(1ULL << 6));
	make(ept_format(CAP_ALL), 4);
	assert_int_equal(ept_pointer(&tdp), (uintptr_t)tdp.root | 0x5e);

	map_leaf(0x1000, &l);
	assert_int_equal(lookup(0x1000).entry, 0x12345000 | 0x300 | 0x70 | 0x7);
	l = leaf(0x12345, 1, 0);
	map_leaf(0x2000, &l);
	assert_int_equal(lookup(0x2000).entry, 0x12345000 | 0x100 | 0x70 | 0x1);
	l.memtype = TDP_UC_MINUS;
	map_leaf(0x3000, &l);
	assert_int_equal(lookup(0x3000).entry, 0x12345000 | 0x100 | 0x40 | 0x1);
	l.memtype = TDP_WC;
	map_leaf(0x4000, &l);
	assert_int_equal(lookup(0x4000).entry, 0x12345000 | 0x100 | 0x48 | 0x1);
	l = leaf(0x40000, 2, TDP_WRITE);
	map_leaf(M2, &l);
	assert_int_equal(lookup(M2).entry, 0x40000000 | 0x300 | 0x80 | 0x70 | 0x3);
	/* Read, write and execute in every entry above; no other bit that could be reserved. */
	assert_int_equal(tdp.root[0] & 0xfff, 7);
	destroy();

	make(ept_format(CAP_BASE), 4);
	assert_int_equal(ept_pointer(&tdp), (uintptr_t)tdp.root | 0x1e);
	map(0, 0x12345, 3, TDP_WRITE);
	assert_int_equal(lookup(0).entry, 0x12345000 | 0x70 | 0x3);
	destroy();
}

static void test_npt_entries(void **state)
{
	struct tdp_leaf l = leaf(0x12345, 1, TDP_WRITE);

	(void)state;
	make(npt_format(LINUX_PAT, C_BIT, true), 5);
	map_leaf(0x1000, &l);
	assert_int_equal(lookup(0x1000).entry, (1ULL << 63) | 0x12345000 | 0x67);
	l.encrypted = true;
	l.perms = TDP_EXEC;
	map_leaf(0x2000, &l);
	assert_int_equal(lookup(0x2000).entry, C_BIT | 0x12345000 | 0x25);
	expect(0x2000, 0x12345, 1, TDP_EXEC);
	l.encrypted = false;
	l.memtype = TDP_WT;		/* the seventh: PAT, PCD and PWT */
	map_leaf(0x3000, &l);
	assert_int_equal(lookup(0x3000).entry, 0x12345000 | 0x25 | 0x98);
	l.level = 2;
	map_leaf(M2, &l);
	assert_int_equal(lookup(M2).entry, 0x12200000 | 0x1000 | 0x25 | 0x80 | 0x18);
	expect(M2 + 0x5000, 0x12205, 2, TDP_EXEC);
	assert_int_equal(tdp.root[0] & 0xfff, 0x27);
	assert_true(tdp.root[0] & C_BIT);
	destroy();

	/* PAT as at power-on: no write combining, so what asks for it is uncacheable. */
	make(npt_format(0x0007040600070406ULL, 0, false), 4);
	l = leaf(0x12345, 3, 0);
	l.memtype = TDP_WC;
	map_leaf(0, &l);
	assert_int_equal(lookup(0).entry, (1ULL << 63) | 0x12200000 | 0x25 | 0x80 | 0x18);
	destroy();
}

/* ---- mapping ---- */

static void test_sizes(void **state)
{
	(void)state;
	make(ept_format(CAP_ALL), 4);
	expect_nothing(0);
	assert_int_equal(map(5 * G1 + 0x7000, 0x1234567, 3, TDP_WRITE), 0);
	expect(5 * G1, 0x1200000 & ~0x3ffffULL, 3, TDP_WRITE);
	expect(5 * G1 + 0x3fffffff, (0x1234567 & ~0x3ffffULL) + 0x3ffff, 3, TDP_WRITE);
	expect_nothing(6 * G1);
	expect_nothing(5 * G1 - 1);
	assert_int_equal(nr_tables(), 2);
	assert_int_equal(map(M2 * 3, 0x777, 2, 0), 0);
	expect(M2 * 3 + K4, 0x601, 2, 0);
	assert_int_equal(nr_tables(), 3);
	assert_int_equal(map((1ULL << 48) - K4, 0x999, 1, TDP_EXEC), 0);
	expect((1ULL << 48) - 1, 0x999, 1, TDP_EXEC);
	assert_int_equal(nr_tables(), 6);
	destroy();

	/* No 1 GiB leaves: the next size. None at all: pages. */
	make(ept_format(CAP_BASE | CAP_2M), 4);
	map(G1 + 0x345000, 0x80345, 3, TDP_WRITE);
	expect(G1 + 0x345000, 0x80345, 2, TDP_WRITE);
	expect_nothing(G1);
	destroy();
	make(ept_format(CAP_BASE), 4);
	map(G1 + 0x345000, 0x80345, 3, TDP_WRITE);
	expect(G1 + 0x345000, 0x80345, 1, TDP_WRITE);
	expect_nothing(G1 + 0x344000);
	destroy();
}

static void test_dry_cache_changes_nothing(void **state)
{
	struct tdp_leaf l = leaf(0x1000, 1, 0);

	(void)state;
	make(ept_format(CAP_ALL), 4);
	assert_int_equal(tdp_map(&tdp, &cache, 0x5000, &l, &garbage), -ENOSPC);
	assert_int_equal(cache.need, 3);
	assert_int_equal(nr_tables(), 1);
	assert_int_equal(tdp.root[0], 0);

	map(M2, 0x40000, 2, 0);
	assert_int_equal(tdp_map(&tdp, &cache, 0x5000, &l, &garbage), -ENOSPC);
	assert_int_equal(cache.need, 1);
	assert_int_equal(tdp_map(&tdp, &cache, M2 + 0x5000, &l, &garbage), -ENOSPC);
	assert_int_equal(cache.need, 1);
	expect(M2, 0x40000, 2, 0);

	cache.need = 4;
	stub_allocations_left = 2;
	assert_int_equal(tdp_cache_fill(&cache), -ENOMEM);
	stub_allocations_left = -1;
	assert_int_equal(cache.nr, 2);
	assert_int_equal(tdp_map(&tdp, &cache, 0x5000, &l, &garbage), 0);
	assert_int_equal(cache.nr, 1);
	destroy();

	stub_allocations_left = 0;
	assert_int_equal(tdp_init(&tdp, ept_format(CAP_ALL), 4), -ENOMEM);
	stub_allocations_left = -1;
	assert_int_equal(tdp_init(&tdp, ept_format(CAP_ALL), 6), -EINVAL);
}

static void permissions(const struct tdp_format *fmt)
{
	make(fmt, 4);
	assert_int_equal(map(0, 5, 1, 0), 0);
	assert_int_equal(map(0, 5, 1, TDP_WRITE), 0);
	expect(0, 5, 1, TDP_WRITE);
	/* What another fault has found valid stays. */
	assert_int_equal(map(0, 5, 1, TDP_EXEC), 0);
	expect(0, 5, 1, TDP_WRITE | TDP_EXEC);
	assert_int_equal(map(0, 5, 1, 0), 0);
	expect(0, 5, 1, TDP_WRITE | TDP_EXEC);
	/* Another page: what its predecessor had does not count. */
	assert_int_equal(map(0, 6, 1, 0), TDP_FLUSH);
	expect(0, 6, 1, 0);
	destroy();
}

static void test_permissions(void **state)
{
	(void)state;
	permissions(ept_format(CAP_ALL));
	permissions(ept_format(CAP_BASE));
	permissions(npt_format(LINUX_PAT, 0, true));
}

/* @readable: what the format does with it. */
static void exec_only(const struct tdp_format *fmt, bool readable)
{
	struct tdp_leaf l = leaf(7, 1, TDP_EXEC), large = leaf(0x200, 2, TDP_EXEC);
	u64 read = fmt->read ?: fmt->present;

	make(fmt, 4);
	l.memtype |= TDP_EXEC_ONLY;
	large.memtype |= TDP_EXEC_ONLY;
	map_leaf(0x7000, &l);
	assert_int_equal(!!(lookup(0x7000).entry & read), readable);
	assert_int_equal(lookup(0x7000).perms, TDP_EXEC);
	map_leaf(M2, &large);
	assert_int_equal(!!(lookup(M2).entry & read), readable);

	/* The same page, now to be read, and then both: nothing else was there, and nothing is taken away. */
	assert_int_equal(map(0x7000, 7, 1, 0), 0);
	assert_int_equal(!!(lookup(0x7000).entry & read), true);
	assert_int_equal(lookup(0x7000).perms, TDP_EXEC);
	assert_int_equal(map_leaf(0x7000, &l), 0);
	assert_int_equal(!!(lookup(0x7000).entry & read), true);
	/* A small one in a large one that cannot be read takes its place. */
	assert_int_equal(map(M2 + K4, 0x201, 1, 0), readable ? 0 : TDP_FLUSH);
	assert_int_equal(!!(lookup(M2 + K4).entry & read), true);
	/* Zapped, it begins anew. */
	tdp_zap_range(&tdp, 0x7000, 0x8000, &garbage);
	map_leaf(0x7000, &l);
	assert_int_equal(!!(lookup(0x7000).entry & read), readable);
	destroy();
}

static void test_exec_only(void **state)
{
	(void)state;
	exec_only(ept_format(CAP_ALL | CAP_EXEC_ONLY), false);
	exec_only(ept_format(CAP_ALL), true);
	exec_only(npt_format(LINUX_PAT, C_BIT, true), true);
}

static void test_memory_type_replaces(void **state)
{
	struct tdp_leaf l = leaf(5, 1, 0);

	(void)state;
	make(ept_format(CAP_ALL), 4);
	map_leaf(0, &l);
	l.memtype = TDP_UC;
	assert_int_equal(map_leaf(0, &l), TDP_FLUSH);
	destroy();
}

static void large_and_small(const struct tdp_format *fmt)
{
	make(fmt, 4);
	map(0, 0x40000, 2, TDP_WRITE);
	/* A page of the large leaf that it allows already. */
	assert_int_equal(map(0x5000, 0x40005, 1, 0), 0);
	assert_int_equal(map(0x5000, 0x40005, 1, TDP_WRITE), 0);
	expect(0x5000, 0x40005, 2, TDP_WRITE);
	/* One that it does not allow: a table comes in its place. */
	assert_int_equal(map(0x5000, 0x40005, 1, TDP_EXEC), TDP_FLUSH);
	expect(0x5000, 0x40005, 1, TDP_EXEC);
	expect_nothing(0x4000);
	assert_int_equal(nr_tables(), 4);

	map(0x6000, 0x40006, 1, 0);
	/* And back. */
	assert_int_equal(map(0, 0x40000, 2, TDP_WRITE), TDP_FLUSH);
	expect(0x5000, 0x40005, 2, TDP_WRITE);
	assert_int_equal(nr_tables(), 3);
	assert_int_equal(count(&garbage), 1);

	/* The same page at another place in memory. */
	assert_int_equal(map(0x5000, 0x41005, 1, 0), TDP_FLUSH);
	expect(0x5000, 0x41005, 1, 0);

	/* A 1 GiB leaf above all that. */
	map(M2, 0x50000, 1, 0);
	assert_int_equal(map(0, 0x80000, 3, 0), TDP_FLUSH);
	expect(M2 + 0x3000, 0x80203, 3, 0);
	assert_int_equal(nr_tables(), 2);
	assert_int_equal(map(M2, 0x90000, 1, 0), TDP_FLUSH);
	expect(M2, 0x90000, 1, 0);
	expect_nothing(0);
	destroy();
}

static void test_large_and_small(void **state)
{
	(void)state;
	large_and_small(ept_format(CAP_ALL));
	large_and_small(npt_format(LINUX_PAT, C_BIT, true));
}

static void test_keep_table(void **state)
{
	struct tdp_leaf l = leaf(0x40007, 2, TDP_WRITE);

	(void)state;
	make(ept_format(CAP_ALL), 4);
	l.keep_table = true;
	assert_int_equal(map_leaf(0x7000, &l), 0);
	expect(0x7000, 0x40007, 2, TDP_WRITE);
	map(0x5000, 0x40005, 1, TDP_EXEC);
	assert_int_equal(map_leaf(0x7000, &l), 0);
	expect(0x7000, 0x40007, 1, TDP_WRITE);
	expect(0x5000, 0x40005, 1, TDP_EXEC);
	l.level = 3;
	l.pfn = 0x40205;
	assert_int_equal(map_leaf(M2 + 0x5000, &l), 0);
	expect(M2 + 0x5000, 0x40205, 2, TDP_WRITE);
	destroy();
}

/* ---- zapping ---- */

static void test_zap(void **state)
{
	u64 gpa;

	(void)state;
	make(ept_format(CAP_ALL), 4);
	assert_false(zap(0, 1ULL << 48));
	for (gpa = 0; gpa < 4 * M2; gpa += K4)
		map(gpa, 0x1000 + gpa / K4, 1, TDP_WRITE);
	assert_int_equal(nr_tables(), 3 + 4);

	assert_true(zap(0x3000, 0x5000));
	expect(0x2000, 0x1002, 1, TDP_WRITE);
	expect_nothing(0x3000);
	expect_nothing(0x4fff);
	expect(0x5000, 0x1005, 1, TDP_WRITE);
	assert_false(zap(0x3000, 0x5000));

	/* A part of a table, a whole one, a part. */
	assert_true(zap(M2 - K4, 2 * M2 + K4));
	expect(M2 - 2 * K4, 0x1000 + 510, 1, TDP_WRITE);
	expect_nothing(M2 - K4);
	expect_nothing(M2);
	expect_nothing(2 * M2);
	expect(2 * M2 + K4, 0x1000 + 1025, 1, TDP_WRITE);
	assert_int_equal(nr_tables(), 3 + 3);
	assert_int_equal(count(&garbage), 1);

	/* Not on a page boundary: whatever it touches. */
	assert_true(zap(2 * M2 + K4 + 1, 2 * M2 + K4 + 2));
	expect_nothing(2 * M2 + K4);

	assert_true(zap(0, ~0ULL));
	assert_int_equal(nr_tables(), 1);
	assert_int_equal(count(&garbage), 3 + 3);
	assert_false(zap(0, ~0ULL));
	destroy();
}

static void test_zap_takes_large_leaves_whole(void **state)
{
	(void)state;
	make(ept_format(CAP_ALL), 4);
	map(0, 0x40000, 2, TDP_WRITE);
	map(M2, 0x40200, 2, TDP_WRITE);
	map(G1, 0x80000, 3, TDP_WRITE);
	assert_true(zap(0x5000, 0x6000));
	expect_nothing(0);
	expect_nothing(M2 - 1);
	expect(M2, 0x40200, 2, TDP_WRITE);
	assert_true(zap(G1 + 7 * M2, 3 * G1));
	expect_nothing(G1);
	expect(M2, 0x40200, 2, TDP_WRITE);
	assert_int_equal(nr_tables(), 3);
	destroy();
}

/* CPUs may still be walking what was cut off. */
static void test_garbage_is_left_as_it_was(void **state)
{
	u64 before[TDP_ENTRIES];
	u64 *table, i;

	(void)state;
	make(ept_format(CAP_ALL), 4);
	for (i = 0; i < TDP_ENTRIES; i++)
		map(i * K4, 0x1000 + i, 1, TDP_WRITE);
	table = tdp.root;
	for (i = 0; i < 3; i++)
		table = __va(table[0] & tdp.fmt->address);
	memcpy(before, table, sizeof(before));
	assert_true(zap(0, G1));
	assert_int_equal(count(&garbage), 2);
	assert_memory_equal(table, before, sizeof(before));
	destroy();
}

/* Each slot of each level, in turn with its neighbours empty and full. */
static void test_zap_all(void **state)
{
	unsigned int level, i;

	(void)state;
	make(ept_format(CAP_ALL), 4);
	assert_false(tdp_zap_all(&tdp, &garbage));
	for (level = 1; level <= 4; level++) {
		for (i = 0; i < 512; i++) {
			u64 gpa = (u64)i << (12 + 9 * (level - 1));

			map(gpa, 0x1000, 1, TDP_WRITE);
			if (i % 3)
				map(gpa + (1ULL << 21) * (level > 2), 0x1001, 1, 0);
			if (level > 1 && i % 5)
				continue;
			assert_true(tdp_zap_all(&tdp, &garbage));
			assert_int_equal(nr_tables(), 1);
			expect_nothing(gpa);
			assert_false(tdp_zap_all(&tdp, &garbage));
		}
		tdp_zap_all(&tdp, &garbage);
		assert_int_equal(nr_tables(), 1);
		assert_int_equal(stub_pages, 1 + count(&garbage) + cache.nr);
		tdp_garbage_free(&garbage);
	}
	destroy();
}

static void test_prune(void **state)
{
	(void)state;
	make(ept_format(CAP_ALL), 4);
	assert_false(tdp_prune(&tdp, 0, &garbage));
	assert_false(tdp_prune(&tdp, 1ULL << 48, &garbage));
	map(0, 5, 1, 0);
	map(M2 - K4, 6, 1, 0);
	map(M2, 7, 1, 0);
	map(2 * G1, 8, 1, 0);
	map(4 * G1, 0x40000, 2, 0);
	assert_int_equal(nr_tables(), 1 + 1 + 3 + 3);

	/* Where something is left nothing happens. */
	assert_false(tdp_prune(&tdp, 0, &garbage));
	assert_false(tdp_prune(&tdp, 4 * G1, &garbage));
	zap(0, K4);
	assert_false(tdp_prune(&tdp, 0, &garbage));
	zap(M2 - K4, M2);
	assert_true(tdp_prune(&tdp, 0, &garbage));
	assert_false(tdp_prune(&tdp, 0, &garbage));
	assert_int_equal(nr_tables(), 7);
	assert_int_equal(count(&garbage), 1);
	expect(M2, 7, 1, 0);

	/* Further up, as far as it goes. */
	zap(2 * G1, 2 * G1 + K4);
	assert_true(tdp_prune(&tdp, 2 * G1 + M2 - 1, &garbage));
	assert_int_equal(nr_tables(), 5);
	zap(M2, M2 + K4);
	assert_true(tdp_prune(&tdp, M2, &garbage));
	assert_int_equal(nr_tables(), 3);
	expect(4 * G1, 0x40000, 2, 0);

	/* A table that has lost its last table to a zap, and all above it. */
	zap(4 * G1, 4 * G1 + M2);
	assert_true(tdp_prune(&tdp, 4 * G1, &garbage));
	assert_int_equal(nr_tables(), 1);
	assert_int_equal(count(&garbage), 7);
	map(0, 5, 1, 0);
	expect(0, 5, 1, 0);
	destroy();
}

/* An empty table counts as present: CPUs may have it cached. */
static void test_zap_of_an_empty_table(void **state)
{
	(void)state;
	make(ept_format(CAP_ALL), 4);
	map(0, 5, 1, 0);
	assert_true(zap(0, K4));
	assert_int_equal(nr_tables(), 4);
	assert_true(zap(0, M2));
	assert_int_equal(nr_tables(), 3);
	destroy();
}

/* ---- aging ---- */

static void aging(const struct tdp_format *fmt)
{
	make(fmt, 4);
	assert_false(tdp_age_range(&tdp, 0, 1ULL << 48, true));
	map(0x5000, 5, 1, TDP_WRITE);
	map(M2, 0x40000, 2, 0);
	assert_true(tdp_age_range(&tdp, 0x5000, 0x6000, false));
	assert_true(tdp_age_range(&tdp, 0x5000, 0x6000, true));
	assert_false(tdp_age_range(&tdp, 0x5000, 0x6000, true));
	assert_false(tdp_age_range(&tdp, 0, 0x5000, true));
	assert_false(tdp_age_range(&tdp, 0x6000, M2, true));
	assert_true(tdp_age_range(&tdp, M2 + 0x7000, M2 + 0x8000, true));
	assert_false(tdp_age_range(&tdp, M2, 2 * M2, false));
	assert_true(lookup(0x5000).entry & fmt->dirty);
	expect(0x5000, 5, 1, TDP_WRITE);

	/* Clearing does not stop at the first. */
	map(0x5000, 5, 1, 0);
	map(M2, 0x40000, 2, 0);
	assert_true(tdp_age_range(&tdp, 0, G1, true));
	assert_false(tdp_age_range(&tdp, 0, G1, false));
	destroy();
}

/* A page that is mapped beside the one asked for was not accessed, and takes no slot but an empty one. */
static void age_of_a_neighbour(void)
{
	struct tdp_leaf l = leaf(0x77, 1, TDP_WRITE);
	u64 *slot;

	assert_null(tdp_page_slot(&tdp, 0x5000));
	map(0x5000, 0x55, 1, TDP_WRITE);
	map(2 * M2, 0x400, 2, 0);
	slot = tdp_page_slot(&tdp, 0x5000);
	assert_false(tdp_slot_is_empty(&tdp, slot));
	assert_true(tdp_slot_is_empty(&tdp, slot + 1));
	assert_ptr_equal(slot + 1, tdp_page_slot(&tdp, 0x6000));
	assert_null(tdp_page_slot(&tdp, 2 * M2));
	slot[1] = tdp_old_page(&tdp, &l);
	expect(0x6000, 0x77, 1, TDP_WRITE);
	l.pfn = 0;
	slot[2] = tdp_old_page(&tdp, &l) | 0x78000;
	expect(0x7000, 0x78, 1, TDP_WRITE);
	assert_false(tdp_age_range(&tdp, 0x6000, 0x8000, false));
	assert_true(tdp_age_range(&tdp, 0x5000, 0x6000, false));
	/* The access itself, when the CPU reports it as a fault. */
	map(0x6000, 0x77, 1, TDP_WRITE);
	assert_true(tdp_age_range(&tdp, 0x6000, 0x7000, true));
	assert_true(zap(0, 4 * M2));
	destroy();
}

static void test_neighbours(void **state)
{
	(void)state;
	make(ept_format(CAP_ALL), 4);
	age_of_a_neighbour();
	make(npt_format(LINUX_PAT, 0, true), 4);
	age_of_a_neighbour();
}

static void test_aging(void **state)
{
	(void)state;
	aging(ept_format(CAP_ALL));
	aging(npt_format(LINUX_PAT, 0, true));
}

static void test_aging_without_accessed_bits(void **state)
{
	(void)state;
	make(ept_format(CAP_BASE | CAP_2M), 4);
	map(0x5000, 5, 1, TDP_WRITE);
	assert_true(tdp_age_range(&tdp, 0, M2, true));
	assert_true(tdp_age_range(&tdp, 0, M2, true));
	assert_false(tdp_age_range(&tdp, 0, 0x5000, false));
	assert_true(zap(0x5000, 0x6000));
	assert_false(tdp_age_range(&tdp, 0, M2, false));
	destroy();
}

/* ---- against a CPU ---- */

static u64 *walked;		/* an entry, in a table that stays */
static bool stop;

/*
 * Sets accessed and dirty where the entry is present, as a walk does. Returns
 * how many dirty bits were gone later though the page was still the same.
 */
static void *cpu(void *arg)
{
	u64 bits = tdp.fmt->accessed | tdp.fmt->dirty, last = 0;
	long lost = 0;

	(void)arg;
	while (!READ_ONCE(stop)) {
		u64 entry = READ_ONCE(*walked);

		if (!(entry & tdp.fmt->present))
			continue;
		if (last && !((entry ^ last) & tdp.fmt->address) && !(entry & tdp.fmt->dirty))
			lost++;
		last = cmpxchg(walked, entry, entry | bits) == entry ? entry : 0;
	}
	return (void *)lost;
}

static void test_cpu_walks_at_the_same_time(void **state)
{
	pthread_t thread;
	void *lost;
	u64 *table;
	int i;

	(void)state;
	make(ept_format(CAP_ALL), 4);
	map(0, 0, 1, 0);
	table = tdp.root;
	for (i = 0; i < 3; i++)
		table = __va(table[0] & tdp.fmt->address);
	walked = &table[0];
	assert_int_equal(pthread_create(&thread, NULL, cpu, NULL), 0);
	for (i = 1; i < 200000; i++) {
		assert_true(zap(0, K4));
		expect_nothing(0);
		assert_int_equal(map(0, i, 1, 0), 0);
		tdp_age_range(&tdp, 0, K4, true);
		assert_int_equal(map(0, i, 1, TDP_WRITE), 0);
		tdp_age_range(&tdp, 0, K4, true);
		assert_int_equal(lookup(0).pfn, i);
	}
	WRITE_ONCE(stop, true);
	pthread_join(thread, &lost);
	assert_null(lost);
	destroy();
}

/* ---- against a model: one record for each page ---- */

#define ZONES		4
#define ZONE_PAGES	4096U		/* 16 MiB */
#define REGION		512U		/* pages that a 2 MiB leaf maps */

static struct model {
	u64 pfn;
	u8 level;	/* 0: nothing */
	u8 perms;
} model[ZONES][ZONE_PAGES];
static bool model_table[ZONES][ZONE_PAGES / REGION];

static u64 zone_base(unsigned int zone)
{
	/* The second zone crosses from one entry of level 3 and 4 to the next. */
	const u64 base[ZONES] = { 0, 512 * G1 - 4 * M2, 77 * G1 + 8 * M2, 0 };

	return zone == 3 ? tdp_limit(&tdp) - ZONE_PAGES * K4 : base[zone];
}

static bool model_drop(struct model *page, unsigned int n)
{
	bool any = false;

	for (; n--; page++) {
		any |= page->level;
		*page = (struct model){ };
	}
	return any;
}

static int model_map(unsigned int zone, unsigned int at, u64 pfn, unsigned int level, u8 perms, bool keep)
{
	struct model *page = &model[zone][at], *region = &model[zone][at & ~(REGION - 1)];
	bool *table = &model_table[zone][at / REGION];
	int flush = 0;
	unsigned int i;

	if (level == 2 && !tdp.fmt->leaf_size[2])
		level = 1;
	if (level == 2 && *table && keep)
		level = 1;
	if (level == 1) {
		if (page->level == 2) {
			if (page->pfn == pfn && !(perms & ~page->perms))
				return 0;
			model_drop(region, REGION);
			flush = TDP_FLUSH;
		}
		*table = true;
		if (page->level && page->pfn != pfn)
			flush = TDP_FLUSH;
		page->perms = perms | (page->level && page->pfn == pfn ? page->perms : 0);
		page->pfn = pfn;
		page->level = 1;
		return flush;
	}
	if (*table || (page->level && page->pfn != pfn))
		flush = TDP_FLUSH;
	else if (page->level)
		perms |= page->perms;
	*table = false;
	for (i = 0; i < REGION; i++)
		region[i] = (struct model){ (pfn & ~(u64)(REGION - 1)) + i, 2, perms };
	return flush;
}

static bool model_zap(unsigned int zone, unsigned int start, unsigned int end)
{
	bool any = false;
	unsigned int at;

	for (at = start & ~(REGION - 1); at < end; at += REGION) {
		unsigned int from = max(at, start), to = min(at + REGION, end);

		if (model[zone][at].level == 2) {
			any |= model_drop(&model[zone][at], REGION);
		} else {
			any |= model_drop(&model[zone][from], to - from);
			if (to - from == REGION) {
				any |= model_table[zone][at / REGION];
				model_table[zone][at / REGION] = false;
			}
		}
	}
	return any;
}

static void check_page(unsigned int zone, unsigned int at)
{
	const struct model *page = &model[zone][at];
	struct found f = lookup(zone_base(zone) + at * K4);

	assert_int_equal(f.level, page->level);
	if (!f.level)
		return;
	assert_int_equal(f.pfn, page->pfn);
	assert_int_equal(f.perms, page->perms);
}

static void random_map(unsigned int zone, unsigned int at)
{
	/* Few choices of memory, so that the same page comes again. */
	struct tdp_leaf l = leaf(0x100000 + rand() % 2 * 0x10000 + at, 1 + rand() % 2, rand() % 4 * 2);

	if (l.level == 1 && !(rand() % 8))
		l.pfn++;
	l.keep_table = rand() % 2;
	assert_int_equal(map_leaf(zone_base(zone) + at * K4, &l),
			 model_map(zone, at, l.pfn, l.level, l.perms, l.keep_table));
	check_page(zone, at);
}

/* Is nothing mapped, and there is a table? */
static bool model_is_empty(unsigned int zone, unsigned int region)
{
	unsigned int i;

	if (!model_table[zone][region])
		return false;
	for (i = 0; i < REGION; i++)
		if (model[zone][region * REGION + i].level)
			return false;
	return true;
}

/* Upper tables go too, which the model does not know of; so it tells when one must. */
static void random_prune(unsigned int zone, unsigned int at)
{
	bool empty = model_is_empty(zone, at / REGION), pruned;
	long before = nr_tables();

	pruned = tdp_prune(&tdp, zone_base(zone) + at * K4, &garbage);
	if (empty)
		assert_true(pruned);
	assert_true(pruned == (nr_tables() < before));
	if (empty)
		model_table[zone][at / REGION] = false;
}

static void random_zap(unsigned int zone, unsigned int at)
{
	unsigned int end = at + 1 + rand() % (rand() % 2 ? 4 : 3 * REGION);
	u64 base = zone_base(zone);
	bool expected;

	end = end > ZONE_PAGES ? ZONE_PAGES : end;
	expected = model_zap(zone, at, end);
	assert_int_equal(zap(base + at * K4, base + end * K4), expected);
	if (rand() % 2)
		random_prune(zone, at);
	check_page(zone, at);
	check_page(zone, end - 1);
}

static void run_model(const struct tdp_format *fmt, unsigned int levels, unsigned int seed)
{
	unsigned int zone, at, n;

	srand(seed);
	memset(model, 0, sizeof(model));
	memset(model_table, 0, sizeof(model_table));
	make(fmt, levels);
	for (n = 0; n < 100000; n++) {
		zone = rand() % ZONES;
		at = rand() % ZONE_PAGES;
		if (rand() % 8)
			random_map(zone, at);
		else
			random_zap(zone, at);
		check_page(rand() % ZONES, rand() % ZONE_PAGES);
		if (n % 1000 == 0)
			tdp_garbage_free(&garbage);
		if (n % 20000)
			continue;
		for (zone = 0; zone < ZONES; zone++)
			for (at = 0; at < ZONE_PAGES; at++)
				check_page(zone, at);
	}
	destroy();
}

static void test_model(void **state)
{
	(void)state;
	run_model(ept_format(CAP_ALL), 4, 1);
	run_model(ept_format(CAP_BASE), 4, 2);
	run_model(ept_format(CAP_BASE | CAP_2M), 4, 3);
	run_model(npt_format(LINUX_PAT, 0, true), 4, 4);
	run_model(npt_format(LINUX_PAT, C_BIT, false), 5, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ept_entries),
		cmocka_unit_test(test_npt_entries),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_dry_cache_changes_nothing),
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_exec_only),
		cmocka_unit_test(test_memory_type_replaces),
		cmocka_unit_test(test_large_and_small),
		cmocka_unit_test(test_keep_table),
		cmocka_unit_test(test_zap),
		cmocka_unit_test(test_zap_takes_large_leaves_whole),
		cmocka_unit_test(test_garbage_is_left_as_it_was),
		cmocka_unit_test(test_zap_all),
		cmocka_unit_test(test_zap_of_an_empty_table),
		cmocka_unit_test(test_prune),
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_aging),
		cmocka_unit_test(test_aging_without_accessed_bits),
		cmocka_unit_test(test_cpu_walks_at_the_same_time),
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
