// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes to CR0 and CR4.  SVM has no masks that say which bits the guest may change, so
 * each write exits and is done here.
 */
#include <linux/uaccess.h>
#include <asm/processor-flags.h>

#include "svm.h"

#define CR0_ALLOWED	(X86_CR0_WP | X86_CR0_TS | X86_CR0_AM)

/* Of dune_regs; RSP is in the VMCB. */
static u64 read_gpr(const struct svm_vcpu *svm, unsigned int nr)
{
	const u64 *regs = &svm->vcpu.run->regs.rax;

	return nr == 4 ? svm->vcpu.rsp : READ_ONCE(regs[nr]);
}

/*
 * What the instruction would write, without decode assists: read it at the process's own
 * address, where libdune's page tables have it too.  Another thread may change it meanwhile, and gets
 * what the checks allow.  0: it is LMSW of memory, or what is none; else its length.
 */
static unsigned int fetch_operand(const struct svm_vcpu *svm, unsigned int cr, u64 *value)
{
	u8 bytes[4] = { }, rex = 0, *p = bytes;
	u64 cr0 = svm->vmcb->save.cr0;

	if (copy_from_user_nofault(bytes, (const void __user *)svm->vcpu.rip, sizeof(bytes)))
		return 0;
	if ((*p & 0xf0) == 0x40)
		rex = *p++;
	if (*p++ != 0x0f)
		return 0;
	if (cr == 0 && p[0] == 0x06) {		/* CLTS */
		*value = cr0 & ~(u64)X86_CR0_TS;
		return p + 1 - bytes;
	}
	if (cr == 0 && p[0] == 0x01 && (p[1] & 0xf8) == 0xf0) {	/* LMSW: 4 bits, PE stays */
		*value = (cr0 & ~0xeULL) | (read_gpr(svm, (p[1] & 7) | (rex & 1) << 3) & 0xe);
		return p + 2 - bytes;
	}
	if (*p++ != 0x22 || rex & 4 || ((*p >> 3) & 7) != cr)	/* MOV to CR */
		return 0;
	*value = read_gpr(svm, (*p & 7) | (rex & 1) << 3);
	return p + 1 - bytes;
}

/* APM, "Decode Assists", "MOV CRx/DRx Intercepts". */
#define INFO_MOV_CR	BIT_ULL(63)
#define INFO_GPR	0xf

static unsigned int operand(const struct svm_vcpu *svm, unsigned int cr, u64 *value)
{
	const struct vmcb_control *control = &svm->vmcb->control;

	if (svm_caps.decode_assists && svm_caps.nrips && control->exit_info1 & INFO_MOV_CR) {
		*value = read_gpr(svm, control->exit_info1 & INFO_GPR);
		return control->next_rip - svm->vcpu.rip;
	}
	return fetch_operand(svm, cr, value);
}

unsigned int svm_write_cr(struct svm_vcpu *svm, unsigned int cr)
{
	struct vmcb_save *save = &svm->vmcb->save;
	u64 *reg = cr ? &save->cr4 : &save->cr0;
	u64 allowed = cr ? svm_caps.cr4_allowed : CR0_ALLOWED, value;
	unsigned int len;

	/* As on Intel: writing what is there changes nothing. */
	if (svm->vcpu.config.flags & DUNE_VCPU_STRICT)
		allowed = 0;
	len = operand(svm, cr, &value);
	if (!len || (value ^ *reg) & ~allowed)
		return 0;
	/* APM, "Process Context Identifier": it cannot be set while CR3 names another. */
	if (cr && value & ~*reg & X86_CR4_PCIDE && save->cr3 & 0xfff)
		return 0;
	*reg = value;
	svm->clean &= ~VMCB_CLEAN_CR;
	svm->flush = true;
	return len;
}
