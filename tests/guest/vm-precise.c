// SPDX-License-Identifier: MIT
/*
 * dune_init(false): the page table has what the process has, with its permissions, and nothing else; what comes
 * later is there at its first touch, what is gone is a fault.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "proc.h"

#define PAGE	4096UL
#define MIB2	(2UL << 20)
#define GIB	(1UL << 30)
#define FAR	((char *)0x600000000000)

static char *map(void *where, unsigned long size, int prot)
{
	char *p = mmap(where, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	DIE_UNLESS(p != MAP_FAILED && (!where || p == where), "mmap");
	return p;
}

/* ---- the table against the memory map ---- */

#define MAX_MAPPINGS	256

static struct dune_procmap_entry mappings[MAX_MAPPINGS];
static unsigned int nr_mappings;
static uintptr_t own_begin, own_end;	/* libdune's */

static void note(const struct dune_procmap_entry *e, void *arg)
{
	(void)arg;
	if (nr_mappings < MAX_MAPPINGS && e->end <= 1UL << 47)
		mappings[nr_mappings++] = *e;
}

static const struct dune_procmap_entry *mapping_of(uintptr_t va)
{
	for (unsigned int i = 0; i < nr_mappings; i++)
		if (va >= mappings[i].begin && va < mappings[i].end)
			return &mappings[i];
	return NULL;
}

static unsigned long leaf_size(uintptr_t va)
{
	for (unsigned long size = PAGE; ; size <<= 9) {
		ptent_t *e, *first;

		if (size == GIB || dune_vm_lookup(dune_vm_root(), (void *)va, CREATE_NONE, &e))
			return size;
		if (va & (size * 512 - 1) && size < GIB &&
		    dune_vm_lookup(dune_vm_root(), (void *)(va & -(size * 512)), CREATE_NONE, &first))
			return size;
		if (!(*e & PTE_PS))
			return PAGE;
		return (PTE_ADDR(*e) & (GIB - 1)) || (va & (GIB - 1)) ? MIB2 : size == PAGE ? MIB2 : GIB;
	}
}

static unsigned long bytes, wrong;

static int see_entry(const void *arg, ptent_t *e, void *va)
{
	unsigned long size = leaf_size((uintptr_t)va);
	const struct dune_procmap_entry *m = mapping_of((uintptr_t)va);
	bool good = m && (uintptr_t)va + size <= m->end && *e & PTE_P && !(*e & PTE_W) == !m->w &&
		    !(*e & PTE_NX) == m->x && !(*e & PTE_U);

	(void)arg;
	bytes += size;
	if (!good && wrong++ < 5)
		CHECK(good, "an entry %#lx of %lu bytes at %p: the process has %#lx-%#lx %d%d%d", *e, size, va,
		      m ? m->begin : 0, m ? m->end : 0, m ? m->r : 0, m ? m->w : 0, m ? m->x : 0);
	return 0;
}

static void compare(const char *when)
{
	unsigned long expected = 0;

	/* Reading the map must not change it: stdio's buffer is there already. */
	nr_mappings = bytes = wrong = 0;
	CHECK_EQUAL(dune_procmap_iterate(note, NULL), 0, "dune_procmap_iterate");
	for (unsigned int i = 0; i < nr_mappings; i++) {
		const struct dune_procmap_entry *m = &mappings[i];
		bool own = (m->begin < own_end && m->end > own_begin) ||
			   (m->begin < PAGEBASE + MAX_PAGES * PAGE && m->end > PAGEBASE);

		if (!own && (m->r || m->w || m->x))
			expected += m->end - m->begin;
	}
	CHECK_EQUAL(dune_vm_page_walk(dune_vm_root(), VA_START, VA_END, see_entry, NULL), 0, when);
	CHECK_EQUAL(wrong, 0, when);
	CHECK_EQUAL(bytes, expected, when);
}

static ptent_t entry(const void *va)
{
	ptent_t *e;

	return dune_vm_lookup(dune_vm_root(), (void *)va, CREATE_NONE, &e) ? 0 : *e;
}

/* ---- what comes later ---- */

static unsigned long __attribute__((noinline)) deep(unsigned int n)
{
	volatile char room[PAGE];

	room[0] = room[PAGE - 1] = n;
	return n ? deep(n - 1) + room[0] - room[PAGE - 1] + 1 : 0;
}

