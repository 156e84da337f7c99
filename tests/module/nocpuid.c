// SPDX-License-Identifier: GPL-2.0-only
/*
 * For a copy of the module (scripts/module --with), on CPUs without CPUID faulting, as the emulators have: N written to
 * /sys/module/dune/parameters/cpuid is ARCH_SET_CPUID of 0 for the thread that writes, and Y of 1. Outside, the CPU
 * executes CPUID all the same. In a guest it always exits, and the module decides.
 */
#include <linux/moduleparam.h>
#include <linux/sched.h>

static int set_cpuid(const char *text, const struct kernel_param *param)
{
	bool on;
	int error = kstrtobool(text, &on);

	if (error)
		return error;
	if (on)
		clear_thread_flag(TIF_NOCPUID);
	else
		set_thread_flag(TIF_NOCPUID);
	return 0;
}

static const struct kernel_param_ops ops = { .set = set_cpuid };

module_param_cb(cpuid, &ops, NULL, 0200);
