// SPDX-License-Identifier: MIT
/*
 * Address spaces as the CPU has them: CR3, and the TLBs of all threads.
 *
 * Where the CPU has process-context identifiers, each address space has one, and what the TLB knows of it outlives
 * a switch.  That of the first is 0; 1 is for roots that have none, of which nothing is kept.
 *
 * GR0; HR3 while no thread is in Dune mode, or where a function says so.
 */
#include "memory/scan.h"

#define CR4_PCIDE	(1UL << 17)

#define PCID_NONE	1

/* ---- the CPU; GR0 ---- */

static inline uint64_t read_cr4(void)
{
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	return cr4;
}

#define INVPCID_CONTEXT	1UL

static inline void invpcid_context(uint64_t pcid)
{
	struct {
		uint64_t pcid, va;
	} operand = { pcid, 0 };

	__asm__ volatile("invpcid %0, %1" : : "m"(operand), "r"(INVPCID_CONTEXT) : "memory");
}

/* ---- roots ---- */

static uint64_t root_pcid(const ptent_t *root)
{
	uint16_t pcid;

	if (root == __dune_process.root)
		return 0;
	pcid = page_of((uint64_t)root)->pcid;
	return pcid ? pcid : PCID_NONE;
}

ptent_t *__dune_current_root(void)
{
	return dune_in_guest() ? table_of(vm_read_cr3()) : __dune_process.root;
}

PUBLIC ptent_t *dune_vm_current(void)
{
	return __dune_process.ready ? __dune_current_root() : NULL;
}

PUBLIC ptent_t *dune_vm_root(void)
{
	return __dune_process.root;
}

static uint64_t *pcids_in_use(void)
{
	return (uint64_t *)(__dune_process.region + REGION_PCIDS);
}

static uint16_t pcid_alloc(void)
{
	uint64_t *pcids = pcids_in_use();

	pcids[0] |= 1UL << 0 | 1UL << PCID_NONE;
	for (unsigned int i = 0; i < PCIDS_SIZE / sizeof(*pcids); i++) {
		unsigned int bit;

		if (pcids[i] == ~0UL)
			continue;
		bit = __builtin_ctzl(~pcids[i]);
		pcids[i] |= 1UL << bit;
		return i * 64 + bit;
	}
	return 0;
}

/* ---- flushing ---- */

/* This CPU's translations of @root; nobody else has any. */
static void flush_here(ptent_t *root, bool all, uint64_t va, uint64_t len)
{
	uint64_t cr3 = vm_read_cr3();

	if (root != table_of(cr3)) {
		/* Without identifiers, loading CR3 has flushed them. */
		if (__dune_process.pcid && read_cr4() & CR4_PCIDE)
			invpcid_context(root_pcid(root));
	} else if (all) {
		vm_flush_current(0, ~0UL);
	} else {
		vm_flush_current(va, len);
	}
}

void __dune_space_close(struct space *s, uint64_t va, uint64_t len)
{
	if ((s->unflushed || s->flush_all) && dune_in_guest()) {
		if (vm_alone())
			flush_here(s->root, s->flush_all, va, len);
		else
			__dune_engine_flush_all();
	}
	while (s->garbage) {
		struct page *pg = s->garbage;

		s->garbage = page_linked(pg->next);
		__dune_page_give(pg);
	}
}

PUBLIC void dune_flush_tlb(void)
{
	if (!dune_in_guest())
		return;
	if (vm_alone() && !(read_cr4() & CR4_PCIDE))
		vm_flush_current(0, ~0UL);
	else
		__dune_engine_flush_all();
}

PUBLIC void dune_flush_tlb_one(unsigned long addr)
{
	if (!dune_in_guest())
		return;
	if (vm_alone())
		vm_invlpg(addr);
	else
		__dune_engine_flush_all();
}

/* ---- switching ---- */

#define PCID_UNKNOWN	0
#define PCID_ON		1
#define PCID_OFF	2

/* The first switch of a thread.  The bit can be set only while CR3 names no identifier. */
static void pcid_start(struct dune_thread *t)
{
	uint64_t cr4;

	t->pcid = PCID_OFF;
	if (!__dune_process.pcid)
		return;
	cr4 = read_cr4();
	if (!(cr4 & CR4_PCIDE)) {
		__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_PCIDE) : "memory");
		/* What it has under identifier 0 may be another address space's than the first's. */
		vm_write_cr3(vm_read_cr3());
	}
	t->pcid = PCID_ON;
}

static void go_to(ptent_t *root, uint64_t noflush)
{
	struct dune_thread *t = current_thread();
	uint64_t cr3 = vm_root_gpa(root);

	if (t->pcid == PCID_UNKNOWN)
		pcid_start(t);
	t->cr3 = cr3;
	if (t->pcid == PCID_ON) {
		uint64_t pcid = root_pcid(root);

		cr3 |= pcid;
		if (pcid != PCID_NONE)
			cr3 |= noflush;
	}
	vm_write_cr3(cr3);
}

static inline bool is_root(const ptent_t *root)
{
	return root == __dune_process.root || (!((uint64_t)root & PGMASK) && page_of_pool((uint64_t)root) &&
				  page_of((uint64_t)root)->ref);
}

