// SPDX-License-Identifier: MIT
/*
 * A signal at every instruction of the way of a system call, there and back, as far as a tracer can step it: in Dune
 * mode that is all of HR3's. The handler sees the program's own registers, before the call or behind it, and the call
 * goes on as it does outside.
 */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <time.h>
#include <ucontext.h>

#include "proc.h"

#define STEPS_MAX	20000
#define FIRST		60	/* so many instructions are tried one by one, ... */
#define STRIDE		13	/* ... and of the others each of so many, which the rounds share */

/* CF, PF, AF, ZF, SF, IF, DF, OF: none of them is what the C code has. */
#define FLAGS		0xed7UL
#define FLAGS_SEEN	0xcd5UL

/* What way_of_call() loads, and what it finds behind the call. */
struct registers {
	unsigned long rax, rdi, rsi, rdx, r10, r8, r9;
	unsigned long rbx, rbp, r12, r13, r14, r15;
	unsigned long rsp, rflags, rcx, r11;
};

struct registers given, found;
extern const char way_before[], way_after[];
void way_of_call(void);

#define LOAD(name, offset)	"mov given+" #offset "(%rip), %" #name "\n\t"
#define STORE(name, offset)	"mov %" #name ", found+" #offset "(%rip)\n\t"
#define REGISTERS(X)	X(rdi, 8) X(rsi, 16) X(rdx, 24) X(r10, 32) X(r8, 40) X(r9, 48) X(rbx, 56) X(rbp, 64) \
			X(r12, 72) X(r13, 80) X(r14, 88) X(r15, 96)

_Static_assert(offsetof(struct registers, r15) == 96 && offsetof(struct registers, r11) == 128, "as the code has it");

__asm__(".pushsection .text\n"
	".globl way_of_call, way_before, way_after\n"
	".type way_of_call, @function\n"
	"way_of_call:\n\t"
	"push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
	REGISTERS(LOAD)
	"mov %rsp, given+104(%rip)\n\t"
	/* No POPF: a step over it leaves TF set outside. */
	"mov $0x7f, %al\n\tadd $1, %al\n\tstd\n\tmov $0xd7, %ah\n\tsahf\n\t"
	"mov given(%rip), %rax\n"
	"way_before:\n\t"
	"syscall\n"
	"way_after:\n\t"
	STORE(rax, 0)
	"pushfq\n\t"
	"popq found+112(%rip)\n\t"
	"cld\n\t"
	REGISTERS(STORE)
	STORE(rsp, 104)
	STORE(rcx, 120)
	STORE(r11, 128)
	"pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\t"
	"ret\n\t"
	".size way_of_call, . - way_of_call\n"
	".popsection\n");

enum outcome { VALUE, EINTR_ONLY, ZERO_OR_EINTR };

static const struct {
	const char *name;
	long nr;
	enum outcome outcome;
} calls[] = {
	{ "getpid", SYS_getpid, VALUE },
	{ "read", SYS_read, VALUE },
	{ "nanosleep", SYS_nanosleep, ZERO_OR_EINTR },
	{ "rt_sigprocmask", SYS_rt_sigprocmask, VALUE },
	{ "rt_sigaction", SYS_rt_sigaction, VALUE },
	{ "pause", SYS_pause, EINTR_ONLY },
};
#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))

/* Between the two processes. */
static struct {
	volatile unsigned int handled, at_before, at_after, failures;
	volatile bool last;
} *shared;

static int data[2];
static unsigned int call;

static long expected(void)
{
	switch (calls[call].nr) {
	case SYS_getpid:
		return getpid();
	case SYS_read:
		return 1;
	}
	return 0;
}

static bool is_expected(long value)
{
	if (calls[call].outcome != VALUE && value == -EINTR)
		return true;
	return calls[call].outcome != EINTR_ONLY && value == expected();
}

