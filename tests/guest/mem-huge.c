// SPDX-License-Identifier: MIT
/*
 * Huge pages: one 4 KiB page changed inside of one (unmapped and mapped again, protected,
 * emptied, copied on write, moved); hugetlb; huge pages that are split and collapsed while
 * the guest writes to them.
 */
#include "outcome.h"

#include <linux/memfd.h>
#include <sys/utsname.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define PAGES		(HUGE / PAGE)

static struct ordinary *outside;

static struct ordinary *by_turns(unsigned int i)
{
	return i & 1 ? outside : HERE;
}

/* A huge page that the guest has mapped as such: each 4 KiB hold their number. */
static char *huge_page(void)
{
	char *p = map_aligned(HUGE, HUGE);

	madvise(p, HUGE, MADV_HUGEPAGE);
	for (unsigned int i = 0; i < PAGES; i++)
		*(volatile uint64_t *)(p + i * PAGE) = i + 1;
	if (smaps(p, "AnonHugePages:") != HUGE / 1024)
		SKIP("the kernel has no huge page to give");
	return p;
}

static void check_others(char *p, unsigned int but, unsigned int nr)
{
	for (unsigned int i = 0; i < PAGES; i++)
		if (i < but || i >= but + nr)
			CHECK_EQ(*(volatile uint64_t *)(p + i * PAGE), i + 1);
	BOTH_SEE(outside, p, 1);
	BOTH_SEE(outside, p + HUGE - PAGE, PAGES);
}

static void mapped_again(void)
{
	for (unsigned int i = 0; i < 4; i++) {
		char *p = huge_page(), *page = p + (100 + i) * PAGE;

		CHECK_EQ(ask(by_turns(i), job_munmap, (long)page, PAGE, 0), 0);
		CHECK_EQ(ask(by_turns(i / 2), job_map, (long)page, PAGE, RW), (long)page);
		BOTH_SEE(outside, page, 0);
		put(by_turns(i), page, 7);
		BOTH_SEE(outside, page, 7);
		check_others(p, 100 + i, 1);
		munmap(p, HUGE);
	}
}

static void emptied(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		char *p = huge_page();

		CHECK_EQ(ask(by_turns(i), job_madvise, (long)p + 33 * PAGE, 3 * PAGE, MADV_DONTNEED), 0);
		for (unsigned int n = 33; n < 36; n++)
			BOTH_SEE(outside, p + n * PAGE, 0);
		put(HERE, p + 34 * PAGE, 4);
		BOTH_SEE(outside, p + 34 * PAGE, 4);
		check_others(p, 33, 3);

		/* And the whole of it. */
		CHECK_EQ(ask(by_turns(i), job_madvise, (long)p, HUGE, MADV_DONTNEED), 0);
		for (unsigned int n = 0; n < PAGES; n++)
			CHECK_EQ(*(volatile uint64_t *)(p + n * PAGE), 0);
		munmap(p, HUGE);
	}
}

