/* SPDX-License-Identifier: MIT */
/*
 * Pages and page tables of ring 0; part of dune.h.
 *
 * The page table maps all memory of the process by entries of 1 GiB, which a first touch
 * adds.  The functions here change it in pieces of 4 KiB, 2 MiB or 1 GiB, for one address
 * space or for several.
 *
 * After dune_init(false) it maps what is in the memory map of the process, with its permissions. What comes later
 * (mmap, brk, a stack that grows) is added at a first touch, by dune_vm_lookup(), and before dune_vm_page_walk() and
 * dune_vm_scan() look; what goes or changes (munmap, mremap, mprotect) is taken out or changed after the system call,
 * what other threads do outside Dune mode when these two look, or at the fault. What the program changes in an entry
 * stays as it is, whatever the process does there; so do holes that it makes. PROT_NONE is not mapped:
 * dune_vm_mprotect() says -ENOENT. Of a mapping that is larger than an eighth of dune_phys_limit() only what is touched
 * is there, by 1 GiB.
 *
 * Locking: all functions may be called by several threads at once, and from handlers
 * of exceptions, but not from a handler of a fault that one of them has met.  When one returns, no thread
 * of the process uses an older translation.  What goes through a pointer to an entry (dune_vm_lookup(),
 * dune_vm_page_walk()) is the caller's to order, and to flush.
 *
 * Where: in ring 0; and outside Dune mode as long as no thread is in it, else they return -EPERM, as other
 * threads' translations cannot be flushed from there.
 *
 * Errors that all share: -EINVAL for NULL, an address that is not in the lower half of the
 * canonical ones, a range that is empty, wraps round or is not a multiple of the page size it is for, and what
 * reaches into libdune's own memory; -ENOMEM; -EPERM as above; then nothing has changed.  Nothing is mapped to, or
 * unmapped from, the stack that the caller runs on, with a page on each side, in its own address space: -EINVAL.
 */
#ifndef DUNE_VM_H
#define DUNE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dune-inline.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- entries (SDM, "4-Level Paging") ---- */

typedef uint64_t ptent_t;	/* an entry of a table of any level; 512 make a table */
typedef uint64_t physaddr_t;	/* guest-physical */

#define PGSHIFT		12
#define PGSIZE		(1 << PGSHIFT)
#define PGMASK		(PGSIZE - 1)
#define PGOFF(la)	((uintptr_t)(la) & PGMASK)
#define PGADDR(la)	((uintptr_t)(la) & ~(uintptr_t)PGMASK)
#define PPN(la)		((uint64_t)(la) >> PGSHIFT)
#define BIG_PGSHIFT	21
#define BIG_PGSIZE	(1 << BIG_PGSHIFT)
#define BIG_PGMASK	(BIG_PGSIZE - 1)
#define BIG_PGOFF(la)	((uintptr_t)(la) & BIG_PGMASK)
#define BIG_PGADDR(la)	((uintptr_t)(la) & ~(uintptr_t)BIG_PGMASK)

#define NPTBITS		9
#define NPTENTRIES	(1 << NPTBITS)
#define NPTLVLS		3	/* the level of the root; 0 is that of 4 KiB pages */
#define PDXMASK		(NPTENTRIES - 1)
#define PDSHIFT(n)	(PGSHIFT + NPTBITS * (n))
#define PDX(n, la)	(((uintptr_t)(la) >> PDSHIFT(n)) & PDXMASK)

#define PTE_P		0x0001	/* present */
#define PTE_W		0x0002	/* writable */
#define PTE_U		0x0004	/* ring 3 may use it */
#define PTE_PWT		0x0008	/* write-through */
#define PTE_PCD		0x0010	/* not cached */
#define PTE_A		0x0020	/* accessed */
#define PTE_D		0x0040	/* dirty */
#define PTE_PS		0x0080	/* a page of 2 MiB or 1 GiB */
#define PTE_PAT		0x0080	/* the same bit in an entry of 4 KiB */
#define PTE_G		0x0100	/* global */
#define PTE_AVAIL	0x0e00	/* not used by the CPU: libdune's */
#define PTE_COW		0x0200	/* copy on write */
#define PTE_NX		0x8000000000000000UL
#define PTE_USR1	0x4000000000000000UL	/* the program's */
#define PTE_USR2	0x2000000000000000UL
#define PTE_USR3	0x1000000000000000UL

