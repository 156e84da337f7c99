// SPDX-License-Identifier: MIT
/*
 * System calls by chance: the same ones for the same seed.  Each round is a process of its own, with files of its own,
 * that makes calls with numbers, pointers, descriptors and sizes of all kinds, and prints the result of each. Run as
 * an ordinary program and by dune-run, it is to print the same (tests/fuzz/differ).
 *
 *	calls SEED FIRST COUNT [WORD]...	rounds FIRST to FIRST + COUNT - 1
 *	all		also the arguments
 *	checked		as for a checked program: it also tries to reach libdune's memory
 *	expected	the same, but what a checked program is refused is not called, and said to be refused
 *
 * In some rounds a second thread makes some of the calls, while the first one waits; in some a third sends signals
 * all the time, which have a handler and restart calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/sched.h>

#define CALLS		60	/* of a round */
#define LOG_SIZE	(64 * 1024)
#define PATIENCE	20	/* s: for a round */
#define TICK		20000	/* us: what waits is interrupted after this */
#define STORM		300	/* us: from one signal of a storm to the next */
#define STORM_SIGNAL	63	/* in no set that is in @content, and none of signal_number() */
#define NOBODY		65534
#define WILD_CALLS	3	/* of one child */

/* ---- chance ---- */

static uint64_t chance_state;

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled") */
static uint64_t chance(void)
{
	chance_state ^= chance_state >> 12;
	chance_state ^= chance_state << 25;
	chance_state ^= chance_state >> 27;
	return chance_state * 0x2545f4914f6cdd1dULL;
}

static unsigned int below(unsigned int n)
{
	return (chance() >> 33) % n;
}

#define ONE_OF(array)	((array)[below(sizeof(array) / sizeof((array)[0]))])

/* ---- arguments ---- */

#define PAGE	4096

static char *pages;		/* 0: to be written; 1: read only; 2: nobody's; 3: to be written; 4: nobody's */

/* Under dune-run libdune's memory lies there, outside nothing. */
#define GIB	(1L << 30)

static char *hole;

/* What this call says of addresses is often libdune's memory; it is made in a child, which is gone after it. */
static bool wild;

/* libdune/threads/layout.h: what is constant there, what changes, what is only reserved; and beside it. */
static long wild_pointer(void)
{
	static const long all[] = {
		0, 8, 0x1000, 0x12000, 0x22200, 0x23000, 0x24000, 0x25000, 0x3f700, 0x3f980, 0x3fd80, 0x3fe00, 0x40000,
		0x40ff0, 0x41000, 0x42000, 0x142000, 0x14a000, 0x150000, 0x17c000, 0x17d000, 0x180000, 0x190000,
		0x300000, 0x1300000, 0x1400000, GIB / 2, GIB - PAGE, GIB - 8, -1, -4, -8, -PAGE,
	};

	return (long)hole + ONE_OF(all) + (below(2) ? 0 : 8 * (long)below(64));
}

static long pointer(void)
{
	const long all[] = {
		(long)pages, (long)pages + 64, (long)pages + 1001, (long)pages + 3 * PAGE,
		(long)pages + 3 * PAGE - 8, (long)pages + 4 * PAGE - 8, (long)pages + 4 * PAGE - 4,
		(long)pages + 4 * PAGE - 1, (long)pages + PAGE, (long)pages + PAGE + 8, (long)pages + 2 * PAGE,
		(long)pages + PAGE - 4, 0, 0, 1, 8, 4096, -1, -4096, (long)0xffffffff81000000, (long)0x800000000000,
		(long)0x7ffffffff000, (long)0x4141414141414141,
	};

	return wild && below(2) ? wild_pointer() : ONE_OF(all);
}

static long size(void)
{
	static const long all[] = { 0, 1, 2, 4, 7, 8, 12, 16, 24, 32, 64, 100, 128, 1000, 4095, 4096, 4097, 8192, 16384,
				    65536, -1, 0x7fffffff, 0x80000000 };

	return ONE_OF(all);
}

static long range_start(void)
{
	const long all[] = {
		(long)hole,	  (long)hole - PAGE,	 (long)hole - 2 * PAGE, (long)hole + PAGE,
		(long)hole + 100, (long)hole - 100,	 (long)hole + GIB / 2,	(long)hole + GIB - PAGE,
		(long)hole + GIB, (long)hole + GIB + 10,
	};

	return below(3) ? ONE_OF(all) : pointer();
}

