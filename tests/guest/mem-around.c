// SPDX-License-Identifier: MIT
/*
 * A fault maps the neighbours too that the host has: in fewer exits than pages, each with the rights that the host
 * gives it, and none that the host has just taken away.
 */
#include "mem.h"

#include <setjmp.h>

#define WINDOW	16UL		/* kern/mmu/fault.c */
#define COUNT	64UL

static unsigned long tdp_faults(void)
{
	static const char name[] = "exit_tdp_fault ";
	char text[4096] = "", *at;
	int fd = open("/sys/kernel/debug/dune/stats", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	at = strstr(text, name);
	CHECK(at);
	return strtoul(at + strlen(name), NULL, 10);
}

/* What the kernel writes the host has and the guest does not. */
static void fill(char *p, unsigned long pages)
{
	int fd = open("/dev/zero", O_RDONLY);

	CHECK_EQ(read(fd, p, pages * PAGE), pages * PAGE);
	close(fd);
}

static void fewer_exits(void)
{
	char *p = map_aligned(COUNT * PAGE, WINDOW * PAGE);
	unsigned long before, reading, i;

	fill(p, COUNT);
	tdp_faults();		/* which itself touches something the first time */
	before = tdp_faults();
	reading = tdp_faults() - before;
	before = tdp_faults();
	for (i = 0; i < COUNT; i++)
		p[i * PAGE] = i;
	i = tdp_faults() - before - reading;
	if (!no_dune() && (i < COUNT / WINDOW || i > 2 * COUNT / WINDOW))
		FAIL("%lu faults for %lu pages", i, COUNT);
	for (i = 0; i < COUNT; i++)
		CHECK_EQ(p[i * PAGE], i);
	munmap(p, COUNT * PAGE);
}

static sigjmp_buf back;

static void jump(int signo)
{
	siglongjmp(back, signo);
}

/* The signal of an access, or 0. */
static int access_signal(volatile char *p, bool write)
{
	int signo = sigsetjmp(back, 1);

	if (signo)
		return signo;
	if (write)
		*p = 1;
	else
		(void)*p;
	return 0;
}

/* Pages of one window with different rights, and the first touch at each of them. */
static void rights(void)
{
	const int prots[] = { PROT_NONE, PROT_READ, RW };
	char *p = map_aligned(WINDOW * PAGE, WINDOW * PAGE);

	for (unsigned long first = 0; first < WINDOW; first++) {
		CHECK_EQ(mprotect(p, WINDOW * PAGE, RW), 0);
		fill(p, WINDOW);
		for (unsigned long i = 0; i < WINDOW; i++)
			CHECK_EQ(mprotect(p + i * PAGE, PAGE, prots[i % 3]), 0);
		for (unsigned long n = 0; n < WINDOW; n++) {
			unsigned long i = (first + n) % WINDOW;

			CHECK_EQ(access_signal(p + i * PAGE, false), prots[i % 3] == PROT_NONE ? SIGSEGV : 0);
			CHECK_EQ(access_signal(p + i * PAGE, true), prots[i % 3] == RW ? 0 : SIGSEGV);
		}
	}
	munmap(p, WINDOW * PAGE);
}

/* Of a file that ends in the window. */
static void end_of_file(void)
{
	int fd = memfd_create("around", 0);
	char *p;

	for (unsigned long end = 1; end < WINDOW; end++) {
		CHECK_EQ(ftruncate(fd, WINDOW * PAGE), 0);
		p = map_aligned(WINDOW * PAGE, WINDOW * PAGE);
		p = mmap(p, WINDOW * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
		CHECK(p != MAP_FAILED);
		fill(p, WINDOW);
		(void)*(volatile char *)p;
		CHECK_EQ(ftruncate(fd, end * PAGE), 0);
		for (unsigned long i = 0; i < WINDOW; i++) {
			CHECK_EQ(access_signal(p + i * PAGE, false), i < end ? 0 : SIGBUS);
			CHECK_EQ(access_signal(p + i * PAGE, true), i < end ? 0 : SIGBUS);
		}
		munmap(p, WINDOW * PAGE);
	}
	close(fd);
}

/* A private mapping's neighbours are the file's until they are written. */
static void copy_on_write(void)
{
	int fd = memfd_create("around", 0);
	char *shared, *private, *p;

	CHECK_EQ(ftruncate(fd, WINDOW * PAGE), 0);
	shared = mmap(NULL, WINDOW * PAGE, RW, MAP_SHARED, fd, 0);
	p = map_aligned(WINDOW * PAGE, WINDOW * PAGE);
	private = mmap(p, WINDOW * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
	fill(shared, WINDOW);
	for (unsigned long i = 0; i < WINDOW; i++)
		(void)*(volatile char *)(private + i * PAGE);
	for (unsigned long i = 0; i < WINDOW; i += 2)
		private[i * PAGE] = 7;
	for (unsigned long i = 0; i < WINDOW; i++)
		shared[i * PAGE] = 9;
	for (unsigned long i = 0; i < WINDOW; i++)
		CHECK_EQ(private[i * PAGE], i % 2 ? 9 : 7);
	munmap(shared, WINDOW * PAGE);
	munmap(private, WINDOW * PAGE);
	close(fd);
}

/* One thread touches all the time what another gives back to the kernel: what it sees then is gone. */
static volatile bool over;
static char *busy;

static void *touch(void *arg)
{
	unsigned long sum = 0;

	for (unsigned long i = 0; !over; i += 5) {
		sum += busy[i % COUNT * PAGE];
		if (i % COUNT == 0)
			sched_yield();
	}
	return arg ? (void *)sum : NULL;
}

static void races(void)
{
	pthread_t threads[2];

	busy = map_aligned(COUNT * PAGE, WINDOW * PAGE);
	for (unsigned int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, touch, NULL), 0);
	for (unsigned int round = 1; round <= 50; round++) {
		unsigned long from = round % COUNT, n = 1 + round % 7 < COUNT - from ? 1 + round % 7 : COUNT - from;

		for (unsigned long i = 0; i < COUNT; i++)
			busy[i * PAGE] = 1 + round % 100;
		CHECK_EQ(madvise(busy + from * PAGE, n * PAGE, MADV_DONTNEED), 0);
		for (unsigned long i = 0; i < COUNT; i++)
			CHECK_EQ(busy[i * PAGE], i >= from && i < from + n ? 0 : 1 + round % 100);
	}
	over = true;
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	munmap(busy, COUNT * PAGE);
}

int main(void)
{
	enter();
	signal(SIGSEGV, jump);
	signal(SIGBUS, jump);
	fewer_exits();
	rights();
	end_of_file();
	copy_on_write();
	races();
	return 0;
}
