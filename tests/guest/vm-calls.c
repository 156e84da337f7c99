// SPDX-License-Identifier: MIT
/*
 * System calls use memory as the program's page table has it: what it has elsewhere is read and written there; what is
 * not mapped, or not for this kind of access, goes to the program's handler of page faults first, and is EFAULT where
 * that does not help.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "proc.h"

#define PAGE	4096UL
#define NR	64UL
#define BIG	(512 * PAGE)
#define RW	(PERM_R | PERM_W)

static char *area;	/* NR pages */
static int pipes[2];

#define AT(page)	(area + (page) * PAGE)

static void protect(void *at, uint64_t len, int perm)
{
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), at, len, perm), 0, "dune_vm_mprotect");
}

/* Have the page show another one than the process has there, which says "hidden". */
static void map_elsewhere(char *at, uint64_t len)
{
	strcpy(at, "hidden");
	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), at, len, RW), 0, "dune_vm_map_pages");
}

/* What the process has there is not what a call may use; then all is as it was. */
static void map_back(char *at, uint64_t len)
{
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), at, len, (void *)dune_va_to_pa(at), RW), 0, "dune_vm_map_phys");
	CHECK(!strcmp(at, "hidden"), "what the process has there: %s", at);
}

/* ---- memory that is elsewhere ---- */

static void reads_and_writes(void)
{
	char *p = AT(0), text[16];

	map_elsewhere(p, 2 * PAGE);
	strcpy(p + 100, "shown");
	CHECK_EQUAL(write(pipes[1], p + 100, 6), 6, "write");
	CHECK_EQUAL(read(pipes[0], text, 6), 6, "read");
	CHECK(!strcmp(text, "shown"), "write() sent %s", text);
	CHECK_EQUAL(write(pipes[1], "given", 6), 6, "write");
	CHECK_EQUAL(read(pipes[0], p + 200, 100), 6, "a short read");
	CHECK(!strcmp(p + 200, "given") && !p[206], "read() gave %s", p + 200);
	/* Over the border of two pages that are nowhere side by side. */
	memcpy(p + PAGE - 3, "border", 6);
	CHECK_EQUAL(write(pipes[1], p + PAGE - 3, 6), 6, "write across pages");
	CHECK_EQUAL(read(pipes[0], text, 6), 6, "read");
	CHECK(!memcmp(text, "border", 6), "write() across pages sent %.6s", text);
	CHECK_EQUAL(write(pipes[1], "across", 6), 6, "write");
	CHECK_EQUAL(read(pipes[0], p + PAGE - 2, 6), 6, "read across pages");
	CHECK(!memcmp(p + PAGE - 2, "across", 6), "read() across pages gave %.6s", p + PAGE - 2);
	CHECK_EQUAL(syscall(SYS_getrandom, p + 300, 8, 0), 8, "getrandom");
	CHECK(*(uint64_t *)(p + 300) != 0, "getrandom() gave nothing");
	/* The page is dirty, the process's own is not changed. */
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, NULL), 1, "scan");
	CHECK_EQUAL(write(pipes[1], "x", 1), 1, "write");
	CHECK_EQUAL(read(pipes[0], p, 1), 1, "read");
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, PAGE, DUNE_VM_DIRTY, NULL), 1, "read() makes it dirty");
	map_back(p, 2 * PAGE);
}

