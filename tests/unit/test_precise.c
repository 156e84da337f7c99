// SPDX-License-Identifier: MIT
/*
 * Address spaces that have what the process has: against a memory map that changes at random, with the
 * program's own changes in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs/dune-stubs.h"
#include "stubs/walker.h"

#define GIB	(1UL << 30)
#define MIB2	(2UL << 20)
#define BASE	0x7e0000000000UL
#define LARGE	0x300000000000UL

static void set_map(const struct dune_procmap_entry *map, unsigned int size)
{
	stub_map = map;
	stub_map_size = size;
}

/* ---- one thing after the other ---- */

static void begin(void **state)
{
	static const struct dune_procmap_entry map[] = {
		{ .begin = LARGE, .end = LARGE + (1UL << 45), .w = true, .r = true },
		{ .begin = BASE, .end = BASE + 0x3000, .r = true, .x = true },
		{ .begin = BASE + 0x3000, .end = BASE + 0x5000, .r = true, .w = true },
		{ .begin = BASE + 0x5000, .end = BASE + 0x6000 },
		{ .begin = BASE + 2 * MIB2, .end = BASE + 4 * MIB2, .r = true },
		{ .begin = BASE + GIB - 0x1000, .end = BASE + 3 * GIB, .w = true, .r = true },
	};

	(void)state;
	set_map(map, ARRAY_SIZE(map));
	assert_int_equal(__dune_precise_begin(), 0);
	assert_true(__dune_process.precise);
	for (uint64_t va = BASE; va < BASE + 0x8000; va += 0x1000) {
		assert_int_equal(cpu_allows(dune_vm_root(), va, 0), va < BASE + 0x5000);
		assert_int_equal(cpu_allows(dune_vm_root(), va, FEC_I), va < BASE + 0x3000);
		assert_int_equal(cpu_allows(dune_vm_root(), va, FEC_W), va >= BASE + 0x3000 && va < BASE + 0x5000);
	}
	assert_int_equal(cpu_pa(dune_vm_root(), BASE + 0x4567), dune_va_to_pa((void *)(BASE + 0x4567)));
	assert_int_equal(cpu_size(dune_vm_root(), BASE), 4096);
	assert_int_equal(cpu_size(dune_vm_root(), BASE + 3 * MIB2), MIB2);
	assert_int_equal(cpu_pa(dune_vm_root(), BASE + 3 * MIB2), dune_va_to_pa((void *)(BASE + 3 * MIB2)));
	assert_int_equal(cpu_size(dune_vm_root(), BASE + GIB - 1), 4096);
	assert_int_equal(cpu_size(dune_vm_root(), BASE + 2 * GIB), GIB);
	assert_int_equal(cpu_size(dune_vm_root(), LARGE), 0);	/* too long */
	assert_int_equal(__dune_granule_map(LARGE + 5 * GIB), 0);
	assert_int_equal(cpu_size(dune_vm_root(), LARGE + 5 * GIB), GIB);
	assert_int_equal(cpu_size(dune_vm_root(), LARGE + 4 * GIB), 0);
	assert_int_equal(__dune_granule_map(BASE + 0x5000), -EFAULT);
	assert_int_equal(__dune_granule_map(BASE + 0x6000), -EFAULT);
}

/* Without a memory map a touch maps its page, and what asks for the whole says why it cannot. */
static void no_map(void **state)
{
	(void)state;
	stub_map_error = -EMFILE;
	assert_int_equal(__dune_granule_map(BASE + 0x7000), 0);
	assert_true(cpu_allows(dune_vm_root(), BASE + 0x7000, FEC_W));
	assert_true(cpu_allows(dune_vm_root(), BASE + 0x7000, FEC_I));
	assert_false(cpu_allows(dune_vm_root(), BASE + 0x8000, 0));
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)BASE, GIB, DUNE_VM_DIRTY, NULL), -EMFILE);
	stub_map_error = 0;
	__dune_precise_changed(BASE + 0x7000, 1, 0);
	assert_false(cpu_allows(dune_vm_root(), BASE + 0x7000, 0));
}

/* Nothing is asked for where nothing can be missing. */
static void quick_scan(void **state)
{
	unsigned int reads;

	(void)state;
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)(BASE + 2 * MIB2), MIB2, DUNE_VM_DIRTY, NULL), 512);
	reads = stub_map_reads;
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)(BASE + 2 * MIB2), MIB2, DUNE_VM_DIRTY, NULL), 512);
	assert_int_equal(stub_map_reads, reads);
}

