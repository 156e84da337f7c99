// SPDX-License-Identifier: MIT
/*
 * Another thread writes at random into the run page while the guest runs: DUNE_RUN ends in one of the
 * ways that it can, and when it stops, the vCPU works.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>

#include "check.h"
#include "raw.h"

#define SECONDS		3.0

static struct raw_vm vm;
static struct raw_vcpu vcpu;
static atomic_bool stop;
static atomic_ulong writes;

/* Values that mean something, and some that do not. */
static uint64_t pick(uint64_t *seed)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, ~0ULL, 0x8000000000000000, 0x00007fffffffffff, 0x0000800000000000, 0xffff800000000000,
		0xffffffff81000000, DUNE_HC_GET_GRANULE, DUNE_HC_FLUSH_TLB, DUNE_HC_FAULT, 0xc0000082, 0xc0000100,
		0xc0000101, 0xc0000102, 0x80000b0e, 0x80000306, 0x80000301, 0x80010480, 0x40000000,
	};
	uint64_t n = raw_random(seed);

	switch (n % 4) {
	case 0:
		return raw_random(seed);
	case 1:
		return (uintptr_t)vcpu.code + (n >> 8 & 255);
	default:
		return values[(n >> 8) % (sizeof(values) / sizeof(values[0]))];
	}
}

static void *hammer(void *argument)
{
	volatile uint64_t *page = (volatile uint64_t *)vcpu.run;
	uint64_t seed = (uintptr_t)argument;

	while (!stop) {
		unsigned int i = raw_random(&seed) % 512;

		/* Most of the time in the part that the kernel reads. */
		if (raw_random(&seed) & 3)
			i %= offsetof(struct dune_run, gdt) / 8;
		/* Not the request to come back at once for long: nothing else would be tested. */
		if (i == offsetof(struct dune_run, immediate_exit) / 8) {
			vcpu.run->immediate_exit = 1;
			vcpu.run->immediate_exit = 0;
			continue;
		}
		page[i] = pick(&seed);
		writes++;
	}
	return NULL;
}

/* Code that makes the kernel look at registers: all in a loop. */
#define XSETBV	"\x0f\x01\xd1"
#define NOPS	"\x90\x90\x90"
static char busy[] =
	"\x0f\xa2"			/* cpuid */
	"\x0f\x32"			/* rdmsr */
	"\x0f\x30"			/* wrmsr */
	"\x0f\x01\xc1"			/* vmcall */
	XSETBV
	"\x0f\x0b"			/* ud2 */
	"\xcc"				/* int3 */
	"\x0f\x01\xf8"			/* swapgs */
	"\xeb\xea";			/* jmp back */

/* QEMU 7.2 does not intercept it, and what it leaves in XCR0 kills the next process that uses the FPU: init, say. */
static void leave_out_xsetbv(void)
{
	memcpy(memmem(busy, sizeof(busy), XSETBV, 3), NOPS, 3);
}

/* The guest may go round for ever; only a signal gets it out of that. */
static void nothing(int signo)
{
	(void)signo;
}

static void start_timer(void)
{
	const struct sigaction action = { .sa_handler = nothing };
	const struct itimerval each = { { 0, 10000 }, { 0, 10000 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
}

static void run_for(double seconds, unsigned long counts[8])
{
	double end = check_seconds() + seconds;
	uint64_t seed = 5;

	while (check_seconds() < end) {
		long result;

		raw_load(&vcpu, busy, sizeof(busy) - 1, raw_random(&seed) & 1 ? 3 : 0);
		vcpu.run->regs.rip += raw_random(&seed) % 16;
		for (unsigned int i = 0; i < 20; i++) {
			result = raw_enter(&vcpu);
			if (CHECK((result >= DUNE_EXIT_SYSCALL && result <= DUNE_EXIT_WINDOW) || result == -EINVAL,
				  "DUNE_RUN: %ld", result))
				counts[result < 0 ? 0 : result]++;
			if (result != DUNE_EXIT_INTR)
				break;
		}
	}
}

int main(void)
{
	unsigned long counts[8] = { 0 };
	struct dune_vcpu_config config;
	struct raw_outcome o;
	pthread_t threads[2];
	int error;
	char text[80];

	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	if (vm.info.vendor == DUNE_VENDOR_SVM)
		leave_out_xsetbv();
	for (unsigned long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, hammer, (void *)(i + 1));
	start_timer();
	run_for(SECONDS, counts);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	stop = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	printf("%lu writes; refused %lu, hypercalls %lu, interrupted %lu, faults %lu, shutdowns %lu, windows %lu\n",
	       writes, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]);
	CHECK(counts[0] && counts[1] && writes > 1000, "too little happened");

	/* A vCPU that begins anew, with the same page. */
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, vcpu.index), 0, "DUNE_DESTROY_VCPU");
	config = raw_config(&vm, &vcpu, 0);
	error = raw_vcpu_create(&vm, &vcpu, &config);
	CHECK_EQUAL(error, 0, "DUNE_CREATE_VCPU");
	raw_load(&vcpu, "\x90", 1, 0);
	raw_outcome(&vcpu, &o);
	CHECK(o.kind == RAW_CALL && o.rip == (uintptr_t)vcpu.code + 1 + VMCALL_LENGTH, "afterwards: %s",
	      raw_name(&o, text));
	return check_result();
}
