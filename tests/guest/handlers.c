// SPDX-License-Identifier: MIT
/*
 * Handlers with an argument: each kind gets it, registering gives back the one before, which the new one can call;
 * and no handler ever gets the argument of another one, whoever registers at the same time.
 */
#include <pthread.h>
#include <signal.h>

#include "proc.h"
#include "ring3.h"

struct log {
	int calls;
	const struct dune_handler *next;
	struct dune_tf *tf;
};

#define UD2_LENGTH	2

static void ud2(void)
{
	__asm__ volatile("ud2" : : : "memory");
}

/* ---- exceptions ---- */

static void skip(struct dune_tf *tf, void *arg)
{
	struct log *log = arg;

	log->calls++;
	log->tf = tf;
	tf->rip += UD2_LENGTH;
}

static void pass_on(struct dune_tf *tf, void *arg)
{
	struct log *log = arg;

	log->calls++;
	log->tf = tf;
	log->next->intr(tf, log->next->arg);
}

DUNE_BARE static void bare_skip(struct dune_tf *tf, void *arg)
{
	(*(int *)arg)++;
	tf->rip += UD2_LENGTH;
}

static void old_skip(struct dune_tf *tf)
{
	tf->rip += UD2_LENGTH;
}

static void exceptions(int vector, void (*raise)(void))
{
	static struct log first, second;
	static int bare_calls;
	struct dune_handler before, old, now;
	const struct dune_handler a = { { .intr = skip }, &first, false }, b = { { .intr = pass_on }, &second, false },
				  c = { { .intr = bare_skip }, &bare_calls, true }, none = { { NULL }, NULL, false };

	first = second = (struct log){ 0 };
	bare_calls = 0;
	CHECK_EQUAL(dune_set_intr_handler(vector, &a, &before), 0, "the first");
	CHECK(!before.intr && !before.arg && !before.bare, "there was none before");
	raise();
	CHECK_EQUAL(first.calls, 1, "calls");
	second.next = &old;
	CHECK_EQUAL(dune_set_intr_handler(vector, &b, &old), 0, "one that calls it");
	CHECK(old.intr == skip && old.arg == &first && !old.bare, "the first was there before");
	raise();
	CHECK_EQUAL(first.calls, 2, "calls of the first");
	CHECK_EQUAL(second.calls, 1, "calls of the second");
	CHECK(first.tf == second.tf, "with the same frame");
	CHECK_EQUAL(dune_set_intr_handler(vector, NULL, &now), 0, "which one is it?");
	CHECK(now.intr == pass_on && now.arg == &second, "that one");
	if (vector < 32) {
		CHECK_EQUAL(dune_set_intr_handler(vector, &c, &now), 0, "a bare one");
		CHECK(now.intr == pass_on, "in the place of that");
		raise();
		CHECK_EQUAL(bare_calls, 1, "calls of the bare one");
		CHECK_EQUAL(dune_register_intr_handler(vector, old_skip), 0, "the short form");
		raise();
		CHECK_EQUAL(dune_set_intr_handler(vector, &c, &now), 0, "a bare one");
		CHECK(now.intr == (void (*)(struct dune_tf *, void *))(uintptr_t)old_skip && !now.arg, "after that");
	} else {
		CHECK_EQUAL(dune_set_intr_handler(vector, &c, NULL), -EINVAL, "a bare one for INT n");
	}
	CHECK_EQUAL(dune_set_intr_handler(vector, &none, &now), 0, "none");
	CHECK_EQUAL(now.bare, vector < 32, "what it was");
	CHECK_EQUAL(first.calls, 2, "calls of the first");
}

static void int_0x80(void)
{
	/* as long as ud2, which the handlers leave behind */
	__asm__ volatile("int $0x80; nop; nop" : : : "memory");
}

