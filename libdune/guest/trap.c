// SPDX-License-Identifier: MIT
/*
 * Exceptions and interrupts in the guest, on the trap stack with interrupts off.  GR0.
 *
 * A page fault for a granule that is not mapped yet is libdune's own business; all else goes
 * to the program's handler, or becomes the signal that it is outside Dune mode.
 */
#include "guest/guest.h"

static const struct handler *registered[256];
static const struct handler *registered_pgflt;

/* Where entry.S goes for each exception: to __dune_trap(), or to a handler with nothing, or little, in between. */
const struct handler *__dune_trap_table[NR_EXCEPTIONS];
static struct handler any[NR_EXCEPTIONS];	/* the former */

/* What the program has for @vector, or NULL. */
static const struct handler *handler_of(unsigned int vector)
{
	const struct handler *h = vector == T_PGFLT ? __atomic_load_n(&registered_pgflt, __ATOMIC_ACQUIRE) : NULL;

	return h ? h : __atomic_load_n(&registered[vector], __ATOMIC_ACQUIRE);
}

bool __dune_handles(unsigned int vector)
{
	return handler_of(vector);
}

/* Those whose frame __dune_trap() must look at first. */
static bool looked_at(unsigned int vector)
{
	return vector == T_DBLFLT || vector == T_SEGNP || vector == T_STACK || vector == T_GPFLT;
}

/* In precise mode also faults on what is present may be libdune's own; others than page faults have no code for it. */
static bool goes_straight(unsigned int vector, const struct handler *h)
{
	if (!h || !(h->bare || __dune_process.xsave_mask))
		return false;
	return vector == T_PGFLT ? h->pgflt && !__dune_process.precise : !looked_at(vector);
}

/* Until what is registered is what was looked at: another thread may register one too. */
static void set_entry(unsigned int vector)
{
	const struct handler *h;

	do {
		h = handler_of(vector);
		__atomic_store_n(&__dune_trap_table[vector], goes_straight(vector, h) ? h : &any[vector],
				 __ATOMIC_SEQ_CST);
	} while (handler_of(vector) != h);
}

void __dune_trap_entries_choose(void)
{
	for (unsigned int vector = 0; vector < NR_EXCEPTIONS; vector++) {
		any[vector] = (struct handler){ .code = __dune_trap_any, .vector = vector };
		set_entry(vector);
	}
}

/* What @h is to the program; NULL: nothing. */
static void describe(const struct handler *h, struct dune_handler *to)
{
	*to = (struct dune_handler){ 0 };
	if (!h)
		return;
	to->intr = (void (*)(struct dune_tf *, void *))h->cb;
	to->arg = h->arg;
	to->bare = h->bare;
}

/* Put @cb into @place, NULL: nothing; @old may be NULL. */
static int register_one(const struct handler **place, unsigned int vector, const void *cb, void *arg, bool bare,
			bool pgflt, struct dune_handler *old)
{
	const struct handler *h = NULL;

	if (cb) {
		const void *code = pgflt ? bare ? __dune_bare_pgflt : __dune_full_pgflt : bare ? cb : __dune_full_trap;

		h = __dune_handler_make(&(struct handler){ code, arg, cb, vector, bare, pgflt });
		if (!h)
			return -ENOMEM;
	}
	describe(__atomic_exchange_n(place, h, __ATOMIC_SEQ_CST), old ? old : &(struct dune_handler){ 0 });
	if (vector < NR_EXCEPTIONS)
		set_entry(vector);
	else if (h && __dune_process.ready)
		__dune_fill_gate(vector);
	return 0;
}

static int register_intr(int vec, const void *cb, void *arg, bool bare, struct dune_handler *old)
{
	if (vec < 0 || vec > 255 || (bare && vec >= NR_EXCEPTIONS))
		return -EINVAL;
	return register_one(&registered[vec], vec, cb, arg, bare, false, old);
}

static int register_pgflt(const void *cb, void *arg, bool bare, struct dune_handler *old)
{
	return register_one(&registered_pgflt, T_PGFLT, cb, arg, bare, true, old);
}

