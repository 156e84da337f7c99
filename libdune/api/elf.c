// SPDX-License-Identifier: MIT
/*
 * ELF files, by libelf.  An ordinary program's code: like compat/segment.c it uses the C library.
 */
#include <errno.h>
#include <fcntl.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dune.h"

#define PUBLIC	__attribute__((visibility("default")))

static Elf *handle(const struct dune_elf *elf)
{
	return elf ? elf->handle : NULL;
}

/* All sections; the table of libelf's is in pieces. */
static int read_sections(struct dune_elf *elf)
{
	size_t count, names, i;
	Elf_Scn *section;
	Elf64_Shdr *header;
	Elf_Data *data;

	if (elf_getshdrnum(handle(elf), &count))
		return -ENOEXEC;
	if (!count)
		return 0;
	elf->shdr = calloc(count, sizeof(*elf->shdr));
	if (!elf->shdr)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		section = elf_getscn(handle(elf), i);
		header = section ? elf64_getshdr(section) : NULL;
		if (!header)
			return -ENOEXEC;
		elf->shdr[i] = *header;
	}
	if (elf_getshdrstrndx(handle(elf), &names) || names == SHN_UNDEF)
		return 0;
	section = elf_getscn(handle(elf), names);
	data = section ? elf_getdata(section, NULL) : NULL;
	elf->shdrstr = data ? data->d_buf : NULL;
	return 0;
}

