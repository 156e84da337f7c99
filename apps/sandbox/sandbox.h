/* SPDX-License-Identifier: MIT */
/*
 * dune-sandbox: what main() and the callbacks share.
 *
 * main.c, learn.c, run.c and wall.c are an ordinary program's code.  The others are callbacks (dune-ring3.h): no C
 * library, no locks, for the kernel can kill a process anywhere.
 */
#ifndef DUNE_SANDBOX_H
#define DUNE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dune-ring3.h>

#include "../decode/decode.h"
#include "sandbox/policy.h"

#define PROCESSES_MAX	4096	/* of one sandbox at once */

enum exit_status {
	EXIT_BY_POLICY = 120,	/* a rule says kill */
	EXIT_BY_TIME = 124,
	EXIT_OURS = 125,
};

/* A process of the sandbox, or one that is about to begin. */
struct process {
	int32_t pid;		/* 0: free; negative: of the process that has reserved it for a child */
	int32_t threads;
};

/* All processes and both of ours have it. */
struct shared {
	struct names names;
	bool soak;		/* what is refused is made all the same, and logged */
	bool all;		/* every line counts: no limit, and who writes one waits */
	bool log;
	int32_t broker;		/* our process: the parent of the first one, and of those that lose theirs */
	int32_t first;		/* the first process of the sandbox */
	uint32_t ending;	/* none goes on */
	uint32_t by_policy, by_time;	/* why */
	int32_t status;		/* of the first process, as wait() has it */
	uint64_t second;	/* that the lines are counted of */
	uint32_t lines, dropped;
	struct process processes[PROCESSES_MAX];
};

static inline struct shared *shared(void)
{
	return dune_ring3_shared();
}

static inline const struct policy *policy(void)
{
	return dune_ring3_data();
}

/* Made by a callback, or by main(): without libdune's table, errno or the C library. */
static inline long raw_syscall(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

/* ---- log.c ---- */

#define NO_ORIGIN	UINT32_MAX

/* What is refused, and by which rule. */
struct denial {
	const char *path;	/* or an address; NULL: the arguments say all */
	const char *access;	/* what is wanted of it */
	uint32_t origin;	/* the rule's; NO_ORIGIN: none, so it is not permitted */
	/* What would permit it: a section of a policy, and a line there; NULL: nothing. */
	const char *section, *line;
	bool line_is_path;	/* @line is a path, and @value is behind it */
	const char *value;
	bool quiet;		/* the program is not told of it, and nobody else */
};

/* One line of JSON, if the log wants more.  Returns @error, or DUNE_RING3_GO where it is only looked what would be. */
int64_t refuse(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t error,
	       const struct denial *why);

/* ---- processes.c ---- */

/* Is this call about another process, and refused?  Else DUNE_RING3_GO, or its result. */
int64_t judge_process(struct dune_ring3_thread *t, const struct dune_ring3_call *call);
bool is_about_processes(unsigned int nr);
/* A process or thread is about to be made: its slot, or -EAGAIN by a limit.  It was not: @result. */
int64_t processes_reserve(struct dune_ring3_thread *t, const struct dune_ring3_call *call);
void processes_made(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result);
void processes_begin(struct dune_ring3_thread *t, enum dune_ring3_begin how);
void processes_end(struct dune_ring3_thread *t, bool whole_process);
/* All of the sandbox is to end. */
void end_all(struct dune_ring3_thread *t) __attribute__((noreturn));

/* ---- network.c ---- */

bool is_about_network(unsigned int nr);
/* The folder in which the name @path is. */
void folder_of(const char *path, char to[POLICY_PATH_MAX]);
int64_t judge_network(struct dune_ring3_thread *t, const struct dune_ring3_call *call);
/* The socket at @path, without links: path() asks. */
int64_t judge_socket(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path, bool quiet);

/* ---- judge.c ---- */

extern const struct dune_ring3_callbacks sandbox_callbacks;
/* Of files: what is not there for the program, or is there but not for it; 0: it is permitted. */
int64_t access_error(const struct policy_verdict *v, unsigned int access);
bool is_judged(const struct policy *p, unsigned int nr);

/* ---- wall.c: an ordinary program's code ---- */

enum wall {
	WALL_NONE,		/* but for no_new_privs */
	WALL_LANDLOCK,
	WALL_SECCOMP,		/* and Landlock, where the kernel has it */
};

struct run;
/* For this process and all that it starts; ends the process, with a message, if it fails. */
void build_wall(const struct run *run);
bool find_wall(const char *name, enum wall *wall);

/* ---- run.c: an ordinary program's code ---- */

struct run {
	const struct policy *policy;
	char *const *argv;
	char *const *environment;
	bool soak;
	enum wall wall;
	int log;		/* a descriptor for lines, or -1 */
	/* Gets each line of the log, with its end; NULL.  Then every line counts. */
	void (*line)(const char *line, size_t length);
};

/* Run it; the exit status. */
int run_sandbox(const struct run *run);

/* ---- learn.c: an ordinary program's code ---- */

/* learn [-o POLICY] -- PROGRAM...: @argv begins behind the word. */
int learn(int argc, char **argv);

/* main.c */
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);
struct builder;
/* What @argv[0] is allowed to be: itself, read and executed. */
void permit_program(struct builder *b, const char *name);
char **make_environment(const struct policy *p);

#endif /* DUNE_SANDBOX_H */
