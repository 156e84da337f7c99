// SPDX-License-Identifier: MIT
/*
 * What the object of dune-run lacks: callbacks, and a main() (watched.c).  HR3.
 */
#include "launch/inside.h"

void preload_keep_fds(int fds)
{
	preload_keep(fds, LOADER_FD_IMAGE + 1);
}

void preload_main(const struct start *s)
{
	(void)s;
}
