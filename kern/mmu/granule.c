// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which granule of guest-physical space stands for which granule of the process.
 */
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "granule.h"

static u32 forward_get(const struct granule_table *t, u32 va_granule)
{
	const struct granule_place *leaf = t->forward[va_granule >> GRANULE_LEAF_BITS];

	return leaf ? leaf[va_granule & (GRANULE_LEAF_SIZE - 1)].gpa_granule : 0;
}

static u32 reverse_get(const struct granule_table *t, u32 gpa_granule)
{
	const u32 *page = t->reverse[gpa_granule / GRANULE_PER_PAGE];

	return page ? page[gpa_granule % GRANULE_PER_PAGE] : 0;
}

/* Readers follow the pointer without a lock: what is behind it must be zero before they can. */
static struct granule_place *forward_place(struct granule_table *t, u32 va_granule, struct granule_spare *spare)
{
	struct granule_place **slot = &t->forward[va_granule >> GRANULE_LEAF_BITS];

	if (!*slot) {
		smp_store_release(slot, spare->leaf);
		__set_bit(va_granule >> GRANULE_LEAF_BITS, t->leaves);
		spare->leaf = NULL;
	}
	return &(*slot)[va_granule & (GRANULE_LEAF_SIZE - 1)];
}

u32 *granule_reverse_page(struct granule_table *t, unsigned long index, struct granule_spare *spare)
{
	u32 **slot;

	if (index >= granule_nr_reverse_pages(t))
		return NULL;
	slot = &t->reverse[array_index_nospec(index, granule_nr_reverse_pages(t))];
	if (!*slot && spare) {
		smp_store_release(slot, spare->page);
		spare->page = NULL;
	}
	return *slot;
}

static void set(struct granule_table *t, u32 va_granule, u32 gpa_granule,
		struct granule_spare *spare)
{
	u32 *page = granule_reverse_page(t, gpa_granule / GRANULE_PER_PAGE, spare);
	struct granule_place *place = forward_place(t, va_granule, spare);

	place->round = t->round;
	WRITE_ONCE(page[gpa_granule % GRANULE_PER_PAGE], va_granule + 1);
	WRITE_ONCE(place->gpa_granule, gpa_granule + 1);
	t->used++;
}

/*
 * The highest free granule; there is one.  Amortized: t->top only moves up when a
 * granule comes back.
 */
static u32 highest_free(struct granule_table *t)
{
	while (reverse_get(t, t->top))
		t->top--;
	return t->top;
}

int granule_assign(struct granule_table *t, u64 va, struct granule_spare *spare, u64 *gpa)
{
	u64 va_granule = va >> GRANULE_SHIFT;
	u32 gpa_granule;

	if (va_granule >= GRANULE_NR_VA)
		return -EINVAL;
	va_granule = array_index_nospec(va_granule, GRANULE_NR_VA);
	gpa_granule = forward_get(t, va_granule);
	if (gpa_granule) {
		gpa_granule--;
	} else {
		if (t->used == t->nr)
			return -ENOSPC;
		if (va_granule < t->nr && !reverse_get(t, array_index_nospec(va_granule, t->nr)))
			gpa_granule = va_granule;
		else
			gpa_granule = highest_free(t);
		set(t, va_granule, gpa_granule, spare);
	}
	*gpa = (u64)gpa_granule << GRANULE_SHIFT;
	return 0;
}

void granule_take_back(struct granule_table *t, u64 va)
{
	u64 va_granule = va >> GRANULE_SHIFT;
	struct granule_place *place;
	u32 gpa_granule, *page;

	if (va_granule >= GRANULE_NR_VA || !forward_get(t, va_granule))
		return;
	place = forward_place(t, va_granule, NULL);
	gpa_granule = place->gpa_granule - 1;
	page = t->reverse[gpa_granule / GRANULE_PER_PAGE];

	WRITE_ONCE(place->gpa_granule, 0);
	WRITE_ONCE(page[gpa_granule % GRANULE_PER_PAGE], 0);
	t->used--;
	t->top = max(t->top, gpa_granule);
}

