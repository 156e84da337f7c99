// SPDX-License-Identifier: GPL-2.0-only
/* The VMCB: its memory and its fields. */
#include <linux/gfp.h>
#include <linux/mem_encrypt.h>
#include <linux/mm.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "svm.h"

/*
 * One for all: every port and every MSR exits.  APM, "IOIO_PROT Intercept" and "MSR
 * Intercepts": 12 KiB and 8 KiB of contiguous memory.
 */
#define IOPM_ORDER	2
#define MSRPM_ORDER	1
static unsigned long iopm, msrpm;

int vmcb_setup(void)
{
	iopm = __get_free_pages(GFP_KERNEL, IOPM_ORDER);
	msrpm = __get_free_pages(GFP_KERNEL, MSRPM_ORDER);
	if (!iopm || !msrpm) {
		vmcb_teardown();
		return -ENOMEM;
	}
	memset((void *)iopm, 0xff, PAGE_SIZE << IOPM_ORDER);
	memset((void *)msrpm, 0xff, PAGE_SIZE << MSRPM_ORDER);
	return 0;
}

void vmcb_teardown(void)
{
	free_pages(iopm, IOPM_ORDER);
	free_pages(msrpm, MSRPM_ORDER);
	iopm = msrpm = 0;
}

u64 vmcb_pa(const struct vmcb *vmcb)
{
	return __sme_set(__pa(vmcb));
}

/* Where SEV-SNP is on, an erratum forbids a VMCB at a multiple of 2 MiB. */
struct vmcb *vmcb_page_alloc(gfp_t gfp)
{
	unsigned long page = __get_free_page(gfp | __GFP_ZERO), other;

	if (page && !(__pa(page) & (PMD_SIZE - 1))) {
		other = __get_free_page(gfp | __GFP_ZERO);
		free_page(page);
		page = other;
	}
	return (struct vmcb *)page;
}

int vmcb_alloc(struct svm_vcpu *svm)
{
	svm->vmcb = vmcb_page_alloc(GFP_KERNEL_ACCOUNT);
	if (!svm->vmcb)
		return -ENOMEM;
	svm->vmcb_pa = vmcb_pa(svm->vmcb);
	return 0;
}

void vmcb_free(struct svm_vcpu *svm)
{
	free_page((unsigned long)svm->vmcb);
}

/* ---- Fields ------------------------------------------------------------ */

#define CR(n)	BIT(n)

void vmcb_write_intercepts(struct svm_vcpu *svm)
{
	struct vmcb_control *c = &svm->vmcb->control;

	/* CR3 is the guest's own; CR8 would be a virtual one, which nobody has a use for. */
	c->intercept_cr_read = CR(8);
	c->intercept_cr_write = CR(0) | CR(4) | CR(8);
	c->intercept_dr_read = 0xffff;
	c->intercept_dr_write = 0xffff;

	/*
	 * Every exception goes to the guest's own handler, but for those with which it could
	 * stop the CPU (#DB and #AC raised by the delivery of themselves), the host's
	 * (#MC), and, where the CPU has XFD, #NM, which leaves a mark in an MSR of the host.
	 */
	c->intercept_exceptions = BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC) |
				  (dune_cpu_has(X86_FEATURE_XFD) ? BIT(X86_TRAP_NM) : 0);

	/* RDTSC, RDTSCP, RDPRU, PAUSE and INVLPG are for user programs, or the guest's own affair. */
	c->intercept3 = VMCB_I3_INTR | VMCB_I3_NMI | VMCB_I3_SMI | VMCB_I3_INIT | VMCB_I3_VINTR |
			VMCB_I3_RDPMC | VMCB_I3_CPUID | VMCB_I3_RSM | VMCB_I3_INVD | VMCB_I3_HLT |
			VMCB_I3_INVLPGA | VMCB_I3_IOIO | VMCB_I3_MSR | VMCB_I3_TASK_SWITCH |
			VMCB_I3_FERR_FREEZE | VMCB_I3_SHUTDOWN;
	c->intercept4 = VMCB_I4_VMRUN | VMCB_I4_VMMCALL | VMCB_I4_VMLOAD | VMCB_I4_VMSAVE |
			VMCB_I4_STGI | VMCB_I4_CLGI | VMCB_I4_SKINIT | VMCB_I4_ICEBP |
			VMCB_I4_WBINVD | VMCB_I4_MONITOR | VMCB_I4_MWAIT | VMCB_I4_MWAIT_ARMED |
			VMCB_I4_XSETBV;
	c->intercept5 = svm_caps.intercept5;

	if (svm->vcpu.config.flags & DUNE_VCPU_STRICT) {
		c->intercept_cr_write |= CR(3);
		c->intercept3 |= VMCB_I3_READ_TABLES | VMCB_I3_WRITE_TABLES;
	}
	if (svm->vcpu.no_tsc) {
		c->intercept3 |= VMCB_I3_RDTSC;
		c->intercept4 |= VMCB_I4_RDTSCP | (svm_caps.rdpru ? VMCB_I4_RDPRU : 0);
	}
	svm->clean &= ~VMCB_CLEAN_INTERCEPTS;
}

