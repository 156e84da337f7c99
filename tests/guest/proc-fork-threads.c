// SPDX-License-Identifier: MIT
/*
 * Forks by several threads at once, in Dune mode and outside: what a child has of libdune's is whole, whatever the
 * other threads were at.  The forks are the kernel's own: those of glibc wait for each other.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "proc.h"

#define THREADS	3		/* in Dune mode */
#define ROUNDS	5
#define SECONDS	100		/* for a child */

extern uint32_t *__dune_memory_mutex;

static atomic_uint entered;
static atomic_bool go, hold;

/* What the lock holds while HR3 has it: no thread in GR0 takes it for its own (libdune/threads/threads.h). */
#define HOLDER_HOST	0x10000

static void lock(void)
{
	while (__atomic_exchange_n(__dune_memory_mutex, HOLDER_HOST, __ATOMIC_ACQUIRE))
		;
}

static void unlock(void)
{
	__atomic_store_n(__dune_memory_mutex, 0, __ATOMIC_RELEASE);
}

/* A child that waits for the lock has all signals blocked. */
static void end_in_time(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	const struct itimerspec time = { .it_value.tv_sec = SECONDS };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &time, NULL))
		_exit(3);
}

/* The first page of the pool; what describes it lies beside the thread areas. */
static void child_allocates(void)
{
	_exit(dune_in_dune_mode() && dune_page_alloc() ? 0 : 1);
}

static void *forks(void *arg)
{
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	entered++;
	while (!go)
		sched_yield();
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = syscall(SYS_fork);

		if (!pid) {
			end_in_time();
			child_allocates();
		}
		CHECK_EQUAL(proc_wait(pid), EXITED(0), "a child of one of several threads that fork");
	}
	return arg;
}

/* Its child ends before clone() returns. */
static void *forks_slowly(void *arg)
{
	pid_t pid;

	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	entered++;
	pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		sleep(2);
		child_allocates();
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a child that is waited for");
	return arg;
}

static void *stays(void *arg)
{
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	entered++;
	while (hold)
		sched_yield();
	return arg;
}

static void *holds_the_lock(void *arg)
{
	CHECK_EQUAL(dune_enter(), 0, "dune_enter");
	lock();
	entered++;
	while (hold)
		__builtin_ia32_pause();
	unlock();
	return arg;
}

static void start(pthread_t *threads, unsigned int n, void *(*fn)(void *))
{
	entered = 0;
	for (unsigned int i = 0; i < n; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, fn, NULL), "pthread_create");
	while (entered < n)
		usleep(1000);
}

static void join(pthread_t *threads, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* All of them have begun to fork when the first one can. */
static void together(void)
{
	pthread_t threads[THREADS];

	start(threads, THREADS, forks);
	lock();
	go = true;
	usleep(300000);
	unlock();
	join(threads, THREADS);
}

/* A child of this thread's, which is outside: what dune_enter() returns there. */
static void enter_in_child(int expected)
{
	pid_t pid = syscall(SYS_fork);

	if (!pid) {
		end_in_time();
		if (dune_enter() != expected)
			_exit(2);
		if (expected)
			_exit(dune_in_dune_mode());
		child_allocates();
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a child that enters");
}

/* Another thread forks too.  It is not the first one, so what it has is left out of other forks, but of this one. */
static void outside_beside_fork(void)
{
	pthread_t first, forker;

	hold = true;
	start(&first, 1, stays);
	start(&forker, 1, forks_slowly);
	usleep(300000);
	enter_in_child(0);
	join(&forker, 1);
	hold = false;
	join(&first, 1);
}

static void outside_beside_change(void)
{
	pthread_t thread;

	hold = true;
	start(&thread, 1, holds_the_lock);
	enter_in_child(-EBUSY);
	hold = false;
	join(&thread, 1);
}

int main(void)
{
	DIE_UNLESS(!dune_init(true), "dune_init");
	dune_set_option(DUNE_OPT_QUIET, true);
	together();
	outside_beside_fork();
	outside_beside_change();
	enter_in_child(0);
	return check_result();
}