bool granule_next(const struct granule_table *t, u64 *va, u64 end, u64 *gpa)
{
	u32 g = *va >> GRANULE_SHIFT, last, stop;
	const struct granule_place *place, *leaf;

	if (*va >= end || *va >> GRANULE_VA_BITS)
		return false;
	for (last = (min(end, 1ULL << GRANULE_VA_BITS) - 1) >> GRANULE_SHIFT; g <= last; g++) {
		stop = min(g | (GRANULE_LEAF_SIZE - 1), last);
		leaf = READ_ONCE(t->forward[g >> GRANULE_LEAF_BITS]);
		if (leaf) {
			/* Most are empty. */
			place = &leaf[g & (GRANULE_LEAF_SIZE - 1)];
			for (; g < stop && !READ_ONCE(place->gpa_granule); g++)
				place++;
			*va = max(*va, (u64)g << GRANULE_SHIFT);
			if (granule_gpa(t, *va, gpa))
				return true;
		}
		g = stop;
	}
	return false;
}

int granule_spare_fill(struct granule_spare *spare)
{
	if (!spare->leaf)
		spare->leaf = kcalloc(GRANULE_LEAF_SIZE, sizeof(*spare->leaf), GFP_KERNEL_ACCOUNT);
	/* A page of its own, for user space maps it. */
	if (!spare->page)
		spare->page = (u32 *)__get_free_page(DUNE_GFP_MAPPED | __GFP_ZERO);
	return spare->leaf && spare->page ? 0 : -ENOMEM;
}

void granule_spare_release(struct granule_spare *spare)
{
	kfree(spare->leaf);
	free_page((unsigned long)spare->page);
	spare->leaf = NULL;
	spare->page = NULL;
}

/* What was assigned after @round. */
static void take_back_newer(struct granule_table *t, u32 round)
{
	const struct granule_place *place;
	u64 va = 0, gpa;

	for (; granule_next(t, &va, ~0ULL, &gpa); va += GRANULE_SIZE) {
		place = forward_place(t, va >> GRANULE_SHIFT, NULL);
		if ((s32)(place->round - round) > 0)
			granule_take_back(t, va);
	}
}

int granule_table_copy(struct granule_table *to, const struct granule_table *from, u32 round)
{
	const u32 *old;
	u32 i;

	for_each_set_bit(i, from->leaves, GRANULE_NR_LEAVES) {
		to->forward[i] = kmemdup(from->forward[i], GRANULE_LEAF_SIZE * sizeof(*from->forward[i]),
					 GFP_KERNEL_ACCOUNT);
		if (!to->forward[i])
			return -ENOMEM;
		__set_bit(i, to->leaves);
	}
	for (i = 0; i < granule_nr_reverse_pages(from); i++) {
		old = READ_ONCE(from->reverse[i]);
		if (!old)
			continue;
		to->reverse[i] = (u32 *)__get_free_page(DUNE_GFP_MAPPED);
		if (!to->reverse[i])
			return -ENOMEM;
		memcpy(to->reverse[i], old, GRANULE_PER_PAGE * sizeof(u32));
	}
	to->used = from->used;
	to->top = from->top;
	to->round = round;
	to->stale = from->stale || from->round != round;
	if (to->stale)
		take_back_newer(to, round);
	return 0;
}

int granule_table_init(struct granule_table *t, unsigned int gpa_bits)
{
	if (gpa_bits <= GRANULE_SHIFT || gpa_bits > 52)
		return -EINVAL;
	memset(t, 0, sizeof(*t));
	t->nr = 1U << (gpa_bits - GRANULE_SHIFT);
	t->top = t->nr - 1;
	t->reverse = kcalloc(granule_nr_reverse_pages(t), sizeof(*t->reverse), GFP_KERNEL_ACCOUNT);
	return t->reverse ? 0 : -ENOMEM;
}

void granule_table_destroy(struct granule_table *t)
{
	u32 i;

	if (!t->reverse)
		return;
	for_each_set_bit(i, t->leaves, GRANULE_NR_LEAVES)
		kfree(t->forward[i]);
	/* Where user space still has a page mapped, this drops our reference only. */
	for (i = 0; i < granule_nr_reverse_pages(t); i++)
		free_page((unsigned long)t->reverse[i]);
	kfree(t->reverse);
	t->reverse = NULL;
}
