/* SPDX-License-Identifier: MIT */
/*
 * What libdune's files share.
 *
 * HR3 is the host's user mode, GR0 the guest's ring 0, GR3 its ring 3.  Code in both is
 * part of this library; each function says where it runs unless both will do.
 * Nothing here calls the C library, uses thread-local storage or touches a vector
 * register: a program's are live whenever libdune runs.
 */
#ifndef LIBDUNE_INTERNAL_H
#define LIBDUNE_INTERNAL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <linux/dune.h>
#include <linux/errno.h>
#include <linux/signal.h>

#include "host/debug.h"
#include "dune.h"
#include "threads/layout.h"

#define PUBLIC		__attribute__((visibility("default")))

/*
 * What each fork runs, and with it each system call, lies side by side (in .text.hot, with all that is in assembly): the
 * kernel maps the code of a new process by 64 KiB, and each such piece costs it 10,000 instructions.
 */
#define HOT		__attribute__((hot))

/* What is declared here is reached without the global offset table. */
#pragma GCC visibility push(hidden)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x)	(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value)	(*(volatile __typeof__(x) *)&(x) = (value))

/* The compiler may turn a copy or a clearing into these calls: give it ours. */
void *memcpy(void *to, const void *from, size_t size) __asm__("__dune_memcpy");
void *memset(void *to, int byte, size_t size) __asm__("__dune_memset");

static inline bool is_error(long ret)
{
	return (unsigned long)ret > -4096UL;
}

/* May be replaced on the command line, for a test bed that has no ring 0. */
#ifndef dune_in_guest
#define dune_in_guest	dune_in_dune_mode
#endif

/* ---- the process ---- */

/* One for each process; written by dune_init() and by the child of a fork. */
struct dune_process {
	int fd;			/* /dev/dune */
	bool ready;		/* by dune_init() */
	unsigned long region;	/* libdune's own granule: layout.h */
	unsigned long region_gpa;
	bool first_run_absent;	/* nothing is mapped where the first thread's struct dune_run goes */
	uint64_t nr_granules;	/* of guest-physical memory */
	uint32_t granule_round;	/* how often the kernel has taken some back */
	bool granules_stale;	/* ... and page tables may have them still */
	bool owners_mapped;	/* the kernel's table of them is mapped, in the region */
	unsigned long lstar;	/* where SYSCALL goes in ring 0 */
	unsigned long lstar_return;	/* RIP of an exit by SYSCALL in ring 0 */
	unsigned long hypercall_return;	/* RIP of an exit by a hypercall */
	long (*hypercall)(unsigned long nr, unsigned long a, unsigned long b, unsigned long c);
	uint64_t xsave_mask;	/* what to save round a program's handler; 0: FXSAVE */
	uint64_t xsave_size;
	uint32_t options;	/* bits by DUNE_OPT_* */
	bool fresh;		/* exec() was a moment ago: the program has no handlers yet */
	bool full;		/* a first touch maps memory of the process: */
	bool precise;		/* ... not whole granules, only what the process has there */
	bool areas_left_out;	/* a fork leaves out the areas of other threads, and more: region.c */
	bool guard_mapped;	/* ... and the guard page of the first thread, a mapping of its own */
	bool filtered;		/* a seccomp filter of the program's may be in force */
	ptent_t *switch_root;	/* pgroot, or what is no root where CR3 cannot be loaded: DUNE_OPT_STRICT */
	ptent_t *root;		/* pgroot, pages and num_pages, which programs may not change */
	struct page *pages;
	uint64_t nr_pages;
	bool pcid;		/* the guest may have process-context identifiers, and INVPCID */
};

extern struct dune_process __dune_process;

static inline bool option(unsigned int number)
{
	return __dune_process.options & 1U << number;
}

/* What a fork writes, in a page that is copied anyway. */
struct region_state {
	uint32_t mutex;		/* vm.h */
	bool forking;		/* ... is held by a thread that forks, and changes nothing */
	bool incomplete;	/* a child of a fork without the areas of other threads: nothing is reserved there */
	unsigned long kept;	/* but for this one, or 0 */
};

