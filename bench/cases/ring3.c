// SPDX-License-Identifier: MIT
/* Ring 3 of the guest: its system calls, intercepted, and forwarded by the handler. */
#include <dune.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bench.h"

/* A call of ring 3, timed there, less what the clock costs. */
extern const char ring3_code[], ring3_end[];
__asm__(".pushsection .rodata; ring3_code:"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rbx;"
	"mov %r12, %rax; syscall; mov %rax, %r13;"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; sub %rbx, %rax; mov %rax, %rbx;"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rbp;"
	"mov %r12, %rax; mov %rax, %r14;"
	"lfence; rdtsc; shl $32, %rdx; or %rdx, %rax; sub %rbp, %rax; mov %rax, %rbp;"
	"ud2; ring3_end: .popsection");

#define ANSWER	42

static uint64_t ring3_ticks, ring3_result, number = 1000, expected = ANSWER;
static char *code;

DUNE_BARE static long bare_call(struct dune_tf *tf)
{
	(void)tf;
	return ANSWER;
}

static void full_call(struct dune_tf *tf)
{
	tf->rax = ANSWER;
}

static void leave_ring3(struct dune_tf *tf)
{
	ring3_ticks = tf->rbx - tf->rbp;
	ring3_result = tf->r13;
	dune_ret_from_user(1);
}

static void begin_ring3(void)
{
	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(code != MAP_FAILED);
	memcpy(code, ring3_code, ring3_end - ring3_code);
	must(!dune_vm_mprotect(bench_root, code, PAGE, PERM_UCODE));
	must(!dune_register_intr_handler(T_ILLOP, leave_ring3));
}

static void begin_bare(void)
{
	begin_ring3();
	dune_register_bare_syscall_handler(bare_call);
}

static void begin_full(void)
{
	begin_ring3();
	dune_register_syscall_handler(full_call);
}

static void begin_forward(void)
{
	begin_ring3();
	number = SYS_getpid;
	expected = getpid();
	dune_register_syscall_handler(dune_passthrough_syscall);
}

static uint64_t call(unsigned int i)
{
	struct dune_tf tf = { .rip = (uintptr_t)code, .rsp = (uintptr_t)code, .r12 = number };

	(void)i;
	must(dune_jump_to_user(&tf) == 1);
	bench_work += ring3_result == expected;
	return ring3_ticks + bench_clock;	/* which is taken off later */
}

static uint64_t there_and_back(unsigned int i)
{
	struct dune_tf tf = { .rip = (uintptr_t)code + (ring3_end - ring3_code) - 2 };
	uint64_t start = ticks();

	(void)i;
	bench_work += dune_jump_to_user(&tf);
	return ticks() - start;
}

static const struct bench_case cases[] = {
	{ "call of ring 3, bare handler",		WHERE_DUNE, 400, 1, begin_bare, NULL, call,
	  .guest_calls = 1 },
	{ "call of ring 3, full handler",		WHERE_DUNE, 400, 1, begin_full, NULL, call,
	  .guest_calls = 1 },
	{ "call of ring 3, full handler forwards getpid",	WHERE_DUNE, 400, 1, begin_forward, NULL, call,
	  .guest_calls = 1 },
	{ "jump to ring 3, fault, return",		WHERE_DUNE, 400, 1, begin_full, NULL, there_and_back,
	  .guest_traps = 1 },
};

BENCH_GROUP(ring3, true);
