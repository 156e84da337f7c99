// SPDX-License-Identifier: MIT
/*
 * Dirty and accessed bits of a range, in one go.
 *
 * Most entries have none of them: what counts is how fast those are passed by.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include "memory/scan.h"

#define WORD		64

struct scan {
	uint64_t *bitmap;	/* NULL: only count */
	ptent_t bits;		/* looked for */
	bool clear;
	bool locked;		/* other CPUs may change the entries meanwhile */
	bool noted;		/* there are trackers that want to know what is cleared */
	const ptent_t *root;
	uint64_t start;
	long count;
};

static inline void clear_bits(ptent_t *e, ptent_t bits, bool locked)
{
	uint8_t keep = ~bits;

	if (locked)
		__asm__ volatile("lock andb %1, %0" : "+m"(*(uint8_t *)e) : "q"(keep) : "memory");
	else
		__asm__ volatile("andb %1, %0" : "+m"(*(uint8_t *)e) : "q"(keep) : "memory");
}

/* Which of up to 64 entries have one of the bits. */
static inline uint64_t look(ptent_t *e, unsigned int n, uint8_t bits, bool clear, bool locked, long *count)
{
	uint64_t found = 0, one = 1;
	long hits = 0;

#define LOOK(k)	do {									\
		__label__ hit, next;							\
											\
		__asm__ goto("testb %1, %c2(%0); jnz %l3"				\
			     : : "r"(e), "q"(bits), "i"(8 * (k)) : "cc", "memory" : hit);	\
		goto next;								\
	hit:	__attribute__((cold));							\
		if (is_mapped(e[k])) {							\
			found |= one << (k);						\
			hits++;								\
			if (clear)							\
				clear_bits(e + (k), bits, locked);			\
		}									\
	next:	;									\
	} while (0)
	for (; n >= 16; n -= 16, e += 16, one <<= 16) {
		LOOK(0); LOOK(1); LOOK(2); LOOK(3); LOOK(4); LOOK(5); LOOK(6); LOOK(7);
		LOOK(8); LOOK(9); LOOK(10); LOOK(11); LOOK(12); LOOK(13); LOOK(14); LOOK(15);
	}
	for (; n >= 8; n -= 8, e += 8, one <<= 8) {
		LOOK(0); LOOK(1); LOOK(2); LOOK(3); LOOK(4); LOOK(5); LOOK(6); LOOK(7);
	}
	for (; n; n--, e++, one <<= 1)
		LOOK(0);
#undef LOOK
	*count += hits;
	return found;
}

static uint64_t scan_word(struct scan *scan, ptent_t *e, unsigned int n)
{
	const uint8_t bits = scan->bits;
	uint64_t found;

	if (!scan->clear)
		found = look(e, n, bits, false, false, &scan->count);
	else if (scan->locked)
		found = look(e, n, bits, true, true, &scan->count);
	else
		found = look(e, n, bits, true, false, &scan->count);
	return found;
}

/* @n entries of 4 KiB; the first is page @page of the range. */
static void scan_pages(struct scan *scan, ptent_t *e, uint64_t page, unsigned int n)
{
	while (n) {
		unsigned int bit = page % WORD, room = WORD - bit, now = n < room ? n : room;
		uint64_t found = scan_word(scan, e, now);

		if (scan->bitmap && found)
			scan->bitmap[page / WORD] |= found << bit;
		if (scan->noted && found)
			__dune_dirty_note(scan->root, scan->start + page * PGSIZE, found);
		e += now;
		page += now;
		n -= now;
	}
}

/* A larger leaf, of which [first, first + n) are in the range. */
static void scan_large(struct scan *scan, ptent_t *e, uint64_t first, uint64_t n)
{
	if (!is_mapped(*e) || !(*e & scan->bits))
		return;
	scan->count += n;
	if (scan->clear)
		clear_bits(e, scan->bits, scan->locked);
	if (scan->noted)
		__dune_dirty_note_run(scan->root, scan->start + first * PGSIZE, n);
	if (!scan->bitmap)
		return;
	for (uint64_t page = first; page < first + n; page++) {
		if (page % WORD == 0 && first + n - page >= WORD) {
			scan->bitmap[page / WORD] = ~0UL;
			page += WORD - 1;
		} else {
			scan->bitmap[page / WORD] |= 1UL << page % WORD;
		}
	}
}

/*
 * What a first touch would map, in large pages, is to be split.  @piece goes on where it was if there is something now.
 */
static int touch_first(struct space *s, uint64_t va, struct piece *piece)
{
	int ret = __dune_walk_fill(s, va);

	if (ret == -ENOMEM)
		return ret;
	if (!ret)
		piece->next = va;
	else if (s->full && piece->level == LEVEL_ROOT)
		piece->next = (va & -GRANULE_SIZE) + GRANULE_SIZE;
	return 0;
}

