/* SPDX-License-Identifier: MIT */
/*
 * HR3: the loop that runs the guest, vCPUs, and the exits.
 */
#ifndef LIBDUNE_HOST_H
#define LIBDUNE_HOST_H

#include "guest/guest.h"

#pragma GCC visibility push(hidden)

/* ---- run.S ---- */

long __dune_enter_guest(struct dune_thread *t);
void __dune_resume_host(const struct guest_regs *regs) __attribute__((noreturn));
void __dune_exit_thread(long status, uint32_t *slot) __attribute__((noreturn));
void __dune_thread_start(void);
long __dune_vfork(unsigned long stack);
void __dune_touch_read(unsigned long hva);
void __dune_touch_write(unsigned long hva);
void __dune_touch_end(void);
void __dune_run_anew(struct dune_thread *t) __attribute__((noreturn));
void __dune_run_masked(struct dune_thread *t, uint64_t mask) __attribute__((noreturn));
void __dune_host_exit(struct dune_thread *t, long raw);
const struct guest_regs *__dune_handle_call(struct dune_thread *t);
extern const char __dune_run_loop[], __dune_run_return[];
uint8_t __dune_peek(const void *byte);

/* ---- vcpu.c ---- */

struct dune_thread *__dune_thread_alloc(void);
/* Make a vCPU for @t: the caller, or a thread that the caller is about to make.  0 or -errno. */
int __dune_vcpu_create(struct dune_thread *t, bool for_child);
void __dune_vcpu_destroy(struct dune_thread *t);
void __dune_thread_bury(struct dune_thread *t);

/* signals/deliver.c */
void __dune_call_leave_stub(struct dune_thread *t);
void __dune_load_trap_frame(struct dune_thread *t, const struct dune_tf *tf);

/* ---- exits.c ---- */

bool __dune_fault_to_guest(struct dune_thread *t, int signo, int code);
/* The error code of a page fault for what the guest has come out for. */
uint32_t __dune_fault_error(const struct dune_thread *t);

/* ---- report.c ---- */

#define ALREADY_SAID	""
void __dune_report_death(const struct dune_thread *t, const siginfo_t *info, const char *why);

/*
 * Before the guest of a program in ring 3 runs again, whoever has changed its registers: ring 0 is where libdune's code
 * is, nowhere else.
 */
static inline void assert_ring(const struct dune_thread *t)
{
	unsigned long image = __dune_process.region + REGION_IMAGE;

	if (__dune_process.ring3 && !__dune_engine_cpl(&t->vcpu) &&
	    t->vcpu.regs->rip - image >= __dune_process.image_size)
		__dune_fatal(SIGABRT, "a program in ring 3 would go on in ring 0 at %#llx", t->vcpu.regs->rip);
}

/* ---- emulate.c ---- */

/* Has ring 3 met something that the kernel emulates outside, and libdune has? */
bool __dune_emulate(struct dune_thread *t, const struct raise *raise);

/* ---- debug.c ---- */

/* HR3: is @number, the value of DUNE_DEBUG_VARIABLE, that of this process? */
bool __dune_debug_asked(const char *number);
/* HR3: take that variable out of @envp; returns whether a debugger has started this process. */
bool __dune_debug_take(char **envp);
/* From now on exceptions stop this process for its debugger.  @t: any thread in Dune mode. */
void __dune_debug_begin(const struct dune_thread *t);
/* Has __dune_debug_begin() been called? */
bool __dune_debugged(void);
bool __dune_debug_stop(struct dune_thread *t, const siginfo_t *info);

#pragma GCC visibility pop

#endif /* LIBDUNE_HOST_H */
