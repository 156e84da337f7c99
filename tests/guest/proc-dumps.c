// SPDX-License-Identifier: MIT
/*
 * Faults that kill: each ends the process by the signal that it is outside Dune mode, and before that libdune says
 * why, in one line with the addresses, and shows registers, code, stack and callers.  With "outside" the test's own
 * signals are tested.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "proc.h"

#define PAGE	4096UL
#define WILD	0x123456789abcdef0UL	/* not canonical */

/* Where the fault is expected; shared with the child that meets it. */
struct expected {
	unsigned long rip, address;
};

static struct expected *expected;
static char text[1 << 16];

static char *memory(int prot)
{
	char *p = mmap(NULL, 2 * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	DIE_UNLESS(p != MAP_FAILED, "mmap");
	return p;
}

/* The instruction that faults, at 1; in a function that its caller's frame pointer leads back from. */
#define AT_FAULT(instruction, ...)										\
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; 1: " instruction					\
			 : "=m"(expected->rip) : __VA_ARGS__ : "rax", "rdx", "memory")

static void store(void *p)
{
	expected->address = (unsigned long)p;
	AT_FAULT("movb $1, (%1)", "r"(p));
}

static void load(void *p)
{
	expected->address = (unsigned long)p;
	AT_FAULT("movb (%1), %%al", "r"(p));
}

static void jump(void *p)
{
	expected->rip = expected->address = (unsigned long)p;
	((void (*)(void))p)();
}

static void after_munmap(void)
{
	char *p = memory(PROT_READ | PROT_WRITE);

	p[0] = 1;
	munmap(p, 2 * PAGE);
	store(p + 5);
}

static void read_after_munmap(void)
{
	char *p = memory(PROT_READ | PROT_WRITE);

	p[PAGE] = 1;
	munmap(p, 2 * PAGE);
	load(p + PAGE);
}

static const char constants[PAGE] __attribute__((aligned(4096))) = "never written";

static void constant(void)
{
	store((void *)&constants[3]);
}

static void null(void)
{
	store((void *)8);
}

static void no_granule(void)
{
	load((void *)0x500000000000);
}

static void upper_half(void)
{
	load((void *)0xffff800000001000);
}

static void no_access(void)
{
	load(memory(PROT_NONE));
}

static void end_of_file(void)
{
	int fd = memfd_create("file", 0);

	DIE_UNLESS(fd >= 0 && !ftruncate(fd, 10), "memfd_create");
	load((char *)mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0) + PAGE + 4);
}

static void execute_data(void)
{
	jump(memory(PROT_READ | PROT_WRITE));
}

static void execute_touched_data(void)
{
	char *p = memory(PROT_READ | PROT_WRITE);

	*p = 0xc3;
	jump(p);
}

static void execute_nothing(void)
{
	char *p = memory(PROT_READ | PROT_EXEC);

	munmap(p, 2 * PAGE);
	jump(p + 16);
}

static void execute_null(void)
{
	jump(NULL);
}

static void wild_read(void)
{
	AT_FAULT("movb (%1), %%al", "r"(WILD));
}

/* RIP is where it is when the CPU looks: at the RET itself, or behind it. */
static void wild_return(void)
{
	expected->rip = 0;
	__asm__ volatile("push %0; ret" : : "r"(WILD));
}

/* No page below the limit is left: the stack's own guard. */
static __attribute__((noinline)) unsigned long deeper(unsigned long n)
{
	volatile char frame[512];

	frame[0] = n;
	return n ? deeper(n + 1) + frame[0] : 0;
}

static void stack(void)
{
	deeper(1);
}

static void *on_thread(void *arg)
{
	deeper(1);
	return arg;
}

static void stack_of_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, on_thread, NULL);
	pthread_join(thread, NULL);
}

static void nothing(int signo)
{
	(void)signo;
}

static void frame_of_handler(void)
{
	signal(SIGILL, nothing);
	expected->address = 0;
	__asm__ volatile("mov $0x3000, %%esp; ud2" : : : "memory");
}

static void undefined(void)
{
	AT_FAULT("ud2", "r"(0));
}

static void undefined_blocked(void)
{
	sigset_t all;

	signal(SIGILL, nothing);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	undefined();
}

