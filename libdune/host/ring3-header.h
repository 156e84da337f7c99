/* SPDX-License-Identifier: MIT */
/*
 * What the process of main() and those of the program that is watched (dune-ring3.h) share.
 */
#ifndef LIBDUNE_RING3_HEADER_H
#define LIBDUNE_RING3_HEADER_H

#include "dune-ring3.h"

/* The first page of the memory that all share: launch/watch.c fills it in. */
struct ring3_header {
	uint64_t callbacks;	/* where struct dune_ring3_callbacks is in the image */
	uint64_t calls[DUNE_RING3_CALLS / 64];
	uint64_t size;		/* of what follows the page; 0: nothing */
	uint64_t data_size;	/* of the data; 0: there are none */
};

#endif /* LIBDUNE_RING3_HEADER_H */
