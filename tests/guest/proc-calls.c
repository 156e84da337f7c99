// SPDX-License-Identifier: MIT
/*
 * System calls that reach past the thread that makes them: into its memory behind its back
 * (io_uring, process_vm_readv, vmsplice, O_DIRECT), into what its memory is (mlock, madvise, memfd),
 * or to other CPUs (membarrier).  The same must come of them as outside.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "proc.h"

#define PAGE	4096UL
#define PAGES	16
#define SIZE	(PAGES * PAGE)

static char *map(int flags, int fd)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	DIE_UNLESS(p != MAP_FAILED, "mmap");
	return p;
}

static void fill(char *p, int seed)
{
	for (unsigned long i = 0; i < SIZE; i++)
		p[i] = i * 7 + seed;
}

static bool filled(const char *p, int seed)
{
	for (unsigned long i = 0; i < SIZE; i++)
		if (p[i] != (char)(i * 7 + seed))
			return false;
	return true;
}

static unsigned long status_kib(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = strtoul(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

/* ---- io_uring: a thread of the kernel's, or an interrupt, writes to the memory ---- */

struct ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	struct io_uring_sqe *sqes;
};

static unsigned int *word(const struct ring *ring, unsigned int offset)
{
	return (unsigned int *)(ring->rings + offset);
}

