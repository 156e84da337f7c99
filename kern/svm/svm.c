// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running a guest on SVM: everything between "enter" and a neutral struct
 * dune_exit, in one section with interrupts off.
 */
#include <linux/mem_encrypt.h>
#include <linux/pgtable.h>
#include <asm/debugreg.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>
#include <uapi/asm/svm.h>

#include "../msr.h"
#include "../spec.h"
#include "enter.h"
#include "svm.h"

/* Exit codes that older headers do not name. */
#define EXIT_INVLPGB		0x0a0
#define EXIT_INVLPGB_ILLEGAL	0x0a1
#define EXIT_MCOMMIT		0x0a3
#define EXIT_TLBSYNC		0x0a4
#define EXIT_MWAIT_ARMED	0x08c
#define EXIT_INVALID		0xffffffff

/*
 * Exits that need nothing from the VMCB but the length of the instruction; it stands here for CPUs
 * that do not tell, for the instructions that may have to be skipped.
 */
static const struct {
	u8 kind;
	u8 len;
} simple_exits[] = {
	[SVM_EXIT_INTR]		= { X_INTERRUPT },
	[SVM_EXIT_VINTR]	= { X_WINDOW },
	[SVM_EXIT_CPUID]	= { X_CPUID, 2 },
	[SVM_EXIT_VMMCALL]	= { X_HYPERCALL, 3 },
	[SVM_EXIT_RDTSC]	= { X_RDTSC },
	[SVM_EXIT_RDTSCP]	= { X_RDTSC },
	[SVM_EXIT_RDPRU]	= { X_RDTSC },
	[SVM_EXIT_XSETBV]	= { X_XSETBV, 3 },
	/* What a program in user mode is not allowed. */
	[SVM_EXIT_READ_CR8]	= { X_PRIVILEGED },
	[SVM_EXIT_WRITE_CR3]	= { X_PRIVILEGED },
	[SVM_EXIT_WRITE_CR8]	= { X_PRIVILEGED },
	[SVM_EXIT_READ_DR0 ... SVM_EXIT_READ_DR0 + 15] = { X_PRIVILEGED },
	[SVM_EXIT_WRITE_DR0 ... SVM_EXIT_WRITE_DR0 + 15] = { X_PRIVILEGED },
	[SVM_EXIT_IDTR_READ ... SVM_EXIT_TR_WRITE] = { X_PRIVILEGED },
	[SVM_EXIT_RDPMC]	= { X_PRIVILEGED },
	[SVM_EXIT_INVD]		= { X_PRIVILEGED },
	[SVM_EXIT_WBINVD]	= { X_PRIVILEGED },
	[SVM_EXIT_HLT]		= { X_PRIVILEGED },
	[SVM_EXIT_IOIO]		= { X_PRIVILEGED },
	/* What CPUID says that this CPU does not have. */
	[SVM_EXIT_RSM]		= { X_UNDEFINED },
	[SVM_EXIT_INVLPGA]	= { X_UNDEFINED },
	[SVM_EXIT_VMRUN]	= { X_UNDEFINED },
	[SVM_EXIT_VMLOAD]	= { X_UNDEFINED },
	[SVM_EXIT_VMSAVE]	= { X_UNDEFINED },
	[SVM_EXIT_STGI]		= { X_UNDEFINED },
	[SVM_EXIT_CLGI]		= { X_UNDEFINED },
	[SVM_EXIT_SKINIT]	= { X_UNDEFINED },
	[SVM_EXIT_MONITOR]	= { X_UNDEFINED },
	[SVM_EXIT_MWAIT]	= { X_UNDEFINED },
	[EXIT_MWAIT_ARMED]	= { X_UNDEFINED },
	[EXIT_INVLPGB]		= { X_UNDEFINED },
	[EXIT_INVLPGB_ILLEGAL]	= { X_UNDEFINED },
	[EXIT_MCOMMIT]		= { X_UNDEFINED },
	[EXIT_TLBSYNC]		= { X_UNDEFINED },
};

/* ---- In ---------------------------------------------------------------- */

static noinline void write_rare_state(struct svm_vcpu *svm)
{
	if (svm->vcpu.dirty & VCPU_DIRTY_CPL)
		vmcb_write_cpl(svm);
	if (svm->vcpu.dirty & VCPU_DIRTY_TSC)
		vmcb_write_intercepts(svm);
}

