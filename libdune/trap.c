// SPDX-License-Identifier: MIT
/*
 * Exceptions and interrupts in the guest, on the trap stack with interrupts off.  GR0.
 *
 * A page fault for a granule that is not mapped yet is libdune's own business; all else goes
 * to the program's handler, or becomes the signal that it is outside Dune mode.
 */
#include "internal.h"
#include "pgtable.h"

static dune_intr_cb handlers[256];
static dune_pgflt_cb pgflt_handler;

bool __dune_handles(unsigned int vector)
{
	return __atomic_load_n(&handlers[vector], __ATOMIC_ACQUIRE) ||
	       (vector == T_PGFLT && __atomic_load_n(&pgflt_handler, __ATOMIC_ACQUIRE));
}

PUBLIC int dune_register_intr_handler(int vec, dune_intr_cb cb)
{
	if (vec < 0 || vec > 255)
		return -EINVAL;
	__atomic_store_n(&handlers[vec], cb, __ATOMIC_RELEASE);
	if (cb && vec >= NR_EXCEPTIONS && __dune_vm.pid)
		__dune_fill_gate(vec);
	return 0;
}

PUBLIC void dune_register_pgflt_handler(dune_pgflt_cb cb)
{
	__atomic_store_n(&pgflt_handler, cb, __ATOMIC_RELEASE);
}

PUBLIC void dune_passthrough_syscall(struct dune_tf *tf)
{
	tf->rax = dune_syscall(tf->rax, ARG0(tf), ARG1(tf), ARG2(tf), ARG3(tf), ARG4(tf), ARG5(tf));
}

/* ---- handlers of the program, which may use vector registers ---- */

#define FXSAVE_SIZE	512
#define XSAVE_HEADER	64

static void call(unsigned int vector, struct dune_tf *tf, unsigned long cr2)
{
	dune_intr_cb cb = __atomic_load_n(&handlers[vector], __ATOMIC_ACQUIRE);
	dune_pgflt_cb pgflt = __atomic_load_n(&pgflt_handler, __ATOMIC_ACQUIRE);

	if (vector == T_PGFLT && pgflt)
		pgflt(cr2, tf->err, tf);
	else if (cb)		/* not taken away meanwhile */
		cb(tf);
}

static void call_saving_fx(unsigned int vector, struct dune_tf *tf, unsigned long cr2)
{
	char area[FXSAVE_SIZE] __attribute__((aligned(16)));

	__asm__ volatile("fxsave64 %0" : "=m"(area));
	call(vector, tf, cr2);
	__asm__ volatile("fxrstor64 %0" : : "m"(area));
}

static void call_handler(unsigned int vector, struct dune_tf *tf, unsigned long cr2)
{
	uint32_t low = __dune_vm.xsave_mask, high = __dune_vm.xsave_mask >> 32;
	char *area;

	if (!low) {
		call_saving_fx(vector, tf, cr2);
		return;
	}
	area = __builtin_alloca_with_align(__dune_vm.xsave_size, 64 * 8);
	memset(area + FXSAVE_SIZE, 0, XSAVE_HEADER);	/* XRSTOR wants its reserved bytes 0 */
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
	call(vector, tf, cr2);
	__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(low), "d"(high) : "memory");
}

/* ---- page faults ---- */

static uint32_t access_of(uint32_t err)
{
	return err & PF_WRITE ? DUNE_FAULT_WRITE : err & PF_FETCH ? DUNE_FAULT_EXEC : DUNE_FAULT_READ;
}

/*
 * Map the granule of @va.  Where nothing is mapped, let the kernel see the access: it may grow a
 * stack.  Returns 0 to try again, or what the kernel refuses it with (refusal()).
 */
static unsigned int map_granule(const struct dune_tf *tf, unsigned long va)
{
	const unsigned int protection = refusal(SIGSEGV, SEGV_ACCERR);
	long ret;

	if (tf->err & PF_PRESENT)
		return protection;
	if (!user_address(va))
		return refusal(SIGSEGV, SEGV_MAPERR);
	ret = __dune_granule_map(va);
	if (!ret)
		return 0;
	if (ret == -EINVAL)	/* the last page of the lower half, which Linux gives to nobody */
		return refusal(SIGSEGV, SEGV_MAPERR);
	if (ret != -EFAULT)
		__dune_fatal(SIGBUS, "no guest-physical memory for the granule of %#lx: error %ld", va, -ret);
	return __dune_vm.hypercall(DUNE_HC_FAULT, va, access_of(tf->err), 0);
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

/* Anything else is INT n, a general protection fault outside Dune mode. */
static const struct signal_of signal_of_others = { "interrupt", SIGSEGV, ADDR_NONE, SI_KERNEL };

#define INT_N_LENGTH	2

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

/* @refused: what map_granule() said of a page fault. */
static void __attribute__((noreturn)) become_signal(struct dune_tf *tf, unsigned int vector, unsigned long cr2,
						    unsigned int refused)
{
	const struct signal_of *s = vector < 32 && signals[vector].name ? &signals[vector] : &signal_of_others;
	unsigned long addr = s->addr == ADDR_RIP ? tf->rip : s->addr == ADDR_CR2 ? cr2 : 0;
	int code = s->code ? s->code : fpe_code(vector);
	struct raise raise;

	if (s == &signal_of_others)
		tf->rip -= INT_N_LENGTH;
	raise = (struct raise){ s->signo, code, addr, vector, s->name, tf };
	if (refused) {
		raise.signo = refused >> 8;
		raise.code = refused & 0xff;
	}
	for (;;)
		__dune_vm.hypercall(PRIVATE_RAISE, (unsigned long)&raise, 0, 0);
}

/*
 * An exception of IRETQ itself, on the way back from a trap, is one of the code it was to return
 * to, as in the kernel: a handler may have put anything into RIP.
 */
static void blame_iret_target(struct dune_tf *tf)
{
	const uint64_t *frame = (const uint64_t *)tf->rsp;

	if (tf->rip != (uint64_t)__dune_iret)
		return;
	tf->rip = frame[0];
	tf->cs = frame[1];
	tf->rflags = frame[2];
	tf->rsp = frame[3];
	tf->ss = frame[4];
}

/* In an error code: the selector is a vector (SDM, "Error Code").  INT n without a gate is #GP on Linux. */
#define ERROR_IDT	2U

/* Called by entry.S for each vector; what @tf holds afterwards is loaded. */
void __dune_trap(struct dune_tf *tf, unsigned int vector, unsigned long cr2, struct dune_thread *t)
{
	unsigned int refused = 0;

	(void)t;
	if (vector & TRAP_TOO_DEEP)
		__dune_fatal(SIGSEGV, "no stack left for an exception in a handler (vector %u at %#lx)",
			     vector & 0xff, tf->rip);
	if (vector == T_PGFLT) {
		refused = map_granule(tf, cr2);
		if (!refused)
			return;
	}
	if (vector == T_SEGNP && tf->err & ERROR_IDT)
		vector = T_GPFLT;
	if (vector == T_GPFLT || vector == T_SEGNP || vector == T_STACK)
		blame_iret_target(tf);
	if (__dune_handles(vector) && vector != T_DBLFLT)
		call_handler(vector, tf, cr2);
	else
		become_signal(tf, vector, cr2, refused);
}
