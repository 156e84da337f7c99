// SPDX-License-Identifier: MIT
/*
 * More granules, one after another, than guest-physical memory has: those whose memory is gone
 * come back.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "proc.h"

#define GIB	(1UL << 30)
#define FIRST	0x100000000000UL
#define AGAIN	64

static void use(unsigned long address, unsigned long value)
{
	volatile unsigned long *p = mmap((void *)address, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	DIE_UNLESS(p == (void *)address, "mmap");
	CHECK_EQUAL(*p, 0, "fresh memory");
	*p = value;
	CHECK_EQUAL(*p, value, "what was written");
}

static void walk(unsigned long first, unsigned long count, unsigned long step)
{
	for (unsigned long i = 0; i < count; i++) {
		use(first + i * step * GIB, i + 1);
		/* Some stay for a while: what was taken back must not be theirs. */
		if (i >= AGAIN) {
			volatile unsigned long *old = (void *)(first + (i - AGAIN) * step * GIB);

			CHECK_EQUAL(*old, i - AGAIN + 1, "memory that stayed");
			munmap((void *)old, 4096);
		}
	}
	for (unsigned long i = count - AGAIN; i < count; i++)
		munmap((void *)(first + i * step * GIB), 4096);
}

static void *walks(void *arg)
{
	walk(FIRST + (unsigned long)arg * (1UL << 42), 700, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[3];

	proc_begin(argc, argv);
	walk(FIRST, 1500, 1);
	/* The same addresses again: their entries were dropped, or are right. */
	walk(FIRST, 200, 1);
	walk(FIRST + 5 * GIB, 1200, 3);
	for (unsigned long i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, walks, (void *)(i + 1));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQUAL(IN_CHILD(walk(FIRST, 1200, 1)), EXITED(0), "in a child");
	return check_result();
}
