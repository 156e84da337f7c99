// SPDX-License-Identifier: MIT
/*
 * Actions of signals: rt_sigaction says what the kernel keeps of one, and a signal that is ignored disturbs nobody.
 */
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

#define PAGE		4096
#define SA_RESTORER	0x04000000UL

struct action {
	unsigned long handler, flags, restorer, mask;
};

static int *volatile nowhere = (int *)8;

static void nothing(int signo)
{
	(void)signo;
}

static long set_action(int signo, const struct action *new, struct action *old)
{
	return syscall(SYS_rt_sigaction, signo, new, old, 8);
}

/* ---- what is kept ---- */

static const struct {
	int signo;
	bool handled;
	unsigned long flags, mask;
} asked[] = {
	{ SIGUSR1, true, SA_RESTORER, 0 },
	{ SIGUSR1, true, SA_RESTORER, ~0UL },
	{ SIGUSR1, true, SA_RESTORER | 0x400, ~0UL },			/* SA_UNSUPPORTED */
	{ SIGUSR1, true, SA_RESTORER | 0x800, 0 },			/* SA_EXPOSE_TAGBITS */
	{ SIGUSR1, true, 0xffffffff, 1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1) },
	{ SIGUSR1, true, 0x100000000, 0 },
	{ SIGUSR1, true, ~0UL, 1 },
	{ SIGUSR1, true, SA_RESTORER | SA_SIGINFO | SA_NODEFER | SA_RESETHAND, 2 },
	{ SIGUSR1, true, 0, 2 },
	{ SIGSEGV, true, SA_RESTORER | 0x400, ~0UL },
	{ SIGSEGV, true, ~0UL, ~0UL },
	{ SIGBUS, true, SA_RESTORER | SA_RESETHAND, 4 },
	{ SIGBUS, true, SA_RESTORER | SA_NODEFER, 4 },
	{ SIGUSR2, false, 0x400, ~0UL },
	{ SIGUSR2, false, ~0UL, 8 },
	{ SIGSEGV, false, ~0UL, ~0UL },
	{ 64, true, SA_RESTORER | SA_RESTART | SA_ONSTACK, 1UL << 63 },
};

#define NR_ASKED	(sizeof(asked) / sizeof(asked[0]))

/* As each is said to be when it is asked for, and as the old one. */
static struct action said[2][NR_ASKED][2];

static void ask(struct action (*kept)[2])
{
	const struct action none = { 0 };

	for (unsigned int i = 0; i < NR_ASKED; i++) {
		const struct action new = {
			.handler = asked[i].handled ? (unsigned long)nothing : 0,
			.flags = asked[i].flags, .restorer = 0x1234, .mask = asked[i].mask,
		};

		CHECK_EQUAL(set_action(asked[i].signo, &new, NULL), 0, "rt_sigaction");
		CHECK_EQUAL(set_action(asked[i].signo, NULL, &kept[i][0]), 0, "rt_sigaction without a new action");
		CHECK_EQUAL(set_action(asked[i].signo, &none, &kept[i][1]), 0, "rt_sigaction with both");
	}
}

static void compare(void)
{
	for (unsigned int i = 0; i < NR_ASKED; i++)
		for (unsigned int j = 0; j < 2; j++) {
			const struct action *is = &said[1][i][j], *wanted = &said[0][i][j];

			CHECK(!memcmp(is, wanted, sizeof(*is)), "action %u of signal %d: flags %#lx, mask %#lx, "
			      "restorer %#lx, handler %#lx; outside %#lx, %#lx, %#lx, %#lx", i, asked[i].signo,
			      is->flags, is->mask, is->restorer, is->handler,
			      wanted->flags, wanted->mask, wanted->restorer, wanted->handler);
		}
}

