// SPDX-License-Identifier: MIT
/*
 * A guest page table that maps all of guest-physical memory: what the guest can reach is what the process can
 * reach at the address that the kernel gave it, byte for byte, and nothing else.  Not the host's memory, not
 * another process's, not what was unmapped.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "raw.h"

#define WINDOW		0x400000000000ULL	/* guest-linear address of guest-physical 0 */
#define SECRET		0x5ec7e7c0de5ec7e7ULL

static struct raw_vm vm;
static struct raw_vcpu vcpu;
static uint32_t *granules;
static unsigned long reachable, faults;

/* ---- what the process has ---------------------------------------------------- */

static struct { uint64_t start, end; bool readable, writable, executable; } maps[256];
static unsigned int nr_maps;

static void read_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512], perms[5];

	DIE_UNLESS(file, "/proc/self/maps");
	nr_maps = 0;
	while (fgets(line, sizeof(line), file) && nr_maps < 256) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3 || start >> 47)
			continue;
		maps[nr_maps].start = start;
		maps[nr_maps].end = end;
		maps[nr_maps].readable = perms[0] == 'r';
		maps[nr_maps].writable = perms[1] == 'w';
		maps[nr_maps].executable = perms[2] == 'x';
		nr_maps++;
	}
	fclose(file);
}

static int map_of(uint64_t va)
{
	for (unsigned int i = 0; i < nr_maps; i++)
		if (va >= maps[i].start && va < maps[i].end)
			return i;
	return -1;
}

/* ---- accesses ------------------------------------------------------------------- */

/* The process's address of a guest-physical one, as the kernel's own table says; ~0: nothing is there. */
static uint64_t va_of(uint64_t gpa)
{
	uint32_t entry = granules[gpa >> DUNE_GRANULE_SHIFT];

	return entry ? (uint64_t)(entry - 1) << DUNE_GRANULE_SHIFT | (gpa & (DUNE_GRANULE_SIZE - 1)) : ~0ULL;
}

static void check_fault(uint64_t gpa, uint64_t va, uint32_t access)
{
	struct dune_run *run = vcpu.run;

	faults++;
	/* AMD's CPUs do not tell the linear address. */
	CHECK(run->fault.gpa >> 12 == gpa >> 12 && run->fault.flags & access &&
		      (run->fault.flags & DUNE_FAULT_GVA ? run->fault.gva == WINDOW + gpa :
							   vm.info.vendor == DUNE_VENDOR_SVM && !run->fault.gva),
	      "a fault at gpa %#lx: says gpa %#lx, gva %#lx, flags %#x", (unsigned long)gpa,
	      (unsigned long)run->fault.gpa, (unsigned long)run->fault.gva, run->fault.flags);
	if (va == ~0ULL)
		CHECK(run->fault.flags & DUNE_FAULT_NO_GRANULE && !run->fault.hva, "gpa %#lx: hva %#lx, flags %#x",
		      (unsigned long)gpa, (unsigned long)run->fault.hva, run->fault.flags);
	else
		CHECK(run->fault.hva >> 12 == va >> 12 && !(run->fault.flags & DUNE_FAULT_NO_GRANULE),
		      "gpa %#lx: hva %#lx, expected %#lx", (unsigned long)gpa, (unsigned long)run->fault.hva,
		      (unsigned long)va);
}

static uint64_t guest_reads(uint64_t gpa, struct raw_outcome *o)
{
	raw_load(&vcpu, "\x48\x8b\x06", 3, 0);	/* mov (%rsi), %rax */
	vcpu.run->regs.rsi = WINDOW + gpa;
	raw_outcome(&vcpu, o);
	return vcpu.run->regs.rax;
}

static void read_at(uint64_t gpa)
{
	uint64_t va = va_of(gpa), value, own;
	int map = va == ~0ULL ? -1 : map_of(va);
	struct raw_outcome o;
	char text[80];

	value = guest_reads(gpa, &o);
	if (o.kind == RAW_CALL) {
		reachable++;
		CHECK(map >= 0 && maps[map].readable, "gpa %#lx (%#lx) was read: %#lx", (unsigned long)gpa,
		      (unsigned long)va, (unsigned long)value);
		/* Our own stack and run page change as we look; the rest must be the same. */
		if (map >= 0 && maps[map].readable && va >> 12 != (uintptr_t)vcpu.run >> 12 &&
		    !(va <= (uintptr_t)&va + 65536 && va + 65536 >= (uintptr_t)&va)) {
			own = *(volatile uint64_t *)va;
			/* The kernel writes the vDSO's clock at each tick. */
			for (unsigned int i = 0; i < 3 && value != own; i++) {
				value = guest_reads(gpa, &o);
				own = *(volatile uint64_t *)va;
			}
			CHECK(value == own || va >> 12 == (uintptr_t)&reachable >> 12,
			      "gpa %#lx (%#lx): %#lx, the process reads %#lx",
			      (unsigned long)gpa, (unsigned long)va, (unsigned long)value, (unsigned long)own);
		}
		CHECK(value != SECRET, "gpa %#lx holds another process's secret", (unsigned long)gpa);
	} else {
		CHECK(o.kind == RAW_FAULT, "gpa %#lx: %s", (unsigned long)gpa, raw_name(&o, text));
		if (o.kind == RAW_FAULT)
			check_fault(gpa, va, DUNE_FAULT_READ);
	}
}

