// SPDX-License-Identifier: MIT
/*
 * Tables of an address space: finding entries, splitting leaves, and tables that are shared by clones.
 *
 * A page directory or a page table may be in several address spaces: its page's references say in how many.
 * Whoever changes an entry first makes a copy.  A PDPT is in one address space only.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include "memory/memory.h"

#define TABLE_BYTES	(TABLE_ENTRIES * sizeof(ptent_t))

static bool from_pool(ptent_t v)
{
	return page_of_pool(v & PTE_ADDRESS);
}

int __dune_space_open(struct space *s, ptent_t *root)
{
	if (!__dune_process.ready)
		return -EINVAL;
	if (!dune_in_guest() && READ_ONCE(region_state()->nr_threads))
		return -EPERM;
	*s = (struct space){ .root = root };
	if (root == __dune_process.root) {
		s->full = __dune_process.full;
		return 0;
	}
	if ((uint64_t)root & PGMASK || !page_of_pool((uint64_t)root) || !page_of((uint64_t)root)->ref)
		return -EINVAL;
	s->full = page_of((uint64_t)root)->next == PAGE_FULL;
	return 0;
}

/* ---- freeing ---- */

static void add_garbage(struct space *s, struct page *pg)
{
	pg->next = page_link(s->garbage);
	s->garbage = pg;
}

void __dune_space_put(struct space *s, struct page *pg)
{
	/* Nobody has it: an entry that was made by hand. */
	if (!READ_ONCE(pg->ref))
		return;
	if (!__atomic_sub_fetch(&pg->ref, 1, __ATOMIC_ACQ_REL))
		add_garbage(s, pg);
}

void __dune_walk_drop(struct space *s, ptent_t v, int level)
{
	struct page *pg;
	ptent_t *table;

	if (!is_table(v, level)) {
		if (level == LEVEL_PT && is_mapped(v) && from_pool(v))
			__dune_space_put(s, page_of(v));
		return;
	}
	if (!from_pool(v))
		return;
	pg = page_of(v);
	if (!pg->ref || __atomic_sub_fetch(&pg->ref, 1, __ATOMIC_ACQ_REL))
		return;
	table = table_of(v);
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		if (table[i])
			__dune_walk_drop(s, table[i], level - 1);
	add_garbage(s, pg);
}

void __dune_walk_set(struct space *s, ptent_t *e, ptent_t v, int level)
{
	ptent_t old = __atomic_exchange_n(e, v, __ATOMIC_ACQ_REL);

	if (!old)
		return;
	if (old & PTE_P)
		s->unflushed = true;
	if (is_table(old, level))
		s->flush_all = true;
	__dune_walk_drop(s, old, level);
}

/* ---- tables that are shared ---- */

/* Does @e lead to a table that somebody else has too?  When the others are gone it is no longer marked. */
static bool is_shared(ptent_t *e)
{
	if (!(*e & PTE_SHARED))
		return false;
	if (READ_ONCE(page_of(*e)->ref) > 1)
		return true;
	*e &= ~PTE_SHARED;
	return false;
}

/* The entries of @from are in @to as well now. */
static void get_entries(ptent_t *to, ptent_t *from, int level)
{
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
		ptent_t v = to[i];

		if (!v || !from_pool(v))
			continue;
		if (is_table(v, level)) {
			to[i] |= PTE_SHARED;
			from[i] |= PTE_SHARED;
		} else if (level != LEVEL_PT || !is_mapped(v)) {
			continue;
		}
		dune_page_get(page_of(v));
	}
}

void __dune_walk_share(ptent_t *to, ptent_t *from, int level)
{
	memcpy(to, from, TABLE_BYTES);
	get_entries(to, from, level);
}

/* What CPUs have noted in @from since it was copied. */
static void merge_noted(ptent_t *to, const ptent_t *from, int level)
{
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
		ptent_t noted = from[i] & (PTE_A | PTE_D);

		if (noted & ~to[i] && is_mapped(from[i]) && !is_table(from[i], level))
			__atomic_fetch_or(&to[i], noted, __ATOMIC_RELAXED);
	}
}

/* @e, of @level, leads to a table that others have too. */
static int unshare(struct space *s, ptent_t *e, int level)
{
	ptent_t v = *e, *from = table_of(v), *to;
	struct page *pg = __dune_page_take();

	if (!pg)
		return -ENOMEM;
	to = (ptent_t *)page_address(pg);
	__dune_walk_share(to, from, level - 1);
	__atomic_store_n(e, table_entry(page_address(pg)), __ATOMIC_RELEASE);
	if (vm_alone()) {
		s->flush_all = true;
	} else {
		/* Others may have set bits in the old table until now. */
		__dune_engine_flush_all();
		merge_noted(to, from, level - 1);
	}
	__atomic_sub_fetch(&page_of(v)->ref, 1, __ATOMIC_ACQ_REL);
	return 0;
}

