// SPDX-License-Identifier: MIT
/*
 * Calls on ranges of addresses in which libdune's granule lies do what they do with a range that has a hole there, and
 * libdune lives.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "proc.h"

#define GIB	(1UL << 30)
#define PAGE	4096UL
#define LARGE	(1UL << 62)

#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif

static char *hole;		/* 1 GiB, outside empty */
static char *below, *above;	/* the program's pages beside it, two each */

static char *map_at(char *at, size_t size)
{
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

/* Where dune_init() puts it if there is room; nothing of the program's is there. */
static void find_hole(void)
{
	unsigned long stack = (unsigned long)__builtin_frame_address(0) & -GIB;
	char *page;

	for (unsigned long distance = 16; distance <= 17; distance++) {
		hole = (char *)(stack - distance * GIB);
		page = map_at(hole + GIB / 2, PAGE);
		if (page == MAP_FAILED)
			break;
		munmap(page, PAGE);
		if (!proc_inside && !getenv("EXPECT_RING3"))
			return;
	}
	CHECK(page == MAP_FAILED && errno == EEXIST, "libdune's granule is not where it is expected");
}

static void prepare(void)
{
	below = hole - 2 * PAGE;
	above = hole + GIB;
	munmap(below, 2 * PAGE);
	munmap(above, 2 * PAGE);
	DIE_UNLESS(map_at(below, 2 * PAGE) == below && map_at(above, 2 * PAGE) == above, "pages beside the hole");
	memset(below, 'b', 2 * PAGE);
	memset(above, 'a', 2 * PAGE);
}

static bool is_mapped(char *page)
{
	unsigned char there;

	return !mincore(page, PAGE, &there);
}

static bool can_write(char *page)
{
	return syscall(SYS_getrandom, page, 1, 0) == 1;
}

#define TOO_HIGH	((unsigned char *)0x7ffffffff000)
#define HIGH_BITS	(1L << 40)	/* in the number of a call: no kernel looks at them */

#define REFUSED(error, ...) do {							\
	long ret_ = (long)(__VA_ARGS__);						\
											\
	CHECK(ret_ == -1 && errno == (error), "%s: %ld, %s", #__VA_ARGS__, ret_,	\
	      ret_ == -1 ? strerror(errno) : "no error");				\
} while (0)

/* From the page before it to the one behind it. */
#define THROUGH	(hole - PAGE), (GIB + 2 * PAGE)
#define UP_TO	(hole - PAGE), (2 * PAGE)
#define IN	(hole + GIB / 2), PAGE

static void unmapping(void)
{
	prepare();
	CHECK_EQUAL(munmap(THROUGH), 0, "munmap through the hole");
	CHECK(is_mapped(below) && !is_mapped(below + PAGE), "the pages below it");
	CHECK(!is_mapped(above) && is_mapped(above + PAGE), "the pages above it");
	CHECK_EQUAL(munmap(IN), 0, "munmap in the hole");
	REFUSED(EINVAL, munmap(hole, 0));
	REFUSED(EINVAL, munmap(hole + 1, PAGE));
	REFUSED(EINVAL, munmap(hole - 1, 2 * PAGE));
	prepare();
	REFUSED(EINVAL, munmap(hole - PAGE, LARGE));
	REFUSED(EINVAL, munmap(hole - PAGE, -1UL));
	CHECK(is_mapped(below + PAGE), "the page of a range that is too long");
}

static void protecting(void)
{
	prepare();
	REFUSED(ENOMEM, mprotect(THROUGH, PROT_READ));
	CHECK(can_write(below) && !can_write(below + PAGE) && can_write(above), "what it has done");
	prepare();
	REFUSED(ENOMEM, mprotect(hole - PAGE, LARGE, PROT_READ));
	REFUSED(ENOMEM, mprotect(hole - PAGE, -1UL, PROT_READ));
	CHECK(!can_write(below + PAGE) && can_write(above), "what it has done, of a range without an end");
	REFUSED(ENOMEM, mprotect(IN, PROT_READ));
	REFUSED(EINVAL, mprotect(IN, 1 << 20));
	REFUSED(EINVAL, mprotect(hole - 1, 2 * PAGE, PROT_READ));
	CHECK_EQUAL(mprotect(hole, 0, PROT_READ), 0, "mprotect of nothing");
	REFUSED(ENOMEM, syscall(SYS_pkey_mprotect, THROUGH, PROT_READ | PROT_WRITE, -1));
	CHECK(can_write(below + PAGE), "what pkey_mprotect has done");
}

