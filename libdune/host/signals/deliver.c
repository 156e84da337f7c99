// SPDX-License-Identifier: MIT
/*
 * Running a program's signal handlers in the guest.
 *
 * The kernel calls __dune_host_handler() on the host stack with all signals blocked. It works out
 * how far the guest has come, builds on the guest's stack the frame that the kernel builds
 * outside Dune mode, makes the guest's registers those of a call of the handler, and returns
 * to the beginning of the trampoline's loop.  Nothing depends on the handler's return: it may
 * siglongjmp() away.  Nested signals nest on the guest's stack.
 *
 * Where that cannot be done now - HR3 is in the middle of C code, or the guest has interrupts
 * off - the signal is kept, all are left blocked, and the guest is made to come out at the
 * first instruction where it can (__dune_signals_resume).  No system call is made for that but
 * rt_sigprocmask and rt_sigreturn, which a seccomp filter of the program's lets libdune make.  HR3.
 */
#include "host/callbacks.h"
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define RFLAGS_IF	0x200UL
#define RFLAGS_DF	0x400UL
#define RFLAGS_RF	0x10000UL

/* The legacy area and the header of an XSAVE image. */
#define FPSTATE_HEADER	576

#define RED_ZONE	128

/* As the kernel lays it out; the program may look at all of it. */
struct frame {
	unsigned long restorer;
	struct ucontext uc;
	siginfo_t info;
};

/* ---- how far the guest has come ---- */

/* Undo an exit by a system call: RIP goes back onto the instruction, RAX still has the number. */
void __dune_call_again(struct dune_thread *t)
{
	if (t->doing == DOING_EXEC)
		__dune_exec_end(t);
	set_doing(t, DOING_LOOP);
	if (t->seen)
		__dune_callback_after(t, DUNE_RING3_RESTART);
	__dune_engine_call_again(&t->vcpu);
}

/* A program in ring 3 has made a call, and stands in libdune's stub: have it stand behind its `syscall`. */
void __dune_call_leave_stub(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;

	if (!__dune_process.ring3 || r->rip != __dune_process.lstar_return)
		return;
	r->rip = r->rcx;
	r->rflags = r->r11;
	__dune_engine_set_cpl(&t->vcpu, 3);
}

/*
 * The guest stands in the entry of system calls, with interrupts off, and has called nobody yet: have it make
 * the call again, or the signal would wait until that call is over.
 */
static void leave_call_entry(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;
	bool ring3 = __dune_process.ring3 || (t->ring3_bases && r->r11 & RFLAGS_IOPL1);

	__dune_call_leave_stub(t);
	if (__dune_engine_cpl(&t->vcpu) || r->rip < __dune_process.lstar || r->rip >= __dune_process.lstar_return)
		return;
	r->rip = r->rcx - SYSCALL_LENGTH;
	r->rflags = r->r11;
	__dune_engine_set_cpl(&t->vcpu, ring3 ? 3 : 0);
}

static bool on_trap_stack(const struct dune_thread *t, unsigned long sp)
{
	return sp >= t->trap_low && sp <= t->trap_high;
}

/*
 * The guest stands behind its system call.  If that is the program's own, and interrupts are off without a trap or ring
 * 3 that would explain it, they are off for good: by POPF, or since a handler of traps was left by longjmp().  Outside
 * a program cannot keep its signals off so: put them on.  libdune's own calls there are made with its lock held.
 */
static void own_interrupts_on(struct dune_thread *t)
{
	struct guest_regs *r = t->vcpu.regs;
	unsigned long site = r->rcx - SYSCALL_LENGTH;
	bool in_stub = r->rip == __dune_process.lstar_return;
	bool own = site == (unsigned long)__dune_syscall_site || site == (unsigned long)__dune_own_site;

	if (__dune_process.ring3)	/* it cannot */
		return;
	if (__dune_engine_cpl(&t->vcpu) || t->ring3_bases || __dune_engine_in_event(&t->vcpu) ||
	    on_trap_stack(t, r->rsp))
		return;
	if (!(in_stub || r->rip == r->rcx) || own)
		return;
	if (in_stub)
		r->r11 |= RFLAGS_IF;
	else
		r->rflags |= RFLAGS_IF;
}

/* ---- deferring ---- */

/*
 * A trap comes before what came earlier: its frame has the guest's registers as the call left them.  Of what is there
 * already one is enough, as it is for the kernel: none that can come now is queued more than once.
 */
