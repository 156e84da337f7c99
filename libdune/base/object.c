// SPDX-License-Identifier: MIT
/*
 * The ELF object in memory that libdune is in.  HR3.
 */
#include <elf.h>

#include "base/base.h"
#include "base/object.h"

extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static uint64_t flags_of(const Elf64_Dyn *entry)
{
	for (; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_FLAGS_1)
			return entry->d_un.d_val;
	return 0;
}

/* Programs have an interpreter, or say that they are one, or have a fixed address. */
enum object_kind __dune_own_object(void)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)__ehdr_start;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(__ehdr_start + header->e_phoff);
	uint64_t flags = 0;

	if (header->e_type != ET_DYN)
		return OBJECT_PROGRAM;
	for (int i = 0; i < header->e_phnum; i++) {
		if (segment[i].p_type == PT_INTERP)
			return OBJECT_PROGRAM;
		if (segment[i].p_type == PT_DYNAMIC)
			flags = flags_of((const Elf64_Dyn *)(__ehdr_start + segment[i].p_vaddr));
	}
	if (flags & DF_1_PIE)
		return OBJECT_PROGRAM;
	return flags & DF_1_NODELETE ? OBJECT_PINNED : OBJECT_LIBRARY;
}
