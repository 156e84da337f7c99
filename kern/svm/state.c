// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's state round the guest: what VMSAVE and VMLOAD move, TSC_AUX, the TSC's ratio, debug
 * registers; and what must not stay in the TLB.
 *
 * KVM hands out every ASID in turn, on each CPU by itself, and flushes only when it begins
 * again; so each that we could take is some KVM guest's at some time, on the assumption that nothing
 * is in the TLB under it.  Hence, while a vCPU is loaded, that ASID is ours (nothing of KVM's
 * can run on the CPU), and when it is put a VMRUN of an empty guest flushes it (TLB_CONTROL acts only
 * there).  And as KVM may have run since, the first entry after loading flushes too.
 *
 * Leaving it in the TLB while the thread is in HR3 would be unsafe even with a hook on
 * its being scheduled out: HR3 may call KVM_RUN itself, in the same time slice.
 */
#include <linux/gfp.h>
#include <linux/mem_encrypt.h>
#include <linux/percpu.h>
#include <linux/thread_info.h>
#include <linux/topology.h>
#include <asm/debugreg.h>
#include <asm/processor.h>

#include "../msr.h"
#include "insn.h"
#include "svm.h"

struct svm_cpu {
	struct vmcb *host;		/* for VMSAVE; KVM has its own */
	u64 host_pa;
	struct vmcb *empty;		/* of a guest that exits at once */
	u64 empty_pa;
};

static DEFINE_PER_CPU(struct svm_cpu, svm_cpu);

/* A nested page table that maps nothing. */
static unsigned long empty_npt;

/* ---- The empty guest ------------------------------------------------------ */

/* Real mode, and no memory: the fetch of the first instruction exits. */
static void write_empty(struct vmcb *vmcb)
{
	vmcb->control = (struct vmcb_control) {
		.intercept3 = VMCB_I3_INTR | VMCB_I3_NMI | VMCB_I3_SMI | VMCB_I3_INIT |
			      VMCB_I3_SHUTDOWN,
		.intercept4 = VMCB_I4_VMRUN,
		.intercept_exceptions = ~0U,
		.asid = svm_caps.asid,
		.tlb_control = svm_caps.flush_by_asid ? VMCB_TLB_FLUSH_ASID : VMCB_TLB_FLUSH_ALL,
		.virtual_interrupt = VMCB_V_INTR_MASKING,
		.nested = VMCB_NESTED_PAGING,
		.nested_cr3 = __sme_set(__pa(empty_npt)),
	};
	vmcb->save = (struct vmcb_save) {
		.cs = { .rights = 0x9b, .limit = 0xffff },
		.ss = { .rights = 0x93, .limit = 0xffff },
		.ds = { .rights = 0x93, .limit = 0xffff },
		.es = { .rights = 0x93, .limit = 0xffff },
		.efer = EFER_SVME,
		.cr0 = X86_CR0_ET,
		/* Without it a machine check here would shut the machine down. */
		.cr4 = native_read_cr4() & X86_CR4_MCE,
		.dr6 = 0xffff0ff0,
		.dr7 = 0x400,
		.rflags = X86_EFLAGS_FIXED,
		.pat = 0x0007040600070406ULL,	/* what RESET leaves */
	};
}

/* Each VMRUN is of the whole page: its clean bits stay 0. */
static void flush_asid(void)
{
	vmrun_empty(this_cpu_read(svm_cpu.empty_pa));
	svm_restore_debug();
}

/* ---- Memory ----------------------------------------------------------------- */

void svm_state_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *s = per_cpu_ptr(&svm_cpu, cpu);

		free_page((unsigned long)s->host);
		free_page((unsigned long)s->empty);
		*s = (struct svm_cpu) { };
	}
	free_page(empty_npt);
	empty_npt = 0;
}

