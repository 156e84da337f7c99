// SPDX-License-Identifier: MIT
/*
 * dune-trace [OPTION...] PROGRAM [ARGUMENT...]: the system calls of a program, and of all that it starts, as strace
 * shows them; without ptrace, by callbacks in the program's own processes (dune-ring3.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launch/launch.h"
#include "trace.h"

/* ---- callbacks ---- */

#define RESULT_COLUMN	39

const struct names *decode_names(void)
{
	return &shared()->names;
}

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static struct line *line_of(struct dune_ring3_thread *t)
{
	return dune_ring3_memory(t);
}

static struct line *begin_line(struct dune_ring3_thread *t)
{
	struct line *line = line_of(t);
	const int number = dune_ring3_tid(t);

	line->length = 0;
	if (shared()->numbered) {
		put_number(line, number);
		for (int left = number; left < 10000; left *= 10)
			put_char(line, ' ');
		put_char(line, ' ');
	} else if (number != shared()->first) {
		put(line, "[pid ");
		for (int left = number; left < 10000; left *= 10)
			put_char(line, ' ');
		put_number(line, number);
		put(line, "] ");
	}
	return line;
}

static void end_line(struct dune_ring3_thread *t, struct line *line)
{
	if (line->length == sizeof(line->text))
		line->length--;
	put_char(line, '\n');
	dune_ring3_output(t, line->text, line->length);
	line->length = 0;
}

static void put_call_name(struct line *line, unsigned int nr)
{
	const char *name = call_name(nr);

	if (name) {
		put(line, name);
	} else {
		put(line, "syscall_");
		put_hex(line, nr);
	}
}

/* No after() will come, or only much later. */
static bool ends_here(unsigned int nr)
{
	return nr == SYS_exit || nr == SYS_exit_group || nr == SYS_rt_sigreturn;
}

static void put_end(struct line *line, size_t start)
{
	put_char(line, ')');
	do
		put_char(line, ' ');
	while (line->length - start < RESULT_COLUMN + 1);
}

static int64_t before(struct dune_ring3_thread *t, struct dune_ring3_call *call)
{
	struct line *line = line_of(t);

	line->began = ticks();
	if (shared()->counts)
		return DUNE_RING3_GO;
	begin_line(t);
	line->start = line->length;
	put_call_name(line, call->nr);
	put_char(line, '(');
	line->next = 0;
	put_arguments(t, line, call, &line->next, false, 0);
	if (call->nr == SYS_execve || call->nr == SYS_execveat) {
		put(line, " <unfinished ...>");
		end_line(t, line);
	} else if (ends_here(call->nr)) {
		put_end(line, line->start);
		put(line, "= ?");
		end_line(t, line);
	}
	return DUNE_RING3_GO;
}

static void count(uint64_t *number, uint64_t more)
{
	__atomic_fetch_add(number, more, __ATOMIC_RELAXED);
}

static void put_resumed(struct line *line, unsigned int nr)
{
	put(line, "<... ");
	put_call_name(line, nr);
	put(line, " resumed>");
}

static void after(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result)
{
	struct line *line = line_of(t);

	if (shared()->counts) {
		struct counter *c = &shared()->counters[call->nr];

		count(&c->ticks, ticks() - line->began);
		count(&c->calls, 1);
		if (result < 0 && result > -4096)
			count(&c->errors, 1);
		return;
	}
	if (call->nr == SYS_execve || call->nr == SYS_execveat) {
		begin_line(t);
		line->start = line->length;
		put_resumed(line, call->nr);
	} else {
		put_arguments(t, line, call, &line->next, true, result);
	}
	put_end(line, line->start);
	put_result(line, call, result);
	end_line(t, line);
}

static void begin(struct dune_ring3_thread *t, enum dune_ring3_begin how)
{
	struct line *line = line_of(t);

	line->length = 0;
	if (shared()->counts)
		return;
	if (!shared()->first)
		shared()->first = dune_ring3_tid(t);
	else if (how == DUNE_RING3_BY_EXEC && shared()->executes) {
		begin_line(t);
		line->start = line->length;
		put_resumed(line, SYS_execve);
		put_end(line, line->start);
		put(line, "= 0");
		end_line(t, line);
	}
}

