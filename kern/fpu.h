/* SPDX-License-Identifier: GPL-2.0-only */
/* Vector registers: those of the thread are in the CPU while its guest runs. */
#ifndef DUNE_FPU_H
#define DUNE_FPU_H

#include <linux/jump_label.h>

/* Set where dune_fpu_load() may ever say *ours. */
DECLARE_STATIC_KEY_FALSE(dune_fpu_by_module);

void dune_fpu_init(void);

/*
 * The thread has TIF_NEED_FPU_LOAD: load its registers.  Interrupts are off.  False: only the return to user mode can
 * do it, so go there and come again.  *ours becomes true if dune_fpu_give_back() must stand before that return.
 */
bool dune_fpu_load(bool *ours);
void dune_fpu_give_back(void);

#endif
