// SPDX-License-Identifier: MIT
/*
 * Thread areas: which are in use, by whom, and whose vCPU is whose.  HR3.
 */
#include <linux/mman.h>

#include "threads/threads.h"

/*
 * In the region, beside the tables: a fork does not write and copy it.  The first page has all that a program with few
 * threads needs.
 */
struct thread_slot {
	uint32_t state;		/* SLOT_*, atomic */
	/*
	 * Whose the vCPU of this number is: slot + 1, or 0. Atomic. The engine hands out no vCPU of a thread that
	 * lives. So when it hands out one that was not given up, its thread has been killed alone, and the area is
	 * free.
	 */
	uint32_t vcpu;
};

_Static_assert(MAX_THREADS * sizeof(struct thread_slot) <= SLOTS_SIZE, "there is room for them");

static struct thread_slot *slots(void)
{
	return (struct thread_slot *)(__dune_process.region + REGION_SLOTS);
}

void __dune_threads_begin(void)
{
	slots()[0].state = SLOT_ZERO;
}

static void raise_to(uint32_t *seen, uint32_t value)
{
	uint32_t old = READ_ONCE(*seen);

	while (old < value)
		if (__atomic_compare_exchange_n(seen, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			break;
}

static unsigned long slot_area(unsigned int slot)
{
	return __dune_process.region + slot_offset(slot);
}

static unsigned int thread_slot(const struct dune_thread *t)
{
	return offset_slot(thread_area(t) - __dune_process.region);
}

uint32_t *__dune_thread_slot(const struct dune_thread *t)
{
	return &slots()[thread_slot(t)].state;
}

HOT struct dune_thread *__dune_vcpu_taken(unsigned int index, const struct dune_thread *t)
{
	unsigned int now = t ? thread_slot(t) + 1 : 0, before;

	/* In the child of a fork it is so: write nothing, which would copy a page. */
	if (index >= MAX_THREADS || READ_ONCE(slots()[index].vcpu) == now)
		return NULL;
	raise_to(&region_state()->vcpus_seen, index + 1);
	before = __atomic_exchange_n(&slots()[index].vcpu, now, __ATOMIC_ACQ_REL);
	return before ? area_thread(slot_area(before - 1)) : NULL;
}

HOT bool __dune_has_vcpu(const struct dune_thread *t)
{
	return t->vcpu.index < MAX_THREADS && READ_ONCE(slots()[t->vcpu.index].vcpu) == thread_slot(t) + 1;
}

void __dune_vcpu_given_up(unsigned int index)
{
	if (index < MAX_THREADS)
		__atomic_store_n(&slots()[index].vcpu, 0, __ATOMIC_RELEASE);
}

static bool in_use(uint32_t state)
{
	return state == SLOT_BUSY || state >= HOLDER_HOST;
}

/* How often a thread area that is being made is met before it is asked whether its maker lives. */
#define MEETINGS	16

/* Returns what @slot was before, SLOT_BUSY if it cannot be had. */
static uint32_t slot_claim(unsigned int slot)
{
	uint32_t state = READ_ONCE(slots()[slot].state), before = state;

	if (state >= HOLDER_HOST && __atomic_add_fetch(&region_state()->met, 1, __ATOMIC_RELAXED) % MEETINGS == 0 &&
	    __dune_holder_wait(state, 0))
		before = SLOT_NEW;
	if (in_use(before) ||
	    !__atomic_compare_exchange_n(&slots()[slot].state, &state, __dune_holder_host(), false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return SLOT_BUSY;
	if (before == SLOT_NEW && __dune_region_open_area(slot_area(slot))) {
		__atomic_store_n(&slots()[slot].state, state, __ATOMIC_RELEASE);
		return SLOT_BUSY;
	}
	raise_to(&region_state()->slots_seen, slot + 1);
	/* A dead maker may have opened it, and written there. */
	return state >= HOLDER_HOST ? SLOT_CLEAN : state;
}

struct dune_thread *__dune_area_alloc(void)
{
	uint32_t state = SLOT_BUSY;
	struct dune_thread *t;
	unsigned long area;
	unsigned int slot;

	for (slot = 0; slot < MAX_THREADS; slot++) {
		state = slot_claim(slot);
		if (state != SLOT_BUSY)
			break;
	}
	if (slot == MAX_THREADS)
		return NULL;
	area = slot_area(slot);
	t = area_thread(area);
	if (state == SLOT_CLEAN) {
		if (t->lent)
			memset((void *)(area + AREA_CALL), 0, AREA_COPIES - AREA_CALL);
		memset(t, 0, sizeof(*t));
	}
	t->vcpu.page = area + AREA_ENGINE;
	t->host_top = area + AREA_HOST_END;
	t->trap_low = trap_low(area);
	t->trap_high = area + AREA_TRAP_END;
	t->trap_top = area + AREA_TRAP_END;
	t->cr3 = __dune_process.region_gpa + REGION_ROOT;
	t->holder = __atomic_add_fetch(&region_state()->uses, HOLDER_USE, __ATOMIC_RELAXED) |
		    (slot_offset(slot) / AREA_SIZE + 1);
	return t;
}

HOT void __dune_thread_made(const struct dune_thread *t)
{
	/* In the child of a fork it is so. */
	if (READ_ONCE(*__dune_thread_slot(t)) == SLOT_BUSY)
		return;
	/* Before it enters: whoever changes a page table then flushes its TLB too. */
	__atomic_fetch_add(&region_state()->nr_threads, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(__dune_thread_slot(t), SLOT_BUSY, __ATOMIC_RELEASE);
}

void __dune_thread_out(struct dune_thread *t)
{
	WRITE_ONCE(t->cr3, 0);
	__atomic_fetch_sub(&region_state()->nr_threads, 1, __ATOMIC_SEQ_CST);
}

void __dune_thread_free(struct dune_thread *t)
{
	WRITE_ONCE(t->holder, 0);
	WRITE_ONCE(t->group, 0);
	/* Not while it was made, nor after __dune_thread_out(). */
	if (READ_ONCE(*__dune_thread_slot(t)) == SLOT_BUSY && t->cr3)
		__atomic_fetch_sub(&region_state()->nr_threads, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(__dune_thread_slot(t), SLOT_CLEAN, __ATOMIC_RELEASE);
}

/*
 * For copies that a program in ring 3 must not reach: the stacks of an area that no thread has.  Returns -ENOMEM where
 * there is none.
 */
long __dune_area_lend(unsigned long *size)
{
	struct dune_thread *t = __dune_area_alloc();

	if (!t)
		return -ENOMEM;
	t->lent = true;
	*size = thread_area(t) + AREA_HOST_END - t->trap_low;
	return t->trap_low;
}

/* Once its borrower is dead slot_claim() may have given it to another. */
bool __dune_area_return(unsigned long address, uint32_t holder)
{
	uint32_t state = holder | HOLDER_HOST;

	return __atomic_compare_exchange_n(__dune_thread_slot(area_thread(address & -(unsigned long)AREA_SIZE)),
					   &state, SLOT_CLEAN, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Have @nr areas for threads to come without a call of the kernel, as far as there is memory. */
void __dune_thread_reserve(unsigned int nr)
{
	for (unsigned int slot = 0; nr && slot < MAX_THREADS; slot++) {
		uint32_t state = READ_ONCE(slots()[slot].state);

		if (in_use(state))
			continue;
		if (state == SLOT_NEW) {
			if (slot_claim(slot) == SLOT_BUSY)
				return;
			__atomic_store_n(&slots()[slot].state, SLOT_ZERO, __ATOMIC_RELEASE);
		}
		nr--;
	}
}

void __dune_threads_inherit(void)
{
	__dune_region_inherit(READ_ONCE(region_state()->slots_seen));
}

/* Is no other thread in Dune mode? */
bool __dune_thread_alone(struct dune_thread *t)
{
	unsigned int end = READ_ONCE(region_state()->slots_seen);

	for (unsigned int slot = 0; slot < end; slot++)
		if (in_use(READ_ONCE(slots()[slot].state)) && &slots()[slot].state != __dune_thread_slot(t))
			return false;
	return true;
}

struct dune_thread *__dune_thread_after(const struct dune_thread *t)
{
	unsigned int end = READ_ONCE(region_state()->slots_seen);

	for (unsigned int slot = t ? thread_slot(t) + 1 : 0; slot < end; slot++)
		if (in_use(READ_ONCE(slots()[slot].state)))
			return area_thread(slot_area(slot));
	return NULL;
}

bool __dune_thread_in(uint64_t gpa)
{
	unsigned int end = READ_ONCE(region_state()->slots_seen);

	for (unsigned int slot = 0; slot < end; slot++)
		if (READ_ONCE(slots()[slot].state) == SLOT_BUSY && READ_ONCE(area_thread(slot_area(slot))->cr3) == gpa)
			return true;
	return false;
}

/* Without mmap, which a filter may forbid: the page of a vCPU that is given up at once. */
static int fill_hole_by_vcpu(unsigned int slot)
{
	const struct vcpu_config config = { 0 };
	struct vcpu v = { .page = slot_area(slot) + AREA_ENGINE };
	int ret = __dune_engine_create(&v, &config);

	if (!ret)
		__dune_engine_destroy(&v);
	return ret;
}

static bool fill_hole(unsigned long start, unsigned long end)
{
	long ret;

	if (region_state()->filtered)
		return false;
	ret = dune_syscall6(__NR_mmap, start, end - start, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (is_error(ret))
		return false;
	if (end - start > PAGE_SIZE)
		__dune_dump_memory(start, end, false);
	return true;
}

/*
 * The first area is kept, for the tables are in it. Others go back to what they were at the beginning. If that cannot
 * be, they stay, and their holes alone are plugged; the engine tells a want of memory from a limit.
 */
static int drop_first(void)
{
	if (!fill_hole(slot_area(0) + AREA_ENGINE, slot_area(0) + AREA_ENGINE + PAGE_SIZE)) {
		int ret = fill_hole_by_vcpu(0);

		if (ret)
			return ret;
	}
	slots()[0].state = SLOT_CLEAN;
	return 0;
}

/* Those from @slot to @end - 1. */
static int drop_slots(unsigned int slot, unsigned int end)
{
	bool whole = slot >= end || fill_hole(slot_area(slot), slot_area(end));

	for (; slot < end; slot++) {
		int ret = whole || slots()[slot].state == SLOT_NEW ? 0 : fill_hole_by_vcpu(slot);

		if (ret)
			return ret;
		if (slots()[slot].state != SLOT_NEW)
			slots()[slot].state = whole ? SLOT_NEW : SLOT_CLEAN;
	}
	return 0;
}

/*
 * In the child of a fork the other threads do not exist.  Nor do the pages that they shared with
 * the kernel: plug the holes, or something of the program's may be put there.  0 or -errno: -ENOMEM if there may be
 * memory later, -EAGAIN if RLIMIT_AS has no room; to be called again then, before the child uses any of it.
 */
HOT int __dune_threads_drop_others(struct dune_thread *t)
{
	unsigned int own = t ? thread_slot(t) : 0, end = region_state()->slots_seen;
	bool gone = __dune_region_forked(t);
	int ret = 0;

	if (end && (!t || own))
		ret = drop_first();
	if (gone) {
		for (unsigned int slot = 1; slot < end; slot++)
			if (slot != own && slots()[slot].state != SLOT_NEW)
				slots()[slot].state = SLOT_NEW;
	} else if (!ret) {
		ret = drop_slots(1, own);
		if (!ret)
			ret = drop_slots(own + 1, end);
	}
	if (ret)
		return ret;
	/* Whatever the other threads were at: of what they have not finished there is no other trace. */
	for (unsigned int index = 0; index < region_state()->vcpus_seen; index++)
		if (slots()[index].vcpu && !(t && slots()[index].vcpu == own + 1))
			__dune_vcpu_given_up(index);
	/* Mostly it is so: write nothing. */
	if (region_state()->nr_threads != (t ? 1 : 0))
		region_state()->nr_threads = t ? 1 : 0;
	return 0;
}
