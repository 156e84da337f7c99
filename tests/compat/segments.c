/* SPDX-License-Identifier: MIT */
/* dune_elf_load_ph() replaces what lies there, and segments may share a page. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libdune/dune.h"

#include "expect.h"

#define BASE	0x6f000000UL

static int segments;

static int load(struct dune_elf *elf, Elf64_Phdr *phdr)
{
	char *at;

	EXPECT(elf->priv == &segments);
	if (phdr->p_type != PT_LOAD) {
		EXPECT(dune_elf_load_ph(elf, phdr, 0) < 0);
		return 0;
	}
	segments++;
	phdr->p_vaddr = BASE + (phdr->p_vaddr & PGMASK);
	at = (char *)phdr->p_vaddr;
	for (int i = 0; i < 2; i++) {
		EXPECT(dune_elf_load_ph(elf, phdr, 0) == 0);
		if (phdr->p_flags & PF_W)
			memset(at, 0x55, phdr->p_memsz);
	}
	return 0;
}

/* A file of two pages and a half, with two segments that share the one in the middle. */
static void make(const char *path, unsigned char *image)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)image;
	Elf64_Phdr *phdr = (Elf64_Phdr *)(image + sizeof(*header));
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	for (int i = 0; i < 0x2800; i++)
		image[i] = i / 256 + 1;
	memset(image, 0, 512);
	memcpy(header->e_ident, ELFMAG, SELFMAG);
	header->e_ident[EI_CLASS] = ELFCLASS64;
	header->e_ident[EI_DATA] = ELFDATA2LSB;
	header->e_ident[EI_VERSION] = EV_CURRENT;
	header->e_type = ET_EXEC;
	header->e_machine = EM_X86_64;
	header->e_version = EV_CURRENT;
	header->e_phoff = sizeof(*header);
	header->e_ehsize = sizeof(*header);
	header->e_phentsize = sizeof(*phdr);
	header->e_phnum = 2;
	phdr[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = BASE, .p_filesz = 0x1700,
				.p_memsz = 0x1700 };
	phdr[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = 0x1800, .p_vaddr = BASE + 0x1800,
				.p_filesz = 0x1000, .p_memsz = 0x3000 };
	EXPECT(write(fd, image, 0x2800) == 0x2800);
	close(fd);
}

static int load_both(struct dune_elf *elf, Elf64_Phdr *phdr)
{
	EXPECT(elf->priv == &segments);
	return dune_elf_load_ph(elf, phdr, 0x1000000);
}

static void check_both(const unsigned char *image)
{
	unsigned char *at = (unsigned char *)BASE + 0x1000000, *p;

	EXPECT(!memcmp(at, image, 0x2800));
	for (p = at + 0x2800; p < at + 0x4800 && !*p; p++)
		;
	EXPECT(p == at + 0x4800);
	at[0x1000] = 1;		/* the second one's page */
	memset(at, 0, 0);
}

static void two(void)
{
	static unsigned char image[0x2800];
	char path[] = "/tmp/segments.elf";
	struct dune_elf elf;

	make(path, image);
	/* Something is there before, and it is loaded twice: from the file, and from memory. */
	memset(mmap((char *)BASE + 0x1000000, 0x5000, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), 0x77, 0x5000);
	elf.priv = &segments;
	EXPECT(dune_elf_open(&elf, path) == 0);
	EXPECT(dune_elf_iter_ph(&elf, load_both) == 0);
	check_both(image);
	EXPECT(dune_elf_close(&elf) == 0);
	elf.priv = &segments;
	EXPECT(dune_elf_open_mem(&elf, image, sizeof(image)) == 0);
	EXPECT(dune_elf_iter_ph(&elf, load_both) == 0);
	check_both(image);
	EXPECT(dune_elf_close(&elf) == 0);
	unlink(path);
}

int main(void)
{
	struct dune_elf elf;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init_and_enter())
		return 1;
	elf.priv = NULL;
	EXPECT(dune_elf_open(&elf, "/proc/self/exe") == 0);
	elf.priv = &segments;
	EXPECT(dune_elf_iter_ph(&elf, load) == 0 && segments > 1);
	EXPECT(dune_elf_close(&elf) == 0);
	two();
	return verdict();
}
