// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls of the guest's that DUNE_RUN makes itself, where user space and the list below allow them.
 *
 * DUNE_RUN becomes the call: the registers that the thread has in user space are made those of the call before anything
 * of it runs, so whatever looks at the thread sees the call and no DUNE_RUN.  If then nothing is to be done on the way
 * to user mode, the guest goes on with the result.  Else DUNE_RUN returns to user mode as that call, and the kernel
 * delivers signals, and makes calls again, as behind any other: nothing of that is done here.
 *
 * The vCPU is parked meanwhile: a call may sleep, for ever, and nothing of the guest's is in the CPU.
 * doc/design/calls.md compares this way with the kernel's own.
 */
#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/moduleparam.h>
#include <linux/nospec.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include <asm/unistd.h>

#include "call.h"
#include "compat/syscall.h"
#include "fpu.h"
#include "load.h"
#include "stats.h"
#include "vcpu.h"

/*
 * ---- which ----
 *
 * User space says which calls it wants, and a hostile one says all.  So this is the list of those that were looked at.
 * None is in it
 *  - that may not return: it would end the thread in the middle of DUNE_RUN (exit, execve, reboot in a PID namespace);
 *  - that reads or changes the registers or the thread-local storage of its caller (clone, rt_sigreturn, sigaltstack,
 *    arch_prctl, ptrace, seccomp, restart_syscall);
 *  - that makes threads of the kernel's which are copies of the caller (io_uring);
 *  - of which speed does not matter.
 */
static const u16 list[] = {
	/* files */
	__NR_read, __NR_write, __NR_pread64, __NR_pwrite64, __NR_readv, __NR_writev, __NR_preadv, __NR_pwritev,
	__NR_preadv2, __NR_pwritev2, __NR_lseek, __NR_ioctl, __NR_open, __NR_openat, __NR_openat2, __NR_creat,
	__NR_stat, __NR_lstat, __NR_fstat, __NR_newfstatat, __NR_statx, __NR_access, __NR_faccessat, __NR_faccessat2,
	__NR_getdents, __NR_getdents64, __NR_readlink, __NR_readlinkat, __NR_getcwd, __NR_chdir, __NR_fchdir,
	__NR_rename, __NR_renameat, __NR_renameat2, __NR_mkdir, __NR_mkdirat, __NR_rmdir, __NR_link, __NR_linkat,
	__NR_unlink, __NR_unlinkat, __NR_symlink, __NR_symlinkat, __NR_mknod, __NR_mknodat, __NR_chmod, __NR_fchmod,
	__NR_fchmodat, __NR_chown, __NR_fchown, __NR_lchown, __NR_fchownat, __NR_utime, __NR_utimes, __NR_futimesat,
	__NR_utimensat, __NR_umask, __NR_truncate, __NR_ftruncate, __NR_fallocate, __NR_fsync, __NR_fdatasync,
	__NR_sync_file_range, __NR_fadvise64, __NR_readahead, __NR_flock, __NR_fcntl, __NR_dup, __NR_statfs,
	__NR_fstatfs, __NR_getxattr, __NR_lgetxattr, __NR_fgetxattr, __NR_listxattr, __NR_llistxattr, __NR_flistxattr,
	__NR_setxattr, __NR_lsetxattr, __NR_fsetxattr, __NR_removexattr, __NR_lremovexattr, __NR_fremovexattr,
	__NR_sendfile, __NR_splice, __NR_tee, __NR_vmsplice, __NR_copy_file_range, __NR_pipe, __NR_pipe2,
	__NR_memfd_create, __NR_inotify_init, __NR_inotify_init1, __NR_inotify_add_watch, __NR_inotify_rm_watch,
	/* waiting */
	__NR_poll, __NR_ppoll, __NR_select, __NR_pselect6, __NR_epoll_create, __NR_epoll_create1, __NR_epoll_ctl,
	__NR_epoll_wait, __NR_epoll_pwait, __NR_eventfd, __NR_eventfd2, __NR_signalfd, __NR_signalfd4, __NR_futex,
	__NR_nanosleep, __NR_clock_nanosleep, __NR_pause, __NR_sched_yield, __NR_wait4, __NR_waitid,
	/* sockets */
	__NR_socket, __NR_socketpair, __NR_connect, __NR_accept, __NR_accept4, __NR_bind, __NR_listen, __NR_sendto,
	__NR_recvfrom, __NR_sendmsg, __NR_recvmsg, __NR_sendmmsg, __NR_recvmmsg, __NR_shutdown, __NR_getsockname,
	__NR_getpeername, __NR_setsockopt, __NR_getsockopt,
	/* messages and semaphores */
	__NR_semget, __NR_semop, __NR_semtimedop, __NR_semctl, __NR_msgget, __NR_msgsnd, __NR_msgrcv, __NR_msgctl,
	__NR_mq_open, __NR_mq_unlink, __NR_mq_timedsend, __NR_mq_timedreceive, __NR_mq_notify, __NR_mq_getsetattr,
	/* signals */
	__NR_rt_sigprocmask, __NR_rt_sigpending, __NR_rt_sigsuspend, __NR_rt_sigtimedwait, __NR_rt_sigqueueinfo,
	__NR_rt_tgsigqueueinfo, __NR_kill, __NR_tkill, __NR_tgkill, __NR_pidfd_open, __NR_pidfd_send_signal,
	/* time */
	__NR_time, __NR_gettimeofday, __NR_clock_gettime, __NR_clock_getres, __NR_times, __NR_alarm, __NR_getitimer,
	__NR_setitimer, __NR_timer_create, __NR_timer_settime, __NR_timer_gettime, __NR_timer_getoverrun,
	__NR_timer_delete, __NR_timerfd_create, __NR_timerfd_settime, __NR_timerfd_gettime,
	/* who and what */
	__NR_getpid, __NR_gettid, __NR_getppid, __NR_getpgid, __NR_getpgrp, __NR_getsid, __NR_getuid, __NR_geteuid,
	__NR_getgid, __NR_getegid, __NR_getresuid, __NR_getresgid, __NR_getgroups, __NR_capget, __NR_getpriority,
	__NR_getrlimit, __NR_prlimit64, __NR_getrusage, __NR_sysinfo, __NR_uname, __NR_getcpu, __NR_getrandom,
	__NR_sched_getparam, __NR_sched_getscheduler, __NR_sched_getaffinity, __NR_sched_setaffinity,
	__NR_sched_getattr, __NR_sched_get_priority_max, __NR_sched_get_priority_min, __NR_sched_rr_get_interval,
	__NR_set_robust_list, __NR_get_robust_list, __NR_brk, __NR_mincore,
};

