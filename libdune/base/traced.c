// SPDX-License-Identifier: MIT
/*
 * Whether the thread has a tracer, which is to see what becomes of exceptions.  HR3.
 *
 * Only /proc says that, and not cheaply.  So it is asked only while there may be one: a process may have begun with
 * one, has called PTRACE_TRACEME, or has been interrupted without a signal, as by who attaches to it.
 */
#include <linux/fcntl.h>

#include "base/base.h"

static bool maybe = true;

void __dune_traced_maybe(void)
{
	WRITE_ONCE(maybe, true);
}

/* The number in the line of @text that begins with @name; 0. */
static unsigned int number_of(const char *text, const char *name)
{
	unsigned int number = 0;
	const char *n = name;

	for (; *text && *n; text++)
		n = *text == *n ? n + 1 : name;
	while (*text == '\t')
		text++;
	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + *text - '0';
	return number;
}

/* A filter of the program's may forbid to ask: then there is none. */
bool __dune_traced(void)
{
	char text[512];
	long fd, n;

	if (!READ_ONCE(maybe) || region_state()->filtered)
		return false;
	fd = dune_syscall4(__NR_openat, AT_FDCWD, "/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0);
	n = is_error(fd) ? 0 : dune_syscall3(__NR_read, fd, text, sizeof(text) - 1);
	if (!is_error(fd))
		dune_syscall1(__NR_close, fd);
	text[n > 0 ? n : 0] = 0;
	if (!number_of(text, "\nTracerPid:"))
		WRITE_ONCE(maybe, false);
	return READ_ONCE(maybe);
}
