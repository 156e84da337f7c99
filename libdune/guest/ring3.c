// SPDX-License-Identifier: MIT
/*
 * Ring 3: going there, coming back, and its system calls.  GR0, but for
 * __dune_session_interrupt().
 *
 * While ring 3 runs, the thread's FS and GS base are ring 3's.  Handlers of the program's run with the
 * program's own, unless they are bare.
 */
#include <asm/prctl.h>
#include <linux/sched.h>

#include "base/syscalls.h"
#include "guest/guest.h"

#define RFLAGS_IF	0x200UL

#define CR4_SMEP	(1UL << 20)
#define CR4_SMAP	(1UL << 21)

static uint64_t interrupts_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

/* NULL: none.  Interrupts are off. */
static void set_session(struct dune_thread *t, struct ring3_session *s)
{
	__asm__ volatile("swapgs; wrgsbase %0; swapgs" : : "r"(session_gs(s)) : "memory");
	t->session = s;
}

/*
 * POPF of a program in ring 0 sets IOPL, which outside it would not touch: its next system call looks like one of
 * ring 3, and meets the GS base of no session, which is 0. Make it again as it was meant. Where the page table has
 * nothing there either, trap.c does the same, and with a session entry.S.  HR3, without a session.
 */
void __dune_ring3_entry_fault(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;

	/* SWAPGS. */
	wrgsbase(__dune_engine_other_gs(&t->vcpu));
	__dune_engine_set_other_gs(&t->vcpu, session_gs(NULL));
	r->r11 &= ~(uint64_t)RFLAGS_IOPL;
	r->rip = __dune_process.lstar;
}

/* ---- FS and GS base ---- */

/* These three also in HR3, where the bases are those of the guest.  With interrupts off. */
static void save_ring3_bases(struct dune_thread *t)
{
	t->ring3_fs = rdfsbase();
	t->ring3_gs = rdgsbase();
	t->ring3_bases = false;
	t->session->in_ring3 = 0;
}

void __dune_bases_to_program(struct dune_thread *t)
{
	if (!t->ring3_bases)
		return;
	save_ring3_bases(t);
	wrfsbase(t->session->fs);
	wrgsbase(t->session->gs);
}

void __dune_bases_to_ring3(struct dune_thread *t)
{
	if (t->ring3_bases)
		return;
	wrfsbase(t->ring3_fs);
	wrgsbase(t->ring3_gs);
	t->ring3_bases = true;
	if (t->session)
		t->session->in_ring3 = IN_RING3;
}

static unsigned long get_base(bool gs)
{
	struct dune_thread *t;
	unsigned long base;
	uint64_t flags;

	if (!dune_in_guest())
		return 0;
	flags = interrupts_off();
	t = current_thread();
	if (t->ring3_bases || !(gs ? t->ring3_gs_set : t->ring3_fs_set))
		base = gs ? rdgsbase() : rdfsbase();
	else
		base = gs ? t->ring3_gs : t->ring3_fs;
	interrupts_restore(flags);
	return base;
}

static int set_base(bool gs, unsigned long base)
{
	struct dune_thread *t;
	uint64_t flags;

	if (!dune_in_guest() || !canonical(base))
		return -EINVAL;
	flags = interrupts_off();
	t = current_thread();
	if (t->ring3_bases) {
		if (gs)
			wrgsbase(base);
		else
			wrfsbase(base);
	} else if (gs) {
		t->ring3_gs = base;
	} else {
		t->ring3_fs = base;
	}
	*(gs ? &t->ring3_gs_set : &t->ring3_fs_set) = true;
	interrupts_restore(flags);
	return 0;
}

PUBLIC unsigned long dune_get_user_fs(void)
{
	return get_base(false);
}

PUBLIC int dune_set_user_fs(unsigned long base)
{
	return set_base(false, base);
}

PUBLIC unsigned long dune_get_user_gs(void)
{
	return get_base(true);
}

PUBLIC int dune_set_user_gs(unsigned long base)
{
	return set_base(true, base);
}

/* ---- going there and coming back ---- */

/* What ring 3 can be given. */
void __dune_ring3_flags(struct dune_tf *tf)
{
	tf->rflags = (tf->rflags & RFLAGS_RING3) | RFLAGS_RING3_SET | RFLAGS_FIXED;
	tf->cs = SEL_USER_CS;
	tf->ss = SEL_USER_DS;
}

