// SPDX-License-Identifier: MIT
/*
 * What Linux offers for jobs that Dune is for: having a say in system calls (compare ring3.c), in faults, and copies of
 * memory.  Ordinary programs, all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "../bench.h"

#define CALL	SYS_getppid	/* the one that is intercepted; nothing else here makes it */
#define ANSWER	42

static long expected = ANSWER;

static uint64_t call(unsigned int i)
{
	uint64_t start = ticks(), end;
	long result;

	(void)i;
	__asm__ volatile("syscall" : "=a"(result) : "0"(CALL) : "rcx", "r11", "memory");
	end = ticks();
	bench_work += result == expected;
	return end - start;
}

/* ---- seccomp ---- */

static int install_filter(unsigned int action, unsigned int flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };
	int ret;

	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	must(ret >= 0);
	return ret;
}

static void begin_allow(void)
{
	expected = getppid();
	install_filter(SECCOMP_RET_ALLOW, 0);
}

static void answer(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = ANSWER;
}

static void on_sigsys(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	must(!sigaction(SIGSYS, &action, NULL));
}

static void begin_trap(void)
{
	on_sigsys(answer);
	install_filter(SECCOMP_RET_TRAP, 0);
}

static void *supervise(void *arg)
{
	struct seccomp_notif request;
	struct seccomp_notif_resp response;
	int fd = (long)arg;

	for (;;) {
		memset(&request, 0, sizeof(request));
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &request))
			continue;
		response = (struct seccomp_notif_resp){ .id = request.id, .val = ANSWER };
		ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response);
	}
	return NULL;
}

static void begin_notification(void)
{
	pthread_t thread;
	long fd = install_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);

	must(!pthread_create(&thread, NULL, supervise, (void *)fd));
}

/* ---- system call user dispatch ---- */

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH	59
#endif

static volatile char selector;		/* 0: calls go to the kernel, 1: they raise SIGSYS */

static void answer_dispatch(int sig, siginfo_t *info, void *context)
{
	selector = 0;			/* for the return from the signal */
	answer(sig, info, context);
}

static void forward_dispatch(int sig, siginfo_t *info, void *context)
{
	selector = 0;
	(void)sig;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = syscall(info->si_syscall);
}

static void dispatch(void)
{
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, &selector))
		bench_skip("the kernel has no system call user dispatch");
}

static void begin_dispatch(void)
{
	on_sigsys(answer_dispatch);
	dispatch();
}

static void begin_dispatch_forward(void)
{
	expected = getppid();
	on_sigsys(forward_dispatch);
	dispatch();
}

static uint64_t dispatched_call(unsigned int i)
{
	selector = 1;
	return call(i);
}

/* ---- ptrace ---- */

static bool emulate;

static bool wait_stop(pid_t pid)
{
	int status;

	return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status);
}

static bool resume(pid_t pid, long how)
{
	return !ptrace(how, pid, 0, 0) && wait_stop(pid);
}

/* With SYSEMU no call is made: all but CALL are made again, with PTRACE_SYSCALL. */
static void trace_emulating(pid_t pid)
{
	struct user_regs_struct regs;

	while (resume(pid, PTRACE_SYSEMU)) {
		if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
			return;
		if (regs.orig_rax == CALL) {
			regs.rax = ANSWER;
			ptrace(PTRACE_SETREGS, pid, 0, &regs);
			continue;
		}
		regs.rax = regs.orig_rax;
		regs.rip -= 2;
		ptrace(PTRACE_SETREGS, pid, 0, &regs);
		if (!resume(pid, PTRACE_SYSCALL) || !resume(pid, PTRACE_SYSCALL))
			return;
	}
}

static void trace_forwarding(pid_t pid)
{
	struct user_regs_struct regs;

	while (resume(pid, PTRACE_SYSCALL)) {
		if (ptrace(PTRACE_GETREGS, pid, 0, &regs) || !resume(pid, PTRACE_SYSCALL) ||
		    ptrace(PTRACE_GETREGS, pid, 0, &regs))
			return;
		if (regs.orig_rax == CALL) {
			regs.rax = ANSWER;
			ptrace(PTRACE_SETREGS, pid, 0, &regs);
		}
	}
}