static void end(struct dune_ring3_thread *t, int status, int whole_process)
{
	struct line *line;

	(void)whole_process;
	if (shared()->counts)
		return;
	line = begin_line(t);
	if (status & 0x7f) {
		if (dune_ring3_pid(t) == shared()->first)
			shared()->killed = true;
		put(line, "+++ killed by ");
		put(line, decode_names()->signal[status & 0x7f]);
	} else {
		put(line, "+++ exited with ");
		put_number(line, status >> 8);
	}
	put(line, " +++");
	end_line(t, line);
}

/* The beginning of siginfo_t. */
struct info {
	int signo, error, code, pad;
	union {
		struct {
			int pid, uid;
		};
		uint64_t address;
	};
};

static const char *code_name(const struct info *info)
{
	static const char *const sent[] = { "SI_USER", "SI_QUEUE", "SI_TIMER", "SI_MESGQ", "SI_ASYNCIO", "SI_SIGIO",
					    "SI_TKILL" };
	static const char *const child[] = { "", "CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED",
					     "CLD_STOPPED", "CLD_CONTINUED" };

	if (info->code <= 0 && info->code >= -6)
		return sent[-info->code];
	if (info->signo == SIGCHLD && info->code <= 6)
		return child[info->code];
	if (info->signo == SIGSEGV && info->code <= 2)
		return info->code == 1 ? "SEGV_MAPERR" : "SEGV_ACCERR";
	return info->code == SI_KERNEL ? "SI_KERNEL" : NULL;
}

static void put_siginfo(struct dune_ring3_thread *t, const struct info *info)
{
	const char *code = code_name(info);
	const bool fault = info->code > 0 && info->signo != SIGCHLD;
	struct line *line = begin_line(t);

	put(line, "--- ");
	put(line, decode_names()->signal[info->signo]);
	put(line, " {si_signo=");
	put(line, decode_names()->signal[info->signo]);
	put(line, ", si_code=");
	if (code)
		put(line, code);
	else
		put_number(line, info->code);
	if (fault) {
		put(line, ", si_addr=");
		if (info->address)
			put_hex(line, info->address);
		else
			put(line, "NULL");
	} else {
		put(line, ", si_pid=");
		put_number(line, info->pid);
		put(line, ", si_uid=");
		put_number(line, info->uid);
	}
	put(line, "} ---");
	end_line(t, line);
}

static void fault(struct dune_ring3_thread *t, const void *siginfo)
{
	const struct info *info = siginfo;

	if (shared()->counts || !shared()->signals)
		return;
	line_of(t)->fault = info->signo;
	put_siginfo(t, info);
}

static void signal_comes(struct dune_ring3_thread *t, const void *siginfo)
{
	const struct info *info = siginfo;
	const bool said = line_of(t)->fault == (uint32_t)info->signo && info->code > 0;

	line_of(t)->fault = 0;
	if (!shared()->counts && shared()->signals && !said)
		put_siginfo(t, info);
}

static const struct dune_ring3_callbacks callbacks = {
	.before = before, .after = after, .begin = begin, .end = end, .signal = signal_comes, .fault = fault,
};

/* ---- main() ---- */

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	fputs("dune-trace: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(LAUNCH_FAILED);
}

static const char usage[] =
	"usage: dune-trace [-cf] [-e EXPRESSION]... [-o FILE] [--] PROGRAM [ARGUMENT...]\n";

static const char help[] =
	"Show the system calls of PROGRAM, and of all that it starts, on standard error.\n\n"
	"  -c               count calls, errors and time, and print a table at the end\n"
	"  -e [trace=]SET   only these: names with commas between, or %file, %desc, %memory, %process,\n"
	"                   %network, %signal; a ! before the first has all others; all, none\n"
	"  -e signal=none   no lines of signals\n"
	"  -f               follow children, which is always so\n"
	"  -o FILE          write to FILE, with the process's number in each line\n"
	"  --help           print this\n"
	"  --version        print the version\n\n"
	"The exit status is PROGRAM's; 125: dune-trace has failed, 126: PROGRAM cannot be run, 127: it is not found.\n"
	"The manual: man dune-trace\n";

