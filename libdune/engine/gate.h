/* SPDX-License-Identifier: MIT */
/*
 * How the guest leaves, and how the loop runs it: for assembly, and dune.c, which compares the numbers.
 *
 * Another engine has macros with these names of its own.
 */
#ifndef LIBDUNE_GATE_H
#define LIBDUNE_GATE_H

/* The instructions that leave the guest from ring 0, to HR3; the CPU has one of them: engine_info.way_out. */
#define WAY_VMCALL	0
#define WAY_VMMCALL	1

#define GATE_CALL	1	/* raw result: RUN_CALL */
#define GATE_COME_OUT	176	/* where __dune_engine_come_out() writes, from the registers on */

#ifdef __ASSEMBLER__
/* Have @macro for each way out: its name, and the instruction. */
	.macro	for_each_way_out macro
	\macro	vmcall, vmcall
	\macro	vmmcall, vmmcall
	.endm

/*
 * The loop: runs the guest of the thread in RBP, and goes on behind its last instruction, a call, when it has come
 * out.  All registers that a call does not keep are lost.
 */
	.macro	run_guest
	mov	T_RUN_NR(%rbp), %rax
	mov	T_RUN_ARG0(%rbp), %rdi
	mov	T_RUN_ARG1(%rbp), %rsi
	mov	T_RUN_ARG2(%rbp), %rdx
	call	__dune_own_site
	.endm

/* Behind it: to @other if that was no call; RAX has the raw result. */
	.macro	if_no_call other
	cmp	$GATE_CALL, %rax
	jne	\other
	.endm

/* RBX: the registers.  To @there if the guest is to come out before it runs again. */
	.macro	if_comes_out there
	cmpl	$0, GATE_COME_OUT(%rbx)
	jne	\there
	.endm
#else
#define FOR_EACH_WAY_OUT(f)	f(vmcall) f(vmmcall)

long __dune_gate_vmcall(unsigned long nr, unsigned long a, unsigned long b, unsigned long c);
long __dune_gate_vmmcall(unsigned long nr, unsigned long a, unsigned long b, unsigned long c);
extern const char __dune_gate_vmcall_return[], __dune_gate_vmmcall_return[];
#endif

#endif /* LIBDUNE_GATE_H */
