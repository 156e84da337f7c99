/* SPDX-License-Identifier: GPL-2.0-only */
/* System calls of the guest's that DUNE_RUN makes itself ("made inside"). */
#ifndef DUNE_CALL_H
#define DUNE_CALL_H

#include <linux/jump_label.h>
#include <linux/types.h>

#include <linux/dune.h>

struct dune_vcpu;
struct file;

/* Set where such calls can be made, and are to be (the module parameter `calls`). */
DECLARE_STATIC_KEY_FALSE(dune_calls_on);

/* Results of dune_call(), besides 0 and DUNE_EXIT_SYSCALL: the vCPU is parked, and the loop is over. */
#define DUNE_CALL_REFUSED	0x100	/* DUNE_EXIT_SYSCALL */
#define DUNE_CALL_RETURNS	0x101	/* DUNE_RUN has become the call: dune_call.result */

/* Owned by the thread that runs the vCPU; all 0 at the beginning of DUNE_RUN, but for @noted. */
struct dune_call {
	/*
	 * On which DUNE_RUN was made: there, and with a reference of its own, from the first call on.  The caller of
	 * DUNE_RUN may have none, and the call may close the descriptor.
	 */
	struct file *file;
	long result;
	unsigned long noted;	/* when RCU was last told that nothing of the kernel's is in use; jiffies */
	/* What of the thread's registers in user space DUNE_RUN was made with. */
	struct {
		unsigned long orig_ax, ip, cx, sp, di, si, dx, r10, r8, r9;
	} own;
};

/* The module's own list. */
extern unsigned long dune_may_be_made[];

/*
 * Loaded; the guest has left for system call @nr, which is one of these (may_call()).  0: it is made, and the guest
 * goes on; loaded.  DUNE_EXIT_SYSCALL: user space makes it; loaded.  Or DUNE_CALL_*.
 */
int dune_call(struct dune_vcpu *vcpu, struct file *file, unsigned int nr);

/* The end of a DUNE_RUN that has a dune_call.file.  @as_call: it returns as the last call; else as itself.  Parked. */
void dune_call_end(struct dune_vcpu *vcpu, bool as_call);

void dune_calls_init(void);

#endif
