// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walker of second-level page tables.
 *
 * A CPU can walk the table at any moment and cache what it finds, down to single
 * entries that refer to tables (SDM, "Information That May Be Cached").  Hence: an
 * entry is written at once as a whole; a table is complete before an entry refers to
 * it; and a table that is cut off is neither changed nor freed before the CPUs have
 * flushed.
 *
 * A table stays when its last leaf is zapped, for the next fault there would need it
 * again.  It goes when a range that covers all of it is zapped, or with tdp_prune().
 */
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>

#include "tdp.h"

static inline bool is_present(const struct tdp_format *fmt, u64 entry)
{
	return entry & fmt->present;
}

static inline bool is_table(const struct tdp_format *fmt, u64 entry, unsigned int level)
{
	return is_present(fmt, entry) && level > 1 && !(entry & fmt->large);
}

static inline u64 *slot_of(u64 *table, u64 gpa, unsigned int level)
{
	return &table[(gpa >> (TDP_PAGE_SHIFT + TDP_LEVEL_BITS * (level - 1))) & (TDP_ENTRIES - 1)];
}

static inline u64 *table_of(const struct tdp_format *fmt, u64 entry)
{
	return __va(entry & fmt->address);
}

static inline u64 make_table(const struct tdp_format *fmt, u64 *table)
{
	return __pa(table) | fmt->table;
}

/*
 * The slot where the walk to @gpa ends, and its level: of a leaf, of an entry that is not present, or of
 * level 1.  One loop with nothing in it but what each level needs: it is on the way of every fault.
 */
static __always_inline u64 *find_slot(const struct tdp *tdp, u64 gpa, unsigned int *level)
{
	const u64 present = tdp->fmt->present, large = tdp->fmt->large, address = tdp->fmt->address;
	unsigned int shift = TDP_PAGE_SHIFT + TDP_LEVEL_BITS * (tdp->levels - 1);
	char *memory = __va(0);
	u64 *table = tdp->root;

	*level = tdp->levels;
	for (;;) {
		u64 *slot = &table[(gpa >> shift) & (TDP_ENTRIES - 1)], entry = READ_ONCE(*slot);

		if (shift == TDP_PAGE_SHIFT || !(entry & present) || entry & large)
			return slot;
		table = (u64 *)(memory + (entry & address));
		shift -= TDP_LEVEL_BITS;
		(*level)--;
	}
}

static u64 make_leaf(const struct tdp_format *fmt, const struct tdp_leaf *leaf, unsigned int level)
{
	u64 pages = tdp_level_size(level) >> TDP_PAGE_SHIFT;
	u64 entry = (leaf->pfn & ~(pages - 1)) << TDP_PAGE_SHIFT;

	/*
	 * Accessed and dirty are set beforehand: the access that asks for the leaf
	 * would make the CPU do it.
	 */
	entry |= fmt->leaf | fmt->accessed;
	if (level > 1)
		entry |= fmt->large | fmt->memtype_large[leaf->memtype];
	else
		entry |= fmt->memtype[leaf->memtype];
	entry |= leaf->perms & TDP_EXEC ? fmt->exec : fmt->noexec;
	if (leaf->perms & TDP_WRITE)
		entry |= fmt->write | fmt->dirty;
	if (leaf->encrypted)
		entry |= fmt->encrypted;
	return entry;
}

/* Do two leaves of one level differ in permissions at most? */
static bool same_page(const struct tdp_format *fmt, u64 a, u64 b)
{
	return !((a ^ b) & ~(fmt->read | fmt->write | fmt->exec | fmt->noexec | fmt->accessed | fmt->dirty));
}

/* @entry with the permissions of @old, which maps the same page, too. */
static u64 merge_perms(const struct tdp_format *fmt, u64 entry, u64 old)
{
	entry |= old & (fmt->read | fmt->write | fmt->exec | fmt->dirty);
	return entry & (old | ~fmt->noexec);
}

/* Does @old, a leaf above the level asked for, already allow what @leaf asks? */
static bool larger_leaf_suffices(const struct tdp_format *fmt, u64 old, unsigned int level,
				 u64 gpa, const struct tdp_leaf *leaf)
{
	u64 pages = tdp_level_size(level) >> TDP_PAGE_SHIFT;
	u64 entry = make_leaf(fmt, leaf, level);

	return !((leaf->pfn ^ (gpa >> TDP_PAGE_SHIFT)) & (pages - 1)) &&
	       same_page(fmt, old, entry) &&
	       !((merge_perms(fmt, entry, old) ^ old) & ~(fmt->accessed | fmt->dirty));
}

