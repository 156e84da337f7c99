// SPDX-License-Identifier: MIT
/*
 * System calls that wait, and what can happen to a thread meanwhile: the same result, registers, signals, stops and end
 * in each of the ways in which the call can be made.
 *
 *	calls-disturbed [precise] [N]	every Nth pair of a call and a disturbance only
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "patience.h"
#include "ways.h"

#define TRACING		"/sys/kernel/tracing/"
#define FROZEN		"/sys/fs/cgroup/calls-disturbed"
#define LIMIT		20	/* seconds for whatever must come */
#define ERRNO_OF_FILTER	77
#define RESULT_OF_TRACER 1234

/* ---- the call, with all registers ---- */

enum { RAX, RDI, RSI, RDX, R10, R8, R9, RBX, RBP, R12, R13, R14, R15, RCX, R11, NR_REGS };

/* void call_with(long *regs): SYSCALL with those registers, and what is in them then. */
void call_with(long *regs);
extern const char call_behind[] __attribute__((visibility("hidden")));

__asm__(".pushsection .text\n"
	".hidden call_behind\n"
	"call_with:\n"
	"	push	%rbx\n"
	"	push	%rbp\n"
	"	push	%r12\n"
	"	push	%r13\n"
	"	push	%r14\n"
	"	push	%r15\n"
	"	push	%rdi\n"
	"	mov	0(%rdi), %rax\n"
	"	mov	16(%rdi), %rsi\n"
	"	mov	24(%rdi), %rdx\n"
	"	mov	32(%rdi), %r10\n"
	"	mov	40(%rdi), %r8\n"
	"	mov	48(%rdi), %r9\n"
	"	mov	56(%rdi), %rbx\n"
	"	mov	64(%rdi), %rbp\n"
	"	mov	72(%rdi), %r12\n"
	"	mov	80(%rdi), %r13\n"
	"	mov	88(%rdi), %r14\n"
	"	mov	96(%rdi), %r15\n"
	"	mov	8(%rdi), %rdi\n"
	"	cmp	%rax, %rax\n"
	"	syscall\n"
	"call_behind:\n"
	"	push	%rdi\n"
	"	mov	8(%rsp), %rdi\n"
	"	mov	%rax, 0(%rdi)\n"
	"	mov	%rsi, 16(%rdi)\n"
	"	mov	%rdx, 24(%rdi)\n"
	"	mov	%r10, 32(%rdi)\n"
	"	mov	%r8, 40(%rdi)\n"
	"	mov	%r9, 48(%rdi)\n"
	"	mov	%rbx, 56(%rdi)\n"
	"	mov	%rbp, 64(%rdi)\n"
	"	mov	%r12, 72(%rdi)\n"
	"	mov	%r13, 80(%rdi)\n"
	"	mov	%r14, 88(%rdi)\n"
	"	mov	%r15, 96(%rdi)\n"
	"	mov	%rcx, 104(%rdi)\n"
	"	mov	%r11, 112(%rdi)\n"
	"	pop	%rax\n"
	"	mov	%rax, 8(%rdi)\n"
	"	pop	%rdi\n"
	"	pop	%r15\n"
	"	pop	%r14\n"
	"	pop	%r13\n"
	"	pop	%r12\n"
	"	pop	%rbp\n"
	"	pop	%rbx\n"
	"	ret\n"
	".popsection\n");

/* ---- what the process and its watcher share; at the same address in all ways ---- */

enum phase { STARTING, CALLING, DONE };
enum order { NOTHING, FILTER, EXECUTE, EXIT, CRASH };

static struct shared {
	volatile enum phase phase;
	volatile enum order order;
	volatile int obeyed, handled[65], handler_offset, pid, other_pid;
	volatile long handler_rax;
	long regs[NR_REGS], before[NR_REGS];
	/* What arguments point to. */
	volatile int word;
	char data[64];
	int status, length;
	struct iovec iov;
	struct msghdr msg;
	struct timespec time, rest;
	struct pollfd poll;
	struct epoll_event event;
	struct sockaddr_un name;
	struct flock lock;
	struct sembuf sem;
	struct { long type; char text[8]; } message;
	fd_set set;
	sigset_t mask;
	struct { const sigset_t *mask; size_t size; } masked;
	siginfo_t info;
} *s;

#define SHARED	((void *)0x7e0000000000)

/* Of a call: in order that they have the same numbers in all ways. */
enum { A = 50, B };