static void bad_arguments(void)
{
	const struct dune_handler a = { { .intr = skip }, NULL, false }, bare = { { .intr = skip }, NULL, true };
	struct dune_handler old;

	CHECK_EQUAL(dune_set_intr_handler(-1, &a, &old), -EINVAL, "vector -1");
	CHECK_EQUAL(dune_set_intr_handler(256, &a, &old), -EINVAL, "vector 256");
	CHECK_EQUAL(dune_set_intr_handler(256, NULL, &old), -EINVAL, "vector 256");
	CHECK_EQUAL(dune_set_intr_handler(6, NULL, NULL), -EINVAL, "nothing to do");
	CHECK_EQUAL(dune_set_pgflt_handler(NULL, NULL), -EINVAL, "nothing to do");
	CHECK_EQUAL(dune_set_syscall_handler(NULL, NULL), -EINVAL, "nothing to do");
	CHECK_EQUAL(dune_set_signal_handler(SIGUSR1, NULL, &old), -EINVAL, "nothing to do");
	CHECK_EQUAL(dune_set_signal_handler(SIGUSR1, &bare, &old), -EINVAL, "a bare handler of signals");
	CHECK_EQUAL(dune_set_signal_handler(SIGKILL, &a, &old), -EINVAL, "SIGKILL");
}

/* ---- page faults ---- */

static void open_page(uintptr_t addr, uint64_t fec, struct dune_tf *tf, void *arg)
{
	CHECK(fec & FEC_W && tf->cs == GD_KT, "what it was");
	(*(int *)arg)++;
	dune_vm_mprotect(dune_vm_root(), (void *)PGADDR(addr), PGSIZE, PERM_R | PERM_W);
}

static char *pages;
static ptent_t *entries;

DUNE_BARE static void bare_open(uintptr_t addr, uint64_t fec, struct dune_tf *tf, void *arg)
{
	(void)fec, (void)tf;
	(*(int *)arg)++;
	entries[PPN(addr) - PPN((uintptr_t)pages)] |= PTE_W;
}

static void page_faults(void)
{
	static volatile int calls, bare_calls;
	const struct dune_handler a = { { .pgflt = open_page }, (void *)&calls, false },
				  b = { { .pgflt = bare_open }, (void *)&bare_calls, true },
				  none = { { NULL }, NULL, false };
	struct dune_handler old;

	pages = mmap(NULL, 2 * PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(pages, 1, 2 * PGSIZE);
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), pages, 2 * PGSIZE, PERM_R), 0, "read-only");
	CHECK_EQUAL(dune_vm_lookup(dune_vm_root(), pages, CREATE_NORMAL, &entries), 0, "its entries");
	CHECK_EQUAL(dune_set_pgflt_handler(&a, &old), 0, "a handler");
	CHECK(!old.pgflt, "there was none before");
	*(volatile char *)pages = 2;
	CHECK_EQUAL(calls, 1, "calls");
	CHECK_EQUAL(dune_set_pgflt_handler(&b, &old), 0, "a bare one");
	CHECK(old.pgflt == open_page && old.arg == &calls && !old.bare, "the one before");
	((volatile char *)pages)[PGSIZE] = 2;
	CHECK_EQUAL(bare_calls, 1, "calls of the bare one");
	CHECK_EQUAL(dune_set_pgflt_handler(&none, &old), 0, "none");
	CHECK(old.pgflt == bare_open && old.arg == &bare_calls && old.bare, "the one before");
}

/* ---- system calls of ring 3 ---- */

RING3_CODE(one_call, "mov $100, %eax; syscall; ud2");

static void on_call(struct dune_tf *tf, void *arg)
{
	(*(int *)arg)++;
	dune_ret_from_user(tf->rax + 1);
}

static long on_bare_call(struct dune_tf *tf, void *arg)
{
	(*(int *)arg)++;
	dune_ret_from_user(tf->rax + 2);
}

static void old_call(struct dune_tf *tf)
{
	dune_ret_from_user(tf->rax + 3);
}

static void calls_of_ring3(void)
{
	static int calls, bare_calls;
	const struct dune_handler a = { { .syscall = on_call }, &calls, false },
				  b = { { .bare_syscall = on_bare_call }, &bare_calls, true };
	struct ring3 r = ring3_make();
	struct dune_tf tf = RING3_FRAME(&r, one_call);
	struct dune_handler old;

	CHECK_EQUAL(dune_set_syscall_handler(&a, &old), 0, "a handler");
	CHECK(!old.syscall, "there was none before");
	CHECK_EQUAL(dune_jump_to_user(&tf), 101, "its result");
	CHECK_EQUAL(calls, 1, "calls");
	CHECK_EQUAL(dune_set_syscall_handler(&b, &old), 0, "a bare one");
	CHECK(old.syscall == on_call && old.arg == &calls && !old.bare, "the one before");
	CHECK_EQUAL(dune_jump_to_user(&tf), 102, "its result");
	CHECK_EQUAL(bare_calls, 1, "calls of the bare one");
	dune_register_syscall_handler(old_call);
	CHECK_EQUAL(dune_jump_to_user(&tf), 103, "the short form");
	CHECK_EQUAL(dune_set_syscall_handler(&a, &old), 0, "a handler");
	CHECK_EQUAL(dune_jump_to_user(&tf), 101, "its result");
	CHECK_EQUAL(calls, 2, "calls");
}

