/* SPDX-License-Identifier: MIT */
#ifndef STUBS_DUNE_STUBS_H
#define STUBS_DUNE_STUBS_H

#include "vm.h"

#define STUB_GRANULES	(1U << 17)

extern uint32_t stub_owners[STUB_GRANULES];
extern bool (*stub_mapped)(uint64_t va);
extern unsigned long stub_calls[512];

/* What dune_init() does for page tables. */
void stub_begin(void);

#endif
