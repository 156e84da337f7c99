// SPDX-License-Identifier: GPL-2.0-only
/* The life of an address space that an open file of /dev/dune stands for. */
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "hw.h"
#include "vcpu.h"
#include "vm.h"

static atomic64_t last_id;
static atomic_t nr_vms;		/* whose vm_free() is still to come */

static struct mmu_notifier *vm_alloc(struct mm_struct *mm)
{
	struct dune_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int error;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	mutex_init(&vm->lock);
	vm->id = atomic64_inc_return(&last_id);
	error = dune_mmu_init(&vm->mmu, dune_hw_caps.tdp_format, dune_hw_caps.tdp_levels,
			      dune_hw_caps.gpa_bits);
	if (error) {
		kfree(vm);
		return ERR_PTR(error);
	}
	atomic_inc(&nr_vms);
	return &vm->mmu.mn;
}

/* The last reference is gone, and with it every callback and every vCPU. */
static void vm_free(struct mmu_notifier *mn)
{
	struct dune_vm *vm = container_of(mn, struct dune_vm, mmu.mn);

	dune_mmu_destroy(&vm->mmu);
	kfree(vm);
	if (atomic_dec_and_test(&nr_vms))
		wake_up_var(&nr_vms);
}

static void free_vcpus(struct dune_vm *vm)
{
	unsigned int i;

	mutex_lock(&vm->lock);
	for (i = 0; i < vm->nr_vcpus; i++)
		dune_vcpu_free(vm->chunks[i / DUNE_VCPU_CHUNK]->vcpu[i % DUNE_VCPU_CHUNK]);
	vm->nr_vcpus = 0;
	/* One may be there without a vCPU. */
	for (i = 0; i < ARRAY_SIZE(vm->chunks) && vm->chunks[i]; i++) {
		kfree(vm->chunks[i]);
		vm->chunks[i] = NULL;
	}
	mutex_unlock(&vm->lock);
}

/*
 * The process is gone, or has another program: nobody has this memory, so nobody can name a vCPU of it
 * (dune_vm_is_current()).  Its file may be other processes' for a long time.  May sleep.
 */
static void vm_memory_ends(struct mmu_notifier *mn, struct mm_struct *mm)
{
	dune_mmu_release(mn, mm);
	free_vcpus(container_of(mn, struct dune_vm, mmu.mn));
}

static const struct mmu_notifier_ops vm_mmu_ops = {
	.invalidate_range_start	= dune_mmu_invalidate_start,
	.invalidate_range_end	= dune_mmu_invalidate_end,
	.release		= vm_memory_ends,
	.clear_flush_young	= dune_mmu_clear_flush_young,
	.clear_young		= dune_mmu_clear_young,
	.test_young		= dune_mmu_test_young,
	.alloc_notifier		= vm_alloc,
	.free_notifier		= vm_free,
};

struct dune_vm *dune_vm_create(void)
{
	struct mmu_notifier *mn = mmu_notifier_get(&vm_mmu_ops, current->mm);
	struct dune_vm *vm;

	/*
	 * mm_take_all_locks() gives up at any signal: also at SIGSTOP and the freezer, which no program can block,
	 * and which must make no difference to it.
	 */
	if (IS_ERR(mn))
		return mn == ERR_PTR(-EINTR) ? ERR_PTR(-ERESTARTNOINTR) : ERR_CAST(mn);
	vm = container_of(mn, struct dune_vm, mmu.mn);
	/* One object per address space: it may be another file's already. */
	if (cmpxchg(&vm->opened, false, true)) {
		mmu_notifier_put(mn);
		return ERR_PTR(-EBUSY);
	}
	return vm;
}

/*
 * The task that ended the address space has waited there, in exit_mmap(), until no callback runs
 * any more, and nobody can find the VM since.  mmu_notifier_put() would have the kernel start another grace
 * period all the same, and the exit of the next process with an mmu_notifier waits
 * for that one: 10 ms for each of a row of short-lived processes.
 */
static bool is_unused(const struct dune_vm *vm)
{
	return READ_ONCE(vm->mmu.killer) == current && hlist_unhashed(&vm->mmu.mn.hlist) &&
	       vm->mmu.mn.users == 1;
}

static void put_mmu(struct dune_vm *vm)
{
	struct mm_struct *mm = vm->mmu.mn.mm;

	if (is_unused(vm)) {
		vm_free(&vm->mmu.mn);
		mmdrop(mm);
	} else {
		/* Tables can be many, and vm_free() is called with bottom halves off. */
		dune_mmu_release(&vm->mmu.mn, mm);
		mmu_notifier_put(&vm->mmu.mn);
	}
}

void dune_vm_release(struct dune_vm *vm)
{
	free_vcpus(vm);
	put_mmu(vm);
}

/* mmu_notifier_synchronize() waits until vm_free() may be called, not until it has been. */
void dune_vm_synchronize(void)
{
	wait_var_event(&nr_vms, !atomic_read(&nr_vms));
	/* The last one may not have returned yet.  It is called with bottom halves off, for which RCU waits. */
	synchronize_rcu();
}
