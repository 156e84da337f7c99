// SPDX-License-Identifier: MIT
/*
 * Seccomp filters that the program installs: each action, on calls that are forwarded and on those that libdune
 * looks at; what libdune itself needs goes on under a filter that forbids it, and cannot be used to get round
 * the filter.
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "proc.h"

#define ALLOW	SECCOMP_RET_ALLOW
#define ERROR(e) (SECCOMP_RET_ERRNO | (e))
#define LOAD_NR	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define RETURN(action)	BPF_STMT(BPF_RET | BPF_K, action)

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH	(1UL << 4)
#endif

static long seccomp(unsigned int operation, unsigned int flags, void *arg)
{
	return syscall(SYS_seccomp, operation, flags, arg);
}

static long install_with(unsigned int flags, struct sock_filter *filter, unsigned int length)
{
	struct sock_fprog program = { length, filter };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return seccomp(SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* @action for call @nr; all others are allowed. */
static long filter_with(unsigned int flags, unsigned int nr, unsigned int action)
{
	struct sock_filter filter[] = {
		LOAD_NR,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		RETURN(action),
		RETURN(ALLOW),
	};

	return install_with(flags, filter, 4);
}

static void filter(unsigned int nr, unsigned int action)
{
	CHECK_EQUAL(filter_with(0, nr, action), 0, "installing a filter");
}

/* @action for all but these, the last of which is -1. */
static void filter_all_but(unsigned int action, const int *good)
{
	struct sock_filter filter[64];
	unsigned int n = 0;

	filter[n++] = (struct sock_filter)LOAD_NR;
	for (; *good >= 0; good++) {
		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, *good, 0, 1);
		filter[n++] = (struct sock_filter)RETURN(ALLOW);
	}
	filter[n++] = (struct sock_filter)RETURN(action);
	CHECK_EQUAL(install_with(0, filter, n), 0, "installing a filter of many");
}

/* ---- what a filter can answer ---- */

/* Numbers that no kernel gives to a call. */
static const int unknown[] = { 1000, 5000, 0x3fffffff, -1 };

static void actions(void)
{
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, ERROR(77));
		CHECK_ERRNO(syscall(SYS_getppid), 77, "a refused call");
		CHECK(getpid() > 0, "another call");
		CHECK_WORLD("a filtered process")
	), EXITED(0), "SECCOMP_RET_ERRNO");
	CHECK_EQUAL(IN_CHILD(filter(SYS_getppid, SECCOMP_RET_KILL_PROCESS); getppid()) & 0x7f, SIGSYS,
		    "SECCOMP_RET_KILL_PROCESS");
	CHECK_EQUAL(IN_CHILD(filter(SYS_getppid, SECCOMP_RET_KILL_THREAD); getppid()) & 0x7f, SIGSYS,
		    "SECCOMP_RET_KILL_THREAD");
	CHECK_EQUAL(IN_CHILD(filter(SYS_getppid, SECCOMP_RET_TRAP); getppid()) & 0x7f, SIGSYS,
		    "SECCOMP_RET_TRAP without a handler");
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, SECCOMP_RET_TRACE);
		CHECK_ERRNO(syscall(SYS_getppid), ENOSYS, "a call for a tracer that is not there")
	), EXITED(0), "SECCOMP_RET_TRACE");
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, SECCOMP_RET_LOG);
		CHECK(getppid() > 0, "a logged call")
	), EXITED(0), "SECCOMP_RET_LOG");
	/* Calls that libdune looks at. */
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_mmap, ERROR(71));
		filter(SYS_sigaltstack, ERROR(72));
		filter(SYS_rt_sigaction, ERROR(73));
		filter(SYS_execve, ERROR(74));
		filter(SYS_fork, ERROR(75));
		CHECK_ERRNO(syscall(SYS_mmap, 0, 4096, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 71, "mmap");
		CHECK_ERRNO(syscall(SYS_sigaltstack, NULL, NULL), 72, "sigaltstack");
		CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 8), 73, "rt_sigaction");
		CHECK_ERRNO(syscall(SYS_execve, "/proc/self/exe", NULL, NULL), 74, "execve");
		CHECK_ERRNO(syscall(SYS_fork), 75, "fork")
	), EXITED(0), "calls that libdune looks at");
	/* Calls that nobody knows. */
	for (unsigned int i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		CHECK_ERRNO(syscall(unknown[i]), ENOSYS, "an unknown call");
		CHECK_EQUAL(IN_CHILD(
			filter(unknown[i], ERROR(76));
			CHECK_ERRNO(syscall(unknown[i]), 76, "an unknown call");
		), EXITED(0), "an unknown call that a filter answers");
		CHECK_EQUAL(IN_CHILD(filter(unknown[i], SECCOMP_RET_KILL_PROCESS); syscall(unknown[i])) & 0x7f, SIGSYS,
			    "SECCOMP_RET_KILL_PROCESS for an unknown call");
	}
}

