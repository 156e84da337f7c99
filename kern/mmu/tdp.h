/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A second-level page table and its walker.
 *
 * Pure: it knows neither the process's memory nor the vendor, takes no lock, and
 * allocates only in tdp_init() and tdp_cache_fill().  The caller serializes all calls
 * on one table, except that CPUs walk it, and set accessed and dirty bits in it, at any
 * time.
 *
 * Garbage is a list of page-table pages that nothing refers to any more, but which a CPU may
 * still walk until it has flushed.
 */
#ifndef DUNE_TDP_H
#define DUNE_TDP_H

#include <linux/compiler.h>
#include <linux/list.h>
#include <linux/types.h>

#include "tdp_format.h"

struct tdp {
	const struct tdp_format *fmt;
	u64 *root;
	unsigned int levels;	/* the root's level */
	struct list_head tables;	/* all page-table pages but the root, by struct page.lru */
	unsigned long nr_tables;	/* how many these are */
};

/* Permissions of a leaf; every leaf is readable, but of the types with TDP_EXEC_ONLY. */
#define TDP_WRITE	0x2
#define TDP_EXEC	0x4

/* What tdp_map() is to map. */
struct tdp_leaf {
	u64 pfn;		/* of the 4 KiB page at the address, whatever the level */
	u8 level;		/* the largest leaf that may be used */
	u8 perms;		/* TDP_WRITE, TDP_EXEC */
	u8 memtype;		/* enum tdp_memtype, | TDP_EXEC_ONLY */
	bool encrypted;
	bool keep_table;	/* do not replace a table by a larger leaf */
};

/* Zeroed page-table pages for tdp_map(), which may not allocate. Starts zeroed. */
struct tdp_cache {
	unsigned int nr;	/* pages in it */
	unsigned int need;	/* after -ENOSPC: pages it must have */
	u64 *pages[TDP_MAX_LEVEL - 1];
};

/* The CPU must flush, everywhere, before anything relies on the change. */
#define TDP_FLUSH	1

int tdp_init(struct tdp *tdp, const struct tdp_format *fmt, unsigned int levels);
/* No CPU may be using the table.  Does not sleep. */
void tdp_destroy(struct tdp *tdp);

/*
 * Map the page at @gpa, with the largest leaf that @leaf, the format and the address
 * allow.  Permissions that the same page has already are kept: they are valid until
 * zapped.
 *
 * 0: done.  TDP_FLUSH: done, and a translation of something else was replaced. -ENOSPC:
 * nothing was changed, the cache must have cache->need pages.
 */
int tdp_map(struct tdp *tdp, struct tdp_cache *cache, u64 gpa, const struct tdp_leaf *leaf,
	    struct list_head *garbage);

/*
 * The entry of level 1 for @gpa, or NULL where there is no table of them.  Those for the rest of that table's 2 MiB
 * lie beside it, in order.  One that maps nothing may be given the value of tdp_old_page().
 */
u64 *tdp_page_slot(const struct tdp *tdp, u64 gpa);

static inline bool tdp_slot_is_empty(const struct tdp *tdp, const u64 *slot)
{
	return !(READ_ONCE(*slot) & tdp->fmt->present);
}

/* What maps the page of @leaf as one that was not accessed; with pfn 0, all of it but the address. */
u64 tdp_old_page(const struct tdp *tdp, const struct tdp_leaf *leaf);

/*
 * Make [start, end) map nothing; a larger leaf that straddles the range goes as a
 * whole.  Page-table pages wholly inside the range go to @garbage.  True when anything
 * was present, so that CPUs must flush.
 */
bool tdp_zap_range(struct tdp *tdp, u64 start, u64 end, struct list_head *garbage);

/* The same of all addresses.  Only the root is left. */
bool tdp_zap_all(struct tdp *tdp, struct list_head *garbage);

/*
 * Page-table pages on the way to @gpa, but the root, that have nothing left in them go to @garbage.  True when there
 * were any, so that CPUs must flush.
 */
bool tdp_prune(struct tdp *tdp, u64 gpa, struct list_head *garbage);

/*
 * Was anything in [start, end) accessed since its accessed bit was last cleared?  With
 * @clear, clear them.  Without accessed bits: is anything there mapped at all?
 */
bool tdp_age_range(struct tdp *tdp, u64 start, u64 end, bool clear);

/* The leaf entry that maps @gpa and its level, or 0. */
u64 tdp_lookup(const struct tdp *tdp, u64 gpa, unsigned int *level);

/* Allocate until the cache has cache->need pages.  May sleep.  0 or -ENOMEM. */
int tdp_cache_fill(struct tdp_cache *cache);
/* Free what was not used. */
void tdp_cache_release(struct tdp_cache *cache);

/* Free the pages, once CPUs have flushed.  Does not sleep. */
void tdp_garbage_free(struct list_head *garbage);

static inline u64 tdp_level_size(unsigned int level)
{
	return 1ULL << (TDP_PAGE_SHIFT + TDP_LEVEL_BITS * (level - 1));
}

/* The first address that is out of the table's range. */
static inline u64 tdp_limit(const struct tdp *tdp)
{
	return tdp_level_size(tdp->levels + 1);
}

#endif
