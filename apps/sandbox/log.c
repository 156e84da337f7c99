// SPDX-License-Identifier: MIT
/*
 * Denials, one line of JSON each.  Callbacks' code.
 *
 * Lines go through a pipe to our own process, which writes them.  Each is at most as long as a pipe takes whole.  Where
 * the pipe is full, or a second has had too many, a line is counted and dropped: nobody waits for who reads them.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "sandbox.h"

#define LINE_MAX	4096	/* PIPE_BUF */
#define LINES_A_SECOND	1000
#define ARGUMENTS_MAX	1000

/* ---- the rate ---- */

static bool may_write(void)
{
	struct shared *s = shared();
	uint64_t now[2] = { 0 }, then = __atomic_load_n(&s->second, __ATOMIC_RELAXED);

	if (s->all)
		return true;
	raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC_COARSE, (long)now, 0, 0, 0);
	if (now[0] != then &&
	    __atomic_compare_exchange_n(&s->second, &then, now[0], false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		__atomic_store_n(&s->lines, 0, __ATOMIC_RELAXED);
	return __atomic_add_fetch(&s->lines, 1, __ATOMIC_RELAXED) <= LINES_A_SECOND;
}

/* ---- text ---- */

struct text {
	size_t length;
	char bytes[LINE_MAX];
};

/* Room for what a line ends with stays. */
#define END_ROOM	64

static void add(struct text *text, char c)
{
	if (text->length < sizeof(text->bytes) - END_ROOM)
		text->bytes[text->length++] = c;
}

static void add_text(struct text *text, const char *more)
{
	while (*more)
		add(text, *more++);
}

static void add_number(struct text *text, int64_t number)
{
	char digits[24];

	dune_ring3_format(digits, sizeof(digits), "%ld", (long)number);
	add_text(text, digits);
}

/* Inside of quotes.  What is no ASCII is a byte of a path, and becomes the character of that number. */
static void add_escaped(struct text *text, const char *from, size_t length)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < length; i++) {
		const unsigned char c = from[i];

		if (text->length + 8 > sizeof(text->bytes) - END_ROOM)
			return;
		if (c == '"' || c == '\\') {
			add(text, '\\');
			add(text, c);
		} else if (c < ' ' || c >= 0x7f) {
			add_text(text, "\\u00");
			add(text, hex[c >> 4]);
			add(text, hex[c & 15]);
		} else {
			add(text, c);
		}
	}
}

static size_t length_of(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

static void add_field(struct text *text, const char *name, const char *value, size_t length)
{
	if (text->length > 1)
		add(text, ',');
	add(text, '"');
	add_text(text, name);
	add_text(text, "\":\"");
	add_escaped(text, value, length);
	add(text, '"');
}

static void add_word(struct text *text, const char *name, const char *value)
{
	add_field(text, name, value, length_of(value));
}

/* ---- a line ---- */

/* Where the rule is written: FILE:LINE, or the command line. */
static void add_rule(struct text *text, uint32_t number)
{
	const struct policy *p = policy();
	const struct policy_origin *o;

	if (number == NO_ORIGIN) {
		add_word(text, "rule", "none permits it");
		return;
	}
	o = (const struct policy_origin *)policy_at(p, p->origins) + number;
	add_text(text, ",\"rule\":\"");
	if (o->file) {
		add_escaped(text, policy_at(p, o->file), length_of(policy_at(p, o->file)));
		if (o->line) {
			add(text, ':');
			add_number(text, o->line);
		}
	} else {
		add_text(text, "command line");
	}
	add_text(text, ": ");
	add_escaped(text, policy_at(p, o->text), length_of(policy_at(p, o->text)));
	add(text, '"');
}

static void add_permission(struct text *text, const struct denial *why)
{
	if (!why->section)
		return;
	add_text(text, ",\"section\":\"");
	add_text(text, why->section);
	add_text(text, "\",\"permit\":\"");
	add_escaped(text, why->line, length_of(why->line));
	if (why->value) {
		add_text(text, ": ");
		add_text(text, why->value);
	}
	add(text, '"');
}

static void add_call(struct dune_ring3_thread *t, struct text *text, const struct dune_ring3_call *call)
{
	struct line *line = dune_ring3_memory(t);
	const char *name = call_name(call->nr);

	if (name) {
		add_word(text, "call", name);
	} else {
		add_text(text, ",\"call\":\"");
		add_number(text, call->nr);
		add(text, '"');
	}
	line->length = 0;
	line->next = 0;
	put_arguments(t, line, call, &line->next, false, 0);
	add_field(text, "arguments", line->text, line->length < ARGUMENTS_MAX ? line->length : ARGUMENTS_MAX);
}

static void write_line(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t error,
		       const struct denial *why)
{
	struct shared *s = shared();
	struct text text;
	uint32_t dropped;

	text.length = 0;
	add_text(&text, "{\"pid\":");
	add_number(&text, dune_ring3_pid(t));
	add_call(t, &text, call);
	if (why->path)
		add_word(&text, "path", why->path);
	if (why->access)
		add_word(&text, "access", why->access);
	add_rule(&text, why->origin);
	if (s->soak)
		add_word(&text, "result", "allowed");
	else
		add_word(&text, "result", error ? s->names.error[-error] : "killed");
	add_permission(&text, why);
	dropped = __atomic_exchange_n(&s->dropped, 0, __ATOMIC_RELAXED);
	if (dropped) {
		add_text(&text, ",\"dropped\":");
		add_number(&text, dropped);
	}
	text.bytes[text.length++] = '}';
	text.bytes[text.length++] = '\n';
	if (dune_ring3_output(t, text.bytes, text.length) != (int)text.length)
		__atomic_fetch_add(&s->dropped, dropped + 1, __ATOMIC_RELAXED);
}

int64_t refuse(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t error, const struct denial *why)
{
	if (why->quiet)
		return error;
	if (shared()->log) {
		if (may_write())
			write_line(t, call, error, why);
		else
			__atomic_fetch_add(&shared()->dropped, 1, __ATOMIC_RELAXED);
	}
	return shared()->soak ? DUNE_RING3_GO : error;
}
