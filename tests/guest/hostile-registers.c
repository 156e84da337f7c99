// SPDX-License-Identifier: MIT
/*
 * Control registers, page-table roots, descriptor tables and stacks that point nowhere: an exit to
 * this process each time, and the vCPU goes on with better ones.
 */
#include <sys/mman.h>

#include "check.h"
#include "raw.h"

static struct raw_vm vm;
static struct raw_vcpu vcpu;

static void new_vcpu(struct dune_vcpu_config *config)
{
	int error;

	if (vcpu.run) {
		munmap(vcpu.run, RAW_PAGE);
		CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, vcpu.index), 0, "DUNE_DESTROY_VCPU");
	}
	error = raw_vcpu_create(&vm, &vcpu, config);
	CHECK_EQUAL(error, 0, "DUNE_CREATE_VCPU");
}

static void fresh(uint32_t flags)
{
	struct dune_run *run = vcpu.run;
	unsigned long index = vcpu.index;
	struct dune_vcpu_config config = raw_config(&vm, &vcpu, flags);

	vcpu.run = run;
	vcpu.index = index;
	new_vcpu(&config);
}

static void works(const char *after)
{
	struct raw_outcome o;
	char text[80];

	raw_load(&vcpu, "\x90", 1, 0);
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_CALL && o.rip == (uintptr_t)vcpu.code + 1 + VMCALL_LENGTH, "after %s: %s", after,
	      raw_name(&o, text));
}

/* ---- CR0, CR4 --------------------------------------------------------------- */

#define CR0_FREE	(1ULL << 3 | 1ULL << 16 | 1ULL << 18)	/* TS, WP, AM */
#define CR4_SMEP	(1ULL << 20)

/* mov %crN, %rax; xor %rsi, %rax; mov %rax, %crN; mov %crN, %rbx; xor %rsi, %rax; mov %rax, %crN */
static const char flip_cr0[] = "\x0f\x20\xc0\x48\x31\xf0\x0f\x22\xc0\x0f\x20\xc3\x48\x31\xf0\x0f\x22\xc0";
static const char flip_cr4[] = "\x0f\x20\xe0\x48\x31\xf0\x0f\x22\xe0\x0f\x20\xe3\x48\x31\xf0\x0f\x22\xe0";

static void flip(const char *name, const char *code, uint64_t bit, bool may_change)
{
	struct raw_outcome o;
	char text[80];

	raw_load(&vcpu, code, sizeof(flip_cr0) - 1, 0);
	vcpu.run->regs.rsi = bit;
	raw_outcome(&vcpu, &o);
	raw_name(&o, text);
	if (may_change)
		CHECK(o.kind == RAW_CALL && (vcpu.run->regs.rax ^ vcpu.run->regs.rbx) == bit,
		      "%s bit %#lx: %s, %#lx to %#lx, expected to change", name, (unsigned long)bit, text,
		      (unsigned long)vcpu.run->regs.rax, (unsigned long)vcpu.run->regs.rbx);
	else
		CHECK((o.kind == RAW_EXCEPTION && o.vector == 13 && !o.error) ||
		      (o.kind == RAW_CALL && vcpu.run->regs.rax == vcpu.run->regs.rbx),
		      "%s bit %#lx: %s, expected #GP", name, (unsigned long)bit, text);
}

static void check_control_registers(void)
{
	for (unsigned int strict = 0; strict < 2; strict++) {
		fresh(strict ? DUNE_VCPU_STRICT : 0);
		for (unsigned int bit = 0; bit < 64; bit++) {
			uint64_t mask = 1ULL << bit;

			flip("CR0", flip_cr0, mask, !strict && mask & CR0_FREE);
			/* Our pages are those of ring 3, so with SMEP nothing can go on: hostile-loops has that. */
			if (strict || mask != CR4_SMEP)
				flip("CR4", flip_cr4, mask, !strict && mask & vm.info.cr4_allowed);
		}
		works("control registers");
	}
}

/* ---- CR3 ---------------------------------------------------------------------- */

/* Where a walk leads that starts anywhere: out of memory, or to a fault nobody can handle. */
static bool ends_well(const struct raw_outcome *o)
{
	const struct dune_run *run = vcpu.run;

	if (o->kind == RAW_FAULT)
		return run->fault.flags & DUNE_FAULT_NO_GRANULE ? !run->fault.hva : run->fault.hva;
	return o->kind == RAW_SHUTDOWN && run->shutdown.code == DUNE_SHUTDOWN_TRIPLE;
}

