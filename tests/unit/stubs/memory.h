/* SPDX-License-Identifier: MIT */
/* The memory behind the stub headers, seen from a test. */
#ifndef STUB_MEMORY_H
#define STUB_MEMORY_H

/* Pages and other pieces allocated and not freed. */
extern long stub_pages;
extern long stub_objects;

/* So many more allocations succeed; -1: all. */
extern long stub_allocations_left;

#endif
