// SPDX-License-Identifier: GPL-2.0-only
/* Loading and unloading the module: all that begins and ends with it, in order. */
#include <linux/module.h>

#include "call.h"
#include "cpus.h"
#include "dev.h"
#include "enable.h"
#include "fpu.h"
#include "hw.h"
#include "mmu/mmu.h"
#include "spec.h"
#include "stats.h"
#include "vm.h"

static const struct dune_hw_ops * const vendors[] __initconst = { &vmx_ops, &svm_ops };

static int __init dune_init(void)
{
	int error;

	error = dune_hw_choose(vendors, ARRAY_SIZE(vendors));
	if (error)
		return error;
	error = dune_enable_acquire();
	if (error)
		return error;
	error = dune_hw->setup(&dune_hw_caps);
	if (error)
		goto release;
	error = dune_cpus_init();
	if (error)
		goto teardown;
	error = dune_spec_init();
	if (error)
		goto exit_cpus;
	dune_fpu_init();
	dune_mmu_setup();
	dune_stats_init();
	dune_calls_init();
	error = dune_dev_init();
	if (error)
		goto exit_stats;
	pr_info("ready, on %s%s\n", dune_hw->name, dune_enable_is_own() ? ", without KVM" : "");
	return 0;

exit_stats:
	dune_stats_exit();
	dune_spec_exit();
exit_cpus:
	dune_cpus_exit();
teardown:
	dune_hw->teardown();
release:
	dune_enable_release();
	return error;
}

static void __exit dune_exit(void)
{
	dune_dev_exit();
	dune_vm_synchronize();
	dune_stats_exit();
	dune_spec_exit();
	dune_cpus_exit();
	dune_hw->teardown();
	dune_enable_release();
}

module_init(dune_init);
module_exit(dune_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Safe user-level access to privileged CPU features");
MODULE_SOFTDEP("pre: kvm_intel kvm_amd");
