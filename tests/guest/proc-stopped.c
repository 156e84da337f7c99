// SPDX-License-Identifier: MIT
/*
 * Children that somebody stops and continues from their first instruction on: none is hurt.
 */
#include <signal.h>

#include "proc.h"

#define CHILDREN	300

/* An ordinary process that stops whoever is the latest child of @parent. */
static void stop_children(pid_t parent)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	for (;;) {
		FILE *file = fopen(path, "r");
		int pid, at = 0, n;

		if (!file)
			_exit(0);
		text[fread(text, 1, sizeof(text) - 1, file)] = 0;
		fclose(file);
		for (; sscanf(text + at, "%d%n", &pid, &n) == 1; at += n) {
			if (pid == getpid())
				continue;
			kill(pid, SIGSTOP);
			kill(pid, SIGCONT);
		}
	}
}

int main(int argc, char **argv)
{
	pid_t parent = getpid(), other;

	other = fork();
	DIE_UNLESS(other >= 0, "fork");
	if (!other)
		stop_children(parent);
	proc_begin(argc, argv);
	for (int i = 0; i < CHILDREN; i++) {
		int status = IN_CHILD(CHECK_WORLD("a child that was stopped"));

		if (!CHECK(status == EXITED(0), "child %d: status %#x", i, status))
			break;
	}
	kill(other, SIGKILL);
	proc_wait(other);
	return check_result();
}