static int id = -1;		/* of what has one and no descriptor */

static void keep(int fd, int as)
{
	DIE_UNLESS(fd >= 0 && dup2(fd, as) == as, "a descriptor");
	close(fd);
}

static void set(long a, long b, long c, long d, long e, long f)
{
	s->regs[RDI] = a;
	s->regs[RSI] = b;
	s->regs[RDX] = c;
	s->regs[R10] = d;
	s->regs[R8] = e;
	s->regs[R9] = f;
}

/* ---- calls that wait: prepare() is the watcher's, own() the process's, wake() has it go on ---- */

static void make_pipe(void)
{
	int ends[2];

	DIE_UNLESS(!pipe(ends), "pipe");
	keep(ends[0], A);
	keep(ends[1], B);
}

static void fill(int fd)
{
	static const char zeroes[4096];

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, zeroes, sizeof(zeroes)) > 0)
		;
	fcntl(fd, F_SETFL, 0);
}

static void make_full_pipe(void)
{
	make_pipe();
	fill(B);
}

static void make_pair(void)
{
	int ends[2];

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	keep(ends[0], A);
	keep(ends[1], B);
}

static void make_full_pair(void)
{
	make_pair();
	fill(A);
}

static void wake_by_byte(void)
{
	CHECK_EQUAL(write(B, "x", 1), 1, "write");
}

static void wake_by_room(void)
{
	static char pages[1 << 20];
	int from = s->regs[RDI] == A ? B : A;

	fcntl(from, F_SETFL, O_NONBLOCK);
	while (read(from, pages, sizeof(pages)) > 0)
		;
}

