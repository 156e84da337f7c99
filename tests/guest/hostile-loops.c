// SPDX-License-Identifier: MIT
/*
 * A guest that never stops, in every way that a CPU knows, dies at once of SIGKILL, and takes the CPU
 * from nobody while it lives.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "patience.h"
#include "raw.h"

#define SECONDS_TO_DIE	2.0

static struct raw_vm vm;
static struct raw_vcpu vcpu;
static atomic_uint *entered;	/* shared with the parent */

static void load(const char *code, size_t length, unsigned int cpl)
{
	raw_load(&vcpu, code, length, cpl);
}

#define LOAD(code, cpl)	load(code, sizeof(code) - 1, cpl)

static void set_handler(unsigned int vector, const char *code, size_t length)
{
	char *at = vcpu.code + 2048;

	memcpy(at, code, length);
	raw_gate(&vcpu, vector, at, 1, 3);
}

#define HANDLER(vector, code)	set_handler(vector, code, sizeof(code) - 1)

/* ---- the loops -------------------------------------------------------------- */

static void cli_spin(void)	{ LOAD("\xfa\xeb\xfe", 0); }
static void spin(void)		{ LOAD("\xeb\xfe", 0); vcpu.run->regs.rflags |= 0x200; }
static void spin_ring3(void)	{ LOAD("\xeb\xfe", 3); }
static void sti_spin(void)	{ LOAD("\xfb\xeb\xfd", 0); }
static void mov_ss_spin(void)	{ LOAD("\x8e\xd0\xeb\xfc", 0); vcpu.run->regs.rax = DUNE_SEL_KERNEL_DS; }
static void hlt_loop(void)
{
	LOAD("\xf4", 0);
	raw_gate(&vcpu, 13, raw_iret_error, 1, 0);
}
static void ud_loop(void)
{
	LOAD("\x0f\x0b", 0);
	raw_gate(&vcpu, 6, raw_iret, 1, 0);
}
static void ud_loop_ring3(void)
{
	LOAD("\x0f\x0b", 3);
	raw_gate(&vcpu, 6, raw_iret, 1, 0);
}
static void int1_in_handler(void)
{
	LOAD("\xf1", 0);
	HANDLER(1, "\xf1\xeb\xfd");	/* int1; jmp back */
}
static void single_step(void)
{
	LOAD("\xeb\xfe", 0);
	vcpu.run->regs.rflags |= 0x100;
	raw_gate(&vcpu, 1, raw_iret, 1, 0);
}
static void single_step_ring3(void)
{
	LOAD("\xeb\xfe", 3);
	vcpu.run->regs.rflags |= 0x100;
	raw_gate(&vcpu, 1, raw_iret, 1, 0);
}
static void single_step_cpuid(void)
{
	LOAD("\x0f\xa2\xeb\xfc", 0);
	vcpu.run->regs.rflags |= 0x100;
	raw_gate(&vcpu, 1, raw_iret, 1, 0);
}
static void int_loop(void)
{
	LOAD("\xcd\x40\xeb\xfc", 0);
	raw_gate(&vcpu, 0x40, raw_iret, 1, 0);
}
static void alignment_loop(void)
{
	LOAD("\x8b\x47\x01", 3);	/* mov 1(%rdi), %eax */
	vcpu.run->regs.rflags |= 1 << 18;
	raw_gate(&vcpu, 17, raw_iret_error, 1, 0);
}
static void page_fault_loop(void)
{
	LOAD("\x8b\x06", 0);		/* mov (%rsi), %eax */
	vcpu.run->regs.rsi = 0x300000000000;
	raw_gate(&vcpu, 14, raw_iret_error, 1, 0);
}
static void page_fault_loop_ring3(void)
{
	LOAD("\x8b\x06", 3);
	vcpu.run->regs.rsi = 0x300000000000;
	raw_gate(&vcpu, 14, raw_iret_error, 1, 0);
}
static void handler_is_nowhere(void)
{
	LOAD("\x8b\x06", 0);
	vcpu.run->regs.rsi = 0x300000000000;
	raw_gate(&vcpu, 14, (void *)0x300000000000, 1, 0);
}
static void smep(void)
{
	LOAD("\x0f\x20\xe0\x0f\xba\xe8\x14\x0f\x22\xe0", 0);	/* mov %cr4, %rax; bts $20, %eax; mov %rax, %cr4 */
}
static void cpuid_loop(void)	{ LOAD("\x0f\xa2\xeb\xfc", 0); }
static void msr_loop(void)
{
	LOAD("\x0f\x32\x0f\x30\xeb\xfa", 0);
	vcpu.run->regs.rcx = 0xc0000082;
}
static void hypercall_loop(void)
{
	LOAD("\x48\x89\xd8\x0f\x01\xc1\xeb\xf8", 0);	/* mov %rbx, %rax; vmcall; jmp back */
	vcpu.run->regs.rbx = DUNE_HC_FLUSH_TLB;
}
static void granule_loop(void)
{
	LOAD("\x48\x89\xd8\x0f\x01\xc1\xeb\xf8", 0);
	vcpu.run->regs.rbx = DUNE_HC_GET_GRANULE;
	vcpu.run->regs.rdi = 0x300000000000;
}
static void yield_loop(void)
{
	LOAD("\x48\x89\xd8\x0f\x01\xc1\xeb\xf8", 0);
	vcpu.run->regs.rbx = DUNE_HC_YIELD;
}
static void cr3_loop(void)
{
	LOAD("\x0f\x20\xd8\x0f\x22\xd8\xeb\xf8", 0);
}
static void window_loop(void)
{
	LOAD("\xeb\xfe", 0);
	vcpu.run->regs.rflags |= 0x200;
	vcpu.run->flags = DUNE_RUN_WINDOW;
}

