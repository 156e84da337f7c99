/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_MM_H
#define STUB_LINUX_MM_H

#include <string.h>
#include <linux/list.h>
#include <linux/types.h>

#define min(a, b)	((a) < (b) ? (a) : (b))
#define max(a, b)	((a) > (b) ? (a) : (b))

/* "Physical" memory is the program's own. */
#define __pa(p)		((u64)(unsigned long)(p))
#define __va(pa)	((void *)(unsigned long)(pa))

struct page {
	struct list_head lru;
};

/* Each page of memory has its struct page behind it. */
static inline struct page *virt_to_page(const void *p)
{
	return (struct page *)((unsigned long)p + 4096);
}

void __free_page(struct page *page);

#endif
