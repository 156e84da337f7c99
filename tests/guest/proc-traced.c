// SPDX-License-Identifier: MIT
/*
 * A tracer is stopped once for each exception of its child, whether that has a handler or not, with the signal's own
 * siginfo; then the signal takes its course, or the tracer takes it away.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include "proc.h"

#define PAGE	4096

static char *not_executable;
static int *volatile nowhere = (int *)8;

static void exits(int signo, siginfo_t *info, void *context)
{
	(void)context;
	CHECK_WORLD("a handler");
	_exit(check_failures ? 1 : info->si_signo == signo ? 50 + signo : 2);
}

static void write_null(void)
{
	*nowhere = 1;
}

static void write_unmapped(void)
{
	munmap(not_executable, PAGE);
	*(volatile char *)not_executable = 1;
}

static void write_read_only(void)
{
	mprotect(not_executable, PAGE, PROT_READ);
	*(volatile char *)not_executable = 1;
}

static void execute_data(void)
{
	((void (*)(void))not_executable)();
}

static void execute_nothing(void)
{
	((void (*)(void))0x123456789000)();
}

static void undefined(void)
{
	__asm__ volatile("ud2");
}

static void divide(void)
{
	__asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx");
}

static void breakpoint(void)
{
	__asm__ volatile("int3");
}

static void step(void)
{
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; pushfq; andl $~0x100, (%%rsp); popfq"
			 : : : "memory");
}

static void sent(void)
{
	raise(SIGUSR1);
}

static const struct {
	const char *name;
	void (*make)(void);
	int signo, code;
	unsigned long address;	/* 0: whatever it is */
} exceptions[] = {
	{ "a write to no page", write_null, SIGSEGV, SEGV_MAPERR, 8 },
	{ "a write to what is not mapped", write_unmapped, SIGSEGV, SEGV_MAPERR, 0 },
	{ "a write to a read-only page", write_read_only, SIGSEGV, SEGV_ACCERR, 0 },
	{ "the execution of data", execute_data, SIGSEGV, SEGV_ACCERR, 0 },
	{ "the execution of nothing", execute_nothing, SIGSEGV, SEGV_MAPERR, 0x123456789000 },
	{ "ud2", undefined, SIGILL, ILL_ILLOPN, 0 },
	{ "a division by 0", divide, SIGFPE, FPE_INTDIV, 0 },
	{ "int3", breakpoint, SIGTRAP, SI_KERNEL, 0 },
	{ "a single step", step, SIGTRAP, TRAP_TRACE, 0 },
	{ "raise()", sent, SIGUSR1, SI_TKILL, 0 },
};

static void child(unsigned int number, bool handled)
{
	const struct sigaction action = { .sa_sigaction = exits, .sa_flags = SA_SIGINFO };

	if (handled)
		CHECK(!sigaction(exceptions[number].signo, &action, NULL), "sigaction");
	CHECK(!ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
	raise(SIGSTOP);
	exceptions[number].make();
	_exit(3);
}

static void counts(int signo)
{
	(void)signo;
	(*(volatile int *)not_executable)++;
}

/* Goes on behind its breakpoint, which has no handler, and gets signals still. */
static void continued(void)
{
	sigset_t mask;
	int status = 0;
	pid_t pid;

	fflush(stdout);
	*(volatile int *)not_executable = 0;
	pid = fork();
	if (!pid) {
		check_failures = 0;
		signal(SIGUSR2, counts);
		CHECK(!ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
		breakpoint();
		sigprocmask(SIG_BLOCK, NULL, &mask);
		for (int signo = 1; signo < 65; signo++)
			CHECK(sigismember(&mask, signo) != 1, "signal %d is blocked", signo);
		raise(SIGUSR2);
		_exit(check_failures ? 1 : *(volatile int *)not_executable + 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP,
	      "a breakpoint: %#x", status);
	CHECK(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR2,
	      "a signal behind it: %#x", status);
	CHECK(!ptrace(PTRACE_CONT, pid, 0, SIGUSR2), "PTRACE_CONT");
	CHECK_EQUAL(proc_wait(pid), EXITED(2), "who goes on behind its breakpoint");
}

static pid_t start(unsigned int number, bool handled)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		check_failures = 0;
		child(number, handled);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP,
	      "the child's beginning: %#x", status);
	CHECK(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	return pid;
}

/* The first stop must be that of the exception. */
static bool stops(pid_t pid, unsigned int i, const char *how)
{
	siginfo_t info = { 0 };
	int status = 0;

	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
	if (!CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == exceptions[i].signo,
		   "%s, %s: status %#x in place of a stop", exceptions[i].name, how, status)) {
		if (WIFSTOPPED(status)) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
		}
		return false;
	}
	CHECK(!ptrace(PTRACE_GETSIGINFO, pid, 0, &info), "PTRACE_GETSIGINFO");
	CHECK(info.si_code == exceptions[i].code && (!exceptions[i].address ||
						     (unsigned long)info.si_addr == exceptions[i].address),
	      "%s, %s: si_code %d, si_addr %p", exceptions[i].name, how, info.si_code, info.si_addr);
	return true;
}

