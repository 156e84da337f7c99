// SPDX-License-Identifier: MIT
/*
 * What system calls write is dirty in the program's page table, and its permissions hold for them; signals interrupt
 * such calls like any others.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "proc.h"

#define PAGE	4096UL
#define NR	256UL
#define RW	(PERM_R | PERM_W)

static char *area;
static uint64_t bitmap[NR / 64];

static long scan(void)
{
	return dune_vm_scan(pgroot, area, NR * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, bitmap);
}

static bool is_dirty(unsigned int page)
{
	return bitmap[page / 64] >> page % 64 & 1;
}

/* Only this page is dirty, or from this one to that. */
static void only(unsigned int first, unsigned int n, const char *what)
{
	CHECK_EQUAL(scan(), n, what);
	for (unsigned int i = 0; i < NR; i++)
		CHECK(is_dirty(i) == (i >= first && i < first + n), "%s: page %u is %sdirty", what, i,
		      is_dirty(i) ? "" : "not ");
}

/* The kernel writes whole words of 64 bits for the descriptors asked for, and no more. */
static void selects(void)
{
	int pipes[2];
	unsigned long *set = (unsigned long *)(area + 6 * PAGE);
	struct timeval *timeout = (void *)(area + 9 * PAGE);

	DIE_UNLESS(!pipe(pipes) && pipes[0] < 60, "pipe");
	memset(area + 5 * PAGE, 0, 5 * PAGE);
	scan();
	/* A word at the end of a page: the next one is not concerned, nor need it be writable. */
	set--;
	*set = 1UL << pipes[0];
	CHECK_EQUAL(dune_vm_mprotect(pgroot, area + 6 * PAGE, PAGE, PERM_R), 0, "mprotect");
	scan();
	CHECK_EQUAL(syscall(SYS_select, pipes[0] + 1, set, NULL, NULL, &(struct timeval){ 0, 1 }), 0, "select");
	only(5, 1, "a set of select()");
	CHECK_EQUAL(syscall(SYS_pselect6, 64, set, NULL, NULL, &(struct timespec){ 0, 1 }, NULL), 0, "pselect6");
	only(5, 1, "a set of pselect6()");
	CHECK_EQUAL(syscall(SYS_select, 0, set + 1, NULL, NULL, &(struct timeval){ 0, 1 }), 0, "select of nothing");
	CHECK_ERRNO(syscall(SYS_select, 65, set, NULL, NULL, &(struct timeval){ 0, 1 }), EFAULT, "two words of select()");
	CHECK_ERRNO(syscall(SYS_select, 1, set + 1, NULL, NULL, &(struct timeval){ 0, 1 }), EFAULT, "a set that is read-only");
	CHECK_ERRNO(syscall(SYS_select, -1, set, NULL, NULL, NULL), EINVAL, "a number below 0");
	only(0, 0, "what has failed");
	/* The time that is left. */
	timeout->tv_sec = 0;
	timeout->tv_usec = 10;
	scan();
	CHECK_EQUAL(syscall(SYS_select, 0, NULL, NULL, NULL, timeout), 0, "select");
	only(9, 1, "the timeout of select()");
	CHECK_EQUAL(dune_vm_mprotect(pgroot, area + 6 * PAGE, PAGE, RW), 0, "mprotect");
	close(pipes[0]);
	close(pipes[1]);
}

static void reads(void)
{
	int file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2];
	struct iovec v[2] = { { area + 10 * PAGE, 5 }, { area + 20 * PAGE - 1, 2 } };
	static char source[16 * PAGE];

	DIE_UNLESS(file >= 0 && !pipe(pipes), "files");
	CHECK_EQUAL(write(file, source, sizeof(source)), sizeof(source), "write");
	scan();
	only(0, 0, "nothing");
	for (unsigned int i = 0; i < NR; i++)
		CHECK_EQUAL(pread(file, area + i * PAGE, 100, 0), 100, "pread");
	only(0, NR, "pages that only pread() has written");
	for (unsigned int i = 0; i < NR; i++) {
		CHECK_EQUAL(write(pipes[1], source, 10), 10, "write to a pipe");
		CHECK_EQUAL(read(pipes[0], area + i * PAGE + 4090, 6), 6, "read from a pipe");
		CHECK_EQUAL(read(pipes[0], source, 4), 4, "the rest");
	}
	only(0, NR, "pages that only read() from a pipe has written");
	CHECK_EQUAL(pread(file, area + 3 * PAGE, 5 * PAGE, 13 * PAGE), 3 * PAGE, "a short read");
	only(3, 3, "what a short read has written");
	CHECK_EQUAL(preadv(file, v, 2, 0), 7, "preadv");
	CHECK_EQUAL(scan(), 3, "preadv");
	CHECK(is_dirty(10) && is_dirty(19) && is_dirty(20), "preadv");
	CHECK_EQUAL(write(file, area, 5 * PAGE), 5 * PAGE, "write");
	only(0, 0, "write() reads");
	close(file);
	unlink("data");
}

