// SPDX-License-Identifier: MIT
/*
 * A sandbox from its beginning to its end.  An ordinary program's code.
 *
 * There are two processes of ours.  The broker is a child of the one that the user has started; the sandbox's first
 * process is its child.  Both are subreapers: a process of the sandbox that loses its parent becomes the broker's
 * child, or where that is gone, the other's.  So each of the two can end all that is left, and does when the other one
 * is killed: it kills its children until it has none.  The one that the user has started writes the log.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launch/launch.h"
#include "sandbox.h"

#define PIPE_SIZE	(1 << 20)
#define LINE_SIZE	4096

static struct shared *all;

/* ---- children ---- */

/* In /proc/PID/stat the parent's number is behind the name, which ends with the last ')'. */
static bool is_child(int proc, const char *number, pid_t parent)
{
	char path[64], text[512], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/stat", number);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	p = strrchr(text, ')');
	return p && p[1] && p[2] && p[3] && atoi(p + 4) == parent;
}

struct entry {				/* linux_dirent64 */
	uint64_t inode, offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* Nobody else waits for them, so a number stays theirs.  Called by a handler of signals too. */
static void kill_children(void)
{
	_Alignas(8) char names[4096];
	const pid_t self = getpid();
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (proc < 0)
		return;
	while ((n = syscall(SYS_getdents64, proc, names, sizeof(names))) > 0) {
		for (char *at = names; at < names + n; at += ((struct entry *)at)->length) {
			const char *name = ((struct entry *)at)->name;

			if (*name >= '0' && *name <= '9' && is_child(proc, name, self))
				kill(atoi(name), SIGKILL);
		}
	}
	close(proc);
}

/* Children of those that are killed become ours: until there are none. */
static void end_all_children(void)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	all->ending = 1;
	for (;;) {
		pid_t child;

		while ((child = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (child < 0 && errno == ECHILD)
			return;
		kill_children();
		nanosleep(&moment, NULL);
	}
}

/* ---- the broker ---- */

/* Time is over, or a callback has ended all: whoever waits for the first process goes on when it is dead. */
static void on_alarm(int signal)
{
	const int error = errno;

	(void)signal;
	if (!all->ending)
		all->by_time = 1;
	all->ending = 1;
	kill_children();
	errno = error;
}

static void set_limit(int resource, uint64_t soft, uint64_t hard)
{
	struct rlimit old, new = { .rlim_cur = soft, .rlim_max = hard };

	if (getrlimit(resource, &old))
		die("getrlimit(): %s", strerror(errno));
	if (new.rlim_max > old.rlim_max)
		new.rlim_max = old.rlim_max;
	if (new.rlim_cur > new.rlim_max)
		new.rlim_cur = new.rlim_max;
	if (setrlimit(resource, &new))
		die("setrlimit(): %s", strerror(errno));
}

/* Of each process; that of the size of files the first one sets itself, for the policy is a file too. */
static void set_limits(const uint64_t limits[NR_LIMITS])
{
	const uint64_t seconds = limits[LIMIT_CPU] / 1000 + (limits[LIMIT_CPU] % 1000 != 0);

	set_limit(RLIMIT_CORE, 0, 0);
	if (limits[LIMIT_CPU] != NO_LIMIT)
		set_limit(RLIMIT_CPU, seconds, seconds + 1);
	if (limits[LIMIT_MEMORY] != NO_LIMIT)
		set_limit(RLIMIT_DATA, limits[LIMIT_MEMORY], limits[LIMIT_MEMORY]);
	if (limits[LIMIT_DESCRIPTORS] != NO_LIMIT)
		set_limit(RLIMIT_NOFILE, limits[LIMIT_DESCRIPTORS], limits[LIMIT_DESCRIPTORS]);
}

static void start_clock(uint64_t milliseconds)
{
	/* And again, for a process that began meanwhile. */
	const struct itimerval timer = { .it_value = { milliseconds / 1000, milliseconds % 1000 * 1000 },
					 .it_interval = { 0, 100000 } };

	if (milliseconds != NO_LIMIT && setitimer(ITIMER_REAL, &timer, NULL))
		die("setitimer(): %s", strerror(errno));
}

/* What is open goes to no program, but for 0, 1 and 2. */
static void hide_descriptors(void)
{
	struct dirent *entry;
	DIR *open_here;

	if (!syscall(SYS_close_range, 3U, ~0U, 4 /* CLOSE_RANGE_CLOEXEC: Linux 5.11 */))
		return;
	open_here = opendir("/proc/self/fd");
	if (!open_here)
		die("/proc/self/fd: %s", strerror(errno));
	while ((entry = readdir(open_here)))
		if (atoi(entry->d_name) > 2)
			fcntl(atoi(entry->d_name), F_SETFD, FD_CLOEXEC);
	closedir(open_here);
}

static void __attribute__((noreturn)) be_broker(const struct run *run, pid_t user, int log)
{
	static uint64_t calls[DUNE_RING3_CALLS / 64];
	struct dune_ring3_options options = {
		.argv = run->argv, .calls = calls, .output = log, .environment = run->environment,
		.data = run->policy, .data_size = run->policy->size,
	};
	struct sigaction action = { .sa_handler = on_alarm };

	all->broker = getpid();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) || prctl(PR_SET_PDEATHSIG, SIGALRM))
		die("prctl(): %s", strerror(errno));
	sigaction(SIGALRM, &action, NULL);
	if (getppid() != user)
		exit(EXIT_OURS);
	for (unsigned int nr = 0; nr < DUNE_RING3_CALLS; nr++)
		if (is_judged(run->policy, nr))
			dune_ring3_want(calls, nr);
	hide_descriptors();
	set_limits(run->policy->limits);
	start_clock(run->policy->limits[LIMIT_WALL]);
	build_wall(run);
	all->status = dune_ring3_run(&options, &sandbox_callbacks);
	end_all_children();
	_exit(0);
}

