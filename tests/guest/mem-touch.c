// SPDX-License-Identifier: MIT
/*
 * The first touch of memory, by whichever side and in whichever way, and a write after a
 * read: both sides see the same page.
 */
#include "mem.h"

#define VALUE	0x123456789abcdefUL

static struct ordinary *outside;

/* By turns: the one who touches, and the one who looks. */
static void anonymous(struct ordinary *toucher, struct ordinary *other)
{
	char *p = map_anon(8 * PAGE);

	/* Read, by both; then written: what was the page of zeros must not stay mapped. */
	CHECK_EQ(see(toucher, p), 0);
	CHECK_EQ(see(other, p), 0);
	put(toucher, p, VALUE);
	BOTH_SEE(outside, p, VALUE);

	/* Read by one, written by the other. */
	CHECK_EQ(see(toucher, p + PAGE), 0);
	put(other, p + PAGE, VALUE + 1);
	BOTH_SEE(outside, p + PAGE, VALUE + 1);

	/* Written at once. */
	put(toucher, p + 2 * PAGE, VALUE + 2);
	BOTH_SEE(outside, p + 2 * PAGE, VALUE + 2);
	put(other, p + 2 * PAGE, VALUE + 3);
	BOTH_SEE(outside, p + 2 * PAGE, VALUE + 3);

	/* The neighbours are untouched still. */
	CHECK(!(pagemap(p + 3 * PAGE) >> 63));
	BOTH_SEE(outside, p + 3 * PAGE, 0);

	/* Both look at one physical page, which is not that of zeros. */
	CHECK((pagemap(p) & ((1UL << 55) - 1)) != (pagemap(p + 3 * PAGE) & ((1UL << 55) - 1)));
	munmap(p, 8 * PAGE);
}

static void private_file(struct ordinary *toucher, struct ordinary *other)
{
	int fd = new_file(4, 100);
	char *p = map(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd);
	uint64_t word = 77;

	CHECK_EQ(see(toucher, p), 100);
	CHECK_EQ(see(other, p), 100);
	/* Not written yet: a change of the file shows. */
	CHECK(pwrite(fd, &word, 8, 0) == 8);
	BOTH_SEE(outside, p, 77);

	put(toucher, p, VALUE);
	BOTH_SEE(outside, p, VALUE);
	CHECK_EQ(file_word(fd, 0), 77);
	word = 78;
	CHECK(pwrite(fd, &word, 8, 0) == 8);
	BOTH_SEE(outside, p, VALUE);

	put(toucher, p + PAGE, VALUE);		/* never read before */
	BOTH_SEE(outside, p + PAGE, VALUE);
	CHECK_EQ(file_word(fd, PAGE), 101);
	munmap(p, 4 * PAGE);
	close(fd);
}

static void shared_file(struct ordinary *toucher, struct ordinary *other)
{
	int fd = new_file(4, 100);
	char *p = map(NULL, 4 * PAGE, RW, MAP_SHARED, fd);
	uint64_t word = VALUE + 1;

	CHECK_EQ(see(toucher, p), 100);
	put(toucher, p, VALUE);
	CHECK_EQ(see(other, p), VALUE);
	CHECK_EQ(file_word(fd, 0), VALUE);
	put(other, p + PAGE, VALUE);
	CHECK_EQ(see(toucher, p + PAGE), VALUE);
	CHECK_EQ(file_word(fd, PAGE), VALUE);
	CHECK(pwrite(fd, &word, 8, 0) == 8);
	BOTH_SEE(outside, p, VALUE + 1);
	munmap(p, 4 * PAGE);
	close(fd);
}

/* The kernel touches first: the guest's system call fills the page. */
static void by_the_kernel(void)
{
	char *p = map_anon(4 * PAGE);
	int ends[2];

	CHECK(!pipe(ends));
	CHECK(write(ends[1], "12345678", 9) == 9);
	CHECK(read(ends[0], p + PAGE - 4, 9) == 9);	/* across two pages */
	CHECK(!strcmp(p + PAGE - 4, "12345678"));
	CHECK_EQ(see(outside, p + PAGE - 8), see(HERE, p + PAGE - 8));

	CHECK_EQ(see(HERE, p + 2 * PAGE), 0);		/* the page of zeros is mapped for reading */
	CHECK(write(ends[1], "abcdefg", 8) == 8);
	CHECK(read(ends[0], p + 2 * PAGE, 8) == 8);
	CHECK(!strcmp(p + 2 * PAGE, "abcdefg"));
	munmap(p, 4 * PAGE);
	close(ends[0]);
	close(ends[1]);
}

/* An instruction can touch two pages that are both new, for reading and for writing. */
static void across_pages(void)
{
	char *p = map_anon(16 * PAGE);
	uint64_t word = VALUE;

	memcpy(p + PAGE - 3, &word, 8);
	CHECK_EQ(see(outside, p + PAGE - 3), VALUE);
	CHECK_EQ(see(HERE, p + 3 * PAGE - 4), 0);
	__asm__ volatile("lock addq %1, %0" : "+m"(*(uint64_t *)(p + 5 * PAGE - 8)) : "r"(word));
	BOTH_SEE(outside, p + 5 * PAGE - 8, VALUE);
	/* From page to page, both new. */
	__asm__ volatile("movsq" : : "S"(p + 6 * PAGE), "D"(p + 8 * PAGE - 4) : "memory");
	BOTH_SEE(outside, p + 8 * PAGE - 4, 0);
	munmap(p, 16 * PAGE);
}

static void lots(void)
{
	const unsigned int n = 2000;
	char *p = map_anon(n * PAGE);

	madvise(p, n * PAGE, MADV_NOHUGEPAGE);
	for (unsigned int i = 0; i < n; i++)
		put(i & 1 ? HERE : outside, p + i * PAGE, i);
	for (unsigned int i = 0; i < n; i++)
		CHECK_EQ(see(i & 1 ? outside : HERE, p + i * PAGE), i);
	munmap(p, n * PAGE);
}

/* Memory mapped between dune_init() and dune_enter(), and by another thread after it. */
static void *late, *later;

static void late_mappings(void)
{
	CHECK_EQ(see(HERE, late), 0);
	put(HERE, late, VALUE);
	BOTH_SEE(outside, late, VALUE);
	CHECK_EQ(see(outside, later), 0);
	CHECK_EQ(see(HERE, (char *)later + GIB), 0);
	put(HERE, later, VALUE);
	BOTH_SEE(outside, later, VALUE);
}

int main(void)
{
	outside = ordinary_thread();
	if (!no_dune())
		CHECK_EQ(dune_init(false), 0);
	late = map_anon(4 * PAGE);
	enter();
	later = (void *)ask(outside, job_map, 0, 2 * GIB, PROT_READ | PROT_WRITE);
	CHECK(later != MAP_FAILED);

	late_mappings();
	anonymous(HERE, outside);
	anonymous(outside, HERE);
	private_file(HERE, outside);
	private_file(outside, HERE);
	shared_file(HERE, outside);
	shared_file(outside, HERE);
	by_the_kernel();
	across_pages();
	lots();
	return 0;
}
