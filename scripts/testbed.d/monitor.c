// SPDX-License-Identifier: MIT
/*
 * Runs an emulator, takes apart the frames that its machine sends
 * (channel.h), and tells how it ended.
 *
 *	monitor [-t] CHANNEL KLOG OUTCOME CLOCK SECONDS SILENCE BOOT QUESTION STATE EMULATOR [ARG...]
 *
 * CHANNEL is a FIFO that the emulator writes to. The command's output goes to
 * our stdout and stderr as it comes, the kernel log to the file KLOG, and one
 * line to the file OUTCOME: "exit N", "died", "timeout" (SECONDS in all, or
 * SILENCE seconds without a sign of life), "absent" (PID 1 has not said a word
 * in BOOT seconds), "again" (another kernel came up after it) or "stopped" (by
 * a signal to us); then three numbers: seconds of the machine and of the host,
 * and seconds that the emulator waited for a CPU.
 *
 * All limits are seconds of the machine (clock.h). The file CLOCK is a page in
 * which the machine finds them, as struct shared_clock.
 *
 * The emulator runs on a terminal of its own (Bochs needs one) whose text is
 * dropped; with -t on ours, where Ctrl-C is for the emulator.
 *
 * When the time is out, QUESTION, if it is not empty, is typed on the emulator's terminal, and what
 * it says to that goes to the file STATE: where its CPUs are.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "channel.h"
#include "clock.h"

struct machine {
	pid_t pid;
	int terminal;		/* -1: closed */
	int screen;		/* Bochs' screen; -1: not found yet */
	int channel;
	int klog;
	int boots;
	struct clock clock;
	volatile struct shared_clock *shared_clock;
	double heard;		/* when the channel last had something, by the machine's clock */
	double ended;
	int status;		/* of the command; -1: not known yet */

	/* The frame being read. */
	uint8_t header[FRAME_HEADER];
	unsigned int header_have;
	uint32_t left;
	char text[16];
	unsigned int text_have;
};

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
	stopped = signal;
}

static void look_at_clock(struct machine *m)
{
	clock_look(&m->clock, m->pid, clock_host());
	m->shared_clock->nanoseconds = m->clock.seconds * 1e9;
}

static void write_all(int fd, const uint8_t *data, size_t length)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	while (length) {
		n = write(fd, data, length);
		if (n < 0 && errno == EAGAIN) {
			poll(&wait, 1, -1);
			continue;
		}
		if (n < 0 && errno == EINTR && !stopped)
			continue;
		if (n < 0)
			return;		/* our reader is gone: the machine goes on */
		data += n;
		length -= n;
	}
}

static void take_payload(struct machine *m, const uint8_t *data, size_t length)
{
	size_t room;

	switch (m->header[0]) {
	case FRAME_STDOUT:
		write_all(STDOUT_FILENO, data, length);
		break;
	case FRAME_STDERR:
		write_all(STDERR_FILENO, data, length);
		break;
	case FRAME_MESSAGE:
		write_all(STDERR_FILENO, (const uint8_t *)"testbed: machine: ", 18);
		write_all(STDERR_FILENO, data, length);
		break;
	case FRAME_KLOG:
		write_all(m->klog, data, length);
		break;
	case FRAME_STATUS:
		room = sizeof(m->text) - 1 - m->text_have;
		if (length > room)
			length = room;
		memcpy(m->text + m->text_have, data, length);
		m->text_have += length;
		break;
	}
}

static void end_frame(struct machine *m)
{
	if (m->header[0] == FRAME_BOOTED) {
		m->boots++;
		m->heard = m->clock.seconds;
	}
	if (m->header[0] == FRAME_STATUS) {
		m->text[m->text_have] = '\0';
		m->status = atoi(m->text) & 0xff;
	}
	m->header_have = 0;
}

static void take_bytes(struct machine *m, const uint8_t *data, size_t length)
{
	size_t n;

	while (length) {
		if (m->header_have < FRAME_HEADER) {
			m->header[m->header_have++] = *data++;
			length--;
			if (m->header_have < FRAME_HEADER)
				continue;
			m->left = m->header[1] | m->header[2] << 8 | m->header[3] << 16 |
				  (uint32_t)m->header[4] << 24;
			m->text_have = 0;
		} else {
			n = length < m->left ? length : m->left;
			take_payload(m, data, n);
			m->left -= n;
			data += n;
			length -= n;
		}
		if (!m->left)
			end_frame(m);
	}
}

/* Reads what is there; false when nothing was. */
static bool drain_channel(struct machine *m)
{
	static uint8_t buffer[1 << 16];
	ssize_t n = read(m->channel, buffer, sizeof(buffer));

	if (n <= 0)
		return false;
	if (m->boots)
		m->heard = m->clock.seconds;
	take_bytes(m, buffer, n);
	return true;
}

/* Reads once what the emulator says, and keeps it if `file` is not -1. */
static void drain_terminal(struct machine *m, int file)
{
	char buffer[4096];
	ssize_t n = read(m->terminal, buffer, sizeof(buffer));

	if (n <= 0) {
		close(m->terminal);
		m->terminal = -1;
	} else if (file >= 0) {
		write_all(file, (const uint8_t *)buffer, n);
	}
}

/*
 * Bochs with a debugger shows its screen on a terminal of its own, whose other side it expects a person to open. While
 * nobody does, what it writes there (the cursor blinks) piles up in the kernel, and when that has no room left, after
 * some minutes, Bochs waits for ever.
 */
