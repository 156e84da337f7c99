/* SPDX-License-Identifier: MIT */
/* Ranges that are no multiples of a page: the pages that they touch are meant. */
#include <setjmp.h>
#include <sys/mman.h>

#define DUNE_COMPAT		/* the same as libdune/dune.h */
#include "dune.h"

#include "expect.h"

static jmp_buf back;
static volatile uintptr_t fault;

static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	(void)fec;
	(void)tf;
	fault = addr;
	longjmp(back, 1);
}

static int writable(volatile char *p)
{
	fault = 0;
	if (setjmp(back))
		return 0;
	*p = 1;
	return 1;
}

int main(void)
{
	char *const at = (char *)0x400000000000;
	char *own = mmap(NULL, 4 * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *alias = at + 0x10000;
	ptent_t *entry;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init_and_enter())
		return 1;
	dune_register_pgflt_handler(on_fault);
	own[PGSIZE + 0x6d8] = 7;
	own[2 * PGSIZE] = 8;

	/* One byte is a page, two bytes at the end of one are two. */
	EXPECT(dune_vm_map_pages(pgroot, at, 1, PERM_R | PERM_W) == 0);
	EXPECT(dune_vm_map_pages(pgroot, at + 3 * PGSIZE - 1, 2, PERM_R | PERM_W) == 0);
	EXPECT(writable(at) && writable(at + PGSIZE - 1) && !writable(at + PGSIZE));
	EXPECT(writable(at + 2 * PGSIZE) && writable(at + 3 * PGSIZE) && !writable(at + 4 * PGSIZE));

	/* The address and the guest-physical one are equally far into their pages. */
	EXPECT(dune_vm_map_phys(pgroot, alias + 0x6d8, 100, (void *)(dune_va_to_pa(own + PGSIZE) + 0x6d8),
				PERM_R | PERM_W) == 0);
	EXPECT(alias[0x6d8] == 7 && !writable(alias + PGSIZE));
	EXPECT(dune_vm_map_phys(pgroot, alias + 0x6d8, PGSIZE, (void *)(dune_va_to_pa(own + PGSIZE) + 0x6d8),
				PERM_R | PERM_W) == 0);
	EXPECT(alias[0x6d8] == 7 && alias[PGSIZE] == 8);
	EXPECT(dune_vm_lookup(pgroot, alias + PGSIZE + 77, 0, &entry) == 0);
	EXPECT(PTE_ADDR(*entry) == dune_va_to_pa(own + 2 * PGSIZE));

	EXPECT(dune_vm_mprotect(pgroot, own + PGSIZE + 0x6d8, 100, PERM_R) == 0);
	EXPECT(writable(own) && !writable(own + PGSIZE));
	EXPECT(!writable(own + 2 * PGSIZE - 1) && writable(own + 2 * PGSIZE));
	EXPECT(dune_vm_mprotect(pgroot, own + 2 * PGSIZE - 1, 2, PERM_R) == 0 && !writable(own + 2 * PGSIZE));
	EXPECT(dune_vm_mprotect(pgroot, own, 4 * PGSIZE, PERM_R | PERM_W) == 0 && writable(own + PGSIZE));

	dune_vm_unmap(pgroot, own + 2 * PGSIZE + 1, 100);
	EXPECT(writable(own + 2 * PGSIZE - 1) && !writable(own + 2 * PGSIZE) && writable(own + 3 * PGSIZE));
	EXPECT(!writable(own + 2 * PGSIZE) && fault == (uintptr_t)own + 2 * PGSIZE);

	/* Nothing is nothing; what wraps round is wrong. */
	EXPECT(dune_vm_mprotect(pgroot, own + 1, 0, PERM_R) == 0 && writable(own));
	EXPECT(dune_vm_mprotect(pgroot, own + 1, ~0UL, PERM_R) < 0 && writable(own));
	EXPECT(dune_vm_mprotect(pgroot, own, PGSIZE, PERM_W) < 0);
	return verdict();
}