static int scan(struct space *s, uint64_t va, uint64_t end, unsigned int flags, struct scan *scan)
{
	struct piece piece;
	uint64_t at;
	int ret;

	/* All that needs memory. */
	if (flags & (DUNE_VM_CLEAR | DUNE_VM_SPLIT)) {
		unsigned int how = PIECE_OWN | (flags & DUNE_VM_CLEAR ? PIECE_SPLIT : 0) |
				   (flags & DUNE_VM_SPLIT ? PIECE_SPLIT_ALL : 0);

		for (at = va; at < end; at = piece.next) {
			ret = __dune_walk_piece(s, at, end, how, &piece);
			if (!ret && flags & DUNE_VM_SPLIT && piece.level > LEVEL_PT)
				ret = touch_first(s, at, &piece);
			if (ret)
				return ret;
		}
	}
	scan->locked = !vm_alone();
	/* Those that were only accessed count as well: a CPU may set the other bit in this very moment. */
	scan->noted = scan->clear && scan->bits & PTE_D && region_state()->trackers;
	scan->root = s->root;
	scan->start = va;
	for (at = va; at < end; at = piece.next) {
		__dune_walk_piece(s, at, end, 0, &piece);
		if (piece.level == LEVEL_PT)
			scan_pages(scan, piece.e, (at - va) / PGSIZE, piece.n);
		else if (piece.level < LEVEL_ROOT)
			scan_large(scan, piece.e, (at - va) / PGSIZE,
				   ((piece.next < end ? piece.next : end) - at) / PGSIZE);
	}
	if (scan->clear && scan->count)
		s->unflushed = true;
	return 0;
}

int __dune_scan_clear(struct space *s, uint64_t va, uint64_t len)
{
	struct scan sc = { .bits = PTE_D, .clear = true };

	return scan(s, va, va + len, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, &sc);
}

static int check_flags(unsigned int flags)
{
	if (flags & ~(DUNE_VM_DIRTY | DUNE_VM_ACCESSED | DUNE_VM_CLEAR | DUNE_VM_SPLIT) ||
	    !(flags & (DUNE_VM_DIRTY | DUNE_VM_ACCESSED)))
		return -EINVAL;
	return 0;
}

static long scan_range(ptent_t *root, void *va, size_t len, unsigned int flags, uint64_t *bitmap)
{
	struct scan sc = {
		.bitmap = bitmap,
		.bits = (flags & DUNE_VM_DIRTY ? PTE_D : 0) | (flags & DUNE_VM_ACCESSED ? PTE_A : 0),
		.clear = flags & DUNE_VM_CLEAR,
	};
	uint64_t start = (uint64_t)va;
	struct space s;
	long ret;

	/* It can fault: not with the lock held. */
	if (bitmap)
		memset(bitmap, 0, (len / PGSIZE + WORD - 1) / WORD * sizeof(uint64_t));
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	if (flags & DUNE_VM_CLEAR)
		tracking_begin();
	ret = scan(&s, start, start + len, flags, &sc);
	space_end(&s, start, len);
	return ret ? ret : sc.count;
}

PUBLIC long dune_vm_scan(ptent_t *root, void *va, size_t len, unsigned int flags, uint64_t *bitmap)
{
	uint64_t start = (uint64_t)va;
	long ret = check_flags(flags);

	if (!ret)
		ret = __dune_check_range(start, len, PGSIZE);
	/* What was not touched yet may have been written by system calls. */
	if (!ret)
		ret = __dune_precise_update(root, start, start + len);
	return ret ? ret : scan_range(root, va, len, flags, bitmap);
}

/* ---- with a call for each run ---- */

/* Where the next leaf from @va on may be. */
static uint64_t skip_holes(ptent_t *root, uint64_t va, uint64_t end)
{
	uint64_t state = memory_lock();
	struct piece piece;
	struct space s;

	if (!__dune_space_open(&s, root))
		while (va < end && !__dune_walk_piece(&s, va, end, 0, &piece) && piece.level != LEVEL_PT &&
		       !is_mapped(*piece.e))
			va = piece.next;
	memory_unlock(state);
	return va;
}

/* The first page from @page on, below @n, whose bit is @value; @n if there is none. */
static unsigned int next_bit(const uint64_t *bitmap, unsigned int page, unsigned int n, bool value)
{
	while (page < n && (bitmap[page / WORD] >> page % WORD & 1) != value)
		page++;
	return page;
}

static int call_runs(const uint64_t *bitmap, uint64_t va, unsigned int n, dune_scan_cb cb, void *arg)
{
	unsigned int first, behind = 0;
	int ret;

	while ((first = next_bit(bitmap, behind, n, true)) < n) {
		behind = next_bit(bitmap, first, n, false);
		ret = cb(arg, (void *)(va + first * (uint64_t)PGSIZE), (behind - first) * (uint64_t)PGSIZE);
		if (ret)
			return ret;
	}
	return 0;
}

PUBLIC long dune_vm_scan_each(ptent_t *root, void *va, size_t len, unsigned int flags, dune_scan_cb cb, void *arg)
{
	uint64_t at = (uint64_t)va, end = at + len, bitmap[TABLE_ENTRIES / WORD];
	long ret, count = 0;

	ret = cb ? __dune_check_range(at, len, PGSIZE) : -EINVAL;
	if (!ret)
		ret = check_flags(flags);
	if (!ret)
		ret = __dune_precise_update(root, at, end);
	while (!ret && at < end) {
		uint64_t next;

		at = skip_holes(root, at, end);
		if (at >= end)
			break;
		next = (at & -(uint64_t)BIG_PGSIZE) + BIG_PGSIZE;
		if (next > end)
			next = end;
		ret = scan_range(root, (void *)at, next - at, flags, bitmap);
		if (ret < 0)
			break;
		count += ret;
		ret = ret ? call_runs(bitmap, at, (next - at) / PGSIZE, cb, arg) : 0;
		at = next;
	}
	return ret ? ret : count;
}