static long range_length(void)
{
	static const long all[] = {
		PAGE, PAGE, 2 * PAGE, 3 * PAGE, GIB, GIB + PAGE, GIB + 2 * PAGE, GIB + 5 * PAGE, GIB - 1,
		1L << 46, 1L << 50, 1L << 62, -PAGE, -1,
	};

	return below(4) ? ONE_OF(all) : size();
}

static long descriptor(void)
{
	static const long all[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99, 299, 1023, 2000, -1, -100, 0x7fffffff,
				    0x100000003, (long)0xffffffff00000004 };

	return ONE_OF(all);
}

static long number(void)
{
	static const long all[] = { 0,		 0,	  1,	 1,	     2,
				    3,		 4,	  5,	 6,	     7,
				    8,		 10,	  16,	 32,	     64,
				    100,	 255,	  256,	 1024,	     4096,
				    -1,		 -2,	  -100,	 0x7fffffff, (long)0xffffffff80000000,
				    0x100000001, 0x80000, 0x800, 0x1000,     0x40000000 };

	return below(5) ? ONE_OF(all) : (long)chance();
}

static long path(void)
{
	static const char *const all[] = { "file",
					   "file",
					   "folder",
					   "link",
					   "new",
					   "none/file",
					   "folder/..",
					   ".",
					   "",
					   "/dev/null",
					   "/proc/self/status",
					   "loop",
					   "file/",
					   "/",
					   "fifo",
					   "closed" };

	return below(6) ? (long)ONE_OF(all) : pointer();
}

/* Are the strings of path() there?  They are constants, near this one. */
static bool is_path(long address)
{
	return address - (long)"" < PAGE && (long)"" - address < PAGE;
}

static long signal_number(void)
{
	static const long all[] = { 0,	1,  9,	10, 11, 12, 14, 15, 17, 18, 19,
				    20, 23, 28, 31, 32, 33, 34, 64, 65, -1, 0x10000000a };

	return ONE_OF(all);
}

static long who(void)
{
	const long all[] = { 0, 1, -1, getpid(), getpid(), 0x7ffffff, -0x7ffffff };

	return ONE_OF(all);
}

/* ---- calls ---- */

enum kind { NONE, P = 'p', F = 'f', S = 's', N = 'n', A = 'a', G = 'g', W = 'w', R = 'r', L = 'l' };

static long argument(char kind)
{
	switch (kind) {
	case P:
		return pointer();
	case F:
		return descriptor();
	case S:
		return size();
	case A:
		return path();
	case G:
		return signal_number();
	case W:
		return who();
	case R:
		return range_start();
	case L:
		return range_length();
	default:
		return number();
	}
}

/*
 * What may be made by chance. Not rseq, modify_ldt, libdune's descriptor, what would be mapped over libdune's memory:
 * these are known to differ (doc/compatibility.md). Nor sched_setaffinity, for QEMU's first CPU.
 *
 * '?': the result says only whether it is an error. '~': it may wait, and what ends that is chance. 'c': the call makes
 * a child, which ends at once.
 */
