/* SPDX-License-Identifier: MIT */
/*
 * The ELF object in memory that libdune is in.
 */
#ifndef LIBDUNE_OBJECT_H
#define LIBDUNE_OBJECT_H

#pragma GCC visibility push(hidden)

/* What libdune is linked into. */
enum object_kind {
	OBJECT_PROGRAM,
	OBJECT_LIBRARY,		/* that dlclose() may unload */
	OBJECT_PINNED,		/* a library that stays, as it was linked with -z nodelete */
};

enum object_kind __dune_own_object(void);

#pragma GCC visibility pop

#endif /* LIBDUNE_OBJECT_H */
