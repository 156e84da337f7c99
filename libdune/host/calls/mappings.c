// SPDX-License-Identifier: MIT
/*
 * System calls about mappings: none takes libdune's memory away, or changes it.  HR3.
 *
 * For the program there is nothing where libdune's granule and the page pool are. So a range with some of that in it
 * is one with a hole, and the kernel is given the parts beside the hole. Only what would put something into the hole is
 * refused where outside it is not: -EPERM.
 */
#include <linux/ipc.h>
#include <linux/mman.h>
#include <linux/prctl.h>

#include "host/calls.h"

/* ---- where libdune's memory is ---- */

struct range {
	unsigned long start, end;
};

#define PAGE_MASK	(-(unsigned long)PAGE_SIZE)

/* The kernel gives nobody the last page of the lower half; what is above it only who asks for it, with five levels. */
#define NOWHERE		((1UL << 47) - PAGE_SIZE)
#define HIGHEST		((1UL << 56) - PAGE_SIZE)

struct ours {
	struct range all[2];
};

static struct ours ours(void)
{
	const unsigned long region = __dune_process.region;
	struct ours o = { { { region, region + GRANULE_SIZE }, { PAGEBASE, PAGEBASE } } };

	if (region_state()->nr_pages)
		o.all[1].end = PAGEBASE + POOL_SIZE;
	return o;
}

bool __dune_is_ours(unsigned long address)
{
	const struct ours o = ours();
	bool is = false;

	for (unsigned int i = 0; i < ARRAY_SIZE(o.all); i++)
		is |= address >= o.all[i].start && address < o.all[i].end;
	return is;
}

/* Where [start, start + length) ends, by pages as the kernel counts. */
static unsigned long end_of(unsigned long start, unsigned long length)
{
	return (start & PAGE_MASK) + ((length + (start & ~PAGE_MASK) + PAGE_SIZE - 1) & PAGE_MASK);
}

/* Of ranges that wrap: true or false, the kernel refuses them. */
static bool touches(unsigned long start, unsigned long length)
{
	const unsigned long region = __dune_process.region, end = end_of(start, length);

	if (region_state()->nr_pages && __dune_pool_touches(start, end))
		return true;
	return end > region && start < region + GRANULE_SIZE;
}

/* The program's first part of [start, end), from @start on, ends here; at @start itself there may be libdune's. */
static unsigned long end_of_first_part(unsigned long start, unsigned long end)
{
	const struct ours o = ours();

	for (unsigned int i = 0; i < ARRAY_SIZE(o.all); i++) {
		if (start >= o.all[i].start && start < o.all[i].end)
			return start;
		if (o.all[i].start > start && o.all[i].start < end)
			end = o.all[i].start;
	}
	return end;
}

/* The program's last part of [start, *end); *@end becomes its beginning.  false: there is none. */
static bool last_part(unsigned long start, unsigned long *end, struct range *part)
{
	const struct ours o = ours();

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(o.all); i++) {	/* they may lie side by side */
		const struct range *one = &o.all[i % ARRAY_SIZE(o.all)];

		if (*end > one->start && *end <= one->end)
			*end = one->start;
	}
	*part = (struct range){ start, *end };
	for (unsigned int i = 0; i < ARRAY_SIZE(o.all); i++)
		if (o.all[i].end > part->start && o.all[i].end < part->end)
			part->start = o.all[i].end;
	*end = part->start;
	return part->start < part->end;
}

/* ---- ranges with libdune's memory in them ---- */

/* What the kernel does where some of a range is not mapped. */
enum hole {
	HOLE_ALLOWED,	/* all beside it is done */
	HOLE_PASSED,	/* the same, and then it is an error */
	HOLE_STOPS,	/* what lies below it is done, and then it is an error */
	HOLE_REFUSED,	/* nothing is done */
};

#define NO_CHANGE	(-1)

