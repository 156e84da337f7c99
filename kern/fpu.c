// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel saves a thread's vector registers when another thread comes, sets TIF_NEED_FPU_LOAD, and loads them on the
 * way to user mode.  A guest needs them before.
 *
 * switch_fpu_return() does it where it is exported.  Where it is KVM's alone the state is loaded here from where
 * the kernel has saved it.  What this cannot do is to tell the kernel whose registers are in the CPU, so the
 * kernel is told that they are nobody's, and gets them back (saved) before the thread returns to user mode.
 *
 * Going back to user mode instead, for the kernel to load them, is the last resort: under a tracer that stops the
 * thread at the entry of each system call the registers are gone again whenever DUNE_RUN begins.
 */
#include <linux/cpufeature.h>
#include <linux/lockdep.h>
#include <linux/moduleparam.h>
#include <asm/alternative.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xstate.h>

#include "fpu.h"
#include "msr.h"
#include "stats.h"

DEFINE_STATIC_KEY_FALSE(dune_fpu_by_module);

enum {
	BEST,		/* of what this kernel has */
	BY_MODULE,
	BY_USER,
};

static unsigned int fpu_load = BEST;

static int set_fpu_load(const char *text, const struct kernel_param *param)
{
	unsigned int value;
	int error = kstrtouint(text, 0, &value);

	if (error)
		return error;
	if (value > BY_USER)
		return -EINVAL;
	if (value == BY_MODULE && !IS_ENABLED(DUNE_HAVE_FPSTATE))
		return -EOPNOTSUPP;
	if (value == BY_MODULE)
		static_branch_enable(&dune_fpu_by_module);
	WRITE_ONCE(fpu_load, value);
	return 0;
}

static const struct kernel_param_ops fpu_load_ops = { .set = set_fpu_load, .get = param_get_uint };
module_param_cb(fpu_load, &fpu_load_ops, &fpu_load, 0644);
MODULE_PARM_DESC(fpu_load,
	"loads vector registers before a guest runs: 0 whoever does it best, 1 the module, 2 the return to user mode");

#ifdef DUNE_HAVE_FPSTATE

/* Set when a thread's saved registers were found where the headers say that they are. */
static bool saved_state_is_known __ro_after_init;

static void __init look_for_saved_state(void)
{
	struct fpu *fpu = dune_current_fpu();

	saved_state_is_known = boot_cpu_has(X86_FEATURE_XSAVE) && fpu->fpstate == &fpu->__fpstate &&
			       (fpu->fpstate->xfeatures & XFEATURE_MASK_FPSSE) == XFEATURE_MASK_FPSSE &&
			       fpu->fpstate->size >= sizeof(struct fxregs_state) + XSAVE_HDR_SIZE;
}

/* State that a CPU has switched off until a thread asks for it cannot be loaded; switching it on is the kernel's. */
static bool can_load(const struct fpstate *state)
{
	return !dune_cpu_has(X86_FEATURE_XFD) || read_msr(MSR_IA32_XFD) == state->xfd;
}

static __always_inline void xrstor(const struct fpstate *state)
{
	u32 low = lower_32_bits(XFEATURE_MASK_FPSTATE), high = upper_32_bits(XFEATURE_MASK_FPSTATE);

	/* The kernel saves in the compacted format where the CPU has XSAVES, and that includes supervisor state. */
	asm volatile("1:	" ALTERNATIVE("xrstor64 %[image]", "xrstors64 %[image]", X86_FEATURE_XSAVES) "\n"
		     "2:\n"
		     _ASM_EXTABLE_TYPE(1b, 2b, EX_TYPE_FPU_RESTORE)
		     : : [image] "m"(state->regs.xsave), "a"(low), "d"(high) : "memory");
}

static bool load_ours(void)
{
	struct fpstate *state = dune_current_fpu()->fpstate;

	if (!saved_state_is_known || !can_load(state))
		return false;
	/*
	 * The registers are nobody's from here on.  KFPU_387: some CPUs of AMD's restore the pointers of the last x87
	 * instruction only after an exception (APM, "XRSTOR"), so what another thread left there goes first.
	 */
	kernel_fpu_begin_mask(KFPU_387 | KFPU_MXCSR);
	kernel_fpu_end();
	xrstor(state);
	dune_stat(STAT_VECTOR_LOADS);
	clear_thread_flag(TIF_NEED_FPU_LOAD);
	return true;
}
#else
static void __init look_for_saved_state(void)
{
}

static bool load_ours(void)
{
	return false;
}
#endif

bool dune_fpu_load(bool *ours)
{
	lockdep_assert_irqs_disabled();
	switch (READ_ONCE(fpu_load)) {
	case BEST:
#ifdef DUNE_HAVE_SWITCH_FPU_RETURN
		switch_fpu_return();
		return true;
#endif
	case BY_MODULE:
		if (!load_ours())
			return false;
		*ours = true;
		return true;
	default:
		return false;
	}
}

void dune_fpu_give_back(void)
{
	/* Saves them, if that has not been done since. */
	kernel_fpu_begin_mask(0);
	kernel_fpu_end();
}

void __init dune_fpu_init(void)
{
	look_for_saved_state();
#ifndef DUNE_HAVE_SWITCH_FPU_RETURN
	static_branch_enable(&dune_fpu_by_module);
#endif
}
