/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RDMSR and WRMSR of MSRs that are known to exist, without the tracing of the
 * kernel's own wrappers: some of these stand between the guest and the host.
 */
#ifndef DUNE_MSR_H
#define DUNE_MSR_H

#include <linux/types.h>
#include <asm/msr-index.h>

#ifndef MSR_IA32_XFD_ERR
#define MSR_IA32_XFD_ERR	0x000001c5
#endif

static __always_inline u64 read_msr(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (u64)high << 32 | low;
}

/* Not 0 if any bit of it is set. */
static __always_inline u32 msr_bits(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | high;
}

static __always_inline void write_msr(u32 msr, u64 value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)(value & U32_MAX)), "d"((u32)(value >> 32)) : "memory");
}

/*
 * The GS base that SWAPGS would bring in: while the kernel runs, the task's own.
 * Interrupts are off; the kernel's NMI and machine-check entries do not
 * care which of the two is active (they save and restore it by RDGSBASE).
 */
static __always_inline u64 read_inactive_gs_base(void)
{
	u64 base;

	asm volatile("swapgs; rdgsbase %0; swapgs" : "=r"(base) : : "memory");
	return base;
}

static __always_inline void write_inactive_gs_base(u64 base)
{
	asm volatile("swapgs; wrgsbase %0; swapgs" : : "r"(base) : "memory");
}

static __always_inline u64 read_fs_base(void)
{
	u64 base;

	asm volatile("rdfsbase %0" : "=r"(base) : : "memory");
	return base;
}

static __always_inline void write_fs_base(u64 base)
{
	asm volatile("wrfsbase %0" : : "r"(base) : "memory");
}

#endif
