/* SPDX-License-Identifier: MIT */
/*
 * What the object is made of (LAUNCH_OBJECT), and all that it uses of the rooms below: system calls, messages and
 * copies of base/base.h, dune_init() and dune_enter(), and what is declared here.
 *
 * It begins in one of two ways: loaded by the dynamic linker (preload.c), or as a loader (image.c).
 */
#ifndef LAUNCH_INSIDE_H
#define LAUNCH_INSIDE_H

#include "base/base.h"
#include "launch/launch.h"

#pragma GCC visibility push(hidden)

/* ---- of the rooms below ---- */

/* exec.c: have programs started by exec() load the object at @path first; a static one is loaded by it. */
void __dune_set_preload(const char *path);
/*
 * exec.c: the process runs the program that @fd is open on, whatever file the kernel believes it does; -1: the kernel
 * knows.  Returns its path, or "".
 */
const char *__dune_set_loaded(int fd);
/* debug.c: from now on exceptions stop this process for its debugger.  GR0. */
void __dune_debug_begin(void);

/* ---- of the object ---- */

/* environment.c */
bool preload_starts_with(const char *text, const char *start);
/* Take this object out of LD_PRELOAD in @envp; exec() puts it back.  Returns whether the program is debugged. */
bool preload_clean_environment(char **envp);
/* preload.c: enter Dune mode, or end the process with a message. */
void preload_enter(bool debugged);

#pragma GCC visibility pop

#endif /* LAUNCH_INSIDE_H */
