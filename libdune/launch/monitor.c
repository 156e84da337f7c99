// SPDX-License-Identifier: MIT
/*
 * libdune out of the reach of a program that is in ring 3: a copy of this object lies in libdune's own granule, which
 * ring 3 cannot touch, and from then on that is libdune.  What the dynamic linker or the kernel has loaded stays where
 * it is, and is the program's: in it the program goes on, in ring 3.
 *
 * HR3.
 */
#include <elf.h>

#include <linux/mman.h>

#include "launch/inside.h"

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

/* ring3.S */
void __dune_go_to_ring3(void (*start)(const struct guest_regs *regs, bool debugged), bool debugged);

static unsigned long own_base(void)
{
	return (unsigned long)__ehdr_start;
}

/* Here begins the copy's life.  @regs: of the program, to whom it does not return. */
static void begin(const struct guest_regs *regs, bool debugged)
{
	int ret;

	__dune_process.ring3 = true;
	__dune_process.granule_bits = PTE_U;
	preload_prepare();
	ret = dune_init(true);
	if (ret)
		preload_fail("cannot prepare Dune mode", ret);
	if (preload_kept_fds >= 0)
		preload_keep_fds(preload_kept_fds);
	ret = __dune_enter_ring3(regs, debugged);
	preload_fail("cannot enter Dune mode", ret);
}

static void protect_code(unsigned long base)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)__ehdr_start;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(__ehdr_start + header->e_phoff);
	long ret = 0;

	for (int i = 0; i < header->e_phnum && !ret; i++) {
		unsigned long start = page_down(base + segments[i].p_vaddr);
		unsigned long end = page_up(base + segments[i].p_vaddr + segments[i].p_memsz);

		if (segments[i].p_type == PT_LOAD && !(segments[i].p_flags & PF_W))
			ret = dune_syscall3(__NR_mprotect, start, end - start, PROT_READ | PROT_EXEC);
	}
	if (ret)
		preload_fail("cannot protect libdune's code", ret);
}

/* Returns where it is. */
static unsigned long copy_image(void)
{
	unsigned long size = page_up((unsigned long)_end - own_base()), base;
	long ret;

	__dune_process.image_size = size + (__dune_process.check ? FILTERS_SIZE : 0);
	if (__dune_process.image_size > REGION_PAGES - REGION_IMAGE)
		preload_fail("libdune is too large for its place", -ENOMEM);
	ret = __dune_region_reserve();
	if (ret)
		preload_fail("cannot reserve memory", ret);
	base = __dune_process.region + REGION_IMAGE;
	ret = dune_syscall3(__NR_mprotect, base, size, PROT_READ | PROT_WRITE);
	if (ret)
		preload_fail("cannot get memory for libdune", ret);
	memcpy((void *)base, __ehdr_start, (unsigned long)_end - own_base());
	preload_relocate(base);
	protect_code(base);
	return base;
}

void preload_enter_ring3(bool debugged)
{
	unsigned long copied = copy_image() - own_base();

	__dune_go_to_ring3((void (*)(const struct guest_regs *, bool))((unsigned long)begin + copied), debugged);
}
