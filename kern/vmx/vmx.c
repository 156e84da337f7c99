// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running a guest on VT-x: everything between "enter" and a neutral struct
 * dune_exit, in one section with interrupts off.
 */
#include <linux/hw_breakpoint.h>
#include <linux/irqflags.h>
#include <linux/percpu.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>
#include <asm/vmx.h>

#include "../msr.h"
#include "../spec.h"
#include "enter.h"
#include "insn.h"
#include "vmx.h"

/* Exits that need nothing from the VMCS but the length of the instruction. */
static const u8 simple_exits[] = {
	[EXIT_REASON_TRIPLE_FAULT]	= X_TRIPLE_FAULT,
	[EXIT_REASON_INTERRUPT_WINDOW]	= X_WINDOW,
	[EXIT_REASON_EXTERNAL_INTERRUPT] = X_INTERRUPT,
	[EXIT_REASON_PREEMPTION_TIMER]	= X_INTERRUPT,
	[EXIT_REASON_CPUID]		= X_CPUID,
	[EXIT_REASON_VMCALL]		= X_HYPERCALL,
	[EXIT_REASON_RDTSC]		= X_RDTSC,
	[EXIT_REASON_RDTSCP]		= X_RDTSC,
	[EXIT_REASON_MSR_READ]		= X_RDMSR,
	[EXIT_REASON_MSR_WRITE]		= X_WRMSR,
	[EXIT_REASON_XSETBV]		= X_XSETBV,
	/* What a program in user mode is not allowed. */
	[EXIT_REASON_HLT]		= X_PRIVILEGED,
	[EXIT_REASON_INVD]		= X_PRIVILEGED,
	[EXIT_REASON_WBINVD]		= X_PRIVILEGED,
	[EXIT_REASON_RDPMC]		= X_PRIVILEGED,
	[EXIT_REASON_CR_ACCESS]		= X_PRIVILEGED,
	[EXIT_REASON_DR_ACCESS]		= X_PRIVILEGED,
	[EXIT_REASON_IO_INSTRUCTION]	= X_PRIVILEGED,
	[EXIT_REASON_GDTR_IDTR]		= X_PRIVILEGED,
	[EXIT_REASON_LDTR_TR]		= X_PRIVILEGED,
	/* What CPUID says that this CPU does not have. */
	[11 /* GETSEC */]		= X_UNDEFINED,
	[17 /* RSM */]			= X_UNDEFINED,
	[EXIT_REASON_VMCLEAR]		= X_UNDEFINED,
	[EXIT_REASON_VMLAUNCH]		= X_UNDEFINED,
	[EXIT_REASON_VMPTRLD]		= X_UNDEFINED,
	[EXIT_REASON_VMPTRST]		= X_UNDEFINED,
	[EXIT_REASON_VMREAD]		= X_UNDEFINED,
	[EXIT_REASON_VMRESUME]		= X_UNDEFINED,
	[EXIT_REASON_VMWRITE]		= X_UNDEFINED,
	[EXIT_REASON_VMOFF]		= X_UNDEFINED,
	[EXIT_REASON_VMON]		= X_UNDEFINED,
	[EXIT_REASON_INVEPT]		= X_UNDEFINED,
	[EXIT_REASON_INVVPID]		= X_UNDEFINED,
	[EXIT_REASON_VMFUNC]		= X_UNDEFINED,
	[EXIT_REASON_MWAIT_INSTRUCTION]	= X_UNDEFINED,
	[EXIT_REASON_MONITOR_INSTRUCTION] = X_UNDEFINED,
	[EXIT_REASON_ENCLS]		= X_UNDEFINED,
	[EXIT_REASON_XSAVES]		= X_UNDEFINED,
	[EXIT_REASON_XRSTORS]		= X_UNDEFINED,
};

/* ---- The current VMCS ---------------------------------------------------- */

/*
 * Make ours the current one, until release().  Interrupts are off in between: later, KVM may
 * have cleared, moved or freed what was current.  False: VMX is off.
 */
