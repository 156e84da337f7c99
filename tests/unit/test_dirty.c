// SPDX-License-Identifier: MIT
/*
 * Trackers of dirty bits: random writes, scans and collections, each beside a model; ranges and memory that are bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs/dune-stubs.h"
#include "stubs/walker.h"

#define GIB		(1UL << 30)
#define PAGES		1500UL		/* two page tables and pieces of two more, round the end of a GiB */
#define ZONE		(0x7e0000000000UL + GIB - PAGES / 2 * 4096UL)
#define TRACKERS	5
#define STEPS		60000

static uint64_t seed = 1;

static uint64_t random_number(uint64_t below)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (seed >> 33) % below;
}

static void *at(uint64_t page)
{
	return (void *)(ZONE + page * 4096UL);
}

static bool bit_of(const uint64_t *bitmap, uint64_t bit)
{
	return bitmap[bit / 64] >> bit % 64 & 1;
}

struct model {
	struct dune_dirty *d;
	struct dune_dirty_range ranges[3];
	unsigned int n;
	bool written[PAGES], maybe[PAGES];
};

static struct model models[TRACKERS];

static void note(uint64_t page, bool certain)
{
	for (int i = 0; i < TRACKERS; i++) {
		models[i].written[page] |= certain;
		models[i].maybe[page] = true;
	}
}

