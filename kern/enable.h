/* SPDX-License-Identifier: GPL-2.0-only */
/* Virtualization is switched on: by KVM, which is made to keep it so, or by us where there is no KVM. */
#ifndef DUNE_ENABLE_H
#define DUNE_ENABLE_H

#include <linux/types.h>

/* For as long as the module is loaded.  May sleep.  0 or -errno, after a line in the log. */
int dune_enable_acquire(void);
void dune_enable_release(void);
bool dune_enable_is_own(void);

/* On this CPU, after acquire.  Interrupts are off.  0 or -errno, after a line in the log. */
int dune_enable_here(void);
void dune_disable_here(void);

#endif
