/* SPDX-License-Identifier: MIT */
/*
 * The entries of the guest's page table, and its arithmetic (SDM, "4-Level Paging"): the bits of dune-vm.h, and
 * what libdune notes besides.  Pure.
 */
#ifndef LIBDUNE_PTE_H
#define LIBDUNE_PTE_H

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

/*
 * What PTE_AVAIL says of an entry without PTE_P.  Below the PDPT, 0 is nothing; in a PDPT it is
 * a granule that was not touched yet, if the address space is full.
 */
#define PTE_ABSENT	0x400UL		/* in a PDPT: nothing, by the program's wish */
#define PTE_FILL	0x600UL		/* a first touch maps the process's memory here */
#define PTE_HIDDEN	0x800UL		/* PERM_NONE: maps a page, for nobody */

/* Of an entry that leads to a table: other address spaces may have it too. */
#define PTE_SHARED	0x400UL

/* Of a leaf: made by precise.c, at first with these permissions. */
#define PTE_MADE	(1UL << 52)
#define PTE_MADE_RO	(1UL << 53)
#define PTE_MADE_NX	(1UL << 54)

/* Of a leaf: it counts as dirty in the next epoch too (written.c). */
#define PTE_LATE	(1UL << 55)

/* What dune_vm_mprotect() changes. */
#define PTE_PERM	(PTE_P | PTE_W | PTE_U | PTE_PCD | PTE_COW | PTE_HIDDEN | PTE_NX | \
			 PTE_USR1 | PTE_USR2 | PTE_USR3 | PTE_MADE | PTE_MADE_RO | PTE_MADE_NX)

/* What the CPU notes in an entry. */
#define PTE_NOTED	(PTE_A | PTE_D)

#define LEVEL_PT	0
#define LEVEL_PD	1
#define LEVEL_PDPT	2
#define LEVEL_ROOT	3

static inline uint64_t level_size(int level)
{
	return 1UL << PDSHIFT(level);
}

static inline bool is_table(ptent_t v, int level)
{
	return level && (v & (PTE_P | PTE_PS)) == PTE_P;
}

/* Does a leaf map something?  Not for tables. */
static inline bool is_mapped(ptent_t v)
{
	return v & (PTE_P | PTE_HIDDEN);
}

/* A leaf of precise.c's, which the program has not changed since. */
static inline bool is_made(ptent_t v)
{
	return (v & (PTE_P | PTE_MADE | PTE_U | PTE_COW)) == (PTE_P | PTE_MADE) &&
	       !(v & PTE_W) == !!(v & PTE_MADE_RO) && !(v & PTE_NX) == !(v & PTE_MADE_NX);
}

#endif /* LIBDUNE_PTE_H */
