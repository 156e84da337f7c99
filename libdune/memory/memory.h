/* SPDX-License-Identifier: MIT */
/*
 * Pages and page tables.
 *
 * One lock is for all of it (threads.h).  Whoever holds it must not meet an exception that GR0 handles: libdune's
 * granule and the pool are mapped in every address space, and the stack is touched before.  Libdune's data are the
 * program's, which may have them copied on write: of these it only reads what never changes (struct dune_process).
 */
#ifndef LIBDUNE_MEMORY_H
#define LIBDUNE_MEMORY_H

#include "memory/pte.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

/* ---- map.c, scan.c ---- */

/*
 * Called with the lock held, on both sides, before the program changes an entry, or gets a pointer to one: from then on
 * it matters what system calls read and write.  dune_init() sets it.
 */
extern void (*__dune_tracking_begins)(void);
/* It has been called. */
extern bool __dune_tracking;

static inline void tracking_begin(void)
{
	if (__dune_tracking)
		return;
	__dune_tracking_begins();
	__dune_tracking = true;
}

/* ---- page.c; with the lock held ---- */

/*
 * What next says of the root of an address space that dune_vm_clone() made; with PAGE_FULL, a first touch maps the
 * process's memory there.  Neither is a page's number, nor half a pointer to one, which a program may have put there.
 */
#define PAGE_ROOT	0xfffffff1U
#define PAGE_FULL	0xfffffff3U

/* A page with one reference, not cleared; NULL. */
struct page *__dune_page_take(void);
void __dune_page_give(struct page *pg);
/* Called when the pool has grown; NULL: nobody wants to know. */
extern void (*__dune_pool_grown)(void);
/* Have the pool; 0 or -errno. */
int __dune_pool_ready(void);
/* HR3: reserve the pool's addresses, and have so many pages in it. */
long __dune_pool_extend(unsigned long nr_pages);
/* Does [start, end) touch the pool? */
#define POOL_SIZE	(MAX_PAGES << PGSHIFT)
bool __dune_pool_touches(uint64_t start, uint64_t end);

/* For tests: so many pages can still be had before all fail; negative: no limit. */
extern long __dune_page_credit;

static inline bool page_of_pool(physaddr_t pa)
{
	const uint64_t offset = pa - PAGEBASE;

	/* Mostly it is memory of the process, far from there. */
	return offset < MAX_PAGES << PGSHIFT && offset < region_state()->nr_pages << PGSHIFT;
}

/* ---- entries ---- */

/* Tables are in the pool, where addresses are equal, and those of the first root in libdune's granule. */
static inline ptent_t *table_of(ptent_t v)
{
	uint64_t pa = v & PTE_ADDRESS, offset = pa - __dune_process.region_gpa;

	return (ptent_t *)(offset < GRANULE_SIZE ? __dune_process.region + offset : pa);
}

/*
 * Added to the references of a page for one of them that is a system call's: the kernel has the page's address, of a
 * futex, and who waits there must be found there.
 */
#define PAGE_HELD	(1UL << 32)

/* How many others there are: entries, and what the program has taken. */
static inline uint64_t page_users(const struct page *pg)
{
	uint64_t ref = READ_ONCE(pg->ref);

	return (uint32_t)ref - ref / PAGE_HELD;
}

static inline bool is_root_page(const struct page *pg)
{
	return pg->next == PAGE_ROOT || pg->next == PAGE_FULL;
}

/* By number, by address, and back; where one begins. */
static inline struct page *page_by_index(uint64_t index)
{
	return (struct page *)(__dune_process.region + REGION_PAGES) + index;
}

static inline struct page *page_of(ptent_t v)
{
	return page_by_index(PPN((v & PTE_ADDRESS) - PAGEBASE));
}

static inline uint64_t page_index(const struct page *pg)
{
	return pg - page_by_index(0);
}

static inline physaddr_t page_address(const struct page *pg)
{
	return PAGEBASE + (page_index(pg) << PGSHIFT);
}

/* How pages are linked by next: index + 1; 0: the end. */
static inline uint32_t page_link(const struct page *pg)
{
	return pg ? page_index(pg) + 1 : 0;
}

static inline struct page *page_linked(uint32_t next)
{
	return next ? page_by_index(next - 1) : NULL;
}

static inline bool is_page(const struct page *pg)
{
	return pg >= page_by_index(0) && pg < page_by_index(region_state()->nr_pages);
}

