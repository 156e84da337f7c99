// SPDX-License-Identifier: MIT
/*
 * System calls that are not simply forwarded: those about the thread itself are
 * elsewhere, and those about mappings; here are those that would take libdune's descriptor away, and those that
 * cannot work.  HR3.
 */
#include <asm/prctl.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

#ifndef PR_SET_VMA	/* newer than the headers of the oldest system that this builds on */
#define PR_SET_VMA	0x53564d41
#endif

/* The guest's call as it is, with something to do behind it.  A signal waits until then. */
long __dune_forward(const struct guest_regs *r)
{
	return dune_syscall6(r->rax, r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9);
}

/*
 * ---- descriptors: libdune's does not exist for a program that asks what there is ----
 *
 * Not by read(), poll(), ioctl() and whatever else is made so often that no look at it is to be paid for.  But by
 * fstat() some programs look at all numbers one after the other: that is in operands.c, for it writes too.
 */

/* The call with a descriptor that nobody has in place of libdune's: what is to be said of it is the kernel's. */
static long forward_without(const struct guest_regs *r, __u64 *arg)
{
	const __u64 old = *arg;
	long ret;

	if (!engine_owns_fd(old))
		return FORWARD_CALL;
	*arg = -1;
	ret = __dune_forward(r);
	*arg = old;
	return ret;
}

static long sys_fd0(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return forward_without(r, &r->rdi);
}

static long sys_dup2(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	return forward_without(r, engine_owns_fd(r->rdi) ? &r->rdi : &r->rsi);
}

/* close_range(first, last, flags), in two parts */
static long sys_close_range(struct dune_thread *t, struct guest_regs *r)
{
	unsigned int first = r->rdi, last = r->rsi, fd = __dune_engine_fds.first, after = fd + __dune_engine_fds.count;
	long ret = 0;

	(void)t;
	if (first > last || after <= first || fd > last)
		return FORWARD_CALL;
	if (first < fd)
		ret = dune_syscall3(__NR_close_range, first, fd - 1, r->rdx);
	if (!ret && after <= last)
		ret = dune_syscall3(__NR_close_range, after, last, r->rdx);
	return ret;
}

/* ---- the thread ---- */

static long sys_arch_prctl(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	switch (r->rdi) {
	case ARCH_SET_FS:	/* both travel with the task: its own are the guest's */
	case ARCH_GET_FS:
	case ARCH_SET_GS:
	case ARCH_GET_GS:
	case ARCH_SET_CPUID:	/* the module has the guest obey it, as PR_SET_TSC */
	case ARCH_GET_CPUID:
		return FORWARD_CALL;
	}
	return -EINVAL;		/* AMX, shadow stacks, address masking */
}

static long sys_prctl(struct dune_thread *t, struct guest_regs *r)
{
	if (__dune_process.check && ((int)r->rdi == PR_SET_SECCOMP || (int)r->rdi == PR_GET_SECCOMP))
		return __dune_filters_prctl(t, r);
	switch ((int)r->rdi) {
	case PR_SET_SECCOMP:
		if (r->rsi == SECCOMP_MODE_STRICT)
			return __dune_set_strict(t);
		return r->rsi == SECCOMP_MODE_FILTER ? __dune_set_filter(t, r, &r->rdx) : FORWARD_CALL;
	case PR_SET_MM:
		return __dune_set_mm(r);
	case PR_SET_VMA:
		return __dune_set_vma(r);
	case 59:		/* PR_SET_SYSCALL_USER_DISPATCH */
		return __dune_sys_dispatch(t, r);
	}
	return FORWARD_CALL;
}

static long sys_seccomp(struct dune_thread *t, struct guest_regs *r)
{
	if (__dune_process.check)
		return __dune_filters_seccomp(t, r);
	switch ((unsigned int)r->rdi) {
	case SECCOMP_SET_MODE_STRICT:
		return (unsigned int)r->rsi || r->rdx ? -EINVAL : __dune_set_strict(t);
	case SECCOMP_SET_MODE_FILTER:
		return __dune_set_filter(t, r, &r->rdx);
	}
	return FORWARD_CALL;
}

static long sys_nosys(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	(void)r;
	return -ENOSYS;
}

/*
 * Beyond the table.  Numbers that no kernel has are for it to refuse: a filter or a tracer may answer them.  But one
 * newer than the table may know those that come next, and an x32 call is one of the table's with other operands.
 */
#define NO_CALL		1000U		/* no kernel's is as high */
#define X32_CALLS	0x40000000U

static long sys_unknown(struct dune_thread *t, struct guest_regs *r)
{
	unsigned int nr = r->rax;

	(void)t;
	return nr < NO_CALL || nr - X32_CALLS < NO_CALL ? -ENOSYS : FORWARD_CALL;
}

/* The guest has no ports: as outside for one who has no right to them, root too. */
static long sys_iopl(struct dune_thread *t, struct guest_regs *r)
{
	unsigned int level = r->rdi;

	(void)t;
	return level > 3 ? -EINVAL : level ? -EPERM : 0;
}

/* ioperm(from, number, on) */
static long sys_ioperm(struct dune_thread *t, struct guest_regs *r)
{
	const unsigned long ports = 65536;
	unsigned long end;

	(void)t;
	if (__builtin_add_overflow(r->rdi, r->rsi, &end) || end == r->rdi || end > ports)
		return -EINVAL;
	return (int)r->rdx ? -EPERM : 0;
}

static long sys_nospc(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	(void)r;
	return -ENOSPC;
}

