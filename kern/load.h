/* SPDX-License-Identifier: GPL-2.0-only */
/* A vCPU is loaded while the guest's part of the CPU's state is in the CPU. */
#ifndef DUNE_LOAD_H
#define DUNE_LOAD_H

#include <linux/irqflags.h>
#include <linux/smp.h>
#include <linux/static_call.h>

#include "hw.h"
#include "spec.h"
#include "vcpu.h"

/* The vCPU has come to another CPU than it ran on last, or to one that was switched off meanwhile. */
void dune_vcpu_migrate(struct dune_vcpu *vcpu);
/* No prediction of another VM's on this CPU is of use to this one. */
void dune_barrier_between_vms(struct dune_vcpu *vcpu);

/*
 * From here to dune_vcpu_put() the thread stays on its CPU: interrupts are off, but for moments in which preemption is.
 */
static __always_inline void dune_vcpu_load(struct dune_vcpu *vcpu)
{
	local_irq_disable();
	if (unlikely(READ_ONCE(vcpu->cpu) != raw_smp_processor_id()))
		dune_vcpu_migrate(vcpu);
	if (static_branch_unlikely(&dune_spec_ibpb))
		dune_barrier_between_vms(vcpu);
	vcpu->flush_l1d = true;
	vcpu->dirty |= VCPU_DIRTY_HOST;
	static_call(dune_hw_vcpu_load)(vcpu);
}

static __always_inline void dune_vcpu_put(struct dune_vcpu *vcpu)
{
	static_call(dune_hw_vcpu_put)(vcpu);
	if (static_branch_unlikely(&dune_spec_ibpb_user) && vcpu->config.flags & DUNE_VCPU_CONFINES)
		dune_barrier_before_user();
	local_irq_enable();
}

/* The same, for handlers of exits: what may sleep stands between these two, with the CPU's state the host's own. */
void dune_vcpu_park(struct dune_vcpu *vcpu);
void dune_vcpu_unpark(struct dune_vcpu *vcpu);

/*
 * DUNE_YIELD; 0 or -EINVAL, -EIO, -ESRCH.  The caller waits for another thread of the process, which may be off its
 * CPU.  Asleep it leaves the CPU to those of a lower priority too; but who wakes up interrupts whom it waits for.
 */
int dune_yield(struct dune_vm *vm, unsigned long argument);

#endif
