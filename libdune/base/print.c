// SPDX-License-Identifier: MIT
/*
 * Messages and the end of the process.
 *
 * HR3 and GR0.
 */
#include "base/base.h"

#define STDOUT	1
#define STDERR	2

#define MESSAGE_MAX	1024

/* One write, so that lines of several threads do not mix. */
static int print(int fd, const char *prefix, const char *fmt, va_list args, bool newline)
{
	char buf[MESSAGE_MAX];
	size_t length = 0, done = 0;
	long ret;

	while (prefix[length]) {
		buf[length] = prefix[length];
		length++;
	}
	length += __dune_format(buf + length, sizeof(buf) - 1 - length, fmt, args);
	if (length > sizeof(buf) - 2)
		length = sizeof(buf) - 2;
	if (newline)
		buf[length++] = '\n';
	while (done < length) {
		ret = call_anywhere(__NR_write, fd, (long)(buf + done), length - done);
		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			return ret;
		done += ret;
	}
	return length;
}

PUBLIC int dune_printf(const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = print(STDOUT, "", fmt, args, false);
	va_end(args);
	return ret;
}

PUBLIC void dune_die(void)
{
	for (;;)
		call_anywhere(__NR_exit_group, 1, 0, 0);
}

/* One line on standard error; @fmt has no newline. */
void __dune_message(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(STDERR, "libdune: ", fmt, args, true);
	va_end(args);
}

void __dune_print_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(STDERR, "", fmt, args, false);
	va_end(args);
}

void __dune_print_text(const char *text)
{
	size_t length = 0, done = 0;
	long ret;

	while (text[length])
		length++;
	while (done < length) {
		ret = call_anywhere(__NR_write, STDOUT, (long)(text + done), length - done);
		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			break;
		done += ret;
	}
	call_anywhere(__NR_write, STDOUT, (long)"\n", 1);
}

/* HR3, or GR0 where libdune itself cannot go on. */
void __dune_fatal(int signo, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(STDERR, "libdune: ", fmt, args, true);
	va_end(args);
	__dune_raise(signo, SI_KERNEL, 0);
}
