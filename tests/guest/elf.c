// SPDX-License-Identifier: MIT
/* Segments of ELF files: loaded for ring 3 too, where nothing is; what is wrong is refused, and maps nothing. */
#include <sys/mman.h>

#include "proc.h"

#define BASE	0x300000000000UL

static int loaded, again;

static int load(struct dune_elf *elf, Elf64_Phdr *phdr, void *arg)
{
	char *at = (char *)BASE + phdr->p_vaddr;
	ptent_t *e;

	CHECK(elf->priv == &loaded, "priv is the program's");
	if (phdr->p_type != PT_LOAD)
		return 0;
	CHECK_EQUAL(dune_elf_load_ph(elf, phdr, BASE), 0, "load");
	CHECK_EQUAL(dune_elf_load_ph(elf, phdr, BASE), -EEXIST, "again");
	CHECK(!memcmp(at, elf->mem + phdr->p_offset, phdr->p_filesz), "its contents");
	CHECK(dune_vm_lookup(dune_vm_root(), at, CREATE_NONE, &e) == 0 && *e & PTE_U &&
	      !(*e & PTE_W) == !(phdr->p_flags & PF_W) && !(*e & PTE_NX) == !!(phdr->p_flags & PF_X),
	      "its permissions");
	(*(int *)arg)++;
	return 0;
}

static int refuse(struct dune_elf *elf, Elf64_Phdr *phdr, void *arg)
{
	Elf64_Phdr bad = *phdr;

	if (phdr->p_type != PT_LOAD || (*(int *)arg)++)
		return 0;
	CHECK_EQUAL(dune_elf_load_ph(elf, &bad, BASE + 1), -EINVAL, "off");
	bad.p_filesz = bad.p_memsz + 1;
	CHECK_EQUAL(dune_elf_load_ph(elf, &bad, 2 * BASE), -ENOEXEC, "more in the file than in memory");
	bad = *phdr;
	bad.p_offset = elf->len;
	CHECK_EQUAL(dune_elf_load_ph(elf, &bad, BASE / 2), -ENOEXEC, "behind the file");
	CHECK_EQUAL(dune_elf_load_ph(elf, phdr, BASE / 2), 0, "nothing was mapped");
	return 0;
}

int main(int argc, char **argv)
{
	struct dune_elf elf = { .priv = &loaded };
	FILE *self = fopen("/proc/self/exe", "rb");
	static char image[8 << 20];
	size_t size = fread(image, 1, sizeof(image), self);

	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	CHECK_EQUAL(dune_elf_open_mem(&elf, image, size), 0, "open");
	CHECK_EQUAL(dune_elf_iter_ph(&elf, load, &loaded), 0, "load");
	CHECK(loaded > 1, "some were loaded");
	CHECK_EQUAL(dune_elf_iter_ph(&elf, refuse, &again), 0, "refuse");
	CHECK_EQUAL(dune_elf_close(&elf), 0, "close");
	return check_result();
}
