/* SPDX-License-Identifier: MIT */
/*
 * HR3: runs the guest and makes its system calls, on the thread's host stack.
 *
 * The round trip of a system call of the program in GR0:
 *
 *  1. GR0	`syscall` goes to the LSTAR stub (entry.S), which leaves the guest.
 *  2. HR0	the engine's kernel part saves the registers in struct guest_regs; the result is RUN_CALL.
 *		Where the engine makes the call itself, the guest goes on at 7. Or the loop goes on at 6, behind
 *		the same `syscall` as at 5: it has a return address for that on its stack.
 *  3. HR3	RIP behind the stub: the call came by `syscall`, so what that put into RCX and R11
 *		becomes RIP and RFLAGS.  A call by the gate has RIP right already.
 *  4. HR3	a number in __dune_syscall_table goes to its C function; for all others
 *  5. HR3	the real `syscall` is made with the guest's registers: seccomp, ptrace, audit and
 *		signals see the thread itself call.
 *  6. HR3	its result becomes the guest's RAX; the guest runs again.
 *  7. GR0	goes on behind its `syscall`; no code of ours runs there.
 *
 * Its two syscall instructions are in base/sys.S.
 */
#include "asm-offsets.h"
#include "threads/layout.h"
#include "base/cfi.h"
#include "engine/gate.h"

	.section .text.hot, "ax", @progbits	/* HOT, base.h */

/* So backtraces go on into the guest: its registers are at RBX. */
	.macro	guest_is_caller
	.cfi_signal_frame
	cfa_at	0x73, R_RSP
	saved_at 0, 0x73, R_RAX
	saved_at 1, 0x73, R_RDX
	saved_at 2, 0x73, R_RCX
	saved_at 3, 0x73, R_RBX
	saved_at 4, 0x73, R_RSI
	saved_at 5, 0x73, R_RDI
	saved_at 6, 0x73, R_RBP
	saved_at 8, 0x73, R_R8
	saved_at 9, 0x73, R_R9
	saved_at 10, 0x73, R_R10
	saved_at 11, 0x73, R_R11
	saved_at 12, 0x73, R_R12
	saved_at 13, 0x73, R_R13
	saved_at 14, 0x73, R_R14
	saved_at 15, 0x73, R_R15
	saved_at 16, 0x73, R_RIP
	.endm

/* The same for what a signal interrupted: struct sigcontext, in struct ucontext at RSP. */
	.macro	signal_is_caller
	.cfi_signal_frame
	cfa_at	0x77, UC_RSP
	saved_at 0, 0x77, UC_RAX
	saved_at 1, 0x77, UC_RDX
	saved_at 2, 0x77, UC_RCX
	saved_at 3, 0x77, UC_RBX
	saved_at 4, 0x77, UC_RSI
	saved_at 5, 0x77, UC_RDI
	saved_at 6, 0x77, UC_RBP
	saved_at 8, 0x77, UC_R8
	saved_at 9, 0x77, UC_R9
	saved_at 10, 0x77, UC_R10
	saved_at 11, 0x77, UC_R11
	saved_at 12, 0x77, UC_R12
	saved_at 13, 0x77, UC_R13
	saved_at 14, 0x77, UC_R14
	saved_at 15, 0x77, UC_R15
	saved_at 16, 0x77, UC_RIP
	.endm

/*
 * long __dune_enter_guest(struct dune_thread *t)
 *
 * Called in HR3, returns 0 in GR0: gives the guest the caller's registers and runs it.
 */
	.globl	__dune_enter_guest
	.hidden	__dune_enter_guest
	.type	__dune_enter_guest, @function
	.balign	16
__dune_enter_guest:
	.cfi_startproc
	mov	T_REGS(%rdi), %rdx
	mov	%rbx, R_RBX(%rdx)
	mov	%rbp, R_RBP(%rdx)
	mov	%r12, R_R12(%rdx)
	mov	%r13, R_R13(%rdx)
	mov	%r14, R_R14(%rdx)
	mov	%r15, R_R15(%rdx)
	movq	$0, R_RAX(%rdx)
	mov	(%rsp), %rax
	mov	%rax, R_RIP(%rdx)
	lea	8(%rsp), %rax
	mov	%rax, R_RSP(%rdx)
	pushfq
	popq	R_RFLAGS(%rdx)
	mov	T_HOST_TOP(%rdi), %rsp
	jmp	__dune_run_loop
	.cfi_endproc
	.size	__dune_enter_guest, . - __dune_enter_guest

