// SPDX-License-Identifier: MIT
/*
 * Mapping, unmapping and permissions.
 *
 * A change of a range goes over it twice: first whatever needs memory, splits or copies tables, which changes nothing
 * that the CPU sees; then, without a way to fail, the entries.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include "memory/memory.h"

void (*__dune_tracking_begins)(void);
bool __dune_tracking;

/* ---- arguments ---- */

bool __dune_own_memory(uint64_t start, uint64_t end)
{
	uint64_t region = __dune_process.region;

	return (end > region && start < region + GRANULE_SIZE) || __dune_pool_touches(start, end);
}

static inline int check_numbers(uint64_t va, uint64_t len, uint64_t size)
{
	uint64_t end;

	if (!len || (va | len) & (size - 1) || __builtin_add_overflow(va, len, &end) || !user_address(end - 1))
		return -EINVAL;
	return 0;
}

int __dune_check_range(uint64_t va, uint64_t len, uint64_t size)
{
	if (check_numbers(va, len, size) || __dune_own_memory(va, va + len))
		return -EINVAL;
	return 0;
}

#define PERM_LOW	(PERM_R | PERM_W | PERM_X | PERM_U | PERM_UC | PERM_COW)
#define PERM_KNOWN	(PERM_LOW | PERM_USR3 | PERM_BIG | PERM_BIG_1GB)

/* By PERM_LOW; 0: there is no such permission. */
#define F(p)	((p) & PERM_R ?									\
		 PTE_P | ((p) & PERM_W && !((p) & PERM_COW) ? PTE_W : 0) | ((p) & PERM_X ? 0 : PTE_NX) |	\
		 ((p) & PERM_U ? PTE_U : 0) | ((p) & PERM_UC ? PTE_PCD : 0) | ((p) & PERM_COW ? PTE_COW : 0) :	\
		 (p) & PERM_W ? 0 : PTE_HIDDEN)
#define F4(p)	F(p), F((p) + 1), F((p) + 2), F((p) + 3)
#define F16(p)	F4(p), F4((p) + 4), F4((p) + 8), F4((p) + 12)
static const ptent_t perm_flags[] = { F16(0), F16(16), F16(32), F16(48) };

_Static_assert(ARRAY_SIZE(perm_flags) == PERM_LOW + 1, "each permission has flags");

static ptent_t __attribute__((noinline)) user_flags(int perm)
{
	ptent_t v = 0;

	if (perm & PERM_USR1)
		v |= PTE_USR1;
	if (perm & PERM_USR2)
		v |= PTE_USR2;
	if ((perm & PERM_USR3) == PERM_USR3)
		v |= PTE_USR3;
	return v;
}

/* What @perm means in an entry; 0: nothing. */
static inline ptent_t flags_of(int perm)
{
	ptent_t v = perm_flags[perm & PERM_LOW];

	if (perm & ~PERM_KNOWN)
		return 0;
	if (__builtin_expect(perm & PERM_USR3, 0) && v & PTE_P)
		v |= user_flags(perm);
	return v;
}

ptent_t __dune_flags_of(int perm)
{
	return flags_of(perm);
}

/* ---- permissions ---- */

static inline bool all_present(const ptent_t *e, unsigned int n)
{
	for (; n >= 16; n -= 16, e += 16)
		if (!(e[0] & e[1] & e[2] & e[3] & e[4] & e[5] & e[6] & e[7] &
		      e[8] & e[9] & e[10] & e[11] & e[12] & e[13] & e[14] & e[15] & PTE_P))
			return false;
	while (n--)
		if (!(*e++ & PTE_P))
			return false;
	return true;
}

/* Is something mapped by all entries of @piece, from @va on?  What a first touch would map is mapped. */
static int check_piece(struct space *s, uint64_t va, const struct piece *piece)
{
	int ret;

	if (all_present(piece->e, piece->n))
		return 0;
	for (unsigned int i = 0; i < piece->n; i++, va += PGSIZE) {
		if (is_mapped(piece->e[i]))
			continue;
		ret = __dune_walk_fill(s, va);
		if (ret)
			return ret == -ENOMEM ? ret : -ENOENT;
	}
	return 0;
}

/* As two single instructions each, so that no bit gets lost that another CPU sets meanwhile. */
#define CHANGE(prefix, i)							\
	__asm__ volatile(prefix "andq %1, %c3(%0); " prefix "orq %2, %c3(%0)"	\
			 : : "r"(e), "r"(keep), "r"(set), "i"(8 * (i)) : "memory")
