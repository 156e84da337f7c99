/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between kernels that calls made inside meet. */
#ifndef DUNE_COMPAT_SYSCALL_H
#define DUNE_COMPAT_SYSCALL_H

#include <linux/entry-common.h>
#include <linux/sched.h>
#include <linux/version.h>
#include <asm/syscall.h>

/*
 * What the kernel does round a system call of this thread but the call: seccomp, ptrace, audit, user dispatch,
 * tracepoints, single steps.  Asked as a whole: there may be more to come.
 */
static __always_inline unsigned long dune_syscall_work(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
	return READ_ONCE(current_thread_info()->syscall_work);
#else
	return READ_ONCE(current_thread_info()->flags) & (SYSCALL_ENTER_WORK | SYSCALL_EXIT_WORK);
#endif
}

#ifdef _TIF_NEED_RESCHED_LAZY
#define DUNE_WORK_RESCHED	(_TIF_NEED_RESCHED | _TIF_NEED_RESCHED_LAZY)
#else
#define DUNE_WORK_RESCHED	_TIF_NEED_RESCHED
#endif

#ifndef _TIF_USER_RETURN_NOTIFY
#define _TIF_USER_RETURN_NOTIFY	0
#endif

/* All that a return to user mode does for a thread, but what the loop of DUNE_RUN does. */
#define DUNE_WORK_EXIT		((EXIT_TO_USER_MODE_WORK | _TIF_USER_RETURN_NOTIFY) & ~DUNE_WORK_RESCHED)

/*
 * What makes the calls, and for which the kernel has no exported name.  The older kernels' own entry goes by the table;
 * that of the later ones is for tracing.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
#define DUNE_DISPATCHER		"x64_sys_call"
#else
#define DUNE_CALLS_BY_TABLE	1
#endif

#endif