static void advising(void)
{
	prepare();
	REFUSED(ENOMEM, madvise(THROUGH, MADV_DONTNEED));
	CHECK(below[0] == 'b' && !below[PAGE] && !above[0] && above[PAGE] == 'a', "what it has done");
	REFUSED(ENOMEM, madvise(UP_TO, MADV_DONTNEED));
	REFUSED(ENOMEM, madvise(IN, MADV_DONTNEED));
	REFUSED(EINVAL, madvise(THROUGH, 77));
	REFUSED(EINVAL, madvise(IN, 77));
	REFUSED(EINVAL, madvise(hole + 1, PAGE, MADV_DONTNEED));
	REFUSED(EINVAL, madvise(hole - PAGE, -1UL, MADV_DONTNEED));
	REFUSED(ENOMEM, msync(THROUGH, MS_SYNC));
	REFUSED(ENOMEM, msync(IN, MS_ASYNC));
	REFUSED(EINVAL, msync(IN, 77));
	CHECK(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, THROUGH, "name") == -1 && (errno == ENOMEM || errno == EINVAL),
	      "PR_SET_VMA: %s", strerror(errno));
}

static void looking(void)
{
	static unsigned char there[GIB / PAGE + 4];
	int error;

	prepare();
	REFUSED(ENOMEM, mincore(THROUGH, there));
	REFUSED(ENOMEM, mincore(IN, there));
	REFUSED(EFAULT, mincore(IN, (unsigned char *)-PAGE));
	REFUSED(EFAULT, mincore(UP_TO, NULL));
	REFUSED(EINVAL, mincore(hole + 1, PAGE, there));
	REFUSED(ENOMEM, mincore(hole - PAGE, LARGE, there));
	REFUSED(ENOMEM, mincore(hole - PAGE, LARGE, NULL));
	/* That its result would lie too high is said first, by the kernels to which it is too high. */
	error = mincore((void *)PAGE, PAGE, TOO_HIGH) ? errno : 0;
	REFUSED(error, mincore(IN, TOO_HIGH));
	REFUSED(error, syscall(HIGH_BITS | SYS_mincore, IN, TOO_HIGH));
	REFUSED(ENOMEM, syscall(HIGH_BITS | SYS_mincore, IN, there));
}

static void locking(void)
{
	prepare();
	REFUSED(ENOMEM, mlock(THROUGH));
	REFUSED(ENOMEM, mlock(UP_TO));
	REFUSED(ENOMEM, mlock(hole + 1, 1));
	REFUSED(ENOMEM, mlock(hole - 1, 2));
	REFUSED(ENOMEM, syscall(SYS_mlock2, IN, 0));
	REFUSED(EINVAL, syscall(SYS_mlock2, IN, 77));
	REFUSED(ENOMEM, munlock(THROUGH));
	REFUSED(ENOMEM, munlock(IN));
	CHECK_EQUAL(munlock(hole, 0), 0, "munlock of nothing");
}