static void queue_signal(struct dune_thread *t, const siginfo_t *info, const struct sigaction_kernel *action)
{
	unsigned int place = is_trap(info) ? 0 : t->nr_pending;
	struct pending_signal *kept = pending_signals(t);

	for (unsigned int i = 0; i < t->nr_pending; i++)
		if (place && kept[i].info.si_signo == info->si_signo)
			return;
	if (t->nr_pending == PENDING_MAX)
		return;
	for (unsigned int i = t->nr_pending++; i > place; i--)
		kept[i] = kept[i - 1];
	kept[place].info = *info;
	kept[place].action = *action;
}

/* Have the guest come out when a handler can run, with all signals blocked until then. */
static void defer(struct dune_thread *t, const siginfo_t *info, const struct sigaction_kernel *action,
		  struct ucontext *host, bool wait)
{
	queue_signal(t, info, action);
	if (!t->deferred && t->doing == DOING_OWN_CALL)
		t->deferred_mask = t->calling_mask;
	else if (!t->deferred)
		t->deferred_mask = host->uc_sigmask;
	t->deferred = true;
	__dune_watch(t);
	host->uc_sigmask = ALL_SIGNALS;
	if (wait)	/* for the guest to have interrupts on */
		__dune_engine_want_window(&t->vcpu, true);
	else
		__dune_engine_come_out(&t->vcpu);
}

/* ---- the frame ---- */

static size_t fpstate_size(const struct _fpstate_64 *fp)
{
	if (!fp)
		return 0;
	return fp->sw_reserved.magic1 == FP_XSTATE_MAGIC1 ? fp->sw_reserved.extended_size : sizeof(*fp);
}

/* Where the addresses of processes end; the kernel does not say what is present behind that. */
#define USER_END	((1UL << 47) - PAGE_SIZE)

static void set_trap(struct dune_thread *t, unsigned int vector, uint32_t error, unsigned long address)
{
	t->trapno = vector;
	t->trap_err = error;
	if (vector != T_PGFLT)
		return;
	if (address >= USER_END)
		t->trap_err |= PF_PRESENT;
	t->trap_cr2 = address;
}

static void fill_context(const struct dune_thread *t, struct sigcontext *to, unsigned long oldmask)
{
	const struct guest_regs *r = t->vcpu.regs;

	*to = (struct sigcontext){
		.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
		.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		.rdi = r->rdi, .rsi = r->rsi, .rbp = r->rbp, .rbx = r->rbx,
		.rdx = r->rdx, .rax = r->rax, .rcx = r->rcx, .rsp = r->rsp,
		.rip = r->rip, .eflags = r->rflags,
		.cs = t->refused_cs ? t->refused_cs : USER_CS, .ss = t->refused_cs ? t->refused_ss : USER_SS,
		.oldmask = oldmask,
		.err = t->trap_err, .trapno = t->trapno, .cr2 = t->trap_cr2,
	};
}

/* Some calls wait under a mask of their own, which is in force until the handler returns. */
static bool waiting_mask(const struct guest_regs *r, unsigned long nr, uint64_t *mask)
{
	const struct arguments args = arguments_of(r);

	for_each_operand(o, call_of(nr)) {
		unsigned long address = args.value[o->arg];

		if ((o->kind != MASK && o->kind != MASK_AT) || !operand_concerns(o, args.value) || !address)
			continue;
		if (o->kind == MASK_AT && __dune_copy_in(&address, address, sizeof(address)))
			return false;
		return address && !__dune_copy_in(mask, address, sizeof(*mask));
	}
	return false;
}

static uint64_t handler_mask(int signo, const struct sigaction_kernel *action, uint64_t in_force)
{
	uint64_t mask = in_force | action->mask;

	if (!(action->flags & SA_NODEFER))
		mask |= 1UL << (signo - 1);
	return mask;
}

