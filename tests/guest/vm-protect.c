// SPDX-License-Identifier: MIT
/*
 * Permissions of the program's own page table: the CPU keeps to them, the handler gets what they refuse and
 * repairs it; pages are split and merged; and nothing of it can take libdune's own memory away.
 */
#include <signal.h>
#include <sys/mman.h>

#include "proc.h"

#define PAGE	4096UL
#define MIB2	(2UL << 20)
#define GIB	(1UL << 30)
#define RW	(PERM_R | PERM_W)
#define RWX	(PERM_R | PERM_W | PERM_X)

static volatile unsigned long faults, last_addr, last_error;
static volatile bool expected;
static int repair;	/* the permissions that the handler gives; 0: step over */

static void on_fault(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	faults++;
	last_addr = addr;
	last_error = error;
	if (repair)
		CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), (void *)(addr & -PAGE), PAGE, repair), 0,
			    "mprotect in the handler");
	else if (expected) {
		tf->rip = tf->rax;
		if (error & FEC_I)	/* the return address */
			tf->rsp += 8;
	} else {
		printf("a page fault at %#lx, error %#lx, RIP %#lx\n", addr, error, tf->rip);
		_exit(1);
	}
}

/* Does the access fault?  With repair 0 it is stepped over. */
#define FAULTS(instruction, address) ({							\
	unsigned long before_ = faults;							\
											\
	expected = true;								\
	__asm__ volatile("sub $128, %%rsp; lea 1f(%%rip), %%rax; " instruction "; 1: "	\
			 "add $128, %%rsp"						\
			 : : "r"(address) : "rax", "rdx", "memory", "cc");		\
	expected = false;								\
	faults - before_;								\
})
#define READS(address)	(!FAULTS("mov (%0), %%dl", address))
#define WRITES(address)	(!FAULTS("lock orb $0, (%0)", address))
#define RUNS(address)	(!FAULTS("call *%0", address))

static char *map(unsigned long size, unsigned long align)
{
	char *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	DIE_UNLESS(p != MAP_FAILED, "mmap");
	p = (char *)(((unsigned long)p + align - 1) & -align);
	return p;
}

static void protect(void)
{
	char *p = map(64 * PAGE, PAGE);

	memset(p, 0xc3, 64 * PAGE);	/* ret */
	repair = 0;
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + PAGE, PAGE, PERM_R), 0, "read only");
	CHECK(READS(p + PAGE) && !WRITES(p + PAGE), "a page that can be read only");
	CHECK_EQUAL(last_addr, (long)p + PAGE, "the address");
	CHECK_EQUAL(last_error, FEC_P | FEC_W, "the error code");
	CHECK(WRITES(p) && WRITES(p + 2 * PAGE), "its neighbours");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + PAGE, PAGE, RW), 0, "no execution");
	CHECK(WRITES(p + PAGE) && !RUNS(p + PAGE) && RUNS(p), "a page without execution");
	CHECK_EQUAL(last_error, FEC_P | FEC_I, "the error code of a fetch");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + PAGE, PAGE, PERM_NONE), 0, "nothing");
	CHECK(!READS(p + PAGE) && !WRITES(p + PAGE), "a page for nobody");
	/* QEMU with one CPU reads first. */
	CHECK_EQUAL(last_error & ~FEC_W, 0, "the error code of a page that is not present");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + PAGE, PAGE, RWX), 0, "all");
	CHECK(READS(p + PAGE) && WRITES(p + PAGE) && RUNS(p + PAGE), "a page for all");
	CHECK_EQUAL((unsigned char)p[PAGE], 0xc3, "what is in it");

	repair = RW;
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, 64 * PAGE, PERM_R), 0, "all of them");
	faults = 0;
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 64; i++)
			p[i * PAGE] = i;
	CHECK_EQUAL(faults, 64, "faults that were repaired");
	for (int i = 0; i < 64; i++)
		CHECK_EQUAL(p[i * PAGE], i, "what was written");
	/* The kernel's permissions stay below. */
	CHECK_EQUAL(mprotect(p, PAGE, PROT_READ), 0, "mprotect");
	repair = 0;
	CHECK(!WRITES(p), "a page that the kernel protects");
	repair = RW;
	munmap(p, 64 * PAGE);
}

