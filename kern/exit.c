// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest's exits lead to.  A handler runs with the vCPU loaded, so with interrupts off;
 * what may sleep is done between dune_vcpu_park() and dune_vcpu_unpark().  It returns 0 to run on, DUNE_EXIT_* to go
 * to user space, or -errno for user space.
 */
#include <linux/nospec.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "exit.h"
#include "hw.h"
#include "load.h"
#include "mmu/flush.h"
#include "stats.h"
#include "trace.h"
#include "vcpu.h"

#define TO_GUEST	0

static void raise_event(struct dune_vcpu *vcpu, u32 info, u32 error)
{
	vcpu->dirty |= VCPU_DIRTY_EVENT;
	vcpu->event_info = DUNE_EVENT_VALID | info;
	vcpu->event_error = error;
}

static int raise_gp(struct dune_vcpu *vcpu)
{
	raise_event(vcpu, DUNE_EVENT_HARD | DUNE_EVENT_ERROR | X86_TRAP_GP, 0);
	return TO_GUEST;
}

static int raise_ud(struct dune_vcpu *vcpu)
{
	raise_event(vcpu, DUNE_EVENT_HARD | X86_TRAP_UD, 0);
	return TO_GUEST;
}

void dune_skip_slowly(struct dune_vcpu *vcpu)
{
	vcpu->rflags &= ~(u64)X86_EFLAGS_RF;
	vcpu->dirty |= VCPU_DIRTY_RFLAGS;
	if (vcpu->rflags & X86_EFLAGS_TF)
		raise_event(vcpu, DUNE_EVENT_HARD | X86_TRAP_DB, 0);
}

/*
 * Have the host take the interrupt that ended the guest.  The tick that may be in it counts as the
 * guest's time.
 */
static int handle_interrupt(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	struct dune_run *run = vcpu->run;

	/* What looks at the stack of user space in the interrupt finds the guest there; at other times nothing old. */
	WRITE_ONCE(run->frame.rbp, READ_ONCE(run->regs.rbp));
	WRITE_ONCE(run->frame.rip, vcpu->rip);
	vcpu->flush_l1d = true;
	dune_rcu_note_guest();
	preempt_disable();
	current->flags |= PF_VCPU;
	local_irq_enable();
	/* STI takes effect after the next instruction. */
	asm volatile("nop" : : : "memory");
	local_irq_disable();
	current->flags &= ~PF_VCPU;
	WRITE_ONCE(run->frame.rbp, 0);
	WRITE_ONCE(run->frame.rip, 0);
	preempt_enable();
	vcpu->dirty |= VCPU_DIRTY_HOST;
	return TO_GUEST;
}

#define MASKED_EXITS	64	/* in a row */

/*
 * A pending interrupt ends the guest at its entry, whatever IF is; but Bochs 2.7 forgets it where IF is
 * 0, and a guest that executes CPUID for ever would keep the CPU.
 */
static noinline int let_interrupts_in(struct dune_vcpu *vcpu)
{
	return ++vcpu->masked_exits % MASKED_EXITS ? TO_GUEST : handle_interrupt(vcpu, &vcpu->exit);
}

/* After an instruction that was done here. */
static int go_on(struct dune_vcpu *vcpu)
{
	return likely(vcpu->rflags & X86_EFLAGS_IF) ? TO_GUEST : let_interrupts_in(vcpu);
}

static int skip(struct dune_vcpu *vcpu, const struct dune_exit *exit)
{
	dune_skip(vcpu, exit->len);
	return go_on(vcpu);
}

/* ---- Faults --------------------------------------------------------------- */

static int report_fault(struct dune_vcpu *vcpu, u64 hva, u64 gpa, u64 gva, u32 flags)
{
	struct dune_run *run = vcpu->run;

	WRITE_ONCE(run->fault.hva, hva);
	WRITE_ONCE(run->fault.gpa, gpa);
	WRITE_ONCE(run->fault.gva, gva);
	WRITE_ONCE(run->fault.flags, flags);
	dune_stat(STAT_FAULTS);
	return DUNE_EXIT_FAULT;
}

