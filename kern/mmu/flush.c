// SPDX-License-Identifier: GPL-2.0-only
/*
 * The flush protocol.  A CPU that is about to enter a guest announces it, executes a full barrier, and compares tlb_gen
 * with the generation that it flushed last (mmu_enter_guest()).  Who makes translations invalid zaps, bumps tlb_gen,
 * executes a full barrier, and looks at the announcements.  So either the CPU sees the new generation and flushes, or
 * we see the CPU and interrupt it.
 */
#include <linux/lockdep.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/smp.h>

#include "../stats.h"
#include "flush.h"

DEFINE_PER_CPU(struct dune_mmu *, dune_running_mmu);

static void do_nothing(void *unused)
{
}

static bool runs_guest_of(int cpu, void *mmu)
{
	return READ_ONCE(per_cpu(dune_running_mmu, cpu)) == mmu;
}

/* Interrupt every CPU that runs a guest of @mmu now, and wait until each has left it.  Preemption is off. */
static void kick_cpus(struct dune_mmu *mmu)
{
	int cpu;

	lockdep_assert_preemption_disabled();
	for_each_online_cpu(cpu) {
		if (runs_guest_of(cpu, mmu)) {
			dune_stat(STAT_KICKS);
			on_each_cpu_cond_mask(runs_guest_of, do_nothing, mmu, true, cpu_online_mask);
			return;
		}
	}
}

void mmu_wait_flushed(struct dune_mmu *mmu, u64 gen)
{
	s64 kicked = atomic64_read_acquire(&mmu->kicked_gen);

	if ((u64)kicked >= gen)
		return;
	lockdep_assert_irqs_enabled();
	/* Zaps and tlb_gen before the announcements; pairs with the entry into a guest. */
	smp_mb();
	preempt_disable();
	kick_cpus(mmu);
	preempt_enable();

	while ((u64)kicked < gen) {
		s64 old = atomic64_cmpxchg(&mmu->kicked_gen, kicked, gen);

		if (old == kicked)
			break;
		kicked = old;
	}
}

void dune_mmu_flush_all(struct dune_mmu *mmu)
{
	mmu_wait_flushed(mmu, atomic64_inc_return(&mmu->tlb_gen));
}
