// SPDX-License-Identifier: MIT
/*
 * Messages and the end of the process.
 */
#include "internal.h"

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
		ret = dune_syscall3(__NR_write, fd, buf + done, length - done);
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
		dune_syscall1(__NR_exit_group, 1);
}

/* One line on standard error; @fmt has no newline. */
void __dune_message(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(STDERR, "libdune: ", fmt, args, true);
	va_end(args);
}

static void print_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void print_err(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(STDERR, "", fmt, args, false);
	va_end(args);
}

PUBLIC void dune_dump_trap_frame(struct dune_tf *tf)
{
	print_err("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n"
		  "rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n"
		  "r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n"
		  "r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n"
		  "rip %016lx rflags %08lx cs %04x ss %04x err %08x\n",
		  tf->rax, tf->rbx, tf->rcx, tf->rdx, tf->rsi, tf->rdi, tf->rbp, tf->rsp,
		  tf->r8, tf->r9, tf->r10, tf->r11, tf->r12, tf->r13, tf->r14, tf->r15,
		  tf->rip, tf->rflags, tf->cs, tf->ss, tf->err);
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
