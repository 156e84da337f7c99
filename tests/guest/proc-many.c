// SPDX-License-Identifier: MIT
/*
 * Thousands of threads at once, and a fork by one of them.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc.h"

#define MANY	2500
#define STACK	65536

static pthread_t threads[MANY];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint arrived;

static void *stay(void *arg)
{
	(void)arg;
	CHECK_WORLD("one of many threads");
	arrived++;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return NULL;
}

/* KiB */
static unsigned long available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long value = 0;
	char line[256];

	DIE_UNLESS(f, "/proc/meminfo");
	while (fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %lu", &value);
	fclose(f);
	return value;
}

/* As many as there can be, but no more than @wanted; the error of the one that cannot. */
static unsigned int make(unsigned int wanted, int *error)
{
	pthread_attr_t attr;
	unsigned int n;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setguardsize(&attr, 0);
	arrived = 0;
	*error = 0;
	for (n = 0; n < wanted; n++) {
		*error = pthread_create(&threads[n], &attr, stay, NULL);
		if (*error)
			break;
	}
	while (arrived < n)
		usleep(1000);
	return n;
}

static void join(unsigned int n)
{
	pthread_mutex_unlock(&gate);
	for (unsigned int i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL), "pthread_join");
}

int main(int argc, char **argv)
{
	struct proc_size before, after;
	unsigned long kib;
	unsigned int n;
	int error;

	proc_begin(argc, argv);
	pthread_mutex_lock(&gate);
	before = proc_size();
	kib = available();
	n = make(MANY, &error);
	CHECK(n == MANY, "%u threads at once: %s", n, strerror(error));
	after = proc_size();
	printf("%u threads: RSS %lu KiB more, memory %ld KiB less\n", n, after.resident - before.resident,
	       (long)(kib - available()));
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child of one of many")), EXITED(0), "fork() with many threads");
	join(n);
	return check_result();
}
