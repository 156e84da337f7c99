// SPDX-License-Identifier: MIT
/* Page tables: each function by itself, what it refuses, and no memory at each allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs/dune-stubs.h"
#include "stubs/walker.h"

#define VA	0x7e0000000000UL	/* a GiB, in nobody's way */
#define P(n)	((void *)(VA + (n) * 4096UL))
#define GIB	(1UL << 30)
#define MIB2	(2UL << 20)
#define RWX	(PERM_R | PERM_W | PERM_X)

static struct page *page(void)
{
	struct page *pg = dune_page_alloc();

	assert_non_null(pg);
	return pg;
}

/* ---- permissions and sizes ---- */

static void first_touch(void **state)
{
	(void)state;
	assert_int_equal(cpu_access(dune_vm_root(), VA, 0), CPU_ABSENT);
	assert_int_equal(__dune_granule_map(VA), 0);
	assert_int_equal(cpu_access(dune_vm_root(), VA, 0), CPU_OK);
	assert_int_equal(cpu_size(dune_vm_root(), VA), GIB);
	assert_int_equal(cpu_pa(dune_vm_root(), VA + 5), dune_va_to_pa((void *)(VA + 5)));
}

static void protect(void **state)
{
	uint64_t pa = cpu_pa(dune_vm_root(), VA + 0x3000);

	(void)state;
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(3), 4096, PERM_R), 0);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x3000, 0), CPU_OK);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x3fff, FEC_W), CPU_DENIED);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x3000, FEC_I), CPU_DENIED);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x2fff, FEC_W), CPU_OK);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x4000, FEC_W), CPU_OK);
	assert_int_equal(cpu_pa(dune_vm_root(), VA + 0x3000), pa);
	assert_int_equal(cpu_size(dune_vm_root(), VA), 4096);
	assert_int_equal(cpu_size(dune_vm_root(), VA + MIB2), MIB2);
	/* Not for anybody, and back. */
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(3), 4096, PERM_NONE), 0);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x3000, 0), CPU_ABSENT);
	assert_int_equal(__dune_granule_map(VA + 0x3000), -EPERM);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(3), 4096, RWX | PERM_U), 0);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x3000, FEC_W), CPU_OK);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x3000, FEC_U), CPU_OK);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x4000, FEC_U), CPU_DENIED);
	assert_int_equal(cpu_pa(dune_vm_root(), VA + 0x3000), pa);
	/* Across tables; then 2 MiB and 1 GiB as they are. */
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(500), 100 * 4096, PERM_R | PERM_X), 0);
	for (int i = 490; i < 610; i++)
		assert_int_equal(cpu_access(dune_vm_root(), VA + i * 4096, FEC_W), i < 500 ||
				 i >= 600 ? CPU_OK : CPU_DENIED);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(2048), MIB2, PERM_R), 0);
	assert_int_equal(cpu_size(dune_vm_root(), VA + 4 * MIB2), MIB2);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 4 * MIB2, FEC_W), CPU_DENIED);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), (void *)(VA + GIB), GIB, PERM_R), 0);
	assert_int_equal(cpu_size(dune_vm_root(), VA + GIB), GIB);
	assert_int_equal(cpu_access(dune_vm_root(), VA + GIB, FEC_W), CPU_DENIED);
}

static void user_flags(void **state)
{
	ptent_t *e;

	(void)state;
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(7), 4096, PERM_R | PERM_USR1 | PERM_UC), 0);
	assert_int_equal(dune_vm_lookup(dune_vm_root(), P(7), CREATE_NONE, &e), 0);
	assert_int_equal(*e & (PTE_USR1 | PTE_USR2 | PTE_USR3 | PTE_PCD | PTE_COW), PTE_USR1 | PTE_PCD);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(7), 4096, PERM_R | PERM_W | PERM_COW | PERM_USR3), 0);
	assert_int_equal(*e & (PTE_USR1 | PTE_USR2 | PTE_USR3 | PTE_PCD | PTE_COW | PTE_W),
			 PTE_USR1 | PTE_USR2 | PTE_USR3 | PTE_COW);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(7), 4096, RWX), 0);
}

