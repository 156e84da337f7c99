// SPDX-License-Identifier: MIT
/*
 * What system calls write into memory of the program: its page table sees it as if the program had written.
 *
 * The kernel knows nothing of the guest's page table.  So, as soon as the program has protected a page or cleared
 * a dirty bit, the calls in the table below are not forwarded without a look: one that would write to a page that is not writable
 * is -EFAULT, as it is of memory that the kernel protects; and the pages that it has written become
 * dirty.  HR3, but for __dune_outputs_begin().
 */
#include <asm/prctl.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/ipc.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/uio.h>
#include <linux/time.h>

#include "host/calls.h"
#include "memory/memory.h"

_Static_assert(NR_SYSCALLS <= 0x10000, "numbers have 16 bits");

enum size {
	FIXED,		/* so many bytes */
	COUNT,		/* bytes times argument @with */
	RESULT,		/* at most bytes times argument @with; the result says how many of them */
	ANSWER,		/* bytes times the result, for which there is no limit in an argument */
	AFTER,		/* so many bytes, and at most argument @with more; the result says how many more */
	VECTOR,		/* struct iovec: @bytes of them, or if that is 0 argument @with; the result says how many bytes */
	IOVEC,		/* one of them, in which it says itself how much */
	LENGTH,		/* so many bytes, and what the int at argument @with says */
	MESSAGE,	/* struct msghdr */
	MESSAGES,	/* struct mmsghdr: argument @with of them */
	BITS,		/* one for each number below argument @with less @bytes, in words of 64 */
	PAGES,		/* one byte for each page of argument @with bytes */
	SEMAPHORES,	/* bytes for each one of the set in argument 0 */
	CLONE_ARGS,	/* what struct clone_args points to */
	BY_NUMBER,	/* what the number in argument 1 says: ioctl */
};

struct output {
	uint16_t nr;
	uint8_t arg;	/* the pointer: 0 to 5 */
	uint8_t size;	/* enum size */
	uint8_t with;
	bool maybe;	/* it is not known before, or the kernel leaves it out where it cannot write: nothing is refused */
	uint16_t bytes;
	uint8_t if_arg;	/* 0: always; else only if argument @if_arg - 1 has in the bits of if_mask the value if_value */
	uint32_t if_mask, if_value;
};

