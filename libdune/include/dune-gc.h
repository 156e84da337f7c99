/* SPDX-License-Identifier: MIT */
/*
 * Dirty pages for libgc, the collector of Boehm, Demers and Weiser: from the page table, in place of mprotect() and
 * SIGSEGV.  In libdune-gc.a: link with -ldune-gc -ldune -lgc, libgc being 8.2 or later, as it is.
 */
#ifndef DUNE_GC_H
#define DUNE_GC_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * dune_gc_start - have libgc collect in its incremental mode, by dirty bits
 *
 * Once, after GC_INIT(), and before any thread is made but libgc's own.  The calling thread enters Dune mode, unless it
 * is there; threads made after that are there too.  Callbacks that the program has set for libgc's events
 * (GC_set_on_collection_event()) and roots (GC_set_push_other_roots()) are called as before.  Who sets one later must
 * call what GC_get_...() said: without ours the next collection prints that and calls abort(), as it would free what is
 * in use.
 *
 * The child of a fork goes on so.  What GC_malloc_stubborn() and the like ask of a program is not needed.
 *
 * Return: 0, and 0 if it was started already; or -errno, with libgc as it was: -ENOSYS this libgc is older than 8.2, or
 * has no incremental mode; -EALREADY libgc is incremental by other means (GC_ENABLE_INCREMENTAL); -EBUSY threads
 * outside Dune mode, whose stores leave no dirty bit; or what dune_init() and dune_enter() say.
 */
int dune_gc_start(void);

struct dune_gc_stats {
	unsigned long reads;	/* how often libgc has asked: once or twice for each collection */
	unsigned long blind;	/* of these, how often all pages counted as written: the heap is new, or too large */
	unsigned long pages;	/* that were told of in all, of 4 KiB */
	unsigned long tracked;	/* bytes that are looked at now: the heap, and what is mapped beside it */
};

/** dune_gc_stats - what was done until now; a collection at the same time may be half in */
void dune_gc_stats(struct dune_gc_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* DUNE_GC_H */
