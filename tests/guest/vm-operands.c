// SPDX-License-Identifier: MIT
/*
 * How much memory a system call uses is what the kernel makes of its arguments, however odd they are: all of that, and
 * nothing else, is used as the program's page table has it.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "proc.h"

#define PAGE	4096UL
#define NR	16UL
#define RW	(PERM_R | PERM_W)

#ifndef PR_SET_VMA
#define PR_SET_VMA	0x53564d41
#endif

static char *area;	/* NR pages, far below the end of user space */
static int pipes[2];

#define AT(page)	(area + (page) * PAGE)

static void protect(void *at, uint64_t len, int perm)
{
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), at, len, perm), 0, "dune_vm_mprotect");
}

/* Have pages show others than the process has there, which say "hidden" and have 0xee in all other bytes. */
static void map_elsewhere(unsigned int page, unsigned int n)
{
	memset(AT(page), 0xee, n * PAGE);
	for (unsigned int i = 0; i < n; i++)
		strcpy(AT(page + i), "hidden");
	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), AT(page), n * PAGE, RW), 0, "dune_vm_map_pages");
	memset(AT(page), 0, n * PAGE);
}

/* Nothing has been written to what the process has there. */
static void map_back(unsigned int page, unsigned int n, const char *what)
{
	unsigned int bad = 0;

	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), AT(page), n * PAGE, (void *)dune_va_to_pa(AT(page)), RW), 0,
		    "dune_vm_map_phys");
	for (unsigned int i = 0; i < n; i++) {
		bad += !!strcmp(AT(page + i), "hidden");
		for (uint64_t k = 7; k < PAGE; k++)
			bad += (unsigned char)AT(page + i)[k] != 0xee;
	}
	CHECK(!bad, "%s: %u bytes of what the process has there have changed", what, bad);
}

/* ---- counts beyond all memory ---- */

/* A call that sends it may fail, or send what is shown. */
static void check_sent(long sent, int from, const char *what)
{
	char text[16] = "";
	long n = recv(from, text, sizeof(text), MSG_DONTWAIT);

	CHECK(sent < 0 ? n < 0 : n > 6 && !strncmp(text, "shown", 6), "%s: the result is %ld, it has sent %.8s", what,
	      sent, text);
	while (recv(from, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
}

static void sends(void)
{
	static const uint64_t sizes[] = {
		1UL << 31, 1UL << 40, (1UL << 40) + 7, 1UL << 46, 1UL << 47, 1UL << 62, ~0UL >> 1, 1UL << 63, ~0UL,
	};
	int sockets[2];

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets), "socketpair");
	map_elsewhere(0, 4);
	strcpy(AT(0), "shown");
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct iovec v = { AT(0), sizes[i] };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

		check_sent(write(sockets[0], AT(0), sizes[i]), sockets[1], "write");
		check_sent(send(sockets[0], AT(0), sizes[i], 0), sockets[1], "send");
		check_sent(writev(sockets[0], &v, 1), sockets[1], "writev");
		check_sent(sendmsg(sockets[0], &m, 0), sockets[1], "sendmsg");
	}
	map_back(0, 4, "sending");
	close(sockets[0]);
	close(sockets[1]);
}

/* One that gets it may fail, and leave it for the next one, or put it where it is shown. */
static void check_received(long got, int from, const char *what)
{
	char text[16] = "";

	if (got < 0)
		CHECK(recv(from, text, sizeof(text), MSG_DONTWAIT) == 6 && !strcmp(text, "given"), "%s has lost it",
		      what);
	else
		CHECK(got == 6 && !strcmp(AT(0), "given"), "%s has given %s", what, AT(0));
	memset(AT(0), 0, 8);
}

