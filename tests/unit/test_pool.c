// SPDX-License-Identifier: MIT
/* The page pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "stubs/dune-stubs.h"

static void before(void **state)
{
	(void)state;
	__dune_process.ready = 0;
	assert_null(dune_page_alloc());		/* before dune_init() */
	stub_begin();
	assert_int_equal(region_state()->nr_pages, 0);
	assert_false(dune_page_isfrompool(PAGEBASE));
	dune_page_free(NULL);
	dune_page_put(NULL);
}

static void something_there(void **state)
{
	void *p = mmap((void *)(PAGEBASE + 0x10000), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_null(dune_page_alloc());
	assert_int_equal(__dune_pool_ready(), -EEXIST);
	munmap(p, 4096);
}

static void no_identity(void **state)
{
	(void)state;
	stub_owners[PAGEBASE >> 30] = 7;
	assert_int_equal(__dune_pool_ready(), -EBUSY);
	assert_null(dune_page_alloc());
	stub_owners[PAGEBASE >> 30] = 0;
	/* The place that it got instead. */
	for (unsigned int i = 0; i < STUB_GRANULES; i++)
		if (stub_owners[i] == (PAGEBASE >> 30) + 1)
			stub_owners[i] = 0;
}

static void one(void **state)
{
	struct page *pg = dune_page_alloc(), *again;
	char *p;

	(void)state;
	assert_non_null(pg);
	assert_int_equal(pg->ref, 1);
	p = (char *)dune_page2pa(pg);
	assert_int_equal((uintptr_t)p, PAGEBASE);
	assert_ptr_equal(dune_pa2page((uintptr_t)p + 4095), pg);
	assert_true(dune_page_isfrompool((uintptr_t)p));
	assert_false(dune_page_isfrompool(PAGEBASE - 1));
	assert_false(dune_page_isfrompool(PAGEBASE + ((uint64_t)region_state()->nr_pages << 12)));
	memset(p, 0xaa, 4096);
	assert_ptr_equal(dune_page_get(pg), pg);
	dune_page_put(pg);
	assert_int_equal(pg->ref, 1);
	dune_page_put(pg);
	assert_int_equal(pg->ref, 0);
	dune_page_put(pg);			/* one too many */
	dune_page_free(pg);
	again = dune_page_alloc();
	assert_ptr_equal(again, pg);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(p[i], 0);
	assert_ptr_not_equal(dune_page_alloc(), pg);
	dune_page_free(pg);
	dune_page_stats();
}

static void many(void **state)
{
	static struct page *got[300000];
	unsigned long before = stub_calls[__NR_mprotect];

	(void)state;
	for (int i = 0; i < 300000; i++) {
		got[i] = dune_page_alloc();
		assert_non_null(got[i]);
		assert_true(got[i] < page_by_index(region_state()->nr_pages));
		*(int *)dune_page2pa(got[i]) = i;
	}
	for (int i = 0; i < 300000; i++) {
		assert_int_equal(*(int *)dune_page2pa(got[i]), i);
		dune_page_put(got[i]);
	}
	/* Growing is rare. */
	assert_true(stub_calls[__NR_mprotect] - before < 200);
}

static void no_memory(void **state)
{
	(void)state;
	__dune_page_credit = 3;
	for (int i = 0; i < 3; i++)
		assert_non_null(dune_page_alloc());
	assert_null(dune_page_alloc());
	__dune_page_credit = -1;
	assert_non_null(dune_page_alloc());
}

static void all(void **state)
{
	unsigned long n = 0;
	struct page *pg;

	(void)state;
	while ((pg = __dune_page_take()))
		n++;
	assert_int_equal(region_state()->nr_pages, MAX_PAGES);
	assert_true(n > MAX_PAGES - 100);
	__dune_page_give(page_by_index(5));
	assert_ptr_equal(__dune_page_take(), page_by_index(5));
	assert_null(__dune_page_take());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before), cmocka_unit_test(something_there), cmocka_unit_test(no_identity),
		cmocka_unit_test(one), cmocka_unit_test(many), cmocka_unit_test(no_memory), cmocka_unit_test(all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
