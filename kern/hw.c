// SPDX-License-Identifier: GPL-2.0-only
/* Choosing the vendor's part, and following the CPUs as they come and go. */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/reboot.h>
#include <linux/suspend.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "enable.h"
#include "hw.h"

const struct dune_hw_ops *dune_hw __ro_after_init;
struct dune_hw_caps dune_hw_caps __ro_after_init;

DEFINE_STATIC_CALL_NULL(dune_hw_vcpu_load, dune_hw_vcpu_fn);
DEFINE_STATIC_CALL_NULL(dune_hw_vcpu_put, dune_hw_vcpu_fn);
DEFINE_STATIC_CALL_NULL(dune_hw_run, dune_hw_vcpu_fn);

static enum cpuhp_state cpu_state;
DEFINE_PER_CPU(bool, dune_cpu_usable);

static const struct dune_hw_ops * const vendors[] = { &vmx_ops, &svm_ops };

/* ---- CPUs come and go --------------------------------------------------- */

static int enable_here(void)
{
	unsigned long flags;
	int error;

	local_irq_save(flags);
	error = dune_enable_here();
	this_cpu_write(dune_cpu_usable, !error);
	local_irq_restore(flags);
	return error;
}

/* Where it fails, the log says so and the CPU stays unusable. */
static void enable_each(void *unused)
{
	enable_here();
}

static void disable_here(void *unused)
{
	unsigned long flags;

	local_irq_save(flags);
	this_cpu_write(dune_cpu_usable, false);
	dune_hw->cpu_disable();
	dune_disable_here();
	local_irq_restore(flags);
}

/* A state of CPUHP_AP_ONLINE_DYN: taken down before KVM's. */
static int cpu_online_callback(unsigned int cpu)
{
	return enable_here();
}

static int cpu_offline_callback(unsigned int cpu)
{
	disable_here(NULL);
	return 0;
}

/* Before suspend, and before another system is loaded from disk: no guest runs from here to the end of it, on any CPU. */
static int pm_callback(struct notifier_block *block, unsigned long event, void *unused)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		on_each_cpu(disable_here, NULL, 1);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		on_each_cpu(enable_each, NULL, 1);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pm_notifier = { .notifier_call = pm_callback };

static int reboot_callback(struct notifier_block *block, unsigned long event, void *unused)
{
	on_each_cpu(disable_here, NULL, 1);
	return NOTIFY_DONE;
}

/* Before KVM's, whose priority is 0. */
static struct notifier_block reboot_notifier = {
	.notifier_call = reboot_callback,
	.priority = INT_MAX,
};

/* ---- The module's life --------------------------------------------------- */

static int choose_vendor(void)
{
	unsigned int i;
	int error = -ENODEV;

	for (i = 0; i < ARRAY_SIZE(vendors); i++) {
		error = vendors[i]->check();
		if (error == -ENODEV)
			continue;
		if (!error)
			dune_hw = vendors[i];
		return error;
	}
	pr_err("this CPU has no hardware virtualization that Dune can use\n");
	return error;
}

int dune_hw_init(void)
{
	int error;

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
	error = choose_vendor();
	if (error)
		return error;
	error = dune_enable_acquire();
	if (error)
		return error;
	error = dune_hw->setup(&dune_hw_caps);
	if (error)
		goto release;
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "dune:online", cpu_online_callback,
				  cpu_offline_callback);
	if (error < 0)
		goto teardown;
	cpu_state = error;
	static_call_update(dune_hw_vcpu_load, dune_hw->vcpu_load);
	static_call_update(dune_hw_vcpu_put, dune_hw->vcpu_put);
	static_call_update(dune_hw_run, dune_hw->run);
	error = register_pm_notifier(&pm_notifier);
	if (error)
		goto remove_state;
	error = register_reboot_notifier(&reboot_notifier);
	if (error)
		goto unregister_pm;
	return 0;

unregister_pm:
	unregister_pm_notifier(&pm_notifier);
remove_state:
	cpuhp_remove_state(cpu_state);
teardown:
	dune_hw->teardown();
release:
	dune_enable_release();
	return error;
}

void dune_hw_exit(void)
{
	unregister_reboot_notifier(&reboot_notifier);
	unregister_pm_notifier(&pm_notifier);
	cpuhp_remove_state(cpu_state);	/* runs cpu_offline_callback() on each CPU */
	dune_hw->teardown();
	dune_enable_release();
}