static void check_cr3_load(uint64_t value, bool valid)
{
	struct raw_outcome o;
	char text[80];

	fresh(0);
	raw_load(&vcpu, "\x0f\x22\xd8", 3, 0);	/* mov %rax, %cr3 */
	vcpu.run->regs.rax = value;
	raw_outcome(&vcpu, &o);
	raw_name(&o, text);
	if (valid)
		CHECK(ends_well(&o), "CR3 = %#lx: %s", (unsigned long)value, text);
	else
		/* QEMU 7.2 does not check before it walks, or enters again. */
		CHECK((o.kind == RAW_EXCEPTION && o.vector == 13) ||
		      (vm.info.vendor == DUNE_VENDOR_SVM && (ends_well(&o) || o.kind == RAW_SHUTDOWN)),
		      "CR3 = %#lx: %s, expected #GP", (unsigned long)value, text);
}

static void check_cr3_config(uint64_t value)
{
	struct dune_run *run = vcpu.run;
	unsigned long index = vcpu.index;
	struct dune_vcpu_config config = raw_config(&vm, &vcpu, 0);
	struct raw_outcome o;
	char text[80];

	vcpu.run = run;
	vcpu.index = index;
	config.cr3 = value;
	new_vcpu(&config);
	raw_load(&vcpu, "\x90", 1, 0);
	raw_outcome(&vcpu, &o);
	CHECK(ends_well(&o), "a vCPU with CR3 = %#lx: %s", (unsigned long)value, raw_name(&o, text));
	/* Again: nothing has changed. */
	raw_outcome(&vcpu, &o);
	CHECK(ends_well(&o), "a vCPU with CR3 = %#lx, again: %s", (unsigned long)value, raw_name(&o, text));
}

static void check_cr3(void)
{
	uint64_t last = (1ULL << vm.info.gpa_bits) - RAW_PAGE, seed = 3;
	char *page = mmap(NULL, 2 * RAW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *unused = page + RAW_PAGE;
	struct dune_granule granule = { .va = (uintptr_t)page };
	uint64_t gpa;

	raw_map(&vm, page);
	CHECK(!ioctl(vm.fd, DUNE_GET_GRANULE, &granule), "DUNE_GET_GRANULE");
	gpa = granule.gpa + ((uintptr_t)page & (DUNE_GRANULE_SIZE - 1));
	munmap(unused, RAW_PAGE);

	for (unsigned int bit = vm.info.gpa_bits; bit < 64; bit++)
		check_cr3_load(1ULL << bit, false);
	check_cr3_load(~0ULL, false);
	check_cr3_load(last, true);
	check_cr3_load(last / 2, true);
	check_cr3_load(DUNE_GRANULE_SIZE * 7, true);
	check_cr3_load(gpa, true);			/* zeros */
	check_cr3_load(gpa + RAW_PAGE, true);		/* no memory is there */
	check_cr3_config(last);
	check_cr3_config(DUNE_GRANULE_SIZE * 7);
	check_cr3_config(gpa);
	check_cr3_config(gpa + RAW_PAGE);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t *table = (uint64_t *)page;

		for (unsigned int k = 0; k < 512; k++) {
			table[k] = raw_random(&seed);
			/* Half of them such that the CPU goes on walking. */
			if (i & 1)
				table[k] = (table[k] & last & ~(RAW_PAGE - 1)) | PTE_TABLE | (table[k] & PTE_PS);
			/* Or round and round in this one page. */
			if (i & 2)
				table[k] = gpa | PTE_TABLE;
		}
		/* What it finds for code may even run, but it is memory of this process only. */
		check_cr3_config(gpa);
	}
	munmap(page, RAW_PAGE);
}

/* ---- descriptor tables ------------------------------------------------------------ */

#define NOWHERE		0x300000000000		/* no entry in the page table */

static void check_table(const char *what, struct dune_vcpu_config *config, const char *code, unsigned int cpl)
{
	struct raw_outcome o;
	char text[80];

	new_vcpu(config);
	raw_load(&vcpu, code, 2, cpl);
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_SHUTDOWN && vcpu.run->shutdown.code == DUNE_SHUTDOWN_TRIPLE, "%s: %s", what,
	      raw_name(&o, text));
	works(what);
}

#define UD2	"\x0f\x0b"

