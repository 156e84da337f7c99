/* SPDX-License-Identifier: MIT */
#ifndef STUBS_DUNE_STUBS_H
#define STUBS_DUNE_STUBS_H

#include "memory/memory.h"

#define STUB_GRANULES	(1U << 17)

extern uint32_t stub_owners[STUB_GRANULES];
extern bool (*stub_mapped)(uint64_t va);
extern unsigned long stub_calls[512];

/* The memory map of the process. */
extern const struct dune_procmap_entry *stub_map;
extern unsigned int stub_map_size;
extern int stub_map_error;		/* what reading it fails with */
extern unsigned int stub_map_reads;

/* What dune_init() does for page tables. */
void stub_begin(void);

#endif
