// SPDX-License-Identifier: MIT
/*
 * Several address spaces: clones, copies on write, switching between them, and what threads and processes made in
 * one of them see.
 */
#include <cpuid.h>
#include <pthread.h>
#include <sys/mman.h>

#include "proc.h"

#define PAGE	4096UL
#define MIB2	(2UL << 20)
#define GIB	(1UL << 30)
#define RW	(PERM_R | PERM_W)
#define ROUNDS	200

static volatile unsigned long faults;
static ptent_t *first, *second;

static void on_fault(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	(void)tf;
	faults++;
	dune_vm_default_pgflt_handler(addr, error);
}

static char *map(unsigned long size, unsigned long align)
{
	char *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	DIE_UNLESS(p != MAP_FAILED, "mmap");
	p = (char *)(((unsigned long)p + align - 1) & -align);
	return p;
}

/* The same address is another page in each. */
static void switching(void)
{
	unsigned long *va = (unsigned long *)0x500000000000;
	unsigned long in_first = 1, in_second = 1000000;

	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), va, PAGE, RW), 0, "map_pages");
	*va = 0;
	first = dune_vm_root();
	second = dune_vm_clone(dune_vm_root());
	DIE_UNLESS(second, "clone");
	CHECK_EQUAL(dune_vm_map_pages(second, va, PAGE, RW), 0, "map_pages");
	CHECK(dune_vm_current() == first, "the first one");
	for (int i = 0; i < ROUNDS; i++) {
		*va = ++in_first;
		CHECK_EQUAL(dune_vm_switch(second), 0, "switch");
		CHECK(dune_vm_current() == second, "the second one");
		CHECK_EQUAL(*va, i ? in_second : 0, "in the second");
		*va = ++in_second;
		if (i % 3 == 0)
			dune_load_cr3((unsigned long)first);
		else if (i % 3 == 1)
			dune_load_cr3((unsigned long)first | CR3_NOFLUSH | 5);
		else
			CHECK_EQUAL(dune_vm_switch(first), 0, "switch");
		CHECK_EQUAL(*va, in_first, "in the first");
	}
	/* A change of one that the thread is not in, with its translation in the TLB. */
	for (int i = 0; i < ROUNDS; i++) {
		struct page *pg = dune_page_alloc();

		*(unsigned long *)dune_page2pa(pg) = 5000 + i;
		CHECK_EQUAL(dune_vm_insert_page(second, va, pg, RW), 0, "insert_page");
		dune_page_put(pg);
		CHECK_EQUAL(*va, in_first, "in the first");
		dune_vm_switch(second);
		CHECK_EQUAL(*va, 5000 + i, "in the second");
		dune_vm_switch(first);
	}
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), va, PAGE), 0, "unmap");
}

static void *in_thread(void *arg)
{
	CHECK(dune_vm_current() == second, "a thread begins in its maker's address space");
	CHECK_EQUAL(*(unsigned long *)0x500000000000, 5000 + ROUNDS - 1, "in a thread");
	CHECK_EQUAL(dune_vm_free(second), -EBUSY, "one that is in use");
	dune_vm_switch(dune_vm_root());
	CHECK_EQUAL(*(unsigned long *)arg, 7, "memory of the process");
	dune_vm_switch(second);
	return NULL;
}

static void threads_and_children(void)
{
	unsigned long *fresh, seven = 7;
	pthread_t thread;

	dune_vm_switch(second);
	CHECK(!pthread_create(&thread, NULL, in_thread, &seven), "pthread_create");
	pthread_join(thread, NULL);
	CHECK_EQUAL(IN_CHILD(
		CHECK(dune_vm_current() == second, "a child begins in its parent's address space");
		CHECK_EQUAL(*(unsigned long *)0x500000000000, 5000 + ROUNDS - 1, "in a child");
		*(unsigned long *)0x500000000000 = 1;
		dune_vm_switch(dune_vm_root());
		CHECK_EQUAL(dune_vm_free(second), 0, "free");
	), EXITED(0), "a child");
	CHECK_EQUAL(*(unsigned long *)0x500000000000, 5000 + ROUNDS - 1, "in the parent");
	/* A first touch, in the clone and then in the other one. */
	fresh = mmap((void *)0x510000000000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		     0);
	*fresh = 8;
	dune_vm_switch(first);
	CHECK_EQUAL(*fresh, 8, "fresh memory in both");
	CHECK_EQUAL(dune_vm_free(second), 0, "free");
}