/*
 * Of these, what neither sleeps nor touches memory of user space, and has no argument: it is made at once, with the
 * vCPU loaded and interrupts off.  Nobody can see the thread meanwhile.
 */
static const u16 quick_list[] = {
	__NR_getpid, __NR_gettid, __NR_getppid, __NR_getpgrp, __NR_getuid, __NR_geteuid, __NR_getgid, __NR_getegid,
};

DECLARE_BITMAP(dune_may_be_made, DUNE_CALLS) __ro_after_init;
static DECLARE_BITMAP(quick, DUNE_CALLS) __ro_after_init;

/*
 * By these two a call could lead here again, into another DUNE_RUN; and KVM, which user space may drive as well,
 * leaves a guest's state of its own in the CPU.
 */
#define KVM_IOC		0xae

static bool leads_here(unsigned int nr, u64 rsi, u64 rdx)
{
	if (nr == __NR_lseek)
		return (s64)rsi < 0 && (u32)rdx == DUNE_SEEK_RUN;
	return nr == __NR_ioctl && (_IOC_TYPE((u32)rsi) == DUNE_IOC || _IOC_TYPE((u32)rsi) == KVM_IOC);
}

/* ---- the kernel's dispatcher ---- */

typedef long dispatch_fn(const struct pt_regs *regs, unsigned int nr);
DEFINE_STATIC_CALL_NULL(dune_dispatch, dispatch_fn);

#if __has_builtin(__builtin_alloca_uninitialized)
#define ALLOCA	__builtin_alloca_uninitialized
#else
#define ALLOCA	__builtin_alloca
#endif

/*
 * The kernel moves its stack by a random distance at each entry, against those who would know what lies where.  That of
 * DUNE_RUN is one for many calls.  What is taken here is given back where dune_call() returns.
 */
static __always_inline long dispatch(const struct pt_regs *regs, unsigned int nr)
{
	void *gap = ALLOCA(rdtsc() & 0x3f0);
	long result;

	asm volatile("" : : "r"(gap) : "memory");
	result = static_call(dune_dispatch)(regs, nr);
	asm volatile("" : : "r"(gap) : "memory");
	return result;
}

static void __init *look_up(const char *name)
{
	/* Never armed. */
	struct kprobe probe = { .symbol_name = name, .flags = KPROBE_FLAG_DISABLED };
	unsigned long at;

	if (!IS_ENABLED(CONFIG_KPROBES) || register_kprobe(&probe))
		return NULL;
	at = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
#ifdef CONFIG_X86_KERNEL_IBT
	/* The place of a probe is behind ENDBR64. */
	if (!memcmp((void *)(at - 4), "\xf3\x0f\x1e\xfa", 4))
		at -= 4;
#endif
	return (void *)at;
}

#ifdef DUNE_CALLS_BY_TABLE
static const sys_call_ptr_t *table __ro_after_init;