static void store_ignored(void)
{
	signal(SIGSEGV, SIG_IGN);
	store(NULL);
}

static void divide(void)
{
	__asm__ volatile("xor %%edx, %%edx; lea 1f(%%rip), %%rax; mov %%rax, %0; 1: div %1"
			 : "=m"(expected->rip) : "r"(0) : "rax", "rdx", "memory");
}

static void breakpoint(void)
{
	__asm__ volatile("int3");
}

static void single_step(void)
{
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; nop" : : : "memory");
}

static void halt(void)
{
	AT_FAULT("hlt", "r"(0));
}

static void floating_point(void)
{
	const uint16_t unmasked = 0x37b;

	expected->rip = 0;
	__asm__ volatile("fninit; fldcw %0; fldz; fld1; fdivp; fwait" : : "m"(unmasked));
}

/* ---- what only a program in ring 0 can do ---- */

static void refused_by_page_table(void)
{
	char *p = memory(PROT_READ | PROT_WRITE);

	p[0] = 1;
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), p, PAGE, PERM_R), 0, "dune_vm_mprotect");
	store(p);
}

static void bad_root(void)
{
	AT_FAULT("mov %1, %%cr3; nop", "r"(0x7ffffff000UL));
}

static void no_vectors(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0 };

	AT_FAULT("lidt %1; ud2", "m"(none));
}

static void on_divide(struct dune_tf *tf)
{
	(void)tf;
	undefined();
}

static void in_handler(void)
{
	dune_register_intr_handler(T_DIVIDE, on_divide);
	divide();
}

static void on_undefined(struct dune_tf *tf)
{
	(void)tf;
	undefined();
}

static void handler_without_end(void)
{
	dune_register_intr_handler(T_ILLOP, on_undefined);
	undefined();
}

static void on_pgflt(uintptr_t address, uint64_t error, struct dune_tf *tf)
{
	(void)tf;
	dune_vm_default_pgflt_handler(address, error);
}

static void default_handler(void)
{
	dune_register_pgflt_handler(on_pgflt);
	null();
}

static const struct fault {
	const char *name;
	void (*meet)(void);
	int signo;
	const char *reason;
	bool inside;		/* there is nothing like it outside */
} faults[] = {
	{ "a store after munmap()", after_munmap, SIGSEGV, "a write where nothing is mapped", false },
	{ "a load after munmap()", read_after_munmap, SIGSEGV, "a read where nothing is mapped", false },
	{ "a store to a constant", constant, SIGSEGV, "a write which is not allowed there", false },
	{ "a null pointer", null, SIGSEGV, "a write where nothing is mapped", false },
	{ "no granule", no_granule, SIGSEGV, "a read where nothing is mapped", false },
	{ "the kernel's half", upper_half, SIGSEGV, "a read where nothing is mapped", false },
	{ "PROT_NONE", no_access, SIGSEGV, "a read which is not allowed there", false },
	{ "behind the end of a file", end_of_file, SIGBUS, "a read behind the end of a file", false },
	{ "data as code", execute_data, SIGSEGV, "an execution which is not allowed there", false },
	{ "written data as code", execute_touched_data, SIGSEGV, "an execution which is not allowed there", false },
	{ "code after munmap()", execute_nothing, SIGSEGV, "an execution where nothing is mapped", false },
	{ "a call of NULL", execute_null, SIGSEGV, "an execution where nothing is mapped", false },
	{ "an address that is not canonical", wild_read, SIGSEGV, "vector 13 (general protection)", false },
	{ "a return to one", wild_return, SIGSEGV, "vector 13 (general protection)", false },
	{ "stack overflow", stack, SIGSEGV, "a write where nothing is mapped", false },
	{ "stack overflow of a thread", stack_of_thread, SIGSEGV, "a write which is not allowed there", false },
	{ "no stack for a handler", frame_of_handler, SIGSEGV,
	  "the frame of a signal handler cannot be written", false },
	{ "invalid opcode", undefined, SIGILL, "vector 6 (invalid opcode)", false },
	{ "invalid opcode, the signal blocked", undefined_blocked, SIGILL, "vector 6 (invalid opcode)", false },
	{ "a null pointer, the signal ignored", store_ignored, SIGSEGV, "a write where nothing is mapped", false },
	{ "division by zero", divide, SIGFPE, "vector 0 (divide error)", false },
	{ "a breakpoint", breakpoint, SIGTRAP, "vector 3 (breakpoint)", false },
	{ "a single step", single_step, SIGTRAP, "vector 1 (debug exception)", false },
	{ "HLT", halt, SIGSEGV, "vector 13 (general protection)", false },
	{ "a floating-point division", floating_point, SIGFPE, "vector 16 (x87 floating-point error)", false },
	{ "forbidden by the page table", refused_by_page_table, SIGSEGV, "a write which is not allowed there", true },
	{ "a bad CR3", bad_root, SIGSEGV, "page table cannot be read", true },
	{ "no interrupt descriptors", no_vectors, SIGSEGV, "triple fault", true },
	{ "a fault in a handler", in_handler, SIGILL, "vector 6 (invalid opcode)", true },
	{ "a handler that faults for ever", handler_without_end, SIGSEGV, "no stack left for an exception", true },
	{ "given to the default handler", default_handler, SIGSEGV,
	  "address 0x8: a write where nothing is mapped", true },
};