/* Those that libdune makes itself all the time are refused to the program. */
static void libdunes_own(void)
{
	static const int own[] = { SYS_lseek, SYS_ioctl, SYS_rt_sigprocmask, SYS_close, SYS_dup3 };

	for (unsigned int i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		CHECK_EQUAL(IN_CHILD(
			filter(own[i], ERROR(70));
			for (int fd = 0; fd < 1000; fd++)
				CHECK_ERRNO(syscall(own[i], fd, 0, 0, 0), 70, "a call that libdune makes too");
			CHECK_WORLD("the process")
		), EXITED(0), "a call that libdune makes too");
}

/* ---- traps ---- */

static volatile siginfo_t trap_info;
static volatile long trap_rax, trap_rip, trap_result;
static volatile int traps;

static void on_trap(int signo, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signo;
	memcpy((void *)&trap_info, info, sizeof(*info));
	trap_rax = r[REG_RAX];
	trap_rip = r[REG_RIP];
	r[REG_RAX] = trap_result;
	traps++;
}

static void catch_traps(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	sigaction(SIGSYS, &action, NULL);
}

/* A call with its address, which is behind the instruction. */
static long call_at(long nr, long a, long b, long c, unsigned long *address)
{
	register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0;
	unsigned long at;
	long ret;

	__asm__ volatile("lea 1f(%%rip), %1; syscall; 1:"
			 : "=a"(ret), "=&r"(at) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	*address = at;
	return ret;
}

static void trap_of(long nr, long a, long b, long c, const char *what)
{
	unsigned long address;
	int before = traps;
	long ret;

	filter(nr, SECCOMP_RET_TRAP | 0x55);
	trap_result = -4711 - nr;
	ret = call_at(nr, a, b, c, &address);
	CHECK_EQUAL(ret, trap_result, what);
	CHECK_EQUAL(traps, before + 1, what);
	CHECK_EQUAL(trap_info.si_signo, SIGSYS, "si_signo");
	CHECK_EQUAL(trap_info.si_code, 1 /* SYS_SECCOMP */, "si_code");
	CHECK_EQUAL(trap_info.si_errno, 0x55, "si_errno");
	CHECK_EQUAL((unsigned long)trap_info.si_call_addr, address, "si_call_addr");
	CHECK_EQUAL(trap_info.si_syscall, nr, "si_syscall");
	CHECK_EQUAL(trap_info.si_arch, AUDIT_ARCH_X86_64, "si_arch");
	CHECK_EQUAL(trap_rax, nr, "RAX in the handler");
	CHECK_EQUAL(trap_rip, address, "RIP in the handler");
	CHECK_WORLD("the process after a trap");
}

static void trapped(void)
{
	static char *const arguments[] = { "x", NULL };
	struct { unsigned long flags, rest[10]; } clone3_args = { 0 };

	clone3_args.rest[3] = SIGCHLD;
	CHECK_EQUAL(IN_CHILD(
		catch_traps();
		trap_of(SYS_getppid, 1, 2, 3, "getppid");
		trap_of(SYS_lseek, 0, 0, 0, "lseek");
		trap_of(SYS_ioctl, 0, 0, 0, "ioctl");
		trap_of(SYS_munmap, 0, 4096, 0, "munmap");
		trap_of(SYS_sigaltstack, 0, 0, 0, "sigaltstack");
		trap_of(SYS_fork, 0, 0, 0, "fork");
		trap_of(SYS_vfork, 0, 0, 0, "vfork");
		trap_of(SYS_clone, SIGCHLD, 0, 0, "clone");
		trap_of(SYS_clone3, (long)&clone3_args, 88, 0, "clone3");
		trap_of(SYS_execve, (long)"/proc/self/exe", (long)arguments, 0, "execve");
		trap_of(5000, 1, 2, 3, "an unknown call")
	), EXITED(0), "traps");
	CHECK_EQUAL(IN_CHILD(
		sigset_t all;
		sigfillset(&all);
		catch_traps();
		sigprocmask(SIG_BLOCK, &all, NULL);
		filter(SYS_getppid, SECCOMP_RET_TRAP);
		getppid()
	) & 0x7f, SIGSYS, "a trap whose signal is blocked");
}

/* ---- under a filter that allows next to nothing ---- */

static const int few[] = { SYS_read, SYS_write, SYS_exit_group, SYS_rt_sigreturn, -1 };
static const int few_and_fork[] = { SYS_read, SYS_write, SYS_exit_group, SYS_rt_sigreturn, SYS_fork, SYS_wait4, -1 };
static const int few_and_kill[] = { SYS_read, SYS_write, SYS_exit_group, SYS_rt_sigreturn, SYS_kill, SYS_getpid,
				    SYS_rt_sigaction, -1 };

static volatile sig_atomic_t handled;

static void count(int signo)
{
	(void)signo;
	handled++;
}

static volatile int zero;

static void on_fault(int signo, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)info;
	handled++;
	r[REG_RIP] += signo == SIGSEGV ? 3 : 2;
}

static void store_nowhere(void)
{
	__asm__ volatile("xor %%eax, %%eax; .byte 0x88, 0x40, 0x00" : : : "rax", "memory");	/* mov %al, 0(%rax) */
}

static void divide(void)
{
	__asm__ volatile("xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx");
}

static unsigned long deep(unsigned int depth)
{
	volatile char room[4096];

	room[0] = depth;
	return depth ? deep(depth - 1) + room[0] : 0;
}

static void signals_from_outside(void)
{
	int pipe_fds[2];
	char byte = 0;
	int status;
	pid_t pid;

	CHECK_EQUAL(pipe(pipe_fds), 0, "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };

		sigaction(SIGUSR1, &action, NULL);
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few);
		write(pipe_fds[1], &byte, 1);
		while (!handled || *(volatile char *)&byte == 0)
			byte += handled >= 1;
		/* Between calls, in calls and in computation. */
		while (handled < 50) {
			write(pipe_fds[1], &byte, 1);
			for (volatile int i = 0; i < 1000; i++)
				;
		}
		syscall(SYS_exit_group, 42);
	}
	close(pipe_fds[1]);
	CHECK_EQUAL(read(pipe_fds[0], &byte, 1), 1, "the child is there");
	for (int i = 0; i < 100000 && kill(pid, SIGUSR1) == 0; i++) {
		char many[4096];
		int got;

		if (waitpid(pid, &status, WNOHANG) == pid)
			goto ended;
		fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
		got = read(pipe_fds[0], many, sizeof(many));
		if (got == 0)
			break;
		usleep(200);
	}
	status = proc_wait(pid);
ended:
	close(pipe_fds[0]);
	CHECK_EQUAL(status, EXITED(42), "signals from outside under a narrow filter");
}