/* A snapshot: both sides copy what they write. */
static void copies(void)
{
	char *p = map(2 * MIB2, MIB2), *pool = (char *)0x520000000000;
	struct page *pg;

	memset(p, 1, 2 * MIB2);
	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), pool, 20 * PAGE, RW), 0, "map_pages");
	memset(pool, 1, 20 * PAGE);
	second = dune_vm_clone(dune_vm_root());
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), pool, 20 * PAGE, PERM_R | PERM_COW), 0, "copy on write");
	CHECK_EQUAL(dune_vm_mprotect(second, pool, 20 * PAGE, PERM_R | PERM_COW), 0, "copy on write");
	CHECK_EQUAL(dune_vm_mprotect(second, p, 2 * MIB2, PERM_R | PERM_COW), 0, "copy on write");
	faults = 0;
	for (int i = 0; i < 20; i += 2)
		pool[i * PAGE] = 2;
	CHECK_EQUAL(faults, 10, "faults");
	dune_vm_switch(second);
	for (int i = 0; i < 20; i++)
		CHECK_EQUAL(pool[i * PAGE], 1, "the snapshot");
	for (int i = 0; i < 20; i++)
		pool[i * PAGE + 1] = 3;
	CHECK_EQUAL(faults, 30, "faults");
	for (unsigned long i = 0; i < 512; i += 5)
		p[i * PAGE + 5] = 4;
	CHECK_EQUAL(faults, 30 + 103, "faults");
	CHECK_EQUAL(p[5], 4, "a copy of the process's memory");
	CHECK_EQUAL(p[PAGE - 1], 1, "a copy of the process's memory");
	dune_vm_switch(first);
	for (unsigned long i = 0; i < 512; i++)
		CHECK_EQUAL(p[i * PAGE + 5], 1, "the process's memory");
	for (int i = 0; i < 20; i++) {
		CHECK_EQUAL(pool[i * PAGE], i % 2 ? 1 : 2, "the first");
		CHECK_EQUAL(pool[i * PAGE + 1], 1, "the first");
	}
	/* The last one that has the page keeps it. */
	pg = dune_vm_lookup_page(dune_vm_root(), pool + PAGE);
	CHECK_EQUAL(pg->ref, 1, "references");
	pool[PAGE] = 5;
	CHECK(dune_vm_lookup_page(dune_vm_root(), pool + PAGE) == pg, "the page stays");
	CHECK_EQUAL(dune_vm_free(second), 0, "free");
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), pool, 20 * PAGE), 0, "unmap");
	CHECK_EQUAL(pg->ref, 0, "references");
}

/* Identifiers are given out again: nothing of the address space before may be left. */
static void many(void)
{
	unsigned long *va = (unsigned long *)0x530000000000;

	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), va, PAGE, RW), 0, "map_pages");
	*va = 1;
	for (int i = 0; i < 5000; i++) {
		ptent_t *root = dune_vm_clone(dune_vm_root());

		DIE_UNLESS(root, "clone");
		CHECK_EQUAL(dune_vm_map_pages(root, va, PAGE, RW), 0, "map_pages");
		dune_vm_switch(root);
		CHECK_EQUAL(*va, 0, "a fresh page");
		*va = 2;
		dune_vm_switch(dune_vm_root());
		CHECK_EQUAL(*va, 1, "the first");
		CHECK_EQUAL(dune_vm_free(root), 0, "free");
		if (check_failures)
			break;
	}
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), va, PAGE), 0, "unmap");
}

static void dirty(void)
{
	char *p = map(4 * MIB2, MIB2);
	uint64_t bitmap[4 * 512 / 64];
	const unsigned int flags = DUNE_VM_DIRTY | DUNE_VM_CLEAR;
	long found;

	memset(p, 1, 4 * MIB2);
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, 4 * MIB2, flags | DUNE_VM_SPLIT, NULL), 2048, "all dirty");
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, 4 * MIB2, flags, NULL), 0, "none dirty");
	for (int round = 0; round < 50; round++) {
		for (int i = round; i < 2048; i += 13)
			p[i * PAGE]++;
		for (int i = 0; i < 2048; i++)
			(void)*(volatile char *)(p + i * PAGE);
		found = dune_vm_scan(dune_vm_root(), p, 4 * MIB2, flags, bitmap);
		CHECK_EQUAL(found, (2048 - round + 12) / 13, "how many are dirty");
		for (int i = 0; i < 2048; i++)
			CHECK_EQUAL(bitmap[i / 64] >> i % 64 & 1, i >= round && (i - round) % 13 == 0, "a dirty page");
	}
	/* A clone clears its own. */
	second = dune_vm_clone(dune_vm_root());
	p[0]++;
	CHECK_EQUAL(dune_vm_scan(second, p, 4 * MIB2, flags, NULL), 1, "in the clone, which shares the table");
	p[PAGE]++;
	CHECK_EQUAL(dune_vm_scan(second, p, 4 * MIB2, flags, NULL), 0, "in the clone");
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, 4 * MIB2, flags, NULL), 2, "in the first");
	dune_vm_switch(second);
	p[5 * PAGE]++;
	CHECK_EQUAL(dune_vm_scan(second, p, 4 * MIB2, flags, bitmap), 1, "in the clone");
	CHECK_EQUAL(bitmap[0], 1 << 5, "in the clone");
	dune_vm_switch(dune_vm_root());
	CHECK_EQUAL(dune_vm_free(second), 0, "free");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	dune_register_pgflt_handler(on_fault);
	switching();
	threads_and_children();
	copies();
	many();
	dirty();
	return check_result();
}
