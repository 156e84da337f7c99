// SPDX-License-Identifier: MIT
/*
 * A program's own names are its own: libdune neither uses what has such a name nor changes it (own-variables.c).  With
 * libdune.so (OWN_FUNCTIONS) also not a function that has the name of one of libdune's.
 */
#include <sys/mman.h>

#include <dune.h>

#include "check.h"

bool variables_are_mine(void);

#ifdef OWN_FUNCTIONS
static int calls;

/* Libdune's own calls of these are many. */
long dune_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)nr, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	calls++;
	return -ENOSYS;
}

long dune_get_granule(const void *va)
{
	(void)va;
	calls++;
	return 0;
}

#define CHECK_FUNCTIONS()	CHECK_EQUAL(calls, 0, "calls of the program's functions by libdune")
#else
#define CHECK_FUNCTIONS()
#endif

int main(void)
{
	struct page *pg;
	ptent_t *copy;
	char *p;

	CHECK_EQUAL(dune_init_and_enter(), 0, "dune_init_and_enter");
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED, "mmap");
	*p = 1;
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_current(), p, PGSIZE, PERM_R), 0, "dune_vm_mprotect");
	CHECK_EQUAL(*p, 1, "what is there");
	CHECK(dune_va_to_pa(p), "dune_va_to_pa");
	pg = dune_page_alloc();
	CHECK(pg, "dune_page_alloc");
	*(char *)dune_page2pa(pg) = 2;
	CHECK(dune_pa2page(dune_page2pa(pg)) == pg, "the page of its address");
	copy = dune_vm_clone(dune_vm_current());
	CHECK(copy && !dune_vm_switch(copy) && dune_vm_current() == copy, "another address space");
	CHECK(variables_are_mine(), "the program's variables");
	CHECK_FUNCTIONS();
	return check_result();
}
