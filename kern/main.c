// SPDX-License-Identifier: GPL-2.0-only
/* Loading and unloading the module. */
#include <linux/module.h>

#include "dev.h"
#include "enable.h"
#include "fpu.h"
#include "hw.h"
#include "mmu/mmu.h"
#include "spec.h"
#include "stats.h"
#include "vm.h"

static int __init dune_init(void)
{
	int error;

	error = dune_hw_init();
	if (error)
		return error;
	error = dune_spec_init();
	if (error)
		goto exit_hw;
	dune_fpu_init();
	dune_mmu_setup();
	dune_stats_init();
	error = dune_dev_init();
	if (error)
		goto exit_stats;
	pr_info("ready, on %s%s\n", dune_hw->name, dune_enable_is_own() ? ", without KVM" : "");
	return 0;

exit_stats:
	dune_stats_exit();
	dune_spec_exit();
exit_hw:
	dune_hw_exit();
	return error;
}

static void __exit dune_exit(void)
{
	dune_dev_exit();
	dune_vm_synchronize();
	dune_stats_exit();
	dune_spec_exit();
	dune_hw_exit();
}

module_init(dune_init);
module_exit(dune_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Safe user-level access to privileged CPU features");
MODULE_SOFTDEP("pre: kvm_intel kvm_amd");
