// SPDX-License-Identifier: MIT
/*
 * CR0 and CR4: the guest changes the bits that concern its own mode, and they have their
 * effect; every other change is #GP and changes nothing.
 */
#include "check.h"
#include "raw.h"

#define CR0_PE		(1UL << 0)
#define CR0_TS		(1UL << 3)
#define CR0_ET		(1UL << 4)
#define CR0_WP		(1UL << 16)
#define CR0_AM		(1UL << 18)
#define CR0_PG		(1UL << 31)
#define CR4_TSD		(1UL << 2)
#define CR4_SMEP	(1UL << 20)
#define CR4_SMAP	(1UL << 21)

#define CODE(bytes)	bytes, sizeof(bytes) - 1

enum { NM = 7, GP = 13 };

/* Runs code with @rax in RAX. */
static void run(struct raw_vcpu *vcpu, const char *code, size_t length, unsigned int cpl, uint64_t rax,
		struct raw_outcome *outcome)
{
	raw_load(vcpu, code, length, cpl);
	vcpu->run->regs.rax = rax;
	raw_outcome(vcpu, outcome);
}

static uint64_t read_cr(struct raw_vcpu *vcpu, unsigned int cr)
{
	struct raw_outcome outcome;

	run(vcpu, cr ? "\x0f\x20\xe0" : "\x0f\x20\xc0", 3, 0, 0, &outcome);
	CHECK(outcome.kind == RAW_CALL, "a read of CR%u", cr);
	return vcpu->run->regs.rax;
}

/* Each register of the instruction's encoding by turns; RSP would be needed. */
static struct raw_outcome write_cr(struct raw_vcpu *vcpu, unsigned int cr, uint64_t value)
{
	static unsigned int turn;
	unsigned int reg = turn++ % 16;
	char code[4] = { reg < 8 ? 0x40 : 0x41, 0x0f, 0x22, 0xc0 | cr << 3 | (reg & 7) };
	struct raw_outcome outcome;

	raw_load(vcpu, code, sizeof(code), 0);
	if (reg == 4) {
		code[3] = 0xc0 | cr << 3;
		raw_load(vcpu, code, sizeof(code), 0);
		reg = 0;
	}
	(&vcpu->run->regs.rax)[reg] = value;
	raw_outcome(vcpu, &outcome);
	return outcome;
}

static void change(struct raw_vcpu *vcpu, const char *where, unsigned int cr, unsigned int bit, bool allowed)
{
	uint64_t before = read_cr(vcpu, cr), wanted = before ^ 1UL << bit, after;
	struct raw_outcome outcome = write_cr(vcpu, cr, wanted);
	char text[80];

	if (!allowed) {
		after = read_cr(vcpu, cr);
		CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == GP && !outcome.error &&
		      outcome.rip == (uintptr_t)vcpu->code, "%s: CR%u, bit %u: %s", where, cr, bit,
		      raw_name(&outcome, text));
		CHECK(after == before, "%s: CR%u, bit %u: %#lx became %#lx", where, cr, bit, (unsigned long)before,
		      (unsigned long)after);
		return;
	}
	CHECK(outcome.kind == RAW_CALL, "%s: CR%u, bit %u: %s", where, cr, bit, raw_name(&outcome, text));
	after = read_cr(vcpu, cr);
	CHECK(after == wanted, "%s: CR%u, bit %u: %#lx, not %#lx", where, cr, bit, (unsigned long)after,
	      (unsigned long)wanted);
	outcome = write_cr(vcpu, cr, before);
	CHECK(outcome.kind == RAW_CALL && read_cr(vcpu, cr) == before, "%s: CR%u, bit %u, and back: %s", where, cr,
	      bit, raw_name(&outcome, text));
}

static void change_all(struct raw_vcpu *vcpu, const char *where, uint64_t cr0, uint64_t cr4)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		/* Hard-wired: a CPU may ignore it. */
		if (1UL << bit != CR0_ET)
			change(vcpu, where, 0, bit, cr0 >> bit & 1);
		/* The guest's code is in pages of ring 3. */
		if (!((CR4_SMEP | CR4_SMAP) >> bit & 1))
			change(vcpu, where, 4, bit, cr4 >> bit & 1);
	}
}

/* What they do. */
static void effects(struct raw_vcpu *vcpu, uint64_t cr4_allowed)
{
	uint64_t cr0 = read_cr(vcpu, 0), cr4 = read_cr(vcpu, 4);
	struct raw_outcome outcome;
	char text[80];

	write_cr(vcpu, 0, cr0 | CR0_TS);
	run(vcpu, CODE("\xd9\xd0"), 3, 0, &outcome);		/* fnop */
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == NM, "fnop with TS: %s", raw_name(&outcome, text));
	run(vcpu, CODE("\x0f\x06\xd9\xd0"), 0, 0, &outcome);	/* clts; fnop */
	CHECK(outcome.kind == RAW_CALL, "clts, fnop: %s", raw_name(&outcome, text));
	CHECK(read_cr(vcpu, 0) == (cr0 & ~CR0_TS), "CR0 after CLTS");

	if (cr4_allowed & CR4_TSD) {
		write_cr(vcpu, 4, cr4 | CR4_TSD);
		run(vcpu, CODE("\x0f\x31"), 3, 0, &outcome);	/* rdtsc */
		CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == GP, "rdtsc with TSD: %s",
		      raw_name(&outcome, text));
		write_cr(vcpu, 4, cr4);
	}
}

int main(void)
{
	struct raw_vcpu ordinary, strict;
	struct raw_vm vm;

	raw_open(&vm);
	raw_vcpu(&vm, &ordinary, 0);
	raw_vcpu(&vm, &strict, DUNE_VCPU_STRICT);
	change_all(&ordinary, "ordinary", CR0_WP | CR0_TS | CR0_AM, vm.info.cr4_allowed);
	change_all(&strict, "strict", 0, 0);
	effects(&ordinary, vm.info.cr4_allowed);
	return check_result();
}