/* A write, of what is there; an instruction fetch. */
static void write_at(uint64_t gpa)
{
	uint64_t va = va_of(gpa);
	int map = va == ~0ULL ? -1 : map_of(va);
	struct raw_outcome o;
	char text[80];

	raw_load(&vcpu, "\xf0\x83\x0e\x00", 4, 0);	/* lock orl $0, (%rsi) */
	vcpu.run->regs.rsi = WINDOW + gpa;
	raw_outcome(&vcpu, &o);
	if (o.kind == RAW_CALL) {
		CHECK(map >= 0 && maps[map].writable, "gpa %#lx (%#lx) was written", (unsigned long)gpa,
		      (unsigned long)va);
		return;
	}
	CHECK(o.kind == RAW_FAULT, "a write to gpa %#lx: %s", (unsigned long)gpa, raw_name(&o, text));
	if (o.kind == RAW_FAULT)
		check_fault(gpa, va, DUNE_FAULT_WRITE | DUNE_FAULT_READ);
}

static void execute_at(uint64_t gpa)
{
	uint64_t va = va_of(gpa);
	int map = va == ~0ULL ? -1 : map_of(va);
	struct raw_outcome o;
	char text[80];

	if (map >= 0 && maps[map].executable)
		return;
	raw_load(&vcpu, "\x90", 1, 0);
	vcpu.run->regs.rip = WINDOW + gpa;
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_FAULT, "executing at gpa %#lx: %s", (unsigned long)gpa, raw_name(&o, text));
	if (o.kind == RAW_FAULT)
		check_fault(gpa, va, DUNE_FAULT_EXEC);
}

static void all_at(uint64_t gpa)
{
	read_at(gpa);
	write_at(gpa);
	execute_at(gpa);
}

/* ---- the walk --------------------------------------------------------------------- */