#define OUT_NR(number, arg_, size_, with_, bytes_, ...) \
	{ .nr = number, .arg = arg_, .size = size_, .with = with_, .bytes = bytes_, ##__VA_ARGS__ }
#define OUT(call, ...)		OUT_NR(__NR_##call, __VA_ARGS__)
#define MAYBE			.maybe = true
#define IF_MASKED(arg, mask, value)	.if_arg = (arg) + 1, .if_mask = (mask), .if_value = (value)
#define IF(arg, value)		IF_MASKED(arg, ~0U, value)
#define IF_BIT(arg, bit)	IF_MASKED(arg, bit, bit)
#define IF_FUTEX(operation)	IF_MASKED(1, FUTEX_CMD_MASK, operation)

/* Of structures of the kernel. */
#define STAT		144
#define STATX		256
#define STATFS		120
#define RUSAGE		144
#define TIMESPEC	16
#define TIMEX		208
#define SIGINFO		128
#define SIGSET		8
#define SEMID		104
#define MMSGHDR		64

/* Newer than the headers of the oldest system that this builds on, or in headers that clash with others. */
#define NR_epoll_pwait2		441
#define NR_quotactl_fd		443
#define NR_cachestat		451
#define NR_statmount		457
#define NR_listmount		458
#define NR_lsm_get_self_attr	459
#define NR_lsm_list_modules	461
#define NR_getxattrat		464
#define NR_listxattrat		465
#define NR_file_getattr		468
#define NR_listns		470

#define MSG_STAT		11
#define MSG_INFO		12
#define MSG_STAT_ANY		13
#define SEM_STAT		18
#define SEM_INFO		19
#define SEM_STAT_ANY		20
#define GETALL			13
#define SHM_STAT		13
#define SHM_INFO		14
#define SHM_STAT_ANY		15

#ifndef AT_HANDLE_MNT_ID_UNIQUE
#define AT_HANDLE_MNT_ID_UNIQUE	1
#endif
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2		13
#endif
#ifndef F_GETDELEG
#define F_GETDELEG		1039
#endif
#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE		62
#endif
#ifndef PR_GET_AUXV
#define PR_GET_AUXV		0x41555856
#endif
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION	0x420f
#endif
#define PTRACE_GET_DISPATCH_CONFIG	0x4211

/*
 * Those of one call stand together.  Left out is what is written later or elsewhere (io_uring, aio, the end of a
 * thread), what structures of bpf() point to, and where no call says it is memory (/proc/PID/mem).
 * tests/unit/test_syscalls.c knows the calls that write nothing.
 */
static const struct output outputs[] = {
	OUT(read, 1, RESULT, 2, 1),
	OUT(pread64, 1, RESULT, 2, 1),
	OUT(readv, 1, VECTOR, 2, 0),
	OUT(preadv, 1, VECTOR, 2, 0),
	OUT(preadv2, 1, VECTOR, 2, 0),
	OUT(process_vm_readv, 1, VECTOR, 2, 0),
	OUT(process_vm_writev, 3, VECTOR, 4, 0, MAYBE),
	OUT(vmsplice, 1, VECTOR, 2, 0, MAYBE),
	OUT(recvfrom, 1, RESULT, 2, 1),
	OUT(recvfrom, 4, LENGTH, 5, 0),
	OUT(recvfrom, 5, FIXED, 0, 4),
	OUT(recvmsg, 1, MESSAGE, 0, 0),
	OUT(recvmmsg, 1, MESSAGES, 2, 0),
	OUT(recvmmsg, 4, FIXED, 0, TIMESPEC),
	OUT(sendmmsg, 1, RESULT, 2, MMSGHDR),
	OUT(getdents, 1, RESULT, 2, 1),
	OUT(getdents64, 1, RESULT, 2, 1),
	OUT(getrandom, 0, RESULT, 1, 1),
	OUT(getcwd, 0, RESULT, 1, 1),
	OUT(lookup_dcookie, 1, RESULT, 2, 1),
	OUT(readlink, 1, RESULT, 2, 1),
	OUT(readlinkat, 2, RESULT, 3, 1),
	OUT(getxattr, 2, RESULT, 3, 1),
	OUT(lgetxattr, 2, RESULT, 3, 1),
	OUT(fgetxattr, 2, RESULT, 3, 1),
	OUT_NR(NR_getxattrat, 4, VECTOR, 0, 1),
	OUT(listxattr, 1, RESULT, 2, 1),
	OUT(llistxattr, 1, RESULT, 2, 1),
	OUT(flistxattr, 1, RESULT, 2, 1),
	OUT_NR(NR_listxattrat, 3, RESULT, 4, 1),
	OUT(syslog, 1, RESULT, 2, 1),
	OUT(stat, 1, FIXED, 0, STAT),
	OUT(fstat, 1, FIXED, 0, STAT),
	OUT(lstat, 1, FIXED, 0, STAT),
	OUT(newfstatat, 2, FIXED, 0, STAT),
	OUT(statx, 4, FIXED, 0, STATX),
	OUT(statfs, 1, FIXED, 0, STATFS),
	OUT(fstatfs, 1, FIXED, 0, STATFS),
	OUT(ustat, 1, FIXED, 0, 32),
	OUT(sysfs, 2, FIXED, 0, 32, MAYBE, IF(0, 2)),
	OUT(quotactl, 3, FIXED, 0, 160, MAYBE),
	OUT_NR(NR_quotactl_fd, 3, FIXED, 0, 160, MAYBE),
	OUT(name_to_handle_at, 2, LENGTH, 2, 8),
	OUT(name_to_handle_at, 3, FIXED, 0, 4),
	OUT(name_to_handle_at, 3, FIXED, 0, 8, IF_BIT(4, AT_HANDLE_MNT_ID_UNIQUE)),
	OUT_NR(NR_statmount, 1, COUNT, 2, 1, MAYBE),
	OUT_NR(NR_listmount, 1, RESULT, 2, 8),
	OUT_NR(NR_listns, 1, RESULT, 2, 8),
	OUT_NR(NR_file_getattr, 2, COUNT, 3, 1),
	OUT(uname, 0, FIXED, 0, 390),
	OUT(sysinfo, 0, FIXED, 0, 112),
	OUT(times, 0, FIXED, 0, 32),
	OUT(pipe, 0, FIXED, 0, 8),
	OUT(pipe2, 0, FIXED, 0, 8),
	OUT(socketpair, 3, FIXED, 0, 8),
	OUT(accept, 1, LENGTH, 2, 0),
	OUT(accept, 2, FIXED, 0, 4),
	OUT(accept4, 1, LENGTH, 2, 0),
	OUT(accept4, 2, FIXED, 0, 4),
	OUT(getsockname, 1, LENGTH, 2, 0),
	OUT(getsockname, 2, FIXED, 0, 4),
	OUT(getpeername, 1, LENGTH, 2, 0),
	OUT(getpeername, 2, FIXED, 0, 4),
	OUT(getsockopt, 3, LENGTH, 4, 0),
	OUT(getsockopt, 4, FIXED, 0, 4),
	OUT(poll, 0, COUNT, 1, 8),
	OUT(ppoll, 0, COUNT, 1, 8),
	OUT(ppoll, 2, FIXED, 0, TIMESPEC, MAYBE),
	OUT(epoll_wait, 1, RESULT, 2, 12),
	OUT(epoll_pwait, 1, RESULT, 2, 12),
	OUT_NR(NR_epoll_pwait2, 1, RESULT, 2, 12),
	OUT(select, 1, BITS, 0, 0),
	OUT(select, 2, BITS, 0, 0),
	OUT(select, 3, BITS, 0, 0),
	OUT(select, 4, FIXED, 0, TIMESPEC, MAYBE),
	OUT(pselect6, 1, BITS, 0, 0),
	OUT(pselect6, 2, BITS, 0, 0),
	OUT(pselect6, 3, BITS, 0, 0),
	OUT(pselect6, 4, FIXED, 0, TIMESPEC, MAYBE),
	OUT(clock_gettime, 1, FIXED, 0, TIMESPEC),
	OUT(clock_getres, 1, FIXED, 0, TIMESPEC),
	OUT(gettimeofday, 0, FIXED, 0, TIMESPEC),
	OUT(gettimeofday, 1, FIXED, 0, 8),
	OUT(adjtimex, 0, FIXED, 0, TIMEX),
	OUT(clock_adjtime, 1, FIXED, 0, TIMEX),
	OUT(time, 0, FIXED, 0, 8),
	OUT(nanosleep, 1, FIXED, 0, TIMESPEC),
	OUT(clock_nanosleep, 3, FIXED, 0, TIMESPEC),
	OUT(getitimer, 1, FIXED, 0, 32),
	OUT(setitimer, 2, FIXED, 0, 32),
	OUT(timer_create, 2, FIXED, 0, 4),
	OUT(timer_gettime, 1, FIXED, 0, 32),
	OUT(timer_settime, 3, FIXED, 0, 32),
	OUT(timerfd_gettime, 1, FIXED, 0, 32),
	OUT(timerfd_settime, 3, FIXED, 0, 32),
	OUT(getrusage, 1, FIXED, 0, RUSAGE),
	OUT(getrlimit, 1, FIXED, 0, 16),
	OUT(prlimit64, 3, FIXED, 0, 16),
	OUT(wait4, 1, FIXED, 0, 4),
	OUT(wait4, 3, FIXED, 0, RUSAGE),
	OUT(waitid, 2, FIXED, 0, SIGINFO),
	OUT(waitid, 4, FIXED, 0, RUSAGE),
	OUT(rt_sigaction, 2, FIXED, 0, 32),
	OUT(sigaltstack, 1, FIXED, 0, 24),
	OUT(rt_sigpending, 0, FIXED, 0, SIGSET),
	OUT(rt_sigprocmask, 2, FIXED, 0, SIGSET),
	OUT(rt_sigtimedwait, 1, FIXED, 0, SIGINFO),
	OUT(getgroups, 1, RESULT, 0, 4),
	OUT(getresuid, 0, FIXED, 0, 4),
	OUT(getresuid, 1, FIXED, 0, 4),
	OUT(getresuid, 2, FIXED, 0, 4),
	OUT(getresgid, 0, FIXED, 0, 4),
	OUT(getresgid, 1, FIXED, 0, 4),
	OUT(getresgid, 2, FIXED, 0, 4),
	OUT(capget, 0, FIXED, 0, 4, MAYBE),
	OUT(capget, 1, FIXED, 0, 12),
	OUT(capget, 1, FIXED, 0, 24, MAYBE),
	OUT(capset, 0, FIXED, 0, 4, MAYBE),
	OUT(get_robust_list, 1, FIXED, 0, 8),
	OUT(get_robust_list, 2, FIXED, 0, 8),
	OUT(sched_getaffinity, 2, RESULT, 1, 1),
	OUT(sched_getparam, 1, FIXED, 0, 4),
	OUT(sched_getattr, 1, COUNT, 2, 1),
	OUT(sched_setattr, 1, FIXED, 0, 4, MAYBE),
	OUT(sched_rr_get_interval, 1, FIXED, 0, TIMESPEC),
	OUT(getcpu, 0, FIXED, 0, 4),
	OUT(getcpu, 1, FIXED, 0, 4),
	OUT(mincore, 2, PAGES, 1, 1),
	OUT_NR(NR_cachestat, 2, FIXED, 0, 40),
	OUT(get_mempolicy, 0, FIXED, 0, 4),
	OUT(get_mempolicy, 1, BITS, 2, 1),
	OUT(move_pages, 4, COUNT, 1, 4),
	OUT(sendfile, 2, FIXED, 0, 8),
	OUT(splice, 1, FIXED, 0, 8),
	OUT(splice, 3, FIXED, 0, 8),
	OUT(copy_file_range, 1, FIXED, 0, 8),
	OUT(copy_file_range, 3, FIXED, 0, 8),
	OUT(io_setup, 1, FIXED, 0, 8),
	OUT(io_getevents, 3, RESULT, 2, 32),
	OUT(io_pgetevents, 3, RESULT, 2, 32),
	OUT(io_uring_setup, 1, FIXED, 0, 120),
	OUT(msgrcv, 1, AFTER, 2, 8),
	OUT(msgctl, 2, FIXED, 0, 120, IF(1, IPC_STAT)),
	OUT(msgctl, 2, FIXED, 0, 120, IF(1, MSG_STAT)),
	OUT(msgctl, 2, FIXED, 0, 120, IF(1, MSG_STAT_ANY)),
	OUT(msgctl, 2, FIXED, 0, 32, IF(1, IPC_INFO)),
	OUT(msgctl, 2, FIXED, 0, 32, IF(1, MSG_INFO)),
	OUT(semctl, 3, FIXED, 0, SEMID, IF(2, IPC_STAT)),
	OUT(semctl, 3, FIXED, 0, SEMID, IF(2, SEM_STAT)),
	OUT(semctl, 3, FIXED, 0, SEMID, IF(2, SEM_STAT_ANY)),
	OUT(semctl, 3, FIXED, 0, 40, IF(2, IPC_INFO)),
	OUT(semctl, 3, FIXED, 0, 40, IF(2, SEM_INFO)),
	OUT(semctl, 3, SEMAPHORES, 0, 2, IF(2, GETALL)),
	OUT(shmctl, 2, FIXED, 0, 112, IF(1, IPC_STAT)),
	OUT(shmctl, 2, FIXED, 0, 112, IF(1, SHM_STAT)),
	OUT(shmctl, 2, FIXED, 0, 112, IF(1, SHM_STAT_ANY)),
	OUT(shmctl, 2, FIXED, 0, 72, IF(1, IPC_INFO)),
	OUT(shmctl, 2, FIXED, 0, 48, IF(1, SHM_INFO)),
	OUT(mq_timedreceive, 1, RESULT, 2, 1),
	OUT(mq_timedreceive, 3, FIXED, 0, 4),
	OUT(mq_getsetattr, 2, FIXED, 0, 64),
	OUT(futex, 0, FIXED, 0, 4, IF_FUTEX(FUTEX_LOCK_PI)),
	OUT(futex, 0, FIXED, 0, 4, IF_FUTEX(FUTEX_LOCK_PI2)),
	OUT(futex, 0, FIXED, 0, 4, IF_FUTEX(FUTEX_TRYLOCK_PI)),
	OUT(futex, 0, FIXED, 0, 4, IF_FUTEX(FUTEX_UNLOCK_PI)),
	OUT(futex, 4, FIXED, 0, 4, IF_FUTEX(FUTEX_WAKE_OP)),
	OUT(futex, 4, FIXED, 0, 4, IF_FUTEX(FUTEX_WAIT_REQUEUE_PI)),
	OUT(futex, 4, FIXED, 0, 4, IF_FUTEX(FUTEX_CMP_REQUEUE_PI)),
	OUT(clone, 2, FIXED, 0, 4, MAYBE, IF_BIT(0, CLONE_PARENT_SETTID)),
	OUT(clone, 2, FIXED, 0, 4, MAYBE, IF_BIT(0, CLONE_PIDFD)),
	OUT(clone, 3, FIXED, 0, 4, MAYBE, IF_BIT(0, CLONE_CHILD_SETTID)),
	OUT(clone3, 0, CLONE_ARGS, 0, 0, MAYBE),
	OUT(fcntl, 2, FIXED, 0, 32, IF(1, F_GETLK)),
	OUT(fcntl, 2, FIXED, 0, 32, IF(1, F_OFD_GETLK)),
	OUT(fcntl, 2, FIXED, 0, 8, IF(1, F_GETOWN_EX)),
	OUT(fcntl, 2, FIXED, 0, 8, IF(1, F_GETOWNER_UIDS)),
	OUT(fcntl, 2, FIXED, 0, 8, IF(1, F_GET_RW_HINT)),
	OUT(fcntl, 2, FIXED, 0, 8, IF(1, F_GET_FILE_RW_HINT)),
	OUT(fcntl, 2, FIXED, 0, 8, IF(1, F_GETDELEG)),
	OUT(prctl, 1, FIXED, 0, 4, IF(0, PR_GET_PDEATHSIG)),
	OUT(prctl, 1, FIXED, 0, 16, IF(0, PR_GET_NAME)),
	OUT(prctl, 1, FIXED, 0, 4, IF(0, PR_GET_TSC)),
	OUT(prctl, 1, FIXED, 0, 4, IF(0, PR_GET_CHILD_SUBREAPER)),
	OUT(prctl, 1, FIXED, 0, 8, IF(0, PR_GET_TID_ADDRESS)),
	OUT(prctl, 1, RESULT, 2, 1, IF(0, PR_GET_AUXV)),
	OUT(prctl, 2, FIXED, 0, 4, MAYBE, IF(0, PR_SET_MM)),
	OUT(prctl, 4, FIXED, 0, 8, MAYBE, IF(0, PR_SCHED_CORE)),
	OUT(arch_prctl, 1, FIXED, 0, 8, IF(0, ARCH_GET_FS)),
	OUT(arch_prctl, 1, FIXED, 0, 8, IF(0, ARCH_GET_GS)),
	OUT(seccomp, 2, FIXED, 0, 6, IF(0, SECCOMP_GET_NOTIF_SIZES)),
	OUT(keyctl, 2, RESULT, 3, 1, IF(0, KEYCTL_DESCRIBE)),
	OUT(keyctl, 2, RESULT, 3, 1, IF(0, KEYCTL_READ)),
	OUT(keyctl, 2, RESULT, 3, 1, IF(0, KEYCTL_GET_SECURITY)),
	OUT(keyctl, 2, RESULT, 3, 1, IF(0, KEYCTL_DH_COMPUTE)),
	OUT(keyctl, 4, FIXED, 0, 56, IF(0, KEYCTL_PKEY_QUERY)),
	OUT(keyctl, 4, ANSWER, 0, 1, MAYBE, IF(0, KEYCTL_PKEY_ENCRYPT)),
	OUT(keyctl, 4, ANSWER, 0, 1, MAYBE, IF(0, KEYCTL_PKEY_DECRYPT)),
	OUT(keyctl, 4, ANSWER, 0, 1, MAYBE, IF(0, KEYCTL_PKEY_SIGN)),
	OUT(keyctl, 1, RESULT, 2, 1, IF(0, KEYCTL_CAPABILITIES)),
	OUT(ptrace, 3, FIXED, 0, 8, IF(0, PTRACE_PEEKTEXT)),
	OUT(ptrace, 3, FIXED, 0, 8, IF(0, PTRACE_PEEKDATA)),
	OUT(ptrace, 3, FIXED, 0, 8, IF(0, PTRACE_PEEKUSR)),
	OUT(ptrace, 3, FIXED, 0, 216, IF(0, PTRACE_GETREGS)),
	OUT(ptrace, 3, FIXED, 0, 512, IF(0, PTRACE_GETFPREGS)),
	OUT(ptrace, 3, FIXED, 0, 16, IF(0, PTRACE_GET_THREAD_AREA)),
	OUT(ptrace, 2, FIXED, 0, 8, MAYBE, IF(0, PTRACE_ARCH_PRCTL)),
	OUT(ptrace, 3, FIXED, 0, 8, IF(0, PTRACE_GETEVENTMSG)),
	OUT(ptrace, 3, FIXED, 0, SIGINFO, IF(0, PTRACE_GETSIGINFO)),
	OUT(ptrace, 3, FIXED, 0, 16, IF(0, PTRACE_GETREGSET)),
	OUT(ptrace, 3, IOVEC, 0, 0, IF(0, PTRACE_GETREGSET)),
	OUT(ptrace, 3, ANSWER, 0, SIGINFO, MAYBE, IF(0, PTRACE_PEEKSIGINFO)),
	OUT(ptrace, 3, FIXED, 0, SIGSET, IF(0, PTRACE_GETSIGMASK)),
	OUT(ptrace, 3, ANSWER, 0, 8, MAYBE, IF(0, PTRACE_SECCOMP_GET_FILTER)),
	OUT(ptrace, 3, RESULT, 2, 1, IF(0, PTRACE_SECCOMP_GET_METADATA)),
	OUT(ptrace, 3, RESULT, 2, 1, IF(0, PTRACE_GET_SYSCALL_INFO)),
	OUT(ptrace, 3, RESULT, 2, 1, IF(0, PTRACE_GET_RSEQ_CONFIGURATION)),
	OUT(ptrace, 3, COUNT, 2, 1, IF(0, PTRACE_GET_DISPATCH_CONFIG)),
	OUT(bpf, 1, COUNT, 2, 1, MAYBE),
	OUT(perf_event_open, 0, FIXED, 0, 8, MAYBE),
	OUT_NR(NR_lsm_get_self_attr, 1, LENGTH, 2, 0),
	OUT_NR(NR_lsm_get_self_attr, 2, FIXED, 0, 4),
	OUT_NR(NR_lsm_list_modules, 0, LENGTH, 1, 0),
	OUT_NR(NR_lsm_list_modules, 1, FIXED, 0, 4),
	OUT(ioctl, 2, BY_NUMBER, 0, 0),
};

/* ---- pages ---- */

/* What is done with each page of a range: 0, or -errno to end. */
typedef int (*page_fn)(ptent_t *e);

/* A page that is not mapped at all, or as the process has it, is the kernel's to refuse, or comes with the first touch. */
static int check_writable(ptent_t *e)
{
	return is_mapped(*e) && (*e & (PTE_P | PTE_W)) != (PTE_P | PTE_W) && !is_made(*e) ? -EFAULT : 0;
}

static int mark_dirty(ptent_t *e)
{
	if (*e & PTE_P)
		__atomic_fetch_or(e, PTE_NOTED, __ATOMIC_RELAXED);
	return 0;
}

static int each_page(struct dune_thread *t, uint64_t start, uint64_t length, page_fn fn)
{
	uint64_t va = start & -(uint64_t)PGSIZE, end = start + length, state;
	int ret = 0;

	if (!start || !length || end < start || !user_address(end))
		return 0;	/* for the kernel to refuse */
	state = memory_lock();
	while (!ret && va < end) {
		int level;
		ptent_t *e = walk_find(table_of(t->cr3), va, &level);

		if (level < LEVEL_ROOT)
			ret = fn(e);
		va = (va & -level_size(level)) + level_size(level);
	}
	memory_unlock(state);
	return ret;
}

/* ---- arguments ---- */

static uint64_t argument(const struct dune_regs *r, unsigned int i)
{
	const uint64_t args[] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };

	return args[i];
}

