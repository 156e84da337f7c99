// SPDX-License-Identifier: MIT
/*
 * Where frames of signals go: many at once, on stacks that are too small for them or not there, and with addresses that
 * are none.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "proc.h"

#define MANY		400
#define PAGE		4096
#define NOT_CANONICAL	(1UL << 62)

static volatile sig_atomic_t seen, seen_signo, seen_code;
static sigjmp_buf back;

static void set_handler(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	CHECK_EQUAL(sigaction(signo, &action, NULL), 0, "sigaction");
}

static void note(int signo, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	(void)signo;
	CHECK_WORLD("a handler");
	seen++;
}

static void jump(int signo, siginfo_t *info, void *context)
{
	(void)context;
	CHECK_WORLD("a handler");
	seen_signo = signo;
	seen_code = info->si_code;
	siglongjmp(back, 1);
}

/* Each is unblocked before the handler of the one before has begun. */
static void many(void)
{
	sigset_t mask;

	set_handler(SIGRTMIN, note, SA_NODEFER);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	seen = 0;
	for (int i = 0; i < MANY; i++)
		CHECK_EQUAL(sigqueue(getpid(), SIGRTMIN, (union sigval){ 0 }), 0, "sigqueue");
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	CHECK_EQUAL(seen, MANY, "handlers of signals that came at once");
}

/* ---- stacks ---- */

static void itself(int signo, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (seen++ == MANY)
		_exit(1);
	raise(signo);
}

/* What does not fit into the alternate stack is SIGSEGV, and nothing is written below it. */
static void small_stack(void)
{
	char *shared = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stack_t alt = { .ss_sp = shared + 2 * PAGE, .ss_size = PAGE };
	unsigned long written = 0;
	int status;

	memset(shared, 0x5a, 2 * PAGE);
	seen = 0;
	set_handler(SIGUSR1, itself, SA_ONSTACK | SA_NODEFER);
	status = IN_CHILD(sigaltstack(&alt, NULL), raise(SIGUSR1));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "an alternate stack that is full: %#x", status);
	for (unsigned int i = 0; i < 2 * PAGE; i++)
		written += shared[i] != 0x5a;
	CHECK_EQUAL(written, 0, "bytes written below the alternate stack");
	munmap(shared, 3 * PAGE);
}

static void __attribute__((noinline)) kill_on(unsigned long stack, int signo)
{
	long pid = getpid(), tid = syscall(SYS_gettid);

	__asm__ volatile("mov %%rsp, %%rbx; mov %4, %%rsp; syscall; mov %%rbx, %%rsp"
			 : : "a"(SYS_tgkill), "D"(pid), "S"(tid), "d"((long)signo), "r"(stack)
			 : "rbx", "rcx", "r11", "memory");
}

/* The frame cannot be written: SIGSEGV, which may be handled on another stack. */
static void no_stack(void)
{
	char *none = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const unsigned long stacks[] = { (unsigned long)none + 2 * PAGE, 2 * PAGE, NOT_CANONICAL };
	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 };
	sigset_t segv, now;
	int status;

	sigemptyset(&segv);
	sigaddset(&segv, SIGSEGV);
	set_handler(SIGUSR1, note, 0);
	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack");
	for (unsigned int i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
		set_handler(SIGSEGV, jump, SA_ONSTACK);
		seen = seen_signo = 0;
		if (!sigsetjmp(back, 1))
			kill_on(stacks[i], SIGUSR1);
		CHECK_EQUAL(seen, 0, "handlers without a stack");
		CHECK_EQUAL(seen_signo, SIGSEGV, "the signal of a frame that cannot be written");
		CHECK_EQUAL(seen_code, SI_KERNEL, "its si_code");
		sigprocmask(SIG_BLOCK, NULL, &now);
		CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2), "signals stay blocked");
		status = IN_CHILD(sigprocmask(SIG_BLOCK, &segv, NULL), kill_on(stacks[i], SIGUSR1));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is blocked: %#x", status);
		set_handler(SIGSEGV, jump, 0);
		status = IN_CHILD(if (!sigsetjmp(back, 1)) kill_on(stacks[i], SIGUSR1));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it has no stack either: %#x", status);
		status = IN_CHILD(if (!sigsetjmp(back, 1)) kill_on(stacks[i], SIGSEGV));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is the one that has none: %#x", status);
		signal(SIGSEGV, SIG_DFL);
		status = IN_CHILD(kill_on(stacks[i], SIGUSR1));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is not handled: %#x", status);
	}
	alt.ss_flags = SS_DISABLE;
	CHECK_EQUAL(sigaltstack(&alt, NULL), 0, "sigaltstack off");
	munmap(none, 2 * PAGE);
}

/* ---- addresses ---- */

static void return_nowhere(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)signo;
	(void)info;
	seen++;
	uc->uc_mcontext.gregs[REG_RIP] = NOT_CANONICAL;
}

static void not_canonical(void)
{
	int status;

	set_handler(SIGSEGV, jump, 0);
	set_handler(SIGUSR1, (void (*)(int, siginfo_t *, void *))NOT_CANONICAL, 0);
	for (int i = 0; i < 2; i++) {
		seen = seen_signo = 0;
		if (!sigsetjmp(back, 1))
			raise(SIGUSR1);
		CHECK_EQUAL(seen, i, "handlers run");
		CHECK_EQUAL(seen_signo, SIGSEGV, "the signal of an address that is none");
		CHECK_EQUAL(seen_code, SI_KERNEL, "its si_code");
		set_handler(SIGUSR1, return_nowhere, 0);
	}
	signal(SIGSEGV, SIG_DFL);
	status = IN_CHILD(raise(SIGUSR1));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "it is not handled: %#x", status);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	many();
	small_stack();
	no_stack();
	not_canonical();
	return check_result();
}
