// SPDX-License-Identifier: MIT
/*
 * Measures the cases that are asked for, one after the other, and prints a line of JSON for each side of each as
 * soon as it is done; bench/report makes a report of them.
 *
 *	run [--unit NAME] [--machine NAME] [--check FILE] [GROUP|micro|baseline|PART-OF-A-NAME]...
 *	run-dynamic --measure DESCRIPTOR GROUP CASE SIDE
 *
 * --unit is what the time-stamp counter counts: instructions; cycles; or "counts": nothing that is of use (an emulator
 * with several CPUs), so that only what happens is shown.
 *
 * The second form, numbers all of them, is the measuring process of a case whose program the dynamic linker starts:
 * the same program, linked dynamically.
 *
 * --check compares the medians with those in FILE (bench/baseline.tsv) instead: a line for each path that has
 * become more than 3% longer, or could not be measured, and exit status 1 if there is one.
 */
#include <cpuid.h>
#include <dune.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static const struct bench_group *const groups[] = {
	&bench_calls,	&bench_faults,	     &bench_traps,    &bench_appel, &bench_ring3,
	&bench_tables,	&bench_alternatives, &bench_dirty,    &bench_enter, &bench_processes,
	&bench_scaling, &bench_flush,	     &bench_programs, &bench_gc,
};

static const char * const side_names[NR_SIDES] = {
	[SIDE_LINUX]	= "linux",
	[SIDE_DUNE]	= "dune",
	[SIDE_IOCTL]	= "dune by ioctl",
};

/* What a measuring process leaves for us. */
static struct outcome {
	struct bench_result result;
	struct bench_counts counts;
	char error[256];
	bool done;
} *outcome;

#define CASE_SECONDS	300	/* of the machine's clock; a case that takes longer hangs */

static int outcome_file;
static bool failed;
static const char *baseline, *unit = "cycles";

void bench_die_at(const char *file, int line, const char *what)
{
	snprintf(outcome->error, sizeof(outcome->error), "%s:%d: %s", file, line, what);
	_exit(1);
}

void bench_skip(const char *why)
{
	snprintf(outcome->result.skipped, sizeof(outcome->result.skipped), "%s", why);
	_exit(0);
}

static char *find_dune_run(void)
{
	static char path[4096];
	const char *dir = getenv("PATH");

	for (size_t length; dir && *dir; dir += length + (dir[length] == ':')) {
		length = strcspn(dir, ":");
		snprintf(path, sizeof(path), "%.*s/dune-run", (int)length, dir);
		if (!access(path, X_OK))
			return path;
	}
	bench_skip("there is no dune-run on PATH");
}

void bench_by_dune_run(char **words)
{
	size_t n = 0;

	if (bench_side == SIDE_LINUX)
		return;
	while (words[n])
		n++;
	memmove(words + 1, words, (n + 1) * sizeof(words[0]));
	words[0] = find_dune_run();
}

/* ---- measuring ---- */

static bool map_outcome(void)
{
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED, outcome_file, 0);
	return outcome != MAP_FAILED;
}

/* Go on in run-dynamic, which is beside this program. */
static void become_dynamic(const struct bench_case *c)
{
	char path[4096] = "", numbers[4][16], *words[] = {
		path, "--measure", numbers[0], numbers[1], numbers[2], numbers[3], NULL, NULL
	};
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-dynamic"));
	unsigned int g = 0;

	must(length > 0);
	strcpy(path + length, "-dynamic");
	if (access(path, X_OK))
		bench_skip("run-dynamic is not beside run");
	while (c < groups[g]->cases || c >= groups[g]->cases + groups[g]->nr)
		g++;
	snprintf(numbers[0], sizeof(numbers[0]), "%d", outcome_file);
	snprintf(numbers[1], sizeof(numbers[1]), "%u", g);
	snprintf(numbers[2], sizeof(numbers[2]), "%u", (unsigned int)(c - groups[g]->cases));
	snprintf(numbers[3], sizeof(numbers[3]), "%u", bench_side);
	bench_by_dune_run(words);
	execv(words[0], words);
	bench_die("execv");
}

static void measure_and_exit(const struct bench_case *c)
{
	bench_root = dune_vm_root();
	bench_measure(c, &outcome->result, baseline ? NULL : &outcome->counts);
	outcome->done = true;
	_exit(0);
}

/* The module's count of exits: each system call of a thread in Dune mode is one. */
static unsigned long exits(int stats)
{
	char text[4096] = "\n", *line;
	unsigned long n = 0;

	if (pread(stats, text + 1, sizeof(text) - 2, 0) <= 0)
		return 0;
	line = strstr(text, "\nexit_hypercall ");
	return line && sscanf(line, " exit_hypercall %lu", &n) == 1 ? n : 0;
}

