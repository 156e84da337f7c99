// SPDX-License-Identifier: MIT
/*
 * ELF files as the first libdune has them.  Where a segment is loaded, what lies there is replaced, and a page that two
 * segments share is what the file has in it.  An ordinary program's code, as api/elf.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "dune-compat.h"

#define PUBLIC	__attribute__((visibility("default")))

static int prot_of(uint32_t flags)
{
	return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

/* Whole pages of the file, from the one with its first byte on. */
static int map_file(const struct dune_elf *elf, const Elf64_Phdr *phdr, char *start, size_t length, int prot)
{
	uint64_t offset = PGADDR(phdr->p_offset), rest;
	char *memory;

	if (!length)
		return 0;
	if (!elf->mem) {
		memory = mmap(start, length, prot, MAP_PRIVATE | MAP_FIXED, elf->fd, offset);
		return memory == start ? 0 : -ENOMEM;
	}
	if (phdr->p_offset > (uint64_t)elf->len || phdr->p_filesz > elf->len - phdr->p_offset)
		return -EINVAL;
	memory = mmap(start, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (memory != start)
		return -ENOMEM;
	rest = elf->len - offset;
	memcpy(start, elf->mem + offset, rest < length ? rest : length);
	return mprotect(start, length, prot) ? -ENOMEM : 0;
}

/* Zeros from @start to the end of its page. */
static int clear_rest(char *start, int prot)
{
	char *page = (char *)PGADDR(start);

	if (page == start)
		return 0;
	if (!(prot & PROT_WRITE) && mprotect(page, PGSIZE, prot | PROT_WRITE))
		return -ENOMEM;
	memset(start, 0, page + PGSIZE - start);
	return !(prot & PROT_WRITE) && mprotect(page, PGSIZE, prot) ? -ENOMEM : 0;
}

PUBLIC int dune_compat_elf_load_ph(struct dune_elf *elf, Elf64_Phdr *phdr, long off)
{
	int prot, ret;
	char *start, *file_end, *end;

	if (!elf || !phdr || phdr->p_type != PT_LOAD || phdr->p_filesz > phdr->p_memsz ||
	    PGOFF(phdr->p_vaddr) != PGOFF(phdr->p_offset))
		return -EINVAL;
	prot = prot_of(phdr->p_flags);
	start = (char *)(phdr->p_vaddr + off);
	file_end = start + phdr->p_filesz;
	end = start + phdr->p_memsz;
	ret = map_file(elf, phdr, (char *)PGADDR(start), phdr->p_filesz ? file_end - (char *)PGADDR(start) : 0, prot);
	if (ret || phdr->p_memsz == phdr->p_filesz)
		return ret;
	if (phdr->p_filesz) {
		ret = clear_rest(file_end, prot);
		if (ret)
			return ret;
		file_end = (char *)PGADDR(file_end + PGMASK);
	} else {
		file_end = (char *)PGADDR(file_end);
	}
	if (end <= file_end)
		return 0;
	if (mmap(file_end, end - file_end, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != file_end)
		return -ENOMEM;
	return 0;
}

/* ---- iterating without an argument ---- */

static int call_ph(struct dune_elf *elf, Elf64_Phdr *phdr, void *arg)
{
	return (*(dune_compat_elf_phcb *)arg)(elf, phdr);
}

PUBLIC int dune_compat_elf_iter_ph(struct dune_elf *elf, dune_compat_elf_phcb cb)
{
	return cb ? dune_elf_iter_ph(elf, call_ph, &cb) : -EINVAL;
}

static int call_sh(struct dune_elf *elf, const char *sname, int snum, Elf64_Shdr *shdr, void *arg)
{
	return (*(dune_compat_elf_shcb *)arg)(elf, sname, snum, shdr);
}

PUBLIC int dune_compat_elf_iter_sh(struct dune_elf *elf, dune_compat_elf_shcb cb)
{
	return cb ? dune_elf_iter_sh(elf, call_sh, &cb) : -EINVAL;
}
