/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of a VM: a second-level page table (TDP) that mirrors the process's address
 * space lazily, and the granules that give its addresses a place in guest-physical
 * memory.
 *
 * Locking, outermost first: granule_mutex, mmap_lock, the host's page-table locks
 * (notifier callbacks), mmu->lock.  The last is a leaf lock: nothing under it may sleep
 * or allocate, nor wait for another CPU.
 */
#ifndef DUNE_MMU_H
#define DUNE_MMU_H

#include <linux/atomic.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "tdp.h"
#include "granule.h"

struct page;

struct dune_mmu {
	struct mmu_notifier mn;		/* mn.mm is the process's memory */

	struct mutex granule_mutex;	/* handing out granules, and taking them back */

	spinlock_t lock;		/* guards all below but where said */
	struct tdp tdp;
	struct granule_table granules;	/* look-ups need no lock */
	bool dead;			/* the address space or the file is gone (dune_mmu_release) */
	const struct task_struct *killer;	/* whose doing that was: compared, never followed */
	bool split_exec;		/* no executable huge pages: iTLB multihit.  Constant */
	bool no_devices;		/* nothing but RAM is mapped.  Constant */
	u64 pat;			/* the host's PAT.  Constant */

	/*
	 * A fault reads the host's page table and installs what it found under the
	 * lock, unless an invalidation of that address is in progress.
	 */
	unsigned long invalidate_count;	/* invalidations in progress */
	unsigned long invalidate_start;	/* union of their ranges */
	unsigned long invalidate_end;

	/*
	 * Of the flush protocol (flush.c).  tlb_gen is bumped (under lock) by whatever makes a translation invalid.
	 * It starts at 1, flushed_gen at 0: the root's page may have been that of another VM.
	 */
	atomic64_t tlb_gen;
	atomic64_t kicked_gen;		/* no CPU runs with older translations; no lock */
	u64 __percpu *flushed_gen;
};

/* Accesses, in the bits of DUNE_FAULT_{READ,WRITE,EXEC}. */
#define MMU_READ	0x1
#define MMU_WRITE	0x2
#define MMU_EXEC	0x4

/* What dune_mmu_fault() says when it is not an error. */
enum mmu_result {
	MMU_RESOLVED,		/* enter the guest again */
	MMU_REPEAT_IN_USER,	/* the host's own fault handler must see it, from user mode */
	MMU_NO_GRANULE,		/* nothing is at that guest-physical address */
};

/* Once, when the module is loaded. */
void dune_mmu_setup(void);

/*
 * Make @mmu, which is zeroed memory in an object that @alloc_notifier of
 * mmu_notifier_ops returns: see vm.c.  @gpa_bits: width of a guest-physical address.
 * May sleep.
 */
int dune_mmu_init(struct dune_mmu *mmu, const struct tdp_format *fmt, unsigned int levels,
		  unsigned int gpa_bits);
/*
 * Free what dune_mmu_init() made and all that was mapped.  No CPU may be in a guest of
 * this VM, no notifier callback may run.  Does not sleep: good in @free_notifier.
 */
void dune_mmu_destroy(struct dune_mmu *mmu);

/*
 * Notifier callbacks for struct mmu_notifier_ops, to be completed by vm.c with
 * alloc_notifier and free_notifier.
 */
int dune_mmu_invalidate_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range);
void dune_mmu_invalidate_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range);
void dune_mmu_release(struct mmu_notifier *mn, struct mm_struct *mm);

/* int or bool, as this kernel has it. */
typedef typeof(((struct mmu_notifier_ops *)NULL)->test_young(NULL, NULL, 0)) mmu_young_t;

mmu_young_t dune_mmu_clear_flush_young(struct mmu_notifier *mn, struct mm_struct *mm,
				       unsigned long start, unsigned long end);
mmu_young_t dune_mmu_clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
				 unsigned long start, unsigned long end);
mmu_young_t dune_mmu_test_young(struct mmu_notifier *mn, struct mm_struct *mm,
				unsigned long address);

/*
 * The part of dune_mmu_fault() that does not sleep: the host has the page, so mirror its entry.  Interrupts
 * are off.  0: resolved; TDP_FLUSH: so too, and they were on for a moment within, with preemption off; else -errno,
 * for dune_mmu_fault().
 */
int dune_mmu_fault_fast(struct dune_mmu *mmu, u64 gpa, u32 access);

/*
 * Resolve an access to @gpa.  Called by the thread of the VM, in process context, with
 * nothing locked; may sleep, for memory too.  On return *@hva is the process's address of it, or 0 when
 * there is no granule. -EINTR: a signal is pending; -EPERM: it is device memory; -EIO: the address space is
 * gone; else an enum mmu_result.
 */
int dune_mmu_fault(struct dune_mmu *mmu, u64 gpa, u32 access, int fast, u64 *hva);

/*
 * Find or hand out the granule of @va; *@gpa is where it begins.  May sleep. -EFAULT:
 * no VMA has a byte in it; -EINVAL: not a user address; -ENOSPC: none is left; -EAGAIN:
 * none was left, but some were taken back in which there is no VMA, or the parent's were after the fork: forget
 * those, that is make the guest's page table map no granule whose entry in the reverse table is 0, and ask again;
 * -EINTR: a fatal signal.
 */
int dune_mmu_get_granule(struct dune_mmu *mmu, u64 va, u64 *gpa);

/*
 * Give @to (new, empty) the granules of @from: for a forked child, which was forked after @round times -EAGAIN.
 * May sleep.
 */
int dune_mmu_copy_granules(struct dune_mmu *to, struct dune_mmu *from, u32 round);

/*
 * The page of the table that DUNE_MMAP_GRANULES maps; a reference is taken.  May sleep.  ERR_PTR(-EINVAL): the table is
 * smaller; -ENOMEM.
 */
struct page *dune_mmu_granule_page(struct dune_mmu *mmu, unsigned long pgoff);

/* Within kern/mmu. */

/*
 * The memory cgroup of the process is full.  The kernel exports nothing to wait with, so have its callers ask again,
 * each time later: after 1 tick the first time, 1/10 s at most.  @state: TASK_INTERRUPTIBLE or TASK_KILLABLE.
 */
static inline void mmu_wait_for_memory(unsigned int round, unsigned int state)
{
	__set_current_state(state);
	schedule_timeout(min_t(unsigned long, 1UL << min(round, 10U), HZ / 10));
}

/*
 * Under mmu->lock, which is released and taken again between granules: unmap the process's addresses [start, end).
 * @gone: they will not be mapped again, so tables for them are of no more use.  True when CPUs must flush.
 */
bool mmu_zap(struct dune_mmu *mmu, u64 start, u64 end, bool gone, struct list_head *garbage);

#endif
