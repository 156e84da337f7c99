/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speculation: what is done against which bug of the CPU.  The guest is treated as KVM
 * treats one.  Filling the RSB and the loop against branch-history injection
 * are in vmenter.S.
 */
#ifndef DUNE_SPEC_H
#define DUNE_SPEC_H

#include <linux/jump_label.h>
#include <linux/percpu.h>
#include <linux/types.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>

#include "msr.h"

struct dune_spec {
	bool verw;		/* MDS, TAA, MMIO, RFDS, TSA: clear the CPU's buffers before entry */
	bool flush_l1d;		/* L1TF: the guest writes its own page tables, so EPT alone does not stop it */
	bool flush_l1d_by_msr;	/* ... and the CPU has a command for it */
	bool ibrs;		/* KERNEL_IBRS: write SPEC_CTRL again after each exit */
	bool ibpb;		/* between guests of different processes */
	bool ibpb_user;		/* VMSCAPE: between the guest and its own process's user mode */
};

extern struct dune_spec dune_spec;

/* The same, for the way of every DUNE_RUN: a no-op where there is nothing to do. */
DECLARE_STATIC_KEY_FALSE(dune_spec_entry);	/* verw or flush_l1d */
DECLARE_STATIC_KEY_FALSE(dune_spec_ibrs);
DECLARE_STATIC_KEY_FALSE(dune_spec_ibpb);
DECLARE_STATIC_KEY_FALSE(dune_spec_ibpb_user);

int dune_spec_init(void);
void dune_spec_exit(void);
void dune_flush_l1d(void);

static __always_inline void dune_restore_spec_ctrl(void)
{
	if (static_branch_unlikely(&dune_spec_ibrs))
		write_msr(MSR_IA32_SPEC_CTRL, this_cpu_read(x86_spec_ctrl_current));
}

static inline void dune_ibpb(void)
{
	write_msr(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
}

#endif
