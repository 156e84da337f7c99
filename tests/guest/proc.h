/* SPDX-License-Identifier: MIT */
/*
 * What the tests of processes, threads and signals share.  Each runs in Dune mode, or with the
 * argument "outside" as an ordinary program: the same checks hold, which tests the test.
 */
#ifndef TESTS_PROC_H
#define TESTS_PROC_H

#include <fcntl.h>
#include <sys/wait.h>

#include <dune.h>

#include "check.h"
#include "mode.h"
#include "world.h"

static bool proc_inside __attribute__((unused));

/* Whatever runs must be where the program is. */
#define CHECK_WORLD(what) \
	CHECK(dune_in_dune_mode() == proc_inside, "%s is %sin Dune mode", what, proc_inside ? "not " : "")

__attribute__((unused)) static void proc_begin(int argc, char **argv)
{
	int error;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "outside")) {
		DIE_UNLESS(!getenv("EXPECT_RING3") || world_has_run_page(), "ring 3 of a guest");
		return;
	}
	proc_inside = true;
	dune_set_option(DUNE_OPT_QUIET, true);
	error = mode_enter();
	if (error) {
		printf("cannot enter Dune mode: %s\n", strerror(-error));
		exit(1);
	}
}

/* The status of a child, which must end within the test's time. */
__attribute__((unused)) static int proc_wait(pid_t pid)
{
	int status = -1;
	pid_t ret;

	do
		ret = waitpid(pid, &status, 0);
	while (ret < 0 && errno == EINTR);
	CHECK_EQUAL(ret, pid, "waitpid");
	return status;
}

/* Do what is in the parentheses in a child; its wait status. */
#define IN_CHILD(...) ({			\
	pid_t pid_;				\
						\
	fflush(stdout);				\
	pid_ = fork();				\
	if (!pid_) {				\
		check_failures = 0;		\
		__VA_ARGS__;			\
		_exit(check_failures != 0);	\
	}					\
	proc_wait(pid_);			\
})

#define EXITED(code)	((code) << 8)

/* Until the thread @tid sleeps in the kernel. */
__attribute__((unused)) static void proc_until_asleep(int tid)
{
	char path[64], text[256];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	for (int i = 0; i < 10000; i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, ") S "))
			return;
		usleep(1000);
	}
	CHECK(false, "thread %d does not wait", tid);
}

/* The number behind @name in /proc/self/status: of sizes in KiB, of signals a mask, of which @base is 16. */
__attribute__((unused)) static unsigned long proc_status_field(const char *name, int base)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long value = ~0UL;
	char line[256];

	DIE_UNLESS(f, "/proc/self/status");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			value = strtoul(line + strlen(name) + 1, NULL, base);
	fclose(f);
	return value;
}

/* What could grow: the process's size, what of it is there, in KiB, and the number of its mappings. */
struct proc_size {
	unsigned long size, resident, data, mappings;
};

/*
 * VmRSS will not do for what is there: each thread counts up to 64 pages by itself before it adds them, later than 6.1
 * each CPU.  It has been seen to be 228 KiB less than smaps_rollup, which goes through the page table.
 */
__attribute__((unused)) static struct proc_size proc_size(void)
{
	FILE *status = fopen("/proc/self/status", "re"), *maps = fopen("/proc/self/maps", "re");
	FILE *rollup = fopen("/proc/self/smaps_rollup", "re");
	struct proc_size s = { 0 };
	char line[512];

	DIE_UNLESS(status && maps && rollup, "/proc/self");
	while (fgets(line, sizeof(line), status)) {
		sscanf(line, "VmSize: %lu", &s.size);
		sscanf(line, "VmData: %lu", &s.data);
	}
	while (fgets(line, sizeof(line), rollup))
		sscanf(line, "Rss: %lu", &s.resident);
	while (fgets(line, sizeof(line), maps))
		s.mappings++;
	fclose(status);
	fclose(rollup);
	fclose(maps);
	DIE_UNLESS(s.size && s.resident && s.data, "/proc/self/status and smaps_rollup");
	return s;
}

__attribute__((unused)) static void proc_check_growth(const struct proc_size *before, const char *what)
{
	struct proc_size after = proc_size();

	CHECK(after.size <= before->size + 64 && after.data <= before->data + 64 &&
	      after.resident <= before->resident + 64 && after.mappings <= before->mappings + 4,
	      "%s left: size %lu -> %lu KiB, data %lu -> %lu, resident %lu -> %lu, mappings %lu -> %lu", what,
	      before->size, after.size, before->data, after.data, before->resident, after.resident,
	      before->mappings, after.mappings);
}

#endif