#define CHANGE_4(i)								\
	do {									\
		CHANGE("", i); CHANGE("", i + 1); CHANGE("", i + 2); CHANGE("", i + 3);	\
	} while (0)

/* In between an entry allows nothing that it did not allow before or does not afterwards. */
static inline void change(ptent_t *e, unsigned int n, ptent_t set, bool alone)
{
	ptent_t keep = ~(PTE_PERM & ~set);

	if (alone) {
		for (; n >= 16; n -= 16, e += 16) {
			CHANGE_4(0);
			CHANGE_4(4);
			CHANGE_4(8);
			CHANGE_4(12);
		}
		for (; n; n--, e++)
			CHANGE("", 0);
	} else {
		for (; n; n--, e++)
			CHANGE("lock ", 0);
	}
}

static int protect(struct space *s, uint64_t va, uint64_t end, ptent_t set)
{
	struct piece piece;
	bool alone = vm_alone();
	int ret;

	for (uint64_t at = va; at < end; at = piece.next) {
		do {
			ret = __dune_walk_piece(s, at, end, PIECE_OWN | PIECE_SPLIT, &piece);
			if (ret)
				return ret;
			if (is_mapped(*piece.e) && piece.level < LEVEL_ROOT)
				break;
			ret = __dune_walk_fill(s, at);
			if (ret)
				return ret == -ENOMEM ? ret : -ENOENT;
		} while (1);
		if (piece.level == LEVEL_PT) {
			ret = check_piece(s, at, &piece);
			if (ret)
				return ret;
		}
	}
	s->unflushed = true;
	/* Nearly always there is only one piece, and it is still at hand. */
	if (piece.next >= end && piece.level == LEVEL_PT && end - va == (uint64_t)piece.n << PGSHIFT) {
		change(piece.e, piece.n, set, alone);
		return 0;
	}
	for (uint64_t at = va; at < end; at = piece.next) {
		__dune_walk_piece(s, at, end, 0, &piece);
		change(piece.e, piece.n, set, alone);
	}
	return 0;
}

static int __attribute__((noinline)) protect_slowly(ptent_t *root, uint64_t va, uint64_t len, ptent_t flags)
{
	struct space s;
	int ret;

	if (__dune_own_memory(va, va + len))
		return -EINVAL;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	tracking_begin();
	ret = protect(&s, va, va + len, flags);
	space_end(&s, va, len);
	return ret;
}

/*
 * The stack that this runs on loses permissions on the way, while the lock is held: so it is done on another one, with
 * interrupts off.  Behind the call the stack may fault, as it may anywhere in the program.
 */
