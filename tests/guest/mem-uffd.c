// SPDX-License-Identifier: MIT
/*
 * userfaultfd: an ordinary thread resolves the faults of the guest, for pages that are
 * missing and for pages that are write-protected; each comes once, with the address and the kind of access.
 */
#include "mem.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define COUNT	32

static struct ordinary *outside;
static int uffd;
static char *source;		/* what missing pages are filled with */

static void uffd_ioctl(unsigned long request, void *argument)
{
	if (ioctl(uffd, request, argument))
		FAIL("userfaultfd ioctl %#lx: errno %d", request, errno);
}

static void watch(char *p, unsigned long size, unsigned long mode)
{
	struct uffdio_register reg = { .range = { (unsigned long)p, size }, .mode = mode };

	uffd_ioctl(UFFDIO_REGISTER, &reg);
}

static void write_protect(char *p, unsigned long size, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { (unsigned long)p, size }, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	uffd_ioctl(UFFDIO_WRITEPROTECT, &wp);
}

/* Resolve the next @count faults. Their addresses and flags are kept. */
static struct { unsigned long address; uint64_t flags; } seen[4 * COUNT];
static volatile unsigned int nr_seen;

static void resolve(const struct uffd_msg *msg)
{
	unsigned long page = msg->arg.pagefault.address & -PAGE;

	CHECK_EQ(msg->event, UFFD_EVENT_PAGEFAULT);
	CHECK(nr_seen < N_ELEMENTS(seen));
	seen[nr_seen].address = msg->arg.pagefault.address;
	seen[nr_seen++].flags = msg->arg.pagefault.flags;
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		write_protect((char *)page, PAGE, false);
	} else if (nr_seen % 4 == 3) {
		struct uffdio_zeropage zero = { .range = { page, PAGE } };

		uffd_ioctl(UFFDIO_ZEROPAGE, &zero);
	} else {
		struct uffdio_copy copy = { .dst = page, .src = (unsigned long)source, .len = PAGE };

		*(volatile uint64_t *)source = page;
		uffd_ioctl(UFFDIO_COPY, &copy);
	}
}

static long serve(long count, long b, long c)
{
	struct uffd_msg msg;

	(void)b;
	(void)c;
	for (; count > 0; count--) {
		CHECK_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
		resolve(&msg);
	}
	return 0;
}

static void missing(char *p)
{
	nr_seen = 0;
	watch(p, COUNT * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	begin(outside, serve, COUNT, 0, 0);
	for (unsigned int i = 0; i < COUNT; i++) {
		volatile uint64_t *word = (uint64_t *)(p + i * PAGE + 16 * i);

		if (i & 1) {
			*word = i;
			continue;
		}
		CHECK_EQ(see(HERE, p + i * PAGE), nr_seen % 4 == 3 ? 0 : (uint64_t)p + i * PAGE);
	}
	CHECK_EQ(wait_for(outside), 0);
	CHECK_EQ(nr_seen, COUNT);
	for (unsigned int i = 0; i < COUNT; i++) {
		CHECK_EQ(seen[i].address & -PAGE, (unsigned long)p + i * PAGE);
		CHECK(!(seen[i].flags & UFFD_PAGEFAULT_FLAG_WP));
		/* A new page shows to both; a write says that it is one. */
		BOTH_SEE(outside, p + i * PAGE + 8, 0);
		if (i & 1)
			CHECK(seen[i].flags & UFFD_PAGEFAULT_FLAG_WRITE);
		if (i & 1 && i > 1)
			BOTH_SEE(outside, p + i * PAGE + 16 * i, i);
	}
}

static void write_protected(char *p)
{
	for (unsigned int i = 0; i < COUNT; i++)
		put(i & 1 ? HERE : outside, p + i * PAGE, i);
	nr_seen = 0;
	watch(p, COUNT * PAGE, UFFDIO_REGISTER_MODE_WP);
	for (unsigned int round = 0; round < 3; round++) {
		nr_seen = 0;
		write_protect(p, COUNT * PAGE, true);
		/* Reads do not fault. */
		for (unsigned int i = 0; i < COUNT; i++)
			CHECK_EQ(see(HERE, p + i * PAGE), i + round);
		CHECK_EQ(nr_seen, 0);
		begin(outside, serve, COUNT, 0, 0);
		for (unsigned int i = 0; i < COUNT; i++) {
			__atomic_add_fetch((uint64_t *)(p + i * PAGE), 1, __ATOMIC_SEQ_CST);
			++*(volatile uint64_t *)(p + i * PAGE + 8);	/* does not fault again */
		}
		CHECK_EQ(wait_for(outside), 0);
		CHECK_EQ(nr_seen, COUNT);
		for (unsigned int i = 0; i < COUNT; i++) {
			CHECK_EQ(seen[i].address & -PAGE, (unsigned long)p + i * PAGE);
			CHECK(seen[i].flags & UFFD_PAGEFAULT_FLAG_WP);
			BOTH_SEE(outside, p + i * PAGE, i + round + 1);
		}
	}
}

/* The kernel writes for the guest: that faults, too. */
static void by_a_system_call(char *p)
{
	int ends[2];

	CHECK(!pipe(ends));
	CHECK(write(ends[1], "12345678", 8) == 8);
	nr_seen = 0;
	write_protect(p, PAGE, true);
	begin(outside, serve, 1, 0, 0);
	CHECK(read(ends[0], p, 8) == 8);
	CHECK_EQ(wait_for(outside), 0);
	CHECK_EQ(see(HERE, p), see(outside, p));
	CHECK(!memcmp(p, "12345678", 8));
	CHECK_EQ(nr_seen, 1);
}

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	char *p;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd < 0)
		SKIP("no userfaultfd: errno %d", errno);
	if (ioctl(uffd, UFFDIO_API, &api))
		SKIP("userfaultfd without write protection: errno %d", errno);
	source = map_anon(PAGE);
	outside = ordinary_thread();
	enter();

	p = map_anon(COUNT * PAGE);
	madvise(p, COUNT * PAGE, MADV_NOHUGEPAGE);
	missing(p);
	munmap(p, COUNT * PAGE);

	p = map_anon(COUNT * PAGE);
	madvise(p, COUNT * PAGE, MADV_NOHUGEPAGE);
	write_protected(p);
	by_a_system_call(p);
	return 0;
}
