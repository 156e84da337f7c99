// SPDX-License-Identifier: MIT
/*
 * While the programs named on the command line run, one after the other, other programs in the same machine go
 * on and check themselves all the time: a Dune process with libdune, one on the bare ABI, a KVM guest, and
 * a process that knows of neither.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dune.h>

#include "check.h"
#include "companions.h"
#include "raw.h"

/* ---- the companions ----------------------------------------------------------- */

static unsigned long divisions;

static void on_divide(struct dune_tf *tf)
{
	divisions++;
	tf->rip += 2;
	tf->rax = 42;
}

/* As hello does, and memory that comes and goes. */
static void dune_program(struct shared *self)
{
	pid_t pid = getpid();

	FAIL_UNLESS(!dune_init_and_enter(), self);
	dune_register_intr_handler(T_DIVIDE, on_divide);
	for (;;) {
		unsigned int result = 1;
		uint64_t *page = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		FAIL_UNLESS(page != MAP_FAILED, self);
		for (unsigned int i = 0; i < 2048; i += 256) {
			FAIL_UNLESS(!page[i], self);
			page[i] = i + pid;
		}
		__asm__ volatile("div %%ecx" : "+a"(result) : "d"(0), "c"(0) : "cc");
		FAIL_UNLESS(result == 42, self);
		FAIL_UNLESS(dune_in_dune_mode(), self);
		FAIL_UNLESS(syscall(SYS_getpid) == pid, self);
		for (unsigned int i = 0; i < 2048; i += 256)
			FAIL_UNLESS(page[i] == i + pid, self);
		FAIL_UNLESS(!munmap(page, 16384), self);
		self->rounds++;
		if (self->rounds % 64 == 0)
			usleep(1000);
	}
}

static void raw_program(struct shared *self)
{
	/* mov %rcx, %rax; imul %rdx, %rax; mov %rax, (%rdi); syscall */
	static const char code[] = "\x48\x89\xc8\x48\x0f\xaf\xc2\x48\x89\x07\x0f\x05";
	uint64_t seed = 11, fs, now;
	struct raw_vcpu vcpu;
	struct raw_vm vm;

	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	__asm__ volatile("rdfsbase %0" : "=r"(fs));
	for (;;) {
		uint64_t a = raw_random(&seed), b = raw_random(&seed);

		raw_load(&vcpu, code, sizeof(code) - 1, 0);
		vcpu.run->regs.rcx = a;
		vcpu.run->regs.rdx = b;
		vcpu.run->regs.r15 = seed;
		vcpu.run->kernel_gs_base = 0x123456789000;
		FAIL_UNLESS(raw_run(&vcpu) == DUNE_EXIT_SYSCALL, self);
		FAIL_UNLESS(vcpu.run->regs.rip == (uintptr_t)raw_stubs + 255 * RAW_STUB + VMCALL_LENGTH, self);
		FAIL_UNLESS(*(volatile uint64_t *)vcpu.data == a * b && vcpu.run->regs.rax == a * b, self);
		FAIL_UNLESS(vcpu.run->regs.r15 == seed && vcpu.run->kernel_gs_base == 0x123456789000, self);
		__asm__ volatile("rdfsbase %0" : "=r"(now));
		FAIL_UNLESS(fs == now, self);
		self->rounds++;
		if (self->rounds % 64 == 0)
			usleep(1000);
	}
}

/* Its registers, its TLS, its vector registers, its system calls. */
static void plain_program(struct shared *self)
{
	pid_t pid = getpid();
	volatile double x = 1.5;

	for (;;) {
		FAIL_UNLESS(syscall(SYS_getpid) == pid, self);
		errno = 0;
		FAIL_UNLESS(syscall(SYS_close, -1) == -1 && errno == EBADF, self);
		for (unsigned int i = 0; i < 1000; i++)
			x = x * 1.25 / 1.25;
		FAIL_UNLESS(x == 1.5, self);
		self->rounds++;
		if (self->rounds % 64 == 0)
			usleep(1000);
	}
}

static const struct companion companions[] = {
	{ "the program with libdune", dune_program },
	{ "the guest on the ABI", raw_program },
	{ "the KVM guest", kvm_companion },
	{ "the plain process", plain_program },
};

#define NR_COMPANIONS	(sizeof(companions) / sizeof(companions[0]))

static bool all_go_on(const char *during)
{
	return companions_go_on(companions, NR_COMPANIONS, 1, during);
}

static void run_program(const char *path)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execl(path, path, NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	CHECK(!status, "%s: status %#x", path, status);
	all_go_on(path);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	companions_start(companions, NR_COMPANIONS);
	if (all_go_on("at first"))
		for (int i = 1; i < argc; i++)
			run_program(argv[i]);
	companions_end(companions, NR_COMPANIONS);
	return check_result();
}
