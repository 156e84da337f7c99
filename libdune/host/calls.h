/* SPDX-License-Identifier: MIT */
/*
 * HR3: system calls of the guest's that are not simply forwarded.
 */
#ifndef LIBDUNE_CALLS_H
#define LIBDUNE_CALLS_H

#include <linux/openat2.h>

#include "base/syscalls.h"
#include "memory/memory.h"

#pragma GCC visibility push(hidden)

/*
 * HR3: each does a system call of the guest's; the result goes into its RAX.  Or it returns what is no result: the
 * trampoline is to make the call, where a signal finds it and it can wait for as long as it likes; or the guest makes
 * it again.
 */
#define FORWARD_CALL		(-0x7fffffffffffffffL - 1)
#define CALL_AGAIN		(FORWARD_CALL + 1)
/* Written by __dune_set_function() alone. */
extern syscall_fn __dune_syscall_table[NR_SYSCALLS];
/* Which calls the engine may make itself (__dune_engine_allow()): what has no function, and is not CALL_SLOW. */
extern uint8_t __dune_calls_inside[NR_SYSCALLS];
/* Give @nr a function, which the engine must not pass by; also while other threads make calls. */
void __dune_set_function(unsigned int nr, syscall_fn function);

/* ---- uaccess.c ---- */

/* A copy of memory that the guest has elsewhere, for the kernel. */
struct copy {
	struct copy *next;
	const uint64_t *place;	/* the pointer that leads to it now, and to @va before; in a copy, or an argument */
	uint64_t va, size;
	bool maybe;		/* what cannot be copied back is left out */
	bool sparse;		/* what was there before lies behind it: only what has changed is copied back */
	char data[] __attribute__((aligned(16)));
};

/* A call that the guest is to make again, after a fault. */
struct repeat {
	uint64_t rip, rsp, nr, ist;
	uint64_t page;		/* where the fault was, in pages that the call uses */
	uint64_t farthest;
	uint32_t tries;		/* since it was there */
};

#define HELD_MAX	8

/* An open, as openat2() has it. */
struct wanted {
	long dirfd;
	const char *path;
	struct open_how how;
};

/* What is known of a thread's call; in its area. */
struct call_state {
	struct call_fault fault;
	struct repeat repeats[4];
	unsigned int next_repeat;
	bool moved;		/* the kernel gets these registers instead of the guest's: */
	struct guest_regs regs;
	struct copy *copies;
	struct chunk *chunks;	/* memory for them that was mapped */
	uint64_t free, end;	/* where there is room for more */
	struct open_how how;	/* of a checked program's open() */
	struct wanted wanted;	/* ... and what that is, where the kernel was given another path; or no path */
	unsigned int nr_held;	/* pages of the pool whose addresses the kernel has */
	struct page *held[HELD_MAX];
};

_Static_assert(sizeof(struct call_state) <= PAGE_SIZE, "it has a page");

static inline struct call_state *call_state(const struct dune_thread *t)
{
	return (struct call_state *)(thread_area(t) + AREA_CALL);
}

/* What the kernel was given for the last call that was looked at. */
static inline const struct guest_regs *regs_of_call(const struct dune_thread *t)
{
	return t->tracked && call_state(t)->moved ? &call_state(t)->regs : t->vcpu.regs;
}

/* A look at all memory that a call uses. */
struct access {
	struct dune_thread *t;
	bool moving;		/* copies are made */
	bool elsewhere;		/* ... have to be */
	bool unknown;		/* ... of what nobody can tell where it is */
	bool copies;		/* of what is not only read or written: a checked program's */
	bool strings;		/* ... and of strings */
	uint32_t length;	/* what was read last of how long something is */
	uint64_t page;		/* so many pages were looked at */
	uint64_t skip;		/* these were before */
	uint64_t va;		/* of a fault */
	uint32_t error;
	bool cow;		/* a copy on write would do */
};

#define UNKNOWN_PLACE	(-ENXIO)	/* where the process has it cannot be told: it is -EFAULT for the program */
#define NEEDS_FAULT	1	/* no result either: the access in struct access is to be made by the guest */

#define PLACE_WRITE	1
#define PLACE_FRESH	2	/* what is there is of no use */
#define PLACE_MAYBE	4	/* it may be left out */
#define PLACE_MOVE	8	/* copy it if anything is copied: there are pointers in it */
#define PLACE_SAME	16	/* no copy will do */
#define PLACE_READ	32	/* what may be left out is only what is written */
#define PLACE_SPARSE	64	/* the kernel writes to some of it, and other threads may to the rest */

