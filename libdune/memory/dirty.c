// SPDX-License-Identifier: MIT
/*
 * Several readers of the dirty bits of one page table: each sees what was written since it looked last.
 *
 * The CPU has one bit for a page.  Whoever clears it, dune_vm_scan() or a tracker, notes in the bitmap of each tracker
 * that it was set.  So a tracker knows all: what is in its bitmap, and what it finds in the page table.  Trackers and
 * bitmaps lie in the pool, which is mapped in every address space.
 *
 * GR0; HR3 while no thread is in Dune mode.
 */
#include "memory/memory.h"
#include "memory/scan.h"

#define WORD		64
#define CHUNK_BITS	(PGSIZE * 8UL)
#define ALL		(1UL << 47)	/* bytes that a flush is for */

struct dirty_range {
	uint64_t start, pages;
	uint64_t bit;			/* of its first page; a multiple of WORD */
};

/* In a page of the pool. */
struct dune_dirty {
	struct dune_dirty *next;
	ptent_t *root;			/* NULL: it was freed */
	uint32_t nr_ranges, nr_chunks;
	uint32_t busy;			/* dune_dirty_collect() is reading the other half of the chunks */
	uint32_t half;			/* of those that are written to */
	struct dirty_range ranges[DUNE_DIRTY_RANGES];
	uint32_t chunks[2][DUNE_DIRTY_CHUNKS];	/* pages of bits, by number */
};

_Static_assert(sizeof(struct dune_dirty) <= PGSIZE, "a tracker has a page");

static inline uint64_t *word_of(const struct dune_dirty *d, unsigned int half, uint64_t bit)
{
	uint64_t *chunk = (uint64_t *)page_address(page_by_index(d->chunks[half][bit / CHUNK_BITS]));

	return &chunk[bit % CHUNK_BITS / WORD];
}

/* ---- whoever clears bits ---- */

/* Pages from @index of the range on; bits of @found beyond either end are not its. */
static void note_range(struct dune_dirty *d, const struct dirty_range *range, int64_t index, uint64_t found)
{
	uint64_t left, bit;

	if (index < 0) {
		found >>= -index;
		index = 0;
	}
	left = range->pages - index;
	if (left < WORD)
		found &= (1UL << left) - 1;
	bit = range->bit + index;
	*word_of(d, d->half, bit) |= found << bit % WORD;
	found = bit % WORD ? found >> (WORD - bit % WORD) : 0;
	if (found)
		*word_of(d, d->half, bit + WORD) |= found;
}

void __dune_dirty_note(const ptent_t *root, uint64_t va, uint64_t found)
{
	for (struct dune_dirty *d = region_state()->trackers; d; d = d->next) {
		if (d->root != root)
			continue;
		for (unsigned int i = 0; i < d->nr_ranges; i++) {
			const struct dirty_range *range = &d->ranges[i];
			int64_t index = (int64_t)(va - range->start) / (int64_t)PGSIZE;

			if (index > -WORD && index < (int64_t)range->pages)
				note_range(d, range, index, found);
		}
	}
}

void __dune_dirty_note_run(const ptent_t *root, uint64_t va, uint64_t pages)
{
	for (; pages > WORD; pages -= WORD, va += WORD * PGSIZE)
		__dune_dirty_note(root, va, ~0UL);
	__dune_dirty_note(root, va, pages == WORD ? ~0UL : (1UL << pages) - 1);
}

void __dune_dirty_root_freed(const ptent_t *root)
{
	for (struct dune_dirty *d = region_state()->trackers; d; d = d->next)
		if (d->root == root)
			d->root = NULL;
}

/* ---- trackers ---- */

/* With the lock held: where the list leads to @d; NULL: there is no such tracker. */
static struct dune_dirty **find(const struct dune_dirty *d)
{
	struct dune_dirty **link = &region_state()->trackers;

	while (*link && *link != d)
		link = &(*link)->next;
	return *link ? link : NULL;
}

