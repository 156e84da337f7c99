/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The layout of a VMCB (APM volume 2, appendix "Layout of VMCB").  The kernel's own
 * declaration changes its names from version to version.
 */
#ifndef DUNE_SVM_VMCB_H
#define DUNE_SVM_VMCB_H

#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>

struct vmcb_control {
	u16 intercept_cr_read;
	u16 intercept_cr_write;
	u16 intercept_dr_read;
	u16 intercept_dr_write;
	u32 intercept_exceptions;
	u32 intercept3;			/* VMCB_I3_* */
	u32 intercept4;			/* VMCB_I4_* */
	u32 intercept5;			/* VMCB_I5_* */
	u8 reserved_018[0x040 - 0x018];
	u64 iopm_pa;
	u64 msrpm_pa;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control;			/* VMCB_TLB_* */
	u8 reserved_05d[3];
	u32 virtual_interrupt;		/* VMCB_V_* */
	u32 virtual_vector;
	u64 interrupt_shadow;
	u64 exit_code;
	u64 exit_info1;
	u64 exit_info2;
	u32 exit_event;			/* EXITINTINFO: the event that the exit interrupted */
	u32 exit_event_error;
	u64 nested;			/* VMCB_NESTED_* */
	u8 reserved_098[0x0a8 - 0x098];
	u32 inject;			/* EVENTINJ */
	u32 inject_error;
	u64 nested_cr3;
	u64 lbr_virtualization;
	u32 clean;			/* VMCB_CLEAN_* */
	u32 reserved_0c4;
	u64 next_rip;
	u8 nr_bytes;
	u8 bytes[15];
	u8 reserved_0e0[0x400 - 0x0e0];
} __packed;

struct vmcb_segment {
	u16 selector;
	u16 rights;			/* bits 55:52 and 47:40 of a descriptor */
	u32 limit;
	u64 base;
} __packed;

/* What VMLOAD and VMSAVE move is marked so; the rest is VMRUN's. */
struct vmcb_save {
	struct vmcb_segment es;
	struct vmcb_segment cs;
	struct vmcb_segment ss;
	struct vmcb_segment ds;
	struct vmcb_segment fs;		/* VMLOAD */
	struct vmcb_segment gs;		/* VMLOAD */
	struct vmcb_segment gdtr;
	struct vmcb_segment ldtr;	/* VMLOAD */
	struct vmcb_segment idtr;
	struct vmcb_segment tr;		/* VMLOAD */
	u8 reserved_0a0[0x0cb - 0x0a0];
	u8 cpl;
	u8 reserved_0cc[4];
	u64 efer;
	u8 reserved_0d8[0x148 - 0x0d8];
	u64 cr4;
	u64 cr3;
	u64 cr0;
	u64 dr7;
	u64 dr6;
	u64 rflags;
	u64 rip;
	u8 reserved_180[0x1d8 - 0x180];
	u64 rsp;
	u8 reserved_1e0[0x1f8 - 0x1e0];
	u64 rax;
	u64 star;			/* VMLOAD */
	u64 lstar;			/* VMLOAD */
	u64 cstar;			/* VMLOAD */
	u64 sfmask;			/* VMLOAD */
	u64 kernel_gs_base;		/* VMLOAD */
	u64 sysenter_cs;		/* VMLOAD */
	u64 sysenter_esp;		/* VMLOAD */
	u64 sysenter_eip;		/* VMLOAD */
	u64 cr2;
	u8 reserved_248[0x268 - 0x248];
	u64 pat;
	u8 reserved_270[0xc00 - 0x270];
} __packed;

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
} __packed;

static_assert(sizeof(struct vmcb) == 4096);
static_assert(offsetof(struct vmcb_control, asid) == 0x058);
static_assert(offsetof(struct vmcb_control, exit_code) == 0x070);
static_assert(offsetof(struct vmcb_control, exit_event) == 0x088);
static_assert(offsetof(struct vmcb_control, inject) == 0x0a8);
static_assert(offsetof(struct vmcb_control, clean) == 0x0c0);
static_assert(offsetof(struct vmcb_control, next_rip) == 0x0c8);
static_assert(offsetof(struct vmcb, save) == 0x400);
static_assert(offsetof(struct vmcb_save, cpl) == 0x0cb);
static_assert(offsetof(struct vmcb_save, cr4) == 0x148);
static_assert(offsetof(struct vmcb_save, rsp) == 0x1d8);
static_assert(offsetof(struct vmcb_save, rax) == 0x1f8);
static_assert(offsetof(struct vmcb_save, cr2) == 0x240);
static_assert(offsetof(struct vmcb_save, pat) == 0x268);

