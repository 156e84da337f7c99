/* SPDX-License-Identifier: GPL-2.0-only */
/* Into the guest, and back. */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/segment.h>
#include "../regs.S"
#include "enter.h"

#define ZEN4_BP_CFG		0xc001102e
#define ZEN4_BP_CFG_REDUCE	(1 << 4)

	.section .rodata
verw_operand:
	.word	__KERNEL_DS

	.text
/*
 * bool svm_enter(struct dune_regs *regs, u64 vmcb_pa, u64 host_pa, u32 flags)
 *
 * In:		%rdi  the guest's registers; RAX, RSP, RIP and RFLAGS are in the VMCB
 *		%rsi  the VMCB
 *		%rdx  where VMSAVE has put what VMLOAD replaces
 *		%cl   SVM_ENTER_*
 *		interrupts are off
 * Out:		%al   1: the guest ran, or the CPU refused its state: read the exit code
 *		      0: SVM is off
 * Clobbers:	what the C calling convention lets it.  No value of the guest's is left in
 *		any register.
 *
 * From CLGI to STGI nothing interrupts this CPU, NMIs and machine checks included.  So
 * once CLGI has passed, no one can turn SVM off, and the instructions after it cannot fail: which matters,
 * because an exception between the two VMLOADs would find the guest's GS base.
 */
SYM_FUNC_START(svm_enter)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdx				/* host_pa and regs, found again after the exit */
	push	%rdi

	mov	%rsi, %rax
	test	$SVM_ENTER_VERW, %cl		/* no instruction below changes ZF */
	LOAD_GUEST_REGS
	jz	1f
	verw	verw_operand(%rip)		/* after the last load of a value of the host's */

1:	clgi
	/*
	 * With V_INTR_MASKING the host's IF says whether interrupts end the guest.  STI comes
	 * early, so that its shadow is not over VMRUN, where an emulator might take it for the guest's.
	 */
	sti
	vmload	%rax
	vmrun	%rax
	cli
	vmsave	%rax

	STORE_GUEST_REGS

	mov	8(%rsp), %rax
	vmload	%rax
	mov	$1, %r8d

.Lreturn:
	add	$16, %rsp
	/* A load with a value of the guest's as its address could leak by speculation. */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp

	/* Before the first RET and the first indirect branch, of an NMI's handler too. */
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT
	CALL_UNTRAIN_RET
	ALTERNATIVE_2 "jmp .Libpb_done", "", X86_FEATURE_ENTRY_IBPB, \
			  "", X86_FEATURE_IBPB_ON_VMEXIT
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
.Libpb_done:
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
	/*
	 * SRSO where the kernel leaves it to a bit that KVM sets on the CPUs on which its guests run: an IBPB where it
	 * is not set.  (Linux's hw-vuln/srso.rst; the feature is there only if that is the kernel's choice.)
	 */
	ALTERNATIVE "jmp .Lreduced", "", X86_FEATURE_SRSO_BP_SPEC_REDUCE
	mov	$ZEN4_BP_CFG, %ecx
	rdmsr
	test	$ZEN4_BP_CFG_REDUCE, %eax
	jnz	.Lset
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
.Lset:	lfence					/* nor by a jump that is predicted wrongly */
.Lreduced:
#endif

2:	stgi
3:	mov	%r8d, %eax
	RET

.Lfailed:
	xor	%r8d, %r8d
	jmp	.Lreturn

	_ASM_EXTABLE(1b, .Lfailed)
	_ASM_EXTABLE(2b, 3b)
SYM_FUNC_END(svm_enter)
