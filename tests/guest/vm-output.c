// SPDX-License-Identifier: MIT
/*
 * What system calls write is dirty in the program's page table, and its permissions hold for them; signals interrupt
 * such calls like any others.
 */
#include <asm/prctl.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/utsname.h>

#include "proc.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2	441
#endif

#define PAGE	4096UL
#define NR	256UL
#define RW	(PERM_R | PERM_W)

static char *area;
static uint64_t bitmap[NR / 64];

static long scan(void)
{
	return dune_vm_scan(dune_vm_root(), area, NR * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, bitmap);
}

static bool is_dirty(unsigned int page)
{
	return bitmap[page / 64] >> page % 64 & 1;
}

/* Only this page is dirty, or from this one to that. */
static void only(unsigned int first, unsigned int n, const char *what)
{
	CHECK_EQUAL(scan(), n, what);
	for (unsigned int i = 0; i < NR; i++)
		CHECK(is_dirty(i) == (i >= first && i < first + n), "%s: page %u is %sdirty", what, i,
		      is_dirty(i) ? "" : "not ");
}

/* The kernel writes whole words of 64 bits for the descriptors asked for, and no more. */
static void selects(void)
{
	int pipes[2];
	unsigned long *set = (unsigned long *)(area + 6 * PAGE);
	struct timeval *timeout = (void *)(area + 9 * PAGE);

	DIE_UNLESS(!pipe(pipes) && pipes[0] < 60, "pipe");
	memset(area + 5 * PAGE, 0, 5 * PAGE);
	scan();
	/* A word at the end of a page: the next one is not concerned, nor need it be writable. */
	set--;
	*set = 1UL << pipes[0];
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area + 6 * PAGE, PAGE, PERM_R), 0, "mprotect");
	scan();
	CHECK_EQUAL(syscall(SYS_select, pipes[0] + 1, set, NULL, NULL, &(struct timeval){ 0, 1 }), 0, "select");
	only(5, 1, "a set of select()");
	CHECK_EQUAL(syscall(SYS_pselect6, 64, set, NULL, NULL, &(struct timespec){ 0, 1 }, NULL), 0, "pselect6");
	only(5, 1, "a set of pselect6()");
	CHECK_EQUAL(syscall(SYS_select, 0, set + 1, NULL, NULL, &(struct timeval){ 0, 1 }), 0, "select of nothing");
	CHECK_ERRNO(syscall(SYS_select, 65, set, NULL, NULL, &(struct timeval){ 0, 1 }), EFAULT,
		    "two words of select()");
	CHECK_ERRNO(syscall(SYS_select, 1, set + 1, NULL, NULL, &(struct timeval){ 0, 1 }), EFAULT,
		    "a set that is read-only");
	CHECK_ERRNO(syscall(SYS_select, -1, set, NULL, NULL, NULL), EINVAL, "a number below 0");
	only(0, 0, "what has failed");
	/* The time that is left. */
	timeout->tv_sec = 0;
	timeout->tv_usec = 10;
	scan();
	CHECK_EQUAL(syscall(SYS_select, 0, NULL, NULL, NULL, timeout), 0, "select");
	only(9, 1, "the timeout of select()");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area + 6 * PAGE, PAGE, RW), 0, "mprotect");
	close(pipes[0]);
	close(pipes[1]);
}

static void reads(void)
{
	int file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2];
	struct iovec v[2] = { { area + 10 * PAGE, 5 }, { area + 20 * PAGE - 1, 2 } };
	static char source[16 * PAGE];

	DIE_UNLESS(file >= 0 && !pipe(pipes), "files");
	CHECK_EQUAL(write(file, source, sizeof(source)), sizeof(source), "write");
	scan();
	only(0, 0, "nothing");
	for (unsigned int i = 0; i < NR; i++)
		CHECK_EQUAL(pread(file, area + i * PAGE, 100, 0), 100, "pread");
	only(0, NR, "pages that only pread() has written");
	for (unsigned int i = 0; i < NR; i++) {
		CHECK_EQUAL(write(pipes[1], source, 10), 10, "write to a pipe");
		CHECK_EQUAL(read(pipes[0], area + i * PAGE + 4090, 6), 6, "read from a pipe");
		CHECK_EQUAL(read(pipes[0], source, 4), 4, "the rest");
	}
	only(0, NR, "pages that only read() from a pipe has written");
	CHECK_EQUAL(pread(file, area + 3 * PAGE, 5 * PAGE, 13 * PAGE), 3 * PAGE, "a short read");
	only(3, 3, "what a short read has written");
	CHECK_EQUAL(preadv(file, v, 2, 0), 7, "preadv");
	CHECK_EQUAL(scan(), 3, "preadv");
	CHECK(is_dirty(10) && is_dirty(19) && is_dirty(20), "preadv");
	CHECK_EQUAL(write(file, area, 5 * PAGE), 5 * PAGE, "write");
	only(0, 0, "write() reads");
	close(file);
	unlink("data");
}

