// SPDX-License-Identifier: MIT
/*
 * Calls that DUNE_RUN makes itself: those that user space allows, of those that the module's own list has, and no
 * others, whatever a hostile run page says; and DUNE_RUN that becomes such a call.
 *
 *	calls [Y|N]	the module's parameter has this value at first
 */
#include <asm/prctl.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"
#include "module.h"
#include "patience.h"
#include "raw.h"

/*
 * long run_calls(long fd, long offset, long whence): DUNE_RUN, in the way that the interface wants it: what DUNE_RUN
 * comes back to has another return address above its own, for a call that DUNE_RUN has become.
 */
long run_calls(long fd, long offset, long whence);
extern const char call_site[] __attribute__((visibility("hidden")));
__attribute__((used)) int came_as_call __attribute__((visibility("hidden")));

__asm__(".pushsection .text\n"
	".hidden call_site\n"
	"run_calls:\n"
	"	lea	2f(%rip), %rax\n"
	"	push	%rax\n"
	"	call	1f\n"
	"	add	$8, %rsp\n"
	"	movl	$0, came_as_call(%rip)\n"
	"	ret\n"
	"1:	mov	$8, %eax\n"
	"	syscall\n"
	"call_site:\n"
	"	ret\n"
	"2:	movl	$1, came_as_call(%rip)\n"
	"	ret\n"
	".popsection\n");

static struct raw_vm vm;
static struct raw_vcpu vcpu;
static uint8_t allowed[DUNE_CALLS];

/* Two places from where a call may come, and then an exit of another kind. */
enum { FIRST = VMCALL_LENGTH, SECOND = 2 * VMCALL_LENGTH, LAST = 3 * VMCALL_LENGTH };

static struct dune_vcpu_config config_for_calls(uint32_t flags)
{
	struct dune_vcpu_config config = raw_config(&vm, &vcpu, flags);

	config.call_site = (uintptr_t)call_site;
	config.call_from[0] = (uintptr_t)vcpu.code + FIRST;
	config.call_from[1] = (uintptr_t)vcpu.code + SECOND;
	return config;
}

/* The guest is to make call @nr at place @from. */
static void load(uint64_t nr, unsigned int from, uint64_t a, uint64_t b, uint64_t c)
{
	raw_load(&vcpu, VMCALL VMCALL, 2 * VMCALL_LENGTH, 0);
	vcpu.run->regs.rip += from * VMCALL_LENGTH;
	vcpu.run->regs.rax = nr;
	vcpu.run->regs.rdi = a;
	vcpu.run->regs.rsi = b;
	vcpu.run->regs.rdx = c;
	vcpu.run->regs.rcx = (uintptr_t)vcpu.code + SECOND;
	vcpu.run->regs.r11 = 0x202;
	vcpu.run->call.allowed = (uintptr_t)allowed;
}

static long run(void)
{
	return run_calls(vm.fd, DUNE_SEEK_VCPU(vcpu.index), DUNE_SEEK_RUN);
}

/* Where the guest stands, from the beginning of its code on. */
static long at(void)
{
	return vcpu.run->regs.rip - (uintptr_t)vcpu.code;
}

/*
 * DUNE_RUN, until it is more than an interruption, and has not left a call that is allowed to user space: this it does
 * now and then where only the return to user mode can load vector registers (kern/fpu.c).  @place: at which exit the
 * guest is expected.
 */
static long run_to(long place)
{
	const long first = at() + VMCALL_LENGTH;
	unsigned int tries = 0;
	long result;

	for (;;) {
		result = run();
		if (came_as_call)
			return result;
		if (result == DUNE_EXIT_SYSCALL && at() == first && first != place && tries++ < 100)
			vcpu.run->regs.rip -= VMCALL_LENGTH;
		else if (result != DUNE_EXIT_INTR)
			return result;
	}
}

/*
 * DUNE_RUN that ends at the exit in @place, by itself.  Before, it may have come back as a call, with whose result the
 * guest goes on: there was something to do in user mode.
 */
