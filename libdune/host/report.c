// SPDX-License-Identifier: MIT
/*
 * What is said of a process that dies in the guest: the reason in one line, and all that dune_dump_trap_frame() shows.
 * HR3.
 */
#include "host/host.h"

static void frame_of_guest(struct dune_tf *tf, const struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;
	const bool user = __dune_engine_cpl(&t->vcpu);

	*tf = (struct dune_tf){
		.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
		.rsi = r->rsi, .rdi = r->rdi, .rbp = r->rbp, .rsp = r->rsp,
		.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
		.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		.rip = r->rip, .rflags = r->rflags,
		.cs = user ? SEL_USER_CS : SEL_KERNEL_CS,
		.ss = user ? SEL_USER_DS : SEL_KERNEL_DS,
		.err = t->trap_err,
	};
}

static const char *access_refused(uint32_t err)
{
	return err & PF_FETCH ? "an execution" : err & PF_WRITE ? "a write" : "a read";
}

static const char *refusal_of(const siginfo_t *info)
{
	if (info->si_signo == SIGBUS)
		return "behind the end of a file, or of memory that fails";
	return info->si_code == SEGV_MAPERR ? "where nothing is mapped" : "which is not allowed there";
}

static void print_reason(const struct dune_thread *t, const siginfo_t *info)
{
	const unsigned long rip = t->vcpu.regs->rip, addr = (unsigned long)info->si_addr;
	const int signo = info->si_signo;

	if (signo == SIGSYS)
		__dune_message("fatal: system call %ld at %#lx is dispatched to no handler; signal %d",
			       (long)info->si_syscall, rip, signo);
	else if (t->trapno == T_PGFLT)
		__dune_message("fatal: vector %u (page fault) at %#lx, address %#lx: %s %s; signal %d",
			       t->trapno, rip, addr, access_refused(t->trap_err), refusal_of(info), signo);
	else
		__dune_message("fatal: vector %u (%s) at %#lx; signal %d", t->trapno,
			       __dune_exception_name(t->trapno), rip, signo);
}

/*
 * @t is about to die by @info where its registers say.  @why: the reason, if it is not the exception t->trapno, or
 * ALREADY_SAID.  Nothing is said where the program has asked for that, nor under a filter of its own, which could kill
 * it for the calls that are made here, by another signal.
 */
void __dune_report_death(const struct dune_thread *t, const siginfo_t *info, const char *why)
{
	const unsigned long rip = t->vcpu.regs->rip;
	struct dune_tf tf;

	if (option(DUNE_OPT_QUIET) || region_state()->filtered)
		return;
	if (why && *why)
		__dune_message("fatal: %s, at %#lx; signal %d", why, rip, info->si_signo);
	else if (!why)
		print_reason(t, info);
	frame_of_guest(&tf, t);
	__dune_dump(&tf);
}
