/* SPDX-License-Identifier: MIT */
/*
 * MSRs, vectors and descriptors of x86 for programs in ring 0, by the names of the first libdune.  The vectors of
 * exceptions come with dune.h.
 */
#ifndef LIBDUNE_CPU_X86_H
#define LIBDUNE_CPU_X86_H

#include <stdint.h>

#include "../dune.h"

typedef uint64_t u64;

#define MSR_LSTAR		0xc0000082
#define MSR_FS_BASE		0xc0000100
#define MSR_GS_BASE		0xc0000101
#define MSR_KERNEL_GS_BASE	0xc0000102

/* Two halves of a number as RDMSR and WRMSR have them. */
#define DECLARE_ARGS(val, low, high)	unsigned int low, high
#define EAX_EDX_VAL(val, low, high)	((low) | (uint64_t)(high) << 32)
#define EAX_EDX_ARGS(val, low, high)	"a"(low), "d"(high)
#define EAX_EDX_RET(val, low, high)	"=a"(low), "=d"(high)

static inline unsigned long long native_read_msr(unsigned int msr)
{
	DECLARE_ARGS(val, low, high);

	__asm__ volatile("rdmsr" : EAX_EDX_RET(val, low, high) : "c"(msr));
	return EAX_EDX_VAL(val, low, high);
}

static inline void native_write_msr(unsigned int msr, unsigned int low, unsigned int high)
{
	__asm__ volatile("wrmsr" : : "c"(msr), EAX_EDX_ARGS(val, low, high) : "memory");
}

#define rdmsrl(msr, val)	((val) = native_read_msr(msr))
#define wrmsrl(msr, val)	native_write_msr((msr), (uint32_t)(uint64_t)(val), (uint32_t)((uint64_t)(val) >> 32))

/* The time-stamp counter, into @val. */
#define rdtscll(val)	((val) = dune_get_ticks())

#define T_SYSCALL	48	/* a number that no exception has */

#define IDT_ENTRIES	256

#define IDTD_P			(1 << 7)
#define IDTD_CPL3		(3 << 5)
#define IDTD_TRAP_GATE		0xf
#define IDTD_INTERRUPT_GATE	0xe

struct idtd {
	uint16_t low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t middle;
	uint32_t high;
	uint32_t zero;
} __attribute__((packed, aligned));

/* What LGDT and LIDT take. */
struct tptr {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#endif /* LIBDUNE_CPU_X86_H */