static void what_comes(void)
{
	char *p = map(NULL, 3 * MIB2, PROT_READ | PROT_WRITE), *heap = sbrk(0), *q;
	int fds[2];

	CHECK_EQUAL(p[5], 0, "a fresh page");
	CHECK_EQUAL(entry(p) & (PTE_P | PTE_W | PTE_NX), PTE_P | PTE_W | PTE_NX, "its entry");
	for (unsigned long i = 0; i < 3 * MIB2; i += PAGE)
		p[i] = i / PAGE;
	compare("after mmap");
	DIE_UNLESS(!brk(heap + 50 * PAGE), "brk");
	memset(heap, 7, 50 * PAGE);
	compare("after brk");
	CHECK_EQUAL(deep(1000), 1000, "a stack of 4 MiB");
	compare("after growth of the stack");
	q = map(FAR, PAGE, PROT_READ | PROT_WRITE);
	q[1] = 3;
	CHECK_EQUAL(q[1], 3, "a granule far away");
	/* What system calls read and write is there before the program touches it. */
	q = map(NULL, PAGE, PROT_READ | PROT_WRITE);
	DIE_UNLESS(!pipe(fds), "pipe");
	CHECK_EQUAL(write(fds[1], p, PAGE), PAGE, "write");
	CHECK_EQUAL(read(fds[0], q, PAGE), PAGE, "read");
	CHECK(!memcmp(p, q, PAGE), "what came through the pipe");
	close(fds[0]);
	close(fds[1]);
	compare("after system calls");
	munmap(FAR, PAGE);
	munmap(q, PAGE);
	munmap(p, 3 * MIB2);
	CHECK_EQUAL(entry(p) & PTE_P, 0, "after munmap");
	compare("after munmap");
}

/* ---- what is gone, or changes ---- */

static int fatal_code;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	_exit(info->si_code);
}

/* The si_code of an access, or 100. */
#define CODE_OF(...) ({									\
	struct sigaction action_ = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };	\
	int status_ = IN_CHILD(sigaction(SIGSEGV, &action_, NULL); __VA_ARGS__; _exit(100));	\
	status_ >> 8;									\
})

