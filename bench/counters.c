// SPDX-License-Identifier: MIT
/*
 * What happens while a sample runs: the module's counters (/sys/kernel/debug/dune/stats), and the kernel's
 * tracepoints for what crosses into it, of all CPUs.  Tracepoints make each crossing longer while they are open.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static const char * const module_names[] = {
	"entries", "runs", "user_intr", "user_fault", "tlb_flushes", "kicks", "exit_skip", "exit_interrupt",
	"exit_hypercall", "exit_cpuid", "exit_rdmsr", "exit_wrmsr", "exit_xsetbv", "exit_tdp_fault",
	"exit_exception", "exit_privileged", "exit_undefined", "exit_window",
};

static const struct {
	const char *name, *event;
} tracepoints[] = {
	{ "syscalls",		"raw_syscalls/sys_enter" },
	{ "faults",		"exceptions/page_fault_user" },
	{ "signals",		"signal/signal_deliver" },
	{ "switches",		"sched/sched_switch" },
	{ "kernel_wrmsr",	"msr/write_msr" },
	{ "kernel_flushes",	"tlb/tlb_flush" },
	{ "ipis",		"irq_vectors/call_function_entry" },
	{ "ipis_single",	"irq_vectors/call_function_single_entry" },
};

#define CPUS_MAX	16

static int stats_file = -1;
static int leaders[CPUS_MAX];
static unsigned int nr_leaders;
static bool traced;

const char *bench_count_name(unsigned int i)
{
	if (i < ARRAY_SIZE(module_names))
		return module_names[i];
	i -= ARRAY_SIZE(module_names);
	return i < ARRAY_SIZE(tracepoints) ? tracepoints[i].name : NULL;
}

_Static_assert(ARRAY_SIZE(module_names) + ARRAY_SIZE(tracepoints) < COUNTS_MAX, "room for all counters");

static int event_id(const char *event)
{
	char path[128], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", event);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atoi(text);
}

/* One group of events for each CPU, read by one call. */
static bool open_events(int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .read_format = PERF_FORMAT_GROUP,
		.sample_period = 0,
	};
	int leader = -1;

	for (unsigned int i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		int id = event_id(tracepoints[i].event);
		int fd;

		if (id < 0)
			return false;
		attr.config = id;
		fd = syscall(SYS_perf_event_open, &attr, -1, cpu, leader, PERF_FLAG_FD_CLOEXEC);
		if (fd < 0)
			return false;
		if (leader < 0)
			leader = fd;
	}
	leaders[cpu] = leader;
	return true;
}

void bench_counters_open(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	stats_file = open("/sys/kernel/debug/dune/stats", O_RDONLY | O_CLOEXEC);
	traced = true;
	for (nr_leaders = 0; nr_leaders < cpus && nr_leaders < CPUS_MAX; nr_leaders++)
		traced = traced && open_events(nr_leaders);
}

static int64_t value_of(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *line = text;

	do {
		if (!strncmp(line, name, len) && line[len] == ' ')
			return strtoll(line + len, NULL, 10);
		line = strchr(line, '\n');
	} while (line++);
	return 0;
}

void bench_counters_read(struct bench_counts *counts)
{
	static char text[4096];
	uint64_t group[1 + ARRAY_SIZE(tracepoints)];
	int64_t *v = counts->value;

	memset(counts, 0, sizeof(*counts));
	for (unsigned int cpu = 0; traced && cpu < nr_leaders; cpu++) {
		if (read(leaders[cpu], group, sizeof(group)) != sizeof(group))
			continue;
		for (unsigned int i = 0; i < ARRAY_SIZE(tracepoints); i++)
			v[ARRAY_SIZE(module_names) + i] += group[1 + i];
	}
	if (stats_file < 0)
		return;
	ssize_t size = pread(stats_file, text, sizeof(text) - 1, 0);

	if (size <= 0)
		return;
	text[size] = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(module_names); i++)
		v[i] = value_of(text, module_names[i]);
}
