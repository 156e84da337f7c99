/* SPDX-License-Identifier: MIT */
/*
 * GR0: where the CPU enters ring 0 of the guest.
 */
#include "asm-offsets.h"
#include "threads/layout.h"
#include "base/cfi.h"
#include "engine/gate.h"

	.section .text.hot, "ax", @progbits	/* HOT, base.h */

/* Backtraces of handlers go on into what the exception interrupted: struct dune_tf, at RSP. */
	.macro	interrupted_is_caller
	.cfi_signal_frame
	cfa_at	0x77, TF_RSP
	saved_at 0, 0x77, TF_RAX
	saved_at 1, 0x77, TF_RDX
	saved_at 2, 0x77, TF_RCX
	saved_at 3, 0x77, TF_RBX
	saved_at 4, 0x77, TF_RSI
	saved_at 5, 0x77, TF_RDI
	saved_at 6, 0x77, TF_RBP
	saved_at 8, 0x77, TF_R8
	saved_at 9, 0x77, TF_R9
	saved_at 10, 0x77, TF_R10
	saved_at 11, 0x77, TF_R11
	saved_at 12, 0x77, TF_R12
	saved_at 13, 0x77, TF_R13
	saved_at 14, 0x77, TF_R14
	saved_at 15, 0x77, TF_R15
	saved_at 16, 0x77, TF_RIP
	.endm

/* The frame's, from R15 down to RDI; @rcx: what goes in the place of RCX. */
	.macro	push_registers_below_rax rcx=%rcx
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
	push	\rcx
	push	%rdx
	push	%rsi
	push	%rdi
	.endm

/*
 * SYSCALL, from GR0 or GR3.  In: RCX the address behind it, R11 the flags; RSP is the program's and
 * must not be touched: it may have a red zone, or point nowhere.
 *
 * Ring 3 runs with IOPL 1, which it cannot change and which lets it do nothing; ring 0 runs with
 * IOPL 0.  A call of ring 0 exits, and nothing returns here: the trampoline continues at RCX.
 */
	.macro	lstar name, instruction
	.globl	__dune_lstar_\name, __dune_lstar_\name\()_return
	.hidden	__dune_lstar_\name, __dune_lstar_\name\()_return
	.type	__dune_lstar_\name, @function
	.balign	16
__dune_lstar_\name:
	.cfi_startproc
	.cfi_register rip, rcx
	test	$RFLAGS_IOPL1, %r11d
	jnz	syscall_from_ring3
	\instruction
__dune_lstar_\name\()_return:
	ud2
	.cfi_endproc
	.size	__dune_lstar_\name, . - __dune_lstar_\name
	.endm

	for_each_way_out lstar

/*
 * SYSCALL of a program that is in ring 3 as a whole (struct dune_process, ring3): nothing in ring 0 calls so, but by
 * the gate.  No stack is used, and no register: RCX and R11 are what SYSRET loads.
 *
 * SYSRET with TF would trap before the program's next instruction, and Linux's way back traps behind it.  So HR3 makes
 * such a call with the program's registers, and goes back there (PRIVATE_STEPPED).
 */
	.macro	program_lstar name, instruction
	.globl	__dune_program_lstar_\name, __dune_program_lstar_\name\()_return
	.hidden	__dune_program_lstar_\name, __dune_program_lstar_\name\()_return
	.type	__dune_program_lstar_\name, @function
	.balign	16
__dune_program_lstar_\name:
	.cfi_startproc
	.cfi_register rip, rcx
	test	$RFLAGS_TF, %r11d
	jnz	1f
	\instruction
__dune_program_lstar_\name\()_return:
	sysretq
1:	ud2
	.cfi_endproc
	.size	__dune_program_lstar_\name, . - __dune_program_lstar_\name
	.endm

	for_each_way_out program_lstar