static void begin_frame(struct ring3_session *s)
{
	__dune_ring3_flags(&s->tf);
	s->tf.err = 0;
	s->tf.pad1 = 0;
	memset(s->tf.pad2, 0, sizeof(s->tf.pad2));
	memset(s->tf.pad3, 0, sizeof(s->tf.pad3));
}

static bool on_trap_stack(const struct dune_thread *t, unsigned long sp)
{
	return sp >= t->trap_low && sp < t->trap_high;
}

/*
 * The session that a new one at @sp is in.  One that was left by longjmp() is not told of: it lies
 * deeper in the stack, or on the trap stack, which is not in use.  (Where it cannot be told, that does no harm: nothing
 * in it is used.)
 */
static struct ring3_session *outer_session(const struct dune_thread *t, unsigned long sp)
{
	unsigned long outer = (unsigned long)t->session;
	bool inside = on_trap_stack(t, outer);

	if (inside && !on_trap_stack(t, sp))
		return NULL;
	if (inside == on_trap_stack(t, sp) && outer <= sp)
		return NULL;
	return t->session;
}

bool __dune_in_handler(unsigned long sp)
{
	const struct dune_thread *t = current_thread();

	return on_trap_stack(t, sp) || (t->session && outer_session(t, sp));
}

static uint64_t wanted_cr4(void)
{
	return (option(DUNE_OPT_SMEP) ? CR4_SMEP : 0) | (option(DUNE_OPT_SMAP) ? CR4_SMAP : 0);
}

/* CR4 belongs to the vCPU, of which each thread has a new one. */
static void set_cr4(struct dune_thread *t)
{
	uint64_t bits = wanted_cr4(), cr4;

	if (t->cr4_bits == bits)
		return;
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 = (cr4 & ~(uint64_t)(CR4_SMEP | CR4_SMAP)) | bits;
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	t->cr4_bits = bits;
}

PUBLIC void dune_user_access_begin(void)
{
	if (dune_in_guest() && option(DUNE_OPT_SMAP))
		__asm__ volatile("stac" : : : "memory", "cc");
}

PUBLIC void dune_user_access_end(void)
{
	if (dune_in_guest() && option(DUNE_OPT_SMAP))
		__asm__ volatile("clac" : : : "memory", "cc");
}

/* For __dune_jump(): interrupts are off, @s is on its stack. */
int __dune_session_begin(const struct dune_tf *tf, struct ring3_session *s)
{
	struct dune_thread *t = current_thread();
	unsigned long sp = (unsigned long)s;

	s->tf = *tf;
	if (!canonical(s->tf.rip) || !canonical(s->tf.rsp))
		return -EINVAL;
	if (option(DUNE_OPT_STRICT) && t->cr4_bits != wanted_cr4())
		return -EPERM;
	begin_frame(s);
	s->interrupted = false;
	s->thread = t;
	s->previous = outer_session(t, sp);
	s->outer_ring3_bases = t->ring3_bases;
	__dune_bases_to_program(t);
	s->fs = rdfsbase();
	s->gs = rdgsbase();
	if (!t->ring3_fs_set)
		t->ring3_fs = s->fs;
	if (!t->ring3_gs_set)
		t->ring3_gs = s->gs;
	t->ring3_fs_set = t->ring3_gs_set = true;
	s->outer_fs = t->ring3_fs;
	s->outer_gs = t->ring3_gs;
	s->trap_top = t->trap_top;
	s->ist = t->tss.ist[0];
	/* What handles a trap of ring 3's must not overwrite a handler that this was called in. */
	t->trap_top = on_trap_stack(t, sp) ? sp : t->trap_high;
	set_trap_state(t, true, 0);
	set_session(t, s);
	set_cr4(t);
	__dune_bases_to_ring3(t);
	return 0;
}

