// SPDX-License-Identifier: MIT
/*
 * Whole programs from Debian, from fork to wait, as they are and by dune-run.  Start and end are in the figure, so
 * short work shows the cost of coming in, longer work what remains of it.
 */
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench.h"

#define INPUT	"input"
#define OUTPUT	"output"
#define SIZE	(1UL << 20)

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

#define WORDS_MAX	24

static char *words[WORDS_MAX];	/* of the program that is measured */
static long least;		/* bytes of output that show that it did its work */

static void need(const char *program)
{
	if (access(program, X_OK))
		bench_skip("the program is not in this machine");
}

static void begin(const char *program, long bytes)
{
	need(program);
	write_input();
	setenv("PYTHONHASHSEED", "0", 1);	/* or each run has its own order of dictionaries */
	least = bytes;
	bench_by_dune_run(words);
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

/*
 * redis-server, as it is or by dune-run, with redis-benchmark outside Dune mode in both: what differs is the server.
 * The figure is that of both, from the start of redis-benchmark to its end, with the kernel's part.
 */
#define SERVER	"/usr/bin/redis-server"
#define CLIENT	"/usr/bin/redis-benchmark"

static struct sockaddr_in address = { .sin_family = AF_INET };

static void bring_up_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(s >= 0 && !ioctl(s, SIOCGIFFLAGS, &request));
	request.ifr_flags |= IFF_UP;
	must(!ioctl(s, SIOCSIFFLAGS, &request));
	close(s);
}

static bool server_answers(void)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[8] = "";
	bool is_there = !connect(s, (struct sockaddr *)&address, sizeof(address)) && write(s, "PING\r\n", 6) == 6 &&
			read(s, answer, 7) == 7 && !strcmp(answer, "+PONG\r\n");

	close(s);
	return is_there;
}

/* The server ends with this process. */
static void start_server(char *port)
{
	char *line[WORDS_MAX] = { SERVER, "--port", port, "--save", "", "--daemonize", "no" };
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	bench_by_dune_run(line);
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		execv(line[0], line);
		_exit(127);
	}
	close(null);
	for (unsigned int i = 0; !server_answers(); i++) {
		must(i < 500);
		usleep(20000);
	}
}

static void begin_redis(char *pipelined)
{
	static char port[16];
	char *line[] = {
		CLIENT, "-p", port, "-n", "1000", "-c", "10", "-P", pipelined, "-t", "set,get", "--csv", NULL
	};

	need(SERVER);
	need(CLIENT);
	snprintf(port, sizeof(port), "%d", 10000 + getpid() % 20000);
	address.sin_port = htons(atoi(port));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bring_up_loopback();
	start_server(port);
	memcpy(words, line, sizeof(line));
	least = 50;
}

static void redis_single(void)
{
	begin_redis("1");
}

static void redis_pipelined(void)
{
	begin_redis("16");
}

#define CASE_OF(n, mean, name, begin)	\
	{ name, WHERE_BOTH, n, 1, begin, NULL, run_program, .outside = true, .mean_of = mean }
#define CASE(name, begin)	CASE_OF(3, 1, name, begin)
/* Who waits for whom differs from time to time. */
#define REDIS(name, begin)	CASE_OF(9, 3, name, begin)

static const struct bench_case cases[] = {
	CASE("gzip of nothing",			gzip_nothing),
	CASE("gzip of 1 MiB",			gzip),
	CASE("sqlite3, 20,000 rows and an index",	sqlite),
	CASE("python3, nothing",		python_nothing),
	CASE("python3, a dictionary",		python),
	REDIS("redis, 1,000 SETs, 1,000 GETs",	redis_single),
	REDIS("redis, the same, 16 at a time",	redis_pipelined),
};

BENCH_GROUP(programs, false);
