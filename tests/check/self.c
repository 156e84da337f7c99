// SPDX-License-Identifier: MIT
/*
 * The link by which a program finds its own file shows that, by each of its names, also where the kernel lets nobody
 * say which program it is that libdune has loaded: root may, and others may not.
 *
 *	self			outside: as root and as another user, checked
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define USER	1000

static char own[256];

static bool is_own(const struct stat *status)
{
	struct stat file;

	return !stat(own, &file) && file.st_ino == status->st_ino && file.st_dev == status->st_dev;
}

/* Of the calling process. */
static void write_name(char name[64], int way)
{
	const int pid = getpid(), tid = syscall(SYS_gettid);

	switch (way) {
	case 0:
		strcpy(name, "/proc/self/exe");
		break;
	case 1:
		strcpy(name, "/proc/thread-self/exe");
		break;
	case 2:
		snprintf(name, 64, "/proc/%d/exe", pid);
		break;
	case 3:
		snprintf(name, 64, "/proc/self/task/%d/exe", tid);
		break;
	default:
		snprintf(name, 64, "/proc/%d/task/%d/exe", pid, tid);
	}
}

static void try_name(int way, const char *link)
{
	char *arguments[] = { "again", own, NULL };
	char target[512] = "", name[64];
	struct stat status;
	struct statx statx_status;
	int fd, child_status;
	pid_t child;

	write_name(name, way);
	CHECK_EQUAL(readlink(name, target, sizeof(target) - 1), (long)strlen(own), name);
	CHECK(!strcmp(target, own), "%s leads to %s", name, target);
	memset(target, 0, sizeof(target));
	CHECK_EQUAL(readlinkat(AT_FDCWD, name, target, 5), 5, name);
	CHECK(!strncmp(target, own, 5) && !target[5], "5 bytes of %s: %s", name, target);
	CHECK(!stat(name, &status) && is_own(&status), "stat() of %s", name);
	CHECK(!lstat(name, &status) && S_ISLNK(status.st_mode), "lstat() of %s", name);
	CHECK(!syscall(SYS_statx, AT_FDCWD, name, 0, STATX_INO, &statx_status) && !stat(own, &status) &&
	      statx_status.stx_ino == status.st_ino, "statx() of %s", name);
	CHECK_EQUAL(access(name, X_OK), 0, name);
	fd = open(name, O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &status) && is_own(&status), "open() of %s", name);
	close(fd);
	fd = open(name, O_PATH);
	CHECK(fd >= 0 && !fstat(fd, &status) && is_own(&status), "open() of %s, O_PATH", name);
	close(fd);
	unlink(link);
	CHECK_EQUAL(symlink(name, link), 0, "symlink");
	fd = open(link, O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &status) && is_own(&status), "open() by a link to %s", name);
	close(fd);
	unlink(link);
	child = fork();
	if (!child) {
		write_name(name, way);
		execv(name, arguments);
		_exit(1);
	}
	waitpid(child, &child_status, 0);
	CHECK_EQUAL(child_status, 42 << 8, name);
}

static int inside(void)
{
	char link[64];

	snprintf(link, sizeof(link), "/tmp/self-link-%d", getuid());
	for (int way = 0; way < 5; way++)
		try_name(way, link);
	CHECK(access("/proc/self/task/1/exe", F_OK), "a thread of another process");
	return check_result();
}

static int as_user(int user)
{
	int status;
	pid_t child = fork();

	if (!child) {
		if (user && (setresgid(user, user, user) || setresuid(user, user, user)))
			_exit(1);
		execlp("dune-run", "dune-run", "--check", own, "inside", own, NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	return status;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		snprintf(own, sizeof(own), "%s", argv[argc - 1]);
	if (argc > 1 && !strcmp(argv[0], "again"))
		return 42;
	if (argc > 2 && !strcmp(argv[1], "inside"))
		return inside();
	if (readlink("/proc/self/exe", own, sizeof(own) - 1) < 0 || chmod("/dev/dune", 0666) || chmod("/tmp", 01777))
		return 1;
	CHECK_EQUAL(as_user(0), 0, "as root");
	CHECK_EQUAL(as_user(USER), 0, "as another user");
	return check_result();
}
