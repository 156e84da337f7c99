// SPDX-License-Identifier: MIT
/* libdune's formatter says what the C library's says. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

size_t __dune_format(char *buf, size_t size, const char *fmt, va_list args);

static size_t format(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t length;

	va_start(args, fmt);
	length = __dune_format(buf, size, fmt, args);
	va_end(args);
	return length;
}

#define SAME(...) do {						\
	char ours[256], theirs[256];				\
	size_t length = format(ours, sizeof(ours), __VA_ARGS__);	\
								\
	assert_int_equal(length, snprintf(theirs, sizeof(theirs), __VA_ARGS__)); \
	assert_string_equal(ours, theirs);			\
} while (0)

static void text(void **state)
{
	(void)state;
	SAME("%s", "");
	SAME("plain, 100%%");
	SAME("%s and %s", "one", "another");
	SAME("[%10s] [%-10s] [%.2s] [%10.3s] [%-*.*s]", "abc", "abc", "abc", "abcdef", 8, 2, "abc");
	SAME("%c%c [%3c] [%-3c]", 'a', 'b', 'c', 'd');
}

static void integers(void **state)
{
	(void)state;
	SAME("%d %i %u %x %X %o", 1, -1, 1U, 0xabcU, 0xabcU, 8U);
	SAME("%d %d %d", 0, INT_MAX, INT_MIN);
	SAME("%ld %ld %lu", LONG_MAX, LONG_MIN, ULONG_MAX);
	SAME("%lld %llx %zu %zd %jd %td", LLONG_MIN, ULLONG_MAX, (size_t)5, (ssize_t)-5, (intmax_t)7, (ptrdiff_t)-7);
	SAME("%hd %hu %hhd %hhu", (short)-2, (unsigned short)65535, (signed char)-3, (unsigned char)255);
}

static void widths(void **state)
{
	(void)state;
	SAME("[%5d] [%-5d] [%05d] [%+d] [% d]", 42, 42, 42, 42, 42);
	SAME("[%5d] [%-5d] [%05d] [%+d] [% d]", -42, -42, -42, -42, -42);
	SAME("[%.5d] [%8.5d] [%-8.5d] [%.0d] [%.0d]", 42, 42, 42, 0, 1);
	SAME("[%#x] [%#X] [%#o] [%#x] [%#010x]", 255U, 255U, 8U, 0U, 255U);
	SAME("[%016lx] [%08lx]", 0x123456789abcUL, 0x1UL);
	SAME("[%*d] [%*d]", 6, 1, -6, 1);
	SAME("[%p]", (void *)0x1234);
}

static void room(void **state)
{
	char small[8] = "xxxxxxx";

	(void)state;
	assert_int_equal(format(small, 4, "%s", "abcdef"), 6);
	assert_string_equal(small, "abc");
	assert_int_equal(small[4], 'x');
	assert_int_equal(format(small, 1, "%d", 12345), 5);
	assert_string_equal(small, "");
	assert_int_equal(format(NULL, 0, "%d", 12345), 5);
}

static void unknown(void **state)
{
	char out[32];

	(void)state;
	format(out, sizeof(out), "%q %d", 5);
	assert_string_equal(out, "%q 5");
	format(out, sizeof(out), "end %");
	assert_string_equal(out, "end %");
	format(out, sizeof(out), "%s", (char *)NULL);
	assert_string_equal(out, "(null)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(integers),
		cmocka_unit_test(widths),
		cmocka_unit_test(room),
		cmocka_unit_test(unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