/* More than the copies that are always there. */
static void much(void)
{
	char *p = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int file = open("vm-calls.data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned int bad = 0;

	DIE_UNLESS(p != MAP_FAILED && file >= 0, "memory and a file");
	map_elsewhere(p, BIG);
	for (uint64_t i = 0; i < BIG; i += 8)
		*(uint64_t *)(p + i) = i;
	CHECK_EQUAL(pwrite(file, p, BIG, 0), BIG, "pwrite");
	memset(p, 0x55, BIG);
	CHECK_EQUAL(pread(file, p, BIG, 0), BIG, "pread");
	for (uint64_t i = 0; i < BIG; i += 8)
		bad += *(uint64_t *)(p + i) != i;
	CHECK_EQUAL(bad, 0, "words that are wrong");
	map_back(p, BIG);
	CHECK_EQUAL(munmap(p, BIG), 0, "munmap");
	close(file);
	unlink("vm-calls.data");
}

static void vectors(void)
{
	struct iovec *v = (struct iovec *)AT(1);
	char text[16] = "";

	map_elsewhere(AT(0), PAGE);
	map_elsewhere(AT(1), PAGE);	/* the vector itself */
	map_elsewhere(AT(3), PAGE);
	strcpy(AT(0), "one");
	strcpy(AT(2), "two");
	strcpy(AT(3), "six");
	v[0] = (struct iovec){ AT(0), 3 };
	v[1] = (struct iovec){ AT(2), 3 };
	v[2] = (struct iovec){ AT(3), 3 };
	CHECK_EQUAL(writev(pipes[1], v, 3), 9, "writev");
	CHECK(v[0].iov_base == AT(0) && v[2].iov_base == AT(3), "the vector has changed");
	CHECK_EQUAL(read(pipes[0], text, 9), 9, "read");
	CHECK(!strcmp(text, "onetwosix"), "writev() sent %s", text);
	CHECK_EQUAL(write(pipes[1], "ABCDEFG", 7), 7, "write");
	CHECK_EQUAL(readv(pipes[0], v, 3), 7, "readv");
	CHECK(!memcmp(AT(0), "ABC", 4) && !memcmp(AT(2), "DEF", 4) && !memcmp(AT(3), "Gix", 4), "readv() gave %s %s %s",
	      AT(0), AT(2), AT(3));
	map_back(AT(0), PAGE);
	map_back(AT(1), PAGE);
	map_back(AT(3), PAGE);
}

static void strings(void)
{
	char *border = AT(5);
	struct stat *st = (struct stat *)AT(6);

	map_elsewhere(AT(4), PAGE);
	map_elsewhere(AT(5), PAGE);
	map_elsewhere(AT(6), PAGE);
	strcpy(border - 5, "/proc/self/status");
	CHECK_EQUAL(access(border - 5, R_OK), 0, "a path across pages");
	CHECK_EQUAL(stat(border - 5, st), 0, "stat");
	CHECK(S_ISREG(st->st_mode), "stat() gave mode %o", st->st_mode);
	strcpy(AT(4), "/nowhere");
	CHECK_ERRNO(access(AT(4), R_OK), ENOENT, "another path");
	map_back(AT(6), PAGE);
	map_back(AT(5), PAGE);
	/* It ends where the page does; the next one is for nobody. */
	protect(AT(5), PAGE, PERM_NONE);
	strcpy(AT(5) - 6, "/proc");
	CHECK_EQUAL(access(AT(5) - 6, R_OK), 0, "a path at the end of a page");
	strcpy(AT(5) - 7, "/proc");
	memcpy(AT(5) - 5, "/proc", 5);
	CHECK_ERRNO(access(AT(5) - 5, R_OK), EFAULT, "a path without an end");
	protect(AT(5), PAGE, RW);
	map_back(AT(4), PAGE);
}

static void messages(void)
{
	struct msghdr *m = (struct msghdr *)AT(7);
	struct iovec *v = (struct iovec *)AT(8);
	struct mmsghdr *mm = (struct mmsghdr *)AT(7);
	int sockets[2], fd;
	struct cmsghdr *c;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), "socketpair");
	for (int i = 7; i < 11; i++)
		map_elsewhere(AT(i), PAGE);
	strcpy(AT(9), "message");
	v[0] = (struct iovec){ AT(9), 8 };
	*m = (struct msghdr){ .msg_iov = v, .msg_iovlen = 1, .msg_control = AT(10),
			      .msg_controllen = CMSG_SPACE(sizeof(int)) };
	c = CMSG_FIRSTHDR(m);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &pipes[0], sizeof(int));
	CHECK_EQUAL(sendmsg(sockets[0], m, 0), 8, "sendmsg");
	memset(AT(9), 0, 16);
	memset(AT(10), 0, 64);
	m->msg_controllen = 64;
	m->msg_flags = 1234;
	CHECK_EQUAL(recvmsg(sockets[1], m, 0), 8, "recvmsg");
	CHECK(!strcmp(AT(9), "message"), "recvmsg() gave %s", AT(9));
	CHECK_EQUAL(m->msg_controllen, CMSG_SPACE(sizeof(int)), "length of control messages");
	CHECK_EQUAL(m->msg_flags, 0, "flags");
	CHECK(m->msg_iov == v && m->msg_control == AT(10), "pointers in the message have changed");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(m)), sizeof(fd));
	CHECK(fd > 2 && !close(fd), "the descriptor that has come: %d", fd);
	memset(mm, 0, 2 * sizeof(*mm));
	mm[0].msg_hdr = mm[1].msg_hdr = (struct msghdr){ .msg_iov = v, .msg_iovlen = 1 };
	CHECK_EQUAL(sendmmsg(sockets[0], mm, 2, 0), 2, "sendmmsg");
	CHECK(mm[0].msg_len == 8 && mm[1].msg_len == 8 && mm[1].msg_hdr.msg_iov == v, "lengths that were sent");
	mm[0].msg_len = mm[1].msg_len = 0;
	CHECK_EQUAL(recvmmsg(sockets[1], mm, 2, 0, NULL), 2, "recvmmsg");
	CHECK(mm[0].msg_len == 8 && mm[1].msg_len == 8 && mm[1].msg_hdr.msg_iov == v, "lengths that have come");
	for (int i = 7; i < 11; i++)
		map_back(AT(i), PAGE);
	close(sockets[0]);
	close(sockets[1]);
}

