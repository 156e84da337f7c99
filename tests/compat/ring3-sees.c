/* SPDX-License-Identifier: MIT */
/*
 * After dune_init(true) ring 3 runs the program's own functions, on its own data: memory of before and of later,
 * touched and not.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "libdune/dune.h"

#include "expect.h"

static char stack[16384] __attribute__((aligned(16)));
static int data = 3;
static char *before, *later;
static volatile int sum;

static void __attribute__((noinline)) end(int result)
{
	__asm__ volatile("syscall" : : "a"(186), "D"(result) : "rcx", "r11", "memory");
}

static void user(void)
{
	before[5 * PGSIZE] = 4;
	later[7 * PGSIZE] = 5;
	sum = data + before[5 * PGSIZE] + later[7 * PGSIZE];
	end(sum);
}

static void on_syscall(struct dune_tf *tf)
{
	EXPECT(tf->rax == 186);
	dune_ret_from_user(ARG0(tf));
}

static int run(void (*function)(void))
{
	struct dune_tf tf;

	memset(&tf, 0, sizeof(tf));
	tf.rip = (uintptr_t)function;
	tf.rsp = (uintptr_t)stack + sizeof(stack) - 8;
	tf.rflags = 2;
	return dune_jump_to_user(&tf);
}

static void poke_tables(void)
{
	*(volatile char *)pgroot = 0;
	end(1);
}

static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	EXPECT(addr == (uintptr_t)pgroot && fec & FEC_U && tf->cs & 3);
	dune_ret_from_user(77);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	before = mmap(NULL, 16 * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (dune_init_and_enter())
		return 1;
	later = mmap(NULL, 16 * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	dune_register_syscall_handler(on_syscall);
	EXPECT(run(user) == 12);

	/* What ring 0 forbids stays forbidden, and libdune's own memory is nobody's. */
	dune_register_pgflt_handler(on_fault);
	EXPECT(run(poke_tables) == 77);
	return verdict();
}
