/* SPDX-License-Identifier: MIT */
/*
 * What the files about pages and page tables share: page.c, walk.c, vm.c, scan.c, space.c and pgtable.c.
 *
 * One lock is for all of it.  Whoever holds it must not meet an exception that GR0 handles: libdune's
 * granule, its data and the pool are mapped in every address space, and the stack is touched before.
 */
#ifndef LIBDUNE_VM_H
#define LIBDUNE_VM_H

#include "internal.h"
#include "pgtable.h"

/* ---- the lock ---- */

#define RFLAGS_IF	0x200UL
#define STACK_NEED	2048	/* bytes that whoever holds the lock may use */

extern uint32_t __dune_vm_mutex;

static inline void mutex_lock(void)
{
	while (__atomic_exchange_n(&__dune_vm_mutex, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static inline void mutex_unlock(void)
{
	__atomic_store_n(&__dune_vm_mutex, 0, __ATOMIC_RELEASE);
}

/* Nobody who holds the lock may be interrupted by a handler of the program's. */
static inline uint64_t vm_lock(void)
{
	uint64_t state;

	if (dune_in_guest())
		__asm__ volatile("pushfq; popq %0; cli; orb $0, %c1(%%rsp)"
				 : "=r"(state) : "i"(-STACK_NEED) : "memory");
	else
		state = __dune_signals_block();
	mutex_lock();
	return state;
}

static inline void vm_unlock(uint64_t state)
{
	mutex_unlock();
	if (!dune_in_guest())
		__dune_signals_restore(state);
	else if (state & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

/* ---- page.c; with the lock held ---- */

#define PAGE_ROOT	1	/* the root of an address space, made by dune_vm_clone() */
#define PAGE_FULL	2	/* ... in which a first touch maps granules */

/* A page with one reference, not cleared; NULL. */
struct page *__dune_page_take(void);
void __dune_page_give(struct page *pg);
/* Have the pool; 0 or -errno. */
int __dune_pool_ready(void);
/* HR3: reserve the pool's addresses, and have so many pages in it. */
long __dune_pool_extend(unsigned long nr_pages);
/* Does [start, end) touch the pool? */
bool __dune_pool_touches(uint64_t start, uint64_t end);

/* For tests: so many pages can still be had before all fail; negative: no limit. */
extern long __dune_page_credit;

static inline bool page_of_pool(physaddr_t pa)
{
	return pa - PAGEBASE < (uint64_t)(unsigned int)num_pages << PGSHIFT;
}

#endif /* LIBDUNE_VM_H */