static int handle_tdp_fault(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	u32 flags = exit->tdp.flags, access = flags & (MMU_READ | MMU_WRITE | MMU_EXEC);
	u64 hva = 0;
	int result, fast;

	vcpu->flush_l1d = true;
	/* What is mapped without the permission is nearly always so in the host's table too. */
	fast = exit->tdp.present ? -EFAULT :
	       dune_mmu_fault_fast(&vcpu->vm->mmu, exit->tdp.gpa, access);
	if (likely(fast >= 0)) {
		if (unlikely(fast))
			vcpu->dirty |= VCPU_DIRTY_HOST;
		trace_dune_tdp_fault(vcpu, exit->tdp.gpa, 0, flags, MMU_RESOLVED);
		return TO_GUEST;
	}
	dune_vcpu_park(vcpu);
	result = dune_mmu_fault(&vcpu->vm->mmu, exit->tdp.gpa, access, fast, &hva);
	dune_vcpu_unpark(vcpu);
	trace_dune_tdp_fault(vcpu, exit->tdp.gpa, hva, flags, result);
	switch (result) {
	case MMU_RESOLVED:
		return TO_GUEST;
	case -EINTR:
		dune_stat(STAT_INTR);
		return DUNE_EXIT_INTR;
	case -EPERM:
		flags |= DUNE_FAULT_DEVICE;
		break;
	case MMU_NO_GRANULE:
		flags |= DUNE_FAULT_NO_GRANULE;
		break;
	}
	return report_fault(vcpu, hva, exit->tdp.gpa, flags & DUNE_FAULT_GVA ? exit->tdp.gva : 0, flags);
}

/* ---- Hypercalls ------------------------------------------------------------- */

static int hc_get_granule(struct dune_vcpu *vcpu)
{
	struct dune_regs *regs = &vcpu->run->regs;
	u64 gpa = 0;
	int error;

	dune_vcpu_park(vcpu);
	error = dune_mmu_get_granule(&vcpu->vm->mmu, READ_ONCE(regs->rdi), &gpa);
	dune_vcpu_unpark(vcpu);
	WRITE_ONCE(regs->rax, error ? (u64)(s64)error : gpa);
	return TO_GUEST;
}

static int hc_flush_tlb(struct dune_vcpu *vcpu)
{
	dune_vcpu_park(vcpu);
	dune_mmu_flush_all(&vcpu->vm->mmu);
	dune_vcpu_unpark(vcpu);
	WRITE_ONCE(vcpu->run->regs.rax, 0);
	return TO_GUEST;
}

static int hc_fault(struct dune_vcpu *vcpu)
{
	struct dune_regs *regs = &vcpu->run->regs;
	u64 va = READ_ONCE(regs->rdi), access = READ_ONCE(regs->rsi);

	if (!access || access & ~(u64)(DUNE_FAULT_READ | DUNE_FAULT_WRITE | DUNE_FAULT_EXEC)) {
		WRITE_ONCE(regs->rax, -EINVAL);
		return TO_GUEST;
	}
	WRITE_ONCE(regs->rax, 0);
	return report_fault(vcpu, va, 0, va, access | DUNE_FAULT_GVA);
}

static int hc_yield(struct dune_vcpu *vcpu)
{
	struct dune_regs *regs = &vcpu->run->regs;
	int error;

	dune_vcpu_park(vcpu);
	error = dune_yield(vcpu->vm, READ_ONCE(regs->rdi));
	dune_vcpu_unpark(vcpu);
	WRITE_ONCE(regs->rax, (u64)(s64)error);
	return TO_GUEST;
}

static int (* const hypercalls[])(struct dune_vcpu *vcpu) = {
	hc_get_granule,
	hc_flush_tlb,
	hc_fault,
	hc_yield,
};

/* What is no hypercall is a system call, and does not come here: see exit.h. */
static int handle_hypercall(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	u64 which = READ_ONCE(vcpu->run->regs.rax) - DUNE_HC(0);

	/* It would lead past libdune, which confines ring 3. */
	if (vcpu->cpl)
		return raise_ud(vcpu);
	dune_skip(vcpu, exit->len);
	vcpu->flush_l1d = true;
	if (which >= ARRAY_SIZE(hypercalls)) {
		WRITE_ONCE(vcpu->run->regs.rax, -ENOSYS);
		return go_on(vcpu);
	}
	return hypercalls[array_index_nospec(which, ARRAY_SIZE(hypercalls))](vcpu) ?: go_on(vcpu);
}

/* ---- Instructions ------------------------------------------------------------ */

static int handle_skip(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	return skip(vcpu, exit);
}

/* The thread may not (ARCH_SET_CPUID): in any ring it gets what it gets in user mode. */
static int notrace handle_cpuid(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	if (unlikely(test_thread_flag(TIF_NOCPUID)))
		return raise_gp(vcpu);
	dune_skip(vcpu, exit->len);
	dune_emulate_cpuid(&vcpu->run->regs);
	return go_on(vcpu);
}