static void others(void)
{
	int sockets[2], dir = open("/", O_RDONLY | O_DIRECTORY);
	struct iovec v = { area + 30 * PAGE, 100 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	long n;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	CHECK_EQUAL(send(sockets[0], "abc", 3, 0), 3, "send");
	CHECK_EQUAL(recvmsg(sockets[1], &m, 0), 3, "recvmsg");
	only(30, 1, "recvmsg");
	CHECK_EQUAL(send(sockets[0], "abc", 3, 0), 3, "send");
	CHECK_EQUAL(recv(sockets[1], area + 31 * PAGE, 3, 0), 3, "recv");
	only(31, 1, "recv");
	n = syscall(SYS_getdents64, dir, area + 32 * PAGE, 2 * PAGE);
	CHECK(n > 0, "getdents64");
	only(32, (n + PAGE - 1) / PAGE, "getdents64");
	CHECK_EQUAL(fstat(dir, (struct stat *)(area + 34 * PAGE)), 0, "fstat");
	only(34, 1, "fstat");
	CHECK_EQUAL(uname((struct utsname *)(area + 36 * PAGE - 8)), 0, "uname");
	only(35, 2, "uname, across pages");
	CHECK(syscall(SYS_getcwd, area + 37 * PAGE, PAGE) > 0, "getcwd");
	only(37, 1, "getcwd");
	CHECK_EQUAL(pipe((int *)(area + 38 * PAGE)), 0, "pipe");
	only(38, 1, "pipe");
	close(dir);
}

static void permissions(void)
{
	int zero = open("/dev/zero", O_RDONLY);

	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area + PAGE, PAGE, PERM_R), 0, "mprotect");
	CHECK_ERRNO(read(zero, area + PAGE, 8), EFAULT, "read() into a page that is protected");
	CHECK_ERRNO(read(zero, area, 2 * PAGE), EFAULT, "read() that goes into it");
	CHECK_ERRNO(fstat(zero, (struct stat *)(area + PAGE)), EFAULT, "fstat() into it");
	CHECK_EQUAL(read(zero, area, PAGE), PAGE, "read() up to it");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area + PAGE, PAGE, RW), 0, "mprotect");
	CHECK_EQUAL(read(zero, area + PAGE, 8), 8, "read() when it is open again");
	CHECK_ERRNO(syscall(SYS_read, zero, 8, 8), EFAULT, "read() to nowhere");
	CHECK_ERRNO(read(-1, area, 8), EBADF, "read() from nowhere");
	close(zero);
	scan();
}

/* ---- the calls that few programs make ---- */

