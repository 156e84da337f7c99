// SPDX-License-Identifier: GPL-2.0-only
/* Whose a vCPU is: that of a thread which runs it, or which is still to be made; and whether that is no more. */
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>

#include "owner.h"

/* It has ended, or is about to and has no memory any more, or has other memory since an exec(): it never comes back. */
static bool has_left(const struct dune_vcpu *vcpu, struct pid *thread)
{
	struct task_struct *task = pid_task(thread, PIDTYPE_PID);

	return !task || READ_ONCE(task->mm) != vcpu->vm->mmu.mn.mm;
}

static bool process_has_left(const struct dune_vcpu *vcpu, struct pid *process)
{
	struct task_struct *task = pid_task(process, PIDTYPE_TGID);
	struct mm_struct *mm;

	if (!task || !atomic_read(&task->signal->live))
		return true;
	/* It has none where the first thread has ended before others. */
	mm = READ_ONCE(task->mm);
	return mm && mm != vcpu->vm->mmu.mn.mm;
}

/* The child may be gone before it has run its vCPU, or before it was made. */
static bool child_has_left(const struct dune_vcpu *vcpu)
{
	u32 child = READ_ONCE(vcpu->run->child);

	if (!child)
		return process_has_left(vcpu, vcpu->maker);
	return child <= INT_MAX && has_left(vcpu, find_pid_ns(child, ns_of_pid(vcpu->maker)));
}

bool dune_owner_is_gone(const struct dune_vcpu *vcpu)
{
	bool gone = true;

	if (vcpu->owner || vcpu->maker) {
		rcu_read_lock();
		gone = vcpu->maker ? child_has_left(vcpu) : has_left(vcpu, vcpu->owner);
		rcu_read_unlock();
	}
	return gone;
}

bool dune_vcpu_is_left(struct dune_vm *vm, unsigned long index)
{
	struct dune_vcpu *vcpu;
	bool left = true;

	mutex_lock(&vm->lock);
	vcpu = dune_vcpu_find(vm, index);
	if (vcpu)
		left = dune_owner_is_gone(vcpu);
	mutex_unlock(&vm->lock);
	return left;
}

void dune_set_owner(struct dune_vcpu *vcpu, struct pid *owner, struct pid *maker)
{
	put_pid(vcpu->owner);
	put_pid(vcpu->maker);
	vcpu->owner = owner;
	vcpu->maker = maker;
}
