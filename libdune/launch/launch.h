/* SPDX-License-Identifier: MIT */
/*
 * For programs that start others in Dune mode, or debug them (apps/run): all that they may use of libdune besides its
 * public headers.
 *
 *	base/program.h	what execve() of a file would start
 *	base/debug.h	what a debugger needs to know, with a version
 *
 * A program that others are to start in Dune mode is given LAUNCH_OBJECT: by LD_PRELOAD if it has a dynamic linker;
 * else the object is started in its place, with LOADER_ARGS arguments before the program's own (image.c).
 * The object takes out of the environment what is there for it.  Behind that lies the auxiliary vector, in pieces of
 * two words, which stays in its place: so an even number of variables must go.  A program that has no LD_PRELOAD of
 * its own gets two of them, or one and DUNE_DEBUG_VARIABLE, as the last of its environment.
 */
#ifndef LIBDUNE_LAUNCH_H
#define LIBDUNE_LAUNCH_H

#include "base/debug.h"
#include "base/program.h"

#define LAUNCH_OBJECT	"dune-preload.so"
/* In the environment: 1 has programs run in ring 0 of the guest, and all that they start. */
#define DUNE_RING0_VARIABLE	"DUNE_RUN_RING0="
#define LAUNCH_FAILED	125	/* exit status: Dune mode cannot be entered */

#endif /* LIBDUNE_LAUNCH_H */