static void narrow(void)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	struct sigaction once = { .sa_handler = count, .sa_flags = SA_RESETHAND };
	char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK_EQUAL(IN_CHILD(
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few);
		memset(memory, 1, 1 << 20);
		deep(100);
		CHECK_WORLD("a process under a narrow filter");
		syscall(SYS_exit_group, check_failures ? 1 : 40)
	), EXITED(40), "memory under a narrow filter");
	CHECK_EQUAL(IN_CHILD(
		sigaction(SIGSEGV, &fault, NULL);
		sigaction(SIGFPE, &fault, NULL);
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few);
		for (int i = 0; i < 10; i++) {
			store_nowhere();
			divide();
		}
		syscall(SYS_exit_group, handled)
	), EXITED(20), "handlers of faults under a narrow filter");
	signals_from_outside();
	CHECK_EQUAL(IN_CHILD(filter_all_but(SECCOMP_RET_KILL_PROCESS, few); store_nowhere()) & 0x7f, SIGSEGV,
		    "a null pointer under a narrow filter");
	CHECK_EQUAL(IN_CHILD(filter_all_but(SECCOMP_RET_KILL_PROCESS, few); divide()) & 0x7f, SIGFPE,
		    "a division by zero under a narrow filter");
	CHECK_EQUAL(IN_CHILD(filter_all_but(SECCOMP_RET_KILL_PROCESS, few); __asm__ volatile("ud2")) & 0x7f, SIGILL,
		    "ud2 under a narrow filter");
	CHECK_EQUAL(IN_CHILD(filter_all_but(SECCOMP_RET_KILL_PROCESS, few); getpid()) & 0x7f, SIGSYS,
		    "getpid under a narrow filter");
	CHECK_EQUAL(IN_CHILD(
		sigaction(SIGUSR1, &once, NULL);
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few_and_kill);
		kill(getpid(), SIGUSR1);
		if (handled == 1)
			kill(getpid(), SIGUSR1)
	), SIGUSR1, "SA_RESETHAND under a narrow filter");
	/* Pointers that lead nowhere are the kernel's to refuse. */
	CHECK_EQUAL(IN_CHILD(
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few_and_kill);
		CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, 8, 0, 8), EFAULT, "a bad pointer");
		CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, 0, 8, 8), EFAULT, "a bad pointer for the result");
		CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, 0, few, 8), EFAULT, "a result to read-only memory");
		syscall(SYS_exit_group, check_failures != 0)
	), EXITED(0), "bad pointers under a filter");
	munmap(memory, 1 << 20);
}