/* The lengths of all ranges are checked. */
static int lay_out(struct dune_dirty *d, const struct dune_dirty_range *ranges, unsigned int n)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t start = (uint64_t)ranges[i].va, pages = ranges[i].len / PGSIZE;

		d->ranges[i] = (struct dirty_range){ .start = start, .pages = pages, .bit = bits };
		bits += (pages + WORD - 1) & -(uint64_t)WORD;
		if (bits > DUNE_DIRTY_CHUNKS * CHUNK_BITS)
			return -E2BIG;
	}
	d->nr_ranges = n;
	for (uint64_t at = 0; at < bits; at += CHUNK_BITS, d->nr_chunks++) {
		for (unsigned int half = 0; half < 2; half++) {
			struct page *pg = dune_page_alloc();

			if (!pg)
				return -ENOMEM;
			d->chunks[half][d->nr_chunks] = page_index(pg);
		}
	}
	return 0;
}

/* Of a tracker that nobody knows.  A number 0 is none: the pool's first page is no tracker's, for it has one itself. */
static void give_back(struct dune_dirty *d)
{
	for (unsigned int i = 0; i < DUNE_DIRTY_CHUNKS; i++)
		for (unsigned int half = 0; half < 2; half++)
			if (d->chunks[half][i])
				dune_page_put(page_by_index(d->chunks[half][i]));
	dune_page_put(dune_pa2page((uint64_t)d));
}

static int check_ranges(const struct dune_dirty_range *ranges, unsigned int n)
{
	if (!n || !ranges)
		return -EINVAL;
	if (n > DUNE_DIRTY_RANGES)
		return -E2BIG;
	for (unsigned int i = 0; i < n; i++) {
		int ret = ranges[i].len ? __dune_check_range((uint64_t)ranges[i].va, ranges[i].len, PGSIZE) : -EINVAL;

		if (ret)
			return ret;
	}
	return 0;
}

/*
 * With the lock held: all dirty bits of its ranges go to the bitmaps, its own too.  -ENOMEM: some of them have, and
 * none is lost.
 */
static int gather(struct space *s, const struct dune_dirty *d)
{
	int ret = 0;

	tracking_begin();
	for (unsigned int i = 0; !ret && i < d->nr_ranges; i++)
		ret = __dune_scan_clear(s, d->ranges[i].start, d->ranges[i].pages * PGSIZE);
	return ret;
}

static int update(const struct dune_dirty *d, ptent_t *root)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < d->nr_ranges; i++)
		ret = __dune_precise_update(root, d->ranges[i].start,
					    d->ranges[i].start + d->ranges[i].pages * PGSIZE);
	return ret;
}

/* Bits that were in them do not count any more. */
static void clear_half(struct dune_dirty *d, unsigned int half)
{
	for (unsigned int i = 0; i < d->nr_chunks; i++)
		memset((void *)page_address(page_by_index(d->chunks[half][i])), 0, PGSIZE);
}

PUBLIC int dune_dirty_open(struct dune_dirty **dirty, ptent_t *root, const struct dune_dirty_range *ranges,
			   unsigned int n)
{
	int ret = check_ranges(ranges, n);
	struct dune_dirty *d;
	struct page *pg;
	struct space s;

	if (ret)
		return ret;
	pg = dune_page_alloc();
	if (!pg)
		return -ENOMEM;
	d = (struct dune_dirty *)page_address(pg);
	ret = lay_out(d, ranges, n);
	if (!ret)
		ret = update(d, root);
	if (!ret)
		ret = space_begin(&s, root);
	if (ret) {
		give_back(d);
		return ret;
	}
	d->root = root;
	d->next = region_state()->trackers;
	region_state()->trackers = d;
	ret = gather(&s, d);
	if (ret)
		*find(d) = d->next;
	else
		clear_half(d, 0);
	space_end(&s, 0, ALL);
	if (ret)
		give_back(d);
	else
		*dirty = d;
	return ret;
}

