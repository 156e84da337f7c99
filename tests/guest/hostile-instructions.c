// SPDX-License-Identifier: MIT
/*
 * Every privileged or sensitive instruction ends as defined: in ring 0, in ring 3, and in
 * ring 0 of a strict vCPU (DUNE_VCPU_STRICT).
 */
#include <cpuid.h>

#include "check.h"
#include "raw.h"

/* Outcomes: "the next instruction", or a vector with the error code that belongs to it. */
enum {
	OK	= 0x100,
	SKIP	= 0x200,	/* depends on the CPU model: only that the host survives */
	LEAVE	= 0x400,	/* not to be tried here */
	DB	= 1,
	BP	= 3,
	UD	= 6,
	GP	= 13,
};

#define NON_CANONICAL	0x8000000000000000

struct instruction {
	const char *name;
	const char *code;
	size_t length;
	uint16_t ring0, ring3, strict;
	uint64_t rax, rcx, rdx;
	uint32_t error;		/* of the exception in ring 0 */
	uint32_t error3;	/* in ring 3 */
	bool exits;		/* strict: it is refused before the CPU looks at its operand */
};

#define CODE(bytes)	bytes, sizeof(bytes) - 1
#define HYPERCALL	DUNE_HC_FLUSH_TLB

static const struct instruction instructions[] = {
	/* Ports. */
	{ "in (%dx), %al",	CODE("\xec"), GP, GP, GP, .rdx = 0x80 },
	{ "in (%dx), %eax",	CODE("\xed"), GP, GP, GP, .rdx = 0xcfc },
	{ "in $0x64, %al",	CODE("\xe4\x64"), GP, GP, GP },
	{ "out %al, (%dx)",	CODE("\xee"), GP, GP, GP, .rdx = 0x3f8 },
	{ "out %eax, $0x80",	CODE("\xe7\x80"), GP, GP, GP },
	{ "insb",		CODE("\x6c"), GP, GP, GP, .rdx = 0x80 },
	{ "outsl",		CODE("\x6f"), GP, GP, GP, .rdx = 0x80 },
	{ "rep outsb",		CODE("\xf3\x6e"), GP, GP, GP, .rdx = 0x80, .rcx = 1 },

	/* The whole CPU. */
	{ "hlt",		CODE("\xf4"), GP, GP, GP },
	{ "cli",		CODE("\xfa"), OK, GP, OK },
	{ "sti",		CODE("\xfb\x90"), OK, GP, OK },
	{ "invd",		CODE("\x0f\x08"), GP, GP, GP },
	{ "wbinvd",		CODE("\x0f\x09"), GP, GP, GP },
	{ "wbnoinvd",		CODE("\xf3\x0f\x09"), GP, GP, GP },
	{ "monitor",		CODE("\x0f\x01\xc8"), UD, UD, UD },
	{ "mwait",		CODE("\x0f\x01\xc9"), UD, UD, UD },
	{ "monitorx",		CODE("\x0f\x01\xfa"), UD, UD, UD },
	{ "mwaitx",		CODE("\x0f\x01\xfb"), UD, UD, UD },
	{ "rsm",		CODE("\x0f\xaa"), UD, UD, UD },
	{ "getsec",		CODE("\x0f\x37"), UD, UD, UD },
	{ "pconfig",		CODE("\x0f\x01\xc5"), UD, UD, UD },
	{ "encls",		CODE("\x0f\x01\xcf"), UD, UD, UD },
	{ "enclv",		CODE("\x0f\x01\xc0"), UD, UD, UD },
	{ "umwait %edi",	CODE("\xf2\x0f\xae\xf7"), UD, UD, UD },
	{ "tpause %edi",	CODE("\x66\x0f\xae\xf7"), UD, UD, UD },
	{ "pause",		CODE("\xf3\x90"), OK, OK, OK },
	{ "cpuid",		CODE("\x0f\xa2"), OK, OK, OK },
	{ "rdtsc",		CODE("\x0f\x31"), OK, OK, OK },
	{ "rdtscp",		CODE("\x0f\x01\xf9"), OK, OK, OK },
	{ "rdpmc",		CODE("\x0f\x33"), GP, GP, GP },
	{ "rdpmc of a fixed counter", CODE("\x0f\x33"), GP, GP, GP, .rcx = 0x40000000 },

	/* Debug registers. */
	{ "mov %rax, %dr7",	CODE("\x0f\x23\xf8"), GP, GP, GP, .rax = 0x401 },
	{ "mov %dr7, %rax",	CODE("\x0f\x21\xf8"), GP, GP, GP },
	{ "mov %rax, %dr0",	CODE("\x0f\x23\xc0"), GP, GP, GP },
	{ "mov %dr6, %rax",	CODE("\x0f\x21\xf0"), GP, GP, GP },

	/* Control registers. */
	{ "mov %cr0, %rax, and back", CODE("\x0f\x20\xc0\x0f\x22\xc0"), OK, GP, OK },
	{ "mov %cr2, %rax, and back", CODE("\x0f\x20\xd0\x0f\x22\xd0"), OK, GP, OK },
	{ "mov %cr3, %rax",	CODE("\x0f\x20\xd8"), OK, GP, OK },
	{ "mov %cr3, %rax, and back", CODE("\x0f\x20\xd8\x0f\x22\xd8"), OK, GP, GP },
	{ "mov %cr4, %rax, and back", CODE("\x0f\x20\xe0\x0f\x22\xe0"), OK, GP, OK },
	{ "mov %cr8, %rax",	CODE("\x44\x0f\x20\xc0"), GP, GP, GP },
	{ "mov %rax, %cr8",	CODE("\x44\x0f\x22\xc0"), GP, GP, GP },
	{ "mov %cr1, %rax",	CODE("\x0f\x20\xc8"), UD, UD, UD },
	{ "smsw %eax",		CODE("\x0f\x01\xe0"), OK, OK, OK },
	{ "lmsw %ax, same",	CODE("\x0f\x01\xe0\x0f\x01\xf0"), OK, GP, OK },
	{ "lmsw %ax, MP off",	CODE("\x0f\x01\xf0"), GP, GP, GP, .rax = 1 },
	{ "lmsw %ax, EM on",	CODE("\x0f\x01\xf0"), GP, GP, GP, .rax = 7 },
	{ "clts",		CODE("\x0f\x06"), OK, GP, OK },

	/* XCR0 */
	{ "xgetbv",		CODE("\x0f\x01\xd0"), OK, OK, OK },
	{ "xsetbv of nothing",	CODE("\x0f\x01\xd1"), GP, GP, GP },
	{ "xsetbv of x87 alone", CODE("\x0f\x01\xd1"), GP, GP, GP, .rax = 1 },
	{ "xsetbv of all",	CODE("\x0f\x01\xd1"), GP, GP, GP, .rax = ~0U, .rdx = ~0U },
	{ "xsetbv of XCR1",	CODE("\x0f\x01\xd1"), GP, GP, GP, .rcx = 1 },
	{ "xsetbv of what is there", CODE("\x0f\x01\xd0\x0f\x01\xd1"), OK, GP, OK },
	{ "xsaves",		CODE("\x0f\xc7\x2f"), UD, UD, UD },
	{ "xrstors",		CODE("\x0f\xc7\x1f"), UD, UD, UD },
	{ "wrpkru",		CODE("\x0f\x01\xef"), UD, UD, UD },
	{ "rdpkru",		CODE("\x0f\x01\xee"), UD, UD, UD },

	/* Virtualization. */
	{ "vmxon",		CODE("\xf3\x0f\xc7\x37"), UD, UD, UD },
	{ "vmxoff",		CODE("\x0f\x01\xc4"), UD, UD, UD },
	{ "vmclear",		CODE("\x66\x0f\xc7\x37"), UD, UD, UD },
	{ "vmptrld",		CODE("\x0f\xc7\x37"), UD, UD, UD },
	{ "vmptrst",		CODE("\x0f\xc7\x3f"), UD, UD, UD },
	{ "vmlaunch",		CODE("\x0f\x01\xc2"), UD, UD, UD },
	{ "vmresume",		CODE("\x0f\x01\xc3"), UD, UD, UD },
	{ "vmread",		CODE("\x0f\x78\xc0"), UD, UD, UD },
	{ "vmwrite",		CODE("\x0f\x79\xc0"), UD, UD, UD },
	{ "invept",		CODE("\x66\x0f\x38\x80\x07"), UD, UD, UD },
	{ "invvpid",		CODE("\x66\x0f\x38\x81\x07"), UD, UD, UD },
	{ "vmfunc",		CODE("\x0f\x01\xd4"), UD, UD, UD },
	{ "vmrun",		CODE("\x0f\x01\xd8"), UD, UD, UD },
	{ "vmload",		CODE("\x0f\x01\xda"), UD, UD, UD },
	{ "vmsave",		CODE("\x0f\x01\xdb"), UD, UD, UD },
	{ "stgi",		CODE("\x0f\x01\xdc"), UD, UD, UD },
	{ "clgi",		CODE("\x0f\x01\xdd"), UD, UD, UD },
	{ "skinit",		CODE("\x0f\x01\xde"), UD, UD, UD },
	{ "invlpga",		CODE("\x0f\x01\xdf"), UD, UD, UD },
	{ "vmcall, a hypercall", CODE(VMCALL), OK, UD, OK, .rax = HYPERCALL },
	{ "vmcall, an unknown hypercall", CODE(VMCALL), OK, UD, OK, .rax = DUNE_HC(0xffffffff) },

	/* MSRs: hostile-msr has all of them. */
	{ "rdmsr",		CODE("\x0f\x32"), GP, GP, GP },
	{ "wrmsr",		CODE("\x0f\x30"), GP, GP, GP },
	{ "rdfsbase %rax",	CODE("\xf3\x48\x0f\xae\xc0"), OK, OK, OK },
	{ "wrfsbase %rax",	CODE("\xf3\x48\x0f\xae\xd0"), OK, OK, OK, .rax = 0x12345000 },
	{ "wrgsbase %rax",	CODE("\xf3\x48\x0f\xae\xd8"), OK, OK, OK, .rax = 0x12345000 },
	{ "wrfsbase, not canonical", CODE("\xf3\x48\x0f\xae\xd0"), GP, GP, GP, .rax = NON_CANONICAL },
	{ "wrgsbase, not canonical", CODE("\xf3\x48\x0f\xae\xd8"), GP, GP, GP, .rax = NON_CANONICAL },
	{ "swapgs",		CODE("\x0f\x01\xf8"), OK, GP, OK },
	{ "swapgs twice",	CODE("\x0f\x01\xf8\x0f\x01\xf8"), OK, GP, OK },

	/* Descriptor tables. */
	{ "sgdt, lgdt",		CODE("\x0f\x01\x07\x0f\x01\x17"), OK, GP, GP },
	{ "sidt, lidt",		CODE("\x0f\x01\x0f\x0f\x01\x1f"), OK, GP, GP },
	{ "lldt %ax, none",	CODE("\x0f\x00\xd0"), OK, GP, GP },
	{ "lldt %ax, code",	CODE("\x0f\x00\xd0"), GP, GP, GP, .rax = DUNE_SEL_KERNEL_CS,
		.error = DUNE_SEL_KERNEL_CS, .exits = true },
	{ "ltr %ax, none",	CODE("\x0f\x00\xd8"), GP, GP, GP },
	{ "sgdt",		CODE("\x0f\x01\x07"), OK, OK, GP },
	{ "sidt",		CODE("\x0f\x01\x0f"), OK, OK, GP },
	{ "sldt %eax",		CODE("\x0f\x00\xc0"), OK, OK, GP },
	{ "str %eax",		CODE("\x0f\x00\xc8"), OK, OK, GP },

	/* The TLB. */
	{ "invlpg (%rdi)",	CODE("\x0f\x01\x3f"), OK, GP, OK },
	{ "invpcid, all",	CODE("\x66\x0f\x38\x82\x07"), SKIP, GP, SKIP, .rax = 2 },
	{ "invpcid, type 9",	CODE("\x66\x0f\x38\x82\x07"), GP, GP, GP, .rax = 9 },

	/* From ring to ring. */
	{ "sysenter",		CODE("\x0f\x34"), GP, GP, GP },
	{ "sysexit",		CODE("\x48\x0f\x35"), GP, GP, GP },
	{ "sysret to nowhere",	CODE("\x48\x0f\x07"), GP, GP, GP, .rcx = NON_CANONICAL },
	{ "iretq, all 0",	CODE("\x48\xcf"), GP, GP, GP },
	{ "lretq, all 0",	CODE("\x48\xcb"), GP, GP, GP },
	{ "int3",		CODE("\xcc"), BP, BP, BP },
	{ "int1",		CODE("\xf1"), DB, DB, DB },
	{ "into",		CODE("\xce"), UD, UD, UD },
	{ "int $0x80",		CODE("\xcd\x80"), 0x80, GP, 0x80, .error3 = 0x80 * 8 + 2 },
	{ "int $2",		CODE("\xcd\x02"), 2, GP, 2, .error3 = 2 * 8 + 2 },
	{ "int $0x12",		CODE("\xcd\x12"), 0x12, GP, 0x12, .error3 = 0x12 * 8 + 2 },
	{ "ud2",		CODE("\x0f\x0b"), UD, UD, UD },
	{ "ud1",		CODE("\x0f\xb9\xc0"), UD, UD, UD },
	{ "mov %ax, %ss, null",	CODE("\x8e\xd0"), OK, GP, OK },
	{ "mov %ax, %ds, no such", CODE("\x8e\xd8"), GP, GP, GP, .rax = 0x1000, .error = 0x1000, .error3 = 0x1000 },
	{ "mov %ax, %ds, of an LDT", CODE("\x8e\xd8"), GP, GP, GP, .rax = 0xc, .error = 0xc, .error3 = 0xc },
	{ "clac",		CODE("\x0f\x01\xca"), SKIP, UD, SKIP },
	{ "stac",		CODE("\x0f\x01\xcb"), SKIP, UD, SKIP },
};

