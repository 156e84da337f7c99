// SPDX-License-Identifier: MIT
/*
 * Files that are opened by links: of one's own, and of /proc, which lead where no path does.
 */
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

#define LOWEST	10	/* all below are open */

static bool is_same_file(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* It is opened, by the lowest number, and is what stat() finds; without a descriptor more afterwards. */
static void opens(const char *path, int flags)
{
	int fd = open(path, flags);

	CHECK(fd == LOWEST, "open %s: %d, %s", path, fd, fd < 0 ? strerror(errno) : "no error");
	if (fd < 0)
		return;
	CHECK(is_same_file(fd, path), "what %s opens", path);
	CHECK_EQUAL(fcntl(fd, F_GETFD), flags & O_CLOEXEC ? FD_CLOEXEC : 0, path);
	close(fd);
	fd = dup(0);
	CHECK_EQUAL(fd, LOWEST, "the next number");
	CHECK_EQUAL(dup(0), LOWEST + 1, "the second");
	close(LOWEST);
	close(LOWEST + 1);
}

static void namespaces(void)
{
	static const char *const names[] = { "net", "uts", "ipc", "mnt", "pid", "user", "cgroup", "pid_for_children" };
	char path[64];
	int fd;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		if (access(path, F_OK))
			continue;
		opens(path, O_RDONLY);
		opens(path, O_RDONLY | O_CLOEXEC);
		opens(path, O_PATH);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/uts", getpid());
	CHECK_EQUAL(symlink(path, "to-uts"), 0, "symlink");
	opens("to-uts", O_RDONLY);
	fd = open("to-uts", O_RDONLY);
	CHECK_EQUAL(setns(fd, CLONE_NEWUTS), 0, "setns");
	close(fd);
	snprintf(path, sizeof(path), "/proc/thread-self/ns/uts");
	opens(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/uts", getpid(), getpid());
	opens(path, O_RDONLY);
	CHECK_ERRNO(open("/proc/self/ns/uts", O_RDONLY | O_NOFOLLOW), ELOOP, "O_NOFOLLOW");
	CHECK_ERRNO(open("/proc/self/ns/uts", O_RDONLY | O_DIRECTORY), ENOTDIR, "O_DIRECTORY");
	unlink("to-uts");
}

/* The same names, but not in /proc. */
static void namesakes(void)
{
	int fd = open("file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	close(fd);
	CHECK_EQUAL(symlink("file", "exe"), 0, "symlink");
	opens("exe", O_RDONLY);
	CHECK_EQUAL(symlink("nothing", "net"), 0, "symlink");
	CHECK_ERRNO(open("net", O_RDONLY), ENOENT, "a link that leads nowhere");
	fd = open("net", O_RDWR | O_CREAT, 0600);
	CHECK_EQUAL(fd, LOWEST, "a link to a new file");
	close(fd);
	CHECK_EQUAL(access("nothing", F_OK), 0, "the new file");
	unlink("net");
	unlink("nothing");
	unlink("exe");
	unlink("file");
}

static void places(void)
{
	opens("/proc/self/exe", O_RDONLY);
	opens("/proc/self/cwd", O_RDONLY | O_DIRECTORY);
	opens("/proc/self/root", O_RDONLY);
	opens("/proc/self/cwd", O_PATH);
	opens("/proc/net", O_RDONLY);
	mkdir("gone", 0700);
	CHECK_EQUAL(chdir("gone"), 0, "chdir");
	rmdir("../gone");
	opens("/proc/self/cwd", O_RDONLY);
	CHECK_EQUAL(chdir("/root"), 0, "chdir");
}

/* A child that is a program without a path. */
static void without_path(const char *self)
{
	char *const argv[] = { (char *)self, getenv("EXPECT_RING3") ? "outside" : NULL, NULL };
	int from = open(self, O_RDONLY), to = memfd_create("program", 0);
	ssize_t n;
	int status;

	do {
		char room[4096];

		n = read(from, room, sizeof(room));
		CHECK(n < 0 || write(to, room, n) == n, "the copy");
	} while (n > 0);
	status = IN_CHILD(putenv("WITHOUT_PATH=1"); fexecve(to, argv, environ); _exit(99));
	CHECK_EQUAL(status, EXITED(0), "the program without a path");
	close(from);
	close(to);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	while (dup(0) < LOWEST - 1)
		;
	if (getenv("WITHOUT_PATH")) {
		closefrom(LOWEST);
		opens("/proc/self/exe", O_RDONLY);
		return check_failures != 0;
	}
	CHECK_EQUAL(chdir("/root"), 0, "chdir");
	namespaces();
	namesakes();
	places();
	without_path(argv[0]);
	return check_result();
}