/* ---- signals ---- */

static void on_signal(struct dune_tf *tf, void *arg)
{
	(void)tf;
	(*(int *)arg)++;
}

static void signals(void)
{
	static int first, second;
	const struct dune_handler a = { { .intr = on_signal }, &first, false },
				  b = { { .intr = on_signal }, &second, false },
				  none = { { NULL }, NULL, false };
	struct dune_handler old;

	CHECK_EQUAL(dune_set_signal_handler(SIGUSR1, &a, &old), 0, "a handler");
	CHECK(!old.intr, "there was none before");
	raise(SIGUSR1);
	CHECK_EQUAL(dune_set_signal_handler(SIGUSR1, &b, &old), 0, "another one");
	CHECK(old.intr == on_signal && old.arg == &first, "the one before");
	raise(SIGUSR1);
	CHECK_EQUAL(first * 10 + second, 11, "calls");
	signal(SIGUSR1, SIG_IGN);
	CHECK_EQUAL(dune_set_signal_handler(SIGUSR1, &none, &old), 0, "the default action");
	CHECK(!old.intr && !old.arg, "the program has ignored it");
}

/* ---- threads ---- */

#define ROUNDS	20000

static int mine_a, mine_b;
static volatile bool stop;
static volatile int wrong;

static void handler_a(struct dune_tf *tf, void *arg)
{
	wrong += arg != &mine_a;
	tf->rip += UD2_LENGTH;
}

static void handler_b(struct dune_tf *tf, void *arg)
{
	wrong += arg != &mine_b;
	tf->rip += UD2_LENGTH;
}

DUNE_BARE static void handler_bare(struct dune_tf *tf, void *arg)
{
	if (arg != &wrong)
		wrong = wrong + 1;
	tf->rip += UD2_LENGTH;
}

static void *register_all_the_time(void *arg)
{
	static const struct dune_handler all[] = {
		{ { .intr = handler_a }, &mine_a, false }, { { .intr = handler_b }, &mine_b, false },
		{ { .intr = handler_bare }, (void *)&wrong, true },
	};

	while (!stop)
		for (int i = 0; i < 3; i++)
			dune_set_intr_handler(T_ILLOP, &all[i], NULL);
	return arg;
}

static void threads(void)
{
	const struct dune_handler a = { { .intr = handler_a }, &mine_a, false };
	pthread_t other;

	dune_set_intr_handler(T_ILLOP, &a, NULL);
	CHECK_EQUAL(pthread_create(&other, NULL, register_all_the_time, NULL), 0, "pthread_create");
	for (int i = 0; i < ROUNDS; i++)
		ud2();
	stop = true;
	pthread_join(other, NULL);
	CHECK_EQUAL(wrong, 0, "arguments of other handlers");
}

/* Many pairs of a handler and an argument, but not without end; the same again is none. */
static void too_many(void)
{
	struct dune_handler h = { { .intr = skip }, NULL, false };
	struct log log = { 0 };
	unsigned long n;

	for (n = 0; n < 100000; n++) {
		h.arg = (char *)NULL + 16 * n;
		if (dune_set_intr_handler(0x90, &h, NULL))
			break;
	}
	CHECK(n > 1900 && n < 2100, "%lu pairs", n);
	CHECK_EQUAL(dune_set_intr_handler(0x90, &h, NULL), -ENOMEM, "one more");
	h.arg = (char *)NULL + 16;
	for (int i = 0; i < 5000; i++)
		CHECK_EQUAL(dune_set_intr_handler(0x90, &h, NULL), 0, "one that was there");
	h.arg = &log;
	CHECK_EQUAL(dune_set_intr_handler(T_ILLOP, &h, NULL), -ENOMEM, "one more");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	bad_arguments();
	exceptions(T_ILLOP, ud2);
	exceptions(0x80, int_0x80);
	page_faults();
	calls_of_ring3();
	signals();
	threads();
	too_many();
	return check_result();
}