PUBLIC int dune_set_intr_handler(int vec, const struct dune_handler *to, struct dune_handler *old)
{
	if (to)
		return register_intr(vec, to->intr, to->arg, to->bare, old);
	if (vec < 0 || vec > 255 || !old)
		return -EINVAL;
	describe(__atomic_load_n(&registered[vec], __ATOMIC_ACQUIRE), old);
	return 0;
}

PUBLIC int dune_set_pgflt_handler(const struct dune_handler *to, struct dune_handler *old)
{
	if (to)
		return register_pgflt(to->pgflt, to->arg, to->bare, old);
	if (!old)
		return -EINVAL;
	describe(__atomic_load_n(&registered_pgflt, __ATOMIC_ACQUIRE), old);
	return 0;
}

/* Of one argument fewer: what comes in its place in RSI or RCX they do not look at. */
PUBLIC int dune_register_intr_handler(int vec, dune_intr_cb cb)
{
	return register_intr(vec, cb, NULL, false, NULL);
}

PUBLIC int dune_register_bare_intr_handler(int vec, dune_intr_cb cb)
{
	return register_intr(vec, cb, NULL, true, NULL);
}

PUBLIC int dune_register_pgflt_handler(dune_pgflt_cb cb)
{
	return register_pgflt(cb, NULL, false, NULL);
}

PUBLIC int dune_register_bare_pgflt_handler(dune_pgflt_cb cb)
{
	return register_pgflt(cb, NULL, true, NULL);
}

/* ---- handlers of the program, which may use vector registers ---- */

#define FXSAVE_SIZE	512
#define XSAVE_HEADER_SIZE	64

static void save_fx(void (*call)(void *), void *arg)
{
	char area[FXSAVE_SIZE] __attribute__((aligned(16)));

	__asm__ volatile("fxsave64 %0" : "=m"(area));
	call(arg);
	__asm__ volatile("fxrstor64 %0" : : "m"(area));
}

/* Call @call(@arg) with the vector registers saved round it. */
void __dune_call_saving(void (*call)(void *), void *arg)
{
	uint32_t low = __dune_process.xsave_mask, high = __dune_process.xsave_mask >> 32;
	char *area;

	if (!low) {
		save_fx(call, arg);
		return;
	}
	area = __builtin_alloca_with_align(__dune_process.xsave_size, 64 * 8);
	/* XSAVE writes the first word of its header; XRSTOR wants the others 0. */
	for (unsigned int i = FXSAVE_SIZE; i < FXSAVE_SIZE + XSAVE_HEADER_SIZE; i += 8)
		*(volatile uint64_t *)(area + i) = 0;
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
	call(arg);
	__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
}

struct trap {
	struct dune_handler handler;
	bool pgflt;
	struct dune_tf *tf;
	unsigned long cr2;
};

static void call(void *arg)
{
	const struct trap *trap = arg;

	if (trap->pgflt)
		trap->handler.pgflt(trap->cr2, trap->tf->err, trap->tf, trap->handler.arg);
	else
		trap->handler.intr(trap->tf, trap->handler.arg);
}

static void call_handler(struct dune_thread *t, const struct handler *h, struct dune_tf *tf, unsigned long cr2)
{
	struct trap trap = { .pgflt = h->pgflt, .tf = tf, .cr2 = cr2 };
	bool ring3_bases = t->ring3_bases, from_user = tf->cs & 3;

	describe(h, &trap.handler);
	if (h->bare) {
		call(&trap);
		return;
	}
	__dune_bases_to_program(t);
	__dune_call_saving(call, &trap);
	/* Ring 3 goes on, or what runs in ring 0 with its bases: a bare handler. */
	if (tf->cs & 3 ? t->session != NULL : ring3_bases && !from_user)
		__dune_bases_to_ring3(t);
}

/* ---- page faults ---- */

static uint32_t access_of(uint32_t err)
{
	return err & PF_WRITE ? ACCESS_WRITE : err & PF_FETCH ? ACCESS_EXEC : ACCESS_READ;
}