/* Those that go in and out, and those that libdune has functions for. */
static void structures(void)
{
	struct pollfd *polled = (struct pollfd *)AT(12);
	struct timespec *time = (struct timespec *)(AT(12) + 100);
	struct sigaction *action = (struct sigaction *)(AT(12) + 200);
	struct itimerval *timer = (struct itimerval *)(AT(12) + 500);
	struct epoll_event *event = (struct epoll_event *)(AT(12) + 600);
	unsigned long *set = (unsigned long *)(AT(12) + 700);
	int *words = (int *)(AT(12) + 800), epoll = epoll_create1(0), status;
	char **argv = (char **)(AT(12) + 900), *path = AT(12) + 1000;
	pid_t pid;

	map_elsewhere(AT(12), PAGE);
	*polled = (struct pollfd){ .fd = pipes[1], .events = POLLOUT };
	CHECK_EQUAL(poll(polled, 1, 0), 1, "poll");
	CHECK_EQUAL(polled->revents, POLLOUT, "revents");
	*time = (struct timespec){ 0, 1000 };
	CHECK_EQUAL(ppoll(polled, 1, time, NULL), 1, "ppoll");
	CHECK_EQUAL(syscall(SYS_nanosleep, time, NULL), 0, "nanosleep");
	time->tv_nsec = -1;
	CHECK_ERRNO(syscall(SYS_nanosleep, time, NULL), EINVAL, "nanosleep of no time");
	set[0] = 1UL << pipes[1];
	DIE_UNLESS(pipes[1] < 64, "a low descriptor");
	CHECK_EQUAL(select(64, NULL, (fd_set *)set, NULL, NULL), 1, "select");
	CHECK_EQUAL(set[0], 1UL << pipes[1], "the set");
	*event = (struct epoll_event){ .events = EPOLLOUT, .data.u64 = 77 };
	CHECK_EQUAL(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[1], event), 0, "epoll_ctl");
	event->data.u64 = 0;
	CHECK_EQUAL(epoll_wait(epoll, event, 1, 0), 1, "epoll_wait");
	CHECK_EQUAL(event->data.u64, 77, "the event's data");
	CHECK_EQUAL(syscall(SYS_pipe2, words, 0), 0, "pipe2");
	CHECK(words[0] > 2 && words[1] > 2 && !close(words[0]) && !close(words[1]), "pipe2() gave %d %d", words[0],
	      words[1]);
	*timer = (struct itimerval){ .it_value.tv_sec = 1000 };
	CHECK_EQUAL(setitimer(ITIMER_REAL, timer, timer + 1), 0, "setitimer");
	memset(timer, 0, sizeof(*timer));
	CHECK_EQUAL(setitimer(ITIMER_REAL, timer, timer + 1), 0, "setitimer");
	CHECK(timer[1].it_value.tv_sec > 900, "setitimer() gave %ld s", timer[1].it_value.tv_sec);
	CHECK_EQUAL(syscall(SYS_rt_sigaction, SIGUSR2, NULL, action, 8), 0, "rt_sigaction");
	CHECK_EQUAL(*(long *)action, 0, "the action of SIGUSR2");
	*(long *)action = (long)SIG_IGN;
	CHECK_EQUAL(syscall(SYS_rt_sigaction, SIGUSR2, action, NULL, 8), 0, "rt_sigaction");
	CHECK_EQUAL(raise(SIGUSR2), 0, "SIGUSR2 is ignored");
	CHECK_EQUAL(fcntl(pipes[0], F_GETOWN_EX, words), 0, "F_GETOWN_EX");
	CHECK_EQUAL(ioctl(pipes[0], FIONREAD, words), 0, "FIONREAD");
	CHECK_EQUAL(words[0], 0, "bytes in the pipe");
	strcpy(path, "/bin/true");
	argv[0] = path;
	argv[1] = NULL;
	pid = fork();
	if (!pid) {
		execve(path, argv, argv + 1);
		_exit(99);
	}
	CHECK_EQUAL(syscall(SYS_wait4, pid, words, 0, NULL), pid, "wait4");
	status = words[0];
	CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99), "status %#x", status);
	map_back(AT(12), PAGE);
	close(epoll);
}

