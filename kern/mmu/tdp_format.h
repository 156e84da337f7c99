/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an entry of a second-level page table (TDP: EPT or NPT) looks like, as data: the
 * walker in tdp.c knows no vendor.
 */
#ifndef DUNE_TDP_FORMAT_H
#define DUNE_TDP_FORMAT_H

#include <linux/build_bug.h>
#include <linux/types.h>

#define TDP_MAX_LEVEL		5	/* NPT on a host with five-level paging */
#define TDP_PAGE_SHIFT		12
#define TDP_LEVEL_BITS		9
#define TDP_ENTRIES		(1U << TDP_LEVEL_BITS)

/*
 * Memory types, in the encoding that PAT, MTRRs and EPT share (SDM, "Memory Types and
 * Their Encoding in the PAT").
 */
enum tdp_memtype {
	TDP_UC = 0,		/* uncacheable */
	TDP_WC = 1,		/* write combining */
	TDP_WT = 4,		/* write through */
	TDP_WP = 5,		/* write protected */
	TDP_WB = 6,		/* write back */
	TDP_UC_MINUS = 7,	/* uncacheable, may be overridden by MTRRs */
	TDP_NR_MEMTYPES
};

/*
 * With a memory type, an index of the arrays below: of memory that can only be executed.  Where the hardware knows no
 * such memory, it can be read.
 */
#define TDP_EXEC_ONLY		8
static_assert(TDP_EXEC_ONLY >= TDP_NR_MEMTYPES);

struct tdp_format {
	const char *name;
	u64 address;		/* the physical address in an entry */
	u64 present;		/* an entry with none of these maps nothing */
	u64 table;		/* an entry that refers to a table is address | table */
	u64 leaf;		/* set in every leaf */
	u64 large;		/* set in a leaf above level 1, and what tells it from a table */
	u64 read;		/* set in what can be read, by the arrays below; 0: all that is mapped can be */
	u64 write;
	u64 exec;		/* set in what can be executed; 0: no such bit */
	u64 noexec;		/* set in what cannot be executed; 0: no such bit */
	u64 accessed;		/* 0: the CPU keeps no accessed bits */
	u64 dirty;		/* 0: the CPU keeps no dirty bits */
	u64 encrypted;		/* set in a leaf whose memory is encrypted; 0: no such bit */
	u64 memtype[2 * TDP_EXEC_ONLY];		/* in a leaf of level 1 */
	u64 memtype_large[2 * TDP_EXEC_ONLY];	/* in a leaf above it */
	/* Bytes that a leaf of each level maps; 0: there are none. Level 1 is 4 KiB. */
	u64 leaf_size[TDP_MAX_LEVEL + 1];
};

#endif
