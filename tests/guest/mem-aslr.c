// SPDX-License-Identifier: MIT
/*
 * Wherever the kernel puts the program, its stack, its break and its mappings, it runs:
 * this program, position-independent, again and again. Every layout but one personality's is another.
 */
#include "mem.h"

#include <sys/personality.h>

#define TIMES	12

static uint64_t data[1024] = { 1 };

static int one_run(void)
{
	struct ordinary *outside = ordinary_thread();
	uint64_t stack = 3;
	char *p, *brk_start;

	enter();
	p = map_anon(GIB / 4);
	brk_start = sbrk(PAGE);
	CHECK(brk_start != (void *)-1);
	put(HERE, &data[1023], 2);
	BOTH_SEE(outside, &data[1023], 2);
	BOTH_SEE(outside, &data[0], 1);
	BOTH_SEE(outside, &stack, 3);
	put(HERE, p + GIB / 4 - 8, 4);
	BOTH_SEE(outside, p + GIB / 4 - 8, 4);
	put(HERE, brk_start, 5);
	BOTH_SEE(outside, brk_start, 5);
	printf("%lx %lx %lx %lx\n", (unsigned long)one_run >> 12, (unsigned long)&stack >> 12,
	       (unsigned long)p >> 12, (unsigned long)brk_start >> 12);
	fflush(stdout);
	return 0;
}

/* What the run says of its addresses, into @line. */
static void run(bool random, char *line, size_t size)
{
	int ends[2];
	ssize_t n;
	pid_t pid;

	CHECK(!pipe2(ends, O_CLOEXEC));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		dup2(ends[1], 1);
		if (!random)
			personality(ADDR_NO_RANDOMIZE);
		execl("/proc/self/exe", "mem-aslr", "one", NULL);
		_exit(127);
	}
	close(ends[1]);
	n = read(ends[0], line, size - 1);
	CHECK(n > 0);
	line[n] = '\0';
	close(ends[0]);
	expect_exit(pid);
}

int main(int argc, char **argv)
{
	char lines[TIMES][200], fixed[2][200];

	(void)argv;
	if (argc > 1)
		return one_run();
	for (unsigned int i = 0; i < TIMES; i++)
		run(true, lines[i], sizeof(lines[i]));
	if (read_number("/proc/sys/kernel/randomize_va_space") > 0)
		for (unsigned int i = 1; i < TIMES; i++)
			CHECK(strcmp(lines[i], lines[0]));
	for (unsigned int i = 0; i < 2; i++)
		run(false, fixed[i], sizeof(fixed[i]));
	CHECK(!strcmp(fixed[0], fixed[1]));
	return 0;
}
