// SPDX-License-Identifier: MIT
/*
 * Names of functions out of files that are damaged at random: whatever is found, nothing outside a buffer is touched,
 * the name ends, and it takes no time worth speaking of.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <errno.h>

#include <cmocka.h>
#include <elf.h>

#define ROUNDS	3000

/* As libdune has them. */
bool __dune_symbol(const char *path, uint64_t offset, char *name, size_t size, uint64_t *distance);
long dune_syscall(long nr, long a, long b, long c, long d, long e, long f);

static unsigned long calls;

long dune_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret = syscall(nr, a, b, c, d, e, f);

	calls++;
	return ret == -1 ? -errno : ret;
}

static char *image;
static size_t size;
static char path[] = "/tmp/test_symbol.XXXXXX";
static uint64_t offset_of_main;

static uint64_t random_number(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static void write_file(const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

/* This program itself, and where one of its functions lies in the file. */
static int load(void **state)
{
	struct stat st;
	int fd = open("/proc/self/exe", O_RDONLY);
	const Elf64_Ehdr *header;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	size = st.st_size;
	image = malloc(size);
	assert_int_equal(read(fd, image, size), size);
	close(fd);
	close(mkstemp(path));
	header = (const Elf64_Ehdr *)image;
	offset_of_main = 0;
	for (unsigned int i = 0; i < header->e_shnum; i++) {
		const Elf64_Shdr *s = (const Elf64_Shdr *)(image + header->e_shoff) + i;
		const Elf64_Shdr *strings = (const Elf64_Shdr *)(image + header->e_shoff) + s->sh_link;

		if (s->sh_type != SHT_SYMTAB)
			continue;
		for (unsigned int k = 0; k < s->sh_size / sizeof(Elf64_Sym); k++) {
			const Elf64_Sym *symbol = (const Elf64_Sym *)(image + s->sh_offset) + k;
			const Elf64_Phdr *p = (const Elf64_Phdr *)(image + header->e_phoff);

			if (strcmp(image + strings->sh_offset + symbol->st_name, "main"))
				continue;
			for (unsigned int j = 0; j < header->e_phnum; j++)
				if (p[j].p_type == PT_LOAD && symbol->st_value - p[j].p_vaddr < p[j].p_filesz)
					offset_of_main = symbol->st_value - p[j].p_vaddr + p[j].p_offset;
		}
	}
	assert_true(offset_of_main);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	unlink(path);
	free(image);
	return 0;
}

/* The buffer is from malloc(), so that the sanitizer sees a byte too many. */
static bool look(size_t name_size, char **name, uint64_t *distance)
{
	bool found;

	*name = malloc(name_size);
	memset(*name, 'x', name_size);
	found = __dune_symbol(path, offset_of_main + 3, *name, name_size, distance);
	if (found) {
		assert_non_null(memchr(*name, 0, name_size));
		assert_true(**name);
	}
	return found;
}

static void undamaged(void **state)
{
	uint64_t distance = 0;
	char *name;

	(void)state;
	write_file(image, size);
	assert_true(look(64, &name, &distance));
	assert_string_equal(name, "main");
	assert_int_equal(distance, 3);
	free(name);
	assert_true(look(3, &name, &distance));
	assert_string_equal(name, "ma");
	free(name);
	assert_false(__dune_symbol("/nowhere", 0, (char[8]){ 0 }, 8, &distance));
	assert_false(__dune_symbol("/", 0, (char[8]){ 0 }, 8, &distance));
	assert_false(__dune_symbol("/dev/zero", 0, (char[8]){ 0 }, 8, &distance));
}

/* Where the numbers are: the header, the program headers, the section headers, the symbols. */
static size_t place(void)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;

	switch (random_number() % 4) {
	case 0:
		return random_number() % sizeof(*header);
	case 1:
		return header->e_phoff + random_number() % (header->e_phnum * sizeof(Elf64_Phdr));
	case 2:
		return header->e_shoff + random_number() % (header->e_shnum * sizeof(Elf64_Shdr));
	}
	return random_number() % size;
}

static void damaged(void **state)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	unsigned long found = 0;
	char *copy = malloc(size);

	(void)state;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int n = 1 + random_number() % 8;
		uint64_t distance;
		char *name;

		memcpy(copy, image, size);
		while (n--) {
			size_t at = place(), length = 1 + random_number() % 8;

			for (; length-- && at < size; at++)
				copy[at] = random_number() % 2 ? values[random_number() % 5] : random_number();
		}
		write_file(copy, random_number() % 8 ? size : random_number() % size);
		calls = 0;
		found += look(1 + random_number() % 40 + 1, &name, &distance);
		assert_true(calls < 200000);
		free(name);
	}
	/* Not all damage is where it matters. */
	assert_true(found > ROUNDS / 10 && found < ROUNDS);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undamaged),
		cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
