// SPDX-License-Identifier: MIT
/*
 * ptrace() by a process with the memory of its tracee, as the sanitizers' and other collectors make it: they stop all
 * threads, and look in their registers and stacks for pointers.  A thread in Dune mode stands in HR3 then.  Its own
 * registers are in the same memory, so the tracer gets those.  HR3.
 */
#include <asm/ptrace.h>
#include <asm/ptrace-abi.h>
#include <linux/kcmp.h>
#include <linux/ptrace.h>
#include <linux/uio.h>

#include "host/calls.h"
#include "host/signals.h"

#define TRACEME		0
#define NOT_IN_A_CALL	(-1L)

/* struct user_regs_struct, by the kernel's names of pt_regs and what follows them */
struct user_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
	unsigned long ip, cs, flags, sp, ss;
	unsigned long fs_base, gs_base, ds, es, fs, gs;
};

_Static_assert(sizeof(struct user_regs) == 27 * sizeof(long), "it is struct user_regs_struct");

/* The thread on whose host stack @sp is; NULL. */
static const struct dune_thread *thread_at(unsigned long sp)
{
	unsigned long area = sp & -AREA_SIZE, offset = area - __dune_process.region;
	const struct dune_thread *t = area_thread(area);

	if (offset >= GRANULE_SIZE || (offset && offset < REGION_AREAS))
		return NULL;
	return READ_ONCE(*__dune_thread_slot(t)) == SLOT_BUSY ? t : NULL;
}

static bool same_memory(int pid)
{
	return !dune_syscall5(__NR_kcmp, dune_syscall0(__NR_gettid), pid, KCMP_VM, 0, 0);
}

/* @u are HR3's registers of @t, which stands. */
static void as_program_sees(struct user_regs *u, const struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;
	bool in_stub = r->rip == __dune_process.lstar_return;

	if (!at(u->ip, __dune_syscall_site)) {
		u->ax = r->rax;
		u->orig_ax = NOT_IN_A_CALL;
	}
	u->bx = r->rbx;
	u->cx = r->rcx;
	u->dx = r->rdx;
	u->si = r->rsi;
	u->di = r->rdi;
	u->bp = r->rbp;
	u->sp = r->rsp;
	u->r8 = r->r8;
	u->r9 = r->r9;
	u->r10 = r->r10;
	u->r11 = r->r11;
	u->r12 = r->r12;
	u->r13 = r->r13;
	u->r14 = r->r14;
	u->r15 = r->r15;
	u->ip = in_stub ? r->rcx : r->rip;
	u->flags = in_stub ? r->r11 : r->rflags;
	u->cs = USER_CS;
	u->ss = USER_SS;
}

/* Where the kernel has put them, which is program's memory; 0: it has not put all of them. */
static unsigned long registers_at(const struct guest_regs *r)
{
	struct iovec buffer;

	if (r->rdi == PTRACE_GETREGS)
		return r->r10;
	if (__dune_copy_in(&buffer, r->r10, sizeof(buffer)) || buffer.iov_len != sizeof(struct user_regs))
		return 0;
	return (unsigned long)buffer.iov_base;
}

long __dune_sys_ptrace(struct dune_thread *t, struct guest_regs *r)
{
	const struct dune_thread *tracee;
	unsigned long buffer;
	struct user_regs u;
	long ret;

	(void)t;
	if (r->rdi == TRACEME)
		__dune_traced_maybe();
	if (r->rdi != PTRACE_GETREGS && !(r->rdi == PTRACE_GETREGSET && r->rdx == NT_PRSTATUS))
		return FORWARD_CALL;
	/* What is mapped elsewhere would have to be copied; and a filter need not let kcmp() pass. */
	if (READ_ONCE(__dune_tracking) || region_state()->filtered)
		return FORWARD_CALL;
	ret = __dune_forward(r);
	if (ret)
		return ret;
	buffer = registers_at(r);
	if (!buffer || __dune_copy_in(&u, buffer, sizeof(u)))
		return 0;
	tracee = thread_at(u.sp);
	if (!tracee || !same_memory(r->rsi))
		return 0;
	as_program_sees(&u, tracee);
	return __dune_copy_out(buffer, &u, sizeof(u));
}
