// SPDX-License-Identifier: MIT
/*
 * A ring 3 for each of several threads, with FS and GS bases of their own; ring 0 keeps its own.
 */
#include <pthread.h>
#include <sys/syscall.h>

#include "ring3.h"

#define THREADS	4
#define ROUNDS	2000

static __thread long own;
static int inside;

/* FS:0 and GS:0 hold rbx and rbp; each call adds one to what both the frame and ring 3 have. */
RING3_CODE(count,
	"1: cmp %fs:0, %rbx; jne 2f; cmp %gs:0, %rbp; jne 2f; mov %r12, %rdi; mov $1000, %eax; syscall;"
	"inc %r12; cmp %r12, %rax; jne 2f; cmp %r13, %r12; jne 1b; mov $1001, %eax; syscall;"
	"2: mov $1002, %eax; syscall; ud2");

static void on_call(struct dune_tf *tf)
{
	switch (tf->rax) {
	case 1000:
		CHECK_EQUAL(own, tf->r14, "thread-local storage of ring 0");
		tf->rax = ARG0(tf) + 1;
		if (ARG0(tf) % 100 == 0)
			sched_yield();
		break;
	case 1001:
		dune_ret_from_user(0);
	default:
		dune_ret_from_user(1);
	}
}

static void *thread(void *arg)
{
	struct ring3 r = ring3_make();
	struct dune_tf tf = RING3_FRAME(&r, count);
	long *words = (long *)(r.stack + 64);
	unsigned long fs_before, fs_after;

	CHECK(dune_in_dune_mode(), "a thread is not in Dune mode");
	own = (long)arg;
	words[0] = own + 100;
	words[1] = own + 200;
	tf.rbx = words[0];
	tf.rbp = words[1];
	tf.r13 = ROUNDS;
	tf.r14 = own;
	__asm__ volatile("rdfsbase %0" : "=r"(fs_before));
	CHECK_EQUAL(dune_get_user_fs(), fs_before, "the FS base of ring 3 at first");
	CHECK_EQUAL(dune_set_user_fs((uintptr_t)&words[0]), 0, "dune_set_user_fs");
	CHECK_EQUAL(dune_set_user_gs((uintptr_t)&words[1]), 0, "dune_set_user_gs");
	__atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&inside, __ATOMIC_SEQ_CST) < THREADS)
		sched_yield();
	CHECK_EQUAL(dune_jump_to_user(&tf), 0, "ring 3 of a thread");
	CHECK_EQUAL(dune_get_user_fs(), (long)&words[0], "dune_get_user_fs");
	CHECK_EQUAL(dune_get_user_gs(), (long)&words[1], "dune_get_user_gs");
	__asm__ volatile("rdfsbase %0" : "=r"(fs_after));
	CHECK_EQUAL(fs_after, fs_before, "FS base of ring 0");
	return NULL;
}

/* What ring 3 sets by itself, or asks for, is what it has. */
RING3_CODE(bases,
	"wrfsbase %rbx; mov $1000, %eax; syscall; rdfsbase %rcx; cmp %rcx, %rbx; jne 2f;"
	"mov $158, %eax; mov $0x1002, %edi; mov %rbp, %rsi; syscall; test %eax, %eax; jnz 2f;"	/* ARCH_SET_FS */
	"rdfsbase %rcx; cmp %rcx, %rbp; jne 2f; int3; rdfsbase %rcx; cmp %rcx, %rbp; jne 2f;"
	"mov $158, %eax; mov $0x1003, %edi; mov %r12, %rsi; syscall; test %eax, %eax; jnz 2f;"	/* ARCH_GET_FS */
	"cmp %rbp, (%r12); jne 2f; mov $1001, %eax; syscall;"
	"2: mov $1002, %eax; syscall; ud2");

static void with_bases(struct dune_tf *tf)
{
	CHECK_EQUAL(own, 42, "thread-local storage of ring 0");
	if (tf->rax == 1001 || tf->rax == 1002)
		dune_ret_from_user(tf->rax == 1002);
	if (tf->rax == 1000)
		CHECK_EQUAL(dune_get_user_fs(), tf->rbx, "the FS base that ring 3 has set");
	else
		dune_passthrough_syscall(tf);
}

static void on_int3(struct dune_tf *tf)
{
	CHECK_EQUAL(own, 42, "thread-local storage of ring 0");
	CHECK_EQUAL(dune_get_user_fs(), tf->rbp, "the FS base in a handler of an exception");
}

/* A bare handler of a call of ring 3 meets an exception, whose full handler has the program's bases. */
RING3_CODE(through_bare,
	"wrfsbase %rbx; mov $1000, %eax; syscall; rdfsbase %rcx; cmp %rcx, %rbx; jne 2f; mov $1001, %eax; syscall;"
	"2: mov $1002, %eax; syscall; ud2");

DUNE_BARE static long bare_with_fault(struct dune_tf *tf)
{
	if (tf->rax != 1000)
		dune_ret_from_user(tf->rax == 1002);
	__asm__ volatile("ud2" : : : "memory");
	return 0;
}

static int skipped;

static void skip(struct dune_tf *tf)
{
	CHECK_EQUAL(own, 42, "thread-local storage of ring 0");
	tf->rip += 2;
	skipped++;
}

static void fault_in_bare_handler(struct ring3 *r)
{
	struct dune_tf tf = RING3_FRAME(r, through_bare);

	tf.rbx = (uintptr_t)r->stack;
	dune_register_intr_handler(T_ILLOP, skip);
	dune_register_bare_syscall_handler(bare_with_fault);
	CHECK_EQUAL(dune_jump_to_user(&tf), 0, "the FS base of ring 3");
	CHECK_EQUAL(skipped, 1, "exceptions");
}

int main(void)
{
	pthread_t threads[THREADS];
	struct dune_tf tf;
	struct ring3 r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK_EQUAL(mode_enter(), 0, "dune_init_and_enter");
	dune_register_syscall_handler(on_call);
	for (long i = 0; i < THREADS; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, thread, (void *)(i + 1)), "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);

	own = 42;
	r = ring3_make();
	tf = RING3_FRAME(&r, bases);
	tf.rbx = (uintptr_t)r.stack;
	tf.rbp = (uintptr_t)r.stack + 128;
	tf.r12 = (uintptr_t)r.stack + 256;
	dune_register_syscall_handler(with_bases);
	dune_register_intr_handler(T_BRKPT, on_int3);
	CHECK_EQUAL(dune_jump_to_user(&tf), 0, "bases");
	fault_in_bare_handler(&r);
	return check_result();
}
