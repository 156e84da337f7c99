// SPDX-License-Identifier: MIT
/*
 * Every system call that may be made inside, with good and bad arguments, in each of the ways in which it can be made:
 * the same result, memory, descriptors, files, signal mask and accounting.
 *
 *	calls-alike [precise] [N]	every Nth call of the list only
 */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "patience.h"
#include "ways.h"

#define PAGE	4096UL
#define TRIES	40
/* `..` of the one is the other: it is nobody else's whose mode and owner are changed. */
#define ABOVE	"/tmp/calls-alike"
#define WORLD	ABOVE "/world"

/* ---- arguments ---- */

/* At the same addresses in all ways; what is behind and before the second page is not mapped. */
#define ARENA		0x7e0000000000UL
#define READ_ONLY	(ARENA + 4 * PAGE)
#define PATHS		(ARENA + 6 * PAGE)
#define STRUCTS		(ARENA + 7 * PAGE)
#define ARENA_PAGES	8

enum { FD_FILE = 60, FD_READ, FD_DIR, FD_PIPE_IN, FD_PIPE_OUT, FD_PAIR, FD_PAIR_2, FD_EVENT, FD_TIMER, FD_EPOLL,
       FD_INOTIFY, FD_LISTEN, FD_UDP, FD_END };

static const long fds[] = {
	FD_FILE, FD_READ, FD_DIR, FD_PIPE_IN, FD_PIPE_OUT, FD_PAIR, FD_PAIR_2, FD_EVENT, FD_TIMER, FD_EPOLL, FD_INOTIFY,
	FD_LISTEN, FD_UDP, -1, 999, AT_FDCWD, 0x100000000L + FD_FILE,
};
static const long memory[] = {
	ARENA, ARENA + 512, ARENA + 2 * PAGE - 8, ARENA + 2 * PAGE - 4, ARENA + 3, READ_ONLY, 0, 8, ARENA + 2 * PAGE,
	0x7fffffffefff, 0x800000000000, 0xffff888000000000, -8,
};
static const long lengths[] = { 0, 1, 8, 16, 100, PAGE, -1, 0x7fffffff, 1L << 40, 4 };
static const long numbers[] = { 0, 1, 2, 3, 4, 8, 16, 0x40, 0x80, 0x800, 0x80000, -1, 1L << 40 };
static const long offsets[] = { 0, 1, 5, PAGE, -1, 1L << 40 };
static const long signals[] = { 0, SIGUSR2, SIGWINCH, SIGURG, 99, -1 };
static const long own_pids[] = { 0, -1, 0x7ffffffe, -0x7ffffffe };
static const long futexes[] = { 0, 1, 3, 4, 5, 9, 10, 128, 129, 137, 99, -1 };
static const long resources[] = { RLIMIT_CORE, RLIMIT_NOFILE, 99, -1 };
static const long controls[] = {
	F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD, F_DUPFD_CLOEXEC, F_GETLK, F_SETLK, F_GETPIPE_SZ, 99, -1,
};
static const long requests[] = { FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCGPGRP, 0, -1, 0x100000000L + FIONREAD };
static const long opens[] = {
	0, 1, 2, O_CREAT | O_RDWR, O_CREAT | O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TRUNC | 2, O_TMPFILE | 2, -1,
};
static const long modes[] = { 0, 0644, 0755, S_IFREG | 0600, S_IFIFO | 0600, S_IFCHR | 0600, -1 };
static const long families[] = { AF_UNIX, AF_INET, 99, -1 };
static const long clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, 99, -1 };
static const long epolls[] = { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, 99 };

static const char *const paths[] = {
	"file", "dir", "dir/inner", "none", "none/inner", "link", "loop", "", ".", "..", "file/x", "new", WORLD "/file",
};

