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

/* What this kernel says of the CPU, and of its administrator's choices. */
static void gather(struct dune_spec_facts *facts)
{
	*facts = (struct dune_spec_facts) {
		.mitigations_off = cpu_mitigations_off(),
		.bug_mds = dune_cpu_has_bug(X86_BUG_MDS),
		.bug_taa = dune_cpu_has_bug(X86_BUG_TAA),
		.bug_rfds = dune_cpu_has_bug(X86_BUG_RFDS),
		.bug_tsa = dune_cpu_has_bug(X86_BUG_TSA),
		.bug_mmio = dune_cpu_has_bug(X86_BUG_MMIO_STALE_DATA),
		.bug_l1tf = dune_cpu_has_bug(X86_BUG_L1TF),
		.bug_vmscape = dune_cpu_has_bug(X86_BUG_VMSCAPE),
		.bug_ibpb_no_ret = dune_cpu_has_bug(X86_BUG_IBPB_NO_RET),
		.verw_told = X86_FEATURE_CLEAR_CPU_BUF >= 0,
		.verw = dune_cpu_has(X86_FEATURE_CLEAR_CPU_BUF) || dune_cpu_has(X86_FEATURE_CLEAR_CPU_BUF_VM),
		.user_told = X86_FEATURE_IBPB_EXIT_TO_USER >= 0,
		.user = dune_cpu_has(X86_FEATURE_IBPB_EXIT_TO_USER),
		.kernel_ibrs = dune_cpu_has(X86_FEATURE_KERNEL_IBRS),
		.has_ibpb = boot_cpu_has(X86_FEATURE_IBPB),
		.use_ibpb = boot_cpu_has(X86_FEATURE_USE_IBPB),
		.ibpb_on_exit = dune_cpu_has(X86_FEATURE_ENTRY_IBPB) || dune_cpu_has(X86_FEATURE_IBPB_ON_VMEXIT),
		.has_flush_l1d = boot_cpu_has(X86_FEATURE_FLUSH_L1D),
	};
#ifdef DUNE_HAVE_MMIO_STALE_DATA_CLEAR
	facts->mmio_told = true;
	facts->mmio = static_branch_unlikely(&mmio_stale_data_clear);
#endif
#ifdef DUNE_HAVE_L1TF_MITIGATION
	facts->l1tf_told = true;
	facts->l1tf = l1tf_mitigation != L1TF_MITIGATION_OFF;
#endif
}

int dune_spec_init(void)
{
	struct dune_spec *spec = &dune_spec;
	struct dune_spec_facts facts;

	gather(&facts);
	dune_spec_choose(&facts, spec);
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
