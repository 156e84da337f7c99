// SPDX-License-Identifier: MIT
/*
 * The variables of the first libdune, for programs that read them.  Libdune itself never does: they are data of the
 * program's, which may lie in it (a copy relocation), be written by it, or be a copy in another address space.
 *
 * HR3 and GR0.
 */
#include "compat/compat.h"

PUBLIC ptent_t *dune_compat_pgroot;
PUBLIC uintptr_t dune_compat_phys_limit, dune_compat_mmap_base, dune_compat_stack_base;
PUBLIC struct page *dune_compat_pages;
PUBLIC int dune_compat_num_pages;

/*
 * With the lock of the page tables held nothing may fault: a copy that is not made yet goes without, and so does one in
 * another address space.
 */
static bool may_write(const void *at)
{
	int level;

	return !dune_in_guest() || READ_ONCE(*walk_find(__dune_current_root(), (uint64_t)at, &level)) & PTE_W;
}

static void pool_grown(void)
{
	if (!may_write(&dune_compat_pages) || !may_write(&dune_compat_num_pages))
		return;
	dune_compat_pages = region_state()->nr_pages ? page_by_index(0) : NULL;
	__atomic_store_n(&dune_compat_num_pages, region_state()->nr_pages, __ATOMIC_RELEASE);
}

void __dune_compat_publish(uint64_t area, uint64_t stack)
{
	uint64_t lock = memory_lock();

	dune_compat_pgroot = __dune_process.root;
	dune_compat_phys_limit = dune_phys_limit();
	dune_compat_mmap_base = area;
	dune_compat_stack_base = stack;
	__dune_pool_grown = pool_grown;
	pool_grown();
	memory_unlock(lock);
}
