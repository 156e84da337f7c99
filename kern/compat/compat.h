/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels.  Force-included; the rest of the module is
 * written for the newest kernel.  Only this folder looks at LINUX_VERSION_CODE.
 *
 * DUNE_HAVE_* say which exported symbols the kernel has; Kbuild looks them up in Module.symvers,
 * since vendors backport.
 */
#ifndef DUNE_COMPAT_H
#define DUNE_COMPAT_H

#include <linux/version.h>

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(8, 0, 0)
#error "Dune supports Linux 5.10 to 7.x. Build it for one of these (make modules KERNEL=6.1)."
#endif

/*
 * RHEL's kernels have functions of much later ones behind the number of an old one (RHEL 9: 5.14), and change within a
 * release: what is built by the number would not fit, or not do what it should.
 */
#ifdef RHEL_RELEASE_CODE
#error "Dune does not support the kernels of RHEL and its kin. Run one of kernel.org or Debian (5.10 to 7.x) there."
#endif

/* mmu->lock is taken with interrupts off; a spinlock sleeps there. */
#ifdef CONFIG_PREEMPT_RT
#error "Dune does not support kernels with CONFIG_PREEMPT_RT."
#endif

#include <asm/cpufeatures.h>

/* Overwrite the branch history after an exit, by the kernel's choice of mitigation. */
#if defined(X86_FEATURE_CLEAR_BHB_VMEXIT)
#define DUNE_FEATURE_BHB	X86_FEATURE_CLEAR_BHB_VMEXIT
#elif defined(X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT)
#define DUNE_FEATURE_BHB	X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
#endif

#ifndef __ASSEMBLY__

#include <linux/context_tracking.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/vtime.h>
#include <asm/mce.h>
#include <asm/ptrace.h>
/* native_cpuid() has moved from <asm/processor.h>. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#include <asm/cpuid/api.h>
#endif
/* load_gs_index() has moved from <asm/special_insns.h>. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <asm/gsseg.h>
#endif

/*
 * For pages that user space maps.  Before 5.11 an allocation for a memory cgroup is marked in the page where its
 * mappings are counted, so it must not be mapped.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
#define DUNE_GFP_MAPPED			GFP_KERNEL_ACCOUNT
#else
#define DUNE_GFP_MAPPED			GFP_KERNEL
#endif

/* Speculation bugs and features that older headers do not name: absent there. */
#ifndef X86_BUG_VMSCAPE
#define X86_BUG_VMSCAPE			(-1)
#endif
#ifndef X86_BUG_MMIO_STALE_DATA
#define X86_BUG_MMIO_STALE_DATA		(-1)
#endif
#ifndef X86_BUG_RFDS
#define X86_BUG_RFDS			(-1)
#endif
#ifndef X86_BUG_TSA
#define X86_BUG_TSA			(-1)
#endif
#ifndef X86_BUG_IBPB_NO_RET
#define X86_BUG_IBPB_NO_RET		(-1)
#endif
#ifndef X86_FEATURE_KERNEL_IBRS
#define X86_FEATURE_KERNEL_IBRS		(-1)
#endif
#ifndef X86_FEATURE_CLEAR_CPU_BUF
#define X86_FEATURE_CLEAR_CPU_BUF	(-1)
#endif
#ifndef X86_FEATURE_CLEAR_CPU_BUF_VM
#define X86_FEATURE_CLEAR_CPU_BUF_VM	(-1)
#endif
#ifndef X86_FEATURE_IBPB_EXIT_TO_USER
#define X86_FEATURE_IBPB_EXIT_TO_USER	(-1)
#endif
#ifndef X86_FEATURE_BUS_LOCK_DETECT
#define X86_FEATURE_BUS_LOCK_DETECT	(-1)
#endif
#ifndef X86_FEATURE_XFD
#define X86_FEATURE_XFD			(-1)
#endif
#ifndef X86_FEATURE_USE_IBPB
#define X86_FEATURE_USE_IBPB		X86_FEATURE_IBPB
#endif
#define dune_cpu_has(feature)		((feature) >= 0 && boot_cpu_has(feature))
#define dune_cpu_has_bug(bug)		((bug) >= 0 && boot_cpu_has_bug(bug))

/* Context tracking and virtual-time accounting round the guest; interrupts are off. */
static __always_inline void dune_guest_enter_irqoff(void)
{
	lockdep_assert_irqs_disabled();
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
	if (vtime_accounting_enabled_this_cpu())
		vtime_guest_enter(current);
	context_tracking_guest_enter();
#elif defined(CONFIG_CONTEXT_TRACKING)
	guest_enter_irqoff();
#endif
}

static __always_inline void dune_guest_exit_irqoff(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
	context_tracking_guest_exit();
	if (vtime_accounting_enabled_this_cpu())
		vtime_guest_exit(current);
#elif defined(CONFIG_CONTEXT_TRACKING)
	guest_exit_irqoff();
#endif
	lockdep_assert_irqs_disabled();
}

/*
 * A machine check in the guest, which the CPU reported instead of taking it; interrupts are off.  The kernel is told
 * that it was in user mode, where it can often recover by a signal to the thread.  After an instruction of ours it
 * would see one in the kernel, and panic at the same; but older kernels have no other way.
 */
static inline void dune_take_machine_check(void)
{
#ifdef DUNE_HAVE_DO_MACHINE_CHECK
	struct pt_regs regs = { .cs = __USER_CS, .ss = __USER_DS, .flags = X86_EFLAGS_IF };

	do_machine_check(&regs);
#else
	asm volatile("int $18");
#endif
}

/* A guest is a quiescent state of RCU, as user mode is; interrupts are off. */
static inline void dune_rcu_note_guest(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	rcu_virt_note_context_switch();
#else
	rcu_virt_note_context_switch(smp_processor_id());
#endif
}

/* Where the kernel keeps the thread's vector registers.  (With CONFIG_X86_DEBUG_FPU x86_task_fpu() is not exported.) */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define DUNE_HAVE_FPSTATE	1
static inline struct fpu *dune_current_fpu(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	return (struct fpu *)(current + 1);
#else
	return &current->thread.fpu;
#endif
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#endif /* __ASSEMBLY__ */
#endif