/* The first entry from @slot on, and before @end, that is not zero; @end.  Most are, in tables of tables. */
static u64 *skip_zeroes(u64 *slot, const u64 *end)
{
	while (slot + 8 <= end && !(READ_ONCE(slot[0]) | READ_ONCE(slot[1]) | READ_ONCE(slot[2]) | READ_ONCE(slot[3]) |
				    READ_ONCE(slot[4]) | READ_ONCE(slot[5]) | READ_ONCE(slot[6]) | READ_ONCE(slot[7])))
		slot += 8;
	while (slot < end && !READ_ONCE(*slot))
		slot++;
	return slot;
}

/* Linked through struct page: the page itself may still be walked. */
static void discard_table(struct tdp *tdp, u64 *table, struct list_head *garbage)
{
	list_move(&virt_to_page(table)->lru, garbage);
	tdp->nr_tables--;
}

static void discard_tree(struct tdp *tdp, u64 *table, unsigned int level,
			 struct list_head *garbage)
{
	const struct tdp_format *fmt = tdp->fmt;
	u64 *end = table + TDP_ENTRIES, *slot, entry;

	for (slot = table; level > 1; slot++) {
		slot = skip_zeroes(slot, end);
		if (slot == end)
			break;
		entry = READ_ONCE(*slot);
		if (is_table(fmt, entry, level))
			discard_tree(tdp, table_of(fmt, entry), level - 1, garbage);
	}
	discard_table(tdp, table, garbage);
}

/* The largest leaf that the format has, up to @level. */
static unsigned int leaf_level(const struct tdp_format *fmt, unsigned int level)
{
	while (!fmt->leaf_size[level])
		level--;
	return level;
}

/* Put a leaf in its slot, whatever is there. */
static int set_leaf(struct tdp *tdp, u64 *slot, unsigned int level, const struct tdp_leaf *leaf,
		    struct list_head *garbage)
{
	const struct tdp_format *fmt = tdp->fmt;
	u64 entry = make_leaf(fmt, leaf, level);
	u64 old = READ_ONCE(*slot);

	if (!is_present(fmt, old)) {
		WRITE_ONCE(*slot, entry);
		return 0;
	}
	if (is_table(fmt, old, level)) {
		xchg(slot, entry);
		discard_tree(tdp, table_of(fmt, old), level - 1, garbage);
		return TDP_FLUSH;
	}
	if (same_page(fmt, old, entry)) {
		/*
		 * A CPU that has the old permissions cached faults once more at most,
		 * which drops them (SDM, "Guidelines for Use of the INVEPT
		 * Instruction").
		 */
		entry = merge_perms(fmt, entry, old);
		if (entry != old)
			xchg(slot, entry);
		return 0;
	}
	xchg(slot, entry);
	return TDP_FLUSH;
}

/* Descend from @slot, where there is no table, to the slot of level @target. */
static u64 *add_tables(struct tdp *tdp, struct tdp_cache *cache, u64 gpa, u64 *slot,
		       unsigned int level, unsigned int target)
{
	for (; level > target; level--) {
		u64 *table = cache->pages[--cache->nr];

		list_add(&virt_to_page(table)->lru, &tdp->tables);
		tdp->nr_tables++;
		xchg(slot, make_table(tdp->fmt, table));
		slot = slot_of(table, gpa, level - 1);
	}
	return slot;
}

int tdp_map(struct tdp *tdp, struct tdp_cache *cache, u64 gpa, const struct tdp_leaf *leaf,
	    struct list_head *garbage)
{
	const struct tdp_format *fmt = tdp->fmt;
	unsigned int target, level;
	u64 *slot, entry;
	int flush = 0;

