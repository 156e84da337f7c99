// SPDX-License-Identifier: MIT
/*
 * mlockall: the program's memory, without libdune's.  The kernel would count the address space that libdune has
 * reserved against RLIMIT_MEMLOCK, and fill the stacks of its threads.  HR3.
 */
#include <linux/mman.h>
#include <linux/resource.h>

#include "host/calls.h"
#include "memory/memory.h"

struct range {
	unsigned long begin, end;
};

static struct range region(void)
{
	return (struct range){ __dune_process.region, __dune_process.region + GRANULE_SIZE };
}

/* What of [@begin, @end) is the program's: below libdune's granule and above it.  The vsyscall page is nobody's. */
static void programs(const struct dune_procmap_entry *entry, struct range parts[2])
{
	const struct range ours = region();
	const unsigned long begin = entry->begin, end = entry->end;

	parts[0] = (struct range){ begin, end < ours.begin ? end : ours.begin };
	parts[1] = (struct range){ begin > ours.end ? begin : ours.end, end };
	if ((long)begin < 0 || (region_state()->nr_pages && __dune_pool_touches(begin, end)))
		parts[0] = parts[1] = (struct range){ 0, 0 };
}

static bool add_size(const struct dune_procmap_entry *entry, void *arg)
{
	unsigned long *size = arg;
	struct range parts[2];

	programs(entry, parts);
	for (int i = 0; i < 2; i++)
		if (parts[i].begin < parts[i].end)
			*size += parts[i].end - parts[i].begin;
	return true;
}

/* As mlockall() does: what cannot be had is no error. */
static bool lock_one(const struct dune_procmap_entry *entry, void *arg)
{
	const unsigned long *flags = arg;
	struct range parts[2];

	programs(entry, parts);
	for (int i = 0; i < 2; i++)
		if (parts[i].begin < parts[i].end)
			dune_syscall3(__NR_mlock2, parts[i].begin, parts[i].end - parts[i].begin, *flags);
	return true;
}

static void unlock_ours(void)
{
	const struct range ours = region();

	dune_syscall2(__NR_munlock, ours.begin, ours.end - ours.begin);
	if (region_state()->nr_pages)
		dune_syscall2(__NR_munlock, PAGEBASE, region_state()->nr_pages * PAGE_SIZE);
}

#define MCL_ALL	(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)

/*
 * The kernel's own lock, on fault, says whether the thread may lock more than the limit; below that nothing is asked.
 * Only MCL_CURRENT counts what there is already.  A filter of the program's would judge all these calls.
 */
long __dune_sys_mlockall(struct dune_thread *t, struct guest_regs *r)
{
	const unsigned int flags = r->rdi;
	unsigned long on_fault = flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0, size = 0;
	struct { uint64_t soft, hard; } limit;
	long ret;

	(void)t;
	if (flags & ~MCL_ALL || !(flags & MCL_CURRENT) || region_state()->filtered)
		return FORWARD_CALL;
	/* Nothing is reserved any more where the kernel locks what is mapped. */
	__dune_region_complete();
	ret = dune_syscall4(__NR_prlimit64, 0, RLIMIT_MEMLOCK, NULL, &limit);
	if (!ret)
		ret = __dune_procmap_each(add_size, &size);
	if (ret)
		return FORWARD_CALL;
	if (size > limit.soft) {
		ret = dune_syscall1(__NR_mlockall, flags | MCL_ONFAULT);
		if (ret)
			return ret;
		unlock_ours();
	} else if (!(flags & MCL_FUTURE)) {
		dune_syscall0(__NR_munlockall);
	}
	if (flags & MCL_FUTURE)
		dune_syscall1(__NR_mlockall, flags & ~MCL_CURRENT);
	__dune_procmap_each(lock_one, &on_fault);
	return 0;
}