/* The buffers of an iovec; at most @limit bytes of them. */
static int each_vector(struct dune_thread *t, uint64_t vector, uint64_t n, uint64_t limit, page_fn fn)
{
	struct iovec v;
	int ret = 0;

	for (uint64_t i = 0; !ret && i < n && i < 1024 && limit; i++) {
		uint64_t length;

		if (__dune_copy_in(&v, vector + i * sizeof(v), sizeof(v)))
			return 0;
		length = v.iov_len < limit ? v.iov_len : limit;
		ret = each_page(t, (uint64_t)v.iov_base, length, fn);
		limit -= length;
	}
	return ret;
}

/* struct user_msghdr of the kernel; struct mmsghdr is one and an int, padded. */
struct message {
	uint64_t name;
	int32_t name_length, pad1;
	uint64_t vector, nr_vectors;
	uint64_t control, control_length;
	uint32_t flags, pad2;
};

static int each_of_message(struct dune_thread *t, uint64_t at, uint64_t limit, page_fn fn)
{
	struct message m;
	int ret;

	if (__dune_copy_in(&m, at, sizeof(m)))
		return 0;
	ret = each_page(t, at, sizeof(m), fn);
	if (!ret)
		ret = each_page(t, m.name, m.name_length, fn);
	if (!ret)
		ret = each_page(t, m.control, m.control_length, fn);
	return ret ? ret : each_vector(t, m.vector, m.nr_vectors, limit, fn);
}

