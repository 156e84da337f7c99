// SPDX-License-Identifier: MIT
/*
 * A page table that the program has damaged, and a handler that wants the lock that libdune has: the process dies with
 * a message that says so, and does not wait for ever.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "proc.h"

#define VA	((char *)0x560000000000UL)

/* As for 4 KiB, where the entry is for more: the CPU, and libdune, take it for a table. */
static int not_a_table(const void *arg, ptent_t *pte, void *va)
{
	(void)va;
	*pte = (uintptr_t)arg | PTE_P | PTE_W | PTE_U;
	return 0;
}

static void damage(uintptr_t to)
{
	char *p = mmap(VA, PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	*p = 1;
	dune_vm_page_walk(dune_vm_root(), p, p + PGSIZE - 1, not_a_table, (void *)to);
}

static void map_there(void)
{
	dune_vm_mprotect(dune_vm_root(), VA, PGSIZE, PERM_R);
}

/* Nothing is where the table would be. */
static void no_memory(void)
{
	damage(0x3333333000);
	map_there();
}

static void lookup(void)
{
	ptent_t *e;

	damage(0x3333333000);
	dune_vm_lookup(dune_vm_root(), VA, CREATE_NORMAL, &e);
}

static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	(void)fec, (void)tf;
	dune_vm_mprotect(dune_vm_root(), (void *)PGADDR(addr), PGSIZE, PERM_R | PERM_W);
}

/* Something is there, read-only: the handler of that fault comes back to libdune. */
static void handler_wants_it(void)
{
	char *low = mmap((void *)0x3333333000, PGSIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ptent_t *e;

	/* a table in which there is nothing */
	memset(low, 0, PGSIZE);
	dune_vm_mprotect(dune_vm_root(), low, PGSIZE, PERM_R);
	damage((uintptr_t)low);
	dune_register_pgflt_handler(on_fault);
	dune_vm_lookup(dune_vm_root(), VA, CREATE_NORMAL, &e);
}

/* What @body says on standard error, and how it ends. */
static void dies(const char *what, void (*body)(void), const char *words)
{
	char said[4096] = "";
	size_t used = 0;
	ssize_t got;
	int ends[2], status;
	pid_t child;

	DIE_UNLESS(!pipe(ends), "pipe");
	fflush(stdout);
	child = fork();
	if (!child) {
		dup2(ends[1], 2);
		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		alarm(60);
		body();
		_exit(0);
	}
	close(ends[1]);
	while (used < sizeof(said) - 1 && (got = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += got;
	close(ends[0]);
	said[used] = 0;
	waitpid(child, &status, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%s: status %#x", what, status);
	CHECK(strstr(said, words), "%s: \"%s\" is not in: %s", what, words, said);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	dies("a table that is not there", no_memory, "while libdune changed a page table: a table is damaged");
	dies("looking through it", lookup, "a table is damaged");
	dies("a handler that changes page tables", handler_wants_it, "the lock of the page tables is this thread's");
	return check_result();
}