static void handle(int signo, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned long rip = r[REG_RIP], rax = r[REG_RAX];

	(void)signo;
	CHECK_WORLD("a handler");
	CHECK(info->si_code == SI_USER, "si_code %d", info->si_code);
	shared->handled++;
	CHECK((r[REG_CSGSFS] & 0xffff) == 0x33 || (proc_inside && !getenv("EXPECT_RING3")), "CS %#llx",
	      r[REG_CSGSFS] & 0xffff);
	if (rip != (unsigned long)way_before && rip != (unsigned long)way_after)
		return;
	CHECK((unsigned long)r[REG_RDI] == given.rdi && (unsigned long)r[REG_RSI] == given.rsi &&
	      (unsigned long)r[REG_RDX] == given.rdx && (unsigned long)r[REG_R10] == given.r10 &&
	      (unsigned long)r[REG_R8] == given.r8 && (unsigned long)r[REG_R9] == given.r9 &&
	      (unsigned long)r[REG_RBX] == given.rbx && (unsigned long)r[REG_RBP] == given.rbp &&
	      (unsigned long)r[REG_R12] == given.r12 && (unsigned long)r[REG_R13] == given.r13 &&
	      (unsigned long)r[REG_R14] == given.r14 && (unsigned long)r[REG_R15] == given.r15 &&
	      (unsigned long)r[REG_RSP] == given.rsp, "%s: a handler sees another register", calls[call].name);
	CHECK(((unsigned long)r[REG_EFL] & (FLAGS_SEEN | 0x100)) == (FLAGS & FLAGS_SEEN), "%s: RFLAGS %#llx",
	      calls[call].name, r[REG_EFL]);
	if (rip == (unsigned long)way_before) {
		shared->at_before++;
		CHECK_EQUAL(rax, calls[call].nr, "RAX before the call");
	} else {
		shared->at_after++;
		CHECK(is_expected(rax), "%s: RAX behind it: %ld", calls[call].name, (long)rax);
		CHECK_EQUAL(r[REG_RCX], (long)way_after, "RCX behind the call");
		CHECK(((unsigned long)r[REG_R11] & FLAGS_SEEN) == (FLAGS & FLAGS_SEEN), "R11 behind the call: %#llx",
		      r[REG_R11]);
	}
}

static void prepare(void)
{
	static struct timespec moment = { 0, 1000000 }, rest;
	static sigset_t old;
	static char byte;
	static unsigned char action[64];

	memset(&found, 0, sizeof(found));
	given = (struct registers){
		.rax = calls[call].nr, .rdi = 1, .rsi = 2, .rdx = 3, .r10 = 4, .r8 = 5, .r9 = 6,
		.rbx = 0x1111111111111111, .rbp = 0x2222222222222222, .r12 = 0x3333333333333333,
		.r13 = 0x4444444444444444, .r14 = 0x5555555555555555, .r15 = 0x6666666666666666, .rflags = FLAGS,
	};
	switch (calls[call].nr) {
	case SYS_read:
		CHECK_EQUAL(write(data[1], "x", 1), 1, "write");
		given.rdi = data[0];
		given.rsi = (unsigned long)&byte;
		given.rdx = 1;
		break;
	case SYS_nanosleep:
		given.rdi = (unsigned long)&moment;
		given.rsi = (unsigned long)&rest;
		break;
	case SYS_rt_sigprocmask:
		given.rdi = SIG_BLOCK;
		given.rsi = 0;
		given.rdx = (unsigned long)&old;
		given.r10 = 8;
		break;
	case SYS_rt_sigaction:
		given.rdi = SIGUSR2;
		given.rsi = 0;
		given.rdx = (unsigned long)action;
		given.r10 = 8;
		break;
	}
}

/* The tracee: one call for each stop. */
static void makes_calls(void)
{
	const struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART };

	check_failures = 0;
	CHECK(!sigaction(SIGUSR1, &action, NULL) && !ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
	while (!shared->last && !check_failures) {
		prepare();
		raise(SIGSTOP);
		syscall(SYS_getppid);
		way_of_call();
		syscall(SYS_getuid);
		CHECK(is_expected(found.rax), "%s: %ld", calls[call].name, (long)found.rax);
		CHECK((found.rflags & FLAGS_SEEN) == (FLAGS & FLAGS_SEEN), "%s: RFLAGS %#lx", calls[call].name,
		      found.rflags);
		CHECK(found.rcx == (unsigned long)way_after && (found.r11 & FLAGS_SEEN) == (FLAGS & FLAGS_SEEN),
		      "%s: RCX %#lx, R11 %#lx", calls[call].name, found.rcx, found.r11);
		CHECK(!memcmp(&found.rdi, &given.rdi, offsetof(struct registers, rflags) - sizeof(given.rax)),
		      "%s: another register", calls[call].name);
	}
	_exit(check_failures != 0);
}

static bool stop_is(pid_t pid, int signo, int *status)
{
	return waitpid(pid, status, 0) == pid && WIFSTOPPED(*status) && WSTOPSIG(*status) == signo;
}

static long call_of(pid_t pid)
{
	return ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.orig_rax), 0);
}