static void moved(void)
{
	char *p = huge_page(), *to = map_aligned(4 * PAGE, PAGE);

	CHECK(mremap(p + 50 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	BOTH_SEE(outside, to, 51);
	CHECK_EQ(ask(outside, job_map, (long)p + 50 * PAGE, PAGE, RW), (long)p + 50 * PAGE);
	BOTH_SEE(outside, p + 50 * PAGE, 0);
	check_others(p, 50, 1);
	munmap(p, HUGE);
	munmap(to, 4 * PAGE);
}

static void copied(void)
{
	char *p = huge_page();
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		put(HERE, p + 10 * PAGE, 1000);
		CHECK_EQ(see(HERE, p + 10 * PAGE), 1000);
		CHECK_EQ(see(HERE, p + 11 * PAGE), 12);
		_exit(0);
	}
	expect_exit(pid);
	check_others(p, 0, 0);
	put(outside, p + 12 * PAGE, 2000);
	BOTH_SEE(outside, p + 12 * PAGE, 2000);
	check_others(p, 12, 1);
	munmap(p, HUGE);
}

/* One page of it may not be written, or read; all others may. */
static uint64_t protected_inside(unsigned int number, void *argument)
{
	char *p = argument, *page = p + 5 * PAGE;

	map(p, HUGE, RW, ANON, -1);
	madvise(p, HUGE, MADV_HUGEPAGE);
	for (unsigned int i = 0; i < PAGES; i++)
		*(volatile uint64_t *)(p + i * PAGE) = i;
	CHECK(!mprotect(page, PAGE, number & 1 ? PROT_READ : PROT_NONE));
	for (unsigned int i = 0; i < PAGES; i++)
		if (i != 5)
			*(volatile uint64_t *)(p + i * PAGE) += 1;
	if (number & 2)
		return *(volatile uint64_t *)page;
	*(volatile uint64_t *)page = 1;
	return 0;
}

static const char *protected_name(unsigned int number)
{
	static const char *const names[] = {
		"write where nothing is allowed", "write to a read-only page",
		"read where nothing is allowed", "read of a read-only page",
	};

	return names[number];
}

/* ---- hugetlb ---- */

static bool kernel_is_before(unsigned int version, unsigned int patchlevel)
{
	struct utsname name;
	unsigned int a, b;

	uname(&name);
	return sscanf(name.release, "%u.%u", &a, &b) == 2 && (a < version || (a == version && b < patchlevel));
}

static void hugetlb_private(void)
{
	char *p = mmap(NULL, 2 * HUGE, RW, ANON | MAP_HUGETLB, -1, 0);
	pid_t pid;

	CHECK(p != MAP_FAILED);
	CHECK_EQ(see(HERE, p), 0);
	put(outside, p, 5);
	BOTH_SEE(outside, p, 5);
	put(HERE, p + HUGE + 123 * PAGE, 6);
	BOTH_SEE(outside, p + HUGE + 123 * PAGE, 6);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK_EQ(see(HERE, p), 5);
		put(HERE, p, 7);
		CHECK_EQ(see(HERE, p), 7);
		_exit(0);
	}
	expect_exit(pid);
	BOTH_SEE(outside, p, 5);
	put(HERE, p, 8);
	BOTH_SEE(outside, p, 8);
	CHECK_EQ(ask(outside, job_mprotect, (long)p, HUGE, PROT_READ), 0);
	BOTH_SEE(outside, p, 8);
	CHECK_EQ(ask(outside, job_mprotect, (long)p, HUGE, RW), 0);
	put(HERE, p + 8, 9);
	BOTH_SEE(outside, p + 8, 9);
	/* Of hugetlb since 5.18. */
	if (kernel_is_before(5, 18)) {
		CHECK_EQ(ask(outside, job_madvise, (long)p, HUGE, MADV_DONTNEED), -EINVAL);
	} else {
		CHECK_EQ(ask(outside, job_madvise, (long)p, HUGE, MADV_DONTNEED), 0);
		BOTH_SEE(outside, p, 0);
	}
	CHECK_EQ(ask(outside, job_munmap, (long)p, 2 * HUGE, 0), 0);
}

static void hugetlb_shared(void)
{
	int fd = memfd_create("hugetlb", MFD_CLOEXEC | MFD_HUGETLB);
	char *p, *q;

	CHECK(fd >= 0 && !ftruncate(fd, 2 * HUGE));
	p = map(NULL, 2 * HUGE, RW, MAP_SHARED, fd);
	q = map(NULL, 2 * HUGE, PROT_READ, MAP_SHARED, fd);
	put(HERE, p + PAGE, 3);
	BOTH_SEE(outside, q + PAGE, 3);
	put(outside, p + PAGE, 4);
	BOTH_SEE(outside, q + PAGE, 4);
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE));
	BOTH_SEE(outside, q + PAGE, 0);
	put(HERE, p + PAGE, 5);
	BOTH_SEE(outside, q + PAGE, 5);
	munmap(p, 2 * HUGE);
	munmap(q, 2 * HUGE);
	close(fd);
}

