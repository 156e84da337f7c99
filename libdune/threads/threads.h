/* SPDX-License-Identifier: MIT */
/*
 * Where threads lie, and what each consists of.
 */
#ifndef LIBDUNE_THREADS_H
#define LIBDUNE_THREADS_H

#include "base/base.h"
#include "base/debug.h"
#include "engine/engine.h"
#include "threads/layout.h"

#pragma GCC visibility push(hidden)

/* ---- where a thread is ---- */

/* A segment whose limit is where the thread's area lies in the region, in units of AREA_SIZE; ring 3 cannot see it. */
#define SEL_AREA	(10 * 8)

/* GR0: that limit.  (SGDT would do as well, but for DUNE_OPT_STRICT.) */
static inline unsigned long current_area(void)
{
	static const uint16_t selector = SEL_AREA;
	unsigned long area;

	__asm__("lsl %1, %0" : "=r"(area) : "m"(selector) : "cc");
	return area;
}

/* ---- the lock ---- */

#define RFLAGS_IF	0x200UL
#define STACK_NEED	2048	/* bytes that whoever holds the lock may use */

extern uint32_t *__dune_memory_mutex;

/*
 * What the lock holds: a thread's number (dune_thread.holder), and whether it has it in HR3; or only that, where HR3
 * has no thread.  A thread can be killed alone, if it is of another process with the same memory (vfork() and clone()
 * without CLONE_THREAD make such), or by a seccomp filter: who waits for its lock finds it dead, and has the lock then.
 */
#define HOLDER_HOST	0x10000U
#define HOLDER_AREA	0xffffU		/* the area's number + 1 */
#define HOLDER_USE	0x20000U	/* how many threads there were in all before this one, modulo 2^15 */

/* Who calls, in HR3, and in GR0. */
uint32_t __dune_holder_host(void);
static inline uint32_t holder_guest(void);

/* lock.c */
void __dune_word_wait(uint32_t *word, uint32_t holder);
/* Let @holder go on, as __dune_engine_yield().  Returns whether it never will: it is dead. */
bool __dune_holder_wait(uint32_t holder, unsigned long sleep);
/* Has this thread the lock in GR0?  There or in HR3, where it would wait for itself. */
bool __dune_memory_lock_is_mine(void);