static noinline bool acquire_slowly(struct vmx_vcpu *vmx)
{
	if (vmx->vcpu.cpu != smp_processor_id() || !vmptrld(&vmx->vmcs_pa))
		return false;
	/* Another of ours that was left there needs no return. */
	if (vmx->found_vmcs == VMCS_NONE || vmx->found_vmcs == this_cpu_read(vmx_resident_vmcs)) {
		this_cpu_write(vmx_resident_vmcs, vmx->vmcs_pa);
		vmx->found_vmcs = vmx->vmcs_pa;
	}
	return true;
}

static __always_inline bool acquire(struct vmx_vcpu *vmx)
{
	/* Nothing may be written to a VMCS that is not there: it would be lost. */
	if (unlikely(!vmptrst(&vmx->found_vmcs)))
		return false;
	return likely(vmx->found_vmcs == vmx->vmcs_pa) || acquire_slowly(vmx);
}

static __always_inline void release(struct vmx_vcpu *vmx)
{
	if (unlikely(vmx->found_vmcs != vmx->vmcs_pa))
		vmptrld(&vmx->found_vmcs);
}

/* ---- In ---------------------------------------------------------------- */

/* BORROW_PKRU where the host uses protection keys. */
static u32 vmx_always_borrowed __ro_after_init;

static void write_dirty_parts(struct vmx_vcpu *vmx, u32 dirty)
{
	if (dirty & VMX_DIRTY_CPU)
		vmcs_write_host(vmx);
	if (dirty & VMX_DIRTY_GUEST) {
		vmcs_write_controls(vmx);
		vmcs_write_guest(vmx);
	}
	if (dirty & (VMX_DIRTY_BASES | VMX_DIRTY_GUEST | VMX_DIRTY_CPU)) {
		vmwrite(HOST_FS_BASE, vmx->fs_base);
		vmwrite(GUEST_FS_BASE, vmx->fs_base);
		vmwrite(GUEST_GS_BASE, vmx->gs_base);
	}
	if (dirty & (VMX_DIRTY_EFER | VMX_DIRTY_CPU))
		vmwrite(HOST_IA32_EFER, vmx->foreign_msrs ? vmx->found.efer : vmx_kernel_msrs.efer);
}

/* The processor-based controls with those that change. */
static void write_proc(struct vmx_vcpu *vmx)
{
	u32 proc = vmx->proc;

	if (vmx->vcpu.flags & DUNE_RUN_WINDOW)
		proc |= CPU_BASED_INTR_WINDOW_EXITING;
	if (vmx->vcpu.no_tsc)
		proc |= CPU_BASED_RDTSC_EXITING;
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, proc);
}

/* SDM, "VM-Entry Controls for Event Injection"; dune_run.event_info has the same layout but for the length. */
static void inject_event(struct vmx_vcpu *vmx)
{
	u32 info = vmx->vcpu.event_info;

	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 0);
	if (info & DUNE_EVENT_ERROR)
		vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, vmx->vcpu.event_error);
	vmwrite(VM_ENTRY_INSTRUCTION_LEN, (info & DUNE_EVENT_LEN) >> DUNE_EVENT_LEN_SHIFT);
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, info & ~DUNE_EVENT_LEN);
	vmx->vcpu.event_info = 0;
}

/* What is seldom to be written. */
static noinline void write_rare_state(struct vmx_vcpu *vmx, u32 dirty)
{
	struct dune_vcpu *vcpu = &vmx->vcpu;

	if (dirty >= VCPU_DIRTY_VENDOR)
		write_dirty_parts(vmx, dirty);
	if (dirty & VCPU_DIRTY_RSP)
		vmwrite(GUEST_RSP, vcpu->rsp);
	if (dirty & VCPU_DIRTY_CPL)
		vmcs_write_cpl(vmx);
	if (dirty & (VCPU_DIRTY_WINDOW | VCPU_DIRTY_TSC | VMX_DIRTY_GUEST))
		write_proc(vmx);
	if (dirty & VCPU_DIRTY_EVENT)
		inject_event(vmx);
}

/*
 * An exit clears DEBUGCTL and DR7 (SDM, "Loading Host Control Registers, Debug Registers, MSRs"); a live PEBS
 * counter would store its records through the guest's addresses.
 */
