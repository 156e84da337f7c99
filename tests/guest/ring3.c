// SPDX-License-Identifier: MIT
/*
 * GR0 -> GR3 -> GR0: entering with registers, system calls with all of them, leaving, nesting.
 */
#include <setjmp.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ring3.h"

static struct dune_tf seen;
static unsigned int calls;

/* Every register of its own value, then a call; what comes back is compared by the next call. */
RING3_CODE(registers,
	"mov $0x101, %edi; mov $0x102, %esi; mov $0x103, %edx; mov $0x104, %r10d; mov $0x105, %r8d;"
	"mov $0x106, %r9d; mov $0x107, %ebx; mov $0x108, %ebp; mov $0x109, %r12d; mov $0x10a, %r13d;"
	"mov $0x10b, %r14d; mov $0x10c, %r15d; mov $0x20d, %eax; std;"
	"syscall;"
	"syscall;"
	"ud2");

static void see(struct dune_tf *tf)
{
	uint64_t *word = (uint64_t *)tf;

	calls++;
	CHECK(dune_in_dune_mode(), "the handler is not in ring 0");
	if (calls == 1) {
		seen = *tf;
		for (unsigned int i = 0; i < 15; i++)	/* rdi to rax */
			word[i] ^= 0x50000;
		return;
	}
	CHECK_EQUAL(tf->rdi, 0x101 ^ 0x50000, "rdi");
	CHECK_EQUAL(tf->rsi, 0x102 ^ 0x50000, "rsi");
	CHECK_EQUAL(tf->rdx, 0x103 ^ 0x50000, "rdx");
	CHECK_EQUAL(tf->rcx, 0x104 ^ 0x50000, "the fourth argument");
	CHECK_EQUAL(tf->r10, 0x104 ^ 0x50000, "r10");
	CHECK_EQUAL(tf->r8, 0x105 ^ 0x50000, "r8");
	CHECK_EQUAL(tf->r9, 0x106 ^ 0x50000, "r9");
	CHECK_EQUAL(tf->rbx, 0x107 ^ 0x50000, "rbx");
	CHECK_EQUAL(tf->rbp, 0x108 ^ 0x50000, "rbp");
	CHECK_EQUAL(tf->r12, 0x109 ^ 0x50000, "r12");
	CHECK_EQUAL(tf->r13, 0x10a ^ 0x50000, "r13");
	CHECK_EQUAL(tf->r14, 0x10b ^ 0x50000, "r14");
	CHECK_EQUAL(tf->r15, 0x10c ^ 0x50000, "r15");
	CHECK_EQUAL(tf->rax, 0x20d ^ 0x50000, "rax");
	dune_ret_from_user(12345);
}

static void all_registers(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, registers), before = tf;

	dune_register_syscall_handler(see);
	CHECK_EQUAL(dune_jump_to_user(&tf), 12345, "dune_jump_to_user");
	CHECK_EQUAL(calls, 2, "calls");
	CHECK(!memcmp(&tf, &before, sizeof(tf)), "the frame has changed");
	CHECK_EQUAL(seen.cs & 3, 3, "ring of cs");
	CHECK_EQUAL(seen.ss & 3, 3, "ring of ss");
	CHECK_EQUAL(seen.rsp, tf.rsp, "rsp");
	CHECK_EQUAL(seen.rflags & 0x600, 0x600, "IF and DF");
	CHECK_EQUAL(seen.rip - (uintptr_t)r->code, registers_end - registers - 4, "rip");
	CHECK_EQUAL(seen.r11 & 0x400, 0x400, "r11");
}

/* ---- passing calls on ---- */

/* The kernel's order of arguments is all that mmap() can tell. */
RING3_CODE(map,
	"mov $9, %eax; xor %edi, %edi; mov $8192, %esi; mov $3, %edx; mov $0x2, %r10d;"
	"syscall; ud2");

static long result;

static void pass(struct dune_tf *tf)
{
	dune_passthrough_syscall(tf);
	result = tf->rax;
	dune_ret_from_user(1);
}

