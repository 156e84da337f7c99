// SPDX-License-Identifier: MIT
/* kern/mmu/granule.c: which granule of guest-physical space stands for which of the process. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../kern/mmu/granule.h"
#include "stubs/memory.h"

#define G(n)	((u64)(n) << GRANULE_SHIFT)

static struct granule_table t;
static struct granule_spare spare;

static void make(unsigned int gpa_bits)
{
	assert_int_equal(granule_table_init(&t, gpa_bits), 0);
}

static void destroy(void)
{
	granule_spare_release(&spare);
	granule_table_destroy(&t);
	assert_int_equal(stub_pages, 0);
	assert_int_equal(stub_objects, 0);
}

static u64 assign(u64 va)
{
	u64 gpa = ~0ULL;

	assert_int_equal(granule_spare_fill(&spare), 0);
	assert_int_equal(granule_assign(&t, va, &spare, &gpa), 0);
	return gpa;
}

static int try_assign(u64 va)
{
	u64 gpa;

	assert_int_equal(granule_spare_fill(&spare), 0);
	return granule_assign(&t, va, &spare, &gpa);
}

static void test_sizes(void **state)
{
	unsigned int bits;

	(void)state;
	for (bits = 31; bits <= 48; bits++) {
		make(bits);
		assert_int_equal(t.nr, 1 << (bits - 30));
		assert_int_equal(granule_nr_reverse_pages(&t), bits <= 40 ? 1 : 1 << (bits - 40));
		destroy();
	}
	assert_int_equal(granule_table_init(&t, 30), -EINVAL);
	assert_int_equal(granule_table_init(&t, 53), -EINVAL);
}

static void test_identity_where_it_fits(void **state)
{
	u64 addr;

	(void)state;
	make(39);
	assert_false(granule_gpa(&t, 0x400000, &addr));
	assert_false(granule_va(&t, 0x400000, &addr));
	assert_int_equal(assign(0x400000), 0);
	assert_int_equal(assign(0x200000000), 0x200000000);
	assert_int_equal(assign(0x200000123), 0x200000000);
	assert_int_equal(t.used, 2);

	assert_true(granule_gpa(&t, 0x23456789a, &addr));
	assert_int_equal(addr, 0x23456789a);
	assert_true(granule_va(&t, 0x23456789a, &addr));
	assert_int_equal(addr, 0x23456789a);
	assert_false(granule_gpa(&t, G(1), &addr));
	destroy();
}

static void test_the_rest_comes_from_the_top(void **state)
{
	u64 addr;

	(void)state;
	make(39);
	assert_int_equal(assign(G(511) + 5), G(511));
	assert_int_equal(assign(0x7ffff7dd0000), G(510));
	assert_int_equal(assign(0x555555554000), G(509));
	/* Its own place is taken: next from the top. */
	assert_int_equal(assign(G(510)), G(508));
	assert_true(granule_gpa(&t, 0x7ffff7dd0123, &addr));
	assert_int_equal(addr, G(510) | (0x7ffff7dd0123 & (GRANULE_SIZE - 1)));
	assert_true(granule_va(&t, addr, &addr));
	assert_int_equal(addr, 0x7ffff7dd0123);
	destroy();
}

static void test_all_of_a_wide_space_is_identity(void **state)
{
	u32 g;

	(void)state;
	make(48);
	for (g = 0; g < GRANULE_NR_VA; g += 97)
		assert_int_equal(assign(G(g)), G(g));
	assert_int_equal(assign(G(GRANULE_NR_VA - 1)), G(GRANULE_NR_VA - 1));
	destroy();
}

static void test_runs_out_and_takes_back(void **state)
{
	u64 addr;
	u32 g;

	(void)state;
	make(34);
	for (g = 0; g < 16; g++)
		assert_int_equal(assign(G(1000 + g)), G(15 - g));
	assert_int_equal(try_assign(G(3)), -ENOSPC);
	assert_int_equal(try_assign(G(1003)), 0);

	granule_take_back(&t, G(1004) + 77);	/* had 11 */
	assert_false(granule_gpa(&t, G(1004), &addr));
	assert_false(granule_va(&t, G(11), &addr));
	granule_take_back(&t, G(1004));
	granule_take_back(&t, G(131071));
	assert_int_equal(t.used, 15);
	assert_int_equal(assign(G(2000)), G(11));
	assert_int_equal(try_assign(G(2001)), -ENOSPC);
	destroy();
}

