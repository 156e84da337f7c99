// SPDX-License-Identifier: MIT
/*
 * Signals come at any moment of a fault: the fault comes all the same, once, to whom it is for, and the mask stays what
 * the program has set.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "proc.h"

#define SECONDS	1.5
#define PAGES	16
#define PAGE	4096UL

static volatile unsigned long alarms, faults;
static volatile char *area;
static volatile char *volatile nowhere = (char *)24;
static sigjmp_buf back;

static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
}

static void repair(int signo, siginfo_t *info, void *context)
{
	unsigned long addr = (unsigned long)info->si_addr;

	(void)signo;
	(void)context;
	CHECK(addr - (unsigned long)area < PAGES * PAGE, "a fault at %#lx", addr);
	faults++;
	CHECK_EQUAL(mprotect((void *)(addr & -PAGE), PAGE, PROT_READ | PROT_WRITE), 0, "mprotect");
}

static void jump(int signo)
{
	(void)signo;
	faults++;
	siglongjmp(back, 1);
}

static void guest_repair(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	(void)error;
	(void)tf;
	faults++;
	dune_syscall(10 /* mprotect */, addr & -PAGE, PAGE, PROT_READ | PROT_WRITE, 0, 0, 0);
}

/* ---- what is done until the time is over ---- */

/* Each write faults once. */
static unsigned long protected_writes(void)
{
	CHECK_EQUAL(mprotect((void *)area, PAGES * PAGE, PROT_NONE), 0, "mprotect");
	for (unsigned int i = 0; i < PAGES; i++)
		area[i * PAGE] = i;
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQUAL(area[i * PAGE], i, "what was written");
	return PAGES;
}

static unsigned long jumps(void)
{
	if (!sigsetjmp(back, 1)) {
		*nowhere = 1;
		CHECK(false, "a write to nothing goes on");
	}
	return 1;
}

/* What the kernel resolves: no handler sees it. */
static unsigned long first_touches(void)
{
	volatile char *fresh = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQUAL(fresh[i * PAGE], 0, "fresh memory");
		fresh[i * PAGE] = 1;
	}
	munmap((void *)fresh, PAGES * PAGE);
	return 0;
}

/* New code: the kernel resolves the fetch. */
static unsigned long fresh_code(void)
{
	static const unsigned char ret[] = { 0xc3 };
	unsigned char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(code, ret, sizeof(ret));
	CHECK_EQUAL(mprotect(code, PAGE, PROT_READ | PROT_EXEC), 0, "mprotect");
	((void (*)(void))code)();
	munmap(code, PAGE);
	return 0;
}

static void storm(unsigned long (*round)(void), const char *what)
{
	const struct itimerval often = { { 0, 400 }, { 0, 400 } }, never = { { 0, 0 }, { 0, 0 } };
	double end = check_seconds() + SECONDS;
	unsigned long expected = 0;
	sigset_t mask;

	faults = alarms = 0;
	setitimer(ITIMER_REAL, &often, NULL);
	while (check_seconds() < end && !check_failures)
		expected += round();
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%s: %lu faults, %lu alarms\n", what, faults, alarms);
	CHECK_EQUAL(faults, expected, what);
	CHECK(alarms > 100, "%s: %lu alarms", what, alarms);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(sigisemptyset(&mask), "%s: signals are blocked afterwards", what);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = repair, .sa_flags = SA_SIGINFO };

	proc_begin(argc, argv);
	area = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap");
	signal(SIGALRM, on_alarm);
	sigaction(SIGSEGV, &action, NULL);
	storm(protected_writes, "faults that a signal handler repairs");
	storm(first_touches, "first touches, with a handler");
	storm(fresh_code, "fresh code, with a handler");
	signal(SIGSEGV, jump);
	storm(jumps, "faults that a signal handler jumps out of");
	signal(SIGSEGV, SIG_DFL);
	storm(first_touches, "first touches");
	storm(fresh_code, "fresh code");
	if (proc_inside) {
		dune_register_pgflt_handler(guest_repair);
		storm(protected_writes, "faults that a handler in the guest repairs");
	}
	return check_result();
}
