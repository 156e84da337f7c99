// SPDX-License-Identifier: GPL-2.0-only
/* Bringing a vCPU to a CPU, and giving the CPU back to the host: to sleep, or to let others run. */
#include <linux/delay.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/topology.h>

#include "hw.h"
#include "load.h"
#include "owner.h"
#include "stats.h"

/* The id of the last VM that ran here.  Its address would not do: the next VM may get the same memory. */
static DEFINE_PER_CPU(u64, last_vm);

/* The descriptor from which the vDSO's getcpu() takes the limit: data, ring 3, 32 bits. */
static u64 cpunode_descriptor(int cpu)
{
	u32 limit = cpu | cpu_to_node(cpu) << 12;

	return 0x0040f50000000000ULL | (limit & 0xffff) | (u64)(limit & 0xf0000) << 32;
}

/* Interrupts are off, but for a while. */
noinline void dune_vcpu_migrate(struct dune_vcpu *vcpu)
{
	preempt_disable();
	local_irq_enable();
	WRITE_ONCE(vcpu->run->gdt[DUNE_SEL_CPUNODE >> 3], cpunode_descriptor(smp_processor_id()));
	dune_hw->vcpu_migrate(vcpu);
	dune_stat(STAT_MIGRATIONS);
	local_irq_disable();
	preempt_enable();
}

noinline void dune_barrier_between_vms(struct dune_vcpu *vcpu)
{
	if (this_cpu_read(last_vm) != vcpu->vm->id) {
		this_cpu_write(last_vm, vcpu->vm->id);
		dune_ibpb();
		if (unlikely(dune_spec.ibpb_fills_rsb))
			dune_fill_rsb();
	}
}

void dune_vcpu_park(struct dune_vcpu *vcpu)
{
	dune_vcpu_put(vcpu);
}

void dune_vcpu_unpark(struct dune_vcpu *vcpu)
{
	dune_vcpu_load(vcpu);
}

int dune_yield(struct dune_vm *vm, unsigned long argument)
{
	u32 microseconds = argument, whom = argument >> DUNE_YIELD_FOR_SHIFT;

	if (microseconds > DUNE_YIELD_MAX)
		return -EINVAL;
	if (whom && !dune_vm_is_current(vm))
		return -EIO;
	dune_stat(STAT_YIELDS);
	if (microseconds)
		usleep_range(microseconds, 2 * microseconds);
	else
		yield();
	return whom && dune_vcpu_is_left(vm, whom - 1) ? -ESRCH : 0;
}