static int switch_slowly(ptent_t *root) __attribute__((noinline));
static int switch_slowly(ptent_t *root)
{
	if (!dune_in_guest() || !vm_may_load_cr3())
		return -EPERM;
	if (!is_root(root))
		return -EINVAL;
	go_to(root, CR3_NOFLUSH);
	return 0;
}

/* The page of a root that has an identifier: the index of anything else is too large, or its pcid 0. */
static inline uint64_t root_index(const ptent_t *root)
{
	uint64_t offset = (uint64_t)root - PAGEBASE;

	return offset >> PGSHIFT | offset << (64 - PGSHIFT);
}

PUBLIC int dune_vm_switch(ptent_t *root)
{
	struct dune_thread *t;
	uint64_t cr3;

	if (!dune_in_guest())
		return -EPERM;
	if (root == __dune_process.switch_root) {
		cr3 = __dune_process.region_gpa + REGION_ROOT;
		t = current_thread();
		if (t->pcid != PCID_ON)
			return switch_slowly(root);
		t->cr3 = cr3;
	} else {
		uint64_t index = root_index(root), pcid;

		if (index >= region_state()->nr_pages || !(pcid = page_by_index(index)->pcid))
			return switch_slowly(root);
		t = current_thread();
		if (t->pcid != PCID_ON)
			return switch_slowly(root);
		t->cr3 = (uint64_t)root;
		cr3 = (uint64_t)root | pcid;
	}
	vm_write_cr3(cr3 | CR3_NOFLUSH);
	return 0;
}

PUBLIC void dune_load_cr3(unsigned long cr3)
{
	ptent_t *root = (ptent_t *)(cr3 & PTE_ADDRESS);

	if ((uint64_t)root == vm_root_gpa(__dune_process.root))
		root = __dune_process.root;
	if (dune_in_guest() && is_root(root) && vm_may_load_cr3())
		go_to(root, cr3 & CR3_NOFLUSH);
}

/* ---- clones ---- */

/* A copy of the PDPT in slot @i, which shares the tables below. */
static int clone_pdpt(ptent_t *to, const ptent_t *from, unsigned int i)
{
	struct page *pg = __dune_page_take();

	if (!pg)
		return -ENOMEM;
	__dune_walk_share((ptent_t *)page_address(pg), table_of(from[i]), LEVEL_PDPT);
	to[i] = table_entry(page_address(pg));
	return 0;
}

static void drop_root(struct space *s, struct page *pg)
{
	ptent_t *root = (ptent_t *)page_address(pg);

	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		if (root[i])
			__dune_walk_drop(s, root[i], LEVEL_ROOT);
	__dune_space_put(s, pg);
}

void __dune_each_root(void (*each)(ptent_t *root, void *arg), void *arg)
{
	uint32_t left = region_state()->nr_clones;

	each(__dune_process.root, arg);
	for (uint64_t i = 0; left && i < region_state()->nr_pages; i++) {
		struct page *pg = page_by_index(i);

		if (!pg->ref || !is_root_page(pg))
			continue;
		each((ptent_t *)page_address(pg), arg);
		left--;
	}
}

PUBLIC ptent_t *dune_vm_clone(ptent_t *root)
{
	uint64_t state = memory_lock();
	struct page *pg = NULL;
	struct space s;
	int ret;

	ret = __dune_space_open(&s, root);
	if (!ret)
		ret = __dune_pool_ready();
	if (ret)
		goto unlock;
	pg = __dune_page_take();
	if (!pg)
		goto unlock;
	memset((void *)page_address(pg), 0, PGSIZE);
	for (unsigned int i = 0; i < USER_ROOT_SLOTS && !ret; i++)
		if (is_table(s.root[i], LEVEL_ROOT))
			ret = clone_pdpt((ptent_t *)page_address(pg), s.root, i);
	if (ret) {
		drop_root(&s, pg);
		__dune_space_close(&s, 0, 0);
		pg = NULL;
		goto unlock;
	}
	pg->next = s.full ? PAGE_FULL : PAGE_ROOT;
	region_state()->nr_clones++;
	/* Without one dune_vm_switch() takes the long way, which refuses it. */
	pg->pcid = vm_may_load_cr3() ? pcid_alloc() : 0;
unlock:
	memory_unlock(state);
	return pg ? (ptent_t *)page_address(pg) : NULL;
}

PUBLIC int dune_vm_free(ptent_t *root)
{
	uint64_t state = memory_lock();
	struct page *pg;
	struct space s;
	uint16_t pcid;
	int ret;

	ret = __dune_space_open(&s, root);
	if (!ret && root == __dune_process.root)
		ret = -EINVAL;
	if (!ret && __dune_thread_in(vm_root_gpa(root)))
		ret = -EBUSY;
	if (ret)
		goto unlock;
	pg = page_of((uint64_t)root);
	pcid = pg->pcid;
	if (is_root_page(pg))
		region_state()->nr_clones--;
	s.flush_all = true;
	__dune_dirty_root_freed(root);
	drop_root(&s, pg);
	__dune_space_close(&s, 0, 0);
	/* By now nothing is left of it in any TLB. */
	if (pcid)
		pcids_in_use()[pcid / 64] &= ~(1UL << pcid % 64);
unlock:
	memory_unlock(state);
	return ret;
}
