/* SPDX-License-Identifier: GPL-2.0-only */
/* Into the guest, and back. */
#include <linux/linkage.h>
#ifdef CONFIG_X86_KERNEL_IBT
#include <linux/objtool.h>
#endif
#include <asm/asm.h>
#include <asm/nospec-branch.h>
#include <asm/cpufeatures.h>
#include <asm/segment.h>
#include "../regs.S"
#include "enter.h"

/* Overwrite the branch history, whose capacity is below 200, with this loop's own branches. */
.macro OVERWRITE_BRANCH_HISTORY
	movl	$100, %ecx
771:	jmp	772f
	int3
772:	decl	%ecx
	jnz	771b
	lfence
.endm

	.section .rodata
verw_operand:
	.word	__KERNEL_DS

	.text
/*
 * bool vmx_enter(struct dune_regs *regs, u64 *host_rsp, u32 flags)
 *
 * In:		%rdi  the guest's registers; RSP, RIP and RFLAGS are in the VMCS
 *		%rsi  the value of HOST_RSP in the VMCS, updated when it has to change
 *		%dl   VMX_ENTER_*
 *		interrupts are off; our VMCS is the current one
 * Out:		%al   1: the guest ran, or the CPU refused its state: read the exit reason
 *		      0: the instruction failed
 * Clobbers:	all but %rbp and %rsp: no C function, see call_vmx_enter().  No value of the guest's
 *		is left in any register.
 */
SYM_FUNC_START(vmx_enter)
	push	%rbp
	push	%rdi				/* regs, found again after the exit */

	cmp	(%rsi), %rsp
	je	1f
	mov	%rsp, (%rsi)
	mov	$0x6c14, %eax			/* HOST_RSP */
2:	vmwrite	%rsp, %rax
1:
	test	$VMX_ENTER_VERW, %dl
	jz	5f
	verw	verw_operand(%rip)		/* after the last store of a value of the host's */
5:	test	$VMX_ENTER_RESUME, %dl		/* no instruction below changes ZF */

	mov	REGS_RAX(%rdi), %rax
	LOAD_GUEST_REGS

	jz	4f
3:	vmresume
	jmp	.Lfailed
4:	vmlaunch
	/* Never taken, as a failure sets CF or ZF: it shows objtool that, and with which stack, the exit is reached. */
	ja	.Lexit
	jmp	.Lfailed

	/* The exit comes here, with %rsp as it was above. */
.Lexit:
SYM_INNER_LABEL(vmx_exit_point, SYM_L_GLOBAL)
#ifdef CONFIG_X86_KERNEL_IBT
	ANNOTATE_NOENDBR			/* an exit is no indirect branch */
#endif
	STORE_GUEST_REGS
	mov	%rax, REGS_RAX(%rdi)
	add	$8, %rsp
	mov	$1, %eax

.Lreturn:
	/* A load with a value of the guest's as its address could leak by speculation. */
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
	pop	%rbp

	/* Before the first RET and the first indirect branch. */
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, \
			   X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
#ifdef DUNE_FEATURE_BHB
	ALTERNATIVE "jmp .Lbhb_done", "", DUNE_FEATURE_BHB
	OVERWRITE_BRANCH_HISTORY
.Lbhb_done:
#endif
	RET

.Lfailed:
	pop	%rdi
	xor	%eax, %eax
	jmp	.Lreturn

	_ASM_EXTABLE(2b, .Lfailed)
	_ASM_EXTABLE(3b, .Lfailed)
	_ASM_EXTABLE(4b, .Lfailed)
SYM_FUNC_END(vmx_enter)
