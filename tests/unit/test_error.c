// SPDX-License-Identifier: MIT
/* libdune's names of errors are those of the C library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

const char *__dune_error_name(int error);

static void names(void **state)
{
	(void)state;
	for (int error = -5; error < 200; error++) {
		const char *theirs = error > 0 ? strerrorname_np(error) : NULL;

		assert_string_equal(__dune_error_name(error), theirs ? theirs : "an unknown error");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