static void merge(void **state)
{
	(void)state;
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), (void *)VA, GIB, PERM_R), 0);
	assert_int_equal(cpu_size(dune_vm_root(), VA), 4096);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(9), 4096, RWX), 0);
	assert_int_equal(dune_vm_merge(dune_vm_root(), (void *)VA, GIB), 1);	/* the table of 500 to 600 */
	assert_int_equal(cpu_size(dune_vm_root(), VA), 4096);
	assert_int_equal(cpu_size(dune_vm_root(), VA + MIB2), MIB2);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(9), 4096, PERM_R), 0);
	assert_int_equal(dune_vm_merge(dune_vm_root(), (void *)VA, GIB), 2);
	assert_int_equal(cpu_size(dune_vm_root(), VA), GIB);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 0x9000, FEC_W), CPU_DENIED);
	assert_int_equal(cpu_pa(dune_vm_root(), VA + 0x9000), dune_va_to_pa((void *)(VA + 0x9000)));
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), (void *)VA, GIB, RWX), 0);
}

/* ---- mapping ---- */

static void map_pool_pages(void **state)
{
	struct page *pg = page();
	uint64_t va = VA + 2 * GIB;

	(void)state;
	assert_int_equal(dune_vm_insert_page(dune_vm_root(), (void *)va, pg, PERM_R | PERM_W), 0);
	assert_int_equal(pg->ref, 2);
	assert_ptr_equal(dune_vm_lookup_page(dune_vm_root(), (void *)(va + 17)), pg);
	assert_null(dune_vm_lookup_page(dune_vm_root(), (void *)(va + 4096)));
	assert_int_equal(cpu_pa(dune_vm_root(), va), dune_page2pa(pg));
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), (void *)(va + 8192), 4096, (void *)dune_page2pa(pg),
					  PERM_R), 0);
	assert_int_equal(pg->ref, 3);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, 4096), 0);
	assert_int_equal(pg->ref, 2);
	assert_int_equal(cpu_access(dune_vm_root(), va, 0), CPU_ABSENT);
	assert_int_equal(__dune_granule_map(va), -EINVAL);
	assert_int_equal(__dune_granule_map(va + 4096), 0);	/* the process's own, by first touch */
	assert_int_equal(cpu_pa(dune_vm_root(), va + 4096), dune_va_to_pa((void *)(va + 4096)));
	/* The same again drops nothing. */
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, 4096), 0);
	assert_int_equal(pg->ref, 2);
	dune_page_put(pg);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, GIB), 0);
	assert_int_equal(pg->ref, 0);
	assert_int_equal(__dune_granule_map(va + 5 * 4096), -EINVAL);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), (void *)va, 4096, PERM_R), -ENOENT);

	assert_int_equal(dune_vm_map_pages(dune_vm_root(), (void *)(va + 100 * 4096), 1000 * 4096, PERM_R | PERM_W), 0);
	pg = dune_vm_lookup_page(dune_vm_root(), (void *)(va + 1099 * 4096));
	assert_non_null(pg);
	assert_int_equal(pg->ref, 1);
	for (int i = 0; i < 1000; i++)
		assert_ptr_not_equal(dune_vm_lookup_page(dune_vm_root(), (void *)(va + (100 + i) * 4096)), NULL);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)(va + 100 * 4096), 1000 * 4096), 0);
	assert_int_equal(pg->ref, 0);
}

static void map_large(void **state)
{
	uint64_t va = VA + 3 * GIB;
	struct page *pg = page();

	(void)state;
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), (void *)va, GIB, (void *)GIB, PERM_R | PERM_BIG_1GB), 0);
	assert_int_equal(cpu_size(dune_vm_root(), va), GIB);
	assert_int_equal(cpu_pa(dune_vm_root(), va + 5), GIB + 5);
	assert_int_equal(dune_vm_insert_page(dune_vm_root(), (void *)(va + 4096), pg, PERM_R), 0);
	assert_int_equal(cpu_pa(dune_vm_root(), va + 8192), GIB + 8192);
	assert_int_equal(pg->ref, 2);
	/* A large page takes the place of a table. */
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), (void *)va, MIB2, (void *)(GIB + MIB2), PERM_R | PERM_BIG),
			 0);
	assert_int_equal(pg->ref, 1);
	assert_int_equal(cpu_size(dune_vm_root(), va), MIB2);
	assert_int_equal(cpu_pa(dune_vm_root(), va), GIB + MIB2);
	dune_page_free(pg);
}

