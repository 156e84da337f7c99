/* SPDX-License-Identifier: MIT */
/*
 * Hardware details of x86 for programs in ring 0.  The vectors T_* come with dune.h.
 */
#ifndef LIBDUNE_CPU_X86_H
#define LIBDUNE_CPU_X86_H

#include <stdint.h>

#include "../dune.h"

#define MSR_LSTAR		0xc0000082
#define MSR_FS_BASE		0xc0000100
#define MSR_GS_BASE		0xc0000101
#define MSR_KERNEL_GS_BASE	0xc0000102

static inline uint64_t native_read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void native_write_msr(uint32_t msr, uint32_t low, uint32_t high)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"(low), "d"(high) : "memory");
}

#define rdmsrl(msr, val)	((val) = native_read_msr(msr))
#define wrmsrl(msr, val)	native_write_msr((msr), (uint32_t)(uint64_t)(val), (uint32_t)((uint64_t)(val) >> 32))

/* The time-stamp counter, into @val. */
#define rdtscll(val)	((val) = dune_get_ticks())

#endif /* LIBDUNE_CPU_X86_H */