/* ---- making tables ---- */

/* What the entries of a table that takes the place of @v, of @level, begin with, and by how much they differ. */
static ptent_t first_child(const struct space *s, ptent_t v, int level, uint64_t *step)
{
	*step = 0;
	if (is_mapped(v)) {
		*step = level_size(level - 1);
		return level == LEVEL_PD ? v & ~(ptent_t)PTE_PS : v;
	}
	if (v == PTE_FILL || (level == LEVEL_PDPT && !v && s->full))
		return PTE_FILL;
	return 0;
}

/* Put a table in the place of the leaf, or the nothing, @e of @level. */
static int split(struct space *s, ptent_t *e, int level)
{
	ptent_t v = READ_ONCE(*e), noted, *table;
	struct page *pg = __dune_page_take();
	uint64_t step, child;

	if (!pg)
		return -ENOMEM;
	table = (ptent_t *)page_address(pg);
	child = first_child(s, v, level, &step);
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++, child += step)
		table[i] = child;
	noted = __atomic_exchange_n(e, table_entry(page_address(pg)), __ATOMIC_ACQ_REL);
	noted &= ~v & (PTE_A | PTE_D);
	if (noted)
		for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
			__atomic_fetch_or(&table[i], noted, __ATOMIC_RELAXED);
	return 0;
}

/* The table of a slot of the root. */
static int make_pdpt(struct space *s, uint64_t va)
{
	struct page *pg;

	if (s->root == __dune_process.root) {
		__dune_pdpt_link(va);
		return 0;
	}
	pg = __dune_page_take();
	if (!pg)
		return -ENOMEM;
	memset((void *)page_address(pg), 0, PGSIZE);
	__atomic_store_n(&s->root[PDX(LEVEL_ROOT, va)], table_entry(page_address(pg)), __ATOMIC_RELEASE);
	return 0;
}

/* ---- walking ---- */

int __dune_walk_piece(struct space *s, uint64_t va, uint64_t end, unsigned int flags, struct piece *piece)
{
	ptent_t *e;
	int l, ret;

	e = flags & PIECE_WHOLE ? NULL : walk_quickly(s->root, va);
	if (e) {
		l = LEVEL_PT;
		goto found;
	}
	e = &s->root[PDX(LEVEL_ROOT, va)];
	l = LEVEL_ROOT;
	for (;;) {
		ptent_t v = READ_ONCE(*e);
		uint64_t size = level_size(l);
		bool covered = !(va & (size - 1)) && end - va >= size;

		if (is_table(v, l)) {
			if (covered && l < LEVEL_ROOT && flags & PIECE_WHOLE)
				break;
			if (flags & PIECE_OWN && l < LEVEL_ROOT && is_shared(e)) {
				ret = unshare(s, e, l);
				if (ret)
					return ret;
				v = *e;
			}
			l--;
			e = &table_of(v)[PDX(l, va)];
			continue;
		}
		if (flags & PIECE_NOTHING && s->full && l >= LEVEL_PDPT && !v && (l == LEVEL_ROOT || !covered)) {
			ret = l == LEVEL_ROOT ? make_pdpt(s, va) : split(s, e, l);
			if (ret)
				return ret;
			continue;
		}
		if (l && ((!covered && flags & PIECE_SPLIT) || flags & PIECE_SPLIT_ALL) &&
		    (is_mapped(v) || (v == PTE_FILL && flags & PIECE_SPLIT))) {
			ret = split(s, e, l);
			if (ret)
				return ret;
			continue;
		}
		break;
	}
found:
	piece->e = e;
	piece->level = l;
	piece->n = 1;
	piece->next = (va & -level_size(l)) + level_size(l);
	if (l == LEVEL_PT) {
		piece->n = TABLE_ENTRIES - PDX(LEVEL_PT, va);
		if (end - va < (uint64_t)piece->n << PGSHIFT)
			piece->n = (end - va) >> PGSHIFT;
		piece->next = va + ((uint64_t)piece->n << PGSHIFT);
	}
	return 0;
}

int __dune_walk_reach(struct space *s, uint64_t va, int level, ptent_t **out)
{
	ptent_t *e = &s->root[PDX(LEVEL_ROOT, va)];
	int ret;

	for (int l = LEVEL_ROOT; l > level; l--) {
		if (!is_table(*e, l))
			ret = l == LEVEL_ROOT ? make_pdpt(s, va) : split(s, e, l);
		else
			ret = l < LEVEL_ROOT && is_shared(e) ? unshare(s, e, l) : 0;
		if (ret)
			return ret;
		e = &table_of(*e)[PDX(l - 1, va)];
	}
	*out = e;
	return 0;
}

