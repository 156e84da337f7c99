/* SPDX-License-Identifier: MIT */
/*
 * HR3: system calls of the guest's that are not simply forwarded.
 */
#ifndef LIBDUNE_CALLS_H
#define LIBDUNE_CALLS_H

#include "base/syscalls.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

/*
 * HR3: each does a system call of the guest's; the result goes into its RAX.  Or it returns what is no result: the
 * trampoline is to make the call, where a signal finds it and it can wait for as long as it likes.
 */
#define FORWARD_CALL		(-0x7fffffffffffffffL - 1)
extern syscall_fn __dune_syscall_table[NR_SYSCALLS];

/* output.c */
long __dune_output_check(struct dune_thread *t);
void __dune_output_mark(struct dune_thread *t);
long __dune_sys_look(struct dune_thread *t);
void __dune_outputs_begin(void);

/* listing.c */
void __dune_hide_descriptor(struct dune_thread *t);

/* seccomp.c */
long __dune_set_strict(struct dune_thread *t);
long __dune_set_filter(struct dune_thread *t, __u64 *arg);
bool __dune_strict_allows(unsigned int nr);
void __dune_strict_kill(struct dune_thread *t);

/* dispatch.c */
long __dune_sys_dispatch(struct dune_thread *t);
bool __dune_dispatches(const struct dune_thread *t);
void __dune_dispatch_clear(struct dune_thread *t);
/* Have the trampoline forward nothing without a look, or again. */
void __dune_watch(struct dune_thread *t);

long __dune_forward(struct dune_thread *t);

/* clone.c */
void __dune_thread_main(struct dune_thread *t);
long __dune_sys_clone(struct dune_thread *t);
long __dune_sys_clone3(struct dune_thread *t);
long __dune_sys_fork(struct dune_thread *t);
long __dune_sys_vfork(struct dune_thread *t);
long __dune_sys_exit(struct dune_thread *t);

/* exec.c */
long __dune_sys_execve(struct dune_thread *t);
long __dune_sys_execveat(struct dune_thread *t);
void __dune_exec_end(struct dune_thread *t);
void __dune_exec_forget(struct dune_thread *t);
/* Have programs started by exec() load the object at @path first; a static one is loaded by it. */
void __dune_set_preload(const char *path);
/*
 * The process runs the program that @fd is open on, whatever file the kernel believes it does; -1: the kernel
 * knows.  Returns its path, or "".
 */
const char *__dune_set_loaded(int fd);

#pragma GCC visibility pop

#endif /* LIBDUNE_CALLS_H */
