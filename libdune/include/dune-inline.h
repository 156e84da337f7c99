/* SPDX-License-Identifier: MIT */
/*
 * What DUNE_INLINE begins is a function that a header defines and that is in the library as well, for languages that
 * cannot read the header.
 */
#ifndef DUNE_INLINE_H
#define DUNE_INLINE_H

#ifndef DUNE_INLINE	/* the library has defined it: api/inline.c, compat/compat-inline.c */
#define DUNE_INLINE	static inline
#endif

#endif /* DUNE_INLINE_H */