/* In the kernel, and going to stay there. */
static bool sleeps(pid_t pid)
{
	char path[64], text[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, ") S ") != NULL;
}

/* The signal comes, and is handled once, before the tracee is at rest again: in pause(), or before its next call. */
static void after_signal(pid_t pid, unsigned int step)
{
	int status = 0;
	pid_t ret = 0;

	while (!ret) {
		ret = waitpid(pid, &status, WNOHANG);
		if (ret || calls[call].nr != SYS_pause || !sleeps(pid))
			continue;
		CHECK(shared->handled == 1, "pause() sleeps, and %u handlers have run: step %u", shared->handled, step);
		kill(pid, SIGUSR1);
		CHECK(stop_is(pid, SIGUSR1, &status), "the second signal: %#x", status);
		CHECK(!ptrace(PTRACE_CONT, pid, 0, SIGUSR1), "PTRACE_CONT");
		shared->handled--;
		ret = waitpid(pid, &status, 0);
	}
	CHECK(ret == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "%s, step %u: status %#x",
	      calls[call].name, step, status);
	CHECK(shared->handled == 1, "%s, step %u: %u handlers have run", calls[call].name, step, shared->handled);
}

/* The tracee stands before a call.  Returns false when that is over before so many steps. */
static bool signal_at(pid_t pid, unsigned int steps)
{
	unsigned int step, seen = 0;
	bool over = false;
	int status = 0;

	/* Behind the first mark. */
	while (seen < 2) {
		CHECK(!ptrace(PTRACE_SYSCALL, pid, 0, 0), "PTRACE_SYSCALL");
		if (!CHECK(stop_is(pid, SIGTRAP, &status), "a stop at a call: %#x", status))
			return false;
		seen += call_of(pid) == SYS_getppid;
	}
	/* pause() would never end under a step. */
	for (step = 0; step < steps && !over; step++) {
		if (calls[call].nr == SYS_pause) {
			struct user_regs_struct r;

			CHECK(!ptrace(PTRACE_GETREGS, pid, 0, &r), "PTRACE_GETREGS");
			if (r.rax == SYS_pause && (ptrace(PTRACE_PEEKTEXT, pid, r.rip, 0) & 0xffff) == 0x050f) {
				over = true;
				break;
			}
		}
		CHECK(!ptrace(PTRACE_SINGLESTEP, pid, 0, 0), "PTRACE_SINGLESTEP");
		if (!CHECK(stop_is(pid, SIGTRAP, &status), "%s, step %u: %#x", calls[call].name, step, status))
			return false;
		over = call_of(pid) == SYS_getuid;
	}
	shared->handled = 0;
	kill(pid, SIGUSR1);
	CHECK(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	CHECK(stop_is(pid, SIGUSR1, &status), "%s, step %u: the signal: %#x", calls[call].name, step, status);
	CHECK(!ptrace(PTRACE_CONT, pid, 0, SIGUSR1), "PTRACE_CONT");
	after_signal(pid, step);
	return !over;
}

static void every_instruction(void)
{
	unsigned int step = 0;
	int status = 0;
	pid_t pid;

	shared->last = false;
	shared->at_before = shared->at_after = 0;
	fflush(stdout);
	pid = fork();
	if (!pid)
		makes_calls();
	CHECK(stop_is(pid, SIGSTOP, &status), "the tracee's beginning: %#x", status);
	while (!check_failures && step < STEPS_MAX && signal_at(pid, step))
		step += step < FIRST ? 1 : STRIDE;
	CHECK(step > 20 && step < STEPS_MAX, "%s: %u instructions", calls[call].name, step);
	CHECK(shared->at_before && shared->at_after, "%s: %u handlers before it, %u behind",
	      calls[call].name, shared->at_before, shared->at_after);
	printf("%s: %u instructions, %u handlers before the call and %u behind it\n", calls[call].name, step,
	       shared->at_before, shared->at_after);
	if (check_failures) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return;
	}
	shared->last = true;
	CHECK(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	if (calls[call].nr == SYS_pause) {
		while (!sleeps(pid))
			usleep(1000);
		kill(pid, SIGUSR1);
		CHECK(stop_is(pid, SIGUSR1, &status), "the last signal: %#x", status);
		CHECK(!ptrace(PTRACE_CONT, pid, 0, SIGUSR1), "PTRACE_CONT");
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "the tracee");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(shared != MAP_FAILED && !pipe(data), "mmap, pipe");
	for (call = 0; call < NR_CALLS && !check_failures; call++)
		every_instruction();
	return check_result();
}