static void receives(void)
{
	static const uint64_t sizes[] = {
		1UL << 31, 1UL << 40, 1UL << 46, (1UL << 46) + 64, 1UL << 47, 1UL << 62, ~0UL >> 1, ~0UL,
	};
	char cwd[PAGE];
	int sockets[2];

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets), "socketpair");
	map_elsewhere(0, 4);
	DIE_UNLESS(getcwd(cwd, sizeof(cwd)), "getcwd");
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct iovec v = { AT(0), sizes[i] };
		long ret;

		CHECK_EQUAL(write(sockets[0], "given", 6), 6, "write");
		check_received(read(sockets[1], AT(0), sizes[i]), sockets[1], "read");
		CHECK_EQUAL(write(sockets[0], "given", 6), 6, "write");
		check_received(recv(sockets[1], AT(0), sizes[i], 0), sockets[1], "recv");
		CHECK_EQUAL(write(sockets[0], "given", 6), 6, "write");
		check_received(readv(sockets[1], &v, 1), sockets[1], "readv");
		ret = syscall(SYS_getcwd, AT(0), sizes[i]);
		CHECK(ret < 0 || !strcmp(AT(0), cwd), "getcwd: %ld, %s", ret, AT(0));
		memset(AT(0), 0, 64);
	}
	map_back(0, 4, "receiving");
	close(sockets[0]);
	close(sockets[1]);
}

/* The kernel takes the lower half of such a count. */
static void halves(void)
{
	const uint64_t upper[] = { 0, 1UL << 32, 1UL << 40, 1UL << 46, 0xdeadbeefUL << 32 };
	struct pollfd *polled = (struct pollfd *)AT(0);
	char target[PAGE];
	long length = readlink("/proc/self/exe", target, sizeof(target));

	map_elsewhere(0, 2);
	for (unsigned int i = 0; i < sizeof(upper) / sizeof(upper[0]); i++) {
		*polled = (struct pollfd){ .fd = pipes[1], .events = POLLOUT };
		CHECK_EQUAL(syscall(SYS_poll, polled, upper[i] | 1, 0), 1, "poll");
		CHECK_EQUAL(polled->revents, POLLOUT, "revents");
		strcpy(AT(0) + 64, "/proc/self/exe");
		memset(AT(1), 0, 128);
		CHECK_EQUAL(syscall(SYS_readlink, AT(0) + 64, AT(1), upper[i] | PAGE), length, "readlink");
		CHECK(!memcmp(AT(1), target, length), "readlink() gave %s", AT(1));
	}
	map_back(0, 2, "counts of 32 bits");
}

static void queue(void)
{
	struct { long type; char text[2040]; } *m = (void *)AT(0);
	int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);

	if (id < 0) {
		CHECK(errno == ENOSYS, "msgget: %s", strerror(errno));
		return;
	}
	map_elsewhere(0, 1);
	for (int i = 0; i < 2; i++) {
		long ret;

		m->type = 5;
		memset(m->text, 'q', sizeof(m->text));
		CHECK_EQUAL(msgsnd(id, m, sizeof(m->text), 0), 0, "msgsnd");
		memset(m, 0, sizeof(*m));
		ret = msgrcv(id, m, i ? 1UL << 62 : sizeof(m->text), 0, IPC_NOWAIT);
		if (ret < 0) {
			CHECK_EQUAL(msgrcv(id, m, sizeof(m->text), 0, IPC_NOWAIT), sizeof(m->text),
				    "it is there still");
			continue;
		}
		CHECK_EQUAL(ret, sizeof(m->text), "msgrcv");
		CHECK(m->type == 5 && m->text[0] == 'q' && m->text[sizeof(m->text) - 1] == 'q', "the message: %ld %.4s",
		      m->type, m->text);
	}
	map_back(0, 1, "a queue");
	CHECK_EQUAL(msgctl(id, IPC_RMID, NULL), 0, "msgctl");
}

/* ---- sizes that are in memory ---- */

struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t clamp_min, clamp_max;
};

static void own_size(void)
{
	struct scheduling *s = (struct scheduling *)AT(0);

	map_elsewhere(0, 1);
	s->nice = 3;
	CHECK_EQUAL(syscall(SYS_sched_setattr, 0, s, 0), 0, "sched_setattr() of no size, which is the first one");
	CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 3, "the priority that it has set");
	s->size = 1 << 30;
	CHECK_ERRNO(syscall(SYS_sched_setattr, 0, s, 0), E2BIG, "sched_setattr() of a size that nobody knows");
	s->size = 12;
	CHECK_ERRNO(syscall(SYS_sched_setattr, 0, s, 0), E2BIG, "sched_setattr() of a size that was never");
	map_back(0, 1, "a size in the structure");
}

