// SPDX-License-Identifier: MIT
/*
 * Children by posix_spawn(), one after the other, each with its own arguments and environment: nothing of the last
 * one's is left, also where this one has fewer.
 */
#include <spawn.h>

#include "proc.h"

#define MOST	60

static void spawn(char *self, const char *what, int nr_args, int nr_variables)
{
	char *argv[MOST] = { self, "outside", (char *)what }, *envp[MOST] = { NULL };
	pid_t pid;

	for (int i = 0; i < nr_args; i++)
		argv[3 + i] = "argument";
	for (int i = 0; i < nr_variables; i++)
		envp[i] = "NAME=value";
	CHECK_EQUAL(posix_spawn(&pid, self, NULL, NULL, argv, envp), 0, "posix_spawn");
	CHECK_EQUAL(proc_wait(pid), EXITED(*what == 'a' ? nr_args : nr_variables), what);
}

static int count(char **strings)
{
	int n = 0;

	while (strings[n])
		n++;
	return n;
}

int main(int argc, char **argv)
{
	static const int numbers[] = { 50, 3, 20, 0, 40, 1 };

	if (argc > 2)
		return *argv[2] == 'a' ? count(argv + 3) : count(environ);
	proc_begin(argc, argv);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		spawn(argv[0], "arguments", numbers[i], 2);
		spawn(argv[0], "environment", 2, numbers[i]);
	}
	return check_result();
}
