// SPDX-License-Identifier: MIT
/*
 * What system calls write into memory of the program: its page table sees it as if the program had written.
 *
 * The kernel knows nothing of the guest's page table.  So, as soon as the program has protected a page or cleared
 * a dirty bit, the calls in the table below are not forwarded without a look: one that would write to a page that is not writable
 * is -EFAULT, as it is of memory that the kernel protects; and the pages that it has written become
 * dirty.  HR3, but for __dune_outputs_begin().
 */
#include <linux/uio.h>
#include <linux/time.h>

#include "vm.h"

_Static_assert(NR_SYSCALLS <= 0x10000, "numbers have 16 bits");

enum size {
	FIXED,		/* so many bytes */
	COUNT,		/* bytes times argument @with */
	RESULT,		/* at most bytes times argument @with; the result says how many of them */
	VECTOR,		/* struct iovec: argument @with of them; the result says how many bytes */
	LENGTH,		/* what the int at argument @with says */
	MESSAGE,	/* struct msghdr */
	MESSAGES,	/* struct mmsghdr: argument @with of them */
	BITS,		/* one for each descriptor below argument @with, in words of 64 */
	MAYBE,		/* so many bytes, which the kernel leaves out where it cannot write them */
	BY_NUMBER,	/* what the number in argument 1 says: ioctl */
};

struct output {
	uint16_t nr;
	uint8_t arg;	/* the pointer: 0 to 5 */
	uint8_t size;	/* enum size */
	uint8_t with;
	uint16_t bytes;
};

/* Of structures of the kernel. */
#define STAT		144
#define STATX		256
#define STATFS		120
#define RUSAGE		144
#define TIMESPEC	16
#define SIGINFO		128
#define SIGSET		8

