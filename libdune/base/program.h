/* SPDX-License-Identifier: MIT */
/*
 * What execve() of a file would start.
 */
#ifndef LIBDUNE_PROGRAM_H
#define LIBDUNE_PROGRAM_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

enum program_kind {
	PROGRAM_OTHER,		/* the kernel would refuse it, or it may not be read: left to the kernel */
	PROGRAM_DYNAMIC,	/* its dynamic linker can load the preload object */
	PROGRAM_STATIC,		/* has none: for the loader */
	PROGRAM_PRIVILEGED,	/* gets rights that its caller has not: never in Dune mode */
	PROGRAM_32BIT,		/* its dynamic linker would complain about the preload object */
};

/* Of "#!" lines the kernel reads so much, and follows so many. */
#define SCRIPT_LINE	256
#define SCRIPT_DEPTH	5
/* An ELF file has at most so many program headers: 64 KiB. */
#define PROGRAM_HEADERS	1170

struct program {
	int kind;
	int error;		/* why it cannot be executed, or 0 */
	int fd;			/* what the loader is to load: the ELF file, close-on-exec; else -1 */
	/* The arguments that take the place of the first one, for a script: the last interpreter's come first. */
	unsigned int nr_args;
	const char *args[2 * SCRIPT_DEPTH + 1];
	char lines[SCRIPT_DEPTH][SCRIPT_LINE];
};

/*
 * Look at what execveat(@dirfd, @path, ..., @flags) would start.  @path may be any pointer of the
 * program's: it is only passed to the kernel, and may be in p->args.  @kinds: bits by enum program_kind, of which
 * the loader is to load what it is.  @opened: called for each file of the chain; what it returns but 0 is why that is
 * not to be executed.
 */
typedef long (*program_opened_fn)(void *arg, int fd);
void __dune_program(struct program *p, int dirfd, const char *path, int flags, unsigned int kinds,
		    program_opened_fn opened, void *arg);

#define LOADS_STATIC	(1U << PROGRAM_STATIC)
/* Nothing of a program is to run outside, its dynamic linker neither, and no right is to be had by a file. */
#define LOADS_ALL	(1U << PROGRAM_STATIC | 1U << PROGRAM_DYNAMIC | 1U << PROGRAM_PRIVILEGED)

/*
 * The first arguments of the loader: its own name, the number of the program's descriptor, the program's name. Behind
 * the number LOADER_CHECK has the program checked, and all that it starts; the number behind that is the first of the
 * descriptors that the loader keeps, and behind LOADER_FILTERS stands how many seccomp filters follow the program's
 * name (host/calls/filters.c).
 */
#define LOADER_ARGS	3
#define LOADER_CHECK	'c'
#define LOADER_FILTERS	'f'

/*
 * They lie side by side, behind libdune's own: the image of the loader, which nobody can change (launch/sealed.c); and
 * of one with callbacks the memory that all share, where output goes, and the data, or the memory again where there
 * are none (host/callbacks.h); and two slots, in which something always is (host/calls/paths.c).
 */
enum { LOADER_FD_IMAGE, LOADER_FD_MEMORY, LOADER_FD_OUTPUT, LOADER_FD_DATA, LOADER_FD_SLOTS, LOADER_FDS = 6 };

/*
 * So many numbers are libdune's above the limit of a checked program: its own descriptor, these, and others for files
 * that execve() looks at (fd.c).  It is put no higher than FD_HIGHEST: the kernel has a table of all numbers up to the
 * highest, which a fork goes through and copies, at some 8 instructions for each.
 */
#define CHECKED_FDS	10
#define FD_HIGHEST	1024

/* @number, or @folder and @fd, somewhere in the NUMBER_SIZE bytes at @to. */
#define NUMBER_SIZE	32
char *__dune_decimal(char *to, unsigned int number);
char *__dune_name_descriptor(char *to, const char *folder, unsigned int fd);
/* What /proc says that @fd is open on, with a NUL, at most @size bytes.  Its length, or -errno and "". */
long __dune_descriptor_path(int fd, char *to, size_t size);

#pragma GCC visibility pop

#endif /* LIBDUNE_PROGRAM_H */
