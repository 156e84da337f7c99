// SPDX-License-Identifier: MIT
/*
 * Offsets for assembly.  This file is compiled to assembly and never linked;
 * build.mk makes asm-offsets.h of its "->" lines.
 */
#include "guest/guest.h"
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define DEFINE(name, value)	__asm__ volatile("\n->" #name " %0" : : "i"(value))

void offsets(void);
void offsets(void)
{
	DEFINE(T_RUN_NR, offsetof(struct dune_thread, vcpu.run_nr));
	DEFINE(T_RUN_ARG0, offsetof(struct dune_thread, vcpu.run_arg0));
	DEFINE(T_RUN_ARG1, offsetof(struct dune_thread, vcpu.run_arg1));
	DEFINE(T_RUN_ARG2, offsetof(struct dune_thread, vcpu.run_arg2));
	DEFINE(T_REGS, offsetof(struct dune_thread, vcpu.regs));
	DEFINE(T_LSTAR_RETURN, offsetof(struct dune_thread, lstar_return));
	DEFINE(T_HOST_TOP, offsetof(struct dune_thread, host_top));
	DEFINE(T_FAULT_COUNT, offsetof(struct dune_thread, fault_count));
	DEFINE(T_TABLE, offsetof(struct dune_thread, table));
	DEFINE(T_DOING, offsetof(struct dune_thread, doing));
	DEFINE(T_TRAP_LOW, offsetof(struct dune_thread, trap_low));
	DEFINE(T_TRAP_HIGH, offsetof(struct dune_thread, trap_high));
	DEFINE(T_TRAP_TOP, offsetof(struct dune_thread, trap_top));
	DEFINE(T_IST1, offsetof(struct dune_thread, tss.ist[0]));

	DEFINE(T_RING3_BASES, offsetof(struct dune_thread, ring3_bases));
	DEFINE(T_RING3_FS, offsetof(struct dune_thread, ring3_fs));
	DEFINE(T_RING3_GS, offsetof(struct dune_thread, ring3_gs));

	DEFINE(SESSION_THREAD, offsetof(struct ring3_session, thread));
	DEFINE(SESSION_FS, offsetof(struct ring3_session, fs));
	DEFINE(SESSION_GS, offsetof(struct ring3_session, gs));
	DEFINE(SESSION_IN_RING3, offsetof(struct ring3_session, in_ring3));
	DEFINE(SESSION_RBP, offsetof(struct ring3_session, rbp));
	DEFINE(SESSION_SIZE, (sizeof(struct ring3_session) + 15) & -16UL);

	DEFINE(REGS_SIZE, sizeof(struct guest_regs));
	DEFINE(R_RAX, offsetof(struct guest_regs, rax));
	DEFINE(R_RCX, offsetof(struct guest_regs, rcx));
	DEFINE(R_RDX, offsetof(struct guest_regs, rdx));
	DEFINE(R_RBX, offsetof(struct guest_regs, rbx));
	DEFINE(R_RSP, offsetof(struct guest_regs, rsp));
	DEFINE(R_RBP, offsetof(struct guest_regs, rbp));
	DEFINE(R_RSI, offsetof(struct guest_regs, rsi));
	DEFINE(R_RDI, offsetof(struct guest_regs, rdi));
	DEFINE(R_R8, offsetof(struct guest_regs, r8));
	DEFINE(R_R9, offsetof(struct guest_regs, r9));
	DEFINE(R_R10, offsetof(struct guest_regs, r10));
	DEFINE(R_R11, offsetof(struct guest_regs, r11));
	DEFINE(R_R12, offsetof(struct guest_regs, r12));
	DEFINE(R_R13, offsetof(struct guest_regs, r13));
	DEFINE(R_R14, offsetof(struct guest_regs, r14));
	DEFINE(R_R15, offsetof(struct guest_regs, r15));
	DEFINE(R_RIP, offsetof(struct guest_regs, rip));
	DEFINE(R_RFLAGS, offsetof(struct guest_regs, rflags));

	DEFINE(UC_RAX, offsetof(struct ucontext, uc_mcontext.rax));
	DEFINE(UC_RCX, offsetof(struct ucontext, uc_mcontext.rcx));
	DEFINE(UC_RDX, offsetof(struct ucontext, uc_mcontext.rdx));
	DEFINE(UC_RBX, offsetof(struct ucontext, uc_mcontext.rbx));
	DEFINE(UC_RSP, offsetof(struct ucontext, uc_mcontext.rsp));
	DEFINE(UC_RBP, offsetof(struct ucontext, uc_mcontext.rbp));
	DEFINE(UC_RSI, offsetof(struct ucontext, uc_mcontext.rsi));
	DEFINE(UC_RDI, offsetof(struct ucontext, uc_mcontext.rdi));
	DEFINE(UC_R8, offsetof(struct ucontext, uc_mcontext.r8));
	DEFINE(UC_R9, offsetof(struct ucontext, uc_mcontext.r9));
	DEFINE(UC_R10, offsetof(struct ucontext, uc_mcontext.r10));
	DEFINE(UC_R11, offsetof(struct ucontext, uc_mcontext.r11));
	DEFINE(UC_R12, offsetof(struct ucontext, uc_mcontext.r12));
	DEFINE(UC_R13, offsetof(struct ucontext, uc_mcontext.r13));
	DEFINE(UC_R14, offsetof(struct ucontext, uc_mcontext.r14));
	DEFINE(UC_R15, offsetof(struct ucontext, uc_mcontext.r15));
	DEFINE(UC_RIP, offsetof(struct ucontext, uc_mcontext.rip));

	DEFINE(H_ARG, offsetof(struct handler, arg));
	DEFINE(H_CB, offsetof(struct handler, cb));
	DEFINE(H_VECTOR, offsetof(struct handler, vector));

	DEFINE(TF_RAX, offsetof(struct dune_tf, rax));
	DEFINE(TF_RCX, offsetof(struct dune_tf, rcx));
	DEFINE(TF_RDX, offsetof(struct dune_tf, rdx));
	DEFINE(TF_RBX, offsetof(struct dune_tf, rbx));
	DEFINE(TF_RBP, offsetof(struct dune_tf, rbp));
	DEFINE(TF_RSI, offsetof(struct dune_tf, rsi));
	DEFINE(TF_RDI, offsetof(struct dune_tf, rdi));
	DEFINE(TF_R8, offsetof(struct dune_tf, r8));
	DEFINE(TF_R9, offsetof(struct dune_tf, r9));
	DEFINE(TF_R10, offsetof(struct dune_tf, r10));
	DEFINE(TF_R11, offsetof(struct dune_tf, r11));
	DEFINE(TF_R12, offsetof(struct dune_tf, r12));
	DEFINE(TF_R13, offsetof(struct dune_tf, r13));
	DEFINE(TF_R14, offsetof(struct dune_tf, r14));
	DEFINE(TF_R15, offsetof(struct dune_tf, r15));
	DEFINE(TF_RIP, offsetof(struct dune_tf, rip));
	DEFINE(TF_CS, offsetof(struct dune_tf, cs));
	DEFINE(TF_SS, offsetof(struct dune_tf, ss));
	DEFINE(TF_RSP, offsetof(struct dune_tf, rsp));
	DEFINE(TF_RFLAGS, offsetof(struct dune_tf, rflags));
	DEFINE(TF_ERR, offsetof(struct dune_tf, err));
	DEFINE(TF_SIZE, sizeof(struct dune_tf));

	DEFINE(DOING_LOOP, DOING_LOOP);
	DEFINE(DOING_SIGRETURNED, DOING_SIGRETURNED);
	DEFINE(DOING_MASK, DOING_MASK);
	DEFINE(DOING_GUEST, DOING_GUEST);
	DEFINE(DOING_CALL, DOING_CALL);
	DEFINE(DOING_RESULT, DOING_RESULT);
	DEFINE(DOING_OUTPUT, DOING_OUTPUT);
	DEFINE(DOING_OUTPUT_RESULT, DOING_OUTPUT_RESULT);
	DEFINE(DOING_CODE, DOING_CODE);

	DEFINE(VECTOR_DBLFLT, T_DBLFLT);
	DEFINE(NR_SYSCALLS, NR_SYSCALLS);
	DEFINE(NR_EXIT, __NR_exit);
	DEFINE(NR_VFORK, __NR_vfork);
	DEFINE(NR_RT_SIGRETURN, __NR_rt_sigreturn);
	DEFINE(NR_RT_SIGPROCMASK, __NR_rt_sigprocmask);
	DEFINE(SETMASK, SIG_SETMASK);
	DEFINE(MASK_SIZE, sizeof(uint64_t));
	DEFINE(PRIVATE_LEAVE_NR, PRIVATE_LEAVE);
	DEFINE(SEL_USER_CS, SEL_USER_CS);
	DEFINE(SEL_USER_DS, SEL_USER_DS);
	DEFINE(PROCESS_XSAVE_MASK, offsetof(struct dune_process, xsave_mask));
	DEFINE(PROCESS_XSAVE_SIZE, offsetof(struct dune_process, xsave_size));
	DEFINE(PROCESS_LSTAR, offsetof(struct dune_process, lstar));
	DEFINE(PROCESS_GATE, offsetof(struct dune_process, gate));
}

_Static_assert(sizeof(struct dune_tf) == 21 * 8, "entry.S pushes 21 words");
_Static_assert(offsetof(struct dune_tf, rax) == 14 * 8 && offsetof(struct dune_tf, err) == 15 * 8,
	       "entry.S pushes RAX below the error code");
_Static_assert(sizeof(struct dune_thread) <= THREAD_MAX - STATE_SIZE, "struct dune_thread has its place in the area");
_Static_assert(sizeof(struct region_state) <= STATE_SIZE, "struct region_state has its place behind it");
_Static_assert(AREA_THREAD % 64 == 0 && AREA_HOST_END % 16 == 0, "they are aligned");
_Static_assert(REGION_AREAS % AREA_SIZE == 0 && REGION_AREAS / AREA_SIZE + MAX_THREADS <= 0x10000,
	       "a limit of 16 bits says where an area lies");
_Static_assert(AREA_PENDING + PENDING_MAX * sizeof(struct pending_signal) <= AREA_SIGHAND,
	       "signals that wait have their place");
_Static_assert(offsetof(struct dune_thread, nested_mark) == offsetof(struct dune_thread, tss.ist[0]) + IST_SIZE &&
	       offsetof(struct dune_thread, session_mark) == offsetof(struct dune_thread, tss.ist[0]) - SESSION_DOWN,
	       "entry.S finds the marks where it would find the IST entry");
_Static_assert(SESSION_DOWN % 16 == 0, "the CPU aligns the stack to 16 bytes");
_Static_assert(offsetof(struct ring3_session, tf) == 0, "the frame of a call begins the session");
_Static_assert(sizeof(struct dune_tf) <= IST_SIZE, "an IST stack holds a frame");
