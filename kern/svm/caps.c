// SPDX-License-Identifier: GPL-2.0-only
/* What SVM can do on this machine. */
#include <linux/cpu.h>
#include <linux/printk.h>
#include <asm/cpufeature.h>
#include <asm/msr-index.h>
#include <asm/processor.h>

#include "../msr.h"
#include "svm.h"

struct svm_caps svm_caps __ro_after_init;

/* APM volume 3, "Function 8000_000Ah: SVM Features". */
#define LEAF_SVM		0x8000000a
#define SVM_NESTED_PAGING	BIT(0)
#define SVM_NRIPS		BIT(3)
#define SVM_TSC_RATE_MSR	BIT(4)
#define SVM_FLUSH_BY_ASID	BIT(6)
#define SVM_DECODE_ASSISTS	BIT(7)

/* "Function 8000_0008h: Processor Capacity Parameters and Extended Feature Identification", EBX. */
#define LEAF_CAPACITY		0x80000008
#define CAPACITY_INVLPGB	BIT(3)
#define CAPACITY_RDPRU		BIT(4)
#define CAPACITY_MCOMMIT	BIT(8)

/* APM, "VM_CR MSR" */
#define VM_CR			0xc0010114
#define VM_CR_SVMDIS		BIT_ULL(4)

int svm_check(void)
{
	if (!boot_cpu_has(X86_FEATURE_SVM))
		return -ENODEV;
	if (read_msr(VM_CR) & VM_CR_SVMDIS) {
		pr_err("SVM is switched off by the firmware: enable it in the BIOS setup\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* Bits of CR4 that concern only the guest's own mode.  The CPU refuses those that it does not have. */
static u64 cr4_allowed(void)
{
	u64 bits = X86_CR4_PGE | X86_CR4_FSGSBASE | X86_CR4_TSD | X86_CR4_DE;

	if (boot_cpu_has(X86_FEATURE_SMEP))
		bits |= X86_CR4_SMEP;
	if (boot_cpu_has(X86_FEATURE_SMAP))
		bits |= X86_CR4_SMAP;
	if (boot_cpu_has(X86_FEATURE_PCID))
		bits |= X86_CR4_PCIDE;
	/* Where Linux has it: a guest wants to be as outside. And not where the CPU has not. */
	if (boot_cpu_has(X86_FEATURE_UMIP) && cpuid_ecx(7) & BIT(2))
		bits |= X86_CR4_UMIP;
	return bits;
}

int svm_caps_read(void)
{
	struct svm_caps *caps = &svm_caps;
	u32 nr_asids = cpuid_ebx(LEAF_SVM), features = cpuid_edx(LEAF_SVM);
	u32 capacity = cpuid_ebx(LEAF_CAPACITY);

	if (!(features & SVM_NESTED_PAGING) || nr_asids < 2) {
		pr_err("this CPU's SVM lacks nested paging\n");
		return -EOPNOTSUPP;
	}
	caps->asid = nr_asids - 1;
	caps->nrips = features & SVM_NRIPS;
	caps->flush_by_asid = features & SVM_FLUSH_BY_ASID;
	caps->decode_assists = features & SVM_DECODE_ASSISTS;
	caps->tsc_aux = boot_cpu_has(X86_FEATURE_RDTSCP) || boot_cpu_has(X86_FEATURE_RDPID);
	caps->tsc_ratio = features & SVM_TSC_RATE_MSR;
	caps->rdpru = capacity & CAPACITY_RDPRU;
	if (capacity & CAPACITY_INVLPGB)
		caps->intercept5 |= VMCB_I5_INVLPGB | VMCB_I5_INVLPGB_ILLEGAL | VMCB_I5_TLBSYNC;
	if (capacity & CAPACITY_MCOMMIT)
		caps->intercept5 |= VMCB_I5_MCOMMIT;
	caps->cr4_allowed = cr4_allowed();
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		caps->host_xss = read_msr(MSR_IA32_XSS);
	return 0;
}
