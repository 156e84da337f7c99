/* SPDX-License-Identifier: MIT */
/*
 * Lines of /proc/self/maps; pure.
 */
#ifndef LIBDUNE_PROCMAP_H
#define LIBDUNE_PROCMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "dune-procmap.h"

/*
 * The longest line: 17 + 16 + 6 + 17 + 8 + 21 characters and blanks up to column 73, then a path, of which each
 * character is printed as up to four, and " (deleted)".  The kernel has a page for the path.
 */
#define PROCMAP_LINE_MAX	(4096 + 256)

/*
 * Make @entry of @line, @length bytes without the newline, and end it with a 0 in place of that: entry->path
 * points into it.
 */
bool __dune_procmap_parse(char *line, size_t length, struct dune_procmap_entry *entry);

#endif /* LIBDUNE_PROCMAP_H */