/* A futex is its address: waiters and wakers that have the same memory meet, wherever that is. */
static atomic_int woken;

static void *wait_for_futex(void *arg)
{
	while (!*(volatile int *)arg)
		syscall(SYS_futex, arg, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
	woken++;
	return NULL;
}

static void futexes(void)
{
	int *word = (int *)AT(14);
	struct timespec soon = { 0, 1000000 };
	pthread_t thread;

	map_elsewhere(AT(14), PAGE);
	*word = 5;
	CHECK_ERRNO(syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 4, NULL), EAGAIN, "another value");
	CHECK_ERRNO(syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 5, &soon), ETIMEDOUT, "its value");
	*word = 0;
	pthread_create(&thread, NULL, wait_for_futex, word);
	while (!woken) {
		*word = 1;
		syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
	}
	pthread_join(thread, NULL);
	CHECK_EQUAL(woken, 1, "threads that were woken");
	map_back(AT(14), PAGE);
}

/* What cannot be copied. */
static void refused(void)
{
	struct iovec v = { AT(15), 10 };

	map_elsewhere(AT(15), PAGE);
	CHECK_ERRNO(vmsplice(pipes[1], &v, 1, 0), EFAULT, "vmsplice");
	CHECK_ERRNO(syscall(SYS_set_tid_address, AT(15)), EFAULT, "set_tid_address");
	map_back(AT(15), PAGE);
}

/* ---- nothing without a handler ---- */

