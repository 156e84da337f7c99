// SPDX-License-Identifier: MIT
/*
 * Signals of the kernel's own making, and the ways to take signals without a handler: timers of each kind, the ends of
 * children, broken pipes, descriptors that have become ready; in ones and in storms.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <ucontext.h>

#include "patience.h"
#include "proc.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id	_sigev_un._tid
#endif

#define MS	1000000L

static atomic_ulong seen;
static siginfo_t last;
static atomic_int last_thread;
static atomic_uint overruns;

static void note(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	CHECK_WORLD("a handler");
	last = *info;
	last_thread = syscall(SYS_gettid);
	if (info->si_code == SI_TIMER)
		overruns += info->si_overrun;
	seen++;
}

static void handle(int signo, int flags)
{
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | flags };

	CHECK_EQUAL(sigaction(signo, &action, NULL), 0, "sigaction");
}

static void wait_for(unsigned long number)
{
	double end = patience_seconds() + 20;

	while (seen < number && patience_seconds() < end)
		usleep(1000);
	CHECK(seen >= number, "%lu signals of %lu came", (unsigned long)seen, number);
}

static sigset_t block(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

/* ---- timers ---- */

static timer_t start(struct sigevent *event, long first, long interval)
{
	struct itimerspec when = {
		.it_value = { first / (1000 * MS), first % (1000 * MS) },
		.it_interval = { 0, interval },
	};
	timer_t timer = NULL;

	CHECK_EQUAL(timer_create(CLOCK_MONOTONIC, event, &timer), 0, "timer_create");
	CHECK_EQUAL(timer_settime(timer, 0, &when, NULL), 0, "timer_settime");
	return timer;
}

static atomic_int taker;
static volatile bool stop;

static void *takes_timers(void *arg)
{
	taker = syscall(SYS_gettid);
	while (!stop)
		usleep(500);
	return arg;
}

static atomic_uint threads_called;

static void called_in_thread(union sigval value)
{
	CHECK_WORLD("a thread for a timer");
	CHECK_EQUAL(value.sival_int, 78, "the value of SIGEV_THREAD");
	threads_called++;
}

static void timers(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	struct sigevent to_thread = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1 };
	struct sigevent in_thread = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = called_in_thread,
				      .sigev_value.sival_int = 78 };
	double end = patience_seconds() + 20;
	pthread_t thread;
	timer_t timer;

	handle(SIGUSR1, 0);
	handle(SIGRTMIN + 1, SA_RESTART);
	seen = 0;
	timer = start(&event, 5 * MS, 0);
	wait_for(1);
	CHECK_EQUAL(last.si_code, SI_TIMER, "si_code of a timer");
	CHECK_EQUAL(last.si_value.sival_int, 77, "the value of a timer");
	CHECK_EQUAL(timer_delete(timer), 0, "timer_delete");

	DIE_UNLESS(!pthread_create(&thread, NULL, takes_timers, NULL), "pthread_create");
	while (!taker)
		usleep(1000);
	to_thread.sigev_notify_thread_id = taker;
	seen = 0;
	timer = start(&to_thread, 5 * MS, 2 * MS);
	wait_for(20);
	CHECK_EQUAL(last_thread, taker, "the thread of SIGEV_THREAD_ID");
	timer_delete(timer);
	stop = true;
	pthread_join(thread, NULL);

	timer = start(&in_thread, 5 * MS, 5 * MS);
	while (threads_called < 5 && patience_seconds() < end)
		usleep(1000);
	CHECK(threads_called >= 5, "SIGEV_THREAD: %u calls", threads_called);
	timer_delete(timer);
}

/* An interval timer while the thread computes and makes calls: the result is right, and none stands still. */
static void alarms(int which, int signo)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	unsigned long sum = 0, expected = 0, rounds = 0;
	double end = patience_seconds() + 30;

	handle(signo, SA_RESTART);
	seen = 0;
	CHECK_EQUAL(setitimer(which, &often, NULL), 0, "setitimer");
	while (seen < 100 && patience_seconds() < end) {
		for (volatile unsigned int i = 0; i < 1000; i++)
			sum += i;
		expected += 499500;
		if (++rounds % 8 == 0)
			sched_yield();
	}
	setitimer(which, &never, NULL);
	CHECK(seen >= 100, "signal %d came %lu times", signo, (unsigned long)seen);
	CHECK_EQUAL(sum, expected, "what was computed meanwhile");
	signal(signo, SIG_DFL);
}

static void timer_descriptor(void)
{
	struct itimerspec when = { .it_value = { 0, 3 * MS }, .it_interval = { 0, 3 * MS } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t expired = 0;

	CHECK_EQUAL(timerfd_settime(fd, 0, &when, NULL), 0, "timerfd_settime");
	CHECK_EQUAL(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 200000), 1, "poll of a timer");
	CHECK_EQUAL(read(fd, &expired, sizeof(expired)), (long)sizeof(expired), "read of a timer");
	CHECK(expired > 0, "a timer that expired");
	close(fd);
}