/* More than there is: SIGBUS, at the address. */
static uint64_t hugetlb_used_up(unsigned int number, void *argument)
{
	char *p = map(argument, 64 * HUGE, RW, ANON | MAP_HUGETLB | MAP_NORESERVE, -1);

	for (unsigned int i = 0; i < 64; i++) {
		if (number)
			*(volatile uint64_t *)(p + i * HUGE + 16) = 1;
		else
			(void)*(volatile uint64_t *)(p + i * HUGE + 24);
	}
	return 0;
}

static const char *hugetlb_name(unsigned int number)
{
	return number ? "write" : "read";
}

/* ---- under load ---- */

#define LOAD	(4 * HUGE)

static volatile bool stop;

/* Splits and collapses what the guest writes to, but changes nothing. */
static long shake(long p, long rounds, long c)
{
	char command[100];

	(void)c;
	snprintf(command, sizeof(command), "%d,%#lx,%#lx", getpid(), p, p + LOAD);
	for (long i = 0; i < rounds; i++) {
		long part = p + i % 4 * HUGE;

		switch (i % 5) {
		case 0:		/* one page of another protection splits it */
			CHECK(!mprotect((void *)(part + 7 * PAGE), PAGE, RW | PROT_EXEC));
			CHECK(!mprotect((void *)(part + 7 * PAGE), PAGE, RW));
			break;
		case 1:
			(void)madvise((void *)part, HUGE, MADV_COLLAPSE);
			break;
		case 2:
			(void)write_text("/sys/kernel/debug/split_huge_pages", command);
			break;
		case 3:
			CHECK(!madvise((void *)(part + HUGE / 2), PAGE, MADV_NOHUGEPAGE));
			CHECK(!madvise((void *)(part + HUGE / 2), PAGE, MADV_HUGEPAGE));
			break;
		case 4:
			(void)madvise((void *)p, LOAD, MADV_COLLAPSE);
			break;
		}
	}
	stop = true;
	return 0;
}

static long counters_are(long p, long n, long c)
{
	(void)c;
	for (unsigned long at = 0; at < LOAD; at += PAGE)
		CHECK_EQ(*(volatile uint64_t *)(p + at), n);
	return 0;
}

/* No write of the guest's may be lost, or appear twice. */
static void under_load(void)
{
	char *p = map_aligned(LOAD, HUGE);
	uint64_t n = 0;

	madvise(p, LOAD, MADV_HUGEPAGE);
	stop = false;
	begin(outside, shake, (long)p, 60, 0);
	while (!stop) {
		for (unsigned long at = 0; at < LOAD; at += PAGE) {
			volatile uint64_t *word = (uint64_t *)(p + at);

			CHECK_EQ(*word, n);
			*word = n + 1;
		}
		n++;
	}
	CHECK_EQ(wait_for(outside), 0);
	counters_are((long)p, n, 0);
	ask(outside, counters_are, (long)p, n, 0);
	munmap(p, LOAD);
}

int main(void)
{
	static const char nr_hugepages[] = "/proc/sys/vm/nr_hugepages";
	char *far = (char *)0x100000000000UL;
	bool have_hugetlb;

	write_text(nr_hugepages, "8");
	have_hugetlb = read_number(nr_hugepages) >= 8;
	outcomes_alike(protected_inside, far, 4, protected_name);
	if (have_hugetlb)
		outcomes_alike(hugetlb_used_up, far, 2, hugetlb_name);

	outside = ordinary_thread();
	enter();
	mapped_again();
	emptied();
	moved();
	copied();
	if (have_hugetlb) {
		hugetlb_private();
		hugetlb_shared();
		write_text(nr_hugepages, "0");
	}
	under_load();
	if (!have_hugetlb)
		SKIP("the kernel gives no hugetlb pages");
	return 0;
}
