/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between kernels that the fault path meets. */
#ifndef DUNE_COMPAT_MMU_H
#define DUNE_COMPAT_MMU_H

#include <linux/mm.h>
#include <linux/version.h>

/* Before 6.0, a fault handler that released mmap_lock always wanted the fault again. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 0, 0)
#define VM_FAULT_COMPLETED	((__force vm_fault_t)0)
#endif

#endif
