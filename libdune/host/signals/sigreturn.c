// SPDX-License-Identifier: MIT
/*
 * rt_sigreturn: the end of a handler of the program's.  The kernel loads the mask and the vector state of the frame;
 * the registers go into the guest's afterwards.  Until the kernel has done its part nothing is changed, and
 * from then on all that is missing is in struct sigreturn: so a signal can come at any instruction, and none is
 * blocked.  HR3.
 */
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define RFLAGS_IF	0x200UL
/* What is taken from a frame: AC OF DF TF SF ZF AF PF CF RF. */
#define RFLAGS_SIGRETURN	0x50dd5UL

/* One under way; the kernel gets the ucontext. */
struct sigreturn {
	struct ucontext uc;
	struct guest_regs regs;		/* the guest's, its alternate stack and selectors, from the frame */
	struct altstack altstack;
	uint16_t cs, ss;
};

/* In a handler of traps, which a forced signal may interrupt, interrupts are off again after it. */
static uint64_t flags_after(const struct dune_thread *t, const struct sigcontext *c, uint64_t rflags)
{
	if (!(c->eflags & RFLAGS_IF) && c->rsp >= t->trap_low && c->rsp <= t->trap_high)
		rflags &= ~RFLAGS_IF;
	return (rflags & ~RFLAGS_SIGRETURN) | (c->eflags & RFLAGS_SIGRETURN);
}

static void read_context(struct guest_regs *r, const struct sigcontext *c, uint64_t rflags)
{
	*r = (struct guest_regs){
		.rax = c->rax, .rcx = c->rcx, .rdx = c->rdx, .rbx = c->rbx,
		.rsp = c->rsp, .rbp = c->rbp, .rsi = c->rsi, .rdi = c->rdi,
		.r8 = c->r8, .r9 = c->r9, .r10 = c->r10, .r11 = c->r11,
		.r12 = c->r12, .r13 = c->r13, .r14 = c->r14, .r15 = c->r15,
		.rip = c->rip, .rflags = rflags,
	};
}

#define RPL		3

/* The kernel reads no more of a frame's vector state, whatever that says. */
#define FPSTATE_MAX	PAGE_SIZE

/*
 * The kernel loads what a frame says, and IRET refuses all selectors but these: no segment of Linux's is good for SS
 * or for 64-bit code, but one each.  Those of 32-bit code the guest does not have, so they are refused like all others.
 */
static void read_selectors(struct sigreturn *s)
{
	const struct sigcontext *c = &s->uc.uc_mcontext;

	s->cs = c->cs | RPL;
	s->ss = c->ss | RPL;
	if (!(s->uc.uc_flags & UC_STRICT_RESTORE_SS) && s->cs == USER_CS)
		s->ss = USER_SS;
}

static bool selectors_are_good(const struct sigreturn *s)
{
	return s->cs == USER_CS && s->ss == USER_SS;
}

/* What the exception says of them: SDM, "IRET". */
static uint32_t selector_error(const struct dune_thread *t)
{
	return (t->refused_cs == USER_CS ? t->refused_ss : t->refused_cs) & ~RPL;
}

long __dune_sys_sigreturn(struct dune_thread *t, struct guest_regs *r)
{
	struct sigreturn s __attribute__((aligned(16)));
	struct sigcontext *c = &s.uc.uc_mcontext;
	unsigned short ss, cs;

	if (out_of_bounds(r->rsp, sizeof(s.uc)) || !__dune_copy(&s.uc, (const void *)r->rsp, sizeof(s.uc)) ||
	    out_of_bounds((unsigned long)c->fpstate, c->fpstate ? FPSTATE_MAX : 0)) {
		r->rax = 0;
		__dune_signal_forced(t, "rt_sigreturn cannot read its frame");
		return 0;
	}
	__asm__("mov %%ss, %0" : "=r"(ss));
	__asm__("mov %%cs, %0" : "=r"(cs));
	t->returning = &s;
	set_doing(t, DOING_SIGRETURN);
	if (t->deferred && __dune_engine_comes_out(&t->vcpu)) {	/* the handler of what came just now is to run first */
		__dune_call_again(t);
		return r->rax;
	}
	if (t->deferred) {
		t->deferred_mask = s.uc.uc_sigmask;
		s.uc.uc_sigmask = ALL_SIGNALS;
	}
	read_context(&s.regs, c, flags_after(t, c, r->rflags));
	read_selectors(&s);
	s.altstack = (struct altstack){
		.sp = (unsigned long)s.uc.uc_stack.ss_sp,
		.flags = s.uc.uc_stack.ss_flags,
		.size = s.uc.uc_stack.ss_size,
	};
	s.uc.uc_stack = (stack_t){ .ss_flags = SS_DISABLE };
	c->rip = (unsigned long)__dune_sigreturned;
	c->rsp = (unsigned long)&s - sizeof(long);	/* as behind a call */
	c->rdi = (unsigned long)t;
	c->eflags = RFLAGS_IF;
	c->cs = cs;
	c->ss = ss;
	__dune_guest_sigreturn(&s.uc);
}

/* The kernel has done its part: the rest.  Again, if a signal comes meanwhile. */
void __dune_sigreturn_load(struct dune_thread *t)
{
	const struct sigreturn *s = t->returning;

	*t->vcpu.regs = s->regs;
	__dune_set_altstack(t, &s->altstack, s->regs.rsp);	/* what the kernel would refuse changes nothing */
	if (!selectors_are_good(s)) {
		t->refused_ss = s->ss;
		t->refused_cs = s->cs;
	}
	set_doing(t, DOING_LOOP);
	assert_ring(t);
}

void __dune_sigreturn_finish(struct dune_thread *t)
{
	__dune_sigreturn_load(t);
	if (t->refused_cs)
		__dune_signal_fault(t, SIGSEGV, SI_KERNEL, 0, selector_error(t));
	t->refused_cs = 0;
	__dune_run_anew(t);
}