/* Those of one call stand together. */
static const struct output outputs[] = {
	{ __NR_read, 1, RESULT, 2, 1 },
	{ __NR_pread64, 1, RESULT, 2, 1 },
	{ __NR_readv, 1, VECTOR, 2, 0 },
	{ __NR_preadv, 1, VECTOR, 2, 0 },
	{ __NR_preadv2, 1, VECTOR, 2, 0 },
	{ __NR_process_vm_readv, 1, VECTOR, 2, 0 },
	{ __NR_recvfrom, 1, RESULT, 2, 1 },
	{ __NR_recvfrom, 4, LENGTH, 5, 0 },
	{ __NR_recvfrom, 5, FIXED, 0, 4 },
	{ __NR_recvmsg, 1, MESSAGE, 0, 0 },
	{ __NR_recvmmsg, 1, MESSAGES, 2, 0 },
	{ __NR_getdents, 1, RESULT, 2, 1 },
	{ __NR_getdents64, 1, RESULT, 2, 1 },
	{ __NR_getrandom, 0, RESULT, 1, 1 },
	{ __NR_getcwd, 0, RESULT, 1, 1 },
	{ __NR_readlink, 1, RESULT, 2, 1 },
	{ __NR_readlinkat, 2, RESULT, 3, 1 },
	{ __NR_getxattr, 2, RESULT, 3, 1 },
	{ __NR_lgetxattr, 2, RESULT, 3, 1 },
	{ __NR_fgetxattr, 2, RESULT, 3, 1 },
	{ __NR_listxattr, 1, RESULT, 2, 1 },
	{ __NR_llistxattr, 1, RESULT, 2, 1 },
	{ __NR_flistxattr, 1, RESULT, 2, 1 },
	{ __NR_syslog, 1, RESULT, 2, 1 },
	{ __NR_stat, 1, FIXED, 0, STAT },
	{ __NR_fstat, 1, FIXED, 0, STAT },
	{ __NR_lstat, 1, FIXED, 0, STAT },
	{ __NR_newfstatat, 2, FIXED, 0, STAT },
	{ __NR_statx, 4, FIXED, 0, STATX },
	{ __NR_statfs, 1, FIXED, 0, STATFS },
	{ __NR_fstatfs, 1, FIXED, 0, STATFS },
	{ __NR_uname, 0, FIXED, 0, 390 },
	{ __NR_sysinfo, 0, FIXED, 0, 112 },
	{ __NR_times, 0, FIXED, 0, 32 },
	{ __NR_pipe, 0, FIXED, 0, 8 },
	{ __NR_pipe2, 0, FIXED, 0, 8 },
	{ __NR_socketpair, 3, FIXED, 0, 8 },
	{ __NR_accept, 1, LENGTH, 2, 0 },
	{ __NR_accept, 2, FIXED, 0, 4 },
	{ __NR_accept4, 1, LENGTH, 2, 0 },
	{ __NR_accept4, 2, FIXED, 0, 4 },
	{ __NR_getsockname, 1, LENGTH, 2, 0 },
	{ __NR_getsockname, 2, FIXED, 0, 4 },
	{ __NR_getpeername, 1, LENGTH, 2, 0 },
	{ __NR_getpeername, 2, FIXED, 0, 4 },
	{ __NR_getsockopt, 3, LENGTH, 4, 0 },
	{ __NR_getsockopt, 4, FIXED, 0, 4 },
	{ __NR_poll, 0, COUNT, 1, 8 },
	{ __NR_ppoll, 0, COUNT, 1, 8 },
	{ __NR_ppoll, 2, MAYBE, 0, TIMESPEC },
	{ __NR_epoll_wait, 1, RESULT, 2, 12 },
	{ __NR_epoll_pwait, 1, RESULT, 2, 12 },
	{ __NR_select, 1, BITS, 0, 0 },
	{ __NR_select, 2, BITS, 0, 0 },
	{ __NR_select, 3, BITS, 0, 0 },
	{ __NR_select, 4, MAYBE, 0, TIMESPEC },
	{ __NR_pselect6, 1, BITS, 0, 0 },
	{ __NR_pselect6, 2, BITS, 0, 0 },
	{ __NR_pselect6, 3, BITS, 0, 0 },
	{ __NR_pselect6, 4, MAYBE, 0, TIMESPEC },
	{ __NR_clock_gettime, 1, FIXED, 0, TIMESPEC },
	{ __NR_clock_getres, 1, FIXED, 0, TIMESPEC },
	{ __NR_gettimeofday, 0, FIXED, 0, TIMESPEC },
	{ __NR_time, 0, FIXED, 0, 8 },
	{ __NR_nanosleep, 1, FIXED, 0, TIMESPEC },
	{ __NR_clock_nanosleep, 3, FIXED, 0, TIMESPEC },
	{ __NR_getitimer, 1, FIXED, 0, 32 },
	{ __NR_setitimer, 2, FIXED, 0, 32 },
	{ __NR_timer_gettime, 1, FIXED, 0, 32 },
	{ __NR_timer_settime, 3, FIXED, 0, 32 },
	{ __NR_timerfd_gettime, 1, FIXED, 0, 32 },
	{ __NR_timerfd_settime, 3, FIXED, 0, 32 },
	{ __NR_getrusage, 1, FIXED, 0, RUSAGE },
	{ __NR_getrlimit, 1, FIXED, 0, 16 },
	{ __NR_prlimit64, 3, FIXED, 0, 16 },
	{ __NR_wait4, 1, FIXED, 0, 4 },
	{ __NR_wait4, 3, FIXED, 0, RUSAGE },
	{ __NR_waitid, 2, FIXED, 0, SIGINFO },
	{ __NR_waitid, 4, FIXED, 0, RUSAGE },
	{ __NR_rt_sigpending, 0, FIXED, 0, SIGSET },
	{ __NR_rt_sigprocmask, 2, FIXED, 0, SIGSET },
	{ __NR_rt_sigtimedwait, 1, FIXED, 0, SIGINFO },
	{ __NR_getgroups, 1, RESULT, 0, 4 },
	{ __NR_getresuid, 0, FIXED, 0, 4 },
	{ __NR_getresuid, 1, FIXED, 0, 4 },
	{ __NR_getresuid, 2, FIXED, 0, 4 },
	{ __NR_getresgid, 0, FIXED, 0, 4 },
	{ __NR_getresgid, 1, FIXED, 0, 4 },
	{ __NR_getresgid, 2, FIXED, 0, 4 },
	{ __NR_sched_getaffinity, 2, RESULT, 1, 1 },
	{ __NR_sched_getparam, 1, FIXED, 0, 4 },
	{ __NR_sched_rr_get_interval, 1, FIXED, 0, TIMESPEC },
	{ __NR_getcpu, 0, FIXED, 0, 4 },
	{ __NR_getcpu, 1, FIXED, 0, 4 },
	{ __NR_mincore, 2, COUNT, 1, 1 },
	{ __NR_sendfile, 2, FIXED, 0, 8 },
	{ __NR_splice, 1, FIXED, 0, 8 },
	{ __NR_splice, 3, FIXED, 0, 8 },
	{ __NR_copy_file_range, 1, FIXED, 0, 8 },
	{ __NR_copy_file_range, 3, FIXED, 0, 8 },
	{ __NR_io_setup, 1, FIXED, 0, 8 },
	{ __NR_io_getevents, 3, RESULT, 2, 32 },
	{ __NR_ioctl, 2, BY_NUMBER, 0, 0 },
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
	state = vm_lock();
	while (!ret && va < end) {
		int level;
		ptent_t *e = walk_find(table_of(t->cr3), va, &level);

		if (level < LEVEL_ROOT)
			ret = fn(e);
		va = (va & -level_size(level)) + level_size(level);
	}
	vm_unlock(state);
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

#define MMSGHDR	64

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

/* What @o says of the call in @r, before (@result < 0) or after it, when it was successful. */
static int each_output(struct dune_thread *t, const struct output *o, const struct dune_regs *r, long result, page_fn fn)
{
	uint64_t pointer = argument(r, o->arg), most = result < 0 ? ~0UL : (uint64_t)result, n;
	uint32_t length;
	int ret = 0;

	if (!pointer)
		return 0;
	switch ((enum size)o->size) {
	case FIXED:
		return each_page(t, pointer, o->bytes, fn);
	case COUNT:
		n = argument(r, o->with);
		return each_page(t, pointer, (n < 1UL << 40 ? n : 0) * o->bytes, fn);
	case RESULT:
		n = argument(r, o->with);
		if (n > most)
			n = most;
		return each_page(t, pointer, (n < 1UL << 46 ? n : 0) * o->bytes, fn);
	case VECTOR:
		return each_vector(t, pointer, argument(r, o->with), most, fn);
	case LENGTH:
		if (__dune_copy_in(&length, argument(r, o->with), sizeof(length)))
			return 0;
		return each_page(t, pointer, length, fn);
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
		return each_page(t, pointer, bits_size(argument(r, o->with)), fn);
	case MAYBE:
		return result < 0 ? 0 : each_page(t, pointer, o->bytes, fn);
	case BY_NUMBER:
		/* Where the size is not known, do not refuse what may not be written. */
		n = argument(r, 1);
		return result < 0 && !(n >> 30 & 2) ? 0 : each_page(t, pointer, ioctl_size(n), fn);
	}
	return 0;
}

/* ---- before and after ---- */

/* For each call, its first output and 1; the others follow. */
static uint8_t first_output[NR_SYSCALLS];

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

/* After it; its result is in RAX by now. */
void __dune_output_mark(struct dune_thread *t)
{
	long result;

	if (t->output_nr == __NR_getdents64)
		__dune_hide_descriptor(t);
	result = t->run->regs.rax;
	/* Calls that were interrupted write too: the time that is left. */
	if (!is_error(result) || result == -EINTR)
		all_outputs(t, is_error(result) ? 0 : result, mark_dirty);
}

/* A place in the table of system calls; __dune_host_care() knows it. */
long __dune_sys_output(struct dune_thread *t)
{
	(void)t;
	return -ENOSYS;
}

_Static_assert(ARRAY_SIZE(outputs) < 255, "an index and 1 has 8 bits");

bool __dune_outputs_watched;

/* With the lock held, on both sides: from now on it matters what system calls write. */
void __dune_outputs_begin(void)
{
	if (__dune_outputs_watched)
		return;
	for (unsigned int i = ARRAY_SIZE(outputs); i--; )
		first_output[outputs[i].nr] = i + 1;
	for (unsigned int i = 0; i < ARRAY_SIZE(outputs); i++)
		if (!__dune_syscall_table[outputs[i].nr])
			__atomic_store_n(&__dune_syscall_table[outputs[i].nr], __dune_sys_output, __ATOMIC_RELEASE);
	__dune_outputs_watched = true;
}