/* ---- without a handler ---- */

static void taken(void)
{
	sigset_t set = block(SIGRTMIN + 2);
	struct timespec none = { 0, 0 }, some = { 0, 20 * MS };
	struct signalfd_siginfo read_info;
	siginfo_t info;
	int signo = 0, fd;

	CHECK_ERRNO(sigtimedwait(&set, &info, &none), EAGAIN, "sigtimedwait for nothing");
	CHECK_ERRNO(sigtimedwait(&set, &info, &some), EAGAIN, "sigtimedwait that waits in vain");
	for (int i = 0; i < 100; i++)
		sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = i });
	for (int i = 0; i < 40; i++) {
		CHECK_EQUAL(sigtimedwait(&set, &info, &some), SIGRTMIN + 2, "sigtimedwait");
		CHECK_EQUAL(info.si_value.sival_int, i, "the value that sigtimedwait gives");
	}
	CHECK_EQUAL(sigwait(&set, &signo), 0, "sigwait");
	CHECK_EQUAL(signo, SIGRTMIN + 2, "what sigwait gives");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	for (int i = 41; i < 100; i++) {
		CHECK_EQUAL(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0), 1, "poll of a signalfd");
		CHECK_EQUAL(read(fd, &read_info, sizeof(read_info)), (long)sizeof(read_info), "read of a signalfd");
		CHECK_EQUAL(read_info.ssi_int, i, "the value that a signalfd gives");
		CHECK_EQUAL(read_info.ssi_code, SI_QUEUE, "its code");
	}
	CHECK_ERRNO(read(fd, &read_info, sizeof(read_info)), EAGAIN, "read of an empty signalfd");
	close(fd);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void *sends_usr2(void *arg)
{
	usleep(20000);
	pthread_kill((pthread_t)arg, SIGUSR2);
	return NULL;
}

/* The mask that is in force only while it waits; the handler runs under it, and the old one is back afterwards. */
static void waiting(void)
{
	sigset_t usr2 = block(SIGUSR2), none, now;
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct timespec long_time = { 20, 0 };
	struct epoll_event event;
	pthread_t thread;

	sigemptyset(&none);
	handle(SIGUSR2, SA_RESTART);
	for (int i = 0; i < 3; i++) {
		seen = 0;
		pthread_create(&thread, NULL, sends_usr2, (void *)pthread_self());
		if (i == 0)
			CHECK_ERRNO(epoll_pwait(fd, &event, 1, 20000, &none), EINTR, "epoll_pwait");
		else if (i == 1)
			CHECK_ERRNO(ppoll(NULL, 0, &long_time, &none), EINTR, "ppoll");
		else
			CHECK_ERRNO(pselect(0, NULL, NULL, NULL, &long_time, &none), EINTR, "pselect");
		CHECK_EQUAL(seen, 1, "handlers run");
		sigprocmask(SIG_BLOCK, NULL, &now);
		CHECK(sigismember(&now, SIGUSR2), "the old mask is back");
		pthread_join(thread, NULL);
		raise(SIGUSR2);
		CHECK_EQUAL(seen, 1, "handlers run while it is blocked");
		sigprocmask(SIG_UNBLOCK, &usr2, NULL);
		CHECK_EQUAL(seen, 2, "handlers run afterwards");
		block(SIGUSR2);
	}
	sigprocmask(SIG_UNBLOCK, &usr2, NULL);
	close(fd);
}

/* ---- children ---- */

static unsigned long reaped, reaped_sum;

static void reap(int signo, siginfo_t *info, void *context)
{
	int error = errno, status;

	(void)signo;
	(void)context;
	CHECK(info->si_code == CLD_EXITED, "si_code of SIGCHLD: %d", info->si_code);
	while (waitpid(-1, &status, WNOHANG) > 0) {
		CHECK(WIFEXITED(status), "status of a child: %#x", status);
		reaped_sum += WEXITSTATUS(status);
		reaped++;
	}
	errno = error;
}

static void children(unsigned int count)
{
	struct sigaction action = { .sa_sigaction = reap, .sa_flags = SA_SIGINFO | SA_RESTART };
	unsigned long sum = 0;
	double end;

	fflush(stdout);
	sigaction(SIGCHLD, &action, NULL);
	for (unsigned int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(i & 0xff);
		CHECK(pid > 0, "fork: %s", strerror(errno));
		sum += i & 0xff;
	}
	for (end = patience_seconds() + 60; reaped < count && patience_seconds() < end;)
		usleep(1000);
	CHECK_EQUAL(reaped, count, "children that SIGCHLD told of");
	CHECK_EQUAL(reaped_sum, sum, "the sum of their statuses");

	/* None is left to wait for, with and without a handler. */
	handle(SIGCHLD, SA_NOCLDWAIT);
	seen = 0;
	if (!fork())
		_exit(9);
	wait_for(1);
	CHECK_EQUAL(last.si_status, 9, "si_status of a child");
	while (waitpid(-1, NULL, 0) > 0)
		CHECK(false, "a child to wait for in spite of SA_NOCLDWAIT");
	CHECK_EQUAL(errno, ECHILD, "waiting with SA_NOCLDWAIT");
	signal(SIGCHLD, SIG_IGN);
	if (!fork())
		_exit(9);
	CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD, "waiting with SIGCHLD ignored");
	signal(SIGCHLD, SIG_DFL);
}

