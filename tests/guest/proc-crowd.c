// SPDX-License-Identifier: MIT
/*
 * Many threads at once, each with signals: all that one thread sends to the next one come there, once each and in their
 * order, whether that computes, waits or makes calls.
 *
 *	proc-crowd [inside|outside [THREADS [SIGNALS]]]		so many signals to each thread
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "proc.h"

#define STACK		65536
#define MAX_THREADS	2000

static unsigned long nr_threads = 60, nr_signals = 20;
static pthread_t threads[MAX_THREADS];
static pthread_barrier_t all_there, all_sent;
static atomic_ulong total;

static __thread volatile unsigned long received;	/* the next one's value */

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	CHECK_EQUAL(info->si_value.sival_int, received, "the signal that came");
	received++;
}

static void send(pthread_t to, unsigned long n)
{
	const union sigval value = { .sival_int = n };
	int error;

	/* There may be as many that wait as RLIMIT_SIGPENDING says. */
	while ((error = pthread_sigqueue(to, SIGRTMIN, value)) == EAGAIN)
		usleep(1000);
	CHECK_EQUAL(error, 0, "pthread_sigqueue");
}

static volatile unsigned long computed;

static void be_busy(unsigned long kind)
{
	switch (kind % 3) {
	case 0:
		for (unsigned int i = 0; i < 1000; i++)
			computed++;
		sched_yield();
		break;
	case 1:
		poll(NULL, 0, 1);
		break;
	default:
		for (unsigned int i = 0; i < 10; i++)
			getppid();
		sched_yield();
	}
}

static void *one(void *arg)
{
	unsigned long index = (unsigned long)arg;

	CHECK_WORLD("one of a crowd");
	pthread_barrier_wait(&all_there);
	for (unsigned long n = 0; n < nr_signals; n++) {
		send(threads[(index + 1) % nr_threads], n);
		be_busy(index);
	}
	while (received < nr_signals)
		be_busy(index);
	/* Whoever has sent has no more, and nobody goes before that. */
	pthread_barrier_wait(&all_sent);
	CHECK_EQUAL(received, nr_signals, "signals to a thread");
	total += received;
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_attr_t attr;

	if (argc > 2)
		nr_threads = strtoul(argv[2], NULL, 0);
	if (argc > 3)
		nr_signals = strtoul(argv[3], NULL, 0);
	proc_begin(argc, argv);
	DIE_UNLESS(nr_threads > 0 && nr_threads <= MAX_THREADS, "how many threads?");
	sigaction(SIGRTMIN, &action, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_barrier_init(&all_there, NULL, nr_threads + 1);
	pthread_barrier_init(&all_sent, NULL, nr_threads);
	for (unsigned long i = 0; i < nr_threads; i++)
		DIE_UNLESS(!pthread_create(&threads[i], &attr, one, (void *)i), "pthread_create");
	pthread_barrier_wait(&all_there);
	for (unsigned long i = 0; i < nr_threads; i++)
		CHECK(!pthread_join(threads[i], NULL), "pthread_join");
	CHECK_EQUAL(total, nr_threads * nr_signals, "signals in all");
	return check_result();
}