/* What keeps a first touch from @e: 0, or 1 as something is mapped, -EPERM for nobody, or -EACCES. */
static int filled(const struct space *s, ptent_t v, int level)
{
	if (v & PTE_P && level < LEVEL_ROOT)
		return 1;
	if (level >= LEVEL_PDPT ? !v && s->full : v == PTE_FILL)
		return 0;
	return v & PTE_HIDDEN && level < LEVEL_ROOT ? -EPERM : -EACCES;
}

/* What is mapped in shared tables so is right in all address spaces that have them. */
int __dune_walk_fill(struct space *s, uint64_t va)
{
	ptent_t *e, v;
	int level, ret;
	long gpa;

	e = walk_find(s->root, va, &level);
	ret = filled(s, *e, level);
	if (ret)
		return ret > 0 ? 0 : ret;
	if (__dune_process.fill)
		return __dune_process.fill(s, va);
	gpa = __dune_granule_get(va);	/* may change tables */
	if (is_error(gpa))
		return gpa;
	e = walk_find(s->root, va, &level);
	if (level == LEVEL_ROOT) {
		ret = make_pdpt(s, va);
		if (ret)
			return ret;
		e = walk_find(s->root, va, &level);
	}
	ret = filled(s, *e, level);
	if (ret)
		return ret > 0 ? 0 : ret;
	v = granule_entry(gpa + (va & (GRANULE_SIZE - 1) & -level_size(level))) | __dune_process.granule_bits;
	if (level == LEVEL_PT)
		v &= ~(ptent_t)PTE_PS;
	__atomic_store_n(e, v, __ATOMIC_RELEASE);
	return 0;
}

/* ---- memory as the process has it: precise.c ---- */

bool __dune_walk_fillable(const struct space *s, ptent_t v, int level)
{
	return !filled(s, v, level);
}

bool __dune_walk_any_fillable(struct space *s, uint64_t va, uint64_t end)
{
	struct piece piece;

	for (; va < end; va = piece.next) {
		__dune_walk_piece(s, va, end, 0, &piece);
		for (unsigned int i = 0; i < piece.n; i++)
			if (__dune_walk_fillable(s, piece.e[i], piece.level))
				return true;
	}
	return false;
}

/* The permissions of @leaf for an entry that was made before. */
static void set_made(ptent_t *e, ptent_t leaf)
{
	const ptent_t perm = PTE_W | PTE_NX | PTE_MADE_RO | PTE_MADE_NX;

	if (!((*e ^ leaf) & perm))
		return;
	__atomic_fetch_and(e, ~perm | leaf, __ATOMIC_RELAXED);
	__atomic_fetch_or(e, leaf & perm, __ATOMIC_RELEASE);
}

/* Is @v one of those that @what is about? */
static bool concerned(const struct space *s, ptent_t v, int level, enum making what)
{
	if (level < LEVEL_ROOT && is_made(v))
		return true;
	return what == MAKE && __dune_walk_fillable(s, v, level);
}

static void make(const struct space *s, ptent_t *e, ptent_t leaf, int level, enum making what)
{
	if (what == UNMAKE)
		__atomic_store_n(e, level == LEVEL_PDPT ? 0 : PTE_FILL, __ATOMIC_RELEASE);
	else if (__dune_walk_fillable(s, *e, level))
		__atomic_store_n(e, level ? leaf | PTE_PS : leaf, __ATOMIC_RELEASE);
	else
		set_made(e, leaf);
}

/* As with a first touch, what is done in shared tables is right in all address spaces that have them. */
int __dune_walk_make(struct space *s, uint64_t va, uint64_t end, ptent_t leaf, enum making what)
{
	while (va < end) {
		int level, ret;
		ptent_t *e = walk_find(s->root, va, &level);
		const uint64_t size = level_size(level);

		/* On in the same table, until one is below. */
		do {
			uint64_t next = (va & -size) + size;

			if (concerned(s, *e, level, what)) {
				if (level == LEVEL_ROOT || va & (size - 1) || next > end ||
				    (level > LEVEL_PT && __dune_process.small)) {
					ret = level == LEVEL_ROOT ? make_pdpt(s, va) : split(s, e, level);
					if (ret)
						return ret;
					break;
				}
				make(s, e, leaf, level, what);
			}
			leaf += next - va;
			va = next;
			e++;
		} while (va < end && (uint64_t)e & PGMASK && !is_table(*e, level));
	}
	return 0;
}