/* ---- children ---- */

static int forks(int depth)
{
	int status = 0;
	long pid = syscall(SYS_fork);

	if (!pid)
		syscall(SYS_exit_group, dune_in_dune_mode() != proc_inside ? 1 : depth > 1 ? forks(depth - 1) : 50);
	if (syscall(SYS_wait4, pid, &status, 0, NULL) != pid)
		return 2;
	return WEXITSTATUS(status);
}

static void *sleeps(void *stop)
{
	while (!*(volatile int *)stop)
		usleep(1000);
	return NULL;
}

static void children(void)
{
	static char *const arguments[] = { "x", NULL };
	pthread_t threads[3];
	int stop = 0;

	CHECK_EQUAL(IN_CHILD(
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few_and_fork);
		syscall(SYS_exit_group, forks(3))
	), EXITED(50), "fork under a narrow filter");
	CHECK_EQUAL(IN_CHILD(
		for (int i = 0; i < 3; i++)
			pthread_create(&threads[i], NULL, sleeps, &stop);
		filter_all_but(SECCOMP_RET_KILL_PROCESS, few_and_fork);
		syscall(SYS_exit_group, forks(2))
	), EXITED(50), "fork of one of several threads under a narrow filter");
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, ERROR(66));
		execv("/proc/self/exe", arguments)
	), EXITED(66), "a filter after exec");
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, ERROR(66));
		if (!vfork())
			_exit(syscall(SYS_getppid) == -1 && errno == 66 ? 0 : 1);
		_exit(0)
	), EXITED(0), "vfork");
}

/* ---- threads ---- */

static pthread_barrier_t barrier;

static void *sees_error(void *number)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CHECK_ERRNO(syscall(SYS_getppid), (long)number, "a thread under a filter of another");
	return NULL;
}

