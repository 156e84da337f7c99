// SPDX-License-Identifier: MIT
/*
 * The page pool: addresses of MAX_PAGES pages, reserved at the first use, of which more become memory as
 * they are needed, and never fewer.  The struct pages lie in libdune's own granule.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include <linux/mman.h>

#include "memory/memory.h"

/* The pool grows by as many pages as it has, between these. */
#define GROW_MIN	64
#define GROW_MAX	8192

void (*__dune_pool_grown)(void);

long __dune_page_credit = -1;

_Static_assert(sizeof(struct page) * MAX_PAGES <= REGION_PAGES_SIZE, "there is room for all struct pages");

bool __dune_pool_touches(uint64_t start, uint64_t end)
{
	return end > PAGEBASE && start < PAGEBASE + POOL_SIZE;
}

/* ---- growing ---- */

/* Make memory of what is needed for pages from @first up to @end, in steps of @size bytes for each. */
static long open_memory(unsigned long base, unsigned long first, unsigned long end, unsigned long size)
{
	unsigned long low = (base + first * size) & -(unsigned long)PAGE_SIZE;
	unsigned long high = (base + end * size + PAGE_SIZE - 1) & -(unsigned long)PAGE_SIZE;

	__dune_dump_memory(low, high, true);
	return dune_syscall3(__NR_mprotect, low, high - low, PROT_READ | PROT_WRITE);
}

long __dune_pool_extend(unsigned long nr_pages)
{
	unsigned long first = region_state()->nr_pages;
	long ret;

	if (!region_state()->pool_reserved) {
		ret = __dune_reserve(PAGEBASE, PAGEBASE + POOL_SIZE);
		if (ret)
			return ret;
		region_state()->pool_reserved = true;
	}
	ret = __dune_region_hold_pool();
	if (ret)
		return ret;
	ret = open_memory(__dune_process.region + REGION_PAGES, first, nr_pages, sizeof(struct page));
	return ret ? ret : open_memory(PAGEBASE, first, nr_pages, PGSIZE);
}

/*
 * In every address space, and at the same guest-physical address: all at once, before there is another address
 * space.
 */
static long map_pool(void)
{
	for (uint64_t va = PAGEBASE; va < PAGEBASE + POOL_SIZE; va += GRANULE_SIZE) {
		long gpa = __dune_granule_get(va);

		if (is_error(gpa))
			return gpa;
		if ((uint64_t)gpa != va)
			return -EBUSY;
		__dune_granule_set(va, gpa);
	}
	return 0;
}

static long grow(void)
{
	const unsigned long before = region_state()->nr_pages;
	unsigned long step = before, size;
	long ret;

	if (step < GROW_MIN)
		step = GROW_MIN;
	if (step > GROW_MAX)
		step = GROW_MAX;
	size = before + step;
	if (size > MAX_PAGES)
		size = MAX_PAGES;
	if (size == before)
		return -ENOMEM;
	ret = dune_in_guest() ? __dune_process.gate(PRIVATE_POOL_EXTEND, size, 0, 0) : __dune_pool_extend(size);
	if (ret)
		return ret;
	if (!before) {
		ret = map_pool();
		if (ret)
			return ret;
	}
	__atomic_store_n(&region_state()->nr_pages, size, __ATOMIC_RELEASE);
	if (__dune_pool_grown)
		__dune_pool_grown();
	return 0;
}

int __dune_pool_ready(void)
{
	return region_state()->nr_pages ? 0 : grow();
}

/* ---- taking and giving back ---- */

struct page *__dune_page_take(void)
{
	struct region_state *state = region_state();
	struct page *pg = page_linked(state->free_pages);

	if (!__dune_page_credit)
		return NULL;
	if (pg) {
		state->free_pages = pg->next;
	} else {
		if (state->never_used == state->nr_pages && grow())
			return NULL;
		pg = page_by_index(state->never_used++);
	}
	if (__dune_page_credit > 0)
		__dune_page_credit--;
	pg->next = 0;
	pg->pcid = 0;
	state->used++;
	__atomic_store_n(&pg->ref, 1, __ATOMIC_RELEASE);
	return pg;
}

/* Nobody has a reference any more. */
void __dune_page_give(struct page *pg)
{
	pg->ref = 0;
	pg->pcid = 0;
	pg->next = region_state()->free_pages;
	region_state()->free_pages = page_link(pg);
	region_state()->used--;
}

/* ---- for programs ---- */

PUBLIC struct page *dune_page_alloc(void)
{
	uint64_t state;
	struct page *pg;

	if (!__dune_process.ready)
		return NULL;
	state = memory_lock();
	pg = __dune_page_take();
	memory_unlock(state);
	if (pg)
		memset((void *)page_address(pg), 0, PGSIZE);
	return pg;
}

PUBLIC void dune_page_free(struct page *pg)
{
	uint64_t state;

	if (!is_page(pg))
		return;
	state = memory_lock();
	if (pg->ref)
		__dune_page_give(pg);
	memory_unlock(state);
}

PUBLIC void dune_page_put(struct page *pg)
{
	uint64_t ref;

	if (!is_page(pg))
		return;
	ref = __atomic_load_n(&pg->ref, __ATOMIC_RELAXED);
	/* The last one is dropped with the lock held. */
	while (ref > 1)
		if (__atomic_compare_exchange_n(&pg->ref, &ref, ref - 1, false,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return;
	if (ref) {
		uint64_t state = memory_lock();

		if (pg->ref && !__atomic_sub_fetch(&pg->ref, 1, __ATOMIC_ACQ_REL))
			__dune_page_give(pg);
		memory_unlock(state);
	}
}

PUBLIC struct page *dune_pa2page(physaddr_t pa)
{
	return page_of(pa);
}

PUBLIC physaddr_t dune_page2pa(struct page *pg)
{
	return page_address(pg);
}

PUBLIC bool dune_page_isfrompool(physaddr_t pa)
{
	return page_of_pool(pa);
}

PUBLIC void dune_page_stats(void)
{
	dune_printf("page pool: %u of %lu pages in use, %lu at most\n", READ_ONCE(region_state()->used),
		    READ_ONCE(region_state()->nr_pages), MAX_PAGES);
}
