// SPDX-License-Identifier: GPL-2.0-only
/* Switching SVM on and off where KVM does not (APM, "Enabling SVM" and "Host Save Area"). */
#include <linux/gfp.h>
#include <linux/percpu.h>
#include <asm/msr-index.h>
#include <asm/processor.h>

#include "../msr.h"
#include "svm.h"

/* What VMRUN keeps of the host while a guest runs. */
struct host_save {
	struct vmcb *area;
	bool on;
};

static DEFINE_PER_CPU(struct host_save, host_save);

bool svm_is_on(void)
{
	return read_msr(MSR_EFER) & EFER_SVME && read_msr(MSR_VM_HSAVE_PA);
}

void svm_own_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct host_save *s = per_cpu_ptr(&host_save, cpu);

		free_page((unsigned long)s->area);
		s->area = NULL;
	}
}

int svm_own_setup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct host_save *s = per_cpu_ptr(&host_save, cpu);

		s->area = vmcb_page_alloc(GFP_KERNEL);
		s->on = false;
		if (!s->area) {
			svm_own_teardown();
			return -ENOMEM;
		}
	}
	return 0;
}

int svm_own_on(void)
{
	struct host_save *s = this_cpu_ptr(&host_save);
	u64 efer = read_msr(MSR_EFER);

	if (s->on)
		return 0;
	if (efer & EFER_SVME)
		return -EBUSY;
	write_msr(MSR_EFER, efer | EFER_SVME);
	write_msr(MSR_VM_HSAVE_PA, vmcb_pa(s->area));
	s->on = true;
	return 0;
}

/* The global interrupt flag is on, as it is everywhere but from CLGI to STGI round a guest. */
void svm_own_off(void)
{
	struct host_save *s = this_cpu_ptr(&host_save);

	if (!s->on)
		return;
	s->on = false;
	write_msr(MSR_VM_HSAVE_PA, 0);
	write_msr(MSR_EFER, read_msr(MSR_EFER) & ~EFER_SVME);
}
