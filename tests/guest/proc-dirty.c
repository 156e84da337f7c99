// SPDX-License-Identifier: MIT
/*
 * Soft-dirty bits as a collector uses them: "4" goes to clear_refs, and bit 55 of pagemap says what was written since.
 * No bit is 0 of a page that was, whoever wrote, and by whatever descriptor one asks.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "proc.h"

#define PAGE	4096UL
#define COUNT	64
#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static int clear_refs, pagemap;
static char *heap;

static char *map(size_t size)
{
	char *p = mmap(NULL, size, RW, ANON, -1, 0);

	CHECK(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static void clear(void)
{
	CHECK_EQUAL(write(clear_refs, "4\n", 2), 2, "write to clear_refs");
}

/* Where a larger entry was split, what was not written is clean from the third epoch on. */
static void settle(void)
{
	for (int i = 0; i < 3; i++)
		clear();
}

static bool bit_by(int fd, const void *p)
{
	uint64_t entry = 0;

	CHECK_EQUAL(pread(fd, &entry, sizeof(entry), (uintptr_t)p / PAGE * sizeof(entry)), sizeof(entry), "pread");
	return entry >> 55 & 1;
}

static bool dirty(const void *p)
{
	return bit_by(pagemap, p);
}

static void check_writes(void)
{
	for (unsigned int i = 0; i < COUNT; i++)
		heap[i * PAGE] = 1;
	settle();
	for (unsigned int i = 0; i < COUNT; i++)
		CHECK(!dirty(heap + i * PAGE), "page %u is dirty, and nobody has written", i);
	for (unsigned int round = 0; round < 16; round++) {
		clear();
		for (unsigned int i = round % 3; i < COUNT; i += 3)
			heap[i * PAGE] = round;
		for (unsigned int i = 0; i < COUNT; i++)
			CHECK_EQUAL(dirty(heap + i * PAGE), i >= round % 3 && (i - round % 3) % 3 == 0,
				    "a written page");
	}
}

/* ---- descriptors ---- */

static void check_reads(void)
{
	uint64_t entries[COUNT + 1], some[2];
	off_t first = (uintptr_t)heap / PAGE * 8;
	struct iovec v[2] = { { some, 8 }, { entries, 16 } };

	settle();
	heap[3 * PAGE] = 1;
	CHECK_EQUAL(lseek(pagemap, first, SEEK_SET), first, "lseek");
	CHECK_EQUAL(read(pagemap, entries, 2 * 8), 16, "read");
	CHECK_EQUAL(read(pagemap, entries + 2, (COUNT - 2) * 8), (COUNT - 2) * 8, "read goes on");
	CHECK_EQUAL(lseek(pagemap, 0, SEEK_CUR), first + COUNT * 8, "the offset afterwards");
	for (unsigned int i = 0; i < COUNT; i++)
		CHECK_EQUAL(entries[i] >> 55 & 1, i == 3, "what read() says");
	CHECK_ERRNO(read(pagemap, entries, 7), EINVAL, "a read of 7 bytes");
	CHECK_ERRNO(pread(pagemap, entries, 8, 4), EINVAL, "a read at 4");
	CHECK_ERRNO(syscall(SYS_pread64, pagemap, 8L, 8L, first), EFAULT, "a read to nowhere");
	CHECK_EQUAL(pread(pagemap, entries, 0, first), 0, "a read of nothing");
	/* Nobody promises that these are exact. */
	CHECK_EQUAL(preadv(pagemap, v, 2, first + 2 * 8), 24, "preadv");
	CHECK(entries[0] >> 55 & 1, "preadv does not say what was written");
	CHECK_ERRNO(write(pagemap, "4", 1), EBADF, "a write to pagemap");
	CHECK_ERRNO(read(clear_refs, entries, 8), EBADF, "a read of clear_refs");
}

