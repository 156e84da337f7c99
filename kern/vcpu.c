// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual CPUs and DUNE_RUN, the outermost of three levels: this one may sleep; the vendor's
 * run() has interrupts off; vmenter.S is the guest's door.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "compat/syscall.h"
#include "exit.h"
#include "fpu.h"
#include "hw.h"
#include "load.h"
#include "mmu/flush.h"
#include "owner.h"
#include "stats.h"
#include "trace.h"
#include "vcpu.h"

/* ---- Creation ------------------------------------------------------------ */

static __always_inline bool try_own(struct dune_vcpu *vcpu)
{
	int idle = 0;

	return try_cmpxchg(&vcpu->running, &idle, 1);
}

static void disown(struct dune_vcpu *vcpu)
{
	smp_store_release(&vcpu->running, 0);
}

/* No value of dune_run.flags: the first run finds them changed, and no other has to look whose the vCPU is. */
#define FLAGS_FOR_CHILD	(~0U)

static void set_config(struct dune_vcpu *vcpu, const struct dune_vcpu_config *config)
{
	vcpu->config = *config;
	if (config->flags & DUNE_VCPU_FOR_CHILD)
		vcpu->flags = FLAGS_FOR_CHILD;
}

/* The caller runs it. */
static noinline void take_for_child(struct dune_vcpu *vcpu)
{
	mutex_lock(&vcpu->vm->lock);
	if (vcpu->maker)
		dune_set_owner(vcpu, get_task_pid(current, PIDTYPE_PID), NULL);
	mutex_unlock(&vcpu->vm->lock);
}

/* One whose thread is no more; rather the one whose page was mapped where this one's shall be.  The caller owns it. */
static struct dune_vcpu *free_vcpu(struct dune_vm *vm, u64 run)
{
	struct dune_vcpu *vcpu, *found = NULL;
	unsigned int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		vcpu = dune_vcpu_find(vm, i);
		if (found && vcpu->config.run != run)
			continue;
		if (!dune_owner_is_gone(vcpu) || !try_own(vcpu))
			continue;
		if (found)
			disown(found);
		found = vcpu;
		if (vcpu->config.run == run)
			break;
	}
	return found;
}

static struct dune_vcpu *reuse_vcpu(struct dune_vm *vm, const struct dune_vcpu_config *config)
{
	struct dune_vcpu *vcpu = free_vcpu(vm, config->run);
	int error;

	if (!vcpu)
		return NULL;
	set_config(vcpu, config);
	vcpu->no_tsc = false;
	memset(vcpu->run, 0, PAGE_SIZE);
	error = dune_hw->vcpu_reset(vcpu);
	disown(vcpu);
	return error ? ERR_PTR(error) : vcpu;
}

static struct dune_vcpu *alloc_vcpu(struct dune_vm *vm, const struct dune_vcpu_config *config)
{
	struct dune_vcpu *vcpu = kzalloc(dune_hw->vcpu_size, GFP_KERNEL_ACCOUNT);
	int error = -ENOMEM;

	if (!vcpu)
		return ERR_PTR(error);
	vcpu->vm = vm;
	set_config(vcpu, config);
	vcpu->cpu = -1;
	vcpu->run_page = alloc_page(DUNE_GFP_MAPPED | __GFP_ZERO);
	if (!vcpu->run_page)
		goto free_vcpu;
	vcpu->run = page_address(vcpu->run_page);
	error = dune_hw->vcpu_create(vcpu);
	if (error)
		goto free_page;
	return vcpu;

free_page:
	put_page(vcpu->run_page);
free_vcpu:
	kfree(vcpu);
	return ERR_PTR(error);
}

void dune_vcpu_free(struct dune_vcpu *vcpu)
{
	dune_hw->vcpu_destroy(vcpu);
	/* A mapping may keep the page, never the vCPU. */
	put_page(vcpu->run_page);
	put_pid(vcpu->owner);
	put_pid(vcpu->maker);
	kfree(vcpu);
}