static long dispatch_by_table(const struct pt_regs *regs, unsigned int nr)
{
	return table[array_index_nospec(nr, DUNE_CALLS)](regs);
}

static dispatch_fn __init *find_dispatcher(void)
{
	unsigned long (*lookup)(const char *name) = look_up("kallsyms_lookup_name");

	table = lookup ? (void *)lookup("sys_call_table") : NULL;
	return table ? dispatch_by_table : NULL;
}
#else
static dispatch_fn __init *find_dispatcher(void)
{
	return look_up(DUNE_DISPATCHER);
}
#endif

/* ---- the parameter ---- */

DEFINE_STATIC_KEY_FALSE(dune_calls_on);

static bool calls = true;
static bool ready, possible;

static int set_calls(const char *text, const struct kernel_param *param)
{
	bool value;
	int error = kstrtobool(text, &value);

	if (error)
		return error;
	if (value && ready && !possible)
		return -EOPNOTSUPP;
	calls = value;
	if (value && possible)
		static_branch_enable(&dune_calls_on);
	else
		static_branch_disable(&dune_calls_on);
	return 0;
}

static const struct kernel_param_ops calls_ops = { .set = set_calls, .get = param_get_bool };
module_param_cb(calls, &calls_ops, &calls, 0644);
MODULE_PARM_DESC(calls, "DUNE_RUN makes system calls of guests itself, where user space allows it");

void __init dune_calls_init(void)
{
	dispatch_fn *found = find_dispatcher();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(list); i++)
		__set_bit(list[i], dune_may_be_made);
	for (i = 0; i < ARRAY_SIZE(quick_list); i++)
		__set_bit(quick_list[i], quick);
	kernel_param_lock(THIS_MODULE);
	ready = true;
	if (found) {
		static_call_update(dune_dispatch, found);
		possible = true;
		if (calls)
			static_branch_enable(&dune_calls_on);
	} else {
		calls = false;
		pr_info("this kernel's system calls are not found: user space makes all of them\n");
	}
	kernel_param_unlock(THIS_MODULE);
}

/* ---- a call ---- */

/* @allowed is user space's. */
static bool is_allowed(u64 allowed, unsigned int nr, u8 from)
{
	u8 bits;

	return !get_user(bits, (const u8 __user *)(unsigned long)(allowed + nr)) && bits & from;
}

static void begin(struct dune_vcpu *vcpu, struct file *file, const struct pt_regs *regs)
{
	struct dune_call *call = &vcpu->call;

	call->file = get_file(file);
	call->own.orig_ax = regs->orig_ax;
	call->own.ip = regs->ip;
	call->own.cx = regs->cx;
	call->own.sp = regs->sp;
	call->own.di = regs->di;
	call->own.si = regs->si;
	call->own.dx = regs->dx;
	call->own.r10 = regs->r10;
	call->own.r8 = regs->r8;
	call->own.r9 = regs->r9;
}

void dune_call_end(struct dune_vcpu *vcpu, bool as_call)
{
	struct pt_regs *regs = task_pt_regs(current);
	struct dune_call *call = &vcpu->call;

	if (!as_call) {
		regs->orig_ax = call->own.orig_ax;
		regs->ip = call->own.ip;
		regs->cx = call->own.cx;
		regs->sp = call->own.sp;
		regs->di = call->own.di;
		regs->si = call->own.si;
		regs->dx = call->own.dx;
		regs->r10 = call->own.r10;
		regs->r8 = call->own.r8;
		regs->r9 = call->own.r9;
	}
	/* The last one is released on the way to user mode. */
	fput(call->file);
	call->file = NULL;
}

/* As SYSRET would. */
static __always_inline void return_from_syscall(struct dune_vcpu *vcpu, u64 rcx)
{
	vcpu->rip = rcx;
	vcpu->rflags = (READ_ONCE(vcpu->run->regs.r11) & RFLAGS_GUEST) | X86_EFLAGS_FIXED;
	vcpu->dirty |= VCPU_DIRTY_RIP | VCPU_DIRTY_RFLAGS;
}

static __always_inline void made(struct dune_run *run)
{
	dune_stat(STAT_CALLS);
	WRITE_ONCE(run->call.made, READ_ONCE(run->call.made) + 1);
}

/* Is there anything to be done on the way to user mode? */
static bool must_return(const struct dune_vcpu *vcpu, long result)
{
	unsigned long flags = READ_ONCE(current_thread_info()->flags);

	if (unlikely(result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK))
		return true;
	/* Only the kernel itself can make it known again whose vector registers are in the CPU. */
	if (static_branch_unlikely(&dune_fpu_by_module) && flags & _TIF_NEED_FPU_LOAD)
		return true;
	return (flags & DUNE_WORK_EXIT) | dune_syscall_work() | READ_ONCE(vcpu->run->immediate_exit);
}

