// SPDX-License-Identifier: MIT
/*
 * Exceptions in ring 3: they come to the handlers with all that belongs to them, or kill the process with the right
 * signal, and what ring 3 may not do it cannot do.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ring3.h"

static struct ring3 r;
static struct dune_tf last;
static int vector_of_last;
static uintptr_t address;
static bool qemu;

#define HANDLER(n)						\
	static void on_##n(struct dune_tf *tf)			\
	{							\
		last = *tf;					\
		vector_of_last = n;				\
		dune_ret_from_user(1000 + n);			\
	}
HANDLER(0) HANDLER(1) HANDLER(3) HANDLER(6) HANDLER(12) HANDLER(13) HANDLER(16) HANDLER(17) HANDLER(19)

static void on_page_fault(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	last = *tf;
	address = addr;
	vector_of_last = 14;
	CHECK_EQUAL(error, tf->err, "the error code");
	dune_ret_from_user(1014);
}

RING3_CODE(divide, "xor %ecx, %ecx; div %ecx");
RING3_CODE(step, "pushfq; orl $0x100, (%rsp); popfq; nop; nop; nop");
RING3_CODE(int3, "int3");
RING3_CODE(ud2, "ud2");
RING3_CODE(cli, "cli");
RING3_CODE(in, "in $0x80, %al");
RING3_CODE(hlt, "hlt");
RING3_CODE(cr3, "mov %cr3, %rax");
RING3_CODE(swap, "swapgs");
RING3_CODE(vmcall, "mov $0x44554e4500000001, %rax; vmcall");
RING3_CODE(vmmcall, "mov $0x44554e4500000001, %rax; vmmcall");
RING3_CODE(int_n, "int $0x21");
RING3_CODE(wild, "mov $0x800000000000, %rax; mov (%rax), %eax");
RING3_CODE(wild_stack, "mov $0x800000000010, %rsp; push %rax");
RING3_CODE(wild_jump, "mov $0x800000000000, %rax; jmp *%rax");
RING3_CODE(load, "mov (%rdi), %rax; ud2");
RING3_CODE(store, "mov %rax, (%rdi); ud2");
RING3_CODE(jump, "jmp *%rdi");
RING3_CODE(x87, "fninit; pushq $0x37b; fldcw (%rsp); fldz; fld1; fdivp; fwait");
RING3_CODE(sse, "pushq $0x1d80; ldmxcsr (%rsp); xorps %xmm0, %xmm0; mov $0x3f800000, %eax; movd %eax, %xmm1; divss "
		"%xmm0, %xmm1");
RING3_CODE(align, "pushfq; orl $0x40000, (%rsp); popfq; mov 1(%rsp), %eax");
RING3_CODE(call, "syscall; ud2");

static void run(const char *code, const char *end, const char *name, int vector)
{
	struct dune_tf tf = ring3_frame(&r, code, end);
	int ret;

	vector_of_last = -1;
	ret = dune_jump_to_user(&tf);
	CHECK(ret == 1000 + vector, "%s: vector %d, result %d, expected %d", name, vector_of_last, ret, vector);
	CHECK_EQUAL(last.cs & 3, 3, name);
}
#define RUN(code, vector) run(code, code##_end, #code, vector)

static void each_vector(void)
{
	RUN(divide, 0);
	CHECK_EQUAL(last.rip, (long)r.code + 2, "rip of div");
	RUN(step, 1);
	RUN(int3, 3);
	CHECK_EQUAL(last.rip, (long)r.code + 1, "rip of int3");
	RUN(ud2, 6);
	CHECK_EQUAL(last.rip, (long)r.code, "rip of ud2");
	RUN(cli, 13);
	RUN(in, 13);
	RUN(hlt, 13);
	RUN(cr3, 13);
	RUN(swap, 13);
	RUN(int_n, 13);
	RUN(wild, 13);
	RUN(wild_stack, qemu ? 13 : 12);
	RUN(wild_jump, 13);
	RUN(x87, 16);
	CHECK_EQUAL(last.rip, (long)r.code + (x87_end - x87) - 1, "rip of fwait");
	__asm__ volatile("fninit");
	if (qemu) {		/* it has no #AC and no #XM */
		RUN(vmmcall, 6);
		return;
	}
	RUN(vmcall, 6);
	RUN(sse, 19);
	__asm__ volatile("push $0x1f80; ldmxcsr (%%rsp); pop %%rax" : : : "rax");
	RUN(align, 17);
	CHECK_EQUAL(last.err, 0, "the error code of #AC");
	CHECK_EQUAL(last.rip, (long)r.code + (align_end - align) - 4, "rip of what was not aligned");
}