/*
 * Map the granule of @va.  Where nothing is mapped, let the kernel see the access: it may grow a
 * stack.  Returns 0 to try again, or what the kernel refuses it with (refusal()).
 */
static unsigned int map_granule(const struct dune_tf *tf, unsigned long va)
{
	const unsigned int protection = refusal(SIGSEGV, SEGV_ACCERR);
	long ret;

	if (tf->err & PF_PRESENT) {
		ret = __dune_precise_refresh(va, tf->err);
		if (ret == -EFAULT && !(tf->err & PF_FETCH))
			return __dune_engine_access(va, access_of(tf->err));
		return ret ? protection : 0;
	}
	if (!user_address(va))
		return refusal(SIGSEGV, SEGV_MAPERR);
	ret = __dune_granule_map(va);
	if (!ret)
		return 0;
	if (ret == -EPERM)
		return protection;
	/* a hole of the program's; or the last page of the lower half, which Linux gives to nobody */
	if (ret == -EINVAL)
		return refusal(SIGSEGV, SEGV_MAPERR);
	if (ret != -EFAULT)
		__dune_fatal(SIGBUS, "no guest-physical memory for the granule of %#lx: %s (error %ld)", va,
			     __dune_error_name(-ret), -ret);
	return __dune_engine_access(va, access_of(tf->err));
}

/* ---- exceptions that become signals ---- */

enum addr_of { ADDR_NONE, ADDR_RIP, ADDR_CR2 };

struct signal_of {
	const char *name;
	uint8_t signo;
	uint8_t addr;		/* enum addr_of */
	int16_t code;
};

/* What the kernel's own handlers do. */
static const struct signal_of signals[32] = {
	[T_DIVIDE]	= { "divide error", SIGFPE, ADDR_RIP, FPE_INTDIV },
	[T_DEBUG]	= { "debug exception", SIGTRAP, ADDR_RIP, TRAP_TRACE },
	[T_BRKPT]	= { "breakpoint", SIGTRAP, ADDR_NONE, SI_KERNEL },
	[T_OFLOW]	= { "overflow", SIGSEGV, ADDR_NONE, SI_KERNEL },
	[T_BOUND]	= { "bound range exceeded", SIGSEGV, ADDR_NONE, SI_KERNEL },
	[T_ILLOP]	= { "invalid opcode", SIGILL, ADDR_RIP, ILL_ILLOPN },
	[T_DEVICE]	= { "device not available", SIGSEGV, ADDR_NONE, SI_KERNEL },
	[T_DBLFLT]	= { "double fault", SIGSEGV, ADDR_NONE, SI_KERNEL },
	[T_TSS]		= { "invalid TSS", SIGSEGV, ADDR_NONE, SI_KERNEL },
	[T_SEGNP]	= { "segment not present", SIGBUS, ADDR_NONE, SI_KERNEL },
	[T_STACK]	= { "stack-segment fault", SIGBUS, ADDR_NONE, SI_KERNEL },
	[T_GPFLT]	= { "general protection", SIGSEGV, ADDR_NONE, SI_KERNEL },
	[T_PGFLT]	= { "page fault", SIGSEGV, ADDR_CR2, SEGV_ACCERR },
	[T_FPERR]	= { "x87 floating-point error", SIGFPE, ADDR_RIP, 0 },
	[T_ALIGN]	= { "alignment check", SIGBUS, ADDR_NONE, BUS_ADRALN },
	[T_SIMDERR]	= { "SIMD floating-point exception", SIGFPE, ADDR_RIP, 0 },
};

const char *__dune_exception_name(unsigned int vector)
{
	return vector < ARRAY_SIZE(signals) && signals[vector].name ? signals[vector].name : "interrupt";
}

/* Anything else is INT n, a general protection fault outside Dune mode. */
static const struct signal_of signal_of_others = { NULL, SIGSEGV, ADDR_NONE, SI_KERNEL };

#define INT_N_LENGTH	2
#define SYSRET_LENGTH	3

