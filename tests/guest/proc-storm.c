// SPDX-License-Identifier: MIT
/*
 * A storm of signals between threads: each arrives once, with its value and in its turn, and whatever the
 * receivers do meanwhile comes out right.
 *
 *	proc-storm inside|outside COUNT
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "patience.h"
#include "proc.h"

#define RECEIVERS	3
#define QUEUED_MAX	50		/* of one lane */
#define PATIENCE	20.0		/* seconds without any signal */
#define REPORT		500000

/*
 * A lane is one signal from one sender to one receiver.  A handler's own signal is blocked, and signals of one number
 * are queued in order: so number n of a lane has the value n, and is the (n + 1)th to arrive. The last lane is an
 * ordinary signal, of which a second one is sent only when the first has arrived.
 */
enum { FROM_MAIN = 4, FROM_NEIGHBOUR = FROM_MAIN, ORDINARY, LANES };

static struct lane {
	atomic_ulong sent, received, wrong;
} lanes[RECEIVERS][LANES];

static atomic_int receivers[RECEIVERS];	/* their numbers */
static pid_t process;
static atomic_ulong computed;
static atomic_uint running, quiet;
static volatile bool sending = true, over;
static __thread int me = -1;

static int lane_signal(int lane)
{
	return lane == ORDINARY ? SIGUSR1 : SIGRTMIN + lane;
}

static void receive(int signo, siginfo_t *info, void *context)
{
	struct lane *lane = &lanes[me][signo == SIGUSR1 ? ORDINARY : signo - SIGRTMIN];

	(void)context;
	if (signo != SIGUSR1 && (unsigned int)info->si_value.sival_int != (unsigned int)lane->received)
		lane->wrong++;
	lane->received++;
}

/* Returns whether there was room for one. */
static bool send_to(unsigned int to, int lane)
{
	struct lane *l = &lanes[to][lane];
	int signo = lane_signal(lane);
	siginfo_t info = { .si_signo = signo, .si_code = SI_QUEUE };
	long result;

	if (l->sent - l->received >= (lane == ORDINARY ? 1 : QUEUED_MAX))
		return false;
	info.si_value.sival_int = l->sent;
	/* One call each: the C library's functions make three. */
	if (lane == ORDINARY)
		result = syscall(SYS_tgkill, process, receivers[to], signo);
	else
		result = syscall(SYS_rt_tgsigqueueinfo, process, receivers[to], signo, &info);
	if (result && errno == EAGAIN)
		return false;
	CHECK_EQUAL(result, 0, "sending a signal");
	l->sent++;
	return true;
}

/* System calls, faults, signals to the next one and plain computation, all interrupted. */
static void *works(void *arg)
{
	unsigned long state = 1, rounds = 0, wrong = 0;
	char *memory = NULL;
	bool told = false;

	me = (int)(long)arg;
	receivers[me] = syscall(SYS_gettid);
	running++;
	while (running < RECEIVERS)
		sched_yield();
	while (!over) {
		unsigned long next = state * 6364136223846793005UL + 1442695040888963407UL;
		double square = (double)(next >> 40) * (double)(next >> 40);

		if (rounds % 64 == 0 && syscall(SYS_getpid) != process)
			wrong++;
		if (rounds % 16 == 8 && sending)
			send_to((me + 1) % RECEIVERS, FROM_NEIGHBOUR);
		if (!sending && !told) {
			told = true;
			quiet++;
		}
		if (rounds % 1024 == 0) {
			free(memory);
			memory = malloc(200000);
			memset(memory, rounds, 200000);
		}
		if (square != (double)(next >> 40) * (double)(next >> 40))
			wrong++;
		state = next;
		if (++rounds % 256 == 0)
			sched_yield();
	}
	free(memory);
	computed += rounds;
	return (void *)wrong;
}

static unsigned long total(bool received)
{
	unsigned long sum = 0;

	for (int i = 0; i < RECEIVERS; i++)
		for (int lane = 0; lane < LANES; lane++)
			sum += received ? lanes[i][lane].received : lanes[i][lane].sent;
	return sum;
}

/* With one CPU a receiver may be slow to have its turn, and to send. */
static bool all_lanes_used(void)
{
	for (int i = 0; i < RECEIVERS; i++)
		for (int lane = 0; lane < LANES; lane++)
			if (!lanes[i][lane].sent)
				return false;
	return true;
}

/* Let the receivers run.  Ends the program when they have stood still for too long. */
static void let_receive(void)
{
	static unsigned long before, reported;
	static double since;
	unsigned long now = total(true);

	if (now != before || !since) {
		before = now;
		since = patience_seconds();
	}
	if (patience_seconds() - since > PATIENCE) {
		CHECK_EQUAL(now, total(false), "signals received of those sent");
		_exit(1);
	}
	if (now - reported >= REPORT) {
		reported = now;
		printf("%lu signals after %.0f s\n", now, check_seconds());
		fflush(stdout);
	}
	sched_yield();
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = receive, .sa_flags = SA_SIGINFO | SA_RESTART };
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 20000;
	double start = check_seconds();
	pthread_t threads[RECEIVERS];
	void *wrong;

	proc_begin(argc, argv);
	process = getpid();
	for (int lane = 0; lane < LANES; lane++)
		sigaction(lane_signal(lane), &action, NULL);
	for (long i = 0; i < RECEIVERS; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, works, (void *)i), "pthread_create");
	while (running < RECEIVERS)	/* before that, a handler would not know whose it is */
		sched_yield();
	while (total(false) < count || !all_lanes_used()) {
		for (int to = 0; to < RECEIVERS; to++) {
			for (int lane = 0; lane < FROM_MAIN; lane++)
				while (send_to(to, lane))
					;
			send_to(to, ORDINARY);
		}
		let_receive();
	}
	sending = false;
	while (quiet < RECEIVERS || total(true) < total(false))
		let_receive();
	over = true;
	for (int i = 0; i < RECEIVERS; i++) {
		pthread_join(threads[i], &wrong);
		CHECK_EQUAL(wrong, 0, "wrong results");
		for (int lane = 0; lane < LANES; lane++) {
			const struct lane *l = &lanes[i][lane];

			CHECK_EQUAL(l->received, l->sent, "signals received");
			CHECK_EQUAL(l->wrong, 0, "values out of turn");
			CHECK(l->sent, "nothing was sent to %d by lane %d", i, lane);
		}
	}
	printf("%lu signals, of them %lu between receivers and %lu ordinary, %lu rounds, %.0f s\n", total(true),
	       lanes[0][FROM_NEIGHBOUR].sent + lanes[1][FROM_NEIGHBOUR].sent + lanes[2][FROM_NEIGHBOUR].sent,
	       lanes[0][ORDINARY].sent + lanes[1][ORDINARY].sent + lanes[2][ORDINARY].sent,
	       (unsigned long)computed, check_seconds() - start);
	return check_result();
}
