/* SPDX-License-Identifier: MIT */
/*
 * The guest's registers.
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

#endif /* LIBDUNE_REGS_H */