/* NULL: it does not fit into the alternate stack. */
static struct frame *place_frame(struct dune_thread *t, const struct sigaction_kernel *action,
				 size_t fp_size, unsigned long *fpstate)
{
	unsigned long sp = t->vcpu.regs->rsp, frame;
	const struct altstack *alt = &t->altstack;
	bool inside = __dune_on_altstack(alt, sp);

	/* A trap under way is known by its stack. */
	if (action->flags & SA_ONSTACK && !(alt->flags & SS_DISABLE) && !inside &&
	    (__dune_process.ring3 || !on_trap_stack(t, sp))) {
		sp = alt->sp + alt->size;
		inside = true;
	} else {
		sp -= RED_ZONE;
	}
	*fpstate = (sp - fp_size) & -64UL;
	frame = ((*fpstate - sizeof(struct frame)) & -16UL) - 8;
	return inside && frame - alt->sp - 1 >= alt->size ? NULL : (struct frame *)frame;
}

/* Build it and have the guest call the handler.  False: it cannot be written. */
static bool build_frame(struct dune_thread *t, int signo, const siginfo_t *info,
			const struct ucontext *host, const struct sigaction_kernel *action)
{
	struct guest_regs *r = t->vcpu.regs;
	const struct _fpstate_64 *fp = (const void *)host->uc_mcontext.fpstate;
	size_t fp_size = fpstate_size(fp);
	unsigned long fpstate;
	struct frame *frame = place_frame(t, action, fp_size, &fpstate);

	/* The kernel knows no other way back. */
	if (!(action->flags & SA_RESTORER))
		return false;
	if (!frame || out_of_bounds((unsigned long)frame, fpstate + fp_size - (unsigned long)frame))
		return false;
	if (!__dune_can_write((unsigned long)frame, fpstate + fp_size - (unsigned long)frame))
		return false;
	memcpy((void *)fpstate, fp, fp_size);
	frame->restorer = action->restorer;
	frame->uc.uc_flags = host->uc_flags;
	frame->uc.uc_link = NULL;
	frame->uc.uc_stack.ss_sp = (void *)t->altstack.sp;
	frame->uc.uc_stack.ss_flags = t->altstack.flags;
	frame->uc.uc_stack.ss_size = t->altstack.size;
	/* The kernel sets this one for 64-bit code, by its selector. */
	if (t->refused_cs && t->refused_cs != USER_CS)
		frame->uc.uc_flags &= ~(unsigned long)UC_STRICT_RESTORE_SS;
	fill_context(t, &frame->uc.uc_mcontext, host->uc_mcontext.oldmask);
	frame->uc.uc_mcontext.fpstate = fp ? (void *)fpstate : NULL;
	frame->uc.uc_sigmask = host->uc_sigmask;
	frame->info = *info;
	__dune_mark_written(t, (unsigned long)frame, fpstate + fp_size - (unsigned long)frame);
	if (t->altstack.flags & SS_AUTODISARM)
		t->altstack = (struct altstack){ .flags = SS_DISABLE };
	t->refused_cs = 0;

	r->rdi = signo;
	r->rsi = (unsigned long)&frame->info;
	r->rdx = (unsigned long)&frame->uc;
	r->rax = 0;
	r->rip = action->handler;
	r->rsp = (unsigned long)frame;
	r->rflags = (r->rflags & ~(RFLAGS_TF | RFLAGS_DF | RFLAGS_RF)) | RFLAGS_IF;
	return true;
}

/* Have the kernel's return from this host handler go to the beginning of the loop. */
void __dune_restart_loop(struct dune_thread *t, struct ucontext *host, uint64_t mask)
{
	struct sigcontext *c = &host->uc_mcontext;

	assert_ring(t);
	host->uc_sigmask = mask;
	c->rip = (unsigned long)__dune_run_loop;
	c->rsp = t->host_top;
	c->rdi = (unsigned long)t;
	c->eflags &= ~RFLAGS_DF;
	set_doing(t, DOING_LOOP);
}

/* ---- outside the host handler ---- */

/* An image of the vector state, which is the guest's, as a signal frame has it. */
static void save_vectors(char *area)
{
	struct _fpstate_64 *fp = (struct _fpstate_64 *)area;
	uint32_t low = __dune_process.xsave_mask, high = __dune_process.xsave_mask >> 32;
	uint32_t size = __dune_process.xsave_size;
	const uint32_t magic2 = FP_XSTATE_MAGIC2;

	memset(area, 0, FPSTATE_HEADER);
	if (!low) {
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
		return;
	}
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
	fp->sw_reserved = (struct _fpx_sw_bytes){
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = size + sizeof(magic2),
		.xfeatures = __dune_process.xsave_mask,
		.xstate_size = size,
	};
	memcpy(area + size, &magic2, sizeof(magic2));
}

