// SPDX-License-Identifier: MIT
/*
 * What user space writes into the run page: each value that the CPU would refuse is -EINVAL before
 * the guest runs, and all others do what they say.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "check.h"
#include "raw.h"

#define NOP	"\x90"

#define FLAG_CF	(1UL << 0)
#define FLAG_TF	(1UL << 8)
#define FLAG_IF	(1UL << 9)
#define FLAG_VM	(1UL << 17)

static struct raw_vm vm;
static struct raw_vcpu vcpu;

static void load_nop(unsigned int cpl)
{
	raw_load(&vcpu, NOP, 1, cpl);
}

static void refused(const char *what, uint64_t value)
{
	struct dune_regs before = vcpu.run->regs;
	long result = raw_run(&vcpu);

	CHECK(result == -EINVAL, "%s = %#lx: result %ld, expected -EINVAL", what, (unsigned long)value, result);
	CHECK(!memcmp(&before, &vcpu.run->regs, sizeof(before)), "%s = %#lx: the registers changed", what,
	      (unsigned long)value);
	result = lseek(vm.fd, DUNE_SEEK_VCPU(vcpu.index), DUNE_SEEK_RUN);
	CHECK(result == -1 && errno == EINVAL, "%s = %#lx by lseek: result %ld", what, (unsigned long)value, result);
}

static void accepted(const char *what, uint64_t value)
{
	struct raw_outcome outcome;
	char text[80];

	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_CALL && outcome.rip == (uintptr_t)vcpu.code + 1 + VMCALL_LENGTH, "%s = %#lx: %s",
	      what, (unsigned long)value, raw_name(&outcome, text));
}

/* ---- addresses -------------------------------------------------------------- */

static void check_addresses(void)
{
	for (unsigned int bit = 47; bit < 64; bit++) {
		load_nop(0);
		vcpu.run->regs.rip = 1ULL << bit;
		refused("rip", 1ULL << bit);
		vcpu.run->regs.rip = ~(1ULL << bit);
		refused("rip", ~(1ULL << bit));
		load_nop(0);
		vcpu.run->kernel_gs_base = 1ULL << bit;
		refused("kernel_gs_base", 1ULL << bit);
		vcpu.run->kernel_gs_base = ~(1ULL << bit);
		refused("kernel_gs_base", ~(1ULL << bit));
	}
	load_nop(0);
	vcpu.run->kernel_gs_base = 0xffff800000000000;
	accepted("kernel_gs_base", 0xffff800000000000);
	load_nop(0);
	vcpu.run->kernel_gs_base = 0x7fffffffffff;
	accepted("kernel_gs_base", 0x7fffffffffff);
	CHECK_EQUAL(vcpu.run->kernel_gs_base, 0x7fffffffffff, "kernel_gs_base after a run");
	/* RSP may be anything: only its use faults. */
	load_nop(0);
	vcpu.run->regs.rsp = 0x8000000000000001;
	accepted("rsp", 0x8000000000000001);
	CHECK_EQUAL(vcpu.run->regs.rsp, 0x8000000000000001, "rsp after a run");
	load_nop(0);
	vcpu.run->cr2 = 0x8000000000000001;
	accepted("cr2", 0x8000000000000001);
	CHECK_EQUAL(vcpu.run->cr2, 0x8000000000000001, "cr2 after a run");
}

/* A canonical RIP where nothing is: the guest's own fault. */
static void check_wild_rip(void)
{
	static const uint64_t wild[] = { 0xffff800000000000, 0xffffffff81000000, 0x7ffffffff000, 0x123400000000 };
	struct raw_outcome outcome;
	char text[80];

	for (unsigned int i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		load_nop(0);
		vcpu.run->regs.rip = wild[i];
		raw_outcome(&vcpu, &outcome);
		/* The last page of user space shares a granule with the stack. */
		if (outcome.kind == RAW_FAULT)
			CHECK(vcpu.run->fault.flags & DUNE_FAULT_EXEC && vcpu.run->fault.hva == wild[i],
			      "a fault at %#lx: hva %#lx, flags %#x", (unsigned long)wild[i],
			      (unsigned long)vcpu.run->fault.hva, vcpu.run->fault.flags);
		else
			CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == 14 && outcome.rip == wild[i] &&
			      vcpu.run->cr2 == wild[i], "rip = %#lx: %s", (unsigned long)wild[i],
			      raw_name(&outcome, text));
	}
}

