/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of svm/ share. */
#ifndef DUNE_SVM_H
#define DUNE_SVM_H

#include <linux/gfp.h>

#include "../hw.h"
#include "../vcpu.h"
#include "npt.h"
#include "vmcb.h"

/* caps.c: what the CPU can do */
struct svm_caps {
	u32 asid;		/* under which all of our guests run: see state.c */
	bool nrips;		/* exits store the address of the next instruction */
	bool decode_assists;	/* ... and the operand of MOV to CR */
	bool flush_by_asid;
	bool tsc_aux;
	bool tsc_ratio;
	bool rdpru;
	u32 intercept5;		/* of the instructions that the CPU has */
	u64 cr4_allowed;	/* bits that the guest may set */
	u64 host_xss;		/* IA32_XSS, which the kernel sets once */
};

extern struct svm_caps svm_caps;

int svm_check(void);
int svm_caps_read(void);

/* enable.c: see struct dune_hw_ops */
bool svm_is_on(void);
int svm_own_setup(void);
void svm_own_teardown(void);
int svm_own_on(void);
void svm_own_off(void);

struct svm_vcpu {
	struct dune_vcpu vcpu;		/* first: the neutral part */

	struct vmcb *vmcb;
	u64 vmcb_pa;
	u32 clean;			/* VMCB_CLEAN_*: what was not changed since the last exit */

	/* What was injected in the last entry, and where the guest was; the event may come back. */
	u32 injected;			/* DUNE_EVENT_* */
	u64 injected_rip;

	/* Between vcpu_load and vcpu_put. */
	bool flush;			/* the next VMRUN is to flush our ASID */
	bool entered;			/* the TLB may hold something of ours */
	bool foreign_tsc_aux;		/* KVM's guest's was in the CPU: to be restored */
	bool foreign_tsc_ratio;
	u64 tsc_aux;
	u64 tsc_ratio;
	u64 debugctl;			/* the host's, where it is not 0 */
};

static inline struct svm_vcpu *to_svm(struct dune_vcpu *vcpu)
{
	return container_of(vcpu, struct svm_vcpu, vcpu);
}

/* vmcb.c */
int vmcb_setup(void);
void vmcb_teardown(void);
/* A zeroed page that can be a VMCB, or NULL. */
struct vmcb *vmcb_page_alloc(gfp_t gfp);
u64 vmcb_pa(const struct vmcb *vmcb);
int vmcb_alloc(struct svm_vcpu *svm);
void vmcb_free(struct svm_vcpu *svm);
/* Write all of it, for the start of the vCPU. */
void vmcb_write(struct svm_vcpu *svm);
void vmcb_write_cpl(struct svm_vcpu *svm);
void vmcb_write_intercepts(struct svm_vcpu *svm);

/* state.c: the host's state round the guest */
int svm_state_setup(void);
void svm_state_teardown(void);
void svm_vcpu_load(struct dune_vcpu *vcpu);
void svm_vcpu_put(struct dune_vcpu *vcpu);
/* Save what VMLOAD will replace.  Interrupts are off until it is back.  NULL: SVM is off. */
const struct vmcb_save *svm_save_host(u64 *pa);
void svm_restore_debug(void);

/* cr.c: a write to CR0 or CR4.  0: not allowed; else the length of the instruction. */
unsigned int svm_write_cr(struct svm_vcpu *svm, unsigned int cr);

/* msr.c */
bool svm_get_msr(struct dune_vcpu *vcpu, u32 msr, u64 *value);
bool svm_set_msr(struct dune_vcpu *vcpu, u32 msr, u64 value);

/* vmenter.S */
bool svm_enter(struct dune_regs *regs, u64 vmcb_pa, u64 host_pa, u32 flags);

#endif