static const struct call {
	const char *name;
	int nr;
	const char *arguments;
} calls[] = {
#define C(name, arguments)	{ #name, SYS_##name, arguments },
	C(read, "fps") C(write, "fps") C(open, "ann") C(close, "f") C(stat, "ap") C(fstat, "fp") C(lstat, "ap")
	C(poll, "~psn") C(lseek, "fnn") C(mmap, "?psnnfn") C(mprotect, "rln") C(munmap, "rl") C(brk, "?p")
	C(rt_sigaction, "gppn") C(rt_sigprocmask, "nppn") C(ioctl, "fnp") C(pread64, "fpsn") C(pwrite64, "fpsn")
	C(readv, "fpn") C(writev, "fpn") C(access, "an") C(pipe, "p") C(select, "~npppp") C(sched_yield, "")
	C(mremap, "?rllnp") C(msync, "rln") C(mincore, "rlp") C(madvise, "rln") C(dup, "f") C(dup2, "ff")
	C(nanosleep, "~pp") C(getitimer, "np") C(getpid, "?") C(sendfile, "ffps") C(socket, "nnn") C(connect, "fpn")
	C(accept, "fpp") C(sendto, "fpsnpn") C(recvfrom, "fpsnpp") C(sendmsg, "fpn") C(recvmsg, "fpn")
	C(shutdown, "fn") C(bind, "fpn") C(listen, "fn") C(getsockname, "fpp") C(getpeername, "fpp")
	C(socketpair, "nnnp") C(setsockopt, "fnnpn") C(getsockopt, "fnnpp") C(kill, "wg") C(uname, "p")
	C(shmdt, "p") C(fcntl, "fnn") C(flock, "fn") C(fsync, "f") C(truncate, "an") C(ftruncate, "fn")
	C(getdents, "fps") C(getcwd, "ps") C(chdir, "a") C(fchdir, "f") C(rename, "aa") C(mkdir, "an") C(rmdir, "a")
	C(creat, "an") C(link, "aa") C(unlink, "a") C(symlink, "aa") C(readlink, "aps") C(chmod, "an") C(fchmod, "fn")
	C(umask, "n") C(gettimeofday, "pp") C(getrlimit, "np") C(getrusage, "np") C(sysinfo, "p") C(times, "?p")
	C(getuid, "") C(getgid, "") C(setuid, "n") C(setpgid, "wn") C(getppid, "?") C(getpgrp, "?") C(setsid, "?")
	C(getgroups, "np") C(getresuid, "ppp") C(getpgid, "?w") C(capget, "pp") C(rt_sigpending, "ps")
	C(sigaltstack, "pp") C(utime, "ap") C(mknod, "ann") C(statfs, "ap") C(fstatfs, "fp") C(getpriority, "nn")
	C(sched_getparam, "wp") C(sched_getscheduler, "w") C(mlock, "rl") C(munlock, "rl") C(prctl, "nnppp")
	C(arch_prctl, "np") C(gettid, "?") C(readahead, "fns") C(getxattr, "aaps") C(listxattr, "aps")
	C(tkill, "wg") C(futex, "~pnnppn") C(sched_getaffinity, "wsp") C(io_setup, "np") C(epoll_create, "n")
	C(getdents64, "fps") C(timer_create, "npp") C(timer_gettime, "np") C(timer_delete, "n") C(clock_gettime, "np")
	C(clock_getres, "np") C(epoll_wait, "~fpnn") C(epoll_ctl, "fnfp") C(tgkill, "wwg") C(utimes, "ap")
	C(openat, "fann") C(mkdirat, "fan") C(newfstatat, "fapn") C(unlinkat, "fan") C(renameat, "fafa")
	C(linkat, "fafan") C(symlinkat, "afa") C(readlinkat, "faps") C(fchmodat, "fan") C(faccessat, "fan")
	C(pselect6, "~nppppp") C(ppoll, "~pnppn") C(set_robust_list, "ps") C(get_robust_list, "wpp") C(splice, "fpfpsn")
	C(tee, "ffsn") C(vmsplice, "fpnn") C(utimensat, "fapn") C(epoll_pwait, "~fpnnpn") C(signalfd, "fps")
	C(timerfd_create, "nn") C(eventfd, "n") C(fallocate, "~fnnn") C(timerfd_gettime, "fp") C(accept4, "fppn")
	C(signalfd4, "fpsn") C(eventfd2, "nn") C(epoll_create1, "n") C(dup3, "ffn") C(pipe2, "pn") C(inotify_init1, "n")
	C(preadv, "fpnnn") C(pwritev, "fpnnn") C(rt_tgsigqueueinfo, "wwgp") C(recvmmsg, "~fpnnp") C(prlimit64, "wnpp")
	C(sendmmsg, "fpnn") C(getcpu, "?ppp") C(process_vm_readv, "wpnpnn") C(kcmp, "?wwnnn") C(renameat2, "fafan")
	C(getrandom, "?psn") C(memfd_create, "an") C(execveat, "fappn") C(mlock2, "rln") C(copy_file_range, "fpfpsn")
	C(preadv2, "fpnnnn") C(pwritev2, "fpnnnn") C(statx, "fannp") C(pidfd_send_signal, "fgpn")
	C(close_range, "ffn") C(openat2, "faps") C(faccessat2, "fann") C(execve, "app") C(wait4, "?wpnp")
	C(waitid, "nwpnp") C(rt_sigtimedwait, "~ppps") C(rt_sigqueueinfo, "wgp") C(rt_sigsuspend, "ps") C(pause, "")
	C(alarm, "?n") C(clock_nanosleep, "~nnpp") C(restart_syscall, "") C(vhangup, "")
	C(personality, "n") C(iopl, "n") C(ioperm, "nnn") C(mlockall, "n") C(munlockall, "") C(membarrier, "nnn")
	C(clone, "cnpppp") C(clone, "cnpppp") C(clone3, "cps") C(fork, "c") C(vfork, "c")
	C(pkey_mprotect, "rlnn") C(pkey_free, "n") C(mbind, "rlnpnn") C(remap_file_pages, "rlnnn") C(shmat, "?npn")
	C(set_mempolicy, "npn") C(get_mempolicy, "ppnpn") C(migrate_pages, "wnpp") C(move_pages, "wnpppn")
	C(process_madvise, "fpnnn") C(process_vm_writev, "wpnpnn") C(setitimer, "npp") C(timer_settime, "nnpp")
	C(timer_getoverrun, "n") C(timerfd_settime, "fnpp") C(clock_settime, "np") C(settimeofday, "pp")
	C(adjtimex, "?p") C(clock_adjtime, "?np") C(sched_setparam, "wp") C(sched_setscheduler, "wnp")
	C(sched_get_priority_max, "n") C(sched_get_priority_min, "n") C(sched_rr_get_interval, "wp")
	C(sched_setattr, "wpn") C(sched_getattr, "wpsn") C(setpriority, "nwn") C(ioprio_get, "nw") C(ioprio_set, "nwn")
	C(chown, "ann") C(fchown, "fnn") C(lchown, "ann") C(fchownat, "fannn") C(futimesat, "fap") C(mknodat, "fann")
	C(setxattr, "aapsn") C(lsetxattr, "aapsn") C(fsetxattr, "fapsn") C(fgetxattr, "faps") C(removexattr, "aa")
	C(fremovexattr, "fa") C(flistxattr, "fps") C(fadvise64, "fnnn") C(sync_file_range, "fnnn") C(fdatasync, "f")
	C(name_to_handle_at, "fappn") C(open_by_handle_at, "fpn") C(inotify_init, "") C(inotify_add_watch, "fan")
	C(inotify_rm_watch, "fn") C(fanotify_init, "nn") C(epoll_pwait2, "~fpnpps") C(io_destroy, "p")
	C(io_submit, "pnp") C(io_getevents, "~pnnpp") C(io_cancel, "ppp") C(pidfd_open, "wn") C(pidfd_getfd, "ffn")
	C(setregid, "nn") C(setreuid, "nn") C(setresuid, "nnn") C(setresgid, "nnn") C(setgid, "n") C(setfsuid, "n")
	C(setfsgid, "n") C(setgroups, "np") C(getresgid, "ppp") C(getsid, "?w") C(capset, "pp") C(chroot, "a")
	C(mount, "aaanp") C(umount2, "an") C(pivot_root, "aa") C(swapon, "an") C(swapoff, "a") C(acct, "a")
	C(sethostname, "ps") C(setdomainname, "ps") C(setrlimit, "np") C(set_tid_address, "?p") C(unshare, "n")
	C(setns, "fn") C(seccomp, "nnp") C(bpf, "nps") C(add_key, "?aapsn") C(request_key, "?aaan") C(keyctl, "?nnnnn")
	C(userfaultfd, "?n") C(memfd_secret, "n") C(landlock_create_ruleset, "psn") C(landlock_add_rule, "fnpn")
	C(landlock_restrict_self, "fn") C(open_tree, "fan") C(move_mount, "fafan") C(fsopen, "an") C(fsmount, "fnn")
	C(fspick, "fan") C(fsconfig, "fnapn") C(mount_setattr, "fanps") C(quotactl, "nanp") C(process_mrelease, "fn")
	C(get_thread_area, "p") C(set_thread_area, "p") C(time, "?p") C(ustat, "np") C(sysfs, "npp") C(syslog, "?nps")
	C(mq_open, "annp") C(mq_unlink, "a") C(mq_timedsend, "fpsnp") C(mq_timedreceive, "~fpspp") C(mq_notify, "fp")
	C(mq_getsetattr, "fpp") C(shmget, "?nsn") C(semop, "npn") C(msgsnd, "npsn") C(msgrcv, "npsnn") C(sync, "")
	C(syncfs, "f") C(uselib, "a") C(_sysctl, "p") C(nfsservctl, "npp") C(getrandom, "?psn") C(lookup_dcookie, "nps")
#undef C
};

