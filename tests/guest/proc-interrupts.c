// SPDX-License-Identifier: MIT
/*
 * Signals while interrupts are off, as ring 0 can have them: they wait for the end of a handler of traps, which can
 * make system calls meanwhile; but where the program has left them off, they come at the latest with its next one, and
 * with exec() always.
 */
#include <asm/prctl.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

#define RFLAGS_IF	0x200UL
#define RFLAGS_IOPL	0x3000UL

static volatile sig_atomic_t seen;
static jmp_buf back;

static void note(int signo)
{
	(void)signo;
	CHECK_WORLD("a handler");
	seen++;
}

static void alarm_in(long us)
{
	const struct itimerval soon = { .it_value = { 0, us } };

	seen = 0;
	CHECK_EQUAL(setitimer(ITIMER_REAL, &soon, NULL), 0, "setitimer");
}

/* It has come, or comes at this call.  (A busy host may keep the machine's timer from it for long.) */
static bool alarm_has_come(void)
{
	struct itimerval left;

	CHECK_EQUAL(getitimer(ITIMER_REAL, &left), 0, "getitimer");
	return !left.it_value.tv_sec && !left.it_value.tv_usec;
}

static unsigned long flags(void)
{
	unsigned long value;

	__asm__ volatile("pushfq; popq %0" : "=r"(value));
	return value;
}

static void spin(long ms)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

/* Interrupts are off: what waits for a signal, and what comes while the program computes. */
static void signals_come(void (*off)(void), const char *what)
{
	sigset_t mask;

	off();
	CHECK(!proc_inside || !(flags() & RFLAGS_IF), "%s leaves interrupts on", what);
	alarm_in(100000);
	pause();
	CHECK(seen == 1, "%s: %d handlers have run in pause()", what, seen);

	for (long ms = 200; ms < 5000; ms *= 2) {
		off();
		alarm_in(50000);
		spin(ms);
		syscall(SYS_getppid);
		if (seen || alarm_has_come())
			break;
	}
	CHECK(seen == 1, "%s: %d handlers have run at the call after it", what, seen);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGALRM) && !sigismember(&mask, SIGUSR1), "%s: signals stay blocked", what);

	off();
	seen = 0;
	raise(SIGALRM);
	CHECK(seen == 1, "%s: %d handlers have run in raise()", what, seen);
}

static void jump(struct dune_tf *tf)
{
	(void)tf;
	longjmp(back, 1);
}

static void repair(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	CHECK_EQUAL(mprotect((void *)((unsigned long)info->si_addr & -4096UL), 4096, PROT_READ | PROT_WRITE), 0,
		    "mprotect");
}

/* Its fault does not wait for the end of the trap, while SIGALRM does. */
static void faults(struct dune_tf *tf)
{
	const struct sigaction action = { .sa_sigaction = repair, .sa_flags = SA_SIGINFO };
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	sigaction(SIGSEGV, &action, NULL);
	alarm_in(50000);
	do
		spin(150);
	while (!alarm_has_come());
	*page = 1;
	CHECK_EQUAL(*page, 1, "what was written after the repair");
	munmap((void *)page, 4096);
	signal(SIGSEGV, SIG_DFL);
	tf->rip += 2;
}

static void calls(struct dune_tf *tf)
{
	struct stat st;

	alarm_in(50000);
	do
		spin(150);
	while (!alarm_has_come());
	CHECK_EQUAL(fstat(1, &st), 0, "fstat in a trap");
	CHECK(fcntl(1, F_GETFD) >= 0, "fcntl in a trap");
	CHECK(getppid() > 0, "getppid in a trap");
	CHECK_EQUAL(seen, 0, "handlers that have run in a trap");
	tf->rip += 2;
}

/* ---- exec() in a handler of traps: the new program has the old one's mask, and no signal is lost ---- */

#define TOLD_FD		60	/* of a pipe: a handler has run */
#define LATE_EXIT	2	/* it has not, nor did the signal come afterwards */

static void tell(int signo)
{
	(void)signo;
	CHECK_EQUAL(write(TOLD_FD + 1, "", 1), 1, "write");
}

/* The new program. */
static int executed(void)
{
	sigset_t mask;
	char byte;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(sigisemptyset(&mask), "signals are blocked after exec()");
	if (read(TOLD_FD, &byte, 1) == 1)
		return check_result();
	/* Then it is still to come, and ends us. */
	while (!alarm_has_come())
		;
	getppid();
	return LATE_EXIT;
}

static void exec_self(void)
{
	execl("/proc/self/exe", "proc-interrupts", "executed", NULL);
	CHECK(false, "exec: %s", strerror(errno));
	_exit(1);
}

