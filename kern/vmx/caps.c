// SPDX-License-Identifier: GPL-2.0-only
/* What VMX can do on this machine, and the controls that Dune takes of it. */
#include <linux/cpu.h>
#include <linux/printk.h>
#include <asm/cpufeature.h>
#include <asm/hypervisor.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/tsc.h>
#include <asm/vmx.h>

#include "../msr.h"
#include "insn.h"
#include "vmx.h"

struct vmx_caps vmx_caps __ro_after_init;

/*
 * A control word: what must be on, and what is taken if it is there.  Everything else
 * is off where the CPU allows it.  SDM, "Discovering Support for VMX": the low half of
 * the capability MSR has the bits that must be 1, the high half those that may be.
 */
struct control {
	const char *name;
	u32 msr;
	u32 required;
	u32 optional;
	u32 forbidden;	/* would break the guest if the CPU forced it on */
	u32 *value;
};

static const struct control controls[] = {
	{
		"pin-based", MSR_IA32_VMX_TRUE_PINBASED_CTLS,
		PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING, PIN_BASED_VMX_PREEMPTION_TIMER, 0,
		&vmx_caps.pin,
	}, {
		/*
		 * CR3 and INVLPG are the guest's own; CR8 is the host's APIC; an I/O instruction
		 * exits always; PAUSE, RDTSC and TPR are left alone.
		 */
		"processor-based", MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
		CPU_BASED_HLT_EXITING | CPU_BASED_MWAIT_EXITING | CPU_BASED_RDPMC_EXITING |
		CPU_BASED_CR8_LOAD_EXITING | CPU_BASED_CR8_STORE_EXITING |
		CPU_BASED_MOV_DR_EXITING | CPU_BASED_UNCOND_IO_EXITING |
		CPU_BASED_MONITOR_EXITING | CPU_BASED_USE_MSR_BITMAPS |
		CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, 0,
		CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING |
		CPU_BASED_INVLPG_EXITING | CPU_BASED_RDTSC_EXITING,
		&vmx_caps.proc,
	}, {
		"secondary", MSR_IA32_VMX_PROCBASED_CTLS2,
		SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_WBINVD_EXITING,
		SECONDARY_EXEC_ENABLE_VPID | SECONDARY_EXEC_ENABLE_RDTSCP |
		SECONDARY_EXEC_ENABLE_INVPCID | SECONDARY_EXEC_DESC |
		SECONDARY_EXEC_ENCLS_EXITING, 0,
		&vmx_caps.proc2,
	}, {
		"VM-exit", MSR_IA32_VMX_TRUE_EXIT_CTLS,
		VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_LOAD_IA32_EFER, 0,
		VM_EXIT_ACK_INTR_ON_EXIT,
		&vmx_caps.exit,
	}, {
		"VM-entry", MSR_IA32_VMX_TRUE_ENTRY_CTLS,
		VM_ENTRY_IA32E_MODE | VM_ENTRY_LOAD_IA32_EFER | VM_ENTRY_LOAD_DEBUG_CONTROLS, 0, 0,
		&vmx_caps.entry,
	},
};

#define EPT_REQUIRED	(VMX_EPT_PAGE_WALK_4_BIT | VMX_EPTP_WB_BIT | VMX_EPT_INVEPT_BIT | \
			 VMX_EPT_EXTENT_CONTEXT_BIT)

/*
 * A guest with IF = 0 must not keep the CPU.  External interrupts exit whatever IF is, but Bochs 2.7
 * forgets that after an entry with IF = 0: the VMX-preemption timer is the second line.  Its value is
 * constant and is loaded by each entry, so that it costs no instruction.
 */
#define MAX_GUEST_MS	10ULL

/* Bits of CR4 that concern only the guest's own mode. */
#define CR4_GUEST	(X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PGE | X86_CR4_PCIDE | \
			 X86_CR4_FSGSBASE | X86_CR4_TSD | X86_CR4_DE | X86_CR4_UMIP)

