/* SPDX-License-Identifier: MIT */
/*
 * dune_vm_mprotect() changes what is there and passes by what is not.  An entry that the program has made not present,
 * with its page in it, is there.
 */
#include <setjmp.h>
#include <sys/mman.h>

#include "libdune/dune.h"

#include "expect.h"

static jmp_buf back;
static volatile int faults;

static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	(void)addr;
	(void)fec;
	(void)tf;
	faults++;
	longjmp(back, 1);
}

static int readable(volatile char *p)
{
	if (setjmp(back))
		return -1;
	return *p;
}

static int writable(volatile char *p)
{
	if (setjmp(back))
		return 0;
	*p = 9;
	return 1;
}

/* @at: three pages that may be changed. */
static void try_at(char *at)
{
	ptent_t *entry;

	at[0] = 1;
	at[2 * PGSIZE] = 3;
	EXPECT(dune_vm_lookup(pgroot, at, 0, &entry) == 0);
	*entry = PTE_ADDR(*entry);
	dune_flush_tlb_one((unsigned long)at);
	EXPECT(readable(at) == -1);
	EXPECT(dune_vm_mprotect(pgroot, at, 3 * PGSIZE, PERM_R | PERM_W) == 0);
	EXPECT(readable(at) == 1 && writable(at));

	dune_vm_unmap(pgroot, at + PGSIZE, PGSIZE);
	EXPECT(dune_vm_mprotect(pgroot, at, 3 * PGSIZE, PERM_R) == 0);
	EXPECT(readable(at) == 9 && !writable(at) && readable(at + PGSIZE) == -1);
	EXPECT(readable(at + 2 * PGSIZE) == 3 && !writable(at + 2 * PGSIZE));
	EXPECT(dune_vm_mprotect(pgroot, at + PGSIZE, PGSIZE, PERM_R) == 0 && readable(at + PGSIZE) == -1);
	EXPECT(dune_vm_mprotect(pgroot, at, 3 * PGSIZE, PERM_NONE) == 0 && readable(at) == -1);
	EXPECT(dune_vm_mprotect(pgroot, at, 3 * PGSIZE, PERM_R | PERM_W) == 0 && readable(at) == 9);
}

int main(int argc, char *argv[])
{
	char *const at = (char *)0x400000000000, *own;

	(void)argv;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init(argc == 1) || dune_enter())
		return 1;
	dune_register_pgflt_handler(on_fault);
	EXPECT(dune_vm_map_pages(pgroot, at, 3 * PGSIZE, PERM_R | PERM_W) == 0);
	try_at(at);
	own = mmap(NULL, 3 * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	try_at(own);

	/* Nothing at all, and many GiB of it. */
	EXPECT(dune_vm_mprotect(pgroot, (char *)0x410000000000, 1UL << 34, PERM_R) == 0);
	/* What is not there yet is protected when it comes. */
	own = mmap(NULL, 600 * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(dune_vm_mprotect(pgroot, own, 600 * PGSIZE, PERM_R) == 0);
	EXPECT(readable(own + 599 * PGSIZE) == 0 && !writable(own + 599 * PGSIZE) && !writable(own));
	EXPECT(faults > 10);
	return verdict();
}
