/* SPDX-License-Identifier: MIT */
/*
 * What a debugger in another process (apps/run/tracee.c) needs to know of a process in Dune mode, and how
 * they talk.
 *
 * The debugger is the process's tracer (ptrace).  A thread in Dune mode that it has stopped stands in
 * HR3; the guest's registers are in its struct guest_regs.  An exception that would become a signal stops the thread by a
 * SIGSTOP that it sends to itself, with debug_stop.state DEBUG_ASK; the debugger changes the state, and lets it go on
 * without that signal.  At each such stop R10 is the address of struct dune_debug.
 */
#ifndef LIBDUNE_DEBUG_H
#define LIBDUNE_DEBUG_H

#include <stdint.h>

#define DUNE_DEBUG_MAGIC	0x6762642d656e7564UL	/* "dune-dbg" */

/* dune-run has this in the environment of a program that it debugs. */
#define DUNE_DEBUG_VARIABLE	"DUNE_DEBUG="

struct dune_debug {
	uint64_t magic;
	int64_t pid;			/* the process that is debugged; the debugger makes it 0 to end that */
	uint64_t region, region_end;	/* libdune's memory; threads' areas in it are aligned to their size: */
	uint64_t area_size;
	uint64_t run;			/* struct guest_regs, in an area */
	uint64_t stop;			/* struct debug_stop, in an area */
	uint64_t text, text_end;	/* libdune itself */
	uint64_t site;			/* the syscall instruction, and who calls it to run the guest: */
	uint64_t run_loop, run_return;
	uint64_t touch, touch_end;	/* accesses that HR3 makes for the guest */
	uint64_t lstar_return;		/* RIP of an exit by SYSCALL */
};

enum {
	DEBUG_NONE,
	DEBUG_ASK,
	DEBUG_GO_ON,		/* the guest goes on with the registers in struct guest_regs */
	DEBUG_SIGNAL,		/* the exception becomes its signal, which the debugger lets through */
};

struct debug_stop {
	uint32_t state;		/* DEBUG_* */
	int32_t signo, code;	/* what it becomes */
	uint32_t complete;	/* struct guest_regs is the whole state of the guest: it can be changed */
	uint64_t addr;
};

#endif /* LIBDUNE_DEBUG_H */