#define NR_INSTRUCTIONS	(sizeof(instructions) / sizeof(instructions[0]))

/* Where AMD's CPUs differ. */
static const struct variant {
	const char *name;
	uint16_t ring0, ring3, strict;
} on_svm[] = {
	/* In ring 3 the level is looked at first. */
	{ "mov %cr1, %rax",	UD, SKIP, UD },
	{ "vmrun",		UD, GP, UD },
	{ "vmload",		UD, GP, UD },
	{ "vmsave",		UD, GP, UD },
	{ "stgi",		UD, GP, UD },
	{ "clgi",		UD, GP, UD },
	{ "invlpga",		UD, GP, UD },
	/* A CPU may lack INVPCID. */
	{ "invpcid, all",	SKIP, SKIP, SKIP },
	{ "invpcid, type 9",	SKIP, SKIP, SKIP },
	/* Not in 64-bit mode. */
	{ "sysenter",		UD, UD, UD },
	{ "sysexit",		UD, UD, UD },
	/* It goes there, and faults there. */
	{ "sysret to nowhere",	LEAVE, LEAVE, LEAVE },
};

/*
 * What QEMU 7.2 executes although it should not: it takes the two waits for fences, has no intercept of
 * XSETBV, takes addresses that are not canonical, aborts when the null TSS is used, and has no INT1.
 */
