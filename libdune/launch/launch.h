/* SPDX-License-Identifier: MIT */
/*
 * For programs that start others in Dune mode, or debug them (apps/run): all that they may use of libdune besides its
 * public headers.
 *
 *	base/program.h	what execve() of a file would start
 *	base/debug.h	what a debugger needs to know, with a version
 *	base/syscalls.h	what each system call does with its arguments
 *
 * A program that others are to start in Dune mode is given LAUNCH_OBJECT: by LD_PRELOAD if it has a dynamic linker;
 * else the object is started in its place, with LOADER_ARGS arguments before the program's own (image.c). So is any
 * program that is checked, but by a copy of the object that is no file (sealed.c).
 * The object takes out of the environment what is there for it.  Behind that lies the auxiliary vector, in pieces of
 * two words, which stays in its place: so an even number of variables must go.  A program that has no LD_PRELOAD of
 * its own gets two of them, or one and DUNE_DEBUG_VARIABLE, as the last of its environment.
 */
#ifndef LIBDUNE_LAUNCH_H
#define LIBDUNE_LAUNCH_H

#include <limits.h>
#include <stdbool.h>

#include "base/debug.h"
#include "base/program.h"
#include "base/syscalls.h"

#define LAUNCH_OBJECT	"dune-preload.so"
/* In the environment: 1 has programs run in ring 0 of the guest, and all that they start. */
#define DUNE_RING0_VARIABLE	"DUNE_RUN_RING0="
/* ... and that the kernel alone answers which pages were written (host/calls/pagemap.c). */
#define DUNE_NO_DIRTY_VARIABLE	"DUNE_RUN_NO_DIRTY="
#define LAUNCH_FAILED	125	/* exit status: Dune mode cannot be entered */

/* names.c: of each system call, or NULL. */
extern const char *const __dune_call_names[NR_SYSCALLS] __attribute__((visibility("hidden")));
/* Those that are ever made for a checked program. */
extern const bool __dune_call_is_checked[NR_SYSCALLS] __attribute__((visibility("hidden")));

/*
 * find.c: an ordinary program's code.  What fails ends the process, with a message and status 125 to 127.
 */
void __dune_launch_die(int status, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* The program as execvp() would find it; @path has PATH_MAX bytes. */
void __dune_launch_find(const char *name, char path[PATH_MAX]);
/* Can it be run so?  *@program: what to know of it, and for the loader its descriptor. */
void __dune_launch_check(const char *path, struct program *program, bool check);
/* execve() has failed with @error. */
void __dune_launch_refused(const char *path, const struct program *program, int error) __attribute__((noreturn));
/* Is this process in Dune mode already?  Else it may have the device. */
bool __dune_launch_inside(void);
/* The environment, with two more variables at its end. */
void __dune_launch_add_variables(const char *first, const char *second);
/* ... in which LD_PRELOAD names @object; @beside, or NULL: one more variable. */
void __dune_launch_environment(const char *object, const char *beside);
/* The arguments that @object is to be started with, as a loader; @setting: what follows the descriptor's number. */
char **__dune_launch_args(const char *object, const char *name, const struct program *program, char **args,
			  const char *setting);
/* leak.c: goes on where this CPU keeps what ring 0 has from ring 3, or its user has asked for it all the same. */
#define DUNE_LEAKY_CPU_VARIABLE	"DUNE_LEAKY_CPU"
void __dune_launch_need_boundary(void);
/* As execv(); @loader: a descriptor of what is to be executed instead of @path, or -1. */
void __dune_launch_exec(const char *path, int loader, char **argv);

/*
 * sealed.c: the image of the loader, made of the file @object, and descriptors that it is to find beside that, where
 * nothing of the program's can be.  Returns the image's; it is the first of those that a loader keeps (base/program.h).
 */
int __dune_launch_seal(const char *object, const int *others, int nr_others);

#endif /* LIBDUNE_LAUNCH_H */