static void without_handler(void)
{
	char *p = AT(16), text[16];

	strcpy(p, "secret");
	protect(p, PAGE, PERM_NONE);
	CHECK_ERRNO(write(pipes[1], p, 7), EFAULT, "write() of a page for nobody");
	CHECK_ERRNO(read(pipes[0], p, 7), EFAULT, "read() into one");
	CHECK_ERRNO(access(p, R_OK), EFAULT, "a path in one");
	protect(p, PAGE, PERM_R);
	CHECK_EQUAL(write(pipes[1], p, 7), 7, "write() of a page that is read-only");
	CHECK_EQUAL(read(pipes[0], text, 7), 7, "read");
	CHECK_ERRNO(read(pipes[0], p, 7), EFAULT, "read() into one");
	protect(p, PAGE, RW);
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), p, PAGE), 0, "unmap");
	CHECK_ERRNO(write(pipes[1], p, 7), EFAULT, "write() of what is not mapped");
	CHECK_EQUAL(write(pipes[1], "x", 1), 1, "write");
	CHECK_ERRNO(read(pipes[0], p, 1), EFAULT, "read() into what is not mapped");
	CHECK_EQUAL(read(pipes[0], text, 1), 1, "it is there still");
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), p, PAGE, (void *)dune_va_to_pa(p), RW), 0, "map again");
	CHECK(!strcmp(p, "secret"), "the page: %s", p);
}

/* ---- the program's handler ---- */

static enum { COPY, DEMAND, NOTHING, LEAVE, PRINT } mode;
static volatile unsigned int faults;
static volatile uintptr_t fault_address;
static volatile uint64_t fault_code;
static jmp_buf away;

static void on_fault(uintptr_t address, uint64_t code, struct dune_tf *tf)
{
	char *page = (char *)(address & -PAGE);

	(void)tf;
	faults++;
	fault_address = address;
	fault_code = code;
	switch (mode) {
	case COPY:
		dune_vm_default_pgflt_handler(address, code);
		break;
	case DEMAND:
		protect(page, PAGE, RW);
		if (page >= AT(0) && page < AT(NR))
			sprintf(page, "page %lu", (page - area) / PAGE);
		break;
	case PRINT:	/* it calls itself, with memory that has a fault of its own */
		if (page == AT(40))
			protect(page, PAGE, RW);
		else if (write(pipes[1], AT(40), 1) == 1 && read(pipes[0], AT(41), 1) == 1 && faults % 8 < 4)
			protect(AT(40), PAGE, PERM_NONE);
		break;
	case LEAVE:
		longjmp(away, 1);
	case NOTHING:
		break;
	}
}

static void snapshot(void)
{
	char *p = AT(20), text[16] = "";
	struct stat *st = (struct stat *)AT(21);
	ptent_t *copy;

	dune_register_pgflt_handler(on_fault);
	mode = COPY;
	strcpy(p, "old");
	strcpy(AT(22), "/old");
	copy = dune_vm_clone(dune_vm_root());
	DIE_UNLESS(copy, "clone");
	protect(p, 4 * PAGE, PERM_R | PERM_COW);
	CHECK_EQUAL(dune_vm_mprotect(copy, p, 4 * PAGE, PERM_R | PERM_COW), 0, "mprotect");
	faults = 0;
	CHECK_EQUAL(write(pipes[1], "abc", 4), 4, "write");
	CHECK_EQUAL(read(pipes[0], p, 4), 4, "read() into a page that is copied on write");
	CHECK_EQUAL(faults, 1, "faults");
	CHECK_EQUAL(fault_address, (uintptr_t)p, "address");
	CHECK_EQUAL(fault_code, FEC_P | FEC_W, "error code");
	CHECK(!strcmp(p, "abc"), "the page: %s", p);
	strcpy(p, "new");
	CHECK_EQUAL(write(pipes[1], p, 4), 4, "write() of the copy");
	CHECK_EQUAL(read(pipes[0], text, 4), 4, "read");
	CHECK(!strcmp(text, "new"), "write() sent %s", text);
	CHECK_EQUAL(stat("/proc", st), 0, "stat() into one");
	CHECK(S_ISDIR(st->st_mode), "stat() gave mode %o", st->st_mode);
	strcpy(AT(22), "/proc");
	CHECK_EQUAL(access(AT(22), R_OK), 0, "a path in a copy");
	/* The snapshot has none of it. */
	CHECK_EQUAL(dune_vm_switch(copy), 0, "switch");
	CHECK(!strcmp(p, "old") && !strcmp(AT(22), "/old"), "the snapshot: %s %s", p, AT(22));
	CHECK_EQUAL(write(pipes[1], p, 4), 4, "write() in the snapshot");
	CHECK_EQUAL(dune_vm_switch(dune_vm_root()), 0, "switch");
	CHECK_EQUAL(read(pipes[0], text, 4), 4, "read");
	CHECK(!strcmp(text, "old"), "the snapshot sent %s", text);
	CHECK_EQUAL(dune_vm_free(copy), 0, "free");
	for (int i = 20; i < 24; i++)
		CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), AT(i), PAGE, (void *)dune_va_to_pa(AT(i)), RW), 0, "map");
	/* What the default handler does not know is EFAULT. */
	protect(p, PAGE, PERM_NONE);
	CHECK_ERRNO(write(pipes[1], p, 4), EFAULT, "write() of a page for nobody");
	protect(p, PAGE, RW);
}