/* ---- the process that the user has started ---- */

struct lines {
	char text[2 * LINE_SIZE];
	size_t length;
};

/* A line that nobody reads is dropped, for else we would wait for ever.  A pipe with room has room for a line. */
static void write_all(int fd, const char *text, size_t length)
{
	static int patience = 1000;	/* in milliseconds */
	static bool failed;

	while (length) {
		struct pollfd polled = { .fd = fd, .events = POLLOUT };
		ssize_t n;

		if (poll(&polled, 1, patience) <= 0) {
			patience = 0;
			__atomic_fetch_add(&all->dropped, 1, __ATOMIC_RELAXED);
			return;
		}
		n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (!failed)
				fprintf(stderr, "dune-sandbox: the log cannot be written: %s\n", strerror(errno));
			failed = true;
			return;
		}
		text += n;
		length -= n;
	}
}

/* What has come, line by line.  false: no more will come. */
static bool read_log(const struct run *run, int fd, struct lines *l)
{
	ssize_t n = read(fd, l->text + l->length, sizeof(l->text) - l->length);
	char *begin = l->text, *end;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (!n)
		return false;
	l->length += n;
	while ((end = memchr(begin, '\n', l->text + l->length - begin))) {
		if (run->line)
			run->line(begin, end + 1 - begin);
		if (run->log >= 0)
			write_all(run->log, begin, end + 1 - begin);
		begin = end + 1;
	}
	l->length = l->text + l->length - begin;
	memmove(l->text, begin, l->length);
	if (l->length == sizeof(l->text))
		l->length = 0;		/* no line of ours */
	return true;
}

/* Write lines until the broker ends, and those that have come by then. */
static int serve(const struct run *run, pid_t broker, int log)
{
	struct lines lines = { .length = 0 };
	struct pollfd polled = { .fd = log, .events = POLLIN };
	int status;

	for (;;) {
		const pid_t ended = waitpid(broker, &status, WNOHANG);

		if (ended == broker || (ended < 0 && errno == ECHILD))
			break;
		if (poll(&polled, 1, 100) > 0 && !read_log(run, log, &lines)) {
			while (waitpid(broker, &status, 0) < 0 && errno == EINTR)
				;
			break;
		}
	}
	end_all_children();
	while (poll(&polled, 1, 0) > 0 && read_log(run, log, &lines))
		;
	if (all->dropped)
		fprintf(stderr, "dune-sandbox: %u lines of the log were dropped\n", all->dropped);
	return status;
}

static int exit_status(int broker)
{
	const int status = all->status;

	if (all->by_policy)
		return EXIT_BY_POLICY;
	if (all->by_time || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU))
		return EXIT_BY_TIME;
	if (!WIFEXITED(broker) || WEXITSTATUS(broker))
		return EXIT_OURS;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void on_child(int signal)
{
	(void)signal;
}

int run_sandbox(const struct run *run)
{
	struct sigaction child = { .sa_handler = on_child };
	const pid_t self = getpid();
	pid_t broker;
	int log[2];

	all = dune_ring3_share(sizeof(*all));
	if (!all)
		die("no memory to share with the program's processes");
	fill_names(&all->names);
	all->soak = run->soak;
	all->all = run->line;
	all->log = run->line || run->log >= 0;
	__dune_launch_need_boundary();
	if (pipe2(log, O_CLOEXEC))
		die("pipe(): %s", strerror(errno));
	fcntl(log[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (!all->all)
		fcntl(log[1], F_SETFL, O_NONBLOCK);
	sigaction(SIGCHLD, &child, NULL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		die("prctl(): %s", strerror(errno));
	fflush(NULL);
	broker = fork();
	if (broker < 0)
		die("fork(): %s", strerror(errno));
	if (!broker) {
		close(log[0]);
		be_broker(run, self, log[1]);
	}
	close(log[1]);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	return exit_status(serve(run, broker, log[0]));
}
