// SPDX-License-Identifier: MIT
/*
 * Fork, exec and wait, again and again, for dune-run: each program that is started is in Dune mode, and its status
 * is what it said.  Afterwards as much memory is in use as before.
 *
 *	respawn COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kept-pages.h"
#include "world.h"

#define WARM_UP		20
#define NOISE		1500	/* KiB; one page of each of 1,000 processes would be more */
#define REPORT		1000

static int spawn(char *program, unsigned int number)
{
	char code[8];
	char *words[] = { program, "child", code, NULL };
	int status = -1;
	pid_t pid;

	snprintf(code, sizeof(code), "%u", number);
	pid = fork();
	if (!pid) {
		execv("/proc/self/exe", words);
		_exit(126);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* KiB in use that nothing would give back. */
static long memory_in_use(void)
{
	static const char * const free_keys[] = { "MemFree", "Cached", "Buffers", "SReclaimable" };
	long value, total = 0, free = 0;
	char key[64];
	FILE *file;

	sync();
	usleep(300000);
	file = fopen("/proc/sys/vm/drop_caches", "we");
	if (file) {
		fputs("3", file);
		fclose(file);
	}
	usleep(300000);
	file = fopen("/proc/meminfo", "re");
	if (!file)
		return 0;
	while (fscanf(file, "%63[^:]: %ld%*[^\n] ", key, &value) == 2) {
		if (!strcmp(key, "MemTotal"))
			total = value;
		for (unsigned int i = 0; i < sizeof(free_keys) / sizeof(free_keys[0]); i++)
			if (!strcmp(key, free_keys[i]))
				free += value;
	}
	fclose(file);
	return total - free - kept_by_cpus();
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 1 ? atoi(argv[1]) : 0;
	long before = 0, after;

	if (!strcmp(world(), "no guest")) {
		puts("not in Dune mode");
		return 1;
	}
	if (argc > 2)
		return atoi(argv[2]);
	if (!count)
		return 2;
	for (unsigned int i = 0; i < WARM_UP + count; i++) {
		int status;

		if (i == WARM_UP)
			before = memory_in_use();
		status = spawn(argv[0], i & 0x7f);
		if (status != (int)(i & 0x7f) << 8) {
			printf("program %u: status %#x\n", i, status);
			return 1;
		}
		if (i > WARM_UP && !(i % REPORT)) {
			printf("%u programs\n", i);
			fflush(stdout);
		}
	}
	/* What waits to be freed is gone at some time, a leak never. */
	for (int i = 0; i < 10; i++) {
		after = memory_in_use();
		if (after <= before + NOISE)
			break;
	}
	printf("%u programs: %ld KiB in use before, %ld after\n", count, before, after);
	return after > before + NOISE;
}