/* Structures; arguments of all kinds may point to any of them as well. */
static struct structs {
	struct timespec time[4];	/* 0, 1 ms, not valid, not valid */
	struct itimerspec timer[3];	/* off, in a day, not valid */
	struct itimerval interval[3];
	struct iovec iov[3];
	struct msghdr msg;
	struct mmsghdr msgs[2];
	struct sockaddr_un name;
	struct sockaddr_in address;
	struct pollfd polls[3];
	struct epoll_event event;
	struct rlimit limit;
	struct flock lock;
	struct sched_param param;
	struct { const void *mask; size_t size; } masked;
	sigset_t sets[2];
	siginfo_t info;
	struct sigevent sigevent;
	struct { uint64_t flags, mode, resolve; } how;
	struct { unsigned short num; short op, flg; } sem;
	struct { long type; char text[32]; } message;
	fd_set bits;
	int length, word;
	uint32_t cap[2];
	off_t offset;
	char name_of_attribute[16];
} *const st = (void *)STRUCTS;

static void fill_structs(void)
{
	memset(st, 0, sizeof(*st));
	st->time[1].tv_nsec = 1000000;
	st->time[2].tv_nsec = -1;
	st->time[3].tv_sec = -1;
	st->timer[1].it_value.tv_sec = 86400;
	st->timer[2].it_value.tv_nsec = -1;
	st->interval[1].it_value.tv_sec = 86400;
	st->interval[2].it_value.tv_usec = -1;
	st->iov[0] = (struct iovec){ (void *)ARENA, 10 };
	st->iov[1] = (struct iovec){ (void *)(ARENA + 2 * PAGE - 4), 8 };
	st->iov[2] = (struct iovec){ (void *)-8, 8 };
	st->msg = (struct msghdr){ .msg_iov = st->iov, .msg_iovlen = 1 };
	st->msgs[0].msg_hdr = st->msgs[1].msg_hdr = st->msg;
	st->name = (struct sockaddr_un){ AF_UNIX, WORLD "/socket" };
	st->address = (struct sockaddr_in){ .sin_family = AF_INET };
	st->polls[0] = (struct pollfd){ FD_PIPE_IN, POLLIN, 0 };
	st->polls[1] = (struct pollfd){ 999, POLLIN, 0 };
	st->polls[2] = (struct pollfd){ FD_PAIR, POLLIN | POLLOUT, 0 };
	st->event = (struct epoll_event){ EPOLLIN, { .u64 = 7 } };
	st->limit = (struct rlimit){ 1024, 1024 };
	st->lock = (struct flock){ .l_type = F_WRLCK, .l_len = 4 };
	sigemptyset(&st->sets[0]);
	sigaddset(&st->sets[1], SIGUSR2);
	st->masked.mask = &st->sets[1];
	st->masked.size = 8;
	st->info.si_code = SI_QUEUE;
	st->sigevent.sigev_notify = SIGEV_NONE;
	st->how.flags = O_RDWR;
	st->sem.op = 1;
	st->message.type = 1;
	FD_SET(FD_PIPE_IN, &st->bits);
	st->length = 16;
	st->cap[0] = 0x20080522;
	strcpy(st->name_of_attribute, "user.test");
}

static const long structs[] = {
	STRUCTS + offsetof(struct structs, time[0]), STRUCTS + offsetof(struct structs, time[1]),
	STRUCTS + offsetof(struct structs, time[2]), STRUCTS + offsetof(struct structs, iov[0]), READ_ONLY,
	0, ARENA + 2 * PAGE - 4, -8,
};

