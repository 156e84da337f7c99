/* SPDX-License-Identifier: MIT */
/*
 * The engine: what runs the guest.  One file has all that is known of its kernel interface: dune.c, for the module's
 * /dev/dune.  Another engine would be another file behind this header (doc/design/engine.md).
 *
 * All of it is HR3 unless it says GR0.  Nothing here allocates memory.  Calls go through __dune_own_syscall(), so a
 * filter of the program's does not see them, but for those that say so.  A signal may interrupt any of them, and its
 * handler may abandon it: then it is made again.  The lock is that of the page tables (threads/lock.c).
 */
#ifndef LIBDUNE_ENGINE_H
#define LIBDUNE_ENGINE_H

#include "base/base.h"

#pragma GCC visibility push(hidden)

/* ---- what every engine has ---- */

/* Guest-physical memory is handed out by granules: so many bytes of it are so many bytes of the process. */
#define GRANULE_SHIFT	30
#define GRANULE_SIZE	(1UL << GRANULE_SHIFT)

/* Selectors of the guest's GDT: those of 64-bit Linux, whose STAR and SFMASK the guest has. */
#define SEL_KERNEL_CS	0x10
#define SEL_KERNEL_DS	0x18
#define SEL_USER_DS	0x2b
#define SEL_USER_CS	0x33
#define SEL_TSS		0x40
#define SEL_CPUNODE	0x7b	/* the engine's own: its limit is what getcpu() of the vDSO reads */
#define GDT_ENTRIES	16

/* A virtual CPU: lies in struct dune_thread.  A thread uses its own, or makes one for a child of vfork. */
struct vcpu {
	/*
	 * First: what RBP of the loop points to (host/run.S) is a stack frame for those who go by frame pointers. Its
	 * caller is what the engine's page has of the guest.
	 */
	unsigned long next_frame, return_address;
	/* How the loop runs the guest (gate.h): a system call and its arguments. */
	unsigned long run_nr, run_arg0, run_arg1, run_arg2;
	struct guest_regs *regs;	/* in place: the whole integer state, while it does not run */
	__u64 *gdt;			/* GDT_ENTRIES words for the guest's GDT */
	unsigned long page;		/* PGSIZE bytes of address space for the engine, in the thread's area; or 0 */
	uint32_t index;			/* of all vCPUs that there are each has another one; they are small */
};

/* ---- the process ---- */

/* engine_info.flags */
#define ENGINE_PCID		(1U << 0)	/* the guest may set CR4.PCIDE */

struct engine_info {
	uint64_t nr_granules;	/* of guest-physical memory */
	unsigned int way_out;	/* which of the ways of gate.h leads out of the guest here */
	uint32_t flags;		/* ENGINE_* */
	uint64_t cr4;		/* bits that a guest may have */
};

/*
 * Begin to serve this process.  Sets __dune_process.gate.  A filter sees it.  0; -ENOENT, -EACCES: the device;
 * -EPROTO: another version of its interface; -errno.
 */
int __dune_engine_open(struct engine_info *info);
void __dune_engine_close(void);

/*
 * A child that this process has forked is served by nobody until it calls one of these two, which do not differ in what
 * they have afterwards: every granule where its parent had it when it was forked, and no vCPU.
 *
 * __dune_engine_fork_child(): by a thread in Dune mode.  @same_fds: the parent has the same table of descriptors,
 * so what it has there must stay, and the child has another, which a filter sees.  0 or -errno.
 *
 * __dune_engine_adopt(): by a thread that is not in Dune mode, when __dune_engine_is_parents() has said that the
 * process is such a child.  0 or -errno.
 */
int __dune_engine_fork_child(bool same_fds);
bool __dune_engine_is_parents(void);
int __dune_engine_adopt(void);

/* The engine's descriptors: numbers side by side, which the program is not to see, nor close. */
struct engine_fds {
	unsigned int first, count;
};

extern struct engine_fds __dune_engine_fds;

/*
 * Before any vCPU is made: @count descriptors from @first on come behind the engine's, which may move for that.  They
 * stay open in what is executed.  From now on @all numbers from the engine's first on are none of the program's.  0 or
 * -errno.
 */
int __dune_engine_keep_fds(unsigned int first, unsigned int count, unsigned int all);

static inline bool engine_owns_fd(int fd)
{
	return (unsigned int)fd - __dune_engine_fds.first < __dune_engine_fds.count;
}

/*
 * What a filter of the program's must let pass at __dune_own_site: calls of @nr whose argument @arg, and @mask, is
 * @value, for all conditions with the same number.  What is let pass must be of no use to a program, which can go
 * there too.
 */
struct engine_condition {
	unsigned int arg;
	uint64_t mask, value;
};

