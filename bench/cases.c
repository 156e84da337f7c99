// SPDX-License-Identifier: MIT
/* What is measured. */
#include <cpuid.h>
#include <dune.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PAGE		4096UL
#define FAULT_PAGES	1024UL

/* Proof that the timed region does its work: every result goes in here. */
static uint64_t checksum;

uint64_t cases_checksum(void)
{
	return checksum;
}

/* ---- system calls ---- */

static inline long raw_getpid(void)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_getpid) : "rcx", "r11", "memory");
	return result;
}

/* Intel's CPUs have VMCALL, all others VMMCALL. */
static bool has_vmmcall;

__attribute__((constructor))
static void find_vendor(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	has_vmmcall = ebx != signature_INTEL_ebx;
}

static inline long vmcall_getpid(void)
{
	long result;

	if (has_vmmcall)
		__asm__ volatile("vmmcall" : "=a"(result) : "0"(SYS_getpid) : "memory");
	else
		__asm__ volatile("vmcall" : "=a"(result) : "0"(SYS_getpid) : "memory");
	return result;
}

static uint64_t clock_cost;

static uint64_t empty(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	end = ticks();
	if (!clock_cost || end - start < clock_cost)
		clock_cost = end - start;
	return end - start;
}

static uint64_t getpid_syscall(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	checksum += raw_getpid();
	return ticks() - start;
}

static uint64_t getpid_vmcall(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	checksum += vmcall_getpid();
	return ticks() - start;
}

static uint64_t cpuid(unsigned int i)
{
	uint32_t a = 0, b, c = 0, d;
	uint64_t start = ticks();

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	checksum += a + b + c + d + i;
	return ticks() - start;
}

/* What a process pays for one run of the loop in HR3 without a guest: an ioctl that does least. */
static uint64_t trivial_ioctl(unsigned int i)
{
	long result;
	uint64_t start = ticks();

	__asm__ volatile("syscall" : "=a"(result)
			 : "0"(SYS_ioctl), "D"(1), "S"(0xdd7f), "d"(i) : "rcx", "r11", "memory");
	checksum += result;
	return ticks() - start;
}

static uint64_t trivial_lseek(unsigned int i)
{
	static int fds[2];
	long result;
	uint64_t start;

	if (!fds[0] && pipe(fds))
		abort();
	start = ticks();
	__asm__ volatile("syscall" : "=a"(result)
			 : "0"(SYS_lseek), "D"(fds[0]), "S"((long)i), "d"(0) : "rcx", "r11", "memory");
	checksum += result;
	return ticks() - start;
}

/* ---- faults: each sample touches a page of its own ---- */

static unsigned char *area;

