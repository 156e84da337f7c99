// SPDX-License-Identifier: MIT
/*
 * What the kernel puts off until it returns to user mode is done for a thread in Dune
 * mode too: close() takes effect at once, so that the reader of a pipe sees its end.
 */
#include "mem.h"

#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>

static struct ordinary *outside;

static long job_read_end(long fd, long b, long c)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char byte;

	(void)b;
	(void)c;
	if (poll(&poll_fd, 1, 200000) != 1)
		return -1000;
	return read(fd, &byte, 1);
}

/* The reader is on the one side or the other, or waits already when the end is closed. */
static void pipe_end(struct ordinary *reader, bool waits)
{
	int ends[2];

	CHECK(!pipe(ends));
	if (waits) {
		begin(reader, job_read_end, ends[0], 0, 0);
		usleep(20000);
		CHECK(!close(ends[1]));
		CHECK_EQ(wait_for(reader), 0);
	} else {
		CHECK(!close(ends[1]));
		CHECK_EQ(ask(reader, job_read_end, ends[0], 0, 0), 0);
	}
	close(ends[0]);
}

static void sockets(void)
{
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	begin(outside, job_read_end, pair[0], 0, 0);
	CHECK(!close(pair[1]));
	CHECK_EQ(wait_for(outside), 0);
	close(pair[0]);
}

/* A lock goes with the last descriptor. */
static long job_lock(long fd, long b, long c)
{
	(void)b;
	(void)c;
	return flock(fd, LOCK_EX | LOCK_NB);
}

static void locks(void)
{
	static const char path[] = "/tmp/mem-close";
	int a = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int b = open(path, O_RDWR | O_CLOEXEC);

	CHECK(a >= 0 && b >= 0);
	CHECK(!flock(a, LOCK_EX));
	CHECK_EQ(ask(outside, job_lock, b, 0, 0), -1);
	CHECK(!close(a));
	CHECK_EQ(ask(outside, job_lock, b, 0, 0), 0);
	close(b);
	unlink(path);
}

/* Also by the end of a process in Dune mode, and when a descriptor is replaced. */
static void other_ways(void)
{
	int ends[2], other;
	pid_t pid;

	CHECK(!pipe(ends));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(0);
	CHECK(!close(ends[1]));
	CHECK_EQ(ask(outside, job_read_end, ends[0], 0, 0), 0);
	expect_exit(pid);
	close(ends[0]);

	CHECK(!pipe(ends));
	other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK_EQ(dup2(other, ends[1]), ends[1]);
	CHECK_EQ(ask(outside, job_read_end, ends[0], 0, 0), 0);
	close(ends[0]);
	close(ends[1]);
	close(other);
}

int main(void)
{
	outside = ordinary_thread();
	enter();
	for (int i = 0; i < 20; i++) {
		pipe_end(HERE, false);
		pipe_end(outside, false);
		pipe_end(outside, true);
	}
	sockets();
	locks();
	other_ways();
	return 0;
}
