/* SPDX-License-Identifier: MIT */
/*
 * Registers and descriptors of x86, by the names of the first libdune (SDM, "System Architecture Overview", "Protected
 * Mode Memory Management", "Debug Registers").  Entries of page tables are in dune-vm.h.
 */
#ifndef LIBDUNE_MMU_H
#define LIBDUNE_MMU_H

#include <stdint.h>

#include "../dune-vm.h"

#define UINT64(x)	((uint64_t)(x))
#define CAST64(x)	((uint64_t)(x))
#define ONE		UINT64(1)

typedef uint64_t ppn_t;

#define PTE_PAT_PS	0x1000			/* the memory type of a page of 2 MiB or 1 GiB */
#define PTE_AVAIL2	UINT64(0x7ff0000000000000)

/* ---- control registers ---- */

#define CR0_PE		0x00000001
#define CR0_MP		0x00000002
#define CR0_EM		0x00000004
#define CR0_TS		0x00000008
#define CR0_ET		0x00000010
#define CR0_NE		0x00000020
#define CR0_WP		0x00010000
#define CR0_AM		0x00040000
#define CR0_NW		0x20000000
#define CR0_CD		0x40000000
#define CR0_PG		0x80000000

#define CR3_PWT		0x08
#define CR3_PCD		0x10

#define CR4_VME		0x001
#define CR4_PVI		0x002
#define CR4_TSD		0x004
#define CR4_DE		0x008
#define CR4_PSE		0x010
#define CR4_PAE		0x020
#define CR4_MCE		0x040
#define CR4_PGE		0x080
#define CR4_PCE		0x100
#define CR4_OSFXSR	0x200
#define CR4_OSX		0x400

#define EFER		0xc0000080
#define EFER_SCE	0x0001
#define EFER_LME	0x0100
#define EFER_LMA	0x0400
#define EFER_NXE	0x0800
#define EFER_FFXSR	0x4000

/* ---- RFLAGS ---- */

#define FL_CF		0x00000001
#define FL_PF		0x00000004
#define FL_AF		0x00000010
#define FL_ZF		0x00000040
#define FL_SF		0x00000080
#define FL_TF		0x00000100
#define FL_IF		0x00000200
#define FL_DF		0x00000400
#define FL_OF		0x00000800
#define FL_IOPL_MASK	0x00003000
#define FL_IOPL_0	0x00000000
#define FL_IOPL_1	0x00001000
#define FL_IOPL_2	0x00002000
#define FL_IOPL_3	0x00003000
#define FL_NT		0x00004000
#define FL_RF		0x00010000
#define FL_VM		0x00020000
#define FL_AC		0x00040000
#define FL_VIF		0x00080000
#define FL_VIP		0x00100000
#define FL_ID		0x00200000

/* ---- MSRs and debug registers ---- */

#define MSR_FS_BASE	0xc0000100
#define MSR_GS_BASE	0xc0000101

#define MSR_DEBUG_CTL	0x1d9
#define DEBUG_CTL_LBR	1
#define MSR_LBR_FROM_IP	0x1db
#define MSR_LBR_TO_IP	0x1dc
#define MSR_LEX_FROM_IP	0x1dd
#define MSR_LEX_TO_IP	0x1de

#define MTRR_CAP		0xfe
#define MTRR_CAP_VCNT_MASK	0xff
#define MTRR_CAP_FIX		0x100
#define MTRR_CAP_WC		0x400
#define MTRR_BASE(i)		(0x200 + 2 * (i))
#define MTRR_MASK(i)		(0x201 + 2 * (i))
#define MTRR_BASE_UC		0
#define MTRR_BASE_WC		1
#define MTRR_BASE_WT		4
#define MTRR_BASE_WP		5
#define MTRR_BASE_WB		6
#define MTRR_MASK_FULL		PGADDR((ONE << 36) - 1)
#define MTRR_MASK_VALID		0x800

