// SPDX-License-Identifier: MIT
/*
 * What an ordinary program pays for a call, a fault, a signal, a thread and a process: medians, in ticks of the
 * time-stamp counter, which counts instructions on vmx.  Run as it is, by dune-run and by dune-run --ring0 it gives the
 * table of doc/design/program.md.
 *
 *	rings -- COMMAND [ARG...]
 *
 * is what that command takes from posix_spawn() to its end; its output goes to /dev/null (tests/bench/programs).
 *
 *	rings pages
 *
 * is how many pages a fork copies, and how large the child's page table is (doc/performance.md, "Memory").
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define SAMPLES		101
#define STARTS		21
#define RUNS		3
#define PAGE		4096

extern char **environ;
static char page[PAGE] __attribute__((aligned(PAGE)));

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

#define MEDIAN(name, count, ...) do {						\
	long samples[count];							\
										\
	for (int i = 0; i < (count); i++) {					\
		long start = __rdtsc();						\
										\
		__VA_ARGS__;							\
		samples[i] = __rdtsc() - start;					\
	}									\
	qsort(samples, count, sizeof(long), compare);				\
	printf("%-36s %9ld\n", name, samples[(count) / 2]);			\
	fflush(stdout);								\
} while (0)

static void on_signal(int signo)
{
	(void)signo;
}

static void on_fault(int signo)
{
	(void)signo;
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

static void *nothing(void *arg)
{
	return arg;
}

static int command(char **words)
{
	posix_spawn_file_actions_t actions;
	int status, worst = 0;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	MEDIAN(words[0], RUNS, status = -1; if (!posix_spawnp(&pid, words[0], &actions, NULL, words, environ))
	       waitpid(pid, &status, 0); worst |= status);
	if (worst)
		fprintf(stderr, "rings: %s did not end with 0\n", words[0]);
	return worst != 0;
}

#define TEXT		(1 << 20)

/* The sum of what stands behind each @name, in KiB. */
static long sum_of(const char *text, const char *name)
{
	long sum = 0;

	while ((text = strstr(text, name))) {
		text += strlen(name);
		sum += strtol(text, NULL, 10);
	}
	return sum;
}

static void read_file(pid_t pid, const char *name, char *to)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY);
	while ((n = read(fd, to, TEXT - 1)) > 0)
		to += n;
	*to = 0;
	close(fd);
}

/*
 * A page of the child's that is nobody else's was copied: either for it, or for the parent, which wrote to it first.
 * What is written here goes to shared memory, but for the stack.
 */
static int pages(void)
{
	char *text = mmap(NULL, 4 * TEXT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int go[2];

	if (text == MAP_FAILED || pipe(go))
		return 1;
	for (int i = 0; i < 3; i++) {	/* the first has more to prepare */
		pid_t pid = fork();

		if (!pid) {
			char byte;

			close(go[1]);
			_exit(read(go[0], &byte, 1) == 1);
		}
		usleep(100000);		/* until it waits */
		read_file(pid, "smaps", text);
		read_file(pid, "status", text + 2 * TEXT);
		printf("copied %ld pages, page table %ld KiB\n", sum_of(text, "\nPrivate_Dirty:") * 1024 / PAGE,
		       sum_of(text + 2 * TEXT, "\nVmPTE:"));
		fflush(stdout);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	char *started[] = { argv[0], "started", NULL };
	char *fresh = mmap(NULL, SAMPLES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const char file[] = "/tmp/rings/file", symbolic[] = "/tmp/rings/link";
	struct stat st;
	pthread_t thread;
	long n = 0;
	int fd, opened;
	pid_t pid;

	if (argc > 2)
		return command(argv + 2);
	if (argc > 1)
		return strcmp(argv[1], "pages") ? 0 : pages();
	mkdir("/tmp/rings", 0700);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	symlink("file", symbolic);
	fd = open("/dev/zero", O_RDONLY);
	for (int i = 0; i < 20; i++)
		syscall(SYS_getpid);
	MEDIAN("getpid()", SAMPLES, syscall(SYS_getpid));
	MEDIAN("read() of a byte", SAMPLES, n += read(fd, page, 1));
	MEDIAN("stat()", SAMPLES, n += stat(file, &st));
	MEDIAN("open()", SAMPLES, opened = open(file, O_RDONLY); close(opened));
	MEDIAN("open() by a link", SAMPLES, opened = open(symbolic, O_RDONLY); close(opened));
	MEDIAN("open() of O_PATH", SAMPLES, opened = open(file, O_PATH); close(opened));
	MEDIAN("first touch of a page", SAMPLES, fresh[i * PAGE] = 1);
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	MEDIAN("signal", SAMPLES, syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
	signal(SIGSEGV, on_fault);
	MEDIAN("page fault and mprotect()", SAMPLES, mprotect(page, PAGE, PROT_READ); *page = 1);
	MEDIAN("pthread_create(), pthread_join()", SAMPLES, pthread_create(&thread, NULL, nothing, NULL);
	       pthread_join(thread, NULL));
	MEDIAN("fork, exit, wait", SAMPLES, pid = fork(); if (!pid) _exit(0); waitpid(pid, NULL, 0));
	MEDIAN("posix_spawn(), wait", STARTS, posix_spawn(&pid, argv[0], NULL, NULL, started, environ);
	       waitpid(pid, NULL, 0));
	return 0;
}