	/* By far the most frequent: a page, and the tables are there. */
	if (leaf->level == 1) {
		slot = find_slot(tdp, gpa, &level);
		if (likely(level == 1))
			return set_leaf(tdp, slot, 1, leaf, garbage);
	}
	target = leaf_level(fmt, leaf->level);
	level = tdp->levels;
	slot = slot_of(tdp->root, gpa, level);
	entry = READ_ONCE(*slot);
	while (is_table(fmt, entry, level) && (level > target || leaf->keep_table)) {
		level--;
		slot = slot_of(table_of(fmt, entry), gpa, level);
		entry = READ_ONCE(*slot);
		if (level < target)
			target = leaf_level(fmt, level);
	}
	if (level > target) {
		if (is_present(fmt, entry)) {
			if (larger_leaf_suffices(fmt, entry, level, gpa, leaf))
				return 0;
			flush = TDP_FLUSH;
		}
		if (cache->nr < level - target) {
			cache->need = level - target;
			return -ENOSPC;
		}
		slot = add_tables(tdp, cache, gpa, slot, level, target);
	}
	return set_leaf(tdp, slot, target, leaf, garbage) | flush;
}

u64 *tdp_page_slot(const struct tdp *tdp, u64 gpa)
{
	unsigned int level;
	u64 *slot = find_slot(tdp, gpa, &level);

	return level == 1 ? slot : NULL;
}

u64 tdp_old_page(const struct tdp *tdp, const struct tdp_leaf *leaf)
{
	return make_leaf(tdp->fmt, leaf, 1) & ~(tdp->fmt->accessed | tdp->fmt->dirty);
}

/* Entries of level 1: @slot is that of @start, and @end is in the same table. */
static bool zap_entries(struct tdp *tdp, u64 *slot, u64 start, u64 end)
{
	const u64 *last = slot + ((end - 1) >> TDP_PAGE_SHIFT) - (start >> TDP_PAGE_SHIFT);
	const u64 present = tdp->fmt->present;
	bool zapped = false;

	for (; slot <= last; slot++) {
		if (READ_ONCE(*slot) & present) {
			xchg(slot, 0);
			zapped = true;
		}
	}
	return zapped;
}

static bool zap_table(struct tdp *tdp, u64 *table, unsigned int level, u64 start, u64 end,
		      struct list_head *garbage)
{
	const struct tdp_format *fmt = tdp->fmt;
	u64 size = tdp_level_size(level);
	bool zapped = false;
	u64 gpa, next;

	if (level == 1)
		return zap_entries(tdp, slot_of(table, start, 1), start, end);
	for (gpa = start; gpa < end; gpa = next) {
		u64 *slot = slot_of(table, gpa, level);
		u64 entry = READ_ONCE(*slot);

		next = (gpa & ~(size - 1)) + size;
		if (!is_present(fmt, entry))
			continue;
		if (!is_table(fmt, entry, level)) {
			xchg(slot, 0);
			zapped = true;
		} else if (!(gpa & (size - 1)) && next <= end) {
			xchg(slot, 0);
			discard_tree(tdp, table_of(fmt, entry), level - 1, garbage);
			zapped = true;
		} else {
			zapped |= zap_table(tdp, table_of(fmt, entry), level - 1, gpa,
					    min(next, end), garbage);
		}
	}
	return zapped;
}

bool tdp_zap_all(struct tdp *tdp, struct list_head *garbage)
{
	u64 *end = tdp->root + TDP_ENTRIES, *slot;
	bool zapped = false;

	for (slot = skip_zeroes(tdp->root, end); slot != end; slot = skip_zeroes(slot, end)) {
		xchg(slot, 0);
		zapped = true;
	}
	list_splice_init(&tdp->tables, garbage);
	tdp->nr_tables = 0;
	return zapped;
}

/* A range that one table of level 1 maps, if there is one, and covers not all of it. */
static bool zap_pages(struct tdp *tdp, u64 start, u64 end)
{
	unsigned int level;
	u64 *slot = find_slot(tdp, start, &level);
	bool zapped;

	/* A larger leaf, or nothing. */
	if (level > 1) {
		zapped = is_present(tdp->fmt, READ_ONCE(*slot));
		if (zapped)
			xchg(slot, 0);
		return zapped;
	}
	return zap_entries(tdp, slot, start, end);
}

bool tdp_zap_range(struct tdp *tdp, u64 start, u64 end, struct list_head *garbage)
{
	u64 size = tdp_level_size(2);

	/* Copying on write asks for one page at a time. */
	if (start < end && end <= tdp_limit(tdp) && end - start < size &&
	    !((start ^ (end - 1)) & ~(size - 1)))
		return zap_pages(tdp, start, end);
	return zap_table(tdp, tdp->root, tdp->levels, start, min(end, tdp_limit(tdp)), garbage);
}

