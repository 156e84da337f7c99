// SPDX-License-Identifier: MIT
/*
 * Signals: what a handler sees and may change, on which stack and under which mask it runs, what
 * becomes of the call that it interrupts, and what of accesses that it repairs.
 */
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "proc.h"

static volatile sig_atomic_t seen, seen_signo, seen_code, seen_value, seen_pid;
static volatile unsigned long seen_addr, seen_sp, seen_rip;

static void set_handler(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	CHECK_EQUAL(sigaction(signo, &action, NULL), 0, "sigaction");
}

static void note(int signo, siginfo_t *info, void *context)
{
	(void)context;
	CHECK_WORLD("a handler");
	seen++;
	seen_signo = signo;
	seen_code = info->si_code;
	seen_value = info->si_value.sival_int;
	seen_pid = info->si_pid;
	seen_addr = (unsigned long)info->si_addr;
	seen_sp = (unsigned long)__builtin_frame_address(0);
}

/* ---- siginfo ---- */

static void origins(void)
{
	const union sigval value = { .sival_int = 4711 };
	struct sigaction action, last;

	set_handler(SIGUSR1, note, 0);
	seen = 0;
	kill(getpid(), SIGUSR1);
	CHECK_EQUAL(seen, 1, "kill: handlers run");
	CHECK_EQUAL(seen_code, SI_USER, "kill: si_code");
	CHECK_EQUAL(sigaction(SIGUSR1, NULL, &action), 0, "sigaction");
	CHECK(action.sa_sigaction == note && action.sa_flags & SA_SIGINFO, "the handler is another");
	action.sa_sigaction = NULL;
	CHECK_EQUAL(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 8), 0, "nothing to do");
	CHECK_EQUAL(sigaction(SIGUSR1, &action, &last), 0, "sigaction");
	CHECK(last.sa_sigaction == note, "the last handler is another");
	action = last;
	CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0, "sigaction");
	CHECK_EQUAL(seen_pid, getpid(), "kill: si_pid");
	raise(SIGUSR1);
	CHECK_EQUAL(seen_code, SI_TKILL, "raise: si_code");
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, 16, NULL, 8), EFAULT, "an action that cannot be read");
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, 16, 8), EFAULT, "an action that cannot be stored");
	CHECK_ERRNO(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL, "the action of no signal");
	sigqueue(getpid(), SIGUSR1, value);
	CHECK_EQUAL(seen_code, SI_QUEUE, "sigqueue: si_code");
	CHECK_EQUAL(seen_value, 4711, "sigqueue: si_value");
	CHECK_EQUAL(seen, 3, "handlers run");
}

/* ---- the registers in the context ---- */

static void change_registers(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	/* Little-endian CSGSFS, SS on top. */
	unsigned long segments = r[REG_CSGSFS];

	(void)signo;
	(void)info;
	seen = 1;
	CHECK_EQUAL(r[REG_R12], 0x1212, "r12");
	CHECK_EQUAL(r[REG_R15], 0x1515, "r15");
	CHECK_EQUAL(r[REG_RBX], 0xbbbb, "rbx");
	CHECK_EQUAL(r[REG_R8], 0x8888, "r8");
	CHECK_EQUAL(segments & 0xffff, 0x33, "cs");
	CHECK_EQUAL(segments >> 48, 0x2b, "ss");
	CHECK(uc->uc_mcontext.fpregs && uc->uc_mcontext.fpregs->_xmm[7].element[0] == 0x77777777, "xmm7");
	CHECK_EQUAL(*(unsigned char *)r[REG_RIP] == 0x0f, 1, "the instruction at RIP");
	r[REG_R12] = 0x2121;
	r[REG_RBX] = 0xcccc;
	uc->uc_mcontext.fpregs->_xmm[7].element[0] = 0x70707070;
	r[REG_RIP] += 2;
}

