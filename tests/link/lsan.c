// SPDX-License-Identifier: MIT
/*
 * Built with LeakSanitizer: lsan [leak]. Threads have the only pointers to what they hold, in a register or on the
 * stack, in a system call or not; with "leak" one has lost its pointer, but for what is left in a dead frame.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LEAK	4242

static int ends[2];
static atomic_uint ready;

/* R12 has the only pointer, in read(). */
static void *in_call(void *arg)
{
	void *held = malloc(100);
	long ret = SYS_read;
	char byte;

	__asm__ volatile("mov %1, %%r12\n\txor %k1, %k1\n\tlock incl %2\n\tsyscall\n\tmov %%r12, %1"
			 : "+a"(ret), "+r"(held), "+m"(ready) : "D"(ends[0]), "S"(&byte), "d"(1L)
			 : "r12", "rcx", "r11", "memory");
	free(held);
	return arg;
}

/* R13 has it, and no call is made. */
static void *in_loop(void *arg)
{
	void *held = malloc(200);

	__asm__ volatile("mov %0, %%r13\n\txor %k0, %k0\n\tlock incl %1\n1:\tpause\n\ttest %%r13, %%r13\n\tjnz 1b"
			 : "+r"(held), "+m"(ready) : : "r13", "memory");
	return arg;
}

static void *on_stack(void *arg)
{
	void *volatile held = malloc(300);
	char byte;

	ready++;
	while (read(ends[0], &byte, 1) >= 0 && held)
		;
	return arg;
}

__attribute__((noinline)) static void lose(void)
{
	void *volatile pointers[512];

	pointers[0] = malloc(LEAK);
	memset(pointers[0], 1, LEAK);
	for (int i = 1; i < 256; i++)
		pointers[i] = pointers[0];
}

static void *loses(void *arg)
{
	char byte;

	lose();
	ready++;
	return read(ends[0], &byte, 1) < 0 ? arg : NULL;
}

int main(int argc, char **argv)
{
	void *(*const threads[])(void *) = { in_call, in_loop, on_stack, loses };
	unsigned int nr = argc > 1 && !strcmp(argv[1], "leak") ? 4 : 3;
	pthread_t thread;

	if (pipe(ends))
		return 2;
	for (unsigned int i = 0; i < nr; i++)
		if (pthread_create(&thread, NULL, threads[i], NULL))
			return 2;
	while (ready < nr)
		usleep(1000);
	usleep(100000);		/* they are in their calls, or nearly so */
	return 0;
}
