// SPDX-License-Identifier: GPL-2.0-only
/* What is done against which bug of the CPU, decided once; flushing the L1 data cache by hand. */
#include <linux/cache.h>
#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <asm/processor.h>

#include "spec.h"

struct dune_spec dune_spec __ro_after_init;

DEFINE_STATIC_KEY_FALSE(dune_spec_entry);
DEFINE_STATIC_KEY_FALSE(dune_spec_ibrs);
DEFINE_STATIC_KEY_FALSE(dune_spec_ibpb);
DEFINE_STATIC_KEY_FALSE(dune_spec_ibpb_user);

/* SDM, "Cache Control": no L1 data cache is larger; twice its size displaces all of it. */
#define L1D_ORDER	4
static unsigned long l1d_pages;

int dune_spec_init(void)
{
	struct dune_spec *spec = &dune_spec;

	if (cpu_mitigations_off())
		return 0;
	spec->verw = dune_cpu_has_bug(X86_BUG_MDS) || dune_cpu_has_bug(X86_BUG_TAA) ||
		     dune_cpu_has_bug(X86_BUG_MMIO_STALE_DATA) || dune_cpu_has_bug(X86_BUG_RFDS) ||
		     dune_cpu_has_bug(X86_BUG_TSA);
	spec->flush_l1d = dune_cpu_has_bug(X86_BUG_L1TF);
	spec->flush_l1d_by_msr = boot_cpu_has(X86_FEATURE_FLUSH_L1D);
	spec->ibrs = dune_cpu_has(X86_FEATURE_KERNEL_IBRS);
	spec->ibpb = boot_cpu_has(X86_FEATURE_IBPB);
	spec->ibpb_user = spec->ibpb && dune_cpu_has_bug(X86_BUG_VMSCAPE);
	if (spec->flush_l1d && !spec->flush_l1d_by_msr) {
		l1d_pages = __get_free_pages(GFP_KERNEL | __GFP_ZERO, L1D_ORDER);
		if (!l1d_pages)
			return -ENOMEM;
	}
	if (spec->verw || spec->flush_l1d)
		static_branch_enable(&dune_spec_entry);
	if (spec->ibrs)
		static_branch_enable(&dune_spec_ibrs);
	if (spec->ibpb)
		static_branch_enable(&dune_spec_ibpb);
	if (spec->ibpb_user)
		static_branch_enable(&dune_spec_ibpb_user);
	if (spec->flush_l1d && cpu_smt_possible())
		pr_warn_once("L1TF, and SMT is on: a guest may read what a sibling thread has in its L1 data cache\n");
	return 0;
}

void dune_spec_exit(void)
{
	if (l1d_pages)
		free_pages(l1d_pages, L1D_ORDER);
}

/* Interrupts are off. */
void dune_flush_l1d(void)
{
	unsigned long size = PAGE_SIZE << L1D_ORDER, i;

	lockdep_assert_irqs_disabled();
	if (dune_spec.flush_l1d_by_msr) {
		write_msr(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
		return;
	}
	/* Fill the TLB first, so that the second round runs at the speed of the cache. */
	for (i = 0; i < size; i += PAGE_SIZE)
		(void)READ_ONCE(*(u8 *)(l1d_pages + i));
	for (i = 0; i < size; i += 64)
		(void)READ_ONCE(*(u8 *)(l1d_pages + i));
	asm volatile("lfence" : : : "memory");
}
