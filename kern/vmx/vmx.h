/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of vmx/ share. */
#ifndef DUNE_VMX_H
#define DUNE_VMX_H

#include <linux/list.h>
#include <asm/desc_defs.h>

#include "../hw.h"
#include "../vcpu.h"
#include "ept.h"

/* caps.c: what the CPU can do, and the control words chosen from it. */
struct vmx_caps {
	u32 revision;		/* of a VMCS */
	u32 pin;
	u32 timer;		/* VMX_PREEMPTION_TIMER_VALUE */
	u32 proc;
	u32 proc2;
	u32 exit;
	u32 entry;
	u64 cr0_fixed0, cr0_fixed1;
	u64 cr4_fixed0, cr4_fixed1;
	u64 cr4_allowed;	/* bits that the guest may set */
	u64 ept_vpid;		/* MSR_IA32_VMX_EPT_VPID_CAP */
	bool rdtscp;
	bool invpcid;
	bool vpid;
	bool encls;
};

extern struct vmx_caps vmx_caps;

int vmx_check(void);
int vmx_caps_read(void);

/* enable.c: see struct dune_hw_ops */
bool vmx_is_on(void);
int vmx_own_setup(void);
void vmx_own_teardown(void);
int vmx_own_on(void);
void vmx_own_off(void);

/*
 * MSRs that SYSCALL uses, and TSC_AUX.  The guest runs with its own LSTAR; the
 * others are Linux's, which matters only while KVM has left its guest's in the CPU.
 */
struct vmx_host_msrs {
	u64 lstar;
	u64 star;
	u64 fmask;
	u64 efer;
	u64 tsc_aux;
};

/* In vcpu->dirty: parts of the VMCS to be written before the next entry. */
#define VMX_DIRTY_CPU	(VCPU_DIRTY_VENDOR << 0)	/* the host's part that belongs to a CPU */
#define VMX_DIRTY_GUEST	(VCPU_DIRTY_VENDOR << 1)	/* all of the guest's part */
#define VMX_DIRTY_BASES	(VCPU_DIRTY_VENDOR << 2)	/* FS and GS base */
#define VMX_DIRTY_EFER	(VCPU_DIRTY_VENDOR << 3)	/* the host's EFER */

/* What of the host's is live and would not survive the guest, or it. */
#define BORROW_DEBUGCTL	1
#define BORROW_DR7	2
#define BORROW_PEBS	4
#define BORROW_PKRU	8

struct vmx_vcpu {
	struct dune_vcpu vcpu;		/* first: the neutral part */

	void *vmcs;
	u64 vmcs_pa;
	/* vcpu.cpu is the one whose cache may hold the VMCS. */
	struct list_head active;	/* on that CPU's list; changed there with interrupts off */
	bool launched;
	u16 vpid;			/* 0: none was left, every entry flushes */

	/* What the VMCS holds: a VMWRITE is due only where the wanted value differs. */
	u64 host_cr3, host_cr4, host_rsp;
	u64 eptp;
	u32 proc;			/* processor-based controls, without those that change */

	/* The task's bases, which are the guest's too. */
	u64 fs_base, gs_base;

	/* Of the CPU that the VMCS is on. */
	struct desc_ptr gdt;

	u64 lstar;			/* the guest's */
	u32 borrowed;			/* BORROW_*, as of the last look */
	u32 pkru;
	u64 debugctl;
	u64 pebs;
	u64 found_vmcs;			/* what VMPTRST stores */

	/* Between vcpu_load and vcpu_put. */
	bool foreign_msrs;		/* KVM's guest's were in the CPU: found has them, to be restored */
	bool selectors;			/* the task has some that are not 0: */
	struct vmx_host_msrs found;
	u16 ds, es, fs, gs, ldt;	/* these; without such, all are 0 */
};

static inline struct vmx_vcpu *to_vmx(struct dune_vcpu *vcpu)
{
	return container_of(vcpu, struct vmx_vcpu, vcpu);
}

/* The one of ours that was left current on this CPU because none was before, or 0. */
DECLARE_PER_CPU(u64, vmx_resident_vmcs);

/* The MSRs that the kernel itself runs with. */
extern struct vmx_host_msrs vmx_kernel_msrs;

/* vmcs.c */
int vmcs_alloc(struct vmx_vcpu *vmx);
void vmcs_free(struct vmx_vcpu *vmx);
void vmcs_clear(struct vmx_vcpu *vmx);
/* Bring the VMCS to this CPU.  Preemption is off, interrupts are on. */
void vmcs_migrate(struct dune_vcpu *vcpu);
void vmcs_clear_all_here(void);
/* Of the current VMCS. */
void vmcs_write_guest(struct vmx_vcpu *vmx);
void vmcs_write_controls(struct vmx_vcpu *vmx);
void vmcs_write_cpl(struct vmx_vcpu *vmx);
void vmcs_write_host(struct vmx_vcpu *vmx);
int vmcs_setup(void);
void vmcs_teardown(void);

/* state.c: the host's state round the guest */
int vmx_learn_kernel_msrs(void);
void vmx_host_state_migrate(struct vmx_vcpu *vmx);
void vmx_vcpu_load(struct dune_vcpu *vcpu);
void vmx_vcpu_put(struct dune_vcpu *vcpu);

/* msr.c */
bool vmx_get_msr(struct dune_vcpu *vcpu, u32 msr, u64 *value);
bool vmx_set_msr(struct dune_vcpu *vcpu, u32 msr, u64 value);

/* vmenter.S */
extern char vmx_exit_point[];
void vmx_enter(void);

#endif
