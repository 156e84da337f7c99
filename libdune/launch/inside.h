/* SPDX-License-Identifier: MIT */
/*
 * What the object is made of (LAUNCH_OBJECT), and all that it uses of the rooms below: system calls, messages and
 * copies of base/base.h, dune_init() and dune_enter(), and what is declared here.
 *
 * It begins in one of two ways: loaded by the dynamic linker (preload.c), or as a loader (image.c).
 */
#ifndef LAUNCH_INSIDE_H
#define LAUNCH_INSIDE_H

#include "launch/launch.h"
#include "memory/pte.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

/* ---- of the rooms below ---- */

/* exec.c: have programs started by exec() load the object at @path first; a static one is loaded by it. */
void __dune_set_preload(const char *path);
/*
 * exec.c: the process runs the program that @fd is open on, whatever file the kernel believes it does; -1: the kernel
 * knows.  Returns its path, or "".
 */
const char *__dune_set_loaded(int fd);
/*
 * enter.c: enter Dune mode with these registers, in ring 3; @debugged: as __dune_debug_begin().  Returns only -errno.
 */
int __dune_enter_ring3(const struct guest_regs *regs, bool debugged);
/* debug.c: from now on exceptions stop this process for its debugger. */
void __dune_debug_begin(const struct dune_thread *t);

/* ---- of the object ---- */

/* environment.c */
bool preload_starts_with(const char *text, const char *start);
/* What the environment says of how to run the program. */
struct wishes {
	bool debugged;
	bool ring0;
};
/* Take this object out of LD_PRELOAD in @envp; exec() puts it back. */
struct wishes preload_clean_environment(char **envp);
/* preload.c: enter Dune mode, or end the process with a message. */
void preload_enter(struct wishes wishes);
void preload_fail(const char *what, int ret) __attribute__((noreturn));
/* preload.c: what dune_init() needs to know of a program that is started so. */
void preload_prepare(void);
/* monitor.c: put a copy of this object out of the program's reach, and enter Dune mode in ring 3. */
void preload_enter_ring3(bool debugged);
/* image.c: have pointers in a copy of this object lead to the copy at @base. */
void preload_relocate(unsigned long base);

#pragma GCC visibility pop

#endif /* LAUNCH_INSIDE_H */
