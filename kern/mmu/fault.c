// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-level faults: read what the host's own page table says of the address, and say
 * the same in the TDP.
 *
 * The host's entry is the whole truth (page, size, writable, dirty, executable, cache
 * type), for every kind of mapping, and is read where the hardware would read it;
 * get_user_pages() tells hardly any of that.  No page is pinned: the notifier takes the
 * mapping away before the host changes its entry.
 *
 * Why no retry counter is needed: the host's table is read under mmu->lock.  A change
 * that began before has been announced, which took the lock: if it has not ended, its
 * range is seen and nothing is mapped; if it has, its result is seen.  A change that
 * begins after will be announced, and zaps what we map.
 */
#include <linux/delay.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>
#include <asm/pgtable.h>

#include "../compat/mmu.h"
#include "flush.h"
#include "mmu.h"

static_assert(MMU_WRITE == TDP_WRITE && MMU_EXEC == TDP_EXEC);

/* Faults that the host resolved and that did not help: go round so often, then ask user mode. */
#define MAX_ROUNDS	8

#define FIRST_WAIT	20UL	/* us, for an invalidation to end */

/* Pages that are mapped with the one asked for: what Linux itself maps of a file at a fault. */
#define AROUND_PAGES	16U

struct mmu_fault {
	u64 gpa;
	u64 hva;	/* 0: not known yet */
	u32 access;
	bool around;	/* neighbours may be in the host's table already */
};

/*
 * The entry of @mm's page table that maps @va, or 0, and its level; @last, if that is 1, the table it is in.
 * Interrupts are off, which keeps page-table pages from being freed, as for get_user_pages_fast().
 *
 * Only the last entry counts: Linux gives those above it all permissions (but sets NX
 * in the top one when it keeps two tables against Meltdown).
 */
static __always_inline u64 host_entry(struct mm_struct *mm, u64 va, unsigned int *level, const u64 **last)
{
	const u64 address = PTE_PFN_MASK;
	const u64 *table = (const u64 *)mm->pgd;
	char *memory = __va(0);
	u64 entry;

	lockdep_assert_irqs_disabled();
/* The bit itself: PROT_NONE entries count as present elsewhere. */
#define DESCEND(n, is_leaf) do {							\
	entry = READ_ONCE(table[(va >> (TDP_PAGE_SHIFT + TDP_LEVEL_BITS * ((n) - 1))) &	\
			  (TDP_ENTRIES - 1)]);						\
	*level = (n);									\
	if (!(entry & _PAGE_PRESENT))							\
		return 0;								\
	if (is_leaf)									\
		return entry;								\
	table = (const u64 *)(memory + (entry & address));				\
} while (0)

	if (pgtable_l5_enabled())
		DESCEND(5, false);
	DESCEND(4, false);
	DESCEND(3, entry & _PAGE_PSE);
	DESCEND(2, entry & _PAGE_PSE);
	if (last)
		*last = table;
	DESCEND(1, true);
	return entry;
#undef DESCEND
}

/*
 * Can the CPU make the access through @entry without Linux taking a fault?  A clean
 * entry is no good for a write: the host must learn of it.  Nor is one with a
 * protection key, which the guest's accesses would not obey; but for a fetch, which obeys none:
 * Linux makes memory with PROT_EXEC alone so.  It is mapped without the right to read it, where the CPU has such.
 */
static bool host_allows(u64 entry, u32 access)
{
	u64 must = _PAGE_PRESENT | _PAGE_USER;
	u64 must_not = access & MMU_EXEC ? _PAGE_NX : _PAGE_PKEY_MASK;

	if (access & MMU_WRITE)
		must |= _PAGE_RW | _PAGE_DIRTY;
	return (entry & (must | must_not)) == must;
}

static __always_inline u8 host_memtype(const struct dune_mmu *mmu, u64 entry, unsigned int level, u64 pfn)
{
	u64 pat_bit = level == 1 ? _PAGE_PAT : _PAGE_PAT_LARGE;
	unsigned int index = 0;
	u8 type;

	if (unlikely(entry & (_PAGE_PWT | _PAGE_PCD | pat_bit)))
		index = (entry & _PAGE_PWT ? 1 : 0) | (entry & _PAGE_PCD ? 2 : 0) |
			(entry & pat_bit ? 4 : 0);
	type = (mmu->pat >> (8 * index)) & 7;

	/*
	 * Device memory that the host maps write-back relies on MTRRs, which EPT does
	 * not know.  Ordinary entries of level 1 are of RAM; the others say so with
	 * this bit.
	 */
	if (type == TDP_WB && (level > 1 || (entry & _PAGE_SPECIAL)) && !pfn_valid(pfn))
		type = TDP_UC;
	return type;
}