static void registers(void)
{
	unsigned long r12, rbx, r15;
	unsigned int xmm7;

	set_handler(SIGILL, change_registers, 0);
	seen = 0;
	__asm__ volatile("mov $0x1212, %%r12; mov $0x1515, %%r15; mov $0xbbbb, %%rbx; mov $0x8888, %%r8\n"
			 "mov $0x77777777, %%eax; movd %%eax, %%xmm7; ud2\n"
			 "mov %%r12, %0; mov %%rbx, %1; mov %%r15, %2; movd %%xmm7, %3"
			 : "=m"(r12), "=m"(rbx), "=m"(r15), "=m"(xmm7)
			 : : "rax", "rbx", "r8", "r12", "r15", "xmm7", "memory");
	CHECK_EQUAL(seen, 1, "ud2: handlers run");
	CHECK_EQUAL(r12, 0x2121, "r12 after the handler");
	CHECK_EQUAL(rbx, 0xcccc, "rbx after the handler");
	CHECK_EQUAL(r15, 0x1515, "r15 after the handler");
	CHECK_EQUAL(xmm7, 0x70707070, "xmm7 after the handler");
	signal(SIGILL, SIG_DFL);
}

/* A signal at any instruction leaves all registers as they were. */
static void unseen(void)
{
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { 0 };
	unsigned long rounds = 0, bad = 0;

	set_handler(SIGALRM, note, SA_RESTART);
	seen = 0;
	setitimer(ITIMER_REAL, &often, NULL);
	while (seen < 30 && rounds < 20000000) {
		unsigned long a = rounds, b = ~rounds, c = rounds * 3, d;
		double x = rounds;

		__asm__ volatile("lea (%1,%2), %3\n" : "+r"(a), "+r"(b), "+r"(c), "=r"(d));
		__asm__ volatile("" : "+x"(x));
		/* The red zone. */
		__asm__ volatile("mov %0, -8(%%rsp); mov %1, -120(%%rsp); pause; mov -8(%%rsp), %0; mov -120(%%rsp), %1"
				 : "+r"(a), "+r"(b) : : "memory");
		if (a != rounds || b != ~rounds || c != rounds * 3 || d != b + c || x != (double)rounds)
			bad++;
		rounds++;
		if (rounds % 64 == 0)
			syscall(SYS_getppid);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(seen >= 30, "only %d alarms", seen);
	CHECK_EQUAL(bad, 0, "rounds in which a register changed");
}

/* ---- stacks ---- */

static void on_stack(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	stack_t now;

	note(signo, info, context);
	CHECK_EQUAL(sigaltstack(NULL, &now), 0, "sigaltstack");
	CHECK(now.ss_flags & SS_ONSTACK, "the alternate stack is in use: %#x", now.ss_flags);
	CHECK_ERRNO(sigaltstack(&now, NULL), EPERM, "sigaltstack on it");
	CHECK_EQUAL(uc->uc_stack.ss_size, 65536, "uc_stack");
}

static sigjmp_buf back;

static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char space[4096];

	space[0] = depth;
	return depth < 100000000 ? recurse(depth + 1) + space[0] : 0;
}

static void overflow(int signo, siginfo_t *info, void *context)
{
	(void)context;
	(void)info;
	seen = signo;
	siglongjmp(back, 1);
}

static void *overflows(void *arg)
{
	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 };

	sigaltstack(&alt, NULL);
	seen = 0;
	if (!sigsetjmp(back, 1))
		recurse(0);
	CHECK_EQUAL(seen, SIGSEGV, "the signal of a stack that is too deep");
	alt.ss_flags = SS_DISABLE;
	sigaltstack(&alt, NULL);
	return arg;
}

static void stacks(void)
{
	static char stack[65536];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) }, old;
	pthread_t thread;

	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack");
	set_handler(SIGUSR2, on_stack, SA_ONSTACK);
	seen = 0;
	raise(SIGUSR2);
	CHECK_EQUAL(seen, 1, "handlers run on the alternate stack");
	CHECK(seen_sp - (unsigned long)stack < sizeof(stack), "the handler's stack");
	set_handler(SIGUSR2, note, 0);
	raise(SIGUSR2);
	CHECK(seen_sp - (unsigned long)stack >= sizeof(stack), "the handler's stack without SA_ONSTACK");
	CHECK_EQUAL(sigaltstack(NULL, &old), 0, "sigaltstack");
	CHECK(old.ss_sp == stack && !old.ss_flags && old.ss_size == sizeof(stack), "the alternate stack");
	alt.ss_size = 100;
	CHECK_ERRNO(sigaltstack(&alt, NULL), ENOMEM, "a small alternate stack");
	alt.ss_flags = SS_DISABLE;
	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack off");
	set_handler(SIGSEGV, overflow, SA_ONSTACK);
	pthread_create(&thread, NULL, overflows, NULL);
	pthread_join(thread, NULL);
	signal(SIGSEGV, SIG_DFL);
}

