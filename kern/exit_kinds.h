/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What made the guest stop: the one list of the kinds of exits.  The enumeration, the table of handlers, the counters
 * and the names in traces are made from it.  A kind in it needs handle_NAME() in exit.c, and a vendor's table that
 * leads to it.
 */
#ifndef DUNE_EXIT_KINDS_H
#define DUNE_EXIT_KINDS_H

#include <linux/build_bug.h>

/* KIND(NAME, name): X_NAME, handle_name(), "name" in traces, exit_name in debugfs. */
#define DUNE_EXIT_KINDS(KIND)									\
	KIND(NONE, none)		/* dealt with already: enter again */			\
	KIND(SKIP, skip)		/* the instruction was done for the guest: go past it */ \
	KIND(INTERRUPT, interrupt)	/* the host has an interrupt to take */			\
	KIND(HYPERCALL, hypercall)	/* VMCALL or VMMCALL */					\
	KIND(CPUID, cpuid)									\
	KIND(RDTSC, rdtsc)		/* intercepted: see VCPU_DIRTY_TSC */			\
	KIND(RDMSR, rdmsr)									\
	KIND(WRMSR, wrmsr)									\
	KIND(XSETBV, xsetbv)									\
	KIND(TDP_FAULT, tdp_fault)	/* ->tdp */						\
	KIND(EXCEPTION, exception)	/* intercepted, belongs to the guest: ->event */	\
	KIND(PRIVILEGED, privileged)	/* an instruction that user mode may not use: #GP(0) */	\
	KIND(UNDEFINED, undefined)	/* an instruction that the guest's CPU does not have: #UD */ \
	KIND(WINDOW, window)		/* the guest can take an interrupt now */		\
	KIND(TRIPLE_FAULT, triple_fault)							\
	KIND(BAD_STATE, bad_state)	/* the CPU refused to enter the guest */		\
	KIND(UNKNOWN, unknown)		/* an exit that nobody asked for */			\
	KIND(DEAD, dead)		/* the hardware was turned off under us */

#define DUNE_EXIT_ENUMERATOR(NAME, name) X_##NAME,
enum dune_exit_kind {
	DUNE_EXIT_KINDS(DUNE_EXIT_ENUMERATOR)
	X_NR_KINDS
};

/* In the vendors' tables a hardware exit that is not named is this one. */
static_assert(X_NONE == 0);

#endif