static void check_write(void)
{
	static const char *const texts[] = { "4", "4\n", " 4 \n", "+4", "04" };

	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		heap[0] = 1;
		clear();
		clear();
		heap[0] = 1;
		CHECK(dirty(heap), "a write");
		CHECK_EQUAL(write(clear_refs, texts[i], strlen(texts[i])), (ssize_t)strlen(texts[i]), "clear_refs");
		clear();
		CHECK(!dirty(heap), "cleared by \"%s\"", texts[i]);
	}
	heap[0] = 1;
	CHECK_ERRNO(write(clear_refs, "9\n", 2), EINVAL, "a number that there is not");
	CHECK_ERRNO(write(clear_refs, "4x", 2), EINVAL, "no number");
	CHECK(dirty(heap), "a write that is no number clears");
	CHECK_EQUAL(pwrite(clear_refs, "4", 1, 100), 1, "pwrite");
}

static int send_and_receive(int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2], got;

	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0, "socketpair");
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	CHECK_EQUAL(sendmsg(pair[0], &m, 0), 1, "sendmsg");
	memset(control, 0, sizeof(control));
	CHECK_EQUAL(recvmsg(pair[1], &m, 0), 1, "recvmsg");
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	close(pair[0]);
	close(pair[1]);
	return got;
}

static void try_descriptor(int fd, const char *what)
{
	CHECK(fd >= 0, "%s: %s", what, strerror(errno));
	heap[0] = 1;
	settle();
	CHECK(!bit_by(fd, heap), "%s: clean", what);
	heap[0] = 1;
	CHECK(bit_by(fd, heap), "%s: written", what);
	if (fd != pagemap)
		close(fd);
}

static void check_descriptors(void)
{
	char path[64];
	int fd, file;

	try_descriptor(dup(pagemap), "dup");
	try_descriptor(dup2(pagemap, 100), "dup2");
	try_descriptor(dup3(pagemap, 101, O_CLOEXEC), "dup3");
	try_descriptor(fcntl(pagemap, F_DUPFD, 200), "F_DUPFD");
	try_descriptor(fcntl(pagemap, F_DUPFD_CLOEXEC, 200), "F_DUPFD_CLOEXEC");
	try_descriptor(send_and_receive(pagemap), "SCM_RIGHTS");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", getpid());
	try_descriptor(open(path, O_RDONLY), "by its number");
	try_descriptor(open("/proc/thread-self/pagemap", O_RDONLY), "of a thread");
	/* The number of one that is closed is another file's. */
	fd = dup(pagemap);
	close(fd);
	file = open("/proc/self/cmdline", O_RDONLY);
	CHECK_EQUAL(file, fd, "the same number");
	memset(path, 0, sizeof(path));
	CHECK(read(file, path, 3) == 3 && path[0] > ' ', "another file at that number");
	close(file);
	file = memfd_create("file", 0);
	CHECK_EQUAL(dup2(file, 100), 100, "dup2");
	CHECK_EQUAL(write(100, "4\n", 2), 2, "a file at the number of a pagemap");
	CHECK(pread(100, path, 8, 0) == 2 && !memcmp(path, "4\n", 2), "what it has");
	close(file);
	close(100);
}

/* ---- what the kernel writes ---- */

static void expect_dirty(const char *p, size_t size, const char *what)
{
	for (size_t at = 0; at < size; at += PAGE)
		CHECK(dirty(p + at), "%s: page %zu is clean", what, at / PAGE);
}