/* @host is what VMSAVE has stored: the kernel's GS base is active, the task's the other one. */
static __always_inline void write_guest_state(struct svm_vcpu *svm, const struct vmcb_save *host)
{
	struct dune_vcpu *vcpu = &svm->vcpu;
	struct vmcb_save *save = &svm->vmcb->save;
	u64 cr2 = READ_ONCE(vcpu->run->cr2);

	save->fs.base = host->fs.base;
	save->gs.base = host->kernel_gs_base;
	save->kernel_gs_base = vcpu->kernel_gs_base;
	save->rax = READ_ONCE(vcpu->run->regs.rax);
	save->rip = vcpu->rip;
	save->rsp = vcpu->rsp;
	save->rflags = vcpu->rflags;
	/* The shadow of STI or MOV SS was that of the instruction left behind, with its flags. */
	if (vcpu->dirty & (VCPU_DIRTY_RIP | VCPU_DIRTY_RFLAGS))
		svm->vmcb->control.interrupt_shadow = 0;
	if (unlikely(vcpu->dirty & (VCPU_DIRTY_CPL | VCPU_DIRTY_TSC)))
		write_rare_state(svm);
	vcpu->dirty = 0;
	if (unlikely(save->cr2 != cr2)) {
		save->cr2 = cr2;
		svm->clean &= ~VMCB_CLEAN_CR2;
	}
}

/* The vectors that the CPU accepts as exceptions; others have to go as interrupts, which are delivered alike. */
#define EXCEPTIONS	(BIT(X86_TRAP_DE) | BIT(X86_TRAP_DB) | BIT(X86_TRAP_BP) | BIT(X86_TRAP_OF) | \
			 BIT(X86_TRAP_BR) | BIT(X86_TRAP_UD) | BIT(X86_TRAP_NM) | BIT(X86_TRAP_DF) | \
			 BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) | BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | \
			 BIT(X86_TRAP_PF) | BIT(X86_TRAP_MF) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC) | \
			 BIT(X86_TRAP_XF))
#define TYPE_INTERRUPT	0

/*
 * APM, "Event Injection"; dune_run.event_info has the same layout but for the length and two types.
 * The return address that an instruction's own exception pushes is that behind it: CPUs that save next_rip
 * take it from there, others from RIP.
 */
static noinline void inject_event(struct svm_vcpu *svm)
{
	struct vmcb_control *control = &svm->vmcb->control;
	u32 info = svm->vcpu.event_info, type = info & DUNE_EVENT_TYPE;
	u64 next = svm->vcpu.rip + ((info & DUNE_EVENT_LEN) >> DUNE_EVENT_LEN_SHIFT);

	svm->injected = info;
	svm->injected_rip = svm->vcpu.rip;
	control->next_rip = next;
	if (!svm_caps.nrips || type == DUNE_EVENT_ICEBP)
		svm->vmcb->save.rip = next;
	if (type == DUNE_EVENT_ICEBP || type == DUNE_EVENT_SOFT_EXC)
		type = DUNE_EVENT_HARD;
	if (type == DUNE_EVENT_HARD && !(BIT(info & DUNE_EVENT_VECTOR) & EXCEPTIONS))
		type = TYPE_INTERRUPT;
	control->interrupt_shadow = 0;
	control->inject = type | (info & (DUNE_EVENT_VALID | DUNE_EVENT_ERROR | DUNE_EVENT_VECTOR));
	control->inject_error = svm->vcpu.event_error;
}

static __always_inline void write_window(struct svm_vcpu *svm)
{
	struct vmcb_control *control = &svm->vmcb->control;
	u32 wanted = VMCB_V_INTR_MASKING;

	/* An interrupt that will never be delivered: its intercept comes first. */
	if (unlikely(svm->vcpu.flags & DUNE_RUN_WINDOW))
		wanted |= VMCB_V_IRQ | VMCB_V_IGN_TPR;
	if (unlikely(control->virtual_interrupt != wanted)) {
		control->virtual_interrupt = wanted;
		svm->clean &= ~VMCB_CLEAN_INTERRUPT;
	}
}

static __always_inline void write_flush(struct svm_vcpu *svm)
{
	u8 wanted = 0;

	if (unlikely(svm->flush))
		wanted = svm_caps.flush_by_asid ? VMCB_TLB_FLUSH_ASID : VMCB_TLB_FLUSH_ALL;
	svm->vmcb->control.tlb_control = wanted;
	svm->flush = false;
}

/* ---- Out --------------------------------------------------------------- */

