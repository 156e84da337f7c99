// SPDX-License-Identifier: MIT
/*
 * Vector registers are the thread's own: processes in Dune mode and outside keep different values in all of them while
 * they take turns on one CPU.
 *
 *	cpu-vectors module	the module loads them, as on kernels (7.2) that have no function for it
 *	cpu-vectors user	the return to user mode does, as where the module cannot
 */
#include <immintrin.h>

#include <dune.h>

#include "check.h"
#include "companions.h"
#include "module.h"
#include "raw.h"

/* The image of XSAVE: SDM, "Layout of the XSAVE Area". */
#define IMAGE_SIZE	832
#define IMAGE_MXCSR	24
#define IMAGE_ST	32
#define IMAGE_XMM	160
#define IMAGE_XMM_END	416
#define IMAGE_XSTATE_BV	512
#define IMAGE_YMM	576
#define COMPONENTS	7		/* x87, SSE, AVX */

static _Alignas(64) unsigned char wanted[IMAGE_SIZE], found[IMAGE_SIZE];

static bool same(unsigned int from, unsigned int to)
{
	return !memcmp(wanted + from, found + from, to - from);
}

/* Each round is longer than a time slice now and then, and makes a system call. */
__attribute__((target("xsave"))) static void keep(struct shared *self, unsigned int number)
{
	bool avx = __builtin_cpu_supports("avx");
	uint64_t seed = number;

	for (;;) {
		unsigned int mxcsr = 0x1f80 | (raw_random(&seed) & 3) << 13;

		for (unsigned int i = IMAGE_ST; i < IMAGE_SIZE; i++)
			wanted[i] = raw_random(&seed);
		/* Ten bytes of sixteen are a register; the header says that all components are there. */
		for (unsigned int i = IMAGE_ST; i < IMAGE_XMM; i++)
			wanted[i] = i % 16 < 10 ? wanted[i] : 0;
		memset(wanted, 0, IMAGE_ST);
		memset(wanted + IMAGE_XMM_END, 0, IMAGE_YMM - IMAGE_XMM_END);
		memcpy(wanted, (unsigned short[]){ 0x37f, 0, 0xff }, 6);
		memcpy(wanted + IMAGE_MXCSR, &mxcsr, sizeof(mxcsr));
		wanted[IMAGE_XSTATE_BV] = avx ? COMPONENTS : COMPONENTS & ~4;

		__asm__ volatile("xrstor %[wanted]\n\t"
				 "movl $200000, %%ebx\n"
				 "1:	decl %%ebx\n\t"
				 "jnz 1b\n\t"
				 "movl $39, %%eax\n\t"
				 "syscall\n\t"
				 "movl %[components], %%eax\n\t"
				 "xorl %%edx, %%edx\n\t"
				 "xsave %[found]\n\t"
				 "fninit"
				 : [found] "+m"(found)
				 : [wanted] "m"(wanted), [components] "i"(COMPONENTS), "a"(COMPONENTS), "d"(0)
				 : "rbx", "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
				   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
				   "xmm15");
		_mm_setcsr(0x1f80);
		FAIL_UNLESS(same(IMAGE_MXCSR, IMAGE_MXCSR + 4), self);
		FAIL_UNLESS(same(IMAGE_ST, IMAGE_XMM), self);
		FAIL_UNLESS(same(IMAGE_XMM, IMAGE_XMM_END), self);
		FAIL_UNLESS(!avx || same(IMAGE_YMM, IMAGE_SIZE), self);
		self->rounds++;
	}
}

static void outside(struct shared *self)
{
	keep(self, 1);
}

static void inside(struct shared *self)
{
	FAIL_UNLESS(!dune_init_and_enter(), self);
	keep(self, 2);
}

static void inside_too(struct shared *self)
{
	FAIL_UNLESS(!dune_init_and_enter(), self);
	keep(self, 3);
}

static const struct companion companions[] = {
	{ "a process outside Dune mode", outside },
	{ "a process in Dune mode", inside },
	{ "another one in Dune mode", inside_too },
};

#define NR_COMPANIONS	(sizeof(companions) / sizeof(companions[0]))

/* Whose turn it is to load them, the module's parameter for that, and what counts it. */
static const struct way {
	const char *argument;
	const char *fpu_load;
	const char *counter;
} ways[] = {
	{ "best", "0", "runs" },
	{ "module", "1", "vector_loads" },
	{ "user", "2", "user_intr" },
};

static const struct way *find_way(const char *argument)
{
	for (unsigned int i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(ways[i].argument, argument))
			return &ways[i];
	printf("cpu-vectors: best, module or user\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const struct way *way = find_way(argc > 1 ? argv[1] : "best");
	unsigned long before, counted = 0;
	char calls[2];

	module_get_parameter("calls", calls);

	module_set_parameter("fpu_load", way->fpu_load);
	companions_start(companions, NR_COMPANIONS);
	companions_go_on(companions, NR_COMPANIONS, 1, "at first");
	/* With calls that are made inside, which may sleep there; then without them, since they make it seldom. */
	module_set_parameter("calls", "1");
	companions_go_on(companions, NR_COMPANIONS, 200, "with calls made inside");
	module_set_parameter("calls", "0");
	before = module_counter(way->counter);
	/* A fast machine needs more rounds until its tick has come so often. */
	for (unsigned int i = 0; i < 20 && counted < 10; i++) {
		companions_go_on(companions, NR_COMPANIONS, 200, "in turn");
		counted = module_counter(way->counter) - before;
	}
	CHECK(counted >= 10, "%s: only %lu", way->counter, counted);
	companions_end(companions, NR_COMPANIONS);
	module_set_parameter("calls", calls);
	module_set_parameter("fpu_load", "0");
	return check_result();
}