#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))

static long make(long nr, const long a[6])
{
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* The child ends at once, whatever its stack is. */
static long make_child(long nr, const long a[6])
{
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test	%%rax, %%rax\n\t"
			 "jnz	1f\n\t"
			 "mov	%8, %%eax\n\t"
			 "xor	%%edi, %%edi\n\t"
			 "syscall\n"
			 "1:"
			 : "=a"(ret)
			 : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9), "i"(SYS_exit)
			 : "rcx", "r11", "memory");
	return ret;
}

static bool checked;

/* Flags of clone() and clone3(): no exit signal that could end the round now or later, no tracer, no namespaces. */
static uint64_t clone_flags(void)
{
	static const uint64_t all[] = {
		CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_VM | CLONE_SIGHAND, CLONE_PIDFD, CLONE_VFORK,
		CLONE_VM | CLONE_VFORK, CLONE_THREAD, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, CLONE_SYSVSEM,
		CLONE_SETTLS, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_IO, CLONE_UNTRACED,
		CLONE_NEWUTS, 0x1000, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
	};
	uint64_t flags = 0;

	for (unsigned int n = below(4); n; n--)
		flags |= ONE_OF(all);
	if (checked && !(flags & CLONE_VM))	/* refused: doc/design/check.md */
		flags &= ~(uint64_t)CLONE_FILES;
	return flags;
}