static void six_arguments(struct ring3 *r)
{
	FILE *file = tmpfile();
	struct dune_tf tf = RING3_FRAME(r, map);

	DIE_UNLESS(file, "tmpfile");
	for (int i = 0; i < 4096 * 4; i++)
		putc(i / 4096 + 1, file);
	fflush(file);
	tf.r8 = fileno(file);
	tf.r9 = 2 * 4096;
	dune_register_syscall_handler(pass);
	CHECK_EQUAL(dune_jump_to_user(&tf), 1, "mmap by ring 3");
	CHECK(result > 0, "mmap: %ld", result);
	CHECK_EQUAL(*(char *)result, 3, "the page of the file");
	CHECK_EQUAL(*(char *)(result + 4096), 4, "the page behind");
	munmap((void *)result, 8192);
	fclose(file);
}

static long numbers[16], results[16];
static unsigned int nr_numbers;

static void pass_each(struct dune_tf *tf)
{
	numbers[nr_numbers] = tf->rax;
	dune_passthrough_syscall(tf);
	results[nr_numbers++] = tf->rax;
	if (nr_numbers == 8)
		dune_ret_from_user(2);
}

/* clone3, a thread, rt_sigreturn, sigaltstack, an own call of libdune's, getpid, a bad pointer, an unknown number */
RING3_CODE(refused,
	"mov $435, %eax; syscall;"
	"mov $56, %eax; mov $0x50f00, %edi; syscall;"
	"mov $15, %eax; syscall;"
	"mov $131, %eax; syscall;"
	"mov $0x6c69624400000000, %rax; syscall;"
	"mov $39, %eax; syscall;"
	"mov $1, %eax; mov $1, %edi; mov $24, %esi; mov $5, %edx; syscall;"
	"mov $400, %eax; syscall; ud2");

static void results_of_calls(struct ring3 *r)
{
	const long expected[8] = { -ENOSYS, -ENOSYS, -ENOSYS, -ENOSYS, -ENOSYS, getpid(), -EFAULT, -ENOSYS };
	struct dune_tf tf = RING3_FRAME(r, refused);

	dune_register_syscall_handler(pass_each);
	CHECK_EQUAL(dune_jump_to_user(&tf), 2, "calls of ring 3");
	for (int i = 0; i < 8; i++)
		CHECK(results[i] == expected[i], "call %ld: %ld, expected %ld", numbers[i], results[i], expected[i]);
}

RING3_CODE(forks,
	"mov $57, %eax; syscall; test %eax, %eax; jz 1f;"
	"mov %eax, %edi; mov $1000, %eax; syscall; ud2;"
	"1: mov $58, %eax; syscall; test %eax, %eax; jz 2f;"
	"mov %eax, %edi; mov $1001, %eax; syscall; ud2;"
	"2: mov $60, %eax; mov $7, %edi; syscall; ud2");

static void pass_forks(struct dune_tf *tf)
{
	int status = -1;

	if (tf->rax == 1000 || tf->rax == 1001) {
		CHECK_EQUAL(waitpid(ARG0(tf), &status, 0), ARG0(tf), "waitpid");
		dune_ret_from_user(tf->rax == 1000 ? status : status == 7 << 8 ? 0 : -1);
	}
	dune_passthrough_syscall(tf);
}

static void forks_of_ring3(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, forks);
	pid_t self = getpid();
	int ret;

	dune_register_syscall_handler(pass_forks);
	fflush(stdout);
	ret = dune_jump_to_user(&tf);
	if (getpid() != self)
		_exit(ret ? 1 : 9);
	CHECK_EQUAL(ret, 9 << 8, "the child of ring 3");
}

/* ---- bare, without a handler, nested ---- */

RING3_CODE(loop, "mov $100, %ebx; 1: mov %ebx, %eax; syscall; cmp %ebx, %eax; jne 2f; dec %ebx; jnz 1b;"
		 "xor %eax, %eax; syscall; 2: ud2");

DUNE_BARE static long bare(struct dune_tf *tf)
{
	if (!tf->rax)
		dune_ret_from_user(3);
	calls++;
	return tf->rax;
}

RING3_CODE(nobody, "mov $39, %eax; syscall; mov $0, %edi; div %edi; ud2");

static struct dune_tf fault;

static void leave(struct dune_tf *tf)
{
	fault = *tf;
	dune_ret_from_user(4);
}

static struct ring3 inner;
static int depth;

static void nest(struct dune_tf *tf)
{
	struct dune_tf next = RING3_FRAME(&inner, loop);
	int level;

	if (tf->rax != 100)
		return;
	level = ++depth;
	if (level < 20)
		CHECK_EQUAL(dune_jump_to_user(&next), level + 1, "nested");
	dune_ret_from_user(level);
}

