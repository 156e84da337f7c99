// SPDX-License-Identifier: MIT
/*
 * A program that enters Dune mode itself, and starts another: own PROGRAM [ARGUMENT...].  With the argument "before" it
 * starts that before it enters too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dune.h>

__attribute__((noinline)) static int start(char **argv)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execv(argv[0], argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status;
}

int main(int argc, char **argv)
{
	int error;

	if (argc > 2 && !strcmp(argv[2], "before"))
		start(argv + 1);
	error = dune_init_and_enter();
	printf("entered: %d, in Dune mode: %d, debugged: %d\n", error, dune_in_dune_mode(), !!getenv("DUNE_DEBUG"));
	fflush(stdout);
	return argc < 2 || error ? 1 : start(argv + 1) != 0;
}
