// SPDX-License-Identifier: MIT
/*
 * Names of functions, from the symbol table of an ELF file, which may be anything: each number in it
 * is checked where it is used.  Reads the file by system calls, on the stack.
 *
 * HR3 and GR0.
 */
#include <linux/fcntl.h>

#include "base/base.h"

#define SYMBOLS_AT_ONCE		64
#define HEADERS_MAX		256	/* of segments; more have no sense */
#define SECTIONS_MAX		65536

static bool read_at(int fd, void *to, size_t size, uint64_t offset)
{
	return offset <= INT64_MAX && dune_syscall4(__NR_pread64, fd, to, size, offset) == (long)size;
}

/* The address in the file's own terms of what is at @offset in it. */
static bool address_of(int fd, const Elf64_Ehdr *header, uint64_t offset, uint64_t *address)
{
	Elf64_Phdr segment;

	for (unsigned int i = 0; i < header->e_phnum && i < HEADERS_MAX; i++) {
		if (!read_at(fd, &segment, sizeof(segment), header->e_phoff + i * sizeof(segment)))
			return false;
		if (segment.p_type == PT_LOAD && offset >= segment.p_offset &&
		    offset - segment.p_offset < segment.p_filesz) {
			*address = segment.p_vaddr + (offset - segment.p_offset);
			return true;
		}
	}
	return false;
}

/* The full symbol table, or that of the dynamic linker. */
static bool find_table(int fd, const Elf64_Ehdr *header, Elf64_Shdr *table)
{
	Elf64_Shdr section;
	bool found = false;

	if (header->e_shentsize != sizeof(section))
		return false;
	for (unsigned int i = 0; i < header->e_shnum && i < SECTIONS_MAX; i++) {
		if (!read_at(fd, &section, sizeof(section), header->e_shoff + i * sizeof(section)))
			return false;
		if (section.sh_type != SHT_SYMTAB && (section.sh_type != SHT_DYNSYM || found))
			continue;
		*table = section;
		found = true;
		if (section.sh_type == SHT_SYMTAB)
			break;
	}
	return found;
}

static bool covers(const Elf64_Sym *symbol, uint64_t address)
{
	unsigned int type = symbol->st_info & 15;

	if (symbol->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_NOTYPE))
		return false;
	return address == symbol->st_value ||
	       (address > symbol->st_value && address - symbol->st_value < symbol->st_size);
}

static bool find_symbol(int fd, const Elf64_Shdr *table, uint64_t address, Elf64_Sym *found)
{
	Elf64_Sym symbols[SYMBOLS_AT_ONCE];
	uint64_t count = table->sh_size / sizeof(symbols[0]);

	for (uint64_t first = 0; first < count; first += SYMBOLS_AT_ONCE) {
		uint64_t n = count - first < SYMBOLS_AT_ONCE ? count - first : SYMBOLS_AT_ONCE;

		if (!read_at(fd, symbols, n * sizeof(symbols[0]), table->sh_offset + first * sizeof(symbols[0])))
			return false;
		for (unsigned int i = 0; i < n; i++) {
			if (covers(&symbols[i], address)) {
				*found = symbols[i];
				return true;
			}
		}
	}
	return false;
}

static bool read_name(int fd, const Elf64_Ehdr *header, const Elf64_Shdr *table, uint32_t index,
		      char *name, size_t size)
{
	Elf64_Shdr strings;
	long got;

	if (table->sh_link >= header->e_shnum ||
	    !read_at(fd, &strings, sizeof(strings), header->e_shoff + table->sh_link * sizeof(strings)) ||
	    index >= strings.sh_size)
		return false;
	got = dune_syscall4(__NR_pread64, fd, name, size - 1, strings.sh_offset + index);
	if (got <= 0)
		return false;
	name[got] = 0;
	return *name;
}

static bool look_up(int fd, uint64_t offset, char *name, size_t size, uint64_t *distance)
{
	Elf64_Ehdr header;
	Elf64_Shdr table = { 0 };
	Elf64_Sym symbol = { 0 };
	uint64_t address;

	if (!read_at(fd, &header, sizeof(header), 0) || header.e_ident[EI_MAG0] != ELFMAG0 ||
	    header.e_ident[EI_MAG1] != ELFMAG1 || header.e_ident[EI_MAG2] != ELFMAG2 ||
	    header.e_ident[EI_MAG3] != ELFMAG3 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	if (!address_of(fd, &header, offset, &address) || !find_table(fd, &header, &table) ||
	    !find_symbol(fd, &table, address, &symbol))
		return false;
	*distance = address - symbol.st_value;
	return read_name(fd, &header, &table, symbol.st_name, name, size);
}

bool __dune_symbol(const char *path, uint64_t offset, char *name, size_t size, uint64_t *distance)
{
	/* A file that does not answer at once is none with symbols. */
	long fd = dune_syscall4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	bool found;

	if (is_error(fd))
		return false;
	found = look_up(fd, offset, name, size, distance);
	dune_syscall1(__NR_close, fd);
	return found;
}