static void own_read(void) { set(A, (long)s->data, 8, 0, 0, 0); }
static void own_write(void) { set(B, (long)s->data, 8, 0, 0, 0); }
static void own_vector(void)
{
	s->iov = (struct iovec){ s->data, 8 };
	set(A, (long)&s->iov, 1, 0, 0, 0);
}
static void own_poll(void)
{
	s->poll = (struct pollfd){ .fd = A, .events = POLLIN };
	set((long)&s->poll, 1, -1, 0, 0, 0);
}
static void own_poll_timed(void)
{
	own_poll();
	s->regs[RDX] = 1000000;
}
static void own_ppoll(void)
{
	own_poll();
	sigemptyset(&s->mask);
	s->time.tv_sec = 1000;
	set((long)&s->poll, 1, (long)&s->time, (long)&s->mask, 8, 0);
}
static void own_select(void)
{
	FD_ZERO(&s->set);
	FD_SET(A, &s->set);
	set(A + 1, (long)&s->set, 0, 0, 0, 0);
}
static void own_pselect(void)
{
	own_select();
	sigemptyset(&s->mask);
	s->masked.mask = &s->mask;
	s->masked.size = 8;
	s->regs[R9] = (long)&s->masked;
}
static void make_epoll(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0x123456789 };
	int fd = epoll_create1(0);

	make_pipe();
	epoll_ctl(fd, EPOLL_CTL_ADD, A, &event);
	/* The pipe stays at A as it was entered. */
	keep(fd, B + 1);
}
static void own_epoll(void)
{
	sigemptyset(&s->mask);
	set(B + 1, (long)&s->event, 1, -1, (long)&s->mask, 8);
}
static void own_futex(void) { set((long)&s->word, FUTEX_WAIT, 0, 0, 0, 0); }
static void own_futex_timed(void)
{
	s->time.tv_sec = 1000;
	set((long)&s->word, FUTEX_WAIT, 0, (long)&s->time, 0, 0);
}
static void own_futex_until(void)
{
	clock_gettime(CLOCK_MONOTONIC, &s->time);
	s->time.tv_sec += 1000;
	set((long)&s->word, FUTEX_WAIT_BITSET, 0, (long)&s->time, 0, ~0U);
}
static void wake_futex(void)
{
	s->word = 1;
	syscall(SYS_futex, &s->word, FUTEX_WAKE, 10, NULL, NULL, 0);
}
static void own_nanosleep(void)
{
	s->time.tv_sec = 1000;
	set((long)&s->time, (long)&s->rest, 0, 0, 0, 0);
}
static void own_clock_nanosleep(void)
{
	s->time.tv_sec = 1000;
	set(CLOCK_MONOTONIC, 0, (long)&s->time, (long)&s->rest, 0, 0);
}
static void own_clock_until(void)
{
	own_clock_nanosleep();
	clock_gettime(CLOCK_MONOTONIC, &s->time);
	s->time.tv_sec += 1000;
	s->regs[RSI] = TIMER_ABSTIME;
}
static void own_pause(void) { set(1, 2, 3, 4, 5, 6); }
static void own_sigsuspend(void)
{
	sigemptyset(&s->mask);
	set((long)&s->mask, 8, 0, 0, 0, 0);
}
static void own_sigtimedwait(void)
{
	sigemptyset(&s->mask);
	sigaddset(&s->mask, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &s->mask, NULL);
	set((long)&s->mask, (long)&s->info, 0, 8, 0, 0);
}
static void own_signalfd(void)
{
	own_sigtimedwait();
	keep(signalfd(-1, &s->mask, 0), B);
	set(B, (long)s->data, 64, 0, 0, 0);		/* too little: EINVAL at once would be no wait */
	s->regs[RSI] = (long)s + 2048;
	s->regs[RDX] = 128;
}
static void wake_sigtimedwait(void) { kill(s->pid, SIGRTMIN); }
static void own_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Other signals of the test go to the parent alone. */
		_exit(syscall(SYS_read, A, &c, 1) == 1 ? 5 : 6);
	}
	s->other_pid = pid;
	set(-1, (long)&s->status, 0, 0, 0, 0);
}
static void own_waitid(void)
{
	own_child();
	set(P_ALL, 0, (long)&s->info, WEXITED, 0, 0);
}
static void make_listener(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	s->name = (struct sockaddr_un){ AF_UNIX, "/tmp/calls-disturbed.socket" };
	unlink(s->name.sun_path);
	DIE_UNLESS(!bind(fd, (void *)&s->name, sizeof(s->name)) && !listen(fd, 0), "a listening socket");
	keep(fd, A);
}
static void own_accept(void) { set(A, 0, 0, 0, 0, 0); }
static void wake_accept(void)
{
	keep(socket(AF_UNIX, SOCK_STREAM, 0), B);
	CHECK_EQUAL(connect(B, (void *)&s->name, sizeof(s->name)), 0, "connect");
}
static void make_full_listener(void)
{
	make_listener();
	wake_accept();
	keep(socket(AF_UNIX, SOCK_STREAM, 0), B);
}
static void own_connect(void) { set(B, (long)&s->name, sizeof(s->name), 0, 0, 0); }
static void wake_connect(void) { close(accept(A, NULL, NULL)); }
static void own_recvfrom(void) { set(A, (long)s->data, 8, 0, 0, 0); }
static void own_recvmsg(void)
{
	own_vector();
	s->msg = (struct msghdr){ .msg_iov = &s->iov, .msg_iovlen = 1 };
	set(A, (long)&s->msg, 0, 0, 0, 0);
}
static void own_sendto(void) { set(A, (long)s->data, 8, 0, 0, 0); }
static void make_locked(void)
{
	keep(open("/tmp/calls-disturbed.lock", O_RDWR | O_CREAT, 0600), A);
	keep(open("/tmp/calls-disturbed.lock", O_RDWR), B);
	flock(B, LOCK_EX);
	s->lock = (struct flock){ .l_type = F_WRLCK };
	DIE_UNLESS(!fcntl(B, F_SETLK, &s->lock), "F_SETLK");
}
static void own_flock(void) { set(A, LOCK_EX, 0, 0, 0, 0); }
static void own_setlkw(void) { set(A, F_SETLKW, (long)&s->lock, 0, 0, 0); }
static void wake_locked(void)
{
	struct flock none = { .l_type = F_UNLCK };

	flock(B, LOCK_UN);
	fcntl(B, F_SETLK, &none);
}
static void make_semaphore(void) { id = semget(IPC_PRIVATE, 1, 0600); }
static void remove_semaphore(void) { semctl(id, 0, IPC_RMID); }
static void own_semop(void)
{
	s->sem = (struct sembuf){ .sem_op = -1 };
	set(id, (long)&s->sem, 1, 0, 0, 0);
}
static void own_semtimedop(void)
{
	own_semop();
	s->time.tv_sec = 1000;
	s->regs[R10] = (long)&s->time;
}
static void wake_semop(void)
{
	struct sembuf up = { .sem_op = 1 };

	CHECK_EQUAL(semop(id, &up, 1), 0, "semop");
}
static void make_queue(void) { id = msgget(IPC_PRIVATE, 0600); }
static void remove_queue(void) { msgctl(id, IPC_RMID, NULL); }
static void own_msgrcv(void) { set(id, (long)&s->message, 8, 0, 0, 0); }
static void wake_msgrcv(void)
{
	struct { long type; char text[8]; } message = { 3, "text" };

	CHECK_EQUAL(msgsnd(id, &message, 8, 0), 0, "msgsnd");
}
static void make_full_queue(void)
{
	struct { long type; char text[4096]; } message = { .type = 3 };

	make_queue();
	while (!msgsnd(id, &message, sizeof(message.text), IPC_NOWAIT))
		;
}
static void own_msgsnd(void)
{
	s->message.type = 1;
	set(id, (long)&s->message, 8, 0, 0, 0);
}
static void wake_msgsnd(void)
{
	struct { long type; char text[4096]; } message;

	CHECK_EQUAL(msgrcv(id, &message, sizeof(message.text), 0, 0), sizeof(message.text), "msgrcv");
}
static void make_eventfd(void) { keep(eventfd(0, 0), A); }
static void wake_eventfd(void)
{
	uint64_t one = 1;

	CHECK_EQUAL(write(A, &one, 8), 8, "write");
}
static void make_timerfd(void) { keep(timerfd_create(CLOCK_MONOTONIC, 0), A); }
static void wake_timerfd(void)
{
	struct itimerspec now = { .it_value.tv_nsec = 1 };

	CHECK_EQUAL(timerfd_settime(A, 0, &now, NULL), 0, "timerfd_settime");
}
static void make_fifo(void)
{
	unlink("/tmp/calls-disturbed.fifo");
	DIE_UNLESS(!mkfifo("/tmp/calls-disturbed.fifo", 0600), "mkfifo");
	strcpy(s->data, "/tmp/calls-disturbed.fifo");
}
static void own_open(void) { set((long)s->data, O_RDONLY, 0, 0, 0, 0); }
static void own_openat(void) { set(AT_FDCWD, (long)s->data, O_RDONLY, 0, 0, 0); }
static void wake_open(void) { keep(open("/tmp/calls-disturbed.fifo", O_RDWR | O_NONBLOCK), B); }

