// SPDX-License-Identifier: MIT
/*
 * The ways an error is reported work themselves: with any alignment of the stack, with live vector
 * registers, in a handler, on the way to death.
 */
#include "mem.h"

static volatile unsigned int handled;
static volatile double from_handler;
static char text[200];

/* Uses aligned vector stores and floating-point formats, as a C library does. */
static __attribute__((noinline)) void handler(struct dune_tf *tf)
{
	double third = 1.0 / (3.0 + handled);
	char local[64] __attribute__((aligned(16)));

	CHECK(((uintptr_t)local & 15) == 0);
	__asm__ volatile("movaps %%xmm0, %0" : "=m"(local));
	CHECK(snprintf(text, sizeof(text), "%.10f at %#lx", third, (long)tf->rip) > 10);
	CHECK(strtod(text, NULL) > third - 1e-9 && strtod(text, NULL) < third + 1e-9);
	from_handler += third;
	handled++;
	tf->rip += 2;		/* ud2 */
}

/* At each of 16 places of the stack pointer, with a red zone in use and all vector registers live. */
static void any_alignment(void)
{
	for (unsigned long offset = 0; offset < 16; offset++) {
		uint64_t before = 0x1111111111111111 * (offset & 7) + 1, after = 0, red = 0, sp = 0;

		__asm__ volatile("mov %%rsp, %%rbx\n\t"
				 "and $-64, %%rsp\n\t"
				 "sub $256, %%rsp\n\t"
				 "sub %[offset], %%rsp\n\t"
				 "mov %%rsp, %%r12\n\t"
				 "movq %[before], %%xmm15\n\t"
				 "mov %[before], -8(%%rsp)\n\t"
				 "mov %[before], -128(%%rsp)\n\t"
				 "ud2\n\t"
				 "mov -8(%%rsp), %[red]\n\t"
				 "xor -128(%%rsp), %[red]\n\t"
				 "sub %%rsp, %%r12\n\t"
				 "mov %%r12, %[sp]\n\t"
				 "movq %%xmm15, %[after]\n\t"
				 "mov %%rbx, %%rsp"
				 : [after] "=&r"(after), [red] "=&r"(red), [sp] "=&r"(sp)
				 : [offset] "r"(offset), [before] "r"(before)
				 : "rbx", "r12", "xmm15", "memory", "cc");
		CHECK_EQ(after, before);
		CHECK_EQ(red, 0);
		CHECK_EQ(sp, 0);
	}
	CHECK_EQ(handled, 16);
}

/* A handler whose own error is handled. */
static void nested_handler(struct dune_tf *tf)
{
	unsigned int before = handled;

	__asm__ volatile("ud2");
	CHECK_EQ(handled, before + 1);
	dune_printf("%s: nested\n", "mem-error");
	tf->rip += 1;		/* int3 is behind it already: skip the nop */
}

/* ---- deaths ---- */

static void die_by_ud2(void)
{
	dune_register_intr_handler(T_ILLOP, NULL);
	__asm__ volatile("ud2");
}

static void die_misaligned(void)
{
	dune_register_intr_handler(T_ILLOP, NULL);
	__asm__ volatile("and $-64, %%rsp\n\tsub $3, %%rsp\n\tud2" ::: "memory");
}

static void die_without_stack(void)
{
	dune_register_intr_handler(T_ILLOP, NULL);
	__asm__ volatile("mov $8, %%esp\n\tud2" ::: "memory");
}

static void die_by_fault(void)
{
	volatile int *nowhere = (int *)16;

	__asm__("" : "+r"(nowhere));
	*nowhere = 1;
}

static void die_by_division(void)
{
	__asm__ volatile("xor %%ecx, %%ecx\n\tdiv %%ecx" : : "a"(1), "d"(0) : "ecx", "cc");
}

static void die_by_control_register(void)
{
	__asm__ volatile("mov $0x1234, %eax\n\tmovq %rax, %cr4");
}

static void die_by_dune_die(void)
{
	dune_die();
}

static void die_in_handler(void)
{
	dune_register_intr_handler(T_ILLOP, NULL);
	dune_register_intr_handler(T_BRKPT, nested_handler);
	__asm__ volatile("int3\n\tnop");
}

struct death {
	const char *name;
	void (*fn)(void);
	int signo;		/* 0: exit status 1 */
	bool says;		/* something on standard error */
};

static const struct death deaths[] = {
	{ "invalid opcode", die_by_ud2, SIGILL, true },
	{ "misaligned", die_misaligned, SIGILL, true },
	{ "without a stack", die_without_stack, SIGILL, true },
	{ "fault", die_by_fault, SIGSEGV, false },
	{ "division", die_by_division, SIGFPE, true },
	{ "control register", die_by_control_register, SIGSEGV, true },
	{ "dune_die()", die_by_dune_die, 0, false },
	{ "in a handler", die_in_handler, SIGILL, true },
};

static void die(const struct death *death)
{
	char message[4096];
	int ends[2], status;
	ssize_t n, size = 0;
	pid_t pid;

	CHECK(!pipe(ends));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		enter();
		death->fn();
		_exit(0);
	}
	close(ends[1]);
	while ((n = read(ends[0], message + size, sizeof(message) - 1 - size)) > 0)
		size += n;
	message[size] = '\0';
	close(ends[0]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (death->signo ? !WIFSIGNALED(status) || WTERMSIG(status) != death->signo :
			   status != 1 << 8)
		FAIL("%s: status %#x", death->name, status);
	if (death->says && (!strstr(message, "dune") || !strstr(message, "rip")))
		FAIL("%s: it says: %s", death->name, message);
}

int main(void)
{
	if (no_dune())
		SKIP("nothing to do without Dune mode");
	CHECK_EQ(dune_init(true), 0);
	for (unsigned int i = 0; i < N_ELEMENTS(deaths); i++)
		die(&deaths[i]);
	enter();
	CHECK_EQ(dune_register_intr_handler(T_ILLOP, handler), 0);
	any_alignment();
	CHECK_EQ(dune_register_intr_handler(T_BRKPT, nested_handler), 0);
	__asm__ volatile("int3\n\tnop");
	CHECK_EQ(handled, 17);
	for (unsigned int i = 0; i < N_ELEMENTS(deaths); i++)
		die(&deaths[i]);
	return 0;
}
