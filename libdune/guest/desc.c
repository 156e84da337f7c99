// SPDX-License-Identifier: MIT
/*
 * Descriptor tables: the IDT of the process, GDT and TSS of each thread.
 *
 * HR3, before the guest uses them.
 */
#include "engine/gate.h"
#include "guest/guest.h"

/* SDM, "64-Bit IDT Gate Descriptors" */
struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

_Static_assert(sizeof(struct gate) == GATE_SIZE, "a gate is 16 bytes");

#define GATE_INTERRUPT	0x8e	/* present, DPL 0, 64-bit interrupt gate */
#define GATE_DPL3	0x60

#define IST_TRAP	1
#define IST_DBLFLT	2

void __dune_fill_gate(unsigned int vector)
{
	struct gate *gates = (struct gate *)(__dune_process.region + REGION_IDT);
	uint64_t stub;

	if (vector < NR_EXCEPTIONS)
		stub = (uint64_t)__dune_trap_stubs + vector * STUB_SIZE + (option(DUNE_OPT_SMAP) ? 0 : CLAC_LENGTH);
	else
		stub = (uint64_t)__dune_int_stubs + (vector - NR_EXCEPTIONS) * 16;
	gates[vector] = (struct gate){
		.offset_low = stub,
		.offset_middle = stub >> 16,
		.offset_high = stub >> 32,
		.selector = SEL_KERNEL_CS,
		.ist = vector == T_DBLFLT ? IST_DBLFLT : IST_TRAP,
		.type = GATE_INTERRUPT | (vector == T_BRKPT || vector == T_OFLOW ? GATE_DPL3 : 0),
	};
}

/*
 * The CPU's own.  The others, for INT n, are filled when the program has a handler for them; until
 * then they are "not present" (T_SEGNP).
 */
void __dune_fill_idt(void)
{
	for (unsigned int vector = 0; vector < 256; vector++)
		if (vector < NR_EXCEPTIONS || __dune_handles(vector))
			__dune_fill_gate(vector);
}

void __dune_fill_tss(struct dune_thread *t)
{
	t->tss.rsp[0] = t->trap_high;
	t->tss.ist[IST_DBLFLT - 1] = thread_area(t) + AREA_HOST_END + IST_SIZE;
	t->tss.ist[IST_TRAP - 1] = t->trap_high;
	t->nested_mark = NESTED_MARK;
	t->session_mark = SESSION_MARK;
	t->tss.io_bitmap = sizeof(t->tss);	/* behind the limit: no ports */
}

#define HIDDEN		__attribute__((visibility("hidden")))
#define LSTAR(name)									\
	extern const char __dune_lstar_##name[] HIDDEN, __dune_lstar_##name##_return[] HIDDEN;	\
	extern const char __dune_program_lstar_##name[] HIDDEN, __dune_program_lstar_##name##_return[] HIDDEN;
FOR_EACH_WAY_OUT(LSTAR)

/* By the way out of the guest that this machine has. */
void __dune_lstar_choose(unsigned int way_out)
{
	unsigned int way = 0;

#define CHOOSE(name)										\
	if (way++ == way_out) {									\
		const bool ring3 = __dune_process.ring3;					\
												\
		__dune_process.lstar = (unsigned long)						\
			(ring3 ? __dune_program_lstar_##name : __dune_lstar_##name);		\
		__dune_process.lstar_return = (unsigned long)					\
			(ring3 ? __dune_program_lstar_##name##_return : __dune_lstar_##name##_return);	\
	}
	FOR_EACH_WAY_OUT(CHOOSE)
}

_Static_assert(GD_KT == SEL_KERNEL_CS && GD_KD == SEL_KERNEL_DS && GD_TSS == SEL_TSS &&
	       (GD_UT | 3) == SEL_USER_CS && (GD_UD | 3) == SEL_USER_DS,
	       "the selectors of dune.h are the engine's");

/* The layout of 64-bit Linux; the entry of SEL_CPUNODE is the engine's. */
HOT void __dune_fill_gdt(struct dune_thread *t)
{
	__u64 *gdt = t->vcpu.gdt;
	uint64_t base = (uint64_t)&t->tss;
	uint64_t limit = sizeof(t->tss) - 1;
	uint64_t area = (thread_area(t) - __dune_process.region) / AREA_SIZE;

	gdt[0] = 0;
	gdt[1] = 0x00cf9b000000ffff;	/* 32-bit code, ring 0 */
	gdt[SEL_KERNEL_CS / 8] = 0x00af9b000000ffff;
	gdt[SEL_KERNEL_DS / 8] = 0x00cf93000000ffff;
	gdt[4] = 0x00cffb000000ffff;	/* 32-bit code, ring 3 */
	gdt[SEL_USER_DS / 8] = 0x00cff3000000ffff;
	gdt[SEL_USER_CS / 8] = 0x00affb000000ffff;
	/* SDM, "TSS Descriptor in 64-bit mode": busy, because it is loaded from the start */
	gdt[SEL_TSS / 8] = limit | (base & 0xffffff) << 16 | 0x8bUL << 40 | (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	gdt[SEL_AREA / 8] = 0x0040930000000000 | area;	/* data, ring 0 */
}