#define PTE_ADDR(pte)	((physaddr_t)(pte) & 0x000ffffffffff000UL)
#define PTE_FLAGS(pte)	((physaddr_t)(pte) & 0xfff0000000000fffUL)

/* The error code of a page fault. */
#define FEC_P		0x01	/* the page is present, but not for this access */
#define FEC_W		0x02	/* a write */
#define FEC_U		0x04	/* of ring 3 */
#define FEC_RSV		0x08	/* a reserved bit is set in an entry */
#define FEC_I		0x10	/* an instruction */

/* ---- the page pool ---- */

/*
 * Pages of 4 KiB at PAGEBASE, where guest-physical and virtual addresses are equal in every
 * address space that libdune made.  The page tables are made of them.  The pool grows as needed, up to
 * MAX_PAGES.  It is there from its first use on, which fails with -EEXIST where the process has something else
 * at PAGEBASE (AddressSanitizer has).
 */
#ifndef PAGEBASE	/* a test may put it elsewhere */
#define PAGEBASE	0x200000000UL
#endif
#define MAX_PAGES	(1UL << 20)

struct page {
	union {
		struct {
			uint32_t next;		/* these are libdune's own */
			uint16_t unused;
			uint16_t pcid;
		};
		struct {
			struct page *sle_next;
		} link;		/* the program's, while the page is: an SLIST_ENTRY() of <sys/queue.h> */
	};
	uint64_t ref;		/* references; changed atomically.  0: free.  Bits 32 on: how many are system calls' */
};

/**
 * dune_page_alloc - a page of the pool, filled with zeros, with one reference
 *
 * Return: the page, or NULL: the pool cannot grow, or cannot be made (see PAGEBASE).
 */
struct page *dune_page_alloc(void);

/** dune_page_free - give @pg back whatever its references are; what is not of the pool or is free already is ignored */
void dune_page_free(struct page *pg);

/** dune_page_stats - print to standard output how many pages the pool has, and how many are in use */
void dune_page_stats(void);

/** dune_page_isfrompool - is @pa the address of a page of the pool? */
bool dune_page_isfrompool(physaddr_t pa);

/** dune_page_put - drop a reference of @pg; without one it is free */
void dune_page_put(struct page *pg);

/** dune_page_get - one more reference to @pg, which the caller has one to; @pg */
DUNE_INLINE struct page *dune_page_get(struct page *pg)
{
	__atomic_fetch_add(&pg->ref, 1, __ATOMIC_RELAXED);
	return pg;
}

/** dune_pa2page - the page that holds @pa, which must be in the pool */
struct page *dune_pa2page(physaddr_t pa);

/** dune_page2pa - where @pg, of the pool, begins: its guest-physical address and its virtual one */
physaddr_t dune_page2pa(struct page *pg);

/* ---- address spaces ---- */

/** dune_vm_root - the root of the first address space, the same from dune_init() on; before, NULL */
ptent_t *dune_vm_root(void);

/** dune_phys_limit - the end of guest-physical memory, bytes; before dune_init(), 0 */
uintptr_t dune_phys_limit(void);

#define PERM_NONE	0	/* no access; the page stays, and can be given permissions again */
#define PERM_R		0x0001
#define PERM_W		0x0002	/* with PERM_R only */
#define PERM_X		0x0004	/* with PERM_R only */
#define PERM_U		0x0008	/* for ring 3 too */
#define PERM_UC		0x0010	/* not cached */
#define PERM_COW	0x0020	/* read-only until dune_vm_default_pgflt_handler() copies it */
#define PERM_BIG	0x0100	/* by pages of 2 MiB: dune_vm_map_phys() */
#define PERM_BIG_1GB	0x0200	/* by pages of 1 GiB */
#define PERM_USR1	0x1000	/* PTE_USR1 */
#define PERM_USR2	0x2000	/* PTE_USR2 */
#define PERM_USR3	0x3000	/* PTE_USR1, 2 and 3 */

#define PERM_SCODE	(PERM_R | PERM_X)
#define PERM_STEXT	(PERM_R | PERM_W)
#define PERM_SSTACK	PERM_STEXT
#define PERM_UCODE	(PERM_R | PERM_U | PERM_X)
#define PERM_UTEXT	(PERM_R | PERM_U | PERM_W)
#define PERM_USTACK	PERM_UTEXT

enum {
	CREATE_NONE = 0,
	CREATE_NORMAL = 1,	/* an entry of 4 KiB */
	CREATE_BIG = 2,		/* of 2 MiB */
	CREATE_BIG_1GB = 3,
};