/* ---- a round ---- */

static char *output;		/* shared with the parent */
static size_t *output_size;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(output + *output_size, LOG_SIZE - *output_size, format, args);
	va_end(args);
	if (n > 0 && *output_size + n < LOG_SIZE)
		*output_size += n;
}

static volatile sig_atomic_t came;

static void on_signal(int signo)
{
	came += signo;
}

static void prepare_files(void)
{
	char folder[] = "/tmp/callsXXXXXX";
	int fd;

	if (!mkdtemp(folder) || chdir(folder))
		_exit(101);
	fd = open("file", O_CREAT | O_RDWR, 0644);
	if (write(fd, "some text\n", 10) != 10)
		_exit(102);
	mkdir("folder", 0755);
	if (symlink("file", "link") || symlink("loop", "loop"))
		_exit(103);
	close(open("closed", O_CREAT | O_WRONLY, 0000));
	mkfifo("fifo", 0644);
}

static void prepare_descriptors(void)
{
	int pair[2], null = open("/dev/null", O_RDWR);
	struct rlimit usual;

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	for (int fd = 3; fd < 20; fd++)
		close(fd);
	/* The table is to be as large as with libdune's. */
	getrlimit(RLIMIT_NOFILE, &usual);
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 2048, usual.rlim_max });
	close(dup2(null, 1025));
	setrlimit(RLIMIT_NOFILE, &usual);
	open("file", O_RDWR);			/* 3 */
	open("folder", O_RDONLY | O_DIRECTORY);
	if (pipe2(pair, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		_exit(104);
	memfd_create("memory", 0);		/* 9 */
	socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static char content[5 * PAGE];

static void prepare_memory(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	pages = mmap((void *)0x10000000, 5 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
	for (unsigned int i = 0; i < 5 * PAGE / sizeof(uint32_t); i++)	/* small numbers, and addresses in it */
		((uint32_t *)content)[i] = below(4) ? below(16) : 0x10000000 + below(PAGE);
	memcpy(pages, content, sizeof(content));
	mprotect(pages + PAGE, PAGE, PROT_READ);
	mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
	mprotect(pages + 4 * PAGE, PAGE, PROT_NONE);
	mmap(hole - 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, -1, 0);
	mmap(hole + GIB, 2 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, -1, 0);
}

/* Where the program may write. The kernel says that: what is there may be anything by now. */
static bool is_writable(void *page)
{
	return !syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, page, 8);
}

/* What the calls have written there is not the same in each run. */
static void restore_memory(const char *from)
{
	for (unsigned int i = 0; i < 5; i++)
		if (is_writable(pages + i * PAGE))
			memcpy(pages + i * PAGE, from + i * PAGE, PAGE);
}

/* With addresses of libdune's in it, as a structure may have them. */
static void make_memory_wild(void)
{
	static char all[sizeof(content)];

	memcpy(all, content, sizeof(all));
	for (unsigned int i = 0; i < sizeof(all) / sizeof(uint64_t); i++)
		if (!below(3))
			((uint64_t *)all)[i] = below(3) ? (uint64_t)wild_pointer() : below(64);
	restore_memory(all);
}

/* ---- threads ---- */

static pid_t target;	/* of a storm, or 0 */

static void *beside(void *unused)
{
	const struct timespec pace = { 0, STORM * 1000 };
	sigset_t all;

	(void)unused;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		if (!target)
			pause();
		nanosleep(&pace, NULL);
		syscall(SYS_tgkill, getpid(), target, STORM_SIGNAL);
	}
	return NULL;
}

/* One thread does what another one asks for, which waits with all signals blocked. */
static struct order {
	int state;		/* 1: to be done, 2: done */
	const struct call *call;
	long nr, a[6], ret;
} order;

static bool has_worker;

static void futex(long operation, int value)
{
	syscall(SYS_futex, &order.state, operation, value, NULL, NULL, 0);
}

static void set_order(int state)
{
	__atomic_store_n(&order.state, state, __ATOMIC_RELEASE);
	futex(FUTEX_WAKE, 2);
}

static void wait_for_order(int state)
{
	int now;

	while ((now = __atomic_load_n(&order.state, __ATOMIC_ACQUIRE)) != state)
		futex(FUTEX_WAIT, now);
}

static bool expected;

/* What a checked program is refused (doc/design/check.md). With bad arguments that may be said first. */
static const struct {
	unsigned int nr;
	int error;
} refused[] = {
	{ SYS_process_vm_readv, EPERM }, { SYS_process_vm_writev, EPERM }, { SYS_pidfd_getfd, EPERM },
	{ SYS_mount, EPERM }, { SYS_move_mount, EPERM }, { SYS_open_tree, EPERM }, { SYS_ioctl, ENOTTY },
	{ SYS_fsmount, EPERM }, { SYS_chroot, EPERM }, { SYS_pivot_root, EPERM }, { SYS_umount2, EPERM },
	{ SYS_setns, EPERM },
	{ SYS_io_setup, ENOSYS }, { SYS_io_submit, ENOSYS }, { SYS_io_getevents, ENOSYS }, { SYS_io_cancel, ENOSYS },
	{ SYS_io_destroy, ENOSYS }, { SYS_keyctl, ENOSYS }, { SYS_fanotify_init, ENOSYS },
	{ SYS_open_by_handle_at, ENOSYS }, { SYS_bpf, ENOSYS }, { SYS_userfaultfd, ENOSYS },
	{ SYS_process_madvise, ENOSYS },
};

static int refusal(long nr)
{
	for (unsigned int i = 0; checked && i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i].nr == nr)
			return refused[i].error;
	return 0;
}

