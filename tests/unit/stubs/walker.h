/* SPDX-License-Identifier: MIT */
/* The page table as a CPU reads it, written without a look at libdune's own walker. */
#ifndef STUBS_WALKER_H
#define STUBS_WALKER_H

#include "dune-stubs.h"

#define CPU_OK		0
#define CPU_DENIED	1
#define CPU_ABSENT	2

/* An access with the error code @kind (FEC_W, FEC_U, FEC_I); notes it in the entry if it is allowed. */
int cpu_access(ptent_t *root, uint64_t va, unsigned int kind);
/* The same without a trace in the entry. */
bool cpu_allows(ptent_t *root, uint64_t va, unsigned int kind);
/* The leaf for @va: its size, 0 if there is none; and the address of @va. */
uint64_t cpu_size(ptent_t *root, uint64_t va);
uint64_t cpu_pa(ptent_t *root, uint64_t va);
/* Of all translations, however large their pages are. */
uint64_t cpu_checksum(ptent_t *root);
/* Pages of the pool with references. */
unsigned int pages_in_use(void);

#endif