/* ---- masks ---- */

static volatile int depth, deepest;

static void nested(int signo, siginfo_t *info, void *context)
{
	sigset_t mask;

	(void)info;
	(void)context;
	if (++depth > deepest)
		deepest = depth;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(sigismember(&mask, signo), "signal %d is not blocked in its handler", signo);
	if (signo < SIGRTMIN + 5)
		raise(signo + 1);
	depth--;
	seen++;
}

static void again(int signo, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	seen++;
	if (seen < 5)
		raise(signo);
}

static void masks(void)
{
	sigset_t mask, now;
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO };

	for (int i = 0; i <= 5; i++)
		set_handler(SIGRTMIN + i, nested, 0);
	seen = 0;
	raise(SIGRTMIN);
	CHECK_EQUAL(seen, 6, "nested handlers");
	CHECK_EQUAL(deepest, 6, "how deep they were nested");
	set_handler(SIGUSR1, again, SA_NODEFER);
	seen = 0;
	raise(SIGUSR1);
	CHECK_EQUAL(seen, 5, "SA_NODEFER");
	set_handler(SIGUSR1, note, SA_RESETHAND);
	raise(SIGUSR1);
	CHECK_EQUAL(sigaction(SIGUSR1, NULL, &action), 0, "sigaction");
	CHECK(action.sa_handler == SIG_DFL, "SA_RESETHAND");

	set_handler(SIGUSR1, note, 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	seen = 0;
	raise(SIGUSR1);
	raise(SIGUSR1);
	CHECK_EQUAL(seen, 0, "a blocked signal");
	sigpending(&now);
	CHECK(sigismember(&now, SIGUSR1), "sigpending");
	sigemptyset(&mask);
	CHECK_ERRNO(sigsuspend(&mask), EINTR, "sigsuspend");
	CHECK_EQUAL(seen, 1, "sigsuspend: handlers run");
	sigprocmask(SIG_BLOCK, NULL, &now);
	CHECK(sigismember(&now, SIGUSR1), "the mask after sigsuspend");
	raise(SIGUSR1);
	CHECK_ERRNO(ppoll(NULL, 0, NULL, &mask), EINTR, "ppoll");
	CHECK_EQUAL(seen, 2, "ppoll: handlers run");
	raise(SIGUSR1);
	CHECK_ERRNO(pselect(0, NULL, NULL, NULL, NULL, &mask), EINTR, "pselect");
	CHECK_EQUAL(seen, 3, "pselect: handlers run");
	sigprocmask(SIG_BLOCK, NULL, &now);
	CHECK(sigismember(&now, SIGUSR1), "the mask after pselect");
	sigaddset(&mask, SIGUSR1);
	raise(SIGUSR1);
	CHECK_EQUAL(sigwaitinfo(&mask, NULL), SIGUSR1, "sigwaitinfo");
	raise(SIGUSR1);
	CHECK_EQUAL(seen, 3, "handlers run while blocked");
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	CHECK_EQUAL(seen, 4, "handlers run when unblocked");
}

/* ---- waiting under another mask ---- */

static volatile int usr2_blocked;

static void look_at_mask(int signo, siginfo_t *info, void *context)
{
	sigset_t mask;

	(void)signo;
	(void)info;
	(void)context;
	seen++;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	usr2_blocked = sigismember(&mask, SIGUSR2);
}

/* Newer than some headers. */
struct aio_mask {
	const sigset_t *mask;
	size_t size;
};

struct ring_mask {
	uint64_t mask;
	uint32_t size, pad;
	uint64_t ts;
};

#define NR_io_pgetevents	333
#define NR_io_uring_setup	425
#define NR_io_uring_enter	426
#define WAIT			1U
#define WITH_ARGUMENT		8U		/* IORING_ENTER_EXT_ARG, of 5.11; */
#define HAS_ARGUMENT		(1U << 8)	/* the feature */

/* The handler runs under the mask that the call gave, as of the others in masks(). */
static void check_waiting(long ret, const char *what)
{
	CHECK(ret == -1 && errno == EINTR, "%s: %ld, %s", what, ret, strerror(errno));
	CHECK(seen == 1 && usr2_blocked, "%s: %d handlers, the mask of the call was %sin force", what, seen,
	      usr2_blocked ? "" : "not ");
	seen = usr2_blocked = 0;
	raise(SIGUSR1);
}