static void what_goes(void)
{
	volatile char *p = map(NULL, 4 * MIB2, PROT_READ | PROT_WRITE);

	p[0] = 1;
	p[MIB2] = 2;
	munmap((void *)p, MIB2);
	CHECK_EQUAL(CODE_OF(fatal_code = p[0]), SEGV_MAPERR, "a load after munmap");
	CHECK_EQUAL(CODE_OF(p[0] = 1), SEGV_MAPERR, "a store after munmap");
	CHECK_EQUAL(p[MIB2], 2, "what has stayed");
	compare("after a part went");
	map((void *)p, MIB2, PROT_READ | PROT_WRITE);
	CHECK_EQUAL(p[0], 0, "what is there now");

	/* mprotect(): each kind there and back. */
	for (int round = 0; round < 3; round++) {
		p[PAGE] = 9;
		CHECK_EQUAL(mprotect((void *)p, 3 * PAGE, PROT_READ), 0, "mprotect");
		CHECK_EQUAL(p[PAGE], 9, "a load");
		CHECK_EQUAL(CODE_OF(p[PAGE] = 1), SEGV_ACCERR, "a store to what is read-only");
		compare("after PROT_READ");
		CHECK_EQUAL(mprotect((void *)p, 3 * PAGE, PROT_NONE), 0, "mprotect");
		CHECK_EQUAL(CODE_OF(fatal_code = p[PAGE]), SEGV_ACCERR, "a load from PROT_NONE");
		compare("after PROT_NONE");
		CHECK_EQUAL(mprotect((void *)p, 3 * PAGE, PROT_READ | PROT_WRITE), 0, "mprotect");
	}
	p[0] = 0xc3;
	CHECK_EQUAL(CODE_OF(((void (*)(void))p)()), SEGV_ACCERR, "a call of what is not code");
	CHECK_EQUAL(mprotect((void *)p, PAGE, PROT_READ | PROT_EXEC), 0, "mprotect");
	((void (*)(void))p)();
	compare("after PROT_EXEC");

	/* mremap(), onto another one; MAP_FIXED over it. */
	p[3 * MIB2] = 5;
	CHECK(mremap((void *)(p + 3 * MIB2), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + MIB2) == p + MIB2,
	      "mremap");
	CHECK_EQUAL(p[MIB2], 5, "what was moved");
	CHECK_EQUAL(CODE_OF(fatal_code = p[3 * MIB2]), SEGV_MAPERR, "where it was");
	CHECK(mmap((void *)(p + MIB2), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + MIB2,
	      "mmap");
	CHECK_EQUAL(p[MIB2], 0, "what replaced it");
	CHECK_EQUAL(CODE_OF(p[MIB2] = 1), SEGV_ACCERR, "a store there");
	compare("after MAP_FIXED");
	munmap((void *)p, 4 * MIB2);
	compare("after munmap");
}

/* ---- what the program has changed is its own ---- */

static volatile int faults;
static volatile uint64_t last_error;

static void allow(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	(void)tf;
	faults++;
	last_error = error;
	dune_vm_mprotect(dune_vm_root(), (void *)(addr & -PAGE), PAGE, PERM_R | PERM_W);
}

DUNE_BARE static void bare_allow(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	(void)tf;
	faults++;
	last_error = error;
	dune_vm_mprotect(dune_vm_root(), (void *)(addr & -PAGE), PAGE, PERM_R | PERM_W);
}

static void the_programs(void)
{
	volatile char *p = map(NULL, MIB2, PROT_READ | PROT_WRITE);
	ptent_t *e;

	for (int bare = 0; bare < 2; bare++) {
		if (bare)
			dune_register_bare_pgflt_handler(bare_allow);
		else
			dune_register_pgflt_handler(allow);
		faults = 0;
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), (void *)p, PAGE, PERM_R), 0, "dune_vm_mprotect");
		p[0] = 1;
		CHECK_EQUAL(faults, 1, "a store to what the program has protected");
		CHECK_EQUAL(last_error, FEC_P | FEC_W, "the error code");
		/* By hand. */
		p[PAGE] = 1;
		CHECK_EQUAL(dune_vm_lookup(dune_vm_root(), (void *)(p + PAGE), CREATE_NORMAL, &e), 0, "dune_vm_lookup");
		*e &= ~(ptent_t)PTE_W;
		dune_flush_tlb_one((unsigned long)p + PAGE);
		p[PAGE] = 2;
		CHECK_EQUAL(faults, 2, "a store to what the program has protected by hand");
		CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)(p + 2 * PAGE), PAGE), 0, "dune_vm_unmap");
		CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)(p + 3 * PAGE), PAGE), 0, "dune_vm_unmap");
		CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), (void *)(p + 3 * PAGE), PAGE, PERM_R | PERM_W), 0,
			    "dune_vm_map_pages");
		p[3 * PAGE] = 7;
		CHECK_EQUAL(CODE_OF(dune_register_pgflt_handler(NULL); p[2 * PAGE] = 1), SEGV_MAPERR,
			    "a hole of the program's");
		munmap((void *)p, MIB2);
		CHECK_EQUAL(p[3 * PAGE], 7, "a page of the pool");
		map((void *)p, MIB2, PROT_READ | PROT_WRITE);
		CHECK_EQUAL(p[3 * PAGE], 7, "a page of the pool");
		CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)p, MIB2), 0, "dune_vm_unmap");
		/* The hole stays the program's. */
		CHECK_EQUAL(CODE_OF(dune_register_pgflt_handler(NULL); p[0] = 1), SEGV_MAPERR,
			    "a hole of the program's");
		mprotect((void *)p, MIB2, PROT_NONE);
		p = map(NULL, MIB2, PROT_READ | PROT_WRITE);
	}
	dune_register_pgflt_handler(NULL);
	munmap((void *)p, MIB2);
}

/* ---- dirty bits ---- */

static void dirty(void)
{
	char *p = map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE), *q;
	uint64_t bitmap[1];
	int fds[2];

	DIE_UNLESS(!pipe(fds), "pipe");
	memset(p, 1, 16 * PAGE);
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, 16 * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, bitmap),
		    16,
		    "the first scan");
	p[3 * PAGE] = 2;
	CHECK_EQUAL(write(fds[1], p, PAGE) + read(fds[0], p + 7 * PAGE, PAGE), 2 * PAGE, "through a pipe");
	CHECK_EQUAL(dune_vm_scan(dune_vm_root(), p, 16 * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, bitmap), 2,
		    "the second scan");
	CHECK_EQUAL(bitmap[0], 1 << 3 | 1 << 7, "dirty pages");
	/* Something new at the same place, which only a system call has written. */
	munmap(p, 16 * PAGE);
	q = map(p, 16 * PAGE, PROT_READ | PROT_WRITE);
	CHECK_EQUAL(write(fds[1], &p, sizeof(p)) + read(fds[0], q + 5 * PAGE, PAGE), 16, "through a pipe");
	dune_vm_scan(dune_vm_root(), p, 16 * PAGE, DUNE_VM_DIRTY, bitmap);
	CHECK(bitmap[0] & 1 << 5, "what a system call has written into new memory is not dirty: %#lx", bitmap[0]);
	CHECK(*(char **)(q + 5 * PAGE) == p, "what it has written");
	munmap(p, 16 * PAGE);
	close(fds[0]);
	close(fds[1]);
}

