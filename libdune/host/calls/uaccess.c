// SPDX-License-Identifier: MIT
/*
 * Memory of the guest's as its page table has it, for system calls.  HR3.
 *
 * The kernel knows nothing of the guest's page table: it uses the memory that the process has at an address.  Where the
 * guest's has something else there, HR3 gives the kernel a copy; where it allows no such access, the guest makes the
 * access first, so that the program's handler of page faults can see to it, and then the call again.
 */
#include <linux/mman.h>

#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/* So many faults may come one after the other without any progress of the call. */
#define TRIES	64

/* ---- looking at entries ---- */

enum reach {
	HERE,		/* what the process has at the address; or the kernel knows better whether it may */
	ELSEWHERE,	/* other memory of the process */
	FAULT,		/* the access is not allowed */
};

struct leaf {
	uint64_t at;		/* ELSEWHERE: where the process has it; 0: nobody knows */
	uint64_t size;		/* of what is left of it */
	uint32_t error;		/* FAULT: the error code of the page fault */
	bool cow;		/* ... and a copy is all it takes */
};

static ptent_t *root_of(const struct dune_thread *t, bool *full)
{
	ptent_t *root = table_of(t->cr3);

	if (root == __dune_process.root)
		*full = __dune_process.full;
	else
		*full = page_of_pool((uint64_t)root) && dune_pa2page((uint64_t)root)->next == PAGE_FULL;
	return root;
}

/* With the lock held. */
static enum reach look(const struct dune_thread *t, uint64_t va, bool write, struct leaf *leaf)
{
	struct space s = { .root = NULL };
	uint64_t offset;
	int level;
	ptent_t v;

	s.root = root_of(t, &s.full);
	v = READ_ONCE(*walk_find(s.root, va, &level));
	offset = va & (level_size(level) - 1);
	*leaf = (struct leaf){ .size = level_size(level) - offset };
	if (__dune_walk_fillable(&s, v, level) || (level < LEVEL_ROOT && is_made(v)))
		return HERE;
	if (level == LEVEL_ROOT || !(v & PTE_P) || (write && !(v & PTE_W))) {
		leaf->error = (v & PTE_P ? PF_PRESENT : 0) | (write ? PF_WRITE : 0);
		leaf->cow = v & PTE_P && v & PTE_COW;
		return FAULT;
	}
	leaf->at = __dune_process_address((v & PTE_ADDRESS & -level_size(level)) + offset, va);
	return leaf->at == va ? HERE : ELSEWHERE;
}

/* Is it for the kernel to refuse? */
static bool no_range(uint64_t va, uint64_t n)
{
	return !va || !n || va + n < va || !user_address(va + n);
}

#define USER_END	(1UL << 47)

/* How far [va, va + n) can be used: some calls do so before they find that it ends nowhere. */
static uint64_t end_of_range(uint64_t va, uint64_t n)
{
	return !va || va >= USER_END ? va : n < USER_END - va ? va + n : USER_END;
}

/* What all of [va, va + n) is; what was looked at before, until a fault came, is left out. */
static enum reach look_at_range(struct access *a, uint64_t va, uint64_t n, bool write)
{
	uint64_t at = va & -(uint64_t)PGSIZE, end = end_of_range(va, n), state;
	enum reach reach = HERE;

	a->unknown = false;
	if (end == va || __dune_process.ring3)	/* its page table has nothing elsewhere */
		return HERE;
	state = memory_lock();
	while (at < end && reach != FAULT) {
		uint64_t left = (end - at + PGMASK) >> PGSHIFT, pages = left;
		struct leaf leaf;
		enum reach here;

		if (a->page < a->skip) {
			pages = a->skip - a->page < left ? a->skip - a->page : left;
		} else {
			here = look(a->t, at, write, &leaf);
			if (here == FAULT) {
				a->va = at < va ? va : at;
				a->error = leaf.error;
				a->cow = leaf.cow;
			}
			if (here != HERE)
				reach = here;
			if (here == ELSEWHERE && !leaf.at)
				a->unknown = true;
			if (leaf.size >> PGSHIFT < left)
				pages = leaf.size >> PGSHIFT;
		}
		if (reach != FAULT)
			a->page += pages;
		at += pages << PGSHIFT;
	}
	memory_unlock(state);
	return reach;
}

