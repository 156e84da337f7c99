// SPDX-License-Identifier: MIT
/*
 * Memory all over the address space: further apart than 64 GiB, above 128 GiB, at its very
 * end, thinly in one mapping of 16 TiB, and, over time, in more places than guest-physical
 * space has at once.
 */
#include "mem.h"

#include <linux/dune.h>
#include <sys/ioctl.h>

#define NORESERVE	(ANON | MAP_NORESERVE)
#define TIB		(1UL << 40)

static struct ordinary *outside;

static struct ordinary *by_turns(unsigned int i)
{
	return i & 1 ? outside : HERE;
}

/* Pages 64 GiB and a bit apart, all in use at the same time. */
static void far_apart(void)
{
	enum { COUNT = 100 };
	char *at[COUNT];

	for (unsigned int i = 0; i < COUNT; i++) {
		at[i] = mmap((void *)((i + 1) * (65 * GIB) + i * PAGE), PAGE, RW,
			     ANON | MAP_FIXED_NOREPLACE, -1, 0);
		CHECK(at[i] != MAP_FAILED);
		if (i % 4 == 3)
			CHECK_EQ(see(by_turns(i / 4), at[i]), 0);
		put(by_turns(i), at[i], i + 1);
	}
	CHECK((unsigned long)at[COUNT - 1] > 128 * GIB);
	for (unsigned int i = 0; i < COUNT; i++)
		BOTH_SEE(outside, at[i], i + 1);
	for (unsigned int i = 0; i < COUNT; i++)
		munmap(at[i], PAGE);
}

/* The last page of user space, the first one that may be had, and those at borders of granules. */
static void edges(void)
{
	static const unsigned long where[] = {
		0x7fffffffe000, 0x10000, GIB - PAGE, 127 * TIB, 128 * GIB - PAGE, 128 * GIB,
		512 * GIB - PAGE, 512 * GIB, 64 * TIB - PAGE, 64 * TIB,
	};
	char *at[N_ELEMENTS(where)];

	for (unsigned int i = 0; i < N_ELEMENTS(where); i++) {
		at[i] = mmap((void *)where[i], PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
		if (at[i] == MAP_FAILED)
			continue;	/* the stack may be there */
		put(by_turns(i), at[i] + PAGE - 8, i + 1);
	}
	for (unsigned int i = 0; i < N_ELEMENTS(where); i++) {
		if (at[i] == MAP_FAILED)
			continue;
		BOTH_SEE(outside, at[i] + PAGE - 8, i + 1);
		munmap(at[i], PAGE);
	}
	/* Across the border of two granules, in one access. */
	at[0] = map((void *)(3 * TIB - PAGE), 2 * PAGE, RW, ANON, -1);
	*(volatile uint64_t *)(3 * TIB - 4) = 0x1122334455667788;
	BOTH_SEE(outside, (void *)(3 * TIB - 4), 0x1122334455667788);
	munmap(at[0], 2 * PAGE);
}

static void sparse(void)
{
	enum { COUNT = 250 };
	char *p = mmap((void *)(32 * TIB), 16 * TIB, RW, NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	unsigned long step = 16 * TIB / COUNT & -PAGE;

	CHECK(p != MAP_FAILED);
	madvise(p, 16 * TIB, MADV_NOHUGEPAGE);
	for (unsigned int i = 0; i < COUNT; i++) {
		if (i & 2)
			CHECK_EQ(see(HERE, p + i * step), 0);
		put(by_turns(i), p + i * step, i + 1);
	}
	for (unsigned int i = 0; i < COUNT; i++)
		BOTH_SEE(outside, p + i * step, i + 1);
	put(HERE, p + 16 * TIB - 8, 99);
	BOTH_SEE(outside, p + 16 * TIB - 8, 99);
	CHECK(!munmap(p, 16 * TIB));
}

/* Each in a granule of its own, never many at a time: they are had again. */
static void one_after_the_other(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		char *p = map((char *)(80 * TIB) + i * GIB, PAGE, RW, ANON, -1);

		CHECK_EQ(see(HERE, p), 0);
		put(HERE, p, i + 1);
		if (i % 64 == 0)
			BOTH_SEE(outside, p, i + 1);
		CHECK(!munmap(p, PAGE));
	}
	/* Those that were there first have something new now. */
	for (unsigned int i = 0; i < count; i += 32) {
		char *p = map((char *)(80 * TIB) + i * GIB, PAGE, RW, ANON, -1);

		CHECK_EQ(see(HERE, p), 0);
		put(by_turns(i / 32), p, i + 1);
		BOTH_SEE(outside, p, i + 1);
		CHECK(!munmap(p, PAGE));
	}
}

/* More at a time than there is guest-physical space for ends in SIGBUS, not in silence. */
static void too_many(unsigned int granules)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		char *p = map(NULL, (granules + 2) * GIB, RW, NORESERVE, -1);

		madvise(p, (granules + 2) * GIB, MADV_NOHUGEPAGE);
		for (unsigned int i = 0; i <= granules; i++) {
			*(volatile uint64_t *)(p + i * GIB) = i;
			CHECK_EQ(*(volatile uint64_t *)(p + i * GIB), i);
		}
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

int main(void)
{
	struct dune_info info = { .nr_granules = 512 };
	int fd;

	if (!no_dune()) {
		fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0 && !ioctl(fd, DUNE_GET_INFO, &info));
		close(fd);
	}
	outside = ordinary_thread();
	enter();
	far_apart();
	edges();
	sparse();
	if (info.nr_granules <= 8192) {
		one_after_the_other(info.nr_granules * 5 / 2);
		if (!no_dune())
			too_many(info.nr_granules);
	}
	return 0;
}