#define AT(page)	((void *)(area + (page) * PAGE))
/* A call that writes to @page alone. */
#define WRITES(page, call, result) do {			\
	CHECK_EQUAL(call, result, #call);		\
	only(page, 1, #call);				\
} while (0)
/* One that writes to the next one too. */
#define WRITES_2(page, call, result) do {		\
	CHECK_EQUAL(call, result, #call);		\
	only(page, 2, #call);				\
} while (0)

static void system_v(void)
{
	struct { long type; char text[PAGE]; } message = { .type = 1 };
	int msg = msgget(IPC_PRIVATE, 0600), sem, shm;

	DIE_UNLESS(msg >= 0 && !msgsnd(msg, &message, 4, 0) && !msgsnd(msg, &message, PAGE, 0), "messages");
	/* The type is at the end of one page, the text begins the next one. */
	WRITES_2(2, syscall(SYS_msgrcv, msg, area + 3 * PAGE - 8, PAGE, 0, 0), 4);
	WRITES_2(2, syscall(SYS_msgrcv, msg, area + 3 * PAGE - 8, PAGE, 0, 0), PAGE);
	CHECK_ERRNO(msgrcv(msg, AT(2), PAGE, 0, IPC_NOWAIT), ENOMSG, "no message");
	scan();
	WRITES(4, msgctl(msg, IPC_STAT, AT(4)), 0);
	CHECK(msgctl(msg, MSG_INFO, AT(5)) >= 0, "MSG_INFO");
	only(5, 1, "MSG_INFO");
	CHECK_EQUAL(msgctl(msg, IPC_SET, AT(4)), 0, "IPC_SET");
	only(0, 0, "IPC_SET reads");
	CHECK_EQUAL(msgctl(msg, IPC_RMID, AT(6)), 0, "IPC_RMID");
	only(0, 0, "IPC_RMID");
	sem = semget(IPC_PRIVATE, 200, 0600);
	shm = shmget(IPC_PRIVATE, PAGE, 0600);
	DIE_UNLESS(sem >= 0 && shm >= 0, "semget, shmget");
	WRITES(4, syscall(SYS_semctl, sem, 0, IPC_STAT, AT(4)), 0);
	WRITES_2(6, syscall(SYS_semctl, sem, 0, GETALL, area + 7 * PAGE - 200), 0);
	WRITES(6, syscall(SYS_semctl, sem, 0, GETALL, area + 7 * PAGE - 400), 0);
	CHECK_EQUAL(syscall(SYS_semctl, sem, 0, GETVAL, AT(4)), 0, "GETVAL");
	CHECK_EQUAL(syscall(SYS_semctl, sem, 0, IPC_RMID, AT(4)), 0, "IPC_RMID");
	only(0, 0, "GETVAL and IPC_RMID");
	WRITES(4, shmctl(shm, IPC_STAT, AT(4)), 0);
	CHECK(shmctl(shm, SHM_INFO, AT(5)) >= 0, "SHM_INFO");
	only(5, 1, "SHM_INFO");
	CHECK_EQUAL(shmctl(shm, IPC_RMID, NULL), 0, "IPC_RMID");
}

static void queues(void)
{
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 100 };
	int mq = syscall(SYS_mq_open, "vm-output", O_RDWR | O_CREAT, 0600, &attr), epoll = epoll_create1(0), pipes[2];
	struct epoll_event event = { .events = EPOLLOUT };

	DIE_UNLESS(mq >= 0 && epoll >= 0 && !pipe(pipes), "a message queue, epoll, a pipe");
	CHECK_EQUAL(syscall(SYS_mq_timedsend, mq, "x", 1, 3, NULL), 0, "mq_timedsend");
	CHECK_EQUAL(syscall(SYS_mq_timedreceive, mq, AT(9), 100, AT(10), NULL), 1, "mq_timedreceive");
	only(9, 2, "mq_timedreceive");
	WRITES(11, syscall(SYS_mq_getsetattr, mq, NULL, AT(11)), 0);
	syscall(SYS_mq_unlink, "vm-output");
	CHECK_EQUAL(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[1], &event), 0, "epoll_ctl");
	if (syscall(SYS_epoll_pwait2, epoll, AT(12), 1000, NULL, NULL, 8) == 1 || errno != ENOSYS)	/* 5.11 */
		only(12, 1, "epoll_pwait2");
	close(mq);
	close(epoll);
	close(pipes[0]);
	close(pipes[1]);
}

