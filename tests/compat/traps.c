/* SPDX-License-Identifier: MIT */
/*
 * In the manner of the first libdune's benchmarks: page faults, protections that handlers undo by writing to entries,
 * system calls from both rings, signals, threads and a fork.  No time is taken.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libdune/dune.h"
#include "libdune/cpu-x86.h"

#include "expect.h"

#define MAP_ADDR	0x400000000000
#define NR		100

static volatile char *mem = (char *)MAP_ADDR;
static volatile int faults, calls, signals;

static void undo(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	ptent_t *pte;

	(void)fec;
	(void)tf;
	faults++;
	if (dune_vm_lookup(pgroot, (void *)addr, 0, &pte))
		dune_die();
	*pte |= PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
}

/* ... and protect another page, as if it were used no more. */
static void undo_and_protect(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	ptent_t *pte;

	undo(addr, fec, tf);
	dune_vm_lookup(pgroot, (char *)addr + NR * PGSIZE, 0, &pte);
	if (*pte & PTE_A)
		dune_flush_tlb_one(addr + NR * PGSIZE);
	*pte = PTE_ADDR(*pte);
}

static void appel(void)
{
	int i;

	EXPECT(dune_vm_map_pages(pgroot, (void *)MAP_ADDR, 2 * NR * PGSIZE, PERM_R | PERM_W) == 0);
	for (i = 0; i < 2 * NR; i++)
		mem[i * PGSIZE] = i;
	dune_register_pgflt_handler(undo_and_protect);
	for (int round = 0; round < 3; round++) {
		EXPECT(dune_vm_mprotect(pgroot, (void *)MAP_ADDR, NR * PGSIZE, PERM_R) == 0);
		faults = 0;
		for (i = 0; i < NR; i++)
			mem[i * PGSIZE] = i + 1;
		EXPECT(faults == NR);
	}
	dune_register_pgflt_handler(undo);
	/* All that the handler has taken away comes back. */
	EXPECT(dune_vm_mprotect(pgroot, (void *)MAP_ADDR, 2 * NR * PGSIZE, PERM_R | PERM_W) == 0);
	faults = 0;
	for (i = 0; i < 2 * NR; i++)
		EXPECT(mem[i * PGSIZE] == (char)(i < NR ? i + 1 : i));
	EXPECT(faults == 0);
	EXPECT(dune_vm_mprotect(pgroot, (void *)MAP_ADDR, NR * PGSIZE, PERM_R) == 0);
	for (i = 0; i < NR; i++)
		mem[i * PGSIZE] = i;
	EXPECT(faults == NR);
}

static void user_calls(void)
{
	for (int i = 0; i < 1000; i++)
		syscall(SYS_gettid);
	mem[(2 * NR + 1) * PGSIZE] = 1;
	syscall(SYS_getuid);
}

static void on_syscall(struct dune_tf *tf)
{
	calls++;
	if (tf->rax == SYS_getuid)
		dune_ret_from_user(5);
	dune_passthrough_syscall(tf);
}

static void ring3(void)
{
	struct dune_tf *tf = calloc(1, sizeof(*tf));
	unsigned long sp;

	EXPECT(dune_vm_map_pages(pgroot, (char *)MAP_ADDR + (2 * NR + 1) * PGSIZE, 1, PERM_R) == 0);
	faults = 0;
	dune_register_syscall_handler(on_syscall);
	__asm__("movq %%rsp, %0" : "=r"(sp));
	tf->rip = (unsigned long)user_calls;
	tf->rsp = ((sp - 10000) & ~15UL) - 8;
	tf->rflags = 2;
	EXPECT(dune_jump_to_user(tf) == 5);
	EXPECT(calls == 1001 && faults == 1);
	free(tf);
}

static void on_signal(int signo)
{
	signals += signo;
}

static void *thread(void *arg)
{
	char *page = mmap(NULL, PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ptent_t *pte;

	if (dune_enter())
		return NULL;
	dune_flush_tlb();
	page[0] = 1;
	if (dune_vm_lookup(pgroot, page, 0, &pte) || *pte & PTE_PS || !(*pte & PTE_U))
		return NULL;
	return arg;
}

static void threads_and_forks(void)
{
	pthread_t id;
	void *result;
	int status, child;

	EXPECT(!pthread_create(&id, NULL, thread, &failures) && !pthread_join(id, &result) && result == &failures);
	child = fork();
	if (!child) {
		if (dune_enter() || thread(&failures) != &failures)
			_exit(1);
		mem[0] = 77;
		_exit(69);
	}
	EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 69);
	/* Pages of the pool are private to a process, as all of its memory. */
	EXPECT(mem[0] != 77);
}

static void *anonymous(size_t len)
{
	return dune_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int main(void)
{
	char *fresh;
	unsigned long before, after;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init_and_enter())
		return 1;
	before = dune_get_ticks();
	rdtscll(after);
	EXPECT(before <= after);
	appel();
	ring3();
	/* The kernel's faults are not the program's. */
	faults = 0;
	fresh = anonymous(3000 * PGSIZE);
	for (int i = 0; i < 3000; i++)
		fresh[i * PGSIZE] = i;
	EXPECT(faults == 0);
	/* A handler makes a page writable that map_pages() put over memory of the process. */
	EXPECT(dune_vm_map_pages(pgroot, fresh, PGSIZE, PERM_R) == 0 && fresh[5] == 0);
	((volatile char *)fresh)[5] = 42;
	EXPECT(faults == 1 && fresh[5] == 42);
	EXPECT(dune_signal(SIGUSR1, on_signal) != SIG_ERR && !kill(getpid(), SIGUSR1) && signals == SIGUSR1);
	threads_and_forks();
	return verdict();
}