static void others(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, loop);

	calls = 0;
	dune_register_bare_syscall_handler(bare);
	CHECK_EQUAL(dune_jump_to_user(&tf), 3, "a bare handler");
	CHECK_EQUAL(calls, 100, "calls");
	dune_register_syscall_handler(NULL);
	dune_register_intr_handler(T_DIVIDE, leave);
	tf = RING3_FRAME(r, nobody);
	CHECK_EQUAL(dune_jump_to_user(&tf), 4, "no handler");
	CHECK_EQUAL(fault.rax, -ENOSYS, "the result without a handler");
	dune_register_intr_handler(T_DIVIDE, NULL);

	inner = ring3_make();
	dune_register_syscall_handler(nest);
	tf = RING3_FRAME(r, loop);
	CHECK_EQUAL(dune_jump_to_user(&tf), 1, "nested");
	CHECK_EQUAL(depth, 20, "depth");
}

/* ---- vector registers: those of ring 3 over a handler, and of ring 0 over ring 3 ---- */

RING3_CODE(vectors,
	"mov $0x12345678, %eax; movd %eax, %xmm0; movd %eax, %xmm15; mov $1000, %eax; syscall;"
	"movd %xmm0, %ebx; movd %xmm15, %ebp; mov $1001, %eax; syscall; ud2");

static void spoil(struct dune_tf *tf)
{
	if (tf->rax == 1001) {
		CHECK_EQUAL(tf->rbx, 0x12345678, "xmm0");
		CHECK_EQUAL(tf->rbp, 0x12345678, "xmm15");
		dune_ret_from_user(5);
	}
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm15, %%xmm15" : : : "xmm0", "xmm15");
}

static void vector_registers(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, vectors);

	dune_register_syscall_handler(spoil);
	for (int i = 0; i < 20; i++)
		CHECK_EQUAL(dune_jump_to_user(&tf), 5, "vector registers");
}

/* ---- SMEP and SMAP ---- */

static volatile uintptr_t stopped_at;

static void refuse(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	stopped_at = addr;
	CHECK(error & 1, "the error code is %#lx", error);
	tf->rip = tf->r15;
	tf->rsp = tf->r14;
}

static void protection(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, loop);
	int smep = dune_set_option(DUNE_OPT_SMEP, true), smap = dune_set_option(DUNE_OPT_SMAP, true);

	CHECK(smep == 0 || smep == -ENODEV, "SMEP: %d", smep);
	CHECK(smap == 0 || smap == -ENODEV, "SMAP: %d", smap);
	CHECK_EQUAL(dune_set_option(99, true), -EINVAL, "no option");
	dune_register_bare_syscall_handler(bare);
	dune_register_pgflt_handler(refuse);
	CHECK_EQUAL(dune_jump_to_user(&tf), 3, "ring 3 with SMEP and SMAP");
	if (!smep) {
		stopped_at = 0;
		__asm__ volatile("lea 1f(%%rip), %%r15; mov %%rsp, %%r14; jmp *%0; 1:"
				 : : "r"(r->code) : "r14", "r15", "memory");
		CHECK_EQUAL(stopped_at, (long)r->code, "a jump into ring 3's code");
	}
	if (!smap) {
		stopped_at = 0;
		__asm__ volatile("lea 1f(%%rip), %%r15; mov %%rsp, %%r14; movb $1, (%0); 1:"
				 : : "r"(r->stack) : "r14", "r15", "memory");
		CHECK_EQUAL(stopped_at, (long)r->stack, "a store to ring 3's memory");
		stopped_at = 0;
		dune_user_access_begin();
		*(volatile char *)r->stack = 1;
		dune_user_access_end();
		CHECK_EQUAL(stopped_at, 0, "a store that is allowed");
		/* Ring 3 cannot switch it off for a handler. */
		tf.rflags |= 0x40000;
		CHECK_EQUAL(dune_jump_to_user(&tf), 3, "ring 3 with AC");
	}
	printf("SMEP %s, SMAP %s\n", smep ? "is not there" : "tested", smap ? "is not there" : "tested");
	dune_set_option(DUNE_OPT_SMEP, false);
	dune_set_option(DUNE_OPT_SMAP, false);
	CHECK_EQUAL(dune_jump_to_user(&tf), 3, "ring 3 without them");
	*(volatile char *)r->stack = 1;
	dune_register_pgflt_handler(NULL);
}

