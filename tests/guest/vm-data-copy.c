// SPDX-License-Identifier: MIT
/*
 * An address space in which the program's data, with libdune's, are a copy of its own: what libdune counts and hands
 * out is one for all of them.  The C library's are a copy too, but its heap is not: what allocates is left out.
 */
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc.h"

#define PAGE	4096UL
#define GIB	(1UL << 30)
#define PAGES	1000		/* more than the pool has at first: it grows in either */
#define RW	(PERM_R | PERM_W)

extern char __data_start[], _end[];

/* Memory that both have. */
static struct shared {
	struct page *in_second[PAGES], *in_first[PAGES];
	ptent_t *clone_of_second, *clone_of_first;
	unsigned int used, failures, thread_failures;
	volatile unsigned int copied;
	int tid, go[2];		/* tid: 0 when the thread has ended */
	char stack[0x10000] __attribute__((aligned(16)));
} *shared;

static ptent_t *second;

static void on_fault(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	(void)tf;
	shared->copied++;
	dune_vm_default_pgflt_handler(addr, error);
}

/* What dune_page_stats() says. */
static unsigned int used(void)
{
	int ends[2], out = dup(1);
	unsigned int n = ~0U;
	char text[256] = "";

	fflush(stdout);
	DIE_UNLESS(!pipe(ends) && dup2(ends[1], 1) == 1, "a pipe");
	dune_page_stats();
	dup2(out, 1);
	DIE_UNLESS(read(ends[0], text, sizeof(text) - 1) > 0, "what dune_page_stats() says");
	close(ends[0]);
	close(ends[1]);
	close(out);
	DIE_UNLESS(sscanf(text, "page pool: %u", &n) == 1, "a number");
	return n;
}

/* All of it but what another address space has: the data become a copy. */
static void copy_all(void)
{
	for (char *p = (char *)PGADDR(__data_start); p < _end; p += PAGE) {
		volatile char *first = p < __data_start ? __data_start : p;

		*first = *first;
	}
}

static void take(struct page **pages)
{
	for (int i = 0; i < PAGES; i++) {
		pages[i] = dune_page_alloc();
		DIE_UNLESS(pages[i], "a page");
		*(struct page ***)dune_page2pa(pages[i]) = &pages[i];
	}
}

/* Each has what was written to it: nobody else has got it. */
static void check_pages(struct page **pages, int step, const char *what)
{
	for (int i = 0; i < PAGES; i += step) {
		CHECK(dune_page_isfrompool(dune_page2pa(pages[i])), "%s, page %d: of the pool", what, i);
		CHECK(*(struct page ***)dune_page2pa(pages[i]) == &pages[i], "%s, page %d: handed out twice", what, i);
	}
}

static int in_thread(void *arg)
{
	bool good = dune_vm_current() == second;
	char c;

	(void)arg;
	good &= dune_syscall(SYS_read, shared->go[0], (long)&c, 1, 0, 0, 0) == 1;
	shared->thread_failures = !good;
	dune_syscall(SYS_exit, 0, 0, 0, 0, 0, 0);
	return 0;
}

static void make_thread(void)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			  CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

	CHECK(clone(in_thread, shared->stack + sizeof(shared->stack), flags, NULL, &shared->tid, NULL,
		    &shared->tid) > 0, "a thread");
}

static void join_thread(void)
{
	int tid;

	CHECK_EQUAL(write(shared->go[1], "x", 1), 1, "write");
	while ((tid = __atomic_load_n(&shared->tid, __ATOMIC_ACQUIRE)))
		dune_syscall(SYS_futex, (long)&shared->tid, FUTEX_WAIT, tid, 0, 0, 0);
	CHECK_EQUAL(shared->thread_failures, 0, "a thread begins in its maker's address space");
}