/* Where nothing but a handler could change that: false. */
static bool all_here(struct access *a, uint64_t va, uint64_t n)
{
	struct access quiet = { .t = a->t };

	return look_at_range(&quiet, va, n, false) == HERE;
}

bool __dune_may_read(const struct access *a, uint64_t va, uint64_t n)
{
	struct access quiet = { .t = a->t };

	return look_at_range(&quiet, va, n, false) != FAULT;
}

/* ---- copying ---- */

/*
 * Faults come to libdune until __dune_signals_restore() of what is returned.  Nothing else does: what is deferred
 * blocks all signals, and so the next fault would be the end.
 */
static uint64_t let_faults_come(struct dune_thread *t)
{
	const uint64_t others = ~(1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1));
	uint64_t mask;

	__dune_faults_keep(t->sighand);
	set_mask(SIG_SETMASK, &others, &mask);
	return mask;
}

/* Another thread may take the memory away in this very moment: false. */
bool __dune_copy_safely(struct dune_thread *t, void *to, const void *from, uint64_t n)
{
	uint64_t mask = let_faults_come(t);
	bool done = __dune_copy(to, from, n);

	__dune_signals_restore(mask);
	return done;
}

bool __dune_exchange_safely(struct dune_thread *t, uint64_t word, uint32_t *old, uint32_t new)
{
	uint64_t mask = let_faults_come(t);
	bool done = __dune_exchange((uint32_t *)word, old, new);
	__dune_signals_restore(mask);
	return done;
}

/* With the lock held: a page of the pool stays what it is while it has a reference.  A free one is nobody's to keep. */
static struct page *get_page(uint64_t at)
{
	return page_of_pool(at) && dune_pa2page(at)->ref ? dune_page_get(dune_pa2page(at)) : NULL;
}

static bool copy_bytes(struct access *a, uint64_t at, void *buffer, uint64_t n, bool write)
{
	return write ? __dune_copy_safely(a->t, (void *)at, buffer, n) :
		       __dune_copy_safely(a->t, buffer, (const void *)at, n);
}

long __dune_copy_through(struct access *a, uint64_t va, void *buffer, uint64_t n, bool write)
{
	if (__dune_process.check && n)	/* its page table has nothing elsewhere */
		return !no_range(va, n) && !out_of_bounds(va, n) && copy_bytes(a, va, buffer, n, write) ? 0 : -EFAULT;
	for (uint64_t piece; n; n -= piece, va += piece, buffer = (char *)buffer + piece, a->page++) {
		struct page *page = NULL;
		struct leaf leaf;
		uint64_t state;
		enum reach reach;
		bool done;

		piece = PGSIZE - PGOFF(va) < n ? PGSIZE - PGOFF(va) : n;
		if (no_range(va, piece))
			return -EFAULT;
		state = memory_lock();
		reach = look(a->t, va, write, &leaf);
		if (reach == ELSEWHERE)
			page = get_page(leaf.at);
		memory_unlock(state);
		if (reach == FAULT) {
			a->va = va;
			a->error = leaf.error;
			a->cow = leaf.cow;
			return NEEDS_FAULT;
		}
		if (reach == HERE)
			leaf.at = va;
		if (!leaf.at)
			return UNKNOWN_PLACE;
		done = copy_bytes(a, leaf.at, buffer, piece, write);
		dune_page_put(page);
		if (!done)
			return -EFAULT;
	}
	return 0;
}

/* ---- copies for the kernel ---- */

struct chunk {
	struct chunk *next;
	uint64_t size;
};

#define CHUNK_MIN	0x10000UL

struct copy *__dune_copy_of(const struct call_state *s, uint64_t address)
{
	struct copy *c = s->copies;

