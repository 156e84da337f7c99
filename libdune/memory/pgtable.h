/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of the guest's page table (SDM, "4-Level Paging"), pure.
 */
#ifndef LIBDUNE_PGTABLE_H
#define LIBDUNE_PGTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "dune-vm.h"

#define PTE_ADDRESS	0x000ffffffffff000UL

/* Error codes (SDM, "Page-Fault Exceptions"). */
#define PF_PRESENT	(1U << 0)
#define PF_WRITE	(1U << 1)
#define PF_USER		(1U << 2)
#define PF_RESERVED	(1U << 3)
#define PF_FETCH	(1U << 4)

#define PDPT_SHIFT	30
#define ROOT_SHIFT	39
#define TABLE_ENTRIES	512
#define USER_ROOT_SLOTS	256

/* A table: what ring 3 may do is for the leaf to say. */
#define PTE_TABLE	(PTE_P | PTE_W | PTE_U | PTE_A)
/* A granule: no restriction, the kernel's second-level table has them. */
#define PTE_GRANULE	(PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS)

static inline unsigned int root_slot(uint64_t va)
{
	return va >> ROOT_SHIFT & (TABLE_ENTRIES - 1);
}

static inline unsigned int pdpt_slot(uint64_t va)
{
	return va >> PDPT_SHIFT & (TABLE_ENTRIES - 1);
}

static inline bool user_address(uint64_t va)
{
	return va >> (ROOT_SHIFT + 8) == 0;
}

static inline uint64_t table_entry(uint64_t gpa)
{
	return gpa | PTE_TABLE;
}

static inline uint64_t granule_entry(uint64_t gpa)
{
	return gpa | PTE_GRANULE;
}

/* granule.c */
void __dune_granule_set(uint64_t va, uint64_t gpa);
/* Have the root lead to the table of @va's slot. */
void __dune_pdpt_link(uint64_t va);
long __dune_granule_map(uint64_t va);
long __dune_granules_map(uint64_t first, uint64_t last);
void __dune_granule_recheck(uint64_t gpa);
long __dune_map_owners(void);
long __dune_granule_request(uint64_t va);
/* precise.c */
int __dune_precise_begin(void);
long __dune_precise_host(uint64_t *root, uint64_t va, uint64_t end);
long __dune_precise_refresh(uint64_t va, uint32_t error);
void __dune_precise_changed(uint64_t start, uint64_t length, int prot);
/* With the lock of vm.h held: the place of a granule, or -errno. */
long __dune_granule_get(uint64_t va);

#endif /* LIBDUNE_PGTABLE_H */
