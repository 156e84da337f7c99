// SPDX-License-Identifier: MIT
/* The rows of syscalls-table.h as data, but for their functions.  HR3 and GR0. */
#include <asm/prctl.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/ipc.h>
#include <linux/keyctl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

#include "base/syscalls.h"

/* ---- operands ---- */

#define FD(n, ...)		{ .arg = (n), .kind = DESCRIPTOR, ##__VA_ARGS__ }
#define MAPPING(n, length, ...)	{ .arg = (n), .kind = AREA, .with = (length), ##__VA_ARGS__ }
#define LATER(n, size, ...)	{ .arg = (n), .kind = KEPT, size, ##__VA_ARGS__ }
#define IN(n, size, ...)	{ .arg = (n), .kind = READ, size, ##__VA_ARGS__ }
#define OUT(n, size, ...)	{ .arg = (n), .kind = WRITTEN, size, ##__VA_ARGS__ }
#define LENT(n, size, ...)	{ .arg = (n), .kind = PAGES_LENT, size, ##__VA_ARGS__ }
#define REMOTE(n, size, ...)	{ .arg = (n), .kind = WRITTEN_REMOTE, size, ##__VA_ARGS__ }
#define FUTEX(n, ...)		{ .arg = (n), .kind = WORD, INT, ##__VA_ARGS__ }
#define FUTEX_OUT(n, ...)	{ .arg = (n), .kind = WORD_WRITTEN, INT, ##__VA_ARGS__ }
#define WAIT(n, ...)		{ .arg = (n), .kind = MASK, SIGSET, ##__VA_ARGS__ }
#define WAIT_AT(n, number, ...)	{ .arg = (n), .kind = MASK_AT, FIXED(number), ##__VA_ARGS__ }
#define STR(n, most, ...)	IN(n, SIZED(STRING, 0, most), ##__VA_ARGS__)
#define PATH(n, ...)		STR(n, 4096, ##__VA_ARGS__)
#define NAME(n, ...)		STR(n, 256, ##__VA_ARGS__)

#define MAYBE			.maybe = true
#define NARROW			.narrow = true
#define MOVED			.moved = true
#define SPARSE			.sparse = true
#define IF_MASKED(n, mask, value)	.if_arg = (n) + 1, .if_mask = (mask), .if_value = (value)
#define IF(n, value)		IF_MASKED(n, ~0U, value)
#define IF_BIT(n, bit)		IF_MASKED(n, bit, bit)
#define IF_FUTEX(operation)	IF_MASKED(1, FUTEX_CMD_MASK, operation)

/* ---- sizes ---- */

#define SIZED(rule, n, number)	.size = SIZE_##rule, .with = (n), .bytes = (number)
#define FIXED(number)		SIZED(FIXED, 0, number)
#define COUNT(n, number)	SIZED(COUNT, n, number)
#define RESULT(n, number)	SIZED(RESULT, n, number)
#define TIMES(n, at, number)	SIZED(TIMES, n, number), .offset = (at)
#define AFTER(n, number)	SIZED(AFTER, n, number)
#define STRINGS			SIZED(STRINGS, 0, 0)
#define VECTOR(n)		SIZED(VECTOR, n, 0)
#define IOVEC			SIZED(IOVEC, 0, 0)
#define VALUE			SIZED(VALUE, 0, 0)
#define LENGTH(n, number)	SIZED(LENGTH, n, number)
#define SELF(offset)		SIZED(SELF, 0, offset)
#define MESSAGE			SIZED(MESSAGE, 0, 0)
#define MESSAGES(n)		SIZED(MESSAGES, n, 0)
#define BITS(n, less)		SIZED(BITS, n, less)
#define PAGES(n)		SIZED(PAGES, n, 1)
#define SEMAPHORES(number)	SIZED(SEMAPHORES, 0, number)
#define CLONE_ARGS		SIZED(CLONE_ARGS, 0, 0)
#define WAITERS(n)		SIZED(WAITERS, n, 0)
#define TWO_WAITERS		SIZED(WAITERS, 0, 2)
#define FILTER			SIZED(FILTER, 0, 0)
#define NOTICE			SIZED(NOTICE, 0, 0)
#define FILTER_OF(number)	SIZED(FILTER_OF, 0, number)
#define BY_NUMBER		SIZED(BY_NUMBER, 0, 0)

#define INT			FIXED(4)
#define LONG			FIXED(8)
#define SIGSET			FIXED(8)
#define TIMESPEC		FIXED(16)
#define FLOCK			FIXED(32)
#define SIGEVENT		FIXED(64)
#define PKEY			FIXED(40)
#define SEMID			FIXED(104)
#define STATFS			FIXED(120)
#define SIGINFO			FIXED(128)
#define STAT			FIXED(144)
#define RUSAGE			FIXED(144)
#define TIMEX			FIXED(208)

/* ---- numbers that are newer than the oldest headers, or in headers that clash with others ---- */

#define MSG_STAT		11
#define MSG_INFO		12
#define MSG_STAT_ANY		13
#define SEM_STAT		18
#define SEM_INFO		19
#define SEM_STAT_ANY		20
#define GETALL			13
#define SETALL			17
#define SHM_STAT		13
#define SHM_INFO		14
#define SHM_STAT_ANY		15
#define EPOLL_ADD_OR_MOD	1	/* 1 and 3; 2 is EPOLL_CTL_DEL */
#define WAIT_BY_PIDFD		3
#define PERF_BY_CGROUP		4
#define IORING_EXT_ARG		8
#define REBOOT_RESTART2		0xa1b2c3d4
#define CONFIG_STRING		1
#define CONFIG_BINARY		2
#define CONFIG_PATH		3
#define CONFIG_PATH_EMPTY	4
#define CONFIG_FD		5
#define LANDLOCK_PORT		2
#define MSG_ZEROCOPY		0x4000000

#ifndef AT_HANDLE_MNT_ID_UNIQUE
#define AT_HANDLE_MNT_ID_UNIQUE	1
#endif
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2		13
#endif
#ifndef F_GETDELEG
#define F_GETDELEG		1039
#define F_SETDELEG		1040
#endif
#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE		62
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#endif
#ifndef PR_GET_AUXV
#define PR_GET_AUXV		0x41555856
#endif
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION	0x420f
#endif
#define PTRACE_SET_DISPATCH_CONFIG	0x4210
#define PTRACE_GET_DISPATCH_CONFIG	0x4211
#define PTRACE_SET_INFO		0x4212

/* ---- the tables ---- */

#define NR_OPERANDS(...)	(sizeof((const struct operand[]){ __VA_ARGS__ }) / sizeof(struct operand))

/* The index of each row's first operand, and of its last. */
enum {
#define CALL(number, name, function, flags, ...) \
	FIRST_##number, LAST_##number = FIRST_##number + (int)NR_OPERANDS(__VA_ARGS__) - 1,
#include "base/syscalls-table.h"
#undef CALL
};

const struct operand __dune_operands[] = {
#define CALL(number, name, function, flags, ...)	__VA_ARGS__ __VA_OPT__(,)
#include "base/syscalls-table.h"
#undef CALL
};

const struct call_row __dune_calls[NR_SYSCALLS] = {
#define CALL(number, name, function, flags_, ...) \
	[number] = { FIRST_##number, NR_OPERANDS(__VA_ARGS__), CALL_KNOWN | (flags_) },
#include "base/syscalls-table.h"
#undef CALL
};
