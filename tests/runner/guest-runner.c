// SPDX-License-Identifier: MIT
/*
 * Runs a list of tests inside the testbed's machine, one after the other.
 *
 *	guest-runner PLAN FAULTS
 *
 * Each line of PLAN is "NAME SECONDS PROGRAM [ARG...]" (words split at blanks);
 * FAULTS holds one extended regular expression for what the kernel's log must
 * not say. A test has the machine to itself: its own session, its output on our
 * stdout; afterwards everything it left running is killed, the kernel log is
 * read, and the module must be as unused as it was before.
 *
 * Around each test's output goes a line that starts with the byte 1:
 *	\1begin NAME
 *	\1end NAME VERDICT MILLISECONDS
 * VERDICT is "exit:N", "signal:N", "timeout" or "fault" (the kernel complained).
 * TESTBED_PATIENCE in the environment says how many times as long as usual the machine may take.
 * After a fault we stop with status 3: the machine is not to be trusted.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "patience.h"

#define MODULE_USES	"/sys/module/dune/refcnt"
#define RELEASE_SECONDS	3	/* for the module's last references to be gone */
#define KILL_SECONDS	10
#define WORDS_MAX	64

static int kmsg_fd;
static int patience = 1;
static regex_t faults;

/* For what is reported; limits go by patience_seconds(). */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Prints what the kernel said since the last call; true when it complained. */
static bool kernel_complained(bool print)
{
	char record[8192], *text, *end;
	bool complained = false;
	ssize_t n;

	for (;;) {
		n = read(kmsg_fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			return complained;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		end = strchr(++text, '\n');
		if (end)
			*end = '\0';
		if (print)
			printf("kernel: %s\n", text);
		complained |= !regexec(&faults, text, 0, NULL, 0);
	}
}

static int module_uses(void)
{
	char text[32] = "";
	int fd = open(MODULE_USES, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return atoi(text);
}

/* Final references go asynchronously (a delayed fput, RCU): wait a little. */
static bool module_released(int uses_before)
{
	double end = patience_seconds() + RELEASE_SECONDS * patience;

	while (module_uses() > uses_before) {
		if (patience_seconds() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/* We are the subreaper: all that a test leaves behind are our children. */
static bool kill_leftovers(void)
{
	double end = patience_seconds() + KILL_SECONDS * patience;
	char path[64], buffer[1024];
	ssize_t n;
	char *child, *rest;
	int fd;

	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return true;
		if (patience_seconds() > end)
			return false;
		snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? 0 : read(fd, buffer, sizeof(buffer) - 1);
		if (fd >= 0)
			close(fd);
		buffer[n > 0 ? n : 0] = '\0';
		for (rest = buffer; (child = strsep(&rest, " "));)
			if (atoi(child) > 1)
				kill(atoi(child), SIGKILL);
		usleep(5000);
	}
}

static _Noreturn void become_test(char **argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(1, 2);
	execvp(argv[0], argv);
	fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Waits for the test; its status into *status; false at its time's end. */
static bool wait_for(pid_t pid, int signals, double end, int *status)
{
	struct pollfd fd = { .fd = signals, .events = POLLIN };
	struct signalfd_siginfo info;
	double left;
	pid_t gone;

	for (;;) {
		while ((gone = waitpid(-1, status, WNOHANG)) > 0)
			if (gone == pid)
				return true;
		left = end - patience_seconds();
		if (left <= 0)
			return false;
		poll(&fd, 1, left < 1 ? (int)(left * 1000) + 1 : 1000);
		while (read(signals, &info, sizeof(info)) > 0)
			;
	}
}

static bool run_test(const char *name, double seconds, char **argv, int signals)
{
	double start = now();
	int uses = module_uses(), status = 0;
	char verdict[32];
	bool in_time, fault;
	pid_t pid;

	printf("\1begin %s\n", name);
	fflush(stdout);
	pid = fork();
	if (!pid)
		become_test(argv);
	in_time = wait_for(pid, signals, patience_seconds() + seconds, &status);
	if (!in_time)
		kill(-pid, SIGKILL);
	fault = !kill_leftovers();
	if (fault)
		printf("testbed: a process outlives SIGKILL\n");
	if (!fault && !module_released(uses)) {
		fault = true;
		printf("testbed: the module is still in use: %d references, %d before\n",
		       module_uses(), uses);
	}
	fault |= kernel_complained(true);

	if (fault)
		strcpy(verdict, "fault");
	else if (!in_time)
		strcpy(verdict, "timeout");
	else if (WIFSIGNALED(status))
		snprintf(verdict, sizeof(verdict), "signal:%d", WTERMSIG(status));
	else
		snprintf(verdict, sizeof(verdict), "exit:%d", WEXITSTATUS(status));
	printf("\n\1end %s %s %.0f\n", name, verdict, (now() - start) * 1000);
	fflush(stdout);
	return !fault;
}

static bool run_line(char *line, int signals)
{
	char *words[WORDS_MAX + 1];
	size_t count = 0;
	char *word, *rest = line;

	while (count < WORDS_MAX && (word = strsep(&rest, " \t\n")))
		if (*word)
			words[count++] = word;
	words[count] = NULL;
	if (count < 3)
		return true;
	return run_test(words[0], atof(words[1]), words + 2, signals);
}

static bool read_faults(const char *path)
{
	char pattern[8192];
	FILE *file = fopen(path, "re");

	if (!file || !fgets(pattern, sizeof(pattern), file))
		return false;
	fclose(file);
	pattern[strcspn(pattern, "\n")] = '\0';
	return !regcomp(&faults, pattern, REG_EXTENDED | REG_NOSUB);
}

int main(int argc, char **argv)
{
	char line[4096];
	sigset_t child;
	int signals;
	FILE *plan;

	if (argc != 3)
		return 2;
	if (getenv("TESTBED_PATIENCE"))
		patience = atoi(getenv("TESTBED_PATIENCE"));
	plan = fopen(argv[1], "re");
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (!plan || kmsg_fd < 0 || !read_faults(argv[2])) {
		perror("guest-runner");
		return 2;
	}
	lseek(kmsg_fd, 0, SEEK_END);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	while (fgets(line, sizeof(line), plan))
		if (!run_line(line, signals))
			return 3;
	return 0;
}
