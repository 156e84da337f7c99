// SPDX-License-Identifier: MIT
/*
 * Where frames of signals go: many at once, on stacks that are too small for them or not there, and with addresses that
 * are none.  What they say of exceptions.  And what of a frame the kernel does not take back from a handler.
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

/* ---- frames that are changed ---- */

#define STRICT_SS	4UL	/* UC_STRICT_RESTORE_SS */
#define GOOD_CS		0x33
#define GOOD_SS		0x2b
#define TRAP_GP		13

static const struct {
	unsigned short cs, ss;
	bool strict;
	int refused;		/* the error code of the #GP, or -1 */
} selectors[] = {
	{ 0x33, 0x2b, true, -1 }, { 0x30, 0x28, true, -1 }, { 0x31, 0x2a, true, -1 },
	{ 0x33, 0, false, -1 }, { 0x33, 0x1234, false, -1 }, { 0x33, 0x10, false, -1 },
	{ 0, 0x2b, true, 0 }, { 3, 0x2b, true, 0 }, { 0x10, 0x2b, true, 0x10 }, { 0x13, 0x2b, true, 0x10 },
	{ 0x08, 0x2b, true, 0x08 }, { 0x2b, 0x2b, true, 0x28 }, { 0x7b, 0x2b, true, 0x78 },
	{ 0x60, 0x2b, true, 0x60 }, { 0x37, 0x2b, true, 0x34 }, { 0xfff8, 0x2b, true, 0xfff8 },
	{ 0x10, 0x2b, false, 0x10 }, { 0x10, 0x18, true, 0x10 },
	{ 0x33, 0, true, 0 }, { 0x33, 3, true, 0 }, { 0x33, 0x33, true, 0x30 }, { 0x33, 0x18, true, 0x18 },
	{ 0x33, 0x23, true, 0x20 }, { 0x33, 0x7b, true, 0x78 }, { 0x33, 0x2f, true, 0x2c },
};

static volatile unsigned int changed;
static volatile unsigned long refused_strict;
static volatile unsigned long refusals, refused_err, refused_trap, refused_selectors;

static void change_selectors(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;

	(void)signo;
	(void)info;
	CHECK_EQUAL(r[REG_CSGSFS] & 0xffff, GOOD_CS, "CS in a frame");
	CHECK_EQUAL((unsigned long)r[REG_CSGSFS] >> 48, GOOD_SS, "SS in a frame");
	CHECK(uc->uc_flags & STRICT_SS, "flags of a frame: %#lx", uc->uc_flags);
	if (!selectors[changed].strict)
		uc->uc_flags &= ~STRICT_SS;
	r[REG_CSGSFS] = selectors[changed].cs | (unsigned long)selectors[changed].ss << 48;
}

static void correct_selectors(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;

	(void)signo;
	refusals++;
	seen_code = info->si_code;
	refused_err = r[REG_ERR];
	refused_trap = r[REG_TRAPNO];
	refused_strict = uc->uc_flags & STRICT_SS;
	refused_selectors = (r[REG_CSGSFS] & 0xffff) | (unsigned long)r[REG_CSGSFS] >> 48 << 16;
	r[REG_CSGSFS] = GOOD_CS | (unsigned long)GOOD_SS << 48;
}

/* The kernel loads what a frame says, and the CPU refuses it: SIGSEGV, with the frame as it was. */
static void bad_selectors(void)
{
	const unsigned int n = sizeof(selectors) / sizeof(selectors[0]);
	int status;

	set_handler(SIGUSR1, change_selectors, 0);
	set_handler(SIGSEGV, correct_selectors, 0);
	for (changed = 0; changed < n; changed++) {
		const bool good = selectors[changed].refused < 0;
		const unsigned short cs = selectors[changed].cs | 3;
		unsigned long both = cs | (selectors[changed].ss | 3UL) << 16;

		refusals = 0;
		raise(SIGUSR1);
		CHECK(refusals == !good, "CS %#x, SS %#x in a frame: refused %lu times", selectors[changed].cs,
		      selectors[changed].ss, refusals);
		if (good || !refusals)
			continue;
		CHECK_EQUAL(seen_code, SI_KERNEL, "si_code of a refused frame");
		CHECK_EQUAL(refused_trap, TRAP_GP, "its exception");
		CHECK(refused_err == (unsigned long)selectors[changed].refused,
		      "CS %#x, SS %#x: error code %#lx, not %#x", selectors[changed].cs, selectors[changed].ss,
		      refused_err, selectors[changed].refused);
		CHECK_EQUAL(refused_selectors, both, "selectors in the frame of its signal");
		CHECK_EQUAL(refused_strict, cs == GOOD_CS ? STRICT_SS : 0, "flags of that frame");
	}
	changed = 8;
	signal(SIGSEGV, SIG_DFL);
	status = IN_CHILD(raise(SIGUSR1));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a refused frame, not handled: %#x", status);
}

