// SPDX-License-Identifier: MIT
/*
 * limit SECONDS COMMAND [ARGUMENT...]: the command, and all that it starts, until a limit by the clock of
 * scripts/testbed.d/clock.h: a busy host is no time out. Exit status: the command's, 128 and a signal's number, 124 at
 * the end of its time. What it has started and left behind goes with it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../../scripts/testbed.d/clock.h"

#define LOOK_SECONDS	0.1

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
	stopped = signal;
}

static void on_child(int signal)
{
	(void)signal;
}

/* As the subreaper we are the parent of all that is left, one after the other. */
static void kill_all(void)
{
	char path[64];
	FILE *file;
	int child;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	do {
		file = fopen(path, "re");
		while (file && fscanf(file, "%d", &child) == 1)
			kill(child, SIGKILL);
		if (file)
			fclose(file);
	} while (waitpid(-1, NULL, 0) > 0);
}

static pid_t start(char **argv)
{
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		fprintf(stderr, "limit: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return pid;
}

int main(int argc, char **argv)
{
	static struct clock clock;
	struct sigaction child = { .sa_handler = on_child };	/* ends the sleep */
	int status = 0, ended = 0;
	double seconds;
	pid_t pid, gone;

	if (argc < 3) {
		fprintf(stderr, "usage: limit SECONDS COMMAND [ARGUMENT...]\n");
		return 2;
	}
	seconds = atof(argv[1]);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGTERM, on_stop);
	signal(SIGINT, on_stop);
	sigaction(SIGCHLD, &child, NULL);
	clock_start(&clock, clock_speed(), clock_host());
	pid = start(argv + 2);
	while (!ended && !stopped && clock.seconds < seconds) {
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_SECONDS * 1e9 }, NULL);
		clock_look(&clock, getpid(), clock_host());
		while ((gone = waitpid(-1, &status, WNOHANG)) > 0 && gone != pid)
			;
		ended = gone == pid;
	}
	kill_all();
	if (ended)
		return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (stopped)
		return 128 + stopped;
	fprintf(stderr, "limit: %s: time out: %.0f s of its own, in which it waited %.0f s for a CPU\n", argv[2],
		clock.seconds, clock.waited);
	return 124;
}