static const char *const not_on_tcg[] = {
	"umwait %edi", "tpause %edi", "xsetbv of nothing", "xsetbv of x87 alone", "xsetbv of all",
	"wrfsbase, not canonical", "wrgsbase, not canonical", "ltr %ax, none", "int1",
};

static bool is_tcg(void)
{
	unsigned int eax, r[3];

	__cpuid(0x40000000, eax, r[0], r[1], r[2]);
	return !memcmp(r, "TCGTCGTCGTCG", sizeof(r));
}

static struct instruction adapted(const struct raw_vm *vm, const struct instruction *instruction)
{
	struct instruction i = *instruction;

	if (vm->info.vendor != DUNE_VENDOR_SVM)
		return i;
	for (const struct variant *v = on_svm; v < on_svm + sizeof(on_svm) / sizeof(on_svm[0]); v++)
		if (!strcmp(v->name, i.name)) {
			i.ring0 = v->ring0;
			i.ring3 = v->ring3;
			i.strict = v->strict;
		}
	for (size_t n = 0; n < sizeof(not_on_tcg) / sizeof(not_on_tcg[0]) && is_tcg(); n++)
		if (!strcmp(not_on_tcg[n], i.name))
			i.ring0 = i.ring3 = i.strict = LEAVE;
	/* Its error code of a gate that is not ring 3's is twice what it should be. */
	if (!strncmp(i.name, "int $", 5) && is_tcg())
		i.ring3 = SKIP;
	return i;
}