/* ---- walk.c; with the lock held ---- */

/* An address space, and what a change of it leaves to do. */
struct space {
	ptent_t *root;
	bool full;		/* a first touch maps the process's memory */
	bool flush_all;		/* tables were replaced */
	bool unflushed;		/* entries that may be in a TLB were changed */
	struct page *garbage;	/* free when the TLBs are flushed */
	uint64_t lock_state;	/* of space_begin() */
};

/* @root as the program gave it: 0 or -EINVAL, -EPERM. */
int __dune_space_open(struct space *s, ptent_t *root);

#define PIECE_OWN	1	/* make a copy of tables that are shared */
#define PIECE_SPLIT	2	/* split leaves that the range has only a part of */
#define PIECE_SPLIT_ALL	4	/* split all large leaves */
#define PIECE_WHOLE	8	/* tables that the range has all of are a piece */
#define PIECE_NOTHING	16	/* make room to note that nothing is mapped */

/* @n entries side by side; more than 1 only of level 0. */
struct piece {
	ptent_t *e;
	int level;
	unsigned int n;
	uint64_t next;		/* the address behind them */
};

/* The piece that begins at @va, below @end.  0 or -ENOMEM. */
int __dune_walk_piece(struct space *s, uint64_t va, uint64_t end, unsigned int flags, struct piece *piece);
/* The entry of @level for @va, made if it is not there; a larger leaf is split, a table may be there.  0 or -ENOMEM. */
int __dune_walk_reach(struct space *s, uint64_t va, int level, ptent_t **out);
/*
 * Map the process's memory at @va where a first touch may. 0: it is mapped; -EACCES: the program has made a hole;
 * -EPERM: or PERM_NONE; -errno.
 */
int __dune_walk_fill(struct space *s, uint64_t va);

/* What becomes of [va, end), in one granule; @leaf: the entry of 4 KiB for @va.  For precise.c. */
enum making {
	MAKE,		/* where a first touch may, put leaves; those made before get the permissions */
	MAKE_AGAIN,	/* only the latter */
	UNMAKE,		/* have a first touch map again what was made before */
};

/* 0 or -ENOMEM. */
int __dune_walk_make(struct space *s, uint64_t va, uint64_t end, ptent_t leaf, enum making what);
/* Would a first touch of @va map something here? */
bool __dune_walk_fillable(const struct space *s, ptent_t v, int level);
/* ... anywhere in [va, end)? */
bool __dune_walk_any_fillable(struct space *s, uint64_t va, uint64_t end);
/* Put @v into the entry @e of @level; what was there is dropped. */
void __dune_walk_set(struct space *s, ptent_t *e, ptent_t v, int level);
/* Copy a table of @level; the tables below are shared then. */
void __dune_walk_share(ptent_t *to, ptent_t *from, int level);
/* @v is no longer in an entry of @level. */
void __dune_walk_drop(struct space *s, ptent_t v, int level);
/* Drop a reference that nobody's TLB may use any more after the next flush. */
void __dune_space_put(struct space *s, struct page *pg);

static inline ptent_t *walk_find(ptent_t *root, uint64_t va, int *level)
{
	ptent_t *e = &root[PDX(LEVEL_ROOT, va)];
	int l = LEVEL_ROOT;

	while (is_table(READ_ONCE(*e), l)) {
		l--;
		e = &table_of(*e)[PDX(l, va)];
	}
	*level = l;
	return e;
}

/* The entry of 4 KiB for @va where all tables on the way are there and not shared; else NULL. */
static inline ptent_t *walk_quickly(const ptent_t *root, uint64_t va)
{
	ptent_t v = READ_ONCE(root[PDX(LEVEL_ROOT, va)]);

	if ((v & (PTE_P | PTE_PS)) != PTE_P)
		return NULL;
	v = READ_ONCE(table_of(v)[PDX(LEVEL_PDPT, va)]);
	if ((v & (PTE_P | PTE_PS | PTE_SHARED)) != PTE_P)
		return NULL;
	v = READ_ONCE(((ptent_t *)(v & PTE_ADDRESS))[PDX(LEVEL_PD, va)]);
	if ((v & (PTE_P | PTE_PS | PTE_SHARED)) != PTE_P)
		return NULL;
	v &= PTE_ADDRESS;
	return &((ptent_t *)v)[PDX(LEVEL_PT, va)];
}

/* ---- space.c ---- */

