/* SPDX-License-Identifier: MIT */
/*
 * System calls, and accesses to memory of the program's.
 *
 * There are two syscall instructions.  __dune_syscall_site makes the program's calls; __dune_own_site
 * those without which nothing goes on, that of the loop above all, which a seccomp filter of the program's is
 * taught to let pass (seccomp.c).
 *
 * HR3 and GR0; copies only HR3.
 */
	.section .text.hot, "ax", @progbits	/* HOT, base.h */

/*
 * long dune_syscall(long nr, long a, long b, long c, long d, long e, long f)
 *
 * HR3 and GR0.  __dune_syscall_site takes the kernel's registers.
 */
	.globl	dune_syscall, __dune_syscall_site
	.type	dune_syscall, @function
	.type	__dune_syscall_site, @function
	.hidden	__dune_syscall_site
	.balign	16
dune_syscall:
	.cfi_startproc
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
__dune_syscall_site:
	syscall
	ret
	.cfi_endproc
	.size	dune_syscall, . - dune_syscall

/*
 * long __dune_own_syscall(long nr, long a, long b, long c, long d)
 *
 * HR3.  Only for what seccomp.c lets pass.  __dune_own_site takes the kernel's registers.
 */
	.globl	__dune_own_syscall, __dune_own_site
	.hidden	__dune_own_syscall, __dune_own_site
	.type	__dune_own_syscall, @function
	.type	__dune_own_site, @function
	.balign	16
__dune_own_syscall:
	.cfi_startproc
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
__dune_own_site:
	syscall
	ret
	.cfi_endproc
	.size	__dune_own_syscall, . - __dune_own_syscall

/*
 * bool __dune_copy(void *to, const void *from, unsigned long size)
 *
 * HR3: copies from or to the program's memory, for a call in which a bad address means SIGSEGV, or in which the
 * address has been looked at.  Where SIGSEGV comes to libdune, deliver.c has the access return false instead; else it
 * ends the process, as it is to.
 */
	.globl	__dune_copy, __dune_copy_failed
	.hidden	__dune_copy, __dune_copy_failed
	.type	__dune_copy, @function
	.balign	16
__dune_copy:
	.cfi_startproc
	mov	%rdx, %rcx
	shr	$3, %rcx
	rep movsq
	mov	%edx, %ecx
	and	$7, %ecx
	rep movsb
	mov	$1, %eax
	ret

/*
 * bool __dune_exchange(uint32_t *word, uint32_t *old, uint32_t new)
 *
 * HR3: likewise, gives a word the value @new if it has *@old, which becomes what it had.
 */
	.globl	__dune_exchange
	.hidden	__dune_exchange
__dune_exchange:
	mov	(%rsi), %eax
	lock cmpxchg %edx, (%rdi)
	mov	%eax, (%rsi)
	mov	$1, %eax
	ret
__dune_copy_failed:
	xor	%eax, %eax
	ret
	.cfi_endproc
	.size	__dune_copy, . - __dune_copy

	.section .note.GNU-stack, "", @progbits