static void make_it(void)
{
	unsigned long all = ~0UL, old = 0;

	order.ret = -refusal(order.nr);
	if (expected && order.ret)
		return;
	if (order.call->arguments[0] != 'c') {
		order.ret = make(order.nr, order.a);
		return;
	}
	/* Its stack may be no place for a handler. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	order.ret = make_child(order.nr, order.a);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
}

static void *worker(void *unused)
{
	for (;;) {
		wait_for_order(1);
		make_it();
		set_order(2);
	}
	return unused;
}

static void have_worker_make_it(void)
{
	unsigned long all = ~0UL, old = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	set_order(1);
	wait_for_order(2);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
}

/* ---- calls ---- */

static bool verbose;

static void prepare_clone(void)
{
	struct clone_args args = { 0 };

	/* One after the other, else the compiler chooses which has which chance. */
	args.flags = clone_flags();
	args.pidfd = pointer();
	args.child_tid = pointer();
	args.parent_tid = pointer();
	args.exit_signal = below(2) ? SIGCHLD : 0;
	args.stack = pointer();
	args.stack_size = size();
	args.tls = pointer();
	if (order.nr == SYS_clone) {
		order.a[0] = clone_flags();
		order.a[0] |= below(2) ? SIGCHLD : 0;
	}
	if (order.nr == SYS_clone3 && below(4)) {
		if (below(2))
			args.stack = args.stack_size = 0;
		if (is_writable(pages))
			memcpy(pages, &args, sizeof(args));
		if (verbose)
			say("flags %llx stack %llx + %llx\n", args.flags, args.stack, args.stack_size);
		order.a[0] = (long)pages;
		order.a[1] = below(4) ? (long)sizeof(args) : size();
	}
}

static bool is_chance(long ret)
{
	return !ret || ret == -EINTR || ret == -EAGAIN || ret == -ETIMEDOUT;
}

static void say_result(char mark, bool hide)
{
	long ret = order.ret;
	int error = refusal(order.nr);

	if (checked && order.nr == SYS_fcntl && order.a[1] == F_GETFL && ret >= 0)
		ret &= ~O_NOFOLLOW;	/* a checked program's files have it */

	/* The structure is of one size only; a robust list is told to its thread only. */
	if (checked && ((order.nr == SYS_openat2 && ret < 0) || order.nr == SYS_get_robust_list))
		say(" refused\n");
	/* Is there such a device? Each round's namespace of IPC has one with a number, and goes some time after it. */
	else if (order.nr == SYS_ustat && (!ret || ret == -EFAULT || ret == -EINVAL))
		say(" a device or none\n");
	else if (error && (ret == -error || ret == -EFAULT || ret == -EBADF || ret == -EINVAL))
		say(" refused\n");
	else if (mark == '~' && is_chance(ret))
		say(" waited\n");
	else if (ret < 0 && ret >= -4095)
		say(" -%ld\n", -ret);
	else if (hide || (wild && ret > 0) || ret > 0xffff || ret < 0)	/* addresses differ, as do their halves */
		say(" ok\n");
	else
		say(" %ld\n", ret);
}

static void one_call_of(unsigned int index, const struct call *call)
{
	const char mark = call->arguments[0], *kinds = call->arguments + !!strchr("?~c", mark);
	const struct itimerval tick = { { 0, TICK }, { 0, TICK } };
	bool hide = mark == '?' || mark == 'c';

	order.call = call;
	order.nr = call->nr;
	for (unsigned int i = 0; i < 6; i++)
		order.a[i] = argument(i < strlen(kinds) ? kinds[i] : 'n');
	if (mark == 'c')
		prepare_clone();
	else if (!strchr(kinds, R) && !below(40)) {
		/* A number that is none, or getgid's.  Of ranges the result is not the same each time. */
		static const long none[] = {
			600, 1000, -1, 0x40000000, 0x40000027, 0x7fffffff, (long)0x8000000000000068
		};

		order.nr = ONE_OF(none);
		hide = false;
	}
	say("%u %s(%ld)%s", index, call->name, order.nr, wild ? " wild" : "");
	for (unsigned int i = 0; verbose && i < 6; i++) {
		if (order.a[i] == getpid())
			say(" self");
		else if (order.a[i] > (long)hole - GIB && order.a[i] <= (long)hole + 2 * GIB)
			say(" hole%+ld", order.a[i] - (long)hole);
		else if (is_path(order.a[i]))
			say(" \"%s\"", (const char *)order.a[i]);
		else
			say(" %lx", order.a[i]);
	}
	setitimer(ITIMER_REAL, &tick, NULL);
	if (has_worker && !wild && below(2))
		have_worker_make_it();
	else
		make_it();
	if (mark == 'c' && order.ret > 0) {
		while (syscall(SYS_wait4, order.ret, NULL, __WALL, NULL) == -1 && errno == EINTR)
			;
		/* Nothing else says that a thread is gone. */
		while (!syscall(SYS_tgkill, getpid(), order.ret, 0))
			sched_yield();
	}
	say_result(mark, hide);
}

/* No mapping, which would be at libdune's memory outside; no signal, which the parent would have at any time. */
static bool can_be_wild(const struct call *call)
{
	return strpbrk(call->arguments, "pa") && !strchr(call->arguments, G) && call->nr != SYS_mmap &&
	       call->nr != SYS_mremap && call->nr != SYS_shmat && call->nr != SYS_shmdt && call->nr != SYS_brk;
}

static void one_call_in_child(unsigned int index, const struct call *call)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		wild = true;
		for (unsigned int i = 0; i < WILD_CALLS; i++) {
			make_memory_wild();
			one_call_of(index, call);
			do
				call = &calls[below(NR_CALLS)];
			while (!can_be_wild(call));
		}
		_exit(0);
	}
	while (pid > 0 && syscall(SYS_wait4, pid, &status, __WALL, NULL) == -1 && errno == EINTR)
		;
	if (pid < 0 || status)
		say(" ended %x\n", status);
}