static noinline u32 what_is_live(void)
{
	u32 live = 0;

	if (msr_bits(MSR_IA32_DEBUGCTLMSR))
		live |= BORROW_DEBUGCTL;
	if (this_cpu_read(cpu_dr7) & DR_GLOBAL_ENABLE_MASK)
		live |= BORROW_DR7;
	if (boot_cpu_has(X86_FEATURE_PEBS) && msr_bits(MSR_IA32_PEBS_ENABLE))
		live |= BORROW_PEBS;
	return live;
}

static __always_inline u32 read_ldt(void)
{
	u32 selector;

	asm volatile("sldt %0" : "=r"(selector));
	return selector;
}

/*
 * After interrupts were on: look at those of the host's registers that an exit does not bring back as they were.  By an
 * interrupt a CPU learns of the LDT that another thread of the process has made.
 */
static __always_inline void look_at_host(struct vmx_vcpu *vmx)
{
	u64 cr3 = __native_read_cr3(), cr4 = native_read_cr4();
	u32 ldt = read_ldt(), live;

	if (unlikely(cr3 != vmx->host_cr3))
		vmwrite(HOST_CR3, vmx->host_cr3 = cr3);
	if (unlikely(cr4 != vmx->host_cr4))
		vmwrite(HOST_CR4, vmx->host_cr4 = cr4);
	if (unlikely(ldt)) {
		vmx->selectors = true;
		vmx->ldt = ldt;
	}
	live = msr_bits(MSR_IA32_DEBUGCTLMSR) | (this_cpu_read(cpu_dr7) & DR_GLOBAL_ENABLE_MASK);
	if (static_cpu_has(X86_FEATURE_PEBS))
		live |= msr_bits(MSR_IA32_PEBS_ENABLE);
	vmx->borrowed = vmx_always_borrowed;
	if (unlikely(live))
		vmx->borrowed |= what_is_live();
}

static __always_inline void write_state(struct vmx_vcpu *vmx)
{
	struct dune_vcpu *vcpu = &vmx->vcpu;
	u32 dirty = vcpu->dirty;

	vcpu->dirty = 0;
	if (unlikely(dirty & ~(VCPU_DIRTY_RIP | VCPU_DIRTY_RFLAGS | VCPU_DIRTY_HOST)))
		write_rare_state(vmx, dirty);
	/*
	 * The shadow of STI or MOV SS was that of the instruction left behind; and with one, the CPU refuses some
	 * values of IF and TF (SDM, "Checks on Guest Non-Register State").
	 */
	if (dirty & (VCPU_DIRTY_RIP | VCPU_DIRTY_RFLAGS))
		vmwrite(GUEST_INTERRUPTIBILITY_INFO, 0);
	if (dirty & VCPU_DIRTY_RIP)
		vmwrite(GUEST_RIP, vcpu->rip);
	if (dirty & VCPU_DIRTY_RFLAGS)
		vmwrite(GUEST_RFLAGS, vcpu->rflags);
	if (dirty & VCPU_DIRTY_HOST)
		look_at_host(vmx);
}

/* ---- Out --------------------------------------------------------------- */

/* An exit in the middle of the delivery of an event: keep it, to deliver it again. */
static noinline void keep_event(struct dune_vcpu *vcpu, u32 vectoring)
{
	u32 type = vectoring & DUNE_EVENT_TYPE;

	vcpu->dirty |= VCPU_DIRTY_EVENT;
	vcpu->event_info = vectoring & (DUNE_EVENT_VALID | DUNE_EVENT_ERROR | DUNE_EVENT_TYPE |
					DUNE_EVENT_VECTOR);
	if (vectoring & DUNE_EVENT_ERROR)
		vcpu->event_error = vmread(IDT_VECTORING_ERROR_CODE);
	if (type == DUNE_EVENT_SOFT_INT || type == DUNE_EVENT_ICEBP || type == DUNE_EVENT_SOFT_EXC)
		vcpu->event_info |= (vmread(VM_EXIT_INSTRUCTION_LEN) << DUNE_EVENT_LEN_SHIFT) &
				    DUNE_EVENT_LEN;
}