static void *goes_its_own_way(void *unused)
{
	(void)unused;
	filter(SYS_getppid, ERROR(69));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void *is_refused(void *number)
{
	CHECK_ERRNO(syscall(SYS_getppid), (long)number, "a new thread");
	CHECK_WORLD("a new thread");
	return NULL;
}

static void *is_killed(void *unused)
{
	(void)unused;
	syscall(SYS_getppid);
	CHECK(false, "a thread that a filter kills goes on");
	return NULL;
}

static void many_killed(unsigned int count)
{
	struct proc_size before = { 0 };
	pthread_t thread;

	filter(SYS_getppid, SECCOMP_RET_KILL_THREAD);
	for (unsigned int i = 0; i < count; i++) {
		if (i == 20)
			before = proc_size();
		if (!CHECK(!pthread_create(&thread, NULL, is_killed, NULL), "thread %u after others were killed", i))
			return;
		pthread_join(thread, NULL);
	}
	proc_check_growth(&before, "threads that were killed");
}

static void with_threads(unsigned int killed)
{
	pthread_t threads[20];

	CHECK_EQUAL(IN_CHILD(
		pthread_barrier_init(&barrier, NULL, 5);
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, sees_error, (void *)67);
		pthread_barrier_wait(&barrier);
		CHECK_EQUAL(filter_with(SECCOMP_FILTER_FLAG_TSYNC, SYS_getppid, ERROR(67)), 0, "TSYNC");
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		for (int i = 0; i < 20; i++)
			CHECK(!pthread_create(&threads[i], NULL, is_refused, (void *)67), "a thread under a filter");
		for (int i = 0; i < 20; i++)
			pthread_join(threads[i], NULL)
	), EXITED(0), "a filter for all threads");
	CHECK_EQUAL(IN_CHILD(
		pthread_barrier_init(&barrier, NULL, 2);
		pthread_create(&threads[0], NULL, goes_its_own_way, NULL);
		pthread_barrier_wait(&barrier);
		CHECK(filter_with(SECCOMP_FILTER_FLAG_TSYNC, SYS_getppid, ERROR(67)) > 0, "TSYNC past another filter");
		CHECK_ERRNO(filter_with(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, SYS_getppid,
					ERROR(67)), ESRCH, "TSYNC_ESRCH past another filter");
		CHECK(getppid() > 0, "a filter that was not installed");
		pthread_barrier_wait(&barrier);
		pthread_join(threads[0], NULL)
	), EXITED(0), "a filter that is not for all threads");
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, SECCOMP_RET_KILL_THREAD);
		pthread_create(&threads[0], NULL, is_killed, NULL);
		usleep(50000);
		syscall(SYS_exit_group, check_failures ? 1 : 45)
	), EXITED(45), "a thread that a filter kills");
	CHECK_EQUAL(IN_CHILD(many_killed(killed); syscall(SYS_exit_group, check_failures != 0)), EXITED(0),
		    "many of them");
}

/* ---- notifications ---- */

static void notifications(void)
{
	volatile int *listener = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct seccomp_notif notif;
	struct seccomp_notif_resp answer;
	long pidfd, fd;
	pid_t pid;

	if (getenv("EXPECT_CHECKED")) {		/* libdune asks nobody */
		CHECK_EQUAL(IN_CHILD(
			CHECK_ERRNO(filter_with(SECCOMP_FILTER_FLAG_NEW_LISTENER, SYS_getppid, ALLOW), EINVAL,
				    "a listener");
			filter(SYS_getppid, SECCOMP_RET_USER_NOTIF);
			CHECK_ERRNO(syscall(SYS_getppid), ENOSYS, "nobody listens")
		), EXITED(0), "without a listener");
		return;
	}
	*listener = 0;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int ret = filter_with(SECCOMP_FILTER_FLAG_NEW_LISTENER, SYS_getppid, SECCOMP_RET_USER_NOTIF);

		CHECK(ret > 0 && ret < 100, "a listener: %d", ret);
		*listener = ret;
		CHECK_EQUAL(syscall(SYS_getppid, 11, 22), 4711, "what the supervisor says");
		CHECK_ERRNO(syscall(SYS_getppid), 55, "the supervisor's error");
		CHECK_EQUAL(syscall(SYS_getppid), *(listener + 1), "what the supervisor lets pass");
		_exit(check_failures != 0);
	}
	*(listener + 1) = getpid();
	while (!*listener)
		usleep(1000);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, *listener, 0);
	CHECK(fd >= 0, "the listener of a child: %s", strerror(errno));
	for (int i = 0; i < 3 && fd >= 0; i++) {
		memset(&notif, 0, sizeof(notif));
		memset(&answer, 0, sizeof(answer));
		CHECK_EQUAL(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notif), 0, "SECCOMP_IOCTL_NOTIF_RECV");
		CHECK_EQUAL(notif.pid, pid, "who calls");
		CHECK_EQUAL(notif.data.nr, SYS_getppid, "what is called");
		if (!i)
			CHECK(notif.data.args[0] == 11 && notif.data.args[1] == 22, "the arguments");
		answer.id = notif.id;
		if (i == 0)
			answer.val = 4711;
		else if (i == 1)
			answer.error = -55;
		else
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		CHECK_EQUAL(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer), 0, "SECCOMP_IOCTL_NOTIF_SEND");
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a supervised process");
	close(fd);
	close(pidfd);
}

