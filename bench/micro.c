// SPDX-License-Identifier: MIT
/*
 * Runs every case as an ordinary program, then in Dune mode, each side in a process of its own, and
 * prints the figures side by side.
 */
#include <dune.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct side {
	struct bench_result results[64];
	uint64_t init, enter;		/* ticks */
	int64_t memory;			/* bytes for each process */
	uint64_t checksum;
	int error;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static struct bench_result measure(const struct bench_case *c)
{
	static uint64_t samples[4096];
	struct bench_result result = { 0 };
	struct bench_stats before, between, after;
	unsigned int i;

	/* What the reading of the counters itself adds. */
	before = bench_stats_read();
	between = bench_stats_read();
	for (i = 0; i < c->samples; i++) {
		if (c->prepare)
			c->prepare(i);
		samples[i] = c->sample(i);
	}
	after = bench_stats_read();
	result.exits = ((double)(after.entries - between.entries) - (double)(between.entries - before.entries)) / c->samples;
	result.runs = ((double)(after.runs - between.runs) - (double)(between.runs - before.runs)) / c->samples;
	qsort(samples, c->samples, sizeof(samples[0]), compare);
	result.minimum = samples[0];
	result.median = samples[c->samples / 2];
	result.p90 = samples[c->samples * 9 / 10];
	return result;
}

static void run_cases(struct side *side, unsigned int where, const char *only)
{
	unsigned int i;

	cases_begin();
	for (i = 0; i < nr_bench_cases; i++)
		if (bench_cases[i].where & where && (!only || strstr(bench_cases[i].name, only)))
			side->results[i] = measure(&bench_cases[i]);
	side->checksum = cases_checksum();
}

/*
 * A memory cgroup for each round of children: it counts their pages, their page tables and what the kernel
 * and the module allocate for them.
 */
#define CGROUPS	"/tmp/micro-cgroups"

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static void cgroup_create(const char *name)
{
	if (mkdir(CGROUPS, 0700) == 0) {
		if (mount("none", CGROUPS, "cgroup2", 0, NULL)) {
			perror("mount cgroup2");
			exit(1);
		}
		write_text(CGROUPS "/cgroup.subtree_control", "+memory");
	}
	if (mkdir(name, 0700) && errno != EEXIST) {
		perror(name);
		exit(1);
	}
}

static int64_t cgroup_memory(const char *name)
{
	char path[128];
	long bytes = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.current", name);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%ld", &bytes) != 1) {
		perror(path);
		exit(1);
	}
	fclose(file);
	return bytes;
}

/* In a child: enter, and stay until told to go. */
static void enter_child(int ready, int go, struct side *side)
{
	uint64_t start, middle, end;
	char byte = 0;

	start = ticks();
	side->error = dune_init(true);
	middle = ticks();
	if (!side->error)
		side->error = dune_enter();
	end = ticks();
	side->init = middle - start;
	side->enter = end - middle;
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

#define CHILDREN	100

/* dune_init() and dune_enter() in fresh processes, and the memory that they take. */
static void measure_enter(struct side *side, int enter)
{
	struct side *shared = mmap(NULL, sizeof(*shared) * CHILDREN, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static uint64_t init[CHILDREN], enters[CHILDREN];
	const char *cgroup = enter ? CGROUPS "/dune" : CGROUPS "/plain";
	int ready[2], go[2], i;
	char byte = 0, procs[64];

	if (shared == MAP_FAILED || pipe(ready) || pipe(go))
		abort();
	memset(shared, 0, sizeof(*shared) * CHILDREN);
	cgroup_create(cgroup);
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	for (i = 0; i < CHILDREN; i++) {
		if (!fork()) {
			write_text(procs, "0");
			if (enter)
				enter_child(ready[1], go[0], &shared[i]);
			if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
				_exit(1);
			_exit(0);
		}
		if (read(ready[0], &byte, 1) != 1)
			abort();
	}
	side->memory = cgroup_memory(cgroup) / CHILDREN;
	for (i = 0; i < CHILDREN; i++)
		if (write(go[1], &byte, 1) != 1)
			abort();
	for (i = 0; i < CHILDREN; i++)
		wait(NULL);
	for (i = 0; i < CHILDREN; i++) {
		init[i] = shared[i].init;
		enters[i] = shared[i].enter;
		if (shared[i].error)
			side->error = shared[i].error;
	}
	qsort(init, CHILDREN, sizeof(init[0]), compare);
	qsort(enters, CHILDREN, sizeof(enters[0]), compare);
	side->init = init[CHILDREN / 2];
	side->enter = enters[CHILDREN / 2];
}

static void in_child(struct side *side, bool dune, bool by_ioctl, const char *only)
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (dune) {
			dune_set_option(DUNE_OPT_RUN_IOCTL, by_ioctl);
			side->error = dune_init_and_enter();
		}
		if (!side->error)
			run_cases(side, dune ? WHERE_DUNE : WHERE_LINUX, only);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status) {
		fprintf(stderr, "micro: a measuring process died (status %#x)\n", status);
		exit(1);
	}
	if (side->error) {
		fprintf(stderr, "micro: cannot enter Dune mode: %s\n", strerror(-side->error));
		exit(1);
	}
}