/* For __dune_return(), with interrupts off; which has made sure that there is one. */
void __dune_session_end(struct ring3_session *s)
{
	struct dune_thread *t = s->thread;

	__dune_bases_to_program(t);
	wrfsbase(s->fs);	/* of the caller of dune_jump_to_user(), whatever has become of them */
	wrgsbase(s->gs);
	if (s->previous) {
		t->ring3_fs = s->outer_fs;
		t->ring3_gs = s->outer_gs;
	}
	t->trap_top = s->trap_top;
	t->tss.ist[0] = s->ist;
	set_session(t, s->previous);
	if (s->outer_ring3_bases)
		__dune_bases_to_ring3(t);
	if (s->interrupted)	/* as siglongjmp() does */
		__dune_signals_restore(s->mask);
}

/* For __dune_return(). */
struct ring3_session *__dune_session(void)
{
	struct dune_thread *t = current_thread();

	if (!t->session)
		__dune_fatal(SIGABRT, "dune_ret_from_user() without dune_jump_to_user()");
	return t->session;
}

/* For __dune_ring3_resume, with interrupts off: ring 3 goes on as s->tf says. */
void __dune_session_resume(struct ring3_session *s)
{
	if (!canonical(s->tf.rip))	/* IRETQ would fault, in ring 0 */
		s->tf.rip = (1UL << 47) - 1;
	begin_frame(s);
	s->interrupted = false;
	__dune_bases_to_ring3(s->thread);
}

/*
 * HR3: the guest is in ring 3.  Have it be in ring 0 instead, as if ring 3 had been interrupted; @mask
 * of signals is in force.
 */
void __dune_session_interrupt(struct dune_thread *t, uint64_t mask)
{
	struct guest_regs *r = t->vcpu.regs;
	struct ring3_session *s = t->session;

	s->tf = (struct dune_tf){
		.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
		.rsi = r->rsi, .rdi = r->rdi, .rbp = r->rbp, .rsp = r->rsp,
		.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
		.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		.rip = r->rip, .rflags = r->rflags,
	};
	begin_frame(s);
	s->interrupted = true;
	s->mask = mask;
	__dune_bases_to_program(t);
	r->rip = (unsigned long)__dune_ring3_resume;
	r->rsp = (unsigned long)s;
	r->rdi = (unsigned long)&s->tf;
	r->rflags = RFLAGS_IF | RFLAGS_FIXED;
	__dune_engine_set_cpl(&t->vcpu, 0);
}

PUBLIC int dune_jump_to_user(struct dune_tf *tf)
{
	if (!dune_in_guest() || !tf)
		return -EINVAL;
	return __dune_jump(tf);
}

PUBLIC void dune_ret_from_user(int ret)
{
	if (!dune_in_guest())
		__dune_fatal(SIGABRT, "dune_ret_from_user() outside Dune mode");
	__dune_return(ret);
}

/*
 * A frame for ring 0 is loaded from the stack of nested traps, which is free while interrupts are off;
 * one for ring 3 from the session.
 */
PUBLIC void dune_pop_trap_frame(struct dune_tf *tf)
{
	struct ring3_session *s;
	struct dune_thread *t;
	struct dune_tf *at;

	if (!dune_in_guest() || !tf)
		__dune_fatal(SIGABRT, "dune_pop_trap_frame() without a frame, or outside Dune mode");
	interrupts_off();
	t = current_thread();
	s = t->session;
	if (tf->cs & 3) {
		if (!s)
			__dune_fatal(SIGABRT, "dune_pop_trap_frame() to ring 3 without dune_jump_to_user()");
		s->tf = *tf;
		set_trap_state(t, true, 0);
		__dune_session_resume(s);
		__dune_load(&s->tf);
	}
	if (!canonical(tf->rip))
		__dune_fatal(SIGSEGV, "dune_pop_trap_frame() to %#lx, which is not canonical", tf->rip);
	at = (struct dune_tf *)(ist_nested(t) - sizeof(*tf));
	*at = *tf;
	at->cs = SEL_KERNEL_CS;
	at->ss = SEL_KERNEL_DS;
	at->rflags &= ~(uint64_t)RFLAGS_IOPL;
	set_trap_state(t, false, at->rsp);
	__dune_load(at);
}

/* ---- system calls of ring 3 ---- */

/* Bare, or not; both for any call, the former first. */
static const struct handler *registered_bare, *registered;

struct call {
	const struct handler *handler;
	struct dune_tf *tf;
};

