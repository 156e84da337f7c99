// SPDX-License-Identifier: GPL-2.0-only
/*
 * The format of nested page-table entries, which is that of the host's own long-mode
 * tables (APM volume 2, "Nested Paging" and "Long-Mode Page Translation").
 *
 * Nested walks count as user accesses, so every entry has the user bit.  The type of
 * memory comes from the host's PAT, then is combined with the guest's, which can make
 * it less cached only.
 */
#include <linux/build_bug.h>
#include <linux/cache.h>

#include "../mmu/tdp_format.h"
#include "npt.h"

#define NPT_PRESENT		(1ULL << 0)
#define NPT_WRITE		(1ULL << 1)
#define NPT_USER		(1ULL << 2)
#define NPT_PWT			(1ULL << 3)
#define NPT_PCD			(1ULL << 4)
#define NPT_ACCESSED		(1ULL << 5)
#define NPT_DIRTY		(1ULL << 6)
#define NPT_LARGE		(1ULL << 7)
#define NPT_PAT			(1ULL << 7)	/* level 1 */
#define NPT_PAT_LARGE		(1ULL << 12)	/* above */
#define NPT_NOEXEC		(1ULL << 63)
#define NPT_ADDRESS		0x000ffffffffff000ULL

static_assert(!(NPT_ADDRESS & (NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_PWT | NPT_PCD |
			       NPT_ACCESSED | NPT_DIRTY | NPT_LARGE | NPT_NOEXEC)));

static struct tdp_format npt __ro_after_init = {
	.name = "NPT",
	.present = NPT_PRESENT,
	.leaf = NPT_PRESENT | NPT_USER,
	.large = NPT_LARGE,
	.write = NPT_WRITE,
	.noexec = NPT_NOEXEC,
	.accessed = NPT_ACCESSED,
	.dirty = NPT_DIRTY,
	.leaf_size = { 0, 1ULL << 12, 1ULL << 21 },
};

/* The index of a PAT entry of this type, or -1. */
static int pat_index(u64 pat, unsigned int type)
{
	int i;

	for (i = 0; i < 8; i++)
		if (((pat >> (8 * i)) & 7) == type)
			return i;
	return -1;
}

static void set_memtype(u64 pat, unsigned int type)
{
	int i = pat_index(pat, type);
	u64 bits;

	/*
	 * A type that the host's PAT lacks is the host's for no page. UC- if not UC:
	 * there is always one of them.
	 */
	if (i < 0)
		i = pat_index(pat, TDP_UC);
	if (i < 0)
		i = pat_index(pat, TDP_UC_MINUS);
	if (i < 0)
		i = 3;
	bits = (i & 1 ? NPT_PWT : 0) | (i & 2 ? NPT_PCD : 0);
	npt.memtype[type] = bits | (i & 4 ? NPT_PAT : 0);
	npt.memtype_large[type] = bits | (i & 4 ? NPT_PAT_LARGE : 0);
	/* What is present can be read. */
	npt.memtype[TDP_EXEC_ONLY | type] = npt.memtype[type];
	npt.memtype_large[TDP_EXEC_ONLY | type] = npt.memtype_large[type];
}

const struct tdp_format *npt_format(u64 pat, u64 encrypted, bool gib_pages)
{
	unsigned int type;

	for (type = 0; type < TDP_NR_MEMTYPES; type++)
		set_memtype(pat, type);
	/* The tables are the kernel's own memory, encrypted if any is. */
	npt.table = NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED | encrypted;
	npt.encrypted = encrypted;
	npt.address = NPT_ADDRESS & ~encrypted;
	npt.leaf_size[3] = gib_pages ? 1ULL << 30 : 0;
	return &npt;
}
