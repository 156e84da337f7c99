// SPDX-License-Identifier: MIT
/*
 * HR3 -> GR0 -> HR3, again and again: the program's registers and vector state come through, and an
 * exception is a call of the handler in Dune mode and a signal outside.
 */
#include <setjmp.h>
#include <signal.h>

#include <dune.h>

#include "check.h"

#define ROUNDS	100

static int caught, signals;
static sigjmp_buf back;

static void on_divide(struct dune_tf *tf)
{
	caught++;
	tf->rip += 2;		/* the length of `div %ecx` */
}

static void on_signal(int signo)
{
	(void)signo;
	signals++;
	siglongjmp(back, 1);
}

static void divide(void)
{
	unsigned int result = 1;

	__asm__ volatile("div %%ecx" : "+a"(result) : "d"(0), "c"(0) : "cc");
}

int main(void)
{
	volatile int round;
	volatile double sum = 0;

	signal(SIGFPE, on_signal);
	CHECK_EQUAL(dune_init(true), 0, "dune_init");
	dune_register_intr_handler(T_DIVIDE, on_divide);
	for (round = 1; round <= ROUNDS && !check_failures; round++) {
		sum += 0.5;
		CHECK_EQUAL(dune_enter(), 0, "dune_enter");
		CHECK(dune_in_dune_mode(), "not in Dune mode");
		CHECK_EQUAL(dune_enter(), 0, "dune_enter in Dune mode");
		sum += 0.25;
		divide();
		CHECK_EQUAL(caught, round, "exceptions in Dune mode");
		CHECK_EQUAL(dune_leave(), 0, "dune_leave");
		CHECK(!dune_in_dune_mode(), "still in Dune mode");
		CHECK_EQUAL(dune_leave(), 0, "dune_leave outside Dune mode");
		if (!sigsetjmp(back, 1)) {
			divide();
			CHECK(false, "no signal outside Dune mode");
		}
		CHECK_EQUAL(signals, round, "signals outside Dune mode");
		CHECK_EQUAL(caught, round, "exceptions in Dune mode, after leaving it");
		CHECK(sum == round * 0.75, "a sum is %f", sum);
	}
	return check_result();
}