/* Exceptions that are raised and not masked; the flags lie alike in x87 and SSE. */
static int fpe_code(unsigned int vector)
{
	uint16_t status, control;
	uint32_t mxcsr, raised;

	if (vector == T_FPERR) {
		__asm__ volatile("fnstsw %0" : "=m"(status));
		__asm__ volatile("fnstcw %0" : "=m"(control));
		raised = status & ~control;
	} else {
		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
		raised = mxcsr & ~(mxcsr >> 7);
	}
	if (raised & 0x01)
		return FPE_FLTINV;
	if (raised & 0x04)
		return FPE_FLTDIV;
	if (raised & 0x08)
		return FPE_FLTOVF;
	if (raised & 0x12)
		return FPE_FLTUND;
	return raised & 0x20 ? FPE_FLTRES : 0;
}

#define STATUS_FAILED	125	/* as dune-run's own (launch/launch.h) */

/*
 * libdune's own code in ring 0 has met an exception, below a program in ring 3: that is a defect of libdune, and no
 * business of the program's handlers.
 */
static void __attribute__((noreturn)) die_of_own_fault(const struct dune_tf *tf, unsigned int vector, unsigned long cr2)
{
	__dune_message("a defect of libdune: exception %u in ring 0 at %#lx, error code %#x, address %#lx", vector,
		       tf->rip, tf->err, cr2);
	for (;;)
		call_anywhere(__NR_exit_group, STATUS_FAILED, 0, 0);
}

/* @refused: what map_granule() said of a page fault. */
static void __attribute__((noreturn)) become_signal(struct dune_tf *tf, unsigned int vector, unsigned long cr2,
						    unsigned int refused)
{
	const struct signal_of *s = vector < 32 && signals[vector].name ? &signals[vector] : &signal_of_others;
	unsigned long addr = s->addr == ADDR_RIP ? tf->rip : s->addr == ADDR_CR2 ? cr2 : 0;
	int code = s->code ? s->code : fpe_code(vector);
	struct raise raise;

	if (__dune_process.ring3 && !(tf->cs & 3))
		die_of_own_fault(tf, vector, cr2);
	if (s == &signal_of_others)
		tf->rip -= INT_N_LENGTH;
	raise = (struct raise){ s->signo, code, addr, vector, tf, false };
	if (refused) {
		raise.signo = refused >> 8;
		raise.code = refused & 0xff;
	}
	for (;;)
		__dune_process.gate(PRIVATE_RAISE, (unsigned long)&raise, 0, 0);
}

/* In an error code: the selector is a vector (SDM, "Error Code").  INT n without a gate is #GP on Linux. */
#define ERROR_IDT	2U

#define IRETQ		0xcf48

/* libdune's IRETQ has met a frame that a bare handler, or a broken one, has left. */
static bool at_iret(const struct dune_tf *tf)
{
	return !(tf->cs & 3) && tf->rip >= (uint64_t)__dune_trap_stubs && tf->rip < (uint64_t)__dune_trap_stubs_end &&
	       *(const uint16_t *)tf->rip == IRETQ;
}

/* Intel's SYSRET faults in ring 0; it is ring 3 that was to go where there is nothing. */
static void blame_sysret_target(struct dune_tf *tf)
{
	if (tf->cs & 3 || tf->rip != (uint64_t)__dune_sysret)
		return;
	tf->rip = tf->rcx;
	tf->rflags = tf->r11;
	__dune_ring3_flags(tf);
}

/* A program's call with IOPL: __dune_ring3_entry_fault(). */
static bool is_call_with_iopl(struct dune_tf *tf)
{
	if (tf->cs & 3 || tf->rip != (uint64_t)__dune_ring3_entry)
		return false;
	__asm__ volatile("swapgs" : : : "memory");
	tf->r11 &= ~(uint64_t)RFLAGS_IOPL;
	tf->rip = __dune_process.lstar;
	return true;
}

/* The program in ring 3 makes a system call with TF set (entry.S). */
static bool is_stepped_call(const struct dune_tf *tf)
{
	return __dune_process.ring3 && !(tf->cs & 3) && tf->rip == __dune_process.lstar_return + SYSRET_LENGTH;
}