static void write_controls(struct svm_vcpu *svm)
{
	struct vmcb_control *c = &svm->vmcb->control;

	vmcb_write_intercepts(svm);
	c->iopm_pa = __sme_set(__pa(iopm));
	c->msrpm_pa = __sme_set(__pa(msrpm));
	c->asid = svm_caps.asid;
	c->virtual_interrupt = VMCB_V_INTR_MASKING;
	c->nested = VMCB_NESTED_PAGING;
	c->nested_cr3 = __sme_set(__pa(svm->vcpu.vm->mmu.tdp.root));
}

/* Access rights of segments (APM, "Segment State in the VMCB"). */
#define RIGHTS_CODE64(dpl)	(0xa9b | (dpl) << 5)
#define RIGHTS_DATA(dpl)	(0xc93 | (dpl) << 5)
#define RIGHTS_TSS64		0x08b

void vmcb_write_cpl(struct svm_vcpu *svm)
{
	struct vmcb_save *s = &svm->vmcb->save;
	u32 cpl = svm->vcpu.cpl;

	s->cpl = cpl;
	s->cs = (struct vmcb_segment) {
		.selector = cpl ? DUNE_SEL_USER_CS : DUNE_SEL_KERNEL_CS,
		.rights = RIGHTS_CODE64(cpl),
		.limit = ~0U,
	};
	s->ss = (struct vmcb_segment) {
		.selector = cpl ? DUNE_SEL_USER_DS : DUNE_SEL_KERNEL_DS,
		.rights = RIGHTS_DATA(cpl),
		.limit = ~0U,
	};
	svm->clean &= ~VMCB_CLEAN_SEGMENTS;
}

/* Flags that SYSCALL clears: Linux's choice, less what does no harm. */
#define GUEST_SFMASK	(X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_IF | X86_EFLAGS_IOPL | \
			 X86_EFLAGS_AC | X86_EFLAGS_NT)

/* All types write-back: the nested table's decides, as if there were no guest PAT. */
#define PAT_ALL_WB	0x0606060606060606ULL

static void write_guest(struct svm_vcpu *svm)
{
	const struct dune_vcpu_config *config = &svm->vcpu.config;
	struct vmcb_save *s = &svm->vmcb->save;

	/* CR0: paging and protection stay on; the guest may change WP, TS and AM. */
	s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
		 X86_CR0_PG;
	s->cr3 = config->cr3;
	s->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE |
		 (native_read_cr4() & (X86_CR4_OSXSAVE | X86_CR4_MCE)) | config->cr4;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_SVME;
	s->dr6 = 0xffff0ff0;		/* what RESET leaves: no breakpoint */
	s->dr7 = 0x400;
	s->pat = PAT_ALL_WB;
	s->rflags = X86_EFLAGS_FIXED;

	s->tr = (struct vmcb_segment) {
		.selector = DUNE_SEL_TSS,
		.rights = RIGHTS_TSS64,
		.limit = config->tss_limit,
		.base = config->tss_base,
	};
	s->gdtr.base = config->gdt_base;
	s->gdtr.limit = config->gdt_limit;
	s->idtr.base = config->idt_base;
	s->idtr.limit = config->idt_limit;

	/* SYSENTER does not exist in 64-bit mode; SYSCALL from a 32-bit segment must not be a second door. */
	s->star = (u64)(DUNE_SEL_USER_DS - 8) << 48 | (u64)DUNE_SEL_KERNEL_CS << 32;
	s->lstar = config->lstar;
	s->cstar = config->lstar;
	s->sfmask = GUEST_SFMASK;
}

void vmcb_write(struct svm_vcpu *svm)
{
	memset(svm->vmcb, 0, sizeof(*svm->vmcb));
	write_controls(svm);
	write_guest(svm);
	vmcb_write_cpl(svm);
	svm->clean = 0;
	svm->injected = 0;
}