/*
 * SYSCALL from GR3: into the handler, on the stack of the caller of dune_jump_to_user().
 *
 * What SWAPGS makes the GS base is that of the thread's struct ring3_session, of which the
 * frame is the first member; the base is its error code.  The selectors and the error code are there already.
 * The handler returns what RAX is to be.  RCX and R11 are what SYSCALL and SYSRET make them.
 * IF = 0 where RSP is ring 3's.
 */
	.type	syscall_from_ring3, @function
	.balign	16
syscall_from_ring3:
	.cfi_startproc
	.cfi_undefined rip
	swapgs
	/* Without a session the base is 0, and this faults: __dune_ring3_entry_fault(). */
	.globl	__dune_ring3_entry
	.hidden	__dune_ring3_entry
__dune_ring3_entry:
	cmpl	$IN_RING3, %gs:SESSION_IN_RING3 - TF_ERR
	jne	1f
	mov	%rsp, %gs:TF_RSP - TF_ERR
	mov	%r11, %gs:TF_RFLAGS - TF_ERR
	mov	%rcx, %gs:TF_RIP - TF_ERR
	rdgsbase %rsp
	swapgs
	push	%rax
	push_registers_below_rax rcx=%r10	/* the fourth argument */
	interrupted_is_caller
	mov	%rsp, %rdi
	mov	__dune_ring3_call(%rip), %rax
	mov	H_ARG(%rax), %rsi
	call	*(%rax)
	mov	TF_RDI(%rsp), %rdi
	mov	TF_RSI(%rsp), %rsi
	mov	TF_RDX(%rsp), %rdx
	mov	TF_R8(%rsp), %r8
	mov	TF_R9(%rsp), %r9
	mov	TF_R10(%rsp), %r10
	mov	TF_RBX(%rsp), %rbx
	mov	TF_RBP(%rsp), %rbp
	mov	TF_R12(%rsp), %r12
	mov	TF_R13(%rsp), %r13
	mov	TF_R14(%rsp), %r14
	mov	TF_R15(%rsp), %r15
	mov	TF_RIP(%rsp), %rcx
	mov	TF_RFLAGS(%rsp), %r11
	or	$RFLAGS_RING3_SET, %r11d
	mov	TF_RSP(%rsp), %rsp
	/* Intel's CPUs raise #GP here, in ring 0, for an RIP that is not canonical: trap.c. */
	.globl	__dune_sysret
	.hidden	__dune_sysret
__dune_sysret:
	sysretq
	/* A call of ring 0, which has set IOPL by POPF: again, without. */
1:	swapgs
	and	$~RFLAGS_IOPL, %r11d
	jmp	*__dune_process+PROCESS_LSTAR(%rip)
	.cfi_endproc
	.size	syscall_from_ring3, . - syscall_from_ring3

/*
 * int __dune_jump(const struct dune_tf *tf)
 *
 * Called in GR0, returns from __dune_return(): makes a struct ring3_session on the stack and goes to
 * ring 3.  What it calls runs below the session; so do the handlers of ring 3's calls.
 */
	.globl	__dune_jump
	.hidden	__dune_jump
	.type	__dune_jump, @function
	.balign	16
__dune_jump:
	.cfi_startproc
	push	%rbp
	.cfi_adjust_cfa_offset 8
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	.cfi_offset rbp, -16
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushfq
	cli
	sub	$SESSION_SIZE, %rsp
	and	$-16, %rsp
	mov	%rbp, SESSION_RBP(%rsp)
	mov	%rsp, %rsi
	call	__dune_session_begin
	test	%eax, %eax
	jz	load_frame
	lea	-6 * 8(%rbp), %rsp
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size	__dune_jump, . - __dune_jump

/*
 * void __dune_return(int ret)
 *
 * In GR0, on any stack: leaves ring 3 for good; __dune_jump() returns @ret.
 */
	.globl	__dune_return
	.hidden	__dune_return
	.type	__dune_return, @function
	.balign	16
__dune_return:
	.cfi_startproc
	.cfi_undefined rip
	cli
	mov	%edi, %ebx
	and	$-16, %rsp
	call	__dune_session
	mov	%rax, %rdi
	mov	SESSION_RBP(%rdi), %rbp
	mov	%rdi, %rsp			/* off the trap stack first */
	call	__dune_session_end
	mov	%ebx, %eax
	lea	-6 * 8(%rbp), %rsp
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	.cfi_endproc
	.size	__dune_return, . - __dune_return