static void lookup(void **state)
{
	uint64_t va = VA + 4 * GIB;
	ptent_t *e, *f;

	(void)state;
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)va, CREATE_NONE, &e), 0);
	assert_true(*e & PTE_PS);
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)(va + MIB2 + 1), CREATE_BIG, &f), 0);
	assert_true(*f & PTE_PS);
	assert_false(*e & PTE_PS);
	assert_int_equal(PTE_ADDR(*f), dune_va_to_pa((void *)(va + MIB2)));
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)(va + MIB2 + 1), CREATE_NORMAL, &e), 0);
	assert_false(*f & PTE_PS);
	assert_int_equal(PTE_ADDR(*e), dune_va_to_pa((void *)(va + MIB2)));
	/* A smaller one that is there. */
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)(va + MIB2 + 1), CREATE_BIG_1GB, &f), 0);
	assert_ptr_equal(e, f);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, GIB), 0);
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)va, CREATE_NONE, &e), -ENOENT);
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)va, CREATE_NORMAL, &e), 0);
	assert_int_equal(*e, 0);
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)va, 4, &e), -EINVAL);
	assert_int_equal(dune_vm_lookup(dune_vm_root(), (void *)va, CREATE_NORMAL, NULL), -EINVAL);
}

static uint64_t walked[16];
static int nr_walked;

static int note(const void *arg, ptent_t *e, void *va)
{
	assert_ptr_equal(arg, walked);
	assert_true(*e);
	if (nr_walked == 16)
		return 99;
	walked[nr_walked++] = (uint64_t)va;
	return 0;
}

static void page_walk(void **state)
{
	uint64_t va = VA + 4 * GIB;

	(void)state;
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), (void *)va, 8192, NULL, PERM_R), 0);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), (void *)(va + 4 * MIB2), MIB2, NULL, PERM_R | PERM_BIG), 0);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), (void *)(va + 300 * MIB2), 4096, NULL, PERM_NONE), 0);
	assert_int_equal(dune_vm_page_walk(dune_vm_root(), (void *)va, (void *)(va + GIB - 1), note, walked), 0);
	assert_int_equal(nr_walked, 4);
	assert_int_equal(walked[0], va);
	assert_int_equal(walked[1], va + 4096);
	assert_int_equal(walked[2], va + 4 * MIB2);
	assert_int_equal(walked[3], va + 300 * MIB2);
	nr_walked = 0;
	assert_int_equal(dune_vm_page_walk(dune_vm_root(), (void *)(va + 4096), (void *)(va + 4 * MIB2), note,
					   walked), 0);
	assert_int_equal(nr_walked, 2);
	nr_walked = 0;
	assert_int_equal(dune_vm_page_walk(dune_vm_root(), (void *)VA, VA_END, note, walked), 99);
	nr_walked = 0;
	assert_int_equal(dune_vm_page_walk(dune_vm_root(), P(1), (void *)VA, note, walked), -EINVAL);
	assert_int_equal(dune_vm_page_walk(dune_vm_root(), P(1), P(2), NULL, walked), -EINVAL);
}

/* ---- several address spaces ---- */

