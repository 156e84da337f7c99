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
long __dune_sys_output(void *thread);

/* All that do not write to memory of the program.  Who adds a call here, or to output.c, has read what it does. */
static const char *const without_output[] = {
	/* Nothing in memory. */
	"write", "open", "close", "lseek", "mmap", "mprotect", "munmap", "brk", "rt_sigreturn", "pwrite64",
	"writev", "access", "sched_yield", "mremap", "msync", "madvise", "shmget", "shmat", "dup", "dup2", "pause",
	"alarm", "getpid", "socket", "connect", "sendto", "sendmsg", "shutdown", "bind", "listen", "setsockopt",
	"fork", "vfork", "execve", "exit", "kill", "semget", "semop", "shmdt", "msgget", "msgsnd", "flock",
	"fsync", "fdatasync", "truncate", "ftruncate", "chdir", "fchdir", "rename", "mkdir", "rmdir", "creat",
	"link", "unlink", "symlink", "chmod", "fchmod", "chown", "fchown", "lchown", "umask", "getuid", "getgid",
	"setuid", "setgid", "geteuid", "getegid", "setpgid", "getppid", "getpgrp", "setsid", "setreuid",
	"setregid", "setgroups", "setresuid", "setresgid", "getpgid", "setfsuid", "setfsgid", "getsid",
	"rt_sigqueueinfo", "rt_sigsuspend", "utime", "mknod", "uselib", "personality", "getpriority",
	"setpriority", "sched_setparam", "sched_setscheduler", "sched_getscheduler", "sched_get_priority_max",
	"sched_get_priority_min", "mlock", "munlock", "mlockall", "munlockall", "vhangup", "pivot_root",
	"setrlimit", "chroot", "sync", "acct", "settimeofday", "mount", "umount2", "swapon", "swapoff", "reboot",
	"sethostname", "setdomainname", "init_module", "delete_module", "gettid", "readahead", "setxattr",
	"lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "tkill", "sched_setaffinity",
	"io_destroy", "io_cancel", "epoll_create", "remap_file_pages", "semtimedop", "fadvise64",
	"timer_getoverrun", "timer_delete", "clock_settime", "exit_group", "epoll_ctl", "tgkill", "utimes",
	"mbind", "set_mempolicy", "mq_open", "mq_unlink", "mq_timedsend", "mq_notify", "kexec_load", "add_key",
	"request_key", "ioprio_set", "ioprio_get", "inotify_init", "inotify_add_watch", "inotify_rm_watch",
	"migrate_pages", "openat", "mkdirat", "mknodat", "fchownat", "futimesat", "unlinkat", "renameat", "linkat",
	"symlinkat", "fchmodat", "faccessat", "unshare", "set_robust_list", "tee", "sync_file_range", "utimensat",
	"signalfd", "timerfd_create", "eventfd", "fallocate", "signalfd4", "eventfd2", "epoll_create1", "dup3",
	"inotify_init1", "pwritev", "rt_tgsigqueueinfo", "fanotify_init", "fanotify_mark", "open_by_handle_at",
	"syncfs", "setns", "kcmp", "finit_module", "renameat2", "memfd_create", "kexec_file_load", "execveat",
	"userfaultfd", "membarrier", "mlock2", "pwritev2", "pkey_mprotect", "pkey_free", "pidfd_send_signal",
	"open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "pidfd_open", "close_range",
	"openat2", "pidfd_getfd", "faccessat2", "process_madvise", "mount_setattr", "landlock_create_ruleset",
	"landlock_add_rule", "landlock_restrict_self", "memfd_secret", "process_mrelease", "futex_waitv",
	"set_mempolicy_home_node", "fchmodat2", "futex_wake", "futex_wait", "futex_requeue", "lsm_set_self_attr",
	"mseal", "setxattrat", "removexattrat", "open_tree_attr", "file_setattr", "rseq_slice_yield",
	/* What they write is written later. */
	"io_submit", "io_uring_enter", "io_uring_register", "set_tid_address", "restart_syscall",
	/* Libdune refuses them. */
	"modify_ldt", "iopl", "ioperm", "rseq", "map_shadow_stack", "pkey_alloc",
	/* No kernel that Dune runs on has them for 64-bit programs. */
	"create_module", "get_kernel_syms", "query_module", "nfsservctl", "getpmsg", "putpmsg", "afs_syscall",
	"tuxcall", "security", "set_thread_area", "get_thread_area", "epoll_ctl_old", "epoll_wait_old", "vserver",
	"_sysctl", "uretprobe", "uprobe", "syscalls",
};

static const struct {
	const char *name;
	unsigned int number;
} calls[] = {
#define CALL(name, number)	{ #name, number },
#include "numbers.h"
};

static bool is_without_output(const char *name)
{
	for (size_t i = 0; i < sizeof(without_output) / sizeof(without_output[0]); i++)
		if (!strcmp(without_output[i], name))
			return true;
	return false;
}

/* When it matters what they write, and not before. */
static void outputs(void **state)
{
	long (*before[NR_SYSCALLS])(void *);
	static const int watched[] = {
		__NR_read, __NR_readv, __NR_pread64, __NR_recvfrom, __NR_recvmsg, __NR_recvmmsg, __NR_getdents64,
		__NR_newfstatat, __NR_statx, __NR_ioctl, __NR_epoll_wait, __NR_getrandom, __NR_wait4,
	};

	(void)state;
	memcpy(before, __dune_syscall_table, sizeof(before));
	__dune_outputs_begin();
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		assert_non_null(*(void *volatile *)&__dune_syscall_table[watched[i]]);
	assert_null(__dune_syscall_table[__NR_write]);
	assert_null(__dune_syscall_table[__NR_getpid]);
	assert_ptr_equal(__dune_syscall_table[__NR_mmap], before[__NR_mmap]);
	assert_true(sizeof(calls) / sizeof(calls[0]) > 300);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		long (*now)(void *) = __dune_syscall_table[calls[i].number];
		bool watched = now == __dune_sys_output || now != before[calls[i].number];

		if (watched == is_without_output(calls[i].name))
			fail_msg("%s: %s", calls[i].name, watched ? "writes nothing" : "does it write to memory?");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(table), cmocka_unit_test(outputs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
