// SPDX-License-Identifier: MIT
/*
 * A page-fault handler of the program's gets what the kernel refuses, and nothing that the kernel
 * resolves: first touches, a growing stack.
 */
#include <signal.h>
#include <sys/mman.h>

#include "proc.h"

static volatile unsigned long faults, last_addr, last_error;
static char *area;

static void open_page(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	faults++;
	last_addr = addr;
	last_error = error;
	if (addr - (uintptr_t)area < 64 * 4096)
		dune_syscall(10 /* mprotect */, addr & -4096UL, 4096, PROT_READ | PROT_WRITE, 0, 0, 0);
	else
		tf->rip = tf->rax;
}

#define ACCESS(instruction, address)							\
	__asm__ volatile("lea 1f(%%rip), %%rax; " instruction "; 1:"			\
			 : : "r"(address) : "rax", "rdx", "memory")

static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char space[4096];

	space[0] = depth;
	return depth ? recurse(depth - 1) + space[0] : 0;
}

static void signalled(int signo)
{
	CHECK(false, "a signal %d", signo);
	_exit(1);
}

int main(int argc, char **argv)
{
	char *near;

	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	signal(SIGSEGV, signalled);
	dune_register_pgflt_handler(open_page);
	area = mmap(NULL, 65 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 64; i++)
		area[i * 4096] = i;
	CHECK_EQUAL(faults, 64, "faults of protected pages");
	CHECK_EQUAL(last_addr, (long)area + 63 * 4096, "the address");
	CHECK_EQUAL(last_error & 2, 2, "the error code of a write");
	for (int i = 0; i < 64; i++)
		CHECK_EQUAL(area[i * 4096], i, "what was written");
	CHECK_EQUAL(faults, 64, "faults in the end");

	near = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(near, 1, 64 * 4096);
	recurse(500);
	CHECK_EQUAL(faults, 64, "faults that the kernel resolves");

	ACCESS("mov (%0), %%dl", (char *)24);
	CHECK_EQUAL(faults, 65, "a null pointer");
	CHECK_EQUAL(last_addr, 24, "a null pointer: address");
	ACCESS("movb $1, (%0)", (char *)0x123456789000);
	CHECK_EQUAL(last_addr, 0x123456789000, "nothing far and wide: address");
	ACCESS("movb $1, (%0)", area + 64 * 4096);
	CHECK_EQUAL(last_addr, (long)area + 64 * 4096, "a page without permission: address");
	CHECK_EQUAL(faults, 67, "faults");

	dune_register_pgflt_handler(NULL);
	CHECK_EQUAL(IN_CHILD(signal(SIGSEGV, SIG_DFL); area[64 * 4096] = 1), SIGSEGV, "without a handler");
	return check_result();
}
