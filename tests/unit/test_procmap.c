// SPDX-License-Identifier: MIT
/* Lines of /proc/self/maps: all that the kernel prints, this process's own, and nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/procmap.h"

static struct dune_procmap_entry entry;
static char *buffer;

/* On the heap, exactly as long, so that a sanitizer sees a byte too many. */
static bool parse(const char *line)
{
	size_t length = strlen(line);

	free(buffer);
	buffer = malloc(length + 1);
	memcpy(buffer, line, length);
	buffer[length] = '\n';
	return __dune_procmap_parse(buffer, length, &entry);
}

static void fields(void **state)
{
	(void)state;
	assert_true(parse("00400000-0040b000 r-xp 00002000 08:01 1234567                            /bin/cat"));
	assert_int_equal(entry.begin, 0x400000);
	assert_int_equal(entry.end, 0x40b000);
	assert_int_equal(entry.offset, 0x2000);
	assert_true(entry.r && !entry.w && entry.x && entry.p);
	assert_string_equal(entry.path, "/bin/cat");
	assert_int_equal(entry.type, PROCMAP_TYPE_FILE);

	assert_true(parse("7ffff7fc1000-7ffff7fc5000 -w-s fffffffffff000 fe:01 18446744073709551615 /dev/zero"));
	assert_true(!entry.r && entry.w && !entry.x && !entry.p);
	assert_int_equal(entry.offset, 0xfffffffffff000);
	assert_string_equal(entry.path, "/dev/zero");

	/* No name: with the blank at the end, as printed, and without. */
	assert_true(parse("7ffff7fc1000-7ffff7fc5000 rw-p 00000000 00:00 0 "));
	assert_string_equal(entry.path, "");
	assert_int_equal(entry.type, PROCMAP_TYPE_ANONYMOUS);
	assert_true(parse("7ffff7fc1000-7ffff7fc5000 rw-p 00000000 00:00 0"));
	assert_string_equal(entry.path, "");
	/* Device numbers of any length. */
	assert_true(parse("1000-2000 ---p 00000000 fff:fffff 1 /x"));
}

static void types(void **state)
{
	static const struct {
		const char *path;
		int type;
	} names[] = {
		{ "[heap]", PROCMAP_TYPE_HEAP },
		{ "[stack]", PROCMAP_TYPE_STACK },
		{ "[stack:4711]", PROCMAP_TYPE_STACK },
		{ "[vdso]", PROCMAP_TYPE_VDSO },
		{ "[vvar]", PROCMAP_TYPE_VVAR },
		{ "[vvar_vclock]", PROCMAP_TYPE_VVAR },
		{ "[vsyscall]", PROCMAP_TYPE_VSYSCALL },
		{ "[anon:a name]", PROCMAP_TYPE_ANONYMOUS },
		{ "[anon_shmem:x]", PROCMAP_TYPE_ANONYMOUS },
		{ "[uprobes]", PROCMAP_TYPE_UNKNOWN },
		{ "[", PROCMAP_TYPE_UNKNOWN },
		{ "/tmp/[heap]", PROCMAP_TYPE_FILE },
		{ "/", PROCMAP_TYPE_FILE },
		{ "anon_inode:[dune]", PROCMAP_TYPE_FILE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char line[128];

		snprintf(line, sizeof(line), "1000-2000 rw-p 00000000 00:00 0                          %s",
			 names[i].path);
		assert_true(parse(line));
		assert_string_equal(entry.path, names[i].path);
		assert_int_equal(entry.type, names[i].type);
	}
}

static void paths(void **state)
{
	static char line[PROCMAP_LINE_MAX];
	char *p = line;

	(void)state;
	assert_true(parse("1000-2000 r--p 00000000 08:01 12                             /tmp/a name  with blanks "));
	assert_string_equal(entry.path, "/tmp/a name  with blanks ");
	assert_true(parse("1000-2000 r--p 00000000 08:01 12                             /tmp/gone (deleted)"));
	assert_string_equal(entry.path, "/tmp/gone (deleted)");
	assert_true(parse("1000-2000 r--p 00000000 08:01 12                             /tmp/new\\012line"));
	assert_string_equal(entry.path, "/tmp/new\\012line");
	assert_true(parse("1000-2000 r--p 00000000 08:01 12                             /\xc3\xa4\xff\x01"));
	assert_string_equal(entry.path, "/\xc3\xa4\xff\x01");
	/* So long an inode that the column is passed. */
	assert_true(parse("7ffff7fc1000-7ffff7fc5000 rw-p 1234567890123456 fffff:fffff 18446744073709551615 /x"));
	assert_string_equal(entry.path, "/x");

	p += sprintf(p, "1000-2000 r--p 00000000 08:01 12 ");
	memset(p, 'a', 4095);
	*p = '/';
	p[4095] = 0;
	assert_true(parse(line));
	assert_int_equal(strlen(entry.path), 4095);
}

static void nonsense(void **state)
{
	static const char *const lines[] = {
		"",
		" ",
		"-",
		"1000",
		"1000-",
		"1000-2000",
		"1000-2000 ",
		"1000-2000 rwx",
		"1000-2000 rwxp",
		"1000-2000 rwxp ",
		"1000-2000 rwxp 0",
		"1000-2000 rwxp 0 ",
		"1000-2000 rwxp 0 08:01",
		"1000-2000 rwxp 0 08:01 ",
		"1000-2000 rwxz 0 08:01 1",
		"1000-2000 xwrp 0 08:01 1",
		"2000-1000 rwxp 0 08:01 1",
		"1000-1000 rwxp 0 08:01 1",
		"1000-2000 rwxp 0 08-01 1",
		"1000-2000 rwxp 0 08:01 1x",
		"g000-2000 rwxp 0 08:01 1",
		" 1000-2000 rwxp 0 08:01 1",
		"10000000000000000-2000 rwxp 0 08:01 1",
		"1000-2000 rwxp 0 08:01 99999999999999999999",
		"1000-2000 RWXP 0 08:01 1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (parse(lines[i]))
			fail_msg("taken for good: %s", lines[i]);
}

/* Good lines with a byte changed, or cut off: no access goes beyond, and the path stays in the line. */
static void random_lines(void **state)
{
	static const char good[] = "7ffff7fc1000-7ffff7fc5000 rw-p 00001000 08:01 1234567   /usr/lib/some file";
	unsigned int seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		char line[sizeof(good)];
		size_t length = sizeof(good) - 1;

		memcpy(line, good, sizeof(good));
		seed = seed * 1103515245 + 12345;
		if (seed >> 28 == 0)
			line[length = seed >> 8 & 63] = 0;
		for (unsigned int n = seed >> 30; n && length; n--) {
			seed = seed * 1103515245 + 12345;
			line[(seed >> 8) % length] = 1 + (seed >> 16) % 255;
		}
		parse(line);
		assert_true(entry.path >= buffer && entry.path <= buffer + strlen(line));
	}
}

static void own(void **state)
{
	FILE *file = fopen("/proc/self/maps", "r");
	static char line[PROCMAP_LINE_MAX];
	int count = 0;

	(void)state;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		assert_true(parse(line));
		count++;
	}
	assert_true(count > 5);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(types),
		cmocka_unit_test(paths),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(random_lines),
		cmocka_unit_test(own),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(buffer);
	return failed;
}
