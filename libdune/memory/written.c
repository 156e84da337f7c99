// SPDX-License-Identifier: MIT
/*
 * Which pages of a program in ring 3 were written since an epoch began, by the dirty bits of the guest's page table.
 *
 * The program's memory is mapped by entries of 1 GiB.  A larger entry that is dirty is split when an epoch begins, by
 * one level: so tables are only where something is written, and after two epochs bits are of pages of 4 KiB.  Whatever
 * cannot be told, as where there is no memory for a table, counts as written.
 *
 * Tables are in the pool, which ring 3 cannot reach; but system calls can, of which this knows nothing: so it is not
 * for a checked program.  HR3.
 */
#include "memory/written.h"

bool __dune_written_on;

#define WRITTEN		(PTE_D | PTE_LATE)

/* With the lock held.  A page that is marked in this very moment has PTE_LATE afterwards, so it counts all the same. */
static void clear_entry(ptent_t *e)
{
	__atomic_fetch_and(e, READ_ONCE(*e) & PTE_LATE ? ~PTE_LATE : ~(ptent_t)PTE_D, __ATOMIC_SEQ_CST);
}

static void clear_entries(ptent_t *table)
{
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		if (READ_ONCE(table[i]) & WRITTEN && is_mapped(table[i]))
			clear_entry(&table[i]);
}

/* The table @t of @level, whose first entry is for @va.  libdune's own memory is without PTE_U, and left alone. */
static void clear_table(struct space *s, ptent_t *t, int level, uint64_t va)
{
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++, va += level_size(level)) {
		ptent_t v = READ_ONCE(t[i]), *below;

		if (is_table(v, level) && level == LEVEL_PD)
			clear_entries(table_of(v));
		else if (is_table(v, level))
			clear_table(s, table_of(v), level - 1, va);
		else if ((v & (PTE_P | PTE_U)) == (PTE_P | PTE_U) && v & WRITTEN &&
			 !__dune_walk_reach(s, va, level - 1, &below))
			clear_entries(table_of(t[i]));
	}
}

/* With the lock held.  The program may have had something where the pool is now. */
static int begin(void)
{
	int ret = __dune_pool_ready();

	for (uint64_t va = PAGEBASE; !ret && va < PAGEBASE + POOL_SIZE; va += GRANULE_SIZE) {
		int level;
		ptent_t *e = walk_find(__dune_process.root, va, &level);

		if (level != LEVEL_PDPT)
			return -EBUSY;
		__atomic_fetch_and(e, ~(ptent_t)PTE_U, __ATOMIC_SEQ_CST);
	}
	return ret;
}

void __dune_written_clear(void)
{
	struct space s = { .root = __dune_process.root, .full = true };
	uint64_t state = memory_lock();
	int ret = __dune_written_on ? 0 : begin();

	if (!ret) {
		tracking_begin();
		__atomic_store_n(&__dune_written_on, true, __ATOMIC_SEQ_CST);
		for (unsigned int i = 0; i < USER_ROOT_SLOTS; i++)
			if (is_table(s.root[i], LEVEL_ROOT))
				clear_table(&s, table_of(s.root[i]), LEVEL_PDPT, (uint64_t)i << ROOT_SHIFT);
	}
	memory_unlock(state);
	__dune_engine_flush_host();
}

void __dune_written_read(uint64_t va, unsigned int n, uint8_t *pages)
{
	uint64_t state = memory_lock();

	while (n) {
		int level;
		ptent_t *e = walk_find(__dune_process.root, va, &level);
		uint64_t some = (level_size(level) - (va & (level_size(level) - 1))) >> PGSHIFT;

		if (level == LEVEL_PT)
			some = TABLE_ENTRIES - PDX(LEVEL_PT, va);
		if (some > n)
			some = n;
		va += some << PGSHIFT;
		n -= some;
		for (; some; some--, pages++) {
			ptent_t v = level < LEVEL_ROOT ? READ_ONCE(*e) : 0;

			*pages = !(v & PTE_P) ? 2 : v & WRITTEN ? 3 : 1;
			e += level == LEVEL_PT;
		}
	}
	memory_unlock(state);
}

void __dune_written_forked(void)
{
	__dune_written_on = false;
}