/*
 * An exit in the middle of the delivery of an event (APM, "EXITINTINFO Pseudo-Code"): keep
 * it, to deliver it again.
 *
 * One that an instruction of the guest's asked for (INT n, INT3, INTO) is simply dropped: RIP is still at
 * that instruction, which will be executed again.  But not when it was injected, and the instruction
 * is none: then what was injected comes back.
 */
static noinline void keep_event(struct svm_vcpu *svm, u32 info)
{
	struct dune_vcpu *vcpu = &svm->vcpu;
	u32 type = info & DUNE_EVENT_TYPE, vector = info & DUNE_EVENT_VECTOR;
	u32 injected = svm->injected;

	if (injected && vector == (injected & DUNE_EVENT_VECTOR) &&
	    (injected & DUNE_EVENT_LEN || type == TYPE_INTERRUPT)) {
		vcpu->event_info = injected;
		vcpu->rip = svm->injected_rip;
		return;
	}
	if (type != DUNE_EVENT_HARD || vector == X86_TRAP_BP || vector == X86_TRAP_OF)
		return;
	vcpu->event_info = info & (DUNE_EVENT_VALID | DUNE_EVENT_ERROR | DUNE_EVENT_TYPE |
				   DUNE_EVENT_VECTOR);
	vcpu->event_error = svm->vmcb->control.exit_event_error;
}

static __always_inline void read_guest_state(struct svm_vcpu *svm, const struct vmcb_save *host)
{
	struct dune_vcpu *vcpu = &svm->vcpu;
	struct vmcb_save *save = &svm->vmcb->save;
	u32 event = svm->vmcb->control.exit_event;

	WRITE_ONCE(vcpu->run->regs.rax, save->rax);
	WRITE_ONCE(vcpu->run->cr2, save->cr2);
	vcpu->rip = save->rip;
	vcpu->rsp = save->rsp;
	vcpu->rflags = save->rflags;
	vcpu->cpl = save->cpl;
	vcpu->kernel_gs_base = save->kernel_gs_base;
	/* The bases are the task's: leave it what the guest has made of them. */
	if (unlikely(save->fs.base != host->fs.base))
		write_fs_base(save->fs.base);
	if (unlikely(save->gs.base != host->kernel_gs_base))
		write_inactive_gs_base(save->gs.base);
	vcpu->event_info = 0;
	if (unlikely(event & DUNE_EVENT_VALID))
		keep_event(svm, event);
}

#define DR6_RESET	0xffff0ff0

/* An intercepted exception.  True: it is a machine check, which the host has to take at once. */
static noinline bool decode_exception(struct svm_vcpu *svm, struct dune_exit *exit, u32 vector)
{
	struct vmcb_save *save = &svm->vmcb->save;

	exit->kind = X_NONE;
	if (vector == X86_TRAP_MC)
		return true;
	if (vector == X86_TRAP_NM)
		write_msr(MSR_IA32_XFD_ERR, 0);
	/* An exit does not load the host's DR6, and its #DB handler would believe the guest's. */
	if (vector == X86_TRAP_DB && save->dr6 != DR6_RESET) {
		native_set_debugreg(6, DR6_RESET);
		save->dr6 = DR6_RESET;
		svm->clean &= ~VMCB_CLEAN_DR;
	}
	exit->kind = X_EXCEPTION;
	exit->event.info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | vector;
	exit->event.error = 0;
	if (vector == X86_TRAP_AC) {
		exit->event.info |= DUNE_EVENT_ERROR;
		exit->event.error = svm->vmcb->control.exit_info1;
	}
	return false;
}

static __always_inline void decode_npf(struct svm_vcpu *svm, struct dune_exit *exit)
{
	u64 error = svm->vmcb->control.exit_info1;

	exit->kind = X_TDP_FAULT;
	exit->qualification = error;
	exit->tdp.gpa = svm->vmcb->control.exit_info2;
	exit->tdp.flags = error & NPF_FETCH ? DUNE_FAULT_EXEC :
			  error & NPF_WRITE ? DUNE_FAULT_WRITE : DUNE_FAULT_READ;
	exit->tdp.present = error & NPF_PRESENT;
	if (error & NPF_WALK)
		exit->tdp.flags |= DUNE_FAULT_WALK;
	if (unlikely(error & NPF_RESERVED)) {
		pr_err_ratelimited("NPT misconfiguration at guest-physical %#llx: a fault of the module's\n",
				   exit->tdp.gpa);
		exit->kind = X_UNKNOWN;
	}
}