/* Bytes that save_vectors() needs, aligned to 64. */
static unsigned long vectors_size(void)
{
	return __dune_process.xsave_mask ? __dune_process.xsave_size + sizeof(uint32_t) : FPSTATE_HEADER;
}

/* What the kernel would find at the end of a host handler that had interrupted the guest; the vector state is live. */
static void make_context(struct dune_thread *t, struct ucontext *uc, char *area, uint64_t mask)
{
	memset(uc, 0, sizeof(*uc));
	uc->uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	uc->uc_stack.ss_flags = SS_DISABLE;
	fill_context(t, &uc->uc_mcontext, 0);
	uc->uc_mcontext.cs = USER_CS;
	uc->uc_mcontext.ss = USER_SS;
	uc->uc_sigmask = mask;
	if (area) {
		save_vectors(area);
		uc->uc_mcontext.fpstate = (void *)area;
	}
}

/* ---- death in the guest ---- */

static siginfo_t exception_info(int signo, int code, unsigned long addr)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = signo;
	info.si_code = code;
	info.si_addr = (void *)addr;
	return info;
}

/*
 * Say why (@why: what __dune_report_death() cannot know, or NULL), and die by @signo at the guest's instruction, so
 * that a core file shows its registers: the kernel loads them at the end of what looks like a handler, and there finds
 * the signal.  In the host handler its context @host has the vector state; otherwise, NULL, it is live.  A tracer may
 * have it live on, outside Dune mode: with the program's mask, @in_force.
 */
static void __attribute__((noreturn)) die_in_guest(struct dune_thread *t, int signo, const siginfo_t *info,
						   const struct ucontext *host, uint64_t in_force, const char *why)
{
	char *area = __builtin_alloca_with_align(vectors_size(), 64 * 8);
	uint64_t mask = (__dune_traced() ? in_force : ALL_SIGNALS) & ~(1UL << (signo - 1));
	struct ucontext uc;

	__dune_report_death(t, info, why);
	if (region_state()->filtered)
		__dune_die_by(signo, info);
	__dune_signals_block();
	__dune_callback_end(t, signo, true);
	__dune_signal_default(signo);
	dune_syscall4(__NR_rt_tgsigqueueinfo, dune_syscall0(__NR_getpid), dune_syscall0(__NR_gettid), signo, info);
	make_context(t, &uc, host ? NULL : area, mask);
	if (host)
		uc.uc_mcontext.fpstate = host->uc_mcontext.fpstate;
	__dune_host_sigreturn(&uc);
}

/* The guest cannot go on, and it has been said why: no handler helps.  Outside the host handler. */
void __dune_die_in_guest(struct dune_thread *t, int signo, int code)
{
	siginfo_t info = exception_info(signo, code, 0);

	__dune_engine_drop_event(&t->vcpu);
	die_in_guest(t, signo, &info, NULL, ALL_SIGNALS, ALREADY_SAID);
}

/* The guest stands where @tf says. */
void __dune_load_trap_frame(struct dune_thread *t, const struct dune_tf *tf)
{
	*t->vcpu.regs = (struct guest_regs){
		.rax = tf->rax, .rcx = tf->rcx, .rdx = tf->rdx, .rbx = tf->rbx,
		.rsp = tf->rsp, .rbp = tf->rbp, .rsi = tf->rsi, .rdi = tf->rdi,
		.r8 = tf->r8, .r9 = tf->r9, .r10 = tf->r10, .r11 = tf->r11,
		.r12 = tf->r12, .r13 = tf->r13, .r14 = tf->r14, .r15 = tf->r15,
		.rip = tf->rip, .rflags = tf->rflags,
	};
	__dune_engine_set_cpl(&t->vcpu, tf->cs & 3);
	set_trap_state(t, tf->cs & 3, tf->rsp);
}

/* What the exception has interrupted whose handler is at work, if that is the only one; NULL: none is. */
static const struct dune_tf *interrupted_frame(const struct dune_thread *t)
{
	unsigned long top = t->session ? ist_session(t) : t->trap_high;

	if (!on_trap_stack(t, t->vcpu.regs->rsp) || t->trap_top != t->trap_high)
		return NULL;
	return (const struct dune_tf *)(top - sizeof(struct dune_tf));
}

