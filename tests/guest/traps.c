// SPDX-License-Identifier: MIT
/*
 * Exceptions in ring 0: each vector comes to its handler, with its error code; handlers keep the program's vector
 * registers, nest, are left by longjmp(), and go on elsewhere.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "proc.h"

static struct dune_tf last;
static volatile int calls, vector_of_last;

#define HANDLER(n)						\
	static void on_##n(struct dune_tf *tf)			\
	{							\
		last = *tf;					\
		calls++;					\
		vector_of_last = n;				\
		tf->rip = tf->r15;				\
		tf->rsp = tf->r14;				\
		tf->rbp = tf->r13;				\
		tf->rflags &= ~0x40100UL;			\
	}
HANDLER(0) HANDLER(1) HANDLER(3) HANDLER(6) HANDLER(12) HANDLER(13) HANDLER(14) HANDLER(16) HANDLER(17)
HANDLER(19)

/* QEMU's CPU: #GP for #SS, no #XM, and another error code for INT n. */
static bool qemu;

/* Handlers go on at R15 with the stack pointers in R14 and R13. */
#define RAISE(vector, error, what, ...) do {						\
	calls = 0;									\
	__asm__ volatile("lea 1f(%%rip), %%r15; mov %%rsp, %%r14; mov %%rbp, %%r13;"	\
			 __VA_ARGS__ "; 1:"						\
			 : : : "r15", "r14", "r13", "rax", "rcx", "rdx", "memory", "cc");	\
	CHECK_EQUAL(calls, 1, what);							\
	CHECK_EQUAL(vector_of_last, vector, what);					\
	CHECK_EQUAL(last.err, error, what);						\
	CHECK_EQUAL(last.cs & 3, 0, what);						\
} while (0)

static void each_vector(void)
{
	dune_register_intr_handler(0, on_0);
	dune_register_intr_handler(1, on_1);
	dune_register_intr_handler(3, on_3);
	dune_register_intr_handler(6, on_6);
	dune_register_intr_handler(12, on_12);
	dune_register_intr_handler(13, on_13);
	dune_register_intr_handler(14, on_14);
	dune_register_intr_handler(16, on_16);
	dune_register_intr_handler(17, on_17);
	dune_register_intr_handler(19, on_19);

	RAISE(0, 0, "#DE", "xor %%ecx, %%ecx; div %%ecx");
	RAISE(1, 0, "#DB, single step", "pushfq; orl $0x100, (%%rsp); popfq; nop");
	RAISE(3, 0, "#BP", "int3");
	RAISE(6, 0, "#UD", "ud2");
	RAISE(13, 0, "#GP: not canonical", "mov $0x800000000000, %%rax; mov (%%rax), %%eax");
	RAISE(13, 0, "#GP: HLT", "hlt");
	RAISE(13, qemu ? 0x80 * 16 + 2 : 0x80 * 8 + 2, "#GP: INT n without a handler", "int $0x80");
	RAISE(qemu ? 13 : 12, 0, "#SS: not canonical",
	      "mov $0x800000000000, %%rax; mov %%rax, %%rbp; mov (%%rbp), %%eax");
	RAISE(14, last.err, "#PF: nothing there", "mov $8, %%eax; mov (%%rax), %%eax");
	CHECK_EQUAL(last.err & ~1U, 0, "#PF: a read");
	RAISE(16, 0, "#MF", "fninit; pushq $0x37b; fldcw (%%rsp); fldz; fld1; fdivp; fwait");
	__asm__ volatile("fninit");
	if (qemu)
		return;
	/* QEMU has no alignment check; and only ring 3 has it: ring3-faults.c. */
	__asm__ volatile(
		"pushfq; orl $0x40000, (%rsp); popfq; mov 1(%rsp), %eax; pushfq; andl $~0x40000, (%rsp); popfq");
	RAISE(19, 0, "#XM", "pushq $0x1d80; ldmxcsr (%%rsp); xorps %%xmm0, %%xmm0; mov $0x3f800000, %%eax;"
			    "movd %%eax, %%xmm1; divss %%xmm0, %%xmm1");
	__asm__ volatile("push $0x1f80; ldmxcsr (%rsp); pop %rax");
}

static int int_calls;

static void on_int(struct dune_tf *tf)
{
	(void)tf;
	int_calls++;
}

static void int_n(void)
{
	CHECK_EQUAL(dune_register_intr_handler(0x80, on_int), 0, "a handler of vector 0x80");
	CHECK_EQUAL(dune_register_intr_handler(255, on_int), 0, "a handler of vector 255");
	CHECK_EQUAL(dune_register_intr_handler(256, on_int), -EINVAL, "vector 256");
	CHECK_EQUAL(dune_register_intr_handler(-1, on_int), -EINVAL, "vector -1");
	CHECK_EQUAL(dune_register_bare_intr_handler(32, on_int), -EINVAL, "a bare handler of vector 32");
	for (int i = 0; i < 100; i++)
		__asm__ volatile("int $0x80; int $255" : : : "memory");
	CHECK_EQUAL(int_calls, 200, "INT n");
}

