// SPDX-License-Identifier: MIT
/*
 * The address space of libdune's own granule: where it is, and what a fork leaves out of it.
 *
 * All of it is reserved, so that nothing of the program's gets into it. But a process that ends goes through each of
 * the 511 empty entries of such a reservation, twice, and each mapping costs 5,000 instructions; and most children of
 * a fork end, or exec, at once. So where the kernel puts nothing by itself, a child does without all that is only
 * reserved, until it makes a thread, or maps something: the guard of the first thread, what is behind the
 * tables, and the areas of other threads.  HR3.
 */
#include <linux/mman.h>

#include "threads/threads.h"

#define STACK_DISTANCE	(16 * GRANULE_SIZE)

static long map_none(unsigned long hint, unsigned long size, unsigned long flags)
{
	return dune_syscall6(__NR_mmap, hint, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1,
			     0);
}

static long advise(unsigned long start, unsigned long end, int advice)
{
	return start < end ? dune_syscall3(__NR_madvise, start, end - start, advice) : 0;
}

/*
 * gcore reads, and writes, gigabytes of what is only reserved.  A filter of the program's need not let that pass.  A
 * checked program may read its core files, so nothing of libdune's is in them.
 */
void __dune_dump_memory(unsigned long start, unsigned long end, bool on)
{
	if (!region_state()->filtered && !(on && __dune_process.check))
		advise(start, end, on ? MADV_DODUMP : MADV_DONTDUMP);
}

long __dune_reserve(unsigned long start, unsigned long end)
{
	long ret;

	if (start >= end)
		return 0;
	ret = map_none(start, end - start, MAP_FIXED_NOREPLACE);
	if (ret == (long)start) {
		__dune_dump_memory(start, end, false);
		return 0;
	}
	if (is_error(ret))
		return ret;
	dune_syscall2(__NR_munmap, ret, end - start);	/* a kernel that takes it for a hint */
	return -EEXIST;
}

/* Anywhere: twice as much, and give back what is too much. */
static long reserve_anywhere(void)
{
	const unsigned long size = GRANULE_SIZE;
	unsigned long start, region, end;
	long ret = map_none(0, 2 * size, 0);

	if (is_error(ret))
		return ret;
	start = ret;
	end = start + 2 * size;
	region = (start + size - 1) & -size;
	if (region > start)
		dune_syscall2(__NR_munmap, start, region - start);
	if (region + size < end)
		dune_syscall2(__NR_munmap, region + size, end - region - size);
	return region;
}

/* ---- forks ---- */

static unsigned long areas(void)
{
	return __dune_process.region + REGION_AREAS;
}

/* Up to where the pages of the pool are described, once it has some: forks have it then. */
static unsigned long pages_begin(void)
{
	return __dune_process.region + REGION_IMAGE + __dune_process.image_size;
}

static unsigned long pages_end(void)
{
	return __dune_process.region + REGION_LOOK;
}

static unsigned long region_end(void)
{
	return __dune_process.region + GRANULE_SIZE;
}

/* If it is a mapping of its own: look_where_the_kernel_is(). */
static void reserve_guard(void)
{
	if (__dune_process.guard_mapped)
		__dune_reserve(__dune_process.region + PAGE_SIZE, trap_low(__dune_process.region));
}

static void advise_guard(int advice)
{
	if (__dune_process.guard_mapped)
		advise(__dune_process.region + PAGE_SIZE, trap_low(__dune_process.region), advice);
}

/* The area is one of those that forks leave out; else 0. */
static unsigned long left_out(const struct dune_thread *t)
{
	unsigned long area = t ? thread_area(t) : 0;

	return area >= areas() ? area : 0;
}

/* All of it but the page shared with the kernel, which no child has. */
static long advise_area(const struct dune_thread *t, int advice)
{
	unsigned long area = left_out(t);

	if (!area || !__dune_process.areas_left_out || region_state()->incomplete)
		return 0;
	return advise(area + PAGE_SIZE, area + AREA_SIZE, advice);
}

/* The child runs on the stack of @t.  0 or -errno. */
HOT long __dune_region_fork_begin(const struct dune_thread *t)
{
	return advise_area(t, MADV_DOFORK);
}

HOT void __dune_region_fork_end(const struct dune_thread *t)
{
	advise_area(t, MADV_DONTFORK);
}

HOT bool __dune_region_forked(const struct dune_thread *t)
{
	if (!__dune_process.areas_left_out)
		return false;
	/* Where the parent had one area only, the child has it too, whether it is that of @t or @t has the first. */
	if (!region_state()->incomplete) {
		region_state()->incomplete = true;
		region_state()->kept = left_out(t);
		/* A thread outside Dune mode has forked: there is that of one that was forking too. */
		if (!t)
			dune_syscall2(__NR_munmap, areas(), region_end() - areas());
	}
	return true;
}

