// SPDX-License-Identifier: MIT
/*
 * What a program finds when it is started: show [ARGUMENT...] prints it, and uses some memory. Others:
 *
 *	show ring			the ring that it runs in, and its effective user
 *	show fexecve|bare PROGRAM...	starts PROGRAM by a descriptor; without arguments and environment
 *	show wait			says a byte, and waits to be killed
 *	show spawn N PROGRAM...		starts PROGRAM so often, and fails if that costs address space
 */
#include <fcntl.h>
#include <link.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

extern char **environ;
extern const char _start[];

static __thread int thread_local = 42;

static void show_file(const char *path)
{
	char text[8192];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));

	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = '|';
	printf("%s %.*s\n", path, (int)n, text);
	close(fd);
}

static void show_auxv(void)
{
	unsigned long auxv[256];
	int fd = open("/proc/self/auxv", O_RDONLY);
	ssize_t n = read(fd, auxv, sizeof(auxv));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(auxv[0]); i += 2) {
		if (auxv[i] == AT_ENTRY)
			printf("the kernel knows the entry: %d\n", auxv[i + 1] == (unsigned long)_start);
		if (auxv[i] == AT_PHDR)
			printf("and the headers: %d\n", auxv[i + 1] == getauxval(AT_PHDR));
	}
	close(fd);
	printf("name %s, %lu headers, secure %lu, random %d, vdso %d\n", (char *)getauxval(AT_EXECFN),
	       getauxval(AT_PHNUM), getauxval(AT_SECURE), !!getauxval(AT_RANDOM), !!getauxval(AT_SYSINFO_EHDR));
}

/* Some programs find the auxiliary vector behind the environment. */
static void show_stack(void)
{
	unsigned long *p = (unsigned long *)environ;
	int known = 0;

	while (*p++)
		;
	for (; *p; p += 2)
		known += p[0] == AT_PAGESZ || (p[0] == AT_ENTRY && p[1] == (unsigned long)_start);
	printf("auxiliary vector behind the environment: %d\n", known);
}

static void show_memory(void)
{
	const size_t size = 1UL << 38;
	char *big = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t sum = 0;

	printf("256 GiB reserved: %d\n", big != MAP_FAILED);
	for (size_t at = 0; at < size; at += size / 8) {
		mprotect(big + at, 4096, PROT_READ | PROT_WRITE);
		big[at] = 1;
		sum += big[at];
	}
	for (int i = 0; i < 5000; i++)
		sum += *(char *)memset(malloc(100), 1, 100);
	printf("used: %zu, break: %d\n", sum, sbrk(4096) != (void *)-1);
	thread_local++;
	printf("thread-local: %d\n", thread_local);
}

static int show(int argc, char **argv)
{
	int fd = dup(0);

	for (int i = 0; i < argc; i++)
		printf("argument %d '%s'\n", i, argv[i]);
	for (char **e = environ; *e; e++)
		printf("environment '%s'\n", *e);
	printf("the next descriptor is %d\n", fd);
	show_file("/proc/self/cmdline");
	show_file("/proc/self/environ");
	show_file("/proc/self/comm");
	show_auxv();
	show_stack();
	show_memory();
	return 7;
}

static int show_ring(void)
{
	printf("%s user %d\n", world(), geteuid());
	return 0;
}

static long address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages = -1;

	if (!f || fscanf(f, "%ld", &pages) != 1)
		exit(1);
	fclose(f);
	return pages;
}

static int spawn(int count, char **argv)
{
	long before = 0, after;
	int status;
	pid_t pid;

	for (int i = -2; i < count; i++) {
		if (!i)
			before = address_space();
		if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) || waitpid(pid, &status, 0) != pid || status)
			return 1;
	}
	after = address_space();
	if (after > before)
		fprintf(stderr, "%d programs started: %ld pages more\n", count, after - before);
	return after > before;
}

int main(int argc, char **argv)
{
	static char *none[1];

	if (argc > 1 && !strcmp(argv[1], "ring"))
		return show_ring();
	if (argc > 1 && !strcmp(argv[1], "wait"))
		return write(1, "x", 1) != 1 || pause();
	if (argc > 2 && !strcmp(argv[1], "fexecve"))
		return fexecve(open(argv[2], O_RDONLY | O_CLOEXEC), argv + 2, environ), 99;
	if (argc > 2 && !strcmp(argv[1], "bare"))
		return execve(argv[2], none, none), 99;
	if (argc > 3 && !strcmp(argv[1], "spawn"))
		return spawn(atoi(argv[2]), argv + 3);
	return show(argc, argv);
}
