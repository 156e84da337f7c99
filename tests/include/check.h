/* SPDX-License-Identifier: MIT */
/*
 * Checks of a test program: a failed one prints where and why and the program goes on;
 * main() ends with `return check_result();`.
 */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK_SKIP	77

/* Failures after this many are counted, not printed. */
#define CHECK_PRINTED	20

static atomic_uint check_failures __attribute__((unused));
static atomic_uint check_count __attribute__((unused));

__attribute__((unused, format(printf, 4, 5)))
static bool check_report(bool good, const char *file, int line, const char *format, ...)
{
	va_list arguments;

	check_count++;
	if (good)
		return true;
	if (check_failures++ < CHECK_PRINTED) {
		char text[512];

		va_start(arguments, format);
		vsnprintf(text, sizeof(text), format, arguments);
		va_end(arguments);
		printf("%s:%d: %s\n", file, line, text);
		fflush(stdout);
	}
	return false;
}

/* CHECK(condition, "text", ...): its value is the condition's. */
#define CHECK(condition, ...)	check_report(!!(condition), __FILE__, __LINE__, __VA_ARGS__)

/* Of two numbers; says both. */
#define CHECK_EQUAL(is, wanted, what) do {							\
	long long is_ = (long long)(is), wanted_ = (long long)(wanted);				\
	CHECK(is_ == wanted_, "%s: %lld (%#llx), expected %lld (%#llx)", what, is_, is_, wanted_, wanted_); \
} while (0)

/* A call in the manner of the C library that must fail with @error. */
#define CHECK_ERRNO(call, error, what) do {							\
	long result_;										\
	errno = 0;										\
	result_ = (long)(call);									\
	CHECK(result_ == -1 && errno == (error), "%s: result %ld, %s; expected %s", what,	\
	      result_, result_ == -1 ? strerrorname_np(errno) : "no error", strerrorname_np(error)); \
} while (0)

/* The machine does not do what the test needs. */
#define DIE_UNLESS(condition, what) do {							\
	if (!(condition)) {									\
		printf("%s:%d: %s: %s\n", __FILE__, __LINE__, what, strerror(errno));		\
		fflush(stdout);									\
		_exit(1);									\
	}											\
} while (0)

__attribute__((unused)) static int check_result(void)
{
	if (check_failures)
		printf("%u of %u checks failed\n", check_failures, check_count);
	else if (!check_count)
		printf("nothing was checked\n");
	else
		printf("%u checks\n", check_count);
	return check_failures || !check_count;
}

__attribute__((unused)) static double check_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

#endif
