/* SPDX-License-Identifier: MIT */
/*
 * The CPUs that a test may use.  It numbers them from 0: of the machine's, it may not be given the first
 * (doc/emulators.md, "QEMU's first CPU").
 */
#ifndef CPUS_H
#define CPUS_H

#include <sched.h>

#include "check.h"

/* The mask that the process began with: taken at the first call, before which no thread may have changed its own. */
static const cpu_set_t *cpus_given(void)
{
	static cpu_set_t given;

	if (!CPU_COUNT(&given))
		DIE_UNLESS(!sched_getaffinity(0, sizeof(given), &given), "sched_getaffinity");
	return &given;
}

/* The calling thread stays on the test's CPU @n.  Returns the machine's number of it. */
__attribute__((unused)) static unsigned int cpus_stay_on(unsigned int n)
{
	unsigned int cpu = 0;
	cpu_set_t set;

	while (!CPU_ISSET(cpu, cpus_given()) || n--)
		DIE_UNLESS(++cpu < CPU_SETSIZE, "too few CPUs");
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	DIE_UNLESS(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
	return cpu;
}

#endif
