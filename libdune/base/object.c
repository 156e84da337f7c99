// SPDX-License-Identifier: MIT
/*
 * ELF objects in memory: the one that libdune is in, and programs that have libdune.  HR3.
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

/* ---- which programs have libdune ---- */

static bool begins_with(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return false;
	return true;
}

static bool has_note(const char *p, const char *end)
{
	while (end - p >= (long)sizeof(Elf64_Nhdr)) {
		const Elf64_Nhdr *note = (const Elf64_Nhdr *)p;
		unsigned long name = (note->n_namesz + 3UL) & -4UL, text = (note->n_descsz + 3UL) & -4UL;

		p += sizeof(*note);
		if (name + text > (unsigned long)(end - p))
			return false;
		if (note->n_type == DUNE_NOTE_ENTERS && note->n_namesz == sizeof(DUNE_NOTE_NAME) &&
		    begins_with(p, DUNE_NOTE_NAME))
			return true;
		p += name + text;
	}
	return false;
}

/* Some dynamic linkers have made it an address already. */
static bool needs_libdune(const Elf64_Dyn *dynamic, unsigned long bias)
{
	const char *strings = NULL;

	for (const Elf64_Dyn *d = dynamic; d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_STRTAB)
			strings = (const char *)(d->d_un.d_ptr < bias ? d->d_un.d_ptr + bias : d->d_un.d_ptr);
	for (const Elf64_Dyn *d = dynamic; strings && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_NEEDED && begins_with(strings + d->d_un.d_val, "libdune.so"))
			return true;
	return false;
}

bool __dune_program_enters(const Elf64_Phdr *segments, int count, unsigned long bias)
{
	for (int i = 0; i < count; i++) {
		const char *start = (const char *)(bias + segments[i].p_vaddr);

		/* Notes of other alignments are the compiler's. */
		if (segments[i].p_type == PT_NOTE && segments[i].p_align <= 4 &&
		    has_note(start, start + segments[i].p_memsz))
			return true;
		if (segments[i].p_type == PT_DYNAMIC && needs_libdune((const Elf64_Dyn *)start, bias))
			return true;
	}
	return false;
}
