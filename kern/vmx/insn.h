/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VMX instructions.  KVM turns VMX off under us at reboot and in a crash, so each
 * may raise #UD: that is quiet, and counts as a failure of the instruction.
 */
#ifndef DUNE_VMX_INSN_H
#define DUNE_VMX_INSN_H

#include <linux/types.h>
#include <asm/asm.h>
#include <asm/vmx.h>

#define VMCS_NONE	(~0ULL)		/* what VMPTRST stores when no VMCS is current */

/* An instruction that succeeds with CF = ZF = 0; the result is true then. */
#define VMX_INSN(text, constraints...) ({				\
	bool __ok;							\
	asm volatile("1:	" text "\n"				\
		     "	seta %[ok]\n"					\
		     "	jmp 3f\n"					\
		     "2:	movb $0, %[ok]\n"			\
		     "3:\n"						\
		     _ASM_EXTABLE(1b, 2b)				\
		     : [ok] "=q"(__ok) : constraints : "cc", "memory");	\
	__ok;								\
})

/* These take the physical address of a VMCS from memory. */
static __always_inline bool vmptrld(const u64 *pa)
{
	return VMX_INSN("vmptrld %[pa]", [pa] "m"(*pa));
}

static __always_inline bool vmclear(const u64 *pa)
{
	return VMX_INSN("vmclear %[pa]", [pa] "m"(*pa));
}

/* ... or of the region that the CPU wants for itself, of a page that begins like one. */
static __always_inline bool vmxon(const u64 *pa)
{
	return VMX_INSN("vmxon %[pa]", [pa] "m"(*pa));
}

static __always_inline void vmxoff(void)
{
	asm volatile("1:	vmxoff\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : : : "cc", "memory");
}

/* Flush what was cached through one EPT pointer, on this CPU. */
static __always_inline bool invept_single(u64 eptp)
{
	struct { u64 eptp, zero; } descriptor = { eptp, 0 };

	return VMX_INSN("invept %[d], %[type]", [d] "m"(descriptor),
			[type] "r"((u64)VMX_EPT_EXTENT_CONTEXT));
}

/* Stores the physical address of the current VMCS, or VMCS_NONE.  False, and nothing stored: VMX is off. */
static __always_inline bool vmptrst(u64 *pa)
{
	asm goto("1:	vmptrst %[pa]\n"
		 _ASM_EXTABLE(1b, %l[off])
		 : : [pa] "m"(*pa) : "cc", "memory" : off);
	return true;
off:
	return false;
}

/*
 * Of the current VMCS.  After an exit, in the same section with interrupts off, it cannot
 * fail; if it did all the same, the value is the field's number, not something of the kernel's.
 */
static __always_inline u64 vmread(u64 field)
{
	asm volatile("1:	vmread %[value], %[value]\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : [value] "+r"(field) : : "cc");
	return field;
}

static __always_inline void vmwrite(unsigned long field, u64 value)
{
	asm volatile("1:	vmwrite %[value], %[field]\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : : [field] "r"(field), [value] "rm"(value) : "cc");
}

#endif
