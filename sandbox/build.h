/* SPDX-License-Identifier: MIT */
/*
 * A policy while it is written: what people say, rule by rule.  With the C library; never seen by what judges.
 *
 * Functions that return bool return false if what they were given makes no rule; builder_error() says why then, in a
 * sentence without a place, for whoever has read it knows that.  Memory that cannot be had ends the program.
 */
#ifndef SANDBOX_BUILD_H
#define SANDBOX_BUILD_H

#include <stddef.h>
#include <stdio.h>

#include "policy.h"

struct builder;

/* Where a rule is written. */
#define RANK_MAX	100	/* of a file that no other includes */
#define RANK_COMMAND	(RANK_MAX + 1)
#define RANK_PROFILE	UINT32_MAX	/* of a seccomp profile: the refusals that every policy has come first, too */

struct place {
	const char *file;	/* NULL: the command line */
	unsigned int line;
	unsigned int rank;	/* files that include others have a higher one, and say it again; 0: the default */
};

struct builder *builder_new(void);
void builder_free(struct builder *b);
const char *builder_error(const struct builder *b);

enum path_set { SET_FILES, SET_EXEC };

/* @data, of ACCESS_DATA, may have NULs. */
bool builder_path(struct builder *b, const struct place *place, enum path_set set, const char *pattern,
		  enum policy_access access, const char *data, size_t length);
/* `[deny] connect|bind|any tcp|udp|unix|any ADDRESS [PORT[-PORT]]` (dune-sandbox.policy(5)) */
bool builder_network(struct builder *b, const struct place *place, const char *rule);
/* A call's name, number or `@group`; `allow`, `deny`, `kill`, an errno's name or number; and conditions, or NULL. */
bool builder_call(struct builder *b, const struct place *place, const char *name, const char *action,
		  const char *conditions);
/* What is done with each call of which no other rule of a profile says it; `*` does not count then. */
bool builder_others(struct builder *b, const struct place *place, const char *action);
/* NAME, or NAME=VALUE */
bool builder_environment(struct builder *b, const char *text);
bool builder_limit(struct builder *b, const char *name, const char *value);

/* default.c: refusals that count where no other rule speaks of a call; every policy begins with them. */
bool builder_refusals(struct builder *b);
/* default.c: what a dynamic program needs to run, and no more; `include: [default]`. */
bool builder_default(struct builder *b, unsigned int rank);

/* The finished policy: malloc()ed, of ->size bytes.  The builder can go on. */
struct policy *builder_finish(struct builder *b);

/* read.c: all that a file says, and the files that it includes.  false: the error was printed on stderr. */
bool policy_read_file(struct builder *b, const char *file);

/*
 * profile.c: a seccomp profile as container runtimes have it; its rules count after all others.  false: the error was
 * printed on stderr; names of calls that are not known are printed there too.
 */
bool policy_read_profile(struct builder *b, const char *file);

/* print.c: as a file that says the same. */
void policy_print(FILE *out, const struct policy *p);
/* @length bytes as a YAML word between quotes. */
void policy_print_quoted(FILE *out, const char *text, size_t length);
const char *policy_access_name(enum policy_access access);
const char *policy_limit_name(enum policy_limit limit);
const char *policy_call_name(unsigned int nr);		/* NULL: there is none */
const char *policy_error_name(unsigned int error);	/* NULL: a policy says its number */
unsigned int policy_error_number(const char *name);	/* 0: there is none */
bool policy_call_number(const char *name, unsigned int *nr);

#endif /* SANDBOX_BUILD_H */
