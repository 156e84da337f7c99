// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define LOOK_SECONDS	0.1	/* what a running thread has run is known to some milliseconds only */
#define UNSURE_SECONDS	0.01

const char *clock_proc = "/proc";

static double read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

double clock_host(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* CPU seconds that the work below took on the host for which the limits of tests/list were chosen. */
#define WORK_SECONDS	0.021
#define WORK_ROUNDS	16000000
#define WORK_WORDS	16384

/* As an emulator works: each step depends on the last one, by way of memory. */
double clock_speed(void)
{
	static uint32_t table[WORK_WORDS];
	double start = read_clock(CLOCK_THREAD_CPUTIME_ID), took;
	uint32_t word = 1;

	for (int i = 0; i < WORK_ROUNDS; i++) {
		word = word * 1664525 + 1013904223 + table[word >> 18];
		table[word >> 18] = word;
	}
	__asm__ volatile("" : : "r"(word));
	took = read_clock(CLOCK_THREAD_CPUTIME_ID) - start;
	return took > WORK_SECONDS ? WORK_SECONDS / took : 1;
}

void clock_start(struct clock *clock, double speed, double host)
{
	memset(clock, 0, sizeof(*clock));
	clock->speed = speed;
	clock->looked = host;
}

/* One that is new has begun in this interval. */
static struct clock_thread *find_thread(struct clock *clock, pid_t tid)
{
	size_t i;

	for (i = 0; i < clock->count; i++)
		if (clock->threads[i].tid == tid)
			return &clock->threads[i];
	if (i == CLOCK_THREADS)
		return NULL;
	clock->threads[i] = (struct clock_thread){ .tid = tid };
	clock->count++;
	return &clock->threads[i];
}

struct interval {
	double elapsed;
	double waited;		/* of it, all threads together */
	double longest;		/* that one of them ran */
};

static FILE *open_file(pid_t pid, pid_t tid, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%d/task/%d/%s", clock_proc, pid, tid, name);
	return fopen(path, "re");
}

/* Its name, in parentheses, may have anything in it; then comes the state. */
static bool wants_to_run(pid_t pid, pid_t tid)
{
	FILE *file = open_file(pid, tid, "stat");
	char text[512] = "", *end;

	if (file) {
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
	}
	end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] == 'R';
}

static bool read_schedstat(pid_t pid, pid_t tid, double *ran, double *waited)
{
	FILE *file = open_file(pid, tid, "schedstat");
	unsigned long long ran_ns, waited_ns;
	bool good = file && fscanf(file, "%llu %llu", &ran_ns, &waited_ns) == 2;

	if (file)
		fclose(file);
	if (good) {
		*ran = ran_ns / 1e9;
		*waited = waited_ns / 1e9;
	}
	return good;
}

static void look_at_thread(struct clock *clock, struct interval *interval, pid_t pid, pid_t tid)
{
	double all_ran, all_waited, ran, waited, rest, off;
	struct clock_thread *t;

	/* Whoever looks always runs. */
	if (tid == getpid() || !read_schedstat(pid, tid, &all_ran, &all_waited))
		return;
	t = find_thread(clock, tid);
	if (!t)
		return;
	t->seen = true;
	ran = all_ran - t->ran;
	waited = all_waited - t->waited;
	t->ran = all_ran;
	t->waited = all_waited;
	clock->got += ran;
	clock->waited += waited;
	if (ran > interval->longest)
		interval->longest = ran;

	/*
	 * The kernel tells of a wait when it is over: so it can be more than this interval, and while a thread is seen
	 * to want a CPU, what is left of the interval is taken for one that will be told. If it was none, the thread
	 * has slept, and gets it back when it does so again.
	 */
	t->owed += waited;
	rest = interval->elapsed - ran;
	if (rest < 0)
		rest = 0;
	if (wants_to_run(pid, tid))
		off = rest > UNSURE_SECONDS ? rest : 0;
	else
		off = t->owed < rest ? t->owed : rest;
	t->owed -= off;
	interval->waited += off;
}

static void look_at_process(struct clock *clock, struct interval *interval, pid_t pid);

static void look_at_children(struct clock *clock, struct interval *interval, pid_t pid, pid_t tid)
{
	FILE *file = open_file(pid, tid, "children");
	int child;

	while (file && fscanf(file, "%d", &child) == 1)
		look_at_process(clock, interval, child);
	if (file)
		fclose(file);
}

static void look_at_process(struct clock *clock, struct interval *interval, pid_t pid)
{
	struct dirent *entry;
	char path[256];
	DIR *threads;

	snprintf(path, sizeof(path), "%s/%d/task", clock_proc, pid);
	threads = opendir(path);
	while (threads && (entry = readdir(threads)))
		if (atoi(entry->d_name) > 0) {
			look_at_thread(clock, interval, pid, atoi(entry->d_name));
			look_at_children(clock, interval, pid, atoi(entry->d_name));
		}
	if (threads)
		closedir(threads);
}

static void forget_ended_threads(struct clock *clock)
{
	size_t kept = 0;

	for (size_t i = 0; i < clock->count; i++)
		if (clock->threads[i].seen) {
			clock->threads[kept] = clock->threads[i];
			clock->threads[kept++].seen = false;
		}
	clock->count = kept;
}

void clock_look(struct clock *clock, pid_t pid, double host)
{
	struct interval interval = { .elapsed = host - clock->looked };
	double counts;

	if (interval.elapsed < LOOK_SECONDS)
		return;
	clock->looked = host;
	look_at_process(clock, &interval, pid);
	forget_ended_threads(clock);
	counts = interval.elapsed - interval.waited;
	if (counts < interval.longest)
		counts = interval.longest;
	/* More than the interval only if that was taken off before. */
	if (counts > interval.elapsed + clock->lost)
		counts = interval.elapsed + clock->lost;
	clock->lost += interval.elapsed - counts;
	clock->seconds += counts * clock->speed;
}
