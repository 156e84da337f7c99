// SPDX-License-Identifier: MIT
/*
 * Looks at libdune's memory in a checked program, from outside: nothing that calls.c does may change what is constant.
 *
 *	watch OBJECT [damage] PROGRAM ARG...	OBJECT: dune-preload.so; damage: be what it looks for
 *
 * The program writes a request to descriptor 700, and waits for a byte from 701. What a first look finds, all later
 * ones have to find too, in the process's children as well. All that differs is printed. Exit status: 1 if there is
 * anything, 2 if nothing was looked at, else that of the program.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TO_WATCHER	700
#define FROM_WATCHER	701

/* libdune/threads/layout.h */
#define REGION_IDT	0x3fe00UL
#define IDT_SIZE	4096UL
#define REGION_ROOT	0x41000UL
#define ROOT_SIZE	2048UL		/* of user space */
#define REGION_IMAGE	0x14a000UL

#define ACCESSED	0x20		/* in an entry of a page table: the CPU sets it */

/* Variables of libdune's that change while a program runs, and may; one is filled when it is first needed. */
static const char *const variables[] = {
	"__dune_memory_mutex", "__dune_sighand", "first_mutex", "__dune_page_credit", "vsyscall_seen", "states",
	"watched", "exit_stack",
};

/* What is constant, by pieces. */
static struct piece {
	unsigned long start, size;
	bool entries;			/* of a page table */
} pieces[64] = { { REGION_IDT, IDT_SIZE, false }, { REGION_ROOT, ROOT_SIZE, true } };

static unsigned int nr_pieces = 2;
static unsigned char *first[64];
static unsigned long looks, changes;

static void fail(const char *what)
{
	perror(what);
	exit(3);
}

static void add_piece(unsigned long start, unsigned long end)
{
	if (start < end && nr_pieces < sizeof(pieces) / sizeof(pieces[0]))
		pieces[nr_pieces++] = (struct piece){ REGION_IMAGE + start, end - start, false };
}

/* ---- the image: all but these variables ---- */

static int by_value(const void *a, const void *b)
{
	const Elf64_Sym *x = a, *y = b;

	return x->st_value < y->st_value ? -1 : x->st_value > y->st_value;
}

static bool is_variable(const char *name)
{
	for (unsigned int i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (!strcmp(name, variables[i]))
			return true;
	return false;
}

static void read_object(const char *path)
{
	int fd = open(path, O_RDONLY);
	unsigned long start = 0, end = 0;
	const Elf64_Ehdr *header;
	const Elf64_Shdr *sections;
	Elf64_Sym *symbols = NULL;
	const char *names = NULL;
	size_t n = 0;
	struct stat st;
	char *file;

	if (fd < 0 || fstat(fd, &st))
		fail(path);
	file = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		fail(path);
	header = (void *)file;
	sections = (void *)(file + header->e_shoff);
	for (unsigned int i = 0; i < header->e_shnum; i++)
		if (sections[i].sh_type == SHT_SYMTAB) {
			symbols = (void *)(file + sections[i].sh_offset);
			n = sections[i].sh_size / sizeof(*symbols);
			names = file + sections[sections[i].sh_link].sh_offset;
		}
	if (!n) {
		fprintf(stderr, "watch: %s has no symbols\n", path);
		exit(3);
	}
	qsort(symbols, n, sizeof(*symbols), by_value);
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(names + symbols[i].st_name, "_end"))
			end = symbols[i].st_value;
		if (ELF64_ST_TYPE(symbols[i].st_info) != STT_OBJECT || !is_variable(names + symbols[i].st_name))
			continue;
		add_piece(start, symbols[i].st_value);
		start = symbols[i].st_value + symbols[i].st_size;
	}
	add_piece(start, end);
	close(fd);
}

/* ---- a look ---- */

static void compare(const struct piece *piece, const unsigned char *was, const unsigned char *is, long pid)
{
	for (unsigned long i = 0; i < piece->size; i++) {
		unsigned char mask = piece->entries && i % 8 == 0 ? (unsigned char)~ACCESSED : 0xff;

		if (!((was[i] ^ is[i]) & mask))
			continue;
		changes++;
		if (changes <= 20)
			printf("libdune's memory: %#lx (image %#lx) of process %ld was %02x, is %02x\n",
			       piece->start + i, piece->start + i - REGION_IMAGE, pid, was[i], is[i]);
	}
}

static void look(long pid, unsigned long granule, bool damage)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/mem", pid);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fail(path);
	/* The reserved word of a gate that nothing goes through. */
	if (damage && looks && pwrite(fd, "damage", 4, granule + REGION_IDT + IDT_SIZE - 4) != 4)
		fail("damage");
	for (unsigned int i = 0; i < nr_pieces; i++) {
		unsigned char *is = malloc(pieces[i].size);

		if (!is)
			fail("malloc");
		if (pread(fd, is, pieces[i].size, granule + pieces[i].start) != (ssize_t)pieces[i].size) {
			printf("libdune's memory: %#lx cannot be read\n", pieces[i].start);
			changes++;
		}
		if (!first[i]) {
			first[i] = is;
			continue;
		}
		compare(&pieces[i], first[i], is, pid);
		free(is);
	}
	looks++;
	close(fd);
}

int main(int argc, char **argv)
{
	bool damage = argc > 2 && !strcmp(argv[2], "damage");
	struct { long pid; unsigned long granule; } request;
	int requests[2], answers[2], status;
	pid_t pid;

	if (argc < 3 + damage) {
		fprintf(stderr, "usage: watch OBJECT [damage] PROGRAM ARG...\n");
		return 3;
	}
	read_object(argv[1]);
	if (pipe(requests) || pipe(answers))
		fail("pipe");
	pid = fork();
	if (!pid) {
		if (dup2(requests[1], TO_WATCHER) < 0 || dup2(answers[0], FROM_WATCHER) < 0)
			fail("dup2");
		for (int i = 0; i < 2; i++) {
			close(requests[i]);
			close(answers[i]);
		}
		execvp(argv[2 + damage], argv + 2 + damage);
		fail(argv[2 + damage]);
	}
	close(requests[1]);
	close(answers[0]);
	while (read(requests[0], &request, sizeof(request)) == sizeof(request)) {
		look(request.pid, request.granule, damage);
		fflush(stdout);
		if (write(answers[1], "", 1) != 1)
			break;
	}
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	fprintf(stderr, "watch: %lu looks, %lu changes\n", looks, changes);
	if (changes)
		return 1;
	if (!looks)
		return 2;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}