/* Not before the session has ended. */
static int left;

static void leave_in_call(struct dune_tf *tf)
{
	left = dune_leave();
	CHECK(dune_in_dune_mode(), "dune_leave() in a handler");
	tf->rax = 5;
}

static void leave_in_trap(struct dune_tf *tf)
{
	(void)tf;
	left = dune_leave();
	dune_ret_from_user(77);
}

static jmp_buf back;

static void jump_out(struct dune_tf *tf)
{
	(void)tf;
	longjmp(back, 1);
}

RING3_CODE(call_and_trap, "mov $39, %eax; syscall; ud2");

static void leaving(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, call_and_trap);

	dune_register_syscall_handler(leave_in_call);
	dune_register_intr_handler(T_ILLOP, leave_in_trap);
	left = 0;
	CHECK_EQUAL(dune_jump_to_user(&tf), 77, "ring 3 goes on");
	CHECK_EQUAL(left, -EBUSY, "dune_leave() in handlers");
	CHECK_EQUAL(dune_leave(), 0, "dune_leave() after dune_ret_from_user()");
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	dune_register_syscall_handler(jump_out);
	if (!setjmp(back))
		dune_jump_to_user(&tf);
	CHECK_EQUAL(dune_leave(), 0, "dune_leave() after longjmp()");
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	dune_register_syscall_handler(leave_in_call);
	CHECK_EQUAL(dune_jump_to_user(&tf), 77, "ring 3 after it");
}

/* With DUNE_OPT_STRICT the guest cannot load CR4. */
static void strict(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, call_and_trap);

	CHECK_EQUAL(dune_leave(), 0, "dune_leave");
	dune_set_option(DUNE_OPT_STRICT, true);
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	CHECK_EQUAL(dune_jump_to_user(&tf), 77, "ring 3 with DUNE_OPT_STRICT");
	if (!dune_set_option(DUNE_OPT_SMEP, true)) {
		CHECK_EQUAL(dune_jump_to_user(&tf), -EPERM, "SMEP with DUNE_OPT_STRICT");
		dune_set_option(DUNE_OPT_SMEP, false);
	}
	if (!dune_set_option(DUNE_OPT_SMAP, true)) {
		CHECK_EQUAL(dune_jump_to_user(&tf), -EPERM, "SMAP with DUNE_OPT_STRICT");
		dune_set_option(DUNE_OPT_SMAP, false);
	}
	CHECK_EQUAL(dune_jump_to_user(&tf), 77, "ring 3 without them");
	CHECK_EQUAL(dune_leave(), 0, "dune_leave");
	dune_set_option(DUNE_OPT_STRICT, false);
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
}

static void bad_input(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, loop);

	CHECK_EQUAL(dune_jump_to_user(NULL), -EINVAL, "no frame");
	tf.rip = 1UL << 47;
	CHECK_EQUAL(dune_jump_to_user(&tf), -EINVAL, "RIP not canonical");
	tf.rip = 0xffff000000000000;
	CHECK_EQUAL(dune_jump_to_user(&tf), -EINVAL, "RIP not canonical");
	tf = RING3_FRAME(r, loop);
	tf.rsp = 0x8000000000000000;
	CHECK_EQUAL(dune_jump_to_user(&tf), -EINVAL, "RSP not canonical");
	CHECK_EQUAL(dune_set_user_fs(1UL << 47), -EINVAL, "FS base not canonical");
}

int main(void)
{
	struct dune_tf nothing = { .rip = 0 };
	struct ring3 r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK_EQUAL(dune_jump_to_user(&nothing), -EINVAL, "outside Dune mode");
	CHECK_EQUAL(dune_set_user_fs(0), -EINVAL, "outside Dune mode");
	CHECK_EQUAL(mode_enter(), 0, "dune_init_and_enter");
	r = ring3_make();
	all_registers(&r);
	six_arguments(&r);
	results_of_calls(&r);
	forks_of_ring3(&r);
	others(&r);
	leaving(&r);
	strict(&r);
	bad_input(&r);
	vector_registers(&r);
	protection(&r);
	return check_result();
}