/* ---- vector registers ---- */

static void spoil(struct dune_tf *tf)
{
	tf->rip += 2;
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm5; movdqa %%xmm0, %%xmm15; fninit; fldpi"
			 : : : "memory");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vmovups %%ymm0, %%ymm5; vzeroall" : : : "memory");
}

static void vectors(void)
{
	static const uint32_t in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint32_t out[24];
	double x87;

	__builtin_cpu_init();
	dune_register_intr_handler(T_ILLOP, spoil);
	for (int round = 0; round < 50; round++) {
		memset(out, 0, sizeof(out));
		if (__builtin_cpu_supports("avx"))
			__asm__ volatile(
				"fldl %3; vmovups %2, %%ymm0; vmovups %%ymm0, %%ymm5; vmovups %%ymm0, %%ymm15;"
				"ud2; vmovups %%ymm0, %0; vmovups %%ymm5, 32+%0; vmovups %%ymm15, 64+%0; fstpl %1"
				: "=m"(out), "=m"(x87)
				: "m"(in), "m"((double){ 0.75 })
				: "xmm0", "xmm5", "xmm15");
		else
			__asm__ volatile("fldl %3; movups %2, %%xmm0; movups %%xmm0, %%xmm5; movups %%xmm0, %%xmm15;"
					 "ud2; movups %%xmm0, %0; movups %%xmm5, 32+%0; movups %%xmm15, 64+%0; fstpl %1"
					 : "=m"(out), "=m"(x87)
					 : "m"(in), "m"((double){ 0.75 })
					 : "xmm0", "xmm5", "xmm15");
		for (int i = 0; i < 3; i++)
			CHECK(!memcmp(out + 8 * i, in, __builtin_cpu_supports("avx") ? 32 : 16), "vector register %d",
			      i);
		CHECK(x87 == 0.75, "the x87 register is %f", x87);
	}
}

/* ---- nesting ---- */

static volatile int depth, deepest;

static void __attribute__((noinline)) nest(struct dune_tf *tf)
{
	volatile char room[2000];

	room[0] = room[1999] = depth;
	tf->rip += 2;
	if (++depth < deepest)
		__asm__ volatile("ud2" : : : "memory");
	CHECK(room[0] == room[1999], "room");
	depth--;
}

static void nested(void)
{
	unsigned long sum = 0;

	dune_register_intr_handler(T_ILLOP, nest);
	for (deepest = 1; deepest <= 8; deepest++) {
		depth = 0;
		__asm__ volatile("ud2" : : : "memory");
		CHECK_EQUAL(depth, 0, "depth");
		sum += deepest;
	}
	CHECK_EQUAL(sum, 36, "sum");
	deepest = 1000000;
	CHECK_EQUAL(IN_CHILD(close(2); __asm__ volatile("ud2" : : : "memory")), SIGSEGV, "too deep");
}

/* A page fault in a handler of page faults, which prints. */
static volatile char *volatile guarded;

static void open_two(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	calls++;
	(void)tf;
	dune_printf("page fault in page %d, error %#lx\n", (int)((addr - (uintptr_t)guarded) / 4096), error);
	mprotect((void *)(addr & -4096UL), 4096, PROT_READ | PROT_WRITE);
	if (addr - (uintptr_t)guarded < 4096)
		guarded[4096] = 1;
}

static void fault_in_handler(void)
{
	dune_register_pgflt_handler(open_two);
	calls = 0;
	guarded = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	guarded[0] = 1;
	CHECK_EQUAL(calls, 2, "faults");
	CHECK_EQUAL(guarded[0] + guarded[4096], 2, "what was written");
	dune_register_pgflt_handler(NULL);
}

/* ---- leaving handlers in other ways ---- */

static jmp_buf back;

static void jump_out(struct dune_tf *tf)
{
	(void)tf;
	calls++;
	longjmp(back, 1);
}

static struct dune_tf kept;

static void keep(struct dune_tf *tf)
{
	kept = *tf;
	tf->rip += 2;
}

static void pop(struct dune_tf *tf)
{
	if (tf->rax == 77)
		return;
	calls++;
	kept.rax = 99;
	kept.rip += 2;
	dune_pop_trap_frame(&kept);
}