static __always_inline void read_guest_state(struct vmx_vcpu *vmx)
{
	struct dune_vcpu *vcpu = &vmx->vcpu;
	u32 vectoring;
	u64 fs_base;

	vcpu->rip = vmread(GUEST_RIP);
	vcpu->rsp = vmread(GUEST_RSP);
	vcpu->rflags = vmread(GUEST_RFLAGS);
	vcpu->cpl = vmread(GUEST_CS_SELECTOR) & 3;
	vmx->gs_base = vmread(GUEST_GS_BASE);
	fs_base = vmread(GUEST_FS_BASE);
	if (unlikely(fs_base != vmx->fs_base)) {
		vmx->fs_base = fs_base;
		vcpu->dirty |= VMX_DIRTY_BASES;
		write_fs_base(fs_base);
	}
	vectoring = vmread(IDT_VECTORING_INFO_FIELD);
	if (unlikely(vectoring & VECTORING_INFO_VALID_MASK))
		keep_event(vcpu, vectoring);
}

#define HOST_NMI		1
#define HOST_MACHINE_CHECK	2

/* An intercepted exception, or an NMI.  Returns what the host has to take at once. */
static noinline int decode_exception(struct dune_exit *exit)
{
	u32 info = vmread(VM_EXIT_INTR_INFO);
	u32 type = info & INTR_INFO_INTR_TYPE_MASK, vector = info & INTR_INFO_VECTOR_MASK;

	exit->kind = X_NONE;
	if (type == INTR_TYPE_NMI_INTR)
		return HOST_NMI;
	if (vector == X86_TRAP_MC)
		return HOST_MACHINE_CHECK;
	if (vector == X86_TRAP_NM)
		write_msr(MSR_IA32_XFD_ERR, 0);
	exit->kind = X_EXCEPTION;
	exit->event.info = DUNE_EVENT_VALID | (info & (DUNE_EVENT_TYPE | DUNE_EVENT_VECTOR | DUNE_EVENT_ERROR));
	exit->event.error = info & DUNE_EVENT_ERROR ? vmread(VM_EXIT_INTR_ERROR_CODE) : 0;
	if (type == DUNE_EVENT_ICEBP || type == DUNE_EVENT_SOFT_EXC)
		exit->event.info |= (exit->len << DUNE_EVENT_LEN_SHIFT) & DUNE_EVENT_LEN;
	return 0;
}

/* SDM, "Exit Qualification for EPT Violations". */
#define EPT_QUAL_ACCESS		0x007	/* read, write, fetch: the bits of DUNE_FAULT_* */
#define EPT_QUAL_PRESENT	0x038	/* what the entry allows: those three */
#define EPT_QUAL_GVA		0x080	/* GUEST_LINEAR_ADDRESS is valid */
#define EPT_QUAL_TRANSLATED	0x100	/* the access itself, not one to the guest's page table */

static __always_inline void decode_ept_violation(struct dune_exit *exit)
{
	u64 qualification = exit->qualification;

	exit->kind = X_TDP_FAULT;
	exit->tdp.gpa = vmread(GUEST_PHYSICAL_ADDRESS);
	exit->tdp.flags = qualification & EPT_QUAL_ACCESS;
	exit->tdp.present = qualification & EPT_QUAL_PRESENT;
	if (qualification & EPT_QUAL_GVA) {
		exit->tdp.gva = vmread(GUEST_LINEAR_ADDRESS);
		exit->tdp.flags |= DUNE_FAULT_GVA;
		if (!(qualification & EPT_QUAL_TRANSLATED))
			exit->tdp.flags |= DUNE_FAULT_WALK;
	}
}

/*
 * An entry that fails leaves the event in its field, and the last exit's in IDT_VECTORING_INFO_FIELD (SDM,
 * "VM-Entry Failures During or After Loading Guest State").
 */
static noinline void forget_event(struct vmx_vcpu *vmx)
{
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmx->vcpu.event_info = 0;
}