#define AT(field)	(STRUCTS + offsetof(struct structs, field))
static const long times[] = { AT(time[0]), AT(time[1]), AT(time[2]), AT(time[3]), ARENA + 2 * PAGE - 4, -8 };
static const long timers[] = { AT(timer[0]), AT(timer[1]), AT(timer[2]), 0, ARENA + 2 * PAGE - 8, -8 };
static const long intervals[] = { AT(interval[0]), AT(interval[1]), AT(interval[2]), ARENA + 2 * PAGE - 8, -8 };
static const long vectors[] = { AT(iov[0]), AT(iov[1]), AT(iov[2]), 0, -8, ARENA + 2 * PAGE - 4 };
static const long messages[] = { AT(msg), AT(msgs[0]), 0, -8, ARENA + 2 * PAGE - 8 };
static const long names[] = { AT(name), AT(address), 0, ARENA, -8 };
static const long socklens[] = { 0, 2, sizeof(struct sockaddr_un), sizeof(struct sockaddr_in), 200, -1 };
static const long socklenps[] = { AT(length), 0, -8, READ_ONLY };
static const long pollss[] = { AT(polls[0]), AT(polls[1]), 0, READ_ONLY, ARENA + 2 * PAGE - 4 };
static const long events[] = { AT(event), ARENA, 0, -8 };
static const long setss[] = { AT(sets[0]), AT(sets[1]), 0, -8, READ_ONLY };
static const long bits[] = { AT(bits), 0, -8, READ_ONLY };
static const long locks[] = { AT(lock), 0, 1, -8, FD_END + 5 };
static const long maskeds[] = { AT(masked), 0, -8 };
static const long attributes[] = { AT(name_of_attribute), 0, -8, READ_ONLY };
static const long hows[] = { AT(how), AT(time[0]), 0, -8 };
static const long limits[] = { AT(limit), 0, -8 };
static const long infos[] = { AT(info), 0, -8 };
static const long sizes_of_set[] = { 8, 8, 8, 0, 16 };
static const long offsetps[] = { AT(offset), 0, -8, READ_ONLY };
static const long sigevents[] = { AT(sigevent), -8 };
static const long ids[] = { 0, 1, -1, 0x7fffffff };
static const long little[] = { 0, 1, 2, 3, -1 };
static const long commands[] = { 0, 2, 3, 12, 13, 14, 99 };	/* IPC_RMID, IPC_STAT, IPC_INFO, ... */
static const long semaphores[] = { AT(sem), 0, -8 };
static const long texts[] = { AT(message), 0, -8 };
static const long addresses[] = { 0, 1, -1, 0xffff888000000000 };
static const long capabilities[] = { AT(cap), 0, -8, ARENA };
static const long users[] = { 0, 1000, -1, 1L << 40 };
static const long policies[] = { 0, 1, 2, 3, 99 };
static const long milliseconds[] = { 0, 1 };

#define POOL(letter, values)	[letter] = { values, sizeof(values) / sizeof((values)[0]) }
static const struct pool {
	const long *values;
	unsigned int count;
} pools[128] = {
	POOL('f', fds), POOL('m', memory), POOL('l', lengths), POOL('n', numbers), POOL('o', offsets),
	POOL('g', signals), POOL('p', own_pids), POOL('F', futexes), POOL('R', resources), POOL('c', controls),
	POOL('q', requests), POOL('O', opens), POOL('M', modes), POOL('a', families), POOL('k', clocks),
	POOL('E', epolls), POOL('S', structs), POOL('t', times), POOL('T', timers), POOL('I', intervals),
	POOL('v', vectors), POOL('h', messages), POOL('N', names), POOL('L', socklens), POOL('P', socklenps),
	POOL('d', pollss), POOL('e', events), POOL('Z', setss), POOL('b', bits), POOL('K', locks), POOL('x', maskeds),
	POOL('A', attributes), POOL('H', hows), POOL('r', limits), POOL('i', infos), POOL('z', sizes_of_set),
	POOL('D', offsetps), POOL('V', sigevents), POOL('y', ids), POOL('j', little), POOL('C', commands),
	POOL('Q', semaphores), POOL('w', texts), POOL('B', addresses), POOL('Y', capabilities), POOL('u', users),
	POOL('J', policies), POOL('1', milliseconds),
};

/* What of a call is not the same twice. */
enum { MEMORY = 1, RESULT = 2 };

