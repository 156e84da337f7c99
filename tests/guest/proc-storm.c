// SPDX-License-Identifier: MIT
/*
 * A storm of queued signals between threads: each arrives once, with its value, and whatever the
 * receivers do meanwhile comes out right.
 *
 *	proc-storm inside|outside COUNT
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "proc.h"

#define RECEIVERS	3
#define QUEUED_MAX	200
#define PATIENCE	5.0		/* seconds without any signal */

static pthread_t receivers[RECEIVERS];
static atomic_ulong received[RECEIVERS], sums[RECEIVERS], computed;
static atomic_uint running;
static __thread int me = -1;
static volatile bool over;

static void receive(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	received[me]++;
	sums[me] += info->si_value.sival_int;
}

/* System calls, faults and plain computation, all interrupted. */
static void *works(void *arg)
{
	unsigned long state = 1, rounds = 0, wrong = 0;
	char *memory = NULL;

	me = (int)(long)arg;
	running++;
	while (!over) {
		unsigned long next = state * 6364136223846793005UL + 1442695040888963407UL;
		double square = (double)(next >> 40) * (double)(next >> 40);

		if (rounds % 16 == 0 && syscall(SYS_getpid) != getpid())
			wrong++;
		if (rounds % 1024 == 0) {
			free(memory);
			memory = malloc(200000);
			memset(memory, rounds, 200000);
		}
		if (square != (double)(next >> 40) * (double)(next >> 40))
			wrong++;
		state = next;
		rounds++;
	}
	free(memory);
	computed += rounds;
	return (void *)wrong;
}

/* Wait until all but @most of what was sent to @to has been received. */
static void wait_for(unsigned int to, unsigned long sent, long most)
{
	unsigned long before = 0;
	double since = 0;

	while ((long)(sent - received[to]) > most) {
		if (received[to] != before || !since) {
			before = received[to];
			since = check_seconds();
		}
		if (check_seconds() - since > PATIENCE) {
			CHECK_EQUAL(received[to], sent, "signals received of those sent");
			_exit(1);
		}
		sched_yield();
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = receive, .sa_flags = SA_SIGINFO | SA_RESTART };
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 20000;
	unsigned long sent[RECEIVERS] = { 0 }, sent_sums[RECEIVERS] = { 0 };
	void *wrong;

	proc_begin(argc, argv);
	for (int i = 0; i < 4; i++)
		sigaction(SIGRTMIN + i, &action, NULL);
	for (long i = 0; i < RECEIVERS; i++)
		DIE_UNLESS(!pthread_create(&receivers[i], NULL, works, (void *)i), "pthread_create");
	while (running < RECEIVERS)	/* before that, a handler would not know whose it is */
		sched_yield();
	for (unsigned long i = 0; i < count; i++) {
		int to = i % RECEIVERS, error;

		wait_for(to, sent[to], QUEUED_MAX);
		error = pthread_sigqueue(receivers[to], SIGRTMIN + i % 4, (union sigval){ .sival_int = i & 0xffff });
		if (error == EAGAIN) {
			sched_yield();
			i--;
			continue;
		}
		CHECK_EQUAL(error, 0, "pthread_sigqueue");
		sent[to]++;
		sent_sums[to] += i & 0xffff;
	}
	for (int i = 0; i < RECEIVERS; i++)
		wait_for(i, sent[i], 0);
	over = true;
	for (int i = 0; i < RECEIVERS; i++) {
		pthread_join(receivers[i], &wrong);
		CHECK_EQUAL(wrong, 0, "wrong results");
		CHECK_EQUAL(received[i], sent[i], "signals received");
		CHECK_EQUAL(sums[i], sent_sums[i], "the sum of their values");
	}
	printf("%lu signals, %lu rounds\n", count, (unsigned long)computed);
	return check_result();
}