static void waiting_masks(void)
{
	struct io_uring_params params = { 0 };
	sigset_t blocked, usr2;
	struct aio_mask aio = { &usr2, 8 };
	struct ring_mask ring = { (uintptr_t)&usr2, 8, 0, 0 };
	aio_context_t context = 0;
	struct io_event event;
	long fd;

	set_handler(SIGUSR1, look_at_mask, 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	seen = usr2_blocked = 0;
	raise(SIGUSR1);
	check_waiting(syscall(SYS_epoll_pwait, epoll_create1(0), &(struct epoll_event){ 0 }, 1, -1, &usr2, 8),
		      "epoll_pwait");
	if (getenv("EXPECT_CHECKED")) {		/* a checked program does not have it */
		CHECK_ERRNO(syscall(SYS_io_setup, 1, &context), ENOSYS, "io_setup of a checked program");
	} else {
		CHECK_EQUAL(syscall(SYS_io_setup, 1, &context), 0, "io_setup");
		check_waiting(syscall(NR_io_pgetevents, context, 1, 1, &event, NULL, &aio), "io_pgetevents");
		syscall(SYS_io_destroy, context);
	}
	fd = syscall(NR_io_uring_setup, 1, &params);
	if (fd >= 0) {
		check_waiting(syscall(NR_io_uring_enter, fd, 0, 1, WAIT, &usr2, 8), "io_uring_enter");
		if (params.features & HAS_ARGUMENT)
			check_waiting(syscall(NR_io_uring_enter, fd, 0, 1, WAIT | WITH_ARGUMENT, &ring, sizeof(ring)),
				      "io_uring_enter with an argument");
		close(fd);
	} else {
		CHECK(errno == ENOSYS || errno == EPERM, "io_uring_setup: %s", strerror(errno));
	}
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	set_handler(SIGUSR1, note, 0);
}

/* A signal that comes while its action is changed finds the old one or the new one: here death, or the handler. */
static void changed_at_once(void)
{
	const struct timespec ms = { 0, 1000000 };
	int lost = 0;

	for (int us = 1; us <= 600; us++) {
		const struct itimerval soon = { .it_value = { 0, us % 100 + 1 } };
		pid_t pid = fork();
		int status;

		if (!pid) {
			struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO };

			seen = 0;
			setitimer(ITIMER_REAL, &soon, NULL);
			for (volatile int spin = us / 100 * 7; spin > 0; spin--)
				;
			sigaction(SIGALRM, &action, NULL);
			for (int i = 0; i < 10 && !seen; i++)
				nanosleep(&ms, NULL);
			_exit(!seen);
		}
		status = proc_wait(pid);
		lost += WIFEXITED(status) && WEXITSTATUS(status);
	}
	CHECK_EQUAL(lost, 0, "signals lost while the action was changed");
}

/* ---- calls of the main thread that are interrupted ---- */

static void *interrupts(void *arg)
{
	pthread_t target = (pthread_t)arg;

	for (int i = 0; i < 3; i++) {
		proc_until_asleep(getpid());
		pthread_kill(target, SIGUSR1);
	}
	return NULL;
}

/* The third argument: the call is made again after the signal. */
static void *interrupts_and_writes(void *arg)
{
	pthread_t target = *(pthread_t *)((void **)arg)[0];
	int fd = (int)(long)((void **)arg)[1], before = seen;

	proc_until_asleep(getpid());
	pthread_kill(target, SIGUSR1);
	while (seen == before)
		sched_yield();
	if (((void **)arg)[2])
		proc_until_asleep(getpid());
	CHECK_EQUAL(write(fd, "x", 1), 1, "write");
	return NULL;
}

