// SPDX-License-Identifier: MIT
/*
 * Job control and the family of processes: stops and continuations of each kind, process groups, sessions and
 * terminals, waiting in every way, and what ends whom.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <termios.h>

#include "patience.h"
#include "proc.h"

#ifndef P_PIDFD
#define P_PIDFD	3
#endif

static volatile int *shared;	/* with children */

static void until(int value)
{
	double end = patience_seconds() + 20;

	while (*shared != value && patience_seconds() < end)
		usleep(1000);
	CHECK_EQUAL(*shared, value, "what a child has come to");
}

static pid_t child(void)
{
	pid_t pid;

	*shared = 0;
	fflush(stdout);
	pid = fork();
	DIE_UNLESS(pid >= 0, "fork");
	if (!pid) {
		check_failures = 0;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return pid;
}

static void __attribute__((noreturn)) done(void)
{
	_exit(check_failures ? 1 : 0);
}

static void expect(pid_t pid, int options, int code, int number, const char *what)
{
	siginfo_t info = { 0 };

	CHECK_EQUAL(waitid(P_PID, pid, &info, options), 0, what);
	CHECK_EQUAL(info.si_pid, pid, what);
	CHECK_EQUAL(info.si_code, code, what);
	CHECK_EQUAL(info.si_status, number, what);
}

/* ---- stops ---- */

static void on_continue(int signo)
{
	(void)signo;
	*shared = 2;
}

static void stops(void)
{
	static const int stopping[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU };
	pid_t pid = child();

	if (!pid) {
		signal(SIGCONT, on_continue);
		*shared = 1;
		for (;;)
			__asm__ volatile("");	/* in the guest all the time */
	}
	setpgid(pid, pid);
	until(1);
	for (unsigned int i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++) {
		*shared = 1;
		kill(-pid, stopping[i]);
		expect(pid, WSTOPPED, CLD_STOPPED, stopping[i], "a child that stops");
		kill(-pid, SIGCONT);
		expect(pid, WCONTINUED | WNOWAIT, CLD_CONTINUED, SIGCONT, "a child that goes on, not waited for");
		expect(pid, WCONTINUED, CLD_CONTINUED, SIGCONT, "a child that goes on");
		until(2);
	}
	/* A stopped one goes on only for SIGCONT and SIGKILL. */
	kill(pid, SIGSTOP);
	expect(pid, WSTOPPED, CLD_STOPPED, SIGSTOP, "a child that stops again");
	kill(pid, SIGTERM);
	usleep(20000);
	CHECK_EQUAL(waitpid(pid, NULL, WNOHANG), 0, "SIGTERM while it is stopped");
	kill(pid, SIGCONT);
	expect(pid, WEXITED, CLD_KILLED, SIGTERM, "SIGTERM that waited for SIGCONT");
}

static void on_stop(int signo)
{
	(void)signo;
	*shared = 3;
}

/* A handler for SIGTSTP runs instead of stopping; with all its threads a process stops and goes on. */
static void *spins(void *arg)
{
	for (;;)
		++*(volatile unsigned long *)arg;
	return NULL;
}

static void stop_of_threads(void)
{
	static volatile unsigned long *counts, seen[3];
	pthread_t thread;
	pid_t pid;
	bool moved;

	counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = child();
	if (!pid) {
		signal(SIGTSTP, on_stop);
		for (int i = 0; i < 3; i++)
			pthread_create(&thread, NULL, spins, (void *)&counts[i]);
		*shared = 1;
		for (;;)
			pause();
	}
	until(1);
	kill(pid, SIGTSTP);
	until(3);
	kill(pid, SIGSTOP);
	expect(pid, WSTOPPED, CLD_STOPPED, SIGSTOP, "a process with threads that stops");
	usleep(20000);
	for (int i = 0; i < 3; i++)
		seen[i] = counts[i];
	usleep(50000);
	for (int i = 0; i < 3; i++)
		CHECK_EQUAL(counts[i], seen[i], "what a stopped thread counts");
	kill(pid, SIGCONT);
	moved = false;
	for (double end = patience_seconds() + 20; !moved && patience_seconds() < end; usleep(1000))
		moved = counts[0] > seen[0] && counts[1] > seen[1] && counts[2] > seen[2];
	CHECK(moved, "threads that go on");
	kill(pid, SIGKILL);
	expect(pid, WEXITED, CLD_KILLED, SIGKILL, "threads that are killed");
}

/* SA_NOCLDSTOP: told of the end only. */
static atomic_uint told;

static void tell(int signo)
{
	(void)signo;
	told++;
}

static void untold(void)
{
	struct sigaction action = { .sa_handler = tell, .sa_flags = SA_NOCLDSTOP | SA_RESTART };
	pid_t pid;

	sigaction(SIGCHLD, &action, NULL);
	pid = child();
	if (!pid)
		for (;;)
			pause();
	kill(pid, SIGSTOP);
	expect(pid, WSTOPPED, CLD_STOPPED, SIGSTOP, "a child that stops");
	CHECK_EQUAL(told, 0, "SIGCHLD for a stop with SA_NOCLDSTOP");
	kill(pid, SIGKILL);
	expect(pid, WEXITED, CLD_KILLED, SIGKILL, "a child that is killed");
	CHECK_EQUAL(told, 1, "SIGCHLD for an end");
	signal(SIGCHLD, SIG_DFL);
}

/* ---- terminals ---- */

/* A session with a terminal of its own; two jobs, one in the foreground. */
static void with_terminal(int terminal)
{
	char c = 0;
	pid_t job;

	CHECK(setsid() == getpid(), "setsid");
	CHECK_EQUAL(ioctl(terminal, TIOCSCTTY, 0), 0, "TIOCSCTTY");
	CHECK_EQUAL(tcgetpgrp(terminal), getpid(), "the foreground group");
	job = fork();
	if (!job) {
		setpgid(0, 0);
		/* In the background: reading stops it; then it is in the foreground and reads again. */
		if (read(terminal, &c, 1) != 1 || c != 'y')
			_exit(1);
		for (;;)
			pause();	/* for the interrupt character */
	}
	setpgid(job, job);
	expect(job, WSTOPPED, CLD_STOPPED, SIGTTIN, "a background job that reads");
	signal(SIGTTOU, SIG_IGN);
	CHECK_EQUAL(tcsetpgrp(terminal, job), 0, "tcsetpgrp");
	kill(-job, SIGCONT);
	expect(job, WCONTINUED, CLD_CONTINUED, SIGCONT, "a job that goes on");
	*shared = 5;
	expect(job, WSTOPPED, CLD_STOPPED, SIGTSTP, "the stop character");
	kill(-job, SIGCONT);
	*shared = 6;
	expect(job, WEXITED, CLD_KILLED, SIGINT, "the interrupt character");
	CHECK_EQUAL(tcsetpgrp(terminal, getpid()), 0, "the terminal comes back");
	*shared = 7;
	for (;;)
		pause();		/* for SIGHUP, when the other side is closed */
}

static void terminals(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), terminal;
	struct termios settings;
	const char *name;
	pid_t pid;

	if (master < 0 || grantpt(master) || unlockpt(master) || !(name = ptsname(master))) {
		printf("there are no pseudo-terminals: %s\n", strerror(errno));
		return;
	}
	terminal = open(name, O_RDWR | O_NOCTTY);
	DIE_UNLESS(terminal >= 0, name);
	tcgetattr(terminal, &settings);
	settings.c_lflag &= ~(ICANON | ECHO);
	settings.c_cc[VMIN] = 1;
	tcsetattr(terminal, TCSANOW, &settings);
	pid = child();
	if (!pid) {
		close(master);
		with_terminal(terminal);
	}
	close(terminal);
	until(5);
	CHECK_EQUAL(write(master, "y", 1), 1, "typing");
	usleep(100000);		/* until it has been read */
	CHECK_EQUAL(write(master, "\032", 1), 1, "typing the stop character");
	until(6);
	usleep(20000);
	CHECK_EQUAL(write(master, "\003", 1), 1, "typing the interrupt character");
	until(7);
	close(master);
	expect(pid, WEXITED, CLD_KILLED, SIGHUP, "the leader of a session without its terminal");
}