/* A child traces us. */
static void begin_ptrace(void)
{
	pid_t us = getpid();
	int ready[2];
	char byte;

	must(!pipe(ready));
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	if (!fork()) {
		if (ptrace(PTRACE_SEIZE, us, 0, 0) || ptrace(PTRACE_INTERRUPT, us, 0, 0) || !wait_stop(us))
			_exit(1);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		if (emulate)
			trace_emulating(us);
		else
			trace_forwarding(us);
		_exit(0);
	}
	must(read(ready[0], &byte, 1) == 1);
}

static void begin_sysemu(void)
{
	emulate = true;
	begin_ptrace();
}

/* ---- faults by userfaultfd ---- */

#define PAGES	1024UL

static char *area;
static int uffd;

static bool resolve(uint64_t addr, bool by_write_protection)
{
	static char contents[PAGE] __attribute__((aligned(4096))) = { 1 };
	struct uffdio_writeprotect allow = { .range = { addr & -PAGE, PAGE } };
	struct uffdio_copy copy = { .dst = addr & -PAGE, .src = (uintptr_t)contents, .len = PAGE };

	return !(by_write_protection ? ioctl(uffd, UFFDIO_WRITEPROTECT, &allow) : ioctl(uffd, UFFDIO_COPY, &copy));
}

static void *resolve_all(void *arg)
{
	struct uffd_msg message;

	(void)arg;
	while (read(uffd, &message, sizeof(message)) == sizeof(message))
		resolve(message.arg.pagefault.address, message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	return NULL;
}

static bool protecting;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (!resolve((uintptr_t)info->si_addr, protecting))
		bench_die("the fault cannot be resolved");
}

/* By a thread, or by a signal in the one that faults. */
static void begin_uffd(bool protect, bool by_signal)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.mode = protect ? UFFDIO_REGISTER_MODE_WP : UFFDIO_REGISTER_MODE_MISSING,
	};
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	pthread_t thread;

	protecting = protect;
	api.features = (by_signal ? UFFD_FEATURE_SIGBUS : 0) | (protect ? UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		bench_skip("the kernel has no such userfaultfd");
	area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area != MAP_FAILED && !madvise(area, PAGES * PAGE, MADV_NOHUGEPAGE));
	if (protect)
		memset(area, 1, PAGES * PAGE);
	range.range.start = (uintptr_t)area;
	range.range.len = PAGES * PAGE;
	must(!ioctl(uffd, UFFDIO_REGISTER, &range));
	must(!sigaction(SIGBUS, &action, NULL));
	must(by_signal || !pthread_create(&thread, NULL, resolve_all, NULL));
}

static void begin_missing_thread(void)
{
	begin_uffd(false, false);
}

static void begin_missing_signal(void)
{
	begin_uffd(false, true);
}

static void begin_protected_thread(void)
{
	begin_uffd(true, false);
}

static void begin_protected_signal(void)
{
	begin_uffd(true, true);
}