static void comes_out(long place, const char *what)
{
	long result;

	for (;;) {
		result = run_to(place);
		if (!came_as_call)
			break;
		vcpu.run->regs.rax = result;
	}
	CHECK_EQUAL(result, DUNE_EXIT_SYSCALL, what);
	CHECK_EQUAL(at(), place, what);
	CHECK_EQUAL(vcpu.run->call.making, 0, what);
}

/* DUNE_RUN that comes back as the call.  Another thread may wait for that call: no test goes on without it. */
static long comes_as_call(void)
{
	long result = run_to(LAST);

	DIE_UNLESS(came_as_call, "DUNE_RUN did not come back as a call");
	return result;
}

static void refused(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, const char *what)
{
	const uint32_t made = vcpu.run->call.made;
	char text[96];

	snprintf(text, sizeof(text), "%s (call %#lx)", what, (unsigned long)nr);
	load(nr, 0, a, b, c);
	comes_out(FIRST, text);
	CHECK_EQUAL(vcpu.run->regs.rax, nr, text);
	CHECK_EQUAL(vcpu.run->call.made, made, text);
}

/* ---- made ---- */

static void check_made(void)
{
	const uint32_t made = vcpu.run->call.made;
	const unsigned long before = module_counter("calls");

	allowed[SYS_getppid] = DUNE_CALL_FROM(0);
	load(SYS_getppid, 0, 0, 0, 0);
	vcpu.run->regs.rbx = 7;
	comes_out(SECOND, "behind a call");	/* and its result is no call that is allowed */
	CHECK_EQUAL(vcpu.run->regs.rax, getppid(), "getppid");
	CHECK_EQUAL(vcpu.run->regs.rbx, 7, "another register");
	CHECK_EQUAL(vcpu.run->call.made, made + 1, "calls made");
	CHECK(module_counter("calls") > before, "the module's counter");
	load(SYS_getppid, 1, 0, 0, 0);
	comes_out(SECOND, "a call from the other place");
	CHECK_EQUAL(vcpu.run->regs.rax, SYS_getppid, "and nothing is done");
	allowed[SYS_getppid] = DUNE_CALL_FROM(1);
	refused(SYS_getppid, 0, 0, 0, "a call from the first place, allowed from the second");
	load(SYS_getppid, 1, 0, 0, 0);
	comes_out(LAST, "behind a call from the second place");
	CHECK_EQUAL(vcpu.run->regs.rax, getppid(), "getppid from the second place");
	allowed[SYS_getppid] = 0;
	refused(SYS_getppid, 0, 0, 0, "a call that is not allowed");
	/* All arguments, a result of 64 bits, and an error. */
	allowed[SYS_pread64] = allowed[SYS_lseek] = allowed[SYS_read] = ~0;
	load(SYS_lseek, 0, open("/proc/self/mem", O_RDONLY), 0x123456789abc, SEEK_SET);
	comes_out(SECOND, "lseek");
	CHECK_EQUAL(vcpu.run->regs.rax, 0x123456789abc, "a result of 64 bits");
	close(vcpu.run->regs.rdi);
	load(SYS_read, 0, -1, 0, 0);
	comes_out(SECOND, "an error");
	CHECK_EQUAL(vcpu.run->regs.rax, -EBADF, "an error");
}

/* The kernel says what the thread is doing: the call, and not DUNE_RUN. */
static void check_seen(void)
{
	int fd = open("/proc/thread-self/syscall", O_RDONLY);
	char wanted[200], *text = vcpu.data;

	load(SYS_read, 0, fd, (uintptr_t)text, 200);
	vcpu.run->regs.r10 = 0x123;
	vcpu.run->regs.r8 = 0x456;
	vcpu.run->regs.r9 = 0x789;
	comes_out(SECOND, "read of /proc/thread-self/syscall");
	text[199] = 0;
	snprintf(wanted, sizeof(wanted), "0 %#x %#lx 0xc8 0x123 0x456 0x789 ", fd, (unsigned long)text);
	CHECK(!strncmp(text, wanted, strlen(wanted)), "/proc/thread-self/syscall: %s, expected %s...", text, wanted);
	snprintf(wanted, sizeof(wanted), "%#lx\n", (unsigned long)call_site);
	CHECK(strstr(text, wanted), "/proc/thread-self/syscall: %s, expected ...%s", text, wanted);
	close(fd);
}