/*
 * A vCPU is for a thread: a process gets one for each task that has its memory, and for those that it may make besides.
 * Whom RLIMIT_NPROC does not hold is as clone() has it: root, and who has one of two capabilities.
 */
static bool may_have(unsigned int nr)
{
	return nr <= rlimit(RLIMIT_NPROC) || nr <= atomic_read(&current->mm->mm_users) ||
	       uid_eq(current_real_cred()->uid, GLOBAL_ROOT_UID) || capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN);
}

static struct dune_vcpu *add_vcpu(struct dune_vm *vm, const struct dune_vcpu_config *config)
{
	unsigned int index = vm->nr_vcpus;
	struct dune_vcpu_chunk **chunk = &vm->chunks[index / DUNE_VCPU_CHUNK];
	struct dune_vcpu *vcpu;

	if (index == DUNE_MAX_VCPUS)
		return ERR_PTR(-ENOSPC);
	if (!may_have(index + 1))
		return ERR_PTR(-EAGAIN);
	if (!*chunk)
		*chunk = kzalloc(sizeof(**chunk), GFP_KERNEL_ACCOUNT);
	if (!*chunk)
		return ERR_PTR(-ENOMEM);
	vcpu = alloc_vcpu(vm, config);
	if (IS_ERR(vcpu))
		return vcpu;
	vcpu->index = index;
	(*chunk)->vcpu[index % DUNE_VCPU_CHUNK] = vcpu;
	/* Pairs with dune_vcpu_exists(). */
	smp_store_release(&vm->nr_vcpus, index + 1);
	return vcpu;
}

struct dune_vcpu *dune_vcpu_create(struct dune_vm *vm, const struct dune_vcpu_config *config)
{
	struct dune_vcpu *vcpu;

	mutex_lock(&vm->lock);
	vcpu = reuse_vcpu(vm, config);
	if (!vcpu)
		vcpu = add_vcpu(vm, config);
	if (IS_ERR(vcpu))
		goto out;
	if (config->flags & DUNE_VCPU_FOR_CHILD)
		dune_set_owner(vcpu, NULL, get_task_pid(current, PIDTYPE_TGID));
	else
		dune_set_owner(vcpu, get_task_pid(current, PIDTYPE_PID), NULL);
out:
	mutex_unlock(&vm->lock);
	return vcpu;
}

int dune_vcpu_destroy(struct dune_vm *vm, unsigned long index)
{
	struct dune_vcpu *vcpu = dune_vcpu_find(vm, index);
	int error = 0;

	if (!vcpu)
		return -EINVAL;
	mutex_lock(&vm->lock);
	if (try_own(vcpu)) {
		dune_set_owner(vcpu, NULL, NULL);
		disown(vcpu);
	} else {
		error = -EBUSY;
	}
	mutex_unlock(&vm->lock);
	return error;
}

/* ---- The loop ------------------------------------------------------------------ */

#define WORK_USER	(_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | _TIF_NOTIFY_RESUME)

/*
 * Something stands before the entry.  0: it is done, enter; DUNE_EXIT_INTR: it has to be done in user mode.
 *
 * The kernel's own xfer_to_guest_mode_handle_work() wants KVM's vCPU on some kernels.  It is not
 * needed: all work but rescheduling is done by the return to user mode, where the
 * trampoline comes straight back.
 */
static noinline int prepare_entry(struct dune_vcpu *vcpu)
{
	for (;;) {
		unsigned long work = READ_ONCE(current_thread_info()->flags);

		if (work & WORK_USER || READ_ONCE(vcpu->run->immediate_exit) || !dune_hw_usable())
			break;
		if (work & DUNE_WORK_RESCHED) {
			dune_vcpu_park(vcpu);
			schedule();
			dune_vcpu_unpark(vcpu);
			continue;
		}
		/* An exit tells that the thread may again. */
		if (work & _TIF_NOTSC && !vcpu->no_tsc) {
			vcpu->no_tsc = true;
			vcpu->dirty |= VCPU_DIRTY_TSC;
		}
		if (work & _TIF_NEED_FPU_LOAD && !dune_fpu_load(&vcpu->fpu_is_ours))
			break;
		return 0;
	}
	dune_stat(STAT_INTR);
	return DUNE_EXIT_INTR;
}

