/* SPDX-License-Identifier: MIT */
/*
 * HR3, then GR3: the way of a program into ring 3.
 */
#include "asm-offsets.h"

	.text

/*
 * void __dune_go_to_ring3(void (*start)(const struct guest_regs *regs, bool debugged), bool debugged)
 *
 * Calls @start, which does not return, with the registers that ring 3 is to begin with: those of a return from here.
 */
	.globl	__dune_go_to_ring3
	.hidden	__dune_go_to_ring3
	.type	__dune_go_to_ring3, @function
	.balign	16
__dune_go_to_ring3:
	.cfi_startproc
	mov	%rdi, %rax
	mov	(%rsp), %rcx
	lea	8(%rsp), %r8
	pushfq
	pop	%r9
	sub	$REGS_SIZE, %rsp
	.cfi_adjust_cfa_offset REGS_SIZE
	mov	%rsp, %rdi
	mov	%rbx, R_RBX(%rdi)
	mov	%rbp, R_RBP(%rdi)
	mov	%r12, R_R12(%rdi)
	mov	%r13, R_R13(%rdi)
	mov	%r14, R_R14(%rdi)
	mov	%r15, R_R15(%rdi)
	mov	%rcx, R_RIP(%rdi)
	mov	%r8, R_RSP(%rdi)
	mov	%r9, R_RFLAGS(%rdi)
	and	$-16, %rsp
	call	*%rax
	ud2
	.cfi_endproc
	.size	__dune_go_to_ring3, . - __dune_go_to_ring3

	.section .note.GNU-stack, "", @progbits