/* ---- small fields ------------------------------------------------------------- */

static void check_fields(void)
{
	static const uint32_t cpls[] = { 1, 2, 4, 5, 0x10, 0x33, 0x80000000, ~0U, 0x100, 0x10003 };

	for (unsigned int i = 0; i < sizeof(cpls) / sizeof(cpls[0]); i++) {
		load_nop(0);
		vcpu.run->cpl = cpls[i];
		refused("cpl", cpls[i]);
	}
	for (unsigned int bit = 1; bit < 32; bit++) {
		load_nop(0);
		vcpu.run->flags = 1U << bit;
		refused("flags", 1U << bit);
	}
	load_nop(0);
	accepted("cpl", 0);
}

/* Flags that no program may have are not there; those it may have are. */
static void check_rflags(void)
{
	/* no TF, IF: see below; IOPL, NT, AC, ID */
	static const uint64_t kept = 0xcd5 | 7 << 12 | 1 << 18 | 1 << 21;

	for (unsigned int bit = 0; bit < 64; bit++) {
		uint64_t value = 1ULL << bit;

		if (value == FLAG_TF || bit == 16)	/* RF is for the first instruction only */
			continue;
		load_nop(0);
		vcpu.run->regs.rflags = value;
		accepted("rflags", value);
		CHECK_EQUAL(vcpu.run->regs.rflags, 2 | (value & (kept | FLAG_IF)), "rflags after a run");
	}
	load_nop(0);
	vcpu.run->regs.rflags = ~FLAG_TF & ~(1ULL << 16);
	accepted("rflags", ~FLAG_TF);
	CHECK_EQUAL(vcpu.run->regs.rflags, 2 | kept | FLAG_IF, "rflags after a run");
}

static void check_single_step(void)
{
	struct raw_outcome outcome;
	char text[80];

	load_nop(0);
	vcpu.run->regs.rflags = FLAG_TF;
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == 1 && outcome.rip == (uintptr_t)vcpu.code + 1,
	      "single step: %s", raw_name(&outcome, text));
	/* Over an instruction that the module does for the guest. */
	raw_load(&vcpu, "\x0f\xa2", 2, 0);
	vcpu.run->regs.rflags = FLAG_TF;
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == 1 && outcome.rip == (uintptr_t)vcpu.code + 2,
	      "single step over CPUID: %s", raw_name(&outcome, text));
}

/* ---- events --------------------------------------------------------------------- */

static bool has_error(unsigned int vector)
{
	return vector == 8 || vector == 17 || (vector >= 10 && vector <= 14);
}

/* SDM, "Checks on VM-Entry Control Fields" */
static bool is_good(uint32_t info)
{
	unsigned int vector = info & DUNE_EVENT_VECTOR, length = (info & DUNE_EVENT_LEN) >> DUNE_EVENT_LEN_SHIFT;
	bool error = info & DUNE_EVENT_ERROR;

	if (!(info & DUNE_EVENT_VALID))
		return !info;
	if (info & 0x7ff0f000)
		return false;
	switch (info & DUNE_EVENT_TYPE) {
	case DUNE_EVENT_HARD:
		return vector < 32 && vector != 2 && !length && error == has_error(vector);
	case DUNE_EVENT_SOFT_INT:
		return length && !error;
	case DUNE_EVENT_ICEBP:
		return vector == 1 && length && !error;
	case DUNE_EVENT_SOFT_EXC:
		return (vector == 3 || vector == 4) && length && !error;
	}
	return false;
}