	while (c && address - (uint64_t)c->data >= c->size)
		c = c->next;
	return c;
}

/*
 * The copy to which another operand has made the pointer @va lead.  That it leads to a copy is not enough: the program
 * can have it so, as it knows where they lie.
 */
static struct copy *moved_before(const struct call_state *s, const uint64_t *va)
{
	struct copy *c = s->copies;

	while (c && (c->place != va || *va != (uint64_t)c->data))
		c = c->next;
	return c;
}

long __dune_call_memory_get(uint64_t *size)
{
	uint64_t room;
	long at;

	if (!__dune_process.check)
		return dune_syscall6(__NR_mmap, 0, *size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	at = __dune_area_lend(&room);
	if (is_error(at))
		return at;
	if (room < *size) {
		__dune_area_return(at, __dune_holder_host());
		return -E2BIG;
	}
	*size = room;
	return at;
}

bool __dune_call_memory_put(const struct dune_thread *t, unsigned long at, uint64_t size)
{
	if (__dune_process.check)
		return __dune_area_return(at, t->holder);
	dune_syscall2(__NR_munmap, at, size);
	return true;
}

/* Not where a filter of the program's might forbid it. */
static bool new_chunk(struct call_state *s, uint64_t need)
{
	struct chunk *chunk;
	uint64_t size;
	long ret;

	if (region_state()->filtered)
		return false;
	size = sizeof(struct chunk) + need;
	if (!__dune_process.check)
		size = (size + CHUNK_MIN - 1) & -CHUNK_MIN;
	ret = __dune_call_memory_get(&size);
	if (is_error(ret))
		return false;
	chunk = (struct chunk *)ret;
	chunk->next = s->chunks;
	chunk->size = size;
	s->chunks = chunk;
	s->free = (uint64_t)(chunk + 1);
	s->end = (uint64_t)chunk + size;
	return true;
}

static struct copy *new_copy(struct call_state *s, uint64_t va, uint64_t n)
{
	uint64_t need = (sizeof(struct copy) + n + 15) & -16UL;
	struct copy *c;

	if (n >> 40 || (need > s->end - s->free && !new_chunk(s, need)))
		return NULL;
	c = (struct copy *)s->free;
	s->free += need;
	c->next = s->copies;
	c->place = NULL;
	c->va = va;
	c->size = n;
	s->copies = c;
	return c;
}

/*
 * What has been made for the last call, also where that was abandoned, or the thread was killed: each is forgotten
 * first, for this one can be killed here too.  What a dead thread has borrowed may be another's by now, and then the
 * rest of the list is not to be followed: it is found as this was.
 */
void __dune_call_state_clear(struct dune_thread *t)
{
	struct call_state *s = call_state(t);
	struct chunk *chunk;

	while ((chunk = READ_ONCE(s->chunks))) {
		struct chunk *const next = READ_ONCE(chunk->next);
		const uint64_t size = READ_ONCE(chunk->size);

		WRITE_ONCE(s->chunks, NULL);
		if (!region_state()->filtered && !__dune_call_memory_put(t, (unsigned long)chunk, size))
			break;
		WRITE_ONCE(s->chunks, next);
	}
	while (s->nr_held) {
		struct page *page = s->held[--s->nr_held];

		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		__atomic_fetch_sub(&page->ref, PAGE_HELD, __ATOMIC_RELAXED);
		dune_page_put(page);
	}
	s->copies = NULL;
	s->moved = false;
	s->free = thread_area(t) + AREA_COPIES;
	s->end = thread_area(t) + AREA_COPIES_END;
}

/* ---- arguments ---- */

static bool may_ask_handler(const struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;

	/* Libdune's own calls are made with interrupts off where its lock is held. */
	return __dune_handles(T_PGFLT) &&
	       (r->rflags & RFLAGS_IF || r->rip - SYSCALL_LENGTH != (uint64_t)__dune_syscall_site);
}

static long move(struct access *a, uint64_t *va, uint64_t n, unsigned int how)
{
	bool sparse = how & PLACE_SPARSE, maybe = how & PLACE_MAYBE;
	struct copy *c = new_copy(call_state(a->t), *va, sparse ? 2 * n : n);
	long ret = 0;

	if (!c)
		return -ENOMEM;
	c->size = n;
	c->place = va;
	c->maybe = maybe;
	c->sparse = sparse;
	if (!(how & PLACE_FRESH))
		ret = __dune_copy_through(a, *va, c->data, n, false);
	if (ret && (!maybe || how & PLACE_READ))
		return ret;
	if (sparse)
		memcpy(c->data + n, c->data, n);
	*va = (uint64_t)c->data;
	return 0;
}

/* The bytes from @at on that the kernel has changed, at most @n. */
static uint64_t changed(const struct copy *c, uint64_t at, uint64_t n)
{
	uint64_t i = 0;

	while (i < n && c->data[at + i] != c->data[c->size + at + i])
		i++;
	return i;
}

long __dune_copy_back(struct access *a, struct copy *c, uint64_t offset, uint64_t n)
{
	const uint64_t end = offset + n;
	long ret = 0;

	if (!c->sparse)
		return __dune_copy_through(a, c->va + offset, c->data + offset, n, true);
	for (uint64_t some; !ret && offset < end; offset += some + !some) {
		some = changed(c, offset, end - offset);
		if (some)
			ret = __dune_copy_through(a, c->va + offset, c->data + offset, some, true);
	}
	return ret;
}

long __dune_place(struct access *a, uint64_t *va, uint64_t n, unsigned int how)
{
	struct copy *c = moved_before(call_state(a->t), va);
	enum reach reach;

	/* Another operand has moved it, perhaps not all of it. */
	if (c && n <= c->size)
		return 0;
	if (c)
		*va = c->va;
	if (out_of_bounds(*va, n))
		return -EFAULT;
	reach = look_at_range(a, *va, n, how & PLACE_WRITE);
	if (reach == HERE && !(how & PLACE_MOVE && a->moving))
		return 0;
	if (reach == FAULT && !(how & PLACE_MAYBE && !(a->cow && may_ask_handler(a->t))))
		return NEEDS_FAULT;
	if (reach == FAULT && how & PLACE_READ && look_at_range(a, *va, n, false) == FAULT)
		return NEEDS_FAULT;
	if (reach == ELSEWHERE && a->unknown && !(how & PLACE_MAYBE))
		return UNKNOWN_PLACE;
	if (reach != HERE && how & PLACE_SAME)
		return -EFAULT;
	if (reach != HERE)
		a->elsewhere = true;
	return a->moving ? move(a, va, n, how) : 0;
}

/* With the lock held: @page, which may be NULL, until the call is over. */
static struct page *hold(struct call_state *s, struct page *page)
{
	if (page) {
		__atomic_fetch_add(&page->ref, PAGE_HELD, __ATOMIC_RELAXED);
		s->held[s->nr_held++] = page;
	}
	return page;
}

long __dune_place_word(struct access *a, uint64_t *va, bool write)
{
	struct call_state *s = call_state(a->t);
	struct page *page = NULL;
	struct leaf leaf;
	uint64_t state;
	enum reach reach;

	if (out_of_bounds(*va, sizeof(uint32_t)))
		return -EFAULT;
	if (no_range(*va, sizeof(uint32_t)) || __dune_process.ring3)
		return 0;
	state = memory_lock();
	reach = look(a->t, *va, write, &leaf);
	if (reach == ELSEWHERE && a->moving && s->nr_held < ARRAY_SIZE(s->held))
		page = hold(s, get_page(leaf.at));
	memory_unlock(state);
	if (reach == FAULT) {
		a->va = *va;
		a->error = leaf.error;
		a->cow = leaf.cow;
		return NEEDS_FAULT;
	}
	a->page++;
	if (reach == HERE)
		return 0;
	a->elsewhere = true;
	if (!a->moving)
		return 0;
	if (!leaf.at || (page_of_pool(leaf.at) && !page))
		return UNKNOWN_PLACE;
	*va = leaf.at;
	return 0;
}

#define STRING_PIECE	128	/* of a string is read at a time, for it may end anywhere */

/* Bytes of a string, at most @max; true: the last one is its NUL. */
static long string_size(struct access *a, uint64_t va, uint64_t max, uint64_t *size, bool *ends)
{
	char text[STRING_PIECE];

	for (uint64_t n = 0, piece; n < max; n += piece) {
		long ret;

		piece = PGSIZE - PGOFF(va + n);
		if (piece > sizeof(text))
			piece = sizeof(text);
		if (piece > max - n)
			piece = max - n;
		ret = __dune_copy_through(a, va + n, text, piece, false);
		if (ret)
			return ret;
		for (uint64_t i = 0; i < piece; i++) {
			if (!text[i]) {
				*size = n + i + 1;
				*ends = true;
				return 0;
			}
		}
	}
	*size = max;
	*ends = false;
	return 0;
}

/* Where it ends may be found out or not: it counts the same, and more than either. */
#define STRING_PAGES	0x10000

/*
 * Of a checked program, for which copies are made: the string is read only once, to where its copy is.  -ENOMEM: there
 * is no room for it.
 */
static long move_string(struct access *a, uint64_t *va, uint64_t max)
{
	struct call_state *s = call_state(a->t);
	char *text = (char *)s->free + sizeof(struct copy);
	uint64_t room = s->end - s->free, n = 0, some, mask;
	bool done = true, ends = false;
	struct copy *c;

	if (room < sizeof(*c) + max + 16)
		return -ENOMEM;
	mask = let_faults_come(a->t);
	while (n < max && !ends && done) {
		some = PGSIZE - PGOFF(*va + n);
		if (some > STRING_PIECE)
			some = STRING_PIECE;
		if (some > max - n)
			some = max - n;
		if (out_of_bounds(*va + n, some))	/* it may end before that */
			some = out_of_bounds(*va + n, 1) ? 0 : __dune_process.region - (*va + n);
		done = some && __dune_copy(text + n, (const void *)(*va + n), some);
		for (const uint64_t end = n + some; done && !ends && n < end; n++)
			ends = !text[n];
	}
	__dune_signals_restore(mask);
	if (!done)
		return -EFAULT;
	c = new_copy(s, *va, n);
	c->place = va;
	c->maybe = c->sparse = false;
	*va = (uint64_t)c->data;
	return 0;
}

long __dune_place_string(struct access *a, uint64_t *va, uint64_t max)
{
	const uint64_t last = 1UL << 47, page = a->page;
	uint64_t size;
	bool ends;
	long ret;

	if (*va && *va < last && max > last - 1 - *va)
		max = last - 1 - *va;
	/* It seldom matters where it ends. */
	if (no_range(*va, max))
		return a->strings ? -EFAULT : 0;
	if (moved_before(call_state(a->t), va))
		return 0;
	ret = a->moving && (a->strings || out_of_bounds(*va, max)) ? move_string(a, va, max) : -ENOMEM;
	if (ret != -ENOMEM)
		return ret;
	if (!all_here(a, *va, max) || a->strings || out_of_bounds(*va, max)) {
		ret = string_size(a, *va, max, &size, &ends);
		if (!ret)
			ret = __dune_place(a, va, size, __dune_process.check ? PLACE_MOVE : 0);
		/* Another thread may have changed it. */
		if (!ret && ends && __dune_copy_of(call_state(a->t), *va))
			((char *)*va)[size - 1] = '\0';
		/* Where the process has nothing, the kernel is to say so. */
		if (ret && (ret != -EFAULT || __dune_process.check))
			return ret;
	}
	a->page = page + STRING_PAGES;
	return 0;
}

long __dune_refuse_elsewhere(struct access *a, uint64_t va, uint64_t n)
{
	struct access quiet = { .t = a->t };

	return out_of_bounds(va, n) || look_at_range(&quiet, va, n, false) == ELSEWHERE ? -EFAULT : 0;
}

/* ---- faults ---- */

/*
 * Is the frame of the call's fault still where frames of code go that is in no handler?  Else there has been another
 * trap since: the handler had left, by longjmp().  The instruction was SYSCALL, or that of a gate.
 */
static bool fault_came_last(const struct dune_thread *t, const struct repeat *repeat)
{
	const struct dune_tf *tf = (const struct dune_tf *)(repeat->ist - sizeof(*tf));

	return repeat->ist == ist_nested(t) || (repeat->rip - tf->rip < 4 && tf->rsp == repeat->rsp);
}

/* The record of the guest's call if it is one that was to be made again, after a handler that has returned; NULL. */
struct repeat *__dune_call_repeated(const struct dune_thread *t)
{
	struct call_state *s = call_state(t);
	const struct guest_regs *r = t->vcpu.regs;

	for (unsigned int i = 0; i < ARRAY_SIZE(s->repeats); i++) {
		struct repeat *repeat = &s->repeats[i];

		if (repeat->rip == r->rip && repeat->rsp == r->rsp && repeat->nr == r->rax &&
		    repeat->ist == t->tss.ist[0] && fault_came_last(t, repeat))
			return repeat;
	}
	return NULL;
}

/* One that is not in use, or of the same call, whose handler has left. */
static struct repeat *free_record(struct call_state *s, const struct guest_regs *r)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s->repeats); i++)
		if (!s->repeats[i].rip || (s->repeats[i].rip == r->rip && s->repeats[i].rsp == r->rsp))
			return &s->repeats[i];
	return &s->repeats[s->next_repeat++ % ARRAY_SIZE(s->repeats)];
}