/* Parked.  DUNE_CALL_RETURNS, or 0: the guest goes on. */
static __always_inline int make(struct dune_vcpu *vcpu, struct file *file, unsigned int nr, u64 rsi, u64 rdx)
{
	struct pt_regs *regs = task_pt_regs(current);
	struct dune_run *run = vcpu->run;
	long result;

	if (unlikely(!vcpu->call.file))
		begin(vcpu, file, regs);
	regs->di = READ_ONCE(run->regs.rdi);
	regs->si = rsi;
	regs->dx = rdx;
	regs->r10 = READ_ONCE(run->regs.r10);
	regs->r8 = READ_ONCE(run->regs.r8);
	regs->r9 = READ_ONCE(run->regs.r9);
	regs->ax = -ENOSYS;
	regs->orig_ax = nr;
	regs->ip = vcpu->config.call_site;
	regs->cx = vcpu->config.call_site;
	regs->sp = vcpu->call.own.sp + sizeof(u64);
	result = dispatch(regs, nr);
	made(run);
	/* What it has written is there before. */
	smp_store_release(&run->call.making, 0);
	if (must_return(vcpu, result)) {
		vcpu->call.result = result;
		dune_stat(STAT_CALL_RETURNS);
		return DUNE_CALL_RETURNS;
	}
	WRITE_ONCE(run->regs.rax, result);
	return 0;
}

/* The bit of dune_run.call.allowed that allows a call which comes from where the guest stands; 0: none does. */
static u8 came_from(const struct dune_vcpu *vcpu)
{
	if (likely(vcpu->rip == vcpu->config.call_from[0]))
		return DUNE_CALL_FROM(0);
	return vcpu->rip == vcpu->config.call_from[1] ? DUNE_CALL_FROM(1) : 0;
}

/*
 * Loaded, interrupts off.  The registers in user space stay DUNE_RUN's, at which the call does not look.  What is to be
 * done in user mode is found before the guest's entry.
 */
static __always_inline bool make_at_once(struct dune_vcpu *vcpu, unsigned int nr, u64 allowed, u8 from)
{
	bool may;

	/* A table that is not there is read by the other way. */
	pagefault_disable();
	may = is_allowed(allowed, nr, from);
	pagefault_enable();
	if (unlikely(!may))
		return false;
	WRITE_ONCE(vcpu->run->regs.rax, static_call(dune_dispatch)(task_pt_regs(current), nr));
	made(vcpu->run);
	/* It has had the kernel's data in its cache. */
	vcpu->flush_l1d = true;
	return true;
}

int dune_call(struct dune_vcpu *vcpu, struct file *file, unsigned int nr)
{
	struct dune_run *run = vcpu->run;
	u64 rcx = READ_ONCE(run->regs.rcx), rsi = READ_ONCE(run->regs.rsi), rdx = READ_ONCE(run->regs.rdx),
	    allowed = READ_ONCE(run->call.allowed);
	u8 from = came_from(vcpu);
	bool by_syscall = from == DUNE_CALL_FROM(0) && vcpu->config.flags & DUNE_VCPU_CALL_BY_SYSCALL;
	int result;

	if (!from || !allowed || leads_here(nr, rsi, rdx))
		return DUNE_EXIT_SYSCALL;
	if (dune_syscall_work() || vcpu->event_info || vcpu->fpu_is_ours || (by_syscall && !dune_is_canonical(rcx)))
		return DUNE_EXIT_SYSCALL;

	if (test_bit(nr, quick) && make_at_once(vcpu, nr, allowed, from)) {
		if (by_syscall)
			return_from_syscall(vcpu, rcx);
		return 0;
	}

	dune_vcpu_put(vcpu);
	WRITE_ONCE(run->call.making, nr + 1);
	/* Who takes the bit or the table back, and looks here then, finds one or the other: doc/abi.md. */
	smp_mb();
	if (READ_ONCE(run->call.allowed) != allowed || !is_allowed(allowed, nr, from)) {
		WRITE_ONCE(run->call.making, 0);
		return DUNE_CALL_REFUSED;
	}
	if (by_syscall)
		return_from_syscall(vcpu, rcx);
	/* As long as the call takes, debuggers and core files find the guest behind it. */
	dune_export_state(vcpu);
	result = make(vcpu, file, nr, rsi, rdx);
	if (result)
		return result;

	dune_vcpu_load(vcpu);
	/* A thread that makes nothing but calls may be seen in the kernel at each tick. */
	if (vcpu->call.noted != jiffies) {
		vcpu->call.noted = jiffies;
		dune_rcu_note_guest();
	}
	return 0;
}