static int __attribute__((noinline)) protect_own_stack(ptent_t *root, uint64_t va, uint64_t len, ptent_t flags)
{
	const struct dune_thread *t = current_thread();
	uint64_t session = (uint64_t)t->session, spare = thread_area(t) + AREA_SPARE_END, state;
	int ret;

	/* The entry of ring 3's calls stores registers there before anything else. */
	if (session && session + PGSIZE > va && session < va + len && !(flags & PTE_W))
		return -EINVAL;
	__asm__ volatile("pushfq; popq %0; cli" : "=r"(state) : : "memory");
	__asm__ volatile("mov %%rsp, %%rbx; mov %5, %%rsp; call *%6; mov %%rbx, %%rsp"
			 : "=a"(ret), "+D"(root), "+S"(va), "+d"(len), "+c"(flags)
			 : "r"(spare), "r"(protect_slowly)
			 : "rbx", "r8", "r9", "r10", "r11", "memory", "cc");
	if (state & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
	return ret;
}

/* Does [va, va + len) have what a function called here may use of its stack? */
static inline bool is_own_stack(uint64_t va, uint64_t len)
{
	return (uint64_t)__builtin_frame_address(0) + PGSIZE - va < len + 2 * PGSIZE;
}

/* Of the address space that the CPU is in, alone. */
static bool __attribute__((noinline)) protect_run(ptent_t *e, uint64_t va, uint64_t len, ptent_t flags)
{
	unsigned int n = len >> PGSHIFT;

	if (!all_present(e, n))
		return false;
	change(e, n, flags, true);
	vm_flush_current(va, len);
	return true;
}

/*
 * Without a way to fail: entries of one page table, not shared and all of them present, in the address space that
 * this thread is in, while no other one can be in the guest.  So it is not libdune's own memory,
 * which has larger leaves.  False: nothing was done.
 */
static inline bool protect_quickly(uint64_t root_gpa, const ptent_t *root, uint64_t va, uint64_t len, ptent_t flags)
{
	bool done = false;
	uint64_t state;
	ptent_t *e;

	state = memory_lock_guest();
	if (!vm_alone() || !vm_is_current(root_gpa) || !__dune_tracking)
		goto unlock;
	e = walk_quickly(root, va);
	if (!e)
		goto unlock;
	if (len != PGSIZE) {
		done = protect_run(e, va, len, flags);
	} else if (*e & PTE_P) {
		*e = (*e & ~PTE_PERM) | flags;
		vm_invlpg(va);
		done = true;
	}
unlock:
	memory_unlock_guest(state);
	return done;
}

PUBLIC int dune_vm_mprotect(ptent_t *root, void *va, size_t len, int perm)
{
	uint64_t start = (uint64_t)va;
	ptent_t flags = flags_of(perm);

	if (!flags || check_numbers(start, len, PGSIZE))
		return -EINVAL;
	if (is_own_stack(start, len) && dune_in_guest())
		return protect_own_stack(root, start, len, flags);
	if (dune_in_guest() && !((start ^ (start + len - 1)) >> BIG_PGSHIFT) &&
	    protect_quickly(vm_root_gpa(root), root, start, len, flags))
		return 0;
	return protect_slowly(root, start, len, flags);
}

/* Something else in the place of the caller's own stack: it could not even return. */
static bool takes_own_stack(const ptent_t *root, uint64_t va, uint64_t len)
{
	return is_own_stack(va, len) && dune_in_guest() && vm_is_current(vm_root_gpa(root));
}

/* ---- mapping ---- */

/* Tables down to @level for the whole range. */
static int make_tables(struct space *s, uint64_t va, uint64_t end, int level)
{
	uint64_t step = level_size(level + 1);
	ptent_t *e;

	for (; va < end; va = (va & -step) + step) {
		int ret = __dune_walk_reach(s, va, level, &e);

		if (ret)
			return ret;
	}
	return 0;
}

/*
 * What is side by side in guest-physical memory is so in the process too, or a range across two granules is nobody's.
 */
static int check_neighbours(uint64_t pa, uint64_t last)
{
	int ret;

	if (pa >> GRANULE_SHIFT == last >> GRANULE_SHIFT)
		return 0;
	ret = __dune_granules_look();
	if (ret)
		return -ENOMEM;
	for (pa &= -GRANULE_SIZE; pa >> GRANULE_SHIFT < last >> GRANULE_SHIFT; pa += GRANULE_SIZE) {
		uint32_t owner = __dune_engine_granule_owner(pa);

		if (!owner || owner + 1 != __dune_engine_granule_owner(pa + GRANULE_SIZE))
			return -EXDEV;
	}
	return 0;
}

/* Can entries of @level map [pa, pa + len)?  A free page of the pool is somebody else's next. */
static int check_pa(uint64_t pa, uint64_t len, int level)
{
	uint64_t end = pa + len;
	int ret;

	if (pa & (level_size(level) - 1) || end < pa || end > __dune_process.nr_granules << GRANULE_SHIFT)
		return -EINVAL;
	ret = check_neighbours(pa, end - 1);
	if (ret || !__dune_pool_touches(pa, end))
		return ret;
	if (level != LEVEL_PT)
		return -EINVAL;
	for (; pa < end; pa += PGSIZE)
		if (pa - PAGEBASE < MAX_PAGES << PGSHIFT && !(page_of_pool(pa) && page_of(pa)->ref))
			return -EEXIST;
	return 0;
}

/* What is there from now on no tracker has seen: it counts as written. */
static ptent_t new_content(void)
{
	return region_state()->trackers ? PTE_D : 0;
}

static int map_phys(struct space *s, uint64_t va, uint64_t end, uint64_t pa, ptent_t flags, int level)
{
	uint64_t step = level_size(level);
	int ret;

	ret = check_pa(pa, end - va, level);
	if (!ret)
		ret = make_tables(s, va, end, level);
	if (ret)
		return ret;
	if (level)
		flags |= PTE_PS;
	flags |= new_content();
	tracking_begin();
	while (va < end) {
		ptent_t *e;

		__dune_walk_reach(s, va, level, &e);	/* the tables are there */
		do {
			if (page_of_pool(pa))
				dune_page_get(page_of(pa));
			if (*e)
				__dune_walk_set(s, e++, pa | flags, level);
			else
				*e++ = pa | flags;
			va += step;
			pa += step;
		} while (va < end && (uint64_t)e & PGMASK);
	}
	return 0;
}

PUBLIC int dune_vm_map_phys(ptent_t *root, void *va, size_t len, void *pa, int perm)
{
	int level = perm & PERM_BIG_1GB ? LEVEL_PDPT : perm & PERM_BIG ? LEVEL_PD : LEVEL_PT;
	uint64_t start = (uint64_t)va;
	struct space s;
	int ret;
	ptent_t flags = flags_of(perm);

	ret = flags && !takes_own_stack(root, start, len) ? __dune_check_range(start, len, level_size(level)) : -EINVAL;
	if (ret)
		return ret;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	ret = map_phys(&s, start, start + len, (uint64_t)pa, flags, level);
	space_end(&s, start, len);
	return ret;
}

/* So many cleared pages, linked by next. */
static struct page *take_pages(uint64_t n)
{
	struct page *first = NULL;

	while (n--) {
		struct page *pg = __dune_page_take();

		if (!pg)
			goto give;
		memset((void *)page_address(pg), 0, PGSIZE);
		pg->next = page_link(first);
		first = pg;
	}
	return first;

give:
	while (first) {
		struct page *pg = first;

		first = page_linked(pg->next);
		__dune_page_give(pg);
	}
	return NULL;
}

static int map_pages(struct space *s, uint64_t va, uint64_t end, ptent_t flags)
{
	struct page *pg;
	ptent_t *e;
	int ret;

	if ((end - va) >> PGSHIFT > MAX_PAGES)
		return -ENOMEM;
	ret = make_tables(s, va, end, LEVEL_PT);
	if (ret)
		return ret;
	pg = take_pages((end - va) >> PGSHIFT);
	if (!pg)
		return -ENOMEM;
	flags |= new_content();
	tracking_begin();
	for (; va < end; va += PGSIZE) {
		__dune_walk_reach(s, va, LEVEL_PT, &e);
		__dune_walk_set(s, e, page_address(pg) | flags, LEVEL_PT);
		pg = page_linked(pg->next);
	}
	return 0;
}

PUBLIC int dune_vm_map_pages(ptent_t *root, void *va, size_t len, int perm)
{
	uint64_t start = (uint64_t)va;
	struct space s;
	int ret;
	ptent_t flags = perm & (PERM_BIG | PERM_BIG_1GB) ? 0 : flags_of(perm);

	ret = flags && !takes_own_stack(root, start, len) ? __dune_check_range(start, len, PGSIZE) : -EINVAL;
	if (ret)
		return ret;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	ret = map_pages(&s, start, start + len, flags);
	space_end(&s, start, len);
	return ret;
}

PUBLIC int dune_vm_insert_page(ptent_t *root, void *va, struct page *pg, int perm)
{
	if (!is_page(pg) || perm & (PERM_BIG | PERM_BIG_1GB))
		return -EINVAL;
	return dune_vm_map_phys(root, va, PGSIZE, (void *)page_address(pg), perm);
}

/* ---- unmapping ---- */

/* What a first touch must not map has to be noted too. */
static int unmap(struct space *s, uint64_t va, uint64_t end)
{
	struct piece piece;
	int ret;

	for (uint64_t at = va; at < end; at = piece.next) {
		ret = __dune_walk_piece(s, at, end, PIECE_OWN | PIECE_SPLIT | PIECE_WHOLE | PIECE_NOTHING, &piece);
		if (ret)
			return ret;
	}
	for (uint64_t at = va; at < end; at = piece.next) {
		__dune_walk_piece(s, at, end, PIECE_WHOLE, &piece);
		if (piece.level == LEVEL_ROOT)
			continue;
		for (unsigned int i = 0; i < piece.n; i++)
			if (piece.e[i])
				__dune_walk_set(s, &piece.e[i], 0, piece.level);
		if (piece.level == LEVEL_PDPT && s->full)
			*piece.e = PTE_ABSENT;
	}
	return 0;
}

PUBLIC int dune_vm_unmap(ptent_t *root, void *va, size_t len)
{
	uint64_t start = (uint64_t)va;
	struct space s;
	int ret;

	ret = takes_own_stack(root, start, len) ? -EINVAL : __dune_check_range(start, len, PGSIZE);
	if (ret)
		return ret;
	ret = space_begin(&s, root);
	if (ret)
		return ret;
	tracking_begin();
	ret = unmap(&s, start, start + len);
	space_end(&s, start, len);
	return ret;
}
