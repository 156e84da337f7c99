/* SPDX-License-Identifier: MIT */
/*
 * GR0: where the CPU enters ring 0 of the guest, and hypercalls.
 */
#include "asm-offsets.h"
#include "layout.h"
#include "cfi.h"

	.text

/*
 * SYSCALL in GR0.  In: RCX the address behind it, R11 the flags; RSP is the program's and must
 * not be touched: it may have a red zone, or point nowhere.  Nothing returns here: the
 * trampoline continues at RCX.
 */
	.globl	__dune_lstar_vmx, __dune_lstar_svm
	.hidden	__dune_lstar_vmx, __dune_lstar_svm
	.type	__dune_lstar_vmx, @function
	.type	__dune_lstar_svm, @function
	.balign	16
__dune_lstar_vmx:
	.cfi_startproc
	.cfi_register rip, rcx
	vmcall
	ud2
	.size	__dune_lstar_vmx, . - __dune_lstar_vmx
	.balign	16
__dune_lstar_svm:
	vmmcall
	ud2
	.cfi_endproc
	.size	__dune_lstar_svm, . - __dune_lstar_svm

/*
 * long hypercall(unsigned long nr, unsigned long a, unsigned long b, unsigned long c)
 */
	.macro	hypercall name, instruction
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.balign	16
\name:
	.cfi_startproc
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	\instruction
	.globl	\name\()_return
	.hidden	\name\()_return
\name\()_return:
	ret
	.cfi_endproc
	.size	\name, . - \name
	.endm

	hypercall __dune_hypercall_vmx, vmcall
	hypercall __dune_hypercall_svm, vmmcall

/*
 * int __dune_leave_guest(void)
 *
 * Called in GR0, goes on in HR3 behind the hypercall with RAX the thread: the trampoline then
 * loads all registers outside the guest.
 */
	.globl	__dune_leave_guest
	.hidden	__dune_leave_guest
	.type	__dune_leave_guest, @function
	.balign	16
__dune_leave_guest:
	.cfi_startproc
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
	movabs	$PRIVATE_LEAVE_NR, %rdi
	call	*__dune_vm+VM_HYPERCALL(%rip)
	mov	%rax, %rdi
	call	__dune_leave_finish
	xor	%eax, %eax
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	__dune_leave_guest, . - __dune_leave_guest

/*
 * One stub for each vector, 16 bytes apart.  Every gate is an interrupt gate with an
 * IST stack.  A stub makes the error code uniform and puts the vector into EAX.
 */
	.globl	__dune_trap_stubs
	.hidden	__dune_trap_stubs
	.type	__dune_trap_stubs, @function
	.balign	16
__dune_trap_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
	push	$0
	.endif
	push	%rax
	mov	$vector, %eax
	jmp	trap
	.set	vector, vector + 1
	.endr
	.balign	16
	.size	__dune_trap_stubs, . - __dune_trap_stubs

/* Backtraces of handlers go on into what the exception interrupted: struct dune_tf, at RBP. */
	.macro	interrupted_is_caller
	.cfi_signal_frame
	cfa_at	0x76, TF_RSP
	saved_at 0, 0x76, TF_RAX
	saved_at 1, 0x76, TF_RDX
	saved_at 2, 0x76, TF_RCX
	saved_at 3, 0x76, TF_RBX
	saved_at 4, 0x76, TF_RSI
	saved_at 5, 0x76, TF_RDI
	saved_at 6, 0x76, TF_RBP
	saved_at 8, 0x76, TF_R8
	saved_at 9, 0x76, TF_R9
	saved_at 10, 0x76, TF_R10
	saved_at 11, 0x76, TF_R11
	saved_at 12, 0x76, TF_R12
	saved_at 13, 0x76, TF_R13
	saved_at 14, 0x76, TF_R14
	saved_at 15, 0x76, TF_R15
	saved_at 16, 0x76, TF_RIP
	.endm

/*
 * EAX: the vector.  RSP: on an IST stack, at the RAX word of a struct dune_tf.  IF = 0.
 *
 * Save all registers there, copy the frame to the trap stack and leave the IST stack at
 * once: from then on this stack is free for a nested exception.  The frame goes
 *	- below the interrupted RSP, if that was in ring 0 on the trap stack;
 *	- at trap_top otherwise, and always for a double fault, which nothing survives.
 * Nothing between the stub and the switch of stacks can raise an exception: it touches only
 * libdune's granule, mapped from the start.
 */
	.type	trap, @function
	.balign	16
trap:
	.cfi_startproc
	.cfi_undefined rip
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbp
	push	%rbx
	push	%r11
	push	%r10
	push	%r9
	push	%r8
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	cld
	mov	%cr2, %rdx			/* a nested page fault changes it */

	mov	%rsp, %rsi
	mov	%rsp, %rbx
	and	$-AREA_SIZE, %rbx
	add	$AREA_THREAD, %rbx		/* struct dune_thread */

	mov	T_TRAP_HIGH(%rbx), %rcx
	cmp	$VECTOR_DBLFLT, %eax
	je	.Lplace
	mov	T_TRAP_TOP(%rbx), %rcx
	testb	$3, TF_CS(%rsi)
	jnz	.Lplace
	mov	TF_RSP(%rsi), %rdi
	cmp	T_TRAP_LOW(%rbx), %rdi
	jb	.Lplace
	cmp	T_TRAP_HIGH(%rbx), %rdi
	ja	.Lplace
	lea	-128(%rdi), %rcx		/* a handler may have a red zone */
.Lplace:
	sub	$TF_SIZE, %rcx
	and	$-16, %rcx
	lea	-TRAP_RESERVE(%rcx), %rdi
	cmp	T_TRAP_LOW(%rbx), %rdi
	jae	.Lcopy
	mov	T_TRAP_HIGH(%rbx), %rcx
	sub	$TF_SIZE, %rcx
	and	$-16, %rcx
	or	$TRAP_TOO_DEEP, %eax
.Lcopy:
	mov	%rcx, %rdi
	mov	%rcx, %rbp
	mov	$TF_SIZE / 8, %ecx
	rep movsq
	mov	%rbp, %rsp
	interrupted_is_caller

	mov	%rbp, %rdi
	mov	%eax, %esi
	mov	%rbx, %rcx
	call	__dune_trap

	.cfi_undefined rip
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%r8
	pop	%r9
	pop	%r10
	pop	%r11
	pop	%rbx
	pop	%rbp
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rax
	add	$8, %rsp			/* the error code */
	.globl	__dune_iret
	.hidden	__dune_iret
__dune_iret:
	iretq
	.cfi_endproc
	.size	trap, . - trap

	.section .note.GNU-stack, "", @progbits