/* Neither simple nor a fault: an exception, or what should not happen. */
static noinline int decode_rare_exit(struct vmx_vcpu *vmx, struct dune_exit *exit)
{
	bool failed = exit->hw_reason & VMX_EXIT_REASONS_FAILED_VMENTRY;
	u16 reason = exit->hw_reason;

	exit->qualification = vmread(EXIT_QUALIFICATION);
	exit->len = vmread(VM_EXIT_INSTRUCTION_LEN);
	if (failed)
		forget_event(vmx);
	else
		vmx->launched = true;
	if (reason == EXIT_REASON_EXCEPTION_NMI)
		return decode_exception(exit);
	exit->kind = X_UNKNOWN;
	if (reason == EXIT_REASON_EPT_MISCONFIG)
		pr_err_ratelimited("EPT misconfiguration at guest-physical %#llx: a fault of the module's\n",
				   vmread(GUEST_PHYSICAL_ADDRESS));
	if (failed && reason == EXIT_REASON_MCE_DURING_VMENTRY)
		return HOST_MACHINE_CHECK;
	if (failed)
		exit->kind = X_BAD_STATE;
	return 0;
}

/*
 * The reason proper is in the low half.  Above it are circumstances, such as that an SGX enclave was interrupted (SDM,
 * "Basic VM-Exit Information"); an entry that failed has reasons of its own, which are rare.
 */
static __always_inline int decode_exit(struct vmx_vcpu *vmx, struct dune_exit *exit)
{
	u16 reason = exit->hw_reason;

	if (likely(reason < ARRAY_SIZE(simple_exits))) {
		exit->kind = simple_exits[reason];
		if (likely(exit->kind != X_NONE)) {
			exit->len = vmread(VM_EXIT_INSTRUCTION_LEN);
			vmx->launched = true;
			return 0;
		}
	}
	if (likely(reason == EXIT_REASON_EPT_VIOLATION)) {
		exit->qualification = vmread(EXIT_QUALIFICATION);
		decode_ept_violation(exit);
		vmx->launched = true;
		return 0;
	}
	return decode_rare_exit(vmx, exit);
}

/* ---- Round the guest --------------------------------------------------- */

static noinline u32 prepare_speculation(struct vmx_vcpu *vmx)
{
	if (dune_spec.flush_l1d && vmx->vcpu.flush_l1d)
		dune_flush_l1d();
	vmx->vcpu.flush_l1d = false;
	return dune_spec.verw ? VMX_ENTER_VERW : 0;
}

static noinline void borrow(struct vmx_vcpu *vmx)
{
	if (vmx->borrowed & BORROW_DEBUGCTL)
		vmx->debugctl = read_msr(MSR_IA32_DEBUGCTLMSR);
	if (vmx->borrowed & BORROW_PEBS) {
		vmx->pebs = read_msr(MSR_IA32_PEBS_ENABLE);
		write_msr(MSR_IA32_PEBS_ENABLE, 0);
	}
	/* The guest has no CR4.PKE, but XRSTOR reaches PKRU all the same. */
	if (vmx->borrowed & BORROW_PKRU)
		vmx->pkru = rdpkru();
}

static noinline void give_back(struct vmx_vcpu *vmx)
{
	if (vmx->borrowed & BORROW_DEBUGCTL)
		write_msr(MSR_IA32_DEBUGCTLMSR, vmx->debugctl);
	if (vmx->borrowed & BORROW_DR7)
		native_set_debugreg(7, this_cpu_read(cpu_dr7));
	if (vmx->borrowed & BORROW_PEBS)
		write_msr(MSR_IA32_PEBS_ENABLE, vmx->pebs);
	if ((vmx->borrowed & BORROW_PKRU) && rdpkru() != vmx->pkru)
		wrpkru(vmx->pkru);
}

