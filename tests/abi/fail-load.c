// SPDX-License-Identifier: MIT
/*
 * Each allocation that the module makes when it is loaded or unloaded fails once. A load then fails with ENOMEM and
 * leaves nothing, or does without; an unload goes on. Those that the kernel makes for a load before the module's own
 * code runs are not the module's: the tracepoint module_load stands between.
 *
 *	fail-load [STEP]
 *
 * Where KVM is loaded, the module has it make a VM, and KVM a hundred files of debugfs; the kernel warns of some of
 * these failures, which are not the module's. With STEP it is each STEP-th point.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/dune.h>

#include "fail-nth.h"
#include "modules.h"

#define MODULE		"/testbed/dune.ko"
#define DEVICE		"/dev/dune"
#define TRACING		"/sys/kernel/tracing/"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define POINTS_MAX	4096	/* more than a load has */
#define BEFORE_MAX	5	/* so many points in a row before the module's code: it begins behind them */

static bool file_says(const char *path, const char *what)
{
	char line[512];
	bool found = false;
	FILE *file = fopen(path, "re");

	DIE_UNLESS(file, path);
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, what);
	fclose(file);
	return found;
}

static bool is_loaded(void)
{
	return file_says("/proc/modules", "dune ");
}

static void check_works(const char *when)
{
	struct dune_info info = { 0 };
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && !ioctl(fd, DUNE_GET_INFO, &info) && info.version == DUNE_ABI_VERSION, "the module %s", when);
	close(fd);
}

static void unload(void)
{
	DIE_UNLESS(module_unload("dune"), "delete_module");
}

/* ---- loading ---- */

struct load {
	int error;	/* or 0 */
	bool met;	/* the point */
	bool begun;	/* the module's code */
};

static struct load load_failing(unsigned int nth)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	struct load load = { 0 };

	DIE_UNLESS(fd >= 0, MODULE);
	close(open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
	arm(nth);
	if (syscall(SYS_finit_module, fd, "", 0))
		load.error = errno;
	load.met = disarm();
	load.begun = file_says(TRACING "trace", "module_load: dune");
	close(fd);
	CHECK_EQUAL(is_loaded(), !load.error, "module in the kernel's list");
	if (!load.error) {
		check_works("that was loaded");
		unload();
	}
	CHECK(access(DEVICE, F_OK) < 0, "%s without a module", DEVICE);
	return load;
}

/* The last one that a load meets. */
static unsigned int last_point(void)
{
	unsigned int met = 0, not_met = POINTS_MAX;

	while (not_met - met > 1) {
		unsigned int nth = (met + not_met) / 2;

		if (load_failing(nth).met)
			met = nth;
		else
			not_met = nth;
	}
	CHECK(not_met < POINTS_MAX, "no end of points");
	return met;
}

static void try_loads(unsigned int step)
{
	unsigned int points = 0, failed = 0, before = 0;

	for (unsigned int nth = last_point(); nth && before < BEFORE_MAX; nth -= nth > step ? step : nth) {
		struct load load = load_failing(nth);

		if (!load.begun) {
			before++;
			continue;
		}
		before = 0;
		points++;
		failed += !!load.error;
		CHECK(!load.error || load.met, "a load: %s, and nothing was made to fail", strerrorname_np(load.error));
		CHECK(!load.error || load.error == ENOMEM, "a load: %s at point %u", strerrorname_np(load.error), nth);
	}
	CHECK(points >= 20, "%u points", points);
	printf("loading: %u points, of which %u were met with an error\n", points, failed);
	fflush(stdout);
}

/* ---- unloading ---- */

static void try_unloads(unsigned int step)
{
	unsigned int nth, failed = 0;
	bool met = true;

	for (nth = 1; met && nth < POINTS_MAX; nth += step) {
		int error = 0;

		DIE_UNLESS(module_load(MODULE), "finit_module");
		arm(nth);
		if (syscall(SYS_delete_module, "dune", O_NONBLOCK))
			error = errno;
		met = disarm();
		CHECK_EQUAL(is_loaded(), !!error, "module in the kernel's list");
		if (!error)
			continue;
		/* The name is copied from user memory, before anything begins. */
		CHECK(met && error == EFAULT, "an unload: %s at point %u", strerrorname_np(error), nth);
		failed++;
		check_works("that was not unloaded");
		unload();
	}
	CHECK(!met, "an unload: no end");
	printf("unloading: %u points, of which %u were met with an error\n", (nth - 1) / step - 1, failed);
	fflush(stdout);
}

/* ---- what is left ---- */

static void check_leaks(void)
{
	char line[512];
	FILE *file;

	/* Those of the last five seconds it does not tell; and what changes between two scans counts as used. */
	sleep(6);
	set_number(KMEMLEAK, "scan");
	set_number(KMEMLEAK, "scan");
	file = fopen(KMEMLEAK, "re");
	DIE_UNLESS(file, KMEMLEAK);
	while (fgets(line, sizeof(line), file)) {
		fputs(line, stdout);
		CHECK(!strstr(line, "comm \"fail-load\""), "an object is lost");
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	unsigned int step = argc > 1 ? atoi(argv[1]) : 1;

	DIE_UNLESS(step, "STEP");
	set_number(KMEMLEAK, "clear");
	set_number(TRACING "events/module/module_load/enable", "1");
	inject_all();
	unload();
	try_loads(step);
	try_unloads(step);
	DIE_UNLESS(module_load(MODULE), "finit_module");
	check_works("after all that");
	set_number(TRACING "events/module/module_load/enable", "0");
	check_leaks();
	return check_result();
}
