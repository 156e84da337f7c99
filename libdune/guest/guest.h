/* SPDX-License-Identifier: MIT */
/*
 * Ring 0 and ring 3 of the guest: its vectors, handlers of exceptions, sessions of ring 3.
 */
#ifndef LIBDUNE_GUEST_H
#define LIBDUNE_GUEST_H

#include "memory/memory.h"

#pragma GCC visibility push(hidden)

/*
 * From dune_jump_to_user() to dune_ret_from_user(), on the stack of the former's caller.  The thread's other GS
 * base points to tf.err of the current one.
 */
struct ring3_session {
	struct dune_tf tf;		/* of ring 3's system calls */
	unsigned long rbp;		/* of __dune_jump() */
	uint32_t in_ring3;		/* IN_RING3 while it is the current one and dune_thread.ring3_bases is true */
	struct dune_thread *thread;
	struct ring3_session *previous;	/* the one that this one is in, or NULL */
	unsigned long fs, gs;		/* the program's bases */
	unsigned long outer_fs, outer_gs;	/* those of ring 3 in the previous session */
	bool outer_ring3_bases;		/* dune_thread.ring3_bases before */
	bool interrupted;		/* by a signal, whose handler has not returned; mask was in force */
	uint64_t mask;
	unsigned long trap_top, ist;	/* before */
};

/* ---- entry.S ---- */

extern const char __dune_trap_stubs[], __dune_trap_stubs_end[], __dune_int_stubs[];
extern const char __dune_trap_any[], __dune_full_trap[], __dune_full_pgflt[], __dune_bare_pgflt[], __dune_full_call[];
extern const char __dune_ring3_entry[], __dune_sysret[], __dune_ring3_resume[];
int __dune_jump(const struct dune_tf *tf);
void __dune_return(int ret) __attribute__((noreturn));
void __dune_load(struct dune_tf *tf) __attribute__((noreturn));
void __dune_trap_wild(struct dune_tf *tf);
void __dune_trap(struct dune_tf *tf, unsigned int vector);
void __dune_trap_end(struct dune_tf *tf);
void __dune_to_ring3(struct dune_tf *tf);

/* handlers.c */
struct handler {
	const void *code;	/* where entry.S goes, with RAX this handler and RSI arg */
	void *arg;
	const void *cb;		/* the program's function, of struct dune_handler */
	uint32_t vector;
	bool bare, pgflt;
};

/* One like @wanted, for ever; NULL: there are too many. */
const struct handler *__dune_handler_make(const struct handler *wanted);

/* trap.c */
bool __dune_handles(unsigned int vector);
const char *__dune_exception_name(unsigned int vector);
/* dune_init() knows now what there is: the ways to handlers that were registered before it. */
void __dune_trap_entries_choose(void);
void __dune_ring3_call_choose(void);
void __dune_call_saving(void (*call)(void *), void *arg);

/* Whose IST entry for traps it is while one is under way, and while none is. */
static inline unsigned long ist_nested(const struct dune_thread *t)
{
	return thread_area(t) + AREA_NESTED_END;
}

/* The same while none is and the thread has a session. */
static inline unsigned long ist_session(const struct dune_thread *t)
{
	return t->trap_high - SESSION_DOWN;
}

/* A trap goes back to RSP @sp in ring 0, or ring 3: is one under way there? */
static inline void set_trap_state(struct dune_thread *t, bool user, unsigned long sp)
{
	bool inside = t->trap_top != t->trap_high || (!user && sp >= t->trap_low && sp <= t->trap_high);

	bool session = (user && !__dune_process.ring3) || t->session;

	t->tss.ist[0] = inside ? ist_nested(t) : session ? ist_session(t) : t->trap_high;
}

/* ring3.c; @controls: control messages of sendmsg(), which nobody changes: is libdune's descriptor among them? */
bool __dune_sends_ours(const char *controls, uint64_t size);
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

/* What SWAPGS loads.  Without a session 0: any other base costs the kernel WRMSRs round each run. */
static inline unsigned long session_gs(struct ring3_session *s)
{
	return s ? (unsigned long)s + offsetof(struct dune_tf, err) : 0;
}

/* desc.c */
void __dune_lstar_choose(unsigned int way_out);
void __dune_fill_idt(void);
void __dune_fill_gate(unsigned int vector);
void __dune_fill_tss(struct dune_thread *t);
void __dune_fill_gdt(struct dune_thread *t);

#pragma GCC visibility pop

#endif /* LIBDUNE_GUEST_H */
