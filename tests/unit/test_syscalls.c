// SPDX-License-Identifier: MIT
/* Which system calls libdune looks at, and which the trampoline forwards without a look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <cmocka.h>

#define NR_SYSCALLS	512

extern long (*__dune_syscall_table[NR_SYSCALLS])(void *thread);

/* About the thread itself, or libdune's memory or descriptor. */
static const int looked_at[] = {
	__NR_clone, __NR_clone3, __NR_fork, __NR_vfork, __NR_execve, __NR_execveat, __NR_exit,
	__NR_rt_sigaction, __NR_rt_sigreturn, __NR_sigaltstack,
	__NR_mmap, __NR_munmap, __NR_mprotect, __NR_mremap, __NR_madvise, __NR_pkey_mprotect, __NR_shmat,
	__NR_close, __NR_dup, __NR_fcntl, __NR_dup2, __NR_dup3, __NR_close_range,
	__NR_arch_prctl, __NR_prctl, __NR_seccomp, __NR_rseq, __NR_modify_ldt, __NR_iopl, __NR_ioperm,
	__NR_pkey_alloc,
	/* Some programs try all descriptors by these. */
	__NR_fstat, __NR_newfstatat, __NR_statx,
};

/* Those that programs make most must not pay for it. */
static const int forwarded[] = {
	__NR_read, __NR_write, __NR_openat, __NR_lseek, __NR_getpid, __NR_gettid, __NR_futex,
	__NR_rt_sigprocmask, __NR_epoll_wait, __NR_poll, __NR_ppoll, __NR_sendto, __NR_recvfrom, __NR_brk,
	__NR_exit_group, __NR_wait4, __NR_clock_nanosleep, __NR_sched_yield, __NR_kill, __NR_tgkill,
	__NR_process_vm_readv, __NR_io_uring_enter, __NR_restart_syscall, __NR_set_tid_address,
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

void __dune_outputs_begin(void);

/* When it matters what they write, and not before. */
static void outputs(void **state)
{
	long (*mmap)(void *) = __dune_syscall_table[__NR_mmap];
	static const int watched[] = {
		__NR_read, __NR_readv, __NR_pread64, __NR_recvfrom, __NR_recvmsg, __NR_recvmmsg, __NR_getdents64,
		__NR_newfstatat, __NR_statx, __NR_ioctl, __NR_epoll_wait, __NR_getrandom, __NR_wait4,
	};

	(void)state;
	__dune_outputs_begin();
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		assert_non_null(*(void *volatile *)&__dune_syscall_table[watched[i]]);
	assert_null(__dune_syscall_table[__NR_write]);
	assert_null(__dune_syscall_table[__NR_getpid]);
	assert_ptr_equal(__dune_syscall_table[__NR_mmap], mmap);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(table), cmocka_unit_test(outputs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
