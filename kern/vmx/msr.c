// SPDX-License-Identifier: GPL-2.0-only
/* MSRs of the guest that are in the CPU or in the VMCS while its thread is loaded. */
#include "../msr.h"
#include "vmx.h"

bool vmx_get_msr(struct dune_vcpu *vcpu, u32 msr, u64 *value)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	switch (msr) {
	case MSR_FS_BASE:
		*value = vmx->fs_base;
		return true;
	case MSR_GS_BASE:
		*value = vmx->gs_base;
		return true;
	case MSR_KERNEL_GS_BASE:
		*value = read_inactive_gs_base();
		return true;
	case MSR_LSTAR:
		*value = vmx->lstar;
		return true;
	default:
		return false;
	}
}

/* @value is canonical. */
bool vmx_set_msr(struct dune_vcpu *vcpu, u32 msr, u64 value)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	switch (msr) {
	case MSR_FS_BASE:
		write_fs_base(value);
		vmx->fs_base = value;
		vmx->vcpu.dirty |= VMX_DIRTY_BASES;
		return true;
	case MSR_GS_BASE:
		vmx->gs_base = value;
		vmx->vcpu.dirty |= VMX_DIRTY_BASES;
		return true;
	case MSR_KERNEL_GS_BASE:
		write_inactive_gs_base(value);
		return true;
	case MSR_LSTAR:
		vmx->lstar = value;
		write_msr(MSR_LSTAR, value);
		return true;
	default:
		return false;
	}
}
