// SPDX-License-Identifier: GPL-2.0-only
/* The vendor's part that is in use. */
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "hw.h"

const struct dune_hw_ops *dune_hw __ro_after_init;
struct dune_hw_caps dune_hw_caps __ro_after_init;

DEFINE_STATIC_CALL_NULL(dune_hw_vcpu_load, dune_hw_vcpu_fn);
DEFINE_STATIC_CALL_NULL(dune_hw_vcpu_put, dune_hw_vcpu_fn);
DEFINE_STATIC_CALL_NULL(dune_hw_run, dune_hw_vcpu_fn);

DEFINE_PER_CPU(bool, dune_cpu_usable);

static int __init check_host(void)
{
	if (!boot_cpu_has(X86_FEATURE_FSGSBASE)) {
		pr_err("the FSGSBASE instructions are missing or switched off (nofsgsbase)\n");
		return -EOPNOTSUPP;
	}
#ifdef X86_FEATURE_FRED
	if (boot_cpu_has(X86_FEATURE_FRED)) {
		pr_err("FRED is in use, which is not supported yet: boot with fred=off\n");
		return -EOPNOTSUPP;
	}
#endif
	return 0;
}

static void __init use(const struct dune_hw_ops *ops)
{
	dune_hw = ops;
	static_call_update(dune_hw_vcpu_load, ops->vcpu_load);
	static_call_update(dune_hw_vcpu_put, ops->vcpu_put);
	static_call_update(dune_hw_run, ops->run);
}

int __init dune_hw_choose(const struct dune_hw_ops * const *vendors, unsigned int nr)
{
	int error = check_host();
	unsigned int i;

	if (error)
		return error;
	for (i = 0; i < nr; i++) {
		error = vendors[i]->check();
		if (error == -ENODEV)
			continue;
		if (!error)
			use(vendors[i]);
		return error;
	}
	pr_err("this CPU has no hardware virtualization that Dune can use\n");
	return -ENODEV;
}
