/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_SLAB_H
#define STUB_LINUX_SLAB_H

#include <stddef.h>

void *kcalloc(size_t n, size_t size, int gfp);
void *kmemdup(const void *from, size_t size, int gfp);
void kfree(const void *p);

#endif