static void refused(void)
{
	struct action action = { .handler = (unsigned long)nothing };

	CHECK_ERRNO(set_action(SIGKILL, &action, NULL), EINVAL, "an action for SIGKILL");
	CHECK_ERRNO(set_action(SIGSTOP, &action, NULL), EINVAL, "an action for SIGSTOP");
	CHECK_EQUAL(set_action(SIGKILL, NULL, &action), 0, "the action of SIGKILL");
	CHECK_ERRNO(set_action(0, &action, NULL), EINVAL, "signal 0");
	CHECK_ERRNO(set_action(65, &action, NULL), EINVAL, "signal 65");
	CHECK_ERRNO(set_action(0, (void *)8, NULL), EFAULT, "signal 0, no action");
	CHECK_ERRNO(set_action(SIGUSR1, (void *)8, NULL), EFAULT, "no action");
	CHECK_ERRNO(set_action(SIGUSR1, NULL, (void *)8), EFAULT, "no room for the old one");
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 4), EINVAL, "a mask of 32 bits");
}

/* The kernel has no other way back from a handler. */
static void no_restorer(void)
{
	const struct action action = { .handler = (unsigned long)nothing };
	int status = IN_CHILD(set_action(SIGUSR1, &action, NULL), raise(SIGUSR1));

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a handler without a restorer: %#x", status);
}

/* ---- ignored ---- */

/* An access that only the kernel's own fault handler resolves, made where SIGSEGV has no handler. */
static void fault(void)
{
	char *room = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *top;

	munmap(room, 64 * PAGE);
	top = mmap(room + 60 * PAGE, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	DIE_UNLESS(top != MAP_FAILED, "MAP_GROWSDOWN");
	for (int i = 1; i < 4; i++)
		*(volatile char *)(top - i * PAGE) = 1;
	munmap(top - 4 * PAGE, 5 * PAGE);
}

/* Signals that the program ignores come while it waits. */
static void waits_undisturbed(const char *when)
{
	const int signals[] = { SIGSEGV, SIGBUS, SIGUSR1 };
	struct pollfd readable = { .events = POLLIN };
	int ends[2], parent = getpid(), status;
	pid_t pid;

	DIE_UNLESS(!pipe(ends), "pipe");
	readable.fd = ends[0];
	fflush(stdout);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 3; i++) {
			proc_until_asleep(parent);
			kill(parent, signals[i]);
		}
		proc_until_asleep(parent);
		CHECK_EQUAL(write(ends[1], "x", 1), 1, "write");
		_exit(check_failures != 0);
	}
	errno = 0;
	CHECK(poll(&readable, 1, -1) == 1, "poll() while ignored signals come, %s: %s", when, strerror(errno));
	status = proc_wait(pid);
	CHECK_EQUAL(status, 0, "the sender");
	close(ends[0]);
	close(ends[1]);
}

static void ignored(void)
{
	const unsigned long both = 1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1);

	CHECK_EQUAL(proc_status_field("SigCgt", 16) & both, 0, "caught at the beginning");
	fault();
	CHECK_EQUAL(proc_status_field("SigCgt", 16) & both, 0, "caught after a fault");
	signal(SIGSEGV, SIG_IGN);
	signal(SIGBUS, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	waits_undisturbed("before a fault");
	fault();
	CHECK_EQUAL(proc_status_field("SigCgt", 16) & both, 0, "caught after a fault, ignored");
	CHECK_EQUAL(proc_status_field("SigIgn", 16) & both, both, "ignored after a fault");
	waits_undisturbed("after a fault");
	CHECK_EQUAL(IN_CHILD(
		fault();
		CHECK_EQUAL(proc_status_field("SigIgn", 16) & both, both, "ignored in a child");
		waits_undisturbed("in a child")
	), EXITED(0), "a child");
	signal(SIGSEGV, SIG_DFL);
	fault();
	CHECK_EQUAL(proc_status_field("SigIgn", 16) & both, 1UL << (SIGBUS - 1), "ignored after SIG_DFL");
	CHECK(WTERMSIG(IN_CHILD(raise(SIGSEGV))) == SIGSEGV, "SIGSEGV by kill() after a fault");
	CHECK(WTERMSIG(IN_CHILD(signal(SIGSEGV, SIG_IGN), *nowhere = 1)) == SIGSEGV,
	      "an exception, where SIGSEGV is ignored");
	signal(SIGBUS, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
}

int main(int argc, char **argv)
{
	ask(said[0]);
	proc_begin(argc, argv);
	ask(said[1]);
	compare();
	refused();
	no_restorer();
	ignored();
	return check_result();
}
