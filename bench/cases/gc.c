// SPDX-License-Identifier: MIT
/*
 * Programs on libgc, as it is in the system, in the shape of those of the paper's table of collectors.  For each: all
 * of its work, and how long libgc stops the world.  The collector knows nothing of what was written (and so looks at
 * everything each time), or has it by page protection, by soft-dirty bits (in Dune mode dune-run answers for them), or
 * by dune_gc_start().
 */
#include <gc/gc.h>
#include <string.h>

#include <dune-gc.h>

#include "../bench.h"

/* ---- the programs; each step is a part of the work, and old data live through all of them ---- */

enum { gcbench_steps = 300, list_steps = 400, map_steps = 500, xml_steps = 600, trees_steps = 400 };

static uint64_t random_state;

static unsigned int random_below(unsigned int n)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;	/* Knuth's MMIX */
	return (random_state >> 33) % n;
}

struct tree {
	struct tree *left, *right;
	long data[2];
};

static struct tree *make_tree(unsigned int depth)
{
	struct tree *t = GC_MALLOC(sizeof(*t));

	if (depth) {
		t->left = make_tree(depth - 1);
		t->right = make_tree(depth - 1);
	}
	return t;
}

static unsigned long nodes_of(const struct tree *t)
{
	return t ? 1 + nodes_of(t->left) + nodes_of(t->right) : 0;
}

#define OLD_DEPTH	14

static struct tree *old_tree;

/* GCBench: an old tree and short-lived ones of several depths, with now and then a new branch of the old one. */
static unsigned long gcbench_step(unsigned int i)
{
	struct tree *t = old_tree;
	unsigned long nodes = 0;

	for (unsigned int depth = 4; depth <= 10; depth += 2)
		nodes += nodes_of(make_tree(depth));
	while (t->left->left)
		t = i & 1 ? t->left : t->right;
	t->left = make_tree(0);
	return nodes == 31 + 127 + 511 + 2047;
}

static void gcbench_begin(void)
{
	old_tree = make_tree(OLD_DEPTH);
}

/* Binary trees: the old one is only read. */
static unsigned long trees_step(unsigned int i)
{
	unsigned long nodes = 0;

	for (unsigned int k = 0; k < 20; k++)
		nodes += nodes_of(make_tree(6));
	return nodes == 20 * 127 && (i % 16 || nodes_of(old_tree) == (2UL << OLD_DEPTH) - 1);
}

struct node {
	struct node *next;
	long value[3];
};

#define LISTS		64
#define LIST_LENGTH	400

static struct node *lists[LISTS];

/* Linked lists: nodes come in at one place of a list and go at another. */
static unsigned long list_step(unsigned int i)
{
	for (unsigned int k = 0; k < 24; k++) {
		struct node *n = lists[random_below(LISTS)], *new;

		for (unsigned int at = random_below(LIST_LENGTH / 2); at; at--)
			n = n->next;
		new = GC_MALLOC(sizeof(*new));
		new->value[0] = i;
		new->next = n->next;
		n->next = new;
		while (n->next->next && random_below(64))
			n = n->next;
		n->next = n->next->next;
		for (unsigned int garbage = 0; garbage < 40; garbage++)
			new->value[1] += ((struct node *)GC_MALLOC(sizeof(*new)))->value[0];
	}
	return 1;
}

static void list_begin(void)
{
	for (unsigned int i = 0; i < LISTS * LIST_LENGTH; i++) {
		struct node *n = GC_MALLOC(sizeof(*n));

		n->next = lists[i % LISTS];
		lists[i % LISTS] = n;
	}
}

#define BUCKETS		8192
#define KEYS		20000

struct entry {
	struct entry *next;
	long key, *value;
};

static struct entry **table;

static void put(long key, long number)
{
	struct entry **link = &table[key * 2654435761UL % BUCKETS], *e = *link;

	while (e && e->key != key)
		e = e->next;
	if (!e) {
		e = GC_MALLOC(sizeof(*e));
		e->key = key;
		e->next = *link;
		*link = e;
	}
	e->value = GC_MALLOC_ATOMIC(16);
	e->value[0] = number;
}

/* A hash map: values of random keys are replaced. */
static unsigned long map_step(unsigned int i)
{
	for (unsigned int k = 0; k < 1000; k++)
		put(k % 8 ? KEYS + random_below(200) : random_below(KEYS), i);
	return 1;
}

static void map_begin(void)
{
	table = GC_MALLOC(BUCKETS * sizeof(table[0]));
	for (unsigned int i = 0; i < KEYS; i++)
		put(i, i);
}

/* XML: text that is made here becomes a tree of elements; the last few trees are kept. */
struct element {
	struct element *parent, *first, *last, *next;
	char *name, *text;
};

#define DOCUMENTS	24

static char document[32768];
static struct element *documents[DOCUMENTS];

static char *copy_text(const char *from, size_t length)
{
	char *to = GC_MALLOC_ATOMIC(length + 1);

	memcpy(to, from, length);
	to[length] = 0;
	return to;
}

static struct element *parse(const char *p, unsigned long *count)
{
	struct element *root = GC_MALLOC(sizeof(*root)), *in = root;

