// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"
#include "raw.h"

_Static_assert(sizeof(struct raw_tss) == 0x68, "a TSS without I/O bitmap");

/* ---- calls that leave the C library alone ---- */

static inline long syscall3(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

long raw_ioctl(int fd, unsigned long command, unsigned long argument)
{
	return syscall3(SYS_ioctl, fd, command, argument);
}

/* The guest may leave any FS and GS base behind; the C library needs its own. */
__attribute__((optimize("no-stack-protector")))
static long enter(struct raw_vcpu *vcpu, bool until_out)
{
	uint64_t fs, gs;
	long result;

	__asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(fs), "=r"(gs));
	do	/* it goes on with its own */
		result = raw_ioctl(vcpu->vm->fd, DUNE_RUN, vcpu->index);
	while (until_out && result == DUNE_EXIT_INTR);
	__asm__ volatile("wrfsbase %0; wrgsbase %1" : : "r"(fs), "r"(gs) : "memory");
	return result;
}

long raw_enter(struct raw_vcpu *vcpu)
{
	return enter(vcpu, false);
}

long raw_run(struct raw_vcpu *vcpu)
{
	return enter(vcpu, true);
}

/* ---- memory ---- */

static uint64_t *table(struct raw_vm *vm, unsigned int page)
{
	return (uint64_t *)(vm->block + page * RAW_PAGE);
}

/* The granule of @va in the page table, at the same guest-linear address. */
void raw_map(struct raw_vm *vm, const void *va)
{
	struct dune_granule granule = { .va = (uintptr_t)va };
	uint64_t *slot = &table(vm, RAW_ROOT)[granule.va >> 39 & 511], *pdpt;

	DIE_UNLESS(!ioctl(vm->fd, DUNE_GET_GRANULE, &granule), "DUNE_GET_GRANULE");
	if (!*slot) {
		DIE_UNLESS(vm->pdpts < RAW_TABLES, "page-table pages");
		*slot = (vm->block_gpa + (RAW_PDPTS + vm->pdpts++) * RAW_PAGE) | PTE_TABLE;
	}
	pdpt = (uint64_t *)(vm->block + ((*slot & ~(RAW_PAGE - 1)) - vm->block_gpa));
	pdpt[granule.va >> 30 & 511] = granule.gpa | PTE_LEAF | PTE_PS;
}

/* Code says VMCALL; AMD's CPUs say VMMCALL, which is as long. */
static void adapt(const struct raw_vm *vm, char *code, size_t length)
{
	if (vm->info.vendor != DUNE_VENDOR_SVM)
		return;
	for (size_t i = 0; i + VMCALL_LENGTH <= length; i++)
		if (!memcmp(code + i, VMCALL, VMCALL_LENGTH))
			memcpy(code + i, VMMCALL, VMCALL_LENGTH);
}

static void adapt_stubs(const struct raw_vm *vm)
{
	char *first = (char *)((uintptr_t)raw_stubs & ~(RAW_PAGE - 1)), *end = raw_stubs + 256 * RAW_STUB;

	if (vm->info.vendor != DUNE_VENDOR_SVM)
		return;
	DIE_UNLESS(!mprotect(first, end - first, PROT_READ | PROT_WRITE | PROT_EXEC), "mprotect");
	adapt(vm, raw_stubs, 256 * RAW_STUB);
	DIE_UNLESS(!mprotect(first, end - first, PROT_READ | PROT_EXEC), "mprotect");
}