static void moving(void)
{
	char *const elsewhere = (char *)(1UL << 45);
	int error;

	prepare();
	REFUSED(EFAULT, mremap(IN, 2 * PAGE, MREMAP_MAYMOVE));
	REFUSED(EFAULT, mremap(hole, 0, PAGE, MREMAP_MAYMOVE));
	error = mremap((void *)PAGE, -PAGE, PAGE, 0) == MAP_FAILED ? errno : 0;
	REFUSED(error, mremap(hole, -PAGE, PAGE, 0));
	REFUSED(EINVAL, mremap(IN, 2 * PAGE, 77));
	REFUSED(EINVAL, mremap(hole + 1, PAGE, PAGE, 0));
	REFUSED(EFAULT, mremap(THROUGH, 2 * GIB, MREMAP_MAYMOVE));
	REFUSED(EFAULT, mremap(UP_TO, 3 * PAGE, MREMAP_MAYMOVE));
	REFUSED(EINVAL, mremap(UP_TO, 0, 0));
	CHECK(is_mapped(below + PAGE) && is_mapped(above), "the pages beside it");
	CHECK_EQUAL(mremap(below, GIB + 3 * PAGE, PAGE, 0), below, "shrinking through the hole");
	CHECK(is_mapped(below) && !is_mapped(below + PAGE), "the pages below it");
	CHECK(!is_mapped(above) && is_mapped(above + PAGE), "the pages above it");
	prepare();
	CHECK_EQUAL(mremap(below, GIB + 4 * PAGE, GIB + 3 * PAGE, 0), below, "shrinking to an end behind the hole");
	CHECK(is_mapped(below + PAGE) && is_mapped(above) && !is_mapped(above + PAGE), "the pages beside it");
	prepare();
	CHECK_EQUAL(mremap(below, GIB, GIB, 0), below, "neither");
	REFUSED(EINVAL, mremap(below, PAGE, -1UL, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	REFUSED(EINVAL, mremap(below, PAGE, PAGE, MREMAP_FIXED, hole));
	REFUSED(EINVAL, mremap(below, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole + 1));
	REFUSED(EINVAL, mremap(below, 3 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	REFUSED(EFAULT, mremap(hole + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	CHECK(is_mapped(below) && is_mapped(above), "the pages beside it");
	/* What is at the new place, and behind the new end, is gone before the rest is looked at. */
	map_at(elsewhere, 3 * PAGE);
	REFUSED(EFAULT, mremap(below, GIB + 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));
	CHECK(!is_mapped(elsewhere) && !is_mapped(above), "a new place, and the page above it");
	CHECK(is_mapped(below + PAGE) && is_mapped(above + PAGE), "what is not behind the new end");
	map_at(elsewhere, 3 * PAGE);
	REFUSED(EFAULT, mremap(below, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));
	CHECK(!is_mapped(elsewhere), "a new place, for as much");
	prepare();
	map_at(elsewhere, 3 * PAGE);
	REFUSED(EINVAL, mremap(below, 1UL << 47, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));
	CHECK(!is_mapped(elsewhere), "a new place, for what ends nowhere");
	CHECK(is_mapped(below) && is_mapped(above), "the pages beside it");
}

static void others(void)
{
	prepare();
	CHECK(syscall(SYS_mbind, THROUGH, 1, NULL, 0, 0) == -1 && (errno == EFAULT || errno == ENOSYS), "mbind: %s",
	      strerror(errno));
	CHECK(syscall(SYS_mbind, hole + 1, PAGE, 0, NULL, 0, 0) == -1 && (errno == EINVAL || errno == ENOSYS),
	      "mbind at no page: %s", strerror(errno));
	REFUSED(EINVAL, syscall(SYS_remap_file_pages, IN, 0, 0, 0));
	REFUSED(EBADF, mmap(IN, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0));
	REFUSED(EINVAL, mmap(IN, PROT_READ, MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	REFUSED(EINVAL, mmap(hole + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	REFUSED(ENOMEM, mmap(hole, LARGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	if (proc_inside || getenv("EXPECT_RING3")) {	/* what cannot be had */
		REFUSED(EPERM, mmap(IN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		REFUSED(EPERM, mremap(below, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	}
}

static void *thread(void *arg)
{
	CHECK_WORLD("a thread");
	return arg;
}

static void all(void)
{
	pthread_t one;

	unmapping();
	protecting();
	advising();
	looking();
	locking();
	moving();
	others();
	prepare();
	CHECK(!pthread_create(&one, NULL, thread, NULL) && !pthread_join(one, NULL), "a thread after that");
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child")), EXITED(0), "a child after that");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	find_hole();
	CHECK_EQUAL(IN_CHILD(all()), EXITED(0), "in a child");
	all();
	return check_result();
}
