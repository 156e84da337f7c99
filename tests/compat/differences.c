/* SPDX-License-Identifier: MIT */
/* What is not as in the first libdune, and stays so: a function for each row of the table in doc/porting.md. */
#include <cpuid.h>
#include <errno.h>
#include <setjmp.h>
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

#define GIB	(1UL << 30)

static volatile int traps, faults, signals;
static int entries;
static jmp_buf back;

static char *fresh(size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void on_illegal(struct dune_tf *tf)
{
	traps++;
	tf->rip += 3;
}

static int is_amd(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == 0x68747541;	/* "Auth" */
}

static void hypercalls(void)
{
	long ret = SYS_getpid;

	dune_register_intr_handler(T_ILLOP, on_illegal);
	__asm__ volatile("vmcall" : "+a"(ret) : : "rcx", "r11", "memory");
	EXPECT(is_amd() ? traps == 1 && ret == SYS_getpid : !traps && ret == getpid());
	dune_register_intr_handler(T_ILLOP, NULL);
	EXPECT(dune_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0) == getpid());
}

/* The root, and the tables right below it, are not where their guest-physical addresses are. */
static void tables(void)
{
	unsigned long cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	EXPECT(PTE_ADDR(cr3) != (uintptr_t)pgroot);
	EXPECT(dune_page_isfrompool((uintptr_t)pgroot) == false);
	/* All others are. */
	ptent_t *pte;

	EXPECT(dune_vm_lookup(pgroot, &entries, 0, &pte) == 0 && dune_page_isfrompool((uintptr_t)pte));
}

static void addresses(void)
{
	/* High addresses below mmap_base: somewhere, but not at themselves. */
	char *va = mmap((void *)0x7a0000000000, PGSIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	EXPECT(va == (void *)0x7a0000000000 && (uintptr_t)va < mmap_base);
	EXPECT(dune_va_to_pa(va) && dune_va_to_pa(va) < phys_limit);
}

static int count(const void *arg, ptent_t *pte, void *va)
{
	(void)arg;
	(void)pte;
	(void)va;
	entries++;
	return 0;
}

/* A walk sees what the process has, not all that it could have. */
static void walks(void)
{
	size_t huge = phys_limit / 4;
	char *p;

	entries = 0;
	EXPECT(dune_vm_page_walk(pgroot, (void *)(3 * GIB), (void *)(4 * GIB - 1), count, NULL) == 0 && !entries);
	EXPECT(dune_vm_page_walk(pgroot, VA_START, VA_END, count, NULL) == 0);
	EXPECT(entries > 100 && (size_t)entries < GPA_MAP_SIZE >> PGSHIFT);
	/* Of what is larger than an eighth of phys_limit, only what is touched. */
	p = fresh(huge);
	EXPECT(p != MAP_FAILED);
	entries = 0;
	EXPECT(dune_vm_page_walk(pgroot, p, p + huge - 1, count, NULL) == 0 && entries <= 2 * 512);
	p[huge / 2] = 1;
	entries = 0;
	EXPECT(dune_vm_page_walk(pgroot, p, p + huge - 1, count, NULL) == 0 && entries >= 512 && entries <= 3 * 512);
	EXPECT(munmap(p, huge) == 0);
}

static void own_memory(void)
{
	char *pool = (char *)PAGEBASE;

	EXPECT(dune_vm_mprotect(pgroot, pool, PGSIZE, PERM_R) == -EINVAL);
	EXPECT(dune_vm_map_phys(pgroot, pool, PGSIZE, NULL, PERM_R) == -EINVAL);
	EXPECT(dune_vm_map_pages(pgroot, pgroot, PGSIZE, PERM_R) == -EINVAL);
	EXPECT(dune_vm_mprotect(pgroot, VA_START, 1UL << 47, PERM_R | PERM_W) == -EINVAL);
	dune_vm_unmap(pgroot, pool, PGSIZE);
	EXPECT(dune_page_alloc());
	/* A page that nobody has. */
	EXPECT(dune_vm_map_phys(pgroot, (void *)0x400000000000, PGSIZE, pool + (MAX_PAGES - 1) * PGSIZE, PERM_R) ==
	       -EEXIST);
}

static void cow(void)
{
	ptent_t *pte;
	char *p = fresh(PGSIZE);

	p[0] = 1;
	EXPECT(dune_vm_mprotect(pgroot, p, PGSIZE, PERM_R | PERM_W | PERM_COW) == 0);
	EXPECT(dune_vm_lookup(pgroot, p, 0, &pte) == 0 && !(*pte & PTE_W) && *pte & PTE_COW);
	EXPECT(dune_vm_mprotect(pgroot, p, PGSIZE, PERM_R | PERM_USR1) == 0);
	EXPECT((*pte & (PTE_USR1 | PTE_USR2 | PTE_USR3)) == PTE_USR1);
}

static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	unsigned long flags;

	(void)fec;
	(void)tf;
	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	EXPECT(!(flags & FL_IF));
	faults++;
	dune_vm_map_pages(pgroot, (void *)addr, 1, PERM_R | PERM_W);
}