static void call_handler(void *arg)
{
	const struct call *c = arg;

	((void (*)(struct dune_tf *, void *))c->handler->cb)(c->tf, c->handler->arg);
}

/* As __dune_full_call(), where the CPU has no XSAVE; entry.S calls it. */
static long call_without_xsave(struct dune_tf *tf)
{
	struct ring3_session *s = (struct ring3_session *)tf;
	struct call call = { __atomic_load_n(&registered, __ATOMIC_ACQUIRE), tf };

	if (!call.handler)
		return -ENOSYS;
	__dune_bases_to_program(s->thread);
	__asm__ volatile("sti" : : : "memory");
	__dune_call_saving(call_handler, &call);
	__asm__ volatile("cli" : : : "memory");
	begin_frame(s);
	__dune_bases_to_ring3(s->thread);
	return tf->rax;
}

static long no_call(void)
{
	return -ENOSYS;
}

static const struct handler nobody = { .code = no_call };
static const struct handler without_xsave = { .code = call_without_xsave };

const struct handler *__dune_ring3_call = &nobody;

/* As set_entry(), trap.c. */
static void choose(void)
{
	const struct handler *bare, *full, *h;

	do {
		bare = __atomic_load_n(&registered_bare, __ATOMIC_ACQUIRE);
		full = __atomic_load_n(&registered, __ATOMIC_ACQUIRE);
		h = bare ? bare : !full ? &nobody : __dune_process.xsave_mask ? full : &without_xsave;
		__atomic_store_n(&__dune_ring3_call, h, __ATOMIC_SEQ_CST);
	} while (READ_ONCE(registered_bare) != bare || READ_ONCE(registered) != full);
}

void __dune_ring3_call_choose(void)
{
	choose();
}

static int register_call(const void *cb, void *arg, bool bare, const struct handler **made)
{
	*made = cb ? __dune_handler_make(&(struct handler){ bare ? cb : __dune_full_call, arg, cb, 0, bare, false }) :
		     NULL;
	return cb && !*made ? -ENOMEM : 0;
}

PUBLIC int dune_set_syscall_handler(const struct dune_handler *to, struct dune_handler *old)
{
	const struct handler *h, *full, *bare;
	int ret;

	if (!to && !old)
		return -EINVAL;
	if (to) {
		ret = register_call(to->syscall, to->arg, to->bare, &h);
		if (ret)
			return ret;
		full = __atomic_exchange_n(&registered, to->bare ? NULL : h, __ATOMIC_SEQ_CST);
		bare = __atomic_exchange_n(&registered_bare, to->bare ? h : NULL, __ATOMIC_SEQ_CST);
		choose();
	} else {
		full = __atomic_load_n(&registered, __ATOMIC_ACQUIRE);
		bare = __atomic_load_n(&registered_bare, __ATOMIC_ACQUIRE);
	}
	h = bare ? bare : full;
	if (old)
		*old = h ? (struct dune_handler){
			{ .syscall = (void (*)(struct dune_tf *, void *))h->cb }, h->arg, h->bare } :
			(struct dune_handler){ 0 };
	return 0;
}

PUBLIC int dune_register_syscall_handler(dune_syscall_cb cb)
{
	return dune_set_syscall_handler(&(struct dune_handler){
		{ .syscall = (void (*)(struct dune_tf *, void *))(void *)cb }, NULL, false }, NULL);
}

PUBLIC int dune_register_bare_syscall_handler(dune_bare_syscall_cb cb)
{
	const struct handler *h;
	int ret = register_call(cb, NULL, true, &h);

	if (ret)
		return ret;
	__atomic_store_n(&registered_bare, h, __ATOMIC_SEQ_CST);
	choose();
	return 0;
}

/* ---- passing a call on ---- */

PUBLIC bool dune_fd_is_ours(int fd)
{
	return __dune_process.ready && engine_owns_fd(fd);
}

/* The call with the program's bases, and signals let in: it may wait. */
static long pass(struct dune_thread *t, const long call[7])
{
	uint64_t flags = interrupts_off();
	bool ring3_bases = t->ring3_bases;
	long ret;

	__dune_bases_to_program(t);
	__asm__ volatile("sti" : : : "memory");
	ret = dune_syscall(call[0], call[1], call[2], call[3], call[4], call[5], call[6]);
	__asm__ volatile("cli" : : : "memory");
	if (ring3_bases)
		__dune_bases_to_ring3(t);
	interrupts_restore(flags);
	return ret;
}