static void access_to(const void *where, const char *code, const char *end, unsigned int error, const char *what)
{
	struct dune_tf tf = ring3_frame(&r, code, end);

	tf.rdi = (uintptr_t)where;
	vector_of_last = -1;
	CHECK_EQUAL(dune_jump_to_user(&tf), 1014, what);
	CHECK_EQUAL(address, (long)where, what);
	CHECK_EQUAL(last.err & 0x16, error, what);
	CHECK_EQUAL(last.cs & 3, 3, what);
}

static int a_global;

static void page_faults(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idt;
	char *hidden = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dune_tf tf;

	*hidden = 1;
	__asm__ volatile("sidt %0" : "=m"(idt));
	access_to(hidden, load, load_end, 4, "a load from memory of ring 0");
	access_to(hidden, store, store_end, 6, "a store to memory of ring 0");
	access_to(&a_global, load, load_end, 4, "a load from data of ring 0");
	access_to((void *)ring3_make, jump, jump_end, 0x14, "a jump into ring 0");
	access_to((void *)idt.base, load, load_end, 4, "a load from libdune's memory");
	access_to((void *)idt.base, store, store_end, 6, "a store to libdune's memory");
	access_to((void *)8, load, load_end, 4, "a null pointer");
	/* What it may. */
	tf = RING3_FRAME(&r, store);
	tf.rdi = (uintptr_t)r.stack + 8;
	tf.rax = 0x1234;
	CHECK_EQUAL(dune_jump_to_user(&tf), 1006, "a store to its own memory");
	CHECK_EQUAL(*(long *)(r.stack + 8), 0x1234, "what it stored");
}

/* ---- handlers that go on ---- */

static int steps;

static void step_on(struct dune_tf *tf)
{
	steps++;
	if (tf->rip >= (uintptr_t)r.code + 16)
		dune_ret_from_user(55);
}

RING3_CODE(nops, ".rept 40; nop; .endr");
RING3_CODE(count, "xor %eax, %eax; .rept 10; int3; .endr; ud2");

static void add_one(struct dune_tf *tf)
{
	tf->rax++;
	tf->rflags = 0;		/* as old programs do */
}

DUNE_BARE static void bare_add(struct dune_tf *tf)
{
	tf->rax += 2;
	tf->rflags = 2;
}

static long call_after;

static void on_call(struct dune_tf *tf)
{
	call_after = tf->rax;
	dune_ret_from_user(66);
}

RING3_CODE(fault_then_call, "int3; mov $39, %eax; syscall");

static void going_on(void)
{
	struct dune_tf tf = RING3_FRAME(&r, nops);

	dune_register_intr_handler(T_DEBUG, step_on);
	tf.rflags = 0x100;
	CHECK_EQUAL(dune_jump_to_user(&tf), 55, "single steps");
	CHECK_EQUAL(steps, 16, "single steps");
	dune_register_intr_handler(T_DEBUG, on_1);

	dune_register_intr_handler(T_BRKPT, add_one);
	RUN(count, 6);
	CHECK_EQUAL(last.rax, 10, "breakpoints");
	dune_register_bare_intr_handler(T_BRKPT, bare_add);
	RUN(count, 6);
	CHECK_EQUAL(last.rax, 20, "breakpoints for a bare handler");
	/* Whatever a handler does to rflags, a call of ring 3 stays one of ring 3. */
	dune_register_syscall_handler(on_call);
	tf = RING3_FRAME(&r, fault_then_call);
	CHECK_EQUAL(dune_jump_to_user(&tf), 66, "a call after rflags were spoilt");
	CHECK_EQUAL(call_after, 39, "its number");
	dune_register_intr_handler(T_BRKPT, on_3);
}

/* SYSRET and IRETQ to where there is nothing. */
static void go_wild(struct dune_tf *tf)
{
	tf->rip = 0x800000000000;
}