/* Numbers of old say no size: as much as any of them writes. */
static uint64_t ioctl_size(uint64_t number)
{
	uint64_t size = number >> 16 & 0x3fff, direction = number >> 30 & 3;

	if (direction & 2)
		return size;
	return direction || size ? 0 : 64;
}

/* A table of descriptors has seldom more, and the kernel looks at no bits beyond it. */
#define DESCRIPTORS_MAX	(1L << 20)

static uint64_t bits_size(int n)
{
	return n <= 0 ? 0 : ((n < DESCRIPTORS_MAX ? n : DESCRIPTORS_MAX) + 63) / 64 * 8;
}

/* struct semid64_ds says how many there are in the set @id. */
static uint64_t nr_semaphores(int id)
{
	uint64_t ds[SEMID / sizeof(uint64_t)];

	return dune_syscall4(__NR_semctl, id, 0, IPC_STAT, ds) ? 0 : ds[10];
}

/* The beginning of struct clone_args. */
struct clone_pointers {
	uint64_t flags, pidfd, child_tid, parent_tid;
};

static int each_of_clone(struct dune_thread *t, uint64_t at, page_fn fn)
{
	struct clone_pointers c;

	if (__dune_copy_in(&c, at, sizeof(c)))
		return 0;
	if (c.flags & CLONE_PIDFD)
		each_page(t, c.pidfd, sizeof(int), fn);
	if (c.flags & CLONE_CHILD_SETTID)
		each_page(t, c.child_tid, sizeof(int), fn);
	if (c.flags & CLONE_PARENT_SETTID)
		each_page(t, c.parent_tid, sizeof(int), fn);
	return 0;
}

