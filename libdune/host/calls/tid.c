// SPDX-License-Identifier: MIT
/*
 * The word that is cleared when a thread ends (set_tid_address(), CLONE_CHILD_CLEARTID), by which others wait for that
 * end.  HR3.
 *
 * The kernel clears what the process has at the address.  Address spaces of the program's may have copies there: a
 * stack that is copied on write has the word of its thread, since C libraries put what they know of a thread there.
 * Who waits would find the number of a thread that has ended, and wait, or ask again, for ever.  So once the program
 * has changed a page table libdune clears the word, in all of them, before the thread ends.
 */
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "host/calls.h"
#include "host/host.h"

#define NR_COPIES	16	/* others are cleared, too, but who waits for them is not woken */

struct copies {
	uint64_t va;
	uint64_t at[NR_COPIES];
	unsigned int nr;
};

/* With the lock held. */
static void clear_copy(ptent_t *root, void *arg)
{
	struct copies *copies = arg;
	int level;
	ptent_t v = READ_ONCE(*walk_find(root, copies->va, &level));
	uint64_t at = (v & PTE_ADDRESS) + PGOFF(copies->va);

	if (level != LEVEL_PT || !is_mapped(v) || !page_of_pool(at) || !page_of(v)->ref)
		return;
	__atomic_store_n((uint32_t *)at, 0, __ATOMIC_SEQ_CST);
	if (copies->nr < NR_COPIES)
		copies->at[copies->nr++] = at;
}

/* A filter of the program's might forbid to ask, or to tell the kernel of it: then that clears its word too. */
static uint64_t take_from_kernel(const struct dune_thread *t)
{
	uint64_t va = t->tid_word;

	if (region_state()->filtered)
		return va;
	if (va == TID_WORD_UNKNOWN && dune_syscall2(__NR_prctl, PR_GET_TID_ADDRESS, &va))
		return TID_WORD_UNKNOWN;
	if (va)
		dune_syscall1(__NR_set_tid_address, 0);
	return va;
}

static void wake(const struct dune_thread *t, uint64_t at)
{
	if (!t->strict)
		dune_syscall3(__NR_futex, at, FUTEX_WAKE, 1);
}

void __dune_tid_word_end(struct dune_thread *t)
{
	const uint32_t zero = 0;
	struct copies copies = { .va = take_from_kernel(t) };
	uint64_t state;

	if (!copies.va || copies.va == TID_WORD_UNKNOWN || copies.va % sizeof(zero) || !user_address(copies.va))
		return;
	/* A copy of the page that is being made has the new word, or is made again (memory/cow.c). */
	__dune_copy_safely(t, (void *)copies.va, &zero, sizeof(zero));
	__dune_mark_written(t, copies.va, sizeof(zero));
	state = memory_lock();
	region_state()->words_cleared++;
	__dune_each_root(clear_copy, &copies);
	memory_unlock(state);
	wake(t, copies.va);
	for (unsigned int i = 0; i < copies.nr; i++)
		wake(t, copies.at[i]);
}

/* The kernel's would be another one. */
uint64_t __dune_tid_word_for_child(struct dune_thread *t, struct dune_thread *child, uint64_t flags, uint64_t va)
{
	struct access a = { .t = t };

	child->tid_word = flags & CLONE_CHILD_CLEARTID ? va : 0;
	return child->tid_word && __dune_tracking && __dune_refuse_elsewhere(&a, va, sizeof(uint32_t)) ?
	       flags & ~(uint64_t)CLONE_CHILD_CLEARTID : flags;
}

/* set_tid_address(address) */
long __dune_sys_set_tid_address(struct dune_thread *t, struct guest_regs *r)
{
	t->tid_word = r->rdi;
	return FORWARD_CALL;
}
