// SPDX-License-Identifier: MIT
/*
 * Threads of the process that are not in Dune mode.  HR3 and GR0.
 */
#include <linux/fcntl.h>

#include "api/api.h"

#define TEXT_SIZE	1024
#define NUM_THREADS	20	/* field of /proc/PID/stat; the first two end with the last bracket */

static long read_text(const char *path, char text[TEXT_SIZE])
{
	long fd = dune_syscall4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), size;

	if (is_error(fd))
		return fd;
	size = dune_syscall3(__NR_read, fd, text, TEXT_SIZE - 1);
	dune_syscall1(__NR_close, fd);
	if (is_error(size))
		return size;
	text[size] = '\0';
	return 0;
}

static long number_of_threads(const char *stat)
{
	const char *p = stat;
	long number = 0;

	for (const char *c = stat; *c; c++)
		if (*c == ')')
			p = c;
	for (int field = 2; *p && field < NUM_THREADS; p++)
		if (*p == ' ')
			field++;
	while (*p >= '0' && *p <= '9')
		number = 10 * number + *p++ - '0';
	return number;
}

PUBLIC int dune_threads_outside(void)
{
	char text[TEXT_SIZE];
	long inside, all, ret;

	/* A thread that is made meanwhile counts as one outside, rather than hiding one. */
	inside = __atomic_load_n(&region_state()->nr_threads, __ATOMIC_SEQ_CST);
	ret = read_text("/proc/self/stat", text);
	if (ret)
		return ret;
	all = number_of_threads(text);
	return all > inside ? all - inside : 0;
}
