/* SPDX-License-Identifier: MIT */
/*
 * The layout of libdune's own granule: 1 GiB of address space, aligned, of which only
 * what is touched becomes memory.  All of it can be hidden from ring 3 by one entry.
 *
 *	0		the first thread area
 *	256 KiB		the interrupt descriptor table from vector 32 on; the others are in that area
 *	260 KiB		the root of the page table
 *	264 KiB		256 page-directory-pointer tables, one for each root slot of user space
 *	1288 KiB	which thread areas are in use
 *	1320 KiB	libdune itself, where the program is in ring 3 (launch/monitor.c); and the seccomp filters of
 *			one that is checked, and what its callbacks share (launch/watched.c)
 *	3 MiB		struct page of each page of the pool
 *	19 MiB		what the engine looks at to find granules that are gone, mapped when it is needed
 *	20 MiB		more thread areas, each aligned to its size
 *
 * What every process needs lies in one range without a gap, and in few pages: one VMA, one table of the
 * host and one of the second level.  The thread areas come last: a fork leaves them out.
 */
#ifndef LIBDUNE_LAYOUT_H
#define LIBDUNE_LAYOUT_H

#define PAGE_SIZE	4096

#define NR_EXCEPTIONS	32
#define GATE_SIZE	16

#define REGION_IDT	(AREA_SIZE - NR_EXCEPTIONS * GATE_SIZE)
#define REGION_STATE	(REGION_IDT - STATE_SIZE)	/* struct region_state */
#define STATE_SIZE	128
#define REGION_PCIDS	(REGION_IDT + 256 * GATE_SIZE)	/* which are in use: memory/space.c */
#define PCIDS_SIZE	(4096 / 8)
#define REGION_ROOT	(AREA_SIZE + PAGE_SIZE)
#define REGION_PDPT	(REGION_ROOT + PAGE_SIZE)
#define REGION_SLOTS	(REGION_PDPT + 256 * PAGE_SIZE)	/* struct thread_slot of each */
#define SLOTS_SIZE	(8 * PAGE_SIZE)
#define REGION_TABLES_END	(REGION_SLOTS + SLOTS_SIZE)
#define REGION_IMAGE	REGION_TABLES_END
#define FILTERS_SIZE	0x48000	/* behind the image of a checked program's libdune: host/calls/filters.c */
#define REGION_PAGES	0x300000
#define REGION_PAGES_SIZE	0x1000000
#define REGION_LOOK	0x1300000
#define REGION_AREAS	0x1400000		/* of all threads but the first */
#define MAX_THREADS	4017		/* as many as there is room for */

/*
 * A thread area: the engine's page, which it shares with the kernel, pages that are never accessible, the trap
 * stack, the IST stack of nested traps, signals that wait, the thread's signal actions if they are its own, what is
 * known of its system call, with copies of memory for it, a spare stack of ring 0's, memory of callbacks, the host
 * stack, the IST stack of double faults, and struct dune_thread. The guard is below the stack that runs handlers of the
 * program.
 *
 * What every system call uses, the struct and the beginning of the host stack, is in one page, because each fork
 * copies it. That of the first thread has what a fork writes besides (struct region_state).
 */
#define AREA_SIZE	0x40000
#define AREA_ENGINE	0
#define AREA_TRAP	(2 * PAGE_SIZE)
#define AREA_TRAP_END	(AREA_TRAP + TRAP_MAX)
#define AREA_NESTED_END	(AREA_TRAP_END + IST_SIZE)
#define AREA_PENDING	AREA_NESTED_END
#define AREA_SIGHAND	(AREA_PENDING + 0x400)
#define AREA_CALL	(AREA_SIGHAND + 0xa00)
#define AREA_COPIES	(AREA_CALL + PAGE_SIZE)
#define AREA_COPIES_END	(AREA_COPIES + 0x8000)
#define AREA_SPARE_END	(AREA_COPIES_END + 0x4000)
#define AREA_MEMORY	AREA_SPARE_END
#define AREA_MEMORY_SIZE	PAGE_SIZE	/* the host stack is what is left above it */
#define AREA_HOST_END	(AREA_THREAD - IST_SIZE)
#define AREA_THREAD	(AREA_SIZE - NR_EXCEPTIONS * GATE_SIZE - THREAD_MAX)
#define THREAD_MAX	1152

/* The trap stack ends there, and begins where dune_set_handler_stack() says (trap_low()); bytes. */
#define TRAP_MAX	0x20000
#define TRAP_MIN	0x8000
#define TRAP_DEFAULT	0x10000

/* Frames leave these stacks at once. */
#define IST_SIZE	512

/* How much lower on the trap stack frames begin while the thread has a session: entry.S. */
#define SESSION_DOWN	48

/* IST_SIZE added to them overflows, and leaves 0 or not. */
#define NESTED_MARK	-IST_SIZE
#define SESSION_MARK	-1

/* The least that must be left below a trap's frame. */
#define TRAP_RESERVE	0x3000

/* The stubs of exceptions, and CLAC at their beginning. */
#define STUB_SIZE	128
#define CLAC_LENGTH	3

/* The bit that is always set. */
#define RFLAGS_FIXED	0x2
/* Flags of ring 3: IOPL 1, by which its system calls are told from those of ring 0; and IF. */
#define RFLAGS_IOPL1	0x1000
/* struct ring3_session: ring 3 runs.  No other number will do: a session that longjmp() has left is overwritten. */
#define IN_RING3	0x33c0de33
#define RFLAGS_IOPL	0x3000
#define RFLAGS_RING3_SET	0x1200
#define RFLAGS_TF	0x100
/* What ring 3 may have: AC OF DF TF SF ZF AF PF CF RF ID. */
#define RFLAGS_RING3	0x250dd5

/* Where the header of an XSAVE area begins. */
#define XSAVE_HEADER	512

/* Set in the vector when a trap cannot be handled for lack of stack. */
#define TRAP_TOO_DEEP	0x100

/*
 * The state of a thread area: not accessible, in use, free, free and its memory is still all
 * zero. From HOLDER_HOST on: the thread that makes one there (threads.h).
 */
#define SLOT_NEW	0
#define SLOT_BUSY	1
#define SLOT_CLEAN	2
#define SLOT_ZERO	3

#ifndef __ASSEMBLER__
/* Where the area of @slot begins in the region, and whose area begins there. */
static inline unsigned long slot_offset(unsigned int slot)
{
	return slot ? REGION_AREAS + (slot - 1UL) * AREA_SIZE : 0;
}

static inline unsigned int offset_slot(unsigned long offset)
{
	return offset ? 1 + (offset - REGION_AREAS) / AREA_SIZE : 0;
}
#endif

#endif /* LIBDUNE_LAYOUT_H */