/* Pages of this size, made by asking for them; memory around keeps its contents. */
static void sizes(void)
{
	char *p = map(8 * MIB2, MIB2);
	ptent_t *e;

	repair = 0;
	for (unsigned long i = 0; i < 8 * MIB2; i += PAGE)
		*(unsigned long *)(p + i) = i;
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, 8 * MIB2, RW), 0, "mprotect");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + MIB2 + PAGE, PAGE, PERM_R), 0, "mprotect");
	CHECK(dune_vm_lookup(dune_vm_root(), p, CREATE_NONE, &e) == 0 && *e & PTE_PS, "a page of 2 MiB");
	CHECK(dune_vm_lookup(dune_vm_root(), p + MIB2, CREATE_NONE, &e) == 0 && !(*e & PTE_PS), "a page of 4 KiB");
	CHECK(!WRITES(p + MIB2 + PAGE) && WRITES(p + MIB2) && WRITES(p + MIB2 + 2 * PAGE), "one in the middle");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + 2 * MIB2, MIB2, PERM_R), 0, "mprotect of 2 MiB");
	CHECK(!WRITES(p + 2 * MIB2) && !WRITES(p + 3 * MIB2 - PAGE) && WRITES(p + 3 * MIB2), "its edges");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, 8 * MIB2, RWX), 0, "mprotect");
	CHECK(dune_vm_lookup(dune_vm_root(), p + MIB2, CREATE_NONE, &e) == 0 && !(*e & PTE_PS), "no merging unasked");
	CHECK(dune_vm_merge(dune_vm_root(), p, 8 * MIB2) >= 1, "merge");
	CHECK(dune_vm_lookup(dune_vm_root(), p + MIB2, CREATE_NONE, &e) == 0 && *e & PTE_PS, "merged");
	for (unsigned long i = 0; i < 8 * MIB2; i += PAGE)
		CHECK_EQUAL(*(unsigned long *)(p + i), i, "the contents");
	CHECK(WRITES(p + MIB2 + PAGE), "merged");
	/* The memory of a process in another place, by a large page and by small ones. */
	CHECK_EQUAL(
		dune_vm_map_phys(dune_vm_root(), (void *)0x500000000000, MIB2, (void *)dune_va_to_pa(p + MIB2),
				 RW | PERM_BIG),
		0, "map_phys, 2 MiB");
	CHECK_EQUAL(*(unsigned long *)(0x500000000000 + 5 * PAGE), MIB2 + 5 * PAGE, "2 MiB elsewhere");
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), (void *)0x500000200000, 2 * PAGE,
				     (void *)dune_va_to_pa(p + PAGE), RW), 0,
		    "map_phys");
	*(unsigned long *)0x500000201000 = 77;
	CHECK_EQUAL(*(unsigned long *)(p + 2 * PAGE), 77, "written elsewhere");
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)0x500000000000, 2 * MIB2), 0, "unmap");
	CHECK(!READS(0x500000000000) && !READS(0x500000201000), "unmapped");
	/* The same for memory of its own. */
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), p + 5 * PAGE, PAGE), 0, "unmap");
	CHECK(!READS(p + 5 * PAGE) && READS(p + 6 * PAGE), "a hole");
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), p + 5 * PAGE, PAGE, (void *)dune_va_to_pa(p + 5 * PAGE), RW), 0,
		    "map_phys");
	CHECK_EQUAL(*(unsigned long *)(p + 5 * PAGE), 5 * PAGE, "mapped again");
	/* A granule that was never touched. */
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)0x510000000000, GIB), 0, "unmap what is not there");
	p = mmap((void *)0x510000000000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(p == (char *)0x510000000000 && !READS(p), "a first touch of what was unmapped");
	p = mmap((void *)0x520000000000, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0);
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, PERM_R), 0, "mprotect before the first touch");
	CHECK(READS(p) && !WRITES(p) && WRITES(p + PAGE), "protected before the first touch");
}