static void demand(void)
{
	struct iovec v[] = { { AT(30), 7 }, { AT(31), 7 }, { AT(32), 7 } };
	char text[32] = "";

	mode = DEMAND;
	faults = 0;
	protect(AT(30), 4 * PAGE, PERM_NONE);
	CHECK_EQUAL(write(pipes[1], AT(30), 7), 7, "write() of a page that is not there");
	CHECK_EQUAL(fault_code, 0, "error code of a read");
	CHECK_EQUAL(read(pipes[0], text, 7), 7, "read");
	CHECK(!memcmp(text, "page 30", 7), "write() sent %.7s", text);
	CHECK_EQUAL(writev(pipes[1], v, 3), 21, "writev() of three, of which two are not");
	CHECK_EQUAL(read(pipes[0], text, 21), 21, "read");
	CHECK(!memcmp(text, "page 30page 31page 32", 21), "writev() sent %.21s", text);
	CHECK_EQUAL(faults, 3, "faults");
	CHECK_EQUAL(write(pipes[1], "given", 6), 6, "write");
	CHECK_EQUAL(read(pipes[0], AT(33), 6), 6, "read() into a page that is not there");
	CHECK_EQUAL(fault_code, FEC_W, "error code of a write");
	CHECK(!strcmp(AT(33), "given"), "read() gave %s", AT(33));
	protect(AT(30), 20 * PAGE, PERM_NONE);
	faults = 0;
	CHECK_EQUAL(write(pipes[1], AT(30) + 1, 19 * PAGE), 19 * PAGE, "many pages at once");
	CHECK_EQUAL(faults, 20, "faults");
	for (int i = 0; i < 19; i++)
		CHECK_EQUAL(read(pipes[0], AT(0), PAGE), PAGE, "read");
}

static void on_breakpoint(struct dune_tf *tf)
{
	(void)tf;
}

/* Handlers that do not help: a bound, and no mark that they leave. */
static void no_help(void)
{
	volatile unsigned int i;
	char *p = AT(50), text[4];

	protect(p, PAGE, PERM_NONE);
	mode = NOTHING;
	faults = 0;
	CHECK_ERRNO(write(pipes[1], p, 1), EFAULT, "a handler that does nothing");
	CHECK(faults > 1 && faults < 1000, "%u faults", faults);
	mode = LEAVE;
	faults = 0;
	for (i = 0; i < 500; i++) {
		if (setjmp(away))
			continue;
		CHECK(write(pipes[1], p, 1) == 0, "the handler has not come, in round %u", i);
	}
	CHECK_EQUAL(faults, 500, "handlers that never return");
	/* The same with another trap after each, whose handler returns. */
	dune_register_intr_handler(T_BRKPT, on_breakpoint);
	faults = 0;
	for (i = 0; i < 500; i++) {
		if (setjmp(away)) {
			__asm__ volatile("int3" : : : "memory");
			continue;
		}
		CHECK(write(pipes[1], p, 1) == 0, "the handler has not come, in round %u of traps", i);
	}
	CHECK_EQUAL(faults, 500, "handlers that never return, with traps in between");
	dune_register_intr_handler(T_BRKPT, NULL);
	protect(AT(40), PAGE, PERM_NONE);
	mode = PRINT;
	faults = 0;
	CHECK_ERRNO(write(pipes[1], p, 1), EFAULT, "a handler that calls, and does nothing");
	CHECK(faults > 1 && faults < 5000, "%u faults", faults);
	mode = DEMAND;
	CHECK_EQUAL(write(pipes[1], p, 1), 1, "a handler that helps");
	CHECK_EQUAL(read(pipes[0], text, 1), 1, "read");
	protect(AT(40), PAGE, RW);
}