/* The call @r with another range. @prot: how the program may use it then, or NO_CHANGE. */
static long call_on(const struct guest_regs *r, unsigned long start, unsigned long end, int prot)
{
	long ret;

	if (r->rax == __NR_prctl)
		return dune_syscall5(r->rax, r->rdi, r->rsi, start, end - start, r->r8);
	ret = dune_syscall6(r->rax, start, end - start, r->rdx, r->r10, r->r8, r->r9);
	if (!ret && prot != NO_CHANGE)
		__dune_precise_changed(start, end - start, prot);
	return ret;
}

/*
 * The call @r, which has [start, start + length), on what of it is the program's. From above, since munmap() looks
 * first whether the range ends too high. That the program has a hole of its own in a part is no reason to stop there.
 */
static long call_beside(const struct guest_regs *r, unsigned long start, unsigned long length, enum hole hole,
			int prot)
{
	const unsigned long offset = start & ~PAGE_MASK;
	unsigned long end = end_of(start, length);
	struct range part;
	long ret = 0;

	if (end <= start || (r->rax == __NR_mincore && end > NOWHERE))
		return FORWARD_CALL;		/* for the kernel to refuse, or nothing to do */
	/* It looks first where all of its result would go; nobody has anything at 0. */
	if (r->rax == __NR_mincore) {
		ret = call_on(r, offset, end - start, NO_CHANGE);
		if (ret && ret != -ENOMEM)
			return ret;
		ret = 0;
	}
	switch (hole) {
	case HOLE_ALLOWED:
	case HOLE_PASSED:
		if (offset)
			return FORWARD_CALL;	/* for the kernel to refuse */
		while ((!ret || (ret == -ENOMEM && hole == HOLE_PASSED)) && last_part(start, &end, &part))
			ret = call_on(r, part.start, part.end, prot);
		break;
	case HOLE_STOPS:
		part.end = end_of_first_part(start, end);
		if (start < part.end)
			ret = call_on(r, start, part.end, prot);
		break;
	case HOLE_REFUSED:
		break;
	}
	if (ret || hole == HOLE_ALLOWED)
		return ret;
	return r->rax == __NR_mincore ? -ENOMEM : call_on(r, NOWHERE + offset, NOWHERE + PAGE_SIZE, NO_CHANGE);
}

static inline long on_range(const struct guest_regs *r, enum hole hole)
{
	return touches(r->rdi, r->rsi) ? call_beside(r, r->rdi, r->rsi, hole, NO_CHANGE) : FORWARD_CALL;
}

/* Each: (start, length, ...) */
long __dune_sys_range_through(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return on_range(r, HOLE_PASSED);
}

long __dune_sys_range_up_to(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return on_range(r, HOLE_STOPS);
}

long __dune_sys_range_whole(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return on_range(r, HOLE_REFUSED);
}

/* prctl(PR_SET_VMA, what, start, length, value) */
long __dune_set_vma(const struct guest_regs *r)
{
	return touches(r->rdx, r->r10) ? call_beside(r, r->rdx, r->r10, HOLE_PASSED, NO_CHANGE) : FORWARD_CALL;
}

/* The same, of those that change what the program has. */
static inline long change_range(const struct guest_regs *r, enum hole hole, int prot)
{
	long ret = FORWARD_CALL;

	if (touches(r->rdi, r->rsi))
		ret = call_beside(r, r->rdi, r->rsi, hole, prot);
	if (ret != FORWARD_CALL)
		return ret;
	ret = __dune_forward(r);
	if (!ret)
		__dune_precise_changed(r->rdi, r->rsi, prot);
	return ret;
}

long __dune_sys_munmap(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return change_range(r, HOLE_ALLOWED, PROT_NONE);
}

/* mprotect and pkey_mprotect(start, length, prot, ...) */
long __dune_sys_mprotect(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return change_range(r, HOLE_STOPS, r->rdx & (PROT_READ | PROT_WRITE | PROT_EXEC));
}

/*
 * ---- new mappings ----
 *
 * Where the program's memory may be put, libdune's is reserved first.
 */