static void clone(void **state)
{
	uint64_t va = VA + 5 * GIB;
	struct page *pg;
	ptent_t *other, *third;

	(void)state;
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, GIB), 0);
	assert_int_equal(dune_vm_map_pages(dune_vm_root(), (void *)va, 600 * 4096, PERM_R | PERM_W), 0);
	pg = dune_vm_lookup_page(dune_vm_root(), (void *)va);
	other = dune_vm_clone(dune_vm_root());
	assert_non_null(other);
	assert_ptr_equal(dune_vm_lookup_page(other, (void *)va), pg);
	assert_int_equal(cpu_access(other, va, FEC_W), CPU_OK);
	/* A change in one is none in the other. */
	assert_int_equal(dune_vm_mprotect(other, (void *)va, 4096, PERM_R), 0);
	assert_int_equal(pg->ref, 2);
	assert_int_equal(cpu_access(other, va, FEC_W), CPU_DENIED);
	assert_int_equal(cpu_access(dune_vm_root(), va, FEC_W), CPU_OK);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, 300 * 4096), 0);
	assert_int_equal(cpu_access(dune_vm_root(), va, 0), CPU_ABSENT);
	assert_int_equal(cpu_access(other, va, 0), CPU_OK);
	assert_int_equal(pg->ref, 1);
	third = dune_vm_clone(other);
	assert_non_null(third);
	assert_int_equal(dune_vm_unmap(third, (void *)va, GIB), 0);
	assert_int_equal(pg->ref, 1);
	assert_int_equal(cpu_access(other, va, 0), CPU_OK);
	assert_int_equal(dune_vm_free(other), 0);
	assert_int_equal(pg->ref, 0);
	assert_int_equal(dune_vm_free(third), 0);
	assert_int_equal(dune_vm_free(third), -EINVAL);
	assert_int_equal(dune_vm_free(dune_vm_root()), -EINVAL);
	assert_int_equal(dune_vm_free(NULL), -EINVAL);
	assert_int_equal(dune_vm_unmap(dune_vm_root(), (void *)va, GIB), 0);
}

/* Nothing is left of address spaces that are gone. */
static void no_leak(void **state)
{
	unsigned int before = pages_in_use();

	(void)state;
	for (int i = 0; i < 100; i++) {
		ptent_t *a = dune_vm_clone(dune_vm_root()), *b;
		uint64_t va = VA + 6 * GIB + i * 12345 * 4096UL;

		assert_non_null(a);
		assert_int_equal(dune_vm_map_pages(a, (void *)va, 100 * 4096, PERM_R), 0);
		b = dune_vm_clone(a);
		assert_int_equal(dune_vm_mprotect(b, (void *)va, 10 * 4096, PERM_R | PERM_W), 0);
		assert_int_equal(dune_vm_free(a), 0);
		assert_int_equal(dune_vm_unmap(b, (void *)va, 50 * 4096), 0);
		assert_int_equal(dune_vm_free(b), 0);
	}
	assert_int_equal(pages_in_use(), before);
}

static void own_root(void **state)
{
	ptent_t *root = (ptent_t *)dune_page2pa(page());

	(void)state;
	assert_int_equal(dune_vm_mprotect(root, (void *)VA, 4096, PERM_R), -ENOENT);
	assert_int_equal(dune_vm_map_phys(root, (void *)VA, 4096, NULL, PERM_R), 0);
	assert_int_equal(cpu_access(root, VA, 0), CPU_OK);
	assert_int_equal(cpu_access(root, VA + 4096, 0), CPU_ABSENT);
	assert_int_equal(dune_vm_free(root), 0);
}

/* ---- dirty bits ---- */

#define NR	1000UL

static void dirty(void **state)
{
	uint64_t va = VA + 7 * GIB + 5 * 4096, bitmap[NR / 64 + 1];
	const unsigned int flags = DUNE_VM_DIRTY | DUNE_VM_CLEAR;

	(void)state;
	/* All memory is dirty at first; whole pages stay whole in a look without clearing. */
	assert_int_equal(__dune_granule_map(va), 0);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, DUNE_VM_DIRTY, bitmap), NR);
	assert_int_equal(cpu_size(dune_vm_root(), va), GIB);
	assert_int_equal(bitmap[NR / 64], (1UL << NR % 64) - 1);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, flags | DUNE_VM_SPLIT, NULL), NR);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, flags, bitmap), 0);
	assert_int_equal(cpu_access(dune_vm_root(), va - 4096, FEC_W), CPU_OK);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)(va - 4096), 4096, flags, bitmap), 1);
	for (unsigned int i = 0; i < NR; i += 7)
		cpu_access(dune_vm_root(), va + i * 4096, i % 2 ? FEC_W : 0);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, DUNE_VM_ACCESSED, bitmap), NR);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, DUNE_VM_DIRTY, bitmap), 71);
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(bitmap[i / 64] >> i % 64 & 1, i % 7 == 0 && i % 2);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, flags | DUNE_VM_ACCESSED, NULL), NR);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, NR * 4096, DUNE_VM_DIRTY | DUNE_VM_ACCESSED, NULL),
			 0);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, 4096, 0, NULL), -EINVAL);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, 4096, DUNE_VM_CLEAR, NULL), -EINVAL);
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)va, 4096, 0x11, NULL), -EINVAL);
	/* What was never touched is split too. */
	assert_int_equal(dune_vm_scan(dune_vm_root(), (void *)(va + 20 * GIB), 8192, flags | DUNE_VM_SPLIT, NULL), 2);
	assert_int_equal(cpu_size(dune_vm_root(), va + 20 * GIB), 4096);
	/* Very much of nothing. */
	assert_int_equal(dune_vm_scan(dune_vm_clone((ptent_t *)dune_page2pa(page())), (void *)0x600000000000, 1UL << 44,
				      flags, NULL), 0);
}

