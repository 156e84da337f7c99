// SPDX-License-Identifier: GPL-2.0-only
/* Offsets for vmenter.S; Kbuild turns this file's assembly into asm-offsets.h. */
#define COMPILE_OFFSETS
#include <linux/kbuild.h>
#include <linux/stddef.h>
#include <linux/dune.h>

#define REG(NAME, name)	OFFSET(REGS_##NAME, dune_regs, name)

int main(void);
int main(void)
{
	REG(RAX, rax);
	REG(RCX, rcx);
	REG(RDX, rdx);
	REG(RBX, rbx);
	REG(RBP, rbp);
	REG(RSI, rsi);
	REG(RDI, rdi);
	REG(R8, r8);
	REG(R9, r9);
	REG(R10, r10);
	REG(R11, r11);
	REG(R12, r12);
	REG(R13, r13);
	REG(R14, r14);
	REG(R15, r15);
	return 0;
}