static void print_case(unsigned int i, const struct side *linux_, const struct side *dune, const struct side *by_ioctl)
{
	const struct bench_case *c = &bench_cases[i];
	const struct bench_result *l = &linux_->results[i], *d = &dune->results[i], *o = &by_ioctl->results[i];
	unsigned long clock_l = linux_->results[0].median, clock_d = dune->results[0].median;
	char ratio[16] = "";

	if (!l->median && !d->median)
		return;
	if (i == 0)
		clock_l = clock_d = 0;
	if (c->where == WHERE_BOTH && i && l->median > clock_l)
		snprintf(ratio, sizeof(ratio), "%.3f", (double)(d->median - clock_d) / (l->median - clock_l));
	printf("%-36s", c->name);
	if (c->where & WHERE_LINUX)
		printf(" %10lu", l->median - clock_l);
	else
		printf(" %10s", "-");
	if (c->where & WHERE_DUNE)
		printf(" %10lu %10lu %7s %8.2f %8.2f %10lu %10lu", d->median - clock_d, o->median - clock_d, ratio,
		       d->exits, d->runs, d->minimum - clock_d, d->p90 - clock_d);
	printf("\n");
}

static long part(const struct side *side, const char *name)
{
	unsigned int i;

	for (i = 0; i < nr_bench_cases; i++)
		if (!strcmp(bench_cases[i].name, name) && side->results[i].median)
			return side->results[i].median - side->results[0].median;
	return 0;
}

/* A forwarded call crosses into the kernel twice; what is left over is the way into the guest and back. */
static void print_parts(const struct side *linux_, const struct side *dune, const struct side *by_ioctl)
{
	long call = part(linux_, "getpid"), seek = part(linux_, "trivial lseek"), ioctl_ = part(linux_, "trivial ioctl");
	long whole = part(dune, "getpid"), whole_ioctl = part(by_ioctl, "getpid");

	if (!call || !seek || !ioctl_ || !whole || !whole_ioctl)
		return;
	printf("a forwarded getpid: the call itself %ld + DUNE_RUN's lseek %ld + guest and trampoline %ld = %ld\n",
	       call, seek, whole - call - seek, whole);
	printf("          by ioctl: the call itself %ld + DUNE_RUN's ioctl %ld + guest and trampoline %ld = %ld\n",
	       call, ioctl_, whole_ioctl - call - ioctl_, whole_ioctl);
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL;
	struct side *sides = mmap(NULL, 4 * sizeof(*sides), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct side plain = { .error = 0 }, entered = { .error = 0 };
	unsigned int i;

	if (sides == MAP_FAILED || bench_stats_open()) {
		fprintf(stderr, "micro: /sys/kernel/debug/dune/stats is missing: is the module loaded, debugfs mounted?\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	in_child(&sides[0], false, false, only);
	in_child(&sides[1], true, false, only);
	in_child(&sides[2], true, true, only);
	printf("ticks of the time-stamp counter, less what the clock costs; medians\n");
	printf("%-36s %10s %10s %10s %7s %8s %8s %10s %10s\n", "", "Linux", "Dune", "by ioctl", "ratio",
	       "exits", "runs", "minimum", "p90");
	for (i = 0; i < nr_bench_cases; i++)
		print_case(i, &sides[0], &sides[1], &sides[2]);
	print_parts(&sides[0], &sides[1], &sides[2]);
	if (!only) {
		measure_enter(&plain, false);
		measure_enter(&entered, true);
		if (entered.error) {
			fprintf(stderr, "micro: cannot enter Dune mode: %s\n", strerror(-entered.error));
			return 1;
		}
		printf("dune_init %lu + dune_enter %lu = %lu ticks, %ld KiB of memory\n", entered.init, entered.enter,
		       entered.init + entered.enter, (entered.memory - plain.memory) / 1024);
	}
	printf("checksums %lx %lx %lx\n", sides[0].checksum, sides[1].checksum, sides[2].checksum);
	return 0;
}