static void about_the_process(void)
{
	struct { int lock; } *word = AT(25);
	struct __user_cap_header_struct *header = AT(15);
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	struct timex *timex = AT(14);
	timer_t timer;

	memset(timex, 0, sizeof(*timex));
	header->version = _LINUX_CAPABILITY_VERSION_3;
	header->pid = 0;
	word->lock = 0;
	scan();
	WRITES(13, syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, AT(13)), 0);
	timer = (timer_t)(long)*(int *)AT(13);
	syscall(SYS_timer_delete, timer);
	CHECK(syscall(SYS_adjtimex, timex) >= 0, "adjtimex");
	only(14, 1, "adjtimex");
	CHECK(syscall(SYS_clock_adjtime, CLOCK_REALTIME, timex) >= 0, "clock_adjtime");
	only(14, 1, "clock_adjtime");
	CHECK_EQUAL(syscall(SYS_capget, header, AT(16)), 0, "capget");
	CHECK(scan() && is_dirty(16), "capget");
	header->version = 1;
	scan();
	CHECK_ERRNO(syscall(SYS_capget, header, AT(16)), EINVAL, "capget of an unknown version");
	CHECK_EQUAL(header->version, _LINUX_CAPABILITY_VERSION_3, "the version that capget knows");
	CHECK(scan() && is_dirty(15), "capget has written the version");
	WRITES(17, syscall(SYS_sched_getattr, 0, AT(17), 48, 0), 0);
	*(int *)AT(17) = 4095;
	scan();
	CHECK_ERRNO(syscall(SYS_sched_setattr, 0, AT(17), 0), E2BIG, "sched_setattr of a size that nobody knows");
	only(17, 1, "sched_setattr has written the size");
	WRITES(18, syscall(SYS_rt_sigaction, SIGUSR2, NULL, AT(18), 8), 0);
	WRITES(19, syscall(SYS_sigaltstack, NULL, AT(19)), 0);
	WRITES(20, syscall(SYS_get_robust_list, 0, AT(20), area + 20 * PAGE + 8), 0);
	WRITES(21, syscall(SYS_prctl, PR_GET_NAME, AT(21)), 0);
	CHECK_EQUAL(syscall(SYS_prctl, PR_SET_NAME, AT(22)), 0, "PR_SET_NAME");
	only(0, 0, "PR_SET_NAME reads");
	WRITES(22, syscall(SYS_arch_prctl, ARCH_GET_FS, AT(22)), 0);
	WRITES(23, syscall(SYS_gettimeofday, NULL, AT(23)), 0);
	WRITES(25, syscall(SYS_futex, word, FUTEX_TRYLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0), 0);
	CHECK_EQUAL(word->lock, syscall(SYS_gettid), "FUTEX_TRYLOCK_PI");
	WRITES(25, syscall(SYS_futex, word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0), 0);
	CHECK_EQUAL(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0), 0, "FUTEX_WAKE");
	only(0, 0, "FUTEX_WAKE");
	/* Permissions hold for what libdune writes itself. */
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), AT(18), PAGE, PERM_R), 0, "mprotect");
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR2, NULL, AT(18), 8), EFAULT,
		    "rt_sigaction into a page that is protected");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), AT(18), PAGE, RW), 0, "mprotect");
	scan();
}

static void files(void)
{
	int file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600), sockets[2];
	struct flock *lock = AT(40);
	struct mmsghdr *messages = AT(42);
	struct iovec v = { "x", 1 };
	unsigned int *handle = AT(44);

	DIE_UNLESS(file >= 0 && !socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), "files");
	*lock = (struct flock){ .l_type = F_WRLCK };
	scan();
	WRITES(40, fcntl(file, F_GETLK, lock), 0);
	CHECK_EQUAL(fcntl(file, F_SETLK, lock), 0, "F_SETLK");
	only(0, 0, "F_SETLK reads");
	messages[0].msg_hdr = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1 };
	scan();
	WRITES(42, syscall(SYS_sendmmsg, sockets[0], messages, 1, 0), 1);
	*handle = 128;
	scan();
	CHECK_EQUAL(syscall(SYS_name_to_handle_at, AT_FDCWD, "/tmp", handle, AT(46), 0), 0, "name_to_handle_at");
	CHECK_EQUAL(scan(), 2, "name_to_handle_at");
	CHECK(is_dirty(44) && is_dirty(46), "name_to_handle_at");
	WRITES(47, syscall(SYS_mincore, area, NR * PAGE, AT(47)), 0);
	/* So many bytes, not as many as there are in the range. */
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), AT(49), PAGE, PERM_R), 0, "mprotect");
	WRITES(48, syscall(SYS_mincore, area, NR * PAGE, area + 49 * PAGE - NR), 0);
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), AT(49), PAGE, RW), 0, "mprotect");
	if (syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) || errno != ENOSYS) {
		CHECK_EQUAL(syscall(SYS_get_mempolicy, AT(50), AT(51), 1025, NULL, 0), 0, "get_mempolicy");
		only(50, 2, "get_mempolicy");
	}
	close(file);
	close(sockets[0]);
	close(sockets[1]);
	unlink("data");
}