static inline bool word_try(uint32_t *word, uint32_t holder)
{
	uint32_t nobody = 0;

	return __atomic_compare_exchange_n(word, &nobody, holder, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void word_lock(uint32_t *word, uint32_t holder)
{
	if (!word_try(word, holder))
		__dune_word_wait(word, holder);
}

static inline void word_unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

static inline void mutex_lock(uint32_t holder)
{
	word_lock(__dune_memory_mutex, holder);
}

static inline void mutex_unlock(void)
{
	word_unlock(__dune_memory_mutex);
}

/* Nobody who holds the lock may be interrupted by a handler of the program's.  GR0. */
static inline uint64_t memory_lock_guest(void)
{
	uint64_t state;

	__asm__ volatile("pushfq; popq %0; cli; orb $0, %c1(%%rsp)"
			 : "=r"(state) : "i"(-STACK_NEED) : "memory");
	mutex_lock(holder_guest());
	return state;
}

static inline void memory_unlock_guest(uint64_t state)
{
	mutex_unlock();
	if (state & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

/* Wherever it is. */
static inline uint64_t memory_lock(void)
{
	uint64_t state;

	if (dune_in_guest())
		return memory_lock_guest();
	state = __dune_signals_block();
	mutex_lock(__dune_holder_host());
	return state;
}

static inline void memory_unlock(uint64_t state)
{
	if (dune_in_guest()) {
		memory_unlock_guest(state);
		return;
	}
	mutex_unlock();
	__dune_signals_restore(state);
}

/* Has [address, address + size), which a checked program names, any of libdune's memory in it? */
static inline bool out_of_bounds(uint64_t address, uint64_t size)
{
	uint64_t region = __dune_process.region, end = address + size;

	return __dune_process.check && size && address < region + GRANULE_SIZE && (end > region || end < address);
}

/* ---- threads ---- */

/* SDM, "64-Bit Task-State Segment" */
struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_bitmap;
} __attribute__((packed));

_Static_assert(sizeof(struct tss) == 0x68, "the TSS is 104 bytes");

struct sighand;		/* host/signals.h */
struct sigreturn;	/* host/signals/sigreturn.c */
struct ring3_session;	/* guest/guest.h */
struct filter;		/* host/calls/filters.c */

struct altstack {
	unsigned long sp;
	int flags, reserved;
	unsigned long size;
};

/* HR3: makes the call whose number and arguments are in @r. */
typedef long (*syscall_fn)(struct dune_thread *t, struct guest_regs *r);

/* prctl(PR_SET_SYSCALL_USER_DISPATCH) */
struct dispatch {
	bool on;
	unsigned long offset, length;	/* calls from here are not dispatched */
	unsigned long selector;
};

/*
 * A thread in Dune mode; lies in its area, so that any of its stacks leads to it.
 *
 * Who writes a field, after it is made:
 *	(i)	nobody
 *	(h)	HR3 of this thread
 *	(g)	GR0 of this thread; cr3 is read by all threads with the lock of the page tables
 *	(x)	GR0 of this thread with interrupts off, and HR3 while the guest stands
 */
struct dune_thread {
	/* ---- the loop ---- */
	struct vcpu vcpu;		/* (i) by the engine; its registers (h) */
	const syscall_fn *table;	/* (h) the trampoline forwards what is NULL there */
	unsigned long lstar_return;	/* (i) RIP of an exit by SYSCALL */
	unsigned long host_top;		/* (i) where the host stack begins */
	/* ---- exceptions ---- */
	unsigned long trap_low, trap_high;	/* (i) the trap stack */
	unsigned long trap_top;		/* (g) where frames of nested traps from outside the trap stack go */
	/* ---- signals, system calls ---- */
	struct sighand *sighand;	/* (i) */
	struct altstack altstack;	/* (h) the program's; the kernel is told of none */
	unsigned long fault_address, fault_rip;	/* (h) the last RUN_FAULT ... */
	uint32_t fault_kind, fault_count;	/* (h) ... and how often it came in a row ... */
	uint32_t fault_calls;		/* (h) ... with so many calls made by the engine */
	uint8_t doing;			/* (h) enum doing (host/signals/doing.h); what belongs to one of them: */
	struct {
		int fd;			/* of the program for the loader, or -1 */
		void *memory;
		unsigned long size;
	} exec;				/* EXEC */
	uint64_t calling_mask;		/* OWN_CALL: the program's mask */
	uint64_t touch_mask;		/* TOUCH: the same if SIGSEGV and SIGBUS were unblocked for it; else NO_MASK */
	const struct sigreturn *returning;	/* SIGRETURN, SIGRETURNED */
	uint16_t refused_cs, refused_ss;	/* (h) a frame's, that no CPU takes, for the next frame to show; or 0 */
	uint8_t deferred;		/* (h) signals are blocked until it is; deferred_mask is the program's */
	uint8_t nr_pending;		/* (h) how many there are of them: pending_signals() */
	uint64_t deferred_mask;
	bool strict;			/* (h) seccomp's strict mode */
	int strict_pid, strict_tid;
	struct dispatch dispatch;
	/* (h) of the last exception that became a signal, as the kernel keeps them: signals' frames show them */
	uint32_t trapno, trap_err;
	unsigned long trap_cr2;		/* ... of the last page fault among these */
	uint32_t output_nr;		/* (h) the system call that operands.c is about */
	bool tracked;			/* (h) ... and that this call went through the page table (uaccess.c) */
	bool looked;			/* (h) ... and that one did, since that began */
	bool vfork_child;		/* (i) its parent frees the area */
	bool seen;			/* (h) a callback has seen this call, and is to see its result: callbacks.c */
	bool in_callback;		/* (h) */
	bool is_process;		/* (i) made without CLONE_THREAD, with its parent's memory */
	bool lent;			/* (i) there is no thread: copies for another's call lie in the area */
	uint32_t number;		/* (h) the kernel's, or 0: nobody has asked */
	uint64_t tid_word;		/* (h) the kernel clears it at the thread's end: host/calls/tid.c */
	uint32_t holder;		/* (i) what a lock that it has holds; 0: it is dead, and its area is free */
	/* ---- ring 3, the address space ---- */
	uint8_t pcid;			/* (x) space.c: has it CR4.PCIDE? */
	bool ring3_fs_set, ring3_gs_set;
	/* ---- a checked program's: host/calls/robust.c, filters.c ---- */
	uint64_t robust_list;		/* (h) */
	const struct filter *filter;	/* by any thread, with the lock of the page tables; the newest one */
	uint32_t group;			/* (i) the same for all threads of its process; 0: this is none */
	uint32_t filter_tid;		/* (h) its number, once a filter has judged a call of its; or 0 */
	bool ring3_bases;		/* (x) FS and GS base are ring 3's; else those are here: */
	unsigned long ring3_fs, ring3_gs;
	unsigned long cr4_bits;		/* (x) SMEP and SMAP, as its vCPU has them */
	struct ring3_session *session;	/* (x) the current one, or NULL */
	uint64_t cr3;			/* (g) the root that it is in, for its vCPU, and for threads that it makes */
	/* ---- what the CPU and entry.S read ---- */
	/* Read and written in the place of tss.ist[0]: entry.S, "Three places". */
	uint64_t session_mark __attribute__((packed, aligned(4)));
	uint32_t mark_pad;
	struct tss tss;			/* (i), but for ist[0]: (g) */
	struct vcpu_state boot;		/* (i) what a new thread starts with */
	struct debug_stop debug;	/* (h), and a debugger in another process */
	char nested_pad[256];
	uint64_t nested_mark __attribute__((packed, aligned(4)));	/* likewise */
	uint64_t boot_mask;		/* (h) and its signal mask */
};

_Static_assert(offsetof(struct dune_thread, vcpu) == 0, "a stack frame is at its beginning");

/* tid_word of a thread that was made elsewhere; no address of a word. */
#define TID_WORD_UNKNOWN	1UL

static inline struct dune_thread *area_thread(unsigned long area)
{
	return (struct dune_thread *)(area + AREA_THREAD);
}

/* GR0: the calling thread, on whatever stack it is. */
static inline struct dune_thread *current_thread(void)
{
	return area_thread(__dune_process.region + current_area() * AREA_SIZE);
}

/* Where the trap stack of @area begins, and the guard ends. */
static inline unsigned long trap_low(unsigned long area)
{
	return area + AREA_TRAP_END - __dune_process.trap_size;
}

static inline unsigned long thread_area(const struct dune_thread *t)
{
	return (unsigned long)t - AREA_THREAD;
}

static inline uint32_t holder_guest(void)
{
	return current_thread()->holder;
}

/* The thread that @holder is, or was; NULL: it has none. */
static inline struct dune_thread *holder_thread(uint32_t holder)
{
	uint32_t area = holder & HOLDER_AREA;

	return area ? area_thread(__dune_process.region + (area - 1UL) * AREA_SIZE) : NULL;
}

/*
 * An access that a system call needs, which HR3 has the guest make first (host/calls/uaccess.c).  Where the program's
 * handler gives it to dune_vm_default_pgflt_handler(), and that knows no answer, the call is -EFAULT.
 */
struct call_fault {
	uint64_t va;		/* or 0 */
	bool refused;
};

static inline struct call_fault *call_fault(const struct dune_thread *t)
{
	return (struct call_fault *)(thread_area(t) + AREA_CALL);
}

/* region.c */
/* HR3: map nothing to [start, end), where nothing is; may be empty.  0 or -errno. */
long __dune_reserve(unsigned long start, unsigned long end);
/* HR3: are core files to have it?  What is reserved they have not. */
void __dune_dump_memory(unsigned long start, unsigned long end, bool on);
/* Find room for libdune's granule.  0 or -errno. */
long __dune_region_reserve(void);
/* Round a fork by @t, in the parent, with the lock of the page tables; only if the first returns 0, not -errno. */
long __dune_region_fork_begin(const struct dune_thread *t);
void __dune_region_fork_end(const struct dune_thread *t);
/* In the child: are the areas of all threads but @t, which may be NULL, gone? */
bool __dune_region_forked(const struct dune_thread *t);
/* Before anything may be mapped there: 0, or -errno if it is not reserved. */
long __dune_region_complete(void);
/* Before the pages of the pool are described there.  0 or -errno. */
long __dune_region_hold_pool(void);
/* Make the stacks of a thread area memory.  0 or -errno. */
long __dune_region_open_area(unsigned long area);
/* From now on a child has the areas of all @nr_areas threads, and never need reserve any. */
void __dune_region_inherit(unsigned int nr_areas);

/* area.c */
/* An area and the thread in it, as far as the layout says what it is; NULL. */
struct dune_thread *__dune_area_alloc(void);
void __dune_thread_free(struct dune_thread *t);
/* @t has left the guest for good, and its address space; its area is in use still. */
void __dune_thread_out(struct dune_thread *t);
uint32_t *__dune_thread_slot(const struct dune_thread *t);
/* The area is one of a thread that can enter from now on. */
void __dune_thread_made(const struct dune_thread *t);
/* Memory in libdune's granule, whose size goes into *@size: its address, or -errno. */
long __dune_area_lend(unsigned long *size);
/* It was lent to the thread with the number @holder (dune_thread.holder), which may be dead: was it still its? */
bool __dune_area_return(unsigned long address, uint32_t holder);
bool __dune_thread_alone(struct dune_thread *t);
/* The areas in use, the first one behind that of @t, which may be NULL; NULL: there is no more. */
struct dune_thread *__dune_thread_after(const struct dune_thread *t);
void __dune_thread_reserve(unsigned int nr);
void __dune_threads_inherit(void);
/* Is a thread in the address space with its root at @gpa? */
bool __dune_thread_in(uint64_t gpa);
/* dune_init() has reserved the region: the area of the first thread is memory. */
void __dune_threads_begin(void);
int __dune_threads_drop_others(struct dune_thread *t);
/*
 * vCPU @index is that of @t's area from now on, or nobody's if that is NULL.  The dead thread whose it was, or NULL:
 * its area is to be freed.
 */
struct dune_thread *__dune_vcpu_taken(unsigned int index, const struct dune_thread *t);
bool __dune_has_vcpu(const struct dune_thread *t);
void __dune_vcpu_given_up(unsigned int index);

#pragma GCC visibility pop

#endif /* LIBDUNE_THREADS_H */