/* With a common descriptor table the child's descriptor of libdune's could be had by the parent, and come back. */
#define CLONE_NOT_FOR_USER	(CLONE_THREAD | CLONE_SIGHAND | CLONE_FILES)

/* A child with memory of its own, a copy of all rings; vfork only waits. */
static long pass_clone(struct dune_thread *t, struct dune_tf *tf, unsigned long flags, unsigned long stack)
{
	long call[7] = { __NR_clone, 0, 0, ARG2(tf), ARG3(tf), 0, 0 };
	unsigned long tls = ARG4(tf);
	long ret;

	if (flags & CLONE_NOT_FOR_USER || (flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM)
		return -ENOSYS;
	call[1] = flags & ~(unsigned long)(CLONE_VM | CLONE_SETTLS);
	ret = pass(t, call);
	if (ret)
		return ret;
	if (stack)
		tf->rsp = stack;
	if (flags & CLONE_SETTLS)
		dune_set_user_fs(tls);
	return 0;
}

static long pass_arch_prctl(struct dune_thread *t, struct dune_tf *tf)
{
	unsigned long address = ARG1(tf), base;

	switch (ARG0(tf)) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (address >> 47)
			return -EPERM;
		return set_base(ARG0(tf) == ARCH_SET_GS, address);
	case ARCH_GET_FS:
	case ARCH_GET_GS:
		(void)t;
		base = get_base(ARG0(tf) == ARCH_GET_GS);
		return __dune_copy_out(address, &base, sizeof(base));
	}
	return -EINVAL;
}

/*
 * SIG_DFL and SIG_IGN can be passed on; a handler of ring 3's would run in ring 0.  What was looked at is passed: other
 * threads of ring 3 can change theirs.
 */
static long pass_sigaction(struct dune_thread *t, const long call[7])
{
	struct sigaction_kernel action;
	long ret;

	if (!call[2])
		return pass(t, call);
	ret = __dune_copy_in(&action, call[2], sizeof(action));
	if (!ret && action.handler > 1)
		ret = -ENOSYS;
	return ret ? ret : pass(t, (const long[7]){ call[0], call[1], (long)&action, call[3], call[4] });
}

/*
 * ---- libdune's descriptor ----
 *
 * By it ring 3 would set ring 0's registers.  So no call that is passed on takes it, and none makes another descriptor
 * of its file.  What is looked at in memory is copied first: other threads of ring 3 can change it.  poll(), select()
 * and aio are left alone, as the file has nothing for them.
 */

static bool takes_ours(const struct call_row *row, const long call[7])
{
	struct arguments args;

	memcpy(&args, call + 1, sizeof(args));
	for_each_operand(o, row)
		if (o->kind == DESCRIPTOR && operand_concerns(o, args.value) && dune_fd_is_ours(args.value[o->arg]))
			return true;
	return false;
}

/* Of any size, as the kernel takes it: SECCOMP_IOCTL_NOTIF_ADDFD, which names a descriptor in a structure. */
#define IOCTL_NAME_MASK		0xffffU
#define IOCTL_ADDFD		0x2103U

static long pass_ioctl(struct dune_thread *t, const long call[7])
{
	return (call[2] & IOCTL_NAME_MASK) == IOCTL_ADDFD ? -EPERM : pass(t, call);
}

/* struct cmsghdr, and what follows it */
struct control {
	uint64_t length;
	int32_t level, type;
	int32_t fds[];
};

#define SOL_SOCKET	1
#define SCM_RIGHTS	1

#define CONTROL_MAX	4096	/* SCM_RIGHTS takes 253 descriptors */

/* What is out of order here the kernel refuses too. */
bool __dune_sends_ours(const char *controls, uint64_t size)
{
	for (uint64_t at = 0; size - at >= sizeof(struct control); ) {
		const struct control *c = (const struct control *)(controls + at);

		if (c->length < sizeof(*c) || c->length > size - at)
			return false;
		for (uint64_t i = 0; i < (c->length - sizeof(*c)) / sizeof(c->fds[0]); i++)
			if (c->level == SOL_SOCKET && c->type == SCM_RIGHTS && dune_fd_is_ours(c->fds[i]))
				return true;
		at += (c->length + 7) & -8UL;
		if (at > size)
			return false;
	}
	return false;
}