static void execs_late(struct dune_tf *tf)
{
	(void)tf;
	alarm_in(50000);
	do
		spin(150);
	while (!alarm_has_come());
	CHECK_EQUAL(read(TOLD_FD, &(char){ 0 }, 1), -1, "a handler that has run in a trap");
	CHECK_EQUAL(execl("/proc/self/none", "none", NULL), -1, "exec of nothing");
	CHECK_EQUAL(flags() & RFLAGS_IF, 0, "interrupts, after it has failed");
	exec_self();
}

static long exec_after_us;

static void execs_meanwhile(struct dune_tf *tf)
{
	(void)tf;
	alarm_in(exec_after_us);
	exec_self();
}

/* As the handler of traps in a child, whose SIGALRM is to be told of. */
static int in_trap(void (*handler)(struct dune_tf *tf))
{
	int ends[2], status;

	DIE_UNLESS(!pipe2(ends, O_NONBLOCK) && dup2(ends[0], TOLD_FD) == TOLD_FD &&
		   dup2(ends[1], TOLD_FD + 1) == TOLD_FD + 1, "pipe2");
	status = IN_CHILD(signal(SIGALRM, tell); dune_register_intr_handler(T_ILLOP, handler); __asm__ volatile("ud2"));
	close(ends[0]);
	close(ends[1]);
	close(TOLD_FD);
	close(TOLD_FD + 1);
	return status;
}

static void exec_in_trap(void)
{
	int before = 0, after = 0, status;

	CHECK_EQUAL(in_trap(execs_late), EXITED(0), "exec() in a trap, and a signal waits");
	/* At any moment of it. */
	for (exec_after_us = 1; exec_after_us < 4000000 && (exec_after_us < 2000 || !after);
	     exec_after_us += exec_after_us / 16 + 1) {
		status = in_trap(execs_meanwhile);
		before += status == EXITED(0);
		after += status == SIGALRM;
		CHECK(status == EXITED(0) || status == SIGALRM, "exec() in a trap, a signal after %ld us: status %#x",
		      exec_after_us, status);
	}
	CHECK(before && after, "signals came %d times before exec(), %d times after", before, after);
}

static void by_jump(void)
{
	if (!setjmp(back))
		__asm__ volatile("ud2");
}

static void by_flags(void)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushq $2; popfq; lea 128(%%rsp), %%rsp" : : : "memory", "cc");
}

/* Outside POPF leaves IOPL alone; in Dune mode it means nothing to the next call either. */
static void with_iopl(unsigned long iopl, pid_t parent)
{
	unsigned long value = flags() | iopl;
	long ret;

	__asm__ volatile("lea -128(%%rsp), %%rsp; pushq %2; popfq; lea 128(%%rsp), %%rsp; syscall"
			 : "=a"(ret) : "a"((long)SYS_getppid), "r"(value) : "rcx", "r11", "memory", "cc");
	CHECK_EQUAL(ret, parent, "getppid() with IOPL");
}

static void iopl(void)
{
	const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	static unsigned long in_gs = 77;
	pid_t parent = getppid();
	unsigned long found;

	CHECK_EQUAL(syscall(SYS_arch_prctl, ARCH_SET_GS, &in_gs), 0, "ARCH_SET_GS");
	for (unsigned long i = 0x1000; i <= RFLAGS_IOPL; i += 0x1000) {
		with_iopl(i, parent);
		__asm__ volatile("mov %%gs:0, %0" : "=r"(found));
		CHECK_EQUAL(found, 77, "what GS leads to after it");
	}
	seen = 0;
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; (i < 20000 || seen <= 5) && i < 20000000 && seen < 200; i++)
		with_iopl(0x1000, parent);
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(seen > 5, "%d handlers have run", seen);
}

int main(int argc, char **argv)
{
	sigset_t mask;

	if (argc > 1 && !strcmp(argv[1], "executed"))
		return executed();
	proc_begin(argc, argv);
	signal(SIGALRM, note);
	signal(SIGUSR1, note);
	if (proc_inside) {
		dune_register_intr_handler(T_ILLOP, calls);
		__asm__ volatile("ud2");
		CHECK_EQUAL(seen, 1, "handlers that have run after a trap");
		dune_register_intr_handler(T_ILLOP, faults);
		__asm__ volatile("ud2");
		CHECK_EQUAL(seen, 1, "handlers that have run after a fault in a trap");
		sigprocmask(SIG_BLOCK, NULL, &mask);
		CHECK(sigisemptyset(&mask), "signals are blocked after a fault in a trap");
		exec_in_trap();
		dune_register_intr_handler(T_ILLOP, jump);
		signals_come(by_jump, "longjmp()");
	}
	signals_come(by_flags, "popfq");
	iopl();
	return check_result();
}
