/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included by the vendors' vmenter.S: the guest's general registers, but for RAX and RSP, which the
 * vendors keep in places of their own.
 */
#ifndef DUNE_REGS_S
#define DUNE_REGS_S

#include "asm-offsets.h"

/* From the struct dune_regs at %rdi.  Changes no flag. */
.macro LOAD_GUEST_REGS
	mov	REGS_RCX(%rdi), %rcx
	mov	REGS_RDX(%rdi), %rdx
	mov	REGS_RBX(%rdi), %rbx
	mov	REGS_RBP(%rdi), %rbp
	mov	REGS_RSI(%rdi), %rsi
	mov	REGS_R8(%rdi), %r8
	mov	REGS_R9(%rdi), %r9
	mov	REGS_R10(%rdi), %r10
	mov	REGS_R11(%rdi), %r11
	mov	REGS_R12(%rdi), %r12
	mov	REGS_R13(%rdi), %r13
	mov	REGS_R14(%rdi), %r14
	mov	REGS_R15(%rdi), %r15
	mov	REGS_RDI(%rdi), %rdi
.endm

/* Into the one whose address is on the top of the stack; in %rdi afterwards. */
.macro STORE_GUEST_REGS
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rcx, REGS_RCX(%rdi)
	mov	%rdx, REGS_RDX(%rdi)
	mov	%rbx, REGS_RBX(%rdi)
	mov	%rbp, REGS_RBP(%rdi)
	mov	%rsi, REGS_RSI(%rdi)
	mov	%r8,  REGS_R8(%rdi)
	mov	%r9,  REGS_R9(%rdi)
	mov	%r10, REGS_R10(%rdi)
	mov	%r11, REGS_R11(%rdi)
	mov	%r12, REGS_R12(%rdi)
	mov	%r13, REGS_R13(%rdi)
	mov	%r14, REGS_R14(%rdi)
	mov	%r15, REGS_R15(%rdi)
	pop	REGS_RDI(%rdi)
.endm

#endif