long __dune_region_complete(void)
{
	unsigned long start = pages_begin(), kept;
	long ret;

	if (!region_state()->incomplete)
		return 0;
	kept = region_state()->kept;
	ret = __dune_reserve(start, kept ? kept : region_end());
	if (ret == -EEXIST) {
		start = pages_end();
		ret = __dune_reserve(start, kept ? kept : region_end());
	}
	if (ret)
		return ret;
	if (kept) {
		/* if it is not the caller's, it has no page shared with the kernel */
		__dune_reserve(kept, kept + PAGE_SIZE);
		ret = __dune_reserve(kept + AREA_SIZE, region_end());
		if (ret) {
			dune_syscall2(__NR_munmap, start, kept - start);
			return ret;
		}
	}
	advise(start, region_end(), MADV_DONTFORK);
	reserve_guard();
	advise_guard(MADV_DONTFORK);
	region_state()->incomplete = false;
	return 0;
}

/* RLIMIT_AS may have room for an area, but none for all of them. */
long __dune_region_open_area(unsigned long area)
{
	unsigned long low = trap_low(area), size = area + AREA_SIZE - low;

	if (__dune_region_complete() && __dune_reserve(area, area + AREA_SIZE))
		return -ENOMEM;
	__dune_dump_memory(low, area + AREA_SIZE, true);
	return dune_syscall3(__NR_mprotect, low, size, PROT_READ | PROT_WRITE);
}

long __dune_region_hold_pool(void)
{
	long ret = __dune_region_complete();

	if (ret || !__dune_process.areas_left_out)
		return ret;
	return advise(pages_begin(), pages_end(), MADV_DOFORK);
}

void __dune_region_inherit(unsigned int nr_areas)
{
	unsigned long at = areas();

	if (!__dune_process.areas_left_out || __dune_region_complete())
		return;
	advise_guard(MADV_DOFORK);
	advise(pages_begin(), pages_end(), MADV_DOFORK);
	advise(pages_end(), at, MADV_DOFORK);
	for (unsigned int slot = 1; slot < nr_areas; slot++, at += AREA_SIZE)
		advise(at + PAGE_SIZE, at + AREA_SIZE, MADV_DOFORK);
	advise(at, region_end(), MADV_DOFORK);
	__dune_process.areas_left_out = false;
}

/* ---- the beginning ---- */

/* Where the kernel puts a page now. */
static unsigned long next_place(void)
{
	long ret = map_none(0, PAGE_SIZE, 0);

	if (is_error(ret))
		return ~0UL;
	dune_syscall2(__NR_munmap, ret, PAGE_SIZE);
	return ret;
}

/*
 * The region is reserved but for what lies below the first trap stack. The kernel goes from high addresses to low ones,
 * so if it has got below already, it does not come back for that; else it must not be left. And areas may be left out
 * in children as long as it is far.
 */
static void look_where_the_kernel_is(unsigned long region)
{
	unsigned long next = next_place();

	__dune_process.first_page_free = next < region ||
				     __dune_reserve(region, trap_low(region));
	__dune_dump_memory(__dune_process.check ? trap_low(region) : pages_begin(), region_end(), false);
	if (next < region || next - region > 2 * GRANULE_SIZE)
		__dune_process.areas_left_out = !advise(pages_begin(), region_end(), MADV_DONTFORK);
	__dune_process.guard_mapped = __dune_process.areas_left_out && !__dune_process.first_page_free;
	advise_guard(MADV_DONTFORK);
}

/*
 * One granule of address space, aligned.  First where the kernel itself puts nothing, and where one
 * table of the host, of the guest and of the second level serves the stack too: below the stack,
 * with room for it to grow.  What lies below the first trap stack is left out there, where it can be: the first
 * thread's page, which then need not replace anything, and the guard.
 */
long __dune_region_reserve(void)
{
	const unsigned long size = GRANULE_SIZE;
	unsigned long stack = (unsigned long)__builtin_frame_address(0);
	unsigned long region = (stack & -size) - STACK_DISTANCE;
	unsigned long low;
	long ret;

	if (!__dune_process.trap_size)
		__dune_process.trap_size = TRAP_DEFAULT;
	low = trap_low(region);
	ret = map_none(low, region + size - low, 0);
	if (ret == (long)low) {
		__dune_process.region = region;
		look_where_the_kernel_is(region);
		return 0;
	}
	if (!is_error(ret)) {
		dune_syscall2(__NR_munmap, ret, region + size - low);
		ret = reserve_anywhere();
	}
	if (is_error(ret))
		return ret;
	__dune_process.region = ret;
	__dune_dump_memory(__dune_process.check ? (unsigned long)ret : pages_begin(), region_end(), false);
	return 0;
}
