// SPDX-License-Identifier: MIT
/*
 * A million random operations on a few address spaces, each also made on an array of pages; what a CPU finds in the
 * tables must be what the array says.
 *
 *	test_vm_model [SEED [OPERATIONS]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs/dune-stubs.h"
#include "stubs/walker.h"

#define GIB		(1UL << 30)
#define ROOTS		4
#define PAGES		1536		/* two page tables and halves of two more, round the end of a GiB */
#define ZONE		(0x7e0000000000UL + GIB - PAGES / 2 * 4096UL)
#define POOL		8

enum kind {
	OWN,		/* the process's memory, perhaps not touched yet */
	NOTHING,
	MAPPED,
};

struct model_page {
	enum kind kind;
	int perm;
	uint64_t pa;
	bool dirty;	/* at least this */
};

static struct model_page model[ROOTS][PAGES];
static ptent_t *roots[ROOTS];
static struct page *pool[POOL];
static uint64_t seed = 1, operations = 1000000;
static uint64_t done[16], failed;

static uint64_t random_number(void)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return seed >> 33;
}

static uint64_t va_of(unsigned int page)
{
	return ZONE + page * 4096UL;
}

static uint64_t own_pa(unsigned int page)
{
	static uint64_t places[2];
	uint64_t va = va_of(page), *place = &places[va >> 30 & 1];

	if (!*place)
		*place = dune_va_to_pa((void *)(va & -GIB));
	return *place + (va & (GIB - 1));
}

static void check_page(unsigned int r, unsigned int page)
{
	const struct model_page *m = &model[r][page];
	uint64_t va = va_of(page), pa = m->kind == OWN ? own_pa(page) : m->pa;
	int perm = m->kind == OWN ? PERM_R | PERM_W | PERM_X : m->perm, absent;
	uint64_t is = cpu_pa(roots[r], va);

	if (m->kind == OWN && is == ~0UL) {
		assert_true(roots[r] == dune_vm_root() ||
			    page_by_index(PPN((uint64_t)roots[r] - PAGEBASE))->next == PAGE_FULL);
		return;
	}
	absent = m->kind == NOTHING || !(perm & PERM_R);
	if (absent) {
		assert_int_equal(is, ~0UL);
		return;
	}
	assert_int_equal(is, pa);
	/* Without a trace in the entry: this is not an access. */
	for (unsigned int kind = 0; kind < 32; kind++) {
		bool allowed = (!(kind & FEC_W) || (perm & PERM_W && !(perm & PERM_COW))) &&
			       (!(kind & FEC_U) || perm & PERM_U) && (!(kind & FEC_I) || perm & PERM_X);

		if (kind & ~(FEC_W | FEC_U | FEC_I))
			continue;
		assert_int_equal(cpu_allows(roots[r], va, kind), allowed);
	}
}

static void check_all(void)
{
	for (unsigned int r = 0; r < ROOTS; r++)
		for (unsigned int page = 0; roots[r] && page < PAGES; page++)
			check_page(r, page);
}

static int random_perm(void)
{
	static const int perms[] = {
		PERM_NONE, PERM_R, PERM_R | PERM_W, PERM_R | PERM_W | PERM_X, PERM_R | PERM_U, PERM_R | PERM_W | PERM_U,
		PERM_R | PERM_COW, PERM_R | PERM_X | PERM_U, PERM_R | PERM_W | PERM_COW | PERM_USR2,
	};

	return perms[random_number() % ARRAY_SIZE(perms)];
}

static unsigned int random_root(void)
{
	unsigned int r;

	do
		r = random_number() % ROOTS;
	while (!roots[r]);
	return r;
}

/* Short ones mostly, long ones now and then, some whole tables. */
static void random_range(unsigned int *first, unsigned int *n)
{
	switch (random_number() % 48) {
	case 0:
		*first = 256 + random_number() % 2 * 512;
		*n = 512;
		return;
	case 1:
		*first = random_number() % PAGES;
		*n = 1 + random_number() % (PAGES - *first);
		return;
	}
	*first = random_number() % PAGES;
	*n = 1 + random_number() % 8;
	if (*n > PAGES - *first)
		*n = PAGES - *first;
}