static void deliver(uint32_t info)
{
	unsigned int vector = info & DUNE_EVENT_VECTOR, length = (info & DUNE_EVENT_LEN) >> DUNE_EVENT_LEN_SHIFT;
	uint64_t rip = (uintptr_t)vcpu.code + length;
	struct raw_outcome outcome;
	char text[80];

	load_nop(0);
	vcpu.run->event_info = info;
	vcpu.run->event_error = 0x1234;
	raw_outcome(&vcpu, &outcome);
	/* INT n pushes no error code, whatever n is; the stub of vector 255 stands for SYSCALL. */
	if (!(info & DUNE_EVENT_ERROR) && has_error(vector)) {
		const uint64_t *frame = (const uint64_t *)vcpu.run->regs.rsp;

		outcome.error = 0;
		outcome.rip = frame[0];
	}
	if (vector == 255) {
		CHECK(outcome.kind == RAW_CALL, "event %#x: %s", info, raw_name(&outcome, text));
		return;
	}
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == vector && outcome.rip == rip &&
	      outcome.error == (info & DUNE_EVENT_ERROR ? 0x1234 : 0),
	      "event %#x: %s, expected rip %#lx", info, raw_name(&outcome, text), (unsigned long)rip);
	CHECK_EQUAL(vcpu.run->event_info, 0, "event_info after delivery");
}

static void try_event(uint32_t info)
{
	if (!info)
		return;
	if (is_good(info)) {
		deliver(info);
		return;
	}
	load_nop(0);
	vcpu.run->event_info = info;
	refused("event_info", info);
}

static void check_events(void)
{
	static const unsigned int lengths[] = { 0, 1, 2, 15 };
	struct raw_outcome outcome;
	uint64_t seed = 1;
	char text[80];

	/* Every vector of every type, with and without an error code. */
	for (unsigned int vector = 0; vector < 256; vector++)
		for (unsigned int type = 0; type < 8; type++)
			for (unsigned int i = 0; i < 8; i++)
				try_event(DUNE_EVENT_VALID | vector | type << 8 | (i & 1 ? DUNE_EVENT_ERROR : 0) |
					  lengths[i >> 1] << DUNE_EVENT_LEN_SHIFT);
	/* Reserved bits, and anything without "valid". */
	for (unsigned int bit = 0; bit < 31; bit++) {
		try_event(1U << bit);
		try_event(DUNE_EVENT_VALID | DUNE_EVENT_HARD | 6 | 1U << bit);
		try_event(DUNE_EVENT_VALID | DUNE_EVENT_HARD | DUNE_EVENT_ERROR | 13 | 1U << bit);
	}
	for (unsigned int i = 0; i < 2000; i++)
		try_event(raw_random(&seed));
	/* An error code has 16 bits, of which some CPUs refuse the highest. */
	for (unsigned int bit = 0; bit < 32; bit++) {
		load_nop(0);
		vcpu.run->event_info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | DUNE_EVENT_ERROR | 13;
		vcpu.run->event_error = 1U << bit;
		if (bit > 15) {
			refused("event_error", 1U << bit);
			continue;
		}
		raw_outcome(&vcpu, &outcome);
		CHECK((outcome.kind == RAW_EXCEPTION && outcome.vector == 13 && outcome.error == 1U << bit) ||
		      (bit == 15 && outcome.kind == RAW_SHUTDOWN), "event_error = %#x: %s", 1U << bit,
		      raw_name(&outcome, text));
		/* Nothing is left of an entry that failed. */
		load_nop(0);
		accepted("after event_error", 1U << bit);
	}
	/* An event while the guest is in ring 3. */
	load_nop(3);
	vcpu.run->event_info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | DUNE_EVENT_ERROR | 13;
	vcpu.run->event_error = 0x7fff;
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == 13 && (outcome.cs & 3) == 3,
	      "an event in ring 3: vector %u", outcome.vector);
}

/* ---- window, immediate exit, signals ---------------------------------------------- */