/* The status of a child that meets @f with standard error going to text. */
static int die_of(const struct fault *f, void (*before)(void))
{
	size_t size = 0;
	ssize_t got;
	int pipes[2], status;
	pid_t pid;

	DIE_UNLESS(!pipe(pipes), "pipe");
	memset(expected, 0, sizeof(*expected));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(pipes[1], 2);
		close(pipes[0]);
		close(pipes[1]);
		before();
		f->meet();
		_exit(99);
	}
	close(pipes[1]);
	while ((got = read(pipes[0], text + size, sizeof(text) - 1 - size)) > 0)
		size += got;
	text[size] = '\0';
	close(pipes[0]);
	status = proc_wait(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == f->signo, "%s: status %#x, expected signal %d", f->name,
	      status, f->signo);
	return status;
}

static void speak(void)
{
	dune_set_option(DUNE_OPT_QUIET, false);
}

static void say_nothing(void)
{
}

/* Whoever prints dies of another signal. */
static void forbid_writes(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1 /* write */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, filter };

	speak();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	DIE_UNLESS(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "PR_SET_SECCOMP");
}

static void check_dump(const struct fault *f)
{
	char *end = strchr(text, '\n'), wanted[64];

	if (!CHECK(!strncmp(text, "libdune: ", 9) && end, "%s: nothing is said: %.200s", f->name, text))
		return;
	CHECK(strstr(text, f->reason) && strstr(text, f->reason) < strstr(text, "rax "), "%s: no \"%s\" in: %.300s",
	      f->name, f->reason, text);
	CHECK(strstr(text, "\nrip ") && strstr(text, "\ncode: ") && strstr(text, "\nstack: "), "%s: no registers: %s",
	      f->name, text);
	if (f->meet == after_munmap)
		CHECK(strstr(text, "  in main + "), "%s: no callers: %s", f->name, text);
	if (expected->rip && !f->inside) {
		snprintf(wanted, sizeof(wanted), " at %#lx", expected->rip);
		CHECK(strstr(text, wanted), "%s: no \"%s\" in: %.300s", f->name, wanted, text);
	}
	if (expected->address && !f->inside) {
		snprintf(wanted, sizeof(wanted), "address %#lx", expected->address);
		CHECK(strstr(text, wanted), "%s: no \"%s\" in: %.300s", f->name, wanted, text);
	}
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	expected = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		const struct fault *f = &faults[i];

		if (f->inside && !proc_inside)
			continue;
		die_of(f, proc_inside ? speak : say_nothing);
		if (!proc_inside)
			continue;
		check_dump(f);
		if (getenv("SHOW"))
			printf("---- %s\n%s", f->name, text);
		die_of(f, say_nothing);
		CHECK(!*text || strstr(text, f->reason), "%s, quiet: %.300s", f->name, text);
		CHECK(!strstr(text, "rax "), "%s, quiet, but: %.300s", f->name, text);
		if (f->inside)
			continue;
		die_of(f, forbid_writes);
		CHECK_EQUAL(*text, 0, "what is said where that is forbidden");
	}
	return check_result();
}
