// SPDX-License-Identifier: MIT
/*
 * The functions that libdune/dune.h and what it includes define, as functions of the library; those of dune.h are in
 * api/inline.c.
 *
 * HR3 and GR0.
 */
#include "dune-compat.h"

/* As in base.h, which does not go with the headers of the C library. */
void *memset(void *to, int byte, size_t size) __asm__("__dune_memset");

#undef DUNE_INLINE
#define DUNE_INLINE	__attribute__((visibility("default")))

#include "libdune/dune.h"