/* Those that make a child write where it is, and those about it. */
static void children(void)
{
	struct clone_args args = { .flags = CLONE_PIDFD | CLONE_PARENT_SETTID, .pidfd = (long)AT(54),
				   .parent_tid = (long)AT(55), .exit_signal = SIGCHLD };
	struct iovec *v = AT(57);
	pid_t pid;

	scan();
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (!pid)
		_exit(0);
	only(54, 2, "clone3");
	CHECK_EQUAL(*(int *)AT(55), pid, "CLONE_PARENT_SETTID");
	close(*(int *)AT(54));
	proc_wait(pid);
	pid = syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, 0, AT(53), AT(56), 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	only(53, 1, "clone");
	CHECK_EQUAL(waitpid(pid, NULL, 0), pid, "waitpid");
	v->iov_base = AT(58);
	v->iov_len = PAGE;
	scan();
	WRITES(56, syscall(SYS_ptrace, PTRACE_GETREGS, pid, NULL, AT(56)), 0);
	CHECK_EQUAL(syscall(SYS_ptrace, PTRACE_GETREGSET, pid, 1, v), 0, "PTRACE_GETREGSET");
	only(57, 2, "PTRACE_GETREGSET");
	WRITES(59, syscall(SYS_ptrace, PTRACE_PEEKDATA, pid, area, AT(59)), 0);
	kill(pid, SIGKILL);
	proc_wait(pid);
	scan();
}

/* ---- signals ---- */

static volatile int signals;
static int pipes[2];
static pthread_t main_thread;

static void on_signal(int signo)
{
	(void)signo;
	signals++;
}

static void *send_signals(void *arg)
{
	for (int i = 0; i < (long)arg; i++) {
		usleep(2000);
		pthread_kill(main_thread, SIGUSR1);
	}
	usleep(20000);
	CHECK_EQUAL(write(pipes[1], "x", 1), 1, "write");
	return NULL;
}

static void interrupted(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t thread;
	long ret;

	DIE_UNLESS(!pipe(pipes), "pipe");
	main_thread = pthread_self();
	/* Without SA_RESTART each one ends the call. */
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 50; i++) {
		int before = signals;

		pthread_create(&thread, NULL, send_signals, (void *)1);
		ret = read(pipes[0], area + 50 * PAGE, 1);
		if (signals == before)	/* it had not come to the call yet */
			CHECK_EQUAL(ret, 1, "read");
		else if (ret != 1)
			CHECK(ret == -1 && errno == EINTR, "a read that a signal ends: %ld", ret);
		pthread_join(thread, NULL);
		if (ret != 1)
			CHECK_EQUAL(read(pipes[0], area + 50 * PAGE, 1), 1, "read");
		CHECK_EQUAL(signals, before + 1, "signals");
	}
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	scan();
	pthread_create(&thread, NULL, send_signals, (void *)100);
	CHECK_EQUAL(read(pipes[0], area + 51 * PAGE, 1), 1, "a read that goes on after signals");
	only(51, 1, "a read that was interrupted");
	pthread_join(thread, NULL);
	/* Two that come at once are one. */
	CHECK(signals > 50, "signals: %d", signals);
	CHECK_EQUAL(area[51 * PAGE], 'x', "what was read");
}

static void write_byte(int signo)
{
	(void)signo;
	if (write(pipes[1], "y", 1) == 1)
		signals++;
}

/* The handler ends the wait: it must run whenever the signal comes, also just before the call blocks. */
static void at_any_moment(void)
{
	struct sigaction action = { .sa_handler = write_byte, .sa_flags = SA_RESTART };
	unsigned int seed = 1;

	sigaction(SIGALRM, &action, NULL);
	signals = 0;
	for (int i = 0; i < 3000; i++) {
		struct itimerval timer = { .it_value.tv_usec = 1 + rand_r(&seed) % 60 };

		setitimer(ITIMER_REAL, &timer, NULL);
		CHECK_EQUAL(read(pipes[0], area + 60 * PAGE, 1), 1, "read");
	}
	CHECK_EQUAL(signals, 3000, "signals");
	scan();
	CHECK(is_dirty(60), "a page that was read into");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap");
	memset(area, 1, NR * PAGE);
	reads();
	selects();
	others();
	permissions();
	system_v();
	queues();
	about_the_process();
	files();
	children();
	interrupted();
	at_any_moment();
	return check_result();
}