PUBLIC int dune_dirty_close(struct dune_dirty *d)
{
	uint64_t state = memory_lock();
	struct dune_dirty **link = find(d);
	int ret = !link ? -EINVAL : d->busy ? -EBUSY : 0;

	if (!ret)
		*link = d->next;
	memory_unlock(state);
	if (!ret)
		give_back(d);
	return ret;
}

/* ---- collecting ---- */

/* Have the tracker to oneself, with all that was written until now in the half that is returned. */
static int begin(struct dune_dirty *d, unsigned int *half)
{
	uint64_t state = memory_lock();
	struct space s;
	ptent_t *root;
	int ret = !find(d) ? -EINVAL : d->busy ? -EBUSY : !d->root ? -EPERM : 0;

	root = ret ? NULL : d->root;
	if (!ret)
		d->busy = 1;
	memory_unlock(state);
	if (ret)
		return ret;
	ret = update(d, root);
	if (!ret)
		ret = space_begin(&s, root);
	if (!ret) {
		ret = d->root ? gather(&s, d) : -EPERM;
		if (!ret) {
			*half = d->half;
			d->half = !d->half;
		}
		space_end(&s, 0, ALL);
	}
	if (ret)
		__atomic_store_n(&d->busy, 0, __ATOMIC_RELEASE);
	return ret;
}

static void end(struct dune_dirty *d, unsigned int half)
{
	clear_half(d, half);
	__atomic_store_n(&d->busy, 0, __ATOMIC_RELEASE);
}

static inline unsigned int count_bits(uint64_t word)
{
	unsigned int n = 0;

	for (; word; word &= word - 1)
		n++;
	return n;
}

PUBLIC long dune_dirty_collect(struct dune_dirty *d, uint64_t *bitmap)
{
	unsigned int half;
	long ret = begin(d, &half);
	const struct dirty_range *last;

	if (ret)
		return ret;
	last = &d->ranges[d->nr_ranges - 1];
	for (uint64_t bit = 0; bit < last->bit + last->pages; bit += WORD) {
		const uint64_t word = *word_of(d, half, bit);

		if (bitmap)
			bitmap[bit / WORD] = word;
		if (word)
			ret += count_bits(word);
	}
	end(d, half);
	return ret;
}

/* The first page from @page on whose bit is @value; their number if there is none. */
static uint64_t next_page(const struct dune_dirty *d, unsigned int half, const struct dirty_range *range, uint64_t page,
			  bool value)
{
	while (page < range->pages) {
		const uint64_t bit = range->bit + page, word = *word_of(d, half, bit);

		if (!(bit % WORD) && word == (value ? 0 : ~0UL))
			page += WORD;
		else if ((word >> bit % WORD & 1) == value)
			return page;
		else
			page++;
	}
	return range->pages;
}

/* Pages from @bit on count as not collected. */
static void put_back(struct dune_dirty *d, unsigned int half, uint64_t bit)
{
	const struct dirty_range *last = &d->ranges[d->nr_ranges - 1];
	uint64_t state = memory_lock(), mask = -1UL << bit % WORD;

	for (bit -= bit % WORD; bit < last->bit + last->pages; bit += WORD, mask = -1UL)
		*word_of(d, d->half, bit) |= *word_of(d, half, bit) & mask;
	memory_unlock(state);
}

PUBLIC long dune_dirty_collect_each(struct dune_dirty *d, dune_scan_cb cb, void *arg)
{
	unsigned int half;
	long ret = cb ? begin(d, &half) : -EINVAL, count = 0;

	if (ret)
		return ret;
	for (unsigned int i = 0; i < d->nr_ranges; i++) {
		const struct dirty_range *range = &d->ranges[i];
		uint64_t first, behind = 0;

		while (!ret && (first = next_page(d, half, range, behind, true)) < range->pages) {
			behind = next_page(d, half, range, first, false);
			ret = cb(arg, (void *)(range->start + first * PGSIZE), (behind - first) * PGSIZE);
			if (ret)
				put_back(d, half, range->bit + first);
			count += behind - first;
		}
	}
	end(d, half);
	return ret ? ret : count;
}
