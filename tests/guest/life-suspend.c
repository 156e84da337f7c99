// SPDX-License-Identifier: MIT
/*
 * The machine sleeps and wakes while processes run in Dune mode, and a guest of KVM's beside them: all go
 * on, and no byte of their memory is wrong.
 *
 *	life-suspend STATE	what to write to /sys/power/state
 */
#include <fcntl.h>

#include "check.h"
#include "companions.h"

#define WAKE_ALARM	"/sys/class/rtc/rtc0/wakealarm"
#define STATE		"/sys/power/state"
#define ROUNDS		2
/* Enough for a busy host to get there: an alarm that comes before the machine sleeps does not wake it. */
#define SLEEP_SECONDS	"+6"

static const struct companion companions[] = {
	{ "a process in Dune mode", memory_companion },
	{ "another one", memory_companion },
	{ "the KVM guest", kvm_companion },
};

#define NR_COMPANIONS	(sizeof(companions) / sizeof(companions[0]))

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* What is in the file, without the end of the line; "" for a file that is empty or cannot be read. */
static void get(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, size - 1) : 0;

	text[length > 0 ? length : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	if (fd >= 0)
		close(fd);
}

static double seconds_asleep(void)
{
	struct timespec awake, all;

	clock_gettime(CLOCK_MONOTONIC, &awake);
	clock_gettime(CLOCK_BOOTTIME, &all);
	return all.tv_sec - awake.tv_sec + (all.tv_nsec - awake.tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
	/* Without KVM, the module switches virtualization off and on itself. */
	unsigned int count = NR_COMPANIONS - (access("/dev/kvm", F_OK) ? 1 : 0);
	const char *state = argc > 1 ? argv[1] : "freeze";
	char alarm[32];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (access(WAKE_ALARM, W_OK) || access(STATE, W_OK)) {
		printf("this machine cannot sleep, or nothing can wake it\n");
		return CHECK_SKIP;
	}
	/* The clock has one alarm, and it may be in use: the testbed has one set that never comes. */
	get(WAKE_ALARM, alarm, sizeof(alarm));
	companions_start(companions, count);
	companions_go_on(companions, count, 2, "at first");
	for (unsigned int i = 0; i < ROUNDS && !check_failures; i++) {
		double before = seconds_asleep();

		CHECK(put(WAKE_ALARM, "0") && put(WAKE_ALARM, SLEEP_SECONDS), "the alarm: %s", strerror(errno));
		CHECK(put(STATE, state), "%s to " STATE ": %s", state, strerror(errno));
		CHECK(seconds_asleep() > before + 0.5, "it did not sleep");
		CHECK(!alarm[0] || (put(WAKE_ALARM, "0") && put(WAKE_ALARM, alarm)), "the alarm of before, %s: %s",
		      alarm, strerror(errno));
		companions_go_on(companions, count, 2, "awake again");
	}
	companions_end(companions, count);
	return check_result();
}
