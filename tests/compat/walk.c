/* SPDX-License-Identifier: MIT */
/*
 * After dune_init(true) each page of the process has an entry of its own, of 4 KiB: callbacks of dune_vm_page_walk()
 * count pages, put other pages into entries, and look for dirty bits.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "libdune/dune.h"

#include "expect.h"

static int entries, large, strange, dirty;
static char *pages_of_mine;

#define NR	700

static int count(const void *arg, ptent_t *pte, void *va)
{
	if ((uintptr_t)va != (uintptr_t)arg + entries * PGSIZE)
		strange++;
	if (!(*pte & PTE_P) || !(*pte & PTE_U) || PTE_ADDR(*pte) != dune_va_to_pa(va))
		strange++;
	large += !!(*pte & PTE_PS);
	entries++;
	return 0;
}

static int swap(const void *arg, ptent_t *pte, void *va)
{
	char *page = pages_of_mine;

	(void)arg;
	*pte = dune_va_to_pa(va == (void *)page ? page + PGSIZE : page) | PTE_P | PTE_W | PTE_U;
	return 0;
}

static int clean(const void *arg, ptent_t *pte, void *va)
{
	(void)arg;
	(void)va;
	*pte &= ~(ptent_t)PTE_D;
	return 0;
}

static int count_dirty(const void *arg, ptent_t *pte, void *va)
{
	(void)arg;
	(void)va;
	dirty += !!(*pte & PTE_D);
	return 0;
}

static int count_all(const void *arg, ptent_t *pte, void *va)
{
	const char *const *wanted = arg;

	entries++;
	large += !!(*pte & PTE_PS);
	for (int i = 0; wanted[i]; i++)
		strange -= (uintptr_t)wanted[i] - (uintptr_t)va < PGSIZE;
	return 0;
}

static int stop(const void *arg, ptent_t *pte, void *va)
{
	(void)pte;
	(void)va;
	entries++;
	return *(const int *)arg;
}

static int walk(char *from, size_t len, page_walk_cb cb, const void *arg)
{
	entries = large = strange = dirty = 0;
	return dune_vm_page_walk(pgroot, from, from + len - 1, cb, arg);
}

int main(int argc, char *argv[])
{
	char *old = mmap(NULL, NR * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *new;
	const char *wanted[5] = { old, (char *)main, (char *)&entries, (char *)&argc, NULL };
	ptent_t *copy, *entry;
	int seven = 7;

	(void)argv;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init_and_enter())
		return 1;

	/* Memory of before and of later, never touched. */
	EXPECT(walk(old, NR * PGSIZE, count, old) == 0 && entries == NR && !large && !strange);
	new = mmap(NULL, NR * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(walk(new, NR * PGSIZE, count, new) == 0 && entries == NR && !large && !strange);
	EXPECT(walk(new, NR * PGSIZE, stop, &seven) == 7 && entries == 1);

	/* All that the process has; what is libdune's is left out. */
	entries = large = 0;
	strange = 4;
	EXPECT(dune_vm_page_walk(pgroot, VA_START, VA_END, count_all, wanted) == 0);
	EXPECT(entries > 2 * NR && !large && !strange);
	printf("%d entries in all\n", entries);

	/* A callback puts other pages into entries. */
	pages_of_mine = old;
	old[0] = 'a';
	old[PGSIZE] = 'b';
	EXPECT(walk(old, 2 * PGSIZE, swap, NULL) == 0);
	dune_flush_tlb();
	EXPECT(((volatile char *)old)[0] == 'b' && ((volatile char *)old)[PGSIZE] == 'a');
	EXPECT(walk(old, 2 * PGSIZE, swap, NULL) == 0);

	/* Dirty bits: of the stores since they were cleared. */
	memset(new, 1, NR * PGSIZE);
	EXPECT(walk(new, NR * PGSIZE, count_dirty, NULL) == 0 && dirty == NR);
	EXPECT(walk(new, NR * PGSIZE, clean, NULL) == 0);
	dune_flush_tlb();
	new[3 * PGSIZE] = 2;
	new[600 * PGSIZE] = 2;
	EXPECT(walk(new, NR * PGSIZE, count_dirty, NULL) == 0 && dirty == 2);

	/* In a copy of the address space too, where ring 3 loses what it had. */
	copy = dune_vm_clone(pgroot);
	EXPECT(copy);
	EXPECT(dune_vm_mprotect(copy, new, NR * PGSIZE, PERM_R) == 0);
	EXPECT(dune_vm_lookup(copy, new, 0, &entry) == 0 && !(*entry & (PTE_W | PTE_U)));
	EXPECT(dune_vm_lookup(pgroot, new, 0, &entry) == 0 && *entry & PTE_W && *entry & PTE_U);
	load_cr3((unsigned long)copy | CR3_NOFLUSH | 1);
	EXPECT(new[3 * PGSIZE] == 2);
	load_cr3((unsigned long)pgroot | CR3_NOFLUSH | 0);
	dune_vm_free(copy);
	return verdict();
}