int vmx_check(void)
{
	u64 feature_control;

	if (!boot_cpu_has(X86_FEATURE_VMX))
		return -ENODEV;
	feature_control = read_msr(MSR_IA32_FEAT_CTL);
	if (!(feature_control & FEAT_CTL_LOCKED) || !(feature_control & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX)) {
		pr_err("VT-x is switched off by the firmware: enable it in the BIOS setup\n");
		return -EOPNOTSUPP;
	}
	/* There KVM may use an enlightened VMCS, beside which VMPTRLD has no effect. */
	if (boot_cpu_has(X86_FEATURE_HYPERVISOR) && hypervisor_is_type(X86_HYPER_MS_HYPERV)) {
		pr_err("VT-x under Hyper-V is not supported\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int read_control(const struct control *c)
{
	u64 msr = read_msr(c->msr);
	u32 must = msr, may = msr >> 32;

	*c->value = must | c->required | (c->optional & may);
	if ((c->required & ~may) || (must & c->forbidden)) {
		pr_err("this CPU lacks VT-x %s controls: required %#x, possible %#x, forced %#x\n",
		       c->name, c->required, may, must);
		return -EOPNOTSUPP;
	}
	return 0;
}

int vmx_caps_read(void)
{
	struct vmx_caps *caps = &vmx_caps;
	u64 basic = read_msr(MSR_IA32_VMX_BASIC);
	unsigned int i;
	int error;

	caps->revision = basic & 0x7fffffff;
	/* SDM, "Basic VMX Information": bit 55: the TRUE capability MSRs exist; 53:50 = 6: write-back. */
	if (!(basic & BIT_ULL(55)) || ((basic >> 50) & 15) != 6) {
		pr_err("this CPU's VT-x is too old (VMX_BASIC %#llx)\n", basic);
		return -EOPNOTSUPP;
	}
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		error = read_control(&controls[i]);
		if (error)
			return error;
	}
	/* A kernel that does not believe its TSC has no frequency of it; with 0 no guest would get anywhere. */
	if (!tsc_khz)
		caps->pin &= ~(u32)PIN_BASED_VMX_PREEMPTION_TIMER;
	/* SDM, "Miscellaneous Data": how many bits of the TSC the timer leaves out. */
	caps->timer = (MAX_GUEST_MS * tsc_khz) >> (read_msr(MSR_IA32_VMX_MISC) & 0x1f);
	caps->ept_vpid = read_msr(MSR_IA32_VMX_EPT_VPID_CAP);
	if ((caps->ept_vpid & EPT_REQUIRED) != EPT_REQUIRED) {
		pr_err("this CPU's EPT lacks what Dune needs (EPT_VPID_CAP %#llx)\n", caps->ept_vpid);
		return -EOPNOTSUPP;
	}
	caps->vpid = caps->proc2 & SECONDARY_EXEC_ENABLE_VPID;
	caps->rdtscp = caps->proc2 & SECONDARY_EXEC_ENABLE_RDTSCP;
	caps->invpcid = caps->proc2 & SECONDARY_EXEC_ENABLE_INVPCID;
	caps->encls = caps->proc2 & SECONDARY_EXEC_ENCLS_EXITING;
	/* Exits on descriptor-table instructions are for DUNE_VCPU_STRICT. */

	caps->cr0_fixed0 = read_msr(MSR_IA32_VMX_CR0_FIXED0);
	caps->cr0_fixed1 = read_msr(MSR_IA32_VMX_CR0_FIXED1);
	caps->cr4_fixed0 = read_msr(MSR_IA32_VMX_CR4_FIXED0);
	caps->cr4_fixed1 = read_msr(MSR_IA32_VMX_CR4_FIXED1);
	caps->cr4_allowed = CR4_GUEST & caps->cr4_fixed1 & ~caps->cr4_fixed0;
	/* A guest that wants to be as outside has it where Linux has. */
	if (!boot_cpu_has(X86_FEATURE_UMIP))
		caps->cr4_allowed &= ~(u64)X86_CR4_UMIP;
	/* PCIDs are tagged with the VPID, and INVPCID must work in the guest. */
	if (!caps->vpid || !caps->invpcid)
		caps->cr4_allowed &= ~(u64)X86_CR4_PCIDE;
	return 0;
}