/* Inline, as it is on the way of each fault, and has two callers. */
static __always_inline void leaf_from_host(const struct dune_mmu *mmu, u64 entry, unsigned int level, u64 hva,
					    struct tdp_leaf *leaf)
{
	u64 in_leaf = (tdp_level_size(level) - 1) >> TDP_PAGE_SHIFT;
	u64 pfn = (entry & PTE_PFN_MASK) >> PAGE_SHIFT;

	leaf->pfn = (pfn & ~in_leaf) | ((hva >> PAGE_SHIFT) & in_leaf);
	leaf->level = level;
	leaf->perms = entry & _PAGE_NX ? 0 : TDP_EXEC;
	/*
	 * Writable only while the host counts it as written: else CoW, KSM, soft-dirty
	 * and writeback would miss a write.
	 */
	if ((entry & (_PAGE_RW | _PAGE_DIRTY | _PAGE_PKEY_MASK)) == (_PAGE_RW | _PAGE_DIRTY))
		leaf->perms |= TDP_WRITE;
	leaf->memtype = host_memtype(mmu, entry, level, leaf->pfn);
	leaf->encrypted = sme_me_mask && (entry & sme_me_mask);
	leaf->keep_table = false;
}

/*
 * CPUs with the iTLB multihit erratum can be hung by a guest that executes from a huge
 * page while it changes the page's size: only 4 KiB pages are executable there.
 */
static void split_executable(struct tdp_leaf *leaf, u32 access)
{
	if (leaf->level == 1)
		return;
	if (access & MMU_EXEC) {
		leaf->level = 1;
	} else {
		leaf->perms &= ~TDP_EXEC;
		leaf->keep_table = true;	/* it has pieces that are executed */
	}
}

static bool being_invalidated(const struct dune_mmu *mmu, u64 start, u64 size)
{
	return unlikely(mmu->invalidate_count) &&
	       start < mmu->invalidate_end && start + size > mmu->invalidate_start;
}

/* A larger leaf must not map again what is being invalidated beside the page asked for. */
static void avoid_invalidation(const struct dune_mmu *mmu, u64 hva, struct tdp_leaf *leaf)
{
	while (leaf->level > 1) {
		u64 size = tdp_level_size(leaf->level);

		if (!being_invalidated(mmu, hva & ~(size - 1), size))
			break;
		leaf->level--;
	}
}

/*
 * The page of @fault is mapped.  Map its neighbours too, as far as the host's table has them: each by its own
 * entry there, as a fault at it would, but as not accessed.
 *
 * Not where the CPU keeps no accessed bits: what is mapped would count as accessed.
 */
static void map_around(struct dune_mmu *mmu, const struct mmu_fault *fault)
{
	const u64 mask = AROUND_PAGES * PAGE_SIZE - 1, ignored = PTE_PFN_MASK | _PAGE_ACCESSED;
	u64 *slot = tdp_page_slot(&mmu->tdp, fault->gpa & ~mask);
	u64 hva = fault->hva & ~mask, last = 0, rights = 0;
	struct tdp_leaf leaf;
	const u64 *table = NULL;
	unsigned int i, level;

	if (unlikely(!slot || !mmu->tdp.fmt->accessed || being_invalidated(mmu, hva, mask + 1)))
		return;
	host_entry(mmu->mn.mm, hva, &level, &table);
	if (!table)
		return;
	table += hva >> PAGE_SHIFT & (TDP_ENTRIES - 1);
	for (i = 0; i < AROUND_PAGES; i++) {
		u64 host = READ_ONCE(table[i]);

		/* Of what is not RAM each page has its own cache type; few of those are used. */
		if (!host_allows(host, MMU_READ) || host & _PAGE_SPECIAL || !tdp_slot_is_empty(&mmu->tdp, &slot[i]))
			continue;
		/* Most are like the one before. */
		if ((host ^ last) & ~ignored) {
			leaf_from_host(mmu, host, 1, hva, &leaf);
			leaf.pfn = 0;
			rights = tdp_old_page(&mmu->tdp, &leaf);
			last = host;
		}
		WRITE_ONCE(slot[i], rights | (host & PTE_PFN_MASK));
	}
}

/* Not part of map_locked(), so that what has no neighbours does not pay for them. */
static noinline int map_with_neighbours(struct dune_mmu *mmu, const struct mmu_fault *fault,
					const struct tdp_leaf *leaf, struct tdp_cache *cache,
					struct list_head *garbage)
{
	int r = tdp_map(&mmu->tdp, cache, fault->gpa, leaf, garbage);

