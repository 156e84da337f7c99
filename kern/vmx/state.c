// SPDX-License-Identifier: GPL-2.0-only
/*
 * What of the host's state the guest borrows for as long as its thread is in HR0:
 * the MSRs of SYSCALL, the GS base, segment registers; and the repair of what each VM
 * exit leaves behind in the descriptor tables.
 */
#include <linux/lockdep.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/topology.h>
#include <linux/thread_info.h>
#include <asm/desc.h>
#include <asm/segment.h>

#include "../msr.h"
#include "vmx.h"

/*
 * The same on every CPU.  They are in a CPU unless KVM has left its guest's
 * there until the next return to user mode; and then KVM has a user-return
 * notifier on the current task, which TIF_USER_RETURN_NOTIFY shows.
 */
struct vmx_host_msrs vmx_kernel_msrs __ro_after_init;

static void read_host_msrs(struct vmx_host_msrs *msrs)
{
	msrs->lstar = read_msr(MSR_LSTAR);
	msrs->star = read_msr(MSR_STAR);
	msrs->fmask = read_msr(MSR_SYSCALL_MASK);
	msrs->efer = read_msr(MSR_EFER);
	msrs->tsc_aux = vmx_caps.rdtscp ? read_msr(MSR_TSC_AUX) : 0;
}

int vmx_learn_kernel_msrs(void)
{
	unsigned int tries;

	/* The notifier goes to the task that runs next. */
	for (tries = 0; tries < 100; tries++) {
		preempt_disable();
		if (!test_thread_flag(TIF_USER_RETURN_NOTIFY))
			read_host_msrs(&vmx_kernel_msrs);
		preempt_enable();
		if (vmx_kernel_msrs.lstar)
			return 0;
		schedule_timeout_uninterruptible(1);
	}
	pr_err("KVM does not give the CPU back: load the module again\n");
	return -EBUSY;
}

/*
 * With KVM's guest's in the CPU, all are switched.  EFER is among them: the host has to find its value of
 * the moment after the exit.
 */
static noinline void load_msrs_beside_kvm(struct vmx_vcpu *vmx)
{
	int cpu = smp_processor_id();

	vmx->foreign_msrs = true;
	read_host_msrs(&vmx->found);
	write_msr(MSR_STAR, vmx_kernel_msrs.star);
	write_msr(MSR_SYSCALL_MASK, vmx_kernel_msrs.fmask);
	if (vmx_caps.rdtscp)
		write_msr(MSR_TSC_AUX, cpu | cpu_to_node(cpu) << 12);
	vmx->vcpu.dirty |= VMX_DIRTY_EFER;
}

static noinline void put_msrs_beside_kvm(struct vmx_vcpu *vmx)
{
	write_msr(MSR_LSTAR, vmx->found.lstar);
	write_msr(MSR_STAR, vmx->found.star);
	write_msr(MSR_SYSCALL_MASK, vmx->found.fmask);
	if (vmx_caps.rdtscp)
		write_msr(MSR_TSC_AUX, vmx->found.tsc_aux);
	vmx->foreign_msrs = false;
	vmx->vcpu.dirty |= VMX_DIRTY_EFER;
}

static __always_inline void load_msrs(struct vmx_vcpu *vmx)
{
	if (unlikely(test_thread_flag(TIF_USER_RETURN_NOTIFY)))
		load_msrs_beside_kvm(vmx);
	write_msr(MSR_LSTAR, vmx->lstar);
}

static __always_inline void put_msrs(struct vmx_vcpu *vmx)
{
	if (unlikely(vmx->foreign_msrs))
		put_msrs_beside_kvm(vmx);
	else
		write_msr(MSR_LSTAR, vmx_kernel_msrs.lstar);
}

/* Of the CPU that the vCPU comes to.  Interrupts are off. */
void vmx_host_state_migrate(struct vmx_vcpu *vmx)
{
	lockdep_assert_irqs_disabled();
	vmx->gdt.size = GDT_SIZE - 1;
	vmx->gdt.address = (unsigned long)get_cpu_gdt_ro(smp_processor_id());
}

#define read_selector(name) ({						\
	u32 __selector;							\
	asm volatile("mov %%" #name ", %0" : "=r"(__selector));		\
	__selector;							\
})

/* A VM exit loads 0: bring back what the task had, where that is something else. */
static __always_inline void save_selectors(struct vmx_vcpu *vmx)
{
	u32 ds = read_selector(ds), es = read_selector(es), fs = read_selector(fs);
	u32 gs = read_selector(gs);

	if (unlikely(ds | es | fs | gs)) {
		vmx->selectors = true;
		vmx->ds = ds;
		vmx->es = es;
		vmx->fs = fs;
		vmx->gs = gs;
	}
}

static noinline void restore_selectors(struct vmx_vcpu *vmx)
{
	u64 fs_base = read_fs_base();

	if (vmx->ldt)
		asm volatile("lldt %0" : : "m"(vmx->ldt));
	loadsegment(ds, vmx->ds);
	loadsegment(es, vmx->es);
	if (vmx->fs) {
		loadsegment(fs, vmx->fs);
		write_fs_base(fs_base);
	}
	if (vmx->gs) {
		/*
		 * The task's descriptor may have gone since.  The #GP comes with the task's GS base active, and the
		 * entry of #GP puts that right only where the kernel's own function does this; the selector is 0
		 * then.  It clobbers the inactive base.
		 */
		load_gs_index(vmx->gs);
		write_inactive_gs_base(vmx->gs_base);
	}
	vmx->selectors = false;
	vmx->ds = vmx->es = vmx->fs = vmx->gs = vmx->ldt = 0;
}

void notrace vmx_vcpu_load(struct dune_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	/*
	 * The kernel's per-CPU base is active; SWAPGS's other one is the task's, and in the guest the guest's other
	 * one.
	 */
	u64 fs_base = read_fs_base(), gs_base = read_inactive_gs_base();

	load_msrs(vmx);
	save_selectors(vmx);
	if (unlikely((fs_base ^ vmx->fs_base) | (gs_base ^ vmx->gs_base))) {
		vmx->fs_base = fs_base;
		vmx->gs_base = gs_base;
		vmx->vcpu.dirty |= VMX_DIRTY_BASES;
	}
	if (unlikely(gs_base != vcpu->kernel_gs_base))
		write_inactive_gs_base(vcpu->kernel_gs_base);
}

static noinline void reload_tr(void)
{
	force_reload_TR();
}

/*
 * An exit makes the limit of GDTR 0xffff, so that selectors would reach beyond the
 * table, and that of TR 0x67, which hides the I/O bitmap.  (SDM, "Loading Host Segment and
 * Descriptor-Table Registers".)
 */
static __always_inline void repair_tables(struct vmx_vcpu *vmx)
{
	native_load_gdt(&vmx->gdt);
	this_cpu_write(__tss_limit_invalid, true);
	if (unlikely(test_thread_flag(TIF_IO_BITMAP)))
		reload_tr();
	if (unlikely(vmx->selectors))
		restore_selectors(vmx);
}

void notrace vmx_vcpu_put(struct dune_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	put_msrs(vmx);
	vcpu->kernel_gs_base = read_inactive_gs_base();
	if (unlikely(vmx->gs_base != vcpu->kernel_gs_base))
		write_inactive_gs_base(vmx->gs_base);
	repair_tables(vmx);
}