static void pool_pages(void)
{
	void *va = (void *)0x530000000000;
	struct page *pg = dune_page_alloc();
	unsigned long *p = (unsigned long *)dune_page2pa(pg);

	CHECK(pg, "dune_page_alloc");
	*p = 5;
	CHECK_EQUAL(dune_vm_insert_page(dune_vm_root(), va, pg, RW), 0, "insert_page");
	CHECK_EQUAL(*(unsigned long *)va, 5, "the page elsewhere");
	*(unsigned long *)va = 6;
	CHECK_EQUAL(*p, 6, "written elsewhere");
	CHECK_EQUAL(dune_vm_map_pages(dune_vm_root(), (char *)va + PAGE, 500 * PAGE, RW), 0, "map_pages");
	for (int i = 1; i <= 500; i++) {
		unsigned long *q = (unsigned long *)((char *)va + i * PAGE);

		CHECK_EQUAL(*q, 0, "a fresh page");
		*q = i;
	}
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), va, 501 * PAGE), 0, "unmap");
	CHECK(!READS(va), "unmapped");
	dune_page_put(pg);
	CHECK_EQUAL(pg->ref, 0, "references");
}

/* Two pages on both sides of @border; which of the two GiB gets its place in guest-physical memory first? */
static int map_across(unsigned long border, bool lower_first)
{
	volatile char *p = mmap((void *)(border - PAGE), 2 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK_EQUAL((unsigned long)p, border - PAGE, "two GiB that are not used yet");
	p[lower_first ? 0 : PAGE] = 'x';
	p[lower_first ? PAGE : 0] = 'x';
	p[0] = 'A';
	p[PAGE] = 'B';
	return dune_vm_map_phys(dune_vm_root(), (void *)0x560000000000, 2 * PAGE,
				(void *)dune_va_to_pa((char *)border - PAGE),
				RW);
}

static void across_granules(void)
{
	ptent_t *e;

	/* What is behind the GiB is another one of the process's. */
	CHECK_EQUAL(map_across(0x2a0000000000, true), -EXDEV, "one behind another");
	CHECK(dune_vm_lookup(dune_vm_root(), (void *)0x560000000000, CREATE_NONE, &e) || !(*e & PTE_P),
	      "nothing has changed");
	CHECK_EQUAL(map_across(0x2a4000000000, false), 0, "in one piece");
	CHECK(!memcmp((char *)0x560000000000, "A", 2) && !memcmp((char *)0x560000000000 + PAGE, "B", 2), "both");
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)0x560000000000, 2 * PAGE), 0, "unmap");
}

static void refused(void)
{
	char *p = map(PAGE, PAGE);
	unsigned long region = (unsigned long)dune_vm_root() & -GIB;
	ptent_t *e;

	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), (void *)region, PAGE, PERM_R), -EINVAL, "libdune's memory");
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)(region - PAGE), 2 * PAGE), -EINVAL, "libdune's memory");
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), NULL, 1UL << 47), -EINVAL, "all memory");
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), (void *)PAGEBASE, PAGE), -EINVAL, "the pool");
	CHECK_EQUAL(dune_vm_mprotect(NULL, p, PAGE, PERM_R), -EINVAL, "no root");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p + 1, PAGE, PERM_R), -EINVAL, "unaligned");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, 0, PERM_R), -EINVAL, "no length");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, -PAGE, PERM_R), -EINVAL, "overflow");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), (void *)(1UL << 47), PAGE, PERM_R), -EINVAL, "not canonical");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), (void *)0x540000000000, PAGE, PERM_R), -ENOENT, "nothing there");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, PERM_W), -EINVAL, "write only");
	CHECK_EQUAL(dune_vm_map_phys(dune_vm_root(), p, PAGE, (void *)dune_phys_limit(), PERM_R), -EINVAL,
		    "beyond physical memory");
	CHECK_EQUAL(dune_vm_lookup(dune_vm_root(), (void *)region, CREATE_NORMAL, &e), -EINVAL,
		    "a look at libdune's memory");
	CHECK_EQUAL(dune_vm_switch(dune_vm_root() + 1), -EINVAL, "no root");
	CHECK_EQUAL(dune_vm_free(dune_vm_root()), -EINVAL, "dune_vm_root()");
	/* For the program nothing is there. */
	CHECK_EQUAL(munmap((void *)PAGEBASE, PAGE), 0, "a hole instead of the pool");
	CHECK_ERRNO(mprotect((void *)PAGEBASE, PAGE, PROT_READ), ENOMEM, "a hole instead of the pool");
	CHECK(WRITES(p), "the page");
}

