// SPDX-License-Identifier: MIT
/*
 * Whole programs from Debian, from fork to wait, as they are and by dune-run.  Start and end are in the figure, so
 * short work shows the cost of coming in, longer work what remains of it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench.h"

#define INPUT	"/tmp/bench-input"
#define OUTPUT	"/tmp/bench-output"
#define SIZE	(1UL << 20)
#define DUNE_RUN	"/usr/local/bin/dune-run"

/* Text that can be compressed like a log. */
static void write_input(void)
{
	FILE *file = fopen(INPUT, "we");
	uint32_t number = 1;
	long size = 0;

	must(file);
	while (size < (long)SIZE) {
		number = number * 1664525 + 1013904223;
		size += fprintf(file, "line %08ld of the input: %08x\n", size, number);
	}
	must(!fclose(file));
}

static char *words[8];
static long least;		/* bytes of output that show that it did its work */

static void begin(const char *program, long bytes)
{
	if (access(program, X_OK))
		bench_skip("the program is not in this machine");
	write_input();
	least = bytes;
	if (bench_side == SIDE_LINUX)
		return;
	if (access(DUNE_RUN, X_OK))
		bench_skip("there is no " DUNE_RUN);
	memmove(words + 1, words, sizeof(words) - sizeof(words[0]));
	words[0] = DUNE_RUN;
}

static uint64_t run_program(unsigned int i)
{
	int output = open(OUTPUT, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), status;
	uint64_t start, end;
	pid_t child;
	bool ended;

	(void)i;
	must(output >= 0);
	start = ticks();
	child = fork();
	if (!child) {
		dup2(output, 1);
		execv(words[0], words);
		_exit(127);
	}
	ended = child > 0 && waitpid(child, &status, 0) == child && !status;
	end = ticks();
	bench_work += ended && lseek(output, 0, SEEK_END) >= least;
	close(output);
	return end - start;
}

#define PROGRAM(name, path, bytes, ...)				\
	static void name(void)					\
	{							\
		char *list[] = { path, __VA_ARGS__, NULL };	\
								\
		memcpy(words, list, sizeof(list));		\
		begin(path, bytes);				\
	}

PROGRAM(gzip, "/usr/bin/gzip", 10000, "-c", INPUT)
PROGRAM(gzip_nothing, "/usr/bin/gzip", 20, "-c", "/dev/null")
PROGRAM(sqlite, "/usr/bin/sqlite3", 5, ":memory:",
	"create table t(a integer primary key, b text);"
	"with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)"
	"  insert into t select i, hex(i * 2654435761) from n;"
	"create index x on t(b); select count(*), max(b) from t where b > '3';")
PROGRAM(python, "/usr/bin/python3", 3, "-S", "-c",
	"d = {}\nfor i in range(30000): d[i * 7919 % 10007] = str(i)\nprint(len(d), sum(map(len, d.values())))")
PROGRAM(python_nothing, "/usr/bin/python3", 0, "-S", "-c", "pass")

#define CASE(name, begin)	{ name, WHERE_BOTH, 3, 1, begin, NULL, run_program, .outside = true }

static const struct bench_case cases[] = {
	CASE("gzip of nothing",			gzip_nothing),
	CASE("gzip of 1 MiB",			gzip),
	CASE("sqlite3, 20,000 rows and an index",	sqlite),
	CASE("python3, nothing",		python_nothing),
	CASE("python3, a dictionary",		python),
};

BENCH_GROUP(programs, false);
