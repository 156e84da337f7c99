/* SPDX-License-Identifier: MIT */
/*
 * Entering Dune mode, for tests that hold in both modes of dune_init(): with "precise" as the first argument in
 * that one.
 */
#ifndef TESTS_MODE_H
#define TESTS_MODE_H

#include <string.h>

#include <dune.h>

static bool mode_precise __attribute__((unused));

/* Before main(), which need not know of it; glibc passes the arguments. */
__attribute__((constructor)) static void mode_find(int argc, char **argv)
{
	mode_precise = argc > 1 && !strcmp(argv[1], "precise");
}

__attribute__((unused)) static int mode_enter(void)
{
	int ret = dune_init(!mode_precise);

	return ret ? ret : dune_enter();
}

#endif
