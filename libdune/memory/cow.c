// SPDX-License-Identifier: MIT
/*
 * Copies on write, when the program's page-fault handler asks for them.
 *
 * GR0.
 */
#include "memory/memory.h"

/* The fault is answered by now: another thread was quicker, or it is that of an old translation. */
static bool is_answered(ptent_t v, uint64_t fec)
{
	return (v & (PTE_P | PTE_W)) == (PTE_P | PTE_W) && (v & PTE_U || !(fec & FEC_U));
}

/* Find what a write to @va needs: *@old is the entry to copy, or 0 as nothing is to do any more. */
static int prepare_copy(struct space *s, uint64_t va, uint64_t fec, ptent_t **e, ptent_t *old)
{
	int level, ret;

	*old = 0;
	ret = __dune_space_open(s, __dune_current_root());
	if (ret)
		return ret;
	*e = walk_find(s->root, va, &level);
	if (level == LEVEL_ROOT)
		return -EFAULT;
	if (is_answered(**e, fec))
		return 0;
	if ((**e & (PTE_P | PTE_COW)) != (PTE_P | PTE_COW))
		return -EFAULT;
	ret = __dune_walk_reach(s, va, LEVEL_PT, e);
	if (!ret)
		*old = **e;
	return ret;
}

/*
 * The lock is not held while the page is copied: that can fault.  What is to be cleared in all address spaces meanwhile
 * (host/calls/tid.c) must not be in the copy: it is made again.
 */
static int copy_on_write(uint64_t va, uint64_t fec)
{
	struct page *pg = NULL;
	ptent_t *e, old, again;
	struct space s;
	uint64_t state;
	uint32_t cleared;
	int ret;

	state = memory_lock();
	ret = prepare_copy(&s, va, fec, &e, &old);
	if (ret || !old)
		goto close;
	if (page_of_pool(old & PTE_ADDRESS) && page_users(page_of(old)) == 1) {
		__atomic_fetch_or(e, PTE_W, __ATOMIC_RELAXED);
		__atomic_fetch_and(e, ~(ptent_t)PTE_COW, __ATOMIC_RELAXED);
		s.unflushed = true;
		goto close;
	}
	pg = __dune_page_take();
	if (!pg) {
		ret = -ENOMEM;
		goto close;
	}
	do {
		cleared = region_state()->words_cleared;
		__dune_space_close(&s, va, PGSIZE);
		memory_unlock(state);

		memcpy((void *)page_address(pg), (void *)va, PGSIZE);

		state = memory_lock();
		ret = prepare_copy(&s, va, fec, &e, &again);
	} while (!ret && again && cleared != region_state()->words_cleared);
	if (!ret && again && !((again ^ old) & ~(ptent_t)PTE_NOTED)) {
		__dune_walk_set(&s, e, page_address(pg) | (PTE_FLAGS(old) & ~(ptent_t)PTE_COW) | PTE_W | PTE_D,
				LEVEL_PT);
		pg = NULL;
	}
close:
	if (pg)
		__dune_page_give(pg);
	__dune_space_close(&s, va, PGSIZE);
	memory_unlock(state);
	return ret;
}

/* An access that only a system call needs: that is -EFAULT. */
static bool refuse_call(uint64_t va)
{
	struct call_fault *fault = call_fault(current_thread());

	if (!fault->va || PGADDR(fault->va) != va)
		return false;
	fault->va = 0;
	fault->refused = true;
	return true;
}

PUBLIC void dune_vm_default_pgflt_handler(uintptr_t addr, uint64_t fec)
{
	uint64_t va = PGADDR(addr);
	int ret = -EFAULT;

	if (dune_in_guest() && fec & FEC_W && !(fec & FEC_RSV) && user_address(va) &&
	    !__dune_own_memory(va, va + PGSIZE))
		ret = copy_on_write(va, fec);
	if (ret == -EFAULT && dune_in_guest() && refuse_call(va))
		return;
	if (ret == -ENOMEM)
		__dune_fatal(SIGBUS, "no page for a copy of %#lx", va);
	if (ret)
		__dune_fatal(SIGSEGV, "page fault at %#lx (error code %#lx)", addr, fec);
}