/* Another thread changes the size: no more is written than what was looked at. */
static atomic_bool done;

static void *flip(void *arg)
{
	while (!done) {
		*(volatile uint32_t *)arg = 0;
		*(volatile uint32_t *)arg = 128;
	}
	return NULL;
}

static void changing_size(void)
{
	uint32_t *handle = (uint32_t *)AT(0);
	int *mount = (int *)AT(1), wanted = 0;
	unsigned int good = 0, small = 0;
	pthread_t thread;

	handle[0] = 128;
	if (syscall(SYS_name_to_handle_at, AT_FDCWD, ".", handle, &wanted, 0)) {
		CHECK(errno == EOPNOTSUPP || errno == ENOSYS, "name_to_handle_at: %s", strerror(errno));
		return;
	}
	map_elsewhere(0, 2);
	pthread_create(&thread, NULL, flip, handle);
	for (int i = 0; i < 5000; i++) {
		*mount = 0;
		if (syscall(SYS_name_to_handle_at, AT_FDCWD, ".", handle, mount, 0)) {
			CHECK_EQUAL(errno, EOVERFLOW, "name_to_handle_at");
			small++;
		} else {
			CHECK_EQUAL(*mount, wanted, "the mount");
			good++;
		}
	}
	done = true;
	pthread_join(thread, NULL);
	done = false;
	CHECK(good && small, "%u good ones, %u too small", good, small);
	map_back(0, 2, "a size that changes");
}

/* ---- results ---- */

/* More in the kernel's answer than fits into a page. */
static void waiting_signals(void)
{
	const int n = 100;
	struct { uint64_t offset; uint32_t flags; int32_t nr; } *args = (void *)AT(0);
	siginfo_t *infos = (siginfo_t *)AT(1);
	unsigned int bad = 0;
	pid_t pid = fork();
	int status;

	if (!pid) {
		sigset_t set;

		sigfillset(&set);
		sigprocmask(SIG_BLOCK, &set, NULL);
		for (int i = 0; i < n; i++)
			sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i });
		ptrace(PTRACE_TRACEME);
		kill(getpid(), SIGSTOP);
		_exit(0);
	}
	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
	CHECK(WIFSTOPPED(status), "status %#x", status);
	map_elsewhere(0, 8);
	args->nr = n;
	args->flags = 1;	/* PTRACE_PEEKSIGINFO_SHARED */
	CHECK_EQUAL(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, args, infos), n, "PTRACE_PEEKSIGINFO");
	for (int i = 0; i < n; i++)
		bad += infos[i].si_signo != SIGRTMIN || infos[i].si_value.sival_int != i;
	CHECK_EQUAL(bad, 0, "signals that are wrong");
	protect(AT(3), PAGE, PERM_NONE);
	CHECK_ERRNO(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, args, infos), EFAULT, "a page for nobody among them");
	protect(AT(3), PAGE, RW);
	map_back(0, 8, "PTRACE_PEEKSIGINFO");
	kill(pid, SIGKILL);
	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
}

/* What is behind a short message stays as it is. */
static void short_messages(void)
{
	struct mmsghdr *m = (struct mmsghdr *)AT(0);
	struct iovec v[2] = { { AT(1), 100 }, { AT(2), 100 } };
	char secret[PAGE];
	int sockets[2];

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), "socketpair");
	map_elsewhere(0, 4);
	/* Copies of old. */
	memset(AT(3), 's', PAGE);
	memset(secret, 0, sizeof(secret));
	CHECK_EQUAL(write(pipes[1], AT(3), PAGE), PAGE, "write");
	CHECK_EQUAL(read(pipes[0], secret, PAGE), PAGE, "read");
	for (int i = 0; i < 2; i++) {
		memset(AT(1 + i), 'x', 100);
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
		CHECK_EQUAL(send(sockets[0], "hello", 5, 0), 5, "send");
	}
	CHECK_EQUAL(recvmmsg(sockets[1], m, 2, 0, NULL), 2, "recvmmsg");
	for (int i = 0; i < 2; i++) {
		unsigned int bad = 0;

		CHECK_EQUAL(m[i].msg_len, 5, "a length");
		CHECK(!memcmp(AT(1 + i), "hello", 5), "a message: %.5s", AT(1 + i));
		for (int k = 5; k < 100; k++)
			bad += AT(1 + i)[k] != 'x';
		CHECK_EQUAL(bad, 0, "bytes behind it that have changed");
	}
	map_back(0, 4, "short messages");
	close(sockets[0]);
	close(sockets[1]);
}