static void set(unsigned int r, unsigned int page, enum kind kind, int perm, uint64_t pa)
{
	model[r][page] = (struct model_page){ kind, perm, pa, false };
}

/* ---- the operations: each returns what the library did ---- */

static int do_protect(unsigned int r, unsigned int first, unsigned int n)
{
	int perm = random_perm(), ret;
	bool hole = false;

	ret = dune_vm_mprotect(roots[r], (void *)va_of(first), n * 4096UL, perm);
	for (unsigned int i = first; i < first + n; i++)
		hole |= model[r][i].kind == NOTHING;
	if (ret == -ENOMEM)
		return ret;
	assert_int_equal(ret, hole ? -ENOENT : 0);
	for (unsigned int i = first; !ret && i < first + n; i++) {
		struct model_page *m = &model[r][i];

		if (m->kind == OWN)
			m->pa = own_pa(i);
		m->kind = MAPPED;
		m->perm = perm;
	}
	return ret;
}

static int do_map_phys(unsigned int r, unsigned int first, unsigned int n)
{
	uint64_t pa = random_number() % 100000 * 4096;
	int perm = random_perm(), ret;

	if (n == 512 && first % 512 == 256 && random_number() % 2) {
		pa &= -(2UL << 20);
		perm |= PERM_BIG;
	} else if (n == 1) {
		pa = dune_page2pa(pool[random_number() % POOL]);
	}
	ret = dune_vm_map_phys(roots[r], (void *)va_of(first), n * 4096UL, (void *)pa, perm);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < n; i++)
		set(r, first + i, MAPPED, perm, pa + i * 4096UL);
	return 0;
}

static int do_map_pages(unsigned int r, unsigned int first, unsigned int n)
{
	int perm = random_perm(), ret;

	ret = dune_vm_map_pages(roots[r], (void *)va_of(first), n * 4096UL, perm | PERM_R);
	for (unsigned int i = first; !ret && i < first + n; i++) {
		struct page *pg = dune_vm_lookup_page(roots[r], (void *)va_of(i));

		assert_non_null(pg);
		assert_int_equal(pg->ref, 1);
		set(r, i, MAPPED, perm | PERM_R, dune_page2pa(pg));
	}
	return ret;
}

static int do_unmap(unsigned int r, unsigned int first, unsigned int n)
{
	int ret = dune_vm_unmap(roots[r], (void *)va_of(first), n * 4096UL);

	for (unsigned int i = first; !ret && i < first + n; i++)
		set(r, i, NOTHING, 0, 0);
	return ret;
}

static int do_clone(unsigned int r, unsigned int first, unsigned int n)
{
	unsigned int to = random_number() % ROOTS;
	ptent_t *clone;

	(void)first;
	(void)n;
	if (roots[to])
		return 0;
	clone = dune_vm_clone(roots[r]);
	if (!clone)
		return -ENOMEM;
	roots[to] = clone;
	__builtin_memcpy(model[to], model[r], sizeof(model[r]));
	return 0;
}

static int do_free(unsigned int r, unsigned int first, unsigned int n)
{
	(void)first;
	(void)n;
	if (roots[r] == dune_vm_root())
		return 0;
	assert_int_equal(dune_vm_free(roots[r]), 0);
	roots[r] = NULL;
	return 0;
}