static void interrupted(void)
{
	pthread_t me = pthread_self(), thread;
	int ends[2];
	void *args[3] = { &me };
	struct timespec minute = { 60, 0 }, left = { 0, 0 };
	sigset_t usr1;
	char c;

	DIE_UNLESS(!pipe(ends), "pipe");
	args[1] = (void *)(long)ends[1];
	args[2] = "";
	set_handler(SIGUSR1, note, 0);
	seen = 0;
	pthread_create(&thread, NULL, interrupts, (void *)me);
	CHECK_ERRNO(read(ends[0], &c, 1), EINTR, "read without SA_RESTART");
	CHECK_EQUAL(seen, 1, "read: handlers run");
	CHECK_ERRNO(nanosleep(&minute, &left), EINTR, "nanosleep");
	CHECK(left.tv_sec > 0 && left.tv_sec < 60, "nanosleep: %ld s are left", left.tv_sec);
	CHECK_ERRNO(pause(), EINTR, "pause");
	pthread_join(thread, NULL);
	CHECK_EQUAL(seen, 3, "handlers run");

	set_handler(SIGUSR1, note, SA_RESTART);
	pthread_create(&thread, NULL, interrupts_and_writes, args);
	CHECK_EQUAL(read(ends[0], &c, 1), 1, "read with SA_RESTART");
	pthread_join(thread, NULL);
	CHECK_EQUAL(seen, 4, "handlers run");
	/* poll() is never restarted. */
	args[2] = NULL;
	pthread_create(&thread, NULL, interrupts_and_writes, args);
	CHECK_ERRNO(poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, 60000), EINTR, "poll with SA_RESTART");
	pthread_join(thread, NULL);
	CHECK_EQUAL(read(ends[0], &c, 1), 1, "read");
	/* A stop without a handler is not seen: nanosleep is continued by restart_syscall. */
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	raise(SIGUSR1);
	CHECK_EQUAL(read(signalfd(-1, &usr1, 0), &(struct signalfd_siginfo){ 0 }, sizeof(struct signalfd_siginfo)),
		    (long)sizeof(struct signalfd_siginfo), "signalfd");
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK_ERRNO(write(ends[1], "x", 1), EPIPE, "write to nobody");
	close(ends[1]);
}

static void stop_and_go(void)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct timespec some = { 0, 300000000 };

		_exit(nanosleep(&some, NULL) == 0 ? 70 : 71);
	}
	proc_until_asleep(pid);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGCONT);
	CHECK_EQUAL(proc_wait(pid), EXITED(70), "nanosleep over a stop");
}

/* ---- faults that are repaired ---- */

static char *page;

static void repair(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	note(signo, info, context);
	seen_rip = uc->uc_mcontext.gregs[REG_RIP];
	CHECK_EQUAL(uc->uc_mcontext.gregs[REG_TRAPNO], 14, "the trap number");
	CHECK_EQUAL(uc->uc_mcontext.gregs[REG_CR2], (long)info->si_addr, "cr2");
	mprotect((void *)((unsigned long)info->si_addr & -4096UL), 4096, PROT_READ | PROT_WRITE);
}

static void skip_to_rax(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	note(signo, info, context);
	uc->uc_mcontext.gregs[REG_RIP] = uc->uc_mcontext.gregs[REG_RAX];
}

/* The handler goes on at the label; a call may have left its return address below the red zone. */
#define ACCESS(instruction, address)							\
	__asm__ volatile("mov %%rsp, %%rbx; lea -128(%%rsp), %%rsp; lea 1f(%%rip), %%rax; "	\
			 instruction "; 1: mov %%rbx, %%rsp"				\
			 : : "r"(address) : "rax", "rbx", "rdx", "memory")