/* ---- installing ---- */

static void installing(void)
{
	static struct sock_filter many[4073];
	struct sock_filter zero_first[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		RETURN(ALLOW),
		RETURN(ERROR(99)),
	};
	struct sock_filter bad[] = { { 0xffff, 0, 0, 0 }, RETURN(ALLOW) };
	struct sock_fprog program = { 4073, many }, empty = { 0, many }, nowhere = { 2, (void *)8 };
	struct seccomp_notif_sizes sizes;
	unsigned int action = SECCOMP_RET_TRAP, unknown = 0x12340000;

	CHECK_EQUAL(prctl(PR_GET_SECCOMP), 0, "no filter");
	CHECK_EQUAL(IN_CHILD(
		many[0] = (struct sock_filter)RETURN(ALLOW);
		program.len = 1;
		CHECK_EQUAL(syscall(SYS_setresuid, 1000, 1000, 1000), 0, "setresuid");
		CHECK_EQUAL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0, "no_new_privs is not set");
		CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, &program), EACCES, "a filter without privileges");
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		CHECK_EQUAL(seccomp(SECCOMP_SET_MODE_FILTER, 0, &program), 0, "a filter with no_new_privs")
	), EXITED(0), "no_new_privs");
	CHECK_EQUAL(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action), 0, "SECCOMP_GET_ACTION_AVAIL");
	CHECK_ERRNO(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &unknown), EOPNOTSUPP, "an unknown action");
	if (getenv("EXPECT_CHECKED")) {
		CHECK_ERRNO(seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes), EINVAL, "SECCOMP_GET_NOTIF_SIZES");
	} else {
		CHECK_EQUAL(seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes), 0, "SECCOMP_GET_NOTIF_SIZES");
		CHECK_EQUAL(sizes.seccomp_notif, sizeof(struct seccomp_notif), "their sizes");
	}
	CHECK_ERRNO(seccomp(99, 0, NULL), EINVAL, "an unknown operation");
	CHECK_ERRNO(prctl(PR_SET_SECCOMP, 99, NULL), EINVAL, "an unknown mode");
	CHECK_ERRNO(install_with(0x80000000, zero_first, 3), EINVAL, "an unknown flag");
	CHECK_ERRNO(install_with(0, bad, 2), EINVAL, "an unknown instruction");
	CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, (void *)8), EFAULT, "a bad pointer");
	CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, &nowhere), EFAULT, "a bad pointer to instructions");
	CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, &empty), EINVAL, "no instructions");
	CHECK_ERRNO(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 8), EFAULT, "a bad pointer by prctl");
	CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_STRICT, 1, NULL), EINVAL, "strict mode with a flag");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(install_with(0, zero_first, 3), 0, "a filter that begins with a test of A");
		CHECK_EQUAL(prctl(PR_GET_SECCOMP), 2, "a filter")
	), EXITED(0), "A at the beginning of a filter");
	for (unsigned int i = 0; i < 4073; i++)
		many[i] = (struct sock_filter)RETURN(ALLOW);
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "a long filter by prctl");
		CHECK_ERRNO(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), EINVAL, "strict mode after a filter")
	), EXITED(0), "a long filter");
	CHECK_EQUAL(IN_CHILD(
		filter(SYS_getppid, ERROR(1));
		filter(SYS_getppid, ERROR(2));
		CHECK_ERRNO(syscall(SYS_getppid), 2, "the second filter");
		filter(SYS_getuid, ERROR(3));
		CHECK_ERRNO(syscall(SYS_getuid), 3, "the third filter");
		filter(SYS_seccomp, ERROR(4));
		CHECK_ERRNO(filter_with(0, SYS_getgid, ERROR(5)), 4, "a filter that a filter forbids")
	), EXITED(0), "filters upon filters");
}

