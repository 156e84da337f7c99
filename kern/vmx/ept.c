// SPDX-License-Identifier: GPL-2.0-only
/*
 * The format of EPT entries (SDM, "The Extended Page Table Mechanism (EPT)").
 *
 * The memory type of a leaf is the host's own, and the guest's PAT is ignored: the
 * process could not choose it either.  Mode-based execute control stays off, so X is
 * for ring 0 and ring 3.
 */
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/mm.h>

#include "../mmu/tdp.h"
#include "ept.h"

#define EPT_READ		(1ULL << 0)
#define EPT_WRITE		(1ULL << 1)
#define EPT_EXEC		(1ULL << 2)
#define EPT_TYPE_SHIFT		3
#define EPT_TYPE		(7ULL << EPT_TYPE_SHIFT)
#define EPT_IGNORE_PAT		(1ULL << 6)
#define EPT_LARGE		(1ULL << 7)
#define EPT_ACCESSED		(1ULL << 8)
#define EPT_DIRTY		(1ULL << 9)
#define EPT_ADDRESS		0x000ffffffffff000ULL

static_assert(!(EPT_ADDRESS & (EPT_READ | EPT_WRITE | EPT_EXEC | EPT_TYPE | EPT_IGNORE_PAT |
			       EPT_LARGE | EPT_ACCESSED | EPT_DIRTY)));
static_assert(!(EPT_TYPE & (EPT_READ | EPT_WRITE | EPT_EXEC | EPT_IGNORE_PAT)));
static_assert((EPT_TYPE >> EPT_TYPE_SHIFT) + 1 == TDP_NR_MEMTYPES);

/* SDM, "VPID and EPT Capabilities". */
#define CAP_EXEC_ONLY		(1ULL << 0)
#define CAP_WALK_4		(1ULL << 6)
#define CAP_WB			(1ULL << 14)
#define CAP_2M			(1ULL << 16)
#define CAP_1G			(1ULL << 17)
#define CAP_ACCESSED_DIRTY	(1ULL << 21)

/* SDM, "Extended-Page-Table Pointer (EPTP)". */
#define EPTP_WB			6ULL
#define EPTP_WALK(levels)	((u64)((levels) - 1) << 3)
#define EPTP_ACCESSED_DIRTY	(1ULL << 6)

#define TYPE(type)		(((u64)(type) << EPT_TYPE_SHIFT) | EPT_IGNORE_PAT | EPT_READ)

/* EPT knows no UC-, which is UC unless an MTRR says WC. */
#define TYPES {					\
	[TDP_UC] = TYPE(TDP_UC),		\
	[TDP_WC] = TYPE(TDP_WC),		\
	[TDP_WT] = TYPE(TDP_WT),		\
	[TDP_WP] = TYPE(TDP_WP),		\
	[TDP_WB] = TYPE(TDP_WB),		\
	[TDP_UC_MINUS] = TYPE(TDP_UC),		\
}

static struct tdp_format ept __ro_after_init = {
	.name = "EPT",
	.address = EPT_ADDRESS,
	.present = EPT_READ | EPT_WRITE | EPT_EXEC,
	.table = EPT_READ | EPT_WRITE | EPT_EXEC,
	.read = EPT_READ,
	.large = EPT_LARGE,
	.write = EPT_WRITE,
	.exec = EPT_EXEC,
	.memtype = TYPES,
	.memtype_large = TYPES,
	.leaf_size[1] = 1ULL << 12,
};

const struct tdp_format *ept_format(u64 cap)
{
	u64 absent = cap & CAP_EXEC_ONLY ? EPT_READ : 0;
	unsigned int type;

	if (!(cap & CAP_WALK_4) || !(cap & CAP_WB))
		return NULL;
	for (type = 0; type < TDP_NR_MEMTYPES; type++) {
		ept.memtype[TDP_EXEC_ONLY | type] = ept.memtype[type] & ~absent;
		ept.memtype_large[TDP_EXEC_ONLY | type] = ept.memtype_large[type] & ~absent;
	}
	ept.accessed = cap & CAP_ACCESSED_DIRTY ? EPT_ACCESSED : 0;
	ept.dirty = cap & CAP_ACCESSED_DIRTY ? EPT_DIRTY : 0;
	ept.leaf_size[2] = cap & CAP_2M ? 1ULL << 21 : 0;
	ept.leaf_size[3] = cap & CAP_1G ? 1ULL << 30 : 0;
	return &ept;
}

u64 ept_pointer(const struct tdp *tdp)
{
	return __pa(tdp->root) | EPTP_WB | EPTP_WALK(tdp->levels) |
	       (tdp->fmt->accessed ? EPTP_ACCESSED_DIRTY : 0);
}