/* Is nobody else's TLB concerned? */
static inline bool vm_alone(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return READ_ONCE(region_state()->nr_threads) <= 1;
}

/* With the lock held: after a change in [va, va + len), flush it and free the garbage. */
void __dune_space_close(struct space *s, uint64_t va, uint64_t len);

/* The same two with the lock; where the first fails, it is not held. */
static inline int space_begin(struct space *s, ptent_t *root)
{
	uint64_t state = memory_lock();
	int ret = __dune_space_open(s, root);

	if (ret)
		memory_unlock(state);
	else
		s->lock_state = state;
	return ret;
}

static inline void space_end(struct space *s, uint64_t va, uint64_t len)
{
	__dune_space_close(s, va, len);
	memory_unlock(s->lock_state);
}

/* With the lock held: for each address space there is. */
void __dune_each_root(void (*each)(ptent_t *root, void *arg), void *arg);

/* More pages than this are flushed by flushing all. */
#define FLUSH_MAX	32

/* The root that the program gave; what is none is nobody's CR3 either. */
static inline uint64_t vm_root_gpa(const ptent_t *root)
{
	return root == __dune_process.root ? __dune_process.region_gpa + REGION_ROOT : (uint64_t)root;
}

/* GR0. */
static inline uint64_t vm_read_cr3(void)
{
	uint64_t cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3) : : "memory");
	return cr3;
}

static inline void vm_write_cr3(uint64_t cr3)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

static inline void vm_invlpg(uint64_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline bool vm_is_current(uint64_t root_gpa)
{
	return (vm_read_cr3() & PTE_ADDRESS) == root_gpa;
}

static inline bool vm_may_load_cr3(void)
{
	return __dune_process.switch_root == __dune_process.root;
}

/* Of the address space that the CPU is in. */
static inline void vm_flush_current(uint64_t va, uint64_t len)
{
	if (len > FLUSH_MAX * PGSIZE) {
		if (vm_may_load_cr3())
			vm_write_cr3(vm_read_cr3());
		else
			__dune_engine_flush_all();
		return;
	}
	for (uint64_t end = va + len; va < end; va += PGSIZE)
		vm_invlpg(va);
}

/* GR0: of CR3; HR3: the first one. */
ptent_t *__dune_current_root(void);

/* ---- precise.c ---- */

/* With the lock held: map what the process has at @va, as it has it.  0; -EFAULT: it has nothing there; -errno. */
long __dune_precise_touch(struct space *s, uint64_t va);
/* Without it: map all that the process has in [va, end) and that a first touch would map.  0 or -errno. */
long __dune_precise_update(ptent_t *root, uint64_t va, uint64_t end);

/* ---- map.c ---- */

/* 0, or -EINVAL for what no range may be; @size: what it must be a multiple of. */
int __dune_check_range(uint64_t va, uint64_t len, uint64_t size);
/* What PERM_* mean in an entry; 0: nothing. */
ptent_t __dune_flags_of(int perm);
/* Does [start, end) touch what is libdune's own? */
bool __dune_own_memory(uint64_t start, uint64_t end);

/* ---- granules and the process's own memory map ---- */

/* granule.c */
void __dune_granule_set(uint64_t va, uint64_t gpa);
/* Have the root lead to the table of @va's slot. */
void __dune_pdpt_link(uint64_t va);
long __dune_granule_map(uint64_t va);
long __dune_granules_map(uint64_t first, uint64_t last);
void __dune_granule_recheck(void);
long __dune_look_host(void);
/* precise.c */
int __dune_precise_begin(void);
long __dune_precise_host(uint64_t *root, uint64_t va, uint64_t end);
long __dune_precise_refresh(uint64_t va, uint32_t error);
void __dune_precise_changed(uint64_t start, uint64_t length, int prot);
/* With the lock held: have what __dune_engine_granule_owner() looks at.  0 or -errno. */
int __dune_granules_look(void);
/* With the lock held, or where there is no thread in Dune mode: the place of a granule, or -errno. */
long __dune_granule_get(uint64_t va);
uint64_t __dune_process_address(uint64_t gpa, uint64_t va);

/* What __dune_engine_access() returns for an access for which the kernel would send @signo; 0: it is resolved. */
static inline unsigned int refusal(int signo, int code)
{
	return signo << 8 | code;
}

#pragma GCC visibility pop

#endif /* LIBDUNE_MEMORY_H */