static void submit(struct ring *ring, const struct io_uring_sqe *sqe)
{
	unsigned int tail = *word(ring, ring->params.sq_off.tail), mask = *word(ring, ring->params.sq_off.ring_mask);

	ring->sqes[tail & mask] = *sqe;
	word(ring, ring->params.sq_off.array)[tail & mask] = tail & mask;
	__atomic_store_n(word(ring, ring->params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
}

static int complete(struct ring *ring)
{
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(ring->rings + ring->params.cq_off.cqes);
	unsigned int head = *word(ring, ring->params.cq_off.head), mask = *word(ring, ring->params.cq_off.ring_mask);
	int result;

	while (__atomic_load_n(word(ring, ring->params.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		if (syscall(SYS_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
			return -errno;
	result = cqes[head & mask].res;
	__atomic_store_n(word(ring, ring->params.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return result;
}

static void io_uring(unsigned int flags)
{
	struct ring ring = { .params.flags = flags, .params.sq_thread_idle = 100 };
	char *to = map(MAP_PRIVATE | MAP_ANONYMOUS, -1), *from = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd = memfd_create("file", MFD_CLOEXEC);
	struct io_uring_sqe sqe = { .opcode = IORING_OP_NOP };
	unsigned long size;

	ring.fd = syscall(SYS_io_uring_setup, 8, &ring.params);
	if (ring.fd < 0 && errno == ENOSYS) {
		printf("no io_uring here\n");
		return;
	}
	DIE_UNLESS(ring.fd >= 0, "io_uring_setup");
	size = ring.params.cq_off.cqes + ring.params.cq_entries * sizeof(struct io_uring_cqe);
	ring.rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.sqes = mmap(NULL, ring.params.sq_entries * sizeof(sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			 IORING_OFF_SQES);
	DIE_UNLESS(ring.rings != MAP_FAILED && ring.sqes != MAP_FAILED, "mmap of a ring");

	fill(from, flags + 1);
	for (unsigned int i = 0; i < 3; i++) {
		const uint8_t opcodes[] = { IORING_OP_NOP, IORING_OP_WRITE, IORING_OP_READ };
		const int results[] = { 0, SIZE, SIZE };

		sqe = (struct io_uring_sqe){
			.opcode = opcodes[i], .fd = i ? fd : 0, .len = i ? SIZE : 0,
			.addr = i == 1 ? (unsigned long)from : i ? (unsigned long)to : 0,
		};
		submit(&ring, &sqe);
		if (flags & IORING_SETUP_SQPOLL)
			syscall(SYS_io_uring_enter, ring.fd, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0);
		else
			CHECK_EQUAL(syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0), 1, "io_uring_enter");
		CHECK_EQUAL(complete(&ring), results[i], "the result of an operation");
	}
	CHECK(filled(to, flags + 1), "what io_uring read is not what it wrote");
	close(ring.fd);
	munmap(ring.rings, size);
	munmap(ring.sqes, ring.params.sq_entries * sizeof(sqe));
	close(fd);
	munmap(to, SIZE);
	munmap(from, SIZE);
}

/* ---- a checked program's copies ---- */

static void *nothing(void *arg)
{
	return arg;
}

/* What libdune has no room to copy is refused, and takes none of the areas of threads, of which there are 4,017. */
static void too_large(void)
{
	static char control[1 << 20];
	struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };
	pthread_t thread;

	if (!getenv("EXPECT_CHECKED"))
		return;
	for (int i = 0; i < 5000 && !check_failures; i++)
		CHECK_ERRNO(sendmsg(0, &message, 0), ENOMEM, "sendmsg with a megabyte of control messages");
	CHECK(!pthread_create(&thread, NULL, nothing, NULL) && !pthread_join(thread, NULL), "a thread after that");
}

/* ---- files without a name ---- */

static void no_path(void)
{
	const struct open_how how = { .flags = O_RDONLY };

	CHECK_ERRNO(syscall(SYS_open, NULL, O_RDONLY), EFAULT, "open of NULL");
	CHECK_ERRNO(syscall(SYS_creat, NULL, 0600), EFAULT, "creat of NULL");
	CHECK_ERRNO(syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY), EFAULT, "openat of NULL");
	CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, NULL, &how, sizeof(how)), EFAULT, "openat2 of NULL");
	CHECK_ERRNO(open("", O_RDONLY), ENOENT, "open of nothing");
}

/* ---- another process reads and writes ---- */

static void process_vm(void)
{
	char *here = map(MAP_PRIVATE | MAP_ANONYMOUS, -1), *there = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	pid_t parent = getpid();
	char path[32];
	int status;

	snprintf(path, sizeof(path), "/proc/%d/mem", parent);
	if (getenv("EXPECT_CHECKED")) {
		struct iovec local = { here, SIZE };
		struct iovec remote = { there, SIZE };

		CHECK_ERRNO(process_vm_readv(parent, &local, 1, &remote, 1, 0), EPERM, "process_vm_readv, checked");
		CHECK_ERRNO(process_vm_writev(parent, &local, 1, &remote, 1, 0), EPERM, "process_vm_writev, checked");
		CHECK_ERRNO(open(path, O_RDWR), EACCES, "the own mem, checked");
		return;
	}
	fill(there, 3);
	status = IN_CHILD(
		struct iovec local = { here, SIZE };
		struct iovec remote = { there, SIZE };
		int fd;

		memset(there, 0, SIZE);		/* the child's own copy */
		CHECK_EQUAL(process_vm_readv(parent, &local, 1, &remote, 1, 0), SIZE, "process_vm_readv");
		CHECK(filled(here, 3), "not what the parent has");
		fill(here, 4);
		CHECK_EQUAL(process_vm_writev(parent, &local, 1, &remote, 1, 0), SIZE, "process_vm_writev");
		fd = open(path, O_RDWR);
		CHECK_EQUAL(pwrite(fd, "mem", 3, (unsigned long)there), 3, "a write to the parent's mem"));
	CHECK_EQUAL(status, 0, "the child");
	CHECK(!memcmp(there, "mem", 3), "what /proc/PID/mem wrote is not seen");
	for (int i = 0; i < 3; i++)
		there[i] = i * 7 + 4;
	CHECK(filled(there, 4), "what process_vm_writev wrote is not seen");
	munmap(here, SIZE);
	munmap(there, SIZE);
}

/* The pages themselves go into a pipe, and into a file without its cache. */
static void pages_given_away(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1), *q = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct iovec whole = { p, SIZE };
	int ends[2], fd;

	DIE_UNLESS(!pipe(ends), "pipe");
	fcntl(ends[1], F_SETPIPE_SZ, SIZE);
	fill(p, 5);
	CHECK_EQUAL(vmsplice(ends[1], &whole, 1, 0), SIZE, "vmsplice");
	for (unsigned long done = 0; done < SIZE;) {
		ssize_t n = read(ends[0], q + done, SIZE - done);

		if (!CHECK(n > 0, "reading what was spliced: %zd", n))
			break;
		done += n;
	}
	CHECK(filled(q, 5), "the pipe has something else than the pages");
	close(ends[0]);
	close(ends[1]);

	fd = open("direct", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (fd >= 0) {		/* not every file system knows O_DIRECT */
		fill(p, 6);
		CHECK_EQUAL(pwrite(fd, p, SIZE, 0), SIZE, "a direct write");
		CHECK_EQUAL(pread(fd, q, SIZE, 0), SIZE, "a direct read");
		CHECK(filled(q, 6), "direct reading gave something else");
		close(fd);
	}
	unlink("direct");
	munmap(p, SIZE);
	munmap(q, SIZE);
}

/* ---- what the memory is ---- */

static void locked(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned long before = status_kib("VmLck:");

	CHECK_EQUAL(mlock(p, SIZE), 0, "mlock");
	CHECK_EQUAL(status_kib("VmLck:"), before + SIZE / 1024, "VmLck");
	fill(p, 1);
	CHECK_EQUAL(munlock(p, SIZE), 0, "munlock");
	CHECK_EQUAL(status_kib("VmLck:"), before, "VmLck after munlock");
	CHECK(filled(p, 1), "locked memory changed");
	CHECK_EQUAL(mlock2(p, SIZE, MLOCK_ONFAULT), 0, "mlock2");
	munmap(p, SIZE);
	CHECK_EQUAL(mlockall(MCL_CURRENT), 0, "mlockall");
	CHECK_EQUAL(munlockall(), 0, "munlockall");
}

static void advised(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned char there[PAGES];

	fill(p, 1);
	CHECK_EQUAL(madvise(p + PAGE, PAGE, MADV_DONTNEED), 0, "MADV_DONTNEED");
	CHECK(p[PAGE] == 0 && p[2 * PAGE - 1] == 0, "what was given back is not zero");
	CHECK_EQUAL(p[PAGE - 1], (char)((PAGE - 1) * 7 + 1), "the byte before it");
	fill(p, 2);
	CHECK_EQUAL(madvise(p, SIZE, MADV_COLD), 0, "MADV_COLD");
	madvise(p, SIZE, MADV_PAGEOUT);
	CHECK(filled(p, 2), "advice changed the memory");
	CHECK_EQUAL(madvise(p, SIZE, MADV_FREE), 0, "MADV_FREE");
	fill(p, 3);
	CHECK(filled(p, 3), "what was written after MADV_FREE is gone");
	CHECK_EQUAL(madvise(p, PAGE, MADV_WIPEONFORK), 0, "MADV_WIPEONFORK");
	CHECK_EQUAL(IN_CHILD(CHECK_EQUAL(p[1], 0, "a page wiped on fork");
			     CHECK_EQUAL(p[PAGE], (char)(PAGE * 7 + 3), "a page kept on fork")), 0, "the child");
	CHECK_EQUAL(p[1], 10, "the parent's page");
	CHECK_EQUAL(madvise(p, PAGE, MADV_KEEPONFORK), 0, "MADV_KEEPONFORK");
	CHECK_EQUAL(madvise(p, PAGE, MADV_DONTFORK), 0, "MADV_DONTFORK");
	CHECK_EQUAL(IN_CHILD(signal(SIGSEGV, SIG_DFL); ((volatile char *)p)[0] = 1) & 0x7f, SIGSEGV,
		    "a child that touches what was not forked");
	CHECK_EQUAL(madvise(p, SIZE, MADV_DONTNEED), 0, "MADV_DONTNEED of all");
	CHECK_EQUAL(mincore(p, SIZE, there), 0, "mincore");
	CHECK_EQUAL(there[1] & 1, 0, "a page that was given back is there");
	CHECK_EQUAL(madvise(p, SIZE, MADV_NOHUGEPAGE), 0, "MADV_NOHUGEPAGE");
	CHECK_ERRNO(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL, "advice for half a page");
	munmap(p, SIZE);
}

static void memfd(void)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *p;

	DIE_UNLESS(fd >= 0 && !ftruncate(fd, SIZE), "memfd_create");
	p = map(MAP_SHARED, fd);
	fill(p, 9);
	CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY, "a seal while it is mapped to be written");
	CHECK_EQUAL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE), 0, "a hole");
	CHECK(p[PAGE] == 0 && p[0] == 9, "a hole is not where it is");
	fill(p, 9);
	CHECK_EQUAL(IN_CHILD(signal(SIGBUS, SIG_DFL);
			     DIE_UNLESS(!ftruncate(fd, PAGE), "ftruncate");
			     ((volatile char *)p)[PAGE] = 1) & 0x7f, SIGBUS, "a store behind the end");
	CHECK_EQUAL(p[1], 16, "a byte before the end");
	munmap(p, SIZE);
	CHECK_EQUAL(ftruncate(fd, SIZE), 0, "ftruncate");
	CHECK_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0, "a seal");
	CHECK_ERRNO((long)mmap(NULL, SIZE, PROT_WRITE, MAP_SHARED, fd, 0), EPERM, "mapping sealed memory to write");
	close(fd);
}

