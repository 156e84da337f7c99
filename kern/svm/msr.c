// SPDX-License-Identifier: GPL-2.0-only
/* MSRs of the guest that are in the VMCB, or are the task's. */
#include "../msr.h"
#include "svm.h"

bool svm_get_msr(struct dune_vcpu *vcpu, u32 msr, u64 *value)
{
	const struct vmcb_save *save = &to_svm(vcpu)->vmcb->save;

	switch (msr) {
	case MSR_FS_BASE:
		*value = read_fs_base();
		return true;
	case MSR_GS_BASE:
		*value = read_inactive_gs_base();
		return true;
	case MSR_KERNEL_GS_BASE:
		*value = vcpu->kernel_gs_base;
		return true;
	case MSR_LSTAR:
		*value = save->lstar;
		return true;
	default:
		return false;
	}
}

/* @value is canonical. */
bool svm_set_msr(struct dune_vcpu *vcpu, u32 msr, u64 value)
{
	struct vmcb_save *save = &to_svm(vcpu)->vmcb->save;

	switch (msr) {
	case MSR_FS_BASE:
		write_fs_base(value);
		return true;
	case MSR_GS_BASE:
		write_inactive_gs_base(value);
		return true;
	case MSR_KERNEL_GS_BASE:
		vcpu->kernel_gs_base = value;
		return true;
	case MSR_LSTAR:
		save->lstar = save->cstar = value;
		return true;
	default:
		return false;
	}
}
