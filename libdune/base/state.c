// SPDX-License-Identifier: MIT
/*
 * What is known of the process; dune_init() finds it out.
 *
 * HR3 and GR0.
 */
#include "base/base.h"

static struct region_state before_init;

struct dune_process __dune_process = { .state = &before_init };