/* Cut off what @slot refers to, on the way to @gpa, if that maps nothing.  True when anything was. */
static bool prune(struct tdp *tdp, u64 *slot, unsigned int level, u64 gpa, struct list_head *garbage)
{
	u64 entry = READ_ONCE(*slot), *table, *below, *end;
	bool pruned;

	if (!is_table(tdp->fmt, entry, level))
		return false;
	table = table_of(tdp->fmt, entry);
	below = slot_of(table, gpa, level - 1);
	end = table + TDP_ENTRIES;
	pruned = prune(tdp, below, level - 1, gpa, garbage);
	if (READ_ONCE(*below) || skip_zeroes(table, end) != end)
		return pruned;
	xchg(slot, 0);
	discard_table(tdp, table, garbage);
	return true;
}

bool tdp_prune(struct tdp *tdp, u64 gpa, struct list_head *garbage)
{
	return gpa < tdp_limit(tdp) && prune(tdp, slot_of(tdp->root, gpa, tdp->levels), tdp->levels, gpa, garbage);
}

/* A CPU may set bits in the entry meanwhile; they must not get lost. */
static bool age_entry(u64 *slot, u64 accessed, bool clear)
{
	u64 entry = READ_ONCE(*slot);

	while (entry & accessed) {
		u64 old;

		if (!clear)
			return true;
		old = cmpxchg(slot, entry, entry & ~accessed);
		if (old == entry)
			return true;
		entry = old;
	}
	return false;
}

static bool age_table(struct tdp *tdp, u64 *table, unsigned int level, u64 start, u64 end,
		      bool clear)
{
	const struct tdp_format *fmt = tdp->fmt;
	u64 size = tdp_level_size(level);
	bool young = false;
	u64 gpa, next;

	for (gpa = start; gpa < end; gpa = next) {
		u64 *slot = slot_of(table, gpa, level);
		u64 entry = READ_ONCE(*slot);

		next = (gpa & ~(size - 1)) + size;
		if (!is_present(fmt, entry))
			continue;
		if (is_table(fmt, entry, level))
			young |= age_table(tdp, table_of(fmt, entry), level - 1, gpa,
					   min(next, end), clear);
		else
			young |= fmt->accessed ? age_entry(slot, fmt->accessed, clear) : true;
		if (young && !clear)
			break;
	}
	return young;
}

bool tdp_age_range(struct tdp *tdp, u64 start, u64 end, bool clear)
{
	return age_table(tdp, tdp->root, tdp->levels, start, min(end, tdp_limit(tdp)), clear);
}

u64 tdp_lookup(const struct tdp *tdp, u64 gpa, unsigned int *level)
{
	u64 *table = tdp->root;

	for (*level = tdp->levels;; (*level)--) {
		u64 entry = READ_ONCE(*slot_of(table, gpa, *level));

		if (!is_present(tdp->fmt, entry))
			return 0;
		if (!is_table(tdp->fmt, entry, *level))
			return entry;
		table = table_of(tdp->fmt, entry);
	}
}

static u64 *alloc_table(void)
{
	return (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}

int tdp_cache_fill(struct tdp_cache *cache)
{
	while (cache->nr < cache->need) {
		u64 *table = alloc_table();

		if (!table)
			return -ENOMEM;
		cache->pages[cache->nr++] = table;
	}
	return 0;
}

void tdp_cache_release(struct tdp_cache *cache)
{
	while (cache->nr)
		free_page((unsigned long)cache->pages[--cache->nr]);
}

void tdp_garbage_free(struct list_head *garbage)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, garbage, lru)
		__free_page(page);
	INIT_LIST_HEAD(garbage);
}

int tdp_init(struct tdp *tdp, const struct tdp_format *fmt, unsigned int levels)
{
	if (levels < 2 || levels > TDP_MAX_LEVEL)
		return -EINVAL;
	tdp->fmt = fmt;
	tdp->levels = levels;
	INIT_LIST_HEAD(&tdp->tables);
	tdp->nr_tables = 0;
	tdp->root = alloc_table();
	if (!tdp->root)
		return -ENOMEM;
	return 0;
}

void tdp_destroy(struct tdp *tdp)
{
	if (!tdp->root)
		return;
	tdp_garbage_free(&tdp->tables);
	free_page((unsigned long)tdp->root);
	tdp->root = NULL;
}