/* *@va becomes where the kernel finds the @n bytes that the guest has there.  0, -errno or NEEDS_FAULT; likewise: */
long __dune_place(struct access *a, uint64_t *va, uint64_t n, unsigned int how);
long __dune_place_word(struct access *a, uint64_t *va, bool write);
long __dune_place_string(struct access *a, uint64_t *va, uint64_t max);
long __dune_refuse_elsewhere(struct access *a, uint64_t va, uint64_t n);
/* Can all of it be read? */
bool __dune_may_read(const struct access *a, uint64_t va, uint64_t n);
/* Copy between libdune's memory and the process's, where an access may fail: false.  No other byte is touched. */
bool __dune_copy_safely(struct dune_thread *t, void *to, const void *from, uint64_t n);
/* Copy @n bytes from the guest's @va, or to it. */
long __dune_copy_through(struct access *a, uint64_t va, void *buffer, uint64_t n, bool write);
/* Copy back the first @n bytes of what lies at @offset in a copy. */
long __dune_copy_back(struct access *a, struct copy *c, uint64_t offset, uint64_t n);
/* If the word at @word, in memory of the program's, is *@old, it becomes @new; *@old what it was.  false: a fault. */
bool __dune_exchange_safely(struct dune_thread *t, uint64_t word, uint32_t *old, uint32_t new);
/* The copy in which @address lies; NULL. */
struct copy *__dune_copy_of(const struct call_state *s, uint64_t address);
struct repeat *__dune_call_repeated(const struct dune_thread *t);
bool __dune_call_refused(const struct dune_thread *t, struct repeat *repeat);
/* Ends NEEDS_FAULT: CALL_AGAIN or -EFAULT. */
long __dune_call_fault(struct access *a);
void __dune_call_state_clear(struct dune_thread *t);
/*
 * Memory for what the kernel gets in place of the program's, where a checked program cannot reach it: at least *@size
 * bytes, which becomes what it is.  Its address; -errno, -E2BIG if there is never so much.
 */
long __dune_call_memory_get(uint64_t *size);
/* @t had it, and is perhaps dead: was it still its? */
bool __dune_call_memory_put(const struct dune_thread *t, unsigned long at, uint64_t size);
/* PRIVATE_COPY_IN and _OUT: 0, -EFAULT or CALL_AGAIN. */
long __dune_copy_for_guest(struct dune_thread *t, uint64_t to, uint64_t from, uint64_t n);

/* ---- operands.c ---- */

/* After a call that was looked at before: its result is in RAX. */
void __dune_output_mark(struct dune_thread *t);
/* Once calls are looked at: HR3 has written there. */
void __dune_mark_written(struct dune_thread *t, uint64_t start, uint64_t length);
/* The program's break is there, when calls begin to be looked at. */
void __dune_break_is(uint64_t now);
void __dune_mark_call(struct dune_thread *t, const struct guest_regs *r);
syscall_fn __dune_add_function(unsigned int nr, syscall_fn function);
long __dune_sys_look(struct dune_thread *t, struct guest_regs *r);
void __dune_track_calls(void);
/* Before a checked program runs: from now on each call is looked at, and none that is not described is made. */
void __dune_check_calls(void);

/* check.c: of a checked program's call, whose operands were looked at; its result, or FORWARD_CALL: go on. */
long __dune_check(struct dune_thread *t, struct guest_regs *r);
/* The kernel has opened for it, with @result: what the program is told. */
long __dune_open_again(struct dune_thread *t, long result);

/* What a call that opens is to open: @r leads to copies.  0 or -errno. */
long __dune_open_wanted(const struct guest_regs *r, unsigned int nr, struct wanted *w);
/* Open an absolute path; but not what may be the memory of a process, whatever its name says. */
long __dune_open_by_text(const char *path, const struct open_how *how);
bool __dune_is_name_of_memory(const char *path);

/*
 * self.c: of calls that name the link by which a program finds its own file, if the kernel knows another one.  Instead
 * of @path, a copy: that, or the file's name.  NULL: the path at @va is another.  The result of a checked program's
 * call that names a file and does not open it, or FORWARD_CALL.
 */
const char *__dune_self_path(const char *path);
const char *__dune_self_at(uint64_t va);
long __dune_check_self(struct dune_thread *t, const struct guest_regs *r);

/* limits.c: RLIMIT_NOFILE as a checked program is to see it; the call's result, or FORWARD_CALL. */
long __dune_check_limit(const struct guest_regs *r, unsigned int nr);

/* robust.c: the list that the kernel is not told of. */
long __dune_robust_set(struct dune_thread *t, uint64_t list, uint64_t size);
long __dune_robust_get(struct dune_thread *t, uint64_t pid, uint64_t list, uint64_t size);
/* ... at the thread's end. */
void __dune_robust_end(struct dune_thread *t);

/* listing.c */
void __dune_hide_descriptor(struct dune_thread *t);

