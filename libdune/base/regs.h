/* SPDX-License-Identifier: MIT */
/*
 * The guest's registers, and those that are the CPU's own in either world.
 */
#ifndef LIBDUNE_REGS_H
#define LIBDUNE_REGS_H

#include <linux/types.h>

/* By their numbers in the encodings of instructions; the engine keeps them in this order. */
struct guest_regs {
	__u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
	__u64 r8, r9, r10, r11, r12, r13, r14, r15;
	__u64 rip, rflags;
};

/* The bases of FS and GS: HR3 runs with the guest's. */
static inline unsigned long rdfsbase(void)
{
	unsigned long base;

	__asm__ volatile("rdfsbase %0" : "=r"(base));
	return base;
}

static inline void wrfsbase(unsigned long base)
{
	__asm__ volatile("wrfsbase %0" : : "r"(base) : "memory");
}

static inline unsigned long rdgsbase(void)
{
	unsigned long base;

	__asm__ volatile("rdgsbase %0" : "=r"(base));
	return base;
}

static inline void wrgsbase(unsigned long base)
{
	__asm__ volatile("wrgsbase %0" : : "r"(base) : "memory");
}

#endif /* LIBDUNE_REGS_H */