static const struct loop {
	const char *name;
	void (*prepare)(void);
	bool comes_out;		/* to user space, again and again */
	bool intel;		/* QEMU 7.2 has no alignment checks, nor an intercept of INT1 */
} loops[] = {
	{ "jmp", spin, false },
	{ "jmp in ring 3", spin_ring3, false },
	{ "cli; jmp", cli_spin, false },
	{ "sti; jmp", sti_spin, false },
	{ "mov ss; jmp", mov_ss_spin, false },
	{ "hlt", hlt_loop, false },
	{ "#UD", ud_loop, false },
	{ "#UD in ring 3", ud_loop_ring3, false },
	{ "int1 in its own handler", int1_in_handler, false, .intel = true },
	{ "single step", single_step, false },
	{ "single step in ring 3", single_step_ring3, false },
	{ "single step over CPUID", single_step_cpuid, false },
	{ "INT n", int_loop, false },
	{ "#AC", alignment_loop, false, .intel = true },
	{ "#PF", page_fault_loop, false },
	{ "#PF in ring 3", page_fault_loop_ring3, false },
	{ "#PF whose handler is nowhere", handler_is_nowhere, false },
	{ "SMEP, and no page of ring 0's", smep, false },
	{ "CPUID", cpuid_loop, false },
	{ "WRMSR", msr_loop, false },
	{ "TLB flushes", hypercall_loop, false },
	{ "granules of nothing", granule_loop, false },
	{ "yields", yield_loop, false },
	{ "mov to CR3", cr3_loop, false },
	{ "windows", window_loop, true },
};

#define NR_LOOPS	(sizeof(loops) / sizeof(loops[0]))

/* ---- children --------------------------------------------------------------------- */

static _Noreturn void be_guest(const struct loop *loop)
{
	long result;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	loop->prepare();
	*entered = 1;
	if (loop->intel && vm.info.vendor != DUNE_VENDOR_VMX)
		pause();
	do
		result = raw_enter(&vcpu);
	while (result == DUNE_EXIT_INTR || (loop->comes_out && result == DUNE_EXIT_WINDOW));
	printf("%s: it came out with %ld, rip %#lx\n", loop->name, result, (unsigned long)vcpu.run->regs.rip);
	fflush(stdout);
	_exit(1);
}

static void try(const struct loop *loop)
{
	double begin, end;
	int status = -1;
	pid_t pid;

	*entered = 0;
	pid = fork();
	if (!pid)
		be_guest(loop);
	while (!*entered && !waitpid(pid, &status, WNOHANG))
		usleep(1000);
	/* Some time slices.  That we run at all is the first claim. */
	begin = patience_seconds();
	usleep(30000);
	end = patience_seconds();
	CHECK(end - begin < 1.0, "%s: to sleep 30 ms takes %.1f s", loop->name, end - begin);
	begin = end;
	kill(pid, SIGKILL);
	while (!waitpid(pid, &status, WNOHANG) && patience_seconds() - begin < 10)
		usleep(1000);
	end = patience_seconds();
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %#x, expected SIGKILL", loop->name,
	      status);
	CHECK(end - begin < SECONDS_TO_DIE, "%s: dies after %.1f s", loop->name, end - begin);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	entered = mmap(NULL, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (const struct loop *loop = loops; loop < loops + NR_LOOPS; loop++)
		if (argc < 2 || !strcmp(argv[1], loop->name)) {
			if (getenv("VERBOSE"))
				printf("%s\n", loop->name);
			try(loop);
		}
	return check_result();
}