static __always_inline bool must_prepare(struct dune_vcpu *vcpu)
{
	return READ_ONCE(current_thread_info()->flags) &
	       (DUNE_WORK_RESCHED | WORK_USER | _TIF_NEED_FPU_LOAD | _TIF_NOTSC) ||
	       READ_ONCE(vcpu->run->immediate_exit);
}

static __always_inline void flush_if_behind(struct dune_vcpu *vcpu)
{
	if (unlikely(mmu_enter_guest(&vcpu->vm->mmu))) {
		dune_hw->flush_tlb(vcpu);
		dune_stat(STAT_TLB_FLUSHES);
	}
}

/* Before anything else is looked at: calls that user space makes are to lose no time here. */
static __always_inline bool may_call(const struct dune_vcpu *vcpu, unsigned int *nr)
{
	u64 rax = READ_ONCE(vcpu->run->regs.rax);

	if ((vcpu->rip != vcpu->config.call_from[0] && vcpu->rip != vcpu->config.call_from[1]) || rax >= DUNE_CALLS)
		return false;
	*nr = array_index_nospec(rax, DUNE_CALLS);
	return test_bit(*nr, dune_may_be_made);
}

/* Loaded.  DUNE_EXIT_* or -errno; or DUNE_CALL_*, parked.  @file: NULL: no call is made inside. */
static __always_inline int run_loop(struct dune_vcpu *vcpu, struct file *file)
{
	unsigned int nr;
	int result;

	do {
		if (unlikely(must_prepare(vcpu))) {
			result = prepare_entry(vcpu);
			if (result)
				break;
		}
		trace_dune_enter(vcpu);
		flush_if_behind(vcpu);
		static_call(dune_hw_run)(vcpu);
		mmu_leave_guest();
		dune_stat_exit(vcpu->exit.kind);
		trace_dune_exit(vcpu);
		result = dune_handle_exit(vcpu);
		if (static_branch_unlikely(&dune_calls_on) && result == DUNE_EXIT_SYSCALL && file &&
		    may_call(vcpu, &nr))
			result = dune_call(vcpu, file, nr);
	} while (!result);
	if (static_branch_unlikely(&dune_fpu_by_module) && vcpu->fpu_is_ours) {
		vcpu->fpu_is_ours = false;
		dune_fpu_give_back();
	}
	return result;
}

/* ---- The register page ------------------------------------------------------- */

/* Exceptions that push an error code (SDM, "Exception and Interrupt Reference"). */
#define HAS_ERROR_CODE	(BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17))

/* SDM, "Checks on VM-Entry Control Fields": what the CPU would refuse is refused here. */
static bool event_is_valid(u32 info, u32 error)
{
	u32 vector = info & DUNE_EVENT_VECTOR;
	u32 length = (info & DUNE_EVENT_LEN) >> DUNE_EVENT_LEN_SHIFT;

	if (!(info & DUNE_EVENT_VALID))
		return false;
	if (info & ~(DUNE_EVENT_VALID | DUNE_EVENT_LEN | DUNE_EVENT_ERROR | DUNE_EVENT_TYPE | DUNE_EVENT_VECTOR))
		return false;
	switch (info & DUNE_EVENT_TYPE) {
	case DUNE_EVENT_HARD:
		return vector < 32 && vector != X86_TRAP_NMI && !length &&
		       !(info & DUNE_EVENT_ERROR && error > U16_MAX) &&
		       !(info & DUNE_EVENT_ERROR) == !(BIT(vector) & HAS_ERROR_CODE);
	case DUNE_EVENT_ICEBP:
		return vector == X86_TRAP_DB && length && !(info & DUNE_EVENT_ERROR);
	case DUNE_EVENT_SOFT_EXC:
		return (vector == X86_TRAP_BP || vector == X86_TRAP_OF) && length &&
		       !(info & DUNE_EVENT_ERROR);
	case DUNE_EVENT_SOFT_INT:
		return length && !(info & DUNE_EVENT_ERROR);
	default:
		return false;
	}
}