static void protect_page(unsigned int i)
{
	struct uffdio_writeprotect forbid = {
		.range = { (uintptr_t)area + i % PAGES * PAGE, PAGE }, .mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	must(!ioctl(uffd, UFFDIO_WRITEPROTECT, &forbid));
}

static uint64_t write_page(unsigned int i)
{
	volatile char *at = area + i % PAGES * PAGE;
	uint64_t start = ticks(), end;

	*at = 2;
	end = ticks();
	bench_work += *at == 2;
	return end - start;
}

static uint64_t touch_page(unsigned int i)
{
	volatile char *at = area + i % PAGES * PAGE;
	uint64_t start = ticks(), end;
	char byte = *at;

	end = ticks();
	bench_work += byte;
	return end - start;
}

/* ---- protection keys ---- */

static int key;

static void begin_pkeys(void)
{
	key = syscall(SYS_pkey_alloc, 0, 0);
	if (key < 0)
		bench_skip("the CPU or the kernel has no protection keys");
}

static uint64_t switch_key(unsigned int i)
{
	unsigned int rights, now, high;
	uint64_t start, end;

	__asm__ volatile("rdpkru" : "=a"(rights), "=d"(high) : "c"(0));
	rights = (rights & ~(3U << 2 * key)) | (i & 1) << 2 * key;
	start = ticks();
	__asm__ volatile("wrpkru" : : "a"(rights), "c"(0), "d"(0) : "memory");
	end = ticks();
	__asm__ volatile("rdpkru" : "=a"(now), "=d"(high) : "c"(0));
	bench_work += now == rights;
	return end - start;
}

/* ---- snapshots and other processes' memory ---- */

#define SNAPSHOT	16384UL		/* 64 MiB */

static pid_t child;

static void begin_snapshot(void)
{
	area = mmap(NULL, SNAPSHOT * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area != MAP_FAILED && !madvise(area, SNAPSHOT * PAGE, MADV_NOHUGEPAGE));
	memset(area, 1, SNAPSHOT * PAGE);
}

static void fork_child(void)
{
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
}

static uint64_t snapshot(unsigned int i)
{
	uint64_t start = ticks(), end;

	(void)i;
	fork_child();
	end = ticks();
	bench_work += child > 0;
	return end - start;
}

static void end_child(unsigned int i)
{
	(void)i;
	must(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
}

static void begin_shared_snapshot(void)
{
	begin_snapshot();
	fork_child();
	must(child > 0);
}

static uint64_t write_shared(unsigned int i)
{
	uint64_t start = ticks(), end;

	area[i * PAGE]++;
	end = ticks();
	bench_work += area[i * PAGE] == 2;
	if (i == 414)		/* the last of both passes */
		end_child(0);
	return end - start;
}

/* A child whose pages are its own. */
static void begin_private_child(void)
{
	int ready[2];
	char byte;

	begin_snapshot();
	must(!pipe(ready));
	child = fork();
	if (!child) {
		memset(area, 2, PAGES * PAGE);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	must(child > 0 && read(ready[0], &byte, 1) == 1);
}

static uint64_t read_child(unsigned int i)
{
	static char copy[PAGE];
	struct iovec to = { copy, PAGE }, from = { area + i * PAGE, PAGE };
	uint64_t start = ticks(), end;
	ssize_t size = process_vm_readv(child, &to, 1, &from, 1, 0);

	end = ticks();
	bench_work += size == (ssize_t)PAGE && copy[PAGE - 1] == 2;
	if (i == 414)
		end_child(0);
	return end - start;
}

static uint64_t write_child(unsigned int i)
{
	static char copy[PAGE];
	struct iovec own = { copy, PAGE }, others = { area + i * PAGE, PAGE };
	uint64_t start, end;
	ssize_t size;

	memset(copy, 3, PAGE);
	start = ticks();
	size = process_vm_writev(child, &own, 1, &others, 1, 0);
	end = ticks();
	memset(copy, 0, PAGE);
	bench_work += size == (ssize_t)PAGE && process_vm_readv(child, &own, 1, &others, 1, 0) == size &&
		      copy[PAGE - 1] == 3;
	if (i == 414)
		end_child(0);
	return end - start;
}

#define CASE(name, begin, sample)	{ name, WHERE_LINUX, 400, 1, begin, NULL, sample }
#define PROTECTED(name, begin)		{ name, WHERE_LINUX, 400, 1, begin, protect_page, write_page }

static const struct bench_case cases[] = {
	CASE("getppid, seccomp lets it pass",			begin_allow, call),
	CASE("getppid answered, seccomp trap",			begin_trap, call),
	CASE("getppid answered, seccomp user notification",	begin_notification, call),
	CASE("getppid answered, user dispatch",			begin_dispatch, dispatched_call),
	CASE("getppid forwarded, user dispatch",		begin_dispatch_forward, dispatched_call),
	CASE("getppid answered, ptrace SYSEMU",			begin_sysemu, call),
	CASE("getppid answered, ptrace SYSCALL",		begin_ptrace, call),
	CASE("first touch, userfaultfd and a thread",		begin_missing_thread, touch_page),
	CASE("first touch, userfaultfd and SIGBUS",		begin_missing_signal, touch_page),
	PROTECTED("page fault, allow, store; userfaultfd and a thread",	begin_protected_thread),
	PROTECTED("page fault, allow, store; userfaultfd and SIGBUS",	begin_protected_signal),
	CASE("switch of a protection key",			begin_pkeys, switch_key),
	{ "snapshot of 16,384 pages, fork()", WHERE_LINUX, 10, 1, begin_snapshot, NULL, snapshot, end_child },
	CASE("first write to a page after fork()",		begin_shared_snapshot, write_shared),
	CASE("read a page of another process, process_vm_readv()", begin_private_child, read_child),
	CASE("write a page of another process, process_vm_writev()", begin_private_child, write_child),
};

BENCH_GROUP(alternatives, false);
