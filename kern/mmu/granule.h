/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Granules: 1 GiB pieces of the process's address space, and the 1 GiB pieces of guest-
 * physical address space that stand for them.
 *
 * Pure, like tdp.h: takes no lock; allocates only in granule_table_init(),
 * granule_table_copy() and granule_spare_fill().  The caller serializes changes.  Look-ups need no lock: what
 * they see is some state that the table was in, and the memory that they read lives as
 * long as the table.
 */
#ifndef DUNE_GRANULE_H
#define DUNE_GRANULE_H

#include <linux/bitmap.h>
#include <linux/compiler.h>
#include <linux/nospec.h>
#include <linux/types.h>

#define GRANULE_SHIFT		30
#define GRANULE_SIZE		(1ULL << GRANULE_SHIFT)
#define GRANULE_VA_BITS		47
#define GRANULE_NR_VA		(1U << (GRANULE_VA_BITS - GRANULE_SHIFT))
#define GRANULE_LEAF_BITS	9
#define GRANULE_NR_LEAVES	(GRANULE_NR_VA >> GRANULE_LEAF_BITS)
#define GRANULE_LEAF_SIZE	(1U << GRANULE_LEAF_BITS)
#define GRANULE_PER_PAGE	1024U	/* u32 in 4 KiB */

struct granule_place {
	u32 gpa_granule;	/* + 1, or 0: none */
	u32 round;		/* in which it was assigned */
};

struct granule_table {
	u32 nr;			/* guest-physical granules */
	u32 used;		/* of them */
	u32 top;		/* none is free above this one, which need not be free itself */
	u32 round;		/* how often some were taken back, as the caller counts; wraps */
	bool stale;		/* a copy: its user's page table may map what is not in here; the caller's */
	/* va granule -> its place; leaves come as needed */
	struct granule_place *forward[GRANULE_NR_LEAVES];
	DECLARE_BITMAP(leaves, GRANULE_NR_LEAVES);	/* which there are: few; each fork goes through them */
	/*
	 * gpa granule -> va granule + 1, or 0; pages come as needed, user space may
	 * have them mapped
	 */
	u32 **reverse;
};

/* Zeroed memory that granule_assign() may need.  Starts zeroed. */
struct granule_spare {
	struct granule_place *leaf;
	u32 *page;
};

/* gpa_bits: 31 to 52.  0 or -errno. */
int granule_table_init(struct granule_table *t, unsigned int gpa_bits);
void granule_table_destroy(struct granule_table *t);
/*
 * What @from had in @round, and still has, to @to, which was initialized with as many bits and is used by nobody yet.
 * It is stale if @from had other rounds since.  May sleep.  0 or -ENOMEM: it is to be destroyed.
 */
int granule_table_copy(struct granule_table *to, const struct granule_table *from, u32 round);

/* Have one of each.  May sleep.  0 or -ENOMEM. */
int granule_spare_fill(struct granule_spare *spare);
void granule_spare_release(struct granule_spare *spare);

/*
 * Give the granule of @va a place, of which *@gpa is the beginning: the same address
 * where that is free, so that old programs find guest-physical equal to virtual; else
 * the highest free one, to leave the low ones to granules that could have them so.
 * -ENOSPC: none is free.  The spare must be full.
 */
int granule_assign(struct granule_table *t, u64 va, struct granule_spare *spare, u64 *gpa);
/* Take the granule of @va back, if it has one. */
void granule_take_back(struct granule_table *t, u64 va);

/*
 * The page @index of the reverse table, or NULL where there is none yet; then the
 * spare's page is put there, if a spare is given.
 */
u32 *granule_reverse_page(struct granule_table *t, unsigned long index,
			  struct granule_spare *spare);

/*
 * The first granule from *@va on, and below @end, that has a place: *@va becomes the
 * beginning of that granule (if it was below) and *@gpa the address that stands for
 * *@va.
 */
bool granule_next(const struct granule_table *t, u64 *va, u64 end, u64 *gpa);

static inline u32 granule_nr_reverse_pages(const struct granule_table *t)
{
	return (t->nr + GRANULE_PER_PAGE - 1) / GRANULE_PER_PAGE;
}

/*
 * The guest-physical address of @va; false: its granule has no place.  This and the next take addresses of user space's
 * and of guests': the CPU must not go on with one that is out of range before it knows (Spectre variant 1).
 */
static inline bool granule_gpa(const struct granule_table *t, u64 va, u64 *gpa)
{
	u64 g = va >> GRANULE_SHIFT;
	const struct granule_place *leaf;
	u32 entry;

	if (g >= GRANULE_NR_VA)
		return false;
	g = array_index_nospec(g, GRANULE_NR_VA);
	leaf = READ_ONCE(t->forward[g >> GRANULE_LEAF_BITS]);
	entry = leaf ? READ_ONCE(leaf[g & (GRANULE_LEAF_SIZE - 1)].gpa_granule) : 0;
	if (!entry)
		return false;
	*gpa = ((u64)(entry - 1) << GRANULE_SHIFT) | (va & (GRANULE_SIZE - 1));
	return true;
}

/* The process's address of @gpa; false: nothing is there. */
static inline bool granule_va(const struct granule_table *t, u64 gpa, u64 *va)
{
	u64 g = gpa >> GRANULE_SHIFT;
	const u32 *page;
	u32 entry;

	if (g >= t->nr)
		return false;
	g = array_index_nospec(g, t->nr);
	page = READ_ONCE(t->reverse[g / GRANULE_PER_PAGE]);
	entry = page ? READ_ONCE(page[g % GRANULE_PER_PAGE]) : 0;
	if (!entry)
		return false;
	*va = ((u64)(entry - 1) << GRANULE_SHIFT) | (gpa & (GRANULE_SIZE - 1));
	return true;
}

#endif