/* ---- membarrier: what the one thread leaves out, the other has the kernel do ---- */

static volatile int flag[2] __attribute__((aligned(64))), other[2] __attribute__((aligned(64)));
static volatile int seen[2];
static pthread_barrier_t together;
static int rounds = 300;

static void *without_fence(void *arg)
{
	(void)arg;
	for (int i = 0; i < rounds; i++) {
		pthread_barrier_wait(&together);
		flag[0] = 1;
		__asm__ volatile("" : : : "memory");
		seen[0] = other[0];
		pthread_barrier_wait(&together);
	}
	return NULL;
}

static void membarriers(void)
{
	static const struct {
		int intent, command;
	} kinds[] = {
		{ MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED },
		{ MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE },
		{ MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_GLOBAL_EXPEDITED },
	};
	pthread_t thread;
	int neither = 0;

	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0, "membarrier is not there");
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		CHECK_EQUAL(syscall(SYS_membarrier, kinds[i].intent, 0, 0), 0, "registering");
		CHECK_EQUAL(syscall(SYS_membarrier, kinds[i].command, 0, 0), 0, "membarrier");
	}
	pthread_barrier_init(&together, NULL, 2);
	DIE_UNLESS(!pthread_create(&thread, NULL, without_fence, NULL), "pthread_create");
	for (int i = 0; i < rounds; i++) {
		flag[0] = other[0] = 0;
		pthread_barrier_wait(&together);
		other[0] = 1;
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
		seen[1] = flag[0];
		pthread_barrier_wait(&together);
		neither += !seen[0] && !seen[1];
	}
	pthread_join(thread, NULL);
	CHECK_EQUAL(neither, 0, "times that neither thread saw the other's store");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	io_uring(0);
	io_uring(IORING_SETUP_SQPOLL);
	too_large();
	no_path();
	process_vm();
	pages_given_away();
	locked();
	advised();
	memfd();
	membarriers();
	return check_result();
}
