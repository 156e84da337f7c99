/* SPDX-License-Identifier: GPL-2.0-only */
/* Which measures against the CPU's bugs are to be taken: a decision from facts alone, so that it can be tested. */
#ifndef DUNE_CHOICE_H
#define DUNE_CHOICE_H

#include <linux/types.h>

/*
 * Where the kernel tells what its administrator has chosen ("x_told"), that decides; where not, the CPU's bug does.
 * A bug that the kernel does not know is false.
 */
struct dune_spec_facts {
	bool mitigations_off;		/* of the command line: nothing is wanted */

	bool bug_mds, bug_taa, bug_rfds, bug_tsa;
	bool bug_mmio;
	bool bug_l1tf;
	bool bug_vmscape;
	bool bug_ibpb_no_ret;		/* IBPB leaves predictions of returns */

	bool verw_told, verw;		/* the kernel clears the CPU's buffers when it goes to user mode or a guest */
	bool mmio_told, mmio;		/* ... when it goes to a guest that may have a device */
	bool l1tf_told, l1tf;
	bool user_told, user;		/* IBPB before user mode, once a guest has run */

	bool kernel_ibrs;
	bool has_ibpb, use_ibpb;	/* the CPU has it; the kernel uses it */
	bool ibpb_on_exit;		/* vmenter.S has it after each exit, as the kernel chose */
	bool has_flush_l1d;		/* a command for it */
};

struct dune_spec {
	bool verw;		/* MDS, TAA, MMIO, RFDS, TSA: clear the CPU's buffers before entry */
	bool flush_l1d;		/* L1TF: the guest writes its own page tables, so EPT alone does not stop it */
	bool flush_l1d_by_msr;	/* ... and the CPU has a command for it */
	bool ibrs;		/* KERNEL_IBRS: write SPEC_CTRL again after each exit */
	bool ibpb;		/* between guests of different processes */
	bool ibpb_fills_rsb;	/* ... which has to be followed by what it leaves out */
	bool ibpb_user;		/* VMSCAPE: between the guest and its own process's user mode, where that confines it */
};

void dune_spec_choose(const struct dune_spec_facts *facts, struct dune_spec *spec);

#endif
