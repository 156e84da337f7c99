/* SPDX-License-Identifier: GPL-2.0-only */
/* Flushing the TLBs of the CPUs that run a guest: both sides of the protocol (see flush.c). */
#ifndef DUNE_MMU_FLUSH_H
#define DUNE_MMU_FLUSH_H

#include <linux/atomic.h>
#include <linux/lockdep.h>
#include <linux/percpu.h>

#include "mmu.h"

/* Of which VM this CPU runs a guest at this moment. */
DECLARE_PER_CPU(struct dune_mmu *, dune_running_mmu);

/*
 * This CPU is about to enter a guest of @mmu.  True: it must flush before.  Interrupts are off from here to
 * mmu_leave_guest().
 */
static __always_inline bool mmu_enter_guest(struct dune_mmu *mmu)
{
	u64 *flushed = this_cpu_ptr(mmu->flushed_gen), gen;
	bool behind;

	lockdep_assert_irqs_disabled();
	this_cpu_write(dune_running_mmu, mmu);
	/* The announcement before the look at tlb_gen; pairs with mmu_wait_flushed(). */
	smp_mb();
	gen = atomic64_read(&mmu->tlb_gen);
	behind = *flushed != gen;
	if (unlikely(behind))
		*flushed = gen;
	return behind;
}

static __always_inline void mmu_leave_guest(void)
{
	this_cpu_write(dune_running_mmu, NULL);
}

/* Under mmu->lock: translations became invalid. */
static inline void mmu_make_stale(struct dune_mmu *mmu)
{
	lockdep_assert_held(&mmu->lock);
	atomic64_inc(&mmu->tlb_gen);
}

/*
 * Without mmu->lock: wait until no CPU runs with translations that were stale at @gen, which is tlb_gen as read under
 * the lock.  Does not sleep; interrupts are on.
 */
void mmu_wait_flushed(struct dune_mmu *mmu, u64 gen);

/*
 * Make every CPU that runs a guest of this VM flush before it runs it again; none runs
 * with a stale translation after return.  Does not sleep; interrupts are on.
 */
void dune_mmu_flush_all(struct dune_mmu *mmu);

#endif