/* vmenter.S: it keeps RBP and RSP only, which leaves to the compiler what is worth saving. */
static __always_inline bool call_vmx_enter(struct dune_regs *regs, u64 *host_rsp, u32 flags)
{
	bool ran;

	asm volatile("call vmx_enter"
		     : "=a"(ran), "+D"(regs), "+S"(host_rsp), "+d"(flags), ASM_CALL_CONSTRAINT
		     : : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
	return ran;
}

static __always_inline bool enter(struct vmx_vcpu *vmx)
{
	struct dune_run *run = vmx->vcpu.run;
	u64 cr2 = READ_ONCE(run->cr2);
	u32 flags = vmx->launched ? VMX_ENTER_RESUME : 0;
	bool ran;

	if (static_branch_unlikely(&dune_spec_entry))
		flags |= prepare_speculation(vmx);
	if (unlikely(vmx->borrowed))
		borrow(vmx);
	if (cr2 != native_read_cr2())
		native_write_cr2(cr2);

	dune_guest_enter_irqoff();
	ran = call_vmx_enter(&run->regs, &vmx->host_rsp, flags);
	dune_restore_spec_ctrl();
	dune_guest_exit_irqoff();

	WRITE_ONCE(vmx->vcpu.run->cr2, native_read_cr2());
	if (unlikely(vmx->borrowed))
		give_back(vmx);
	return ran;
}

static void notrace vmx_run(struct dune_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct dune_exit *exit = &vcpu->exit;
	int host = 0;

	if (unlikely(!acquire(vmx))) {
		exit->kind = X_DEAD;
		exit->hw_reason = 0;
		return;
	}
	write_state(vmx);
	if (likely(enter(vmx))) {
		exit->hw_reason = vmread(VM_EXIT_REASON);
		read_guest_state(vmx);
		host = decode_exit(vmx, exit);
	} else {
		exit->hw_reason = vmread(VM_INSTRUCTION_ERROR);
		exit->kind = exit->hw_reason == VM_INSTRUCTION_ERROR ? X_DEAD : X_BAD_STATE;
		forget_event(vmx);
	}
	release(vmx);

	/* The CPU reports these as exits instead of taking them. */
	if (unlikely(host == HOST_NMI))
		asm volatile("int $2");
	else if (unlikely(host == HOST_MACHINE_CHECK))
		dune_take_machine_check();
}

/* ---- The rest of the table ---------------------------------------------- */

static int vmx_setup(struct dune_hw_caps *caps)
{
	int error = vmx_caps_read();

	if (error)
		return error;
	if (boot_cpu_has(X86_FEATURE_OSPKE))
		vmx_always_borrowed = BORROW_PKRU;
	caps->tdp_format = ept_format(vmx_caps.ept_vpid);
	caps->tdp_levels = EPT_LEVELS;
	error = vmx_learn_kernel_msrs();
	if (error)
		return error;
	/* Four levels of EPT translate 48 bits. */
	caps->gpa_bits = min_t(unsigned int, boot_cpu_data.x86_phys_bits, 48);
	caps->cr4_allowed = vmx_caps.cr4_allowed;
	return vmcs_setup();
}

static int vmx_vcpu_reset(struct dune_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	/* What is constant is written when it comes to a CPU, so it has to come. */
	vmcs_clear(vmx);
	vmx->lstar = vcpu->config.lstar;
	vcpu->dirty |= VMX_DIRTY_GUEST;
	return 0;
}

static int vmx_vcpu_create(struct dune_vcpu *vcpu)
{
	int error = vmcs_alloc(to_vmx(vcpu));

	return error ?: vmx_vcpu_reset(vcpu);
}

static void vmx_vcpu_destroy(struct dune_vcpu *vcpu)
{
	vmcs_free(to_vmx(vcpu));
}

static void vmx_flush_tlb(struct dune_vcpu *vcpu)
{
	invept_single(to_vmx(vcpu)->eptp);
}

const struct dune_hw_ops vmx_ops = {
	.name		= "VT-x",
	.kvm_module	= "kvm_intel",
	.vendor		= DUNE_VENDOR_VMX,
	.vcpu_size	= sizeof(struct vmx_vcpu),
	.check		= vmx_check,
	.setup		= vmx_setup,
	.teardown	= vmcs_teardown,
	.cpu_disable	= vmcs_clear_all_here,
	.is_on		= vmx_is_on,
	.own_setup	= vmx_own_setup,
	.own_teardown	= vmx_own_teardown,
	.own_on		= vmx_own_on,
	.own_off	= vmx_own_off,
	.vcpu_create	= vmx_vcpu_create,
	.vcpu_reset	= vmx_vcpu_reset,
	.vcpu_destroy	= vmx_vcpu_destroy,
	.vcpu_migrate	= vmcs_migrate,
	.vcpu_load	= vmx_vcpu_load,
	.vcpu_put	= vmx_vcpu_put,
	.run		= vmx_run,
	.flush_tlb	= vmx_flush_tlb,
	.get_msr	= vmx_get_msr,
	.set_msr	= vmx_set_msr,
};
