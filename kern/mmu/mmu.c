// SPDX-License-Identifier: GPL-2.0-only
/* Life and granules of a VM's memory. */
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "../msr.h"
#include "flush.h"
#include "mmu.h"

static bool device_memory = true;
module_param(device_memory, bool, 0644);
MODULE_PARM_DESC(device_memory, "map device memory of the process where the CPU has no ENQCMDS; N: nowhere");

/*
 * ENQCMDS, which needs ring 0 and does not exit, tells a device in whose address space (PASID) it is to work: a process
 * with a device's portal would reach the memory of every other.  (SDM, "ENQCMDS - Enqueue Command Supervisor".)
 * The portal must be device memory.
 */
#define LEAF_FEATURES		7
#define FEATURES_ENQCMD		BIT(29)		/* ECX */

static bool has_enqcmds __ro_after_init;

/* Asked of the CPU: the kernel calls the feature absent where it does not use it itself. */
void __init dune_mmu_setup(void)
{
	has_enqcmds = boot_cpu_data.cpuid_level >= LEAF_FEATURES && cpuid_ecx(LEAF_FEATURES) & FEATURES_ENQCMD;
}

int dune_mmu_init(struct dune_mmu *mmu, const struct tdp_format *fmt, unsigned int levels,
		  unsigned int gpa_bits)
{
	int r;

	mutex_init(&mmu->granule_mutex);
	spin_lock_init(&mmu->lock);
	mmu->dead = false;
	mmu->invalidate_count = 0;
	mmu->split_exec = boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT);
	mmu->no_devices = has_enqcmds || !READ_ONCE(device_memory);
	mmu->pat = read_msr(MSR_IA32_CR_PAT);
	atomic64_set(&mmu->tlb_gen, 1);
	atomic64_set(&mmu->kicked_gen, 1);

	mmu->flushed_gen = alloc_percpu_gfp(u64, GFP_KERNEL_ACCOUNT);
	if (!mmu->flushed_gen)
		return -ENOMEM;
	r = granule_table_init(&mmu->granules, gpa_bits);
	if (r)
		goto free_gen;
	r = tdp_init(&mmu->tdp, fmt, levels);
	if (r)
		goto free_granules;
	return 0;

free_granules:
	granule_table_destroy(&mmu->granules);
free_gen:
	free_percpu(mmu->flushed_gen);
	return r;
}

void dune_mmu_destroy(struct dune_mmu *mmu)
{
	tdp_destroy(&mmu->tdp);
	granule_table_destroy(&mmu->granules);
	free_percpu(mmu->flushed_gen);
}

/* mmap_lock is held. */
static bool granule_has_vma(struct mm_struct *mm, u64 start)
{
	struct vm_area_struct *vma;

	lockdep_assert_held(&mm->mmap_lock);
	vma = find_vma(mm, start);
	return vma && vma->vm_start < start + GRANULE_SIZE;
}

/* Take back the granules that have no VMA.  Their number, or -EINTR. */
static int take_back_granules(struct dune_mmu *mmu)
{
	struct mm_struct *mm = mmu->mn.mm;
	LIST_HEAD(garbage);
	int taken = 0;
	u64 va = 0, gpa, gen;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for (; granule_next(&mmu->granules, &va, TASK_SIZE_MAX, &gpa); va += GRANULE_SIZE) {
		if (granule_has_vma(mm, va))
			continue;
		/*
		 * As one step: munmap() may be busy with this range under the same lock
		 * as ours, and a later notification could no longer find what was
		 * mapped.  It waits for the flush of this zap.
		 */
		spin_lock(&mmu->lock);
		mmu_zap(mmu, va, va + GRANULE_SIZE, true, &garbage);
		granule_take_back(&mmu->granules, va);
		spin_unlock(&mmu->lock);
		taken++;
		cond_resched();
	}
	gen = atomic64_read(&mmu->tlb_gen);
	mmap_read_unlock(mm);

	mmu_wait_flushed(mmu, gen);
	tdp_garbage_free(&garbage);
	return taken;
}

static int assign_granule(struct dune_mmu *mmu, u64 va, struct granule_spare *spare, u64 *gpa)
{
	struct mm_struct *mm = mmu->mn.mm;
	int r = -EFAULT;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	/* A wild pointer must not burn a granule. */
	if (granule_has_vma(mm, va)) {
		spin_lock(&mmu->lock);
		r = granule_assign(&mmu->granules, va, spare, gpa);
		spin_unlock(&mmu->lock);
	}
	mmap_read_unlock(mm);
	return r;
}

/* An access in a new granule: outside Dune mode the process would wait for memory.  0 or -EINTR. */
static int fill_spare(struct granule_spare *spare)
{
	unsigned int round = 0;

	while (granule_spare_fill(spare)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		mmu_wait_for_memory(round++, TASK_KILLABLE);
	}
	return 0;
}

int dune_mmu_get_granule(struct dune_mmu *mmu, u64 va, u64 *gpa)
{
	struct granule_spare spare = { };
	int r;

	if (va >> GRANULE_VA_BITS || va >= TASK_SIZE_MAX)
		return -EINVAL;
	va &= ~(GRANULE_SIZE - 1);
	if (granule_gpa(&mmu->granules, va, gpa))
		return 0;

	r = fill_spare(&spare);
	if (r)
		goto release_spare;
	r = mutex_lock_killable(&mmu->granule_mutex);
	if (r)
		goto release_spare;
	r = mmu->granules.stale ? -EAGAIN : assign_granule(mmu, va, &spare, gpa);
	if (r == -ENOSPC) {
		/*
		 * Not handed out at once: the guest's page table still has them under
		 * the old address, where the program may be about to map something new.
		 */
		r = take_back_granules(mmu);
		if (r >= 0)
			r = r ? -EAGAIN : -ENOSPC;
	}
	if (r == -EAGAIN) {
		mmu->granules.stale = false;
		mmu->granules.round++;
	}
	mutex_unlock(&mmu->granule_mutex);
release_spare:
	granule_spare_release(&spare);
	return r;
}

int dune_mmu_copy_granules(struct dune_mmu *to, struct dune_mmu *from, u32 round)
{
	int r = mutex_lock_killable(&from->granule_mutex);

	if (r)
		return r;
	r = granule_table_copy(&to->granules, &from->granules, round);
	mutex_unlock(&from->granule_mutex);
	return r;
}

struct page *dune_mmu_granule_page(struct dune_mmu *mmu, unsigned long pgoff)
{
	struct granule_spare spare = { };
	struct page *page = ERR_PTR(-ENOMEM);
	u32 *entries;

	if (pgoff >= granule_nr_reverse_pages(&mmu->granules))
		return ERR_PTR(-EINVAL);
	if (granule_spare_fill(&spare))
		goto release_spare;
	spin_lock(&mmu->lock);
	entries = granule_reverse_page(&mmu->granules, pgoff, &spare);
	spin_unlock(&mmu->lock);
	page = virt_to_page(entries);
	get_page(page);
release_spare:
	granule_spare_release(&spare);
	return page;
}