/* ---- signals ---- */

static volatile int signals;

static void on_signal(int signo)
{
	(void)signo;
	signals++;
}

static void *disturb(void *arg)
{
	for (int i = 0; i < 200; i++) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		usleep(500);
	}
	usleep(20000);
	CHECK_EQUAL(write(pipes[1], "end", 4), 4, "write");
	return NULL;
}

/* A call that waits with copies is interrupted, and made again, as any other; so is one that has a fault first. */
static void signalled(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t self = pthread_self(), thread;
	sigset_t *mask = (sigset_t *)(AT(52) + 64);
	struct timespec *time = (struct timespec *)(AT(52) + 256);

	sigaction(SIGUSR1, &action, NULL);
	map_elsewhere(AT(52), PAGE);
	pthread_create(&thread, NULL, disturb, &self);
	CHECK_EQUAL(read(pipes[0], AT(52), 4), 4, "read");
	CHECK(!strcmp(AT(52), "end"), "read() gave %s", AT(52));
	pthread_join(thread, NULL);
	CHECK(signals > 20, "%d signals", signals);
	mode = DEMAND;
	signals = 0;
	pthread_create(&thread, NULL, disturb, &self);
	for (int i = 0; signals < 100 && i < 100000; i++) {
		protect(AT(53), PAGE, PERM_NONE);
		if (syscall(SYS_getcwd, AT(53), PAGE) <= 0)
			CHECK(false, "getcwd: %s", strerror(errno));
	}
	pthread_join(thread, NULL);
	CHECK_EQUAL(read(pipes[0], AT(52), 4), 4, "read");
	/* The mask of ppoll() is in the copy, and in force while the handler runs. */
	sigemptyset(mask);
	signals = 0;
	action.sa_flags = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &(struct itimerval){ .it_value.tv_usec = 50000 }, NULL);
	*time = (struct timespec){ 100, 0 };
	CHECK_ERRNO(syscall(SYS_ppoll, NULL, 0, time, mask, 8), EINTR, "ppoll");
	CHECK_EQUAL(signals, 1, "its signal");
	CHECK(time->tv_sec >= 90 && time->tv_sec < 100, "the time that is left: %ld s", time->tv_sec);
	map_back(AT(52), PAGE);
}

/* ---- threads ---- */

#define THREADS		4
#define ROUNDS		300
#define SLOTS		8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paged, *alias;	/* the program's, and the process's where the page table leaves it alone */
static unsigned int next_out;

/* Demand paging: one page goes when another comes, and what is gone is overwritten. */
static void on_page(uintptr_t address, uint64_t code, struct dune_tf *tf)
{
	unsigned int page = (address - (uintptr_t)paged) / PAGE, out;

	(void)tf;
	if (address < (uintptr_t)paged || page >= SLOTS)
		dune_vm_default_pgflt_handler(address, code);
	pthread_mutex_lock(&lock);
	out = next_out++ % SLOTS;
	if (out != page) {
		protect(paged + out * PAGE, PAGE, PERM_NONE);
		memset(alias + out * PAGE, 0x5a, PAGE);
	}
	for (unsigned int i = 0; i < PAGE / 8; i++)
		((uint64_t *)(alias + page * PAGE))[i] = page + 1;
	protect(paged + page * PAGE, PAGE, PERM_R);
	pthread_mutex_unlock(&lock);
}