static int runs, run_pages;

static int count_run(void *arg, void *va, size_t len)
{
	(void)arg;
	(void)va;
	runs++;
	run_pages += len / 4096;
	return runs == 3 ? 7 : 0;
}

static void scan_each(void **state)
{
	uint64_t va = VA + 7 * GIB + MIB2 - 5 * 4096;

	(void)state;
	dune_vm_scan(dune_vm_root(), (void *)va, 200 * MIB2, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, NULL);
	for (int i = 3; i < 6; i++)
		cpu_access(dune_vm_root(), va + i * 4096, FEC_W);
	cpu_access(dune_vm_root(), va + 100 * MIB2, FEC_W);
	assert_int_equal(dune_vm_scan_each(dune_vm_root(), (void *)va, 200 * MIB2, DUNE_VM_DIRTY, count_run, NULL), 7);
	runs = run_pages = 0;
	cpu_access(dune_vm_root(), va + 100 * MIB2, 0);
	dune_vm_scan(dune_vm_root(), (void *)(va + 100 * MIB2), 4096, DUNE_VM_DIRTY | DUNE_VM_CLEAR, NULL);
	assert_int_equal(
		dune_vm_scan_each(dune_vm_root(), (void *)va, 200 * MIB2, DUNE_VM_DIRTY | DUNE_VM_CLEAR, count_run,
				  NULL), 3);
	assert_int_equal(runs, 2);		/* the edge of 2 MiB is between them */
	assert_int_equal(run_pages, 3);
	assert_int_equal(dune_vm_scan_each(dune_vm_root(), (void *)va, 4096, DUNE_VM_DIRTY, NULL, NULL), -EINVAL);
}

/* ---- granules that the kernel takes back ---- */

static void stale(void **state)
{
	uint64_t va = VA + 8 * GIB, gpa;
	ptent_t *clone;

	(void)state;
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), (void *)va, 4096, PERM_R), 0);
	clone = dune_vm_clone(dune_vm_root());
	assert_int_equal(dune_vm_mprotect(clone, (void *)(va + MIB2), 4096, PERM_R), 0);
	gpa = dune_va_to_pa((void *)va);
	assert_int_equal(cpu_pa(clone, va), gpa);
	/* An entry elsewhere leads there too. */
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(77), 4096, (void *)gpa, PERM_R), 0);
	stub_owners[gpa >> 30] = 0;
	__dune_granule_recheck();
	assert_int_equal(cpu_access(dune_vm_root(), va, 0), CPU_ABSENT);
	assert_int_equal(cpu_access(clone, va, 0), CPU_ABSENT);
	assert_int_equal(cpu_access(clone, va + MIB2, 0), CPU_ABSENT);
	assert_int_equal(cpu_access(dune_vm_root(), va + 300 * MIB2, 0), CPU_ABSENT);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 77 * 4096, 0), CPU_ABSENT);
	assert_int_equal(cpu_access(dune_vm_root(), VA + 78 * 4096, 0), CPU_OK);
	/* Another place this time. */
	stub_owners[gpa >> 30] = 123456;
	assert_int_equal(__dune_granule_map(va), 0);
	assert_int_equal(__dune_granule_map(va + 300 * MIB2), 0);
	assert_int_not_equal(dune_va_to_pa((void *)va), gpa);
	assert_int_equal(cpu_pa(dune_vm_root(), va), dune_va_to_pa((void *)va));
	assert_int_equal(cpu_pa(dune_vm_root(), va + 300 * MIB2), dune_va_to_pa((void *)(va + 300 * MIB2)));
	assert_int_equal(dune_vm_free(clone), 0);
}

