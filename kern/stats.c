// SPDX-License-Identifier: GPL-2.0-only
/* debugfs: counters, and what is done against speculation. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "spec.h"
#include "stats.h"

DEFINE_PER_CPU(struct dune_stats, dune_stats);

static struct dentry *directory;

static const char * const stat_names[STAT_NR] = {
	[STAT_RUNS]		= "runs",
	[STAT_INTR]		= "user_intr",
	[STAT_FAULTS]		= "user_fault",
	[STAT_SHUTDOWNS]	= "user_shutdown",
	[STAT_TLB_FLUSHES]	= "tlb_flushes",
	[STAT_KICKS]		= "kicks",
	[STAT_MIGRATIONS]	= "migrations",
	[STAT_VECTOR_LOADS]	= "vector_loads",
	[STAT_YIELDS]		= "yields",
	[STAT_CALLS]		= "calls",
	[STAT_CALL_RETURNS]	= "user_call",
};

#define EXIT_NAME(NAME, name)	\
	[X_##NAME] = "exit_" #name,
static const char * const exit_names[X_NR_KINDS] = { DUNE_EXIT_KINDS(EXIT_NAME) };

static u64 sum(size_t offset)
{
	u64 total = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		total += *(u64 *)((char *)per_cpu_ptr(&dune_stats, cpu) + offset);
	return total;
}

static u64 sum_stat(enum dune_stat stat)
{
	return sum(offsetof(struct dune_stats, count) + stat * sizeof(u64));
}

static u64 sum_exits(enum dune_exit_kind kind)
{
	return sum(offsetof(struct dune_stats, exits) + kind * sizeof(u64));
}

/* What DUNE_RUN came back for if for nothing else; raising a counter for it would cost each call. */
static u64 sum_syscalls(void)
{
	u64 others = sum_stat(STAT_INTR) + sum_stat(STAT_FAULTS) + sum_stat(STAT_SHUTDOWNS) +
		     sum_stat(STAT_CALL_RETURNS) + sum_exits(X_WINDOW);
	u64 runs = sum_stat(STAT_RUNS);

	return runs > others ? runs - others : 0;
}

/* Each VM entry ends in an exit of some kind. */
static u64 sum_entries(void)
{
	u64 total = 0;
	unsigned int i;

	for (i = 0; i < X_NR_KINDS; i++)
		total += sum_exits(i);
	return total;
}

static int stats_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 0; i < STAT_NR; i++)
		seq_printf(file, "%s %llu\n", stat_names[i], sum_stat(i));
	seq_printf(file, "entries %llu\n", sum_entries());
	seq_printf(file, "user_syscall %llu\n", sum_syscalls());
	for (i = 0; i < X_NR_KINDS; i++)
		seq_printf(file, "%s %llu\n", exit_names[i], sum_exits(i));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int speculation_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "verw %d\nflush_l1d %d\nflush_l1d_by_msr %d\nibrs %d\n"
		   "ibpb %d\nibpb_fills_rsb %d\nibpb_user %d\nrsb_fill %d\n",
		   dune_spec.verw, dune_spec.flush_l1d, dune_spec.flush_l1d_by_msr,
		   dune_spec.ibrs, dune_spec.ibpb, dune_spec.ibpb_fills_rsb, dune_spec.ibpb_user,
		   dune_cpu_has(X86_FEATURE_RSB_VMEXIT));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(speculation);

void dune_stats_init(void)
{
	directory = debugfs_create_dir("dune", NULL);
	debugfs_create_file("stats", 0444, directory, NULL, &stats_fops);
	debugfs_create_file("speculation", 0444, directory, NULL, &speculation_fops);
}

void dune_stats_exit(void)
{
	debugfs_remove_recursive(directory);
}