static void open_one(struct model *m)
{
	m->n = 1 + random_number(3);
	for (unsigned int i = 0; i < m->n; i++) {
		uint64_t first = random_number(PAGES), pages = 1 + random_number(PAGES - first);

		m->ranges[i] = (struct dune_dirty_range){ at(first), pages * 4096 };
	}
	assert_int_equal(dune_dirty_open(&m->d, dune_vm_root(), m->ranges, m->n), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		m->written[page] = m->maybe[page] = false;
}

/* Each page of each range: what was written is there, and what is there may have been. */
static void compare(struct model *m, const uint64_t *bitmap, long found)
{
	uint64_t bit = 0;

	for (unsigned int i = 0; i < m->n; i++) {
		uint64_t first = ((uint64_t)m->ranges[i].va - ZONE) / 4096, pages = m->ranges[i].len / 4096;

		for (uint64_t k = 0; k < pages; k++) {
			bool is = bit_of(bitmap, bit + k);

			if (m->written[first + k] && !is)
				fail_msg("page %lu was written, and is not there", first + k);
			if (!m->maybe[first + k] && is)
				fail_msg("page %lu was not written, and is there", first + k);
			found -= is;
		}
		bit += (pages + 63) / 64 * 64;
	}
	assert_int_equal(found, 0);
	for (uint64_t page = 0; page < PAGES; page++)
		m->written[page] = m->maybe[page] = false;
}

static void collect_one(struct model *m)
{
	static uint64_t bitmap[3 * (PAGES + 63) / 64 + 3];
	long ret = dune_dirty_collect(m->d, bitmap);

	assert_true(ret >= 0);
	compare(m, bitmap, ret);
}

struct runs {
	struct model *m;
	uint64_t bitmap[3 * (PAGES + 63) / 64 + 3];
	uint64_t pages;
	unsigned int calls, stop;
};

/* Overlapping ranges have the same page more than once: each run is entered where it belongs first. */
static int note_run(void *arg, void *va, size_t len)
{
	struct runs *r = arg;
	uint64_t bit = 0;

	if (++r->calls == r->stop)
		return 7;
	for (unsigned int i = 0; i < r->m->n; i++) {
		const struct dune_dirty_range *range = &r->m->ranges[i];
		uint64_t first = ((uint64_t)va - (uint64_t)range->va) / 4096;

		if (va >= range->va && (char *)va + len <= (char *)range->va + range->len &&
		    !bit_of(r->bitmap, bit + first)) {
			for (uint64_t k = first; k < first + len / 4096; k++)
				r->bitmap[(bit + k) / 64] |= 1UL << (bit + k) % 64;
			r->pages += len / 4096;
			return 0;
		}
		bit += (range->len / 4096 + 63) / 64 * 64;
	}
	fail_msg("a run that is in no range, or there twice");
	return 0;
}

/* It may be ended early; the rest comes the next time. */
static void collect_runs(struct model *m)
{
	static struct runs r;
	long ret;

	memset(&r, 0, sizeof(r));
	r.m = m;
	r.stop = random_number(2) ? 1 + random_number(4) : 0;
	ret = dune_dirty_collect_each(m->d, note_run, &r);
	if (ret == 7 && r.calls == r.stop) {
		r.stop = 0;
		ret = dune_dirty_collect_each(m->d, note_run, &r);
		assert_true(ret >= 0);
	} else {
		assert_int_equal(ret, r.pages);
	}
	compare(m, r.bitmap, r.pages);
}

static void step(void)
{
	uint64_t page = random_number(PAGES), pages = 1 + random_number(PAGES - page);
	struct model *m = &models[random_number(TRACKERS)];

	switch (random_number(20)) {
	case 0:
		collect_one(m);
		break;
	case 1:
		collect_runs(m);
		break;
	case 2:
		assert_true(dune_vm_scan(dune_vm_root(), at(page), pages * 4096, DUNE_VM_DIRTY | DUNE_VM_CLEAR |
					 (random_number(2) ? DUNE_VM_ACCESSED : 0), NULL) >= 0);
		/* Of accessed ones it is not known. */
		for (uint64_t k = page; k < page + pages; k++)
			note(k, false);
		break;
	case 3:
		if (random_number(20))
			break;
		assert_int_equal(dune_dirty_close(m->d), 0);
		assert_int_equal(dune_dirty_close(m->d), -EINVAL);
		assert_int_equal(dune_dirty_collect(m->d, NULL), -EINVAL);
		open_one(m);
		break;
	case 4:		/* another page there */
		if (pages > 20)
			break;
		assert_int_equal(dune_vm_unmap(dune_vm_root(), at(page), pages * 4096), 0);
		assert_int_equal(dune_vm_map_phys(dune_vm_root(), at(page), pages * 4096,
						  (void *)dune_va_to_pa(at(random_number(PAGES - pages))),
						  PERM_R | PERM_W), 0);
		for (uint64_t k = page; k < page + pages; k++)
			note(k, true);
		break;
	default:
		if (cpu_access(dune_vm_root(), (uint64_t)at(page), random_number(3) ? FEC_W : 0) == CPU_OK)
			note(page, false);
		assert_int_equal(cpu_access(dune_vm_root(), (uint64_t)at(page), FEC_W), CPU_OK);
		note(page, true);
	}
}

static void model(void **state)
{
	(void)state;
	assert_int_equal(__dune_granule_map(ZONE), 0);
	assert_int_equal(__dune_granule_map(ZONE + GIB), 0);
	for (int i = 0; i < TRACKERS; i++)
		open_one(&models[i]);
	for (int i = 0; i < STEPS; i++)
		step();
	for (int i = 0; i < TRACKERS; i++)
		assert_int_equal(dune_dirty_close(models[i].d), 0);
}

static void bad_ranges(void **state)
{
	static struct dune_dirty_range many[DUNE_DIRTY_RANGES + 1];
	struct dune_dirty_range one = { at(0), 4096 };
	struct dune_dirty *d = NULL;

	(void)state;
	for (unsigned int i = 0; i < DUNE_DIRTY_RANGES + 1; i++)
		many[i] = one;
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), many, DUNE_DIRTY_RANGES + 1), -E2BIG);
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), many, 0), -EINVAL);
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), NULL, 1), -EINVAL);
	assert_int_equal(dune_dirty_open(&d, (ptent_t *)0x1000, &one, 1), -EINVAL);
	one.len = 0;
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), &one, 1), -EINVAL);
	one.len = 100;
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), &one, 1), -EINVAL);
	one = (struct dune_dirty_range){ (void *)0x1000000000000, 4096 };
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), &one, 1), -EINVAL);
	one = (struct dune_dirty_range){ (void *)0x100000000000, 38 * GIB };
	assert_int_equal(dune_dirty_open(&d, dune_vm_root(), &one, 1), -E2BIG);
	assert_null(d);
	assert_int_equal(dune_dirty_collect(NULL, NULL), -EINVAL);
	assert_int_equal(dune_dirty_close(NULL), -EINVAL);
}