/* A program that dune-run has in ring 3 cannot tell by itself. */
static bool in_dune_mode(void)
{
	int stats = open("/sys/kernel/debug/dune/stats", O_RDONLY | O_CLOEXEC);
	unsigned long before = exits(stats);
	bool inside = exits(stats) > before;

	close(stats);
	return inside;
}

/* We are run-dynamic: @numbers are what become_dynamic() has put there. */
static void measure_as_told(char **numbers)
{
	unsigned int g = atoi(numbers[1]), i = atoi(numbers[2]);

	outcome_file = atoi(numbers[0]);
	if (!map_outcome() || g >= ARRAY_SIZE(groups) || i >= groups[g]->nr)
		exit(2);
	bench_side = atoi(numbers[3]);
	must(in_dune_mode() == (bench_side != SIDE_LINUX));
	measure_and_exit(&groups[g]->cases[i]);
}

static void measure_here(const struct bench_case *c, enum side side)
{
	int ret = 0;

	alarm(CASE_SECONDS);
	bench_side = side;
	if (c->by_dune_run)
		become_dynamic(c);
	if (side != SIDE_LINUX && !c->outside) {
		dune_set_option(DUNE_OPT_RUN_IOCTL, side == SIDE_IOCTL);
		ret = dune_init_and_enter();
	}
	if (ret) {
		snprintf(outcome->error, sizeof(outcome->error), "cannot enter Dune mode: %s", strerror(-ret));
		_exit(1);
	}
	measure_and_exit(c);
}

static void measure(const struct bench_case *c, enum side side)
{
	int status = 0;
	pid_t child;

	memset(outcome, 0, sizeof(*outcome));
	fflush(stdout);
	child = fork();
	if (!child)
		measure_here(c, side);
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror("run: fork");
		exit(1);
	}
	if (!outcome->done && !outcome->error[0] && !outcome->result.skipped[0])
		snprintf(outcome->error, sizeof(outcome->error), "the measuring process died (status %#x)", status);
}

/* ---- JSON ---- */

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text >= ' ')
			putchar(*text);
	}
	putchar('"');
}

static void print_counts(const struct bench_case *c, enum side side)
{
	const char *name, *separator = "";
	const struct {
		const char *name;
		unsigned int n;
	} told[] = {
		{ "guest_traps", side == SIDE_LINUX ? 0 : c->guest_traps },
		{ "guest_calls", side == SIDE_LINUX ? 0 : c->guest_calls },
		{ side == SIDE_LINUX ? "walks" : "nested_walks", c->walks },
	};

	printf(", \"counts\": {");
	for (unsigned int i = 0; i < ARRAY_SIZE(told); i++) {
		if (!told[i].n)
			continue;
		printf("%s\"%s\": %u", separator, told[i].name, told[i].n);
		separator = ", ";
	}
	for (unsigned int i = 0; (name = bench_count_name(i)); i++) {
		if (!outcome->counts.value[i])
			continue;
		printf("%s\"%s\": %ld", separator, name, outcome->counts.value[i]);
		separator = ", ";
	}
	printf("}");
}

static bool in_baseline(const struct bench_group *group, const struct bench_case *c)
{
	return (group->micro || c->checked) && c->where & WHERE_DUNE;
}

static void print_outcome(const struct bench_group *group, const struct bench_case *c, enum side side)
{
	const struct bench_result *r = &outcome->result;

	printf("{\"group\": \"%s\", \"case\": ", group->name);
	print_string(c->name);
	printf(", \"side\": \"%s\"", side_names[side]);
	if (in_baseline(group, c))
		printf(", \"baseline\": true");
	if (c->unit)
		printf(", \"unit\": \"%s\"", c->unit);
	if (c->pages)
		printf(", \"pages\": %lu, \"dirty\": %lu", c->pages, c->dirty);
	if (c->threads)
		printf(", \"threads\": %u", c->threads);
	if (outcome->error[0]) {
		failed = true;
		printf(", \"error\": ");
		print_string(outcome->error);
	} else if (r->skipped[0]) {
		printf(", \"skipped\": ");
		print_string(r->skipped);
	} else {
		printf(", \"n\": %u", c->samples);
		if (strcmp(unit, "counts") || c->unit)
			printf(", \"minimum\": %lu, \"median\": %lu, \"p90\": %lu, \"maximum\": %lu, \"outliers\": %u",
			       r->minimum, r->median, r->p90, r->maximum, r->outliers);
		print_counts(c, side);
	}
	printf("}\n");
}

/* Of the time-stamp counter, in a second of the clock that nobody adjusts. */
static double ticks_per_second(void)
{
	struct timespec start, now;
	uint64_t from, to;
	double seconds;

	clock_gettime(CLOCK_MONOTONIC_RAW, &start);
	from = ticks();
	do {
		clock_gettime(CLOCK_MONOTONIC_RAW, &now);
		to = ticks();
		seconds = now.tv_sec - start.tv_sec + (now.tv_nsec - start.tv_nsec) * 1e-9;
	} while (seconds < 1);
	return (to - from) / seconds;
}

