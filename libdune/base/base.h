/* SPDX-License-Identifier: MIT */
/*
 * What all rooms use: the state of the process, system calls, messages, death.
 *
 * HR3 is the host's user mode, GR0 the guest's ring 0, GR3 its ring 3.  Code in both is
 * part of this library; each function says where it runs unless both will do.
 * Nothing here calls the C library, uses thread-local storage or touches a vector
 * register: a program's are live whenever libdune runs.
 *
 * The rooms are launch, compat, api, host, guest, memory, threads, engine and base; each may use those behind it,
 * and no other (scripts/layers).
 */
#ifndef LIBDUNE_BASE_H
#define LIBDUNE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/signal.h>

#include "base/regs.h"
#include "dune.h"

struct dune_thread;
struct space;

/* What is declared here is reached without the global offset table. */
#pragma GCC visibility push(hidden)

#define PUBLIC		__attribute__((visibility("default")))

/*
 * What each fork runs, and with it each system call, lies side by side (in .text.hot, with all that is in assembly):
 * the kernel maps the code of a new process by 64 KiB, and each such piece costs it 10,000 instructions.
 */
#define HOT		__attribute__((hot))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x)	(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value)	(*(volatile __typeof__(x) *)&(x) = (value))

/* The compiler may turn a copy or a clearing into these calls: give it ours. */
void *memcpy(void *to, const void *from, size_t size) __asm__("__dune_memcpy");
void *memset(void *to, int byte, size_t size) __asm__("__dune_memset");

static inline bool is_error(long ret)
{
	return (unsigned long)ret > -4096UL;
}

/* May be replaced on the command line, for a test bed that has no ring 0. */
#ifndef dune_in_guest
#define dune_in_guest	dune_in_dune_mode
#endif

/* ---- the process ---- */

/*
 * What changes as the process runs.  It lies in libdune's own granule, which is the same in all address spaces:
 * libdune's data may be a copy in one of them, with the program's, and HR3 has those of the process.  It is in a page
 * that each fork copies anyway.  Before dune_init() it lies in libdune's data.
 */
struct region_state {
	uint32_t mutex;		/* lock.c */
	uint32_t actions;	/* the lock of the actions of SIGSEGV and SIGBUS: host/signals/actions.c */
	uint32_t forking;	/* what the two hold while a thread forks, which changes nothing; or a dead one's */
	bool incomplete;	/* a child of a fork without the areas of other threads: nothing is reserved there */
	bool pool_reserved;	/* memory/page.c: the addresses are the pool's */
	bool granules_stale;	/* engine/dune.c: page tables may have granules that the kernel has taken back */
	uint32_t granule_round;	/* how often it has taken some back */
	unsigned long kept;	/* the area that is there although the state is incomplete, or 0 */
	uint32_t free_pages;	/* memory/page.c: linked by next: index + 1 */
	uint32_t never_used;	/* no page from here on ever was */
	uint32_t used;		/* pages */
	uint32_t nr_clones;	/* memory/space.c: address spaces beside the first */
	uint32_t words_cleared;	/* how often a word was, in all of them: host/calls/tid.c */
	/* ---- seldom written: in a cache line of their own ---- */
	uint64_t nr_pages __attribute__((aligned(64)));	/* of the pool */
	uint32_t nr_threads;	/* areas in use: no more threads can be in the guest; atomic */
	uint32_t slots_seen;	/* threads/area.c: no slot from here on was ever used; atomic */
	uint32_t vcpus_seen;	/* ... nor a vCPU */
	uint32_t uses;		/* ... how often there was a new thread; in units of HOLDER_USE */
	uint32_t met;		/* ... how often an area was met that is being made */
	uint32_t path_slots;	/* the lock of descriptors: host/calls/paths.c */
	bool filtered;		/* a seccomp filter of the program's may be in force */
	bool pagemaps;		/* the program has opened its own pagemap, or clear_refs: host/calls/pagemap.c */
	const uint32_t *owners;	/* the kernel's table of granules, where it is mapped */
	struct dune_dirty *trackers;	/* memory/dirty.c: all of them */
};

