/* SPDX-License-Identifier: GPL-2.0-only */
/* Flags of vmx_enter(), for C and assembly. */
#ifndef DUNE_VMX_ENTER_H
#define DUNE_VMX_ENTER_H

#define VMX_ENTER_RESUME	1	/* VMRESUME rather than VMLAUNCH */
#define VMX_ENTER_VERW		2	/* clear the CPU's buffers first */

#endif
