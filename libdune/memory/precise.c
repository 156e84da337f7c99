// SPDX-License-Identifier: MIT
/*
 * dune_init(false): address spaces that have what the memory map of the process has, as far as somebody has
 * touched or asked for it, with the permissions that it has there.
 *
 * What such an entry allows may be too much or out of date: it leads where the same address of the process does,
 * whatever is there, and the module enforces the permissions below. What it allows too little is repaired at the
 * fault. An entry that the program has changed is the program's, here as in full mode.
 *
 * HR3, but for go() and what calls it, and __dune_precise_refresh().
 */
#include <linux/mman.h>

#include "base/procmap.h"
#include "memory/memory.h"

struct update {
	struct space s;
	uint64_t va, end;		/* still to be looked at */
	bool fresh;			/* nothing is there yet */
	uint64_t granule;	/* the last one whose place was asked for, plus 1 */
	uint64_t gpa;
	long ret;
};

static ptent_t leaf_flags(bool w, bool x)
{
	return PTE_P | PTE_NOTED | PTE_MADE | (w ? PTE_W : PTE_MADE_RO) | (x ? 0 : PTE_NX | PTE_MADE_NX);
}

/* [va, end) in one granule. */
static long update_granule(struct update *u, uint64_t va, uint64_t end, ptent_t flags)
{
	uint64_t granule = va >> GRANULE_SHIFT;

	if (u->granule != granule + 1) {
		long gpa = __dune_granule_get(va);

		if (is_error(gpa))
			return gpa == -EFAULT ? 0 : gpa;	/* it is gone again */
		u->granule = granule + 1;
		u->gpa = gpa;
	}
	return __dune_walk_make(&u->s, va, end, (u->gpa + (va & (GRANULE_SIZE - 1))) | flags, MAKE);
}

/* So much in one piece would leave too little guest-physical memory for all else: a first touch maps it by granules. */
static bool too_long(uint64_t length)
{
	return length >> GRANULE_SHIFT > __dune_process.nr_granules / 8;
}

/*
 * Up to @end the process has nothing. An entry there is from before: whoever adds one has the lock, which was taken
 * before the memory map was read.
 */
static void update_gap(struct update *u, uint64_t end)
{
	if (end > u->end)
		end = u->end;
	if (end <= u->va)
		return;
	/* Without memory for a table some are left. */
	if (!u->fresh)
		__dune_walk_make(&u->s, u->va, end, 0, UNMAKE);
	u->va = end;
}

static bool update_mapping(const struct dune_procmap_entry *e, void *arg)
{
	struct update *u = arg;
	uint64_t end = e->end < u->end ? e->end : u->end, next;

	if (!(e->r || e->w || e->x))
		return true;
	update_gap(u, e->begin);
	if (u->va < end && too_long(end - u->va))
		u->va = end;
	for (; u->va < end && !u->ret; u->va = next) {
		next = (u->va & -GRANULE_SIZE) + GRANULE_SIZE;
		if (next > end)
			next = end;
		u->ret = update_granule(u, u->va, next, leaf_flags(e->w, e->x));
	}
	return !u->ret && u->va < u->end;
}

/* HR3, with the lock held. */
static long update(ptent_t *root, uint64_t va, uint64_t end, bool fresh)
{
	struct update u = { .s = { .root = root, .full = true }, .va = va, .end = end, .fresh = fresh };
	long ret = __dune_procmap_each(update_mapping, &u);

	if (!ret)
		ret = u.ret;
	if (!ret)
		update_gap(&u, u.end);
	return ret;
}

/* The piece round @va that a touch maps: what the entry that is not there could map, but 2 MiB at least. */
static long touch(ptent_t *root, uint64_t va)
{
	struct update u = { .s = { .root = root, .full = true } };
	uint64_t page = va & -(uint64_t)PGSIZE, size;
	int level;
	long ret;
	ptent_t *e;

	walk_find(root, va, &level);
	size = level_size(level < LEVEL_PD ? LEVEL_PD : level > LEVEL_PDPT ? LEVEL_PDPT : level);
	ret = update(root, va & -size, (va & -size) + size, false);
	/* No memory map (no /proc, no descriptor): the module knows what may be done there. */
	if (ret && ret != -ENOMEM)
		ret = update_granule(&u, page, page + PGSIZE, leaf_flags(true, true));
	if (ret)
		return ret;
	e = walk_find(root, va, &level);
	return level < LEVEL_ROOT && *e & PTE_P ? 0 : -EFAULT;
}

long __dune_precise_host(ptent_t *root, uint64_t va, uint64_t end)
{
	return end ? update(root, va, end, false) : touch(root, va);
}

