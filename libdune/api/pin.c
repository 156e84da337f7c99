// SPDX-License-Identifier: MIT
/*
 * A shared library that has libdune in it may not be unloaded: the kernel calls its signal handlers, and threads stand
 * in its run loop.  libdune.so is linked with -z nodelete; this is for others, linked with libdune.a.
 *
 * HR3, called by the program as any function: so the dynamic linker's dlopen() can be called, where there is one.  It
 * is looked for: a reference to it has the linker warn of each static program.
 */
#include <elf.h>

#include "api/api.h"
#include "base/object.h"

#define RTLD_LAZY	1
#define RTLD_NOLOAD	4
#define RTLD_NODELETE	0x1000

/* What debuggers find objects by (glibc's <link.h>). */
struct link {
	unsigned long bias;
	const char *name;
	const Elf64_Dyn *dynamic;
	const struct link *next;
};

extern const struct {
	int version;
	const struct link *first;
} _r_debug __attribute__((weak, visibility("default")));

extern const Elf64_Dyn _DYNAMIC[] __attribute__((weak, visibility("hidden")));

typedef void *(*dlopen_fn)(const char *name, int flags);

static const char dlopen_name[] = "dlopen";

/* Some dynamic linkers have made it an address already. */
static const void *entry(const struct link *l, long tag)
{
	for (const Elf64_Dyn *d = l->dynamic; d->d_tag != DT_NULL; d++)
		if (d->d_tag == tag)
			return (const void *)(d->d_un.d_ptr < l->bias ? d->d_un.d_ptr + l->bias : d->d_un.d_ptr);
	return NULL;
}

static bool is_dlopen(const char *name)
{
	for (size_t i = 0; i < sizeof(dlopen_name); i++)
		if (name[i] != dlopen_name[i])
			return false;
	return true;
}

/* By DT_GNU_HASH: four words, the filter, which is left out here, the buckets, and a word for each symbol. */
static dlopen_fn find_dlopen(const struct link *l)
{
	const uint32_t *table = entry(l, DT_GNU_HASH), *buckets, *chain;
	const Elf64_Sym *symbols = entry(l, DT_SYMTAB);
	const char *strings = entry(l, DT_STRTAB);
	uint32_t hash = 5381, i;

	if (!table || !symbols || !strings || !table[0])
		return NULL;
	for (const char *p = dlopen_name; *p; p++)
		hash = 33 * hash + *p;
	buckets = table + 4 + 2 * table[2];
	chain = buckets + table[0] - table[1];
	i = buckets[hash % table[0]];
	if (i < table[1])
		return NULL;
	do {
		if (is_dlopen(strings + symbols[i].st_name) && symbols[i].st_shndx != SHN_UNDEF)
			return (dlopen_fn)(l->bias + symbols[i].st_value);
	} while (!(chain[i++] & 1));
	return NULL;
}

int __dune_pin(void)
{
	const char *name = NULL;
	dlopen_fn dlopen = NULL;

	if (__dune_own_object() != OBJECT_LIBRARY || !&_r_debug)
		return 0;
	for (const struct link *l = _r_debug.first; l; l = l->next) {
		if (l->dynamic == _DYNAMIC)
			name = l->name;
		if (!dlopen)
			dlopen = find_dlopen(l);
	}
	/* Without dlopen() there is no dlclose(). */
	if (!dlopen || (name && dlopen(name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE)))
		return 0;
	__dune_message("the library that libdune is in cannot be kept from dlclose(): link it with -z nodelete");
	return -ELIBACC;
}