/* No memory for a table at each place: nothing is wrong, and the next time it works. */
static void no_memory(void **state)
{
	static const struct dune_procmap_entry map[] = {
		{ .begin = BASE + 100 * GIB + 0x1000, .end = BASE + 100 * GIB + 0x2000, .r = true, .w = true },
	};

	(void)state;
	set_map(map, ARRAY_SIZE(map));
	for (long credit = 0; credit < 2; credit++) {
		__dune_page_credit = credit;
		assert_int_equal(__dune_granule_map(BASE + 100 * GIB + 0x1000), -ENOMEM);
		assert_false(cpu_allows(dune_vm_root(), BASE + 100 * GIB + 0x1000, 0));
	}
	__dune_page_credit = -1;
	assert_int_equal(__dune_granule_map(BASE + 100 * GIB + 0x1000), 0);
	assert_true(cpu_allows(dune_vm_root(), BASE + 100 * GIB + 0x1000, FEC_W));
	assert_false(cpu_allows(dune_vm_root(), BASE + 100 * GIB, 0));
}

/* ---- at random ---- */

#define NR_PAGES	2048	/* round a border of granules */
#define FIRST		(BASE + 200 * GIB - NR_PAGES / 2 * 4096UL)
#define STEPS		20000

enum who { PROCESS, PROGRAM, HOLE };	/* whose the entry is */

static struct model {
	bool there, w, x;	/* what the process has */
	enum who who;
	bool user_w;		/* what the program has allowed */
} model[NR_PAGES];

static struct dune_procmap_entry random_map[NR_PAGES];

static uint64_t random_number(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static void make_map(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NR_PAGES; i++) {
		const struct model *m = &model[i];
		uint64_t va = FIRST + i * 4096UL;

		if (!m->there)
			continue;
		if (n && random_map[n - 1].end == va && random_map[n - 1].w == m->w && random_map[n - 1].x == m->x)
			random_map[n - 1].end += 4096;
		else
			random_map[n++] = (struct dune_procmap_entry){
				.begin = va, .end = va + 4096, .r = true, .w = m->w, .x = m->x
			};
	}
	set_map(random_map, n);
}

/* What the CPU and the fault handler make of an access: 1 done, 0 the program's fault. */
static int access_by(ptent_t *root, uint64_t va, unsigned int kind)
{
	for (int tries = 0; tries < 4; tries++) {
		int ret = cpu_access(root, va, kind);

		if (ret == CPU_OK)
			return 1;
		if (ret == CPU_ABSENT ? __dune_granule_map(va) : __dune_precise_refresh(va, kind | FEC_P))
			return 0;
	}
	fail_msg("no end of faults at %#lx", va);
	return 0;
}

static void check_access(unsigned int i, unsigned int kind)
{
	const struct model *m = &model[i];
	uint64_t va = FIRST + i * 4096UL;
	bool allowed = m->there && (!(kind & FEC_W) || m->w) && (!(kind & FEC_I) || m->x);
	int done = access_by(dune_vm_root(), va, kind);

	if (m->who == HOLE)
		allowed = false;
	else if (m->who == PROGRAM)
		allowed = !(kind & FEC_I) && (!(kind & FEC_W) || m->user_w);
	/* More than the process has is the module's to refuse. */
	if (m->who == PROCESS && !allowed)
		return;
	assert_int_equal(done, allowed);
	if (done)
		assert_int_equal(cpu_pa(dune_vm_root(), va), dune_va_to_pa((void *)va));
}

static int nothing_else(const void *arg, ptent_t *e, void *va)
{
	uint64_t from = (uint64_t)va, end = from + cpu_size(dune_vm_root(), from);

	(void)arg;
	(void)e;
	for (; from < end; from += 4096) {
		const struct model *m = &model[(from - FIRST) / 4096];

		assert_true(from >= FIRST && from < FIRST + NR_PAGES * 4096UL);
		assert_true(m->who == PROGRAM || (m->who == PROCESS && m->there));
	}
	return 0;
}