static long go(struct space *s, uint64_t va, uint64_t end)
{
	if (dune_in_guest())
		return __dune_process.gate(PRIVATE_PRECISE, (unsigned long)s->root, va, end);
	return __dune_precise_host(s->root, va, end);
}

long __dune_precise_touch(struct space *s, uint64_t va)
{
	return go(s, va, 0);
}

long __dune_precise_update(ptent_t *root, uint64_t va, uint64_t end)
{
	struct space s;
	long ret;

	if (!__dune_process.precise)
		return 0;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	if (s.full && __dune_walk_any_fillable(&s, va, end))
		ret = go(&s, va, end);
	space_end(&s, va, end - va);
	return ret == -ENOSPC ? 0 : ret;	/* no guest-physical memory: nor for a touch */
}

/* ---- faults on what is mapped ---- */

static bool allows(ptent_t v, uint32_t error)
{
	return v & PTE_P && (!(error & PF_WRITE) || v & PTE_W) && (!(error & PF_FETCH) || !(v & PTE_NX));
}

/*
 * GR0.  An access to @va has met an entry that does not allow it.  Where that is one made here, the process may
 * allow it by now.  0: try again; -EFAULT: it is for the kernel to refuse; -EACCES: the program has forbidden it.
 */
long __dune_precise_refresh(uint64_t va, uint32_t error)
{
	struct space s = { .full = true };
	long ret = -EACCES;
	uint64_t state;
	ptent_t *e;
	int level;

	if (!__dune_process.precise || error & (PF_USER | PF_RESERVED) || !user_address(va))
		return -EACCES;
	state = memory_lock();
	s.root = __dune_current_root();
	e = walk_find(s.root, va, &level);
	if (is_made(*e) && !allows(*e, error))
		__dune_precise_touch(&s, va);
	e = walk_find(s.root, va, &level);
	/* Another thread was quicker, or this CPU knew an old entry. */
	if (__dune_walk_fillable(&s, *e, level))
		ret = 0;
	else if (is_made(*e))
		ret = allows(*e, error) ? 0 : -EFAULT;
	memory_unlock(state);
	return ret;
}

/* ---- what the process does with its memory ---- */

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static void make_again(ptent_t *root, uint64_t va, uint64_t end, ptent_t leaf, enum making what)
{
	struct space s = { .root = root, .full = true };

	/* Without memory for a table it stays as it is. */
	__dune_walk_make(&s, va, end, leaf, what);
}

static void make_again_everywhere(uint64_t va, uint64_t end, ptent_t leaf, enum making what)
{
	if (va >= end)
		return;
	make_again(__dune_process.root, va, end, leaf, what);
	for (uint64_t i = 0; i < region_state()->nr_pages; i++)
		if (page_by_index(i)->ref && page_by_index(i)->next == PAGE_FULL)
			make_again((ptent_t *)page_address(page_by_index(i)), va, end, leaf, what);
}

/*
 * After a system call that has changed what the process has in [start, start + length), to @prot (PROT_NONE:
 * nothing, or something else).  No flush: what a TLB still knows leads where the address leads.  Libdune's
 * own code and data stay: without them no fault could be handled.
 */
void __dune_precise_changed(uint64_t start, uint64_t length, int prot)
{
	uint64_t low = (uint64_t)__ehdr_start & -(uint64_t)PGSIZE;
	uint64_t high = ((uint64_t)_end + PGMASK) & -(uint64_t)PGSIZE;
	uint64_t end = (start + length + PGMASK) & -(uint64_t)PGSIZE, state;
	ptent_t leaf = leaf_flags(prot & PROT_WRITE, prot & PROT_EXEC);
	enum making what = prot == PROT_NONE ? UNMAKE : MAKE_AGAIN;

	if (!__dune_process.precise || end <= start || !user_address(end - 1))
		return;
	state = memory_lock();
	make_again_everywhere(start, end < low ? end : low, leaf, what);
	make_again_everywhere(start > high ? start : high, end, leaf, what);
	memory_unlock(state);
}

/*
 * HR3: the first address space gets all that the process has. 0 or -errno. What is left out because the memory map
 * cannot be read, or memory is short, comes at the first touch.
 */
int __dune_precise_begin(void)
{
	uint64_t state = memory_lock();
	int ret = __dune_pool_ready();

	if (!ret) {
		__dune_process.precise = true;
		__dune_process.fill = __dune_precise_touch;
		update(__dune_process.root, 0, 1UL << 47, true);
	}
	memory_unlock(state);
	return ret;
}