static noinline bool event_is_refused(struct dune_vcpu *vcpu)
{
	vcpu->event_error = READ_ONCE(vcpu->run->event_error);
	vcpu->dirty |= VCPU_DIRTY_EVENT;
	return !event_is_valid(vcpu->event_info, vcpu->event_error);
}

/*
 * Take the registers over.  What has not changed since the last exit was good then.
 */
static __always_inline int import_state(struct dune_vcpu *vcpu)
{
	struct dune_run *run = vcpu->run;
	u64 rip = READ_ONCE(run->regs.rip), rsp = READ_ONCE(run->regs.rsp);
	u64 rflags = (READ_ONCE(run->regs.rflags) & RFLAGS_GUEST) | X86_EFLAGS_FIXED;
	u64 kernel_gs_base = READ_ONCE(run->kernel_gs_base);
	u32 cpl = READ_ONCE(run->cpl), flags = READ_ONCE(run->flags);

	if (unlikely(flags != vcpu->flags)) {
		if (flags & ~DUNE_RUN_WINDOW)
			return -EINVAL;
		if (vcpu->flags == FLAGS_FOR_CHILD)
			take_for_child(vcpu);
		vcpu->flags = flags;
		vcpu->dirty |= VCPU_DIRTY_WINDOW;
	}
	if (rip != vcpu->rip) {
		if (unlikely(!dune_is_canonical(rip)))
			return -EINVAL;
		vcpu->rip = rip;
		vcpu->dirty |= VCPU_DIRTY_RIP;
	}
	if (unlikely(rsp != vcpu->rsp)) {
		vcpu->rsp = rsp;
		vcpu->dirty |= VCPU_DIRTY_RSP;
	}
	if (rflags != vcpu->rflags) {
		vcpu->rflags = rflags;
		vcpu->dirty |= VCPU_DIRTY_RFLAGS;
	}
	if (unlikely(cpl != vcpu->cpl)) {
		if (cpl != 0 && cpl != 3)
			return -EINVAL;
		vcpu->cpl = cpl;
		vcpu->dirty |= VCPU_DIRTY_CPL;
	}
	if (unlikely(kernel_gs_base != vcpu->kernel_gs_base)) {
		if (!dune_is_canonical(kernel_gs_base))
			return -EINVAL;
		vcpu->kernel_gs_base = kernel_gs_base;
	}
	vcpu->event_info = READ_ONCE(run->event_info);
	if (unlikely(vcpu->event_info) && event_is_refused(vcpu))
		return -EINVAL;
	return 0;
}

long notrace dune_vcpu_run(struct file *file, unsigned long index, bool by_lseek)
{
	struct dune_vm *vm = file->private_data;
	struct dune_vcpu *vcpu;
	long result;

	if (unlikely(!dune_vm_is_current(vm)))
		return -EIO;
	if (unlikely(!dune_vcpu_exists(vm, index)))
		return -EINVAL;
	vcpu = dune_vcpu_at(vm, index);
	if (unlikely(!try_own(vcpu)))
		return -EBUSY;
	result = import_state(vcpu);
	if (unlikely(result))
		goto out;
	dune_stat(STAT_RUNS);
	dune_vcpu_load(vcpu);
	result = run_loop(vcpu, by_lseek ? file : NULL);
	if (unlikely(result == DUNE_CALL_RETURNS)) {
		dune_call_end(vcpu, true);
		result = vcpu->call.result;
		goto out;
	}
	if (unlikely(result == DUNE_CALL_REFUSED))
		result = DUNE_EXIT_SYSCALL;
	else
		dune_vcpu_put(vcpu);
	if (unlikely(vcpu->call.file))
		dune_call_end(vcpu, false);
	dune_export_state(vcpu);
	WRITE_ONCE(vcpu->run->exit_reason, result);
out:
	disown(vcpu);
	return result;
}