/* ---- descriptors ---- */

static void broken_pipes(void)
{
	int ends[2], sockets[2];

	DIE_UNLESS(!pipe(ends) && !socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "pipe");
	close(ends[0]);
	close(sockets[0]);
	handle(SIGPIPE, 0);
	seen = 0;
	for (unsigned int i = 0; i < 200; i++) {
		CHECK_ERRNO(write(i % 2 ? ends[1] : sockets[1], "x", 1), EPIPE, "write to nobody");
		CHECK_EQUAL(seen, i + 1, "SIGPIPE");
	}
	CHECK_ERRNO(send(sockets[1], "x", 1, MSG_NOSIGNAL), EPIPE, "send with MSG_NOSIGNAL");
	CHECK_EQUAL(seen, 200, "SIGPIPE with MSG_NOSIGNAL");
	close(ends[1]);
	close(sockets[1]);
	signal(SIGPIPE, SIG_DFL);
}

static void ready(void)
{
	int sockets[2];
	char c;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	handle(SIGRTMIN + 3, SA_RESTART);
	CHECK_EQUAL(fcntl(sockets[0], F_SETOWN, getpid()), 0, "F_SETOWN");
	CHECK_EQUAL(fcntl(sockets[0], F_SETSIG, SIGRTMIN + 3), 0, "F_SETSIG");
	CHECK_EQUAL(fcntl(sockets[0], F_SETFL, O_ASYNC), 0, "O_ASYNC");
	seen = 0;
	CHECK_EQUAL(write(sockets[1], "x", 1), 1, "write");
	wait_for(1);
	CHECK_EQUAL(last.si_fd, sockets[0], "the descriptor that is ready");
	CHECK_EQUAL(read(sockets[0], &c, 1), 1, "read");
	close(sockets[0]);
	close(sockets[1]);
}

/* ---- contexts ---- */

static ucontext_t first, second;
static unsigned int switches;

static void other(void)
{
	for (;;) {
		CHECK_WORLD("another context");
		switches++;
		swapcontext(&second, &first);
	}
}

static void contexts(void)
{
	static char stack[65536];

	getcontext(&second);
	second.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = sizeof(stack) };
	makecontext(&second, other, 0);
	for (unsigned int i = 0; i < 100; i++)
		CHECK_EQUAL(swapcontext(&first, &second), 0, "swapcontext");
	CHECK_EQUAL(switches, 100, "changes of the context");
}

/* While its handler runs, such a stack is no alternate stack; so a second signal begins at its top again. */
static void *begins[2];
static unsigned int deep;

static void on_disarmed(int signo)
{
	stack_t now;

	begins[deep++] = __builtin_frame_address(0);
	sigaltstack(NULL, &now);
	CHECK(now.ss_flags & SS_DISABLE, "the alternate stack in a handler with SS_AUTODISARM: flags %#x",
	      now.ss_flags);
	if (deep == 1) {
		/* Nobody else may have it meanwhile. */
		raise(signo);
	}
}

static void disarmed(void)
{
	static char memory[65536];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory), .ss_flags = (int)(1U << 31) }, old,
		none = { .ss_flags = SS_DISABLE };
	struct sigaction action = { .sa_handler = on_disarmed, .sa_flags = SA_ONSTACK | SA_NODEFER };

	CHECK_EQUAL(sigaltstack(&stack, NULL), 0, "SS_AUTODISARM");
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	CHECK_EQUAL(deep, 2, "handlers run");
	CHECK((char *)begins[0] > memory && (char *)begins[0] < memory + sizeof(memory), "the first is on it");
	CHECK(begins[1] < begins[0] && (char *)begins[1] > memory, "the second is below the first");
	sigaltstack(&none, &old);
	CHECK(old.ss_sp == memory && old.ss_flags == stack.ss_flags, "the alternate stack is back: flags %#x",
	      old.ss_flags);
	signal(SIGUSR1, SIG_DFL);
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 2 ? atoi(argv[2]) : 50;

	proc_begin(argc, argv);
	timers();
	alarms(ITIMER_REAL, SIGALRM);
	alarms(ITIMER_VIRTUAL, SIGVTALRM);
	alarms(ITIMER_PROF, SIGPROF);
	timer_descriptor();
	taken();
	waiting();
	children(count);
	broken_pipes();
	ready();
	contexts();
	disarmed();
	return check_result();
}