static struct dune_vcpu_config config_again(void)
{
	struct dune_run *run = vcpu.run;
	unsigned long index = vcpu.index;
	struct dune_vcpu_config config = raw_config(&vm, &vcpu, 0);

	vcpu.run = run;
	vcpu.index = index;
	return config;
}

static void check_tables(void)
{
	static const uint64_t places[] = { NOWHERE, 0xffff800000000000, 0xffffffff81000000, 0xfffffffffffff000 };
	struct dune_vcpu_config config;

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		config = config_again();
		config.idt_base = places[i];
		check_table("an IDT that is nowhere", &config, UD2, 0);
		config = config_again();
		config.tss_base = places[i];
		check_table("a TSS that is nowhere", &config, UD2, 0);
		config = config_again();
		config.gdt_base = places[i];
		config.gdt_limit = 0x7f;
		check_table("a GDT that is nowhere", &config, UD2, 0);
		config = config_again();
		config.lstar = places[i];
		new_vcpu(&config);
		works("an LSTAR that is nowhere");
	}
	config = config_again();
	config.idt_limit = 0;
	check_table("an empty IDT", &config, UD2, 0);
	config = config_again();
	config.gdt_base = (uintptr_t)vm.block;
	config.gdt_limit = 0;
	check_table("an empty GDT", &config, UD2, 0);
	config = config_again();
	check_table("after all tables", (memset(vcpu.idt, 0, RAW_PAGE), &config), UD2, 0);
}

/* ---- stacks ------------------------------------------------------------------------- */

/* An exception whose stack has no page-table entry cannot be delivered, nor can the next. */
static void check_wild_stacks(void)
{
	static const uint64_t stacks[] = {
		NOWHERE, 0x8000000000000000, 0, 8, ~0ULL, 0xffff800000000000, 0x00007fffffffffff + 1ULL
	};
	struct raw_outcome o;
	char text[80];

	for (unsigned int i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
		/* By the interrupted RSP, by IST, by RSP0. */
		for (unsigned int way = 0; way < 3; way++) {
			fresh(0);
			for (unsigned int vector = 0; vector < 32; vector++)
				raw_gate(&vcpu, vector, raw_stubs + vector * RAW_STUB, way == 1 ? 1 : 0, 0);
			vcpu.tss->ist[0] = way == 1 ? stacks[i] : vcpu.ist_top;
			vcpu.tss->rsp[0] = way == 2 ? stacks[i] : vcpu.stack_top;
			raw_load(&vcpu, UD2, 2, way == 2 ? 3 : 0);
			if (way == 0)
				vcpu.run->regs.rsp = stacks[i];
			raw_outcome(&vcpu, &o);
			/*
			 * Below address 0x10 is the end of the address space; 0 to 8 lies in a granule that exists,
			 * without memory.
			 */
			CHECK((o.kind == RAW_SHUTDOWN && vcpu.run->shutdown.code == DUNE_SHUTDOWN_TRIPLE) ||
			      (o.kind == RAW_FAULT && vcpu.run->fault.flags & DUNE_FAULT_WRITE),
			      "a stack at %#lx, way %u: %s", (unsigned long)stacks[i], way, raw_name(&o, text));
			works("a stack that is nowhere");
		}
	}
}