static inline struct region_state *region_state(void)
{
	return (struct region_state *)(__dune_process.region + REGION_STATE);
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

#define NR_SIGNALS	64

/* The kernel's own form. */
struct sigaction_kernel {
	unsigned long handler;
	unsigned long flags;
	unsigned long restorer;
	uint64_t mask;
};

/* The program's handlers; those signals go to libdune's in the kernel.  SIG_DFL, SIG_IGN: it has none. */
struct sighand {
	struct sigaction_kernel actions[NR_SIGNALS + 1];
	/* SIGSEGV and SIGBUS go to libdune's handler although the program has none. */
	bool faults_caught;
};

struct altstack {
	unsigned long sp;
	int flags, reserved;
	unsigned long size;
};

/*
 * From dune_jump_to_user() to dune_ret_from_user(), on the stack of the former's caller.  The thread's other GS
 * base points to tf.err of the current one.
 */
struct ring3_session {
	struct dune_tf tf;		/* of ring 3's system calls */
	unsigned long rbp;		/* of __dune_jump() */
	struct dune_thread *thread;
	struct ring3_session *previous;	/* the one that this one is in, or NULL */
	unsigned long fs, gs;		/* the program's bases */
	unsigned long outer_fs, outer_gs;	/* those of ring 3 in the previous session */
	bool outer_ring3_bases;		/* dune_thread.ring3_bases before */
	bool interrupted;		/* by a signal, whose handler has not returned; mask was in force */
	uint64_t mask;
	unsigned long trap_top, ist;	/* before */
};

struct sigreturn;		/* deliver.c */

/* A signal that has come, until a handler of the program's can run. */
struct pending_signal {
	siginfo_t info;
	struct sigaction_kernel action;
};

/* One that waits for the guest to come out, and SIGSEGV, SIGBUS and SIGSYS, which are not blocked meanwhile. */
#define PENDING_MAX	4

typedef long (*syscall_fn)(struct dune_thread *t);

/* prctl(PR_SET_SYSCALL_USER_DISPATCH) */
struct dispatch {
	bool on;
	unsigned long offset, length;	/* calls from here are not dispatched */
	unsigned long selector;
};

/* A thread in Dune mode; lies in its area, so that any of its stacks leads to it. */
struct dune_thread {
	/* The system call that runs the guest, for the trampoline. */
	unsigned long run_nr, run_arg0, run_arg1, run_arg2;
	struct dune_run *run;
	syscall_fn *table;		/* the trampoline forwards what is NULL there */
	unsigned long lstar_return;	/* RIP of an exit by SYSCALL */
	unsigned long host_top;		/* where the host stack begins */
	unsigned long trap_low, trap_high;	/* the trap stack */
	unsigned long trap_top;		/* where frames of nested traps from outside the trap stack go */
	int fd;
	uint32_t index;			/* of the vCPU */
	struct sighand *sighand;
	struct altstack altstack;	/* the program's; the kernel is told of none */
	unsigned long fault_hva, fault_rip;	/* the last DUNE_EXIT_FAULT ... */
	uint32_t fault_flags, fault_count;	/* ... and how often it came in a row */
	/* An exec() under way: it can be abandoned and made again at any instruction. */
	struct {
		bool active;
		int fd;			/* of the program for the loader, or -1 */
		void *memory;
		unsigned long size;
	} exec;
	const struct sigreturn *returning;	/* an rt_sigreturn under way, or NULL */
	bool returned;			/* the kernel has done its part of it */
	bool complete;			/* run->regs is the guest's whole state, HR3 has nothing to add */
	uint8_t deferred;		/* signals are blocked until it is; deferred_mask is the program's */
	uint8_t nr_pending;		/* how many there are of them: pending_signals() */
	uint64_t deferred_mask;
	bool calling;			/* a call of the program's is made with all signals but SIGSYS blocked; */
	uint64_t calling_mask;		/* this is the program's */
	bool strict;			/* seccomp's strict mode */
	int strict_pid, strict_tid;
	struct dispatch dispatch;
	bool touching;			/* HR3 makes an access of the guest's, again if a signal comes before it */
	uint64_t touch_mask;		/* then the program's, if SIGSEGV and SIGBUS were unblocked for that; else NO_MASK */
	uint32_t trapno, trap_err;	/* of the exception that is becoming a signal */
	unsigned long trap_cr2;
	uint32_t output_nr;		/* the system call that output.c is about */
	bool vfork_child;		/* its parent frees the area */
	bool ring3_bases;		/* FS and GS base are ring 3's; else those are here: */
	unsigned long ring3_fs, ring3_gs;
	unsigned long cr4_bits;		/* SMEP and SMAP, as its vCPU has them */
	bool ring3_fs_set, ring3_gs_set;
	struct ring3_session *session;	/* the current one, or NULL */
	uint8_t pcid;			/* space.c: has it CR4.PCIDE? */
	uint64_t cr3;			/* the root that it is in, for its vCPU, and for threads that it makes */
	struct debug_stop debug;
	struct tss tss;
	struct dune_run boot;		/* what a new thread starts with */
	char ist_pad[68];
	uint64_t ist_mark __attribute__((packed, aligned(4)));	/* entry.S, "Two stacks" */
	uint64_t boot_mask;		/* and its signal mask */
};

static inline struct dune_thread *area_thread(unsigned long area)
{
	return (struct dune_thread *)(area + AREA_THREAD);
}

/* A segment whose limit is where the thread's area lies in the region, in units of AREA_SIZE; ring 3 cannot see it. */
#define SEL_AREA	(10 * 8)

/* GR0: the calling thread, on whatever stack it is.  (SGDT would do as well, but for DUNE_OPT_STRICT.) */
static inline struct dune_thread *current_thread(void)
{
	unsigned int area;

	__asm__("lsl %1, %0" : "=r"(area) : "r"((unsigned int)SEL_AREA) : "cc");
	return area_thread(__dune_process.region + (unsigned long)area * AREA_SIZE);
}

static inline unsigned long thread_area(const struct dune_thread *t)
{
	return (unsigned long)t - AREA_THREAD;
}

static inline struct pending_signal *pending_signals(const struct dune_thread *t)
{
	return (struct pending_signal *)(thread_area(t) + AREA_PENDING);
}

/* If it is not shared with the thread that made this one. */
static inline struct sighand *own_sighand(const struct dune_thread *t)
{
	return (struct sighand *)(thread_area(t) + AREA_SIGHAND);
}

/* region.c */
/* HR3: map nothing to [start, end), where nothing is; may be empty.  0 or -errno. */
long __dune_reserve(unsigned long start, unsigned long end);
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

/* enter.c */
struct dune_thread *__dune_thread_alloc(void);
void __dune_thread_free(struct dune_thread *t);
uint8_t *__dune_thread_slot(struct dune_thread *t);
bool __dune_thread_alone(struct dune_thread *t);
void __dune_thread_reserve(unsigned int nr);
void __dune_threads_inherit(void);
/* Is a thread in the address space with its root at @gpa? */
bool __dune_thread_in(uint64_t gpa);
/* How many areas are in use: no more threads can be in the guest.  Atomic. */
extern uint32_t __dune_nr_threads;
void __dune_threads_drop_others(struct dune_thread *t);
int __dune_vcpu_create(struct dune_thread *t);
void __dune_vcpu_destroy(struct dune_thread *t);
void __dune_leave_finish(struct dune_thread *t);
bool __dune_fault_to_guest(struct dune_thread *t, int signo, int code);

/* What DUNE_HC_FAULT returns for an access for which the kernel would send @signo; 0: it is resolved. */
static inline unsigned int refusal(int signo, int code)
{
	return signo << 8 | code;
}

/* init.c */
int __dune_move_fd(int fd);

/* clone.c */
long __dune_attach(int fd);
void __dune_thread_main(struct dune_thread *t);
long __dune_sys_clone(struct dune_thread *t);
long __dune_sys_clone3(struct dune_thread *t);
long __dune_sys_fork(struct dune_thread *t);
long __dune_sys_vfork(struct dune_thread *t);
long __dune_sys_exit(struct dune_thread *t);

/* exec.c */
long __dune_sys_execve(struct dune_thread *t);
long __dune_sys_execveat(struct dune_thread *t);
void __dune_exec_end(struct dune_thread *t);
void __dune_exec_forget(struct dune_thread *t);
/* Have programs started by exec() load the object at @path first; a static one is loaded by it. */
void __dune_set_preload(const char *path);
/*
 * The process runs the program that @fd is open on, whatever file the kernel believes it does; -1: the kernel
 * knows.  Returns its path, or "".
 */
const char *__dune_set_loaded(int fd);

/* ---- the trampoline and the entries (host/run.S, guest/entry.S) ---- */

long __dune_enter_guest(struct dune_thread *t);
int __dune_leave_guest(void);
void __dune_resume_host(const struct dune_regs *regs) __attribute__((noreturn));
void __dune_exit_thread(long status, uint8_t *slot) __attribute__((noreturn));
void __dune_thread_start(void);
long __dune_vfork(unsigned long stack);
void __dune_sigreturn(void);
void __dune_touch_read(unsigned long hva);
void __dune_touch_write(unsigned long hva);
void __dune_touch_end(void);
bool __dune_copy(void *to, const void *from, unsigned long size);
extern const char __dune_copy_failed[];
extern const char __dune_sigreturned[];
void __dune_sigreturn_finish(struct dune_thread *t) __attribute__((noreturn));
void __dune_run_anew(struct dune_thread *t) __attribute__((noreturn));
void __dune_run_masked(struct dune_thread *t, uint64_t mask) __attribute__((noreturn));
void __dune_host_exit(struct dune_thread *t, long reason);
long __dune_handle_call(struct dune_thread *t);

long __dune_hypercall_vmx(unsigned long nr, unsigned long a, unsigned long b, unsigned long c);
long __dune_hypercall_svm(unsigned long nr, unsigned long a, unsigned long b, unsigned long c);
extern const char __dune_hypercall_vmx_return[], __dune_hypercall_svm_return[];
extern const char __dune_lstar_vmx[], __dune_lstar_svm[];
extern const char __dune_lstar_vmx_return[], __dune_lstar_svm_return[];
extern const char __dune_trap_stubs[], __dune_trap_stubs_end[], __dune_int_stubs[];
extern const char __dune_trap_thunks[], __dune_full_thunks[];
extern const char __dune_ring3_entry[], __dune_sysret[], __dune_ring3_resume[];
int __dune_jump(const struct dune_tf *tf);
void __dune_return(int ret) __attribute__((noreturn));
void __dune_load(struct dune_tf *tf) __attribute__((noreturn));
void __dune_bare_pgflt(struct dune_tf *tf);
void __dune_full_pgflt(struct dune_tf *tf);
long __dune_full_call(struct dune_tf *tf);
void __dune_trap_wild(struct dune_tf *tf);
extern const char __dune_syscall_site[], __dune_own_site[], __dune_run_loop[], __dune_run_return[];
extern const char __dune_call_return[], __dune_run_again[], __dune_call_special[];
extern const char __dune_output_call[], __dune_output_return[];
void __dune_host_sigreturn(const void *context) __attribute__((noreturn));
void __dune_guest_sigreturn(const void *context) __attribute__((noreturn));
uint8_t __dune_peek(const void *byte);
void __dune_trap(struct dune_tf *tf, unsigned int vector);
void __dune_trap_end(struct dune_tf *tf);
void __dune_to_ring3(struct dune_tf *tf);

#define SYSCALL_LENGTH	2
#define VMCALL_LENGTH	3	/* VMMCALL too */

/* trap.c */
bool __dune_handles(unsigned int vector);
/* dune_init() knows now what there is: the ways to handlers that were registered before it. */
void __dune_trap_entries_choose(void);
void __dune_ring3_call_choose(void);
void __dune_call_saving(void (*call)(void *), void *arg);

/* Whose IST entry for traps it is while one is under way, and while none is. */
static inline unsigned long ist_nested(const struct dune_thread *t)
{
	return thread_area(t) + AREA_NESTED_END;
}

/* A trap goes back to RSP @sp in ring 0, or ring 3: is one under way there? */
static inline void set_trap_state(struct dune_thread *t, bool user, unsigned long sp)
{
	bool inside = t->trap_top != t->trap_high || (!user && sp >= t->trap_low && sp <= t->trap_high);

	t->tss.ist[0] = inside ? ist_nested(t) : t->trap_high;
}

/* ring3.c */
void __dune_bases_to_program(struct dune_thread *t);
void __dune_bases_to_ring3(struct dune_thread *t);
int __dune_session_begin(const struct dune_tf *tf, struct ring3_session *s);
void __dune_session_end(struct ring3_session *s);
void __dune_session_resume(struct ring3_session *s);
void __dune_session_interrupt(struct dune_thread *t, uint64_t mask);
struct ring3_session *__dune_session(void);
void __dune_ring3_entry_fault(struct dune_thread *t);
/* GR0, with the stack pointer @sp: does a handler of a trap or of ring 3 run? */
bool __dune_in_handler(unsigned long sp);
void __dune_ring3_flags(struct dune_tf *tf);

/* What SWAPGS loads.  Without a session 0: any other base costs the kernel WRMSRs round each DUNE_RUN. */
static inline unsigned long session_gs(struct ring3_session *s)
{
	return s ? (unsigned long)s + offsetof(struct dune_tf, err) : 0;
}

static inline bool canonical(unsigned long address)
{
	return (long)(address << 16) >> 16 == (long)address;
}

/* desc.c */
void __dune_fill_idt(void);
void __dune_fill_gate(unsigned int vector);
void __dune_fill_tss(struct dune_thread *t);
void __dune_fill_gdt(struct dune_thread *t);

/* ---- system calls ---- */

/*
 * Calls that a filter of the program's does not see (seccomp.c, which knows each); they cannot serve to get round it.
 * HR3.
 */
long __dune_own_syscall(long nr, long a, long b, long c, long d);
#define own_syscall1(nr, a)			__dune_own_syscall(nr, (long)(a), 0, 0, 0)
#define own_syscall3(nr, a, b, c)		__dune_own_syscall(nr, (long)(a), (long)(b), (long)(c), 0)
#define own_syscall4(nr, a, b, c, d)		__dune_own_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d))

/* All others are as good as the program's own; in GR0 they are forwarded like those. */
#define dune_syscall0(nr)			dune_syscall(nr, 0, 0, 0, 0, 0, 0)
#define dune_syscall1(nr, a)			dune_syscall(nr, (long)(a), 0, 0, 0, 0, 0)
#define dune_syscall2(nr, a, b)			dune_syscall(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define dune_syscall3(nr, a, b, c)		dune_syscall(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define dune_syscall4(nr, a, b, c, d)		dune_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define dune_syscall5(nr, a, b, c, d, e)	dune_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define dune_syscall6(nr, a, b, c, d, e, f) \
	dune_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Numbers from here on the kernel does not have. */
#define NR_SYSCALLS	512

/*
 * HR3: each does a system call of the guest's; the result goes into its RAX.  Or it returns what is no result: the
 * trampoline is to make the call, where a signal finds it and it can wait for as long as it likes.
 */
#define FORWARD_CALL		(-0x7fffffffffffffffL - 1)
extern syscall_fn __dune_syscall_table[NR_SYSCALLS];

/* output.c */
long __dune_output_check(struct dune_thread *t);
void __dune_output_mark(struct dune_thread *t);
long __dune_sys_output(struct dune_thread *t);
void __dune_outputs_begin(void);
extern bool __dune_outputs_watched;

/* listing.c */
void __dune_hide_descriptor(struct dune_thread *t);

/* seccomp.c */
long __dune_set_strict(struct dune_thread *t);
long __dune_set_filter(struct dune_thread *t, __u64 *arg);
bool __dune_strict_allows(unsigned int nr);
void __dune_strict_kill(struct dune_thread *t);

/* dispatch.c */
long __dune_sys_dispatch(struct dune_thread *t);
bool __dune_dispatches(const struct dune_thread *t);
void __dune_dispatch_clear(struct dune_thread *t);
/* Have the trampoline forward nothing without a look, or again. */
void __dune_watch(struct dune_thread *t);

long __dune_forward(struct dune_thread *t);
int __dune_copy_in(void *to, unsigned long from, size_t size);
bool __dune_can_write(unsigned long to, size_t size);
int __dune_copy_out(unsigned long to, const void *from, size_t size);

/* Calls of libdune's own from GR0 to HR3, made like hypercalls. */
#define PRIVATE_CALL(nr)	(0x6c69624400000000UL | (nr))
#define PRIVATE_LEAVE		PRIVATE_CALL(0)
#define PRIVATE_RAISE		PRIVATE_CALL(1)	/* RDI: struct raise */
#define PRIVATE_MAP_OWNERS	PRIVATE_CALL(2)	/* RAX: 0 or -errno */
#define PRIVATE_POOL_EXTEND	PRIVATE_CALL(3)	/* RDI: pages; RAX: 0 or -errno */
#define PRIVATE_COPY_IN		PRIVATE_CALL(4)	/* RDI: to, RSI: from, RDX: size; RAX: 0 or -errno */
#define PRIVATE_COPY_OUT	PRIVATE_CALL(5)	/* likewise */
#define PRIVATE_PRECISE		PRIVATE_CALL(6)	/* __dune_precise_host(RDI, RSI, RDX) */

static inline bool is_private(uint64_t nr)
{
	return nr - PRIVATE_LEAVE <= PRIVATE_PRECISE - PRIVATE_LEAVE;
}

/* An exception that has become a signal. */
struct raise {
	int signo;
	int code;
	unsigned long addr;
	uint32_t vector;
	const char *name;	/* of the vector */
	const struct dune_tf *tf;	/* NULL: libdune itself cannot go on */
};

/* ---- signals ---- */

extern struct sighand __dune_sighand;	/* that of the first thread */

int __dune_signals_adopt(struct dune_thread *t);
void __dune_signals_release(struct dune_thread *t);
void __dune_signals_clone(struct dune_thread *child, const struct dune_thread *parent, uint64_t flags);
void __dune_host_handler(int signo, siginfo_t *info, void *context);
void __dune_signal_reset(struct sighand *sighand, int signo);
void __dune_call_again(struct dune_thread *t);
void __dune_signals_resume(struct dune_thread *t);
bool __dune_signals_first(struct dune_thread *t);
void __dune_signal_forced(struct dune_thread *t, const siginfo_t *info);
void __dune_signal_exception(struct dune_thread *t, const struct raise *raise);
void __dune_signal_fault(struct dune_thread *t, int signo, int code, unsigned long addr, uint32_t error);
void __dune_touch_begin(struct dune_thread *t);
void __dune_touch_catch(struct dune_thread *t);
void __dune_touch_done(struct dune_thread *t);

/* No mask of the kernel's: SIGKILL cannot be blocked. */
#define NO_MASK		(~0UL)

/* Values that the kernel reads as SIG_DFL and SIG_IGN. */
static inline bool is_handler(const struct sigaction_kernel *action)
{
	return action->handler > 1;
}

static inline bool __dune_has_handler(const struct sighand *sighand, int signo)
{
	return is_handler(&sighand->actions[signo]);
}

bool __dune_on_altstack(const struct altstack *s, unsigned long sp);
void __dune_signal_default(int signo);
bool __dune_signal_is_default(int signo);
void __dune_die_by(int signo, const siginfo_t *info) __attribute__((noreturn));
uint64_t __dune_signals_block(void);
void __dune_signals_restore(uint64_t mask);
void __dune_call_begin(struct dune_thread *t);
void __dune_call_end(struct dune_thread *t);
void __dune_faults_catch(struct sighand *sighand);
void __dune_raise(int signo, int code, unsigned long addr) __attribute__((noreturn));
long __dune_sys_sigaction(struct dune_thread *t);
long __dune_sys_sigaltstack(struct dune_thread *t);

struct ucontext;
void __dune_restart_loop(struct dune_thread *t, struct ucontext *host, uint64_t mask);

/* sigreturn.c */
long __dune_sys_sigreturn(struct dune_thread *t);
void __dune_sigreturn_settle(struct dune_thread *t, struct ucontext *host, bool trap);

/* debug.c */
void __dune_debug_begin(void);
bool __dune_debug_stop(struct dune_thread *t, const siginfo_t *info);

/* ---- messages ---- */

size_t __dune_format(char *buf, size_t size, const char *fmt, va_list args);
void __dune_message(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* @text as it is, and a newline, to standard output. */
void __dune_print_text(const char *text);
/* To standard error, without the name of the library. */
void __dune_print_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* procmap.c: call @cb for each mapping until it returns false; 0 or -errno */
int __dune_procmap_each(bool (*cb)(const struct dune_procmap_entry *entry, void *arg), void *arg);
typedef void (*procmap_found)(const struct dune_procmap_entry *entry, void *arg);
bool __dune_procmap_find(unsigned long address, procmap_found found, void *arg);

/* symbol.c: the name of the function at @offset in the file @path, and how far into it that is. */
bool __dune_symbol(const char *path, uint64_t offset, char *name, size_t size, uint64_t *distance);

/* dump.c */
void __dune_dump(const struct dune_tf *tf);

/* A message, then death by @signo. */
void __dune_fatal(int signo, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));

#pragma GCC visibility pop

#endif /* LIBDUNE_INTERNAL_H */