/* One for each process; written by dune_init() and by the child of a fork, and the same in all address spaces. */
struct dune_process {
	bool ready;		/* by dune_init() */
	bool debugged;		/* dune-run --gdb waits for the first thread that enters */
	struct region_state *state;
	unsigned long region;	/* libdune's own granule: layout.h */
	unsigned long region_gpa;
	unsigned long trap_size;	/* of each thread's trap stack; region.c chooses it if the program has not */
	bool first_page_free;	/* nothing is mapped where the engine's page of the first thread goes */
	uint64_t nr_granules;	/* of guest-physical memory */
	unsigned long lstar;	/* where SYSCALL goes in ring 0, or of a program in ring 3 */
	unsigned long lstar_return;	/* RIP of an exit by it */
	/* GR0: a PRIVATE_CALL.  The engine's. */
	long (*gate)(unsigned long nr, unsigned long a, unsigned long b, unsigned long c);
	uint64_t xsave_mask;	/* what to save round a program's handler; 0: FXSAVE */
	uint64_t xsave_size;
	uint32_t options;	/* bits by DUNE_OPT_* */
	bool fresh;		/* exec() was a moment ago: the program has no handlers yet */
	bool full;		/* a first touch maps memory of the process: */
	bool precise;		/* ... not whole granules, only what the process has there */
	bool small;		/* ... by entries of 4 KiB only */
	/* how a first touch does it, if not by whole granules: walk.c */
	long (*fill)(struct space *s, uint64_t va);
	bool areas_left_out;	/* a fork leaves out the areas of other threads, and more: region.c */
	bool guard_mapped;	/* ... and the guard of the first thread, a mapping of its own */
	ptent_t *switch_root;	/* root, or what is no root where CR3 cannot be loaded: DUNE_OPT_STRICT */
	ptent_t *root;		/* of the first address space */
	bool pcid;		/* the guest may have process-context identifiers, and INVPCID */
	bool ring3;		/* the program is in ring 3, and all that it starts: design/program.md */
	bool no_dirty;		/* the kernel alone says what was written: host/calls/pagemap.c */
	bool check;		/* ... and no call of its reaches libdune's memory: host/calls/check.c */
	int spare_fds;		/* ... the first number of those that __dune_fd_hide() has; else 0 */
	uint64_t cr4;		/* bits of CR4 that its threads begin with */
	ptent_t granule_bits;	/* PTE_U then: of what a first touch maps */
	unsigned long image_size;	/* of libdune in its own granule, or 0 */
};

extern struct dune_process __dune_process;

static inline struct region_state *region_state(void)
{
	return __dune_process.state;
}

static inline bool option(unsigned int number)
{
	return __dune_process.options & 1U << number;
}

static inline bool canonical(unsigned long address)
{
	return (long)(address << 16) >> 16 == (long)address;
}

/* ---- system calls ---- */

/*
 * Calls that a filter of the program's does not see (seccomp.c, which knows each); they cannot serve to get round it.
 * HR3.
 */
long __dune_own_syscall(long nr, long a, long b, long c, long d);
#define own_syscall1(nr, a)			__dune_own_syscall(nr, (long)(a), 0, 0, 0)
#define own_syscall3(nr, a, b, c)		__dune_own_syscall(nr, (long)(a), (long)(b), (long)(c), 0)
#define own_syscall4(nr, a, b, c, d)		__dune_own_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d))

/* All others are as good as the program's own; in GR0 they are forwarded like those. */
#define dune_syscall0(nr)			dune_syscall(nr, 0, 0, 0, 0, 0, 0)
#define dune_syscall1(nr, a)			dune_syscall(nr, (long)(a), 0, 0, 0, 0, 0)
#define dune_syscall2(nr, a, b)			dune_syscall(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define dune_syscall3(nr, a, b, c)		dune_syscall(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define dune_syscall4(nr, a, b, c, d)		dune_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define dune_syscall5(nr, a, b, c, d, e) \
	dune_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define dune_syscall6(nr, a, b, c, d, e, f) \
	dune_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/*
 * A call of at most three arguments from where it may be either world. In GR0 it goes by the gate where a program is
 * in ring 3: `syscall` is the program's there.
 */
static inline long call_anywhere(long nr, long a, long b, long c)
{
	if (__dune_process.ring3 && dune_in_guest())
		return __dune_process.gate(nr, a, b, c);
	return dune_syscall(nr, a, b, c, 0, 0, 0);
}

extern const char __dune_syscall_site[], __dune_own_site[];
#define SYSCALL_LENGTH	2

/*
 * copy.c: memory of the program's at an address that may be bad; 0 or -EFAULT.  In HR3 the kernel looks at it by
 * writing COPY_OUT_MIN bytes: fewer cannot be written, but by __dune_copy_safely() (host/calls.h).
 */
#define COPY_OUT_MIN	sizeof(uint64_t)
int __dune_copy_in(void *to, unsigned long from, size_t size);
bool __dune_can_write(unsigned long to, size_t size);
int __dune_copy_out(unsigned long to, const void *from, size_t size);
/* sys.S: HR3, where the address has been looked at or a fault means SIGSEGV; false: not all of it is there. */
bool __dune_copy(void *to, const void *from, unsigned long size);
bool __dune_exchange(uint32_t *word, uint32_t *old, uint32_t new);
extern const char __dune_copy_failed[];