static bool concerns(const struct output *o, const struct dune_regs *r)
{
	return !o->if_arg || ((uint32_t)argument(r, o->if_arg - 1) & o->if_mask) == o->if_value;
}

/* What @o says of the call in @r, before (@result < 0) or after it; of one that has failed @result is 0. */
static int each_output(struct dune_thread *t, const struct output *o, const struct dune_regs *r, long result, page_fn fn)
{
	uint64_t pointer = argument(r, o->arg), most = result < 0 ? ~0UL : (uint64_t)result, n;
	uint32_t length;
	int ret = 0;

	if (!pointer || !concerns(o, r) || (o->maybe && result < 0))
		return 0;
	switch ((enum size)o->size) {
	case FIXED:
		return each_page(t, pointer, o->bytes, fn);
	case COUNT:
		n = argument(r, o->with);
		return each_page(t, pointer, (n < 1UL << 40 ? n : 0) * o->bytes, fn);
	case RESULT:
	case AFTER:
		n = argument(r, o->with);
		if (n > most)
			n = most;
		if (n >= 1UL << 46)
			n = 0;
		return each_page(t, pointer, o->size == AFTER ? o->bytes + n : n * o->bytes, fn);
	case ANSWER:
		return each_page(t, pointer, most * o->bytes, fn);
	case VECTOR:
		return each_vector(t, pointer, o->bytes ? o->bytes : argument(r, o->with), most, fn);
	case IOVEC:
		return each_vector(t, pointer, 1, ~0UL, fn);
	case LENGTH:
		if (__dune_copy_in(&length, argument(r, o->with), sizeof(length)))
			return 0;
		return each_page(t, pointer, (uint64_t)length + o->bytes, fn);
	case MESSAGE:
		return each_of_message(t, pointer, most, fn);
	case MESSAGES:
		n = argument(r, o->with);
		for (uint64_t i = 0; !ret && i < n && i < most && i < 1024; i++) {
			ret = each_of_message(t, pointer + i * MMSGHDR, ~0UL, fn);
			if (!ret)
				ret = each_page(t, pointer + i * MMSGHDR, MMSGHDR, fn);
		}
		return ret;
	case BITS:
		return each_page(t, pointer, bits_size(argument(r, o->with) - o->bytes), fn);
	case PAGES:
		n = argument(r, o->with);
		return each_page(t, pointer, (n < 1UL << 47 ? n + PGMASK : 0) >> PGSHIFT, fn);
	case SEMAPHORES:
		return each_page(t, pointer, nr_semaphores(argument(r, 0)) * o->bytes, fn);
	case CLONE_ARGS:
		return each_of_clone(t, pointer, fn);
	case BY_NUMBER:
		/* Where the size is not known, do not refuse what may not be written. */
		n = argument(r, 1);
		return result < 0 && !(n >> 30 & 2) ? 0 : each_page(t, pointer, ioctl_size(n), fn);
	}
	return 0;
}