/*
 * void __dune_load(struct dune_tf *tf)
 *
 * GR0, with interrupts off and @tf in ring 0's own memory: loads all registers.
 */
	.globl	__dune_load
	.hidden	__dune_load
	.type	__dune_load, @function
	.balign	16
__dune_load:
	.cfi_startproc
	.cfi_undefined rip
	mov	%rdi, %rsp
	jmp	load_frame
	.cfi_endproc
	.size	__dune_load, . - __dune_load

/*
 * Where ring 3 is interrupted by a signal: the handler runs here, in GR0, on the session's stack, and
 * then ring 3 goes on.  RSP: the session, whose frame has ring 3's registers.
 */
	.globl	__dune_ring3_resume
	.hidden	__dune_ring3_resume
	.type	__dune_ring3_resume, @function
	.balign	16
	.cfi_startproc
	interrupted_is_caller
	nop				/* unwinders look at the address before */
__dune_ring3_resume:
	cli
	mov	%rsp, %rdi
	call	__dune_session_resume
	jmp	load_frame
	.cfi_endproc
	.size	__dune_ring3_resume, . - __dune_ring3_resume

/* ---- exceptions and interrupts ---- */

/*
 * Three places take the frame that the CPU pushes, and the first IST entry of the TSS says which:
 *
 *  - the top of the trap stack, when no trap is under way: the frame stays there and the handler runs
 *    below it;
 *  - SESSION_DOWN below that, when besides the thread has a session: the exception may be one of ring 3;
 *  - a small stack, when a trap is under way: the frame goes to the trap stack, below what was interrupted, at once.
 *
 * The IST entry is at a known distance from the frame in the first place, so `add` there switches to
 * the small stack.  In the others it meets other words at that distance, marks that overflow; one becomes 0, one
 * does not: that tells the three apart.  So what comes from ring 3 is known without a look at the frame, and costs the
 * others nothing.  A handler that never returns (longjmp) leaves the small stack in force, and the
 * next trap puts that right.
 *
 * From ring 3 a gate brings IOPL 1, which in a handler would make its system calls those of ring 3: it is cleared, with
 * all other flags.
 *
 * Nothing between the entry and the call can raise an exception: it touches only libdune's
 * granule, mapped from the start.
 */
#define FRAME_IST	(AREA_THREAD + T_IST1 - (AREA_TRAP_END - TF_SIZE))

	.macro	clear_flags
	push	$RFLAGS_FIXED
	popfq
	.endm

	.macro	pop_registers
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
	.endm

	.macro	push_error_code vector
	.if	\vector != 8 && (\vector < 10 || \vector > 14) && \vector != 17 && \vector != 21 && \
		\vector != 29 && \vector != 30
	push	$0
	.endif
	.endm

	.macro	begin_in_session
	movq	$SESSION_MARK, FRAME_IST(%rsp)
	addq	$IST_SIZE + SESSION_DOWN, FRAME_IST + SESSION_DOWN(%rsp)
	clear_flags
	mov	%rsp, %rdi
	.endm

/*
 * One stub for each exception, written out: CLAC, for a gate that needs it, is its first
 * instruction, and other gates begin behind it.  IF = 0.
 */
	.globl	__dune_trap_stubs, __dune_trap_stubs_end
	.hidden	__dune_trap_stubs, __dune_trap_stubs_end
	.type	__dune_trap_stubs, @function
	.balign	STUB_SIZE
