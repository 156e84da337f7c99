/* SPDX-License-Identifier: MIT */
/*
 * Lines of text about system calls, with their arguments in words: for callbacks (dune-ring3.h), without the C library.
 */
#ifndef DUNE_DECODE_H
#define DUNE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dune-ring3.h>

#define ERRORS		140
#define SIGNALS		65
#define NAME_SIZE	16
#define TEXT_SIZE	64

/* What main() finds out by the C library (names.c), for callbacks: in memory that they share. */
struct names {
	char error[ERRORS][NAME_SIZE], error_text[ERRORS][TEXT_SIZE], signal[SIGNALS][NAME_SIZE];
};

/* names.c: an ordinary program's code. */
void fill_names(struct names *names);

/* Whoever uses this has them. */
const struct names *decode_names(void);

/* A line that is being written; in the thread's memory, from before() to after(). */
struct line {
	uint64_t began;		/* in ticks */
	uint32_t fault;		/* the signal whose line is written already */
	unsigned int next;	/* the first argument that is not written */
	uint16_t start, length;	/* where the call begins */
	char text[3900];
};

_Static_assert(sizeof(struct line) <= DUNE_RING3_MEMORY, "it is the thread's memory");

/* ---- text ---- */

void put_char(struct line *line, char c);
void put(struct line *line, const char *text);
void put_number(struct line *line, int64_t number);
void put_hex(struct line *line, uint64_t number);

/* ---- calls ---- */

/* The number's name; NULL. */
const char *call_name(unsigned int nr);
/*
 * Arguments from *@next on; *@next becomes the first that is not known before the call is made (@made: it was).
 */
void put_arguments(struct dune_ring3_thread *t, struct line *line, const struct dune_ring3_call *call,
		   unsigned int *next, bool made, int64_t result);
void put_result(struct line *line, const struct dune_ring3_call *call, int64_t result);

#endif /* DUNE_DECODE_H */