/* At libdune's memory.  What the kernel refuses at any address, or of any length, is said as it says it. */
static long refuse_mmap(const struct guest_regs *r)
{
	const long flags = r->r10 & ~(long)(MAP_FIXED | MAP_FIXED_NOREPLACE);
	unsigned long length = r->rsi;
	long ret = dune_syscall6(__NR_mmap, r->rdi, length, r->rdx, flags | MAP_FIXED_NOREPLACE, r->r8, r->r9);

	if (ret == -EEXIST && !(r->r10 & MAP_FIXED_NOREPLACE)) {
		length = PAGE_SIZE;
		ret = dune_syscall6(__NR_mmap, 0, length, r->rdx, flags, r->r8, r->r9);
	}
	if (is_error(ret))
		return ret;
	dune_syscall2(__NR_munmap, ret, length);
	return r->r10 & MAP_FIXED_NOREPLACE ? -EEXIST : -EPERM;
}

long __dune_sys_mmap(struct dune_thread *t, struct guest_regs *r)
{
	long ret;

	(void)t;
	if (r->r10 & (MAP_FIXED | MAP_FIXED_NOREPLACE) && touches(r->rdi, r->rsi))
		return refuse_mmap(r);
	__dune_region_complete();
	ret = __dune_forward(r);
	if (!is_error(ret) && r->r10 & MAP_FIXED)
		__dune_precise_changed(ret, r->rsi, PROT_NONE);
	return ret;
}

static long remap(const struct guest_regs *r, unsigned long old, unsigned long old_size, unsigned long new_size,
		  unsigned long new)
{
	long ret = dune_syscall5(__NR_mremap, old, old_size, new_size, r->r10, new);

	if (!is_error(ret)) {
		__dune_precise_changed(old, old_size, PROT_NONE);
		__dune_precise_changed(ret, new_size, PROT_NONE);
	}
	return ret;
}

/* The new range must not touch the old one. */
static bool overlap(const struct guest_regs *r)
{
	return r->r10 & MREMAP_FIXED && r->r8 < end_of(r->rdi, r->rsi) && r->rdi < end_of(r->r8, r->rdx);
}

/* Is it -EINVAL for the kernel whatever lies where? */
static bool is_invalid(const struct guest_regs *r)
{
	return r->r10 & ~(__u64)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) || !(r->r10 & MREMAP_MAYMOVE) ||
	       (r->rdi | r->r8) & ~PAGE_MASK || end_of(r->r8, r->rdx) <= r->r8 || end_of(r->r8, r->rdx) > NOWHERE;
}

/*
 * Some of the old range is libdune's.  The kernel looks for one mapping at its beginning, and needs it all where it is
 * to grow or move.  Where it is to shrink, what is behind the new end goes, whatever that is.
 */