static void say_code(int signo, siginfo_t *info, void *context)
{
	(void)context;
	_exit(signo == SIGSEGV ? info->si_code : 99);
}

/* The si_code of a load, or 98. */
static int code_of_load(const volatile char *p)
{
	struct sigaction action = { .sa_sigaction = say_code, .sa_flags = SA_SIGINFO };

	return IN_CHILD(sigaction(SIGSEGV, &action, NULL); *p; _exit(98)) >> 8;
}

/* Without a handler it is the signal. */
static void signalled(void)
{
	char *p = map(PAGE, PAGE), *hole = map(2 * PAGE, PAGE);

	*p = 1;
	dune_register_pgflt_handler(NULL);
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, PERM_R), 0, "mprotect");
	CHECK_EQUAL(IN_CHILD(signal(SIGSEGV, SIG_DFL); *(volatile char *)p = 1), SIGSEGV, "a write without a handler");
	CHECK_EQUAL(IN_CHILD(dune_vm_mprotect(dune_vm_root(), p, PAGE, RW); *(volatile char *)p = 1), EXITED(0),
		    "a child's own table");
	CHECK_EQUAL(IN_CHILD(signal(SIGSEGV, SIG_DFL); *(volatile char *)p = 1), SIGSEGV,
		    "still protected in the parent");
	*hole = 1;
	CHECK_EQUAL(dune_vm_unmap(dune_vm_root(), hole, PAGE), 0, "unmap");
	CHECK_EQUAL(code_of_load(hole), SEGV_MAPERR, "a load from a hole");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), hole + PAGE, PAGE, PERM_NONE), 0, "mprotect");
	CHECK_EQUAL(code_of_load(hole + PAGE), SEGV_ACCERR, "a load from PERM_NONE");
	dune_register_pgflt_handler(on_fault);
}

/* Outside, after all threads have left, the table can still be changed. */
static void outside(void)
{
	char *p = map(PAGE, PAGE);

	*p = 1;
	CHECK_EQUAL(dune_leave(), 0, "dune_leave");
	CHECK(!dune_in_dune_mode(), "outside");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, PERM_R), 0, "mprotect outside");
	*p = 2;
	CHECK_EQUAL(dune_vm_switch(dune_vm_root()), -EPERM, "switch outside");
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	repair = 0;
	CHECK(READS(p) && !WRITES(p), "protected outside");
}

/* Who gave up loading CR3 can still change many pages at once. */
static void strict(void)
{
	char *p = map(100 * PAGE, PAGE);

	memset(p, 1, 100 * PAGE);
	dune_leave();
	dune_set_option(DUNE_OPT_STRICT, true);
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, 100 * PAGE, PERM_R), 0, "100 pages");
	CHECK(READS(p + 50 * PAGE) && !WRITES(p + 50 * PAGE), "the permissions");
	CHECK_EQUAL(dune_vm_switch(dune_vm_root()), -EPERM, "switch");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	dune_register_pgflt_handler(on_fault);
	protect();
	sizes();
	pool_pages();
	across_granules();
	refused();
	signalled();
	outside();
	strict();
	return check_result();
}
