/* SPDX-License-Identifier: MIT */
/*
 * The memory map of the process, from /proc/self/maps; part of dune.h.
 */
#ifndef DUNE_PROCMAP_H
#define DUNE_PROCMAP_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PROCMAP_TYPE_UNKNOWN	0x00	/* the kernel gives it another name in brackets */
#define PROCMAP_TYPE_FILE	0x01
#define PROCMAP_TYPE_ANONYMOUS	0x02	/* no name, or one given by prctl() */
#define PROCMAP_TYPE_HEAP	0x03
#define PROCMAP_TYPE_STACK	0x04
#define PROCMAP_TYPE_VSYSCALL	0x05
#define PROCMAP_TYPE_VDSO	0x06
#define PROCMAP_TYPE_VVAR	0x07

struct dune_procmap_entry {
	uintptr_t begin;	/* bytes: the first, and the one after the last */
	uintptr_t end;
	uint64_t offset;	/* in the file, bytes */
	bool r;			/* readable */
	bool w;			/* writable */
	bool x;			/* executable */
	bool p;			/* private, not shared */
	/*
	 * As the kernel prints it: "" without a name; " (deleted)" at the end of a file that is gone.  A newline in it
	 * is \012, all other characters are themselves.
	 */
	char *path;
	int type;		/* PROCMAP_TYPE_* */
};

typedef void (*dune_procmap_cb)(const struct dune_procmap_entry *entry, void *arg);

/**
 * dune_procmap_iterate - call @cb, with @arg, for each mapping of the process, from low addresses to high ones
 *
 * The entry is good until @cb returns.  @cb may map and unmap; each mapping is seen as it was when the kernel
 * printed it, and no address twice.  In Dune mode and outside; needs /proc and 24 KiB of stack.
 *
 * Return: 0, or -errno: -EINVAL @cb is NULL, -EIO a line that makes no sense, or what open() and read() say.
 */
int dune_procmap_iterate(dune_procmap_cb cb, void *arg);

/** dune_procmap_dump - print the map to standard output, a line for each entry; 0 or -errno */
int dune_procmap_dump(void);

#ifdef __cplusplus
}
#endif

#endif /* DUNE_PROCMAP_H */