/* mappings.c: of ranges with a hole where libdune's memory is */
long __dune_sys_range_through(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_range_up_to(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_range_whole(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_munmap(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_mprotect(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_mmap(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_mremap(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_shmat(struct dune_thread *t, struct guest_regs *r);
long __dune_set_mm(const struct guest_regs *r);
long __dune_set_vma(const struct guest_regs *r);

bool __dune_is_ours(unsigned long address);

/* maps.c: once the program is in ring 3, what it opens may be its memory map */
void __dune_filter_maps(void);
void __dune_filter_map(const struct dune_thread *t, long fd);
/*
 * The name of the file that @fd is open on, if that is one of a process in /proc, or NULL; *@own: the process has this
 * memory.  @path: @size bytes.
 */
const char *__dune_process_file(int fd, char *path, size_t size, bool *own);

/* pagemap.c */
#define LETTERS(a, b, c, d)	((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
void __dune_pagemap_begin(void);
void __dune_pagemap_opened(long fd, uint32_t letters);
void __dune_pagemap_received(struct dune_thread *t);
void __dune_pagemap_forked(void);

/* ptrace.c */
long __dune_sys_ptrace(struct dune_thread *t, struct guest_regs *r);
/* mlock.c */
long __dune_sys_mlockall(struct dune_thread *t, struct guest_regs *r);

/* seccomp.c */
long __dune_set_strict(struct dune_thread *t);
long __dune_set_filter(struct dune_thread *t, const struct guest_regs *r, __u64 *arg);
bool __dune_strict_allows(unsigned int nr);
void __dune_strict_kill(struct dune_thread *t);

/* filters.c: seccomp() and prctl() of a checked program. */
long __dune_filters_seccomp(struct dune_thread *t, const struct guest_regs *r);
long __dune_filters_prctl(struct dune_thread *t, const struct guest_regs *r);
/* A call of @t's, which has filters: true, and there is nothing more to be done. */
bool __dune_filters_refuse(struct dune_thread *t, struct guest_regs *r);
void __dune_filters_strict_kill(struct dune_thread *t) __attribute__((noreturn));
/* @child is about to be made. */
void __dune_filters_clone(struct dune_thread *child, const struct dune_thread *parent, bool same_process);
/* For execve(): how many there are, with how many bytes of text; the texts go to @to, where they end is returned. */
unsigned int __dune_filters_count(const struct dune_thread *t, uint64_t *size);
char *__dune_filters_write(const struct dune_thread *t, char **pointers, char *to);
/* The loader has found these texts, in @size bytes of memory; the first thread begins with them. */
void __dune_filters_inherit(char **texts, unsigned int n, unsigned long size);
void __dune_filters_begin(struct dune_thread *t);

/* dispatch.c */
long __dune_sys_dispatch(struct dune_thread *t, struct guest_regs *r);
bool __dune_dispatches(const struct dune_thread *t);
void __dune_dispatch_clear(struct dune_thread *t);
/* Have the trampoline forward nothing without a look, or again. */
void __dune_watch(struct dune_thread *t);
void __dune_calls_allow(const struct dune_thread *t);

long __dune_forward(const struct guest_regs *r);

/*
 * tid.c: clear the word by which others wait for the end of @t: nothing of it is used any more but its host stack.
 * And the flags by which the kernel is to make @child, for which @t has asked with @flags and @va.
 */
void __dune_tid_word_end(struct dune_thread *t);
uint64_t __dune_tid_word_for_child(struct dune_thread *t, struct dune_thread *child, uint64_t flags, uint64_t va);
long __dune_sys_set_tid_address(struct dune_thread *t, struct guest_regs *r);

/* clone.c */
void __dune_thread_main(struct dune_thread *t);
long __dune_sys_clone(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_clone3(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_fork(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_vfork(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_exit(struct dune_thread *t, struct guest_regs *r);

/* exec.c */
long __dune_sys_execve(struct dune_thread *t, struct guest_regs *r);
long __dune_sys_execveat(struct dune_thread *t, struct guest_regs *r);
void __dune_exec_end(struct dune_thread *t);
void __dune_exec_forget(struct dune_thread *t);
/* Have programs started by exec() load the object at @path first; a static one is loaded by it. */
void __dune_set_preload(const char *path);
/*
 * The process runs the program that @fd is open on, whatever file the kernel believes it does; -1: the kernel
 * knows.  Returns its path, or "".
 */
const char *__dune_set_loaded(int fd);
const char *__dune_loaded(void);
/* The same for its dynamic linker. */
void __dune_set_linker(int fd);
const char *__dune_linker(void);

#pragma GCC visibility pop

#endif /* LIBDUNE_CALLS_H */
