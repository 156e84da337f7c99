// SPDX-License-Identifier: MIT
/* bench/check.c: which paths count as longer, and that none is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "../../bench/bench.h"
#include <cmocka.h>

#define HEAD	"# SPDX-License-Identifier: MIT\n#\n# kernel 1.0-no-such-kernel\n#\n"

static void with_baseline(const char *lines)
{
	char path[] = "/tmp/baseline.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(dprintf(fd, HEAD "%s", lines), strlen(HEAD) + strlen(lines));
	close(fd);
	bench_check_open(path);
	unlink(path);
}

/* The kernel that runs is another one than the baseline's. */
static void longer_fails_on_any_kernel(void **state)
{
	(void)state;
	with_baseline("through the kernel\t1000\n");
	assert_false(bench_check("through the kernel", 1031, 0, false));
	assert_true(bench_check("through the kernel", 1031, 0, true));
	assert_false(bench_check_end(true));
	with_baseline("through the kernel\t1000\n");
	assert_true(bench_check("through the kernel", 1029, 0, false));
	assert_true(bench_check_end(true));
}

static void only_what_is_longer_than_outside_counts(void **state)
{
	(void)state;
	with_baseline("call\t1000\t300\n");
	assert_false(bench_check("call", 1100, 0, false));
	assert_true(bench_check("call", 1100, 380, false));
	assert_true(bench_check_end(true));
	with_baseline("call\t1000\t300\n");
	assert_false(bench_check("call", 1100, 360, false));
	/* As long as it was, but shorter outside. */
	assert_false(bench_check("call", 1000, 260, false));
	assert_true(bench_check("call", 960, 260, false));
	assert_true(bench_check_end(true));
}

static void none_is_left_out(void **state)
{
	(void)state;
	with_baseline("one\t1000\ntwo\t1000\n");
	assert_true(bench_check("one", 1000, 0, false));
	assert_false(bench_check_end(true));
	with_baseline("one\t1000\ntwo\t1000\n");
	assert_true(bench_check("one", 1000, 0, false));
	assert_true(bench_check_end(false));
	with_baseline("one\t1000\n");
	assert_true(bench_check("new", 1, 0, true));
	assert_false(bench_check_end(false));
	with_baseline("one\t1000\ntwo\t1000\n");
	assert_true(bench_check("one", 1000, 0, false));
	bench_check_failed("two", "a program is missing", true);
	assert_false(bench_check_end(true));
	with_baseline("one\t1000\n");
	assert_true(bench_check("one", 1000, 0, false));
	bench_check_failed("an instruction of another machine's", "it is not here", true);
	assert_true(bench_check_end(true));
	bench_check_failed("new", "it died", false);
	assert_false(bench_check_end(true));
}

static void nothing_compared_is_no_success(void **state)
{
	(void)state;
	with_baseline("one\t1000\n");
	assert_false(bench_check_end(false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longer_fails_on_any_kernel),
		cmocka_unit_test(only_what_is_longer_than_outside_counts),
		cmocka_unit_test(none_is_left_out),
		cmocka_unit_test(nothing_compared_is_no_success),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
