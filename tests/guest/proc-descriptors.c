// SPDX-License-Identifier: MIT
/*
 * Descriptors: fcntl, dup and close find none that the program has not opened; and there is none that it may not
 * close or put something in place of.  It goes on in Dune mode afterwards, and so do its children.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "proc.h"

static int limit;

static long close_from(unsigned int first, unsigned int last, unsigned int flags)
{
	return syscall(SYS_close_range, first, last, flags);
}

static void *nothing(void *arg)
{
	return arg;
}

/* Everything that needs libdune's own. */
static void goes_on(const char *after)
{
	pthread_t thread;

	CHECK_WORLD(after);
	CHECK_EQUAL(IN_CHILD(
		CHECK_WORLD(after);
		CHECK_EQUAL(IN_CHILD(CHECK_WORLD(after)), EXITED(0), "a child's child")
	), EXITED(0), after);
	CHECK(!pthread_create(&thread, NULL, nothing, NULL), "a thread after %s", after);
	pthread_join(thread, NULL);
}

/* ---- what there is ---- */

static void none_is_seen(void)
{
	int fd;

	for (fd = 3; fd < limit; fd++) {
		CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF, "fcntl(%d, F_GETFD): %s", fd, strerror(errno));
		CHECK(fcntl(fd, F_DUPFD, 10) == -1 && errno == EBADF, "fcntl(%d, F_DUPFD)", fd);
		CHECK(dup(fd) == -1 && errno == EBADF, "dup(%d)", fd);
		CHECK(close(fd) == -1 && errno == EBADF, "close(%d)", fd);
		CHECK(dup2(fd, 10) == -1 && errno == EBADF, "dup2(%d, 10)", fd);
		CHECK(dup3(fd, 11, O_CLOEXEC) == -1 && errno == (fd == 11 ? EINVAL : EBADF), "dup3(%d, 11)", fd);
	}
}

static void none_by_fstat(void)
{
	struct stat st;
	struct statx stx;

	for (int fd = 3; fd < limit; fd++) {
		CHECK_ERRNO(syscall(SYS_fstat, fd, &st), EBADF, "fstat");
		CHECK_ERRNO(syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH), EBADF, "fstatat");
		CHECK_ERRNO(statx(fd, "", AT_EMPTY_PATH, 0, &stx), EBADF, "statx");
	}
	CHECK(!fstat(1, &st) && !stat("/", &st) && !fstatat(AT_FDCWD, ".", &st, 0), "files that there are");
}

static unsigned int number_listed(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	DIE_UNLESS(dir, "/proc/self/fd");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- closing all ---- */

static void close_all(void)
{
	/* As daemons do: the first by number, the others at once. */
	CHECK_EQUAL(IN_CHILD(
		for (int fd = 3; fd < limit; fd++)
			close(fd);
		goes_on("close() of all")
	), EXITED(0), "close() of all");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(close_from(3, ~0U, 0), 0, "close_range");
		goes_on("close_range of all");
		CHECK_EQUAL(close_from(3, ~0U, CLOSE_RANGE_UNSHARE), 0, "close_range with CLOSE_RANGE_UNSHARE");
		goes_on("close_range with CLOSE_RANGE_UNSHARE")
	), EXITED(0), "close_range of all");
	CHECK_EQUAL(IN_CHILD(
		DIR *dir = opendir("/proc/self/fd");
		struct dirent *entry;

		while ((entry = readdir(dir)))
			if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(dir))
				close(atoi(entry->d_name));
		goes_on("close() of what is listed")
	), EXITED(0), "close() of what is listed");
	CHECK_ERRNO(close_from(10, 3, 0), EINVAL, "close_range the wrong way round");
	CHECK_ERRNO(close_from(3, 10, 0x100), EINVAL, "close_range with an unknown flag");
}

/* CLOSE_RANGE_CLOEXEC is of 5.11. */
static void close_at_exec(void)
{
	int kept = dup(1);

	if (close_from(kept, kept, 4) && errno == EINVAL) {
		close(kept);
		return;
	}
	CHECK_EQUAL(fcntl(kept, F_GETFD), FD_CLOEXEC, "CLOSE_RANGE_CLOEXEC");
	CHECK_EQUAL(close_from(3, ~0U, 4), 0, "CLOSE_RANGE_CLOEXEC of all");
	goes_on("CLOSE_RANGE_CLOEXEC of all");
	close(kept);
}

/* ---- any number ---- */

static void every_number(void)
{
	struct stat one, other;
	unsigned int refused = 0;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	fstat(null, &one);
	for (int fd = 3; fd < limit; fd++) {
		if (fd == null)
			continue;
		if (dup2(null, fd) != fd) {
			refused++;
			continue;
		}
		CHECK(!fstat(fd, &other) && other.st_rdev == one.st_rdev, "what dup2 has put at %d", fd);
		if (fd % 64 == 0)
			CHECK_WORLD("a program with dup2 over any number");
	}
	CHECK_EQUAL(refused, 0, "numbers that dup2 refused");
	goes_on("dup2 over any number");
	/* There may be no room for another. */
	CHECK_ERRNO(open("/dev/null", O_RDONLY), EMFILE, "one more than there is room for");
	CHECK_EQUAL(close_from(3, ~0U, 0), 0, "close_range");
	goes_on("close_range of many");
}

/* What a table of descriptors holds can be sent, and arrives; what is libdune's cannot. */
static void sent(void)
{
	union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control = {
		.header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS },
	};
	struct iovec byte = { "x", 1 };
	struct msghdr message = {
		.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int sockets[2], fd = 1;
	char c;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	CHECK_EQUAL(sendmsg(sockets[0], &message, 0), 1, "sendmsg");
	byte.iov_base = &c;
	CHECK_EQUAL(recvmsg(sockets[1], &message, 0), 1, "recvmsg");
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	CHECK(fcntl(fd, F_GETFD) >= 0, "a descriptor that arrives");
	close(fd);
	close(sockets[0]);
	close(sockets[1]);
}

/* A limit below libdune's own number: what is open stays so, and children come into Dune mode. */
static void few(void)
{
	const struct rlimit low = { 16, 16 };

	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &low), 0, "setrlimit");
		goes_on("a low limit");
		close_from(3, ~0U, 0);
		goes_on("close_range with a low limit");
		limit = low.rlim_cur;
		CHECK_EQUAL(IN_CHILD(none_by_fstat()), EXITED(0), "fstat() with a low limit")
	), EXITED(0), "a low limit");
}

int main(int argc, char **argv)
{
	struct rlimit descriptors = { 512, 512 };
	unsigned int listed;

	close_from(3, ~0U, 0);
	setrlimit(RLIMIT_NOFILE, &descriptors);
	limit = descriptors.rlim_cur;
	proc_begin(argc, argv);
	listed = number_listed();
	CHECK_EQUAL(listed, 6, "names in /proc/self/fd");	/* . .. 0 1 2 and its own */
	none_is_seen();
	none_by_fstat();
	goes_on("looking for descriptors");
	close_all();
	close_at_exec();
	CHECK_EQUAL(IN_CHILD(every_number()), EXITED(0), "dup2 over any number");
	sent();
	few();
	CHECK_EQUAL(number_listed(), listed, "names in /proc/self/fd afterwards");
	return check_result();
}
