/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a program in ring 3 were written in this epoch: written.c.
 */
#ifndef LIBDUNE_WRITTEN_H
#define LIBDUNE_WRITTEN_H

#include "memory/memory.h"

#pragma GCC visibility push(hidden)

/* An epoch has begun: what was written is noted; else all counts as written. */
extern bool __dune_written_on;

/*
 * What is to be set in the entry of a page that was written without it: by the kernel, or by HR3.  PTE_LATE has the
 * page count as written in the next epoch too, for a call may write until long after somebody has looked.
 */
static inline ptent_t written_mark(void)
{
	return READ_ONCE(__dune_written_on) ? PTE_NOTED | PTE_LATE : PTE_NOTED;
}

/*
 * HR3, without the lock: a new epoch begins.  When it returns, no CPU has a translation from before.  What there is no
 * memory for goes on counting as written.
 */
void __dune_written_clear(void);
/* HR3, without the lock: of each of @n pages from @va on, is it mapped (1), and written (2)? */
void __dune_written_read(uint64_t va, unsigned int n, uint8_t *pages);
/* In the child of a fork: all counts as written. */
void __dune_written_forked(void);

#pragma GCC visibility pop

#endif /* LIBDUNE_WRITTEN_H */
