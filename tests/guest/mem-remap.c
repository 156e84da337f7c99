// SPDX-License-Identifier: MIT
/*
 * Memory that is taken away and put back at the same address: munmap() and mmap(),
 * mremap(), madvise(), by the guest and by an ordinary thread. Whoever looks finds what is there now,
 * never what was.
 */
#include "outcome.h"

static struct ordinary *outside;

static long job_map_file(long p, long fd, long offset)
{
	return (long)mmap((void *)p, PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, offset);
}

static struct ordinary *by_turns(unsigned int i)
{
	return i & 1 ? outside : HERE;
}

static void same_place(void)
{
	int fd = new_file(4, 500);
	char *p = map_anon(4 * PAGE);

	for (unsigned int i = 0; i < 200; i++) {
		put(by_turns(i / 2), p, i + 1);
		BOTH_SEE(outside, p, i + 1);
		CHECK_EQ(ask(by_turns(i), job_munmap, (long)p, PAGE, 0), 0);
		CHECK_EQ(ask(by_turns(i / 4), job_map, (long)p, PAGE, RW), (long)p);
		BOTH_SEE(outside, p, 0);
	}
	/* Replaced in one step, by what has contents. */
	for (unsigned int i = 0; i < 50; i++) {
		put(HERE, p + PAGE, 9);
		CHECK_EQ(ask(by_turns(i), job_map_file, (long)p + PAGE, fd, (i & 3) * PAGE), (long)p + PAGE);
		BOTH_SEE(outside, p + PAGE, 500 + (i & 3));
	}
	munmap(p, 4 * PAGE);
	close(fd);
}

/* ---- mremap ---- */

static long job_mremap(long p, long sizes, long to)
{
	return (long)mremap((void *)p, sizes >> 32, (uint32_t)sizes,
			    MREMAP_MAYMOVE | (to ? MREMAP_FIXED : 0), (void *)to);
}

static char *remap(struct ordinary *o, char *p, unsigned long old, unsigned long new, char *to)
{
	char *moved = (char *)ask(o, job_mremap, (long)p, old << 32 | new, (long)to);

	CHECK(moved != MAP_FAILED);
	return moved;
}

/* Each page holds its number; the guest has it all mapped. */
static void number_pages(char *p, unsigned long size)
{
	for (unsigned long at = 0; at < size; at += PAGE)
		*(volatile uint64_t *)(p + at) = at / PAGE + 1;
}

static void check_numbers(char *p, unsigned long size)
{
	for (unsigned long at = 0; at < size; at += PAGE)
		CHECK_EQ(*(volatile uint64_t *)(p + at), at / PAGE + 1);
	BOTH_SEE(outside, p, 1);
	BOTH_SEE(outside, p + size - PAGE, size / PAGE);
}

static void moving(struct ordinary *mover, unsigned long size, unsigned long align)
{
	char *p = map_aligned(size, align), *to = map_aligned(4 * size, align), *moved;

	/* There, over something that was there; the old place is free for something new. */
	number_pages(p, size);
	memset(to, 0x55, size);
	CHECK(remap(mover, p, size, size, to) == to);
	check_numbers(to, size);
	map(p, size, RW, ANON, -1);
	BOTH_SEE(outside, p, 0);
	BOTH_SEE(outside, p + size - PAGE, 0);

	/* Back, with the other one still in use. */
	number_pages(p, size);
	put(HERE, to, 77);
	CHECK(remap(mover, to, size, size, p) == p);
	BOTH_SEE(outside, p, 77);
	put(HERE, p, 1);
	check_numbers(p, size);

	/* Longer, in place or not; shorter; longer again is empty there. */
	moved = remap(mover, p, size, 2 * size, NULL);
	check_numbers(moved, size);
	BOTH_SEE(outside, moved + size, 0);
	number_pages(moved, 2 * size);
	CHECK(remap(mover, moved, 2 * size, size, NULL) == moved);
	check_numbers(moved, size);
	moved = remap(mover, moved, size, 2 * size, NULL);
	check_numbers(moved, size);
	BOTH_SEE(outside, moved + size, 0);
	BOTH_SEE(outside, moved + 2 * size - PAGE, 0);
	munmap(moved, 2 * size);
	munmap(to, 4 * size);
}

/* What has moved away is not at the old place; nor is what was cut off. */
static uint64_t after_move(unsigned int number, void *argument)
{
	char *p = argument;

	map(p, 4 * PAGE, RW, ANON, -1);
	number_pages(p, 4 * PAGE);
	if (number & 1) {
		CHECK(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 8 * PAGE) == p + 8 * PAGE);
		CHECK_EQ(*(uint64_t *)(p + 8 * PAGE), 1);
	} else {
		CHECK(mremap(p, 4 * PAGE, 3 * PAGE, 0) == p);
		p += 3 * PAGE;
	}
	if (number & 2)
		return *(volatile uint64_t *)p;
	*(volatile uint64_t *)p = 1;
	return 0;
}

static const char *after_move_name(unsigned int number)
{
	static const char *const names[] = {
		"write behind", "write where it was", "read behind", "read where it was",
	};

	return names[number];
}

static void dont_unmap(void)
{
	char *p = map_aligned(4 * PAGE, PAGE), *to;

	number_pages(p, 4 * PAGE);
	to = mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	CHECK(to != MAP_FAILED && to != p);
	check_numbers(to, 4 * PAGE);
	BOTH_SEE(outside, p, 0);
	put(HERE, p, 2);
	BOTH_SEE(outside, to, 1);
	munmap(to, 4 * PAGE);
	munmap(p, 4 * PAGE);
}

