// SPDX-License-Identifier: MIT
/*
 * System calls by chance: the same ones for the same seed.  Each round is a process of its own, with files of its own,
 * that makes calls with numbers, pointers, descriptors and sizes of all kinds, and prints the result of each. Run as
 * an ordinary program and by dune-run, it is to print the same (tests/fuzz/differ).
 *
 *	calls SEED FIRST COUNT		rounds FIRST to FIRST + COUNT - 1
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include <unistd.h>

#define CALLS		60	/* of a round */
#define LOG_SIZE	(64 * 1024)
#define PATIENCE	20	/* s: for a round */
#define TICK		20000	/* us: what waits is interrupted after this */
#define NOBODY		65534

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

static long pointer(void)
{
	const long all[] = {
		(long)pages, (long)pages + 64, (long)pages + 1001, (long)pages + 3 * PAGE,
		(long)pages + 3 * PAGE - 8, (long)pages + 4 * PAGE - 8, (long)pages + 4 * PAGE - 4,
		(long)pages + 4 * PAGE - 1, (long)pages + PAGE, (long)pages + PAGE + 8, (long)pages + 2 * PAGE,
		(long)pages + PAGE - 4, 0, 0, 1, 8, 4096, -1, -4096, (long)0xffffffff81000000, (long)0x800000000000,
		(long)0x7ffffffff000, (long)0x4141414141414141,
	};

	return ONE_OF(all);
}

static long descriptor(void)
{
	static const long all[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99, 299, 1023, 1024, -1, -100, 0x7fffffff,
				    0x100000003, (long)0xffffffff00000004 };

	return ONE_OF(all);
}

static long size(void)
{
	static const long all[] = { 0, 1, 2, 4, 7, 8, 12, 16, 24, 32, 64, 100, 128, 1000, 4095, 4096, 4097, 8192, 16384,
				    65536, -1, 0x7fffffff, 0x80000000 };

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

enum kind { NONE, P = 'p', F = 'f', S = 's', N = 'n', A = 'a', G = 'g', W = 'w' };

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
	default:
		return number();
	}
}

/*
 * What may be made by chance. Not rseq, modify_ldt, libdune's descriptor, ranges that
 * contain libdune's memory: these are known to differ (doc/compatibility.md). The
 * result of those with '?' says only whether it is an error. */