/* Handlers run with interrupts off. */
static void handlers(void)
{
	dune_register_pgflt_handler(on_fault);
	*(volatile char *)0x410000000000 = 1;
	EXPECT(faults == 1);
	dune_register_pgflt_handler(NULL);
}

static void default_handler(void)
{
	int status, child = fork();

	if (!child) {
		dune_register_pgflt_handler(NULL);
		dune_vm_default_pgflt_handler(0x410000001000, FEC_W);
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void elf_errors(void)
{
	struct dune_elf elf;

	EXPECT(dune_elf_open(&elf, "/nowhere") == -ENOENT);
	EXPECT(dune_elf_open(&elf, "/proc/self/maps") == -ENOEXEC);
	EXPECT(dune_elf_open(&elf, "/proc/self/exe") == 0 && elf.phdr && elf.shdr);	/* before they are walked */
	EXPECT(dune_elf_close(&elf) == 0 && dune_elf_close(&elf) == -EINVAL);
}

static void segments(void)
{
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	EXPECT(tr == GD_TSS && GD_TSS == 0x40);
}

static void roots(void)
{
	unsigned long cr3;
	ptent_t *copy = dune_vm_clone(pgroot);

	load_cr3((unsigned long)copy | CR3_NOFLUSH | 77);
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	EXPECT(PTE_ADDR(cr3) == (uintptr_t)copy && (cr3 & PGMASK) != 77);
	/* Not any page is a root. */
	load_cr3((unsigned long)&entries);
	/* What a program writes to the variables is its own. */
	EXPECT(num_pages > 0);
	num_pages = 0;
	EXPECT(dune_page_isfrompool((uintptr_t)copy));
	EXPECT(dune_vm_current() == copy);
	load_cr3((unsigned long)pgroot);
	dune_vm_free(copy);
	dune_vm_free(pgroot);
}

static void on_signal(int signo)
{
	signals += signo;
}

static void signal_handlers(void)
{
	EXPECT(dune_signal(SIGUSR1, on_signal) == SIG_DFL);
	EXPECT(dune_signal(SIGUSR1, on_signal) == on_signal);
	kill(getpid(), SIGUSR1);
	EXPECT(signals == SIGUSR1);
	EXPECT(dune_register_signal_handler(SIGKILL, on_illegal) == -EINVAL);
}

/* The child of a fork is in Dune mode from the beginning. */
static void forks(void)
{
	int status, child = fork();

	if (!child)
		_exit(dune_in_dune_mode() && !dune_enter() ? 3 : 1);
	EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void dirty_bits(void)
{
	char *p = fresh(PGSIZE);
	ptent_t *pte;

	/* As there: what a thread outside Dune mode writes, and what the kernel does, sets no bit by itself. */
	EXPECT(dune_vm_lookup(pgroot, p, 0, &pte) == 0 && !(*pte & PTE_D));
	*(volatile char *)p = 1;
	EXPECT(*pte & PTE_D);
}

static void interrupts(void)
{
	EXPECT(dune_apic_id() == ~0U);
	traps = 0;
	dune_register_intr_handler(T_SYSCALL, on_illegal);
	if (!setjmp(back)) {
		traps = -2;
		__asm__ volatile("int $48; nop; nop; nop" : : : "memory");
	}
	EXPECT(traps == -1);
}

static int precise(void)
{
	char *p;
	ptent_t *pte;

	if (dune_init(0) || dune_enter())
		return 1;
	/* What comes later is mapped at a touch; no handler is called. */
	dune_register_pgflt_handler(on_fault);
	p = fresh(4L << 20);
	p[0] = 1;
	EXPECT(!faults);
	EXPECT(dune_vm_lookup(pgroot, p, 0, &pte) == 0 && !(*pte & (PTE_PS | PTE_U)) && *pte & PTE_NX);
	return verdict();
}

int main(int argc, char *argv[])
{
	(void)argv;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1)
		return precise();
	if (dune_init_and_enter())
		return 1;
	hypercalls();
	tables();
	addresses();
	walks();
	own_memory();
	cow();
	handlers();
	default_handler();
	elf_errors();
	segments();
	roots();
	signal_handlers();
	forks();
	dirty_bits();
	interrupts();
	return verdict();
}
