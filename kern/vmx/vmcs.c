// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMCS: its memory, which CPU has it, and its fields.
 *
 * KVM uses VMCSs on the same CPUs and knows nothing of ours.  So ours is current
 * only while interrupts are off, unless none was before: acquire() and release() in vmx.c.  And KVM's clean-up at
 * reboot, suspend and CPU offline does not cover ours: each CPU keeps a list of those that it may have cached.
 */
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <asm/cpu_entry_area.h>
#include <asm/desc.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "../msr.h"
#include "../mmu/tdp_format.h"
#include "insn.h"
#include "vmx.h"

/* VMCSs of ours that this CPU may have cached; changed on it with interrupts off. */
static DEFINE_PER_CPU(struct list_head, active_vmcs);
DEFINE_PER_CPU(u64, vmx_resident_vmcs);

/* Zeroed (every MSR of the bitmap set would be all ones): see vmcs_setup(). */
static unsigned long msr_bitmap_page;

/* VPIDs are taken from the top; KVM takes its own from the bottom. */
#define VPID_MIN	0x8000
static DEFINE_IDA(vpids);

int vmcs_setup(void)
{
	int cpu;

	/* One for all: every MSR exits.  SDM, "MSR-Bitmap Address". */
	msr_bitmap_page = __get_free_page(GFP_KERNEL);
	if (!msr_bitmap_page)
		return -ENOMEM;
	memset((void *)msr_bitmap_page, 0xff, PAGE_SIZE);
	for_each_possible_cpu(cpu)
		INIT_LIST_HEAD(per_cpu_ptr(&active_vmcs, cpu));
	return 0;
}

void vmcs_teardown(void)
{
	free_page(msr_bitmap_page);
	msr_bitmap_page = 0;
	ida_destroy(&vpids);
}

int vmcs_alloc(struct vmx_vcpu *vmx)
{
	struct page *page;
	int vpid;

	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	vmx->vmcs = page_address(page);
	vmx->vmcs_pa = __pa(vmx->vmcs);
	*(u32 *)vmx->vmcs = vmx_caps.revision;
	INIT_LIST_HEAD(&vmx->active);
	vmx->eptp = ept_pointer(&vmx->vcpu.vm->mmu.tdp);

	if (vmx_caps.vpid) {
		vpid = ida_alloc_range(&vpids, VPID_MIN, 0xffff, GFP_KERNEL);
		vmx->vpid = vpid > 0 ? vpid : 0;
	}
	return 0;
}

static void vmcs_clear_here(void *argument)
{
	struct vmx_vcpu *vmx = argument;
	unsigned long flags;

	local_irq_save(flags);
	if (vmx->vcpu.cpu == smp_processor_id()) {
		vmclear(&vmx->vmcs_pa);
		if (this_cpu_read(vmx_resident_vmcs) == vmx->vmcs_pa)
			this_cpu_write(vmx_resident_vmcs, 0);
		list_del_init(&vmx->active);
		vmx->launched = false;
		/* Also when its thread stays here: it has to be brought back. */
		WRITE_ONCE(vmx->vcpu.cpu, -1);
	}
	local_irq_restore(flags);
}

/* Take it out of the cache of the CPU that has it. */
void vmcs_clear(struct vmx_vcpu *vmx)
{
	int cpu = READ_ONCE(vmx->vcpu.cpu);

	/* An offline CPU has cleared all of its own: vmcs_clear_all_here(). */
	if (cpu >= 0)
		smp_call_function_single(cpu, vmcs_clear_here, vmx, 1);
}

void vmcs_clear_all_here(void)
{
	struct vmx_vcpu *vmx, *next;

	list_for_each_entry_safe(vmx, next, this_cpu_ptr(&active_vmcs), active)
		vmcs_clear_here(vmx);
}

void vmcs_free(struct vmx_vcpu *vmx)
{
	vmcs_clear(vmx);
	if (vmx->vpid)
		ida_free(&vpids, vmx->vpid);
	free_page((unsigned long)vmx->vmcs);
}

void vmcs_migrate(struct dune_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int cpu = smp_processor_id();
	unsigned long flags;

	lockdep_assert_preemption_disabled();
	lockdep_assert_irqs_enabled();
	vmcs_clear(vmx);
	local_irq_save(flags);
	if (dune_hw_usable()) {
		vmclear(&vmx->vmcs_pa);
		list_add(&vmx->active, this_cpu_ptr(&active_vmcs));
		vcpu->cpu = cpu;
	}
	vmx->launched = false;
	vcpu->dirty |= VMX_DIRTY_CPU;
	vmx_host_state_migrate(vmx);
	/* What the guest flushed elsewhere may still be here under its VPID. */
	invept_single(vmx->eptp);
	local_irq_restore(flags);
}

