/* SPDX-License-Identifier: MIT */
/*
 * Those who clear dirty bits, and those who want to know: scan.c, dirty.c.  With the lock held.
 */
#ifndef LIBDUNE_SCAN_H
#define LIBDUNE_SCAN_H

#include "memory/memory.h"

#pragma GCC visibility push(hidden)

/*
 * Split larger pages of [va, va + len), clear the dirty bits, and note them in all trackers (__dune_dirty_note()).  0;
 * -ENOMEM: none was cleared.
 */
int __dune_scan_clear(struct space *s, uint64_t va, uint64_t len);

/*
 * Dirty bits of @root were cleared, or content was changed without one: of pages from @va on by the bits of @found, or
 * of so many.  Not needed where there are no trackers.
 */
void __dune_dirty_note(const ptent_t *root, uint64_t va, uint64_t found);
void __dune_dirty_note_run(const ptent_t *root, uint64_t va, uint64_t pages);
/* It is no address space any more. */
void __dune_dirty_root_freed(const ptent_t *root);

#pragma GCC visibility pop

#endif /* LIBDUNE_SCAN_H */