/* The arguments by the letters above; s is a path, - is 0. */
static const struct call {
	const char *name;
	unsigned short nr;
	const char *arguments;
	unsigned int varies;
} calls[] = {
#define CALL(name, arguments, varies)	{ #name, SYS_##name, arguments, varies }
	CALL(read, "fml", 0), CALL(write, "fml", 0), CALL(pread64, "fmlo", 0), CALL(pwrite64, "fmlo", 0),
	CALL(readv, "fvj", 0), CALL(writev, "fvj", 0), CALL(preadv, "fvjo-", 0), CALL(pwritev, "fvjo-", 0),
	CALL(preadv2, "fvjo-n", 0), CALL(pwritev2, "fvjo-n", 0), CALL(lseek, "foj", 0), CALL(ioctl, "fqm", 0),
	CALL(open, "sOM", 0), CALL(openat, "fsOM", 0), CALL(openat2, "fsHl", 0), CALL(creat, "sM", 0),
	CALL(stat, "sm", MEMORY), CALL(lstat, "sm", MEMORY), CALL(fstat, "fm", MEMORY),
	CALL(newfstatat, "fsmn", MEMORY), CALL(statx, "fsnnm", MEMORY), CALL(access, "sn", 0),
	CALL(faccessat, "fsn", 0),
	CALL(faccessat2, "fsnn", 0), CALL(getdents, "fml", MEMORY), CALL(getdents64, "fml", MEMORY),
	CALL(readlink, "sml", 0), CALL(readlinkat, "fsml", 0), CALL(getcwd, "ml", 0), CALL(chdir, "s", 0),
	CALL(fchdir, "f", 0), CALL(rename, "ss", 0), CALL(renameat, "fsfs", 0), CALL(renameat2, "fsfsn", 0),
	CALL(mkdir, "sM", 0), CALL(mkdirat, "fsM", 0), CALL(rmdir, "s", 0), CALL(link, "ss", 0),
	CALL(linkat, "fsfsn", 0),
	CALL(unlink, "s", 0), CALL(unlinkat, "fsn", 0), CALL(symlink, "ss", 0), CALL(symlinkat, "sfs", 0),
	CALL(mknod, "sMn", 0), CALL(mknodat, "fsMn", 0), CALL(chmod, "sM", 0), CALL(fchmod, "fM", 0),
	CALL(fchmodat, "fsM", 0), CALL(chown, "suu", 0), CALL(fchown, "fuu", 0), CALL(lchown, "suu", 0),
	CALL(fchownat, "fsuun", 0), CALL(utime, "sS", 0), CALL(utimes, "sS", 0), CALL(futimesat, "fsS", 0),
	CALL(utimensat, "fstn", 0), CALL(umask, "M", 0), CALL(truncate, "so", 0), CALL(ftruncate, "fo", 0),
	CALL(fallocate, "fjjl", 0), CALL(fsync, "f", 0), CALL(fdatasync, "f", 0), CALL(sync_file_range, "fool", 0),
	CALL(fadvise64, "folj", 0), CALL(readahead, "fol", 0), CALL(flock, "fn", 0), CALL(fcntl, "fcK", 0),
	CALL(dup, "f", 0), CALL(statfs, "sm", MEMORY), CALL(fstatfs, "fm", MEMORY), CALL(getxattr, "sAml", 0),
	CALL(lgetxattr, "sAml", 0), CALL(fgetxattr, "fAml", 0), CALL(listxattr, "sml", 0), CALL(llistxattr, "sml", 0),
	CALL(flistxattr, "fml", 0), CALL(setxattr, "sAmlj", 0), CALL(lsetxattr, "sAmlj", 0),
	CALL(fsetxattr, "fAmlj", 0),
	CALL(removexattr, "sA", 0), CALL(lremovexattr, "sA", 0), CALL(fremovexattr, "fA", 0), CALL(sendfile, "ffDl", 0),
	CALL(splice, "fDfDln", 0), CALL(tee, "ffln", 0), CALL(vmsplice, "fvjn", 0), CALL(copy_file_range, "fDfDl-", 0),
	CALL(pipe, "m", 0), CALL(pipe2, "mn", 0), CALL(memfd_create, "sn", 0), CALL(inotify_init, "", 0),
	CALL(inotify_init1, "n", 0), CALL(inotify_add_watch, "fsn", 0), CALL(inotify_rm_watch, "fn", 0),
	CALL(poll, "dj1", 0), CALL(ppoll, "djtZz", MEMORY), CALL(select, "nbbbI", MEMORY),
	CALL(pselect6, "nbbbtx", MEMORY), CALL(epoll_create, "n", 0), CALL(epoll_create1, "n", 0),
	CALL(epoll_ctl, "fEfe", 0), CALL(epoll_wait, "fej1", 0), CALL(epoll_pwait, "fej1Zz", 0), CALL(eventfd, "n", 0),
	CALL(eventfd2, "nn", 0), CALL(signalfd, "fZz", 0), CALL(signalfd4, "fZzn", 0), CALL(futex, "mFjtmj", 0),
	CALL(nanosleep, "tm", MEMORY), CALL(clock_nanosleep, "kjtm", MEMORY), CALL(pause, "", 0),
	CALL(sched_yield, "", 0), CALL(wait4, "pmnm", 0), CALL(waitid, "jpinm", 0),
	CALL(socket, "ajn", 0), CALL(socketpair, "ajnm", 0), CALL(connect, "fNL", 0), CALL(accept, "fmP", 0),
	CALL(accept4, "fmPn", 0), CALL(bind, "fNL", 0), CALL(listen, "fn", 0), CALL(sendto, "fmlnNL", 0),
	CALL(recvfrom, "fmlnmP", 0), CALL(sendmsg, "fhn", 0), CALL(recvmsg, "fhn", 0), CALL(sendmmsg, "fhjn", 0),
	CALL(recvmmsg, "fhjnt", MEMORY), CALL(shutdown, "fj", 0), CALL(getsockname, "fmP", 0),
	CALL(getpeername, "fmP", 0), CALL(setsockopt, "fjnml", 0), CALL(getsockopt, "fjnmP", MEMORY),
	CALL(semget, "-jM", 0), CALL(semop, "yQj", 0), CALL(semtimedop, "yQjt", 0), CALL(semctl, "yjCm", MEMORY),
	CALL(msgget, "-M", 0), CALL(msgsnd, "ywln", 0), CALL(msgrcv, "ywljn", 0), CALL(msgctl, "yCm", MEMORY),
	CALL(mq_open, "sOM-", 0), CALL(mq_unlink, "s", 0), CALL(mq_timedsend, "fmljt", 0),
	CALL(mq_timedreceive, "fmlmt", MEMORY), CALL(mq_notify, "fV", 0), CALL(mq_getsetattr, "fmm", 0),
	CALL(rt_sigprocmask, "jZmz", 0), CALL(rt_sigpending, "mz", 0), CALL(rt_sigsuspend, "Zz", 0),
	CALL(rt_sigtimedwait, "Zmtz", MEMORY), CALL(rt_sigqueueinfo, "pgi", 0), CALL(rt_tgsigqueueinfo, "ppgi", 0),
	CALL(tkill, "pg", 0), CALL(tgkill, "ppg", 0), CALL(pidfd_open, "pn", 0), CALL(pidfd_send_signal, "fgin", 0),
	CALL(time, "m", MEMORY | RESULT), CALL(gettimeofday, "mm", MEMORY), CALL(clock_gettime, "km", MEMORY),
	CALL(clock_getres, "km", 0), CALL(times, "m", MEMORY | RESULT), CALL(alarm, "-", 0),
	CALL(getitimer, "jm", MEMORY), CALL(setitimer, "jIm", MEMORY), CALL(timer_create, "kVm", 0),
	CALL(timer_settime, "jnTm", MEMORY), CALL(timer_gettime, "jm", MEMORY), CALL(timer_getoverrun, "j", 0),
	CALL(timer_delete, "j", 0), CALL(timerfd_create, "kn", 0), CALL(timerfd_settime, "fnTm", MEMORY),
	CALL(timerfd_gettime, "fm", MEMORY), CALL(getpid, "", RESULT), CALL(gettid, "", RESULT),
	CALL(getppid, "", RESULT), CALL(getpgid, "p", RESULT), CALL(getpgrp, "", RESULT), CALL(getsid, "p", RESULT),
	CALL(getuid, "", 0), CALL(geteuid, "", 0), CALL(getgid, "", 0), CALL(getegid, "", 0), CALL(getresuid, "mmm", 0),
	CALL(getresgid, "mmm", 0), CALL(getgroups, "nm", 0), CALL(capget, "Ym", 0), CALL(getpriority, "jp", 0),
	CALL(getrlimit, "Rm", 0), CALL(prlimit64, "-Rrm", 0), CALL(getrusage, "jm", MEMORY), CALL(sysinfo, "m", MEMORY),
	CALL(uname, "m", 0), CALL(getcpu, "mmm", 0), CALL(getrandom, "mln", MEMORY), CALL(sched_getparam, "pm", 0),
	CALL(sched_getscheduler, "p", 0), CALL(sched_getaffinity, "plm", 0), CALL(sched_setaffinity, "plm", 0),
	CALL(sched_getattr, "pmln", 0), CALL(sched_get_priority_max, "J", 0), CALL(sched_get_priority_min, "J", 0),
	CALL(sched_rr_get_interval, "pm", 0), CALL(set_robust_list, "ml", 0), CALL(get_robust_list, "pmm", MEMORY),
	CALL(brk, "B", RESULT), CALL(mincore, "mlm", MEMORY),
#undef CALL
};