#define VA_START	((void *)0)
#define VA_END		((void *)-1)

/**
 * dune_vm_mprotect - set the permissions of a range
 * @root: the address space
 * @va, @len: bytes, multiples of 4096
 * @perm: PERM_*; PERM_BIG and PERM_BIG_1GB are ignored
 *
 * Larger pages at the edges of the range are split; inside it they stay whole.  What the kernel does
 * not allow the process stays forbidden.  A system call that would make an access which is
 * not allowed is a page fault first, for the program's handler, and -EFAULT if that does not help.
 *
 * The range may have the caller's own stack: what the caller then does there is a page fault of the program's, as
 * anywhere.  A thread whose stack is copied ends, and is joined, like any other.  But a stack with a
 * dune_jump_to_user() that has not returned keeps PERM_W: -EINVAL in a handler of ring 3's calls.  Where the stack is
 * copied on write, handlers of signals need an alternate one (sigaltstack()) that is not: the kernel and libdune write
 * their frames to the process's memory.
 *
 * Return: 0 or -errno: -ENOENT a part of the range is not mapped.
 */
int dune_vm_mprotect(ptent_t *root, void *va, size_t len, int perm);

/**
 * dune_vm_map_phys - map guest-physical memory
 * @root: the address space
 * @va, @len: bytes, multiples of the page size that @perm says
 * @pa: guest-physical address: of a page of the pool, or dune_va_to_pa() of memory of the process
 * @perm: PERM_*
 *
 * Replaces what was mapped there.  An entry of 4 KiB that maps a page of the pool holds a reference to it.
 *
 * Memory of the process that is in one piece is so in guest-physical memory only within 1 GiB: dune_va_to_pa() says
 * where the next GiB is.
 *
 * Return: 0 or -errno: -EINVAL also where @pa is beyond dune_phys_limit(); -EEXIST: the pages of the pool that it would
 * map are not in use; -EXDEV: the range goes on into a GiB that is not what follows in the process.
 */
int dune_vm_map_phys(ptent_t *root, void *va, size_t len, void *pa, int perm);

/** dune_vm_map_pages - map fresh pages of the pool, filled with zeros; @perm without PERM_BIG.  0 or -errno */
int dune_vm_map_pages(ptent_t *root, void *va, size_t len, int perm);

/**
 * dune_vm_unmap - map nothing in a range
 *
 * A touch of it is a page fault of the program's, also where the process has memory; without a handler it is SIGSEGV
 * with SEGV_MAPERR, as of an address where nothing is. (Of a page with less permission than the access needs,
 * PERM_NONE included, it is SEGV_ACCERR.)
 * References to pages of the pool are dropped.  Where nothing is mapped nothing is done.
 *
 * Return: 0 or -errno.
 */
int dune_vm_unmap(ptent_t *root, void *va, size_t len);

/** dune_vm_insert_page - map @pg, of the pool, at @va, with a reference of its own.  0 or -errno */
int dune_vm_insert_page(ptent_t *root, void *va, struct page *pg, int perm);

/** dune_vm_lookup_page - the page of the pool that an entry of 4 KiB maps at @va, or NULL.  No reference is taken */
struct page *dune_vm_lookup_page(ptent_t *root, void *va);

/**
 * dune_vm_lookup - find the entry that maps @va
 * @root: the address space
 * @va: any address
 * @create: CREATE_NONE: whatever entry is there; else one of that size, or a smaller one that is there: larger
 *	pages are split, and an entry that maps nothing is made
 * @pte_out: where the pointer to the entry goes
 *
 * The entry may be absent (no PTE_P).  The pointer is good until somebody unmaps, merges or clones there.
 *
 * Return: 0 or -errno: -ENOENT there is none (CREATE_NONE).
 */
int dune_vm_lookup(ptent_t *root, void *va, int create, ptent_t **pte_out);

typedef int (*page_walk_cb)(const void *arg, ptent_t *ptep, void *va);

/**
 * dune_vm_page_walk - call @cb for each entry that maps something
 * @start_va, @end_va: the first byte and the last one (not the one after it)
 * @cb: with @arg, the entry, which it may change, and the first address it is for; it may call all functions here.  A
 *	result other than 0 ends the walk
 *
 * The size is what PTE_PS and dune_vm_lookup() say.  Libdune's own memory is left out.
 *
 * Return: 0, what @cb returned, or -errno.
 */