/*
 * Where a thread made by clone() begins, with RSP at the top of its host stack.
 */
	.globl	__dune_thread_start
	.hidden	__dune_thread_start
	.type	__dune_thread_start, @function
	.balign	16
__dune_thread_start:
	.cfi_startproc
	.cfi_undefined rip
	lea	-1(%rsp), %rbp
	and	$-AREA_SIZE, %rbp
	add	$AREA_THREAD, %rbp
	mov	%rbp, %rdi
	call	__dune_thread_main
	mov	%rbp, %rdi
	jmp	__dune_run_loop
	.cfi_endproc
	.size	__dune_thread_start, . - __dune_thread_start

/*
 * long __dune_vfork(unsigned long stack)
 *
 * HR3: the child, which shares memory, leaves its parent's stack as it is and begins at the top of another.
 */
	.globl	__dune_vfork
	.hidden	__dune_vfork
	.type	__dune_vfork, @function
	.balign	16
__dune_vfork:
	.cfi_startproc
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbx, -16
	mov	%rdi, %rbx
	mov	$NR_VFORK, %eax
	call	__dune_syscall_site
	test	%rax, %rax
	jz	.Lvfork_child
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_adjust_cfa_offset 8
.Lvfork_child:
	mov	%rbx, %rsp
	jmp	__dune_thread_start
	.cfi_endproc
	.size	__dune_vfork, . - __dune_vfork

/*
 * A signal can come at any instruction of the loop: from here on, it finds the thread doing @doing
 * (host/signals/doing.h).
 */
	.macro	from_here doing
.Lpart\@:
	.pushsection .rodata.loop_parts, "a", @progbits
	.long	.Lpart\@ - __dune_run_loop, \doing
	.popsection
	.endm

	.pushsection .rodata.loop_parts, "a", @progbits
	.globl	__dune_loop_parts
	.hidden	__dune_loop_parts
	.balign	4
__dune_loop_parts:
	.popsection

/*
 * RDI: the thread.  RSP: in its host stack, a multiple of 16.  Never returns.
 *
 * RBX struct guest_regs, RBP the thread, R12 what RSP is to be, R13 lstar_return.
 */
	.globl	__dune_run_loop, __dune_run_return
	.hidden	__dune_run_loop, __dune_run_return
	.type	__dune_run_loop, @function
	.balign	16
__dune_run_loop:
	from_here DOING_GUEST
	.cfi_startproc
	.cfi_undefined rip
	mov	%rdi, %rbp
	mov	T_REGS(%rbp), %rbx
	guest_is_caller
	mov	T_LSTAR_RETURN(%rbp), %r13
	lea	-16(%rsp), %r12
	lea	.Lresult(%rip), %rax
	mov	%rax, (%r12)

.Lrun:
	mov	%r12, %rsp			/* the engine may have gone to .Lresult */
	run_guest
__dune_run_return:
	from_here DOING_LOOP				/* RAX says what */
	if_no_call .Lexit
	from_here DOING_CALL

	movl	$0, T_FAULT_COUNT(%rbp)
	cmp	%r13, R_RIP(%rbx)
	jne	.Ldispatch
	mov	R_RCX(%rbx), %rcx
	mov	R_R11(%rbx), %r11
	mov	%r11, R_RFLAGS(%rbx)
	mov	%rcx, R_RIP(%rbx)		/* last: signal delivery looks at it */

.Ldispatch:
	mov	R_RAX(%rbx), %rax
	cmp	$NR_SYSCALLS, %rax
	jae	.Lspecial
	mov	T_TABLE(%rbp), %rdx
	cmpq	$0, (%rdx,%rax,8)
	jne	.Lspecial
	mov	R_RDI(%rbx), %rdi
	mov	R_RSI(%rbx), %rsi
	mov	R_RDX(%rbx), %rdx
	mov	R_R10(%rbx), %r10
	mov	R_R8(%rbx), %r8
	mov	R_R9(%rbx), %r9
	call	__dune_syscall_site
.Lresult:
	from_here DOING_RESULT
	mov	%rax, R_RAX(%rbx)
	from_here DOING_GUEST
	jmp	.Lrun

