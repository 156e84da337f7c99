// SPDX-License-Identifier: MIT
/*
 * Many processes execute programs in the same moment: storm PROGRAM... starts 20 children for each, which wait
 * for each other and then execute it; it says how they ended.  And who may write to a program that runs:
 *
 *	storm busy PROGRAM	executes PROGRAM while this process has it open for writing; and the next
 *	storm opens PROGRAM	opens PROGRAM for writing while it runs
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EACH	20

static int begin[2];

static void child(char *program)
{
	char c, *argv[] = { program, "ring", NULL };

	close(begin[1]);
	if (read(begin[0], &c, 1))
		_exit(90);
	execv(program, argv);
	_exit(91);
}

static int storm(char **programs)
{
	int count = 0, status, good = 0;

	if (pipe2(begin, O_CLOEXEC))
		return 1;
	for (; *programs; programs++)
		for (int i = 0; i < EACH; i++, count++)
			if (!fork())
				child(*programs);
	close(begin[1]);
	while (wait(&status) > 0)
		good += !status;
	printf("%d of %d ended well\n", good, count);
	return good != count;
}

static int execute_busy(char *program)
{
	char *argv[] = { program, "wait", NULL };
	int fd = open(program, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return 1;
	execv(program, argv);
	printf("executed while it is written to: %s\n", strerrorname_np(errno));
	close(fd);
	return 0;
}

static int open_busy(char *program)
{
	char *argv[] = { program, "wait", NULL }, c;
	int fd, ready[2], status;
	pid_t pid;

	fflush(stdout);
	if (pipe(ready))
		return 1;
	pid = fork();
	if (!pid) {
		dup2(ready[1], 1);
		execv(program, argv);
		_exit(91);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		return 1;
	fd = open(program, O_WRONLY);
	printf("opened while it runs: %s\n", fd < 0 ? strerrorname_np(errno) : "yes");
	close(ready[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "busy"))
		return execute_busy(argv[2]) || open_busy(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "opens"))
		return open_busy(argv[2]);
	return argc < 2 ? 2 : storm(argv + 1);
}