int dune_vm_page_walk(ptent_t *root, void *start_va, void *end_va, page_walk_cb cb, const void *arg);

/**
 * dune_vm_merge - make larger pages of smaller ones, where they map the same
 *
 * Where 512 entries map memory in one piece with equal permissions they become one; it is dirty or accessed
 * if one of them was.
 *
 * Return: the number of tables that became free, or -errno.
 */
long dune_vm_merge(ptent_t *root, void *va, size_t len);

/**
 * dune_vm_clone - a new address space that maps what @root does
 *
 * Tables are shared until one side changes them, so the cost does not depend on the number of pages.
 * Until then dirty and accessed bits are common to both.  Writable pages stay writable in both: for
 * copies on write give both PERM_COW without PERM_W.
 *
 * The program's own data may be copied too.  Then handlers that are registered where they are a copy are those of the
 * address spaces that have it.
 *
 * Return: its root, or NULL: @root is none, or no memory, or called where it may not be.
 */
ptent_t *dune_vm_clone(ptent_t *root);

/**
 * dune_vm_free - free an address space that dune_vm_clone() made, and drop its references
 *
 * Return: 0 or -errno: -EBUSY a thread is in it; -EINVAL also for dune_vm_root().
 */
int dune_vm_free(ptent_t *root);

/**
 * dune_vm_switch - make @root the address space of the calling thread
 *
 * In ring 0.  Where the CPU has process-context identifiers, translations of the other address space
 * stay in the TLB.  Threads and processes made afterwards begin in @root.
 *
 * Return: 0 or -errno: -EINVAL @root is neither dune_vm_root() nor a page of the pool; -EPERM outside Dune mode, or
 * with DUNE_OPT_STRICT.
 */
int dune_vm_switch(ptent_t *root);

/** dune_vm_current - the root of the address space that the calling thread is in */
ptent_t *dune_vm_current(void);

/**
 * dune_vm_default_pgflt_handler - what a handler of page faults can do with those it does not know
 * @addr, @fec: as the handler got them
 *
 * A write to a page with PERM_COW gets a copy of its own, a page of the pool; the last one that has the
 * page keeps it.  Any other fault ends the process with SIGSEGV: memory of the process that is not mapped yet
 * has been by then, no handler is called for that.  If it was for a system call, that is -EFAULT instead.
 */
void dune_vm_default_pgflt_handler(uintptr_t addr, uint64_t fec);

/* ---- dirty and accessed bits ---- */

#define DUNE_VM_DIRTY		0x1	/* look for pages that were written */
#define DUNE_VM_ACCESSED	0x2	/* look for pages that were used */
#define DUNE_VM_CLEAR		0x4	/* clear the bits that were looked for */
#define DUNE_VM_SPLIT		0x8	/* first split larger pages of the range to 4 KiB */

/**
 * dune_vm_scan - read, and clear, the dirty or accessed bits of a range
 * @root: the address space
 * @va, @len: bytes, multiples of 4096
 * @flags: DUNE_VM_*, DIRTY or ACCESSED or both
 * @bitmap: (@len / 4096 + 63) / 64 words; bit i % 64 of word i / 64 becomes 1 where page i of the range has one of the
 *	bits, else 0.  NULL: only count
 *
 * Larger pages count as all of their 4 KiB pages; DUNE_VM_CLEAR splits those that the range has only a
 * part of.  The cost is by what is mapped.  A write by another thread at the same time
 * is found by this scan, its bit set for the next one, or both: when the function returns the TLBs are flushed.
 *
 * The memory of the process is dirty and accessed at first.  What system calls of threads in Dune mode write is dirty,
 * but for calls that were under way when the page table was first changed, and for what bpf() finds by pointers in its
 * structures. Threads that are not in Dune mode set no bits, by stores or calls (dune_threads_outside()), and a store
 * through another mapping of the same memory sets the bit there. What the kernel writes for other processes, through
 * /proc/PID/mem, asynchronously (io_uring, aio) or when a thread ends (CLONE_CHILD_CLEARTID, robust futexes) sets no
 * bit. A call that fails may set some of pages that it has not written.
 *
 * Return: the number of pages found, or -errno.
 */
long dune_vm_scan(ptent_t *root, void *va, size_t len, unsigned int flags, uint64_t *bitmap);

typedef int (*dune_scan_cb)(void *arg, void *va, size_t len);

