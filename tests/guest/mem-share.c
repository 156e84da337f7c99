// SPDX-License-Identifier: MIT
/*
 * Memory shared by a process in Dune mode and an ordinary one: without a file, of a file, and
 * private memory that the ordinary one reaches through the kernel.
 */
#include "mem.h"

#include <sys/ptrace.h>
#include <sys/uio.h>

#define ROUNDS	20000

static struct ordinary *process;

static void one_mapping(char *p, unsigned int pages)
{
	for (unsigned int i = 0; i < pages; i++) {
		struct ordinary *first = i & 1 ? HERE : process, *second = i & 1 ? process : HERE;
		char *page = p + i * PAGE;

		if (i & 2)
			CHECK_EQ(see(second, page), 0);
		put(first, page, i + 1);
		BOTH_SEE(process, page, i + 1);
		put(second, page, i + 1000);
		BOTH_SEE(process, page, i + 1000);
		put(second, page + 8, i);
		CHECK_EQ(see(first, page + 8), i);
	}
}

static long add(long p, long times, long c)
{
	(void)c;
	for (long i = 0; i < times; i++) {
		__atomic_add_fetch((uint64_t *)p, 1, __ATOMIC_SEQ_CST);
		if (i % 1000 == 0)
			sched_yield();
	}
	return 0;
}

/* Locked instructions of both, at the same time, on one word. */
static void counter(char *p)
{
	put(HERE, p, 0);
	begin(process, add, (long)p, ROUNDS, 0);
	add((long)p, ROUNDS, 0);
	wait_for(process);
	BOTH_SEE(process, p, 2 * ROUNDS);
}

static long punch(long fd, long offset, long size)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
}

static long resize(long fd, long size, long c)
{
	(void)c;
	return ftruncate(fd, size);
}

/* The other process takes pages of the file away; what comes back is new. */
static void file_changes(char *p, int fd)
{
	put(HERE, p + PAGE, 5);
	CHECK_EQ(ask(process, punch, fd, PAGE, PAGE), 0);
	BOTH_SEE(process, p + PAGE, 0);
	put(HERE, p + PAGE, 6);
	BOTH_SEE(process, p + PAGE, 6);

	put(HERE, p + 3 * PAGE, 7);
	CHECK_EQ(ask(process, resize, fd, 3 * PAGE, 0), 0);
	CHECK_EQ(ask(process, resize, fd, 8 * PAGE, 0), 0);
	BOTH_SEE(process, p + 3 * PAGE, 0);
	BOTH_SEE(process, p + PAGE, 6);
}

/* A private mapping that the guest has only read follows the shared one, until it is written. */
static void private_beside(char *shared, int fd)
{
	char *p = map(NULL, 8 * PAGE, RW, MAP_PRIVATE, fd);

	put(process, shared, 1);
	CHECK_EQ(see(HERE, p), 1);
	put(process, shared, 2);
	CHECK_EQ(see(HERE, p), 2);
	put(HERE, p, 3);
	put(process, shared, 4);
	CHECK_EQ(see(HERE, p), 3);
	BOTH_SEE(process, shared, 4);
	munmap(p, 8 * PAGE);
}

/* Memory of ours through another mapping of its own: process_vm_writev, /proc/PID/mem. */
static pid_t guest_pid;

static long write_through_kernel(long p, long value, long c)
{
	struct iovec here = { &value, 8 }, there = { (void *)p, 8 };

	(void)c;
	return process_vm_writev(guest_pid, &here, 1, &there, 1, 0);
}

static long read_through_kernel(long p, long b, long c)
{
	struct iovec there = { (void *)p, 8 };
	long value = -1;
	struct iovec here = { &value, 8 };

	(void)b;
	(void)c;
	return process_vm_readv(guest_pid, &here, 1, &there, 1, 0) == 8 ? value : -1;
}

/* As a debugger writes, even where the process itself may not; some kernels allow it to a tracer only. */
static long write_by_force(long p, long value, long c)
{
	char path[32];
	long n;
	int fd;

	(void)c;
	snprintf(path, sizeof(path), "/proc/%d/mem", guest_pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (ptrace(PTRACE_ATTACH, guest_pid, NULL, NULL) || waitpid(guest_pid, NULL, __WALL) != guest_pid)
		return -1000;
	n = pwrite(fd, &value, 8, p);
	ptrace(PTRACE_DETACH, guest_pid, NULL, NULL);
	close(fd);
	return n;
}

static void through_the_kernel(int fd)
{
	char *p = map_anon(4 * PAGE), *file;

	CHECK_EQ(see(HERE, p), 0);
	CHECK_EQ(ask(process, write_through_kernel, (long)p, 11, 0), 8);
	CHECK_EQ(see(HERE, p), 11);
	put(HERE, p, 12);
	CHECK_EQ(ask(process, read_through_kernel, (long)p, 0, 0), 12);
	CHECK_EQ(ask(process, write_through_kernel, (long)p + PAGE, 13, 0), 8);
	CHECK_EQ(see(HERE, p + PAGE), 13);
	put(HERE, p + 2 * PAGE, 14);
	CHECK_EQ(ask(process, read_through_kernel, (long)p + 2 * PAGE, 0, 0), 14);

	/* The copy that a debugger makes of a read-only page is the one that the guest sees. */
	file = map(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd);
	CHECK_EQ(see(HERE, file), file_word(fd, 0));
	CHECK_EQ(ask(process, write_by_force, (long)file, 15, 0), 8);
	CHECK_EQ(see(HERE, file), 15);
	CHECK(file_word(fd, 0) != 15);
	munmap(file, PAGE);
	munmap(p, 4 * PAGE);
}

int main(void)
{
	int fd = memfd_create("shared", 0);
	char *anonymous, *file, *huge;

	CHECK(fd >= 0 && !ftruncate(fd, 8 * PAGE));
	anonymous = map(NULL, 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	huge = map(NULL, 4 * HUGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	file = map(NULL, 8 * PAGE, RW, MAP_SHARED, fd);
	madvise(huge, 4 * HUGE, MADV_HUGEPAGE);
	guest_pid = getpid();
	process = ordinary_process();
	prctl(PR_SET_PTRACER, process->pid);
	enter();

	one_mapping(anonymous, 8);
	one_mapping(file, 8);
	one_mapping(huge, 1200);
	counter(anonymous);
	counter(file + 16);
	file_changes(file, fd);
	private_beside(file, fd);
	through_the_kernel(fd);
	return 0;
}