/* Copy the message at @from with its control messages: 0, or -errno, also if they send libdune's descriptor. */
static long copy_message(struct message *to, char controls[CONTROL_MAX], unsigned long from)
{
	long ret = __dune_copy_in(to, from, sizeof(*to));

	if (ret || !to->control_length)
		return ret;
	if (to->control_length > CONTROL_MAX)
		return -ENOBUFS;
	ret = __dune_copy_in(controls, to->control, to->control_length);
	to->control = (unsigned long)controls;
	if (!ret && __dune_sends_ours(controls, to->control_length))
		ret = -EBADF;
	return ret;
}

static long pass_sendmsg(struct dune_thread *t, const long call[7])
{
	char controls[CONTROL_MAX] __attribute__((aligned(8)));
	struct message message;
	long ret = copy_message(&message, controls, call[2]);

	return ret ? ret : pass(t, (const long[7]){ call[0], call[1], (long)&message, call[3] });
}

/* One after the other, as the kernel does it; the result is how many have gone, or the error of the first. */
static long pass_sendmmsg(struct dune_thread *t, const long call[7])
{
	char controls[CONTROL_MAX] __attribute__((aligned(8)));
	unsigned int n = (unsigned int)call[3] < MESSAGES_MAX ? call[3] : MESSAGES_MAX;
	struct counted_message m;
	unsigned long at = call[2];
	long ret;

	if (!n)
		return pass(t, call);
	for (unsigned int i = 0; i < n; i++, at += sizeof(m)) {
		ret = __dune_copy_in(&m, at, sizeof(m));
		if (!ret)
			ret = copy_message(&m.message, controls, at);
		if (!ret)
			ret = pass(t, (const long[7]){ call[0], call[1], (long)&m, 1, call[4] });
		if (ret == 1)
			ret = __dune_copy_out(at + offsetof(struct counted_message, length), &m.length,
					      sizeof(m.length));
		if (ret)
			return i ? i : ret;
	}
	return n;
}

static long pass_own_way(struct dune_thread *t, struct dune_tf *tf, const long call[7])
{
	switch (tf->rax) {
	case __NR_clone:
		return pass_clone(t, tf, (uint32_t)ARG0(tf), ARG1(tf));
	case __NR_fork:
		return pass_clone(t, tf, SIGCHLD, 0);
	case __NR_vfork:
		return pass_clone(t, tf, CLONE_VFORK | SIGCHLD, 0);
	case __NR_arch_prctl:
		return pass_arch_prctl(t, tf);
	case __NR_rt_sigaction:
		return pass_sigaction(t, call);
	case __NR_ioctl:
		return pass_ioctl(t, call);
	case __NR_sendmsg:
		return pass_sendmsg(t, call);
	case __NR_sendmmsg:
		return pass_sendmmsg(t, call);
	}
	return -ENOSYS;
}

static long pass_ring3_call(struct dune_thread *t, struct dune_tf *tf)
{
	const long call[7] = { tf->rax, ARG0(tf), ARG1(tf), ARG2(tf), ARG3(tf), ARG4(tf), ARG5(tf) };
	const struct call_row *row = call_of(tf->rax);

	/* Beyond the table are libdune's own calls, from ring 0 to HR3; what has no row takes nobody knows what. */
	if (!(row->flags & CALL_KNOWN) || row->flags & CALL_NOSYS)
		return -ENOSYS;
	if (row->flags & CALL_PERM)
		return -EPERM;
	if (takes_ours(row, call))
		return -EBADF;
	return row->flags & CALL_OWN ? pass_own_way(t, tf, call) : pass(t, call);
}

PUBLIC void dune_passthrough_syscall(struct dune_tf *tf)
{
	if (dune_in_guest() && tf->cs & 3)
		tf->rax = pass_ring3_call(current_thread(), tf);
	else
		tf->rax = dune_syscall(tf->rax, ARG0(tf), ARG1(tf), ARG2(tf), ARG3(tf), ARG4(tf), ARG5(tf));
}