__dune_trap_stubs:
	.cfi_startproc
	interrupted_is_caller
	.set	vector, 0
	.rept	NR_EXCEPTIONS
	.balign	STUB_SIZE
	.set	stub, .
	clac
	push_error_code vector
	push	%rax
	.if	vector == VECTOR_DBLFLT
	mov	$vector, %eax
	jmp	double_fault
	.else
	push_registers_below_rax
	cld
	addq	$IST_SIZE, FRAME_IST(%rsp)
	jc	1f
	mov	%rsp, %rdi
	mov	(__dune_trap_table + 8 * vector)(%rip), %rax
	mov	H_ARG(%rax), %rsi
	call	*(%rax)
	subq	$IST_SIZE, FRAME_IST(%rsp)
	testb	$3, TF_CS(%rsp)
	jnz	to_ring3
	pop_registers
	add	$8, %rsp			/* the error code */
	iretq
1:	push	$vector				/* shorter than MOV: STUB_SIZE */
	pop	%rax
	jnz	in_session
	jmp	nested
	.endif
	.org	stub + STUB_SIZE		/* an error if it is longer */
	.set	vector, vector + 1
	.endr

/* The others, 16 bytes apart, for INT n. */
	.globl	__dune_int_stubs
	.hidden	__dune_int_stubs
	.balign	16
__dune_int_stubs:
	.rept	256 - NR_EXCEPTIONS
	.balign	16
	push	$0
	push	%rax
	mov	$vector, %eax
	jmp	interrupt
	.set	vector, vector + 1
	.endr

	.balign	16
interrupt:
	push_registers_below_rax
	cld
	addq	$IST_SIZE, FRAME_IST(%rsp)
	jc	1f
	mov	%rsp, %rdi
	mov	%eax, %esi
	call	trap_full
	subq	$IST_SIZE, FRAME_IST(%rsp)
	testb	$3, TF_CS(%rsp)
	jnz	to_ring3

/* RSP: a frame; IF = 0. */
load_frame:
	pop_registers
	add	$8, %rsp
	.globl	__dune_iret
	.hidden	__dune_iret
__dune_iret:
	iretq

/* A frame of ring 3's, on the trap stack. */
to_ring3:
	mov	%rsp, %rdi
	call	__dune_to_ring3
	jmp	load_frame

/* EAX: the vector.  RSP: a frame SESSION_DOWN below the top of the trap stack, where the IST entry points. */
1:	jz	nested
	begin_in_session
	mov	%eax, %esi
	call	trap_full
	jmp	1f

in_session:
	begin_in_session
	lea	__dune_trap_table(%rip), %rcx
	mov	(%rcx,%rax,8), %rax
	mov	H_ARG(%rax), %rsi
	call	*(%rax)
1:	lea	TF_SIZE(%rsp), %rax
	mov	%rax, FRAME_IST + SESSION_DOWN(%rsp)
	testb	$3, TF_CS(%rsp)
	jz	1f
	/* What __dune_to_ring3() does. */
	mov	TF_RIP(%rsp), %rax
	sar	$47, %rax
	inc	%rax
	cmp	$1, %rax
	ja	to_ring3
	mov	TF_RFLAGS(%rsp), %eax
	and	$RFLAGS_RING3, %eax
	or	$RFLAGS_RING3_SET | RFLAGS_FIXED, %eax
	mov	%rax, TF_RFLAGS(%rsp)
	movw	$SEL_USER_CS, TF_CS(%rsp)
	movw	$SEL_USER_DS, TF_SS(%rsp)
	pop_registers
	add	$8, %rsp
	iretq
1:	andq	$~RFLAGS_IOPL, TF_RFLAGS(%rsp)
	jmp	load_frame

/*
 * EAX: the vector.  RSP: a frame on the small stack.  Copy it and leave this stack: from then on it
 * is free for the next one.  The frame goes
 *	- below the interrupted RSP, if that was in ring 0 on the trap stack;
 *	- at trap_top otherwise, and always at the top for a double fault, which nothing survives.
 */
double_fault:
	push_registers_below_rax
	clear_flags
	mov	%rsp, %rsi
	mov	%rsp, %rbx
	and	$-AREA_SIZE, %rbx
	add	$AREA_THREAD, %rbx		/* struct dune_thread */
	mov	T_TRAP_HIGH(%rbx), %rcx
	jmp	.Lplace
.Lfrom_ring3:
	clear_flags
	jmp	.Lplace
