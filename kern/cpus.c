// SPDX-License-Identifier: GPL-2.0-only
/* Following the CPUs as they come and go: hotplug, suspend, reboot. */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/percpu.h>
#include <linux/reboot.h>
#include <linux/suspend.h>

#include "cpus.h"
#include "enable.h"
#include "hw.h"

static enum cpuhp_state cpu_state;

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

/* The module is not loaded where a CPU cannot be enabled; but one that comes later comes all the same, for all else. */
static bool all_have_to = true;

/* A state of CPUHP_AP_ONLINE_DYN: taken down before KVM's. */
static int cpu_online_callback(unsigned int cpu)
{
	int error = enable_here();

	return all_have_to ? error : 0;
}

static int cpu_offline_callback(unsigned int cpu)
{
	disable_here(NULL);
	return 0;
}

/*
 * Before suspend, and before another system is loaded from disk: no guest runs from here to the end of it, on any CPU.
 */
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

int dune_cpus_init(void)
{
	int error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "dune:online", cpu_online_callback, cpu_offline_callback);

	if (error < 0)
		return error;
	cpu_state = error;
	all_have_to = false;
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
	return error;
}

void dune_cpus_exit(void)
{
	unregister_reboot_notifier(&reboot_notifier);
	unregister_pm_notifier(&pm_notifier);
	cpuhp_remove_state(cpu_state);	/* runs cpu_offline_callback() on each CPU */
}