static void strict(void)
{
	char byte = 0;
	int fds[2];

	CHECK_EQUAL(pipe(fds), 0, "pipe");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), 0, "strict mode");
		CHECK_EQUAL(write(fds[1], &byte, 1), 1, "write");
		CHECK_EQUAL(read(fds[0], &byte, 1), 1, "read");
		syscall(SYS_exit, check_failures ? 1 : 33)
	), EXITED(33), "strict mode");
	CHECK_EQUAL(IN_CHILD(seccomp(SECCOMP_SET_MODE_STRICT, 0, NULL); getppid()), SIGKILL, "strict mode: getppid");
	CHECK_EQUAL(IN_CHILD(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); syscall(SYS_exit_group, 0)), SIGKILL,
		    "strict mode: exit_group");
	CHECK_EQUAL(IN_CHILD(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); syscall(SYS_mmap, 0, 4096, 0, 0x22, -1, 0)),
		    SIGKILL, "strict mode: mmap");
	CHECK_EQUAL(IN_CHILD(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); syscall(SYS_rt_sigprocmask, 0, 0, 0, 8)),
		    SIGKILL, "strict mode: rt_sigprocmask");
	close(fds[0]);
	close(fds[1]);
}

/* ---- an attacker ---- */

/* libdune's, which it uses in user mode: the program can jump there too. */
extern long __dune_own_syscall(long nr, long a, long b, long c, long d);

static const int leaving[] = { SYS_write, SYS_exit_group, SYS_rt_sigaction, SYS_sigaltstack, -1 };

#define REFUSED(...)	CHECK_EQUAL(__dune_own_syscall(__VA_ARGS__), -68, #__VA_ARGS__)

/* Whatever libdune may do, the place where it does it is good for nothing else. */
static void attack(void)
{
	const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	read(file, &(char){ 0 }, 1);
	/* What passes with libdune's descriptor is of no use with a file in its place. */
	CHECK_ERRNO(syscall(SYS_lseek, file, 1L << 63, SEEK_SET), EINVAL, "a negative offset");
	CHECK_ERRNO(syscall(SYS_ioctl, file, 0xdd03, 0), ENOTTY, "DUNE_RUN of a file");
	if (!proc_inside)
		return;
	CHECK_EQUAL(IN_CHILD(uint64_t mask; filter_all_but(ERROR(68), leaving); dune_leave();
			     CHECK(!dune_in_dune_mode(), "the child has left"); CHECK_EQUAL(
				     __dune_own_syscall(SYS_rt_sigprocmask, 0, 0, (long)&mask, 8), 0, "rt_sigprocmask");
			     REFUSED(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY, 0);
			     REFUSED(SYS_open, (long)"/dev/null", O_RDONLY, 0, 0);
			     REFUSED(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
			     REFUSED(SYS_mprotect, (long)&mask & -4096, 4096, PROT_READ | PROT_WRITE, 0);
			     REFUSED(SYS_process_vm_readv, 1, 0, 0, 0); REFUSED(SYS_getpid, 0, 0, 0, 0);
			     REFUSED(SYS_kill, 1, 0, 0, 0); REFUSED(SYS_execve, (long)"/proc/self/exe", 0, 0, 0);
			     REFUSED(SYS_dup2, file, 600, 0, 0); for (int fd = 0; fd < 1100; fd++) {
				     REFUSED(SYS_lseek, fd, 0, SEEK_SET, 0);
				     REFUSED(SYS_lseek, fd, 1, SEEK_CUR, 0);
				     REFUSED(SYS_lseek, fd, 1L << 63, SEEK_CUR, 0);
				     REFUSED(SYS_ioctl, fd, 0x5401, (long)&mask, 0);
				     REFUSED(SYS_dup3, file, fd, 0, 0);
			     } REFUSED(SYS_lseek, file, 1L << 63, SEEK_SET, 0);
			     REFUSED(SYS_ioctl, file, 0xdd03, 0, 0);
			     syscall(SYS_exit_group, check_failures != 0)),
		    EXITED(0), "an attack");
	close(file);
}

int main(int argc, char **argv)
{
	if (argv[0][0] == 'x')
		return syscall(SYS_getppid) == -1 ? errno : 1;
	proc_begin(argc, argv);
	actions();
	libdunes_own();
	trapped();
	narrow();
	children();
	with_threads(argc > 2 ? atoi(argv[2]) : 300);
	notifications();
	installing();
	strict();
	attack();
	return check_result();
}