#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))

/* ---- what comes of a try ---- */

struct record {
	long result;
	uint64_t memory, files;		/* digests */
	unsigned int descriptors;	/* digest */
	int handled;
	long io[4];			/* characters and calls, read and written */
};

static struct shared {
	volatile unsigned int at, over;
	struct record records[WAYS][TRIES];
	long arguments[TRIES][6];
} *s;

static uint64_t digest(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size--)
		hash = (hash ^ *p++) * 0x100000001b3;
	return hash;
}

static uint64_t digest_of_text(uint64_t hash, const char *text)
{
	return digest(hash, text, strlen(text) + 1);
}

/* The sum of all in a folder, since their order is nobody's business. */
#define NAME_SIZE	600

/* The path of the next name in the folder @path; false: there is none any more.  @dir may be NULL. */
static bool next_path(DIR *dir, const char *path, char name[NAME_SIZE])
{
	struct dirent *entry;

	do
		entry = dir ? readdir(dir) : NULL;
	while (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")));
	if (entry)
		snprintf(name, NAME_SIZE, "%s/%s", path, entry->d_name);
	return entry;
}

static uint64_t digest_of_folder(const char *path)
{
	uint64_t sum = 0;
	struct stat stat;
	char name[NAME_SIZE];
	DIR *dir = opendir(path);

	while (next_path(dir, path, name)) {
		if (lstat(name, &stat))
			continue;
		sum += digest_of_text(stat.st_mode + (stat.st_uid + stat.st_gid) * 77 + stat.st_nlink * 777 +
				      (S_ISDIR(stat.st_mode) ? 0 : stat.st_size * 7777), name);
		if (S_ISDIR(stat.st_mode))
			sum += digest_of_folder(name);
	}
	if (dir)
		closedir(dir);
	return sum;
}

static unsigned int digest_of_descriptors(void)
{
	unsigned int sum = 0;
	int available;
	sigset_t mask;
	char cwd[256];

	for (int fd = 0; fd < FD_END + 8; fd++) {
		int flags = fcntl(fd, F_GETFL);

		if (flags < 0)
			continue;
		available = 0;
		ioctl(fd, FIONREAD, &available);
		sum = sum * 31 + fd + flags * 3 + fcntl(fd, F_GETFD) * 5 + lseek(fd, 0, SEEK_CUR) * 7 + available * 11;
	}
	sigprocmask(SIG_BLOCK, NULL, &mask);
	sum += digest(0, &mask, 8);
	if (getcwd(cwd, sizeof(cwd)))
		sum += digest_of_text(0, cwd);
	return sum;
}

/* What /proc/self/io says of characters and calls. */
static void account(long io[4])
{
	char text[256] = "";
	int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);

	memset(io, 0, 4 * sizeof(*io));
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0)
		sscanf(text, "rchar: %ld wchar: %ld syscr: %ld syscw: %ld", &io[0], &io[1], &io[2], &io[3]);
	close(fd);
}