static int open_screen(pid_t pid)
{
	struct termios raw;
	char path[64], text[256];
	FILE *info;
	int fd, index, screen;
	ssize_t n;

	for (fd = 3; fd < 16; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, text, sizeof(text) - 1);
		if (n < 4 || memcmp(text + n - 4, "ptmx", 4))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
		info = fopen(path, "re");
		index = -1;
		while (info && fgets(text, sizeof(text), info))
			sscanf(text, "tty-index: %d", &index);
		if (info)
			fclose(info);
		snprintf(path, sizeof(path), "/dev/pts/%d", index);
		screen = index < 0 ? -1 : open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (screen < 0)
			continue;
		if (!tcgetattr(screen, &raw)) {
			cfmakeraw(&raw);
			tcsetattr(screen, TCSANOW, &raw);
		}
		return screen;
	}
	return -1;
}

static void drain_screen(struct machine *m)
{
	char buffer[4096];

	if (m->screen < 0)
		m->screen = open_screen(m->pid);
	while (m->screen >= 0 && read(m->screen, buffer, sizeof(buffer)) > 0)
		;
}

/* Time for the emulator to answer. */
#define ANSWER_SECONDS	5

static void ask_for_state(struct machine *m, const char *question, const char *path)
{
	double end = m->clock.seconds + ANSWER_SECONDS;
	struct pollfd terminal = { .fd = m->terminal, .events = POLLIN };
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	write_all(m->terminal, (const uint8_t *)question, strlen(question));
	while (m->terminal >= 0 && m->clock.seconds < end) {
		if (poll(&terminal, 1, 200) > 0)
			drain_terminal(m, file);
		look_at_clock(m);
	}
	close(file);
}

static void start_emulator(struct machine *m, bool our_terminal, char **argv)
{
	struct winsize size = { .ws_row = 50, .ws_col = 120 };
	pid_t monitor = getpid();

	m->pid = our_terminal ? fork() : forkpty(&m->terminal, NULL, NULL, &size);
	if (m->pid < 0) {
		perror("monitor: fork");
		exit(98);
	}
	if (!m->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != monitor)
			_exit(1);
		signal(SIGINT, SIG_DFL);
		if (!our_terminal)
			setenv("TERM", "xterm", 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (!our_terminal)
		fcntl(m->terminal, F_SETFD, FD_CLOEXEC);
}

/* One that has said its last word has this long to power off. */
#define POWER_OFF_SECONDS	30

struct limits {
	double seconds, silence, boot;
};

static const char *watch(struct machine *m, const struct limits *limits, const char *question, const char *state)
{
	struct pollfd fds[2];
	double end = limits->seconds, now;
	bool alive = true;

	while (alive && !stopped && m->boots < 2) {
		fds[0] = (struct pollfd){ .fd = m->channel, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = m->terminal, .events = POLLIN };
		poll(fds, 2, 200);
		drain_screen(m);
		if (fds[1].revents)
			drain_terminal(m, -1);
		alive = waitpid(m->pid, NULL, WNOHANG) == 0;
		if (fds[0].revents || !alive)
			while (drain_channel(m) && m->boots < 2)
				;
		look_at_clock(m);
		now = m->clock.seconds;
		if (m->status >= 0 && now + POWER_OFF_SECONDS < end)
			end = now + POWER_OFF_SECONDS;
		if (alive && (now > end || (m->boots ? now > m->heard + limits->silence : now > limits->boot)))
			break;
	}
	m->ended = m->clock.seconds;
	if (alive) {
		if (!stopped && m->status < 0 && m->boots < 2 && m->terminal >= 0 && *question)
			ask_for_state(m, question, state);
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
		if (m->status < 0 && m->boots < 2)
			return stopped ? "stopped" : !m->boots && m->clock.seconds < end ? "absent" : "timeout";
	}
	return m->status >= 0 ? "exit" : m->boots > 1 ? "again" : "died";
}

static volatile struct shared_clock *share_clock(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	void *page = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, SHARED_CLOCK_SIZE))
		page = mmap(NULL, SHARED_CLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}

int main(int argc, char **argv)
{
	static struct machine m = { .terminal = -1, .screen = -1, .status = -1 };
	struct limits limits;
	const char *outcome;
	bool our_terminal = argc > 1 && !strcmp(argv[1], "-t");
	double start;
	FILE *file;

	argc -= our_terminal;
	argv += our_terminal;
	if (argc < 11) {
		fprintf(stderr, "usage: monitor [-t] CHANNEL KLOG OUTCOME CLOCK SECONDS SILENCE BOOT QUESTION STATE "
				"EMULATOR [ARG...]\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);	/* our caller takes the emulator with it */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, our_terminal ? SIG_IGN : on_stop);
	signal(SIGTERM, on_stop);
	signal(SIGHUP, on_stop);
	/* Open for both, so that it never ends while the emulator comes and goes. */
	m.channel = open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	m.klog = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	file = fopen(argv[3], "we");
	m.shared_clock = share_clock(argv[4]);
	if (m.channel < 0 || m.klog < 0 || !file || !m.shared_clock) {
		perror("monitor");
		return 2;
	}
	fcntl(m.channel, F_SETPIPE_SZ, 1 << 20);
	start = clock_host();
	clock_start(&m.clock, clock_speed(), start);
	start_emulator(&m, our_terminal, argv + 10);
	limits = (struct limits){ .seconds = atof(argv[5]), .silence = atof(argv[6]), .boot = atof(argv[7]) };
	outcome = watch(&m, &limits, argv[8], argv[9]);
	if (m.status >= 0)
		fprintf(file, "exit %d", m.status);
	else
		fprintf(file, "%s", outcome);
	fprintf(file, "\n%.0f %.0f %.0f\n", m.ended, clock_host() - start, m.clock.waited);
	return fclose(file) ? 2 : 0;
}