/* ---- Fields ------------------------------------------------------------ */

void vmcs_write_controls(struct vmx_vcpu *vmx)
{
	const struct vmx_caps *caps = &vmx_caps;
	u32 proc2 = caps->proc2;

	if (!(vmx->vcpu.config.flags & DUNE_VCPU_STRICT))
		proc2 &= ~SECONDARY_EXEC_DESC;
	if (!vmx->vpid)
		proc2 &= ~SECONDARY_EXEC_ENABLE_VPID;

	vmx->proc = caps->proc;
	if (vmx->vcpu.config.flags & DUNE_VCPU_STRICT)
		vmx->proc |= CPU_BASED_CR3_LOAD_EXITING;

	vmwrite(PIN_BASED_VM_EXEC_CONTROL, caps->pin);
	if (caps->pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		vmwrite(VMX_PREEMPTION_TIMER_VALUE, caps->timer);
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, vmx->proc);
	vmwrite(SECONDARY_VM_EXEC_CONTROL, proc2);
	vmwrite(VM_EXIT_CONTROLS, caps->exit);
	vmwrite(VM_ENTRY_CONTROLS, caps->entry);

	/*
	 * Every exception goes to the guest's own handler, but for those with which it could
	 * stop the CPU (#DB and #AC raised by the delivery of themselves), the host's
	 * (#MC), and, where the CPU has XFD, #NM, which leaves a mark in an MSR of the host.
	 */
	vmwrite(EXCEPTION_BITMAP, BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC) |
		(dune_cpu_has(X86_FEATURE_XFD) ? BIT(X86_TRAP_NM) : 0));
	vmwrite(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmwrite(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmwrite(CR3_TARGET_COUNT, 0);
	vmwrite(VM_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmwrite(MSR_BITMAP, __pa(msr_bitmap_page));
	vmwrite(EPT_POINTER, vmx->eptp);
	if (vmx->vpid)
		vmwrite(VIRTUAL_PROCESSOR_ID, vmx->vpid);
	if (caps->encls)
		vmwrite(ENCLS_EXITING_BITMAP, ~0ULL);
	vmwrite(VMCS_LINK_POINTER, ~0ULL);
}

/* Access rights of segments (SDM, "Format of Access Rights"). */
#define AR_CODE64(dpl)	(0xa09b | (dpl) << 5)
#define AR_DATA(dpl)	(0xc093 | (dpl) << 5)
#define AR_TSS64	0x008b
#define AR_UNUSABLE	0x10000

struct vmcs_segment {
	u16 selector, base, limit, rights;	/* encodings of the fields */
};

#define SEGMENT(name) { GUEST_##name##_SELECTOR, GUEST_##name##_BASE, \
			GUEST_##name##_LIMIT, GUEST_##name##_AR_BYTES }

static const struct vmcs_segment segment_cs = SEGMENT(CS);
static const struct vmcs_segment segment_ss = SEGMENT(SS);
static const struct vmcs_segment segment_tr = SEGMENT(TR);
static const struct vmcs_segment segments_unused[] = {
	SEGMENT(DS), SEGMENT(ES), SEGMENT(FS), SEGMENT(GS), SEGMENT(LDTR),
};

static void write_segment(const struct vmcs_segment *field, u16 selector, u64 base,
			  u32 limit, u32 rights)
{
	vmwrite(field->selector, selector);
	vmwrite(field->base, base);
	vmwrite(field->limit, limit);
	vmwrite(field->rights, rights);
}

void vmcs_write_cpl(struct vmx_vcpu *vmx)
{
	u32 cpl = vmx->vcpu.cpl;

	write_segment(&segment_cs, cpl ? DUNE_SEL_USER_CS : DUNE_SEL_KERNEL_CS, 0, ~0U, AR_CODE64(cpl));
	write_segment(&segment_ss, cpl ? DUNE_SEL_USER_DS : DUNE_SEL_KERNEL_DS, 0, ~0U, AR_DATA(cpl));
}

void vmcs_write_guest(struct vmx_vcpu *vmx)
{
	const struct vmx_caps *caps = &vmx_caps;
	const struct dune_vcpu_config *config = &vmx->vcpu.config;
	u64 cr0, cr4, cr4_mask;
	unsigned int i;

	/* CR0: paging and protection stay on; the guest may change WP, TS and AM. */
	cr0 = (X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
	       X86_CR0_PG | caps->cr0_fixed0) & caps->cr0_fixed1;
	cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE |
	      (native_read_cr4() & (X86_CR4_OSXSAVE | X86_CR4_MCE)) | caps->cr4_fixed0 | config->cr4;
	cr4_mask = ~caps->cr4_allowed;
	vmwrite(CR0_GUEST_HOST_MASK, ~(u64)(X86_CR0_WP | X86_CR0_TS | X86_CR0_AM));
	if (config->flags & DUNE_VCPU_STRICT) {
		vmwrite(CR0_GUEST_HOST_MASK, ~0ULL);
		cr4_mask = ~0ULL;
	}
	vmwrite(GUEST_CR0, cr0);
	vmwrite(CR0_READ_SHADOW, cr0);
	vmwrite(GUEST_CR3, config->cr3);
	vmwrite(GUEST_CR4, cr4);
	vmwrite(CR4_GUEST_HOST_MASK, cr4_mask);
	vmwrite(CR4_READ_SHADOW, cr4 & ~(u64)X86_CR4_VMXE);
	vmwrite(GUEST_DR7, 0x400);	/* what RESET leaves: no breakpoint */
	vmwrite(GUEST_IA32_DEBUGCTL, 0);
	vmwrite(GUEST_IA32_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NX);
	vmwrite(GUEST_SYSENTER_CS, 0);	/* SYSENTER raises #GP */
	vmwrite(GUEST_SYSENTER_ESP, 0);
	vmwrite(GUEST_SYSENTER_EIP, 0);

	for (i = 0; i < ARRAY_SIZE(segments_unused); i++)
		write_segment(&segments_unused[i], 0, 0, 0, AR_UNUSABLE);
	write_segment(&segment_tr, DUNE_SEL_TSS, config->tss_base, config->tss_limit, AR_TSS64);
	vmwrite(GUEST_GDTR_BASE, config->gdt_base);
	vmwrite(GUEST_GDTR_LIMIT, config->gdt_limit);
	vmwrite(GUEST_IDTR_BASE, config->idt_base);
	vmwrite(GUEST_IDTR_LIMIT, config->idt_limit);
	vmcs_write_cpl(vmx);

	vmwrite(GUEST_RIP, vmx->vcpu.rip);
	vmwrite(GUEST_RSP, vmx->vcpu.rsp);
	vmwrite(GUEST_RFLAGS, vmx->vcpu.rflags);
	vmwrite(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, 0);
}

/* What differs from CPU to CPU. */
void vmcs_write_host(struct vmx_vcpu *vmx)
{
	int cpu = smp_processor_id();
	struct desc_ptr idt;

	store_idt(&idt);
	vmwrite(HOST_CR0, native_read_cr0() & ~X86_CR0_TS);
	vmwrite(HOST_CR3, vmx->host_cr3 = __native_read_cr3());
	vmwrite(HOST_CR4, vmx->host_cr4 = native_read_cr4());
	vmwrite(HOST_CS_SELECTOR, __KERNEL_CS);
	vmwrite(HOST_SS_SELECTOR, __KERNEL_DS);
	vmwrite(HOST_DS_SELECTOR, 0);
	vmwrite(HOST_ES_SELECTOR, 0);
	vmwrite(HOST_FS_SELECTOR, 0);
	vmwrite(HOST_GS_SELECTOR, 0);
	vmwrite(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmwrite(HOST_FS_BASE, vmx->fs_base);
	vmwrite(HOST_GS_BASE, read_msr(MSR_GS_BASE));
	vmwrite(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	vmwrite(HOST_GDTR_BASE, (unsigned long)get_cpu_gdt_ro(cpu));
	vmwrite(HOST_IDTR_BASE, idt.address);
	vmwrite(HOST_IA32_SYSENTER_CS, read_msr(MSR_IA32_SYSENTER_CS) & 0xffffffff);
	vmwrite(HOST_IA32_SYSENTER_ESP, read_msr(MSR_IA32_SYSENTER_ESP));
	vmwrite(HOST_IA32_SYSENTER_EIP, read_msr(MSR_IA32_SYSENTER_EIP));
	vmwrite(HOST_RSP, vmx->host_rsp = 0);
	vmwrite(HOST_RIP, (unsigned long)vmx_exit_point);
}
