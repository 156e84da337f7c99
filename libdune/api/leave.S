/* SPDX-License-Identifier: MIT */
/*
 * GR0, then HR3: out of Dune mode.
 */
#include "asm-offsets.h"

	.section .text.hot, "ax", @progbits	/* HOT, base.h */

/*
 * int __dune_leave_guest(void)
 *
 * Called in GR0, goes on in HR3 behind the gate with RAX the thread: the trampoline then
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
	call	*__dune_process+PROCESS_GATE(%rip)
	mov	%rax, %rdi
	call	__dune_leave_finish
	xor	%eax, %eax
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	__dune_leave_guest, . - __dune_leave_guest

	.section .note.GNU-stack, "", @progbits
