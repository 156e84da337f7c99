// SPDX-License-Identifier: MIT
/*
 * Robust futexes of a checked program.  The kernel would follow a thread's list when that ends, and change whatever
 * word holds the thread's number, libdune's too.  So libdune keeps the list, and does the same for the program's words.
 * Of threads that a signal kills, and of others than the one that ends the process, nobody follows it.  HR3.
 */
#include <linux/futex.h>

#include "host/calls.h"
#include "host/host.h"

#define ENTRIES_MAX	ROBUST_LIST_LIMIT
#define TRIES		64
#define PI		1UL	/* in the address of an entry: its futex has priority inheritance */

long __dune_robust_set(struct dune_thread *t, uint64_t list, uint64_t size)
{
	if (size != sizeof(struct robust_list_head))
		return -EINVAL;
	t->robust_list = list;
	return 0;
}

/* Its own only. */
long __dune_robust_get(struct dune_thread *t, uint64_t pid, uint64_t list, uint64_t size)
{
	const uint64_t bytes = sizeof(struct robust_list_head);

	if (pid && (int)pid != dune_syscall0(__NR_gettid))
		return -EPERM;
	if (__dune_copy_out(size, &bytes, sizeof(bytes)) ||
	    __dune_copy_out(list, &t->robust_list, sizeof(t->robust_list)))
		return -EFAULT;
	return 0;
}

static bool read_word(uint64_t at, void *to, size_t size)
{
	return at && !out_of_bounds(at, size) && !__dune_copy_in(to, at, size);
}

/* @pending: it was being locked or unlocked: perhaps it is free already, and a waiter not woken yet. */
static void owner_died(struct dune_thread *t, uint64_t word, bool pi, bool pending)
{
	uint32_t tid = dune_syscall0(__NR_gettid), old, seen;

	if (word & (sizeof(old) - 1) || !read_word(word, &old, sizeof(old)))
		return;
	if (pending && !pi && !old)
		dune_syscall3(__NR_futex, word, FUTEX_WAKE, 1);
	for (unsigned int i = 0; (old & FUTEX_TID_MASK) == tid && i < TRIES; i++) {
		seen = old;
		if (!__dune_exchange_safely(t, word, &old, (seen & FUTEX_WAITERS) | FUTEX_OWNER_DIED))
			return;
		if (old != seen)
			continue;
		if (seen & FUTEX_WAITERS && !pi)
			dune_syscall3(__NR_futex, word, FUTEX_WAKE, 1);
		return;
	}
}

void __dune_robust_end(struct dune_thread *t)
{
	struct { uint64_t next; int64_t offset; uint64_t pending; } head;
	uint64_t list = t->robust_list, entry;

	_Static_assert(sizeof(head) == sizeof(struct robust_list_head), "it is that");
	t->robust_list = 0;
	if (!list || !read_word(list, &head, sizeof(head)))
		return;
	entry = head.next;
	for (unsigned int i = 0; i < ENTRIES_MAX && (entry & ~PI) != list; i++) {
		uint64_t next;
		bool more = read_word(entry & ~PI, &next, sizeof(next));	/* before it may be freed */

		if ((entry & ~PI) != (head.pending & ~PI))
			owner_died(t, (entry & ~PI) + head.offset, entry & PI, false);
		if (!more)
			break;
		entry = next;
	}
	if (head.pending & ~PI)
		owner_died(t, (head.pending & ~PI) + head.offset, head.pending & PI, true);
}