static void others(void)
{
	volatile int i;
	unsigned long rax;

	dune_register_intr_handler(T_ILLOP, jump_out);
	calls = 0;
	for (i = 0; i < 1000; i++)
		if (!setjmp(back))
			__asm__ volatile("ud2" : : : "memory");
	CHECK_EQUAL(calls, 1000, "handlers left by longjmp");
	dune_register_intr_handler(T_ILLOP, spoil);
	__asm__ volatile("ud2; ud2" : : : "memory");

	/* Each `int3` goes on behind the `ud2`. */
	dune_register_intr_handler(T_ILLOP, keep);
	dune_register_intr_handler(T_BRKPT, pop);
	calls = 0;
	for (i = 0; i < 100; i++) {
		__asm__ volatile("xor %%eax, %%eax; ud2; jmp 1f; 1: test %%eax, %%eax; jnz 2f; int3; 2:"
				 : "=a"(rax) : : "memory", "cc");
		CHECK_EQUAL(rax, 99, "rax");
	}
	CHECK_EQUAL(calls, 100, "frames loaded");
}

/* ---- bare handlers ---- */

static unsigned long bare_calls, bare_address;

DUNE_BARE static void bare_skip(struct dune_tf *tf)
{
	bare_calls++;
	tf->rip += 2;
	tf->rbx++;
}

DUNE_BARE static void bare_pgflt(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	bare_calls++;
	bare_address = addr;
	(void)error;
	tf->rip = tf->r15;
}

static void bare(void)
{
	unsigned long rbx;

	CHECK_EQUAL(dune_register_bare_intr_handler(T_ILLOP, bare_skip), 0, "a bare handler");
	__asm__ volatile("xor %%ebx, %%ebx; .rept 100; ud2; .endr" : "=b"(rbx) : : "memory");
	CHECK_EQUAL(bare_calls, 100, "calls of a bare handler");
	CHECK_EQUAL(rbx, 100, "rbx");
	dune_register_bare_pgflt_handler(bare_pgflt);
	guarded = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 10; i++) {
		__asm__ volatile("lea 1f(%%rip), %%r15; movb $1, (%0); 1:" : : "r"(guarded + i) : "r15", "memory");
		CHECK_EQUAL(bare_address, (long)guarded + i, "the address, for a bare handler");
		__asm__ volatile("lea 1f(%%rip), %%r15; movb $1, (%0); 1:" : : "r"(8L) : "r15", "memory");
		CHECK_EQUAL(bare_address, 8, "the address, for a bare handler");
	}
	CHECK_EQUAL(bare_calls, 120, "calls of a bare handler");
	dune_register_pgflt_handler(NULL);
}

/* ---- what a handler may get wrong ---- */

static volatile int repaired;

static void wild(struct dune_tf *tf)
{
	tf->r15 = tf->rip + 2;
	tf->rip = 0x800000000000;
}

static void repair(struct dune_tf *tf)
{
	repaired = tf->rip == 0x800000000000;
	tf->rip = tf->r15;
}

DUNE_BARE static void bare_wild(struct dune_tf *tf)
{
	tf->rip = 0x800000000000;
}

static void wrong(void)
{
	dune_register_intr_handler(T_ILLOP, wild);
	dune_register_intr_handler(T_GPFLT, repair);
	__asm__ volatile("ud2" : : : "r15", "memory");
	CHECK(repaired, "an RIP that is not canonical");
	dune_register_intr_handler(T_GPFLT, NULL);
	CHECK_EQUAL(IN_CHILD(__asm__ volatile("ud2" : : : "r15", "memory")), SIGSEGV, "an RIP that is not canonical");
	dune_register_bare_intr_handler(T_ILLOP, bare_wild);
	CHECK_EQUAL(IN_CHILD(__asm__ volatile("ud2" : : : "memory")), SIGSEGV, "the same by a bare handler");
	CHECK_EQUAL(IN_CHILD(dune_pop_trap_frame(NULL)), SIGABRT, "no frame");
	CHECK_EQUAL(IN_CHILD(kept.rip = 1UL << 63; dune_pop_trap_frame(&kept)), SIGSEGV, "a wild frame");
	CHECK_EQUAL(IN_CHILD(kept.cs = 0x33; dune_pop_trap_frame(&kept)), SIGABRT, "a frame for no ring 3");
	CHECK_EQUAL(IN_CHILD(dune_ret_from_user(0)), SIGABRT, "from no ring 3");
	dune_register_intr_handler(T_ILLOP, NULL);
	CHECK_EQUAL(IN_CHILD(__asm__ volatile("ud2")), SIGILL, "no handler");
}

int main(int argc, char **argv)
{
	unsigned int a, b, c, d;

	__cpuid(0, a, b, c, d);
	qemu = b != signature_INTEL_ebx;
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	each_vector();
	int_n();
	vectors();
	nested();
	fault_in_handler();
	others();
	bare();
	wrong();
	return check_result();
}
