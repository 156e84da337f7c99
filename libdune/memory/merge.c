// SPDX-License-Identifier: MIT
/*
 * Large leaves in the place of tables that map the same.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include "memory/memory.h"

/* The leaf that can take the place of the table @t of @level, or 0. */
static ptent_t merged(const ptent_t *t, int level)
{
	uint64_t step = level_size(level);
	ptent_t first = t[0], noted = 0;

	if (!is_mapped(first) || is_table(first, level) || (first & PTE_ADDRESS) & (level_size(level + 1) - 1))
		return 0;
	if (level == LEVEL_PT &&
	    (first & PTE_PAT || __dune_pool_touches(first & PTE_ADDRESS, (first & PTE_ADDRESS) + 1)))
		return 0;
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
		if ((t[i] ^ (first + i * step)) & ~(ptent_t)PTE_NOTED)
			return 0;
		noted |= t[i] & PTE_NOTED;
	}
	return first | noted | PTE_PS;
}

/*
 * Find the entry of @level + 1 for @va that leads to a table, of this address space alone.  NULL: there is none; then
 * nothing up to *@next can be merged.
 */
static ptent_t *find_table(struct space *s, uint64_t va, int level, uint64_t *next)
{
	ptent_t *e = &s->root[PDX(LEVEL_ROOT, va)];

	for (int l = LEVEL_ROOT; ; l--, e = &table_of(*e)[PDX(l, va)]) {
		*next = (va & -level_size(l)) + level_size(l);
		if (!is_table(*e, l))
			return NULL;
		if (l < LEVEL_ROOT && (!page_of_pool(*e & PTE_ADDRESS) || page_of(*e)->ref != 1))
			return NULL;
		if (l == level + 1)
			return e;
	}
}

/* The tables of @level that lie in [va, end) whole. */
static long merge_level(struct space *s, uint64_t va, uint64_t end, int level)
{
	uint64_t size = level_size(level + 1), next;
	long count = 0;

	for (va = (va + size - 1) & -size; va < end && end - va >= size; va = next) {
		ptent_t *e = find_table(s, va, level, &next), v;

		v = e ? merged(table_of(*e), level) : 0;
		if (!v)
			continue;
		/* What other CPUs note in the table from now on is lost with it. */
		if (!vm_alone())
			v |= PTE_NOTED;
		__dune_walk_set(s, e, v, level + 1);
		count++;
	}
	return count;
}

PUBLIC long dune_vm_merge(ptent_t *root, void *va, size_t len)
{
	uint64_t start = (uint64_t)va;
	struct space s;
	long ret;

	ret = __dune_check_range(start, len, PGSIZE);
	if (ret)
		return ret;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	ret = merge_level(&s, start, start + len, LEVEL_PT);
	ret += merge_level(&s, start, start + len, LEVEL_PD);
	space_end(&s, start, len);
	return ret;
}
