// SPDX-License-Identifier: MIT
/*
 * What the object of dune-run lacks: callbacks, and a main() (watched.c).  HR3.
 */
#include "launch/inside.h"

void preload_callbacks_begin(int fds)
{
	(void)fds;
}

void preload_main(const struct start *s)
{
	(void)s;
}
