// SPDX-License-Identifier: MIT
/*
 * CPUs on which a boundary between ring 3 and ring 0 of the guest keeps nothing secret: by speculation ring 3 reads
 * ring 0's memory there.  Linux takes its own memory out of what user mode maps, or clears the CPU's buffers; libdune
 * does neither.  (doc/hardware.md)  An ordinary program's code.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/dune-ring3.h"
#include "launch/launch.h"

#define VULNERABILITIES	"/sys/devices/system/cpu/vulnerabilities/"

/* What Linux says where it does something against a bug.  An administrator who has it do nothing accepts such leaks. */
static const struct {
	const char *file, *says, *name;
} leaks[] = {
	/* L1TF, too: no CPU has it without Meltdown. */
	{ VULNERABILITIES "meltdown", "Mitigation", "Meltdown" },
	{ VULNERABILITIES "mds", "Clear CPU buffers", "MDS" },
};

const char *dune_ring3_leak(void)
{
	for (size_t i = 0; i < sizeof(leaks) / sizeof(leaks[0]); i++) {
		FILE *file = fopen(leaks[i].file, "re");
		char line[256];
		bool leaks_here = file && fgets(line, sizeof(line), file) && strstr(line, leaks[i].says);

		if (file)
			fclose(file);
		if (leaks_here)
			return leaks[i].name;
	}
	return NULL;
}

void __dune_launch_need_boundary(void)
{
	const char *asked_for = getenv(DUNE_LEAKY_CPU_VARIABLE), *leak = dune_ring3_leak();

	if (leak && !(asked_for && !strcmp(asked_for, "1")))
		__dune_launch_die(LAUNCH_FAILED, "by a bug of this CPU (%s) the program could read what libdune keeps "
				  "from it. " DUNE_LEAKY_CPU_VARIABLE "=1 in the environment runs it all the same",
				  leak);
}