static void check_calls(void)
{
	struct iovec v[2] = { { heap, PAGE }, { heap + 8 * PAGE, PAGE } };
	int pipes[2], file = memfd_create("file", 0);

	CHECK(!ftruncate(file, 4 * PAGE) && !pipe(pipes), "files");
	settle();
	CHECK_EQUAL(pread(file, heap, 4 * PAGE, 0), 4 * PAGE, "pread");
	expect_dirty(heap, 4 * PAGE, "pread");
	CHECK(!dirty(heap + 4 * PAGE), "behind what is read");
	settle();
	CHECK_EQUAL(preadv(file, v, 2, 0), 2 * PAGE, "preadv");
	expect_dirty(heap, PAGE, "preadv");
	expect_dirty(heap + 8 * PAGE, PAGE, "preadv");
	settle();
	CHECK_EQUAL(write(pipes[1], "abc", 3), 3, "write");
	CHECK_EQUAL(read(pipes[0], heap + 2 * PAGE, 100), 3, "read");
	expect_dirty(heap + 2 * PAGE, PAGE, "read");
	settle();
	CHECK_EQUAL(getrandom(heap + 5 * PAGE, 64, 0), 64, "getrandom");
	expect_dirty(heap + 5 * PAGE, PAGE, "getrandom");
	settle();
	CHECK_EQUAL(fstat(file, (struct stat *)(heap + 6 * PAGE)), 0, "fstat");
	expect_dirty(heap + 6 * PAGE, PAGE, "fstat");
	close(file);
	close(pipes[0]);
	close(pipes[1]);
}

static int sockets[2];
static _Atomic int receiver_tid;

static void *receiver(void *arg)
{
	(void)arg;
	receiver_tid = syscall(SYS_gettid);
	CHECK_EQUAL(recv(sockets[1], heap + 20 * PAGE, 4 * PAGE, MSG_WAITALL), 4 * PAGE, "recv");
	return NULL;
}

static void wait_until_asleep(void)
{
	char path[64], line[256] = "";
	ssize_t n;
	int fd;

	while (!receiver_tid)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", receiver_tid);
	while (!strstr(line, ") S ")) {
		sched_yield();
		fd = open(path, O_RDONLY);
		n = read(fd, line, sizeof(line) - 1);
		CHECK(n > 0, "%s", path);
		line[n > 0 ? n : 0] = 0;
		close(fd);
	}
}

/*
 * A call writes, and waits for more: what it has written counts, and what it will.  The kernel knows better when it
 * writes, and its bits say no more than that.
 */
static void check_under_way(bool from_before)
{
	const bool all = getenv("EXPECT_RING3");
	static char data[4 * PAGE];
	volatile char *last = heap + 21 * PAGE;
	pthread_t thread;

	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0, "socketpair");
	memset(data, 7, sizeof(data));
	*last = 0;
	if (!from_before)
		settle();
	receiver_tid = 0;
	CHECK_EQUAL(pthread_create(&thread, NULL, receiver, NULL), 0, "pthread_create");
	wait_until_asleep();
	for (int round = 0; round < 3; round++) {
		clear();
		if (!round) {
			CHECK_EQUAL(write(sockets[0], data, 2 * PAGE), 2 * PAGE, "write");
			while (*last != 7)
				sched_yield();
		}
		if (all || !round)
			expect_dirty(heap + 20 * PAGE, (all ? 4 : 2) * PAGE, "a call under way");
	}
	CHECK_EQUAL(write(sockets[0], data, 2 * PAGE), 2 * PAGE, "write");
	pthread_join(thread, NULL);
	expect_dirty(heap + (all ? 20 : 22) * PAGE, (all ? 4 : 2) * PAGE, "a call that has ended");
	settle();
	CHECK(!dirty(heap + 21 * PAGE), "nobody writes any more");
	close(sockets[0]);
	close(sockets[1]);
}

/* ---- what is there instead ---- */

