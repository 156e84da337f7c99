// SPDX-License-Identifier: MIT
/*
 * The guest's page table: the root and, for each of its slots, one
 * page-directory-pointer table at a place of its own.  So nothing is ever allocated.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include <linux/mman.h>

#include "memory/memory.h"

static uint64_t *root(void)
{
	return (uint64_t *)(__dune_process.region + REGION_ROOT);
}

static unsigned long pdpt_offset(uint64_t va)
{
	return REGION_PDPT + (unsigned long)root_slot(va) * PAGE_SIZE;
}

static uint64_t *pdpt(uint64_t va)
{
	return (uint64_t *)(__dune_process.region + pdpt_offset(va));
}

void __dune_pdpt_link(uint64_t va)
{
	__atomic_store_n(&root()[root_slot(va)], table_entry(__dune_process.region_gpa + pdpt_offset(va)),
			 __ATOMIC_RELEASE);
}

/* Entries first: the CPU never sees a root slot whose table is not writable memory. */
void __dune_granule_set(uint64_t va, uint64_t gpa)
{
	uint64_t absent = 0;

	__atomic_compare_exchange_n(&pdpt(va)[pdpt_slot(va)], &absent, granule_entry(gpa), false,
				    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	if (!(root()[root_slot(va)] & PTE_P))
		__dune_pdpt_link(va);
}

/* ---- granules that have nothing behind them any more ---- */

/*
 * The engine may use such a granule again, for other addresses, when all entries that lead to it are gone.
 *
 * Where such an entry is used first, by a program that has mapped something at the old address
 * again, nothing is behind it: the access fails, and __dune_granule_recheck() drops it.
 */
/* HR3: have what the engine looks at. */
long __dune_look_host(void)
{
	long ret = __dune_region_complete();

	return ret ? ret : __dune_engine_look(__dune_process.region + REGION_LOOK);
}

int __dune_granules_look(void)
{
	if (__dune_engine_looks())
		return 0;
	return dune_in_guest() ? __dune_process.gate(PRIVATE_LOOK, 0, 0, 0) : __dune_look_host();
}

static bool is_stale(ptent_t v)
{
	uint64_t gpa = v & PTE_ADDRESS;

	return gpa >> GRANULE_SHIFT < __dune_process.nr_granules && !__dune_engine_granule_owner(gpa);
}

/*
 * In the table @t of @level, have a first touch map again what has become stale.  Returns whether there is
 * nothing else in it.  Where that is shared, it is right for all who share it.
 */
static bool drop_from_table(struct space *s, ptent_t *t, int level)
{
	bool empty = true;

	for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
		ptent_t v = READ_ONCE(t[i]), fill = level == LEVEL_PDPT ? 0 : PTE_FILL;

		if (is_table(v, level)) {
			/* Only where TLBs are flushed before the table is used for something else. */
			if (!drop_from_table(s, table_of(v), level - 1) || !dune_in_guest() ||
			    !page_of_pool(v & PTE_ADDRESS) || page_of(v)->ref != 1) {
				empty = false;
				continue;
			}
			__atomic_store_n(&t[i], fill, __ATOMIC_RELEASE);
			__dune_walk_drop(s, v, level);
		} else if (is_mapped(v) && is_stale(v)) {
			__atomic_store_n(&t[i], fill, __ATOMIC_RELEASE);
		} else if (v != fill) {
			empty = false;
		}
	}
	return empty;
}

static void drop_from_root(struct space *s, ptent_t *t)
{
	for (unsigned int slot = 0; slot < USER_ROOT_SLOTS; slot++)
		if (READ_ONCE(t[slot]) & PTE_P)
			drop_from_table(s, table_of(t[slot]), LEVEL_PDPT);
}

static int drop_stale(void)
{
	struct space s = { .flush_all = true };

	if (__dune_granules_look())
		return -ENOMEM;
	drop_from_root(&s, root());
	for (uint64_t i = 0; i < region_state()->nr_pages; i++)
		if (page_by_index(i)->ref && is_root_page(page_by_index(i)))
			drop_from_root(&s, (ptent_t *)page_address(page_by_index(i)));
	/* In HR3 no CPU can have loaded it again. */
	__dune_engine_flush_all();
	s.flush_all = false;
	__dune_space_close(&s, 0, 0);
	return 0;
}

/*
 * With the lock held: where the process has what is mapped at @va by guest-physical @gpa.  @va: an entry whose granule
 * the kernel has taken back leads there again at the next touch.  0: it cannot be told.
 */
uint64_t __dune_process_address(uint64_t gpa, uint64_t va)
{
	uint64_t offset = gpa & (GRANULE_SIZE - 1);
	uint32_t owner;
	long at;

	if (page_of_pool(gpa))
		return gpa;
	if (gpa >> GRANULE_SHIFT >= __dune_process.nr_granules)
		return 0;
	/* A filter of the program's might forbid what it takes to look. */
	if (region_state()->filtered && !__dune_engine_looks()) {
		at = __dune_granule_get(va);
		return is_error(at) || (uint64_t)at + (va & (GRANULE_SIZE - 1)) == gpa ? va : 0;
	}
	if (__dune_granules_look())
		return 0;
	owner = __dune_engine_granule_owner(gpa);
	return owner ? (owner - 1UL) << GRANULE_SHIFT | offset : va;
}

long __dune_granule_get(uint64_t va)
{
	return __dune_engine_granule(va, drop_stale);
}

/* HR3: an access has met no granule.  Drop the entry that leads there if it has become stale. */
void __dune_granule_recheck(void)
{
	uint64_t state = memory_lock();

	drop_stale();
	memory_unlock(state);
}

/* ---- adding granules ---- */

/*
 * Make the granule of @va reachable, in the current address space.  -EFAULT: nothing is mapped at @va; what the page
 * table has there is the program's: -EINVAL a hole, -EPERM a page with PERM_NONE.
 */
long __dune_granule_map(uint64_t va)
{
	uint64_t state;
	struct space s;
	long ret;

	if (!user_address(va))
		return -EFAULT;
	state = memory_lock();
	s.root = __dune_current_root();
	s.full = s.root == root() ? __dune_process.full :
		 page_of_pool((uint64_t)s.root) && page_of((uint64_t)s.root)->next == PAGE_FULL;
	ret = __dune_walk_fill(&s, va);
	memory_unlock(state);
	return ret == -EACCES ? -EINVAL : ret;
}

/* The same for every granule from @first to @last that has something mapped. */
long __dune_granules_map(uint64_t first, uint64_t last)
{
	uint64_t va = first;
	long ret;

	for (;;) {
		ret = __dune_granule_map(va);
		if (ret && ret != -EFAULT)
			return ret;
		if (va >> PDPT_SHIFT == last >> PDPT_SHIFT)
			break;
		va = (va >> PDPT_SHIFT) + 1 << PDPT_SHIFT;
		if (va >> PDPT_SHIFT == last >> PDPT_SHIFT)
			va = last;
	}
	return 0;
}

PUBLIC long dune_get_granule(const void *va)
{
	uint64_t state = memory_lock();
	long ret = __dune_granule_get((uint64_t)va);

	memory_unlock(state);
	return ret;
}

PUBLIC uintptr_t dune_phys_limit(void)
{
	return __dune_process.nr_granules << GRANULE_SHIFT;
}

PUBLIC uintptr_t dune_va_to_pa(const void *va)
{
	long gpa = dune_get_granule(va);

	if (is_error(gpa))
		return 0;
	return gpa + ((uintptr_t)va & (GRANULE_SIZE - 1));
}
