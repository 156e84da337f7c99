/* SPDX-License-Identifier: MIT */
/*
 * The three ways in which a program's system calls are made: as an ordinary process; in Dune mode by HR3, once DUNE_RUN
 * has returned (the trampoline); in Dune mode by DUNE_RUN itself (doc/design/calls.md).  The same must come of each.
 */
#ifndef TESTS_WAYS_H
#define TESTS_WAYS_H

#include <dune.h>

#include "check.h"
#include "mode.h"
#include "module.h"

enum way { WAY_OUTSIDE, WAY_TRAMPOLINE, WAY_INSIDE, WAYS };

static const char *const way_names[] = { "outside", "by the trampoline", "made inside" };

/* For processes that begin from now on. */
static void way_choose(enum way way)
{
	module_set_parameter("calls", way == WAY_INSIDE ? "1" : "0");
}

/* In a process that has begun outside. */
static void way_enter(enum way way)
{
	if (way == WAY_OUTSIDE)
		return;
	dune_set_option(DUNE_OPT_QUIET, true);
	DIE_UNLESS(!mode_enter(), "dune_enter");
}

#endif