static __always_inline u32 instruction_length(const struct svm_vcpu *svm, u32 known)
{
	return svm_caps.nrips ? svm->vmcb->control.next_rip - svm->vmcb->save.rip : known;
}

static noinline bool decode_rare_exit(struct svm_vcpu *svm, struct dune_exit *exit)
{
	u32 code = exit->hw_reason;

	exit->qualification = svm->vmcb->control.exit_info1;
	exit->kind = X_UNKNOWN;
	switch (code) {
	case SVM_EXIT_WRITE_CR0:
	case SVM_EXIT_WRITE_CR4:
		exit->len = svm_write_cr(svm, code - SVM_EXIT_WRITE_CR0);
		exit->kind = exit->len ? X_SKIP : X_PRIVILEGED;
		break;
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_EXCP_BASE + 31:
		return decode_exception(svm, exit, code - SVM_EXIT_EXCP_BASE);
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
		exit->kind = X_NONE;	/* STGI has let the host take it */
		break;
	case SVM_EXIT_ICEBP:
		exit->kind = X_EXCEPTION;
		exit->event.info = DUNE_EVENT_VALID | DUNE_EVENT_ICEBP | X86_TRAP_DB |
				   instruction_length(svm, 1) << DUNE_EVENT_LEN_SHIFT;
		exit->event.error = 0;
		break;
	case SVM_EXIT_SHUTDOWN:
		/* The VMCB is undefined now (APM, "Shutdown Intercept"). */
		exit->kind = X_TRIPLE_FAULT;
		svm->vcpu.cpl = svm->vcpu.cpl ? 3 : 0;
		vmcb_write(svm);
		break;
	case EXIT_INVALID:
		exit->kind = X_BAD_STATE;
		svm->clean = 0;
		break;
	}
	return false;
}

static __always_inline bool decode_exit(struct svm_vcpu *svm, struct dune_exit *exit)
{
	const struct vmcb_control *control = &svm->vmcb->control;
	u32 code = control->exit_code;

	exit->hw_reason = code;
	if (likely(code == SVM_EXIT_NPF)) {
		decode_npf(svm, exit);
		return false;
	}
	if (code == SVM_EXIT_MSR) {
		exit->kind = control->exit_info1 ? X_WRMSR : X_RDMSR;
		exit->len = instruction_length(svm, 2);
		exit->qualification = control->exit_info1;
		return false;
	}
	if (likely(code < ARRAY_SIZE(simple_exits) && simple_exits[code].kind != X_NONE)) {
		exit->kind = simple_exits[code].kind;
		exit->len = instruction_length(svm, simple_exits[code].len);
		exit->qualification = 0;
		return false;
	}
	return decode_rare_exit(svm, exit);
}

/* ---- Round the guest --------------------------------------------------- */

/*
 * The guest's ring 0 can execute XSAVES and XRSTORS, although CPUID hides them, and no intercept stops it: with
 * IA32_XSS at 0 they reach nothing of the host's (APM volume 4, "XRSTORS").
 */
static noinline void put_aside(const struct svm_vcpu *svm)
{
	if (svm_caps.host_xss)
		write_msr(MSR_IA32_XSS, 0);
	if (svm->debugctl)
		write_msr(MSR_IA32_DEBUGCTLMSR, 0);
}

static noinline void take_back(const struct svm_vcpu *svm)
{
	if (svm_caps.host_xss)
		write_msr(MSR_IA32_XSS, svm_caps.host_xss);
	if (svm->debugctl)
		write_msr(MSR_IA32_DEBUGCTLMSR, svm->debugctl);
}

static __always_inline bool enter(struct svm_vcpu *svm, u64 host_pa)
{
	bool aside = svm_caps.host_xss || svm->debugctl;
	u32 pkru = 0;
	bool ran;

	svm->vmcb->control.clean = svm->clean;
	svm->entered = true;

	/* The guest has no CR4.PKE, but XRSTOR reaches PKRU all the same. */
	if (cpu_feature_enabled(X86_FEATURE_OSPKE))
		pkru = rdpkru();
	if (unlikely(aside))
		put_aside(svm);
	dune_guest_enter_irqoff();
	ran = svm_enter(&svm->vcpu.run->regs, svm->vmcb_pa, host_pa, dune_spec.verw ? SVM_ENTER_VERW : 0);
	dune_restore_spec_ctrl();
	dune_guest_exit_irqoff();
	svm_restore_debug();
	if (unlikely(aside))
		take_back(svm);
	if (cpu_feature_enabled(X86_FEATURE_OSPKE) && rdpkru() != pkru)
		wrpkru(pkru);
	return ran;
}