static int do_scan(unsigned int r, unsigned int first, unsigned int n)
{
	static uint64_t bitmap[PAGES / 64 + 1];
	unsigned int flags = DUNE_VM_DIRTY | (random_number() % 4 ? DUNE_VM_CLEAR : 0) |
			     (random_number() % 4 ? 0 : DUNE_VM_SPLIT);
	long ret = dune_vm_scan(roots[r], (void *)va_of(first), n * 4096UL, flags, bitmap), count = 0;

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < n; i++) {
		bool found = bitmap[i / 64] >> i % 64 & 1;
		struct model_page *m = &model[r][first + i];

		count += found;
		assert_true(found || !m->dirty);
		assert_true(!found || m->kind != NOTHING);
		if (flags & DUNE_VM_CLEAR)
			m->dirty = false;
	}
	assert_int_equal(ret, count);
	return 0;
}

static int do_merge(unsigned int r, unsigned int first, unsigned int n)
{
	return dune_vm_merge(roots[r], (void *)va_of(first), n * 4096UL) < 0 ? -EINVAL : 0;
}

static int do_touch(unsigned int r, unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n && i < first + 16; i++) {
		if (cpu_access(roots[r], va_of(i), 0) == CPU_ABSENT && roots[r] == dune_vm_root()) {
			int ret = __dune_granule_map(va_of(i));

			assert_int_equal(ret, model[r][i].kind == OWN	  ? 0 :
					      model[r][i].kind == NOTHING ? -EINVAL :
									    -EPERM);
		}
		if (cpu_access(roots[r], va_of(i), FEC_W) == CPU_OK)
			model[r][i].dirty = true;
	}
	return 0;
}

static int do_lookup(unsigned int r, unsigned int first, unsigned int n)
{
	ptent_t *e;
	int ret = dune_vm_lookup(roots[r], (void *)va_of(first), n % 4, &e);

	if (ret == -ENOENT)
		return 0;
	if (!ret && n % 4 == CREATE_NORMAL && model[r][first].kind == MAPPED)
		assert_int_equal(PTE_ADDR(*e), model[r][first].pa);
	return ret;
}

static int (*const operation[])(unsigned int r, unsigned int first, unsigned int n) = {
	do_protect, do_protect, do_protect, do_touch, do_touch, do_touch, do_scan, do_scan,
	do_map_phys, do_map_phys, do_map_pages, do_unmap, do_lookup, do_merge, do_clone, do_free,
};

static void random_operations(void **state)
{
	unsigned int before;

	(void)state;
	stub_begin();
	assert_int_equal(__dune_pool_ready(), 0);
	before = pages_in_use();
	roots[0] = dune_vm_root();
	for (int i = 0; i < POOL; i++)
		pool[i] = dune_page_alloc();
	for (uint64_t i = 0; i < operations; i++) {
		unsigned int r = random_root(), what = random_number() % ARRAY_SIZE(operation), first, n;
		int ret;

		/* Whole address spaces come and go more rarely. */
		if (what >= ARRAY_SIZE(operation) - 2 && random_number() % 8)
			continue;
		random_range(&first, &n);
		if (what == ARRAY_SIZE(operation) - 1 || random_number() % 8)
			__dune_page_credit = -1;
		else
			__dune_page_credit = random_number() % 4;
		ret = operation[what](r, first, n);
		__dune_page_credit = -1;
		if (ret) {
			assert_true(ret == -ENOMEM || ret == -ENOENT);
			failed++;
		} else {
			done[what]++;
		}
		for (int k = 0; k < 3; k++)
			check_page(random_root(), (first + random_number() % (2 * n)) % PAGES);
		if (i % 10000 == 0)
			check_all();
	}
	check_all();
	for (unsigned int r = 1; r < ROOTS; r++)
		if (roots[r])
			assert_int_equal(dune_vm_free(roots[r]), 0);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)0x7e0000000000, 2 * GIB), 0);
	for (int i = 0; i < POOL; i++) {
		assert_int_equal(pool[i]->ref, 1);
		dune_page_put(pool[i]);
	}
	assert_int_equal(pages_in_use(), before);
	assert_true(failed < operations / 4);
}

int atoi(const char *text);

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations) };

	if (argc > 1)
		seed = atoi(argv[1]);
	if (argc > 2)
		operations = atoi(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
