/* SPDX-License-Identifier: MIT */
/*
 * The meaning that functions have in the first libdune, for programs that include libdune/dune.h: thin functions over
 * those of dune.h.  A program that does not include it links nothing of this room.
 */
#ifndef LIBDUNE_COMPAT_H
#define LIBDUNE_COMPAT_H

#include "memory/memory.h"

#include "dune-compat.h"

#pragma GCC visibility push(hidden)

/*
 * full.c, with the lock held, where all pages of the process have entries from the beginning: make those of
 * [va, end).  Where it has no granule there are none.  0 or -errno.
 */
int __dune_compat_fill(struct space *s, uint64_t va, uint64_t end);
/* Have the granule of @va, whether something is mapped there or not: where it is, or -errno. */
long __dune_compat_granule(uint64_t va);

extern ptent_t *dune_compat_pgroot __attribute__((visibility("default")));

/* variables.c: have them say what is, from now on; @area and @stack: mmap_base and stack_base. */
void __dune_compat_publish(uint64_t area, uint64_t stack);

#pragma GCC visibility pop

#endif /* LIBDUNE_COMPAT_H */