enum {
	PID	= 1 << 0,	/* its result is other_pid */
	FD	= 1 << 1,	/* its result is a new descriptor */
};

static const struct call {
	const char *name;
	int nr;
	void (*prepare)(void), (*own)(void), (*wake)(void), (*clean)(void);
	int flags;
} calls[] = {
	{ "read of a pipe", SYS_read, make_pipe, own_read, wake_by_byte, NULL, 0 },
	{ "write to a pipe", SYS_write, make_full_pipe, own_write, wake_by_room, NULL, 0 },
	{ "readv", SYS_readv, make_pair, own_vector, wake_by_byte, NULL, 0 },
	{ "poll", SYS_poll, make_pipe, own_poll, wake_by_byte, NULL, 0 },
	{ "poll with a timeout", SYS_poll, make_pipe, own_poll_timed, wake_by_byte, NULL, 0 },
	{ "ppoll", SYS_ppoll, make_pipe, own_ppoll, wake_by_byte, NULL, 0 },
	{ "select", SYS_select, make_pipe, own_select, wake_by_byte, NULL, 0 },
	{ "pselect6", SYS_pselect6, make_pipe, own_pselect, wake_by_byte, NULL, 0 },
	{ "epoll_wait", SYS_epoll_wait, make_epoll, own_epoll, wake_by_byte, NULL, 0 },
	{ "epoll_pwait", SYS_epoll_pwait, make_epoll, own_epoll, wake_by_byte, NULL, 0 },
	{ "futex", SYS_futex, NULL, own_futex, wake_futex, NULL, 0 },
	{ "futex with a timeout", SYS_futex, NULL, own_futex_timed, wake_futex, NULL, 0 },
	{ "futex until", SYS_futex, NULL, own_futex_until, wake_futex, NULL, 0 },
	{ "nanosleep", SYS_nanosleep, NULL, own_nanosleep, NULL, NULL, 0 },
	{ "clock_nanosleep", SYS_clock_nanosleep, NULL, own_clock_nanosleep, NULL, NULL, 0 },
	{ "clock_nanosleep until", SYS_clock_nanosleep, NULL, own_clock_until, NULL, NULL, 0 },
	{ "pause", SYS_pause, NULL, own_pause, NULL, NULL, 0 },
	{ "rt_sigsuspend", SYS_rt_sigsuspend, NULL, own_sigsuspend, NULL, NULL, 0 },
	{ "rt_sigtimedwait", SYS_rt_sigtimedwait, NULL, own_sigtimedwait, wake_sigtimedwait, NULL, 0 },
	{ "read of a signalfd", SYS_read, NULL, own_signalfd, wake_sigtimedwait, NULL, 0 },
	{ "wait4", SYS_wait4, make_pipe, own_child, wake_by_byte, NULL, PID },
	{ "waitid", SYS_waitid, make_pipe, own_waitid, wake_by_byte, NULL, 0 },
	{ "accept", SYS_accept, make_listener, own_accept, wake_accept, NULL, FD },
	{ "accept4", SYS_accept4, make_listener, own_accept, wake_accept, NULL, FD },
	{ "connect", SYS_connect, make_full_listener, own_connect, wake_connect, NULL, 0 },
	{ "recvfrom", SYS_recvfrom, make_pair, own_recvfrom, wake_by_byte, NULL, 0 },
	{ "recvmsg", SYS_recvmsg, make_pair, own_recvmsg, wake_by_byte, NULL, 0 },
	{ "sendto", SYS_sendto, make_full_pair, own_sendto, wake_by_room, NULL, 0 },
	{ "flock", SYS_flock, make_locked, own_flock, wake_locked, NULL, 0 },
	{ "fcntl of F_SETLKW", SYS_fcntl, make_locked, own_setlkw, wake_locked, NULL, 0 },
	{ "semop", SYS_semop, make_semaphore, own_semop, wake_semop, remove_semaphore, 0 },
	{ "semtimedop", SYS_semtimedop, make_semaphore, own_semtimedop, wake_semop, remove_semaphore, 0 },
	{ "msgrcv", SYS_msgrcv, make_queue, own_msgrcv, wake_msgrcv, remove_queue, 0 },
	{ "msgsnd", SYS_msgsnd, make_full_queue, own_msgsnd, wake_msgsnd, remove_queue, 0 },
	{ "read of an eventfd", SYS_read, make_eventfd, own_read, wake_eventfd, NULL, 0 },
	{ "read of a timerfd", SYS_read, make_timerfd, own_read, wake_timerfd, NULL, 0 },
	{ "open of a FIFO", SYS_open, make_fifo, own_open, wake_open, NULL, FD },
	{ "openat of a FIFO", SYS_openat, make_fifo, own_openat, wake_open, NULL, FD },
};

