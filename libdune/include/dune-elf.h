/* SPDX-License-Identifier: MIT */
/*
 * ELF files: looking at them and loading their segments; part of dune.h.
 *
 * Made with libelf, and thus ordinary code that uses the C library: link with -lelf.  Not in libdune.so: link with
 * libdune.a, or with libdune-elf.a besides.  Files are 64-bit ones for x86-64.  One struct dune_elf is for one
 * thread at a time.
 */
#ifndef DUNE_ELF_H
#define DUNE_ELF_H

#include <elf.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dune_elf {
	int fd;			/* -1: in memory */
	unsigned char *mem;	/* NULL: a file */
	int len;		/* bytes in mem */
	Elf64_Ehdr hdr;
	Elf64_Phdr *phdr;	/* hdr.e_phnum; NULL: none.  These three are good until dune_elf_close() */
	Elf64_Shdr *shdr;	/* hdr.e_shnum (0: e_shnum is too small a number, see shdr[0].sh_size); NULL: none */
	char *shdrstr;		/* the names of sections, or NULL */
	void *priv;		/* the program's */
	void *handle;		/* libdune's own */
};

/* A result other than 0 ends the iteration. */
typedef int (*dune_elf_phcb)(struct dune_elf *elf, Elf64_Phdr *phdr, void *arg);
typedef int (*dune_elf_shcb)(struct dune_elf *elf, const char *sname, int snum, Elf64_Shdr *shdr, void *arg);

/**
 * dune_elf_open - look at the file @path
 *
 * Return: 0; -ENOEXEC: no ELF file for x86-64, or a damaged one; -EINVAL: NULL; or what open() says.
 */
int dune_elf_open(struct dune_elf *elf, const char *path);

/** dune_elf_open_mem - look at an ELF file of @len bytes in memory, which stays there; errors as dune_elf_open() */
int dune_elf_open_mem(struct dune_elf *elf, void *mem, int len);

/** dune_elf_close - free what dune_elf_open() took; 0, or -EINVAL: it is not open */
int dune_elf_close(struct dune_elf *elf);

/** dune_elf_dump - print the header, segments and sections to standard output; 0 or -EINVAL */
int dune_elf_dump(struct dune_elf *elf);

/**
 * dune_elf_iter_sh - call @cb for each section, with its name ("" if it has none), its number and @arg
 * Return: 0, what @cb returned, or -EINVAL
 */
int dune_elf_iter_sh(struct dune_elf *elf, dune_elf_shcb cb, void *arg);

/** dune_elf_iter_ph - call @cb for each segment, with @arg; 0, what @cb returned, or -EINVAL */
int dune_elf_iter_ph(struct dune_elf *elf, dune_elf_phcb cb, void *arg);

/**
 * dune_elf_load_ph - map a segment and fill it
 * @phdr: of @elf; one that is not PT_LOAD, or empty, is left alone
 * @off: added to its address, bytes; a multiple of the page size
 *
 * Makes memory at p_vaddr + @off, with what the file has and zeros behind that, and the permissions of p_flags; in
 * Dune mode for ring 3 too (PERM_U).  Replaces nothing.
 *
 * Return: 0; -EEXIST: something is mapped there already; -ENOEXEC: the segment has no sense or the file ends before
 * it; -EINVAL; -ENOMEM; or another -errno.  Then nothing is mapped.
 */
int dune_elf_load_ph(struct dune_elf *elf, Elf64_Phdr *phdr, long off);

#ifdef __cplusplus
}
#endif

#endif /* DUNE_ELF_H */