bool __dune_call_refused(const struct dune_thread *t, struct repeat *repeat)
{
	struct call_fault *fault = call_fault(t);

	if (!fault->refused || !repeat)
		return false;
	fault->refused = false;
	repeat->rip = 0;
	return true;
}

/*
 * Have the guest make the access that @a has found to be not allowed, and then the call again; as long as that gets
 * further.  Of calls in the handler, which may need that too, there are other records.
 */
long __dune_call_fault(struct access *a)
{
	struct dune_thread *t = a->t;
	struct call_state *s = call_state(t);
	struct repeat *repeat = __dune_call_repeated(t);
	const struct guest_regs *r = t->vcpu.regs;

	if (!may_ask_handler(t))
		return -EFAULT;
	if (!repeat) {
		repeat = free_record(s, r);
		*repeat = (struct repeat){ .rip = r->rip, .rsp = r->rsp, .nr = r->rax };
	}
	if (a->page > repeat->farthest) {
		repeat->farthest = a->page;
		repeat->tries = 0;
	} else if (++repeat->tries > TRIES) {
		repeat->rip = 0;
		return -EFAULT;
	}
	repeat->page = a->page;
	/* A handler that returns leaves this as it is, one that does not another. */
	set_trap_state(t, false, r->rsp);
	repeat->ist = t->tss.ist[0];
	s->fault = (struct call_fault){ .va = a->va };
	__dune_engine_raise_pgflt(&t->vcpu, a->va, a->error);
	__dune_call_again(t);
	return CALL_AGAIN;
}

/* ---- libdune's own, from GR0 ---- */

long __dune_copy_for_guest(struct dune_thread *t, uint64_t to, uint64_t from, uint64_t n)
{
	struct access a = { .t = t };
	char buffer[512];
	long ret = 0;

	if (__dune_call_refused(t, __dune_call_repeated(t)))
		return -EFAULT;
	for (uint64_t piece; n && !ret; n -= piece, to += piece, from += piece) {
		piece = n < sizeof(buffer) ? n : sizeof(buffer);
		ret = __dune_copy_through(&a, from, buffer, piece, false);
		if (!ret)
			ret = __dune_copy_through(&a, to, buffer, piece, true);
	}
	if (ret == UNKNOWN_PLACE)
		ret = -EFAULT;
	return ret == NEEDS_FAULT ? __dune_call_fault(&a) : ret;
}