static void wild_returns(void)
{
	dune_register_syscall_handler(go_wild);
	RUN(call, 13);
	CHECK_EQUAL(last.rip, 0x800000000000, "rip after a wild SYSRET");
	CHECK_EQUAL(last.rsp, (long)r.stack + RING3_PAGE - 64, "rsp after a wild SYSRET");
	dune_register_intr_handler(T_BRKPT, go_wild);
	RUN(int3, 13);
	CHECK_EQUAL(last.rip, 0x800000000000, "rip after a wild IRETQ");
	dune_register_bare_intr_handler(T_BRKPT, go_wild);
	RUN(int3, 13);
	CHECK_EQUAL(last.rip, 0x800000000000, "rip after a wild IRETQ of a bare handler");
	dune_register_intr_handler(T_BRKPT, on_3);
}

/* ---- without a handler ---- */

static int death_of(const char *code, const char *end)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct dune_tf tf = ring3_frame(&r, code, end);

		dune_register_intr_handler(T_DIVIDE, NULL);
		dune_register_intr_handler(T_ILLOP, NULL);
		dune_register_intr_handler(T_BRKPT, NULL);
		dune_register_intr_handler(T_GPFLT, NULL);
		dune_register_intr_handler(T_FPERR, NULL);
		dune_register_intr_handler(T_ALIGN, NULL);
		dune_register_pgflt_handler(NULL);
		dune_jump_to_user(&tf);
		_exit(0);
	}
	CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
	return status & 0x7f;
}
#define DEATH_OF(code) death_of(code, code##_end)

static volatile int signals;
static void *volatile fault_address;
static sigjmp_buf back;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	struct dune_tf *tf = dune_signal_user_frame(context);

	(void)signo;
	CHECK(tf, "no frame");
	signals++;
	CHECK(dune_in_dune_mode(), "the handler is not in ring 0");
	fault_address = info->si_addr;
	if (signals == 1)
		tf->rip += 3;		/* the load: on to `ud2` */
	else if (signals == 2)
		siglongjmp(back, 1);
	else
		dune_ret_from_user(88);
}

static void signals_of_ring3(void)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	struct dune_tf tf = RING3_FRAME(&r, load);

	CHECK_EQUAL(DEATH_OF(divide), SIGFPE, "death by #DE");
	CHECK_EQUAL(DEATH_OF(int3), SIGTRAP, "death by #BP");
	CHECK_EQUAL(DEATH_OF(ud2), SIGILL, "death by #UD");
	CHECK_EQUAL(DEATH_OF(wild), SIGSEGV, "death by #GP");
	CHECK_EQUAL(DEATH_OF(x87), SIGFPE, "death by #MF");
	if (!qemu)
		CHECK_EQUAL(DEATH_OF(align), SIGBUS, "death by #AC");
	CHECK_EQUAL(DEATH_OF(load), SIGSEGV, "death by #PF");

	sigaction(SIGSEGV, &action, NULL);
	dune_register_pgflt_handler(NULL);
	tf.rdi = (uintptr_t)&a_global;
	CHECK_EQUAL(dune_jump_to_user(&tf), 1006, "ring 3 goes on after a signal");
	CHECK(fault_address == &a_global, "si_addr %p", fault_address);
	if (!sigsetjmp(back, 1)) {
		dune_jump_to_user(&tf);
		CHECK(false, "dune_jump_to_user() has returned");
	}
	CHECK_EQUAL(signals, 2, "signals");
	CHECK_EQUAL(dune_jump_to_user(&tf), 88, "dune_ret_from_user() in a signal handler");
	signal(SIGSEGV, SIG_DFL);
	dune_register_pgflt_handler(on_page_fault);
}

int main(void)
{
	unsigned int a, b, c, d;

	setvbuf(stdout, NULL, _IOLBF, 0);
	__cpuid(0, a, b, c, d);
	qemu = b != signature_INTEL_ebx;
	dune_set_option(DUNE_OPT_QUIET, true);
	CHECK_EQUAL(mode_enter(), 0, "dune_init_and_enter");
	dune_register_intr_handler(0, on_0);
	dune_register_intr_handler(1, on_1);
	dune_register_intr_handler(3, on_3);
	dune_register_intr_handler(6, on_6);
	dune_register_intr_handler(12, on_12);
	dune_register_intr_handler(13, on_13);
	dune_register_intr_handler(16, on_16);
	dune_register_intr_handler(17, on_17);
	dune_register_intr_handler(19, on_19);
	dune_register_pgflt_handler(on_page_fault);
	r = ring3_make();
	each_vector();
	page_faults();
	going_on();
	wild_returns();
	signals_of_ring3();
	each_vector();
	return check_result();
}