/* ---- what is refused ---- */

static void bad_arguments(void **state)
{
	const struct { uint64_t va, len;
	} bad[] = {
		{ VA, 0 },
		{ VA + 1, 4096 },
		{ VA, 4095 },
		{ VA + 2048, 2048 },
		{ VA, -4096UL },
		{ -4096UL, 8192 },
		{ -4096UL, 4096 },
		{ 0x800000000000, 4096 },
		{ 0x7ffffffff000, 8192 },
		{ 0xffff800000000000, 4096 },
		{ 0, -4096UL },
		{ 0, 1UL << 47 },
		{ PAGEBASE, 4096 },
		{ PAGEBASE - 4096, 8192 },
		{ PAGEBASE + (MAX_PAGES << 12) - 4096, 4096 },
		{ __dune_process.region, 4096 },
		{ __dune_process.region - 4096, 8192 },
		{ __dune_process.region + GIB - 4096, 4096 },
	};
	struct page *pg = page(), *unused = page_by_index(region_state()->nr_pages - 1);
	unsigned int before = pages_in_use();
	uint64_t sum = cpu_checksum(dune_vm_root());

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		void *va = (void *)bad[i].va;
		uint64_t len = bad[i].len;

		assert_int_equal(dune_vm_mprotect(dune_vm_root(), va, len, PERM_R), -EINVAL);
		assert_int_equal(dune_vm_map_phys(dune_vm_root(), va, len, NULL, PERM_R), -EINVAL);
		assert_int_equal(dune_vm_map_pages(dune_vm_root(), va, len, PERM_R), -EINVAL);
		assert_int_equal(dune_vm_unmap(dune_vm_root(), va, len), -EINVAL);
		assert_int_equal(dune_vm_merge(dune_vm_root(), va, len), -EINVAL);
		assert_int_equal(dune_vm_scan(dune_vm_root(), va, len, DUNE_VM_DIRTY | DUNE_VM_CLEAR, NULL), -EINVAL);
		assert_int_equal(dune_vm_scan_each(dune_vm_root(), va, len, DUNE_VM_DIRTY, count_run, NULL), -EINVAL);
	}
	for (unsigned int i = 0; i < 6; i++) {
		ptent_t *roots[] = { NULL, (ptent_t *)VA, dune_vm_root() + 1, (ptent_t *)dune_page2pa(unused),
				     (ptent_t *)(dune_page2pa(pg) + 8), (ptent_t *)-4096UL }, *e;

		assert_int_equal(dune_vm_mprotect(roots[i], P(1), 4096, PERM_R), -EINVAL);
		assert_int_equal(dune_vm_map_phys(roots[i], P(1), 4096, NULL, PERM_R), -EINVAL);
		assert_int_equal(dune_vm_map_pages(roots[i], P(1), 4096, PERM_R), -EINVAL);
		assert_int_equal(dune_vm_unmap(roots[i], P(1), 4096), -EINVAL);
		assert_int_equal(dune_vm_lookup(roots[i], P(1), CREATE_NONE, &e), -EINVAL);
		assert_null(dune_vm_lookup_page(roots[i], P(1)));
		assert_int_equal(dune_vm_scan(roots[i], P(1), 4096, DUNE_VM_DIRTY, NULL), -EINVAL);
		assert_null(dune_vm_clone(roots[i]));
		assert_int_equal(dune_vm_free(roots[i]), -EINVAL);
		assert_int_equal(dune_vm_page_walk(roots[i], P(1), P(2), note, walked), -EINVAL);
	}
	assert_int_equal(dune_vm_switch(dune_vm_root()), -EPERM);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(1), 4096, PERM_W), -EINVAL);
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(1), 4096, 0x40), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(1), 4096, (void *)1, PERM_R), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(1), 4096, (void *)(STUB_GRANULES * GIB), PERM_R), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(1), 4096, (void *)-4096UL, PERM_R), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(1), MIB2, (void *)MIB2, PERM_R | PERM_BIG), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(0), MIB2, (void *)4096, PERM_R | PERM_BIG), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(0), MIB2, (void *)GIB, PERM_R | PERM_BIG_1GB), -EINVAL);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(1), 4096, (void *)dune_page2pa(unused), PERM_R), -EEXIST);
	assert_int_equal(dune_vm_map_phys(dune_vm_root(), P(0), MIB2, (void *)PAGEBASE, PERM_R | PERM_BIG), -EINVAL);
	assert_int_equal(dune_vm_map_pages(dune_vm_root(), P(0), 4096, PERM_R | PERM_BIG), -EINVAL);
	assert_int_equal(dune_vm_insert_page(dune_vm_root(), P(0), NULL, PERM_R), -EINVAL);
	assert_int_equal(dune_vm_insert_page(dune_vm_root(), P(0), page_by_index(region_state()->nr_pages),
					     PERM_R), -EINVAL);
	assert_int_equal(dune_vm_insert_page(dune_vm_root(), P(0), unused, PERM_R), -EEXIST);
	assert_int_equal(cpu_checksum(dune_vm_root()), sum);
	assert_int_equal(pages_in_use(), before);
	/* With threads in Dune mode there would be TLBs to flush. */
	region_state()->nr_threads = 1;
	assert_int_equal(dune_vm_mprotect(dune_vm_root(), P(1), 4096, PERM_R), -EPERM);
	region_state()->nr_threads = 0;
	dune_page_free(pg);
}

