// SPDX-License-Identifier: MIT
/*
 * Second-level faults in the middle of the delivery of an exception: it arrives all the same, once,
 * with its error code, whichever of the stack, the TSS, the IDT and the handler's code was missing.
 */
#include <sys/mman.h>

#include "check.h"
#include "raw.h"

#define CODE(bytes)	bytes, sizeof(bytes) - 1

static struct raw_vm vm;
static struct raw_vcpu vcpu;

/* Takes pages away from the guest, not what is in them. */
static void take_away(const void *p, unsigned int pages)
{
	void *first = (void *)((uintptr_t)p & ~(RAW_PAGE - 1));

	DIE_UNLESS(!mprotect(first, pages * RAW_PAGE, PROT_READ), "mprotect");
	DIE_UNLESS(!mprotect(first, pages * RAW_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), "mprotect");
}

enum {
	STACK		= 1,
	TSS		= 2,
	IDT		= 4,
	STUBS		= 8,
	GDT		= 16,
	TABLES		= 32,
	ALL		= 63,
};

static void take(unsigned int what)
{
	if (what & STACK) {
		/* Really gone: nothing of it is needed. */
		DIE_UNLESS(!madvise((void *)(vcpu.ist_top - RAW_PAGE), RAW_PAGE, MADV_DONTNEED), "madvise");
	}
	if (what & TSS)
		take_away(vcpu.tss, 1);
	if (what & IDT)
		take_away(vcpu.idt, 1);
	if (what & STUBS)
		take_away(raw_stubs, 256 * RAW_STUB / RAW_PAGE);
	if (what & GDT) {
		DIE_UNLESS(!mprotect(vcpu.run, RAW_PAGE, PROT_READ), "mprotect");
		DIE_UNLESS(!mprotect(vcpu.run, RAW_PAGE, PROT_READ | PROT_WRITE), "mprotect");
	}
	if (what & TABLES)
		take_away(vm.block, RAW_VCPUS);
}

struct event {
	const char *name, *code;
	size_t length;
	uint64_t rax;
	unsigned int vector, behind;	/* the RIP that is pushed: so many bytes behind the code's start */
	uint64_t error;
};

static const struct event events[] = {
	{ "ud2",		CODE("\x0f\x0b"), 0, 6, 0, 0 },
	{ "divide error",	CODE("\x31\xc9\xf7\xf1"), 1, 0, 2, 0 },
	{ "int3",		CODE("\xcc"), 0, 3, 1, 0 },
	{ "int $0x80",		CODE("\xcd\x80"), 0, 0x80, 2, 0 },
	{ "int $0x80 twice",	CODE("\x90\xcd\x80\xcd\x80"), 0, 0x80, 3, 0 },
	{ "no such segment",	CODE("\x8e\xd8"), 0x1000, 13, 0, 0x1000 },
	{ "page fault",		CODE("\x48\x8b\x00"), 1UL << 40, 14, 0, 0 },
	{ "single step",	CODE("\x90\x90"), 0, 1, 1, 0 },
};

static void deliver(const struct event *event, unsigned int cpl, unsigned int what)
{
	struct raw_outcome outcome;
	uint64_t error = event->error;
	char text[80];

	/* Bochs takes an instruction that could not be fetched for a step. */
	if (event->vector == 1 && what & TABLES && vm.info.vendor == DUNE_VENDOR_VMX)
		return;
	raw_load(&vcpu, event->code, event->length, cpl);
	vcpu.run->regs.rax = event->rax;
	vcpu.run->cr2 = 0;
	if (event->vector == 1)
		vcpu.run->regs.rflags |= 1 << 8;
	if (event->vector == 14)
		error |= cpl ? 4 : 0;
	take(what);
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == event->vector && outcome.error == error &&
	      outcome.rip == (uintptr_t)vcpu.code + event->behind && (outcome.cs & 3) == cpl,
	      "%s in ring %u without %#x: %s, error expected %#lx, at %p", event->name, cpl, what,
	      raw_name(&outcome, text), (unsigned long)error, vcpu.code);
	if (event->vector == 14)
		CHECK_EQUAL(vcpu.run->cr2, event->rax, "CR2");
	CHECK_EQUAL(vcpu.run->event_info, 0, "event_info");
}

static void inject(uint32_t info, unsigned int what)
{
	struct raw_outcome outcome;
	unsigned int length = (info & DUNE_EVENT_LEN) >> DUNE_EVENT_LEN_SHIFT;
	char text[80];

	raw_load(&vcpu, CODE("\x90\x90\x90\x90"), 0);
	vcpu.run->event_info = DUNE_EVENT_VALID | info;
	vcpu.run->event_error = 0x5678;
	take(what);
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == (info & DUNE_EVENT_VECTOR) &&
	      outcome.error == (info & DUNE_EVENT_ERROR ? 0x5678 : 0) &&
	      outcome.rip == (uintptr_t)vcpu.code + length,
	      "event %#x without %#x: %s", info, what, raw_name(&outcome, text));
}

int main(void)
{
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	raw_gate(&vcpu, 0x80, raw_stubs + 0x80 * RAW_STUB, 1, 3);
	for (unsigned int what = 0; what <= ALL; what++) {
		for (const struct event *e = events; e < events + sizeof(events) / sizeof(events[0]); e++) {
			deliver(e, 0, what);
			deliver(e, 3, what);
		}
		inject(DUNE_EVENT_HARD | 6, what);
		inject(DUNE_EVENT_HARD | DUNE_EVENT_ERROR | 13, what);
		inject(DUNE_EVENT_HARD | 31, what);
		inject(DUNE_EVENT_SOFT_INT | 0x80 | 2 << DUNE_EVENT_LEN_SHIFT, what);
		inject(DUNE_EVENT_SOFT_EXC | 3 | 1 << DUNE_EVENT_LEN_SHIFT, what);
		inject(DUNE_EVENT_ICEBP | 1 | 1 << DUNE_EVENT_LEN_SHIFT, what);
	}
	return check_result();
}
