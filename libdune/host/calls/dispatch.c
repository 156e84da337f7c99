// SPDX-License-Identifier: MIT
/*
 * System call user dispatch: calls from outside a range of code become SIGSYS.  The kernel would look at HR3's
 * instructions, those of the loop above all; so it is done here.  A thread that has it on is watched: the
 * trampoline forwards nothing without a look.  So is one for which a signal waits.  HR3.
 */
#include "host/calls.h"
#include "host/host.h"

/* Newer than the headers of the oldest system that this builds on. */
#define DISPATCH_OFF	0
#define DISPATCH_ON	1
#define CALL_ALLOW	0
#define CALL_BLOCK	1

/* Nothing in it is NULL, once the first entry is not. */
static syscall_fn watched[NR_SYSCALLS];

static long not_called(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	(void)r;
	return -ENOSYS;
}

static HOT void choose_table(struct dune_thread *t)
{
	if (!t->dispatch.on && !t->strict && !t->deferred && !t->filter) {
		t->table = __dune_syscall_table;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		/* Another thread may have given it one just now. */
		if (!__dune_process.check || !READ_ONCE(t->filter))
			return;
	}
	for (unsigned int i = NR_SYSCALLS; !watched[0] && i--; )
		__atomic_store_n(&watched[i], not_called, __ATOMIC_RELEASE);
	t->table = watched;
}

/*
 * The engine makes no call of a watched thread by itself.  One without a vCPU yet, which its maker gives a filter,
 * comes here when it has one.  Another thread may have @t watched just now.
 */
HOT void __dune_calls_allow(const struct dune_thread *t)
{
	const uint8_t *allowed;

	do {
		allowed = READ_ONCE(t->table) == __dune_syscall_table ? __dune_calls_inside : NULL;
		if (__dune_has_vcpu(t))
			__dune_engine_allow(&t->vcpu, allowed);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (allowed && READ_ONCE(t->table) != __dune_syscall_table);
}

void __dune_watch(struct dune_thread *t)
{
	choose_table(t);
	__dune_calls_allow(t);
}

/* prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, offset, length, selector) */
long __dune_sys_dispatch(struct dune_thread *t, struct guest_regs *r)
{
	const struct dispatch new = {
		.on = r->rsi == DISPATCH_ON,
		.offset = r->rdx,
		.length = r->r10,
		.selector = r->r8,
	};
	/* Does the kernel have it?  It is off there. */
	long ret = dune_syscall5(__NR_prctl, r->rdi, DISPATCH_OFF, 0, 0, 0);

	if (ret)
		return ret;
	if (r->rsi == DISPATCH_OFF) {
		if (new.offset || new.length || new.selector)
			return -EINVAL;
	} else if (!new.on || (new.offset && new.offset + new.length <= new.offset)) {
		return -EINVAL;
	} else if (new.selector >> 47) {
		return -EFAULT;
	}
	t->dispatch = new;
	__dune_watch(t);
	return 0;
}

/* As the kernel has it in a new process, which has no vCPU yet. */
HOT void __dune_dispatch_clear(struct dune_thread *t)
{
	if (!t->dispatch.on)
		return;
	t->dispatch.on = false;
	choose_table(t);
}

/* Does the guest's call, whose RIP is behind it, become a signal? */
bool __dune_dispatches(const struct dune_thread *t)
{
	uint8_t selector;

	if (t->vcpu.regs->rip - t->dispatch.offset < t->dispatch.length)
		return false;
	if (!t->dispatch.selector)
		return true;
	selector = __dune_peek((const uint8_t *)t->dispatch.selector);
	if (selector != CALL_ALLOW && selector != CALL_BLOCK)
		__dune_die_by(SIGSYS, NULL);
	return selector == CALL_BLOCK;
}
