// SPDX-License-Identifier: MIT
/*
 * libgc's dirty pages from a tracker (dune_dirty_open()).
 *
 * libgc has a mode in which the program says what it has written, page by page.  With the world stopped, and before it
 * looks at what was said, it calls back: GC_EVENT_MARK_START.  There the tracker is asked, and speaks for the program.
 *
 * No function says where libgc's heap is.  So where that has grown, each mapping without a file is looked through for a
 * page that libgc knows; a mapping with one is tracked as a whole.  What is tracked stays so: libgc gives pages back to
 * the kernel and takes them again.
 *
 * An ordinary program's code, in Dune mode; callbacks run with libgc's lock held and all other threads stopped,
 * wherever they were: no malloc() and no stdio.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GC_THREADS
#include <gc/gc.h>
#include <gc/gc_mark.h>

#include <dune.h>
#include <dune-gc.h>

#define PAGE		4096UL
#define VERSION		0x80200		/* 8.2 */

struct area {
	uintptr_t start, end;
};

struct areas {
	struct area of[DUNE_DIRTY_RANGES];	/* in order, with gaps between them */
	unsigned int n;
};

static bool started;
static GC_on_collection_event_proc next_event;
static GC_push_other_roots_proc next_roots;
static struct areas tracked, found;
static struct dune_dirty *tracker;	/* of @tracked; NULL: all of it counts as written */
static GC_word heap_size, heap_unmapped;	/* when it was looked for */
static GC_word told;			/* the collection that has been told of, and 1 */
static struct dune_gc_stats stats;

static void die(const char *why)
{
	static const char name[] = "libdune-gc: ";

	if (write(STDERR_FILENO, name, sizeof(name) - 1) > 0 && write(STDERR_FILENO, why, strlen(why)) > 0)
		(void)!write(STDERR_FILENO, "\n", 1);
	abort();
}

/* ---- areas ---- */

/* Of more areas than a tracker can have those with the least between them become one. */
static void squeeze(struct areas *a)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i + 1 < a->n; i++)
		if (a->of[i + 1].start - a->of[i].end < a->of[best + 1].start - a->of[best].end)
			best = i;
	a->of[best].end = a->of[best + 1].end;
	a->n--;
	memmove(&a->of[best + 1], &a->of[best + 2], (a->n - best - 1) * sizeof(a->of[0]));
}

static void add(struct areas *a, uintptr_t start, uintptr_t end)
{
	unsigned int first = 0, behind;

	while (first < a->n && a->of[first].end < start)
		first++;
	for (behind = first; behind < a->n && a->of[behind].start <= end; behind++) {
		start = a->of[behind].start < start ? a->of[behind].start : start;
		end = a->of[behind].end > end ? a->of[behind].end : end;
	}
	if (first == behind && a->n == DUNE_DIRTY_RANGES) {
		squeeze(a);
		add(a, start, end);
		return;
	}
	memmove(&a->of[first + 1], &a->of[behind], (a->n - behind) * sizeof(a->of[0]));
	a->n += first + 1 - behind;
	a->of[first] = (struct area){ start, end };
}

static uintptr_t size_of(const struct areas *a)
{
	uintptr_t size = 0;

	for (unsigned int i = 0; i < a->n; i++)
		size += a->of[i].end - a->of[i].start;
	return size;
}

/*
 * What libgc has given back cannot be read, and begins with a page that it knows; not so perhaps with a guard of
 * somebody else's before it, which is small where what is reserved may be terabytes.
 */
#define GUARDS		(256UL << 20)

static void look_at(const struct dune_procmap_entry *entry, void *arg)
{
	uintptr_t end = entry->end;

	if (entry->type != PROCMAP_TYPE_ANONYMOUS && entry->type != PROCMAP_TYPE_HEAP)
		return;
	if (!entry->w && end - entry->begin > GUARDS)
		end = entry->begin + GUARDS;
	for (uintptr_t page = entry->begin; page < end; page += PAGE) {
		if (GC_is_heap_ptr((void *)page)) {
			add(arg, entry->begin, entry->end);
			return;
		}
	}
}