.Lspecial:
	from_here DOING_CODE
	mov	%rbp, %rdi
	call	__dune_handle_call
	test	%rax, %rax
	jz	.Lrun

	/*
	 * A call that was looked at, with the registers at RAX: the guest's, or those with copies of its memory
	 * (uaccess.c).  A signal that came until here waits for the guest, which is to make the call again afterwards.
	 */
	from_here DOING_OUTPUT
	if_comes_out .Lagain
	mov	R_RDI(%rax), %rdi
	mov	R_RSI(%rax), %rsi
	mov	R_RDX(%rax), %rdx
	mov	R_R10(%rax), %r10
	mov	R_R8(%rax), %r8
	mov	R_R9(%rax), %r9
	mov	R_RAX(%rax), %rax
	call	__dune_syscall_site
	from_here DOING_OUTPUT_RESULT
	mov	%rax, R_RAX(%rbx)
	from_here DOING_CODE
	mov	%rbp, %rdi
	call	__dune_output_mark
	jmp	.Lrun

.Lagain:
	mov	%rbp, %rdi
	call	__dune_call_again
	jmp	.Lrun

.Lexit:
	mov	%rbp, %rdi
	mov	%rax, %rsi
	call	__dune_host_exit
	jmp	.Lrun
	.cfi_endproc
	.size	__dune_run_loop, . - __dune_run_loop

	.pushsection .rodata.loop_parts, "a", @progbits
	.globl	__dune_loop_parts_end
	.hidden	__dune_loop_parts_end
__dune_loop_parts_end:
	.popsection

/*
 * void __dune_resume_host(const struct guest_regs *regs)
 *
 * HR3: goes on with the registers of @regs outside the guest, but for RCX, which has RIP then, as
 * after SYSCALL.  Nothing is written to the program's stack.  (IRETQ could keep RCX, but
 * QEMU 7.2 makes its reads of the stack those of ring 0, which SMAP forbids.)
 */
	.globl	__dune_resume_host
	.hidden	__dune_resume_host
	.type	__dune_resume_host, @function
	.balign	16
__dune_resume_host:
	.cfi_startproc
	pushq	R_RFLAGS(%rdi)
	.cfi_adjust_cfa_offset 8
	mov	R_RAX(%rdi), %rax
	mov	R_RIP(%rdi), %rcx
	mov	R_RDX(%rdi), %rdx
	mov	R_RBX(%rdi), %rbx
	mov	R_RBP(%rdi), %rbp
	mov	R_RSI(%rdi), %rsi
	mov	R_R8(%rdi), %r8
	mov	R_R9(%rdi), %r9
	mov	R_R10(%rdi), %r10
	mov	R_R11(%rdi), %r11
	mov	R_R12(%rdi), %r12
	mov	R_R13(%rdi), %r13
	mov	R_R14(%rdi), %r14
	mov	R_R15(%rdi), %r15
	popfq
	.cfi_adjust_cfa_offset -8
	mov	R_RSP(%rdi), %rsp
	mov	R_RDI(%rdi), %rdi
	jmp	*%rcx
	.cfi_endproc
	.size	__dune_resume_host, . - __dune_resume_host

/*
 * void __dune_exit_thread(long status, uint32_t *slot)
 *
 * HR3: marks the thread's area free and ends the thread.  From that mark on another
 * thread may use the host stack, so leave it first.  Exiting threads can share a stack: all
 * write the same return address to it.
 */
	.globl	__dune_exit_thread
	.hidden	__dune_exit_thread
	.type	__dune_exit_thread, @function
	.balign	16
__dune_exit_thread:
	.cfi_startproc
	lea	exit_stack_top(%rip), %rsp
	movl	$SLOT_CLEAN, (%rsi)
	mov	$NR_EXIT, %eax
	call	__dune_syscall_site
	ud2
	.cfi_endproc
	.size	__dune_exit_thread, . - __dune_exit_thread

/* The kernel returns here from a host signal handler. */
	.globl	__dune_sigreturn
	.hidden	__dune_sigreturn
	.type	__dune_sigreturn, @function
	.balign	16
	.cfi_startproc
	signal_is_caller
	nop				/* unwinders look at the address before */
__dune_sigreturn:
	mov	$NR_RT_SIGRETURN, %eax
	jmp	__dune_own_site
	.cfi_endproc
	.size	__dune_sigreturn, . - __dune_sigreturn

/*
 * void __dune_host_sigreturn(const void *context)
 *
 * HR3: has the kernel load all of a struct ucontext, as at the end of a signal handler.
 */
	.globl	__dune_host_sigreturn
	.hidden	__dune_host_sigreturn
	.type	__dune_host_sigreturn, @function
	.balign	16
