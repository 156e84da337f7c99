// SPDX-License-Identifier: MIT
/*
 * dune_init() of the first libdune: what guest-physical addresses are, and dune_init(true), after which each page has
 * an entry of 4 KiB, for ring 3 too.
 *
 * Below mmap_base a guest-physical address is the virtual one, and the 63 GiB from there on are in one piece, before
 * anything is mapped.  The module gives a granule its own address where that exists, and else the highest that is
 * free; so it is enough to ask for the granules from above, once, while a page is mapped in each.
 *
 * HR3 and GR0.
 */
#include <linux/mman.h>

#include "compat/compat.h"

#define LOW_GRANULES	4	/* that the first libdune maps below mmap_base */
#define AREA_GRANULES	63	/* from mmap_base on */

#define PTE_COMPAT	(PTE_P | PTE_W | PTE_U)

static int state;	/* of dune_compat_init(): what it returns again */

/* ---- where things are ---- */

static uint64_t page_inside(uint64_t va)
{
	return (va & -GRANULE_SIZE) + GRANULE_SIZE / 2;
}

long __dune_compat_granule(uint64_t va)
{
	long gpa = dune_get_granule((void *)va);

	/* The page stays: between mmap() and munmap() another thread may have mapped something else to it. */
	if (gpa == -EFAULT && user_address(va) && !__dune_reserve(page_inside(va), page_inside(va) + PGSIZE))
		gpa = dune_get_granule((void *)va);
	return gpa;
}

/*
 * Whole granules, from the last one on, with as few mappings as what is there allows.  Before there are other threads:
 * what one of them mapped meanwhile would go.
 */
static void place(uint64_t va, uint64_t end)
{
	uint64_t start = va, stop = end, middle = va + ((end - va) / 2 & -GRANULE_SIZE);
	bool single = end - va == GRANULE_SIZE, reserved;

	if (single) {
		start = page_inside(va);
		stop = start + PGSIZE;
	}
	reserved = !__dune_reserve(start, stop);
	if (!reserved && !single) {
		place(middle, end);
		place(va, middle);
		return;
	}
	for (; end > va; end -= GRANULE_SIZE)
		dune_get_granule((void *)(end - GRANULE_SIZE));
	if (reserved)
		dune_syscall2(__NR_munmap, start, stop - start);
}

