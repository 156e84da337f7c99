/* SPDX-License-Identifier: GPL-2.0-only */
/* One open file of /dev/dune: an address space and its vCPUs. */
#ifndef DUNE_VM_H
#define DUNE_VM_H

#include <linux/mutex.h>
#include <linux/sched.h>

#include "mmu/mmu.h"

#define DUNE_MAX_VCPUS		4096
#define DUNE_VCPU_CHUNK		64

struct dune_vcpu;

struct dune_vcpu_chunk {
	struct dune_vcpu *vcpu[DUNE_VCPU_CHUNK];
};

struct dune_vm {
	struct dune_mmu mmu;		/* mmu.mn counts the references */
	bool opened;			/* by a file; guarded by cmpxchg */
	u64 id;				/* no other VM ever has it; not 0 */

	struct mutex lock;		/* creation of vCPUs, and their end */
	unsigned int nr_vcpus;		/* published after the slot is filled; vCPUs end with the memory or the file */
	struct dune_vcpu_chunk *chunks[DUNE_MAX_VCPUS / DUNE_VCPU_CHUNK];
};

/* For current->mm.  -EBUSY when it has a VM already; -ERESTARTNOINTR: a signal is pending. */
struct dune_vm *dune_vm_create(void);
/* The file is gone: no thread is in a call on @vm. */
void dune_vm_release(struct dune_vm *vm);
/* Wait until every VM that was released is freed. */
void dune_vm_synchronize(void);

static inline bool dune_vm_is_current(const struct dune_vm *vm)
{
	return vm->mmu.mn.mm == current->mm;
}

static inline struct dune_vm *dune_mmu_vm(struct dune_mmu *mmu)
{
	return container_of(mmu, struct dune_vm, mmu);
}

#endif