/* What is absent is forwarded by the trampoline without a look; operands.c adds some. */
syscall_fn __dune_syscall_table[NR_SYSCALLS] = {
#define CALL(number, name, function, ...)	[number] = function,
#include "base/syscalls-table.h"
#undef CALL
};

/* Is a function of the table's none?  Its name is pasted to the first one's. */
#define SECOND(first, second, ...)	second
#define IS_ONE_IF_SECOND(...)		SECOND(__VA_ARGS__, 0, 0)
#define NOTHING_0			0, 1
#define IS_NONE(function)		IS_ONE_IF_SECOND(NOTHING_##function)

uint8_t __dune_calls_inside[NR_SYSCALLS] = {
#define CALL(number, name, function, flags, ...)	\
	[number] = IS_NONE(function) && !((flags) & CALL_SLOW) ? 1U << ENGINE_CALL_STUB : 0,
#include "base/syscalls-table.h"
#undef CALL
};

void __dune_set_function(unsigned int nr, syscall_fn function)
{
	__atomic_store_n(&__dune_syscall_table[nr], function, __ATOMIC_RELEASE);
	__atomic_store_n(&__dune_calls_inside[nr], 0, __ATOMIC_SEQ_CST);
}

/* ---- dispatch ---- */

static void private_raise(struct dune_thread *t)
{
	const struct raise *raise = (const struct raise *)t->vcpu.regs->rdi;

	if (!__dune_process.ring3 || raise->fatal || !__dune_emulate(t, raise))
		__dune_signal_exception(t, raise);
}

static _Noreturn void private_leave(struct dune_thread *t)
{
	struct guest_regs regs = *t->vcpu.regs;
	uint64_t mask = __dune_signals_block();

	t->boot_mask = t->deferred ? t->deferred_mask : mask;
	regs.rax = (unsigned long)t;
	__dune_resume_host(&regs);
}

#define DISPATCHED	2	/* si_code */
#define ARCH_X86_64	0xc000003e

static void dispatch(struct dune_thread *t)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = SIGSYS;
	info.si_code = DISPATCHED;
	info.si_call_addr = (void *)t->vcpu.regs->rip;
	info.si_syscall = t->vcpu.regs->rax;
	info.si_arch = ARCH_X86_64;
	__dune_signal_dispatched(t, &info);
}

static void private_copy(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;
	long ret;

	if (__dune_tracking || r->rdx < COPY_OUT_MIN)
		ret = __dune_copy_for_guest(t, r->rdi, r->rsi, r->rdx);
	else if (r->rax == PRIVATE_COPY_IN)
		ret = __dune_copy_in((void *)r->rdi, r->rsi, r->rdx);
	else
		ret = __dune_copy_out(r->rdi, (const void *)r->rsi, r->rdx);
	if (ret != CALL_AGAIN)
		r->rax = ret;
}

/* The call that the guest could not make by its stub: its registers say what it is. */
static void private_stepped(struct dune_thread *t)
{
	struct dune_tf tf = *(const struct dune_tf *)t->vcpu.regs->rdi;

	tf.rip = tf.rcx;
	tf.rflags = tf.r11;
	tf.cs |= 3;
	__dune_load_trap_frame(t, &tf);
}

/* What libdune asks of itself from the guest.  Returns whether a call of the program's has become of it. */
static bool private_call(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;

	switch (r->rax) {
	case PRIVATE_LEAVE:
		private_leave(t);
	case PRIVATE_RAISE:
		private_raise(t);
		break;
	case PRIVATE_LOOK:
		r->rax = __dune_look_host();
		break;
	case PRIVATE_POOL_EXTEND:
		r->rax = __dune_pool_extend(r->rdi);
		break;
	case PRIVATE_COPY_IN:
	case PRIVATE_COPY_OUT:
		private_copy(t);
		break;
	case PRIVATE_PRECISE:
		r->rax = __dune_precise_host((ptent_t *)r->rdi, r->rsi, r->rdx);
		break;
	case PRIVATE_STEPPED:
		private_stepped(t);
		return true;
	}
	return false;
}

/*
 * A number that the trampoline does not forward at once.  Not NULL: it is to do so now, with these registers, and
 * __dune_output_mark() after it.
 */
HOT const struct guest_regs *__dune_handle_call(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;
	syscall_fn function;
	unsigned int nr;
	long ret;

	__dune_call_leave_stub(t);
	if (is_private(r->rax) && !__dune_engine_cpl(&t->vcpu)) {
		if (!private_call(t))
			return NULL;
	}
	nr = r->rax;			/* so many bits has a number for the kernel, and for who looks at it here */
	r->rax = nr;
	t->output_nr = NR_SYSCALLS;	/* there is nothing to look at after it */
	t->tracked = false;
	if (t->deferred && __dune_signals_first(t))
		return NULL;
	if (t->dispatch.on && __dune_dispatches(t)) {
		dispatch(t);
		return NULL;
	}
	if (t->strict && !__dune_strict_allows(nr)) {
		__dune_strict_kill(t);
		return r;
	}
	if (t->filter && __dune_engine_cpl(&t->vcpu) && __dune_filters_refuse(t, r))
		return NULL;
	function = nr < NR_SYSCALLS ? __dune_syscall_table[nr] : sys_unknown;
	ret = function ? function(t, r) : FORWARD_CALL;
	if (ret == FORWARD_CALL)
		return regs_of_call(t);
	if (ret != CALL_AGAIN)
		r->rax = ret;
	assert_ring(t);
	return NULL;
}
