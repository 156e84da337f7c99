// SPDX-License-Identifier: MIT
/* The clock by which a machine's limits go, with processes and a load that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../scripts/testbed.d/clock.h"

static char root[] = "/tmp/test_clock.XXXXXX";
static struct clock now;
static double host;

static void write_file(const char *text, const char *format, int pid, int tid)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), format, root, pid, tid);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void thread(int pid, int tid)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%d", root, pid);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d/task", root, pid);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d/task/%d", root, pid, tid);
	mkdir(path, 0755);
	write_file("", "%s/%d/task/%d/children", pid, tid);
}

/* In all its life. */
static void has(int pid, int tid, double ran, double waited)
{
	char text[64];

	snprintf(text, sizeof(text), "%.0f %.0f 7\n", ran * 1e9, waited * 1e9);
	write_file(text, "%s/%d/task/%d/schedstat", pid, tid);
}

/* What the clock has gone on by when @seconds of the host are over. */
static double after(double seconds)
{
	double before = now.seconds;

	host += seconds;
	clock_look(&now, 1, host);
	return now.seconds - before;
}

static int setup(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s/*", root);
	if (system(command))
		return 1;
	host = 1000;
	clock_start(&now, 1, host);
	thread(1, 1);
	has(1, 1, 0, 0);
	return 0;
}

static void asleep(void **state)
{
	(void)state;
	assert_float_equal(after(5), 5, 1e-6);
	assert_float_equal(after(0.2), 0.2, 1e-6);
}

static void alone(void **state)
{
	(void)state;
	has(1, 1, 5, 0);
	assert_float_equal(after(5), 5, 1e-6);
}

/* A tenth of a CPU. */
static void busy_host(void **state)
{
	double seconds = 0;

	(void)state;
	for (int i = 1; i <= 50; i++) {
		has(1, 1, i * 0.02, i * 0.18);
		seconds += after(0.2);
	}
	assert_float_equal(seconds, 1, 1e-6);
	assert_float_equal(now.got, 1, 1e-6);
	assert_float_equal(now.waited, 9, 1e-6);
	/* It wants nothing any more. */
	assert_float_equal(after(3), 3, 1e-6);
}

/* Wants a CPU half of the time, and gets it half of that. */
static void half_asleep(void **state)
{
	(void)state;
	has(1, 1, 1, 1);
	assert_float_equal(after(4), 3, 1e-6);
}

/* Both wait at the same time. */
static void two_threads(void **state)
{
	(void)state;
	thread(1, 2);
	has(1, 1, 1, 9);
	has(1, 2, 1, 9);
	assert_float_equal(after(10), 1, 1e-6);
}

/* One after the other: each has half of the time, and waits for most of its half. */
static void in_turn(void **state)
{
	(void)state;
	thread(1, 2);
	has(1, 1, 0.5, 4.5);
	has(1, 2, 0.5, 4.5);
	assert_float_equal(after(10), 1, 1e-6);
}

/* Four that get three quarters of a CPU each. */
static void many_threads(void **state)
{
	(void)state;
	for (int tid = 1; tid <= 4; tid++) {
		thread(1, tid);
		has(1, tid, 7.5, 2.5);
	}
	assert_float_equal(after(10), 7.5, 1e-6);
}

static void state_is(int pid, int tid, char letter)
{
	char text[64];

	snprintf(text, sizeof(text), "%d (a) S) %c 1 1 1\n", tid, letter);
	write_file(text, "%s/%d/task/%d/stat", pid, tid);
}

/* The kernel tells of a long wait when it is over; until then the thread is seen to want a CPU. */
static void told_later(void **state)
{
	(void)state;
	state_is(1, 1, 'R');
	assert_float_equal(after(1), 0, 1e-6);
	has(1, 1, 0.1, 0.4);
	assert_float_equal(after(1), 0.1, 1e-6);
	has(1, 1, 0.1, 2.4);
	state_is(1, 1, 'S');
	assert_float_equal(after(0.5), 0, 1e-6);
	assert_float_equal(after(1), 1, 1e-6);
}

/* It wanted a CPU just when it was looked at, and had slept before. */
static void taken_for_a_wait(void **state)
{
	double seconds = 0;

	(void)state;
	for (int i = 1; i <= 20; i++) {
		state_is(1, 1, i % 2 ? 'R' : 'S');
		has(1, 1, i * 0.01, 0);
		seconds += after(0.2);
	}
	assert_float_equal(seconds, 4, 1e-6);
}

/* It runs all the time, which the kernel tells each 4 ms. */
static void told_by_ticks(void **state)
{
	double seconds = 0;

	(void)state;
	state_is(1, 1, 'R');
	for (int i = 1; i <= 1000; i++) {
		has(1, 1, (int)(i * 0.101 / 0.004) * 0.004, 0);
		seconds += after(0.101);
	}
	assert_float_equal(seconds, 101, 0.1);
}

/* Looking at it all the time tells no more, and no less. */
static void looked_at_often(void **state)
{
	double seconds = 0;

	(void)state;
	for (int i = 1; i <= 1000; i++) {
		has(1, 1, i * 0.001, i * 0.009);
		seconds += after(0.01);
	}
	assert_float_equal(seconds, 1, 0.02);
}

static void children(void **state)
{
	(void)state;
	thread(20, 20);
	thread(20, 21);
	thread(30, 30);
	write_file("20 ", "%s/%d/task/%d/children", 1, 1);
	write_file("30 ", "%s/%d/task/%d/children", 20, 21);
	has(20, 20, 0, 0);
	has(20, 21, 0, 0);
	has(30, 30, 1, 9);
	assert_float_equal(after(10), 1, 1e-6);
	/* Another one gets the number. */
	write_file("", "%s/%d/task/%d/children", 20, 21);
	assert_float_equal(after(1), 1, 1e-6);
	write_file("30 ", "%s/%d/task/%d/children", 20, 21);
	has(30, 30, 0.5, 0.5);
	assert_float_equal(after(1), 0.5, 1e-6);
}

/* Who is the parent of those that are looked at. */
static void whoever_looks(void **state)
{
	(void)state;
	thread(getpid(), getpid());
	state_is(getpid(), getpid(), 'R');
	has(getpid(), getpid(), 0.1, 0.7);
	thread(40, 40);
	write_file("40", "%s/%d/task/%d/children", getpid(), getpid());
	has(40, 40, 0, 0.4);
	host += 1;
	clock_look(&now, getpid(), host);
	assert_float_equal(now.seconds, 0.6, 1e-6);
}

static void slow_host(void **state)
{
	(void)state;
	clock_start(&now, 0.25, host);
	has(1, 1, 2, 2);
	assert_float_equal(after(4), 0.5, 1e-6);
}

/* Without what the kernel may lack, it is the host's clock. */
static void no_schedstat(void **state)
{
	(void)state;
	write_file("", "%s/%d/task/%d/schedstat", 1, 1);
	assert_float_equal(after(3), 3, 1e-6);
	host += 1;
	clock_look(&now, 99, host);
	assert_float_equal(now.seconds, 4, 1e-6);
}

static void many_more(void **state)
{
	(void)state;
	for (int tid = 1; tid <= CLOCK_THREADS + 20; tid++) {
		thread(1, tid);
		has(1, tid, 0.01, 0);
	}
	assert_float_equal(after(10), 10, 1e-6);
}

static void speed(void **state)
{
	double first = clock_speed();

	(void)state;
	assert_true(first > 0 && first <= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(asleep, setup),
		cmocka_unit_test_setup(alone, setup),
		cmocka_unit_test_setup(busy_host, setup),
		cmocka_unit_test_setup(half_asleep, setup),
		cmocka_unit_test_setup(two_threads, setup),
		cmocka_unit_test_setup(in_turn, setup),
		cmocka_unit_test_setup(many_threads, setup),
		cmocka_unit_test_setup(told_later, setup),
		cmocka_unit_test_setup(taken_for_a_wait, setup),
		cmocka_unit_test_setup(told_by_ticks, setup),
		cmocka_unit_test_setup(looked_at_often, setup),
		cmocka_unit_test_setup(children, setup),
		cmocka_unit_test_setup(whoever_looks, setup),
		cmocka_unit_test_setup(slow_host, setup),
		cmocka_unit_test_setup(no_schedstat, setup),
		cmocka_unit_test_setup(many_more, setup),
		cmocka_unit_test(speed),
	};
	char command[64];
	int result;

	if (!mkdtemp(root))
		return 1;
	clock_proc = root;
	result = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command) ? 1 : result;
}
