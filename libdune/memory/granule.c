// SPDX-License-Identifier: MIT
/*
 * The guest's page table: the root and, for each of its slots, one
 * page-directory-pointer table at a place of its own.  So nothing is ever allocated.
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

/* ---- granules that the kernel takes back ---- */

/*
 * When no granule is left, the kernel takes back those whose memory is all unmapped, and says
 * -EAGAIN: the page table may still have them under the old address.  It hands them out again
 * only on the next request, so all requests, and the entries made of their results, are
 * under one lock.  The child of a fork tells the kernel how often that was, and gets -EAGAIN, once, if its parent
 * has had it again before the child had a file of its own.
 *
 * Where such an entry is used first, by a program that has mapped something at the old address
 * again, nothing is behind it: the access fails, and __dune_granule_recheck() drops it.
 */
/* HR3: map the kernel's table of what granule of the process each guest-physical one stands for, plus 1. */
long __dune_map_owners(void)
{
	long ret = __dune_region_complete();

	if (ret)
		return ret;
	ret = dune_syscall6(__NR_mmap, __dune_process.region + REGION_GRANULES,
			    __dune_process.nr_granules * sizeof(uint32_t), PROT_READ,
			    MAP_SHARED | MAP_FIXED, __dune_process.fd, DUNE_MMAP_GRANULES);
	return is_error(ret) ? ret : 0;
}

const uint32_t *__dune_granule_owners(void)
{
	long ret = 0;

	if (!__dune_process.owners_mapped)
		ret = dune_in_guest() ? __dune_process.hypercall(PRIVATE_MAP_OWNERS, 0, 0, 0) : __dune_map_owners();
	if (ret)
		return NULL;
	__dune_process.owners_mapped = true;
	return (const uint32_t *)(__dune_process.region + REGION_GRANULES);
}

/* With the lock held.  Is nothing behind this leaf any more? */
static bool is_stale(ptent_t v, const uint32_t *owner)
{
	uint64_t granule = (v & PTE_ADDRESS) >> PDPT_SHIFT;

	return granule < __dune_process.nr_granules && !READ_ONCE(owner[granule]);
}

/*
 * In the table @t of @level, have a first touch map again what has become stale.  Returns whether there is
 * nothing else in it.  Where that is shared, it is right for all who share it.
 */
static bool drop_from_table(struct space *s, ptent_t *t, int level, const uint32_t *owner)
{
	bool empty = true;

	for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
		ptent_t v = READ_ONCE(t[i]), fill = level == LEVEL_PDPT ? 0 : PTE_FILL;

		if (is_table(v, level)) {
			/* Only where TLBs are flushed before the table is used for something else. */
			if (!drop_from_table(s, table_of(v), level - 1, owner) || !dune_in_guest() ||
			    !page_of_pool(v & PTE_ADDRESS) || page_of(v)->ref != 1) {
				empty = false;
				continue;
			}
			__atomic_store_n(&t[i], fill, __ATOMIC_RELEASE);
			__dune_walk_drop(s, v, level);
		} else if (is_mapped(v) && is_stale(v, owner)) {
			__atomic_store_n(&t[i], fill, __ATOMIC_RELEASE);
		} else if (v != fill) {
			empty = false;
		}
	}
	return empty;
}

static void drop_from_root(struct space *s, ptent_t *t, const uint32_t *owner)
{
	for (unsigned int slot = 0; slot < USER_ROOT_SLOTS; slot++)
		if (READ_ONCE(t[slot]) & PTE_P)
			drop_from_table(s, table_of(t[slot]), LEVEL_PDPT, owner);
}

static int drop_stale(void)
{
	const uint32_t *owner = __dune_granule_owners();
	struct space s = { .flush_all = true };

	if (!owner)
		return -ENOMEM;
	drop_from_root(&s, root(), owner);
	for (int i = 0; i < num_pages; i++)
		if (pages[i].ref && is_root_page(&pages[i]))
			drop_from_root(&s, (ptent_t *)dune_page2pa(&pages[i]), owner);
	/* In HR3: the kernel has flushed what it took back, and no CPU can have loaded it again. */
	__dune_flush_everything();
	s.flush_all = false;
	__dune_space_close(&s, 0, 0);
	return 0;
}

/* Without the lock, only where this process has no thread in Dune mode yet. */
long __dune_granule_request(uint64_t va)
{
	struct dune_granule arg = { .va = va };
	long ret;

	if (dune_in_guest())
		return __dune_process.hypercall(DUNE_HC_GET_GRANULE, va, 0, 0);
	ret = own_syscall3(__NR_ioctl, __dune_process.fd, DUNE_GET_GRANULE, &arg);
	return ret ? ret : (long)arg.gpa;
}

/* With the lock held. */
long __dune_granule_get(uint64_t va)
{
	long ret;

	do {
		if (__dune_process.granules_stale && drop_stale())
			return -ENOMEM;
		__dune_process.granules_stale = false;
		ret = __dune_granule_request(va);
		if (ret == -EAGAIN) {
			__dune_process.granules_stale = true;
			__dune_process.granule_round++;
		}
	} while (ret == -EINTR || ret == -EAGAIN);
	return ret;
}

/* HR3: an access has met @gpa, where there is no granule.  Drop the entry that leads there if it has become stale. */
void __dune_granule_recheck(uint64_t gpa)
{
	uint64_t state = memory_lock();

	if (gpa >> PDPT_SHIFT < __dune_process.nr_granules)
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
		 page_of_pool((uint64_t)s.root) && dune_pa2page((uint64_t)s.root)->next == PAGE_FULL;
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

PUBLIC uintptr_t dune_va_to_pa(const void *va)
{
	long gpa = dune_get_granule(va);

	if (is_error(gpa))
		return 0;
	return gpa + ((uintptr_t)va & (DUNE_GRANULE_SIZE - 1));
}