/* ---- ioctls whose number says no size ---- */

static atomic_uint *counter;
static unsigned int counted;

static void *count(void *arg)
{
	(void)arg;
	while (!done) {
		(*counter)++;
		counted++;
	}
	return NULL;
}

static void ioctls(void)
{
	int sockets[2];
	int *word = (int *)AT(0), *border = (int *)(AT(1) - 2);
	struct pollfd *polled = (struct pollfd *)(AT(0) + 1024);
	pthread_t thread;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	CHECK_EQUAL(write(sockets[0], "12345", 5), 5, "write");
	/* What is for nobody. */
	protect(word, PAGE, PERM_NONE);
	CHECK_ERRNO(ioctl(sockets[1], FIONREAD, word), EFAULT, "FIONREAD into a page for nobody");
	CHECK_ERRNO(ioctl(sockets[1], FIONBIO, word), EFAULT, "FIONBIO from a page for nobody");
	protect(word, PAGE, RW);
	*word = 1;
	protect(word, PAGE, PERM_R);
	CHECK_EQUAL(ioctl(sockets[1], FIONBIO, word), 0, "FIONBIO from a page that is read-only");
	CHECK(fcntl(sockets[1], F_GETFL) & O_NONBLOCK, "it has not been read");
	protect(word, PAGE, RW);
	/* Over the border of two pages. */
	map_elsewhere(0, 2);
	CHECK_EQUAL(ioctl(sockets[1], FIONREAD, border), 0, "FIONREAD across pages");
	CHECK_EQUAL(*border, 5, "bytes to be read");
	*border = 0x00010000;
	fcntl(sockets[1], F_SETFL, 0);
	CHECK_EQUAL(ioctl(sockets[1], FIONBIO, border), 0, "FIONBIO across pages");
	CHECK(fcntl(sockets[1], F_GETFL) & O_NONBLOCK, "the second half has not been read");
	/* What other threads write beside it stays. */
	counter = (atomic_uint *)(AT(0) + 64);
	*counter = 0;
	pthread_create(&thread, NULL, count, NULL);
	for (int i = 0; i < 3000; i++)
		ioctl(sockets[1], FIONREAD, word);
	done = true;
	pthread_join(thread, NULL);
	done = false;
	CHECK_EQUAL(*counter, counted, "what another thread counts beside the word of an ioctl");
	counter = (atomic_uint *)&polled[1].fd;
	*counter = 1U << 31;
	counted = 1U << 31;
	*polled = (struct pollfd){ .fd = sockets[1], .events = POLLIN };
	pthread_create(&thread, NULL, count, NULL);
	for (int i = 0; i < 3000; i++)
		CHECK_EQUAL(poll(polled, 2, 0), 1, "poll");
	done = true;
	pthread_join(thread, NULL);
	done = false;
	CHECK_EQUAL(*counter, counted, "what another thread counts in what poll() only reads");
	map_back(0, 2, "ioctls");
	close(sockets[0]);
	close(sockets[1]);
}

/* ---- other memory of the process ---- */