static void fresh_pages(unsigned int i)
{
	if (i % FAULT_PAGES)
		return;
	if (area)
		munmap(area, FAULT_PAGES * PAGE);
	area = mmap(NULL, FAULT_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		abort();
	madvise(area, FAULT_PAGES * PAGE, MADV_NOHUGEPAGE);
}

static volatile unsigned char *page(unsigned int i)
{
	return area + i % FAULT_PAGES * PAGE;
}

static uint64_t touch_write(unsigned int i)
{
	uint64_t start = ticks();

	*page(i) = 1;
	return ticks() - start;
}

static uint64_t touch_read(unsigned int i)
{
	uint64_t start = ticks();

	checksum += *page(i);
	return ticks() - start;
}

static void read_pages(unsigned int i)
{
	fresh_pages(i);
	checksum += *page(i);
}

/* The host has the page already, the guest does not: the pages are written by the kernel. */
static void fill_pages(unsigned int i)
{
	static int zero = -1;

	if (i % FAULT_PAGES)
		return;
	fresh_pages(i);
	if (zero < 0)
		zero = syscall(SYS_openat, -100, "/dev/zero", 0, 0);
	if (read(zero, area, FAULT_PAGES * PAGE) != (ssize_t)(FAULT_PAGES * PAGE))
		abort();
}

/* ---- exceptions, with handlers that use no vector registers and with others ---- */

DUNE_BARE static void skip_ud2(struct dune_tf *tf)
{
	tf->rip += 2;
}

static void bare_ud2(unsigned int i)
{
	if (!i)
		dune_register_bare_intr_handler(T_ILLOP, skip_ud2);
}

static void full_ud2(unsigned int i)
{
	if (!i)
		dune_register_intr_handler(T_ILLOP, skip_ud2);
}

static uint64_t ud2(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	__asm__ volatile("ud2" : : : "memory");
	return ticks() - start;
}

/* A write to a page that may be read, and a handler that makes it writable; its time on the way. */
static volatile uint64_t fault_start, fault_begun;
static char *fault_page;
static ptent_t *fault_entry;

DUNE_BARE static void allow_write(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	fault_begun = ticks();
	(void)error;
	(void)tf;
	*fault_entry |= PTE_W;
	__asm__ volatile("invlpg (%0)" : : "r"(addr) : "memory");
}

static void forbid_write(unsigned int i, bool bare)
{
	if (!i) {
		fault_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*fault_page = 1;
		if (bare)
			dune_register_bare_pgflt_handler(allow_write);
		else
			dune_register_pgflt_handler(allow_write);
	}
	if (dune_vm_mprotect(pgroot, fault_page, PAGE, PERM_R) ||
	    dune_vm_lookup(pgroot, fault_page, CREATE_NONE, &fault_entry))
		abort();
}

static void forbid_write_bare(unsigned int i)
{
	forbid_write(i, true);
}

static void forbid_write_full(unsigned int i)
{
	forbid_write(i, false);
}

static uint64_t store_to_handler(unsigned int i)
{
	fault_start = ticks();
	*(volatile char *)fault_page = i;
	return fault_begun - fault_start;
}

static uint64_t fault_round_trip(unsigned int i)
{
	uint64_t start = ticks(), clock;

	*(volatile char *)fault_page = i;
	clock = ticks();
	return clock - start;
}

/* ---- ring 3 ---- */

/* A call of ring 3, timed there; the handler only returns. */
extern const char ring3_code[], ring3_end[];
__asm__(".pushsection .rodata; ring3_code:"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rbx;"
	"mov $1000, %eax; syscall;"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; sub %rbx, %rax; mov %rax, %rbx;"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rbp; mov $1000, %eax;"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; sub %rbp, %rax; mov %rax, %rbp;"
	"ud2; ring3_end: .popsection");

static uint64_t ring3_ticks;

DUNE_BARE static long bare_call(struct dune_tf *tf)
{
	(void)tf;
	return 0;
}

static void full_call(struct dune_tf *tf)
{
	tf->rax = 0;
}

static void leave_ring3(struct dune_tf *tf)
{
	ring3_ticks = tf->rbx - tf->rbp;	/* without what the clock and the number cost */
	dune_ret_from_user(0);
}

static char *ring3_page;

static void prepare_ring3(void)
{
	dune_register_intr_handler(T_ILLOP, leave_ring3);
	dune_register_pgflt_handler(NULL);
	if (ring3_page)
		return;
	ring3_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(ring3_page, ring3_code, ring3_end - ring3_code);
	if (dune_vm_mprotect(pgroot, ring3_page, PAGE, PERM_UCODE))
		abort();
}

static void bare_ring3(unsigned int i)
{
	(void)i;
	prepare_ring3();
	dune_register_bare_syscall_handler(bare_call);
}

static void full_ring3(unsigned int i)
{
	(void)i;
	prepare_ring3();
	dune_register_syscall_handler(full_call);
}

static uint64_t ring3_call(unsigned int i)
{
	struct dune_tf tf = { .rip = (uintptr_t)ring3_page, .rsp = (uintptr_t)ring3_page };

	(void)i;
	if (dune_jump_to_user(&tf))
		abort();
	return ring3_ticks + clock_cost;	/* which is taken off later */
}

static uint64_t ring3_there_and_back(unsigned int i)
{
	struct dune_tf tf = { .rip = (uintptr_t)ring3_page + (ring3_end - ring3_code) - 2, .rsp = 0 };
	uint64_t start = ticks();

	(void)i;
	if (dune_jump_to_user(&tf))
		abort();
	return ticks() - start;
}

/* ---- processes ---- */

static uint64_t fork_wait(unsigned int i)
{
	uint64_t start = ticks();
	pid_t child = fork();
	int status;

	(void)i;
	if (!child)
		_exit(3);
	if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 3)
		abort();
	return ticks() - start;
}