static struct dune_dirty *inside;

static int collect_again(void *arg, void *va, size_t len)
{
	(void)arg;
	(void)va;
	(void)len;
	assert_int_equal(dune_dirty_collect(inside, NULL), -EBUSY);
	assert_int_equal(dune_dirty_close(inside), -EBUSY);
	return 0;
}

static void busy(void **state)
{
	struct dune_dirty_range one = { at(0), 10 * 4096 };

	(void)state;
	assert_int_equal(dune_dirty_open(&inside, dune_vm_root(), &one, 1), 0);
	assert_int_equal(dune_dirty_collect_each(inside, NULL, NULL), -EINVAL);
	assert_int_equal(cpu_access(dune_vm_root(), (uint64_t)at(3), FEC_W), CPU_OK);
	assert_int_equal(dune_dirty_collect_each(inside, collect_again, NULL), 1);
	assert_int_equal(dune_dirty_collect(inside, NULL), 0);
	assert_int_equal(dune_dirty_close(inside), 0);
}

static void spaces(void **state)
{
	struct dune_dirty_range one = { at(0), 10 * 4096 };
	ptent_t *root = dune_vm_clone(dune_vm_root());
	struct dune_dirty *d, *other;

	(void)state;
	assert_non_null(root);
	assert_int_equal(dune_dirty_open(&d, root, &one, 1), 0);
	assert_int_equal(dune_dirty_open(&other, dune_vm_root(), &one, 1), 0);
	assert_int_equal(cpu_access(root, (uint64_t)at(3), FEC_W), CPU_OK);
	assert_int_equal(dune_dirty_collect(other, NULL), 0);
	assert_int_equal(dune_dirty_collect(d, NULL), 1);
	assert_int_equal(dune_vm_free(root), 0);
	assert_int_equal(dune_dirty_collect(d, NULL), -EPERM);
	assert_int_equal(dune_dirty_close(d), 0);
	assert_int_equal(dune_dirty_close(other), 0);
}

/* Memory runs out at each allocation: nothing is lost, nothing is kept. */
static void no_memory(void **state)
{
	struct dune_dirty_range far[2] = {
		{ (void *)(ZONE + 4 * GIB), 600 * 4096 }, { (void *)(ZONE + 8 * GIB), 8192 },
	};
	struct dune_dirty *d = NULL;
	unsigned int failed = 0;
	int ret;

	(void)state;
	do {
		uint32_t before = region_state()->used;

		__dune_page_credit = failed;
		ret = dune_dirty_open(&d, dune_vm_root(), far, 2);
		__dune_page_credit = -1;
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_null(region_state()->trackers);
			assert_true(region_state()->used <= before + 8);	/* tables stay */
			failed++;
		}
	} while (ret);
	assert_true(failed >= 5);
	assert_int_equal(cpu_access(dune_vm_root(), ZONE + 4 * GIB + 599 * 4096UL, FEC_W), CPU_OK);
	assert_int_equal(cpu_access(dune_vm_root(), ZONE + 8 * GIB, FEC_W), CPU_OK);
	/* Tables that two spaces share are to be copied. */
	assert_non_null(dune_vm_clone(dune_vm_root()));
	__dune_page_credit = 1;
	assert_int_equal(dune_dirty_collect(d, NULL), -ENOMEM);
	__dune_page_credit = -1;
	assert_int_equal(dune_dirty_collect(d, NULL), 2);
	assert_int_equal(dune_dirty_close(d), 0);
}

static int begin(void **state)
{
	(void)state;
	stub_begin();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(model),
		cmocka_unit_test(bad_ranges),
		cmocka_unit_test(busy),
		cmocka_unit_test(spaces),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