struct engine_rule {
	unsigned int nr;
	unsigned int nr_conditions;
	struct engine_condition conditions[3];	/* each about one half of an argument */
};

#define ENGINE_RULES	2
/*
 * Instructions of a filter: 2 for each condition, and 1 for a mask that is not a whole half; the last of a rule can
 * be the first rule's.
 */
#define ENGINE_RULE_LENGTH	9

void __dune_engine_rules(struct engine_rule rules[ENGINE_RULES]);

/* ---- memory ---- */

/*
 * HR3 and GR0, with the lock held, or where the process has no thread in Dune mode yet.  The place of the granule
 * that holds @va: where it begins in guest-physical memory, for as long as an entry of a page table leads there.
 * -EFAULT: the process has nothing in it.  -EINVAL: no address of user space.  -ENOSPC: no guest-physical memory
 * left.  -ENOMEM.
 *
 * An engine may have to use a granule again that has nothing behind it any more.  Before it does so it calls @drop,
 * which takes all entries that lead to such granules (__dune_engine_granule_owner() is 0) out of all page tables, and
 * flushes; @drop returns 0 or -ENOMEM, and is called again by the next call then.
 */
long __dune_engine_granule(uint64_t va, int (*drop)(void));

/*
 * HR3 and GR0, with the lock held: which granule of the process is at @gpa, which is not behind the last one: its
 * number, plus 1.  0: none; nothing is behind it any more.
 */
uint32_t __dune_engine_granule_owner(uint64_t gpa);

/* HR3 and GR0: what that needs is there; else __dune_engine_look() is to be called. */
bool __dune_engine_looks(void);

/*
 * Have it.  @at: ENGINE_LOOK_SIZE bytes of address space, reserved; always the same.  A filter sees it.  0 or
 * -errno.
 */
#define ENGINE_LOOK_SIZE	0x100000
long __dune_engine_look(unsigned long at);

/* HR3 and GR0, with the lock of the page tables: who had it was killed, with what the engine had just told it. */
void __dune_engine_doubt(void);

/* HR3 and GR0.  From GR0: no vCPU's TLB has an entry from before the call when it returns.  HR3: nothing. */
void __dune_engine_flush_all(void);
/* The same, from HR3 while other threads are in the guest. */
void __dune_engine_flush_host(void);

/*
 * HR3 and GR0, and a child of a fork that nobody serves yet: let others run.  @sleep: so many us, up to
 * ENGINE_YIELD_MAX; 0: if they want to.  @whom: the vCPU of the thread that is waited for, or NULL.  Returns whether
 * that thread is no more.
 */
#define ENGINE_YIELD_MAX	1000
struct vcpu;
bool __dune_engine_yield(unsigned long sleep, const struct vcpu *whom);

/* GR0: have HR3 make the access to @va (ACCESS_*).  0: it has been made; else what HR3 put into RAX. */
long __dune_engine_access(uint64_t va, uint32_t access);

/* ---- virtual CPUs ---- */

struct vcpu_config {
	uint64_t cr3, idt, tss;		/* of the guest; IDT of 256 gates, TSS of 104 bytes */
	uint64_t lstar;			/* where SYSCALL goes in ring 0 */
	uint64_t cr4;			/* bits of engine_info.cr4 that are 1 */
	bool strict;			/* descriptor tables and control registers cannot be loaded */
	bool for_child;			/* the thread that first runs it may not exist yet */
	/* a call that comes from the stub at @lstar goes on as behind SYSCALL, in ring 0; else in the stub */
	bool stub_is_left;
	bool confines;			/* what runs in the guest is not trusted */
	/* nothing is at v->page, and nothing is to be replaced there; a filter sees it */
	bool page_is_free;
};

/*
 * Make one, of which v->page is set; fills in the rest.  It has the bases and vector registers of the thread that
 * runs it, and all other registers 0.  It may be one that was given up, or whose thread is dead: so nothing else
 * keeps them.  0 or -errno.
 */
int __dune_engine_create(struct vcpu *v, const struct vcpu_config *config);
/* It may only be put aside.  v->page stays memory. */
void __dune_engine_destroy(const struct vcpu *v);

/*
 * Of one for a child that will be no thread of this process: where CLONE_PARENT_SETTID is to have the kernel put the
 * child's number.  So the vCPU can be had again if the child is killed before it begins.
 */
uint32_t *__dune_engine_child(const struct vcpu *v);
/* The same where the number cannot be had. */
void __dune_engine_unknown_child(const struct vcpu *v);

/*
 * The engine may make calls of the guest's itself, as if the loop did it.  If the guest cannot simply go on then, the
 * loop's system call ends as that call: at __dune_syscall_site, where the word on the top of the loop's stack is the
 * return address.  @allowed: NR_SYSCALLS bytes, which may change at any time: 1 << ENGINE_CALL_*, where a call may come
 * from.  NULL: none is made so.
 */