/* ---- families ---- */

static void families(void)
{
	int ends[2], status = -1;
	pid_t pid;
	char c;

	/* The parent's end, told to its child. */
	DIE_UNLESS(!pipe(ends), "pipe");
	pid = child();
	if (!pid) {
		pid_t self = getpid();

		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != self)
				raise(SIGKILL);
			close(ends[0]);
			*shared = 1;
			for (;;)
				__asm__ volatile("");
		}
		until(1);
		done();
	}
	close(ends[1]);
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a parent that ends before its child");
	CHECK_EQUAL(read(ends[0], &c, 1), 0, "the child's descriptor is closed: PR_SET_PDEATHSIG");
	close(ends[0]);

	/* Orphans come to whoever asked for them. */
	CHECK_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1), 0, "PR_SET_CHILD_SUBREAPER");
	pid = child();
	if (!pid) {
		if (!fork()) {
			double end = patience_seconds() + 20;

			while (getppid() == *shared && patience_seconds() < end)
				usleep(1000);
			_exit(44);
		}
		*shared = getpid();
		_exit(43);
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(43), "a parent");
	CHECK_EQUAL(IN_CHILD(_exit(0)), EXITED(0), "another child");
	CHECK(wait(&status) > 0, "an orphan: %s", strerror(errno));
	CHECK_EQUAL(status, EXITED(44), "an orphan's status");
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void descriptors_of_processes(void)
{
	int fd = -1, status = 0;
	siginfo_t info = { 0 };
	pid_t pid;

	*shared = 0;
	fflush(stdout);
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
	if (!pid) {
		check_failures = 0;
		CHECK_WORLD("a child by CLONE_PIDFD");
		*shared = check_failures ? 9 : 1;
		for (;;)
			pause();
	}
	CHECK(pid > 0 && fd >= 0, "CLONE_PIDFD: %d, descriptor %d", pid, fd);
	until(1);
	CHECK_EQUAL(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0), 0, "pidfd_send_signal");
	CHECK_EQUAL(waitid(P_PIDFD, fd, &info, WEXITED), 0, "waitid of a descriptor");
	CHECK_EQUAL(info.si_status, SIGTERM, "its status");
	close(fd);

	/* A child of the parent's: a sister. */
	pid = child();
	if (!pid) {
		pid_t sister = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

		if (!sister)
			_exit(47);
		_exit(waitpid(sister, NULL, 0) < 0 && errno == ECHILD ? 46 : 1);
	}
	for (int i = 0; i < 2; i++) {
		pid_t ended = wait(&status);

		CHECK_EQUAL(status, ended == pid ? EXITED(46) : EXITED(47), "CLONE_PARENT");
	}
	CHECK_ERRNO(wait(&status), ECHILD, "wait for more");
}