/* ---- page tables, by Dune's functions ---- */

#define TABLE_PAGES	16384UL		/* 64 MiB */
#define DIRTY_PAGES	1024UL

static unsigned char *table;
static ptent_t *root, *other;
static uint64_t bitmap[TABLE_PAGES / 64];

/* Memory with 4 KiB entries. */
static void prepare_table(unsigned int i)
{
	(void)i;
	if (table)
		return;
	/* So that no range of the cases goes across page tables. */
	table = mmap((void *)0x540000000000, TABLE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (table == MAP_FAILED || dune_vm_scan(pgroot, table, TABLE_PAGES * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR |
						DUNE_VM_SPLIT, NULL) < 0)
		abort();
	checksum += table[0];
}

static uint64_t protect_pages(unsigned int i, unsigned int n)
{
	int perm = i % 2 ? PERM_R | PERM_W : PERM_R;
	uint64_t start = ticks();
	int ret = dune_vm_mprotect(pgroot, table + PAGE * 16, n * PAGE, perm);
	uint64_t end = ticks();

	if (ret)
		abort();
	return end - start;
}

static uint64_t protect_1(unsigned int i)
{
	return protect_pages(i, 1);
}

static uint64_t protect_100(unsigned int i)
{
	return protect_pages(i, 100);
}

static void write_some(unsigned int i)
{
	prepare_table(i);
	for (unsigned long k = 0; k < DIRTY_PAGES; k++)
		table[k * (TABLE_PAGES / DIRTY_PAGES) * PAGE]++;
}

static uint64_t scan_dirty(unsigned int i)
{
	uint64_t start = ticks();
	long found = dune_vm_scan(pgroot, table, TABLE_PAGES * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, bitmap);
	uint64_t end = ticks();

	(void)i;
	/* the program's own page may be in its range */
	if (found < (long)DIRTY_PAGES)
		abort();
	return end - start;
}

static void prepare_switch(unsigned int i)
{
	(void)i;
	if (!other) {
		other = dune_vm_clone(pgroot);
		if (!other)
			abort();
		dune_vm_switch(other);
		dune_vm_switch(pgroot);
	}
}

static uint64_t switch_space(unsigned int i)
{
	ptent_t *to = i % 2 ? pgroot : other;
	uint64_t start = ticks();

	dune_vm_switch(to);
	return ticks() - start;
}

#define CLONE_VA	((unsigned char *)0x500000000000)

static void prepare_clone(unsigned int i)
{
	uint64_t pa = dune_va_to_pa(&checksum) & -(1UL << 30);

	if (i)
		return;
	if (dune_vm_map_phys(pgroot, CLONE_VA, 1UL << 30, (void *)pa, PERM_R))
		abort();
}

static uint64_t clone_space(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	root = dune_vm_clone(pgroot);
	end = ticks();
	if (!root || dune_vm_free(root))
		abort();
	return end - start;
}

/* The first change of a page after cloning, which copies two tables. */
static void prepare_unshare(unsigned int i)
{
	prepare_clone(i);
	root = dune_vm_clone(pgroot);
	if (!root)
		abort();
}

static uint64_t unshare(unsigned int i)
{
	uint64_t start = ticks(), end;
	int ret = dune_vm_mprotect(root, CLONE_VA, PAGE, PERM_R | PERM_COW);

	(void)i;
	end = ticks();
	if (ret || dune_vm_free(root))
		abort();
	return end - start;
}

static uint64_t map_gib(unsigned int i)
{
	uint64_t pa = dune_va_to_pa(&checksum) & -(1UL << 30), start = ticks(), end;
	int ret = dune_vm_map_phys(pgroot, CLONE_VA, 1UL << 30, (void *)pa, PERM_R);

	(void)i;
	end = ticks();
	if (ret || dune_vm_unmap(pgroot, CLONE_VA, 1UL << 30))
		abort();
	return end - start;
}

static uint64_t page_alloc(unsigned int i)
{
	uint64_t start = ticks();
	struct page *pg = dune_page_alloc();

	(void)i;
	dune_page_put(pg);
	return ticks() - start;
}

void cases_begin(void)
{
	area = NULL;
	ring3_page = NULL;
	for (unsigned int i = 0; i < 3; i++)
		empty(i);
}

const struct bench_case bench_cases[] = {
	{ "nothing (what the clock costs)",	NULL, empty, 200, 1, WHERE_BOTH },
	{ "getpid",				NULL, getpid_syscall, 400, 1, WHERE_BOTH },
	{ "getpid by vmcall",			NULL, getpid_vmcall, 400, 1, WHERE_DUNE },
	{ "CPUID (bare exit and entry)",	NULL, cpuid, 400, 1, WHERE_BOTH },
	{ "trivial ioctl",			NULL, trivial_ioctl, 400, 1, WHERE_LINUX },
	{ "trivial lseek",			NULL, trivial_lseek, 400, 1, WHERE_LINUX },
	{ "first write to a page",		fresh_pages, touch_write, FAULT_PAGES, 1, WHERE_BOTH },
	{ "first read of a page",		fresh_pages, touch_read, FAULT_PAGES, 1, WHERE_BOTH },
	{ "write after read",			read_pages, touch_write, FAULT_PAGES, 1, WHERE_BOTH },
	{ "first write, the host has the page",	fill_pages, touch_write, FAULT_PAGES, 1, WHERE_BOTH },
	/* Before those that leave much memory behind, which a fork copies. */
	{ "fork + exit + wait",			NULL, fork_wait, 10, 1, WHERE_BOTH },
	{ "ud2, bare handler, back",		bare_ud2, ud2, 400, 1, WHERE_DUNE },
	{ "ud2, full handler, back",		full_ud2, ud2, 400, 1, WHERE_DUNE },
	{ "store to bare page-fault handler",	forbid_write_bare, store_to_handler, 400, 1, WHERE_DUNE },
	{ "store to full page-fault handler",	forbid_write_full, store_to_handler, 400, 1, WHERE_DUNE },
	{ "page fault, allow, store; bare",	forbid_write_bare, fault_round_trip, 400, 1, WHERE_DUNE },
	{ "page fault, allow, store; full",	forbid_write_full, fault_round_trip, 400, 1, WHERE_DUNE },
	{ "call of ring 3, bare handler",	bare_ring3, ring3_call, 400, 1, WHERE_DUNE },
	{ "call of ring 3, full handler",	full_ring3, ring3_call, 400, 1, WHERE_DUNE },
	{ "jump to ring 3, fault, return",	full_ring3, ring3_there_and_back, 400, 1, WHERE_DUNE },
	{ "protect 1 page",			prepare_table, protect_1, 400, 1, WHERE_DUNE },
	{ "protect 100 pages",			prepare_table, protect_100, 400, 1, WHERE_DUNE },
	{ "dirty bits of 64 MiB, 1,024 set",	write_some, scan_dirty, 20, 1, WHERE_DUNE },
	{ "switch of the address space",	prepare_switch, switch_space, 400, 1, WHERE_DUNE },
	{ "page_alloc + page_put",		NULL, page_alloc, 400, 1, WHERE_DUNE },
	{ "map 1 GiB by 4 KiB",			NULL, map_gib, 4, 1, WHERE_DUNE },
	{ "clone, 1 GiB of it by 4 KiB",	prepare_clone, clone_space, 20, 1, WHERE_DUNE },
	{ "first change in a clone",		prepare_unshare, unshare, 20, 1, WHERE_DUNE },
};

const unsigned int nr_bench_cases = sizeof(bench_cases) / sizeof(bench_cases[0]);