	while (*p) {
		size_t length = strcspn(p, *p == '<' ? ">" : "<");

		if (*p != '<') {
			in->text = copy_text(p, length);
			p += length;
		} else if (p[1] == '/') {
			in = in->parent;
			p += length + 1;
		} else {
			struct element *e = GC_MALLOC(sizeof(*e));

			e->parent = in;
			e->name = copy_text(p + 1, length - 1);
			if (in->last)
				in->last->next = e;
			else
				in->first = e;
			in->last = e;
			in = e;
			++*count;
			p += length + 1;
		}
	}
	return root;
}

#define ITEMS	60

static unsigned long xml_step(unsigned int i)
{
	unsigned long count = 0;

	documents[i % DOCUMENTS] = parse(document, &count);
	return count == 1 + 4 * ITEMS;
}

static void xml_begin(void)
{
	size_t n = sprintf(document, "<items>");

	for (unsigned int i = 0; i < ITEMS; i++)
		n += sprintf(document + n, "<item id=\"%u\"><name>number %u</name><price>%u.%02u</price>"
			     "<note>a line of text</note></item>", i, i, i * 37 % 100, i * 61 % 100);
	sprintf(document + n, "</items>");
	for (unsigned int i = 0; i < DOCUMENTS; i++)
		xml_step(i);
}

/* ---- pauses ---- */

static uint64_t pauses[SAMPLES_MAX], stopped;
static unsigned int nr_pauses;

static void GC_CALLBACK on_event(GC_EventType event)
{
	if (event == GC_EVENT_PRE_STOP_WORLD)
		stopped = ticks();
	else if (event == GC_EVENT_POST_START_WORLD && nr_pauses < SAMPLES_MAX)
		pauses[nr_pauses++] = ticks() - stopped;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* ---- ways to know what was written ---- */

enum way { NOTHING, PROTECTION, SOFT_DIRTY, TRACKER };

static void begin_libgc(enum way way)
{
	setenv("GC_USE_GETWRITEWATCH", way == PROTECTION ? "0" : "1", 1);
	GC_INIT();
	GC_set_on_collection_event(on_event);
	if (way == TRACKER)
		must(!dune_gc_start());
	else if (way != NOTHING)
		GC_enable_incremental();
	must(GC_is_incremental_mode() == (way != NOTHING));
	if (way == SOFT_DIRTY && GC_incremental_protection_needs() != GC_PROTECTS_NONE)
		bench_skip("the kernel has no soft-dirty bits");
	must(way != PROTECTION || GC_incremental_protection_needs() != GC_PROTECTS_NONE);
}

/* ---- cases ---- */

static unsigned long (*step)(unsigned int i);
static unsigned int steps;

static uint64_t run_all(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	for (unsigned int k = 0; k < steps; k++)
		bench_work += step(k);
	return ticks() - start;
}

/* The pauses of a run that begin() has made: sample i of n is the quantile i / (n - 1), and so the last the maximum. */
static uint64_t a_pause(unsigned int i)
{
	return pauses[(uint64_t)(nr_pauses - 1) * (i % bench_current->samples) / (bench_current->samples - 1)];
}

static void make_pauses(void)
{
	nr_pauses = 0;
	run_all(0);
	must(bench_work == steps && nr_pauses);
	qsort(pauses, nr_pauses, sizeof(pauses[0]), compare);
	fprintf(stderr, "%s: %u pauses, p99 %lu; heap %zu KiB\n", bench_current->name, nr_pauses,
		pauses[(nr_pauses - 1) * 99 / 100], GC_get_heap_size() / 1024);
}

#define BEGIN(program, way)						\
	static void program##_##way(void)				\
	{								\
		random_state = 1;					\
		begin_libgc(way);					\
		program##_begin();					\
		GC_gcollect();						\
		step = program##_step;					\
		steps = program##_steps;				\
	}								\
	static void program##_##way##_pauses(void)			\
	{								\
		program##_##way();					\
		bench_work = 0;						\
		make_pauses();						\
	}

#define trees_begin	gcbench_begin
#define BEGINS(program)							\
	BEGIN(program, NOTHING) BEGIN(program, PROTECTION) BEGIN(program, SOFT_DIRTY) BEGIN(program, TRACKER)

BEGINS(gcbench)
BEGINS(list)
BEGINS(map)
BEGINS(xml)
BEGINS(trees)

#define WAY(name, program, way, text, sides)							\
	{ name ", " text, sides, 1, program##_steps, program##_##way, NULL, run_all,		\
	  .by_dune_run = way == SOFT_DIRTY },							\
	{ name ", " text ": pauses", sides, 101, 0, program##_##way##_pauses, NULL, a_pause,	\
	  .by_dune_run = way == SOFT_DIRTY }

#define PROGRAM(name, program)									\
	WAY(name, program, NOTHING, "no incremental mode", WHERE_BOTH),				\
	WAY(name, program, PROTECTION, "mprotect()", WHERE_LINUX),				\
	WAY(name, program, SOFT_DIRTY, "soft-dirty bits, dune-run", WHERE_BOTH),		\
	WAY(name, program, TRACKER, "dune_gc_start()", WHERE_DUNE)

static const struct bench_case cases[] = {
	PROGRAM("GCBench", gcbench),
	PROGRAM("linked list", list),
	PROGRAM("hash map", map),
	PROGRAM("XML", xml),
	PROGRAM("binary trees", trees),
};

BENCH_GROUP(gc, false);
