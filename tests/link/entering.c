// SPDX-License-Identifier: MIT
/* A library whose constructor enters Dune mode: for tests/link/unloading.c. */
#include <stdio.h>

#include <dune.h>

__attribute__((constructor)) static void enter(void)
{
	int error = dune_init_and_enter();

	if (error)
		printf("cannot enter Dune mode: %d\n", error);
}

int is_inside(void);
int is_inside(void)
{
	return dune_in_dune_mode();
}