nested:
	movq	$NESTED_MARK, FRAME_IST(%rsp)
	mov	%rsp, %rsi
	mov	%rsp, %rbx
	and	$-AREA_SIZE, %rbx
	add	$AREA_THREAD, %rbx

	mov	T_TRAP_TOP(%rbx), %rcx
	testb	$3, TF_CS(%rsi)
	jnz	.Lfrom_ring3
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
	mov	%rcx, %rdx
	mov	$TF_SIZE / 8, %ecx
	rep movsq
	mov	%rdx, %rsp

	mov	%rsp, %rdi
	mov	%eax, %esi
	cmp	$NR_EXCEPTIONS, %eax
	jae	1f			/* TRAP_TOO_DEEP as well */
	lea	__dune_trap_table(%rip), %rcx
	mov	(%rcx,%rax,8), %rax
	mov	H_ARG(%rax), %rsi
	call	*(%rax)
	jmp	2f
1:	call	trap_full
2:	mov	%rsp, %rdi
	call	__dune_trap_end			/* which stack the next trap uses */
	jmp	load_frame

__dune_trap_stubs_end:
	.cfi_endproc
	.size	__dune_trap_stubs, . - __dune_trap_stubs

/*
 * What struct handler.code leads to is called with RDI the frame, RAX the handler and RSI its argument.
 *
 * void __dune_trap_any(struct dune_tf *tf): where __dune_trap() must look at the frame first.
 *
 * void trap_full(struct dune_tf *tf, unsigned int vector): for C code that may be compiled for anything: with the
 * stack aligned.
 */
	.globl	__dune_trap_any
	.hidden	__dune_trap_any
	.type	__dune_trap_any, @function
	.balign	16
__dune_trap_any:
	.cfi_startproc
	mov	H_VECTOR(%rax), %esi
trap_full:
	push	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbp, -16
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	and	$-16, %rsp
	call	__dune_trap
	leave
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size	__dune_trap_any, . - __dune_trap_any

/*
 * Round the handlers of programs that may use vector registers. They are kept below RSP, which RBP has the old value
 * of; RAX, RCX and RDX are lost. XRSTOR wants bytes 8 to 23 of the header to be 0, and XSAVE keeps bits of the word
 * before (SDM, "XRSTOR", "XSAVE").
 */
	.macro	save_vectors
	sub	__dune_process+PROCESS_XSAVE_SIZE(%rip), %rsp
	and	$-64, %rsp
	xor	%edx, %edx
	mov	%rdx, XSAVE_HEADER(%rsp)
	mov	%rdx, XSAVE_HEADER + 8(%rsp)
	mov	%rdx, XSAVE_HEADER + 16(%rsp)
	mov	__dune_process+PROCESS_XSAVE_MASK(%rip), %eax
	xsave64	(%rsp)
	.endm

	.macro	restore_vectors
	mov	__dune_process+PROCESS_XSAVE_MASK(%rip), %eax
	xor	%edx, %edx
	xrstor64 (%rsp)
	.endm

/*
 * void __dune_full_trap(struct dune_tf *tf)
 *
 * What __dune_trap() does for a handler, where there is nothing else to do: FS and GS base are the program's. All
 * registers of the program are in the frame, so none is kept.
 */
	.globl	__dune_full_trap
	.hidden	__dune_full_trap
	.type	__dune_full_trap, @function
	.balign	16
__dune_full_trap:
	.cfi_startproc
	mov	%rsp, %rcx
	and	$-AREA_SIZE, %rcx
	cmpb	$0, AREA_THREAD + T_RING3_BASES(%rcx)
	jne	__dune_trap_any
	push	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbp, -16
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	mov	%rdi, %rbx
	mov	%rax, %r12
	save_vectors
	mov	%rbx, %rdi
	mov	H_ARG(%r12), %rsi
	call	*H_CB(%r12)
.Lcalled:
	restore_vectors
	mov	TF_RIP(%rbx), %rax
	sar	$47, %rax
	inc	%rax
	cmp	$1, %rax
	ja	1f
	leave
	.cfi_remember_state
	.cfi_def_cfa rsp, 8
	ret
	.cfi_restore_state