#define ENGINE_CALL_STUB	0	/* lstar_return */
#define ENGINE_CALL_GATE	1	/* __dune_process.gate */
void __dune_engine_allow(const struct vcpu *v, const uint8_t *allowed);
/* How many there were (modulo 1 << 32). */
uint32_t __dune_engine_calls_made(const struct vcpu *v);

/* What a thread or process begins with that another one has made. */
struct vcpu_state {
	struct guest_regs regs;
	uint64_t cr2;
	uint32_t cpl;
};

void __dune_engine_save(const struct vcpu *v, struct vcpu_state *state);
void __dune_engine_load(const struct vcpu *v, const struct vcpu_state *state);

/* ---- results of a run ---- */

enum run_result {
	RUN_CALL = 1,	/* the guest has left by its instruction, in ring 0; RIP is behind it */
	RUN_INTR,	/* for a signal, or because it was to come out */
	RUN_FAULT,	/* an access that the kernel could not resolve: __dune_engine_fault() */
	RUN_SHUTDOWN,	/* it cannot go on: __dune_engine_shutdown() */
	RUN_WINDOW,	/* it has interrupts on, as was asked for */
	RUN_BAD_RIP,	/* the CPU would not go where RIP leads */
	RUN_FAILED,
};

/* What @raw, RAX behind the loop's system call, means.  RUN_FAILED: it is -errno. */
enum run_result __dune_engine_result(const struct vcpu *v, long raw);
/* Bit N: the raw result N is one after which v->regs is the whole state; for debuggers. */
uint64_t __dune_engine_complete_results(void);

/* Undo an exit by a call: RIP goes back onto SYSCALL, or the instruction of the gate. */
void __dune_engine_call_again(const struct vcpu *v);

/* engine_fault.access */
#define ACCESS_READ	(1U << 0)
#define ACCESS_WRITE	(1U << 1)
#define ACCESS_EXEC	(1U << 2)

/* engine_fault.flags */
#define FAULT_WALK	(1U << 0) /* while the CPU walked the page table or delivered an exception: no frame then */
#define FAULT_NOWHERE	(1U << 1)	/* there is no granule at gpa */
#define FAULT_DEVICE	(1U << 2)	/* device memory, which guests do not get here */
#define FAULT_ASKED	(1U << 3)	/* by __dune_engine_access() */

struct engine_fault {
	uint64_t linear;	/* the guest's address, to the byte; the process's where the CPU does not say */
	uint64_t process;	/* the process's address; not with FAULT_NOWHERE */
	uint64_t gpa;		/* with FAULT_NOWHERE */
	uint32_t access, flags;
};

/* After RUN_FAULT, until the guest runs again. */
void __dune_engine_fault(const struct vcpu *v, struct engine_fault *f);

struct engine_shutdown {
	const char *reason;
	bool by_program;	/* a program can do that: a triple fault */
	uint32_t number;	/* the CPU's own */
	uint64_t detail;
};

void __dune_engine_shutdown(const struct vcpu *v, struct engine_shutdown *s);

/* ---- registers, while the guest does not run ---- */

uint32_t __dune_engine_cpl(const struct vcpu *v);
/* 0 or 3; CS and SS go with it. */
void __dune_engine_set_cpl(const struct vcpu *v, uint32_t cpl);
/* What SWAPGS makes the GS base. */
uint64_t __dune_engine_other_gs(const struct vcpu *v);
void __dune_engine_set_other_gs(const struct vcpu *v, uint64_t base);

/* An exception is being delivered: what the guest is about to do is not what v->regs says. */
bool __dune_engine_in_event(const struct vcpu *v);
void __dune_engine_drop_event(const struct vcpu *v);
/* Its error code, for messages. */
uint32_t __dune_engine_event_error(const struct vcpu *v);
void __dune_engine_raise_pgflt(const struct vcpu *v, uint64_t address, uint32_t error);

/*
 * FS base, GS base and vector registers of the guest are those of the thread, in HR3 too: RDFSBASE, XSAVE and
 * arch_prctl() need no engine.  One that keeps them apart exchanges them where it says so (doc/design/engine.md).
 */

/* ---- kicks: of the calling thread's own vCPU, async-signal-safe; others are kicked by signals ---- */

/* RUN_INTR before the guest runs, until __dune_engine_stay(). */
void __dune_engine_come_out(const struct vcpu *v);
void __dune_engine_stay(const struct vcpu *v);
bool __dune_engine_comes_out(const struct vcpu *v);
/* RUN_WINDOW as soon as the guest has interrupts on and no event; or no more. */
void __dune_engine_want_window(const struct vcpu *v, bool on);

#pragma GCC visibility pop

#endif /* LIBDUNE_ENGINE_H */