/* Memory of the process across two granules, which takes a look at the kernel's table of them. */
static void map_across(void)
{
	char *p = mmap(NULL, 3 * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *edge = (char *)(((uintptr_t)p + 2 * GIB - 1) & -GIB);
	int ret;

	DIE_UNLESS(p != MAP_FAILED, "mmap");
	edge[-1] = 1;
	edge[0] = 2;
	ret = dune_vm_map_phys(second, (void *)0x540000000000, 2 * PAGE, (void *)dune_va_to_pa(edge - PAGE), RW);
	CHECK(ret == 0 || ret == -EXDEV, "across 1 GiB: %d", ret);
	CHECK(ret || (((char *)0x540000000000)[PAGE - 1] == 1 && ((char *)0x540000000000)[PAGE] == 2), "what is there");
	munmap(p, 3 * GIB);
}

static void in_second(void)
{
	unsigned int before = used();

	shared->copied = 0;
	copy_all();
	CHECK(shared->copied > 5, "the data are a copy: %u pages", shared->copied);
	/* The copies themselves are pages of the pool. */
	CHECK_EQUAL(used(), before + shared->copied, "pages");
	before = used();
	take(shared->in_second);
	CHECK_EQUAL(used(), before + PAGES, "pages");
	for (int i = 0; i < PAGES; i += 2) {
		dune_page_free(shared->in_second[i]);
		shared->in_second[i] = NULL;
	}
	shared->clone_of_second = dune_vm_clone(second);
	CHECK(shared->clone_of_second, "a clone");
	make_thread();
	map_across();
	CHECK_EQUAL(dune_threads_outside(), 0, "threads outside, as the second sees it");
	shared->used = used();
	shared->failures = check_failures;
}

static void in_first_again(void)
{
	unsigned int pcid;

	CHECK_EQUAL(shared->failures, 0, "failures in the second");
	CHECK_EQUAL(used(), shared->used, "pages, as the first sees it");
	CHECK_EQUAL(dune_threads_outside(), 0, "threads outside, as the first sees it");
	CHECK_EQUAL(dune_vm_free(second), -EBUSY, "a thread is in the second");
	take(shared->in_first);
	CHECK_EQUAL(used(), shared->used + PAGES, "pages");
	check_pages(shared->in_second + 1, 2, "of the second");
	check_pages(shared->in_first, 1, "of the first");
	shared->clone_of_first = dune_vm_clone(dune_vm_root());
	CHECK(shared->clone_of_first, "a clone");
	pcid = dune_pa2page((physaddr_t)shared->clone_of_first)->pcid;
	CHECK(!pcid || pcid != dune_pa2page((physaddr_t)shared->clone_of_second)->pcid, "identifier %u for both", pcid);
	shared->used = used();
}

static void give_back(void)
{
	CHECK_EQUAL(used(), shared->used, "pages, as the second sees it");
	check_pages(shared->in_first, 1, "of the first");
	join_thread();
	for (int i = 0; i < PAGES; i++) {
		dune_page_put(shared->in_second[i]);
		dune_page_free(shared->in_first[i]);
	}
	CHECK_EQUAL(dune_vm_free(shared->clone_of_first), 0, "free");
	CHECK_EQUAL(dune_vm_free(shared->clone_of_second), 0, "free");
	shared->failures = check_failures;
}

int main(int argc, char **argv)
{
	char *data = (char *)PGADDR(__data_start);
	unsigned int before;

	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	alarm(120);
	dune_register_pgflt_handler(on_fault);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(shared != MAP_FAILED && !pipe(shared->go), "memory and a pipe");
	before = used();
	second = dune_vm_clone(dune_vm_root());
	DIE_UNLESS(second, "clone");
	CHECK_EQUAL(dune_vm_mprotect(second, data, PGADDR(_end + PAGE - 1) - (uintptr_t)data, PERM_R | PERM_COW), 0,
		    "copied on write");
	for (int round = 0; round < 2; round++) {
		CHECK_EQUAL(dune_vm_switch(second), 0, "switch");
		if (!round)
			in_second();
		else
			give_back();
		CHECK_EQUAL(dune_vm_switch(dune_vm_root()), 0, "switch");
		if (!round)
			in_first_again();
	}
	CHECK_EQUAL(shared->failures, 0, "failures in the second");
	CHECK_EQUAL(dune_vm_free(second), 0, "free");
	CHECK(used() >= before && used() <= before + 8, "pages: %u, and %u before", used(), before);
	return check_result();
}