/* Where only the memory is missing, the event waits for it, and is delivered then. */
static void check_missing_stack(void)
{
	char *page = mmap(NULL, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct raw_outcome o;
	char text[80];

	raw_map(&vm, page);
	munmap(page, RAW_PAGE);
	fresh(0);
	raw_gate(&vcpu, 6, raw_stubs + 6 * RAW_STUB, 0, 0);
	raw_load(&vcpu, UD2, 2, 0);
	vcpu.run->regs.rsp = (uintptr_t)page + RAW_PAGE;
	for (unsigned int i = 0; i < 3; i++) {
		raw_outcome(&vcpu, &o);
		CHECK(o.kind == RAW_FAULT && vcpu.run->fault.flags & DUNE_FAULT_WRITE &&
		      vcpu.run->fault.hva >> 12 == (uintptr_t)page >> 12 && o.rip == (uintptr_t)vcpu.code,
		      "an exception without a stack: %s", raw_name(&o, text));
		CHECK_EQUAL(vcpu.run->event_info, DUNE_EVENT_VALID | DUNE_EVENT_HARD | 6, "the event in flight");
	}
	CHECK(mmap(page, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page,
	      "mmap");
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_EXCEPTION && o.vector == 6 && o.rip == (uintptr_t)vcpu.code &&
	      o.rsp == (uintptr_t)page + RAW_PAGE, "the exception with a stack: %s", raw_name(&o, text));
	munmap(page, RAW_PAGE);
	works("a stack that comes late");
}

/* ---- other rings, other modes --------------------------------------------------------- */

static void check_modes(void)
{
	/* pushq %rax; pushq %rdx; lretq */
	static const char go[] = "\x50\x52\x48\xcb";
	char *low = mmap(NULL, RAW_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
			 -1, 0);
	struct raw_outcome o;
	char text[80];

	raw_map(&vm, low);
	memcpy(low, vm.info.vendor == DUNE_VENDOR_VMX ? VMCALL : VMMCALL, VMCALL_LENGTH);

	/* 32-bit code in ring 0. */
	fresh(0);
	raw_load(&vcpu, go, sizeof(go) - 1, 0);
	vcpu.run->regs.rax = 0x08;
	vcpu.run->regs.rdx = (uintptr_t)low;
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_CALL && o.rip == (uintptr_t)low + VMCALL_LENGTH, "32-bit code: %s", raw_name(&o, text));
	/* An address that such code cannot have: the CPU refuses it, or faults. */
	vcpu.run->regs.rip = (uintptr_t)vcpu.code;
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_SHUTDOWN || o.kind == RAW_EXCEPTION || o.kind == RAW_FAULT, "32-bit code above 4 GiB: %s",
	      raw_name(&o, text));
	vcpu.run->event_info = 0;
	raw_load(&vcpu, "\x90", 1, 3);
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_EXCEPTION && o.vector == 6, "ring 3 after that: %s", raw_name(&o, text));
	works("32-bit code");

	/* Ring 1: no VMCALL, and no way to set it from outside. */
	fresh(0);
	vcpu.run->gdt[11] = 0x00afbb000000ffff;
	vcpu.run->gdt[12] = 0x00cfb3000000ffff;
	/* pushq $0x61; pushq %rdi; pushq %rax; pushq %rdx; lretq */
	raw_load(&vcpu, "\x6a\x61\x57\x50\x52\x48\xcb", 7, 0);
	vcpu.run->regs.rdi = vcpu.stack_top - 1024;
	vcpu.run->regs.rax = 0x59;
	vcpu.run->regs.rdx = (uintptr_t)low;
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_EXCEPTION && o.vector == 6 && o.cs == 0x59 && o.rip == (uintptr_t)low, "ring 1: %s",
	      raw_name(&o, text));
	works("ring 1");
	munmap(low, RAW_PAGE);
}

/* FS and GS base are the thread's own: what the guest sets, user mode has. */
static void check_bases(void)
{
	/* wrfsbase %rax; wrgsbase %rdx */
	static const char set[] = "\xf3\x48\x0f\xae\xd0\xf3\x48\x0f\xae\xda";
	static const uint64_t values[] = { 0, 0x7fffffffffff, 0xffff800000000000, 0xffffffffffffffff, 0x123456789000 };
	uint64_t fs, gs, old_fs, old_gs;

	for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		raw_load(&vcpu, set, sizeof(set) - 1, 0);
		vcpu.run->regs.rax = values[i];
		vcpu.run->regs.rdx = values[4 - i];
		__asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(old_fs), "=r"(old_gs));
		for (;;) {
			long result;

			__asm__ volatile("syscall; rdfsbase %1; rdgsbase %2; wrfsbase %3; wrgsbase %4"
					 : "=&a"(result), "=&r"(fs), "=&r"(gs)
					 : "r"(old_fs), "r"(old_gs), "0"(16L), "D"((long)vm.fd),
					   "S"((long)DUNE_RUN), "d"(vcpu.index)
					 : "rcx", "r11", "memory");
			if (result != DUNE_EXIT_INTR) {
				CHECK_EQUAL(result, DUNE_EXIT_SYSCALL, "setting bases");
				break;
			}
		}
		CHECK_EQUAL(fs, values[i], "FS base after the guest");
		CHECK_EQUAL(gs, values[4 - i], "GS base after the guest");
	}
}

int main(void)
{
	raw_open(&vm);
	fresh(0);
	check_control_registers();
	check_cr3();
	check_tables();
	check_wild_stacks();
	check_missing_stack();
	check_modes();
	check_bases();
	return check_result();
}