#define DR7_L(n)		(ONE << 2 * (n))
#define DR7_G(n)		(ONE << (2 * (n) + 1))
#define DR7_LE			(ONE << 8)
#define DR7_GE			(ONE << 9)
#define DR7_GD			(ONE << 13)
#define DR7_RW_SHIFT(n)		(16 + 4 * (n))
#define DR7_LEN_SHIFT(n)	(18 + 4 * (n))
#define DR7_RW_EXEC		0
#define DR7_RW_WRITE		1
#define DR7_RW_IO		2
#define DR7_RW_RW		3
#define DR7_LEN_1		0
#define DR7_LEN_2		1
#define DR7_LEN_8		2
#define DR7_LEN_4		3

/* ---- descriptors ---- */

#define STA_A		(ONE << 0)
#define STA_W		(ONE << 1)
#define STA_R		(ONE << 1)
#define STA_E		(ONE << 2)
#define STA_C		(ONE << 2)
#define STA_X		(ONE << 3)

#define SEG_A		(STA_A << 40)
#define SEG_W		(STA_W << 40)
#define SEG_R		(STA_R << 40)
#define SEG_E		(STA_E << 40)
#define SEG_C		(STA_C << 40)
#define SEG_X		(STA_X << 40)
#define SEG_S		(ONE << 44)
#define SEG_DPL(x)	((UINT64(x) & 3) << 45)
#define SEG_P		(ONE << 47)
#define SEG_L		(ONE << 53)
#define SEG_D		(ONE << 54)
#define SEG_G		(ONE << 55)

#define SEG_LDT		(UINT64(0x2) << 40)
#define SEG_TSSA	(UINT64(0x9) << 40)
#define SEG_TSSB	(UINT64(0xb) << 40)
#define SEG_CG		(UINT64(0xc) << 40)
#define SEG_IG		(UINT64(0xe) << 40)
#define SEG_TG		(UINT64(0xf) << 40)

#define SEG_LIM(x)	((UINT64(x) & 0xffff) | (UINT64(x) & 0xf0000) << 32)
#define SEG_BASELO(x)	((CAST64(x) & 0xffffff) << 16 | (CAST64(x) & 0xff000000) << 32)
#define SEG_BASEHI(x)	(CAST64(x) >> 32)
#define SEG_SEL(x)	((UINT64(x) & 0xffff) << 16)
#define SEG_TARGETLO(x)	((CAST64(x) & 0xffff) | (CAST64(x) & 0xffff0000) << 32)
#define SEG_TARGETHI(x)	(CAST64(x) >> 32)

/* Flat segments; a limit in pages. */
#define SEG32(type, base, lim, dpl) \
	((type) | SEG_S | SEG_P | SEG_D | SEG_G | SEG_A | SEG_DPL(dpl) | SEG_BASELO(base) | SEG_LIM(UINT64(lim) >> 12))
#define SEG64(type, dpl) \
	((type) | SEG_S | SEG_P | SEG_G | SEG_L | SEG_A | SEG_DPL(dpl) | SEG_LIM(0xfffff))

#define GATE32(type, sel, target, dpl) \
	((type) | SEG_DPL(dpl) | SEG_P | SEG_SEL(sel) | SEG_TARGETLO(target))
#define SETGATE(gate, type, sel, target, dpl) do {		\
	(gate).gd_lo = GATE32(type, sel, target, dpl);		\
	(gate).gd_hi = SEG_TARGETHI(target);			\
} while (0)

struct Gatedesc {
	uint64_t gd_lo, gd_hi;
};

struct Pseudodesc {
	uint16_t pd__garbage1, pd__garbage2, pd__garbage3;
	uint16_t pd_lim;
	uint64_t pd_base;
} __attribute__((packed));

struct Tss {
	char tss__ign1[4];
	uint64_t tss_rsp[3];
	uint64_t tss_ist[8];	/* from 1 on */
	char tss__ign2[10];
	uint16_t tss_iomb;
	uint8_t tss_iopb[];
} __attribute__((packed));

struct Fpregs {
	uint16_t cwd, swd, twd, fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	uint32_t st_space[32];
	uint32_t xmm_space[64];
	uint32_t padding[24];
};

#endif /* LIBDUNE_MMU_H */
