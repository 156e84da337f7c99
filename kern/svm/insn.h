/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SVM instructions.  KVM turns SVM off under us at reboot and in a crash, so each
 * may raise #UD: that is quiet, and counts as a failure of the instruction.
 */
#ifndef DUNE_SVM_INSN_H
#define DUNE_SVM_INSN_H

#include <linux/types.h>
#include <asm/asm.h>

/* Store what VMLOAD loads.  Also where SVM is on, it must be so until interrupts are on again. */
static __always_inline bool vmsave(u64 pa)
{
	bool ok;

	asm volatile("1:	vmsave %%rax\n"
		     "	movb $1, %[ok]\n"
		     "	jmp 3f\n"
		     "2:	movb $0, %[ok]\n"
		     "3:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : [ok] "=qm"(ok) : "a"(pa) : "memory");
	return ok;
}

/*
 * Run a guest that cannot execute an instruction.  CLGI keeps out all that could turn
 * SVM off before STGI.
 */
static __always_inline void vmrun_empty(u64 pa)
{
	asm volatile("1:	clgi\n"
		     "	vmrun %%rax\n"
		     "	stgi\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : : "a"(pa) : "cc", "memory");
}

#endif
