/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical addresses are known before anything is there: below mmap_base they are the virtual ones, and from
 * there on memory is in one piece, so that one dune_vm_map_phys() maps any of it.  An argument: dune_init(false).
 */
#include <string.h>
#include <sys/mman.h>

#include "libdune/dune.h"

#include "expect.h"

#define GIB	(1UL << 30)

static ptent_t entry_of(void *va)
{
	ptent_t *entry = NULL;

	return dune_vm_lookup(pgroot, va, 0, &entry) ? 0 : *entry;
}

static char *map(char *at, size_t len)
{
	char *p = mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	EXPECT(p == at);
	return p == at ? p : NULL;
}

static void low(void)
{
	char *const va = (char *)0x90000000;	/* in a GiB where nothing of the process's is */

	EXPECT(dune_va_to_pa(va) == (uintptr_t)va);
	EXPECT(dune_vm_map_phys(pgroot, va, 2 * PGSIZE, va, PERM_R | PERM_W | PERM_U) == 0);
	EXPECT(PTE_ADDR(entry_of(va)) == (uintptr_t)va && entry_of(va) & PTE_U);
	if (!map(va, 2 * PGSIZE))
		return;
	*(volatile char *)va = 5;
	EXPECT(*va == 5 && PTE_ADDR(entry_of(va)) == (uintptr_t)va && entry_of(va) & PTE_U);
	EXPECT(entry_of(va + PGSIZE) & PTE_U && !(entry_of(va) & PTE_PS));
}

/* One page on each side of a multiple of 1 GiB. */
static void across(char *border)
{
	char *va = border - PGSIZE;

	EXPECT(dune_va_to_pa(va + PGSIZE) - dune_va_to_pa(va) == PGSIZE);
	if (!map(va, 2 * PGSIZE))
		return;
	EXPECT(dune_va_to_pa(va + PGSIZE) - dune_va_to_pa(va) == PGSIZE);
	va[0] = 'A';
	va[PGSIZE] = 'B';
	EXPECT(dune_vm_map_phys(pgroot, va, 2 * PGSIZE, (void *)dune_va_to_pa(va), PERM_R | PERM_W) == 0);
	EXPECT(((volatile char *)va)[0] == 'A' && ((volatile char *)va)[PGSIZE] == 'B');
	((volatile char *)va)[PGSIZE] = 'C';
	EXPECT(PTE_ADDR(entry_of(va + PGSIZE)) == dune_va_to_pa(va + PGSIZE));
	EXPECT(dune_vm_map_phys(pgroot, (void *)0x400000000000, 2 * PGSIZE, (void *)dune_va_to_pa(va), PERM_R) == 0);
	EXPECT(!memcmp((char *)0x400000000000, "A", 2) && !memcmp((char *)0x400000000000 + PGSIZE, "C", 2));
}

int main(int argc, char *argv[])
{
	int on_stack;
	char *anywhere;

	(void)argv;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init(argc == 1) || dune_enter())
		return 1;
	low();
	/* Something else first, so that places are not given in the order of use. */
	map((char *)mmap_base + 2 * GIB, PGSIZE);
	((volatile char *)mmap_base)[2 * GIB] = 'x';
	across((char *)(mmap_base & -GIB) + 4 * GIB);
	across((char *)(mmap_base & -GIB) + 40 * GIB);

	anywhere = mmap(NULL, PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT((uintptr_t)anywhere >= mmap_base && (uintptr_t)anywhere < stack_base);
	EXPECT((uintptr_t)&on_stack >= stack_base);
	EXPECT(dune_mmap_addr_to_pa(anywhere) == dune_va_to_pa(anywhere));
	EXPECT(dune_stack_addr_to_pa(&on_stack) == dune_va_to_pa(&on_stack));
	EXPECT(dune_va_to_pa(anywhere) < phys_limit && dune_va_to_pa(&on_stack) < phys_limit);

	/* No such memory. */
	EXPECT(dune_vm_map_phys(pgroot, (void *)0x400000000000, PGSIZE, (void *)phys_limit, PERM_R) < 0);
	return verdict();
}