static void check_window(void)
{
	/* sti; nop; nop */
	static const char open[] = "\xfb\x90\x90";
	struct raw_outcome outcome;
	char text[80];

	load_nop(0);
	vcpu.run->regs.rflags = FLAG_IF;
	vcpu.run->flags = DUNE_RUN_WINDOW;
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_WINDOW && outcome.rip == (uintptr_t)vcpu.code, "an open window: %s",
	      raw_name(&outcome, text));
	vcpu.run->flags = 0;
	accepted("after a window", 0);

	/*
	 * Not before STI has taken effect.  Once on svm it was, on a busy host: an interrupt of the host's right behind
	 * STI may cost QEMU its shadow.  That does not happen three times in a row.
	 */
	for (unsigned int tries = 0; tries < 3; tries++) {
		raw_load(&vcpu, open, sizeof(open) - 1, 0);
		vcpu.run->flags = DUNE_RUN_WINDOW;
		raw_outcome(&vcpu, &outcome);
		if (vm.info.vendor != DUNE_VENDOR_SVM || outcome.rip != (uintptr_t)vcpu.code + 1)
			break;
	}
	CHECK(outcome.kind == RAW_WINDOW && outcome.rip == (uintptr_t)vcpu.code + 2, "a window that opens: %s",
	      raw_name(&outcome, text));
	CHECK(vcpu.run->regs.rflags & FLAG_IF, "a window with IF = 0");

	/* Closed for good. */
	load_nop(0);
	vcpu.run->flags = DUNE_RUN_WINDOW;
	accepted("a closed window", 0);

	/* The event goes first, and its gate closes the window. */
	load_nop(0);
	vcpu.run->regs.rflags = FLAG_IF;
	vcpu.run->flags = DUNE_RUN_WINDOW;
	vcpu.run->event_info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | 6;
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == 6, "an event and a window: %s",
	      raw_name(&outcome, text));
	vcpu.run->flags = 0;

	/* Ring 3 has IF = 1 and STI's shadow as well. */
	load_nop(3);
	vcpu.run->regs.rflags = FLAG_IF;
	vcpu.run->flags = DUNE_RUN_WINDOW;
	raw_outcome(&vcpu, &outcome);
	CHECK(outcome.kind == RAW_WINDOW && vcpu.run->cpl == 3, "a window in ring 3: %s", raw_name(&outcome, text));
	vcpu.run->flags = 0;
}

/*
 * A fault in the shadow of STI. What user space changes then must not make a state that the CPU refuses: SDM, "Checks
 * on Guest Non-Register State", has the shadow depend on IF and TF.
 */
static void check_shadow(void)
{
	/* sti; movb (%rdi), %al */
	static const char code[] = "\xfb\x8a\x07";
	char *page = mmap(NULL, RAW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct raw_outcome outcome;
	struct raw_vcpu other;
	char text[80];

	DIE_UNLESS(page != MAP_FAILED, "mmap");
	raw_map(&vm, page);
	raw_vcpu(&vm, &other, 0);
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t flags = (i & 1 ? FLAG_TF : 0) | (i & 2 ? FLAG_IF : 0);

		mprotect(page, RAW_PAGE, PROT_NONE);
		raw_load(&vcpu, code, sizeof(code) - 1, 0);
		vcpu.run->regs.rdi = (uintptr_t)page;
		raw_outcome(&vcpu, &outcome);
		CHECK(outcome.kind == RAW_FAULT && vcpu.run->regs.rip == (uintptr_t)vcpu.code + 1,
		      "a fault behind STI: %s", raw_name(&outcome, text));
		/* Another one touches it: Bochs takes a step for done when it meets a second-level fault. */
		mprotect(page, RAW_PAGE, PROT_READ);
		raw_load(&other, code + 1, sizeof(code) - 2, 0);
		other.run->regs.rdi = (uintptr_t)page;
		raw_outcome(&other, &outcome);
		CHECK(outcome.kind == RAW_CALL, "the other vCPU: %s", raw_name(&outcome, text));
		vcpu.run->regs.rflags = flags;
		raw_outcome(&vcpu, &outcome);
		if (flags & FLAG_TF)
			CHECK(outcome.kind == RAW_EXCEPTION && outcome.vector == 1 &&
			      outcome.rip == (uintptr_t)vcpu.code + 3, "behind STI, rflags %#lx: %s",
			      (unsigned long)flags, raw_name(&outcome, text));
		else
			CHECK(outcome.kind == RAW_CALL, "behind STI, rflags %#lx: %s", (unsigned long)flags,
			      raw_name(&outcome, text));
	}
	munmap(page, RAW_PAGE);
}