static void map_everything(void)
{
	unsigned int nr_tables = (vm.info.nr_granules + 511) / 512;
	char *tables = mmap(NULL, nr_tables * RAW_PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct dune_granule granule = { .va = (uintptr_t)tables };
	uint64_t *root = (uint64_t *)(vm.block + RAW_ROOT * RAW_PAGE), gpa;

	DIE_UNLESS(tables != MAP_FAILED && !ioctl(vm.fd, DUNE_GET_GRANULE, &granule), "page table");
	DIE_UNLESS((uintptr_t)tables >> 30 == ((uintptr_t)tables + nr_tables * RAW_PAGE - 1) >> 30,
		   "page table in one granule");
	gpa = granule.gpa + ((uintptr_t)tables & (DUNE_GRANULE_SIZE - 1));
	for (uint64_t i = 0; i < vm.info.nr_granules; i++)
		((uint64_t *)tables)[i] = i << DUNE_GRANULE_SHIFT | PTE_LEAF | PTE_PS;
	for (unsigned int i = 0; i < nr_tables; i++)
		root[(WINDOW >> 39) + i] = (gpa + i * RAW_PAGE) | PTE_TABLE;
}

static bool in_use(uint64_t va)
{
	/* Where the guest's own code, stacks and tables are, it must not write or execute. */
	return va >= (uintptr_t)vm.block && va < (uintptr_t)vm.block + RAW_PAGES * RAW_PAGE;
}

static void walk_granule(uint32_t g)
{
	uint64_t base = (uint64_t)g << DUNE_GRANULE_SHIFT, va = va_of(base), seed = g + 1;

	if (va == ~0ULL) {
		all_at(base);
		all_at(base + DUNE_GRANULE_SIZE - 8);
		/* An exit takes QEMU long. */
		for (unsigned int i = 0; i < (vm.info.vendor == DUNE_VENDOR_VMX ? 8 : 0); i++)
			all_at(base + (raw_random(&seed) & (DUNE_GRANULE_SIZE - 8)));
		return;
	}
	for (uint64_t offset = 0; offset < DUNE_GRANULE_SIZE; offset += 2 << 20)
		read_at(base + offset);
	/* Every page of each mapping, and those beside it. */
	for (unsigned int i = 0; i < nr_maps; i++) {
		uint64_t from = maps[i].start - 8 * RAW_PAGE, to = maps[i].end + 8 * RAW_PAGE;

		for (uint64_t at = from; at < to; at += RAW_PAGE) {
			if (at >> DUNE_GRANULE_SHIFT != va >> DUNE_GRANULE_SHIFT)
				continue;
			if (to - from > 4096 * RAW_PAGE && at > from + 64 * RAW_PAGE && at < to - 64 * RAW_PAGE)
				continue;
			read_at(base + (at & (DUNE_GRANULE_SIZE - 1)) + 8 * (raw_random(&seed) & 511));
			if (map_of(at) >= 0 || in_use(at))
				continue;
			write_at(base + (at & (DUNE_GRANULE_SIZE - 1)));
			execute_at(base + (at & (DUNE_GRANULE_SIZE - 1)));
		}
	}
}

/* What is read-only, and what cannot be accessed at all, stays so. */
static void check_permissions(void)
{
	char *pages = mmap(NULL, 4 * RAW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
			   0);
	struct dune_granule granule = { .va = (uintptr_t)pages };
	uint64_t gpa;

	CHECK(!ioctl(vm.fd, DUNE_GET_GRANULE, &granule), "DUNE_GET_GRANULE");
	gpa = granule.gpa + ((uintptr_t)pages & (DUNE_GRANULE_SIZE - 1));
	memset(pages, 0x77, 4 * RAW_PAGE);
	for (unsigned int i = 0; i < 4; i++) {
		read_maps();
		read_at(gpa + i * RAW_PAGE);
		write_at(gpa + i * RAW_PAGE);
	}
	/* Each was readable and writable for the guest a moment ago. */
	mprotect(pages, RAW_PAGE, PROT_READ);
	mprotect(pages + RAW_PAGE, RAW_PAGE, PROT_NONE);
	munmap(pages + 2 * RAW_PAGE, RAW_PAGE);
	read_maps();
	for (unsigned int i = 0; i < 4; i++) {
		static const unsigned int expected[] = { 2, 3, 3, 1 };
		unsigned long before = faults;

		all_at(gpa + i * RAW_PAGE);
		CHECK_EQUAL(faults - before, expected[i], "faults of a page after mprotect and munmap");
	}
	munmap(pages, 4 * RAW_PAGE);
	read_maps();
	for (unsigned int i = 0; i < 4; i++)
		all_at(gpa + i * RAW_PAGE);
}

/* Another process, with memory full of its secret, in Dune mode itself. */
static pid_t start_other(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	DIE_UNLESS(!pipe(ready), "pipe");
	pid = fork();
	if (!pid) {
		struct raw_vm other;
		struct raw_vcpu v;
		size_t size = 32 << 20;
		uint64_t *secret = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		volatile uint64_t *mark = secret;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0; i < size / 8; i++)
			mark[i] = SECRET;
		raw_open(&other);
		raw_map(&other, secret);
		raw_vcpu(&other, &v, 0);
		for (;;) {
			raw_load(&v, "\x48\x8b\x06", 3, 0);
			v.run->regs.rsi = (uintptr_t)secret;
			if (raw_run(&v) != DUNE_EXIT_SYSCALL || v.run->regs.rax != SECRET)
				_exit(1);
			(void)!write(ready[1], "x", 1);
			usleep(20000);
		}
	}
	DIE_UNLESS(read(ready[0], &byte, 1) == 1, "the other process");
	return pid;
}

int main(void)
{
	pid_t other = start_other();
	int status;

	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	granules = mmap(NULL, vm.info.nr_granules * sizeof(uint32_t), PROT_READ, MAP_SHARED, vm.fd, DUNE_MMAP_GRANULES);
	DIE_UNLESS(granules != MAP_FAILED, "the table of granules");
	map_everything();
	read_maps();
	for (uint32_t g = 0; g < vm.info.nr_granules; g++)
		walk_granule(g);
	check_permissions();
	printf("%lu reads went on, %lu accesses faulted\n", reachable, faults);
	CHECK(reachable > 100, "too little is reachable");
	CHECK(faults > 3ul * vm.info.nr_granules, "too few faults");
	CHECK_EQUAL(waitpid(other, &status, WNOHANG), 0, "the other process ended");
	kill(other, SIGKILL);
	waitpid(other, &status, 0);
	return check_result();
}
