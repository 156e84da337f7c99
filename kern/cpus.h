/* SPDX-License-Identifier: GPL-2.0-only */
/* Each CPU that is online has the hardware switched on, and off before the CPU or the machine goes. */
#ifndef DUNE_CPUS_H
#define DUNE_CPUS_H

/* After the hardware was chosen and set up.  May sleep.  0 or -errno. */
int dune_cpus_init(void);
void dune_cpus_exit(void);

#endif