/* ---- limits of another, and what the CPU takes ---- */

static void limits(void)
{
	struct rlimit limit = { 100, 200 }, old = { 0, 0 };
	struct rusage usage;
	pid_t pid = child();

	if (!pid) {
		*shared = 1;
		until(2);
		getrlimit(RLIMIT_NOFILE, &limit);
		_exit(limit.rlim_cur == 100 && limit.rlim_max == 200 ? 48 : 1);
	}
	until(1);
	CHECK_EQUAL(prlimit(pid, RLIMIT_NOFILE, &limit, &old), 0, "prlimit of a child");
	CHECK(old.rlim_max >= 200, "the old limit");
	*shared = 2;
	CHECK_EQUAL(proc_wait(pid), EXITED(48), "a child with other limits");

	pid = child();
	if (!pid) {
		limit = (struct rlimit){ 1, 2 };
		setrlimit(RLIMIT_CPU, &limit);
		for (;;)
			__asm__ volatile("");
	}
	CHECK_EQUAL(wait4(pid, &(int){ 0 }, 0, &usage), pid, "wait4");
	CHECK(usage.ru_utime.tv_sec * 1000000L + usage.ru_utime.tv_usec > 800000,
	      "time of a child that RLIMIT_CPU ended: %ld us",
	      usage.ru_utime.tv_sec * 1000000L + usage.ru_utime.tv_usec);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(shared != MAP_FAILED, "mmap");
	stops();
	stop_of_threads();
	untold();
	terminals();
	families();
	descriptors_of_processes();
	limits();
	return check_result();
}