/* ---- what was written ---- */

static int tell(void *arg, void *va, size_t size)
{
	(void)arg;
	for (size_t at = 0; at < size; at += PAGE)
		GC_end_stubborn_change((char *)va + at);
	stats.pages += size / PAGE;
	return 0;
}

static void tell_all(void)
{
	for (unsigned int i = 0; i < tracked.n; i++)
		tell(NULL, (void *)tracked.of[i].start, tracked.of[i].end - tracked.of[i].start);
	stats.blind++;
}

/* From now on; on failure there is no tracker. */
static void open_tracker(void)
{
	struct dune_dirty_range ranges[DUNE_DIRTY_RANGES];

	for (unsigned int i = 0; i < tracked.n; i++)
		ranges[i] = (struct dune_dirty_range){
			(void *)tracked.of[i].start, tracked.of[i].end - tracked.of[i].start
		};
	if (tracked.n && dune_dirty_open(&tracker, dune_vm_root(), ranges, tracked.n))
		tracker = NULL;
}

static bool has_grown(void)
{
	struct GC_prof_stats_s now = { 0 };

	GC_get_prof_stats_unsafe(&now, sizeof(now));
	if (now.heapsize_full == heap_size && now.unmapped_bytes == heap_unmapped)
		return false;
	heap_size = now.heapsize_full;
	heap_unmapped = now.unmapped_bytes;
	return true;
}

/* With all areas that there are now: is any new? */
static bool find_areas(void)
{
	if (!has_grown())
		return false;
	found = tracked;
	if (dune_procmap_iterate(look_at, &found))
		die("/proc/self/maps cannot be read, and so nobody knows what was written");
	if (found.n == tracked.n && !memcmp(found.of, tracked.of, found.n * sizeof(found.of[0])))
		return false;
	tracked = found;
	stats.tracked = size_of(&tracked);
	return true;
}

static void read_dirty(void)
{
	stats.reads++;
	if (find_areas() && tracker) {
		dune_dirty_close(tracker);
		tracker = NULL;
	}
	if (tracker && dune_dirty_collect_each(tracker, tell, NULL) >= 0)
		return;
	tell_all();
	if (!tracker)
		open_tracker();
}

static void GC_CALLBACK on_event(GC_EventType event)
{
	if (event == GC_EVENT_MARK_START) {
		read_dirty();
		told = GC_get_gc_no() + 1;
	}
	if (next_event)
		next_event(event);
}

/* In each collection, after libgc has looked at what is dirty. */
static void GC_CALLBACK on_roots(void)
{
	if (told != GC_get_gc_no() + 1)
		die("the callback for collection events was replaced, by one that does not call it");
	if (next_roots)
		next_roots();
}

/* ---- the beginning ---- */

/* libgc's markers write no objects: they may be outside. */
static int check_threads(void)
{
	int outside = dune_threads_outside();

	return outside < 0 ? outside : outside > GC_get_parallel() ? -EBUSY : 0;
}

int dune_gc_start(void)
{
	int ret = 0;

	if (started)
		return 0;
	if (GC_get_version() < VERSION)
		return -ENOSYS;
	if (GC_is_incremental_mode())
		return -EALREADY;
	if (!dune_in_dune_mode())
		ret = dune_init_and_enter();
	if (!ret)
		ret = check_threads();
	if (ret)
		return ret;
	next_event = GC_get_on_collection_event();
	next_roots = GC_get_push_other_roots();
	GC_set_on_collection_event(on_event);
	GC_set_push_other_roots(on_roots);
	GC_set_manual_vdb_allowed(1);
	GC_enable_incremental();
	if (!GC_is_incremental_mode()) {
		GC_set_manual_vdb_allowed(0);
		GC_set_on_collection_event(next_event);
		GC_set_push_other_roots(next_roots);
		return -ENOSYS;
	}
	started = true;
	return 0;
}

void dune_gc_stats(struct dune_gc_stats *out)
{
	*out = stats;
}
