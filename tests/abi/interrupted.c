// SPDX-License-Identifier: MIT
/*
 * A signal that comes while /dev/dune is opened, or bound by DUNE_ATTACH, at whatever moment: its handler runs, and
 * the call does what it does without, though the handler asks for no restart.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"
#include "patience.h"
#include "raw.h"

#define TIMES	10000
#define SECONDS	60		/* where the machine is slow */

static volatile sig_atomic_t signals;

static void count(int signo)
{
	(void)signo;
	signals++;
}

/* By DUNE_ATTACH on @inherited, or from /dev/dune. */
static int get(int inherited)
{
	return inherited < 0 ? open("/dev/dune", O_RDWR | O_CLOEXEC) : ioctl(inherited, DUNE_ATTACH, O_CLOEXEC);
}

/*
 * One signal for each call, later and later in it, and behind it.  With a timer that goes on a slow machine would never
 * get through.
 */
static void interrupt(int inherited, const char *what)
{
	double start = check_seconds(), end = patience_seconds() + SECONDS;
	unsigned int longest;
	int fd, i, enough;

	signals = 0;
	for (i = 0; i < 100; i++)
		close(get(inherited));
	longest = (check_seconds() - start) / 100 * 1e6 + 2;
	/* The emulator's timer gets through to a slow machine seldom. A slow kernel gets through fewer calls. */
	for (i = 0; (i < TIMES || signals <= TIMES / 10) && patience_seconds() < end; i++) {
		struct itimerval once = { .it_value.tv_usec = 1 + i % longest };

		setitimer(ITIMER_REAL, &once, NULL);
		fd = get(inherited);
		if (!CHECK(fd >= 0, "%s, a signal after %lu us: %s", what, (long)once.it_value.tv_usec,
			   strerrorname_np(errno)))
			break;
		close(fd);
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	enough = (i < TIMES ? i : TIMES) / 10;
	CHECK(signals > enough && i > TIMES / 100, "%s: %d signals in %d calls", what, (int)signals, i);
}

int main(void)
{
	struct sigaction action = { .sa_handler = count };
	int fd, status = -1;
	pid_t pid;

	sigaction(SIGALRM, &action, NULL);
	interrupt(-1, "open");
	fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
	DIE_UNLESS(fd >= 0, "/dev/dune");
	pid = fork();
	if (!pid) {
		check_failures = 0;
		interrupt(fd, "DUNE_ATTACH");
		_exit(check_failures != 0);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "the child: status %#x", status);
	return check_result();
}
