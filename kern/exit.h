/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest's exits lead to: the way of a forwarded system call, and the table of all others. */
#ifndef DUNE_EXIT_H
#define DUNE_EXIT_H

#include <asm/processor-flags.h>

#include "trace.h"
#include "vcpu.h"

/* Loaded.  0: run on; more: DUNE_EXIT_* for user space; less: -errno for user space. */
typedef int dune_exit_handler(struct dune_vcpu *vcpu, struct dune_exit *exit);

extern dune_exit_handler * const dune_exit_handlers[X_NR_KINDS];

void dune_skip_slowly(struct dune_vcpu *vcpu);

/* Go past an instruction that was done for the guest. */
static __always_inline void dune_skip(struct dune_vcpu *vcpu, u32 len)
{
	vcpu->rip += len;
	vcpu->dirty |= VCPU_DIRTY_RIP;
	if (unlikely(vcpu->rflags & (X86_EFLAGS_RF | X86_EFLAGS_TF)))
		dune_skip_slowly(vcpu);
}

/* VMCALL in ring 0 with something else than the number of a hypercall. */
static __always_inline bool dune_exit_is_syscall(const struct dune_vcpu *vcpu)
{
	return vcpu->exit.kind == X_HYPERCALL && !vcpu->cpl &&
	       (READ_ONCE(vcpu->run->regs.rax) - DUNE_HC(0)) >> 32;
}

static __always_inline int dune_handle_exit(struct dune_vcpu *vcpu)
{
	if (likely(dune_exit_is_syscall(vcpu))) {
		dune_skip(vcpu, vcpu->exit.len);
		trace_dune_syscall(vcpu, READ_ONCE(vcpu->run->regs.rax));
		return DUNE_EXIT_SYSCALL;
	}
	return dune_exit_handlers[vcpu->exit.kind](vcpu, &vcpu->exit);
}

#endif
