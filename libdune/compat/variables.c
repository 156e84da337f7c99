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

static void pool_grown(void)
{
	dune_compat_pages = __dune_process.pages;
	__atomic_store_n(&dune_compat_num_pages, __dune_process.nr_pages, __ATOMIC_RELEASE);
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