/* The word is at an address of its own, where nobody may use it. */
static void aliases(void)
{
	uint32_t *word = (uint32_t *)AT(0), tid = syscall(SYS_gettid);

	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), AT(0), PAGE, (void *)dune_va_to_pa(AT(2)), RW), 0, "an alias");
	*word = 0;
	protect(AT(2), PAGE, PERM_NONE);
	CHECK_EQUAL(syscall(SYS_futex, word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL), 0, "FUTEX_LOCK_PI");
	CHECK_EQUAL(*word, tid, "its owner");
	CHECK_ERRNO(syscall(SYS_futex, word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL), EDEADLK, "again");
	CHECK_EQUAL(syscall(SYS_futex, word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL), 0, "FUTEX_UNLOCK_PI");
	CHECK_EQUAL(*word, 0, "no owner");
	CHECK_EQUAL(syscall(SYS_futex, word, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, 1, word,
			    FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0)), 0, "FUTEX_WAKE_OP");
	CHECK_EQUAL(*word, 7, "what it has set");
	protect(AT(0), PAGE, PERM_R);
	CHECK_ERRNO(syscall(SYS_futex, word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL), EFAULT, "a read-only word");
	protect(AT(0), PAGE, RW);
	protect(AT(2), PAGE, RW);
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), AT(0), PAGE, (void *)dune_va_to_pa(AT(0)), RW), 0, "no alias");
}

/* In a child whose filter might forbid what it takes to find the memory: nothing is lost. */
static void filtered(void)
{
	struct sock_filter allow = { 0x06, 0, 0, SECCOMP_RET_ALLOW };
	struct sock_fprog program = { 1, &allow };
	struct iovec v = { AT(0), 8 };
	char text[8] = "";

	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), AT(0), PAGE, (void *)dune_va_to_pa(AT(2)), RW), 0, "an alias");
	CHECK_EQUAL(IN_CHILD(
		long n;

		CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0, "no_new_privs");
		CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "a filter");
		CHECK_EQUAL(write(pipes[1], "given", 6), 6, "write");
		n = readv(pipes[0], &v, 1);
		if (n < 0)
			CHECK(read(pipes[0], text, 8) == 6 && !strcmp(text, "given"), "readv() has lost it: %s", text);
		else
			CHECK(!strcmp(AT(0), "given"), "readv() gave %s", AT(0));
	), EXITED(0), "a child with a filter");
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), AT(0), PAGE, (void *)dune_va_to_pa(AT(0)), RW), 0, "no alias");
}

/* ---- the rest ---- */

static bool names_memory(const char *name)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	bool found = false;

	while (maps && fgets(line, sizeof(line), maps))
		found |= strstr(line, name) != NULL;
	if (maps)
		fclose(maps);
	return found;
}

static void name(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	map_elsewhere(0, 1);
	strcpy(AT(0), "shown");
	if (prctl(PR_SET_VMA, 0, p, PAGE, AT(0)))
		CHECK_EQUAL(errno, EINVAL, "the kernel names no memory");
	else
		CHECK(names_memory("[anon:shown]") && !names_memory("[anon:hidden]"), "the name of memory");
	map_back(0, 1, "a name");
	munmap(p, PAGE);
}

/* The kernel may send pages after the call. */
static void lent(void)
{
	struct iovec v = { AT(0), 8 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct mmsghdr mm = { .msg_hdr = m };
	int sockets[2];

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	map_elsewhere(0, 1);
	CHECK_ERRNO(send(sockets[0], AT(0), 8, MSG_ZEROCOPY), EFAULT, "send() of pages");
	CHECK_ERRNO(sendmsg(sockets[0], &m, MSG_ZEROCOPY), EFAULT, "sendmsg() of pages");
	CHECK_ERRNO(sendmmsg(sockets[0], &mm, 1, MSG_ZEROCOPY), EFAULT, "sendmmsg() of pages");
	map_back(0, 1, "pages");
	CHECK_EQUAL(send(sockets[0], AT(0), 8, MSG_ZEROCOPY), 8, "send() of the process's");
	close(sockets[0]);
	close(sockets[1]);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	/* So low that all sizes below 2^46 end in user space. */
	area = mmap((void *)(1UL << 32), NR * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	DIE_UNLESS(area != MAP_FAILED && !pipe(pipes), "mmap, pipe");
	memset(area, 0, NR * PAGE);
	sends();
	receives();
	halves();
	queue();
	own_size();
	short_messages();
	ioctls();
	aliases();
	filtered();
	name();
	lent();
	changing_size();
	waiting_signals();
	return check_result();
}
