/* SPDX-License-Identifier: MIT */
/*
 * A policy as whoever judges by it has it: one piece of memory that is never written, without a pointer in it.
 *
 * The launcher makes it of what people write (read.c, build.c), with the C library.  Those who judge (files.c,
 * network.c, calls.c) are built like libdune: no library, no memory but the policy and their arguments, no recursion.
 * Positions are bytes from the beginning of struct policy; 0 is none.
 */
#ifndef SANDBOX_POLICY_H
#define SANDBOX_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_MAGIC	0x31796c6f50656e75ULL
#define POLICY_CALLS	512	/* numbers of system calls that have a rule of their own at most */
#define POLICY_PATH_MAX	4096

/* Who wrote a rule. */
struct policy_origin {
	uint32_t file;		/* the file's name; 0: the command line */
	uint32_t line;
	uint32_t text;		/* the rule as it was written */
};

/* What may be done with a path and all below it; of two rules that say it equally well the later one here counts. */
enum policy_access {
	ACCESS_NONE,		/* no rule */
	ACCESS_RW,
	ACCESS_RO,
	ACCESS_TMP,		/* an empty directory of the sandbox's own */
	ACCESS_DATA,		/* a file whose content is in the policy */
	ACCESS_DENY,		/* EACCES */
	ACCESS_HIDE,		/* ENOENT */
	NR_ACCESSES
};

struct policy_rule {
	uint32_t access;	/* enum policy_access */
	uint32_t origin;	/* the number of its struct policy_origin */
	uint32_t data, length;	/* ACCESS_DATA */
};

/* A name in patterns without wildcards: they are a tree.  Children stand side by side, in order of their names. */
struct policy_node {
	uint32_t name;
	uint16_t length;
	uint8_t leads;		/* something below it is not refused */
	uint8_t spare;
	uint32_t first, count;	/* children: numbers of nodes */
	struct policy_rule rule;
};

/* A pattern with wildcards. */
struct policy_glob {
	uint32_t pattern;	/* ends with NUL */
	uint32_t letters;	/* bytes of it that stand for themselves */
	struct policy_rule rule;
};

/* Patterns of paths, and what each is to have. */
struct policy_paths {
	uint32_t nodes;		/* the first is the root */
	uint32_t globs, nr_globs;
};

enum policy_network_operation {
	NETWORK_CONNECT = 1,	/* and datagrams that are sent */
	NETWORK_BIND = 2,	/* and listen() */
};

enum policy_protocol {
	PROTOCOL_TCP = 1,
	PROTOCOL_UDP = 2,
	PROTOCOL_UNIX = 4,
};

struct policy_network {
	uint8_t operations;	/* NETWORK_* */
	uint8_t protocols;	/* PROTOCOL_* */
	bool deny;
	uint8_t prefix;		/* bits of the address that count */
	uint16_t low, high;	/* ports */
	uint8_t address[16];	/* IPv6; an IPv4 address is mapped (RFC 4291, "IPv4-Mapped IPv6 Address") */
	uint32_t name;		/* of PROTOCOL_UNIX: a pattern; abstract names begin with '@' */
	uint32_t origin;
};

enum policy_action {
	ACTION_NONE,		/* no rule */
	ACTION_ALLOW,
	ACTION_ERRNO,
	ACTION_KILL,
};

enum policy_comparison {
	COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE,
	COMPARE_MASKED,		/* (argument & mask) == value */
};

struct policy_condition {
	uint8_t argument;	/* 0 to 5 */
	uint8_t comparison;	/* enum policy_comparison */
	uint16_t spare[3];
	uint64_t mask, value;
};

/* Of one call the first rule counts whose conditions all hold. */
struct policy_call {
	uint16_t action;	/* enum policy_action */
	uint16_t error;		/* ACTION_ERRNO: a positive errno */
	uint32_t origin;
	uint32_t conditions, nr_conditions;
	uint32_t next;		/* the next rule of this call, or 0 */
};

enum policy_limit {
	LIMIT_WALL,		/* milliseconds */
	LIMIT_CPU,		/* milliseconds */
	LIMIT_MEMORY,		/* bytes */
	LIMIT_FILE_SIZE,	/* bytes */
	LIMIT_PROCESSES,
	LIMIT_THREADS,
	LIMIT_DESCRIPTORS,
	NR_LIMITS
};

#define NO_LIMIT	UINT64_MAX

struct policy {
	uint64_t magic;
	uint64_t size;
	uint32_t origins, nr_origins;
	struct policy_paths files, exec;
	uint32_t network, nr_network;
	uint32_t calls[POLICY_CALLS];	/* the first rule of each */
	struct policy_call other_calls;	/* of those that have none that applies */
	uint32_t environment, nr_environment;	/* positions of NAME or NAME=VALUE */
	uint32_t pad;
	uint64_t limits[NR_LIMITS];
};

static inline const void *policy_at(const struct policy *p, uint32_t position)
{
	return (const char *)p + position;
}

/* The rule that counts for a path. */
struct policy_verdict {
	enum policy_access access;
	bool leads;		/* the path is on the way to something that is not refused: it may be looked at */
	uint32_t origin;	/* where @access is not ACCESS_NONE */
	uint32_t data, length;	/* ACCESS_DATA */
};

/*
 * files.c: @path is absolute and has no `.`, no `..`, no empty name and no symbolic link in it (else what is said is
 * said of the name, not of what it leads to).  The rule that reaches deepest counts; of those the one with more
 * letters, of those the stricter one.
 */
struct policy_verdict policy_path(const struct policy *p, const struct policy_paths *paths, const char *path);

/* May a rule speak of something below the folder @path?  Then its name is not to become another one's. */
bool policy_speaks_below(const struct policy *p, const struct policy_paths *paths, const char *path);

/* Does @pattern, of one component or a whole path, match @text?  `*`, `?` and `[...]` do not match '/', `**` does. */
bool policy_glob_matches(const char *pattern, const char *text);

/* network.c: the first rule that fits; NULL: refused.  @address as in struct policy_network, @port as people say it. */
const struct policy_network *policy_internet(const struct policy *p, unsigned int operation, unsigned int protocol,
					     const uint8_t address[16], unsigned int port);
/* @name is a path, or '@' and an abstract name whose NULs have become '@'. */
const struct policy_network *policy_unix(const struct policy *p, unsigned int operation, const char *name);

/* calls.c: never NULL; ACTION_NONE: no rule speaks of it. */
const struct policy_call *policy_call(const struct policy *p, uint64_t nr, const uint64_t arguments[6]);

#endif /* SANDBOX_POLICY_H */