/* The end of the granule behind that where the kernel puts a page now: the process's libraries are below it. */
static uint64_t end_of_area(uint64_t stack)
{
	long at = dune_syscall6(__NR_mmap, 0, PGSIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t end = (at & -GRANULE_SIZE) + 2 * GRANULE_SIZE;

	if (is_error(at))
		return stack;
	dune_syscall2(__NR_munmap, at, PGSIZE);
	return end < stack ? end : stack;
}

static uint64_t stack_area(void)
{
	return (uint64_t)__builtin_frame_address(0) & -GRANULE_SIZE;
}

static void place_granules(void)
{
	uint64_t stack = stack_area(), end = end_of_area(stack), area = end - AREA_GRANULES * GRANULE_SIZE;

	__dune_compat_publish(area, stack);
	/* A small machine has none to spare: there they are side by side by chance only. */
	if (__dune_process.nr_granules < 4 * AREA_GRANULES)
		return;
	place(0, LOW_GRANULES * GRANULE_SIZE);
	place(stack, stack + GRANULE_SIZE);
	place(area, end);
}

PUBLIC uintptr_t dune_compat_va_to_pa(const void *va)
{
	long gpa = __dune_compat_granule((uint64_t)va);

	return is_error(gpa) ? 0 : gpa + ((uint64_t)va & (GRANULE_SIZE - 1));
}

/* ---- an entry for each page ---- */

/* The 2 MiB that @va is in; @gpa: of its granule. */
static int fill_table(struct space *s, uint64_t va, uint64_t gpa)
{
	va &= -(uint64_t)BIG_PGSIZE;
	return __dune_walk_make(s, va, va + BIG_PGSIZE, (gpa + (va & (GRANULE_SIZE - 1))) | PTE_COMPAT, MAKE);
}

static long fill(struct space *s, uint64_t va)
{
	long gpa = __dune_granule_get(va);

	return is_error(gpa) ? gpa : fill_table(s, va, gpa);
}

int __dune_compat_fill(struct space *s, uint64_t va, uint64_t end)
{
	uint64_t next;

	if (__dune_process.fill != fill || !s->full)
		return 0;
	for (; va < end; va = next) {
		uint64_t granule_end = (va & -GRANULE_SIZE) + GRANULE_SIZE;
		long gpa;

		next = granule_end < end ? granule_end : end;
		if (!__dune_walk_any_fillable(s, va & -(uint64_t)PGSIZE, next))
			continue;
		gpa = __dune_granule_get(va);
		if (gpa == -EFAULT || gpa == -ENOSPC)
			continue;
		if (is_error(gpa))
			return gpa;
		for (; va < next; va = (va & -(uint64_t)BIG_PGSIZE) + BIG_PGSIZE) {
			int ret = fill_table(s, va, gpa);

			if (ret)
				return ret;
		}
	}
	return 0;
}

struct range {
	ptent_t *root;
	uint64_t va, end;
	int ret;
};

/* What the process reserves by the terabyte comes when it is touched. */
static bool fill_mapping(const struct dune_procmap_entry *e, void *arg)
{
	struct range *r = arg;
	uint64_t va = e->begin > r->va ? e->begin : r->va, end = e->end < r->end ? e->end : r->end;
	struct space s;

	if (va >= end || (end - va) >> GRANULE_SHIFT > __dune_process.nr_granules / 8)
		return true;
	r->ret = space_begin(&s, r->root);
	if (r->ret)
		return false;
	r->ret = __dune_compat_fill(&s, va, end);
	space_end(&s, 0, 0);
	return !r->ret;
}

/* For all that the process has in [va, end). */
static int fill_process(ptent_t *root, uint64_t va, uint64_t end)
{
	struct range r = { root, va, end, 0 };
	struct space s;
	bool any;
	int ret = space_begin(&s, root);

	if (ret)
		return ret;
	any = s.full && __dune_walk_any_fillable(&s, va, end);
	space_end(&s, 0, 0);
	if (!any)
		return 0;
	ret = __dune_procmap_each(fill_mapping, &r);
	return r.ret ? r.ret : ret;
}

PUBLIC int dune_compat_vm_page_walk(ptent_t *root, void *start_va, void *end_va, page_walk_cb cb, const void *arg)
{
	uint64_t va = (uint64_t)start_va & -(uint64_t)PGSIZE, last = (uint64_t)end_va | PGMASK;

	if (__dune_process.fill == fill && va <= last && user_address(va)) {
		int ret = fill_process(root, va, user_address(last) ? last + 1 : 1UL << 47);

		if (ret == -ENOMEM || ret == -EPERM)
			return ret;
	}
	return dune_vm_page_walk(root, start_va, end_va, cb, arg);
}

/* ---- dune_init() ---- */

static int open_pool(void)
{
	uint64_t lock = memory_lock();
	int ret = __dune_pool_ready();

	memory_unlock(lock);
	return ret;
}

PUBLIC int dune_compat_init(bool map_full)
{
	if (__dune_process.ready) {
		/* by dune_init(): granules may be in use, and stay where they are */
		if (!dune_compat_pgroot)
			__dune_compat_publish(stack_area() - AREA_GRANULES * GRANULE_SIZE, stack_area());
		return state;
	}
	__dune_process.small = true;
	state = dune_init(map_full);
	if (state) {
		__dune_process.small = false;
		return state;
	}
	place_granules();
	if (!map_full)
		return 0;
	state = open_pool();
	if (state)
		return state;
	__dune_process.fill = fill;
	/* Without /proc, or short of memory, entries come at the first touch. */
	fill_process(__dune_process.root, 0, 1UL << 47);
	return 0;
}