static void check_mappings(void)
{
	char *p = map(16 * PAGE), *q;

	memset(p, 1, 16 * PAGE);
	settle();
	CHECK_EQUAL(munmap(p, 8 * PAGE), 0, "munmap");
	CHECK(mmap(p, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p, "mmap");
	expect_dirty(p, 8 * PAGE, "mapped anew");
	settle();
	CHECK_EQUAL(madvise(p + 8 * PAGE, 8 * PAGE, MADV_DONTNEED), 0, "madvise");
	p[8 * PAGE] = 1;
	expect_dirty(p + 8 * PAGE, PAGE, "dropped, and written");
	settle();
	q = mremap(p, 8 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED, "mremap");
	q[63 * PAGE] = 1;
	expect_dirty(q + 63 * PAGE, PAGE, "mremap");
	munmap(q, 64 * PAGE);
	p = sbrk(0);
	p = sbrk(PAGE - (uintptr_t)p % PAGE + 4 * PAGE);
	q = sbrk(0) - PAGE;
	*q = 1;
	settle();
	CHECK_EQUAL(*q, 1, "the break's memory");
	CHECK(sbrk(-2 * (long)PAGE) != (void *)-1 && sbrk(2 * PAGE) != (void *)-1, "sbrk");
	expect_dirty(q, PAGE, "beyond an old break");
}

static char *frame;

static void handler(int signo)
{
	(void)signo;
	frame = __builtin_frame_address(0);
}

/* The frame is written for the program, and the handler itself writes less far from there than a page. */
static void check_signal(void)
{
	char *memory = map(64 * PAGE);
	stack_t stack = { .ss_sp = memory, .ss_size = 64 * PAGE }, none = { .ss_flags = SS_DISABLE };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };

	memset(memory, 1, 64 * PAGE);
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	settle();
	CHECK(!dirty(memory + 63 * PAGE), "the stack before");
	raise(SIGUSR1);
	expect_dirty(memory + 63 * PAGE, PAGE, "the frame of a signal");
	CHECK(frame > memory && frame < memory + 64 * PAGE, "on that stack");
	sigaltstack(&none, NULL);
	munmap(memory, 64 * PAGE);
}

/* ---- processes ---- */

static void in_child(void)
{
	int own_clear, own_map;

	/* The parent's: whatever it says of its pages, none is clean that was written. */
	heap[1 * PAGE] = 9;
	own_map = open("/proc/self/pagemap", O_RDONLY);
	own_clear = open("/proc/self/clear_refs", O_WRONLY);
	CHECK(bit_by(own_map, heap + PAGE), "written by the child");
	for (int i = 0; i < 3; i++)
		CHECK_EQUAL(write(own_clear, "4", 1), 1, "clear_refs of the child");
	CHECK(!bit_by(own_map, heap + PAGE), "cleared by the child");
	heap[2 * PAGE] = 9;
	CHECK(bit_by(own_map, heap + 2 * PAGE), "written after that");
}

/* It waits until its parent has written. */
static int inherited(void)
{
	char byte;

	check_failures = 0;
	CHECK_EQUAL(read(sockets[1], &byte, 1), 1, "read");
	CHECK(dirty(heap + 7 * PAGE), "written by the parent");
	return check_failures != 0;
}

static void check_fork(void)
{
	pid_t pid;

	settle();
	CHECK_EQUAL(IN_CHILD(in_child()), 0, "the child");
	CHECK(!dirty(heap + PAGE), "what the child writes is not the parent's");
	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0, "socketpair");
	settle();
	pid = fork();
	if (!pid)
		_exit(inherited());
	heap[7 * PAGE] = 1;
	CHECK_EQUAL(write(sockets[0], "", 1), 1, "write");
	CHECK_EQUAL(proc_wait(pid), 0, "a child with its parent's pagemap");
	CHECK(dirty(heap + 7 * PAGE), "after a fork");
	close(sockets[0]);
	close(sockets[1]);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	heap = map(COUNT * PAGE);
	memset(heap, 1, COUNT * PAGE);
	clear_refs = open("/proc/self/clear_refs", O_WRONLY);
	pagemap = open("/proc/self/pagemap", O_RDONLY);
	CHECK(clear_refs >= 0 && pagemap >= 0, "open");
	CHECK(dirty(heap), "before the first epoch all were written");
	check_under_way(true);
	check_writes();
	check_reads();
	check_write();
	check_descriptors();
	check_calls();
	check_under_way(false);
	check_mappings();
	check_signal();
	check_fork();
	return check_result();
}