/* ---- the process ---- */

static void handler(int signo, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)info;
	s->handled[signo]++;
	s->handler_offset = r[REG_RIP] - (long)call_behind;
	s->handler_rax = r[REG_RAX] == s->other_pid && s->other_pid ? -1000 : r[REG_RAX];
}

static void set_filter(int nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, nr, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_restart_syscall, 0, 1),
		BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | ERRNO_OF_FILTER),
		BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	s->obeyed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) ? -errno : 1;
}

static char *self;

static void *other_thread(void *nr)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (s->order == NOTHING)
		usleep(1000);
	switch (s->order) {
	case FILTER:
		set_filter((intptr_t)nr);
		for (;;)
			pause();
	case EXECUTE:
		execl(self, self, "executed", NULL);
		_exit(99);
	case EXIT:
		_exit(34);
	default:
		__asm__ volatile("ud2");
	}
	return NULL;
}

static void process(const struct call *call, enum way way, bool threads)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct rlimit no_core = { 0, 0 };
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &no_core);
	way_enter(way);
	sigaction(SIGUSR2, &action, NULL);
	action.sa_flags |= SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	if (threads)
		DIE_UNLESS(!pthread_create(&thread, NULL, other_thread, (void *)(intptr_t)call->nr), "pthread_create");
	s->pid = getpid();
	for (int i = 0; i < NR_REGS; i++)
		s->regs[i] = 0x1111111111111 * i;
	call->own();
	s->regs[RAX] = call->nr;
	memcpy(s->before, s->regs, sizeof(s->before));
	s->phase = CALLING;
	call_with(s->regs);
	s->phase = DONE;
	_exit(7);
}

/* ---- what its watcher sees ---- */

static char text[2048];
static size_t length;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	length += vsnprintf(text + length, sizeof(text) - length, format, arguments);
	va_end(arguments);
	if (length >= sizeof(text))
		length = sizeof(text) - 1;
}

static bool read_text(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, to, size - 1);

	close(fd);
	to[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool write_text(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what);

	close(fd);
	return done;
}

