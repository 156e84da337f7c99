// SPDX-License-Identifier: MIT
/* Which system calls libdune looks at, and which the trampoline forwards without a look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <asm/unistd.h>
#include <cmocka.h>

#include "base/syscalls.h"

extern long (*__dune_syscall_table[NR_SYSCALLS])(void *thread);

/* About the thread itself, or libdune's memory or descriptor. */
static const int looked_at[] = {
	__NR_clone, __NR_clone3, __NR_fork, __NR_vfork, __NR_execve, __NR_execveat, __NR_exit,
	__NR_rt_sigaction, __NR_rt_sigreturn, __NR_sigaltstack,
	__NR_mmap, __NR_munmap, __NR_mprotect, __NR_mremap, __NR_madvise, __NR_pkey_mprotect, __NR_shmat,
	__NR_close, __NR_dup, __NR_fcntl, __NR_dup2, __NR_dup3, __NR_close_range,
	__NR_arch_prctl, __NR_prctl, __NR_seccomp, __NR_rseq, __NR_modify_ldt, __NR_iopl, __NR_ioperm,
	__NR_pkey_alloc, __NR_set_tid_address,
	/* Some programs try all descriptors by these. */
	__NR_fstat, __NR_newfstatat, __NR_statx,
};

/* Those that programs make most must not pay for it. */
static const int forwarded[] = {
	__NR_read, __NR_write, __NR_openat, __NR_lseek, __NR_getpid, __NR_gettid, __NR_futex,
	__NR_rt_sigprocmask, __NR_epoll_wait, __NR_poll, __NR_ppoll, __NR_sendto, __NR_recvfrom, __NR_brk,
	__NR_exit_group, __NR_wait4, __NR_clock_nanosleep, __NR_sched_yield, __NR_kill, __NR_tgkill,
	__NR_process_vm_readv, __NR_io_uring_enter, __NR_restart_syscall,
	__NR_set_robust_list, __NR_membarrier,
};

static void table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(looked_at) / sizeof(looked_at[0]); i++)
		assert_non_null(__dune_syscall_table[looked_at[i]]);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		assert_null(__dune_syscall_table[forwarded[i]]);
}

void __dune_track_calls(void);

static const struct {
	const char *name;
	unsigned int number;
} calls[] = {
#define CALL(name, number)	{ #name, number },
#include "numbers.h"
#undef CALL
}, rows[] = {
#define CALL(number, name, ...)	{ #name, number },
#include "base/syscalls-table.h"
#undef CALL
};

/* All that the kernel's headers know has a row, under the same name; none has two. */
static void known(void **state)
{
	size_t row = 0, n = sizeof(rows) / sizeof(rows[0]);

	(void)state;
	for (size_t i = 1; i < n; i++)
		if (rows[i].number <= rows[i - 1].number)
			fail_msg("%s is out of its place", rows[i].name);
	assert_true(sizeof(calls) / sizeof(calls[0]) > 300);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (!strcmp(calls[i].name, "syscalls"))		/* how many there are */
			continue;
		for (row = 0; row < n && rows[row].number != calls[i].number; row++)
			;
		if (row == n)
			fail_msg("%s has no row", calls[i].name);
		assert_string_equal(rows[row].name, calls[i].name);
		assert_true(call_of(calls[i].number)->flags & CALL_KNOWN);
	}
	assert_int_equal(call_of(500)->flags, 0);
	assert_int_equal(call_of(~0UL)->flags, 0);
}

/* How long @o is stands in what another operand has moved before. */
static bool says_length(const struct operand *first, const struct operand *o)
{
	for (const struct operand *p = first; p < o; p++)
		if (p->arg == o->with && p->moved)
			return true;
	return false;
}

/* Operands name arguments, and pointers have a size. */
static void operands(void **state)
{
	unsigned int seen = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct call_row *call = call_of(rows[i].number);

		assert_int_equal(call->first, seen);
		seen += call->nr_operands;
		for_each_operand(o, call) {
			assert_true(o->arg < 6 && o->with <= NO_ARGUMENT && o->if_arg <= 6);
			if (o->kind >= KEPT && (o->size == SIZE_FIXED || o->size == SIZE_COUNT ||
						o->size == SIZE_RESULT || o->size == SIZE_TIMES))
				assert_true(o->bytes);
			if (o->size == SIZE_TIMES || (o->size == SIZE_LENGTH && o->with != o->arg))
				assert_true(says_length(first_operand(call), o));
		}
	}
	assert_true(seen > 500);
}

static void strict(void **state)
{
	unsigned int n = 0;

	(void)state;
	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++)
		n += !!(call_of(nr)->flags & CALL_STRICT);
	assert_int_equal(n, 4);
	assert_true(call_of(__NR_read)->flags & call_of(__NR_write)->flags & call_of(__NR_exit)->flags &
		    call_of(__NR_rt_sigreturn)->flags & CALL_STRICT);
}

static bool uses_memory(unsigned int nr)
{
	for_each_operand(o, call_of(nr))
		if (o->kind >= KEPT)
			return true;
	return false;
}

/* After these something else is in memory than before. */
static bool changes_content(unsigned int nr)
{
	return nr == __NR_mmap || nr == __NR_mremap || nr == __NR_madvise || nr == __NR_shmat || nr == __NR_brk;
}

/* When it matters what they read and write, and not before. */
static void tracked(void **state)
{
	long (*before[NR_SYSCALLS])(void *);

	(void)state;
	memcpy(before, __dune_syscall_table, sizeof(before));
	__dune_track_calls();
	assert_null(__dune_syscall_table[__NR_getpid]);
	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++)
		if (uses_memory(nr))
			assert_non_null(__dune_syscall_table[nr]);
		else if (changes_content(nr))
			assert_ptr_not_equal(__dune_syscall_table[nr], before[nr]);
		else
			assert_ptr_equal(__dune_syscall_table[nr], before[nr]);
	assert_true(uses_memory(__NR_read) && uses_memory(__NR_write) && uses_memory(__NR_openat));
	assert_true(uses_memory(__NR_futex) && uses_memory(__NR_sendmsg) && uses_memory(__NR_execve));
	assert_false(uses_memory(__NR_getpid) || uses_memory(__NR_munmap) || uses_memory(__NR_lseek));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known), cmocka_unit_test(operands), cmocka_unit_test(strict), cmocka_unit_test(table),
		cmocka_unit_test(tracked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
