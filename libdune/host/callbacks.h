/* SPDX-License-Identifier: MIT */
/*
 * HR3: what a program that watches another one (dune-ring3.h) has said, and when its callbacks are called.
 */
#ifndef LIBDUNE_CALLBACKS_H
#define LIBDUNE_CALLBACKS_H

#include "dune-ring3.h"
#include "host/ring3-header.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

/* NULL: nobody watches. */
extern const struct ring3_header *__dune_ring3_header;

/* From now on.  @image: where the image begins in which the callbacks are. */
void __dune_callbacks_set(const struct ring3_header *header, unsigned long image);

static inline bool callback_wants(unsigned int nr)
{
	return __dune_ring3_header && __dune_ring3_header->calls[nr / 64] >> nr % 64 & 1;
}

/*
 * A call that is wanted, and was looked at: FORWARD_CALL, or its result if it is not to be made.  @error: what is wrong
 * with its arguments, then that is the result.
 */
long __dune_callback_before(struct dune_thread *t, long error);
/* Is path() to be asked; may @access (DUNE_RING3_*) be had to that path?  FORWARD_CALL, or the result. */
bool __dune_callback_asks(void);
long __dune_callback_path(struct dune_thread *t, const char *path, unsigned int access);
/* t->seen: it was made. */
void __dune_callback_after(struct dune_thread *t, long result);
void __dune_callback_begin(struct dune_thread *t, enum dune_ring3_begin how);
/* @status: wait()'s. */
void __dune_callback_end(struct dune_thread *t, int status, bool whole_process);
void __dune_callback_signal(struct dune_thread *t, const siginfo_t *info);
void __dune_callback_fault(struct dune_thread *t, const siginfo_t *info);
/* In a callback the kernel has sent @info: is it for a fault there?  Then it does not return. */
void __dune_callback_failed(const siginfo_t *info, unsigned long rip);

#pragma GCC visibility pop

#endif /* LIBDUNE_CALLBACKS_H */