static void no_memory(void **state)
{
	uint64_t va = VA + 9 * GIB;
	int ret = 0, n;

	(void)state;
	assert_int_equal(__dune_granule_map(va), 0);
	for (int what = 0; what < 7; what++) {
		uint64_t at = va + what * 16 * MIB2 + MIB2 - 4096;
		void *p = (void *)at;
		ptent_t *root = dune_vm_clone(dune_vm_root()), *e;

		for (n = 0; ; n++) {
			uint64_t before = cpu_checksum(root), before_first = cpu_checksum(dune_vm_root());

			__dune_page_credit = n;
			switch (what) {
			case 0:
				ret = dune_vm_mprotect(root, p, 8192, PERM_R);
				break;
			case 1:
				ret = dune_vm_map_phys(root, p, 8192, NULL, PERM_R);
				break;
			case 2:
				ret = dune_vm_map_pages(root, p, 8192, PERM_R);
				break;
			case 3:
				ret = dune_vm_unmap(root, p, 8192);
				break;
			case 4:
				ret = dune_vm_scan(root, p, 8192, DUNE_VM_DIRTY | DUNE_VM_CLEAR, NULL);
				break;
			case 5:
				ret = dune_vm_lookup(root, p, CREATE_NORMAL, &e);
				break;
			case 6:
				e = dune_vm_clone(root);
				ret = e ? dune_vm_free(e) : -ENOMEM;
				break;
			}
			__dune_page_credit = -1;
			if (ret >= 0)
				break;
			assert_int_equal(ret, -ENOMEM);
			assert_int_equal(cpu_checksum(root), before);
			assert_int_equal(cpu_checksum(dune_vm_root()), before_first);
		}
		assert_true(n > 0);
		assert_int_equal(dune_vm_free(root), 0);
	}
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
		cmocka_unit_test(first_touch), cmocka_unit_test(protect), cmocka_unit_test(user_flags),
		cmocka_unit_test(merge), cmocka_unit_test(map_pool_pages), cmocka_unit_test(map_large),
		cmocka_unit_test(lookup), cmocka_unit_test(page_walk), cmocka_unit_test(clone),
		cmocka_unit_test(no_leak), cmocka_unit_test(own_root), cmocka_unit_test(dirty),
		cmocka_unit_test(scan_each), cmocka_unit_test(stale), cmocka_unit_test(bad_arguments),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