static int read_headers(struct dune_elf *elf)
{
	Elf64_Ehdr *header;
	size_t count;

	if (elf_kind(handle(elf)) != ELF_K_ELF)
		return -ENOEXEC;
	header = elf64_getehdr(handle(elf));
	if (!header || header->e_machine != EM_X86_64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
		return -ENOEXEC;
	elf->hdr = *header;
	if (elf_getphdrnum(handle(elf), &count))
		return -ENOEXEC;
	if (count) {
		elf->phdr = elf64_getphdr(handle(elf));
		if (!elf->phdr)
			return -ENOEXEC;
	}
	return read_sections(elf);
}

static int begin(struct dune_elf *elf, Elf *e)
{
	int ret;

	elf->handle = e;
	if (!e)
		return -ENOEXEC;
	ret = read_headers(elf);
	if (ret) {
		free(elf->shdr);
		elf_end(e);
		elf->handle = NULL;
	}
	return ret;
}

static void clear(struct dune_elf *elf)
{
	*elf = (struct dune_elf){ .fd = -1, .priv = elf->priv };
}

PUBLIC int dune_elf_open(struct dune_elf *elf, const char *path)
{
	int ret;

	if (!elf || !path || elf_version(EV_CURRENT) == EV_NONE)
		return -EINVAL;
	clear(elf);
	elf->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (elf->fd < 0)
		return -errno;
	ret = begin(elf, elf_begin(elf->fd, ELF_C_READ, NULL));
	if (ret)
		close(elf->fd);
	return ret;
}

PUBLIC int dune_elf_open_mem(struct dune_elf *elf, void *mem, int len)
{
	if (!elf || !mem || len <= 0 || elf_version(EV_CURRENT) == EV_NONE)
		return -EINVAL;
	clear(elf);
	elf->mem = mem;
	elf->len = len;
	return begin(elf, elf_memory(mem, len));
}

PUBLIC int dune_elf_close(struct dune_elf *elf)
{
	if (!handle(elf))
		return -EINVAL;
	elf_end(handle(elf));
	free(elf->shdr);
	if (elf->fd >= 0)
		close(elf->fd);
	clear(elf);
	return 0;
}

PUBLIC int dune_elf_iter_sh(struct dune_elf *elf, dune_elf_shcb cb, void *arg)
{
	size_t count, names = SHN_UNDEF, i;
	const char *name;
	int ret = 0;

	if (!handle(elf) || !cb || elf_getshdrnum(handle(elf), &count))
		return -EINVAL;
	elf_getshdrstrndx(handle(elf), &names);
	for (i = 0; i < count && !ret; i++) {
		name = names == SHN_UNDEF ? NULL : elf_strptr(handle(elf), names, elf->shdr[i].sh_name);
		ret = cb(elf, name ? name : "", i, &elf->shdr[i], arg);
	}
	return ret;
}

PUBLIC int dune_elf_iter_ph(struct dune_elf *elf, dune_elf_phcb cb, void *arg)
{
	size_t count, i;
	int ret = 0;

	if (!handle(elf) || !cb || elf_getphdrnum(handle(elf), &count))
		return -EINVAL;
	for (i = 0; i < count && !ret; i++)
		ret = cb(elf, &elf->phdr[i], arg);
	return ret;
}

/* ---- printing ---- */

static int print_segment(struct dune_elf *elf, Elf64_Phdr *p, void *arg)
{
	(void)elf;
	(void)arg;
	dune_printf("segment: type %#x %c%c%c offset %#lx address %#lx file %#lx memory %#lx align %#lx\n", p->p_type,
		    p->p_flags & PF_R ? 'r' : '-', p->p_flags & PF_W ? 'w' : '-', p->p_flags & PF_X ? 'x' : '-',
		    p->p_offset, p->p_vaddr, p->p_filesz, p->p_memsz, p->p_align);
	return 0;
}

static int print_section(struct dune_elf *elf, const char *name, int number, Elf64_Shdr *s, void *arg)
{
	(void)elf;
	(void)arg;
	dune_printf("section %d: %s type %#x flags %#lx offset %#lx address %#lx size %#lx\n", number, name, s->sh_type,
		    s->sh_flags, s->sh_offset, s->sh_addr, s->sh_size);
	return 0;
}

PUBLIC int dune_elf_dump(struct dune_elf *elf)
{
	const Elf64_Ehdr *h;

	if (!handle(elf))
		return -EINVAL;
	h = &elf->hdr;
	dune_printf("ELF: type %d machine %d entry %#lx flags %#x, %d segments, %d sections\n", h->e_type, h->e_machine,
		    h->e_entry, h->e_flags, h->e_phnum, h->e_shnum);
	dune_elf_iter_ph(elf, print_segment, NULL);
	return dune_elf_iter_sh(elf, print_section, NULL);
}

/* ---- loading ---- */

static int copy_contents(struct dune_elf *elf, const Elf64_Phdr *phdr, char *to)
{
	size_t done = 0;
	ssize_t got;

	if (elf->mem) {
		if (phdr->p_offset > (uint64_t)elf->len || phdr->p_filesz > elf->len - phdr->p_offset)
			return -ENOEXEC;
		memcpy(to, elf->mem + phdr->p_offset, phdr->p_filesz);
		return 0;
	}
	while (done < phdr->p_filesz) {
		got = pread(elf->fd, to + done, phdr->p_filesz - done, phdr->p_offset + done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ENOEXEC;
		done += got;
	}
	return 0;
}

/* The kernel's permissions, and the page table's where there is one. */
static int protect(char *start, size_t length, uint32_t flags)
{
	int prot = 0, perm = PERM_U;

	if (flags & PF_R) {
		prot |= PROT_READ;
		perm |= PERM_R;
	}
	if (flags & PF_W) {
		prot |= PROT_WRITE;
		perm |= PERM_R | PERM_W;
	}
	if (flags & PF_X) {
		prot |= PROT_EXEC;
		perm |= PERM_R | PERM_X;
	}
	if (mprotect(start, length, prot))
		return -errno;
	return dune_in_dune_mode() ? dune_vm_mprotect(dune_vm_root(), start, length, perm) : 0;
}

PUBLIC int dune_elf_load_ph(struct dune_elf *elf, Elf64_Phdr *phdr, long off)
{
	const uintptr_t page = 4096;
	uintptr_t address, end, start;
	char *memory;
	int ret;

	if (!handle(elf) || !phdr || off % page)
		return -EINVAL;
	if (phdr->p_type != PT_LOAD || !phdr->p_memsz)
		return 0;
	if (phdr->p_filesz > phdr->p_memsz || __builtin_add_overflow(phdr->p_vaddr, off, &address) ||
	    __builtin_add_overflow(address, phdr->p_memsz, &end) || end > 1UL << 47)
		return -ENOEXEC;
	start = address & -page;
	end = (end + page - 1) & -page;
	memory = mmap((void *)start, end - start, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	ret = copy_contents(elf, phdr, memory + (address - start));
	if (!ret)
		ret = protect(memory, end - start, phdr->p_flags);
	if (ret)
		munmap(memory, end - start);
	return ret;
}
