// SPDX-License-Identifier: MIT
/*
 * Ranges of the first libdune: the pages that they touch, whatever is there.
 *
 * HR3 and GR0.
 */
#include "compat/compat.h"

#define PERM_ALL	(PERM_R | PERM_W | PERM_X | PERM_U | PERM_UC | PERM_COW | PERM_BIG | PERM_BIG_1GB | PERM_USR3)

/* The pages of @size that [va, va + len) touches; false: there are none.  What wraps round stays wrong. */
static bool round_out(const void *va, size_t len, uint64_t size, uint64_t *start, uint64_t *bytes)
{
	uint64_t last;

	if (!len)
		return false;
	if (__builtin_add_overflow((uint64_t)va, len - 1, &last))
		last = ~0UL;
	*start = (uint64_t)va & -size;
	*bytes = (last | (size - 1)) - *start + 1;
	return true;
}

static uint64_t size_of(int perm)
{
	return level_size(perm & PERM_BIG_1GB ? LEVEL_PDPT : perm & PERM_BIG ? LEVEL_PD : LEVEL_PT);
}

/* ---- permissions ---- */

/* A page is there; perhaps the program has made its entry not present. */
static bool is_there(ptent_t v)
{
	return v & PTE_ADDRESS || is_mapped(v);
}

/* In between an entry allows nothing that it did not allow before or does not afterwards. */
static void change(const struct piece *piece, ptent_t set)
{
	for (unsigned int i = 0; i < piece->n; i++) {
		if (!is_there(piece->e[i]))
			continue;
		__atomic_fetch_and(&piece->e[i], ~(PTE_PERM & ~set), __ATOMIC_RELAXED);
		__atomic_fetch_or(&piece->e[i], set, __ATOMIC_RELEASE);
	}
}

static int protect_there(struct space *s, uint64_t va, uint64_t end, ptent_t set)
{
	struct piece piece;
	int ret = __dune_compat_fill(s, va, end);

	for (uint64_t at = va; at < end && !ret; at = piece.next)
		ret = __dune_walk_piece(s, at, end, PIECE_OWN | PIECE_SPLIT, &piece);
	if (ret)
		return ret;
	s->unflushed = true;
	for (uint64_t at = va; at < end; at = piece.next) {
		__dune_walk_piece(s, at, end, 0, &piece);
		if (piece.level < LEVEL_ROOT)
			change(&piece, set);
	}
	return 0;
}

/* A range with holes. */
static int protect(ptent_t *root, uint64_t va, uint64_t len, int perm)
{
	ptent_t set = __dune_flags_of(perm);
	struct space s;
	int ret = __dune_precise_update(root, va, va + len);

	if (!ret)
		ret = space_begin(&s, root);
	if (ret)
		return ret;
	tracking_begin();
	ret = protect_there(&s, va, va + len, set);
	space_end(&s, va, len);
	return ret;
}

PUBLIC int dune_compat_vm_mprotect(ptent_t *root, void *va, size_t len, int perm)
{
	uint64_t start, bytes;
	int ret;

	if (!round_out(va, len, PGSIZE, &start, &bytes))
		return 0;
	ret = dune_vm_mprotect(root, (void *)start, bytes, perm & PERM_ALL);
	return ret == -ENOENT ? protect(root, start, bytes, perm & PERM_ALL) : ret;
}

/* ---- mapping ---- */

/* Does the process have all of [gpa, gpa + len), if not yet then at the same address? */
static bool provide(uint64_t gpa, uint64_t len)
{
	uint64_t end = gpa + len, lock;
	bool looks, there;

	if (end < gpa || end > dune_phys_limit())
		return false;
	for (gpa &= -GRANULE_SIZE; gpa < end; gpa += GRANULE_SIZE) {
		lock = memory_lock();
		looks = !__dune_granules_look();
		there = looks && __dune_engine_granule_owner(gpa);
		memory_unlock(lock);
		if (!there && (!looks || __dune_compat_granule(gpa) != (long)gpa))
			return false;
	}
	return true;
}

PUBLIC int dune_compat_vm_map_phys(ptent_t *root, void *va, size_t len, void *pa, int perm)
{
	uint64_t start, bytes, gpa;

	if (!round_out(va, len, size_of(perm), &start, &bytes))
		return 0;
	gpa = (start - (uint64_t)va + (uint64_t)pa) & -(uint64_t)PGSIZE;
	if (!__dune_process.ready || !provide(gpa, bytes))
		return -EINVAL;
	if (!(perm & PERM_R))
		perm &= PERM_BIG | PERM_BIG_1GB;
	return dune_vm_map_phys(root, (void *)start, bytes, (void *)gpa, perm & PERM_ALL);
}

PUBLIC int dune_compat_vm_map_pages(ptent_t *root, void *va, size_t len, int perm)
{
	uint64_t start, bytes;

	if (!round_out(va, len, PGSIZE, &start, &bytes))
		return 0;
	if (!(perm & PERM_R) && perm)
		return -EINVAL;
	return dune_vm_map_pages(root, (void *)start, bytes, perm & PERM_ALL & ~(PERM_BIG | PERM_BIG_1GB));
}

PUBLIC int dune_compat_vm_insert_page(ptent_t *root, void *va, struct page *pg, int perm)
{
	return dune_vm_insert_page(root, (void *)PGADDR(va), pg, perm & PERM_ALL & ~(PERM_BIG | PERM_BIG_1GB));
}

PUBLIC void dune_compat_vm_unmap(ptent_t *root, void *va, size_t len)
{
	uint64_t start, bytes;

	if (round_out(va, len, PGSIZE, &start, &bytes))
		dune_vm_unmap(root, (void *)start, bytes);
}
