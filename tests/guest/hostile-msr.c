// SPDX-License-Identifier: MIT
/*
 * Every MSR there is, read and written in ring 0: a handful are the guest's, the rest is #GP(0), and
 * none of the host's has changed afterwards.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "raw.h"

#define EFER		0xc0000080
#define STAR		0xc0000081
#define LSTAR		0xc0000082
#define FS_BASE		0xc0000100
#define GS_BASE		0xc0000101
#define KERNEL_GS_BASE	0xc0000102

static struct raw_vm vm;
static struct raw_vcpu vcpu, strict;

static bool is_guests(uint32_t msr)
{
	return msr == LSTAR || (msr >= FS_BASE && msr <= KERNEL_GS_BASE);
}

static bool is_constant(uint32_t msr)
{
	return msr == EFER || msr == STAR;
}

/* -1: goes on; else the vector. */
static int run_code(struct raw_vcpu *v, const char *code, unsigned int cpl, uint32_t msr, uint64_t value)
{
	struct raw_outcome o;

	raw_load(v, code, 2, cpl);
	/* Only ECX counts; but QEMU 7.2 looks into the MSR permission map with all of RCX, and misses it. */
	v->run->regs.rcx = v->vm->info.vendor == DUNE_VENDOR_VMX ? 0xdead00000000 | msr : msr;
	v->run->regs.rax = 0xbeef00000000 | (uint32_t)value;
	v->run->regs.rdx = 0xbeef00000000 | value >> 32;
	raw_outcome(v, &o);
	if (o.kind == RAW_CALL)
		return -1;
	if (o.kind != RAW_EXCEPTION || o.error)
		return 1000 + o.kind;
	return o.vector;
}

static int rdmsr(struct raw_vcpu *v, uint32_t msr, uint64_t *value)
{
	int result = run_code(v, "\x0f\x32", 0, msr, 0);

	*value = v->run->regs.rdx << 32 | (uint32_t)v->run->regs.rax;
	return result;
}

static int wrmsr(struct raw_vcpu *v, uint32_t msr, uint64_t value)
{
	return run_code(v, "\x0f\x30", 0, msr, value);
}

static void check_one(uint32_t msr)
{
	bool good = is_guests(msr) || is_constant(msr);
	uint64_t value;
	char name[32];

	snprintf(name, sizeof(name), "rdmsr %#x", msr);
	CHECK_EQUAL(rdmsr(&vcpu, msr, &value), good ? -1 : 13, name);
	if (good)
		return;
	snprintf(name, sizeof(name), "wrmsr %#x", msr);
	CHECK_EQUAL(wrmsr(&vcpu, msr, 0), 13, name);
}

static void check_ranges(void)
{
	/* An exit takes QEMU long. */
	uint32_t step = vm.info.vendor == DUNE_VENDOR_VMX ? 1 : 13;
	uint64_t seed = 7;

	for (uint32_t msr = 0; msr < 0x2000; msr += step)
		check_one(msr);
	for (uint32_t msr = 0xc0000000; msr < 0xc0002000; msr += step)
		check_one(msr);
	for (uint32_t msr = 0xc0010000; msr < 0xc0010400; msr++)
		check_one(msr);
	for (uint32_t msr = 0x40000000; msr < 0x40000200; msr++)
		check_one(msr);
	for (uint32_t msr = 0x4b564d00; msr < 0x4b564d10; msr++)
		check_one(msr);
	for (unsigned int i = 0; i < 1000; i++)
		check_one(raw_random(&seed));
	check_one(0xffffffff);
	check_one(0x80000000);
}

/* Of the most dangerous ones, with values that would hurt. */
static void check_writes(void)
{
	static const uint32_t msrs[] = {
		0x10, 0x1b, 0x3a, 0x48, 0x49, 0x79, 0x8b, 0x10b, 0x122, 0x174, 0x175, 0x176, 0x17a, 0x199, 0x1a0, 0x1d9,
		0x200, 0x277, 0x2ff, 0x345, 0x38f, 0x3f1, 0x400, 0x480, 0x600, 0x6a0, 0x6e0, 0x800, 0x808, 0x830, 0xda0,
		0xc0000080, 0xc0000081, 0xc0000083, 0xc0000084, 0xc0000103, 0xc0010114, 0xc0010117,
	};
	static const uint64_t values[] = { 1, ~0ULL, 0xffffffff81000000, 0xfee00000, 1ULL << 63, 0x500, 0xd01 };
	uint64_t value;

	for (unsigned int i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		for (unsigned int k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			if (is_constant(msrs[i]) && !rdmsr(&vcpu, msrs[i], &value) && value == values[k])
				continue;
			if (msrs[i] == EFER && values[k] == 0xd01)
				continue;	/* what it is */
			CHECK_EQUAL(wrmsr(&vcpu, msrs[i], values[k]), 13, "wrmsr of what is the host's");
		}
	/* Constants take what they are. */
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t msr = i ? STAR : EFER;

		CHECK_EQUAL(rdmsr(&vcpu, msr, &value), -1, "rdmsr of a constant");
		CHECK_EQUAL(wrmsr(&vcpu, msr, value), -1, "wrmsr of a constant's value");
		for (unsigned int bit = 0; bit < 64; bit++)
			CHECK_EQUAL(wrmsr(&vcpu, msr, value ^ 1ULL << bit), 13, "wrmsr of another value");
	}
}

