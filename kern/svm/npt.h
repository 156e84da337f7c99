/* SPDX-License-Identifier: GPL-2.0-only */
/* Nested page tables: the TDP of SVM. */
#ifndef DUNE_SVM_NPT_H
#define DUNE_SVM_NPT_H

#include <linux/types.h>

struct tdp_format;

/*
 * The format that this CPU supports.  @pat is the host's PAT register, through which
 * nested entries name their memory type; @encrypted the bit of an entry that says
 * "encrypted" (the C-bit), or 0; @gib_pages whether there are 1 GiB pages.  A table has
 * as many levels as the host's own.  Called while the module is loaded.
 */
const struct tdp_format *npt_format(u64 pat, u64 encrypted, bool gib_pages);

#endif
