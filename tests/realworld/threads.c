// SPDX-License-Identifier: MIT
/*
 * Threads, signals, faults that a handler repairs, and children: what sanitizers, valgrind and C libraries must bear.
 * Each line is the same in every run.  With an argument it makes the mistake of that name instead.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS		8
#define ROUNDS		300
#define PAGES		40
#define PAGE		4096

extern char **environ;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int locked, running, racing;
static atomic_int counted, alarms, told, repaired;
static __thread int own;
static char *pages;
static sigjmp_buf back;
static char handlers[1 << 16];

static void on_alarm(int signo)
{
	(void)signo;
	atomic_fetch_add(&alarms, 1);
}

static void on_told(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)context;
	if (info->si_pid == getpid())
		atomic_fetch_add(&told, 1);
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
	char *at = info->si_addr;

	(void)signo, (void)context;
	if (at < pages || at >= pages + PAGES * PAGE)
		siglongjmp(back, 1);
	mprotect(pages + (at - pages) / PAGE * PAGE, PAGE, PROT_READ | PROT_WRITE);
	atomic_fetch_add(&repaired, 1);
}

static void handle(int signo, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

	sigaction(signo, &action, NULL);
}

static void *work(void *arg)
{
	char *volatile room;
	int sum = 0;

	for (int i = 0; i < ROUNDS; i++) {
		room = malloc(1 + i * 7 % 3000);
		room[0] = i;
		pthread_mutex_lock(&lock);
		locked += room[0] == (char)i;
		pthread_mutex_unlock(&lock);
		atomic_fetch_add(&counted, 1);
		sum += ++own == i + 1;
		free(room);
	}
	pthread_kill(pthread_self(), SIGUSR1);
	for (int i = (int)(long)arg; i < PAGES; i += THREADS)
		pages[i * PAGE] = 1;
	pthread_mutex_lock(&lock);
	running--;
	pthread_cond_broadcast(&changed);
	while (running)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return (void *)(long)(sum == ROUNDS);
}

static void threads(void)
{
	pthread_t thread[THREADS];
	void *result;
	int good = 0;

	running = THREADS;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &result);
		good += result != NULL;
	}
	printf("threads %d, locked %d, counted %d, told %d, repaired %d\n", good, locked, counted, told, repaired);
}

/* A handler may leave by siglongjmp(). */
static void leave(void)
{
	volatile int left = 0;

	for (volatile int i = 0; i < 20; i++) {
		if (sigsetjmp(back, 1))
			left++;
		else
			*(volatile char *)(8L * i) = 1;
	}
	printf("left %d\n", left);
}

static void children(const char *self)
{
	char *argv[] = { (char *)self, "child", NULL };
	char line[100] = "";
	int status;
	FILE *pipe;
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		fflush(stdout);
		pid = fork();
		if (!pid && i % 2)
			_exit(i);
		if (!pid) {
			execv(self, argv);
			_exit(99);
		}
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		printf("fork %d: %#x\n", i, status);
	}
	for (int i = 0; i < 2; i++) {
		printf("spawn: %d", posix_spawn(&pid, self, NULL, NULL, argv, environ));
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		printf(" %#x\n", status);
	}
	pipe = popen("echo a line; kill -TERM $$", "r");
	if (fgets(line, sizeof(line), pipe))
		printf("read %s", line);
	status = pclose(pipe);
	printf("pclose %#x\n", status);
}

static void *race(void *arg)
{
	for (int i = 0; i < 1000; i++)
		racing++;
	return arg;
}

/* What still lies on the stack or in a register would not be lost: so from deep down. */
static __attribute__((noinline)) char lose(int depth)
{
	volatile char room[200] = { 0 };

	return depth ? lose(depth - 1) + room[depth] : *(char *)memset(malloc(1234), 0, 1);
}

static int mistake(const char *name)
{
	char *volatile room;
	pthread_t thread;

	if (!strcmp(name, "child"))
		return 7;
	if (!strcmp(name, "leak"))
		return lose(20);
	room = malloc(100);
	if (!strcmp(name, "overflow"))
		room[100] = 1;
	if (!strcmp(name, "after-free")) {
		free(room);
		room[1] = 1;
	}
	if (!strcmp(name, "unset") && room[5] == 1)
		puts("it was 1");
	if (!strcmp(name, "race")) {
		pthread_create(&thread, NULL, race, NULL);
		race(NULL);
		pthread_join(thread, NULL);
	}
	if (!strcmp(name, "null"))
		*(volatile int *)0 = 1;
	if (!strcmp(name, "abort"))
		abort();
	free(room);
	return 0;
}

int main(int argc, char **argv)
{
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { 0 };
	stack_t stack = { .ss_sp = handlers, .ss_size = sizeof(handlers) };
	volatile long spin = 0;

	if (argc > 1)
		return mistake(argv[1]);
	sigaltstack(&stack, NULL);
	pages = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	signal(SIGALRM, on_alarm);
	handle(SIGUSR1, on_told);
	handle(SIGSEGV, on_fault);
	setitimer(ITIMER_REAL, &often, NULL);
	while (alarms < 5)
		spin++;
	threads();
	leave();
	setitimer(ITIMER_REAL, &never, NULL);
	children(argv[0]);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int seen = alarms; alarms < seen + 5; )
		pause();
	setitimer(ITIMER_REAL, &never, NULL);
	puts("alarms came");
	munmap(pages, PAGES * PAGE);
	return 3;
}