/* intercept3 */
#define VMCB_I3_INTR		BIT(0)
#define VMCB_I3_NMI		BIT(1)
#define VMCB_I3_SMI		BIT(2)
#define VMCB_I3_INIT		BIT(3)
#define VMCB_I3_VINTR		BIT(4)
#define VMCB_I3_READ_TABLES	(BIT(6) | BIT(7) | BIT(8) | BIT(9))	/* IDTR, GDTR, LDTR, TR */
#define VMCB_I3_WRITE_TABLES	(BIT(10) | BIT(11) | BIT(12) | BIT(13))
#define VMCB_I3_RDTSC		BIT(14)
#define VMCB_I3_RDPMC		BIT(15)
#define VMCB_I3_CPUID		BIT(18)
#define VMCB_I3_RSM		BIT(19)
#define VMCB_I3_INVD		BIT(22)
#define VMCB_I3_HLT		BIT(24)
#define VMCB_I3_INVLPGA		BIT(26)
#define VMCB_I3_IOIO		BIT(27)
#define VMCB_I3_MSR		BIT(28)
#define VMCB_I3_TASK_SWITCH	BIT(29)
#define VMCB_I3_FERR_FREEZE	BIT(30)
#define VMCB_I3_SHUTDOWN	BIT(31)

/* intercept4 */
#define VMCB_I4_VMRUN		BIT(0)
#define VMCB_I4_VMMCALL		BIT(1)
#define VMCB_I4_VMLOAD		BIT(2)
#define VMCB_I4_VMSAVE		BIT(3)
#define VMCB_I4_STGI		BIT(4)
#define VMCB_I4_CLGI		BIT(5)
#define VMCB_I4_SKINIT		BIT(6)
#define VMCB_I4_RDTSCP		BIT(7)
#define VMCB_I4_ICEBP		BIT(8)
#define VMCB_I4_WBINVD		BIT(9)
#define VMCB_I4_MONITOR		BIT(10)
#define VMCB_I4_MWAIT		BIT(11)
#define VMCB_I4_MWAIT_ARMED	BIT(12)
#define VMCB_I4_XSETBV		BIT(13)
#define VMCB_I4_RDPRU		BIT(14)

/* intercept5 */
#define VMCB_I5_INVLPGB		BIT(0)
#define VMCB_I5_INVLPGB_ILLEGAL	BIT(1)
#define VMCB_I5_MCOMMIT		BIT(3)
#define VMCB_I5_TLBSYNC		BIT(4)

/* tlb_control */
#define VMCB_TLB_FLUSH_ALL	1
#define VMCB_TLB_FLUSH_ASID	3	/* needs flush-by-ASID */

/* virtual_interrupt */
#define VMCB_V_IRQ		BIT(8)
#define VMCB_V_IGN_TPR		BIT(20)
#define VMCB_V_INTR_MASKING	BIT(24)	/* the host's RFLAGS.IF decides on interrupts; CR8 is virtual */

/* nested */
#define VMCB_NESTED_PAGING	BIT(0)

/* clean: what the CPU may still have of this VMCB (APM, "VMCB State Caching") */
#define VMCB_CLEAN_INTERCEPTS	BIT(0)
#define VMCB_CLEAN_PERMISSIONS	BIT(1)
#define VMCB_CLEAN_ASID		BIT(2)
#define VMCB_CLEAN_INTERRUPT	BIT(3)
#define VMCB_CLEAN_NESTED	BIT(4)
#define VMCB_CLEAN_CR		BIT(5)
#define VMCB_CLEAN_DR		BIT(6)
#define VMCB_CLEAN_TABLES	BIT(7)
#define VMCB_CLEAN_SEGMENTS	BIT(8)
#define VMCB_CLEAN_CR2		BIT(9)
#define VMCB_CLEAN_ALL		(BIT(10) - 1)

/* exit_info1 of a nested page fault (APM, "Nested versus Guest Page Faults, Fault Ordering") */
#define NPF_PRESENT		BIT_ULL(0)
#define NPF_WRITE		BIT_ULL(1)
#define NPF_RESERVED		BIT_ULL(3)
#define NPF_FETCH		BIT_ULL(4)
#define NPF_WALK		BIT_ULL(33)	/* met in the walk of the guest's page table */

#endif