/* Those that are made at once: DUNE_RUN goes on as itself, whatever is pending behind them. */
static void check_at_once(void)
{
	const uint16_t numbers[] = {
		SYS_getpid, SYS_gettid, SYS_getppid, SYS_getpgrp, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
	};

	memset(allowed, DUNE_CALL_FROM(0), sizeof(allowed));
	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const uint32_t made = vcpu.run->call.made;

		load(numbers[i], 0, -1, -1, -1);
		CHECK_EQUAL(run_to(SECOND), DUNE_EXIT_SYSCALL, "a call that is made at once");
		CHECK(!came_as_call && at() == SECOND, "call %u: DUNE_RUN came back as it", numbers[i]);
		CHECK_EQUAL(vcpu.run->regs.rax, syscall(numbers[i]), "the result of a call that is made at once");
		CHECK_EQUAL(vcpu.run->call.made, made + 1, "calls made");
	}
	/* Where the table of what is allowed is not there yet, the other way reads it. */
	load(SYS_getppid, 0, 0, 0, 0);
	vcpu.run->call.allowed = (uintptr_t)mmap(NULL, RAW_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	comes_out(FIRST, "a table of zeroes that is not there yet");
	munmap((void *)vcpu.run->call.allowed, RAW_PAGE);
}

/* ---- refused, whatever the run page says ---- */

