/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtualization hardware, as the rest of the module sees it: one table of
 * operations, filled in by vmx/ or svm/, and the neutral form of an exit.
 */
#ifndef DUNE_HW_H
#define DUNE_HW_H

#include <linux/lockdep.h>
#include <linux/percpu.h>
#include <linux/static_call.h>
#include <linux/types.h>

#include "exit_kinds.h"

struct dune_vcpu;
struct dune_mmu;
struct tdp_format;

/* The type of the operations below that have a static call. */
void dune_hw_vcpu_fn(struct dune_vcpu *vcpu);

/* A vendor's run() reduces each hardware exit to one of these. */
struct dune_exit {
	enum dune_exit_kind kind;
	u32 hw_reason;		/* the CPU's number of the exit, for traces and for DUNE_EXIT_SHUTDOWN */
	u32 len;		/* bytes of the instruction that exited, where there is one */
	u64 qualification;	/* the CPU's detail, for traces and for DUNE_EXIT_SHUTDOWN */
	union {
		struct {
			u64 gpa;
			u64 gva;	/* valid with DUNE_FAULT_GVA */
			u32 flags;	/* DUNE_FAULT_* */
			bool present;	/* the second-level table maps it, but does not allow the access */
		} tdp;
		struct {
			u32 info;	/* DUNE_EVENT_* */
			u32 error;
		} event;
	};
};

/* What the machine has; filled in by setup(). */
struct dune_hw_caps {
	const struct tdp_format *tdp_format;
	unsigned int tdp_levels;
	unsigned int gpa_bits;		/* width of a guest-physical address */
	u64 cr4_allowed;		/* bits of CR4 that the guest may set itself */
};

/* Grouped by lifetime.  A vendor answers upward only by return value. */
struct dune_hw_ops {
	const char *name;
	const char *kvm_module;
	u32 vendor;			/* DUNE_VENDOR_* */
	size_t vcpu_size;		/* of the vendor's struct, of which struct dune_vcpu is the first member */

	/* Module.  check() is 0 or -errno, after one line in the log. */
	int (*check)(void);
	int (*setup)(struct dune_hw_caps *caps);
	void (*teardown)(void);
	/*
	 * Stop using this CPU: called on it, before virtualization is turned off there.  Interrupts are off or all
	 * tasks are frozen.
	 */
	void (*cpu_disable)(void);

	/*
	 * The hardware's switch, on this CPU; interrupts are off.  own_*() serve where KVM does not: own_setup()
	 * is 0 or -errno (-EOPNOTSUPP after a line in the log: the kernel does not export what it takes), own_on()
	 * -EBUSY where somebody else has it on.  on and off do nothing the second time.
	 */
	bool (*is_on)(void);
	int (*own_setup)(void);
	void (*own_teardown)(void);
	int (*own_on)(void);
	void (*own_off)(void);

	/*
	 * vCPU.  Process context, may sleep.  config has been validated; vcpu_reset() may be called again on a vCPU
	 * that does not run: no CPU has it then (vcpu->cpu).
	 */
	int (*vcpu_create)(struct dune_vcpu *vcpu);
	int (*vcpu_reset)(struct dune_vcpu *vcpu);
	void (*vcpu_destroy)(struct dune_vcpu *vcpu);

	/*
	 * The vCPU has come to another CPU than it ran on last, or to one that was switched off since.  Sets vcpu->cpu,
	 * where the CPU is usable.  Preemption is off, interrupts are on.
	 */
	void (*vcpu_migrate)(struct dune_vcpu *vcpu);
	/*
	 * A thread begins to run the vCPU on this CPU, and ends.  Interrupts are off; in between too, but for
	 * moments in which preemption is off (VCPU_DIRTY_HOST is set after them).  Balanced.
	 */
	void (*vcpu_load)(struct dune_vcpu *vcpu);
	void (*vcpu_put)(struct dune_vcpu *vcpu);

	/*
	 * Run until an exit, which goes to vcpu->exit.  Loaded.  vcpu->dirty says what of the registers differs
	 * from what the last exit left.
	 */
	void (*run)(struct dune_vcpu *vcpu);
	void (*flush_tlb)(struct dune_vcpu *vcpu);

	/* MSRs that the guest may use and that the vendor keeps.  Loaded.  false: not one of them. */
	bool (*get_msr)(struct dune_vcpu *vcpu, u32 msr, u64 *value);
	bool (*set_msr)(struct dune_vcpu *vcpu, u32 msr, u64 value);
};

extern const struct dune_hw_ops vmx_ops;
extern const struct dune_hw_ops svm_ops;

/* The operations on the way of every DUNE_RUN, without the indirect call, which a retpoline makes dear. */
DECLARE_STATIC_CALL(dune_hw_vcpu_load, dune_hw_vcpu_fn);
DECLARE_STATIC_CALL(dune_hw_vcpu_put, dune_hw_vcpu_fn);
DECLARE_STATIC_CALL(dune_hw_run, dune_hw_vcpu_fn);

/* The one in use; set before the device exists. */
extern const struct dune_hw_ops *dune_hw;
extern struct dune_hw_caps dune_hw_caps;

/* The first of @vendors that the CPU has.  0 or -errno, after a line in the log. */
int dune_hw_choose(const struct dune_hw_ops * const *vendors, unsigned int nr);

/* Written by cpus.c. */
DECLARE_PER_CPU(bool, dune_cpu_usable);

/* False once virtualization is, or is about to be, off on this CPU.  Interrupts are off. */
static __always_inline bool dune_hw_usable(void)
{
	lockdep_assert_irqs_disabled();
	return this_cpu_read(dune_cpu_usable);
}

#endif