/* libdune had the lock of the page tables, and can neither go on nor let a handler of the program's use them. */
static void die_with_lock(struct dune_tf *tf, unsigned long cr2)
{
	struct raise raise = { SIGSEGV, SEGV_MAPERR, cr2, T_PGFLT, tf, true };

	mutex_unlock();
	__dune_message("page fault at %#lx while libdune changed a page table: a table is damaged (an entry that was "
		       "written by hand is not of the size that was there?), or libdune's memory has lost permissions",
		       cr2);
	__dune_process.gate(PRIVATE_RAISE, (unsigned long)&raise, 0, 0);
}

static void handle(struct dune_thread *t, struct dune_tf *tf, unsigned int vector, unsigned long cr2)
{
	const struct handler *h;
	unsigned int refused = 0;

	if (vector == T_ILLOP && is_stepped_call(tf))
		__dune_process.gate(PRIVATE_STEPPED, (unsigned long)tf, 0, 0);

	if (vector == T_PGFLT) {
		if (!(tf->cs & 3 || tf->rflags & RFLAGS_IF) && __dune_memory_lock_is_mine())
			die_with_lock(tf, cr2);
		refused = map_granule(tf, cr2);
		if (!refused || is_call_with_iopl(tf))
			return;
	}
	if (vector == T_SEGNP && tf->err & ERROR_IDT)
		vector = T_GPFLT;
	if (vector == T_GPFLT)
		blame_sysret_target(tf);
	h = handler_of(vector);
	if (h && vector != T_DBLFLT && !at_iret(tf))
		call_handler(t, h, tf, cr2);
	else
		become_signal(tf, vector, cr2, refused);
}

static struct dune_thread *thread_of_own_stack(void)
{
	return area_thread((unsigned long)__builtin_frame_address(0) & -(unsigned long)AREA_SIZE);
}

/*
 * A RIP that is not canonical would make IRETQ fault: it is the fault of the code that was to go on there, as in the
 * kernel.
 */
void __dune_trap_wild(struct dune_tf *tf)
{
	while (!canonical(tf->rip)) {
		tf->err = 0;
		handle(thread_of_own_stack(), tf, T_GPFLT, 0);
	}
}

static void die_too_deep(struct dune_tf *tf, unsigned int vector)
{
	struct raise raise = { SIGSEGV, SI_KERNEL, 0, vector, tf, true };

	__dune_message("no stack left for an exception in a handler (vector %u at %#lx), of %lu KiB: "
		       "dune_set_handler_stack() can make it larger", vector, tf->rip,
		       __dune_process.trap_size / 1024);
	__dune_process.gate(PRIVATE_RAISE, (unsigned long)&raise, 0, 0);
}

/* Called by entry.S; what @tf holds afterwards is loaded. */
void __dune_trap(struct dune_tf *tf, unsigned int vector)
{
	unsigned long cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	if (vector & TRAP_TOO_DEEP)
		die_too_deep(tf, vector & 0xff);
	handle(thread_of_own_stack(), tf, vector, cr2);
	if (!canonical(tf->rip))
		__dune_trap_wild(tf);
}

/* The end of a trap from ring 3, as far as a bare handler has not seen to it. */
void __dune_to_ring3(struct dune_tf *tf)
{
	struct dune_thread *t = thread_of_own_stack();

	if (!canonical(tf->rip)) {
		t->tss.ist[0] = ist_nested(t);
		tf->err = 0;
		__dune_trap(tf, T_GPFLT);
	}
	__dune_trap_end(tf);
}

void __dune_trap_end(struct dune_tf *tf)
{
	struct dune_thread *t = thread_of_own_stack();

	if (tf->cs & 3 && !__dune_process.ring3)
		__dune_ring3_flags(tf);
	else if (!(tf->cs & 3))		/* it may have come from ring 3 */
		tf->rflags &= ~(uint64_t)RFLAGS_IOPL;
	set_trap_state(t, tf->cs & 3, tf->rsp);
}