static void others(void)
{
	int sockets[2], dir = open("/", O_RDONLY | O_DIRECTORY);
	struct iovec v = { area + 30 * PAGE, 100 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	long n;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	CHECK_EQUAL(send(sockets[0], "abc", 3, 0), 3, "send");
	CHECK_EQUAL(recvmsg(sockets[1], &m, 0), 3, "recvmsg");
	only(30, 1, "recvmsg");
	CHECK_EQUAL(send(sockets[0], "abc", 3, 0), 3, "send");
	CHECK_EQUAL(recv(sockets[1], area + 31 * PAGE, 3, 0), 3, "recv");
	only(31, 1, "recv");
	n = syscall(SYS_getdents64, dir, area + 32 * PAGE, 2 * PAGE);
	CHECK(n > 0, "getdents64");
	only(32, (n + PAGE - 1) / PAGE, "getdents64");
	CHECK_EQUAL(fstat(dir, (struct stat *)(area + 34 * PAGE)), 0, "fstat");
	only(34, 1, "fstat");
	CHECK_EQUAL(uname((struct utsname *)(area + 36 * PAGE - 8)), 0, "uname");
	only(35, 2, "uname, across pages");
	CHECK(syscall(SYS_getcwd, area + 37 * PAGE, PAGE) > 0, "getcwd");
	only(37, 1, "getcwd");
	CHECK_EQUAL(pipe((int *)(area + 38 * PAGE)), 0, "pipe");
	only(38, 1, "pipe");
	close(dir);
}

static void permissions(void)
{
	int zero = open("/dev/zero", O_RDONLY);

	CHECK_EQUAL(dune_vm_mprotect(pgroot, area + PAGE, PAGE, PERM_R), 0, "mprotect");
	CHECK_ERRNO(read(zero, area + PAGE, 8), EFAULT, "read() into a page that is protected");
	CHECK_ERRNO(read(zero, area, 2 * PAGE), EFAULT, "read() that goes into it");
	CHECK_ERRNO(fstat(zero, (struct stat *)(area + PAGE)), EFAULT, "fstat() into it");
	CHECK_EQUAL(read(zero, area, PAGE), PAGE, "read() up to it");
	CHECK_EQUAL(dune_vm_mprotect(pgroot, area + PAGE, PAGE, RW), 0, "mprotect");
	CHECK_EQUAL(read(zero, area + PAGE, 8), 8, "read() when it is open again");
	CHECK_ERRNO(syscall(SYS_read, zero, 8, 8), EFAULT, "read() to nowhere");
	CHECK_ERRNO(read(-1, area, 8), EBADF, "read() from nowhere");
	close(zero);
	scan();
}

/* ---- signals ---- */

static volatile int signals;
static int pipes[2];
static pthread_t main_thread;

static void on_signal(int signo)
{
	(void)signo;
	signals++;
}

static void *send_signals(void *arg)
{
	for (int i = 0; i < (long)arg; i++) {
		usleep(2000);
		pthread_kill(main_thread, SIGUSR1);
	}
	usleep(20000);
	CHECK_EQUAL(write(pipes[1], "x", 1), 1, "write");
	return NULL;
}

static void interrupted(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t thread;
	long ret;

	DIE_UNLESS(!pipe(pipes), "pipe");
	main_thread = pthread_self();
	/* Without SA_RESTART each one ends the call. */
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 50; i++) {
		int before = signals;

		pthread_create(&thread, NULL, send_signals, (void *)1);
		ret = read(pipes[0], area + 50 * PAGE, 1);
		if (signals == before)	/* it had not come to the call yet */
			CHECK_EQUAL(ret, 1, "read");
		else if (ret != 1)
			CHECK(ret == -1 && errno == EINTR, "a read that a signal ends: %ld", ret);
		pthread_join(thread, NULL);
		if (ret != 1)
			CHECK_EQUAL(read(pipes[0], area + 50 * PAGE, 1), 1, "read");
		CHECK_EQUAL(signals, before + 1, "signals");
	}
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	scan();
	pthread_create(&thread, NULL, send_signals, (void *)100);
	CHECK_EQUAL(read(pipes[0], area + 51 * PAGE, 1), 1, "a read that goes on after signals");
	only(51, 1, "a read that was interrupted");
	pthread_join(thread, NULL);
	/* Two that come at once are one. */
	CHECK(signals > 50, "signals: %d", signals);
	CHECK_EQUAL(area[51 * PAGE], 'x', "what was read");
}

static void write_byte(int signo)
{
	(void)signo;
	if (write(pipes[1], "y", 1) == 1)
		signals++;
}

/* The handler ends the wait: it must run whenever the signal comes, also just before the call blocks. */
static void at_any_moment(void)
{
	struct sigaction action = { .sa_handler = write_byte, .sa_flags = SA_RESTART };
	unsigned int seed = 1;

	sigaction(SIGALRM, &action, NULL);
	signals = 0;
	for (int i = 0; i < 3000; i++) {
		struct itimerval timer = { .it_value.tv_usec = 1 + rand_r(&seed) % 60 };

		setitimer(ITIMER_REAL, &timer, NULL);
		CHECK_EQUAL(read(pipes[0], area + 60 * PAGE, 1), 1, "read");
	}
	CHECK_EQUAL(signals, 3000, "signals");
	scan();
	CHECK(is_dirty(60), "a page that was read into");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap");
	memset(area, 1, NR * PAGE);
	reads();
	selects();
	others();
	permissions();
	interrupted();
	at_any_moment();
	return check_result();
}