1:	mov	%rbx, %rdi
	call	__dune_trap_wild
	leave
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size	__dune_full_trap, . - __dune_full_trap

/*
 * void __dune_full_pgflt(struct dune_tf *tf)
 *
 * The same for a handler of page faults. What is not present may be libdune's own.
 */
	.globl	__dune_full_pgflt
	.hidden	__dune_full_pgflt
	.type	__dune_full_pgflt, @function
	.balign	16
__dune_full_pgflt:
	.cfi_startproc
	testb	$1, TF_ERR(%rdi)
	jz	__dune_trap_any
	mov	%rsp, %rcx
	and	$-AREA_SIZE, %rcx
	cmpb	$0, AREA_THREAD + T_RING3_BASES(%rcx)
	jne	__dune_trap_any
	push	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbp, -16
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	mov	%rdi, %rbx
	mov	%rax, %r12
	save_vectors
	mov	%cr2, %rdi
	mov	TF_ERR(%rbx), %esi
	mov	%rbx, %rdx
	mov	H_ARG(%r12), %rcx
	call	*H_CB(%r12)
	jmp	.Lcalled
	.cfi_endproc
	.size	__dune_full_pgflt, . - __dune_full_pgflt

/*
 * long __dune_full_call(struct dune_tf *tf)
 *
 * A system call of ring 3, for a handler that may do anything: with the program's bases, and signals let in. @tf begins
 * a struct ring3_session. IF = 0.
 */
	.globl	__dune_full_call
	.hidden	__dune_full_call
	.type	__dune_full_call, @function
	.balign	16
__dune_full_call:
	.cfi_startproc
	push	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbp, -16
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	mov	%rdi, %rbx
	mov	%rax, %r12
	mov	SESSION_THREAD(%rbx), %r13
	rdfsbase %rax
	rdgsbase %rcx
	mov	%rax, T_RING3_FS(%r13)
	mov	%rcx, T_RING3_GS(%r13)
	movb	$0, T_RING3_BASES(%r13)
	movl	$0, SESSION_IN_RING3(%rbx)
	mov	SESSION_FS(%rbx), %rax
	mov	SESSION_GS(%rbx), %rcx
	wrfsbase %rax
	wrgsbase %rcx
	save_vectors
	sti
	mov	%rbx, %rdi
	mov	H_ARG(%r12), %rsi
	call	*H_CB(%r12)
	cli
	restore_vectors
	mov	T_RING3_FS(%r13), %rax
	mov	T_RING3_GS(%r13), %rcx
	wrfsbase %rax
	wrgsbase %rcx
	movb	$1, T_RING3_BASES(%r13)
	movl	$IN_RING3, SESSION_IN_RING3(%rbx)
	/* What the handler may have spoilt in the frame, and SYSRET does not load. */
	movl	$0, TF_ERR(%rbx)
	movw	$SEL_USER_CS, TF_CS(%rbx)
	movw	$SEL_USER_DS, TF_SS(%rbx)
	andl	$RFLAGS_RING3, TF_RFLAGS(%rbx)
	mov	TF_RAX(%rbx), %rax
	leave
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size	__dune_full_call, . - __dune_full_call

/*
 * void __dune_bare_pgflt(struct dune_tf *tf)
 *
 * A page fault for a handler that uses no vector registers.  What is not present may be libdune's own.
 */
	.globl	__dune_bare_pgflt
	.hidden	__dune_bare_pgflt
	.type	__dune_bare_pgflt, @function
	.balign	16
__dune_bare_pgflt:
	mov	%rsi, %rcx
	mov	TF_ERR(%rdi), %esi
	test	$1, %sil
	jz	__dune_trap_any
	mov	%rdi, %rdx
	mov	%cr2, %rdi
	jmp	*H_CB(%rax)
	.size	__dune_bare_pgflt, . - __dune_bare_pgflt

	.section .note.GNU-stack, "", @progbits