/* GR0 cannot go on, and has said why.  In a handler that is the fault of what was interrupted. */
static void __attribute__((noreturn)) die_of_fatal(struct dune_thread *t, const struct raise *raise)
{
	const struct dune_tf *tf = raise->tf ? raise->tf : interrupted_frame(t);

	if (tf) {
		__dune_load_trap_frame(t, tf);
		t->trap_err = tf->err;
	}
	__dune_die_in_guest(t, raise->signo, raise->code);
}

/* ---- calling handlers ---- */

/* The kernel has done it for most signals (host_action()); by now another thread may have set it again. */
static void reset_action(struct sighand *sighand, int signo, const struct sigaction_kernel *action)
{
	struct sigaction_kernel *kept = &sighand->actions[signo];

	if (!(action->flags & SA_RESETHAND))
		return;
	if (signo == SIGSEGV || signo == SIGBUS)
		__dune_signal_reset(sighand, signo);
	else if (kept->handler == action->handler && (region_state()->filtered || __dune_signal_is_default(signo)))
		*kept = (struct sigaction_kernel){ 0 };
}

static bool try_call(struct dune_thread *t, const siginfo_t *info, const struct sigaction_kernel *action,
		     struct ucontext *host, uint64_t in_force)
{
	int signo = info->si_signo;

	if (!build_frame(t, signo, info, host, action))
		return false;
	__dune_restart_loop(t, host, handler_mask(signo, action, in_force));
	/* The handler begins with the initial vector state; the frame has the program's. */
	host->uc_mcontext.fpstate = NULL;
	return true;
}

/*
 * Have the guest call the handler, when the kernel has loaded @host.  A frame that cannot be written is SIGSEGV, whose
 * own is perhaps to be written elsewhere; but SIGSEGV without one is death.
 */
static void call_handler(struct dune_thread *t, const siginfo_t *info, const struct sigaction_kernel *action,
			 struct ucontext *host, uint64_t in_force)
{
	siginfo_t segv = exception_info(SIGSEGV, SI_KERNEL, 0);
	struct sigaction_kernel segv_action = t->sighand->actions[SIGSEGV];

	if (__dune_engine_cpl(&t->vcpu) && !__dune_process.ring3)
		__dune_session_interrupt(t, in_force);
	__dune_callback_signal(t, info);
	if (try_call(t, info, action, host, in_force))
		return;
	if (info->si_signo != SIGSEGV && is_handler(&segv_action) && !(in_force & 1UL << (SIGSEGV - 1))) {
		reset_action(t->sighand, SIGSEGV, &segv_action);
		if (try_call(t, &segv, &segv_action, host, in_force))
			return;
	}
	die_in_guest(t, SIGSEGV, &segv, host, in_force, "the frame of a signal handler cannot be written");
}

/*
 * Where vcpu.regs is all there is of the guest: have it call the handler of @first, unless that is NULL, and of the
 * signals that are kept.  The last one runs first.  Signals are blocked; if there is none it returns, with @mask.
 */
static void call_handlers(struct dune_thread *t, const struct pending_signal *first, uint64_t mask)
{
	char *area = __builtin_alloca_with_align(vectors_size(), 64 * 8);
	struct pending_signal *kept = pending_signals(t);
	struct ucontext uc;

	__dune_engine_stay(&t->vcpu);
	__dune_engine_want_window(&t->vcpu, false);
	t->deferred = false;
	__dune_watch(t);
	if (!first && !t->nr_pending) {
		__dune_signals_restore(mask);
		return;
	}
	make_context(t, &uc, area, mask);
	if (first)
		call_handler(t, &first->info, &first->action, &uc, mask);
	for (unsigned int i = 0; i < t->nr_pending; i++) {
		siginfo_t *info = &kept[i].info;

		if (is_trap(info)) {	/* the call has not been made: RAX has its number */
			t->vcpu.regs->rax = info->si_syscall;
			info->si_call_addr = (void *)t->vcpu.regs->rip;
		}
		mask = uc.uc_sigmask;
		call_handler(t, info, &kept[i].action, &uc, mask);
	}
	t->nr_pending = 0;
	uc.uc_mcontext.eflags = RFLAGS_IF;
	__dune_host_sigreturn(&uc);
}

static bool interrupts_off(const struct dune_thread *t, unsigned long flags)
{
	return !(flags & RFLAGS_IF) || __dune_engine_in_event(&t->vcpu);
}