int svm_state_setup(void)
{
	int cpu;

	empty_npt = get_zeroed_page(GFP_KERNEL);
	if (!empty_npt)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct svm_cpu *s = per_cpu_ptr(&svm_cpu, cpu);

		s->host = vmcb_page_alloc(GFP_KERNEL);
		s->empty = vmcb_page_alloc(GFP_KERNEL);
		if (!s->host || !s->empty) {
			svm_state_teardown();
			return -ENOMEM;
		}
		s->host_pa = vmcb_pa(s->host);
		s->empty_pa = vmcb_pa(s->empty);
		write_empty(s->empty);
	}
	return 0;
}

/* ---- Round each entry --------------------------------------------------------- */

/*
 * At every entry, not once per load: another thread of the process may change the LDT in
 * between.
 */
const struct vmcb_save *svm_save_host(u64 *pa)
{
	*pa = this_cpu_read(svm_cpu.host_pa);
	return vmsave(*pa) ? &this_cpu_read(svm_cpu.host)->save : NULL;
}

/* An exit disables all breakpoints (APM, "#VMEXIT"). */
void svm_restore_debug(void)
{
	if (unlikely(this_cpu_read(cpu_dr7) & DR_GLOBAL_ENABLE_MASK))
		native_set_debugreg(7, this_cpu_read(cpu_dr7));
}

/* ---- Coming and leaving ---------------------------------------------------------- */

/*
 * KVM may have left its guest's TSC_AUX here until the next return to user mode, of which
 * TIF_USER_RETURN_NOTIFY tells.  Linux's own names the CPU and its node.
 */
static noinline void load_tsc_aux(struct svm_vcpu *svm)
{
	int cpu = smp_processor_id();

	svm->foreign_tsc_aux = true;
	svm->tsc_aux = read_msr(MSR_TSC_AUX);
	write_msr(MSR_TSC_AUX, cpu | cpu_to_node(cpu) << 12);
}

/*
 * By this MSR the CPU multiplies what a guest reads of the TSC (APM, "TSC Ratio MSR"): 32 bits before the point, 32
 * after.  KVM writes its guest's when that comes to the CPU, leaves it there, and remembers that it is.
 */
#define MSR_TSC_RATIO	0xc0000104
#define TSC_RATIO_ONE	(1ULL << 32)

static noinline void load_tsc_ratio(struct svm_vcpu *svm)
{
	svm->tsc_ratio = read_msr(MSR_TSC_RATIO);
	svm->foreign_tsc_ratio = svm->tsc_ratio != TSC_RATIO_ONE;
	if (svm->foreign_tsc_ratio)
		write_msr(MSR_TSC_RATIO, TSC_RATIO_ONE);
}

/*
 * VMRUN leaves DEBUGCTL as it is: the guest would be stopped at branches by what is the host's, or at its bus locks.
 * The MSR is read only where it may have something in it.
 */
static __always_inline u64 read_debugctl(void)
{
	if (likely(!test_thread_flag(TIF_BLOCKSTEP) && !dune_cpu_has(X86_FEATURE_BUS_LOCK_DETECT)))
		return 0;
	return read_msr(MSR_IA32_DEBUGCTLMSR);
}

void svm_vcpu_load(struct dune_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->flush = true;
	svm->entered = false;
	svm->foreign_tsc_aux = false;
	if (unlikely(test_thread_flag(TIF_USER_RETURN_NOTIFY)) && svm_caps.tsc_aux)
		load_tsc_aux(svm);
	if (svm_caps.tsc_ratio)
		load_tsc_ratio(svm);
	svm->debugctl = read_debugctl();
}

void svm_vcpu_put(struct dune_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (svm->entered)
		flush_asid();
	if (unlikely(svm->foreign_tsc_aux))
		write_msr(MSR_TSC_AUX, svm->tsc_aux);
	if (unlikely(svm->foreign_tsc_ratio))
		write_msr(MSR_TSC_RATIO, svm->tsc_ratio);
}
