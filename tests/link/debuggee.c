// SPDX-License-Identifier: MIT
/* A program to be debugged: threads, a child, a signal, a fault, an exit status. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct item {
	int number;
	const char *name;
	double half;
};

static volatile int caught, counted;
int *volatile nowhere = (int *)8;
static pthread_barrier_t barrier;

__attribute__((noinline)) int twice(struct item *item)
{
	int result = item->number * 2;

	item->half = item->number / 2.0;
	return result;
}

__attribute__((noinline)) int sum(int count)
{
	struct item item = { .name = "an item" };
	int total = 0;

	for (int i = 1; i <= count; i++) {
		item.number = i;
		total += twice(&item);
	}
	return total;
}

static void on_signal(int signo)
{
	caught += signo;
}

static void *work(void *name)
{
	pthread_setname_np(pthread_self(), name);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 100; i++)
		__atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
	pthread_barrier_wait(&barrier);
	return NULL;
}

__attribute__((noinline)) void threads(void)
{
	static const char *const names[] = { "first", "second", "third" };
	pthread_t thread[3];

	pthread_barrier_init(&barrier, NULL, 4);
	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, work, (void *)names[i]);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
}

__attribute__((noinline)) int child(void)
{
	struct item item = { .number = 21 };
	int status;

	if (!fork())
		_exit(twice(&item));	/* a breakpoint there is its parent's */
	wait(&status);
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int total;

	signal(SIGUSR1, on_signal);
	total = sum(3);
	printf("sum %d\n", total);
	threads();
	printf("counted %d\n", counted);
	printf("child %d\n", child());
	raise(SIGUSR1);
	printf("caught %d\n", caught);
	fflush(stdout);
	if (!strcmp(what, "loop"))
		for (;;)
			counted++;
	if (!strcmp(what, "sleep"))
		sleep(1000);
	if (!strcmp(what, "fault"))
		*nowhere = total;
	if (!strcmp(what, "exec"))
		execlp("true", "true", NULL);
	return 42;
}