static void one_call(unsigned int index)
{
	const struct call *call = &calls[below(NR_CALLS)];

	if (checked && can_be_wild(call) && !below(4)) {
		one_call_in_child(index, call);
		return;
	}
	restore_memory(content);
	one_call_of(index, call);
}

/* ---- looks at libdune's memory ---- */

#define LOOK_EACH	10	/* calls */
#define TO_WATCHER	700	/* tests/fuzz/watch.c */
#define FROM_WATCHER	701

static int *looking;		/* shared with the parent: the round waits */

static void have_looked(void)
{
	const struct timespec pace = { 0, 1000000 };

	if (!checked)
		return;
	__atomic_store_n(looking, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(looking, __ATOMIC_ACQUIRE))
		nanosleep(&pace, NULL);
}

static void look(pid_t pid)
{
	const struct { long pid; char *granule; } request = { pid, hole };
	char answer;

	if (!__atomic_load_n(looking, __ATOMIC_ACQUIRE))
		return;
	if (!expected && (write(TO_WATCHER, &request, sizeof(request)) != sizeof(request) ||
			  read(FROM_WATCHER, &answer, 1) != 1))
		printf("nobody looks at libdune's memory\n");
	__atomic_store_n(looking, 0, __ATOMIC_RELEASE);
}