/* The guest has come out: now the handlers can run, unless it is where interrupts are off.  A trap cannot wait. */
void __dune_signals_resume(struct dune_thread *t)
{
	if (!(__dune_engine_in_event(&t->vcpu)))
		leave_call_entry(t);
	own_interrupts_on(t);
	if (t->nr_pending && !is_trap(&pending_signals(t)->info) && interrupts_off(t, t->vcpu.regs->rflags)) {
		__dune_engine_stay(&t->vcpu);
		__dune_engine_want_window(&t->vcpu, true);
		return;
	}
	call_handlers(t, NULL, t->deferred_mask);
}

/* The guest makes a system call while signals wait: if their handlers can run, it makes the call again after them. */
bool __dune_signals_first(struct dune_thread *t)
{
	own_interrupts_on(t);
	if (interrupts_off(t, t->vcpu.regs->rflags))
		return false;
	__dune_call_again(t);
	return true;
}

/* Signals wait for the guest to have interrupts on: their handlers run all the same, before its next instruction. */
void __dune_signals_now(struct dune_thread *t)
{
	call_handlers(t, NULL, t->deferred_mask);
}

/* ---- the handler ---- */

/* A signal without a handler comes here only for SIGSEGV and SIGBUS (__dune_touch_catch). */
static void without_handler(struct dune_thread *t, int signo, const siginfo_t *info,
			    const struct ucontext *host, bool synchronous)
{
	const struct sigaction_kernel *action = &t->sighand->actions[signo];

	if (signo != SIGSEGV && signo != SIGBUS) {
		/* Taken away by another thread meanwhile: now it is the kernel's, at the end of the host handler. */
		if (!region_state()->filtered && action->handler == (unsigned long)SIG_DFL &&
		    __dune_signal_is_default(signo))
			dune_syscall4(__NR_rt_tgsigqueueinfo, dune_syscall0(__NR_getpid), dune_syscall0(__NR_gettid),
				      signo, info);
		return;
	}
	if (synchronous) {
		set_trap(t, T_PGFLT, __dune_fault_error(t), (unsigned long)info->si_addr);
		die_in_guest(t, signo, info, host, host->uc_sigmask, NULL);
	} else if (action->handler == (unsigned long)SIG_DFL)
		__dune_die_by(signo, info);
}

static enum doing doing_of(const struct dune_thread *t, const struct sigcontext *c)
{
	const struct stopped s = {
		.rip = c->rip,
		.result = __dune_engine_result(&t->vcpu, c->rax),
		.caller = at_syscall(c->rip) ? *(const unsigned long *)c->rsp : 0,
		.doing = t->doing,
	};

	return doing_when(&s);
}

/*
 * Have vcpu.regs be all there is of the guest.  What AGAIN does comes later, when the handler is really called: if that
 * has to wait, HR3 goes on and makes the call.
 */
static void settle(struct dune_thread *t, enum settle how, enum signal_kind kind, struct ucontext *host)
{
	switch (how) {
	case SETTLE_RESULT:
	case SETTLE_OUTPUT:
		t->vcpu.regs->rax = host->uc_mcontext.rax;
		if (how == SETTLE_OUTPUT)
			__dune_output_mark(t);
		break;
	case SETTLE_RETURN:
	case SETTLE_RETURNED:
		if (how == SETTLE_RETURNED)
			__dune_sigreturn_load(t);
		else if (kind != SIGNAL_TRAP)
			__dune_call_again(t);
		__dune_restart_loop(t, host, host->uc_sigmask);
		break;
	case SETTLE_ACCESS:
		if (t->touch_mask != NO_MASK) {
			host->uc_sigmask = t->touch_mask;
			__dune_touch_release(t);
		}
		if (kind != SIGNAL_ACCESS)	/* it has not failed: it may not have been made */
			t->fault_count = 0;
		break;
	default:
		break;
	}
	if (how != SETTLE_AGAIN && !(__dune_engine_in_event(&t->vcpu)))
		leave_call_entry(t);
	own_interrupts_on(t);
}

/* What the guest's flags will be when the thread has been settled so. */
static unsigned long settled_flags(const struct dune_thread *t, enum settle how)
{
	const struct guest_regs *r = t->vcpu.regs;

	return how == SETTLE_AGAIN && r->rip == __dune_process.lstar_return ? r->r11 : r->rflags;
}

