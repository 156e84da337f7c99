// SPDX-License-Identifier: MIT
/*
 * The thread's mask of signals.  HR3; a seccomp filter of the program's lets it be set.
 */
#include "base/base.h"

HOT uint64_t __dune_signals_block(void)
{
	uint64_t all = ALL_SIGNALS, old = 0;

	set_mask(SIG_SETMASK, &all, &old);
	return old;
}

HOT void __dune_signals_restore(uint64_t mask)
{
	set_mask(SIG_SETMASK, &mask, NULL);
}