__dune_host_sigreturn:
	mov	%rdi, %rsp
	mov	$NR_RT_SIGRETURN, %eax
	jmp	__dune_own_site
	.size	__dune_host_sigreturn, . - __dune_host_sigreturn

/* void __dune_guest_sigreturn(const void *context): the same, as a call of the program's. */
	.globl	__dune_guest_sigreturn
	.hidden	__dune_guest_sigreturn
	.type	__dune_guest_sigreturn, @function
	.balign	16
__dune_guest_sigreturn:
	mov	%rdi, %rsp
	mov	$NR_RT_SIGRETURN, %eax
	jmp	__dune_syscall_site
	.size	__dune_guest_sigreturn, . - __dune_guest_sigreturn

/*
 * HR3: where the kernel goes on after that.  RDI: the thread.  RSP: below struct sigreturn.  The first instruction
 * and the flag tell deliver.c that the kernel has done its part.
 */
	.globl	__dune_sigreturned
	.hidden	__dune_sigreturned
	.type	__dune_sigreturned, @function
	.balign	16
__dune_sigreturned:
	.cfi_startproc
	.cfi_undefined rip
	movb	$DOING_SIGRETURNED, T_DOING(%rdi)
	jmp	__dune_sigreturn_finish
	.cfi_endproc
	.size	__dune_sigreturned, . - __dune_sigreturned

/* uint8_t __dune_peek(const void *byte): HR3; a fault there is death by SIGSEGV (deliver.c). */
	.globl	__dune_peek
	.hidden	__dune_peek
	.type	__dune_peek, @function
	.balign	16
__dune_peek:
	.cfi_startproc
	movzbl	(%rdi), %eax
	ret
	.cfi_endproc
	.size	__dune_peek, . - __dune_peek

/*
 * void __dune_touch_read(unsigned long hva), void __dune_touch_write(unsigned long hva)
 *
 * HR3: the access that the guest could not make, made by user code: the kernel resolves it
 * or sends the signal that it deserves.
 */
	.globl	__dune_touch_read, __dune_touch_write
	.hidden	__dune_touch_read, __dune_touch_write
	.type	__dune_touch_read, @function
	.type	__dune_touch_write, @function
	.balign	16
__dune_touch_read:
	.cfi_startproc
	movzbl	(%rdi), %eax
	ret
	.cfi_endproc
	.size	__dune_touch_read, . - __dune_touch_read
__dune_touch_write:
	.cfi_startproc
	lock orb $0, (%rdi)
	ret
	.cfi_endproc
	.size	__dune_touch_write, . - __dune_touch_write
	.globl	__dune_touch_end
	.hidden	__dune_touch_end
__dune_touch_end:

/*
 * void __dune_run_anew(struct dune_thread *t)
 *
 * HR3: runs the guest, and abandons the host stack.
 */
	.globl	__dune_run_anew
	.hidden	__dune_run_anew
	.type	__dune_run_anew, @function
	.balign	16
__dune_run_anew:
	.cfi_startproc
	.cfi_undefined rip
	mov	T_HOST_TOP(%rdi), %rsp
	jmp	__dune_run_loop
	.cfi_endproc
	.size	__dune_run_anew, . - __dune_run_anew

/*
 * void __dune_run_masked(struct dune_thread *t, uint64_t mask)
 *
 * HR3: puts @mask of signals in force, and runs the guest, whose state is complete.  It abandons the host stack
 * first: of signals that come with the mask, each would take another piece of it.
 */
	.globl	__dune_run_masked
	.hidden	__dune_run_masked
	.type	__dune_run_masked, @function
	.balign	16
__dune_run_masked:
	.cfi_startproc
	.cfi_undefined rip
	mov	%rdi, %rbp
	mov	T_HOST_TOP(%rbp), %rsp
	push	%rsi
	movb	$DOING_MASK, T_DOING(%rbp)
	mov	$SETMASK, %edi
	mov	%rsp, %rsi
	xor	%edx, %edx
	mov	$MASK_SIZE, %r10d
	mov	$NR_RT_SIGPROCMASK, %eax
	call	__dune_own_site
	movb	$DOING_LOOP, T_DOING(%rbp)
	mov	%rbp, %rdi
	jmp	__dune_run_anew
	.cfi_endproc
	.size	__dune_run_masked, . - __dune_run_masked

	.bss
	.type	exit_stack, @object
	.balign	16
exit_stack:
	.skip	64
exit_stack_top:
	.size	exit_stack, . - exit_stack

	.section .note.GNU-stack, "", @progbits