static bool uses(unsigned int nr, unsigned int kind, unsigned int size)
{
	for_each_operand(o, call_of(nr))
		if (o->kind == kind && (size == ~0U || (o->size == SIZE_STRING && o->bytes == size)))
			return true;
	return false;
}

static bool is_in(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static bool is_in_group(unsigned int nr, const char *group)
{
	static const char *const process[] = { "clone", "fork", "vfork", "clone3", "execve", "execveat", "exit",
		"exit_group", "wait4", "waitid", "kill", "tkill", "tgkill", "pidfd_send_signal", NULL };
	static const char *const network[] = { "socket", "socketpair", "bind", "connect", "listen", "accept", "accept4",
		"getsockname", "getpeername", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
		"shutdown", "setsockopt", "getsockopt", NULL };
	static const char *const signals[] = { "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
		"rt_sigtimedwait", "rt_sigqueueinfo", "rt_sigsuspend", "sigaltstack", "kill", "tkill", "tgkill",
		"pause", "signalfd", "signalfd4", "rt_tgsigqueueinfo", "pidfd_send_signal", NULL };
	static const char *const memory[] = { "brk", "mlockall", "munlockall", "memfd_create", NULL };
	const char *name = call_name(nr);

	if (!strcmp(group, "file"))
		return uses(nr, READ, 4096) && strncmp(name, "mq_", 3);
	if (!strcmp(group, "desc"))
		return uses(nr, DESCRIPTOR, ~0U);
	if (!strcmp(group, "memory"))
		return uses(nr, AREA, ~0U) || is_in(name, memory);
	return is_in(name, !strcmp(group, "process") ? process : !strcmp(group, "network") ? network : signals);
}

static bool is_group(const char *name)
{
	static const char *const groups[] = { "file", "desc", "memory", "process", "network", "signal", NULL };

	return is_in(name, groups);
}

static void want(uint64_t calls[DUNE_RING3_CALLS / 64], const char *name)
{
	const bool group = is_group(name + (*name == '%'));
	bool found = group || !strcmp(name, "none");

	for (unsigned int nr = 0; nr < DUNE_RING3_CALLS; nr++) {
		if (!call_name(nr))
			continue;
		if (group ? is_in_group(nr, name + (*name == '%')) :
			    !strcmp(name, "all") || !strcmp(name, call_name(nr))) {
			dune_ring3_want(calls, nr);
			found = true;
		}
	}
	if (!found)
		die("%s: no system call has this name, and no group", name);
}

static void choose(uint64_t calls[DUNE_RING3_CALLS / 64], char *set, bool first)
{
	const bool others = *set == '!';

	if (first)
		memset(calls, 0, DUNE_RING3_CALLS / 8);
	for (char *name = strtok(set + others, ","); name; name = strtok(NULL, ","))
		want(calls, name);
	for (unsigned int i = 0; others && i < DUNE_RING3_CALLS / 64; i++)
		calls[i] = ~calls[i];
}

/* ---- -c ---- */

static const struct counter *counters;

static int most_time_first(const void *a, const void *b)
{
	const uint64_t x = counters[*(const int *)a].ticks, y = counters[*(const int *)b].ticks;

	return x < y ? 1 : x > y ? -1 : 0;
}

static uint64_t microseconds(uint64_t some, uint64_t all, uint64_t all_microseconds)
{
	return all ? (unsigned __int128)some * all_microseconds / all : 0;
}

static void print_counts(FILE *to, uint64_t all_ticks, uint64_t all_microseconds)
{
	uint64_t calls = 0, errors = 0, sum = 0;
	int order[DUNE_RING3_CALLS], n = 0;

	for (int nr = 0; nr < DUNE_RING3_CALLS; nr++) {
		if (!counters[nr].calls)
			continue;
		order[n++] = nr;
		calls += counters[nr].calls;
		errors += counters[nr].errors;
		sum += counters[nr].ticks;
	}
	qsort(order, n, sizeof(*order), most_time_first);
	fprintf(to, "%% time     seconds  usecs/call     calls    errors syscall\n"
		"------ ----------- ----------- --------- --------- ----------------\n");
	for (int i = 0; i <= n; i++) {
		const struct counter *c = &counters[i < n ? order[i] : 0];
		const struct counter total = { calls, errors, sum };
		uint64_t time, share;
		char text[24] = "";

		if (i == n) {
			fprintf(to, "------ ----------- ----------- --------- --------- ----------------\n");
			c = &total;
		}
		time = microseconds(c->ticks, all_ticks, all_microseconds);
		share = sum ? c->ticks * 10000 / sum : 0;
		if (c->errors)
			snprintf(text, sizeof(text), "%lu", (unsigned long)c->errors);
		fprintf(to, "%3lu.%02lu %4lu.%06lu %11lu %9lu %9s %s\n", (unsigned long)share / 100,
			(unsigned long)share % 100, (unsigned long)time / 1000000, (unsigned long)time % 1000000,
			(unsigned long)(c->calls ? time / c->calls : 0), (unsigned long)c->calls, text,
			i < n ? call_name(order[i]) ? call_name(order[i]) : "?" : "total");
	}
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000UL + t.tv_nsec / 1000;
}

/* As the program has ended. */
static int end_like(int status)
{
	struct rlimit no_core = { 0, 0 };

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &no_core);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	static uint64_t calls[DUNE_RING3_CALLS / 64];
	struct dune_ring3_options options = { .calls = calls };
	struct shared *s = dune_ring3_share(sizeof(*s));
	const char *file = NULL;
	bool chosen = false;
	uint64_t start_ticks, start;
	int letter, status;
	FILE *to = stderr;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return printf("%s%s", usage, help) < 0 || fflush(stdout) ? LAUNCH_FAILED : 0;
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return puts("dune-trace (Dune) " DUNE_VERSION) < 0 || fflush(stdout) ? LAUNCH_FAILED : 0;
	if (!s)
		die("no memory to share with the program's processes");
	memset(calls, 0xff, sizeof(calls));
	s->signals = true;
	opterr = 0;
	while ((letter = getopt(argc, argv, "+:ce:fo:")) != -1) {
		switch (letter) {
		case 'c':
			s->counts = true;
			break;
		case 'e':
			if (!strcmp(optarg, "signal=none") || !strcmp(optarg, "signal=!all")) {
				s->signals = false;
				break;
			}
			choose(calls, optarg + (strncmp(optarg, "trace=", 6) ? 0 : 6), !chosen);
			chosen = true;
			break;
		case 'f':
			break;
		case 'o':
			file = optarg;
			break;
		default:
			die("-%c: %s\n%sdune-trace --help says more", optopt,
			    letter == ':' ? "something must follow it" : "not an option", usage);
		}
	}
	if (optind == argc)
		die("no program\n%sdune-trace --help says more", usage);
	if (file) {
		to = fopen(file, "we");
		if (!to || fcntl(fileno(to), F_SETFL, O_APPEND))
			die("%s: %s", file, strerror(errno));
		s->numbered = true;
		options.output = fileno(to);
	}
	fill_names(&s->names);
	s->executes = calls[SYS_execve / 64] >> SYS_execve % 64 & 1;
	options.argv = argv + optind;
	start = now();
	start_ticks = ticks();
	status = dune_ring3_run(&options, &callbacks);
	if (s->counts) {
		counters = s->counters;
		print_counts(to, ticks() - start_ticks, now() - start);
	} else if (WIFSIGNALED(status) && !s->killed) {
		fprintf(to, "+++ killed by %s +++\n", s->names.signal[WTERMSIG(status)]);
	}
	if (fflush(to))
		die("%s: %s", file ? file : "standard error", strerror(errno));
	return end_like(status);
}