/* ---- madvise ---- */

static void dont_need(void)
{
	int fd = new_file(4, 900);
	char *anon = map_anon(4 * PAGE), *file = map(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd);
	char *shared = map(NULL, 4 * PAGE, RW, MAP_SHARED, fd);

	for (unsigned int i = 0; i < 40; i++) {
		put(by_turns(i / 2), anon + PAGE, i + 1);
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)anon + PAGE, PAGE, MADV_DONTNEED), 0);
		BOTH_SEE(outside, anon + PAGE, 0);
		put(by_turns(i / 2), file, i + 1);
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)file, PAGE, MADV_DONTNEED), 0);
		BOTH_SEE(outside, file, 900);
		put(by_turns(i / 2), shared + 8, i + 1);
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)shared, PAGE, MADV_DONTNEED), 0);
		BOTH_SEE(outside, shared + 8, i + 1);
		put(HERE, shared + PAGE, i + 1);
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)shared + PAGE, PAGE, MADV_REMOVE), 0);
		BOTH_SEE(outside, shared + PAGE, 0);
	}
	munmap(anon, 4 * PAGE);
	munmap(file, 4 * PAGE);
	munmap(shared, 4 * PAGE);
	close(fd);
}

/*
 * After MADV_FREE a page may be emptied until it is written again: the kernel must
 * learn of the guest's writes, or it throws them away.
 */
static void free_lazily(void)
{
	const unsigned int pages = 64;
	unsigned int emptied = 0;
	char *p = map_anon(pages * PAGE);

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	for (unsigned int round = 0; round < 4; round++) {
		for (unsigned int i = 0; i < pages; i++)
			put(HERE, p + i * PAGE, i + 1);
		CHECK_EQ(ask(by_turns(round), job_madvise, (long)p, pages * PAGE, MADV_FREE), 0);
		for (unsigned int i = 0; i < pages; i += 2) {
			if (i % 4 == 0)
				(void)*(volatile uint64_t *)(p + i * PAGE);
			*(volatile uint64_t *)(p + i * PAGE) = i + 1000;
		}
		/* Reclaim at once: the first time may only find out that they were accessed. */
		for (unsigned int i = 0; i < 3; i++)
			CHECK_EQ(ask(by_turns(round), job_madvise, (long)p, pages * PAGE, MADV_PAGEOUT), 0);
		for (unsigned int i = 0; i < pages; i++) {
			uint64_t value = see(HERE, p + i * PAGE);

			CHECK_EQ(see(outside, p + i * PAGE), value);
			if (i % 2 == 0)
				CHECK_EQ(value, i + 1000);
			else
				CHECK(value == i + 1 || value == 0);
			emptied += value == 0;
		}
	}
	CHECK(emptied > 0);
	munmap(p, pages * PAGE);
}

/* A page of a file that is reclaimed comes back from the file. */
static void page_out(void)
{
	int fd = new_file(4, 600);
	char *p = map(NULL, 4 * PAGE, RW, MAP_SHARED, fd);

	for (unsigned int i = 0; i < 10; i++) {
		put(HERE, p + PAGE, i);
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)p, 4 * PAGE, MADV_PAGEOUT), 0);
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)p, 4 * PAGE, MADV_COLD), 0);
		BOTH_SEE(outside, p + PAGE, i);
		BOTH_SEE(outside, p, 600);
	}
	munmap(p, 4 * PAGE);
	close(fd);
}

/* ---- while the guest is busy with it ---- */

static volatile bool stop;

static long churn(long p, long rounds, long c)
{
	(void)c;
	for (long i = 0; i < rounds; i++) {
		switch (i % 4) {
		case 0:
			CHECK(!madvise((void *)p, PAGE, MADV_DONTNEED));
			break;
		case 1:
			map((void *)p, PAGE, RW, ANON, -1);
			break;
		case 2:
			CHECK(!mprotect((void *)p, PAGE, PROT_READ));
			CHECK(!mprotect((void *)p, PAGE, RW));
			break;
		case 3:
			CHECK(!madvise((void *)p, PAGE, MADV_FREE));
			break;
		}
		if (i % 8 == 0)
			sched_yield();
	}
	stop = true;
	return 0;
}

/*
 * The guest reads a page in a loop without system calls, while the other thread takes it
 * away again and again: it reads 0, and is never disturbed.
 */
static void reader_undisturbed(void)
{
	char *p = map_anon(PAGE);

	stop = false;
	begin(outside, churn, (long)p, 4000, 0);
	while (!stop)
		CHECK_EQ(*(volatile uint64_t *)p, 0);
	CHECK_EQ(wait_for(outside), 0);
	munmap(p, PAGE);
}

int main(void)
{
	outcomes_alike(after_move, (void *)0x100000000000UL, 4, after_move_name);
	outside = ordinary_thread();
	enter();
	same_place();
	for (unsigned int i = 0; i < 2; i++) {
		moving(by_turns(i), 4 * PAGE, PAGE);
		moving(by_turns(i), HUGE, HUGE);
		moving(by_turns(i), HUGE, 16 * PAGE);
	}
	dont_unmap();
	dont_need();
	free_lazily();
	page_out();
	reader_undisturbed();
	return 0;
}
