// SPDX-License-Identifier: MIT
/*
 * The memory map for a function that takes no argument of the program's; those of ELF files are in segment.c.
 *
 * HR3 and GR0.
 */
#include "compat/compat.h"

static void call_procmap(const struct dune_procmap_entry *entry, void *arg)
{
	(*(dune_compat_procmap_cb *)arg)(entry);
}

PUBLIC int dune_compat_procmap_iterate(dune_compat_procmap_cb cb)
{
	return cb ? dune_procmap_iterate(call_procmap, &cb) : -EINVAL;
}
