// SPDX-License-Identifier: MIT
/*
 * Under dune-run: puts UD2 where libdune takes system calls of a program in ring 3, as /proc/self/mem lets it, and
 * makes one.  What comes of that is libdune's own fault, not the program's: its handler must not be called.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The stub's first instructions: test $TF, %r11d; jnz (libdune/guest/entry.S). */
static const unsigned char stub[] = { 0x41, 0xf7, 0xc3, 0x00, 0x01, 0x00, 0x00, 0x75 };

static void on_signal(int signo)
{
	(void)signo;
	_exit(3);
}

/* Of each stub in [start, end).  Returns how many there are. */
static int spoil(int memory, unsigned long start, unsigned long end)
{
	static const char ud2[] = { 0x0f, 0x0b };
	unsigned char *copy = malloc(end - start);
	ssize_t size = copy ? pread(memory, copy, end - start, start) : 0;
	int found = 0;

	for (ssize_t i = 0; i + (ssize_t)sizeof(stub) <= size; i++)
		if (!memcmp(copy + i, stub, sizeof(stub)))
			found += pwrite(memory, ud2, sizeof(ud2), start + i) == sizeof(ud2);
	free(copy);
	return found;
}

int main(void)
{
	/* Under its own name it leaves libdune out. */
	static const char name[] = "/tmp/own-fault";
	FILE *maps = symlink("/proc/self/maps", name) ? NULL : fopen(name, "re");
	int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	unsigned long start, end, at[64], to[64];
	unsigned int n = 0;
	char line[512], rights[8];

	signal(SIGILL, on_signal);
	signal(SIGSEGV, on_signal);
	/* Code without a file, the copy of libdune; the last stub is spoilt by the last call that works. */
	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3 && !strcmp(rights, "r-xp") &&
		    !strchr(line, '/') && !strchr(line, '[') && n < 64) {
			at[n] = start;
			to[n++] = end;
		}
	for (unsigned int i = 0; i < n; i++)
		if (spoil(memory, at[i], to[i]))
			getppid();
	puts("libdune's stub is not there, or works still");
	return 4;
}