static void faults(void)
{
	char *far = mmap((void *)0x345600000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *file;

	page = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	set_handler(SIGSEGV, repair, 0);
	seen = 0;
	for (int i = 0; i < 20; i++) {
		page[5] = i;
		CHECK_EQUAL(page[5], i, "what was written after the repair");
		CHECK_EQUAL(seen, i + 1, "repairs");
		CHECK_EQUAL(seen_addr, (long)page + 5, "si_addr");
		CHECK_EQUAL(seen_code, SEGV_ACCERR, "si_code");
		mprotect(page, 4096, i % 2 ? PROT_NONE : PROT_READ);
	}
	set_handler(SIGSEGV, skip_to_rax, 0);
	seen = 0;
	ACCESS("mov (%0), %%dl", (char *)0);
	CHECK_EQUAL(seen, 1, "a null pointer");
	CHECK_EQUAL(seen_code, SEGV_MAPERR, "a null pointer: si_code");
	CHECK_EQUAL(seen_addr, 0, "a null pointer: si_addr");
	ACCESS("movb $1, (%0)", (char *)0x123456789000);
	CHECK_EQUAL(seen, 2, "nothing far and wide");
	CHECK_EQUAL(seen_code, SEGV_MAPERR, "nothing far and wide: si_code");
	CHECK_EQUAL(seen_addr, 0x123456789000, "nothing far and wide: si_addr");
	ACCESS("movb $1, (%0)", far + 0x10000);
	CHECK_EQUAL(seen_addr, (long)far + 0x10000, "nothing near by: si_addr");
	CHECK_EQUAL(seen_code, SEGV_MAPERR, "nothing near by: si_code");
	ACCESS("mov (%0), %%dl", (char *)0x8000000000000000);
	CHECK_EQUAL(seen_code, SI_KERNEL, "no canonical address: si_code");
	CHECK_EQUAL(seen, 4, "accesses refused");
	ACCESS("call *%0", page + 4096);
	CHECK_EQUAL(seen, 5, "accesses refused");
	ACCESS("call *%0", far);
	CHECK_EQUAL(seen_code, SEGV_ACCERR, "code in data: si_code");
	CHECK_EQUAL(seen_addr, (long)far, "code in data: si_addr");
	set_handler(SIGBUS, skip_to_rax, 0);
	file = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fileno(tmpfile()), 0);
	ACCESS("mov (%0), %%dl", file);
	CHECK_EQUAL(seen_signo, SIGBUS, "behind the end of a file");
	CHECK_EQUAL(seen_code, BUS_ADRERR, "behind the end of a file: si_code");
	CHECK_EQUAL(seen_addr, (long)file, "behind the end of a file: si_addr");
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

/* ---- jumping out ---- */

static void jump(int signo, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	siglongjmp(back, signo);
}

static void jumps(void)
{
	volatile int count = 0;
	volatile unsigned int *volatile nowhere = (void *)16;

	set_handler(SIGSEGV, jump, 0);
	set_handler(SIGUSR1, jump, 0);
	for (volatile int i = 0; i < 100; i++) {
		if (!sigsetjmp(back, 1)) {
			if (i % 2)
				raise(SIGUSR1);
			else
				*nowhere = 1;
			CHECK(false, "nothing jumped");
		} else {
			count++;
		}
	}
	CHECK_EQUAL(count, 100, "jumps out of handlers");
	signal(SIGSEGV, SIG_DFL);
}

/* ---- the end of a handler that was none ---- */

static void __attribute__((noinline)) return_from(unsigned long frame)
{
	__asm__ volatile("mov %0, %%rsp; syscall; ud2" : : "r"(frame), "a"(SYS_rt_sigreturn) : "memory");
	__builtin_unreachable();
}

static void bad_frames(void)
{
	const size_t page_size = sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, 2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 };
	/* Nothing there, not canonical, and one that ends in what is not readable. */
	const unsigned long frames[] = { 4096, 1UL << 62, (unsigned long)map + page_size - 8 };
	sigset_t segv;
	int status;

	CHECK_EQUAL(mprotect(map + page_size, page_size, PROT_NONE), 0, "mprotect");
	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack");
	sigemptyset(&segv);
	sigaddset(&segv, SIGSEGV);
	for (unsigned int i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		set_handler(SIGSEGV, overflow, SA_ONSTACK);
		seen = 0;
		if (!sigsetjmp(back, 1))
			return_from(frames[i]);
		CHECK_EQUAL(seen, SIGSEGV, "the signal of a bad frame");
		status = IN_CHILD(sigprocmask(SIG_BLOCK, &segv, NULL), return_from(frames[i]));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is blocked: %#x", status);
		signal(SIGSEGV, SIG_IGN);
		status = IN_CHILD(return_from(frames[i]));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is ignored: %#x", status);
		signal(SIGSEGV, SIG_DFL);
		status = IN_CHILD(return_from(frames[i]));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is not handled: %#x", status);
	}
	alt.ss_flags = SS_DISABLE;
	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack off");
	munmap(map, 2 * page_size);
	free(alt.ss_sp);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	origins();
	registers();
	unseen();
	stacks();
	masks();
	waiting_masks();
	changed_at_once();
	interrupted();
	stop_and_go();
	faults();
	jumps();
	bad_frames();
	return check_result();
}
