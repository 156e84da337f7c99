// SPDX-License-Identifier: MIT
/*
 * A program in Dune mode that ends by a call of its own, or waits in one: aborting abort|assert|thread|wait.
 * Its functions are found in the core file (tests/process/cores).
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dune.h>

static int pipes[2];
static const char *how;

__attribute__((noinline)) static void waits_for_byte(void)
{
	char byte;

	if (read(pipes[0], &byte, 1) != 1)
		puts("nothing");
}

static void *reader(void *arg)
{
	waits_for_byte();
	return arg;
}

__attribute__((noinline)) static void inner(int number)
{
	pthread_t thread;

	if (!strcmp(how, "thread")) {
		pthread_create(&thread, NULL, reader, NULL);
		usleep(100000);		/* it would be seen in another place */
	}
	if (!strcmp(how, "wait"))
		waits_for_byte();
	assert(strcmp(how, "assert") || number != 3);
	abort();
}

__attribute__((noinline)) static void outer(int number)
{
	inner(number + 1);
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	int error = dune_init_and_enter();

	if (error || argc != 2 || pipe(pipes)) {
		printf("cannot begin: %d\n", error);
		return 1;
	}
	how = argv[1];
	puts("ready");
	fflush(stdout);
	outer(2);
	return 0;
}
