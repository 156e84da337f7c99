/* SPDX-License-Identifier: MIT */
/* Handlers of exceptions for tests/include/raw.h. */
	.text
	.globl	raw_stubs, raw_iret, raw_iret_error, raw_spin
	.balign	32
raw_stubs:
	.set	vector, 0
	.rept	256
	.balign	32
	vmcall
	.if	vector == 8 || vector == 17 || (vector >= 10 && vector <= 14)
	add	$8, %rsp
	.endif
	iretq
	.set	vector, vector + 1
	.endr

	.balign	32
raw_iret_error:
	add	$8, %rsp
raw_iret:
	iretq
raw_spin:
	jmp	raw_spin

	.section .note.GNU-stack, "", @progbits
