/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speculation: what is done against which bug of the CPU (choice.h).  The guest is treated as KVM
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

#include "choice.h"
#include "msr.h"

extern struct dune_spec dune_spec;

/* The same, for the way of every DUNE_RUN: a no-op where there is nothing to do. */
DECLARE_STATIC_KEY_FALSE(dune_spec_entry);	/* verw or flush_l1d */
DECLARE_STATIC_KEY_FALSE(dune_spec_ibrs);
DECLARE_STATIC_KEY_FALSE(dune_spec_ibpb);
DECLARE_STATIC_KEY_FALSE(dune_spec_ibpb_user);

int dune_spec_init(void);
void dune_spec_exit(void);
void dune_flush_l1d(void);
void dune_fill_rsb(void);	/* rsb.S */

static __always_inline void dune_restore_spec_ctrl(void)
{
	if (static_branch_unlikely(&dune_spec_ibrs))
		write_msr(MSR_IA32_SPEC_CTRL, this_cpu_read(x86_spec_ctrl_current));
}

static inline void dune_ibpb(void)
{
	write_msr(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
}

/* The kernel does it once, before this CPU is in user mode the next time; where it cannot be told, it is done now. */
static inline void dune_barrier_before_user(void)
{
#ifdef DUNE_HAVE_X86_IBPB_EXIT_TO_USER
	this_cpu_write(x86_ibpb_exit_to_user, true);
#else
	dune_ibpb();
#endif
}

#endif