static void svm_run(struct dune_vcpu *vcpu)
{
	struct dune_exit *exit = &vcpu->exit;
	struct svm_vcpu *svm = to_svm(vcpu);
	const struct vmcb_save *host;
	bool machine_check;
	u64 host_pa;

	host = dune_hw_usable() ? svm_save_host(&host_pa) : NULL;
	if (unlikely(!host))
		goto dead;
	write_guest_state(svm, host);
	write_window(svm);
	write_flush(svm);
	if (unlikely(vcpu->event_info))
		inject_event(svm);
	if (unlikely(!enter(svm, host_pa)))
		goto dead;

	svm->clean = VMCB_CLEAN_ALL;
	svm->vmcb->control.inject = 0;
	read_guest_state(svm, host);
	machine_check = decode_exit(svm, exit);
	svm->injected = 0;
	/* The CPU reports it as an exit instead of taking it. */
	if (unlikely(machine_check))
		dune_take_machine_check();
	return;

dead:
	exit->kind = X_DEAD;
	exit->hw_reason = 0;
	exit->qualification = 0;
}

/* ---- The rest of the table ---------------------------------------------- */

static int svm_setup(struct dune_hw_caps *caps)
{
	int error = svm_caps_read();

	if (error)
		return error;
	caps->tdp_format = npt_format(read_msr(MSR_IA32_CR_PAT), sme_me_mask,
				      boot_cpu_has(X86_FEATURE_GBPAGES));
	/* The mode of nested walks is the host's own. */
	caps->tdp_levels = pgtable_l5_enabled() ? 5 : 4;
	/* Linux has taken off what memory encryption takes of the width; four levels translate 48 bits. */
	caps->gpa_bits = min_t(unsigned int, boot_cpu_data.x86_phys_bits, 48);
	caps->cr4_allowed = svm_caps.cr4_allowed;
	error = vmcb_setup();
	if (error)
		return error;
	error = svm_state_setup();
	if (error)
		vmcb_teardown();
	return error;
}

static void svm_teardown(void)
{
	svm_state_teardown();
	vmcb_teardown();
}

/* Nothing of ours is left on a CPU between an exit and the next entry. */
static void svm_cpu_disable(void)
{
}

static int svm_vcpu_reset(struct dune_vcpu *vcpu)
{
	vmcb_write(to_svm(vcpu));
	vcpu->cpu = -1;
	return 0;
}

static int svm_vcpu_create(struct dune_vcpu *vcpu)
{
	int error = vmcb_alloc(to_svm(vcpu));

	return error ?: svm_vcpu_reset(vcpu);
}

static void svm_vcpu_destroy(struct dune_vcpu *vcpu)
{
	vmcb_free(to_svm(vcpu));
}

/* What a CPU has cached of a VMCB is of no use on another. */
static void svm_vcpu_migrate(struct dune_vcpu *vcpu)
{
	to_svm(vcpu)->clean = 0;
	vcpu->cpu = smp_processor_id();
}

static void svm_flush_tlb(struct dune_vcpu *vcpu)
{
	to_svm(vcpu)->flush = true;
}

const struct dune_hw_ops svm_ops = {
	.name		= "SVM",
	.kvm_module	= "kvm_amd",
	.vendor		= DUNE_VENDOR_SVM,
	.vcpu_size	= sizeof(struct svm_vcpu),
	.check		= svm_check,
	.setup		= svm_setup,
	.teardown	= svm_teardown,
	.cpu_disable	= svm_cpu_disable,
	.is_on		= svm_is_on,
	.own_setup	= svm_own_setup,
	.own_teardown	= svm_own_teardown,
	.own_on		= svm_own_on,
	.own_off	= svm_own_off,
	.vcpu_create	= svm_vcpu_create,
	.vcpu_reset	= svm_vcpu_reset,
	.vcpu_destroy	= svm_vcpu_destroy,
	.vcpu_migrate	= svm_vcpu_migrate,
	.vcpu_load	= svm_vcpu_load,
	.vcpu_put	= svm_vcpu_put,
	.run		= svm_run,
	.flush_tlb	= svm_flush_tlb,
	.get_msr	= svm_get_msr,
	.set_msr	= svm_set_msr,
};