static char stacks[2][65536];
static stack_t in_frame;

static void change_stack(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	((ucontext_t *)context)->uc_stack = in_frame;
}

/* What sigaltstack() would refuse changes nothing. */
static void bad_stacks(void)
{
	const struct {
		stack_t stack;
		bool taken;
	} tried[] = {
		{ { .ss_sp = stacks[1], .ss_size = sizeof(stacks[1]) }, true },
		{ { .ss_sp = stacks[1], .ss_size = sizeof(stacks[1]), .ss_flags = SS_ONSTACK }, true },
		{ { .ss_sp = stacks[1], .ss_size = 100 }, false },
		{ { .ss_sp = stacks[1], .ss_size = 2047 }, false },
		{ { .ss_sp = stacks[1], .ss_size = sizeof(stacks[1]), .ss_flags = 4 }, false },
		{ { .ss_sp = stacks[1], .ss_size = sizeof(stacks[1]), .ss_flags = SS_ONSTACK | SS_DISABLE }, false },
		{ { .ss_sp = stacks[1], .ss_size = 5, .ss_flags = SS_DISABLE }, true },
	};
	const stack_t first = { .ss_sp = stacks[0], .ss_size = sizeof(stacks[0]) }, none = { .ss_flags = SS_DISABLE };
	stack_t now;

	set_handler(SIGUSR1, change_stack, 0);
	for (unsigned int i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
		const stack_t *wanted = !tried[i].taken ? &first : tried[i].stack.ss_flags & SS_DISABLE ? &none :
					&tried[i].stack;

		CHECK_EQUAL(sigaltstack(&first, NULL), 0, "sigaltstack");
		in_frame = tried[i].stack;
		raise(SIGUSR1);
		CHECK_EQUAL(sigaltstack(NULL, &now), 0, "sigaltstack");
		CHECK(now.ss_sp == wanted->ss_sp && now.ss_size == wanted->ss_size &&
		      now.ss_flags == (wanted->ss_flags & ~SS_ONSTACK),
		      "alternate stack %u of a frame: now %p, %zu bytes, flags %#x", i, now.ss_sp, now.ss_size,
		      now.ss_flags);
	}
	sigaltstack(&none, NULL);
}

static void change_vectors(int signo, siginfo_t *info, void *context)
{
	(void)info;
	(void)signo;
	((ucontext_t *)context)->uc_mcontext.fpregs = (void *)in_frame.ss_sp;
}

/* A vector state that is nowhere, or the kernel's. */
static void bad_vectors(void)
{
	char *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *const places[] = { none, (void *)NOT_CANONICAL, (void *)-PAGE };

	set_handler(SIGUSR1, change_vectors, 0);
	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int status;

		in_frame.ss_sp = places[i];
		status = IN_CHILD(raise(SIGUSR1));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "vector state at %p: %#x", places[i], status);
		set_handler(SIGSEGV, jump, 0);
		seen_signo = 0;
		if (!sigsetjmp(back, 1))
			raise(SIGUSR1);
		CHECK_EQUAL(seen_signo, SIGSEGV, "the signal of a vector state that is nowhere");
		signal(SIGSEGV, SIG_DFL);
	}
	munmap(none, PAGE);
}

/* ---- what frames say of exceptions ---- */

#define ERROR_WRITE	2
#define ERROR_USER	4	/* which ring 0 does not have */
#define ERROR_FETCH	0x10
#define LAST_PAGE	0x7fffffffe000UL	/* of a process; behind it the kernel says that there is something */

static volatile unsigned long said_trap, said_error, said_address, said_rax;

static void listen(int signo, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	said_trap = r[REG_TRAPNO];
	said_error = r[REG_ERR] & ~ERROR_USER;
	said_address = r[REG_CR2];
	said_rax = r[REG_RAX];
	seen_code = info->si_code;
	if (signo != SIGUSR1)
		siglongjmp(back, 1);
}