static bool reached_end(const struct raw_outcome *o, uint64_t end, unsigned int cpl)
{
	if (!cpl)
		return o->kind == RAW_CALL && o->rip == end + VMCALL_LENGTH;
	/* VMCALL is undefined in ring 3. */
	return o->kind == RAW_EXCEPTION && o->vector == UD && o->rip == end && (o->cs & 3) == 3;
}

static void try(struct raw_vcpu *vcpu, const struct instruction *i, const char *where, unsigned int cpl,
		unsigned int expected, uint32_t error)
{
	uint64_t end = (uintptr_t)vcpu->code + i->length;
	struct raw_outcome o;
	char text[80];

	if (expected == LEAVE)
		return;
	memset(vcpu->data, 0, RAW_PAGE);
	/* IRET and far RET find zeros. */
	memset((void *)(vcpu->stack_top - 512), 0, 512);
	memset((void *)(vcpu->stack3_top - 512), 0, 512);
	raw_load(vcpu, i->code, i->length, cpl);
	vcpu->run->regs.rax = i->rax;
	vcpu->run->regs.rcx = i->rcx;
	vcpu->run->regs.rdx = i->rdx;
	raw_outcome(vcpu, &o);
	raw_name(&o, text);
	if (expected == SKIP) {
		CHECK(reached_end(&o, end, cpl) || (o.kind == RAW_EXCEPTION && (o.vector == UD || o.vector == GP)),
		      "%s in %s: %s, expected to go on, or an exception", i->name, where, text);
	} else if (expected == OK) {
		CHECK(reached_end(&o, end, cpl), "%s in %s: %s, expected to go on at %#lx", i->name, where, text,
		      (unsigned long)end);
	} else {
		CHECK(o.kind == RAW_EXCEPTION && o.vector == expected && o.error == error && o.rip <= end &&
		      o.rip >= (uintptr_t)vcpu->code && (o.cs & 3) == cpl,
		      "%s in %s: %s, expected vector %u, error %#x at %p", i->name, where, text, expected, error,
		      (void *)vcpu->code);
		/* A fault points at its instruction, a trap behind it. */
		if (expected == UD)
			CHECK(o.rip < end, "%s in %s: #UD behind the instruction", i->name, where);
	}
}

int main(void)
{
	struct raw_vcpu ordinary, strict;
	struct raw_vm vm;

	raw_open(&vm);
	raw_vcpu(&vm, &ordinary, 0);
	raw_vcpu(&vm, &strict, DUNE_VCPU_STRICT);
	for (size_t n = 0; n < NR_INSTRUCTIONS; n++) {
		struct instruction i = adapted(&vm, &instructions[n]);

		try(&ordinary, &i, "ring 0", 0, i.ring0, i.error);
		try(&ordinary, &i, "ring 3", 3, i.ring3, i.error3);
		try(&strict, &i, "strict ring 0", 0, i.strict, i.exits ? 0 : i.error);
	}
	/* Nothing of it is left: the guest still works, and so do the CPUs. */
	try(&ordinary, &(const struct instruction){ "nop", CODE("\x90"), OK, OK, OK }, "ring 0", 0, OK, 0);
	return check_result();
}