/* ---- before and after ---- */

/* For each call, its first output and 1; the others follow. */
static uint16_t first_output[NR_SYSCALLS];

static int all_outputs(struct dune_thread *t, long result, page_fn fn)
{
	unsigned int i = t->output_nr < NR_SYSCALLS ? first_output[t->output_nr] : 0;
	int ret = 0;

	for (i--; !ret && i < ARRAY_SIZE(outputs) && outputs[i].nr == t->output_nr; i++)
		ret = each_output(t, &outputs[i], &t->run->regs, result, fn);
	return ret;
}

/* Before the call: 0 to make it, else its result. */
long __dune_output_check(struct dune_thread *t)
{
	const struct dune_regs *r = &t->run->regs;

	t->output_nr = r->rax;
	/* All that have a descriptor and come here unwatched. */
	if ((int)r->rdi == t->fd && (r->rax == __NR_fstat || r->rax == __NR_newfstatat || r->rax == __NR_statx))
		return -EBADF;
	return all_outputs(t, -1, check_writable);
}

/* Those that fail may have written all the same: the time that is left, or how large a structure is. */
static void mark_outputs(struct dune_thread *t, long result)
{
	all_outputs(t, is_error(result) ? 0 : result, mark_dirty);
}

/* After it; its result is in RAX by now. */
void __dune_output_mark(struct dune_thread *t)
{
	if (t->output_nr == __NR_getdents64)
		__dune_hide_descriptor(t);
	mark_outputs(t, t->run->regs.rax);
}