void raw_open(struct raw_vm *vm)
{
	struct dune_granule granule;
	int on_stack;

	memset(vm, 0, sizeof(*vm));
	vm->fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
	DIE_UNLESS(vm->fd >= 0, "/dev/dune");
	DIE_UNLESS(!ioctl(vm->fd, DUNE_GET_INFO, &vm->info), "DUNE_GET_INFO");
	adapt_stubs(vm);
	do {	/* all in one granule */
		vm->block = mmap(NULL, RAW_PAGES * RAW_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		DIE_UNLESS(vm->block != MAP_FAILED, "mmap");
	} while ((uintptr_t)vm->block >> 30 != ((uintptr_t)vm->block + RAW_PAGES * RAW_PAGE - 1) >> 30);
	granule.va = (uintptr_t)vm->block;
	DIE_UNLESS(!ioctl(vm->fd, DUNE_GET_GRANULE, &granule), "DUNE_GET_GRANULE");
	vm->block_gpa = granule.gpa + ((uintptr_t)vm->block & (DUNE_GRANULE_SIZE - 1));
	raw_map(vm, vm->block);
	raw_map(vm, raw_stubs);
	raw_map(vm, &on_stack);
}

void raw_close(struct raw_vm *vm)
{
	close(vm->fd);
	munmap(vm->block, RAW_PAGES * RAW_PAGE);
}

/* ---- vCPUs ---- */

void raw_gate(struct raw_vcpu *vcpu, unsigned int vector, const void *handler, unsigned int ist, unsigned int dpl)
{
	uint64_t address = (uintptr_t)handler;

	vcpu->idt[vector] = (struct raw_gate){
		.offset_low = address,
		.offset_middle = address >> 16,
		.offset_high = address >> 32,
		.selector = DUNE_SEL_KERNEL_CS,
		.ist = ist,
		.type = 0x8e | dpl << 5,	/* present, interrupt gate */
	};
}

static void fill_gdt(struct raw_vcpu *vcpu)
{
	uint64_t base = (uintptr_t)vcpu->tss, limit = sizeof(*vcpu->tss) - 1;
	__u64 *gdt = vcpu->run->gdt;

	gdt[1] = 0x00cf9b000000ffff;	/* 32-bit code, ring 0 */
	gdt[DUNE_SEL_KERNEL_CS / 8] = 0x00af9b000000ffff;
	gdt[DUNE_SEL_KERNEL_DS / 8] = 0x00cf93000000ffff;
	gdt[4] = 0x00cffb000000ffff;	/* 32-bit code, ring 3 */
	gdt[DUNE_SEL_USER_DS / 8] = 0x00cff3000000ffff;
	gdt[DUNE_SEL_USER_CS / 8] = 0x00affb000000ffff;
	gdt[DUNE_SEL_TSS / 8] = limit | (base & 0xffffff) << 16 | 0x8bUL << 40 | (base >> 24 & 0xff) << 56;
	gdt[DUNE_SEL_TSS / 8 + 1] = base >> 32;
}

/* Gives @vcpu its place in the block. */
struct dune_vcpu_config raw_config(struct raw_vm *vm, struct raw_vcpu *vcpu, uint32_t flags)
{
	char *pages = vm->block + (RAW_VCPUS + vm->vcpus % RAW_VCPUS_MAX * RAW_VCPU_PAGES) * RAW_PAGE;

	vm->vcpus++;
	*vcpu = (struct raw_vcpu){
		.vm = vm,
		.idt = (struct raw_gate *)(pages + RAW_IDT * RAW_PAGE),
		.tss = (struct raw_tss *)(pages + RAW_TSS * RAW_PAGE),
		.code = pages + RAW_CODE * RAW_PAGE,
		.data = pages + RAW_DATA * RAW_PAGE,
		.ist_top = (uintptr_t)pages + (RAW_IST + 1) * RAW_PAGE,
		.stack_top = (uintptr_t)pages + (RAW_STACK + 1) * RAW_PAGE,
		.stack3_top = (uintptr_t)pages + (RAW_STACK3 + 1) * RAW_PAGE,
	};
	for (unsigned int vector = 0; vector < 256; vector++)
		raw_gate(vcpu, vector, raw_stubs + vector * RAW_STUB, 1, vector == 3 || vector == 4 ? 3 : 0);
	*vcpu->tss = (struct raw_tss){
		.rsp[0] = vcpu->stack_top,
		.ist[0] = vcpu->ist_top,
		.io_bitmap = sizeof(*vcpu->tss),	/* behind the limit: no ports */
	};
	return (struct dune_vcpu_config){
		.flags = flags,
		.cr3 = vm->block_gpa + RAW_ROOT * RAW_PAGE,
		.idt_base = (uintptr_t)vcpu->idt,
		.idt_limit = 256 * sizeof(struct raw_gate) - 1,
		.tss_base = (uintptr_t)vcpu->tss,
		.tss_limit = sizeof(*vcpu->tss) - 1,
		.lstar = (uintptr_t)raw_stubs + 255 * RAW_STUB,
	};
}

/* gdt_base is that of the run page, unless it is set. */
int raw_vcpu_create(struct raw_vm *vm, struct raw_vcpu *vcpu, struct dune_vcpu_config *config)
{
	void *page = mmap(NULL, RAW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long result;

	DIE_UNLESS(page != MAP_FAILED, "mmap");
	vcpu->run = page;
	if (!config->gdt_base) {
		config->gdt_base = (uintptr_t)vcpu->run->gdt;
		config->gdt_limit = sizeof(vcpu->run->gdt) - 1;
	}
	result = raw_ioctl(vm->fd, DUNE_CREATE_VCPU, (uintptr_t)config);
	if (result) {
		munmap(page, RAW_PAGE);
		return result;
	}
	vcpu->index = config->index;
	page = mmap(page, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, vm->fd,
		    DUNE_MMAP_RUN(vcpu->index));
	DIE_UNLESS(page != MAP_FAILED, "mmap of the run page");
	raw_map(vm, page);
	fill_gdt(vcpu);
	return 0;
}

void raw_vcpu(struct raw_vm *vm, struct raw_vcpu *vcpu, uint32_t flags)
{
	struct dune_vcpu_config config = raw_config(vm, vcpu, flags);

	errno = -raw_vcpu_create(vm, vcpu, &config);
	DIE_UNLESS(!errno, "DUNE_CREATE_VCPU");
}

/* ---- running code ---- */

void raw_load(struct raw_vcpu *vcpu, const void *code, size_t length, unsigned int cpl)
{
	struct dune_run *run = vcpu->run;

	DIE_UNLESS(length + VMCALL_LENGTH <= RAW_PAGE, "size of the code");
	memcpy(vcpu->code, code, length);
	memcpy(vcpu->code + length, VMCALL, VMCALL_LENGTH);
	adapt(vcpu->vm, vcpu->code, length + VMCALL_LENGTH);
	memset(&run->regs, 0, sizeof(run->regs));
	run->regs.rip = (uintptr_t)vcpu->code;
	run->regs.rsp = (cpl ? vcpu->stack3_top : vcpu->stack_top) - 256;
	run->regs.rdi = (uintptr_t)vcpu->data;
	run->regs.rsi = (uintptr_t)vcpu->data;
	run->regs.rflags = 2;
	run->kernel_gs_base = 0;
	run->event_info = 0;
	run->event_error = 0;
	run->cpl = cpl;
	run->flags = 0;
	run->immediate_exit = 0;
}

static bool has_error_code(unsigned int vector)
{
	return vector == 8 || vector == 17 || (vector >= 10 && vector <= 14);
}

void raw_decode(struct raw_vcpu *vcpu, long result, struct raw_outcome *outcome)
{
	static const enum raw_kind kinds[] = {
		[DUNE_EXIT_SYSCALL] = RAW_CALL,
		[DUNE_EXIT_INTR] = RAW_INTR,
		[DUNE_EXIT_FAULT] = RAW_FAULT,
		[DUNE_EXIT_SHUTDOWN] = RAW_SHUTDOWN,
		[DUNE_EXIT_WINDOW] = RAW_WINDOW,
	};
	uint64_t offset = vcpu->run->regs.rip - VMCALL_LENGTH - (uintptr_t)raw_stubs;
	const uint64_t *frame = (const uint64_t *)vcpu->run->regs.rsp;

	memset(outcome, 0, sizeof(*outcome));
	outcome->result = result;
	outcome->rip = vcpu->run->regs.rip;
	outcome->kind = result > 0 && result <= DUNE_EXIT_WINDOW ? kinds[result] : RAW_ERROR;
	if (outcome->kind != RAW_CALL || offset >= 255 * RAW_STUB || offset % RAW_STUB)
		return;
	outcome->kind = RAW_EXCEPTION;
	outcome->vector = offset / RAW_STUB;
	if (has_error_code(outcome->vector))
		outcome->error = *frame++;
	outcome->rip = frame[0];
	outcome->cs = frame[1];
	outcome->rflags = frame[2];
	outcome->rsp = frame[3];
}

void raw_outcome(struct raw_vcpu *vcpu, struct raw_outcome *outcome)
{
	raw_decode(vcpu, raw_run(vcpu), outcome);
}

const char *raw_name(const struct raw_outcome *outcome, char text[80])
{
	static const char *const names[] = {
		[RAW_CALL] = "hypercall", [RAW_FAULT] = "DUNE_EXIT_FAULT",
		[RAW_SHUTDOWN] = "DUNE_EXIT_SHUTDOWN", [RAW_INTR] = "DUNE_EXIT_INTR",
		[RAW_WINDOW] = "DUNE_EXIT_WINDOW",
	};

	if (outcome->kind == RAW_ERROR)
		snprintf(text, 80, "DUNE_RUN = %ld", outcome->result);
	else if (outcome->kind == RAW_EXCEPTION)
		snprintf(text, 80, "vector %u, error %#lx, at %#lx", outcome->vector,
			 (unsigned long)outcome->error, (unsigned long)outcome->rip);
	else
		snprintf(text, 80, "%s at %#lx", names[outcome->kind], (unsigned long)outcome->rip);
	return text;
}