/* ---- address spaces, processes, threads ---- */

static void clones(void)
{
	ptent_t *clone = dune_vm_clone(dune_vm_root());
	volatile char *p = map(NULL, PAGE, PROT_READ | PROT_WRITE), *q;

	DIE_UNLESS(clone, "clone");
	CHECK_EQUAL(dune_vm_switch(clone), 0, "switch");
	p[0] = 4;
	q = map(FAR, PAGE, PROT_READ | PROT_WRITE);
	q[0] = 5;
	munmap((void *)p, PAGE);
	CHECK_EQUAL(CODE_OF(fatal_code = p[0]), SEGV_MAPERR, "a load after munmap, in a clone");
	CHECK_EQUAL(dune_vm_switch(dune_vm_root()), 0, "switch");
	CHECK_EQUAL(q[0], 5, "what was touched in the clone");
	CHECK_EQUAL(CODE_OF(fatal_code = p[0]), SEGV_MAPERR, "a load after munmap");
	CHECK_EQUAL(dune_vm_free(clone), 0, "free");
	munmap(FAR, PAGE);
	compare("after a clone");
}

static void children(void)
{
	char *p = map(NULL, PAGE, PROT_READ | PROT_WRITE);

	p[0] = 1;
	CHECK_EQUAL(IN_CHILD(
		char *q = map(NULL, MIB2, PROT_READ | PROT_WRITE);

		CHECK_EQUAL(p[0], 1, "the parent's");
		p[0] = q[5] = 2;
		compare("in a child");
		munmap(p, PAGE);
		munmap(q, MIB2);
		compare("in a child");
	), EXITED(0), "a child");
	CHECK_EQUAL(p[0], 1, "after the child");
	compare("after a child");
	munmap(p, PAGE);
}

#define ROUNDS	300

static char *volatile handed;
static pthread_barrier_t barrier;

/* Each touches, protects and unmaps what the other one has mapped. */
static void *exchange(void *arg)
{
	long me = (long)arg;

	for (int i = 0; i < ROUNDS; i++) {
		volatile char *p;

		if (i % 2 == me) {
			handed = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE);
			handed[PAGE] = i;
		}
		pthread_barrier_wait(&barrier);
		p = handed;
		p[me * PAGE] = i;
		CHECK_EQUAL((uint8_t)p[PAGE], i % 256, "what the other thread wrote");
		pthread_barrier_wait(&barrier);
		if (i % 2 == me)
			mprotect((void *)p, 4 * PAGE, PROT_READ);
		pthread_barrier_wait(&barrier);
		CHECK_EQUAL((uint8_t)p[me * PAGE], i % 256, "what was protected");
		pthread_barrier_wait(&barrier);
		if (i % 2 != me)
			mprotect((void *)p, 4 * PAGE, PROT_READ | PROT_WRITE);
		pthread_barrier_wait(&barrier);
		p[me * PAGE + 2 * PAGE] = i;
		pthread_barrier_wait(&barrier);
		if (i % 2 != me)
			munmap((void *)p, 4 * PAGE);
	}
	return NULL;
}

/* A thread that has never entered changes permissions behind libdune's back. */
static volatile int order, done;
static char *volatile place;

static void *ordinary(void *arg)
{
	(void)arg;
	CHECK(!dune_in_dune_mode(), "an ordinary thread");
	for (int i = 1; i <= 4; i++) {
		while (order != i)
			usleep(1000);
		if (i == 4)
			munmap(place, PAGE);
		else
			mprotect(place, PAGE, i == 2 ? PROT_READ : PROT_READ | PROT_WRITE | (i == 3 ? PROT_EXEC : 0));
		done = i;
	}
	return NULL;
}