static bool ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == pid;
}

/* What /proc/PID/syscall says, without the stack and the place: those are HR3's. */
static bool is_in_call(pid_t pid, int nr, char *line, size_t size)
{
	char path[64], status[512];
	long found;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!read_text(path, status, sizeof(status)) || !strstr(status, ") S "))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	if (!read_text(path, line, size) || sscanf(line, "%ld", &found) != 1)
		return false;
	if (found != nr && found != SYS_restart_syscall)
		return false;
	for (int i = 0; i < 2; i++)
		*strrchr(line, ' ') = '\0';
	return true;
}

/* Until the process sleeps in its call (true), is behind it, or has ended. */
static bool waits(pid_t pid, const struct call *call)
{
	double end = patience_seconds() + LIMIT;
	char line[256], before[256] = "";

	while (patience_seconds() < end) {
		if (s->phase == DONE || ended(pid))
			return false;
		if (s->phase == CALLING && is_in_call(pid, call->nr, line, sizeof(line))) {
			if (!strcmp(line, before)) {
				say("[in %s]", line);
				return true;
			}
			strcpy(before, line);
		}
		usleep(1000);
	}
	say("[neither waits nor ends]");
	return false;
}

/* Until it is behind its call, which it will be by itself. */
static void until_over(pid_t pid)
{
	double end = patience_seconds() + LIMIT;

	while (s->phase != DONE && !ended(pid) && patience_seconds() < end)
		usleep(500);
}

/* Has it end, if it does not by itself. */
static void finish(pid_t pid, const struct call *call)
{
	if (s->phase == DONE || ended(pid))
		return;
	if (call->wake)
		call->wake();
	else
		kill(pid, SIGUSR2);
}

static void say_end(pid_t pid, const struct call *call)
{
	double end = patience_seconds() + LIMIT;
	int status = -1;
	pid_t found;

	while ((found = waitpid(pid, &status, WNOHANG)) != pid && patience_seconds() < end)
		usleep(500);
	if (found != pid) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		say("[does not end]");
	}
	say("status %#x", status);
	if (s->phase == DONE) {
		long result = s->regs[RAX];

		if (call->flags & PID && result == s->other_pid)
			result = 1000000;
		say(", result %ld", result);
		for (int i = RDI; i < RCX; i++)
			if (s->regs[i] != s->before[i])
				say(", register %d %#lx", i, s->regs[i]);
		if (s->regs[RCX] != (long)call_behind)
			say(", rcx %#lx", s->regs[RCX]);
		say(", r11 %#lx, data %.8s, status %#x, rest %d, events %#x", s->regs[R11] & 0xcd5, s->data,
		    s->status, s->rest.tv_sec > 0, s->poll.revents);
	}
	for (int signo = 1; signo < 65; signo++)
		if (s->handled[signo])
			say(", signal %d handled %d times", signo, s->handled[signo]);
	if (s->handled[SIGUSR1] || s->handled[SIGUSR2])
		say(" at %d with %ld", s->handler_offset, s->handler_rax);
}

/* ---- disturbances; the process waits in its call ---- */

static void nothing(pid_t pid, const struct call *call)
{
	(void)pid;
	(void)call;
}

static void interrupt(pid_t pid, const struct call *call)
{
	(void)call;
	kill(pid, SIGUSR2);
	until_over(pid);
}

static void interrupt_and_restart(pid_t pid, const struct call *call)
{
	double end = patience_seconds() + LIMIT;

	for (int i = 1; i <= 2; i++) {
		kill(pid, SIGUSR1);
		while (s->handled[SIGUSR1] < i && s->phase != DONE && patience_seconds() < end)
			usleep(500);
		if (!waits(pid, call))
			return;
	}
}

static void ignored(pid_t pid, const struct call *call)
{
	kill(pid, SIGWINCH);
	waits(pid, call);
}

static void stop(pid_t pid, const struct call *call)
{
	siginfo_t info = { 0 };

	kill(pid, SIGSTOP);
	waitid(P_PID, pid, &info, WSTOPPED | WEXITED | WNOWAIT);
	say("[stopped: %d %d]", info.si_code, info.si_status);
	waitid(P_PID, pid, &info, WSTOPPED | WNOHANG);
	kill(pid, SIGCONT);
	waits(pid, call);
}

