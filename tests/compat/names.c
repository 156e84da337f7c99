/* SPDX-License-Identifier: MIT */
/* Names of the first libdune's headers that programs have used: they are there, and do what they say. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libdune/dune.h"
#include "libdune/cpu-x86.h"
#include "libdune/elf.h"
#include "libdune/fpu.h"
#include "libdune/mmu.h"

#include "expect.h"

static SLIST_HEAD(, page) mine = SLIST_HEAD_INITIALIZER(mine);

static int status_of(void (*function)(void))
{
	int status, child = fork();

	if (!child) {
		function();
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child);
	return status;
}

static void fail(void)
{
	assert(checks == -1);
}

static void send(void)
{
	dune_apic_send_ipi(0xf2, 0);
}

/* Pages on a list of the program's, and given back all the same. */
static void lists(void)
{
	struct page *page;
	page_entry_t entry;
	ptent_t *copy;
	int i;

	for (i = 0; i < 100; i++) {
		page = dune_page_alloc();
		EXPECT(page && page->ref == 1);
		SLIST_INSERT_HEAD(&mine, page, link);
	}
	EXPECT(sizeof(entry) == sizeof(page->link));
	copy = dune_vm_clone(pgroot);
	EXPECT(copy);
	SLIST_FOREACH(page, &mine, link) {
		i--;
		EXPECT(dune_page_isfrompool(dune_page2pa(page)));
		EXPECT(dune_vm_free((ptent_t *)pgroot) < 0);
	}
	EXPECT(i == 0);
	while (!SLIST_EMPTY(&mine)) {
		page = SLIST_FIRST(&mine);
		SLIST_REMOVE_HEAD(&mine, link);
		dune_page_put(page);
	}
	dune_vm_free(copy);
}

static void vector_registers(void)
{
	static struct fpu_area one, other;
	double value = 0;

	dune_fpu_init(&one);
	dune_fpu_init(&other);
	EXPECT(one.xsave.fxsave.cwd == 0x37f && one.xsave.fxsave.mxcsr == 0x1f80);
	__asm__ volatile("movq %0, %%xmm7" : : "r"(0x4045000000000000) : "xmm7");	/* 42.0 */
	dune_fpu_save(&one);
	__asm__ volatile("xorps %%xmm7, %%xmm7" : : : "xmm7");
	dune_fpu_save_safe(&other);
	__asm__ volatile("fninit; mov $0, %%eax" : : : "eax");
	fpu_xrstor(&one, -1);
	__asm__ volatile("movq %%xmm7, %0" : "=r"(value) : : "xmm7");
	EXPECT(value == 42);
	EXPECT(one.xsave.header.xstate_bv & 2);
	dune_fpu_load(&other);
	EXPECT(one.xsave.fxsave.xmm_regs[28 + 1] == 0x40450000 && !other.xsave.fxsave.xmm_regs[28 + 1]);
}

int main(void)
{
	struct idtd gate;
	struct tptr table;
	struct Gatedesc descriptor;
	unsigned long cr3;
	bool error = false;
	u64 base;
	int status;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init_and_enter())
		return 1;
	assert(checks == 0);
	if (checks == 0)
		assert(1);
	else
		fail();
	EXPECT(T_SYSCALL == 48 && IDT_ENTRIES == 256 && GD_TSS2 == GD_TSS + 8 && NR_GDT_ENTRIES > GD_TSS2 / 8);
	EXPECT(FL_IF == 0x200 && FL_IOPL_3 == FL_IOPL_MASK && FL_ID == 1 << 21 && FL_AC == 1 << 18);
	EXPECT(CR0_PG == 1U << 31 && CR4_PGE == 0x80 && EFER_NXE == 1 << 11);
	EXPECT(sizeof(table) == 10 && sizeof(gate) == 16 && sizeof(struct Tss) == 104);
	EXPECT(IDTD_P == 0x80 && IDTD_INTERRUPT_GATE == 0xe && IDTD_CPL3 == 0x60);
	EXPECT(SEG64(SEG_X | SEG_R, 0) == 0x00af9b000000ffff && SEG64(SEG_W, 3) == 0x00aff3000000ffff);
	SETGATE(descriptor, SEG_IG, GD_KT, 0x123456789abcdef0, 3);
	EXPECT(descriptor.gd_lo == 0x9abcee000010def0 && descriptor.gd_hi == 0x12345678);
	EXPECT(GPA_MAP_SIZE == 63UL << 30 && GPA_STACK_SIZE == 1 << 30 && PTE_AVAIL2 == 0x7ff0000000000000);
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	EXPECT(cr3);
	rdmsrl(MSR_FS_BASE, base);
	EXPECT(base);
	wrmsrl(MSR_FS_BASE, base);
	EXPECT(native_read_msr(MSR_FS_BASE) == base);

	lists();
	vector_registers();

	/* Interrupts from thread to thread: refused. */
	EXPECT(dune_apic_id() == ~0U);
	EXPECT(apic_id_for_cpu(0, &error) == 0 && error);
	setup_apic();
	apic_init_rt_entry();
	dune_apic_eoi();
	status = status_of(send);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	status = status_of(fail);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	return verdict();
}