static void deliver(struct dune_thread *t, int signo, siginfo_t *info, struct ucontext *host)
{
	const enum signal_kind kind = kind_of(info, host->uc_mcontext.rip);
	const enum doing doing = doing_of(t, &host->uc_mcontext);
	const struct doing_row *row = &__dune_doings[doing];
	const enum signal_action what = row->actions[kind];
	struct sigaction_kernel action = t->sighand->actions[signo];
	struct guest_regs *r = t->vcpu.regs;
	const unsigned long nr = r->rax;
	const bool busy = what == ACTION_DEFER || what == ACTION_REFUSE;
	const bool touching = row->settle == SETTLE_ACCESS;
	const bool raised = doing == DOING_RAISE && info->si_code > 0;	/* by the guest: it cannot go on without */
	bool wait = busy;
	uint64_t in_force;

	if (t->in_callback && kind != SIGNAL_COPY)
		__dune_callback_failed(info, host->uc_mcontext.rip);
	if (what == ACTION_FAIL) {
		host->uc_mcontext.rip = (unsigned long)__dune_copy_failed;
		return;
	}
	if (what == ACTION_DIE)
		__dune_die_by(SIGSEGV, info);
	if (!busy) {
		settle(t, row->settle, kind, host);
		wait = what == ACTION_DELIVER && !raised && interrupts_off(t, settled_flags(t, row->settle));
	}
	in_force = host->uc_sigmask;
	if (what == ACTION_FAULT && (__dune_fault_to_guest(t, signo, info->si_code) || __dune_debug_stop(t, info))) {
		__dune_restart_loop(t, host, in_force);
		return;
	}
	if (!is_handler(&action) && what == ACTION_FAULT && region_state()->filtered) {
		/* Make the access again, with the signal blocked: the kernel kills. */
		host->uc_sigmask = ALL_SIGNALS;
		return;
	}
	if (!is_handler(&action)) {
		without_handler(t, signo, info, host, kind != SIGNAL_SENT);
		if (touching)
			__dune_restart_loop(t, host, in_force);
		return;
	}
	reset_action(t->sighand, signo, &action);
	if (what == ACTION_REFUSE)
		host->uc_mcontext.rax = -ENOSYS;
	else if (kind == SIGNAL_TRAP)
		info->si_call_addr = (void *)r->rip;
	if (wait) {
		const bool exec = !busy && t->doing == DOING_EXEC;

		defer(t, info, &action, host, !busy);
		if (exec)	/* which is not made while a signal waits */
			__dune_call_again(t);
		if (exec || touching)
			__dune_restart_loop(t, host, ALL_SIGNALS);
		return;
	}
	if (what == ACTION_FAULT) {
		/* HR3 has read what the guest wanted to execute, and perhaps before it would write. */
		const uint32_t kind = PF_WRITE | PF_FETCH, error = __dune_fault_error(t);

		set_trap(t, T_PGFLT, (host->uc_mcontext.err & ~(unsigned long)kind) | (error & kind),
			 host->uc_mcontext.cr2);
	}
	if (row->settle == SETTLE_AGAIN)
		__dune_call_again(t);
	else if (host->uc_mcontext.rax == (unsigned long)-EINTR)
		waiting_mask(regs_of_call(t), nr, &in_force);
	if (t->deferred)	/* a fault while another signal waits, and still does */
		host->uc_sigmask = in_force = t->deferred_mask;
	call_handler(t, info, &action, host, in_force);
	/*
	 * Not by returning to the kernel, which has nothing to restore: the mask is another, and a handler begins with
	 * the initial vector state, which is live since this one began.
	 */
	in_force = host->uc_sigmask;
	if (t->deferred) {
		t->deferred_mask = in_force;
		in_force = ALL_SIGNALS;
	}
	__dune_run_masked(t, in_force);
}

static struct dune_thread *this_thread(void)
{
	unsigned long sp = (unsigned long)__builtin_frame_address(0);

	if (sp - __dune_process.region >= GRANULE_SIZE)
		return NULL;
	return area_thread(sp & -(unsigned long)AREA_SIZE);
}