/* ---- the process ---- */

static volatile int handled;

static void handler(int signo)
{
	(void)signo;
	handled++;
}

static void put(int fd, int as)
{
	DIE_UNLESS(fd >= 0 && dup2(fd, as) == as, "a descriptor");
	close(fd);
}

static void make_world(void)
{
	struct sockaddr_un name = { AF_UNIX, WORLD "/listener" };
	int ends[2];

	DIE_UNLESS(!mkdir(ABOVE, 0755) && !mkdir(WORLD, 0755) && !chdir(WORLD) && !mkdir("dir", 0755), WORLD);
	put(open("file", O_RDWR | O_CREAT, 0644), FD_FILE);
	DIE_UNLESS(write(FD_FILE, "0123456789abcdef", 16) == 16 && lseek(FD_FILE, 3, SEEK_SET) == 3, "file");
	put(open("dir/inner", O_RDWR | O_CREAT, 0600), FD_READ);
	put(open("file", O_RDONLY), FD_READ);
	put(open("dir", O_RDONLY | O_DIRECTORY), FD_DIR);
	DIE_UNLESS(!symlink("file", "link") && !symlink("loop", "loop") && !pipe(ends), "world");
	put(ends[0], FD_PIPE_IN);
	put(ends[1], FD_PIPE_OUT);
	DIE_UNLESS(write(FD_PIPE_OUT, "pipe", 4) == 4 && !socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "world");
	put(ends[0], FD_PAIR);
	put(ends[1], FD_PAIR_2);
	DIE_UNLESS(write(FD_PAIR_2, "pair", 4) == 4, "world");
	put(eventfd(3, 0), FD_EVENT);
	put(timerfd_create(CLOCK_MONOTONIC, 0), FD_TIMER);
	put(epoll_create1(0), FD_EPOLL);
	put(inotify_init(), FD_INOTIFY);
	put(socket(AF_UNIX, SOCK_STREAM, 0), FD_LISTEN);
	DIE_UNLESS(!bind(FD_LISTEN, (void *)&name, sizeof(name)) && !listen(FD_LISTEN, 1), "world");
	put(socket(AF_INET, SOCK_DGRAM, 0), FD_UDP);
}

