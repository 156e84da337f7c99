// SPDX-License-Identifier: MIT
/*
 * Waiting for a lock on a file: fcntl() is a call that libdune looks at, and yet signals interrupt it as any other.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "proc.h"

static volatile sig_atomic_t seen;
static volatile int release_to = -1;
static int fd;
static const struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

static void note(int signo)
{
	(void)signo;
	CHECK_WORLD("a handler");
	seen++;
	if (release_to >= 0)
		CHECK_EQUAL(write(release_to, "x", 1), 1, "write");
}

/* A child with the lock, until something comes to *@to; at most so long that a test which hangs fails. */
static pid_t holder(int *to)
{
	int ready[2], ends[2];
	pid_t pid;
	char c;

	DIE_UNLESS(!pipe(ready) && !pipe(ends), "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int own = open("locked", O_RDWR);

		close(ends[1]);
		signal(SIGALRM, SIG_DFL);
		alarm(100);
		_exit(own < 0 || fcntl(own, F_SETLK, &whole) || write(ready[1], "x", 1) != 1 ||
		      read(ends[0], &c, 1) < 0);
	}
	close(ends[0]);
	CHECK_EQUAL(read(ready[0], &c, 1), 1, "the child has the lock");
	close(ready[0]);
	close(ready[1]);
	*to = ends[1];
	return pid;
}

static void alarm_soon(int flags)
{
	const struct itimerval soon = { .it_value = { 0, 200000 } };
	struct sigaction action = { .sa_handler = note, .sa_flags = flags };

	seen = 0;
	CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0, "sigaction");
	CHECK_EQUAL(setitimer(ITIMER_REAL, &soon, NULL), 0, "setitimer");
}

static void interrupted(int command, const char *what)
{
	struct flock lock = whole;
	int to;
	pid_t pid = holder(&to);

	alarm_soon(0);
	CHECK_ERRNO(fcntl(fd, command, &lock), EINTR, what);
	CHECK(seen == 1, "%s: %d handlers have run", what, seen);
	close(to);
	CHECK_EQUAL(proc_wait(pid), 0, "the holder");
}

/* It goes on after the handler, which has let go the lock. */
static void restarted(int command, const char *what)
{
	struct flock lock = whole;
	int to;
	pid_t pid = holder(&to);

	alarm_soon(SA_RESTART);
	release_to = to;
	CHECK(!fcntl(fd, command, &lock), "%s with SA_RESTART: %s", what, strerror(errno));
	release_to = -1;
	CHECK(seen == 1, "%s with SA_RESTART: %d handlers have run", what, seen);
	lock.l_type = F_UNLCK;
	CHECK(!fcntl(fd, command, &lock), "%s: unlock: %s", what, strerror(errno));
	CHECK_EQUAL(proc_wait(pid), 0, "the holder");
	close(to);
}

/* One handler has run, and the call waits again: it can still be killed. */
static void killed(void)
{
	struct flock lock = whole;
	int to, status;
	pid_t pid = holder(&to), waiter;

	fflush(stdout);
	waiter = fork();
	if (!waiter) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm_soon(SA_RESTART);
		fcntl(fd, F_SETLKW, &lock);
		_exit(1);
	}
	usleep(600000);
	kill(waiter, SIGTERM);
	usleep(300000);
	close(to);
	status = proc_wait(waiter);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "SIGTERM kills who waits: %#x", status);
	CHECK_EQUAL(proc_wait(pid), 0, "the holder");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	fd = open("locked", O_RDWR | O_CREAT | O_TRUNC, 0600);
	DIE_UNLESS(fd >= 0, "open");
	interrupted(F_SETLKW, "F_SETLKW");
	interrupted(F_OFD_SETLKW, "F_OFD_SETLKW");
	restarted(F_SETLKW, "F_SETLKW");
	restarted(F_OFD_SETLKW, "F_OFD_SETLKW");
	killed();
	return check_result();
}
