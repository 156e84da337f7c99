// SPDX-License-Identifier: GPL-2.0-only
/* Switching VMX on and off where KVM does not (SDM, "Enabling and Entering VMX Operation"). */
#include <linux/gfp.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <asm/msr-index.h>
#include <asm/perf_event.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>

#include "../msr.h"
#include "insn.h"
#include "vmx.h"

bool vmx_is_on(void)
{
	return native_read_cr4() & X86_CR4_VMXE;
}

#ifdef DUNE_HAVE_CR4_UPDATE_IRQSOFF

struct vmxon {
	u32 *region;
	u64 pa;
	bool on;
};

static DEFINE_PER_CPU(struct vmxon, vmx_own);

void vmx_own_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmxon *v = per_cpu_ptr(&vmx_own, cpu);

		free_page((unsigned long)v->region);
		v->region = NULL;
	}
}

int vmx_own_setup(void)
{
	u32 revision = read_msr(MSR_IA32_VMX_BASIC) & 0x7fffffff;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmxon *v = per_cpu_ptr(&vmx_own, cpu);

		v->region = (u32 *)get_zeroed_page(GFP_KERNEL);
		if (!v->region) {
			vmx_own_teardown();
			return -ENOMEM;
		}
		*v->region = revision;
		v->pa = __pa(v->region);
		v->on = false;
	}
	return 0;
}

int vmx_own_on(void)
{
	struct vmxon *v = this_cpu_ptr(&vmx_own);

	if (v->on)
		return 0;
	if (vmx_is_on())
		return -EBUSY;
	/* Where the CPU cannot trace in VMX operation, perf must not try. */
	intel_pt_handle_vmx(1);
	cr4_set_bits(X86_CR4_VMXE);
	v->on = vmxon(&v->pa);
	if (v->on)
		return 0;
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
	return -EIO;
}

void vmx_own_off(void)
{
	struct vmxon *v = this_cpu_ptr(&vmx_own);

	if (!v->on)
		return;
	v->on = false;
	vmxoff();
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

#else

/* The kernel keeps a copy of CR4, so a write of it behind the kernel's back would not last. */
int vmx_own_setup(void)
{
	pr_err("this kernel lets no module but KVM switch VT-x on: load KVM first (modprobe kvm_intel)\n");
	return -EOPNOTSUPP;
}

void vmx_own_teardown(void)
{
}

int vmx_own_on(void)
{
	return -EOPNOTSUPP;
}

void vmx_own_off(void)
{
}

#endif
