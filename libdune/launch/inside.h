/* SPDX-License-Identifier: MIT */
/*
 * What the object is made of (LAUNCH_OBJECT), and all that it uses of the rooms below: system calls, messages and
 * copies of base/base.h, dune_init() and dune_enter(), and what is declared here.
 *
 * It begins in one of two ways: loaded by the dynamic linker (preload.c), or as a loader (image.c).
 */
#ifndef LAUNCH_INSIDE_H
#define LAUNCH_INSIDE_H

#include <elf.h>

#include <linux/prctl.h>

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
void __dune_set_linker(int fd);
/*
 * enter.c: enter Dune mode with these registers, in ring 3; @debugged: as __dune_debug_begin().  Returns only -errno.
 */
int __dune_enter_ring3(const struct guest_regs *regs, bool debugged);
/*
 * filters.c: seccomp filters as text that the program is to begin with, @n of them; @size bytes of memory in all, which
 * goes when it does.
 */
void __dune_filters_inherit(char **texts, unsigned int n, unsigned long size);
/* debug.c: is this the process that a debugger has started?  @number: the value of DUNE_DEBUG_VARIABLE. */
bool __dune_debug_asked(const char *number);

/* ---- of the object ---- */

#define page_down(address)	((address) & -(unsigned long)PGSIZE)
#define page_up(address)	page_down((address) + PGSIZE - 1)

/* What the kernel has put on the stack of a new program. */
struct start {
	long *argc;
	char **argv, **envp;
	Elf64_auxv_t *auxv;
	char *env_start, *env_end;	/* the environment's strings; preload_clean_environment() moves their end */
};

/* start.c: @argc: where RSP is at the entry. */
void preload_find_start(struct start *s, long *argc);
unsigned long preload_string_end(const char *string);
/*
 * start.c: all of @map but the heap, the auxiliary vector and the file, for a program with these program headers;
 * returns where its last segment ends.  And have the kernel know it: 0 or -errno.
 */
unsigned long preload_describe(struct prctl_mm_map *map, const struct start *s, const Elf64_Phdr *segments,
			       unsigned int nr_segments, unsigned long bias);
long preload_set_map(const struct prctl_mm_map *map);

/* environment.c */
bool preload_starts_with(const char *text, const char *start);
/* What the environment says of how to run the program. */
struct wishes {
	bool debugged;
	bool ring0;
	bool no_dirty;		/* __dune_process.no_dirty */
	bool check;		/* __dune_process.check */
};
/* Take out what is there for this object; exec() puts it back.  @check: the program is checked, LD_PRELOAD its own. */
struct wishes preload_clean_environment(struct start *s, bool check);
/* begin.c: enter Dune mode, or end the process with a message. */
void preload_enter(struct wishes wishes);
void preload_fail(const char *what, int ret) __attribute__((noreturn));
/* begin.c: what dune_init() needs to know of a program that is started so. */
void preload_prepare(void);
/* begin.c: ... and to keep @count descriptors of a loader, from @fds on.  Returns the first. */
int preload_keep(int fds, int count);
/* monitor.c: put a copy of this object out of the program's reach, and enter Dune mode in ring 3. */
void preload_enter_ring3(bool debugged);
/* image.c: have pointers in a copy of this object lead to the copy at @base. */
void preload_relocate(unsigned long base);
/*
 * image.c: the first of the descriptors that a loader keeps (base/program.h), or -1.  In the copy, after dune_init():
 * keep them, and have callbacks called.  And the object was not started as a loader, but by somebody who wants its
 * main().  In watched.c; in the object of dune-run, which has neither callbacks nor main(), alone.c.
 */
extern int preload_kept_fds;
void preload_keep_fds(int fds);
void preload_main(const struct start *s);

#pragma GCC visibility pop

#endif /* LAUNCH_INSIDE_H */
