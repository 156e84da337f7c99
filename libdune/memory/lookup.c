// SPDX-License-Identifier: MIT
/*
 * Looking at entries, one or all.
 *
 * Who gets a pointer to one may write there: no table on the way is shared.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include "memory/memory.h"

static int level_of(int create)
{
	switch (create) {
	case CREATE_NORMAL:
		return LEVEL_PT;
	case CREATE_BIG:
		return LEVEL_PD;
	case CREATE_BIG_1GB:
		return LEVEL_PDPT;
	}
	return -EINVAL;
}

static int lookup(struct space *s, uint64_t va, int create, ptent_t **out)
{
	struct piece piece;
	int ret, level;

	if (s->full && (ret = __dune_walk_fill(s, va)) == -ENOMEM)
		return ret;
	if (create != CREATE_NONE) {
		level = level_of(create);
		if (level < 0)
			return level;
		walk_find(s->root, va, &ret);
		if (ret > level) {
			ret = __dune_walk_reach(s, va, level, out);
			if (ret)
				return ret;
		}
	}
	ret = __dune_walk_piece(s, va & -(uint64_t)PGSIZE, (va & -(uint64_t)PGSIZE) + PGSIZE, PIECE_OWN, &piece);
	if (ret)
		return ret;
	if (piece.level == LEVEL_ROOT || (piece.level > LEVEL_PT && create == CREATE_NONE && !is_mapped(*piece.e)))
		return -ENOENT;
	*out = piece.e;
	return 0;
}

PUBLIC int dune_vm_lookup(ptent_t *root, void *va, int create, ptent_t **pte_out)
{
	uint64_t addr = (uint64_t)va;
	ptent_t *e = NULL;
	struct space s;
	int ret;

	if (!pte_out || !user_address(addr))
		return -EINVAL;
	if (create != CREATE_NONE && __dune_own_memory(addr, addr + 1))
		return -EINVAL;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	tracking_begin();	/* who has a pointer may write there */
	ret = lookup(&s, addr, create, &e);
	space_end(&s, addr & -(uint64_t)PGSIZE, PGSIZE);
	if (!ret)
		*pte_out = e;
	return ret;
}

PUBLIC struct page *dune_vm_lookup_page(ptent_t *root, void *va)
{
	struct page *pg = NULL;
	struct space s;
	uint64_t state;
	ptent_t *e;
	int level;

	if (!user_address((uint64_t)va))
		return NULL;
	state = memory_lock();
	if (!__dune_space_open(&s, root)) {
		e = walk_find(root, (uint64_t)va, &level);
		if (level == LEVEL_PT && is_mapped(*e) && page_of_pool(*e & PTE_ADDRESS))
			pg = page_of(*e);
	}
	memory_unlock(state);
	return pg;
}

/* The next entry from *@va on, up to @last, that is not empty; *@va becomes where it begins.  1: found, 0, -errno. */
static int next_entry(struct space *s, uint64_t *va, uint64_t last, ptent_t **e, uint64_t *next)
{
	struct piece piece;
	int ret;

	while (*va <= last) {
		ret = __dune_walk_piece(s, *va, last + 1, PIECE_OWN, &piece);
		if (ret)
			return ret;
		for (unsigned int i = 0; i < piece.n; i++) {
			ptent_t v = piece.e[i];
			uint64_t at = (*va & -level_size(piece.level)) + i * level_size(piece.level);

			if (!v || v == PTE_FILL || v == PTE_ABSENT ||
			    __dune_own_memory(at, at + level_size(piece.level)))
				continue;
			*va = at;
			*e = &piece.e[i];
			*next = at + level_size(piece.level);
			return 1;
		}
		*va = piece.next;
	}
	return 0;
}

PUBLIC int dune_vm_page_walk(ptent_t *root, void *start_va, void *end_va, page_walk_cb cb, const void *arg)
{
	uint64_t va = (uint64_t)start_va & -(uint64_t)PGSIZE, last = (uint64_t)end_va;
	const uint64_t user_last = (1UL << 47) - 1;
	int ret;

	if (!cb || last < va)
		return -EINVAL;
	if (end_va == VA_END)
		last = user_last;
	if (!user_address(last))
		return -EINVAL;
	last |= PGMASK;
	ret = __dune_precise_update(root, va, last + 1);
	if (ret)
		return ret;
	for (;;) {
		uint64_t next = 0;
		ptent_t *e = NULL;
		struct space s;

		ret = space_begin(&s, root);
		if (ret)
			return ret;
		tracking_begin();
		ret = next_entry(&s, &va, last, &e, &next);
		space_end(&s, 0, 0);
		if (ret <= 0)
			return ret;
		ret = cb(arg, e, (void *)va);
		if (ret)
			return ret;
		va = next;
	}
}