static void say_regs(pid_t pid, const char *what)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, pid, 0, &r))
		return;
	say("[%s: call %ld, rax %ld, %#llx %#llx %#llx %#llx %#llx %#llx]", what, (long)r.orig_rax,
	    (long)r.rax == s->other_pid && s->other_pid ? -1000 : (long)r.rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9);
}

static int stopped(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, __WALL);
	return status;
}

static void trace(pid_t pid)
{
	int status;

	CHECK_EQUAL(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD), 0, "PTRACE_SEIZE");
	CHECK_EQUAL(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0, "PTRACE_INTERRUPT");
	status = stopped(pid);
	say("[stop %#x]", status);
	say_regs(pid, "stop");
}

static void traced(pid_t pid, const struct call *call)
{
	trace(pid);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waits(pid, call);
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	say("[stop %#x]", stopped(pid));
	say_regs(pid, "again");
	ptrace(PTRACE_DETACH, pid, 0, 0);
	waits(pid, call);
}

static void changed_by_tracer(pid_t pid, const struct call *call)
{
	struct user_regs_struct r;

	(void)call;
	trace(pid);
	ptrace(PTRACE_GETREGS, pid, 0, &r);
	r.orig_rax = -1;
	r.rax = RESULT_OF_TRACER;
	CHECK_EQUAL(ptrace(PTRACE_SETREGS, pid, 0, &r), 0, "PTRACE_SETREGS");
	ptrace(PTRACE_DETACH, pid, 0, 0);
	until_over(pid);
}

/* The stops of this call, which is being made when they are switched on. */
static void traced_calls(pid_t pid, const struct call *call)
{
	bool woken = false;
	int signo = 0;

	trace(pid);
	for (int stops = 0; stops < 2;) {
		struct user_regs_struct r;
		int status;

		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		if (stops == 1 && !woken) {
			waits(pid, call);
			finish(pid, call);
			woken = true;
		}
		status = stopped(pid);
		if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, pid, 0, &r))
			return;
		if (WSTOPSIG(status) == SIGUSR2 || WSTOPSIG(status) == SIGRTMIN) {
			signo = WSTOPSIG(status);
			break;
		}
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
		    ((int)r.orig_rax != call->nr && r.orig_rax != SYS_restart_syscall))
			continue;
		say_regs(pid, stops ? "exit" : "entry");
		stops++;
	}
	ptrace(PTRACE_DETACH, pid, 0, signo);
	if (woken)
		until_over(pid);
}

static bool obeys(enum order order)
{
	double end = patience_seconds() + LIMIT;

	s->order = order;
	while (!s->obeyed && patience_seconds() < end)
		usleep(500);
	return s->obeyed == 1;
}

static void filtered(pid_t pid, const struct call *call)
{
	CHECK(obeys(FILTER), "seccomp: %d", s->obeyed);
	waits(pid, call);
	interrupt_and_restart(pid, call);
}

static void trace_point(pid_t pid, const struct call *call)
{
	char mark[64], line[512];
	long result = 0;
	int found = 0;
	FILE *file;

	CHECK(write_text(TRACING "trace", "\n"), "trace");
	CHECK(write_text(TRACING "events/raw_syscalls/sys_exit/enable", "1"), "sys_exit");
	waits(pid, call);
	finish(pid, call);
	until_over(pid);
	CHECK(write_text(TRACING "events/raw_syscalls/sys_exit/enable", "0"), "sys_exit");
	file = fopen(TRACING "trace", "re");
	DIE_UNLESS(file, "trace");
	snprintf(mark, sizeof(mark), "-%d ", pid);
	while (fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, "sys_exit: NR ");
		int nr;

		if (at && strstr(line, mark) && sscanf(at, "sys_exit: NR %d = %ld", &nr, &result) == 2 &&
		    nr == call->nr && !found++)
			say("[sys_exit %d: %ld]", nr, result == s->other_pid && result ? -1000 : result);
	}
	fclose(file);
	say("[%d]", found);
}

static void freeze(pid_t pid, const struct call *call)
{
	double end = patience_seconds() + LIMIT;
	char number[16], events[256] = "";

	snprintf(number, sizeof(number), "%d", pid);
	CHECK(write_text(FROZEN "/cgroup.procs", number) && write_text(FROZEN "/cgroup.freeze", "1"), "a freezer");
	while (!strstr(events, "frozen 1") && patience_seconds() < end) {
		usleep(500);
		read_text(FROZEN "/cgroup.events", events, sizeof(events));
	}
	say("[%s]", strstr(events, "frozen 1") ? "frozen" : "not frozen");
	write_text(FROZEN "/cgroup.freeze", "0");
	waits(pid, call);
}

