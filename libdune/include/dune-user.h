/* SPDX-License-Identifier: MIT */
/*
 * Ring 3 of the guest; part of dune.h.
 *
 * Each thread may have a ring 3 of its own.  It reaches memory that the page table gives to it (PERM_U,
 * dune-vm.h), and nothing else: no memory of libdune's, no hypercall.  Its system calls go to the handler
 * registered here, its exceptions to those of dune_register_intr_handler() and dune_register_pgflt_handler(), with
 * tf->cs & 3 set.
 *
 * A signal of the host's that comes while ring 3 runs interrupts it: the program's handler runs in ring 0, on the
 * stack of the caller of dune_jump_to_user(), and when it returns ring 3 goes on.  Its ucontext shows ring 0;
 * dune_signal_user_frame() finds ring 3's registers, which it may change.  It may call dune_ret_from_user()
 * instead of returning.
 *
 * In ring 0 the program leaves the GS base that SWAPGS loads to libdune.
 */
#ifndef DUNE_USER_H
#define DUNE_USER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dune_tf;
struct dune_handler;

/**
 * dune_fd_is_ours - is @fd libdune's descriptor of /dev/dune?
 *
 * Who can use it decides what ring 0 does.  So whoever makes system calls for ring 3 in another way than by
 * dune_passthrough_syscall() refuses it in all of them (-EBADF).  The number can change in the child of a fork.
 */
bool dune_fd_is_ours(int fd);

/**
 * dune_jump_to_user - run ring 3 from the registers in @tf on
 * @tf: what ring 3 begins with; cs, ss and what ring 3 may not have of rflags are ignored.  Interrupts are on
 *	there.  It is read before ring 3 runs, and never written
 *
 * Ring 3 runs until a handler calls dune_ret_from_user().  Handlers of its system calls run on the caller's stack,
 * those of its exceptions on the thread's trap stack.  May be called in a handler too, also in one
 * of ring 3's: then the old ring 3 goes on when that handler returns.
 *
 * Return: what was given to dune_ret_from_user(); or -EINVAL: @tf is NULL, its rip or rsp is not
 * canonical, or the thread is not in Dune mode; or -EPERM: DUNE_OPT_SMEP or _SMAP was switched together with
 * DUNE_OPT_STRICT.
 */
int dune_jump_to_user(struct dune_tf *tf);

/**
 * dune_ret_from_user - leave ring 3 for good: the last dune_jump_to_user() of this thread returns @ret
 *
 * Called in a handler of ring 3's system calls or exceptions, or of a signal that interrupted it (the mask of
 * signals becomes what it was before that).  Without a
 * dune_jump_to_user() the process dies with a message.
 */
void dune_ret_from_user(int ret) __attribute__((noreturn));

/**
 * dune_pop_trap_frame - go on with all registers as in @tf, in the ring that tf->cs says
 *
 * Never returns: the handler that it is called in is abandoned.  For ring 3, inside dune_jump_to_user() only.  Other
 * uses, and an rip that is not canonical in ring 0, end the process with a message.
 */
void dune_pop_trap_frame(struct dune_tf *tf) __attribute__((noreturn));

/* ---- system calls of ring 3 ---- */

typedef void (*dune_syscall_cb)(struct dune_tf *tf);
typedef long (*dune_bare_syscall_cb)(struct dune_tf *tf);

/**
 * dune_register_syscall_handler - call @cb for `syscall` in ring 3
 * @cb: gets the registers; RAX is the number, ARG0() to ARG5() are the arguments (R10 of ring 3 is in rcx, too).
 *	What it leaves in @tf is loaded, but for rcx, r11, cs and ss; so the result goes into tf->rax.
 *	NULL: every call returns -ENOSYS
 *
 * One handler for all threads.  It runs in ring 0 with interrupts on, with the program's FS and GS base, on the
 * stack of the caller of dune_jump_to_user(); ring 3's vector registers are saved round it.
 *
 * Return: 0, or -ENOMEM as dune_set_intr_handler().
 */
int dune_register_syscall_handler(dune_syscall_cb cb);

/**
 * dune_register_bare_syscall_handler - the same for a handler that is content with less
 * @cb: see dune_register_bare_intr_handler(); interrupts are off.  Returns what RAX is to be.  It must leave rip,
 *	rflags and the other registers in @tf such that ring 3 may have them.  NULL: none
 *
 * While there is one, it is called instead of that of dune_register_syscall_handler(), which removes it.
 *
 * Return: 0, or -ENOMEM.
 */
int dune_register_bare_syscall_handler(dune_bare_syscall_cb cb);

/**
 * dune_set_syscall_handler - the same, bare or not, with an argument, and with what was there before
 * @to: in the place of both; NULL: leave it
 * @old: the one that was called; may be NULL
 *
 * Return: 0, or -errno as dune_set_intr_handler().
 */
int dune_set_syscall_handler(const struct dune_handler *to, struct dune_handler *old);

/**
 * dune_passthrough_syscall - make the system call that @tf describes
 *
 * RAX is its number, ARG0 to ARG5 its arguments; its result (or -errno) is put into tf->rax.  In any thread and any
 * handler.  Pointers go to the kernel as they are: what ring 3 may reach is for the caller to check.
 *
 * For a call of ring 3 (tf->cs & 3), the program's handlers of signals may run meanwhile, and
 *
 *  - fork, vfork and clone without CLONE_VM make a process in which this function returns as well, with 0, and ring
 *    3 goes on; vfork copies memory, and waits.  The new stack and thread pointer are ring 3's;
 *  - clone3, clone of a thread, rt_sigreturn, sigaltstack and rt_sigaction with a handler are -ENOSYS: ring 3 has
 *    threads and handlers as far as the program makes them;
 *  - arch_prctl sets and reads the FS and GS base of ring 3;
 *  - libdune's descriptor is -EBADF in each call that takes one, and in SCM_RIGHTS, which is looked at in a copy.
 *    io_uring, clone with CLONE_FILES, and numbers that libdune knows no call of are -ENOSYS; pidfd_getfd and
 *    SECCOMP_IOCTL_NOTIF_ADDFD are -EPERM;
 *  - execve replaces the process, exit ends the thread.
 */
void dune_passthrough_syscall(struct dune_tf *tf);

/**
 * dune_signal_user_frame - the registers of ring 3 that a signal has interrupted
 * @context: the third argument of the handler
 *
 * Return: the frame, which is loaded when the handler returns; NULL: the signal came in ring 0.
 */
struct dune_tf *dune_signal_user_frame(const void *context);

/**
 * dune_user_access_begin, dune_user_access_end - let ring 0 use memory of ring 3 between the two
 *
 * Needed with DUNE_OPT_SMAP only, and do nothing without it.  For the calling thread; an exception handler, or a
 * handler of ring 3's calls, begins without.
 */
void dune_user_access_begin(void);
void dune_user_access_end(void);

/* ---- FS and GS base of ring 3 ---- */

/**
 * dune_get_user_fs, dune_get_user_gs - the base of FS or GS in the calling thread's ring 3
 *
 * Before it was set, and before ring 3 has run, that of ring 0.  0 outside Dune mode.
 */
unsigned long dune_get_user_fs(void);
unsigned long dune_get_user_gs(void);

/**
 * dune_set_user_fs, dune_set_user_gs - set it, at any time
 *
 * Return: 0, or -EINVAL: @base is not canonical, or the thread is not in Dune mode.
 */
int dune_set_user_fs(unsigned long base);
int dune_set_user_gs(unsigned long base);

#ifdef __cplusplus
}
#endif

#endif /* DUNE_USER_H */