static void print_head(const char *machine)
{
	unsigned int r[12] = { 0 };
	char brand[49] = "", date[32];
	struct utsname name;
	time_t now = time(NULL);
	cpu_set_t own;
	char *end;

	for (unsigned int i = 0; i < 3; i++)
		__get_cpuid(0x80000002 + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
	memcpy(brand, r, 48);
	for (end = brand + strlen(brand); end > brand && end[-1] == ' '; *--end = 0)
		;
	uname(&name);
	must(!sched_getaffinity(0, sizeof(own), &own));
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
	printf("{\"machine\": \"%s\", \"unit\": \"%s\", \"kernel\": \"%s\", \"cpus\": %d, \"cpu\": ", machine, unit,
	       name.release, CPU_COUNT(&own));
	print_string(brand + strspn(brand, " "));
	if (!strcmp(unit, "cycles"))
		printf(", \"ticks_per_second\": %.0f", ticks_per_second());
	printf(", \"date\": \"%s\"}\n", date);
}

/* ---- which ---- */

static bool wanted(const struct bench_group *group, const struct bench_case *c, char **words)
{
	char title[128];

	if (!*words)
		return true;
	if (c->threads)
		snprintf(title, sizeof(title), "%s, %u threads", c->name, c->threads);
	else
		snprintf(title, sizeof(title), "%s, %lu pages, %lu written", c->name, c->pages, c->dirty);
	for (; *words; words++)
		if (!strcmp(*words, group->name) || (!strcmp(*words, "micro") && group->micro) ||
		    (!strcmp(*words, "baseline") && in_baseline(group, c)) ||
		    strstr(c->pages || c->threads ? title : c->name, *words))
			return true;
	return false;
}

static void report(const struct bench_group *group, const struct bench_case *c)
{
	for (enum side side = 0; side < NR_SIDES; side++) {
		if (!(c->where & 1 << side))
			continue;
		measure(c, side);
		print_outcome(group, c, side);
	}
}

/* The median; 0 if there is none, which is said. */
static uint64_t median_of(const struct bench_case *c, enum side side)
{
	measure(c, side);
	if (outcome->result.skipped[0] || outcome->error[0]) {
		bench_check_failed(c->name, outcome->error[0] ? outcome->error : outcome->result.skipped,
				   !outcome->error[0]);
		return 0;
	}
	return outcome->result.median;
}

/*
 * What is too long may have met something once, and is measured again; or it is so outside too, which micro cases
 * are not measured for before.
 */
static void check(const struct bench_case *c)
{
	const bool has_outside = c->where & WHERE_LINUX;
	uint64_t dune, outside = 0;

	for (unsigned int tries = 0; tries < 3; tries++) {
		dune = median_of(c, SIDE_DUNE);
		if (!dune)
			return;
		if (!c->checked && bench_check(c->name, dune, 0, false))
			return;
		if (has_outside)
			outside = median_of(c, SIDE_LINUX);
		if (has_outside && !outside)
			return;
		if (bench_check(c->name, dune, outside, tries == 2))
			return;
	}
}

int main(int argc, char **argv)
{
	const char *machine = "this machine";
	unsigned int n = 0;

	if (argc == 3 && !strcmp(argv[1], "--exit"))	/* for cases that start a program */
		return atoi(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "--measure"))
		measure_as_told(argv + 2);
	for (argv++; *argv && !strncmp(*argv, "--", 2) && argv[1]; argv += 2) {
		if (!strcmp(*argv, "--unit"))
			unit = argv[1];
		else if (!strcmp(*argv, "--machine"))
			machine = argv[1];
		else if (!strcmp(*argv, "--check"))
			baseline = argv[1];
		else
			break;
	}
	/* Inherited by run-dynamic. */
	outcome_file = memfd_create("outcome", 0);
	if (outcome_file < 0 || ftruncate(outcome_file, sizeof(*outcome)) || !map_outcome()) {
		perror("run: memory for outcomes");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (baseline)
		bench_check_open(baseline);
	else
		print_head(machine);
	/*
	 * Where nothing is timed, tracepoints stay open from here on: an emulator of several CPUs may hang when the
	 * kernel changes its code for them (doc/emulators.md, "QEMU's stale code").
	 */
	if (!strcmp(unit, "counts"))
		bench_counters_open();
	for (unsigned int g = 0; g < ARRAY_SIZE(groups); g++) {
		for (unsigned int i = 0; i < groups[g]->nr; i++) {
			const struct bench_case *c = &groups[g]->cases[i];

			if (!wanted(groups[g], c, argv))
				continue;
			if (baseline && !in_baseline(groups[g], c))
				continue;
			n++;
			if (baseline)
				check(c);
			else
				report(groups[g], c);
		}
	}
	if (!n) {
		fprintf(stderr, "run: there is no such group or case\n");
		return 2;
	}
	if (baseline)
		failed |= !bench_check_end(!*argv);
	return failed;
}
