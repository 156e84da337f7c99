// SPDX-License-Identifier: MIT
/*
 * libgc, as it is, with dirty pages from dune_gc_start(): objects that only old, written objects lead to survive each
 * collection.  For each new one libgc is asked to clear a word when it goes: so a lost object is seen at once.
 *
 *	gc survivors [THREADS [COLLECTIONS]]
 *	gc deaf		the same with dirty bits that are cleared behind the tracker's back: objects must be lost
 *	gc errors	what dune_gc_start() refuses, and a callback that was replaced
 */
#define GC_THREADS
#include <gc/gc.h>
#include <dune-gc.h>
#include <signal.h>

#include "proc.h"
#include "epochs.h"

#define CELLS		1024		/* old objects, of which two have a page */
#define CELL_SIZE	2000
#define LOST_MAX	1000

struct object {
	uint64_t magic;
	void *unused[3];
};

struct cell {
	struct object *object;
	char rest[CELL_SIZE - 8];
};

static struct cell *cells[CELLS];
/* The new objects' words; what is hidden keeps nothing alive. */
static struct {
	GC_hidden_pointer object;
	bool is;
} links[CELLS];

static bool deaf;

static void forget(unsigned int i)
{
	if (links[i].is)
		GC_unregister_disappearing_link((void **)&links[i].object);
	links[i].is = false;
	cells[i]->object = NULL;
}

/* Into cell @i; now and then the kernel writes the reference. */
static __attribute__((noinline)) void renew(unsigned int i, bool by_kernel, const int *pipe)
{
	struct object *object = GC_MALLOC(sizeof(*object));

	CHECK(object, "GC_MALLOC");
	forget(i);
	object->magic = ~(uintptr_t)object;
	links[i].object = GC_HIDE_POINTER(object);
	CHECK_EQUAL(GC_general_register_disappearing_link((void **)&links[i].object, object), GC_SUCCESS, "link");
	links[i].is = true;
	if (!by_kernel) {
		cells[i]->object = object;
		return;
	}
	CHECK_EQUAL(write(pipe[1], &object, sizeof(object)), sizeof(object), "write");
	CHECK_EQUAL(read(pipe[0], &cells[i]->object, sizeof(object)), sizeof(object), "read");
}

static void write_some(unsigned int thread, uint64_t *seed, const int *pipe)
{
	for (unsigned int i = 0; i < EPOCH_WRITES; i++) {
		const uint64_t value = next_random(seed);

		renew((value >> 8) % (i & 1 ? 16 : CELLS / nr_threads) * nr_threads + thread, !(value % 64), pipe);
	}
}

static void mutator_begins(void)
{
	CHECK_WORLD("a mutator");
}

static void clear_dirty_bits(void)
{
	for (unsigned int i = 0; i < CELLS; i++) {
		ptent_t *e;

		if (!dune_vm_lookup(dune_vm_root(), cells[i], CREATE_NONE, &e))
			__atomic_fetch_and(e, ~(ptent_t)PTE_D, __ATOMIC_SEQ_CST);
	}
	dune_flush_tlb();
}

static unsigned int collect(unsigned int round)
{
	unsigned int lost = 0;

	if (deaf)
		clear_dirty_bits();
	GC_start_incremental_collection();
	while (GC_collect_a_little())
		;
	for (unsigned int i = 0; i < CELLS; i++) {
		if (!links[i].is)
			continue;
		if (links[i].object && cells[i]->object->magic == ~(uintptr_t)cells[i]->object)
			continue;
		lost++;
		links[i].is = false;
		cells[i]->object = NULL;
	}
	CHECK(deaf || !lost, "collection %u: %u objects are lost", round, lost);
	return lost;
}

/* Most pages must be clean, else all objects would survive without any bit. */
static void check_stats(unsigned int collections)
{
	struct dune_gc_stats stats;

	dune_gc_stats(&stats);
	printf("%lu reads, %lu of them blind; %lu pages of %lu\n", stats.reads, stats.blind, stats.pages,
	       stats.tracked / 4096);
	CHECK(stats.reads >= collections && stats.blind < stats.reads / 2, "%lu of %lu reads are blind", stats.blind,
	      stats.reads);
	CHECK(deaf || stats.pages, "no page was told of");
	CHECK(stats.pages < stats.reads * (stats.tracked / 4096) / 2, "%lu pages were told of, in %lu reads of %lu",
	      stats.pages, stats.reads, stats.tracked / 4096);
}

static unsigned int events;

static void GC_CALLBACK count_event(GC_EventType event)
{
	events += event == GC_EVENT_MARK_START;
}

static void begin(void)
{
	GC_set_handle_fork(1);
	GC_set_full_freq(1000000);	/* else libgc looks at everything every so often */
	GC_INIT();
	GC_set_on_collection_event(count_event);
}

static void *wait_outside(void *arg)
{
	while (!over)
		usleep(1000);
	return arg;
}

static void check_errors(void)
{
	pthread_t thread;
	int status, ret, tries = 0;

	begin();
	status = IN_CHILD({
		GC_enable_incremental();
		CHECK_EQUAL(dune_gc_start(), -EALREADY, "in incremental mode by other means");
	});
	CHECK_EQUAL(status, 0, "a child with incremental mode");
	CHECK_EQUAL(pthread_create(&thread, NULL, wait_outside, NULL), 0, "pthread_create");
	CHECK_EQUAL(dune_gc_start(), -EBUSY, "a thread is outside");
	CHECK(!GC_is_incremental_mode(), "libgc is incremental after a refusal");
	over = true;
	pthread_join(thread, NULL);
	/* The kernel may count it a little longer. */
	do
		ret = dune_gc_start();
	while (ret == -EBUSY && ++tries < 1000 && !usleep(10000));
	CHECK_EQUAL(ret, 0, "after that");
	CHECK_EQUAL(dune_gc_start(), 0, "once more");
	CHECK(dune_in_dune_mode() && GC_is_incremental_mode(), "it has not started");
	status = IN_CHILD({
		GC_set_on_collection_event(count_event);
		GC_gcollect();
	});
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "with another callback: status %#x", status);
	status = IN_CHILD({
		GC_gcollect();
		CHECK(events, "the program's callback was not called");
	});
	CHECK_EQUAL(status, 0, "a child that collects");
}

int main(int argc, char **argv)
{
	unsigned int collections = argc > 3 ? atoi(argv[3]) : 100, lost;
	const char *what = argc > 1 ? argv[1] : "survivors";

	setvbuf(stdout, NULL, _IOLBF, 0);
	proc_inside = true;
	deaf = !strcmp(what, "deaf");
	if (!strcmp(what, "errors")) {
		check_errors();
		return check_result();
	}
	nr_threads = argc > 2 ? atoi(argv[2]) : 1;
	begin();
	CHECK_EQUAL(dune_gc_start(), 0, "dune_gc_start");
	for (unsigned int i = 0; i < CELLS; i++)
		cells[i] = GC_MALLOC(CELL_SIZE);
	GC_gcollect();
	lost = survive(collections, LOST_MAX);
	printf("%u collections, %u threads: %u objects lost\n", collections, nr_threads, lost);
	if (deaf)
		CHECK(lost >= collections, "only %u objects were lost without dirty bits", lost);
	check_stats(collections);
	CHECK(events >= collections, "the program's callback was called %u times", events);
	CHECK_EQUAL(IN_CHILD({
		const unsigned int some = collections / 4 + 1;

		lost = survive(some, LOST_MAX);
		CHECK(deaf || !lost, "%u objects lost in a child", lost);
	}), 0, "a child of a fork");
	return check_result();
}