	if (r >= 0)
		map_around(mmu, fault);
	return r;
}

/*
 * Under mmu->lock, with interrupts off.  What tdp_map() says, or -EAGAIN: the address is being invalidated;
 * -EFAULT: the host's table does not allow the access (yet); -ENXIO: the granule was
 * taken back; -EPERM: it is a device's; -EIO.
 */
static int map_locked(struct dune_mmu *mmu, struct mmu_fault *fault, struct tdp_cache *cache,
		      struct list_head *garbage)
{
	struct tdp_leaf leaf;
	unsigned int level;
	u64 entry, hva;

	lockdep_assert_held(&mmu->lock);
	lockdep_assert_irqs_disabled();
	if (unlikely(mmu->dead))
		return -EIO;
	if (unlikely(!granule_va(&mmu->granules, fault->gpa, &hva) ||
		     (fault->hva && hva != fault->hva)))
		return -ENXIO;
	fault->hva = hva;
	if (being_invalidated(mmu, hva & PAGE_MASK, PAGE_SIZE))
		return -EAGAIN;

	entry = host_entry(mmu->mn.mm, hva, &level, NULL);
	if (!host_allows(entry, fault->access))
		return -EFAULT;

	leaf_from_host(mmu, entry, level, hva, &leaf);
	if (unlikely(leaf.memtype != TDP_WB) && mmu->no_devices)
		return -EPERM;
	if (unlikely(fault->access & MMU_EXEC && entry & _PAGE_PKEY_MASK))
		leaf.memtype |= TDP_EXEC_ONLY;
	if (unlikely(mmu->split_exec))
		split_executable(&leaf, fault->access);
	avoid_invalidation(mmu, hva, &leaf);
	if (fault->around && level == 1)
		return map_with_neighbours(mmu, fault, &leaf, cache, garbage);
	return tdp_map(&mmu->tdp, cache, fault->gpa, &leaf, garbage);
}

/* The flush that tdp_map() asked for.  Interrupts are on. */
static void finish_replacement(struct dune_mmu *mmu, u64 gen, struct list_head *garbage)
{
	lockdep_assert_irqs_enabled();
	mmu_wait_flushed(mmu, gen);
	tdp_garbage_free(garbage);
}

/* map_locked(), locked; @gen: what to wait for after TDP_FLUSH.  Interrupts are off. */
static __always_inline int map_once(struct dune_mmu *mmu, struct mmu_fault *fault,
				    struct tdp_cache *cache, struct list_head *garbage, u64 *gen)
{
	int r;

	spin_lock(&mmu->lock);
	r = map_locked(mmu, fault, cache, garbage);
	if (unlikely(r == TDP_FLUSH)) {
		mmu_make_stale(mmu);
		*gen = atomic64_read(&mmu->tlb_gen);
	}
	spin_unlock(&mmu->lock);
	return r;
}

/* Where outside Dune mode the process would wait for memory it does here.  0 or -EINTR. */
static int fill_cache(struct tdp_cache *cache)
{
	unsigned int round = 0;

	while (tdp_cache_fill(cache)) {
		if (signal_pending(current))
			return -EINTR;
		mmu_wait_for_memory(round++, TASK_INTERRUPTIBLE);
	}
	return 0;
}

/* Mirror the host's entry.  0, or as map_locked(), or -EINTR. */
static int map_page(struct dune_mmu *mmu, struct mmu_fault *fault)
{
	LIST_HEAD(garbage);
	struct tdp_cache cache;
	u64 gen = 0;
	int r;

	cache.nr = 0;
	for (;;) {
		local_irq_disable();
		r = map_once(mmu, fault, &cache, &garbage, &gen);
		local_irq_enable();
		/*
		 * Page-table pages are allocated when it turns out that they are
		 * needed, which is rare.
		 */
		if (likely(r != -ENOSPC))
			break;
		r = fill_cache(&cache);
		if (r)
			break;
	}
	tdp_cache_release(&cache);
	if (unlikely(r == TDP_FLUSH)) {
		finish_replacement(mmu, gen, &garbage);
		r = 0;
	}
	return r;
}

/* As the host's own fault handler decides it. */
static bool vma_allows(const struct vm_area_struct *vma, u32 access)
{
	if (access & MMU_WRITE)
		return vma->vm_flags & VM_WRITE;
	if (access & MMU_EXEC)
		return vma->vm_flags & VM_EXEC;
	return vma->vm_flags & (VM_READ | VM_WRITE | VM_EXEC);
}

