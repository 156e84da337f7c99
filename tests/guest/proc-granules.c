// SPDX-License-Identifier: MIT
/*
 * More granules, one after another, than guest-physical memory has: those whose memory is gone
 * come back.
 */
#include <pthread.h>
#include <sched.h>
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

/*
 * The parent loses a granule, and has another in its place, before its child runs for the first time: the child still
 * has memory there.  On one CPU nothing else runs beside a real-time process that does not sleep.
 */
static void lost_behind_the_fork(void)
{
	struct sched_param first = { .sched_priority = 10 }, normal = { 0 };
	volatile unsigned long *old = (void *)FIRST;
	int fds[2], status;
	char byte = 0;
	pid_t pid;

	DIE_UNLESS(!pipe(fds), "pipe");
	use(FIRST, 77);
	DIE_UNLESS(!sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first), "SCHED_FIFO");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		check_failures = 0;
		CHECK_EQUAL(read(fds[0], &byte, 1), 1, "read");
		CHECK_EQUAL(byte, 'x', "what the parent wrote before it waited");
		CHECK_EQUAL(*old, 77, "memory that only the child still has");
		*old = 78;
		use(FIRST + GIB, 5);
		CHECK_EQUAL(*old, 78, "what the child wrote");
		walk(FIRST + 2 * GIB, 1200, 1);
		CHECK_EQUAL(*old, 78, "what the child wrote");
		fflush(stdout);
		_exit(check_failures != 0);
	}
	munmap((void *)old, 4096);
	walk(FIRST + (1UL << 42), 2100, 1);	/* so that every place has been another's */
	CHECK_EQUAL(write(fds[1], "x", 1), 1, "write");
	DIE_UNLESS(!sched_setscheduler(0, SCHED_OTHER, &normal), "SCHED_OTHER");
	status = proc_wait(pid);
	CHECK_EQUAL(status, EXITED(0), "a child whose parent was faster");
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
	lost_behind_the_fork();
	return check_result();
}