static void round_of(uint64_t seed)
{
	struct sigaction action = { .sa_handler = on_signal };
	const struct rlimit small = { 1 << 20, 1 << 20 }, tasks = { 200, 200 };
	struct sigaction storm = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t thread;

	chance_state = seed * 0x9e3779b97f4a7c15ULL | 1;
	for (int i = 0; i < 8; i++)
		chance();
	setpgid(0, 0);
	syscall(SYS_unshare, CLONE_NEWIPC);	/* there would be what others have left */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prepare_files();
	prepare_descriptors();
	for (int signo = 1; signo < 32; signo++)
		if (signo != SIGSEGV && signo != SIGBUS && signo != SIGILL && signo != SIGFPE && signo != SIGTRAP)
			sigaction(signo, &action, NULL);
	setrlimit(RLIMIT_FSIZE, &small);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	sigaction(STORM_SIGNAL, &storm, NULL);
	target = below(3) ? 0 : getpid();
	if (target || !below(3))
		pthread_create(&thread, NULL, beside, NULL);
	has_worker = !below(3);
	if (has_worker)
		pthread_create(&thread, NULL, worker, NULL);
	setrlimit(RLIMIT_NPROC, &tasks);
	if (chown(".", NOBODY, NOBODY) || setgid(NOBODY) || setuid(NOBODY))
		_exit(105);
	prepare_memory();
	for (unsigned int i = 0; i < CALLS; i++) {
		if (i % LOOK_EACH == 0)
			have_looked();
		one_call(i);
	}
	have_looked();
	_exit(0);
}

#define ROOM	(256L << 20)	/* for what is mapped later */

/* Where libdune is if there is room.  If anything is there, or beside it, the next layout is another one. */
static void find_hole(char **argv)
{
	void *where = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long begin, end;
	char line[512];

	hole = (char *)(((unsigned long)__builtin_frame_address(0) & -GIB) - 16 * GIB);
	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &begin, &end) == 2 && end > (unsigned long)hole - 2 * PAGE &&
		    begin < (unsigned long)hole + GIB + ROOM)
			execv("/proc/self/exe", argv);
	if (maps)
		fclose(maps);
	munmap(where, PAGE);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 3 ? strtoull(argv[1], NULL, 0) : 0;
	unsigned long first = argc > 3 ? strtoul(argv[2], NULL, 0) : 0,
		      count = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;

	if (!count) {
		fputs("usage: calls SEED FIRST COUNT [all] [checked|expected]\n", stderr);
		return 2;
	}
	for (int i = 4; i < argc; i++) {
		verbose |= !strcmp(argv[i], "all");
		expected |= !strcmp(argv[i], "expected");
		checked |= expected || !strcmp(argv[i], "checked");
	}
	find_hole(argv);
	chmod("/", 0755);	/* a round may go there */
	output = mmap(NULL, LOG_SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	output_size = (size_t *)(output + LOG_SIZE);
	looking = (int *)(output_size + 1);
	for (unsigned long i = first; i < first + count; i++) {
		unsigned int waited = 0;
		int status;
		pid_t pid;

		*output_size = 0;
		*looking = 0;
		fflush(stdout);
		pid = fork();
		if (!pid)
			round_of(seed + i);
		while (!waitpid(pid, &status, WNOHANG | WUNTRACED) && ++waited < PATIENCE * 1000) {
			look(pid);
			usleep(1000);
		}
		kill(pid, SIGKILL);
		kill(-pid, SIGKILL);
		if (waited == PATIENCE * 1000)
			status = -1;
		while (waitpid(-1, NULL, 0) > 0)
			;
		printf("round %lu\n%.*sstatus %x\n", i, (int)*output_size, output, status);
	}
	return 0;
}