static void make_arena(void)
{
	char *p = mmap((void *)ARENA, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	DIE_UNLESS(p == (void *)ARENA, "mmap");
	for (unsigned int i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		strcpy((char *)PATHS + 64 * i, paths[i]);
	strcpy((char *)READ_ONLY, "file");
	DIE_UNLESS(!mprotect((void *)READ_ONLY, PAGE, PROT_READ), "mprotect");
	DIE_UNLESS(!munmap((void *)(ARENA + 2 * PAGE), PAGE) && !munmap((void *)(ARENA + 5 * PAGE), PAGE), "munmap");
}

static uint64_t seed;

static unsigned int any(unsigned int count)
{
	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (seed >> 33) % count;
}

static long argument(char letter)
{
	static const long not_paths[] = { 0, -8, READ_ONLY, ARENA, 0x800000000000 };
	const struct pool *pool = &pools[(int)letter];

	if (letter == '-')
		return 0;
	if (letter == 's') {
		unsigned int i = any(sizeof(paths) / sizeof(paths[0]) + 5);

		return i < 5 ? not_paths[i] : (long)PATHS + 64 * (i - 5);
	}
	return pool->values[any(pool->count)];
}

static void one(const struct call *call, unsigned int number, struct record *record)
{
	long a[6] = { 0 }, before[4], after[4];

	for (unsigned int i = 0; call->arguments[i]; i++)
		a[i] = argument(call->arguments[i]);
	memcpy(s->arguments[number], a, sizeof(a));
	for (unsigned long i = 0; i < 2 * PAGE; i++)
		((char *)ARENA)[i] = i % 64 < 8 ? 0 : i;
	fill_structs();
	handled = 0;
	account(before);
	s->at = number + 1;
	__asm__ volatile("mov %5, %%r10; mov %6, %%r8; mov %7, %%r9; syscall"
			 : "=a"(record->result)
			 : "0"((long)call->nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "m"(a[3]), "m"(a[4]), "m"(a[5])
			 : "rcx", "r11", "r10", "r8", "r9", "memory");
	s->over = number + 1;
	account(after);
	for (int i = 0; i < 4; i++)
		record->io[i] = after[i] - before[i];
	record->memory = digest(digest(1, (void *)ARENA, 2 * PAGE), st, sizeof(*st));
	record->handled = handled;
	record->descriptors = digest_of_descriptors();
	record->files = digest_of_folder(WORLD);
	/* Signals of its own, and those of the watcher, are to come to the next one too. */
	sigprocmask(SIG_SETMASK, &(sigset_t){ 0 }, NULL);
}

static void process(const struct call *call, enum way way)
{
	const struct rlimit size = { 1 << 16, 1 << 16 };
	struct sigaction action = { .sa_handler = handler };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	DIE_UNLESS(!unshare(CLONE_NEWIPC), "unshare");
	setsid();
	make_world();
	make_arena();
	setrlimit(RLIMIT_FSIZE, &size);
	way_enter(way);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	seed = call->nr + 1;
	for (unsigned int i = 0; i < TRIES; i++)
		one(call, i, &s->records[way][i]);
	_exit(0);
}

/* ---- its watcher ---- */

static bool sleeps(pid_t pid)
{
	char path[64], text[256] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strstr(text, ") S ");
}

/* Who sleeps in a call gets a signal. */
static int watch(pid_t pid)
{
	unsigned int at = 0, looks = 0;
	double end = patience_seconds() + 120;
	int status = -1;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (patience_seconds() > end) {
			kill(pid, SIGKILL);
			end += 1000;
		}
		looks = s->at == at && s->over != at && sleeps(pid) ? looks + 1 : 0;
		at = s->at;
		if (looks >= 5) {
			kill(pid, SIGUSR1);
			looks = 0;
		}
		usleep(5000);
	}
	return status;
}

static void remove_folder(const char *path)
{
	char name[NAME_SIZE];
	DIR *dir = opendir(path);

	while (next_path(dir, path, name)) {
		if (unlink(name))
			remove_folder(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void compare(const struct call *call, enum way way)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		struct record a = s->records[WAY_OUTSIDE][i], b = s->records[way][i];
		const long *x = s->arguments[i];

		if (call->varies & RESULT && a.result > 0 && b.result > 0)
			a.result = b.result = 0;
		if (call->varies & MEMORY)
			a.memory = b.memory = 0;
		CHECK(!memcmp(&a, &b, sizeof(a)), "%s(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx) %s: "
		      "result %ld, memory %lx, files %lx, descriptors %x, %d signals, io %ld %ld %ld %ld; outside: "
		      "result %ld, memory %lx, files %lx, descriptors %x, %d signals, io %ld %ld %ld %ld",
		      call->name, x[0], x[1], x[2], x[3], x[4], x[5], way_names[way],
		      b.result, b.memory, b.files, b.descriptors, b.handled, b.io[0], b.io[1], b.io[2], b.io[3],
		      a.result, a.memory, a.files, a.descriptors, a.handled, a.io[0], a.io[1], a.io[2], a.io[3]);
	}
}

int main(int argc, char **argv)
{
	unsigned int each = 1, tried = 0;
	struct stat tmp, now;
	char before[2];

	if (argc > 1 + mode_precise)
		each = atoi(argv[1 + mode_precise]);
	module_get_parameter("calls", before);
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(s != MAP_FAILED && !stat("/tmp", &tmp), "mmap");
	for (unsigned int i = 0; i < NR_CALLS; i += each) {
		memset(s, 0, sizeof(*s));
		for (enum way way = WAY_OUTSIDE; way < WAYS; way++) {
			unsigned long made = module_counter("calls");
			pid_t pid;
			int status;

			way_choose(way);
			s->at = s->over = 0;
			fflush(stdout);
			pid = fork();
			if (!pid)
				process(&calls[i], way);
			status = watch(pid);
			CHECK(!status, "%s, %s: status %#x in try %u", calls[i].name, way_names[way], status, s->at);
			remove_folder(ABOVE);
			made = module_counter("calls") - made;
			CHECK(way != WAY_INSIDE || made, "%s: no call is made inside", calls[i].name);
			if (way != WAY_OUTSIDE)
				compare(&calls[i], way);
		}
		tried++;
	}
	module_set_parameter("calls", before);
	CHECK(!stat("/tmp", &now) && now.st_mode == tmp.st_mode && now.st_uid == tmp.st_uid &&
	      now.st_gid == tmp.st_gid, "/tmp has mode %o, and had %o", now.st_mode, tmp.st_mode);
	printf("%u calls, %u tries of each\n", tried, TRIES);
	return check_result();
}