static void check_guests_own(void)
{
	static const uint32_t own[] = { LSTAR, FS_BASE, GS_BASE, KERNEL_GS_BASE };
	static const uint64_t good[] = { 0, 0x1000, 0x7fffffffffff, 0xffff800000000000, 0xffffffff81000000, ~0ULL };
	uint64_t value;

	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int k = 0; k < sizeof(good) / sizeof(good[0]); k++) {
			/* Reads it at once: FS and GS base are the thread's, and a run begins with those. */
			static const char both[] = "\x0f\x30\x31\xc0\x31\xd2\x0f\x32";	/* wrmsr; xor; xor; rdmsr */
			struct raw_outcome o;

			raw_load(&vcpu, both, sizeof(both) - 1, 0);
			vcpu.run->regs.rcx = own[i];
			vcpu.run->regs.rax = (uint32_t)good[k];
			vcpu.run->regs.rdx = good[k] >> 32;
			raw_outcome(&vcpu, &o);
			value = vcpu.run->regs.rdx << 32 | (uint32_t)vcpu.run->regs.rax;
			CHECK(o.kind == RAW_CALL && value == good[k], "MSR %#x = %#lx reads as %#lx", own[i],
			      (unsigned long)good[k], (unsigned long)value);
		}
		for (unsigned int bit = 47; bit < 64; bit++) {
			CHECK_EQUAL(wrmsr(&vcpu, own[i], 1ULL << bit), 13, "wrmsr, not canonical");
			CHECK_EQUAL(wrmsr(&vcpu, own[i], ~(1ULL << bit)), 13, "wrmsr, not canonical");
		}
		CHECK_EQUAL(run_code(&vcpu, "\x0f\x32", 3, own[i], 0), 13, "rdmsr in ring 3");
		CHECK_EQUAL(run_code(&vcpu, "\x0f\x30", 3, own[i], 0), 13, "wrmsr in ring 3");
		CHECK_EQUAL(rdmsr(&strict, own[i], &value), 13, "rdmsr on a strict vCPU");
		CHECK_EQUAL(wrmsr(&strict, own[i], 0), 13, "wrmsr on a strict vCPU");
	}
}

/* ---- LSTAR: the guest's and the host's ----------------------------------------- */

static const uint32_t of_host[] = { EFER, STAR, LSTAR, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176, 0x277, 0xc0000103 };
#define NR_OF_HOST	(sizeof(of_host) / sizeof(of_host[0]))

/*
 * Of CPU 0, where we run.  False where there is no such device (module "msr").
 */
static bool read_host(uint64_t values[NR_OF_HOST])
{
	int fd = open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	for (unsigned int i = 0; i < NR_OF_HOST; i++)
		CHECK(pread(fd, &values[i], 8, of_host[i]) == 8, "reading the host's MSR %#x", of_host[i]);
	close(fd);
	return true;
}

/*
 * Preempted in the middle by a KVM guest's thread, we find what KVM leaves in the CPU until the next
 * return to user mode: look again.
 */
static void check_unchanged(const uint64_t before[NR_OF_HOST])
{
	uint64_t now[NR_OF_HOST];

	for (unsigned int tries = 0; tries < 5; tries++)
		if (read_host(now) && !memcmp(now, before, sizeof(now)))
			return;
	for (unsigned int i = 0; i < NR_OF_HOST; i++)
		CHECK_EQUAL(now[i], before[i], "an MSR of the host's");
}

static void check_lstar(bool can_read, const uint64_t before[NR_OF_HOST])
{
	/* wrmsr; syscall */
	static const char code[] = "\x0f\x30\x0f\x05";
	uint64_t target = (uintptr_t)raw_stubs + 255 * RAW_STUB, value;
	struct raw_outcome o;
	int status = -1;
	char text[80];
	pid_t pid;

	for (unsigned int i = 0; i < 200; i++) {
		raw_load(&vcpu, code, sizeof(code) - 1, 0);
		vcpu.run->regs.rcx = LSTAR;
		vcpu.run->regs.rax = (uint32_t)target;
		vcpu.run->regs.rdx = target >> 32;
		raw_outcome(&vcpu, &o);
		CHECK(o.kind == RAW_CALL && o.rip == target + VMCALL_LENGTH, "the guest's SYSCALL: %s",
		      raw_name(&o, text));
		CHECK_EQUAL(vcpu.run->regs.rcx, (uintptr_t)vcpu.code + 4, "RCX after SYSCALL");
		/* It is the host's own that serves us: */
		CHECK_EQUAL(syscall(SYS_getppid), getppid(), "a system call of the host's");
		if (can_read)
			check_unchanged(before);
	}
	CHECK_EQUAL(rdmsr(&vcpu, LSTAR, &value), -1, "rdmsr of LSTAR");
	CHECK_EQUAL(value, target, "the guest's LSTAR");
	if (can_read)
		CHECK(value != before[2], "the guest sees the host's LSTAR");
	/* A process that knows nothing of Dune, switched to and from in between. */
	pid = fork();
	if (!pid) {
		for (unsigned int i = 0; i < 1000; i++)
			if (syscall(SYS_getpid) <= 0 || sched_yield())
				_exit(1);
		_exit(0);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		wrmsr(&vcpu, LSTAR, target);
		sched_yield();
	}
	CHECK_EQUAL(status, 0, "another process's system calls");
}

int main(void)
{
	uint64_t before[NR_OF_HOST];
	bool can_read;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	CHECK(!sched_setaffinity(0, sizeof(cpu), &cpu), "sched_setaffinity");
	can_read = read_host(before);
	printf("the host's MSRs can%s be read\n", can_read ? "" : "not");
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	raw_vcpu(&vm, &strict, DUNE_VCPU_STRICT);
	check_lstar(can_read, before);
	check_guests_own();
	check_writes();
	check_ranges();
	if (can_read)
		check_unchanged(before);
	return check_result();
}