static void tell(int what)
{
	order = what;
	while (done != what)
		usleep(1000);
}

static void beside(pthread_t thread)
{
	volatile char *p = place = map(NULL, PAGE, PROT_READ);

	CHECK_EQUAL(p[0], 0, "a load");
	tell(1);
	p[0] = 0xc3;
	CHECK_EQUAL((uint8_t)p[0], 0xc3, "a store to what an ordinary thread has made writable");
	tell(2);
	CHECK_EQUAL(CODE_OF(p[0] = 1), SEGV_ACCERR, "a store to what it has made read-only");
	tell(3);
	((void (*)(void))p)();
	tell(4);
	CHECK_EQUAL(CODE_OF(fatal_code = p[0]), SEGV_MAPERR, "a load from what it has unmapped");
	pthread_join(thread, NULL);
}

static void threads(void)
{
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 2);
	DIE_UNLESS(!pthread_create(&thread, NULL, exchange, (void *)1), "pthread_create");
	exchange((void *)0);
	pthread_join(thread, NULL);
	compare("after threads");
}

/* ---- the rest ---- */

static void outside(void)
{
	char *p;

	dune_leave();
	p = map(NULL, MIB2, PROT_READ | PROT_WRITE);
	p[0] = 1;
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	CHECK_EQUAL(p[0], 1, "what was mapped outside");
	compare("after dune_leave");
	dune_leave();
	munmap(p, MIB2);
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	compare("after dune_leave and munmap");
	CHECK_EQUAL(CODE_OF(p[0] = 1), SEGV_MAPERR, "what was unmapped outside");
}

/* Without a descriptor the memory map cannot be read; and what is too large is mapped as it is touched. */
static void last(void)
{
	volatile char *p = map(NULL, 3 * PAGE, PROT_READ | PROT_WRITE), *large;

	CHECK_EQUAL(IN_CHILD(
		struct rlimit none = { 0, 0 };
		struct sigaction action = { .sa_flags = SA_SIGINFO };

		CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0, "setrlimit");
		p[PAGE] = 3;
		CHECK_EQUAL(p[PAGE], 3, "a store");
		action.sa_sigaction = on_segv;
		sigaction(SIGSEGV, &action, NULL);
		if (!check_failures)
			FAR[0] = 1;
	), EXITED(SEGV_MAPERR), "without a descriptor");
	munmap((void *)p, 3 * PAGE);

	large = mmap(NULL, 8UL << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	DIE_UNLESS(large != MAP_FAILED, "mmap");
	bytes = 0;
	CHECK_EQUAL(dune_vm_page_walk(dune_vm_root(), (void *)large, (void *)(large + (8UL << 40) - 1), see_entry,
				      NULL), 0,
		    "page_walk");
	CHECK_EQUAL(bytes, 0, "what is too large for the table");
	for (int i = 0; i < 8; i++) {
		large[((unsigned long)i << 40) + i * PAGE] = i;
		CHECK_EQUAL(large[((unsigned long)i << 40) + i * PAGE], i, "in what is large");
	}
	munmap((void *)large, 8UL << 40);
}

int main(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idt;
	pthread_t thread;
	char *before = map(NULL, 5 * MIB2, PROT_READ | PROT_WRITE);
	uint64_t start;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("as an ordinary process\n");
	dune_set_option(DUNE_OPT_QUIET, true);
	DIE_UNLESS(!pthread_create(&thread, NULL, ordinary, NULL), "pthread_create");
	start = dune_get_ticks();
	CHECK_EQUAL(dune_init(false), 0, "dune_init(false)");
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	printf("dune_init(false) and dune_enter(): %lu ticks\n", dune_get_ticks() - start);
	proc_inside = mode_precise = true;
	__asm__ volatile("sidt %0" : "=m"(idt));
	own_begin = idt.base & -GIB;
	own_end = own_begin + GIB;
	compare("at first");
	before[0] = 1;
	CHECK_EQUAL(entry(FAR) & PTE_P, 0, "where nothing is");
	CHECK_EQUAL(CODE_OF(*(volatile char *)FAR = 1), SEGV_MAPERR, "a store to nothing");
	what_comes();
	what_goes();
	the_programs();
	dirty();
	clones();
	children();
	beside(thread);
	threads();
	outside();
	last();
	munmap(before, 5 * MIB2);
	compare("at last");
	return check_result();
}