/**
 * dune_vm_scan_each - the same, with a call for each run of pages
 * @cb: with @arg, the address and the bytes; may call all functions here.  A result other than 0 ends the
 *	scan; up to 2 MiB from the run on have lost their bits then
 *
 * Bits are cleared, and flushed, before the pages are told of: 2 MiB at a time.
 *
 * Return: the number of pages, what @cb returned, or -errno.
 */
long dune_vm_scan_each(ptent_t *root, void *va, size_t len, unsigned int flags, dune_scan_cb cb, void *arg);

/*
 * ---- several readers of dirty bits ----
 *
 * A tracker sees each write since it was opened or has collected last, whatever other trackers and dune_vm_scan() have
 * cleared meanwhile.  Pages that were mapped since, by the process or in the page table, count as written.  What
 * dune_vm_scan() does not see a tracker does not see; nor what a program clears by pointers to entries.  The child of a
 * fork has its own of each, as it was.
 */

#define DUNE_DIRTY_RANGES	64	/* of one tracker at most */
#define DUNE_DIRTY_CHUNKS	300	/* pieces of 128 MiB that all of them may have together */

struct dune_dirty;			/* a tracker */

struct dune_dirty_range {
	void *va;
	size_t len;			/* bytes; both multiples of 4096 */
};

/**
 * dune_dirty_open - a tracker of @n ranges, from now on
 * @dirty: the tracker
 * @root: the address space
 * @ranges: none is empty; two may overlap.  Larger pages in them are split to 4 KiB
 *
 * It takes 2 pages of the pool for each 128 MiB, and one.
 *
 * Return: 0; -EINVAL: a range or @root is none; -E2BIG: there are more than DUNE_DIRTY_RANGES ranges, or more than 37.5
 * GiB in them; -ENOMEM; -errno.
 */
int dune_dirty_open(struct dune_dirty **dirty, ptent_t *root, const struct dune_dirty_range *ranges, unsigned int n);

/**
 * dune_dirty_collect - what was written since the last time
 * @bitmap: bit i % 64 of word i / 64 is page i of the first range; each further range begins with a new word.  NULL:
 *	only count
 *
 * A write by another thread at the same time is found now, the next time, or both.
 *
 * Return: the number of pages; -EINVAL: there is no such tracker; -EBUSY: another thread collects; -EPERM: the address
 * space was freed; -ENOMEM, or another -errno: nothing was collected, and nothing is lost.
 */
long dune_dirty_collect(struct dune_dirty *dirty, uint64_t *bitmap);

/**
 * dune_dirty_collect_each - the same, with a call for each run of pages of a range
 * @cb: with @arg, the address and the bytes; may call all functions here but those of this tracker.  A result other
 *	than 0 ends the collection; the pages of this call, and those behind them, are found again the next time
 *
 * Return: as dune_dirty_collect(), or what @cb returned.
 */
long dune_dirty_collect_each(struct dune_dirty *dirty, dune_scan_cb cb, void *arg);

/** dune_dirty_close - end it; 0, -EINVAL: there is no such tracker, -EBUSY: another thread collects */
int dune_dirty_close(struct dune_dirty *dirty);

/* ---- the TLB; after changes through pointers to entries ---- */

/** dune_flush_tlb - flush all translations, in all threads of the process */
void dune_flush_tlb(void);

/** dune_flush_tlb_one - flush what the current address space has for @addr, in all threads of the process */
void dune_flush_tlb_one(unsigned long addr);

#define CR3_NOFLUSH	(1UL << 63)

/**
 * dune_load_cr3 - go to the address space whose root is at @cr3
 * @cr3: a root as a number, and CR3_NOFLUSH to keep its translations in the TLB.  libdune chooses
 *	identifiers of its own for the lower 12 bits
 */
void dune_load_cr3(unsigned long cr3);

/* ---- addresses ---- */

/** dune_va_to_pa - the guest-physical address of @va of the process; 0 if nothing is mapped there */
uintptr_t dune_va_to_pa(const void *va);

/** dune_mmap_addr_to_pa - dune_va_to_pa() */
DUNE_INLINE uintptr_t dune_mmap_addr_to_pa(void *va)
{
	return dune_va_to_pa(va);
}

/** dune_stack_addr_to_pa - dune_va_to_pa() */
DUNE_INLINE uintptr_t dune_stack_addr_to_pa(void *va)
{
	return dune_va_to_pa(va);
}

#ifdef __cplusplus
}
#endif

#endif /* DUNE_VM_H */