static void check_immediate_exit(void)
{
	static const uint32_t values[] = { 1, 2, 0x80000000, ~0U };

	for (unsigned int i = 0; i < 4; i++) {
		load_nop(0);
		vcpu.run->immediate_exit = values[i];
		for (unsigned int k = 0; k < 3; k++)
			CHECK_EQUAL(raw_enter(&vcpu), DUNE_EXIT_INTR, "immediate_exit");
		CHECK_EQUAL(vcpu.run->regs.rip, (uintptr_t)vcpu.code, "rip after immediate_exit");
		CHECK_EQUAL(vcpu.run->immediate_exit, values[i], "immediate_exit is kept");
		CHECK_EQUAL(vcpu.run->exit_reason, DUNE_EXIT_INTR, "exit_reason");
		/* What was pending is pending still. */
		vcpu.run->event_info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | 6;
		CHECK_EQUAL(raw_enter(&vcpu), DUNE_EXIT_INTR, "immediate_exit with an event");
		CHECK_EQUAL(vcpu.run->event_info, DUNE_EVENT_VALID | DUNE_EVENT_HARD | 6, "event_info");
		vcpu.run->event_info = 0;
		vcpu.run->immediate_exit = 0;
		accepted("after immediate_exit", i);
	}
}

static atomic_uint alarms;

static void on_alarm(int signal)
{
	(void)signal;
	vcpu.run->immediate_exit = 1;
	alarms++;
}

/* A signal ends a guest that never stops; its handler runs in user mode. */
static void check_signal(void)
{
	struct itimerval in_20_ms = { .it_value.tv_usec = 20000 };
	static const char spin[] = "\xfa\xeb\xfe";	/* cli; 1: jmp 1b */

	signal(SIGALRM, on_alarm);
	for (unsigned int i = 1; i <= 5; i++) {
		unsigned int before, tries = 0;
		long result;

		/* On a busy host the signal may come before the guest's first instruction. */
		do {
			before = alarms;
			raw_load(&vcpu, spin, sizeof(spin) - 1, i & 1 ? 0 : 3);
			if (vcpu.run->cpl)
				vcpu.run->regs.rip++;
			setitimer(ITIMER_REAL, &in_20_ms, NULL);
			do
				result = raw_enter(&vcpu);
			while (result == DUNE_EXIT_INTR && alarms == before);
		} while (vcpu.run->regs.rip == (uintptr_t)vcpu.code && ++tries < 3);
		CHECK_EQUAL(result, DUNE_EXIT_INTR, "a guest that spins, and a signal");
		CHECK_EQUAL(alarms, before + 1, "alarms");
		CHECK_EQUAL(vcpu.run->regs.rip, (uintptr_t)vcpu.code + 1, "rip of a guest that spins");
	}
	vcpu.run->immediate_exit = 0;
}

/* The page outlives its file. */
static void check_page_alone(void)
{
	raw_close(&vm);
	memset(vcpu.run, 0xa5, RAW_PAGE);
	CHECK_EQUAL(((unsigned char *)vcpu.run)[RAW_PAGE - 1], 0xa5, "the run page after close()");
	munmap(vcpu.run, RAW_PAGE);
}

int main(void)
{
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	check_addresses();
	check_wild_rip();
	check_fields();
	check_rflags();
	check_single_step();
	check_events();
	check_window();
	check_shadow();
	check_immediate_exit();
	check_signal();
	check_page_alone();
	return check_result();
}
