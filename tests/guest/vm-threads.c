// SPDX-License-Identifier: MIT
/*
 * Page tables under threads: when a change returns no other CPU uses what was there before, and no dirty bit is
 * lost.  A flush that is missing shows at once.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "module.h"
#include "proc.h"

#define PAGE	4096UL
#define MIB2	(2UL << 20)
#define RW	(PERM_R | PERM_W)

static char *area;		/* 4 MiB */
static atomic_ulong faults;
static atomic_bool stop, pause_wanted, paused;
static unsigned long rounds = 300;

/* The access is made again until it is allowed. */
static void on_fault(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	faults++;
	if (addr - (uintptr_t)area >= 2 * MIB2 && addr - 0x500000000000 >= MIB2) {
		printf("a page fault at %#lx, error %#lx, RIP %#lx\n", addr, error, tf->rip);
		_exit(1);
	}
	__builtin_ia32_pause();
}

static void wait_for(atomic_ulong *what, unsigned long value)
{
	while (atomic_load(what) < value && !check_failures)
		__builtin_ia32_pause();
}

static pthread_t start(void *(*fn)(void *))
{
	pthread_t thread;

	stop = false;
	DIE_UNLESS(!pthread_create(&thread, NULL, fn, NULL), "pthread_create");
	return thread;
}

static void finish(pthread_t thread)
{
	stop = true;
	pthread_join(thread, NULL);
}

/* ---- permissions ---- */

static atomic_ulong written;

static void *write_one(void *arg)
{
	volatile unsigned long *p = (volatile unsigned long *)area;

	while (!stop) {
		(*p)++;
		written++;
	}
	return arg;
}

static void permissions(void)
{
	volatile unsigned long *p = (volatile unsigned long *)area;
	pthread_t thread = start(write_one);

	for (unsigned long i = 0; i < rounds && !check_failures; i++) {
		unsigned long before, seen;

		wait_for(&written, written + 50);
		before = faults;
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area, PAGE, i % 3 ? PERM_R : PERM_R | PERM_U), 0,
			    "mprotect");
		seen = *p;
		for (int k = 0; k < 2000; k++)
			__builtin_ia32_pause();
		CHECK_EQUAL(*p, seen, "written although it is protected");
		wait_for(&faults, before + 1);
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area, PAGE, RW), 0, "mprotect");
	}
	finish(thread);
}

/* ---- other pages at the same address ---- */

static void *write_elsewhere(void *arg)
{
	volatile unsigned long *p = (volatile unsigned long *)0x500000000000;

	while (!stop) {
		(*p)++;
		written++;
	}
	return arg;
}

static void replacing(void)
{
	void *va = (void *)0x500000000000;
	struct page *two[2] = { dune_page_alloc(), dune_page_alloc() };
	pthread_t thread;

	CHECK_EQUAL(dune_vm_insert_page(dune_vm_root(), va, two[0], RW), 0, "insert_page");
	thread = start(write_elsewhere);
	for (unsigned long i = 0; i < rounds && !check_failures; i++) {
		volatile unsigned long *old = (volatile unsigned long *)dune_page2pa(two[i % 2]);
		unsigned long seen;

		wait_for(&written, written + 50);
		if (i % 4 == 3)
			CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), va, MIB2), 0, "unmap");
		else
			CHECK_EQUAL(dune_vm_insert_page(dune_vm_root(), va, two[(i + 1) % 2], RW), 0, "insert_page");
		seen = *old;
		for (int k = 0; k < 2000; k++)
			__builtin_ia32_pause();
		CHECK_EQUAL(*old, seen, "written although it is no longer mapped");
		if (i % 4 == 3)
			CHECK_EQUAL(dune_vm_insert_page(dune_vm_root(), va, two[(i + 1) % 2], RW), 0, "insert_page");
	}
	finish(thread);
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), va, PAGE), 0, "unmap");
	CHECK_EQUAL(two[0]->ref + two[1]->ref, 2, "references");
	dune_page_put(two[0]);
	dune_page_put(two[1]);
}

/* ---- dirty bits ---- */

#define NR	1000UL

static void *write_all(void *arg)
{
	unsigned long seed = 1;

	while (!stop) {
		while (pause_wanted) {
			paused = true;
			__builtin_ia32_pause();
		}
		paused = false;
		written++;
		for (int i = 0; i < 20; i++) {
			seed = seed * 6364136223846793005UL + 1442695040888963407UL;
			++*(volatile unsigned long *)(area + (seed >> 33) % NR * PAGE);
		}
	}
	return arg;
}

/*
 * Who keeps a copy of each page by the dirty bits alone must have the right one in the end: a write is either in what
 * is read after the scan, or its bit is there at the next.
 */
static void dirty(bool with_clones)
{
	static unsigned long known[NR];
	uint64_t bitmap[NR / 64 + 1];
	const unsigned int flags = DUNE_VM_DIRTY | DUNE_VM_CLEAR;
	unsigned long wrong = 0, reported = 0;
	pthread_t thread;

	for (unsigned long i = 0; i < NR; i++)
		known[i] = *(unsigned long *)(area + i * PAGE);
	CHECK(dune_vm_scan(dune_vm_root(), area, NR * PAGE, flags | DUNE_VM_SPLIT, NULL) >= 0, "scan");
	thread = start(write_all);
	for (unsigned long i = 0; i < rounds && !wrong; i++) {
		bool check = i % 10 == 9;
		ptent_t *clone = NULL;
		long found;

		wait_for(&written, written + 1);
		if (with_clones)
			CHECK((clone = dune_vm_clone(dune_vm_root())), "clone");
		if (check) {
			pause_wanted = true;
			while (!paused)
				__builtin_ia32_pause();
		}
		found = dune_vm_scan(dune_vm_root(), area, NR * PAGE, flags, bitmap);
		CHECK(found >= 0, "scan: %ld", found);
		reported += found;
		for (unsigned long k = 0; k < NR; k++)
			if (bitmap[k / 64] >> k % 64 & 1)
				known[k] = *(volatile unsigned long *)(area + k * PAGE);
		if (check) {
			for (unsigned long k = 0; k < NR; k++)
				wrong += known[k] != *(volatile unsigned long *)(area + k * PAGE);
			pause_wanted = false;
			while (paused)
				__builtin_ia32_pause();
		}
		if (clone)
			CHECK_EQUAL(dune_vm_free(clone), 0, "free");
	}
	finish(thread);
	CHECK_EQUAL(wrong, 0, with_clones ? "dirty pages missed, with clones" : "dirty pages missed");
	CHECK(reported > rounds, "few pages were dirty: %lu", reported);
}