static inline bool same_text(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* What is behind @start at the begin of @text; NULL: that begins in another way, or is NULL. */
static inline const char *text_behind(const char *text, const char *start)
{
	while (text && *start && *text == *start)
		text++, start++;
	return *start ? NULL : text;
}

/*
 * fd.c: a descriptor that is opened between the first two, and moved there, is none of those that the program may
 * have: above its soft limit, if that is no more than 1,024 and can be raised.  The second gives back the number that
 * it has then.
 */
struct fd_limit {
	uint64_t soft, hard;
};

struct fd_limits {
	struct fd_limit own, raised;
};

void __dune_fd_limit_raise(struct fd_limits *limits);
int __dune_fd_move(int fd, const struct fd_limits *limits);
void __dune_fd_limit_restore(const struct fd_limits *limits);
/*
 * Of a checked program: @fd under a number that is none of the program's, so that no other thread puts another file
 * there; else @fd.  -EMFILE: there are too many such.
 */
int __dune_fd_hide(int fd);

/* Calls of libdune's own from GR0 to HR3, by the gate. */
#define PRIVATE_CALL(nr)	(0x6c69624400000000UL | (nr))
#define PRIVATE_LEAVE		PRIVATE_CALL(0)
#define PRIVATE_RAISE		PRIVATE_CALL(1)	/* RDI: struct raise */
#define PRIVATE_LOOK		PRIVATE_CALL(2)	/* __dune_look_host() */
#define PRIVATE_POOL_EXTEND	PRIVATE_CALL(3)	/* RDI: pages; RAX: 0 or -errno */
#define PRIVATE_COPY_IN		PRIVATE_CALL(4)	/* RDI: to, RSI: from, RDX: size; RAX: 0 or -errno */
#define PRIVATE_COPY_OUT	PRIVATE_CALL(5)	/* likewise */
#define PRIVATE_PRECISE		PRIVATE_CALL(6)	/* __dune_precise_host(RDI, RSI, RDX) */
#define PRIVATE_STEPPED		PRIVATE_CALL(7)	/* RDI: struct dune_tf, of a program in ring 3 that calls with TF set */

static inline bool is_private(uint64_t nr)
{
	return nr - PRIVATE_LEAVE <= PRIVATE_STEPPED - PRIVATE_LEAVE;
}

/* An exception that has become a signal. */
struct raise {
	int signo;
	int code;
	unsigned long addr;
	uint32_t vector;
	const struct dune_tf *tf;	/* where; NULL: in libdune itself */
	bool fatal;		/* no handler helps, and it has been said why */
};

/* ---- signals ---- */

#define NR_SIGNALS	64

/* The kernel's own form. */
struct sigaction_kernel {
	unsigned long handler;
	unsigned long flags;
	unsigned long restorer;
	uint64_t mask;
};

#define ALL_SIGNALS	(~0UL)
#define SIGSET_SIZE	8

/* mask.c: block all; returns the mask that was in force. */
uint64_t __dune_signals_block(void);
void __dune_signals_restore(uint64_t mask);

/* A filter of the program's lets this pass. */
static inline long set_mask(int how, const uint64_t *new, uint64_t *old)
{
	return own_syscall4(__NR_rt_sigprocmask, how, new, old, SIGSET_SIZE);
}

static inline long set_action(int signo, const struct sigaction_kernel *new, struct sigaction_kernel *old)
{
	return dune_syscall4(__NR_rt_sigaction, signo, new, old, SIGSET_SIZE);
}

/* die.c */
void __dune_signal_default(int signo);
bool __dune_signal_is_default(int signo);
void __dune_die_by(int signo, const siginfo_t *info) __attribute__((noreturn));
/* The signal that this exception is outside Dune mode. */
void __dune_raise(int signo, int code, unsigned long addr) __attribute__((noreturn));

/* traced.c: HR3 */
bool __dune_traced(void);
/* From now on it may be so. */
void __dune_traced_maybe(void);

/* ---- messages ---- */

size_t __dune_format(char *buf, size_t size, const char *fmt, va_list args);
void __dune_message(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* error.c: the name of a positive error number; messages have both: "%s (error %d)" */
const char *__dune_error_name(int error);
/* @text as it is, and a newline, to standard output. */
void __dune_print_text(const char *text);
/* To standard error, without the name of the library. */
void __dune_print_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* procmap.c: call @cb for each mapping until it returns false; 0 or -errno */
int __dune_procmap_each(bool (*cb)(const struct dune_procmap_entry *entry, void *arg), void *arg);
typedef void (*procmap_found)(const struct dune_procmap_entry *entry, void *arg);
bool __dune_procmap_find(unsigned long address, procmap_found found, void *arg);

/* symbol.c: the name of the function at @offset in the file @path, and how far into it that is. */
bool __dune_symbol(const char *path, uint64_t offset, char *name, size_t size, uint64_t *distance);

/* dump.c */
void __dune_dump(const struct dune_tf *tf);

/* A message, then death by @signo. */
void __dune_fatal(int signo, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));

#pragma GCC visibility pop

#endif /* LIBDUNE_BASE_H */
