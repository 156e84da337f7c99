// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "memory.h"

long stub_pages;
long stub_objects;
long stub_allocations_left = -1;

static bool may_allocate(void)
{
	if (!stub_allocations_left)
		return false;
	if (stub_allocations_left > 0)
		stub_allocations_left--;
	return true;
}

unsigned long __get_free_page(int gfp)
{
	char *p = may_allocate() ? aligned_alloc(4096, 8192) : NULL;

	if (!p)
		return 0;
	/* Whoever did not ask for zeroes gets what he can trip over. */
	memset(p, gfp & __GFP_ZERO ? 0 : 0xa5, 4096);
	memset(p + 4096, 0, sizeof(struct page));
	stub_pages++;
	return (unsigned long)p;
}

void free_page(unsigned long address)
{
	if (!address)
		return;
	stub_pages--;
	free((void *)address);
}

void __free_page(struct page *page)
{
	free_page((unsigned long)page - 4096);
}

void *kcalloc(size_t n, size_t size, int gfp)
{
	void *p = may_allocate() ? calloc(n, size) : NULL;

	(void)gfp;
	if (p)
		stub_objects++;
	return p;
}

void *kmemdup(const void *from, size_t size, int gfp)
{
	void *p = kcalloc(1, size, gfp);

	return p ? memcpy(p, from, size) : NULL;
}

void kfree(const void *p)
{
	if (!p)
		return;
	stub_objects--;
	free((void *)p);
}