static void once(unsigned int i, bool handled)
{
	const char *how = handled ? "with a handler" : "without a handler";
	pid_t pid = start(i, handled);
	int status = 0;

	if (!stops(pid, i, how))
		return;
	CHECK(!ptrace(PTRACE_CONT, pid, 0, exceptions[i].signo), "PTRACE_CONT");
	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
	if (!CHECK(!WIFSTOPPED(status), "%s, %s: a second stop, %#x", exceptions[i].name, how, status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	} else if (handled) {
		CHECK(status == EXITED(50 + exceptions[i].signo), "%s, %s: status %#x", exceptions[i].name, how,
		      status);
	} else {
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == exceptions[i].signo, "%s, %s: status %#x",
		      exceptions[i].name, how, status);
	}
}

/* The tracer takes the signal away, or sends another one in its place. */
static void otherwise(void)
{
	const unsigned int int3 = 7, ud2 = 5;
	pid_t pid = start(int3, true);
	int status = 0;

	if (stops(pid, int3, "swallowed")) {
		CHECK(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
		CHECK_EQUAL(proc_wait(pid), EXITED(3), "a breakpoint whose signal is taken away");
	}
	pid = start(ud2, true);
	for (int i = 0; i < 3; i++) {
		if (!stops(pid, ud2, "swallowed"))
			return;
		CHECK(!ptrace(PTRACE_CONT, pid, 0, i < 2 ? 0 : SIGTERM), "PTRACE_CONT");
	}
	status = proc_wait(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "another signal in place of SIGILL: %#x", status);
}

/* Who has begun without a tracer, and gets one later. */
static void attached(void)
{
	const unsigned int ud2 = 5;
	int ends[2], status;
	pid_t pid;
	char c;

	DIE_UNLESS(!pipe(ends), "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		const struct sigaction action = { .sa_sigaction = exits, .sa_flags = SA_SIGINFO };

		check_failures = 0;
		sigaction(SIGILL, &action, NULL);
		CHECK_EQUAL(write(ends[1], "x", 1), 1, "write");
		while (!*(volatile int *)not_executable)
			;
		undefined();
		_exit(3);
	}
	CHECK_EQUAL(read(ends[0], &c, 1), 1, "read");
	CHECK(!ptrace(PTRACE_SEIZE, pid, 0, 0), "PTRACE_SEIZE");
	CHECK(!ptrace(PTRACE_INTERRUPT, pid, 0, 0), "PTRACE_INTERRUPT");
	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
	*(volatile int *)not_executable = 1;
	CHECK(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	if (stops(pid, ud2, "attached")) {
		CHECK(!ptrace(PTRACE_CONT, pid, 0, SIGILL), "PTRACE_CONT");
		CHECK_EQUAL(proc_wait(pid), EXITED(50 + SIGILL), "an exception of who has got a tracer later");
	}
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	not_executable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	not_executable[0] = (char)0xc3;
	for (unsigned int i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
		once(i, true);
		once(i, false);
	}
	otherwise();
	munmap(not_executable, PAGE);
	not_executable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	attached();
	continued();
	return check_result();
}