static long remap_beside(const struct guest_regs *r)
{
	const unsigned long old = r->rdi, end = end_of(old, r->rsi), new_size = end_of(0, r->rdx);
	const unsigned long first = end_of_first_part(old, end) - old;
	struct guest_regs rest = { .rax = __NR_munmap };
	unsigned long size = new_size, start = old + first;
	long ret, error;

	if (!first)
		return remap(r, NOWHERE + (old & ~PAGE_MASK), r->rsi, r->rdx, r->r8);
	if (end <= old || end > HIGHEST)
		return FORWARD_CALL;		/* for the kernel to refuse */
	if (!(r->r10 & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && new_size <= end - old && size > first) {
		size = first;
		start = old + new_size;
	}
	if (size > first && (!(r->r10 & MREMAP_FIXED) || (r->r10 & MREMAP_DONTUNMAP && new_size != end - old)))
		return remap(r, NOWHERE + (old & ~PAGE_MASK), r->rsi, r->rdx, r->r8);
	if (overlap(r))
		return remap(r, old, first, size, old);
	if (size > first) {
		/* What is at the new place, and then what is behind the new end, goes before the kernel sees a hole. */
		ret = remap(r, old, size, size, r->r8);
		start = old + size;
		if (ret != -EFAULT || start >= end)
			return ret;
		error = call_beside(&rest, start, end - start, HOLE_ALLOWED, PROT_NONE);
		return error ? error : ret;
	}
	ret = remap(r, old, first, size, r->r8);
	if (is_error(ret) || start >= end)
		return ret;
	error = call_beside(&rest, start, end - start, HOLE_ALLOWED, PROT_NONE);
	return error ? error : ret;
}

/* The new place is libdune's.  What is wrong besides is said by the kernel: its answer to a place that is none. */
static long refuse_remap(const struct guest_regs *r)
{
	bool inside = end_of_first_part(r->rdi, r->rdi + 1) == r->rdi;
	long ret = remap(r, inside ? NOWHERE + (r->rdi & ~PAGE_MASK) : r->rdi, r->rsi, r->rdx, r->r8 | 1);

	return ret == -EFAULT || is_invalid(r) || overlap(r) ? ret : -EPERM;
}

/* mremap(old, old_size, new_size, flags, new) */
long __dune_sys_mremap(struct dune_thread *t, struct guest_regs *r)
{
	long ret = FORWARD_CALL;

	(void)t;
	if (r->r10 & MREMAP_FIXED && touches(r->r8, r->rdx))
		return refuse_remap(r);
	__dune_region_complete();
	if (touches(r->rdi, r->rsi) || __dune_is_ours(r->rdi))	/* the kernel looks at the beginning first */
		ret = remap_beside(r);
	return ret == FORWARD_CALL ? remap(r, r->rdi, r->rsi, r->rdx, r->r8) : ret;
}

/* Of struct shmid64_ds, in words. */
#define SHM_DS_WORDS	14
#define SHM_DS_SIZE	6

/*
 * shmat(id, address, flags): only with SHM_REMAP does it replace mappings, as many as the segment is long.  Who may not
 * be told how long may not attach it either; where a filter of the program's might forbid to ask, it is refused.
 */
long __dune_sys_shmat(struct dune_thread *t, struct guest_regs *r)
{
	const unsigned long shm_remap = 040000;
	unsigned long ds[SHM_DS_WORDS];
	long ret;

	(void)t;
	if (r->rdx & shm_remap) {
		if (region_state()->filtered)
			return -EPERM;
		ret = dune_syscall3(__NR_shmctl, r->rdi, IPC_STAT, ds);
		if (ret)
			return ret;
		if (touches(r->rsi & PAGE_MASK, ds[SHM_DS_SIZE]))
			return -EPERM;
	}
	__dune_region_complete();
	return FORWARD_CALL;
}

/* ---- the break ---- */

/* brk() takes away what is mapped up to where the kernel believes that the break is: not beyond libdune's memory. */
static bool break_crosses(unsigned long to)
{
	unsigned long now = dune_syscall1(__NR_brk, 0);

	return to < now ? touches(to, now - to) : touches(now, to - now);
}

/* prctl(PR_SET_MM, PR_SET_MM_MAP, map, size, 0): with the map that was looked at. */
static long set_mm_map(const struct guest_regs *r)
{
	struct prctl_mm_map map;
	long ret;

	if (r->r10 != sizeof(map))
		return FORWARD_CALL;		/* for the kernel to refuse */
	ret = __dune_copy_in(&map, r->rdx, sizeof(map));
	if (ret)
		return ret;
	if (map.brk > map.start_brk && touches(map.start_brk, map.brk - map.start_brk))
		return -EPERM;
	return dune_syscall5(__NR_prctl, r->rdi, r->rsi, &map, r->r10, r->r8);
}

long __dune_set_mm(const struct guest_regs *r)
{
	switch ((int)r->rsi) {
	case PR_SET_MM_START_BRK:
	case PR_SET_MM_BRK:
		return break_crosses(r->rdx) ? -EPERM : FORWARD_CALL;
	case PR_SET_MM_MAP:
		return set_mm_map(r);
	}
	return FORWARD_CALL;
}