static void *send_pages(void *arg)
{
	unsigned int seed = (long)arg;
	int mine[2];

	DIE_UNLESS(!pipe(mine), "pipe");
	for (int i = 0; i < ROUNDS; i++) {
		unsigned int page = rand_r(&seed) % SLOTS;
		uint64_t word = 0;
		long n = write(mine[1], paged + page * PAGE + 8 * (i % 512), 8);

		if (n != 8) {
			CHECK(n == -1 && errno == EFAULT, "write: %ld", n);
			continue;
		}
		CHECK_EQUAL(read(mine[0], &word, 8), 8, "read");
		/* The page may go while the call is made: then it is what took its place, never another page. */
		CHECK(word == page + 1 || word == 0x5a5a5a5a5a5a5a5aUL, "page %u was sent as %#lx", page, word);
	}
	close(mine[0]);
	close(mine[1]);
	return NULL;
}

static void paging(void)
{
	pthread_t threads[THREADS];
	int file = memfd_create("paged", 0);

	DIE_UNLESS(file >= 0 && !ftruncate(file, SLOTS * PAGE), "memfd");
	paged = mmap(NULL, SLOTS * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	alias = mmap(NULL, SLOTS * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	memset(alias, 0x5a, SLOTS * PAGE);
	protect(paged, SLOTS * PAGE, PERM_NONE);
	dune_register_pgflt_handler(on_page);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, send_pages, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	dune_register_pgflt_handler(NULL);
}

/* Threads write and read what is elsewhere, in different ways, while others change what is mapped there. */
static atomic_bool done;
static char *shared;

static void *remap(void *arg)
{
	(void)arg;
	while (!done) {
		struct page *page = dune_page_alloc();

		DIE_UNLESS(page, "a page");
		memset((void *)dune_page2pa(page), 'p', PAGE);
		CHECK_EQUAL(dune_vm_insert_page(dune_vm_root(), shared, page, RW), 0, "insert");
		dune_page_put(page);
		usleep(100);
	}
	return NULL;
}

static void *use(void *arg)
{
	int mine[2];
	char text[64];

	(void)arg;
	DIE_UNLESS(!pipe(mine), "pipe");
	for (int i = 0; i < ROUNDS; i++) {
		CHECK_EQUAL(write(mine[1], shared, 64), 64, "write");
		CHECK_EQUAL(read(mine[0], text, 64), 64, "read");
		for (int k = 0; k < 64; k++)
			CHECK(text[k] == 'p', "byte %d is %#x", k, text[k]);
		memset(text, 'p', 64);
		CHECK_EQUAL(write(mine[1], text, 64), 64, "write");
		CHECK_EQUAL(read(mine[0], shared + 64, 64), 64, "read into it");
	}
	close(mine[0]);
	close(mine[1]);
	return NULL;
}

static void changing(void)
{
	pthread_t threads[3];

	shared = AT(60);
	map_elsewhere(shared, PAGE);
	memset(shared, 'p', PAGE);
	pthread_create(&threads[0], NULL, remap, NULL);
	for (int i = 1; i < 3; i++)
		pthread_create(&threads[i], NULL, use, NULL);
	for (int i = 1; i < 3; i++)
		pthread_join(threads[i], NULL);
	done = true;
	pthread_join(threads[0], NULL);
	map_back(shared, PAGE);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(area != MAP_FAILED && !pipe(pipes), "mmap, pipe");
	DIE_UNLESS(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) > 0, "a large pipe");
	memset(area, 0, NR * PAGE);
	reads_and_writes();
	much();
	vectors();
	strings();
	messages();
	structures();
	futexes();
	refused();
	without_handler();
	snapshot();
	demand();
	no_help();
	signalled();
	changing();
	paging();
	return check_result();
}
