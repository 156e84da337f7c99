// SPDX-License-Identifier: MIT
/*
 * The stack that a program runs on loses permissions, is copied on write, scanned and cloned, like any other memory;
 * nothing else is mapped to it.  So does that of a thread, which ends all the same.
 */
#include <alloca.h>
#include <pthread.h>
#include <signal.h>

#include "proc.h"
#include "ring3.h"

#define PAGES	33

static volatile int faults, signals;

static void copy(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	(void)tf;
	faults++;
	dune_vm_default_pgflt_handler(addr, fec);
}

static void open_page(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	(void)fec, (void)tf;
	faults++;
	dune_vm_mprotect(dune_vm_current(), (void *)PGADDR(addr), PGSIZE, PERM_R | PERM_W);
}

static int protect(ptent_t *root, char *low, int perm)
{
	return dune_vm_mprotect(root, low, PAGES * PGSIZE, perm);
}

static void on_signal(int signo)
{
	volatile char local[8192];

	memset((char *)local, signo, sizeof(local));
	signals += local[77] == signo;
}

/* What a program does with its stack: calls, system calls with buffers there, signals. */
static void __attribute__((noinline)) use_it(const char *how)
{
	char text[64];
	int ends[2];

	CHECK(!pipe(ends), "%s: pipe", how);
	snprintf(text, sizeof(text), "a text of %s", how);
	CHECK_EQUAL(write(ends[1], text, sizeof(text)), (long)sizeof(text), how);
	memset(text, 0, sizeof(text));
	CHECK_EQUAL(read(ends[0], text, sizeof(text)), (long)sizeof(text), how);
	CHECK(!strncmp(text, "a text of ", 10) && !strcmp(text + 10, how), "%s: what was read", how);
	close(ends[0]);
	close(ends[1]);
	/* on a stack of its own: what is copied is not the process's */
	signals = 0;
	raise(SIGUSR1);
	CHECK_EQUAL(signals, 1, how);
}

static void __attribute__((noinline)) each_way(void)
{
	volatile int x = 1;
	char *low = (char *)PGADDR(&x) - (PAGES - 1) * PGSIZE;
	ptent_t *clone;

	memset(alloca(20 * PGSIZE), 1, 20 * PGSIZE);

	dune_register_pgflt_handler(open_page);
	faults = 0;
	CHECK_EQUAL(protect(dune_vm_root(), low, PERM_R), 0, "read-only");
	x = 2;
	CHECK(faults >= 1, "faults after PERM_R: %d", faults);
	use_it("PERM_R");

	faults = 0;
	CHECK_EQUAL(protect(dune_vm_root(), low, PERM_NONE), 0, "nothing");
	CHECK_EQUAL(x, 2, "what is there");
	CHECK(faults >= 1, "faults after PERM_NONE: %d", faults);
	use_it("PERM_NONE");

	dune_register_pgflt_handler(copy);
	faults = 0;
	CHECK_EQUAL(protect(dune_vm_root(), low, PERM_R | PERM_COW), 0, "copied on write");
	x = 3;
	CHECK(faults >= 1, "faults after PERM_COW: %d", faults);
	use_it("PERM_COW");
	CHECK_EQUAL(x, 3, "what is there");

	CHECK(dune_vm_scan(dune_vm_root(), low, PAGES * PGSIZE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT,
			   NULL) > 0, "written pages");
	x = 4;
	use_it("a scan");

	clone = dune_vm_clone(dune_vm_root());
	CHECK(clone, "dune_vm_clone");
	CHECK_EQUAL(protect(clone, low, PERM_R | PERM_COW), 0, "the clone");
	CHECK_EQUAL(protect(dune_vm_root(), low, PERM_R | PERM_COW), 0, "and this");
	x = 5;
	use_it("a clone");
	CHECK_EQUAL(x, 5, "what is there");
	CHECK_EQUAL(dune_vm_free(clone), 0, "the clone is freed");

	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), low, PAGES * PGSIZE), -EINVAL, "unmap");
	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), low, PAGES * PGSIZE, PERM_R | PERM_W), -EINVAL, "map pages");
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), low, PAGES * PGSIZE, (void *)dune_va_to_pa(low), PERM_R), -EINVAL,
		    "map");
	use_it("what was refused");
}

static void signals_elsewhere(void)
{
	const stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

	CHECK(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL), "an alternate stack");
}

/* ---- a thread, with what the C library has on its stack ---- */

#define ROUNDS	12

static ptent_t *other;		/* an address space; the thread ends there */

static volatile int in_thread;	/* what it has found; its own failures are counted where that is */

/* All of it: with the word that the kernel clears when the thread has ended, by which pthread_join() waits. */
static void *thread_copies_its_stack(void *arg)
{
	pthread_attr_t attributes;
	volatile char here[2 * PGSIZE];
	size_t size;
	void *low;

	(void)arg;
	memset((char *)here, 1, sizeof(here));
	signals_elsewhere();
	CHECK(!pthread_getattr_np(pthread_self(), &attributes), "pthread_getattr_np");
	pthread_attr_getstack(&attributes, &low, &size);
	pthread_attr_destroy(&attributes);
	faults = 0;
	if (other) {
		CHECK_EQUAL(dune_vm_mprotect(other, low, size, PERM_R | PERM_COW), 0, "the clone's");
		CHECK_EQUAL(dune_vm_switch(other), 0, "switch");
	}
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), low, size, PERM_R | PERM_COW), 0, "its own stack");
	here[5] = 2;
	errno = EAGAIN;		/* beside the word */
	CHECK(faults >= 2, "faults after PERM_COW: %d", faults);
	use_it("a thread's stack");
	CHECK_EQUAL(here[5] + here[6], 3, "what is there");
	CHECK_EQUAL(errno, EAGAIN, "what is kept for the thread");
	in_thread++;
	return arg;
}

static void threads(void)
{
	int number = 0;
	pthread_t thread;
	void *result;

	dune_register_pgflt_handler(copy);
	for (int round = 0; round < ROUNDS; round++) {
		/* The later ones have the stacks of those before, with copies. */
		bool elsewhere = round % 3 == 2;

		other = elsewhere ? dune_vm_clone(dune_vm_root()) : NULL;
		CHECK_EQUAL(pthread_create(&thread, NULL, thread_copies_its_stack, &number), 0, "pthread_create");
		if (round % 2)
			usleep(20000);		/* it may end before it is waited for, or not */
		CHECK(!pthread_join(thread, &result) && result == &number, "pthread_join");
		CHECK_EQUAL(in_thread, round + 1, "threads that have got to their end");
		if (elsewhere)
			CHECK_EQUAL(dune_vm_free(other), 0, "free");
	}
}

/* ---- beside ring 3 ---- */

RING3_CODE(one_call, "mov $100, %eax; syscall; ud2");

static void on_call(struct dune_tf *tf)
{
	char *low = (char *)PGADDR(&tf) - (PAGES - 1) * PGSIZE;

	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), low, (PAGES + 8) * PGSIZE, PERM_R), -EINVAL, "below ring 3");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), low, (PAGES + 8) * PGSIZE, PERM_R | PERM_W), 0, "with PERM_W");
	dune_ret_from_user(5);
}

static void beside_ring3(void)
{
	struct ring3 r = ring3_make();
	struct dune_tf tf = RING3_FRAME(&r, one_call);

	dune_register_syscall_handler(on_call);
	CHECK_EQUAL(dune_jump_to_user(&tf), 5, "ring 3");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	alarm(60);
	signals_elsewhere();
	each_way();
	threads();
	beside_ring3();
	return check_result();
}