static void check_said(unsigned long trap, unsigned long error, unsigned long address, const char *what)
{
	CHECK(said_trap == trap && said_error == error && said_address == address,
	      "%s: exception %lu, error %#lx, address %#lx, not %lu, %#lx, %#lx", what, said_trap, said_error,
	      said_address, trap, error, address);
	said_trap = 99;
}

static void *listen_in_thread(void *arg)
{
	raise(SIGUSR1);
	return arg;
}

/* A signal that is none's shows the last one, here and in what is made now. */
#define CHECK_EXCEPTION(trap, error, address, what, ...) do {					\
	pthread_t thread_;									\
												\
	if (!sigsetjmp(back, 1)) {								\
		__VA_ARGS__;									\
		CHECK(false, "%s: no exception", what);						\
	}											\
	check_said(trap, error, address, what);							\
	raise(SIGUSR1);										\
	check_said(trap, error, address, "a signal after " what);				\
	pthread_create(&thread_, NULL, listen_in_thread, NULL);					\
	pthread_join(thread_, NULL);								\
	check_said(trap, error, address, "a signal of a thread made after " what);		\
	CHECK_EQUAL(IN_CHILD(									\
		raise(SIGUSR1);									\
		check_said(trap, error, address, "a signal of a child made after " what)	\
	), EXITED(0), "a child");								\
} while (0)

static void call(unsigned long address)
{
	((void (*)(void))address)();
}

static void sigreturn_from(unsigned long stack)
{
	__asm__ volatile("mov %0, %%rsp; mov %1, %%eax; syscall; ud2" : : "r"(stack), "i"(SYS_rt_sigreturn)
			 : "rax", "rcx", "r11", "memory");
	__builtin_unreachable();
}

static void exceptions(void)
{
	static char alternate[65536];
	const stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const unsigned long page = (unsigned long)pages;

	*(volatile char *)pages = 0xf;
	mprotect(pages + PAGE, PAGE, PROT_NONE);
	munmap(pages + 2 * PAGE, PAGE);
	sigaltstack(&stack, NULL);
	set_handler(SIGSEGV, listen, SA_ONSTACK);
	set_handler(SIGILL, listen, SA_ONSTACK);
	set_handler(SIGFPE, listen, SA_ONSTACK);
	set_handler(SIGUSR1, listen, 0);
	CHECK_EXCEPTION(14, ERROR_WRITE, page + 2 * PAGE + 5, "a store to no page", pages[2 * PAGE + 5] = 1);
	CHECK_EXCEPTION(6, 0, page + 2 * PAGE + 5, "an undefined instruction", __asm__ volatile("ud2"));
	CHECK_EXCEPTION(0, 0, page + 2 * PAGE + 5, "a division",
			__asm__ volatile("div %%ecx" : : "a"(1), "d"(0), "c"(0) : "cc"));
	CHECK_EXCEPTION(14, ERROR_FETCH, page + PAGE, "a call into a closed page", call(page + PAGE));
	CHECK_EXCEPTION(14, ERROR_FETCH, page + 2 * PAGE, "a call of no page", call(page + 2 * PAGE));
	CHECK_EXCEPTION(14, ERROR_FETCH | 1, page, "a call of data", call(page));
	CHECK_EXCEPTION(14, ERROR_FETCH | 1, LAST_PAGE + PAGE, "a call behind the last page", call(LAST_PAGE + PAGE));
	CHECK_EXCEPTION(14, 1, LAST_PAGE + PAGE + 1, "a load from there", *(volatile char *)(LAST_PAGE + PAGE + 1));
	CHECK_EXCEPTION(13, 0, LAST_PAGE + PAGE + 1, "an address that is none",
			*(volatile char *)NOT_CANONICAL = 1);
	/* The kernel has no exception for this. */
	CHECK_EXCEPTION(13, 0, LAST_PAGE + PAGE + 1, "rt_sigreturn without a frame",
			said_rax = 1; sigreturn_from(page + 2 * PAGE));
	CHECK_EXCEPTION(6, 0, LAST_PAGE + PAGE + 1, "another", __asm__ volatile("ud2"));
	CHECK_EXCEPTION(6, 0, LAST_PAGE + PAGE + 1, "rt_sigreturn without a frame",
			said_rax = 1; sigreturn_from(page + 2 * PAGE));
	munmap(pages, 2 * PAGE);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	many();
	small_stack();
	no_stack();
	not_canonical();
	exceptions();
	bad_selectors();
	bad_stacks();
	bad_vectors();
	return check_result();
}
