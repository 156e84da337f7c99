/* SPDX-License-Identifier: GPL-2.0-only */
/* Extended page tables: the TDP of VMX. */
#ifndef DUNE_VMX_EPT_H
#define DUNE_VMX_EPT_H

#include <linux/types.h>

struct tdp;
struct tdp_format;

#define EPT_LEVELS	4

/*
 * The format that this CPU supports; @cap is IA32_VMX_EPT_VPID_CAP.  NULL: it cannot
 * serve (no four-level walk, or no write-back paging structures).  Called while the
 * module is loaded.
 */
const struct tdp_format *ept_format(u64 cap);

/* The value of the VMCS field "EPT pointer". */
u64 ept_pointer(const struct tdp *tdp);

#endif