static void step(void)
{
	unsigned int first = random_number() % NR_PAGES, n = 1 + random_number() % (random_number() % 8 ? 20 : 900);
	bool w = random_number() % 2, x = random_number() % 2;
	unsigned int what = random_number() % 16;
	void *va = (void *)(FIRST + first * 4096UL);

	if (first + n > NR_PAGES)
		n = NR_PAGES - first;
	if (what < 3) {			/* mmap, munmap, as libdune sees them */
		for (unsigned int i = first; i < first + n; i++) {
			model[i].there = what;
			model[i].w = w;
			model[i].x = x;
		}
		make_map();
		__dune_precise_changed((uint64_t)va, n * 4096UL, 0);
	} else if (what == 3) {		/* the same, without its knowledge */
		for (unsigned int i = first; i < first + n; i++) {
			if (!model[i].there)
				continue;
			model[i].w |= w;
			model[i].x |= x;
		}
		make_map();
	} else if (what == 4) {		/* mprotect */
		bool all = true;

		for (unsigned int i = first; i < first + n; i++)
			all &= model[i].there;
		if (!all)
			return;
		for (unsigned int i = first; i < first + n; i++) {
			model[i].w = w;
			model[i].x = x;
		}
		make_map();
		__dune_precise_changed((uint64_t)va, n * 4096UL, 1 | w << 1 | x << 2);
	} else if (what == 5 && n < 20) {	/* the program */
		bool all = true;

		for (unsigned int i = first; i < first + n; i++)
			all &= model[i].who == PROCESS ? model[i].there : model[i].who == PROGRAM;
		assert_int_equal(dune_vm_mprotect(dune_vm_root(), va, n * 4096UL, PERM_R | (w ? PERM_W : 0)),
				 all ? 0 : -ENOENT);
		for (unsigned int i = first; all && i < first + n; i++) {
			model[i].who = PROGRAM;
			model[i].user_w = w;
		}
	} else if (what == 6 && n < 20) {
		assert_int_equal(dune_vm_unmap(dune_vm_root(), va, n * 4096UL), 0);
		for (unsigned int i = first; i < first + n; i++)
			model[i].who = HOLE;
	} else if (what == 7) {
		assert_int_equal(dune_vm_page_walk(dune_vm_root(), (void *)FIRST,
						   (void *)(FIRST + NR_PAGES * 4096UL - 1),
						   nothing_else, NULL), 0);
	} else if (what == 8) {
		uint64_t there = 0;

		for (unsigned int i = first; i < first + n; i++)
			there += model[i].who == PROGRAM || (model[i].who == PROCESS && model[i].there);
		/* At first all is dirty, and nothing has cleared it. */
		assert_true(dune_vm_scan(dune_vm_root(), va, n * 4096UL, DUNE_VM_DIRTY, NULL) == (long)there);
	} else if (what == 9) {
		assert_true(dune_vm_merge(dune_vm_root(), (void *)FIRST, NR_PAGES * 4096UL) >= 0);
	} else {
		check_access(first, w ? FEC_W : x ? FEC_I : 0);
	}
}

static void at_random(void **state)
{
	(void)state;
	make_map();
	for (unsigned int i = 0; i < STEPS; i++)
		step();
}

/* What a clone shares is right in both. */
static void clones(void **state)
{
	uint64_t va = BASE + 300 * GIB + 5 * 4096;
	struct dune_procmap_entry map = { .begin = va, .end = va + 4096, .r = true, .w = true };
	ptent_t *clone;

	(void)state;
	set_map(&map, 1);
	assert_int_equal(__dune_granule_map(va), 0);
	clone = dune_vm_clone(dune_vm_root());
	assert_non_null(clone);
	map.begin -= 4096;
	assert_int_equal(__dune_granule_map(va - 4096), 0);
	assert_true(cpu_allows(clone, va, FEC_W));
	__dune_precise_changed(va, 4096, 0);
	map.end -= 4096;
	assert_false(cpu_allows(clone, va, 0));
	assert_false(cpu_allows(dune_vm_root(), va, 0));
	assert_int_equal(dune_vm_scan(clone, (void *)(va - 4096), 8192, DUNE_VM_DIRTY, NULL), 1);
	assert_true(cpu_allows(clone, va - 4096, FEC_W));
	assert_int_equal(dune_vm_free(clone), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begin),
		cmocka_unit_test(no_map),
		cmocka_unit_test(quick_scan),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(at_random),
		cmocka_unit_test(clones),
	};

	stub_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
