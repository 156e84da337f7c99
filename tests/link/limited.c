// SPDX-License-Identifier: MIT
/*
 * What reaches the limits of a sandbox, and says where: for tests/sandbox/run.
 *
 *	limited spin | memory | processes | threads | descriptors | file NAME | open | hold NAME
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST	4000	/* of anything: no limit is reached */
#define MIB	(1 << 20)

/* What was had, and why no more was. */
static int say(int n, int error)
{
	printf("%d %s\n", n, n == MOST ? "no limit" : strerrorname_np(error));
	return 0;
}

static int spin(void)
{
	static volatile int over;

	while (!over)
		;
	return 0;
}

static int memory(void)
{
	int n;

	for (n = 0; n < MOST; n++) {
		char *at = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED)
			break;
		*at = 1;
	}
	return say(n, errno);
}

static int processes(void)
{
	static pid_t children[MOST];
	int n, error;

	for (n = 0; n < MOST; n++) {
		children[n] = fork();
		if (children[n] < 0)
			break;
		if (!children[n]) {
			pause();
			_exit(0);
		}
	}
	error = errno;
	for (int i = 0; i < n; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	/* Those that are gone do not count. */
	if (n && n < MOST) {
		const pid_t again = fork();

		if (!again)
			_exit(0);
		if (again < 0 || waitpid(again, NULL, 0) != again)
			return 1;
	}
	return say(n, error);
}

static void *wait_for_ever(void *none)
{
	pause();
	return none;
}

static int threads(void)
{
	pthread_t thread;
	int n, error = 0;

	for (n = 0; n < MOST && !error; n += !error)
		error = pthread_create(&thread, NULL, wait_for_ever, NULL);
	return say(n, error);
}

static int descriptors(void)
{
	int n;

	for (n = 0; n < MOST; n++)
		if (dup(0) < 0)
			break;
	return say(n, errno);
}

static int file(const char *name)
{
	static char block[65536];
	const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	long size = 0;
	ssize_t n;

	signal(SIGXFSZ, SIG_IGN);
	while ((n = write(fd, block, sizeof(block))) > 0 && size < (long)MOST * 1000)
		size += n;
	printf("%ld %s\n", size, n > 0 ? "no limit" : strerrorname_np(errno));
	return fd < 0;
}

static int open_descriptors(void)
{
	for (int fd = 0; fd < MOST; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d ", fd);
	puts("");
	return 0;
}

/* Children, grandchildren and threads in sessions of their own, all with one lock; then go on for ever. */
static int hold(const char *name)
{
	const int fd = open(name, O_RDWR);
	pthread_t thread;

	if (fd < 0 || flock(fd, LOCK_SH))
		return 1;
	for (int i = 0; i < 3; i++) {
		const pid_t child = fork();

		if (child)
			continue;
		setsid();
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		if (pthread_create(&thread, NULL, wait_for_ever, NULL))
			_exit(1);
		if (fork() && i != 1)
			_exit(0);
		if (i == 2)
			spin();
		for (;;)
			pause();
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*function)(void);
	} ways[] = {
		{ "spin", spin }, { "memory", memory }, { "processes", processes }, { "threads", threads },
		{ "descriptors", descriptors }, { "open", open_descriptors },
	};

	if (argc == 3 && !strcmp(argv[1], "file"))
		return file(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "hold"))
		return hold(argv[2]);
	for (unsigned int i = 0; argc == 2 && i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(argv[1], ways[i].name))
			return ways[i].function();
	return 2;
}
