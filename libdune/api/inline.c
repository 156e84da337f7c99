// SPDX-License-Identifier: MIT
/*
 * The functions that dune.h and what it includes define, as functions of the library.
 *
 * HR3 and GR0.
 */
#define DUNE_INLINE	__attribute__((visibility("default")))

#include "dune.h"
