// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeping the mirror true: the kernel tells, before it changes the process's page
 * table, which addresses it is about to change.
 *
 * Needed are only the callbacks round a change (start, end), the aging ones and the end
 * of the address space.  The two others that kernels before 6.13 know are about changes
 * that start and end enclose:
 *  - change_pte gives the new page of a copied or merged one early; without it, the
 *    next access faults.
 *  - invalidate_range (later: arch_invalidate_secondary_tlbs) is for devices that walk
 *    the process's page table itself, and must flush when the CPU does.
 */
#include <linux/mm.h>

#include "flush.h"
#include "mmu.h"

#define TABLES_KEPT	64	/* besides as many as the kernel has for the process */

/* Of one granule. */
static bool zap_granule(struct dune_mmu *mmu, u64 gpa, u64 size, bool gone, struct list_head *garbage)
{
	bool zapped = tdp_zap_range(&mmu->tdp, gpa, gpa + size, garbage);

	/* Tables at the two ends may serve neighbours; what is between has gone already. */
	if (gone) {
		zapped |= tdp_prune(&mmu->tdp, gpa, garbage);
		zapped |= tdp_prune(&mmu->tdp, gpa + size - 1, garbage);
	}
	if (zapped)
		mmu_make_stale(mmu);
	return zapped;
}

bool mmu_zap(struct dune_mmu *mmu, u64 start, u64 end, bool gone, struct list_head *garbage)
	__must_hold(&mmu->lock)
{
	bool zapped = false;
	u64 va = start, next, gpa;

	lockdep_assert_held(&mmu->lock);
	for (; granule_next(&mmu->granules, &va, end, &gpa); va = next) {
		next = min(end, (va & ~(GRANULE_SIZE - 1)) + GRANULE_SIZE);
		zapped |= zap_granule(mmu, gpa, next - va, gone, garbage);
		/* Faults elsewhere wait for the lock with interrupts off. */
		if (next < end) {
			spin_unlock(&mmu->lock);
			spin_lock(&mmu->lock);
		}
	}
	return zapped;
}

/*
 * An empty table is kept for the next mapping there.  But who goes through its address space, and unmaps what is
 * behind it, would keep one for each 2 MiB, which no OOM killer counts.  The kernel's own tables for all that is
 * mapped it does count.
 */
static bool has_many_tables(const struct dune_mmu *mmu)
{
	return mmu->tdp.nr_tables > TABLES_KEPT + mm_pgtables_bytes(mmu->mn.mm) / PAGE_SIZE;
}

static void invalidation_begins(struct dune_mmu *mmu, unsigned long start, unsigned long end)
{
	if (!mmu->invalidate_count++) {
		mmu->invalidate_start = start;
		mmu->invalidate_end = end;
	} else {
		mmu->invalidate_start = min(mmu->invalidate_start, start);
		mmu->invalidate_end = max(mmu->invalidate_end, end);
	}
}

/*
 * Does not sleep, so that a range that must not block needs no other way.
 *
 * A zap that finds nothing still waits for the flushes of earlier ones: what another
 * thread has zapped, but not flushed yet, may be what our caller is about to free.
 */
int dune_mmu_invalidate_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct dune_mmu *mmu = container_of(mn, struct dune_mmu, mn);
	LIST_HEAD(garbage);
	u64 gen;

	spin_lock(&mmu->lock);
	invalidation_begins(mmu, range->start, range->end);
	mmu_zap(mmu, range->start, range->end, range->event == MMU_NOTIFY_UNMAP && has_many_tables(mmu), &garbage);
	gen = atomic64_read(&mmu->tlb_gen);
	spin_unlock(&mmu->lock);

	mmu_wait_flushed(mmu, gen);
	tdp_garbage_free(&garbage);
	return 0;
}

void dune_mmu_invalidate_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct dune_mmu *mmu = container_of(mn, struct dune_mmu, mn);

	spin_lock(&mmu->lock);
	/* Registering waits for the invalidations in progress: no end comes without its start. */
	if (!WARN_ON_ONCE(!mmu->invalidate_count))
		mmu->invalidate_count--;
	spin_unlock(&mmu->lock);
}

void dune_mmu_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct dune_mmu *mmu = container_of(mn, struct dune_mmu, mn);
	LIST_HEAD(garbage);
	u64 gen;

	spin_lock(&mmu->lock);
	mmu->dead = true;
	WRITE_ONCE(mmu->killer, current);
	if (tdp_zap_all(&mmu->tdp, &garbage))
		mmu_make_stale(mmu);
	gen = atomic64_read(&mmu->tlb_gen);
	spin_unlock(&mmu->lock);

	mmu_wait_flushed(mmu, gen);
	tdp_garbage_free(&garbage);
}

static bool is_young(struct dune_mmu *mmu, u64 start, u64 end, bool clear)
{
	u64 va = start, next, gpa;
	bool young = false;

	for (; granule_next(&mmu->granules, &va, end, &gpa); va = next) {
		next = min(end, (va & ~(GRANULE_SIZE - 1)) + GRANULE_SIZE);
		young |= tdp_age_range(&mmu->tdp, gpa, gpa + (next - va), clear);
	}
	return young;
}

/*
 * Called with a page-table lock of the host held.
 *
 * The TLB is not flushed: a CPU that has the translation cached does not set the bit
 * again until it evicts it, so that a page may look older than it is, which costs a
 * fault at worst.  The host does the same for its own accessed bits (x86
 * ptep_clear_flush_young).
 *
 * Where the CPU keeps no accessed bits, what is mapped counts as accessed, and aging
 * unmaps it.
 */
static bool age(struct mmu_notifier *mn, u64 start, u64 end, bool clear)
{
	struct dune_mmu *mmu = container_of(mn, struct dune_mmu, mn);
	LIST_HEAD(garbage);
	bool young, zapped = false;
	u64 gen;

	spin_lock(&mmu->lock);
	young = is_young(mmu, start, end, clear);
	if (young && clear && !mmu->tdp.fmt->accessed)
		zapped = mmu_zap(mmu, start, end, false, &garbage);
	gen = atomic64_read(&mmu->tlb_gen);
	spin_unlock(&mmu->lock);

	if (zapped) {
		mmu_wait_flushed(mmu, gen);
		tdp_garbage_free(&garbage);
	}
	return young;
}

mmu_young_t dune_mmu_clear_flush_young(struct mmu_notifier *mn, struct mm_struct *mm,
				       unsigned long start, unsigned long end)
{
	return age(mn, start, end, true);
}

mmu_young_t dune_mmu_clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
				 unsigned long start, unsigned long end)
{
	return age(mn, start, end, true);
}

mmu_young_t dune_mmu_test_young(struct mmu_notifier *mn, struct mm_struct *mm,
				unsigned long address)
{
	return age(mn, address, address + PAGE_SIZE, false);
}