static void check_forbidden(void)
{
	static const unsigned int forbidden[] = {
		SYS_exit, SYS_exit_group, SYS_execve, SYS_execveat, SYS_rt_sigreturn, SYS_reboot, SYS_seccomp,
		SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_sigaltstack, SYS_arch_prctl, SYS_prctl, SYS_iopl,
		SYS_ioperm, SYS_modify_ldt, SYS_ptrace, SYS_rseq, SYS_unshare, SYS_setns, SYS_restart_syscall,
		335, 336, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_init_module,
		SYS_delete_module, SYS_kexec_load, SYS_bpf, SYS_userfaultfd, SYS_mmap, SYS_munmap, SYS_close,
		SYS_set_thread_area, SYS_personality,
	};

	memset(allowed, 0xff, sizeof(allowed));
	for (unsigned int i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		refused(forbidden[i], 0, 0, 0, "forbidden");
	for (uint64_t nr = 441; nr < 2 * DUNE_CALLS; nr++)
		refused(nr, 0, 0, 0, "not looked at");
	for (unsigned int bit = 9; bit < 64; bit++)
		refused(SYS_getppid | 1UL << bit, 0, 0, 0, "beyond the table");
	refused(-1, 0, 0, 0, "beyond the table");
	/* Into DUNE_RUN again, or another call of the module's or KVM's. */
	refused(SYS_lseek, vm.fd, DUNE_SEEK_VCPU(vcpu.index), DUNE_SEEK_RUN, "nested DUNE_RUN");
	refused(SYS_lseek, vm.fd, DUNE_SEEK_VCPU(vcpu.index), 1UL << 32 | DUNE_SEEK_RUN, "nested DUNE_RUN");
	refused(SYS_ioctl, vm.fd, DUNE_RUN, vcpu.index, "nested DUNE_RUN");
	refused(SYS_ioctl, vm.fd, 1UL << 32 | DUNE_RUN, vcpu.index, "nested DUNE_RUN");
	refused(SYS_ioctl, vm.fd, DUNE_DESTROY_VCPU, vcpu.index, "DUNE_DESTROY_VCPU");
	refused(SYS_ioctl, 0, 0xae80, 0, "KVM_RUN");
}

static void check_bad_tables(void)
{
	char *page = mmap(NULL, RAW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint64_t bad[] = {
		0, 1, (uintptr_t)page, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, 0xffffffff81000000,
		-4096UL, -1UL, -(uint64_t)SYS_getppid,
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		load(SYS_getppid, 0, 0, 0, 0);
		vcpu.run->call.allowed = bad[i];
		comes_out(FIRST, "a table that cannot be read");
	}
	munmap(page, RAW_PAGE);
	/* By ioctl, whose result would be cut off. */
	load(SYS_getppid, 0, 0, 0, 0);
	CHECK_EQUAL(raw_run(&vcpu), DUNE_EXIT_SYSCALL, "DUNE_RUN by ioctl");
	CHECK_EQUAL(at(), FIRST, "DUNE_RUN by ioctl");
}

static void check_switch(void)
{
	module_set_parameter("calls", "0");
	refused(SYS_getppid, 0, 0, 0, "calls=0");
	module_set_parameter("calls", "1");
	memset(allowed, DUNE_CALL_FROM(0), sizeof(allowed));
	load(SYS_getppid, 0, 0, 0, 0);
	comes_out(SECOND, "calls=1");
}

/* ---- DUNE_RUN that becomes the call ---- */

static struct {
	int signals, pipe;
	unsigned long rip, rax;
} handled;

static void handler(int signo, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;

	(void)signo;
	(void)info;
	/* The first one that finds the call, and not DUNE_RUN itself. */
	if (handled.signals || uc->uc_mcontext.gregs[REG_RAX] == SYS_lseek ||
	    uc->uc_mcontext.gregs[REG_RAX] == DUNE_EXIT_INTR ||
	    uc->uc_mcontext.gregs[REG_RIP] - (uintptr_t)call_site + 2 > 2)
		return;
	handled.signals++;
	handled.rip = uc->uc_mcontext.gregs[REG_RIP];
	handled.rax = uc->uc_mcontext.gregs[REG_RAX];
	if (handled.pipe >= 0 && write(handled.pipe, "x", 1) < 0)
		abort();
}

/* A call that sleeps until a signal comes, every 10 ms: the first may be early. */
static long interrupted(int flags, int to_pipe)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	const struct itimerval soon = { { 0, 10000 }, { 0, 10000 } }, never = { 0 };
	long result;

	memset(&handled, 0, sizeof(handled));
	handled.pipe = to_pipe;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	result = comes_as_call();
	setitimer(ITIMER_REAL, &never, NULL);
	return result;
}

static void check_interrupted(void)
{
	int fds[2];

	load(SYS_poll, 0, 0, 0, -1);
	CHECK_EQUAL(interrupted(0, -1), -EINTR, "poll");
	CHECK_EQUAL(handled.rip, (uintptr_t)call_site, "RIP in the handler");
	CHECK_EQUAL(handled.rax, -EINTR, "RAX in the handler");
	CHECK_EQUAL(at(), FIRST, "the guest, meanwhile");
	CHECK_EQUAL(vcpu.run->call.making, 0, "the note, afterwards");
	/* The next DUNE_RUN goes on behind it. */
	vcpu.run->regs.rax = -1;
	comes_out(SECOND, "after a call");

	/* Made again: by the SYSCALL there, as the kernel has it. */
	DIE_UNLESS(!pipe(fds), "pipe");
	load(SYS_read, 0, fds[0], (uintptr_t)vcpu.data, 1);
	CHECK_EQUAL(interrupted(SA_RESTART, fds[1]), 1, "read, made again");
	CHECK_EQUAL(handled.rip, (uintptr_t)call_site - 2, "RIP in the handler, where a call is made again");
	CHECK_EQUAL(handled.rax, SYS_read, "RAX in the handler, where a call is made again");
	close(fds[0]);
	close(fds[1]);
}

/* Another thread has it come out: as the call, when that is over. */
static void *wake(void *fd)
{
	while (!*(volatile uint32_t *)&vcpu.run->call.making)
		usleep(1000);
	CHECK_EQUAL(vcpu.run->call.making, 1 + SYS_read, "the note of the call under way");
	CHECK_EQUAL(at(), FIRST, "the guest, in a call");
	CHECK_EQUAL(run(), -EBUSY, "DUNE_RUN by another thread, in a call");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, vcpu.index), -EBUSY, "DUNE_DESTROY_VCPU, in a call");
	vcpu.run->immediate_exit = 1;
	CHECK_EQUAL(write((intptr_t)fd, "x", 1), 1, "write");
	return NULL;
}

