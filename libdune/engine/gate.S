/* SPDX-License-Identifier: MIT */
/*
 * GR0: the gate to HR3, and to the module.
 */
#include "engine/gate.h"

	.section .text.hot, "ax", @progbits	/* HOT, base.h */

/*
 * long gate(unsigned long nr, unsigned long a, unsigned long b, unsigned long c)
 *
 * A hypercall of the module's, or a PRIVATE_CALL: those come out to HR3.  All registers but RAX, RDI, RSI and RDX
 * are kept.
 */
	.macro	gate name, instruction
	.globl	__dune_gate_\name, __dune_gate_\name\()_return
	.hidden	__dune_gate_\name, __dune_gate_\name\()_return
	.type	__dune_gate_\name, @function
	.balign	16
__dune_gate_\name:
	.cfi_startproc
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	\instruction
__dune_gate_\name\()_return:
	ret
	.cfi_endproc
	.size	__dune_gate_\name, . - __dune_gate_\name
	.endm

	for_each_way_out gate

	.section .note.GNU-stack, "", @progbits
