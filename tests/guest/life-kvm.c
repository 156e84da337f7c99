// SPDX-License-Identifier: MIT
/*
 * KVM's guests come and go while Dune processes run, on the same CPU and on another one: no wrong byte in
 * either, no register of one seen by the other, and the host's debug registers stay the host's.
 *
 *	life-kvm KVM-GUESTS	how many are made and destroyed
 */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <dune.h>

#include "check.h"
#include "companions.h"
#include "cpus.h"
#include "raw.h"

/* ---- the companions ----------------------------------------------------------- */

static void memory_program(struct shared *self)
{
	cpus_stay_on(0);
	memory_companion(self);
}

/* A KVM guest that is preempted again and again, in favour of the others on its CPU. */
static void long_program(struct shared *self)
{
	struct kvm_guest guest;

	cpus_stay_on(0);
	FAIL_UNLESS(!kvm_guest_open(&guest), self);
	kvm_guest_rounds(&guest, 100000);
	for (;;) {
		FAIL_UNLESS(kvm_guest_run(&guest), self);
		self->rounds++;
	}
}

/* One thread in Dune mode that runs a KVM guest: the system call is forwarded. */
static void in_turn_program(struct shared *self)
{
	struct kvm_guest guest;

	cpus_stay_on(0);
	FAIL_UNLESS(!dune_init_and_enter(), self);
	FAIL_UNLESS(!kvm_guest_open(&guest), self);
	for (;;) {
		FAIL_UNLESS(kvm_guest_run(&guest), self);
		FAIL_UNLESS(dune_in_dune_mode(), self);
		self->rounds++;
	}
}

static volatile uint64_t watched;

/* Counts the writes to `watched` by a debug register of the host's. */
static int watch(void)
{
	struct perf_event_attr attributes = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attributes),
		.bp_type = HW_BREAKPOINT_W,
		.bp_addr = (uintptr_t)&watched,
		.bp_len = HW_BREAKPOINT_LEN_8,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

/*
 * The same on the ABI, where a KVM guest runs between two exits of ours; with a breakpoint in the host's debug
 * registers.
 */
static void registers_program(struct shared *self)
{
	/* mov %cr2, %rax; mov %rcx, %cr2; rdtscp; the VMCALL comes behind it */
	static const char code[] = "\x0f\x20\xd0\x0f\x22\xd1\x0f\x01\xf9";
	int breakpoint = watch();
	struct kvm_guest guest;
	uint64_t seed = 5, count = 0, writes = 0;
	struct raw_vcpu vcpu;
	struct raw_vm vm;
	unsigned int cpu = cpus_stay_on(0);

	FAIL_UNLESS(breakpoint >= 0, self);
	FAIL_UNLESS(!kvm_guest_open(&guest), self);
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	for (;;) {
		uint64_t old = raw_random(&seed), new = raw_random(&seed);
		struct raw_outcome outcome;

		raw_load(&vcpu, code, sizeof(code) - 1, 0);
		vcpu.run->cr2 = old;
		vcpu.run->regs.rcx = new;
		FAIL_UNLESS(kvm_guest_run(&guest), self);
		raw_outcome(&vcpu, &outcome);
		FAIL_UNLESS(outcome.kind == RAW_CALL || outcome.kind == RAW_EXCEPTION, self);
		FAIL_UNLESS(vcpu.run->cr2 == new, self);
		/* What RDTSCP says is Linux's, not the KVM guest's: the CPU's number. */
		FAIL_UNLESS((uint32_t)vcpu.run->regs.rcx == cpu, self);
		watched = new;
		FAIL_UNLESS(read(breakpoint, &count, sizeof(count)) == sizeof(count) && count == ++writes, self);
		self->rounds++;
	}
}

/* ---- KVM's guests ---------------------------------------------------------------- */

#define GUESTS	3

/* KVM guests that come and go, now on one CPU, now on the other. A round is a guest made. */
static void makers_program(struct shared *self)
{
	uint64_t seed = 17 + (self - companions_shared);
	struct kvm_guest guests[GUESTS];
	bool open[GUESTS] = { };

	for (;;) {
		uint64_t random = raw_random(&seed);
		unsigned int i = random % GUESTS;

		if (random >> 60 == 0)
			cpus_stay_on(random >> 59 & 1);
		if (!open[i]) {
			FAIL_UNLESS(!kvm_guest_open(&guests[i]), self);
			open[i] = true;
			self->rounds++;
			continue;
		}
		if (random >> 32 & 1)
			FAIL_UNLESS(kvm_guest_run(&guests[i]), self);
		if (random >> 33 & 1) {
			kvm_guest_close(&guests[i]);
			open[i] = false;
		}
	}
}

/* Making and ending a KVM guest is mostly waiting for the kernel: several at once. */
static const struct companion companions[] = {
	{ "memory", memory_program },
	{ "a KVM guest that runs long", long_program },
	{ "a KVM guest in Dune mode", in_turn_program },
	{ "a KVM guest between two exits", registers_program },
	{ "KVM guests that come and go, 1", makers_program },
	{ "KVM guests that come and go, 2", makers_program },
	{ "KVM guests that come and go, 3", makers_program },
	{ "KVM guests that come and go, 4", makers_program },
};

#define NR_COMPANIONS	(sizeof(companions) / sizeof(companions[0]))

static unsigned long guests_made(void)
{
	unsigned long made = 0;

	for (unsigned int i = 0; i < NR_COMPANIONS; i++)
		if (companions[i].run == makers_program)
			made += companions_shared[i].rounds;
	return made;
}

int main(int argc, char **argv)
{
	unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 100, said = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	companions_start(companions, NR_COMPANIONS);
	while (companions_go_on(companions, NR_COMPANIONS, 1, "beside each other") && guests_made() < wanted)
		for (; said + 1000 <= guests_made(); said += 1000)
			printf("%lu KVM guests so far\n", said + 1000);
	companions_end(companions, NR_COMPANIONS);
	return check_result();
}