static void frozen_and_interrupted(pid_t pid, const struct call *call)
{
	CHECK(write_text(FROZEN "/cgroup.freeze", "1"), "a freezer");
	freeze(pid, call);
	kill(pid, SIGUSR1);
	while (!s->handled[SIGUSR1] && s->phase != DONE && !ended(pid))
		usleep(500);
	waits(pid, call);
}

static void order(pid_t pid, const struct call *call, enum order order)
{
	(void)call;
	s->order = order;
	while (!ended(pid))
		usleep(500);
}

static void execute(pid_t pid, const struct call *call) { order(pid, call, EXECUTE); }
static void exit_group(pid_t pid, const struct call *call) { order(pid, call, EXIT); }
static void crash(pid_t pid, const struct call *call) { order(pid, call, CRASH); }

static void kill_it(pid_t pid, const struct call *call)
{
	(void)call;
	kill(pid, SIGKILL);
	while (!ended(pid))
		usleep(500);
}

static const struct disturbance {
	const char *name;
	void (*make)(pid_t pid, const struct call *call);
	bool threads;
} disturbances[] = {
	{ "nothing", nothing, false },
	{ "a signal", interrupt, false },
	{ "signals with SA_RESTART", interrupt_and_restart, false },
	{ "a signal that is ignored", ignored, false },
	{ "SIGSTOP and SIGCONT", stop, false },
	{ "a tracer", traced, false },
	{ "a tracer that changes the result", changed_by_tracer, false },
	{ "a tracer of calls", traced_calls, false },
	{ "a seccomp filter", filtered, true },
	{ "a tracepoint", trace_point, false },
	{ "the freezer", freeze, false },
	{ "the freezer and a signal", frozen_and_interrupted, false },
	{ "execve() by another thread", execute, true },
	{ "exit_group() by another thread", exit_group, true },
	{ "a fatal signal in another thread", crash, true },
	{ "SIGKILL", kill_it, false },
};

#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))
#define NR_DISTURBANCES	(sizeof(disturbances) / sizeof(disturbances[0]))

static void try(const struct call *call, const struct disturbance *disturbance, enum way way)
{
	pid_t pid;

	length = 0;
	memset(s, 0, sizeof(*s));
	/* The first semaphore and queue in a new namespace have the same number each time. */
	DIE_UNLESS(!unshare(CLONE_NEWIPC), "unshare");
	if (call->prepare)
		call->prepare();
	fflush(stdout);
	pid = fork();
	if (!pid)
		process(call, way, disturbance->threads);
	if (waits(pid, call))
		disturbance->make(pid, call);
	else
		say("[no wait]");
	finish(pid, call);
	say_end(pid, call);
	if (call->clean)
		call->clean();
	for (int fd = A; fd < A + 5; fd++)
		close(fd);
}

int main(int argc, char **argv)
{
	unsigned int each = 1, tried = 0;
	unsigned long made;
	char before[2], first[sizeof(text)];

	if (argc > 1 && !strcmp(argv[1], "executed"))
		return 33;
	if (argc > 1 + mode_precise)
		each = atoi(argv[1 + mode_precise]);
	self = argv[0];
	module_get_parameter("calls", before);
	mkdir(FROZEN, 0755);
	s = mmap(SHARED, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	DIE_UNLESS(s == SHARED, "mmap");
	for (unsigned int i = 0; i < NR_CALLS * NR_DISTURBANCES; i += each) {
		const struct call *call = &calls[i / NR_DISTURBANCES];
		const struct disturbance *disturbance = &disturbances[i % NR_DISTURBANCES];

		for (enum way way = WAY_OUTSIDE; way < WAYS; way++) {
			way_choose(way);
			made = module_counter("calls");
			try(call, disturbance, way);
			if (way == WAY_OUTSIDE)
				strcpy(first, text);
			else
				CHECK(!strcmp(first, text), "%s, disturbed by %s, %s:\n  %s\noutside:\n  %s",
				      call->name, disturbance->name, way_names[way], text, first);
			made = module_counter("calls") - made;
			CHECK(way != WAY_INSIDE || made, "%s: no call is made inside", call->name);
		}
		tried++;
	}
	rmdir(FROZEN);
	module_set_parameter("calls", before);
	printf("%u pairs of a call and a disturbance\n", tried);
	return check_result();
}