/* In a thread that is not in Dune mode, on the stack and with the vector state that the handler is to have. */
static void deliver_outside(int signo, siginfo_t *info, struct ucontext *context)
{
	struct sigaction_kernel action = __dune_sighand.actions[signo];
	void (*handler)(int, siginfo_t *, void *) = (void (*)(int, siginfo_t *, void *))action.handler;
	uint64_t mask;

	if (is_handler(&action)) {
		mask = context->uc_sigmask;
		reset_action(&__dune_sighand, signo, &action);
		__dune_signals_restore(handler_mask(signo, &action, mask));
		handler(signo, info, context);
	} else if ((signo == SIGSEGV || signo == SIGBUS) && (info->si_code > 0 || !action.handler)) {
		__dune_die_by(signo, info);
	}
}

void __dune_host_handler(int signo, siginfo_t *info, void *context)
{
	struct dune_thread *t = this_thread();

	if (!t) {
		deliver_outside(signo, info, context);
		return;
	}
	deliver(t, signo, info, context);
}

/* ---- exceptions ---- */

/*
 * The thread has a tracer: it stops with the signal that the guest gets for its exception, and may take that away, or
 * send another.  So the kernel sends it, and libdune's handler builds the frame; if it does not come, the guest goes on
 * where it stands.  Signals are blocked; then @mask, which lets this one through.
 */
static void raise_exception(struct dune_thread *t, const siginfo_t *info, uint64_t mask)
{
	set_doing(t, DOING_RAISE);
	dune_syscall4(__NR_rt_tgsigqueueinfo, dune_syscall0(__NR_getpid), dune_syscall0(__NR_gettid), info->si_signo,
		      info);
	__dune_signals_restore(mask);
	set_doing(t, DOING_LOOP);
}

/*
 * The guest stands at the instruction that has failed, in vcpu.regs: have the kernel send it
 * the signal; a blocked or ignored one kills, as the kernel's own do.  @why: as for __dune_report_death().
 */
static void send_exception(struct dune_thread *t, const siginfo_t *info, const char *why)
{
	int signo = info->si_signo;
	uint64_t mask = __dune_signals_block();
	struct pending_signal now;

	__dune_callback_fault(t, info);
	if (__dune_debug_stop(t, info)) {
		__dune_signals_restore(mask);
		return;
	}
	if (t->deferred)
		mask = t->deferred_mask;
	if (!__dune_has_handler(t->sighand, signo) || mask & 1UL << (signo - 1))
		die_in_guest(t, signo, info, NULL, mask, why);
	if (!t->deferred && __dune_traced()) {
		raise_exception(t, info, mask);
		return;
	}
	now.info = *info;
	now.action = t->sighand->actions[signo];
	if (now.action.flags & SA_RESETHAND)
		__dune_signal_reset(t->sighand, signo);
	call_handlers(t, &now, mask);
}

/* SIGSYS that dispatch makes of a call. */
void __dune_signal_dispatched(struct dune_thread *t, const siginfo_t *info)
{
	send_exception(t, info, NULL);
}

/* SIGSYS that a filter makes of a call, and nothing helps. */
void __dune_signal_killing(struct dune_thread *t, const siginfo_t *info)
{
	die_in_guest(t, info->si_signo, info, NULL, ALL_SIGNALS, ALREADY_SAID);
}

/* SIGSEGV that the kernel forces, but not for an exception: the frame shows the last one.  @why: in words. */
void __dune_signal_forced(struct dune_thread *t, const char *why)
{
	siginfo_t info = exception_info(SIGSEGV, SI_KERNEL, 0);

	send_exception(t, &info, why);
}

/* An exception without a handler in GR0. */
void __dune_signal_exception(struct dune_thread *t, const struct raise *raise)
{
	siginfo_t info = exception_info(raise->signo, raise->code, raise->addr);

	if (raise->fatal)
		die_of_fatal(t, raise);
	set_trap(t, raise->vector, raise->tf->err, raise->addr);
	__dune_load_trap_frame(t, raise->tf);
	send_exception(t, &info, NULL);
}

/* An access of the guest's that the kernel would refuse; SI_KERNEL: to an address that is none. */
void __dune_signal_fault(struct dune_thread *t, int signo, int code, unsigned long addr, uint32_t error)
{
	siginfo_t info = exception_info(signo, code, addr);

	set_trap(t, code == SI_KERNEL ? T_GPFLT : T_PGFLT, error, addr);
	t->trap_err = error;		/* of what is emulated, behind the last page too */
	__dune_engine_drop_event(&t->vcpu);
	send_exception(t, &info, NULL);
}
