/* SPDX-License-Identifier: GPL-2.0-only */
/* A virtual CPU: the thread that runs it, its registers, its loop. */
#ifndef DUNE_VCPU_H
#define DUNE_VCPU_H

#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/pid.h>
#include <linux/dune.h>

#include <asm/processor-flags.h>

#include "call.h"
#include "hw.h"
#include "vm.h"

#define VCPU_DIRTY_RIP		1
#define VCPU_DIRTY_RSP		2
#define VCPU_DIRTY_RFLAGS	4
#define VCPU_DIRTY_CPL		8
#define VCPU_DIRTY_EVENT	16	/* event_info is valid */
#define VCPU_DIRTY_WINDOW	32	/* flags have changed */
#define VCPU_DIRTY_HOST		64	/* interrupts were on, so the host's registers may have changed */
#define VCPU_DIRTY_TSC		128	/* no_tsc has changed */
#define VCPU_DIRTY_VENDOR	256	/* from this bit on, the vendor's own */

struct dune_vcpu {
	struct dune_vm *vm;
	u32 index;
	struct dune_vcpu_config config;

	/*
	 * The page that user space maps.  It may change under us at any time, so each access is by READ_ONCE() or
	 * WRITE_ONCE(): the general-purpose registers, for which every value is good, are used in place; the rest is
	 * copied in and checked at the start of DUNE_RUN.
	 */
	struct dune_run *run;
	struct page *run_page;

	int cpu;			/* where the vendor has it, or -1: written by him, also in an interrupt there */
	int running;			/* 1 while a thread is in DUNE_RUN or resets it; cmpxchg */
	struct pid *owner;		/* thread that created it, or that first ran it; guarded by vm->lock */
	struct pid *maker;		/* process that created it for a thread, which has not run it yet; likewise */

	/* Copies of what is in the run page, kept from run to run; owned by the thread that set running. */
	u32 dirty;			/* VCPU_DIRTY_*: changed since the vendor saw it */
	u64 rip;
	u64 rsp;
	u64 rflags;
	u64 kernel_gs_base;
	u32 cpl;
	u32 event_info;
	u32 event_error;
	u32 flags;			/* DUNE_RUN_* */
	u32 masked_exits;		/* instructions done for a guest with IF = 0 */
	bool no_tsc;			/* reads of the TSC exit: the thread may have none (PR_SET_TSC) */
	bool fpu_is_ours;		/* dune_fpu_load() has said so */
	bool flush_l1d;			/* the host did more than the trivial since the last entry */

	struct dune_call call;
	struct dune_exit exit;		/* the last one */
};

static __always_inline bool dune_vcpu_exists(struct dune_vm *vm, unsigned long index)
{
	/* Pairs with the store in add_vcpu(): the slot was filled before. */
	return index < smp_load_acquire(&vm->nr_vcpus);
}

static __always_inline struct dune_vcpu *dune_vcpu_at(struct dune_vm *vm, unsigned long index)
{
	index = array_index_nospec(index, READ_ONCE(vm->nr_vcpus));
	return vm->chunks[index / DUNE_VCPU_CHUNK]->vcpu[index % DUNE_VCPU_CHUNK];
}

static inline struct dune_vcpu *dune_vcpu_find(struct dune_vm *vm, unsigned long index)
{
	return dune_vcpu_exists(vm, index) ? dune_vcpu_at(vm, index) : NULL;
}

struct dune_vcpu *dune_vcpu_create(struct dune_vm *vm, const struct dune_vcpu_config *config);
int dune_vcpu_destroy(struct dune_vm *vm, unsigned long index);
void dune_vcpu_free(struct dune_vcpu *vcpu);

/* DUNE_RUN on @file: DUNE_EXIT_*, or -errno; @by_lseek: or it has become a call, and this is its result. */
long dune_vcpu_run(struct file *file, unsigned long index, bool by_lseek);

/* cpuid.c */
void dune_emulate_cpuid(struct dune_regs *regs);

/* 48 bits of linear address: the guest has no LA57. */
static inline bool dune_is_canonical(u64 address)
{
	return (u64)((s64)(address << 16) >> 16) == address;
}

/*
 * Flags that a program may have; the reserved ones, VM, VIF and VIP would make the CPU refuse.  IOPL
 * gives nothing: IN, OUT and the like exit in every ring.
 */
#define RFLAGS_GUEST	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | \
			 X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_IF | X86_EFLAGS_DF | \
			 X86_EFLAGS_OF | X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_RF | \
			 X86_EFLAGS_AC | X86_EFLAGS_ID)

/* What the guest has of registers that are not kept in the run page. */
static __always_inline void dune_export_state(struct dune_vcpu *vcpu)
{
	struct dune_run *run = vcpu->run;

	WRITE_ONCE(run->regs.rip, vcpu->rip);
	WRITE_ONCE(run->regs.rsp, vcpu->rsp);
	WRITE_ONCE(run->regs.rflags, vcpu->rflags);
	WRITE_ONCE(run->kernel_gs_base, vcpu->kernel_gs_base);
	WRITE_ONCE(run->cpl, vcpu->cpl);
	WRITE_ONCE(run->event_info, vcpu->event_info);
	if (unlikely(vcpu->event_info))
		WRITE_ONCE(run->event_error, vcpu->event_error);
}

#endif