/*
 * Have the kernel fill in its own page table.  0: it says that it has; -EINTR;
 * MMU_REPEAT_IN_USER: what is left is for its fault handler proper (signals, stack
 * growth, the memory cgroup's out-of-memory handling).
 *
 * It is not told that this is for user mode: who says so has to wait for memory, where a memory cgroup says that, and
 * to drop a reference to that cgroup after VM_FAULT_OOM, by a function that is the kernel's own.  A userfaultfd that
 * is for faults of user mode alone would take ours for the kernel's, so its memory is left to the handler proper as
 * well.
 */
static int populate(struct mm_struct *mm, struct mmu_fault *fault)
{
	unsigned int flags = FAULT_FLAG_DEFAULT;
	struct vm_area_struct *vma;
	vm_fault_t result;

	if (fault->access & MMU_WRITE) {
		flags |= FAULT_FLAG_WRITE;
		fault->around = false;
	}
	if (fault->access & MMU_EXEC)
		flags |= FAULT_FLAG_INSTRUCTION;

	for (;;) {
		if (mmap_read_lock_killable(mm))
			return -EINTR;
		vma = find_vma(mm, fault->hva);
		if (!vma || vma->vm_start > fault->hva || !vma_allows(vma, fault->access) || userfaultfd_armed(vma)) {
			mmap_read_unlock(mm);
			return MMU_REPEAT_IN_USER;
		}

		/* The host maps neighbours of what is read from a file, of nothing else. */
		if (!vma->vm_ops)
			fault->around = false;
		result = handle_mm_fault(vma, fault->hva, flags, NULL);
		if (likely(!(result & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))))
			break;

		/* mmap_lock was released. */
		if (result & VM_FAULT_COMPLETED)
			return 0;
		if (signal_pending(current))
			return -EINTR;
		flags |= FAULT_FLAG_TRIED;
	}
	mmap_read_unlock(mm);
	return result & VM_FAULT_ERROR ? MMU_REPEAT_IN_USER : 0;
}

int dune_mmu_fault_fast(struct dune_mmu *mmu, u64 gpa, u32 access)
{
	struct mmu_fault fault = { .gpa = gpa, .access = access, .around = true };
	LIST_HEAD(garbage);
	struct tdp_cache cache;
	u64 gen = 0;
	int r;

	cache.nr = 0;
	r = map_once(mmu, &fault, &cache, &garbage, &gen);
	if (unlikely(r == TDP_FLUSH)) {
		preempt_disable();
		local_irq_enable();
		finish_replacement(mmu, gen, &garbage);
		local_irq_disable();
		preempt_enable();
	}
	return r;
}

int dune_mmu_fault(struct dune_mmu *mmu, u64 gpa, u32 access, int fast, u64 *hva)
{
	struct mmu_fault fault = { .gpa = gpa, .access = access, .around = true };
	int round, r;

	*hva = 0;
	if (!granule_va(&mmu->granules, gpa, &fault.hva))
		return MMU_NO_GRANULE;
	*hva = fault.hva;

	for (round = 0;; round++) {
		/* dune_mmu_fault_fast() has tried the first time. */
		r = round || fast == -ENOSPC ? map_page(mmu, &fault) : fast;
		if (likely(!r))
			return MMU_RESOLVED;
		if (r == -ENXIO) {
			*hva = 0;
			return MMU_NO_GRANULE;
		}
		if (r != -EFAULT && r != -EAGAIN)
			return r;
		if (round == MAX_ROUNDS)
			break;
		if (unlikely(round > 1)) {
			if (signal_pending(current))
				return -EINTR;
			/*
			 * Who invalidates the address may be off the CPU, and of a lower priority: as long as this
			 * thread runs that would not end.  Twice as long each time, for whoever wakes up takes the
			 * CPU from who is at work.
			 */
			if (r == -EAGAIN)
				usleep_range(FIRST_WAIT << (round - 2), FIRST_WAIT << (round - 1));
			else
				cond_resched();
		}

		/*
		 * Also where an invalidation is in the way: most hold mmap_lock, which
		 * is a better place to wait than this loop.
		 */
		r = populate(mmu->mn.mm, &fault);
		if (r)
			return r;
	}

	/*
	 * An invalidation that takes long ends some time.  An entry that never gets
	 * good enough (a protection key) is user mode's.
	 */
	return r == -EAGAIN ? MMU_RESOLVED : MMU_REPEAT_IN_USER;
}
