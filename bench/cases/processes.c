// SPDX-License-Identifier: MIT
/*
 * Threads, processes, a system call and signals to oneself: in this static program, which has nothing else, and in an
 * ordinary one, which the dynamic linker has started, as it is and by dune-run.
 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench.h"

static void *count_thread(void *arg)
{
	(void)arg;
	bench_work++;
	return NULL;
}

static uint64_t create_thread(unsigned int i)
{
	uint64_t start = ticks(), end;
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, count_thread, NULL);

	(void)i;
	if (!ret)
		ret = pthread_join(thread, NULL);
	end = ticks();
	must(!ret);
	return end - start;
}

static bool ended_with(pid_t child, int code)
{
	int status;

	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static uint64_t fork_exit_wait(unsigned int i)
{
	uint64_t start = ticks(), end;
	pid_t child = fork();
	bool ended;

	(void)i;
	if (!child)
		_exit(3);
	ended = ended_with(child, 3);
	end = ticks();
	bench_work += ended;
	return end - start;
}

/* run --exit does nothing but exit with 3; after exec it is outside Dune mode. */
static char * const exit_words[] = { "run", "--exit", "3", NULL };

static uint64_t fork_exec_wait(unsigned int i)
{
	uint64_t start = ticks(), end;
	pid_t child = fork();
	bool ended;

	(void)i;
	if (!child) {
		execv("/proc/self/exe", exit_words);
		_exit(1);
	}
	ended = ended_with(child, 3);
	end = ticks();
	bench_work += ended;
	return end - start;
}

static uint64_t spawn_wait(unsigned int i)
{
	uint64_t start = ticks(), end;
	char *none[] = { NULL };
	pid_t child = 0;
	bool ended;
	int ret;

	(void)i;
	ret = posix_spawn(&child, "/proc/self/exe", NULL, NULL, exit_words, none);
	ended = !ret && ended_with(child, 3);
	end = ticks();
	bench_work += ended;
	return end - start;
}

static uint64_t call_getpid(unsigned int i)
{
	uint64_t start = ticks(), end;
	pid_t pid = getpid();

	(void)i;
	end = ticks();
	bench_work += pid > 0;
	return end - start;
}

static void count_signal(int number)
{
	(void)number;
	bench_work++;
}

static void catch_signal(void)
{
	must(signal(SIGUSR1, count_signal) != SIG_ERR);
}

static uint64_t kill_self(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	kill(getpid(), SIGUSR1);
	end = ticks();
	return end - start;
}

static uint64_t raise_signal(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	raise(SIGUSR1);
	end = ticks();
	return end - start;
}

/* Memory that a fork shares. */
static void have_memory(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(memory != MAP_FAILED && !madvise(memory, size, MADV_NOHUGEPAGE));
	for (size_t k = 0; k < size; k += PAGE)
		memory[k] = 1;
}

static void have_512_kib(void)
{
	have_memory(512 << 10);
}

static void have_2_mib(void)
{
	have_memory(2 << 20);
}

#define STATIC(name, n, calls, sample, ...)	\
	{ name, WHERE_BOTH, n, 1, NULL, NULL, sample, .mean_of = calls, ##__VA_ARGS__ }
#define ORDINARY(name, n, calls, begin, sample, ...)	\
	{ name ", dune-run", WHERE_BOTH, n, 1, begin, NULL, sample, .mean_of = calls, .by_dune_run = true,	\
	  ##__VA_ARGS__ }

static const struct bench_case cases[] = {
	STATIC("pthread_create() + pthread_join()",	40, 20, create_thread),
	STATIC("fork + exit + wait",			20, 12, fork_exit_wait, .checked = true),
	STATIC("fork + exec + exit + wait",		20, 12, fork_exec_wait),
	STATIC("posix_spawn + exit + wait",		20, 12, spawn_wait),
	ORDINARY("getpid",				200, 1, NULL, call_getpid),
	ORDINARY("kill() of itself, a handler, back",	200, 1, catch_signal, kill_self),
	ORDINARY("raise(), a handler, back",		200, 1, catch_signal, raise_signal),
	ORDINARY("pthread_create() + pthread_join()",	40, 20, NULL, create_thread),
	ORDINARY("fork + exit + wait",			20, 12, NULL, fork_exit_wait, .checked = true),
	ORDINARY("fork + exit + wait, 512 KiB",		20, 12, have_512_kib, fork_exit_wait),
	ORDINARY("fork + exit + wait, 2 MiB",		20, 12, have_2_mib, fork_exit_wait),
	ORDINARY("fork + exec + exit + wait",		20, 5, NULL, fork_exec_wait),
	ORDINARY("posix_spawn + exit + wait",		20, 5, NULL, spawn_wait),
};

BENCH_GROUP(processes, false);