/* Calls that have a function of libdune's: by the index of their first output. */
static syscall_fn functions[ARRAY_SIZE(outputs)];

/* A place in the table of system calls: that function, with what it writes or has the kernel write. */
static long call_function(struct dune_thread *t)
{
	unsigned int nr = t->run->regs.rax;
	long ret;

	t->output_nr = nr;
	ret = all_outputs(t, -1, check_writable);
	if (ret)
		return ret;
	ret = functions[first_output[nr] - 1](t);
	t->output_nr = nr;
	mark_outputs(t, ret);
	return ret;
}

/* A place in the table of system calls; __dune_handle_call() knows it. */
long __dune_sys_output(struct dune_thread *t)
{
	(void)t;
	return -ENOSYS;
}

/* With the lock held, on both sides: from now on it matters what system calls write. */
void __dune_outputs_begin(void)
{
	for (unsigned int i = ARRAY_SIZE(outputs); i--; )
		first_output[outputs[i].nr] = i + 1;
	for (unsigned int i = 0; i < ARRAY_SIZE(outputs); i++) {
		syscall_fn *place = &__dune_syscall_table[outputs[i].nr];

		if (*place == __dune_sys_output || *place == call_function)
			continue;
		functions[i] = *place;
		__atomic_store_n(place, *place ? call_function : __dune_sys_output, __ATOMIC_RELEASE);
	}
}