static void check_woken(void)
{
	pthread_t thread;
	int fds[2];

	DIE_UNLESS(!pipe(fds), "pipe");
	load(SYS_read, 0, fds[0], (uintptr_t)vcpu.data, 1);
	DIE_UNLESS(!pthread_create(&thread, NULL, wake, (void *)(intptr_t)fds[1]), "pthread_create");
	CHECK_EQUAL(comes_as_call(), 1, "a read that was told to come out");
	pthread_join(thread, NULL);
	vcpu.run->immediate_exit = 0;
	close(fds[0]);
	close(fds[1]);
}

/* The process closes the file while a call is made, and ends. */
static void *close_all(void *fd)
{
	while (!*(volatile uint32_t *)&vcpu.run->call.making)
		usleep(1000);
	close(vm.fd);
	munmap(vcpu.run, RAW_PAGE);
	CHECK_EQUAL(write((intptr_t)fd, "x", 1), 1, "write");
	return NULL;
}

/* ---- in the manner of SYSCALL ---- */

static void check_by_syscall(void)
{
	struct dune_vcpu_config config;

	memset(allowed, 0xff, sizeof(allowed));
	config = config_for_calls(DUNE_VCPU_CALL_BY_SYSCALL);
	DIE_UNLESS(!raw_vcpu_create(&vm, &vcpu, &config), "DUNE_CREATE_VCPU");
	load(SYS_getppid, 0, 0, 0, 0);
	vcpu.run->regs.r11 = 0xffffffffffff0a97;	/* only what a program may have of it */
	comes_out(LAST, "a call that goes on at RCX");
	CHECK_EQUAL(vcpu.run->regs.rax, getppid(), "getppid");
	CHECK_EQUAL(vcpu.run->regs.rflags & 0xad5, 0xa95 & 0xad5, "R11 as flags");
	load(SYS_getppid, 0, 0, 0, 0);
	vcpu.run->regs.rcx = 0x0000800000000000;
	comes_out(FIRST, "RCX that is not canonical");
	/* From the other place it goes on where it stands. */
	load(SYS_getppid, 1, 0, 0, 0);
	vcpu.run->regs.rcx = 0;
	comes_out(LAST, "a call from the second place");
}

static void check_closed(void)
{
	pthread_t thread;
	int fds[2];

	DIE_UNLESS(!pipe(fds), "pipe");
	load(SYS_read, 0, fds[0], (uintptr_t)vcpu.data, 1);
	vcpu.run->immediate_exit = 0;
	DIE_UNLESS(!pthread_create(&thread, NULL, close_all, (void *)(intptr_t)fds[1]), "pthread_create");
	CHECK_EQUAL(comes_as_call(), 1, "a read whose file was closed");
	pthread_join(thread, NULL);
	CHECK_EQUAL(run(), -EBADF, "DUNE_RUN after that");
}

int main(int argc, char **argv)
{
	struct dune_vcpu_config config;
	char before[2];

	module_get_parameter("calls", before);
	CHECK(argc < 2 || before[0] == argv[1][0], "the parameter is %s, expected %s", before, argv[1]);
	raw_open(&vm);
	config = config_for_calls(0);
	for (unsigned int bit = 47; bit < 64; bit++) {
		config.call_site = 1UL << bit;
		CHECK_ERRNO(ioctl(vm.fd, DUNE_CREATE_VCPU, &config), EINVAL, "call_site outside user space");
	}
	vm.vcpus = 0;
	config = config_for_calls(0);
	DIE_UNLESS(!raw_vcpu_create(&vm, &vcpu, &config), "DUNE_CREATE_VCPU");
	module_set_parameter("calls", "1");
	check_made();
	check_seen();
	check_at_once();
	check_forbidden();
	check_bad_tables();
	check_switch();
	check_interrupted();
	check_woken();
	check_by_syscall();
	check_closed();
	module_set_parameter("calls", before);
	return check_result();
}