static const struct call {
	const char *name;
	int nr;
	const char *arguments;
} calls[] = {
#define C(name, arguments)	{ #name, SYS_##name, arguments },
	C(read, "fps") C(write, "fps") C(open, "ann") C(close, "f") C(stat, "ap") C(fstat, "fp") C(lstat, "ap")
	C(poll, "psn") C(lseek, "fnn") C(mmap, "?psnnfn") C(mprotect, "psn") C(munmap, "ps") C(brk, "?p")
	C(rt_sigaction, "gppn") C(rt_sigprocmask, "nppn") C(ioctl, "fnp") C(pread64, "fpsn") C(pwrite64, "fpsn")
	C(readv, "fpn") C(writev, "fpn") C(access, "an") C(pipe, "p") C(select, "npppp") C(sched_yield, "")
	C(mremap, "?pssnp") C(msync, "psn") C(mincore, "psp") C(madvise, "psn") C(dup, "f") C(dup2, "ff")
	C(nanosleep, "pp") C(getitimer, "np") C(getpid, "?") C(sendfile, "ffps") C(socket, "nnn") C(connect, "fpn")
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
	C(sched_getparam, "wp") C(sched_getscheduler, "w") C(mlock, "ps") C(munlock, "ps") C(prctl, "nnppp")
	C(arch_prctl, "np") C(gettid, "?") C(readahead, "fns") C(getxattr, "aaps") C(listxattr, "aps")
	C(tkill, "wg") C(futex, "pnnppn") C(sched_getaffinity, "wsp") C(io_setup, "np") C(epoll_create, "n")
	C(getdents64, "fps") C(timer_create, "npp") C(timer_gettime, "np") C(timer_delete, "n") C(clock_gettime, "np")
	C(clock_getres, "np") C(epoll_wait, "fpnn") C(epoll_ctl, "fnfp") C(tgkill, "wwg") C(utimes, "ap")
	C(openat, "fann") C(mkdirat, "fan") C(newfstatat, "fapn") C(unlinkat, "fan") C(renameat, "fafa")
	C(linkat, "fafan") C(symlinkat, "afa") C(readlinkat, "faps") C(fchmodat, "fan") C(faccessat, "fan")
	C(pselect6, "nppppp") C(ppoll, "pnppn") C(set_robust_list, "ps") C(get_robust_list, "wpp") C(splice, "fpfpsn")
	C(tee, "ffsn") C(vmsplice, "fpnn") C(utimensat, "fapn") C(epoll_pwait, "fpnnpn") C(signalfd, "fps")
	C(timerfd_create, "nn") C(eventfd, "n") C(fallocate, "fnnn") C(timerfd_gettime, "fp") C(accept4, "fppn")
	C(signalfd4, "fpsn") C(eventfd2, "nn") C(epoll_create1, "n") C(dup3, "ffn") C(pipe2, "pn") C(inotify_init1, "n")
	C(preadv, "fpnnn") C(pwritev, "fpnnn") C(rt_tgsigqueueinfo, "wwgp") C(recvmmsg, "fpnnp") C(prlimit64, "wnpp")
	C(sendmmsg, "fpnn") C(getcpu, "?ppp") C(process_vm_readv, "wpnpnn") C(kcmp, "wwnnn") C(renameat2, "fafan")
	C(getrandom, "?psn") C(memfd_create, "an") C(execveat, "fappn") C(mlock2, "psn") C(copy_file_range, "fpfpsn")
	C(preadv2, "fpnnnn") C(pwritev2, "fpnnnn") C(statx, "fannp") C(pidfd_send_signal, "fgpn")
	C(close_range, "ffn") C(openat2, "faps") C(faccessat2, "fann") C(execve, "app") C(wait4, "wpnp")
	C(waitid, "nwpnp") C(rt_sigtimedwait, "ppps") C(rt_sigqueueinfo, "wgp") C(rt_sigsuspend, "ps") C(pause, "")
	C(alarm, "n") C(clock_nanosleep, "nnpp") C(restart_syscall, "") C(vhangup, "")
	C(personality, "n") C(iopl, "n") C(ioperm, "nnn") C(mlockall, "n") C(munlockall, "") C(membarrier, "nnn")
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

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	for (int fd = 3; fd < 20; fd++)
		close(fd);
	open("file", O_RDWR);			/* 3 */
	open("folder", O_RDONLY | O_DIRECTORY);
	if (pipe2(pair, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		_exit(104);
	memfd_create("memory", 0);		/* 9 */
	socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static void prepare_memory(void)
{
	pages = mmap((void *)0x10000000, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		     0);
	for (unsigned int i = 0; i < 5 * PAGE / sizeof(uint32_t); i++)	/* small numbers, and addresses in it */
		((uint32_t *)pages)[i] = below(4) ? below(16) : 0x10000000 + below(PAGE);
	mprotect(pages + PAGE, PAGE, PROT_READ);
	mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
	mprotect(pages + 4 * PAGE, PAGE, PROT_NONE);
}

static void *beside(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return NULL;
}

static void one_call(unsigned int index)
{
	const struct call *call = &calls[below(NR_CALLS)];
	const char *kinds = call->arguments;
	const struct itimerval tick = { { 0, TICK }, { 0, TICK } };
	bool hide = *kinds == '?';
	long a[6], nr = call->nr, ret;

	for (unsigned int i = 0; i < 6; i++)
		a[i] = i < strlen(kinds + hide) ? argument(kinds[i + hide]) : number();
	if (!below(40)) {	/* a number that is none */
		static const long none[] = {
			600, 1000, -1, 0x40000000, 0x40000027, 0x7fffffff, (long)0x8000000000000000
		};

		nr = ONE_OF(none);
		hide = false;
	}
	say("%u %s(%ld)", index, call->name, nr);
	setitimer(ITIMER_REAL, &tick, NULL);
	ret = make(nr, a);
	if (ret < 0 && ret >= -4095)
		say(" -%ld\n", -ret);
	else if (hide || ret > 0xffff || ret < 0)
		say(" ok\n");
	else
		say(" %ld\n", ret);
}

static void round_of(uint64_t seed)
{
	struct sigaction action = { .sa_handler = on_signal };
	const struct rlimit small = { 1 << 20, 1 << 20 }, tasks = { 200, 200 };
	pthread_t thread;

	chance_state = seed * 0x9e3779b97f4a7c15ULL | 1;
	for (int i = 0; i < 8; i++)
		chance();
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prepare_files();
	prepare_descriptors();
	for (int signo = 1; signo < 32; signo++)
		if (signo != SIGSEGV && signo != SIGBUS && signo != SIGILL && signo != SIGFPE && signo != SIGTRAP)
			sigaction(signo, &action, NULL);
	setrlimit(RLIMIT_FSIZE, &small);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	if (!below(3))
		pthread_create(&thread, NULL, beside, NULL);
	setrlimit(RLIMIT_NPROC, &tasks);
	if (chown(".", NOBODY, NOBODY) || setgid(NOBODY) || setuid(NOBODY))
		_exit(105);
	prepare_memory();
	for (unsigned int i = 0; i < CALLS; i++)
		one_call(i);
	_exit(0);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 3 ? strtoull(argv[1], NULL, 0) : 0;
	unsigned long first = argc > 3 ? strtoul(argv[2], NULL, 0) : 0,
		      count = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;

	if (!count) {
		fputs("usage: calls SEED FIRST COUNT\n", stderr);
		return 2;
	}
	output = mmap(NULL, LOG_SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	output_size = (size_t *)(output + LOG_SIZE);
	for (unsigned long i = first; i < first + count; i++) {
		unsigned int waited = 0;
		int status;
		pid_t pid;

		*output_size = 0;
		fflush(stdout);
		pid = fork();
		if (!pid)
			round_of(seed + i);
		while (!waitpid(pid, &status, WNOHANG | WUNTRACED) && ++waited < PATIENCE * 100)
			usleep(10000);
		kill(pid, SIGKILL);
		kill(-pid, SIGKILL);
		if (waited == PATIENCE * 100)
			status = -1;
		while (waitpid(-1, NULL, 0) > 0)
			;
		printf("round %lu\n%.*sstatus %x\n", i, (int)*output_size, output, status);
	}
	return 0;
}
