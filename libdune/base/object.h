/* SPDX-License-Identifier: MIT */
/*
 * ELF objects in memory.
 */
#ifndef LIBDUNE_OBJECT_H
#define LIBDUNE_OBJECT_H

/* A note in every program that is linked with libdune.a: it enters Dune mode itself. */
#define DUNE_NOTE_NAME		"Dune"
#define DUNE_NOTE_ENTERS	1

#ifndef __ASSEMBLER__
#include <elf.h>
#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* What libdune is linked into. */
enum object_kind {
	OBJECT_PROGRAM,
	OBJECT_LIBRARY,		/* that dlclose() may unload */
	OBJECT_PINNED,		/* a library that stays, as it was linked with -z nodelete */
};

enum object_kind __dune_own_object(void);

/* Does the program with these program headers enter Dune mode itself: has it the note, or needs libdune.so? */
bool __dune_program_enters(const Elf64_Phdr *segments, int count, unsigned long bias);

#pragma GCC visibility pop
#endif

#endif /* LIBDUNE_OBJECT_H */