/* ---- all at once ---- */

static void *change_pages(void *arg)
{
	unsigned long me = (unsigned long)arg, seed = me + 1;

	/* Every second page is mine: both threads work on the same tables. */
	for (unsigned long i = 0; i < rounds; i++) {
		unsigned long page;
		char *p, *q;

		seed = seed * 6364136223846793005UL + 1442695040888963407UL;
		page = (seed >> 33) % 500 * 2 + me;
		p = area + page * PAGE;
		q = (char *)0x500000000000 + page * PAGE;
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, PERM_R), 0, "mprotect");
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, RW), 0, "mprotect");
		*(volatile unsigned long *)p = i;
		CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), q, PAGE, RW), 0, "map_pages");
		*(volatile unsigned long *)q = i;
		CHECK_EQUAL(*(volatile unsigned long *)q, i, "a page of mine");
		CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), q, PAGE), 0, "unmap");
		if (i % 16 == me)
			dune_vm_merge(dune_vm_root(), area, 2 * MIB2);
		if (i % 16 == me + 8) {
			ptent_t *clone = dune_vm_clone(dune_vm_root());

			CHECK(clone && !dune_vm_free(clone), "clone");
		}
	}
	return NULL;
}

static void together(void)
{
	pthread_t threads[2];

	for (unsigned long i = 0; i < 2; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, change_pages, (void *)i), "pthread_create");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* ---- waiting ---- */

static double waiter;	/* seconds of the CPU that it took */
static int start_pipe[2];

static double thread_seconds(void)
{
	struct timespec t;

	DIE_UNLESS(!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), "clock_gettime");
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *change_one(void *arg)
{
	const struct sched_param param = { .sched_priority = 1 };
	pid_t child;
	char byte;

	DIE_UNLESS(!sched_setscheduler(0, SCHED_FIFO, &param), "SCHED_FIFO");
	waiter = thread_seconds();
	written++;
	DIE_UNLESS(read(start_pipe[0], &byte, 1) == 0, "read");
	if (!arg) {
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), area, PAGE, RW), 0, "mprotect");
	} else {
		child = fork();
		if (!child)
			_exit(0);
		CHECK_EQUAL(waitpid(child, NULL, 0), child, "waitpid");
	}
	waiter = thread_seconds() - waiter;
	return NULL;
}

/*
 * Who has the lock can be off the CPU, and of a lower priority than who waits: a waiter that kept the CPU would have
 * all of it, for ever.  Returns the share that it had.
 */
static double waiting(bool outside)
{
	extern uint32_t *__dune_memory_mutex;
	unsigned long before = written, yields = module_counter("yields");
	double start = check_seconds(), all;
	unsigned long tsc = __builtin_ia32_rdtsc(), tenth;
	pthread_t thread;
	cpu_set_t set;

	while (check_seconds() < start + 0.1)
		;
	tenth = __builtin_ia32_rdtsc() - tsc;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	DIE_UNLESS(!sched_setaffinity(0, sizeof(set), &set) && !pipe(start_pipe), "affinity, pipe");
	DIE_UNLESS(!pthread_create(&thread, NULL, change_one, outside ? "" : NULL), "pthread_create");
	wait_for(&written, before + 1);
	start = check_seconds();
	while (__atomic_exchange_n(__dune_memory_mutex, 0x10000, __ATOMIC_ACQUIRE))	/* HOLDER_HOST */
		;
	/* No call that uses memory: libdune would look there, with the lock. */
	if (!close(start_pipe[1]))
		for (tsc = __builtin_ia32_rdtsc(); __builtin_ia32_rdtsc() - tsc < tenth;)
			;
	__atomic_store_n(__dune_memory_mutex, 0, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	all = check_seconds() - start;
	printf("%.0f ms, of which who waits had %.0f; %lu times asleep\n", all * 1e3, waiter * 1e3,
	       module_counter("yields") - yields);
	CHECK(module_counter("yields") > yields + 10, "who waits did not sleep");
	close(start_pipe[0]);
	return waiter / all;
}

static void waiters_sleep(bool outside)
{
	double share = 1;

	/* When the host has something else to do, that counts as time of who waits, too. */
	for (unsigned int i = 0; i < 3 && share >= 0.75; i++)
		share = waiting(outside);
	CHECK(share < 0.75, "who waits kept the CPU: %.0f%%", share * 100);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	if (argc > 1 && !mode_precise)
		rounds = atol(argv[1]);
	dune_register_pgflt_handler(on_fault);
	area = mmap(NULL, 4 * MIB2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap");
	area = (char *)(((unsigned long)area + MIB2 - 1) & -MIB2);
	memset(area, 0, 2 * MIB2);
	permissions();
	replacing();
	dirty(false);
	dirty(true);
	together();
	waiters_sleep(false);
	waiters_sleep(true);
	return check_result();
}