static void test_bad_addresses(void **state)
{
	u64 addr;

	(void)state;
	make(40);
	assert_int_equal(try_assign(1ULL << 47), -EINVAL);
	assert_int_equal(try_assign(~0ULL), -EINVAL);
	assert_false(granule_gpa(&t, 1ULL << 47, &addr));
	assert_false(granule_gpa(&t, ~0ULL, &addr));
	assert_false(granule_va(&t, 1ULL << 40, &addr));
	assert_false(granule_va(&t, ~0ULL, &addr));
	granule_take_back(&t, ~0ULL);
	assert_null(granule_reverse_page(&t, 1, &spare));
	destroy();
}

static void expect_same(const struct granule_table *copy)
{
	u64 va = 0, gpa, other;
	u32 n = 0;

	for (; granule_next(&t, &va, ~0ULL, &gpa); va += GRANULE_SIZE, n++) {
		assert_true(granule_gpa(copy, va, &other));
		assert_int_equal(gpa, other);
		assert_true(granule_va(copy, gpa, &other));
		assert_int_equal(va, other);
	}
	assert_int_equal(n, t.used);
	for (va = 0; granule_next(copy, &va, ~0ULL, &gpa); va += GRANULE_SIZE)
		n--;
	assert_int_equal(n, 0);
	assert_int_equal(copy->used, t.used);
}

static void test_copy(void **state)
{
	struct granule_table copy;
	long enough;
	u64 gpa;

	(void)state;
	make(42);
	assign(G(5));
	assign(G(2000));
	assign(0x555555554000);
	assign(0x7ffff7dd0000);
	granule_spare_release(&spare);

	/* Each allocation fails once, and nothing is lost. */
	for (enough = 1;; enough++) {
		stub_allocations_left = enough;
		if (!granule_table_init(&copy, 42) && !granule_table_copy(&copy, &t, 0))
			break;
		assert_int_equal(stub_allocations_left, 0);
		granule_table_destroy(&copy);
	}
	assert_int_equal(enough, 1 + 4 + 3);	/* its array, leaves, pages */
	stub_allocations_left = -1;
	expect_same(&copy);

	/* It goes on like the other one, and neither sees the other's changes. */
	assert_int_equal(granule_spare_fill(&spare), 0);
	assert_int_equal(granule_assign(&copy, 0x7ffe00000000, &spare, &gpa), 0);
	assert_int_equal(gpa, assign(0x7ffd00000000));
	assert_false(granule_gpa(&t, 0x7ffe00000000, &gpa));
	assert_false(granule_gpa(&copy, 0x7ffd00000000, &gpa));
	granule_take_back(&copy, G(5));
	assert_true(granule_gpa(&t, G(5), &gpa));
	granule_table_destroy(&copy);
	destroy();
}

static void make_copy(struct granule_table *copy, const struct granule_table *from, u32 round)
{
	assert_int_equal(granule_table_init(copy, 42), 0);
	assert_int_equal(granule_table_copy(copy, from, round), 0);
}

/* A copy has what was there in its round, and nothing that came later, perhaps in the place of another. */
static void rounds(u32 first)
{
	struct granule_table same, older, newer, of_stale;
	u64 gpa;

	make(42);
	t.round = first;
	assign(G(5));
	assert_int_equal(assign(G(4096 + 5)), G(4095));
	assert_int_equal(assign(G(4096 + 6)), G(4094));
	make_copy(&same, &t, first);
	assert_false(same.stale);
	expect_same(&same);

	granule_take_back(&t, G(4096 + 5));
	granule_take_back(&t, G(5));
	t.round++;
	assert_int_equal(assign(G(8192)), G(4095));
	make_copy(&older, &t, first);
	assert_true(older.stale);
	assert_int_equal(older.used, 1);
	assert_true(granule_gpa(&older, G(4096 + 6), &gpa));
	assert_false(granule_gpa(&older, G(8192), &gpa));
	assert_false(granule_va(&older, G(4095), &gpa));
	assert_int_equal(older.round, first);

	make_copy(&newer, &t, first + 1);
	assert_false(newer.stale);
	expect_same(&newer);

	/* Who has not been told yet that a page table is stale cannot tell a child. */
	make_copy(&of_stale, &older, first);
	assert_true(of_stale.stale);
	assert_int_equal(of_stale.used, 1);

	/* What was left out is free. */
	assert_int_equal(granule_spare_fill(&spare), 0);
	assert_int_equal(granule_assign(&older, G(9000), &spare, &gpa), 0);
	assert_int_equal(gpa, G(4095));
	granule_table_destroy(&of_stale);
	granule_table_destroy(&newer);
	granule_table_destroy(&older);
	granule_table_destroy(&same);
	destroy();
}

