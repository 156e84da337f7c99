// SPDX-License-Identifier: MIT
/*
 * What the dirty bits of the program's page table do not see, as dune_vm_scan(3) says; and dune_threads_outside(),
 * which says whether threads are there whose stores are not seen.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "check.h"
#include "mode.h"
#include "proc.h"

#define PAGE	4096UL
#define NR	64UL

static char *area, *alias;
static int pipes[2];
static atomic_int step;

/* Sleeps in between, or the others would wait for it on one CPU. */
static void await_step(int wanted)
{
	while (atomic_load(&step) < wanted)
		usleep(1000);
}

static void *outside(void *arg)
{
	atomic_store(&step, 1);
	await_step(2);
	area[3 * PAGE] = 1;
	CHECK_EQUAL(read(pipes[0], area + 5 * PAGE, 1), 1, "read outside");
	atomic_store(&step, 3);
	await_step(4);
	return arg;
}

static void *inside(void *arg)
{
	atomic_store(&step, 5);
	await_step(6);
	return arg;
}

/* Bit i: page i has been written since the last time. */
static uint64_t written(void)
{
	uint64_t bitmap = 0;
	long n = dune_vm_scan(dune_vm_root(), area, NR * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR | DUNE_VM_SPLIT, &bitmap);

	CHECK(n >= 0, "dune_vm_scan: %ld", n);
	return bitmap;
}

/* @pid's, or our own, /proc/PID/mem. */
static void write_memory(pid_t pid, char *to)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_EQUAL(pwrite(fd, "m", 1, (off_t)(uintptr_t)to), 1, "/proc/PID/mem");
	close(fd);
}

static void write_from_process(void)
{
	pid_t parent = getpid();
	int status = IN_CHILD(
		char byte = 'v';
		struct iovec here = { &byte, 1 };
		struct iovec there = { area + 11 * PAGE, 1 };

		area[13 * PAGE] = 1;	/* shared memory */
		CHECK_EQUAL(process_vm_writev(parent, &here, 1, &there, 1, 0), 1, "process_vm_writev");
		write_memory(parent, area + 15 * PAGE)
	);

	CHECK_EQUAL(status, 0, "the other process");
}

int main(void)
{
	pthread_t thread;
	int error, fd = memfd_create("memory", 0);

	DIE_UNLESS(fd >= 0 && !ftruncate(fd, NR * PAGE) && !pipe(pipes), "memfd_create");
	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	alias = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(area, 1, NR * PAGE);
	CHECK_EQUAL(dune_threads_outside(), 1, "threads outside before dune_init()");
	pthread_create(&thread, NULL, outside, NULL);
	await_step(1);
	CHECK_EQUAL(dune_threads_outside(), 2, "... with another one");
	dune_set_option(DUNE_OPT_QUIET, true);
	error = mode_enter();
	DIE_UNLESS(!error, "dune_enter");
	CHECK_EQUAL(dune_threads_outside(), 1, "threads outside while one is");

	written();
	CHECK_EQUAL(write(pipes[1], "ab", 2), 2, "write");
	area[7 * PAGE] = 2;
	CHECK_EQUAL(read(pipes[0], area + 9 * PAGE, 1), 1, "read");
	CHECK_EQUAL(written(), 1UL << 7 | 1UL << 9, "stores and calls of a thread in Dune mode");
	atomic_store(&step, 2);
	await_step(3);
	CHECK(area[3 * PAGE] == 1 && area[5 * PAGE] == 'b', "what the thread outside wrote is there");
	CHECK_EQUAL(written(), 0, "stores and calls of a thread outside");

	write_from_process();
	CHECK(area[11 * PAGE] == 'v' && area[15 * PAGE] == 'm', "what another process wrote is there");
	CHECK_EQUAL(written(), 0, "stores of another process, and by its calls");
	alias[17 * PAGE] = 3;
	CHECK_EQUAL(area[17 * PAGE], 3, "what was written through another mapping is there");
	CHECK_EQUAL(written(), 0, "stores through another mapping");

	atomic_store(&step, 4);
	pthread_join(thread, NULL);
	CHECK_EQUAL(dune_threads_outside(), 0, "threads outside when it has ended");
	pthread_create(&thread, NULL, inside, NULL);
	await_step(5);
	CHECK_EQUAL(dune_threads_outside(), 0, "... with another one in Dune mode");
	CHECK_EQUAL(dune_leave(), 0, "dune_leave");
	CHECK_EQUAL(dune_threads_outside(), 1, "threads outside after dune_leave()");
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	CHECK_EQUAL(IN_CHILD(CHECK_EQUAL(dune_threads_outside(), 0, "in a child")), 0, "a child");
	atomic_store(&step, 6);
	pthread_join(thread, NULL);
	return check_result();
}
