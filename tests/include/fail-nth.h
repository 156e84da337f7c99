/* SPDX-License-Identifier: MIT */
/*
 * The debug kernel's fault injection: the N-th allocation, or copy from or to user memory, that this thread has the
 * kernel make from now on fails (/proc/thread-self/fail-nth).
 */
#ifndef TESTS_FAIL_NTH_H
#define TESTS_FAIL_NTH_H

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

static int nth_fd = -1;

static void set_number(const char *path, const char *number)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	DIE_UNLESS(fd >= 0 && write(fd, number, strlen(number)) > 0, path);
	close(fd);
}

/* All sorts of memory, of every size, and copies; and nothing in the kernel's log. */
static void inject_all(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
	};
	char path[128];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose", kinds[i]);
		set_number(path, "0");
	}
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		set_number(path, settings[i][1]);
	}
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	DIE_UNLESS(nth_fd >= 0, "/proc/thread-self/fail-nth");
}

static void arm(unsigned int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth);

	DIE_UNLESS(pwrite(nth_fd, text, length, 0) == length, "fail-nth");
}

/* Has the point been met? To read and to write the number are copies too, and may be the one that fails. */
static bool disarm(void)
{
	char text[16];
	ssize_t length = pread(nth_fd, text, sizeof(text), 0);
	bool met = length > 0 && text[0] == '0';

	while (pwrite(nth_fd, "0", 1, 0) != 1)
		;
	return met;
}

#endif
