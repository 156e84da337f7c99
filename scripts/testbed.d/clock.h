/* SPDX-License-Identifier: MIT */
/*
 * The clock by which a machine's limits go: its emulator's share of the host.
 *
 * An emulated machine shares the host's CPUs with whatever else runs there, and on a busy host its own clock, which is
 * the host's, is quicker than it is. So seconds count for a process as far as the scheduler had CPUs for it
 * (/proc/PID/task/TID/schedstat: how long a thread ran, how long it waited for a CPU although it could run): of each
 * interval, what its threads waited does not count, but as much as the one ran that ran longest does. Where no thread
 * wants a CPU, all of it counts: a machine that sleeps for ever is found in time. On a host that is slow by itself, a
 * second counts less, too.
 */
#ifndef TESTBED_CLOCK_H
#define TESTBED_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CLOCK_THREADS	512	/* more of them are not looked at */

struct clock_thread {
	pid_t tid;
	double ran, waited;	/* when it was looked at last */
	double owed;		/* waited, and not taken off yet; negative: taken off, and not told by the kernel yet */
	bool seen;
};

struct clock {
	double seconds;		/* what the clock shows */
	double got, waited;	/* CPU seconds of all threads; what they waited for a CPU */
	double speed;		/* of the host: at most 1 */
	double looked;		/* at the host's clock */
	double lost;		/* of the host's seconds, those that did not count */
	size_t count;
	struct clock_thread threads[CLOCK_THREADS];
};

/* Where the kernel shows processes; a test has its own. */
extern const char *clock_proc;

/* The host's clock. */
double clock_host(void);

/* At most 1: how quick this host is, beside the one for which limits were chosen. Takes some 20 ms. */
double clock_speed(void);

void clock_start(struct clock *clock, double speed, double host);

/* Looks at @pid and all that it has started. To be called several times in a second; more is no harm. */
void clock_look(struct clock *clock, pid_t pid, double host);

#endif
