// SPDX-License-Identifier: MIT
/* The layout of libdune's granule, and the arithmetic of the guest's page table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dune.h"
#include "threads/layout.h"
#include "memory/pte.h"

#define GRANULE	(1UL << 30)

static void slots(void **state)
{
	unsigned long end = 0;

	(void)state;
	for (unsigned int slot = 0; slot < MAX_THREADS; slot++) {
		unsigned long offset = slot_offset(slot);

		assert_int_equal(offset % AREA_SIZE, 0);
		assert_int_equal(offset_slot(offset), slot);
		assert_true(offset >= end);
		end = offset + AREA_SIZE;
		/* The first one has the tables behind it. */
		if (!slot)
			end = REGION_TABLES_END;
	}
	assert_true(end <= GRANULE);
}

static void parts(void **state)
{
	(void)state;
	assert_true(AREA_ENGINE + PAGE_SIZE < AREA_TRAP);
	assert_true(AREA_TRAP_END - AREA_TRAP == TRAP_MAX && TRAP_MAX >= TRAP_DEFAULT);
	assert_true(TRAP_DEFAULT >= TRAP_MIN && TRAP_MIN > 2 * TRAP_RESERVE);
	assert_int_equal((TRAP_MAX | TRAP_DEFAULT | TRAP_MIN) % PAGE_SIZE, 0);
	assert_true(AREA_TRAP_END < AREA_HOST_END);
	assert_int_equal(AREA_HOST_END % 16, 0);
	assert_int_equal(AREA_HOST_END + IST_SIZE, AREA_THREAD);
	assert_true(AREA_SPARE_END < AREA_HOST_END - 0xf000);
	assert_int_equal(AREA_CALL % PAGE_SIZE, 0);
	assert_int_equal(AREA_NESTED_END % 16, 0);
	/* The first 32 gates end where a page does, the others follow. */
	assert_int_equal(REGION_IDT + NR_EXCEPTIONS * GATE_SIZE, AREA_SIZE);
	assert_true(REGION_IDT + 256 * GATE_SIZE <= REGION_ROOT);
	assert_true(REGION_IDT >= AREA_THREAD + THREAD_MAX);
	assert_int_equal(REGION_ROOT % PAGE_SIZE, 0);
	assert_int_equal(REGION_PDPT % PAGE_SIZE, 0);
	assert_true(REGION_TABLES_END <= REGION_PAGES);
	assert_true(REGION_PAGES + REGION_PAGES_SIZE <= REGION_LOOK);
	/* A table of 48 bits of guest-physical granules. */
	assert_true(REGION_LOOK + (4UL << 18) <= REGION_AREAS);
}

static void addresses(void **state)
{
	(void)state;
	assert_int_equal(root_slot(0), 0);
	assert_int_equal(root_slot((1UL << 39) - 1), 0);
	assert_int_equal(root_slot(1UL << 39), 1);
	assert_int_equal(root_slot((1UL << 47) - 1), 255);
	assert_int_equal(pdpt_slot(GRANULE - 1), 0);
	assert_int_equal(pdpt_slot(GRANULE), 1);
	assert_int_equal(pdpt_slot(512 * GRANULE), 0);
	assert_true(user_address((1UL << 47) - 1));
	assert_false(user_address(1UL << 47));
	assert_false(user_address(~0UL));
}

static void entries(void **state)
{
	(void)state;
	assert_int_equal(table_entry(0x12345000) & PTE_ADDRESS, 0x12345000);
	assert_true(table_entry(0) & PTE_P && table_entry(0) & PTE_U);
	assert_false(table_entry(0) & PTE_PS);
	assert_int_equal(granule_entry(7 * GRANULE) & PTE_ADDRESS, 7 * GRANULE);
	assert_true(granule_entry(0) & PTE_PS);
	/* What is not split is libdune's and the program's, not ring 3's. */
	assert_false(granule_entry(0) & PTE_U);
	/* The CPU need never write to it. */
	assert_true(granule_entry(0) & PTE_A && granule_entry(0) & PTE_D);
}

/* What old programs, the CPU and entry.S know of the frame. */
static void frame(void **state)
{
	static const size_t words[] = {
		offsetof(struct dune_tf, rdi), offsetof(struct dune_tf, rsi), offsetof(struct dune_tf, rdx),
		offsetof(struct dune_tf, rcx), offsetof(struct dune_tf, r8), offsetof(struct dune_tf, r9),
		offsetof(struct dune_tf, r10), offsetof(struct dune_tf, r11), offsetof(struct dune_tf, rbx),
		offsetof(struct dune_tf, rbp), offsetof(struct dune_tf, r12), offsetof(struct dune_tf, r13),
		offsetof(struct dune_tf, r14), offsetof(struct dune_tf, r15), offsetof(struct dune_tf, rax),
		offsetof(struct dune_tf, err), offsetof(struct dune_tf, rip), offsetof(struct dune_tf, cs),
		offsetof(struct dune_tf, rflags), offsetof(struct dune_tf, rsp), offsetof(struct dune_tf, ss),
	};
	struct dune_tf tf = { .rdi = 0, .rsi = 1, .rdx = 2, .rcx = 3, .r8 = 4, .r9 = 5 };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_int_equal(words[i], 8 * i);
	assert_int_equal(sizeof(struct dune_tf), 21 * 8);
	assert_true(ARG0(&tf) == 0 && ARG1(&tf) == 1 && ARG2(&tf) == 2 && ARG3(&tf) == 3 && ARG4(&tf) == 4 &&
		    ARG5(&tf) == 5);
	/* The trap stack begins where the CPU leaves it: it aligns to 16 bytes. */
	assert_int_equal(AREA_TRAP_END % 16, 0);
	assert_true(sizeof(struct dune_tf) + 16 < IST_SIZE);
	/* Stubs have room for CLAC and end before the next. */
	assert_int_equal(STUB_SIZE & (STUB_SIZE - 1), 0);
	assert_int_equal(RFLAGS_RING3_SET, RFLAGS_IOPL1 | 0x200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame),
		cmocka_unit_test(slots),
		cmocka_unit_test(parts),
		cmocka_unit_test(addresses),
		cmocka_unit_test(entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
