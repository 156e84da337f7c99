/* SPDX-License-Identifier: MIT */
/*
 * What a debugger in another process needs to know of a process in Dune mode, and how they talk.  The structures have
 * a version: a debugger refuses one that it does not know.
 *
 * The debugger is the process's tracer (ptrace).  A thread in Dune mode that it has stopped stands in HR3; the guest's
 * registers are in its area.  An exception that would become a signal stops the thread by a SIGSTOP that it sends to
 * itself, with debug_stop.state DEBUG_ASK; the debugger changes the state, and lets it go on without that signal.  At
 * each such stop R10 is the address of struct dune_debug.
 */
#ifndef LIBDUNE_DEBUG_H
#define LIBDUNE_DEBUG_H

#include <stdint.h>

#define DUNE_DEBUG_MAGIC	0x6762642d656e7564UL	/* "dune-dbg" */
/* One more for each change of what is in this file: also of what the words mean. */
#define DUNE_DEBUG_VERSION	1

/*
 * dune-run has this in the environment of a program that it debugs, with the number of the process: a child of it that
 * executes a program before is not debugged.
 */
#define DUNE_DEBUG_VARIABLE	"DUNE_DEBUG="
#define DUNE_DEBUG_DIGITS	10

struct dune_debug {
	uint64_t magic;
	uint32_t version;		/* magic and these two are where they are in every version */
	uint32_t size;			/* of struct dune_debug */
	int64_t pid;			/* the process that is debugged; the debugger makes it 0 to end that */
	uint64_t region, region_end;	/* libdune's memory; threads' areas in it are aligned to their size: */
	uint64_t area_size;
	uint64_t regs;			/* struct debug_regs, in an area */
	uint64_t stop;			/* struct debug_stop, in an area */
	uint64_t text, text_end;	/* libdune itself */
	/*
	 * The guest's registers are complete from run_loop to run_return, and in the call of [site, site_end] by
	 * the loop:
	 */
	uint64_t run_loop, run_return;
	uint64_t site, site_end;	/* RIP before the syscall instruction that runs the guest, and behind it */
	uint64_t complete_results;	/* ... there if bit RAX is set */
	uint64_t touch, touch_end;	/* accesses that HR3 makes for the guest */
	uint64_t lstar_return;		/* RIP of an exit by SYSCALL: RCX and R11 are RIP and RFLAGS */
};

/* The guest's registers. */
struct debug_regs {
	uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

enum {
	DEBUG_NONE,
	DEBUG_ASK,
	DEBUG_GO_ON,		/* the guest goes on with its registers as they are then */
	DEBUG_SIGNAL,		/* the exception becomes its signal, which the debugger lets through */
};

struct debug_stop {
	uint32_t state;		/* DEBUG_* */
	int32_t signo, code;	/* what it becomes */
	uint32_t complete;	/* the registers are the whole state of the guest: they can be changed */
	uint64_t addr;
};

#endif /* LIBDUNE_DEBUG_H */