static void test_rounds(void **state)
{
	(void)state;
	rounds(0);
	rounds(7);
	rounds(~0U);
}

static void test_next_skips_holes(void **state)
{
	u64 va, gpa;

	(void)state;
	make(39);
	assign(G(5));
	assign(0x7ffff7dd0000);

	va = 0;
	assert_true(granule_next(&t, &va, ~0ULL, &gpa));
	assert_int_equal(va, G(5));
	assert_int_equal(gpa, G(5));
	va = G(5) + 4096;
	assert_true(granule_next(&t, &va, ~0ULL, &gpa));
	assert_int_equal(va, G(5) + 4096);
	assert_int_equal(gpa, G(5) + 4096);
	va = G(6);
	assert_true(granule_next(&t, &va, ~0ULL, &gpa));
	assert_int_equal(va, 0x7ffff7dd0000 & ~(GRANULE_SIZE - 1));
	assert_int_equal(gpa, G(511));
	va = G(6);
	assert_false(granule_next(&t, &va, 0x7fffc0000000, &gpa));
	va = 1ULL << 47;
	assert_false(granule_next(&t, &va, ~0ULL, &gpa));
	destroy();
}

/* User space maps the pages of the reverse table, whether or not a granule is in them yet. */
static void test_reverse_pages(void **state)
{
	u32 *page;

	(void)state;
	make(42);
	assert_null(granule_reverse_page(&t, 3, NULL));
	assert_int_equal(granule_spare_fill(&spare), 0);
	page = granule_reverse_page(&t, 3, &spare);
	assert_non_null(page);
	assert_null(spare.page);
	assert_ptr_equal(granule_reverse_page(&t, 3, NULL), page);
	assert_int_equal(assign(0x7ffff7dd0000), G(4095));
	assert_int_equal(page[1023], (0x7ffff7dd0000 >> 30) + 1);
	destroy();
}

static void test_no_memory(void **state)
{
	(void)state;
	stub_allocations_left = 0;
	assert_int_equal(granule_table_init(&t, 39), -ENOMEM);
	granule_table_destroy(&t);
	stub_allocations_left = 1;
	assert_int_equal(granule_spare_fill(&spare), -ENOMEM);
	stub_allocations_left = -1;
	granule_spare_release(&spare);
	assert_int_equal(stub_objects, 0);
}

/* Against the plainest table there is. */
static void model(unsigned int bits, unsigned int seed)
{
	static u32 va_of[1 << 12];
	u32 nr = 1U << (bits - 30), used = 0, i, n;
	u64 addr;

	srand(seed);
	make(bits);
	memset(va_of, 0, sizeof(va_of));
	for (n = 0; n < 20000; n++) {
		u32 va = rand() % 4 ? rand() % (3 * nr) : rand() % GRANULE_NR_VA;
		u32 has = nr, want;

		va = va < GRANULE_NR_VA ? va : GRANULE_NR_VA - 1;
		for (i = 0; i < nr; i++)
			if (va_of[i] == va + 1)
				has = i;
		assert_int_equal(granule_gpa(&t, G(va), &addr), has != nr);
		if (has != nr) {
			assert_int_equal(addr, G(has));
			assert_true(granule_va(&t, addr, &addr));
			assert_int_equal(addr, G(va));
		}
		if (rand() % 100 < 45) {
			granule_take_back(&t, G(va));
			used -= has != nr;
			if (has != nr)
				va_of[has] = 0;
			continue;
		}
		if (has == nr && used == nr) {
			assert_int_equal(try_assign(G(va)), -ENOSPC);
			continue;
		}
		if (has != nr) {
			want = has;
		} else if (va < nr && !va_of[va]) {
			want = va;
		} else {
			for (want = nr - 1; va_of[want]; want--)
				;
		}
		assert_int_equal(assign(G(va)), G(want));
		used += has == nr;
		va_of[want] = va + 1;
		assert_int_equal(t.used, used);
	}
	destroy();
}

static void test_model(void **state)
{
	(void)state;
	model(32, 1);
	model(35, 2);
	model(39, 3);
	model(42, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_identity_where_it_fits),
		cmocka_unit_test(test_the_rest_comes_from_the_top),
		cmocka_unit_test(test_all_of_a_wide_space_is_identity),
		cmocka_unit_test(test_runs_out_and_takes_back),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_next_skips_holes),
		cmocka_unit_test(test_reverse_pages),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
