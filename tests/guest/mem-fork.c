// SPDX-License-Identifier: MIT
/*
 * Copy on write: after a fork each side has what was there at that moment, whoever
 * forks, whoever writes first, in pages of any size; the child may be in Dune mode, may
 * leave it, or never have been there.
 */
#include "mem.h"

static struct ordinary *outside;

/* Each page begins with its number and whose it is. */
static void fill(char *p, unsigned int pages, uint64_t owner)
{
	for (unsigned int i = 0; i < pages; i++)
		*(volatile uint64_t *)(p + i * PAGE) = owner << 32 | i;
}

static bool filled(const char *p, unsigned int pages, uint64_t owner)
{
	for (unsigned int i = 0; i < pages; i++)
		if (*(volatile uint64_t *)(p + i * PAGE) != (owner << 32 | i))
			return false;
	return true;
}

enum first { PARENT_FIRST, CHILD_FIRST };

/*
 * One fork. The two sides take turns by two pipes; the child writes all pages, the
 * parent too, and neither sees anything of the other.
 */
static void fork_once(char *p, unsigned int pages, enum first first, bool child_leaves,
		      struct ordinary *bystander)
{
	int to[2], from[2];
	bool was_in = dune_in_dune_mode();
	char c = 0;
	pid_t pid;

	CHECK(!pipe(to) && !pipe(from));
	fill(p, pages, 1);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK(dune_in_dune_mode() == was_in);
		if (child_leaves) {
			CHECK_EQ(dune_leave(), 0);
			CHECK(!dune_in_dune_mode());
		}
		if (first == PARENT_FIRST)
			CHECK(read(to[0], &c, 1) == 1);
		CHECK(filled(p, pages, 1));
		fill(p, pages, 2);
		CHECK(filled(p, pages, 2));
		CHECK(write(from[1], &c, 1) == 1);
		CHECK(read(to[0], &c, 1) == 1);
		CHECK(filled(p, pages, 2));
		_exit(0);
	}
	if (first == PARENT_FIRST) {
		fill(p, pages, 3);
		CHECK(write(to[1], &c, 1) == 1);
		CHECK(read(from[0], &c, 1) == 1);
		CHECK(filled(p, pages, 3));
	} else {
		CHECK(read(from[0], &c, 1) == 1);
		CHECK(filled(p, pages, 1));
		fill(p, pages, 3);
		CHECK(filled(p, pages, 3));
	}
	/* A thread of ours that is on the other side sees ours too. */
	CHECK_EQ(see(bystander, p), 3UL << 32);
	CHECK(write(to[1], &c, 1) == 1);
	expect_exit(pid);
	CHECK(filled(p, pages, 3));
	close(to[0]);
	close(to[1]);
	close(from[0]);
	close(from[1]);
}

static void kinds_of_memory(void (*test)(char *p, unsigned int pages))
{
	int fd = new_file(16, 5);
	char *p = map_anon(16 * PAGE);

	test(p, 16);
	munmap(p, 16 * PAGE);
	p = map(NULL, 16 * PAGE, RW, MAP_PRIVATE, fd);
	test(p, 16);
	CHECK_EQ(file_word(fd, 0), 5);
	munmap(p, 16 * PAGE);
	p = map_aligned(2 * HUGE, HUGE);
	madvise(p, 2 * HUGE, MADV_HUGEPAGE);
	test(p, 2 * HUGE / PAGE);
	munmap(p, 2 * HUGE);
	close(fd);
}

static void by_this_thread(char *p, unsigned int pages)
{
	for (int i = 0; i < 4; i++)
		fork_once(p, pages, i & 1 ? CHILD_FIRST : PARENT_FIRST, i & 2, outside);
}

/* The ordinary thread forks: its child is an ordinary process. */
static long job_fork(long p, long pages, long first)
{
	CHECK(!dune_in_dune_mode());
	fork_once((char *)p, pages, first, false, HERE);
	return 0;
}

static long job_see(long p, long pages, long owner)
{
	return filled((char *)p, pages, owner);
}

static void by_an_ordinary_thread(char *p, unsigned int pages)
{
	for (int first = 0; first < 2; first++) {
		fill(p, pages, 9);		/* mapped for the guest, writable */
		CHECK_EQ(ask(outside, job_fork, (long)p, pages, first), 0);
		CHECK(filled(p, pages, 3));
		fill(p, pages, 4);
		CHECK(ask(outside, job_see, (long)p, pages, 4));
	}
}

/* A child of a child, each with memory of its own. */
static void generations(void)
{
	char *p = map_anon(PAGE);

	put(HERE, p, 1);
	for (uint64_t i = 1; i < 6; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid) {
			expect_exit(pid);
			BOTH_SEE(i == 1 ? outside : HERE, p, i);
			if (i > 1)
				_exit(0);
			munmap(p, PAGE);
			return;
		}
		CHECK_EQ(see(HERE, p), i);
		put(HERE, p, i + 1);
	}
	_exit(0);
}

/* ---- forks while the guest writes ---- */

#define SNAPSHOTS	40
#define COUNTERS	64

static volatile uint64_t *counters;	/* one in each page */
static volatile bool stop;

static uint64_t *counter(unsigned int i)
{
	return (uint64_t *)((char *)counters + i * PAGE);
}

/*
 * The guest counts in all pages, in order. What a child finds must never change, and a
 * later counter is not ahead of an earlier one by more than the moment allows.
 */
static long take_snapshots(long a, long b, long c)
{
	uint64_t before[COUNTERS];

	(void)a;
	(void)b;
	(void)c;
	for (int n = 0; n < SNAPSHOTS; n++) {
		uint64_t now = *(volatile uint64_t *)counter(0);
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			for (int i = 0; i < COUNTERS; i++)
				before[i] = *(volatile uint64_t *)counter(i);
			CHECK(before[0] >= now);
			for (int i = 1; i < COUNTERS; i++)
				CHECK(before[i] <= before[0] && before[i] + 1 >= before[0]);
			for (int round = 0; round < 10; round++) {
				sched_yield();
				for (int i = 0; i < COUNTERS; i++)
					CHECK_EQ(*(volatile uint64_t *)counter(i), before[i]);
			}
			_exit(0);
		}
		expect_exit(pid);
	}
	stop = true;
	return 0;
}

static void snapshots(void)
{
	uint64_t n = 0;

	counters = (void *)map_anon(COUNTERS * PAGE);
	begin(outside, take_snapshots, 0, 0, 0);
	while (!stop) {
		n++;
		for (int i = 0; i < COUNTERS; i++) {
			*(volatile uint64_t *)counter(i) = n;
			__asm__ volatile("" ::: "memory");
		}
	}
	CHECK_EQ(wait_for(outside), 0);
	for (int i = 0; i < COUNTERS; i++)
		BOTH_SEE(outside, counter(i), n);
}

int main(void)
{
	outside = ordinary_thread();
	enter();
	kinds_of_memory(by_this_thread);
	kinds_of_memory(by_an_ordinary_thread);
	generations();
	snapshots();
	return 0;
}
