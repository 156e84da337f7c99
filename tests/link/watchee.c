// SPDX-License-Identifier: MIT
/*
 * What the program does that tests/link/watch.c watches: `watchee MODE`.  It exits with 0 if all was as it should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(claim) \
	do { \
		if (!(claim)) { \
			fprintf(stderr, "watchee: line %d: %s (errno %d)\n", __LINE__, #claim, errno); \
			exit(1); \
		} \
	} while (0)

extern char **environ;

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd));
}

static void refuse(void)
{
	char got[8] = "";
	int fd;

	write_file("/tmp/open", "open");
	CHECK(open("/tmp/secret", O_CREAT | O_RDWR, 0600) == -1 && errno == EOWNERDEAD);
	CHECK(access("/tmp/secret", F_OK) && errno == ENOENT);
	fd = open("/tmp/open", O_RDONLY);
	CHECK(fd >= 0 && read(fd, got, sizeof(got)) == 4 && !memcmp(got, "open", 4));
	CHECK(syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_openat, AT_FDCWD, -4096L, O_RDONLY) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_openat, AT_FDCWD, 8L, O_RDONLY) == -1 && errno == EFAULT);
}

static void answer(void)
{
	char where[64] = "";

	CHECK(getenv("WATCHED") && !strcmp(getenv("WATCHED"), "yes") && !environ[1]);
	CHECK(syscall(SYS_getppid) == 4242);
	CHECK(syscall(SYS_getuid) == -1 && errno == EXDEV);
	CHECK(syscall(SYS_getcwd, where, sizeof(where)) == 6 && !strcmp(where, "/made"));
	CHECK(getpid() > 0);
}

static void rewrite(void)
{
	char got[8] = "";
	int fd;

	write_file("/tmp/to", "to");
	write_file("/tmp/from", "from");
	fd = open("/tmp/from", O_RDONLY);
	CHECK(fd >= 0 && read(fd, got, sizeof(got)) == 2 && !memcmp(got, "to", 2));
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	/* The number of bytes is cut to 1. */
	CHECK(syscall(SYS_pread64, fd, got, 2, 0) == 1);
}

static void *thread_main(void *arg)
{
	CHECK(*(int *)arg == syscall(SYS_getppid));
	return NULL;
}

static void threads(void)
{
	int parent = syscall(SYS_getppid);
	pthread_t thread[4];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_create(&thread[i], NULL, thread_main, &parent));
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_join(thread[i], NULL));
	}
}

static void processes(const char *self)
{
	char *const args[] = { (char *)self, "nothing", NULL };
	volatile int *volatile nowhere = (int *)8;
	int status;
	pid_t child = fork();

	if (!child)
		_exit(3);
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
	CHECK(!posix_spawn(&child, self, NULL, NULL, args, environ));
	CHECK(waitpid(child, &status, 0) == child && !status);
	child = fork();
	if (!child)
		*nowhere = 0;
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void nothing_happens(int signo)
{
	(void)signo;
}

/* Signals while it waits: until there was one, or @flags has its call made again until there is something. */
static void interrupted(int flags)
{
	struct sigaction action = { .sa_handler = nothing_happens, .sa_flags = flags };
	pid_t child, parent = getpid();
	int ends[2];
	char c;

	CHECK(!sigaction(SIGUSR1, &action, NULL) && !pipe(ends));
	child = fork();
	if (!child) {
		for (int i = 0; i < 40 || !(flags & SA_RESTART); i++) {
			kill(parent, SIGUSR1);
			usleep(5000);
		}
		CHECK(write(ends[1], "x", 1) == 1);
		_exit(0);
	}
	if (flags & SA_RESTART)
		CHECK(syscall(SYS_read, ends[0], &c, 1) == 1);
	else
		CHECK(syscall(SYS_read, ends[0], &c, 1) == -1 && errno == EINTR);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) != child)
		CHECK(errno == EINTR);
}

static void signals(void)
{
	interrupted(SA_RESTART);
	interrupted(0);
}

/* ---- races ---- */

static char path[32];
static volatile bool done;

static void set_path(const char *name)
{
	memcpy(path, name, 10);
	for (int i = 0; i < 50; i++)
		__asm__ volatile("" : : : "memory");
}

static void *change_path(void *arg)
{
	while (!done) {
		set_path("/tmp/good");
		set_path("/tmp/evil");
	}
	return arg;
}

static void race(unsigned long rounds)
{
	unsigned long opened = 0;
	pthread_t other;

	write_file("/tmp/good", "good");
	write_file("/tmp/evil", "evil");
	CHECK(!pthread_create(&other, NULL, change_path, NULL));
	for (unsigned long i = 0; i < rounds; i++) {
		int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
		char got[5] = "";

		if (fd < 0)
			continue;
		opened++;
		CHECK(read(fd, got, 4) == 4 && !strcmp(got, "good") && !close(fd));
	}
	done = true;
	CHECK(!pthread_join(other, NULL));
	CHECK(opened);
}

/* ---- descriptors of the callbacks ---- */

static void descriptors(void)
{
	char name[64];
	struct stat st;

	for (int fd = 3; fd < 1200; fd++) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		CHECK(dup(fd) == -1 && errno == EBADF);
		CHECK(dup2(0, fd) == -1 ? errno == EBADF : !close(fd));
		CHECK(fstat(fd, &st) == -1 && errno == EBADF);
		CHECK(write(fd, "x", 1) == -1 && errno == EBADF);
		CHECK(open(name, O_RDWR) == -1 && open(name, O_PATH) == -1);
	}
	CHECK(!close_range(3, ~0U, 0));
	CHECK(syscall(SYS_getppid) == 4242);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (!strcmp(mode, "nothing"))
		return 0;
	else if (!strcmp(mode, "refuse"))
		refuse();
	else if (!strcmp(mode, "answer"))
		answer();
	else if (!strcmp(mode, "rewrite"))
		rewrite();
	else if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "processes"))
		processes(argv[0]);
	else if (!strcmp(mode, "signals"))
		signals();
	else if (!strcmp(mode, "race"))
		race(argc > 2 ? strtoul(argv[2], NULL, 0) : 10000);
	else if (!strcmp(mode, "descriptors"))
		descriptors();
	else if (!strcmp(mode, "crash") || !strcmp(mode, "library"))
		syscall(SYS_getppid);
	else
		return 2;
	return 0;
}
