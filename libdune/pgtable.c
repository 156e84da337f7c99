// SPDX-License-Identifier: MIT
/*
 * The guest's page table: the root and, for each of its slots, one
 * page-directory-pointer table at a place of its own.  So nothing is ever allocated.
 */
#include <linux/mman.h>

#include "vm.h"

static uint64_t *root(void)
{
	return (uint64_t *)(__dune_vm.region + REGION_ROOT);
}

static unsigned long pdpt_offset(uint64_t va)
{
	return REGION_PDPT + (unsigned long)root_slot(va) * PAGE_SIZE;
}

static uint64_t *pdpt(uint64_t va)
{
	return (uint64_t *)(__dune_vm.region + pdpt_offset(va));
}

bool __dune_granule_present(uint64_t va)
{
	if (!user_address(va) || !(READ_ONCE(root()[root_slot(va)]) & PTE_PRESENT))
		return false;
	return READ_ONCE(pdpt(va)[pdpt_slot(va)]) & PTE_PRESENT;
}

/* Entries first: the CPU never sees a root slot whose table is not writable memory. */
void __dune_granule_set(uint64_t va, uint64_t gpa)
{
	uint64_t table = table_entry(__dune_vm.region_gpa + pdpt_offset(va));
	uint64_t absent = 0;

	__atomic_compare_exchange_n(&pdpt(va)[pdpt_slot(va)], &absent, granule_entry(gpa), false,
				    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	absent = 0;
	__atomic_compare_exchange_n(&root()[root_slot(va)], &absent, table, false,
				    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* ---- granules that the kernel takes back ---- */

/*
 * When no granule is left, the kernel takes back those whose memory is all unmapped, and says
 * -EAGAIN: the page table may still have them under the old address.  It hands them out again
 * only on the next request, so all requests, and the entries made of their results, are
 * under one lock.
 *
 * Where such an entry is used first, by a program that has mapped something at the old address
 * again, nothing is behind it: the access fails, and __dune_granule_recheck() drops it.
 */
uint32_t __dune_vm_mutex;

/* HR3: map the kernel's table of what granule of the process each guest-physical one stands for, plus 1. */
long __dune_map_owners(void)
{
	long ret = dune_syscall6(__NR_mmap, __dune_vm.region + REGION_GRANULES,
				 __dune_vm.nr_granules * sizeof(uint32_t), PROT_READ,
				 MAP_SHARED | MAP_FIXED, __dune_vm.fd, DUNE_MMAP_GRANULES);

	return is_error(ret) ? ret : 0;
}

/* NULL: no memory. */
static const uint32_t *owners(void)
{
	long ret = 0;

	if (!__dune_vm.owners_mapped)
		ret = dune_in_guest() ? __dune_vm.hypercall(PRIVATE_MAP_OWNERS, 0, 0, 0) : __dune_map_owners();
	if (ret)
		return NULL;
	__dune_vm.owners_mapped = true;
	return (const uint32_t *)(__dune_vm.region + REGION_GRANULES);
}

/* With the lock held. */
static void drop_if_stale(uint64_t *entry, uint64_t va, const uint32_t *owner)
{
	uint64_t e = READ_ONCE(*entry), gpa = e & PTE_ADDRESS;

	/* Others are the program's: it has split this one. */
	if ((e & (PTE_PRESENT | PTE_LARGE)) != (PTE_PRESENT | PTE_LARGE))
		return;
	if (gpa >> PDPT_SHIFT < __dune_vm.nr_granules &&
	    READ_ONCE(owner[gpa >> PDPT_SHIFT]) != (va >> PDPT_SHIFT) + 1)
		__atomic_store_n(entry, 0, __ATOMIC_RELEASE);
}

static int drop_stale(void)
{
	const uint32_t *owner = owners();

	if (!owner)
		return -ENOMEM;
	for (uint64_t slot = 0; slot < USER_ROOT_SLOTS; slot++) {
		uint64_t va = slot << ROOT_SHIFT;

		if (!(READ_ONCE(root()[slot]) & PTE_PRESENT))
			continue;
		for (unsigned int i = 0; i < TABLE_ENTRIES; i++, va += DUNE_GRANULE_SIZE)
			drop_if_stale(&pdpt(va)[i], va, owner);
	}
	/* In HR3: the kernel has flushed what it took back, and no CPU can have loaded it again. */
	if (dune_in_guest())
		__dune_vm.hypercall(DUNE_HC_FLUSH_TLB, 0, 0, 0);
	return 0;
}

/* Without the lock, only where this process has no thread in Dune mode yet. */
long __dune_granule_request(uint64_t va)
{
	struct dune_granule arg = { .va = va };
	long ret;

	if (dune_in_guest())
		return __dune_vm.hypercall(DUNE_HC_GET_GRANULE, va, 0, 0);
	ret = dune_syscall3(__NR_ioctl, __dune_vm.fd, DUNE_GET_GRANULE, &arg);
	return ret ? ret : (long)arg.gpa;
}

/* With the lock held. */
long __dune_granule_get(uint64_t va)
{
	long ret;

	do
		ret = __dune_granule_request(va);
	while (ret == -EINTR || (ret == -EAGAIN && !drop_stale()));
	return ret;
}

/* HR3: an access has met @gpa, where there is no granule.  Drop the entry that leads there if it has become stale. */
void __dune_granule_recheck(uint64_t gpa)
{
	uint64_t state = vm_lock();

	if (gpa >> PDPT_SHIFT < __dune_vm.nr_granules)
		drop_stale();
	vm_unlock(state);
}

/* ---- adding granules ---- */

/* Make the granule of @va reachable; -EFAULT if nothing is mapped at @va. */
long __dune_granule_map(uint64_t va)
{
	uint64_t state;
	long gpa;

	if (!user_address(va))
		return -EFAULT;
	if (__dune_granule_present(va))
		return 0;
	state = vm_lock();
	gpa = __dune_granule_get(va);
	if (!is_error(gpa))
		__dune_granule_set(va, gpa);
	vm_unlock(state);
	return is_error(gpa) ? gpa : 0;
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
	uint64_t state = vm_lock();
	long ret = __dune_granule_get((uint64_t)va);

	vm_unlock(state);
	return ret;
}

PUBLIC uintptr_t dune_va_to_pa(const void *va)
{
	long gpa = dune_get_granule(va);

	if (is_error(gpa))
		return 0;
	return gpa + ((uintptr_t)va & (DUNE_GRANULE_SIZE - 1));
}