static int handle_rdtsc(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	if (test_thread_flag(TIF_NOTSC))
		return raise_gp(vcpu);
	/* It may again: let the guest do it. */
	vcpu->no_tsc = false;
	vcpu->dirty |= VCPU_DIRTY_TSC;
	return TO_GUEST;
}

/* MSRs that read as a constant, and take no other value. */
static bool constant_msr(u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_EFER:
		*value = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
		return true;
	case MSR_STAR:
		*value = (u64)(DUNE_SEL_USER_DS - 8) << 48 | (u64)DUNE_SEL_KERNEL_CS << 32;
		return true;
	default:
		return false;
	}
}

static bool may_use_msrs(const struct dune_vcpu *vcpu)
{
	return !(vcpu->config.flags & DUNE_VCPU_STRICT);
}

static int handle_rdmsr(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	struct dune_regs *regs = &vcpu->run->regs;
	u32 msr = READ_ONCE(regs->rcx);
	u64 value = 0;
	bool known;

	known = may_use_msrs(vcpu) && (constant_msr(msr, &value) || dune_hw->get_msr(vcpu, msr, &value));
	if (!known)
		return raise_gp(vcpu);
	WRITE_ONCE(regs->rax, (u32)value);
	WRITE_ONCE(regs->rdx, value >> 32);
	return skip(vcpu, exit);
}

static int handle_wrmsr(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	struct dune_regs *regs = &vcpu->run->regs;
	u64 value = (u32)READ_ONCE(regs->rax) | READ_ONCE(regs->rdx) << 32, constant;
	u32 msr = READ_ONCE(regs->rcx);
	bool done;

	if (!may_use_msrs(vcpu))
		done = false;
	else if (constant_msr(msr, &constant))
		done = value == constant;
	else
		done = dune_is_canonical(value) && dune_hw->set_msr(vcpu, msr, value);
	return done ? skip(vcpu, exit) : raise_gp(vcpu);
}

static u64 read_xcr0(void)
{
	u32 low, high;

	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (u64)high << 32 | low;
}

/* XCR0 is the host's: only what is there already can be written. */
static int handle_xsetbv(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	struct dune_regs *regs = &vcpu->run->regs;
	u64 value = (u32)READ_ONCE(regs->rax) | READ_ONCE(regs->rdx) << 32;

	if (vcpu->cpl || (u32)READ_ONCE(regs->rcx) || value != read_xcr0())
		return raise_gp(vcpu);
	return skip(vcpu, exit);
}

static int handle_privileged(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	return raise_gp(vcpu);
}

static int handle_undefined(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	return raise_ud(vcpu);
}

static int handle_exception(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	raise_event(vcpu, exit->event.info, exit->event.error);
	return TO_GUEST;
}

/* ---- The rest ------------------------------------------------------------------ */

static int handle_none(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	vcpu->flush_l1d = true;
	return TO_GUEST;
}

static int handle_window(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	return DUNE_EXIT_WINDOW;
}

static int shut_down(struct dune_vcpu *vcpu, struct dune_exit *exit, u32 code)
{
	struct dune_run *run = vcpu->run;

	WRITE_ONCE(run->shutdown.code, code);
	WRITE_ONCE(run->shutdown.hw_reason, exit->hw_reason);
	WRITE_ONCE(run->shutdown.qualification, exit->qualification);
	dune_stat(STAT_SHUTDOWNS);
	return DUNE_EXIT_SHUTDOWN;
}

static int handle_triple_fault(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	exit->qualification = 0;	/* that of an earlier exit */
	return shut_down(vcpu, exit, DUNE_SHUTDOWN_TRIPLE);
}

static int handle_bad_state(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	return shut_down(vcpu, exit, DUNE_SHUTDOWN_STATE);
}

static int handle_unknown(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	return shut_down(vcpu, exit, DUNE_SHUTDOWN_EXIT);
}

/* For the moment (suspend, a CPU going offline), which may be over already, or for good (reboot). */
static int handle_dead(struct dune_vcpu *vcpu, struct dune_exit *exit)
{
	if (!dune_hw_usable() || READ_ONCE(vcpu->cpu) < 0)
		return DUNE_EXIT_INTR;
	return shut_down(vcpu, exit, DUNE_SHUTDOWN_HARDWARE);
}

#define HANDLER(NAME, name)	\
	[X_##NAME] = handle_##name,
dune_exit_handler * const dune_exit_handlers[X_NR_KINDS] = { DUNE_EXIT_KINDS(HANDLER) };
