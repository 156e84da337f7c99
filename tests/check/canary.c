// SPDX-License-Identifier: MIT
/*
 * Every system call, with an address of libdune's memory in every argument: as it is, with some bytes of memory before
 * it, and in each word of a structure.  The program that makes them is checked.  Another, outside, has filled a page
 * of libdune's memory, which nobody uses, with a pattern.  So
 *
 *	- the pattern, and all of libdune's that is never written, stays as it is,
 *	- none of the pattern comes back, into memory or descriptors of the program's,
 *	- what the table says is memory is EFAULT, or what the table says of the call.
 *
 *	canary			outside; runs `dune-run --check canary inside`
 *	canary calls FIRST LAST	the same, of these numbers
 *	canary calls FIRST LAST EVERY
 *				the same, but of structures only each EVERY-th, and with each value half of the
 *				descriptors: with 5 each argument still has each word of a structure be libdune's
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/syscalls.h"
#include "threads/layout.h"

#define GRANULE		(1UL << 30)
#define PAGE		4096UL
#define PATTERN		0x5ec2e7c0ffee1235UL
#define TARGET		(AREA_COPIES_END - PAGE)
#define WORDS		16	/* of a structure */
#define NOBODY		65534
#define SECONDS		60	/* for all that is tried of one call */

#define FROM_INSIDE	200	/* descriptors */
#define TO_INSIDE	201

static const struct name {
	const char *name, *function;
} rows[NR_SYSCALLS] = {
#define CALL(number, name, function, ...)	[number] = { #name, #function },
#include "base/syscalls-table.h"
#undef CALL
};

static const char *name_of(int nr)
{
	return rows[nr].name ? rows[nr].name : "?";
}

/* ---- outside ---- */

static uint64_t sum(uint64_t old, const uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		old = (old ^ words[i]) * 0x100000001b3UL + (old >> 47);
	return old;
}

static unsigned long granule_of(int pid)
{
	char path[64], line[512];
	unsigned long start, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "dune") && sscanf(line, "%lx-", &start) == 1 && !(start & (GRANULE - 1)))
			found = start;
	if (f)
		fclose(f);
	return found;
}

static int memory_of(int pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* Of all that libdune can read and never writes, and of the page with the pattern. */
static bool checksum(int pid, unsigned long granule, uint64_t *constant, bool *pattern_stays)
{
	uint64_t page[PAGE / 8];
	char path[64], line[512], rights[8];
	unsigned long start, end;
	int memory = memory_of(pid);
	bool done = memory >= 0;
	FILE *f;

	*constant = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		/* The device's pages are the kernel's too. */
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || start < granule ||
		    start >= granule + GRANULE || rights[0] != 'r' || rights[1] != '-' || strstr(line, "dune"))
			continue;
		for (; done && start < end; start += PAGE) {
			done = pread(memory, page, PAGE, start) == (ssize_t)PAGE;
			*constant = sum(*constant, page, PAGE / 8);
		}
	}
	*pattern_stays = done && pread(memory, page, PAGE, granule + TARGET) == (ssize_t)PAGE;
	for (size_t i = 0; i < PAGE / 8; i++)
		if (page[i] != PATTERN)
			*pattern_stays = false;
	if (f)
		fclose(f);
	close(memory);
	return done && *constant;
}

static bool paint(int pid, unsigned long granule)
{
	uint64_t page[PAGE / 8];
	int memory = memory_of(pid);
	bool done;

	for (size_t i = 0; i < PAGE / 8; i++)
		page[i] = PATTERN;
	done = memory >= 0 && pwrite(memory, page, PAGE, granule + TARGET) == (ssize_t)PAGE;
	close(memory);
	return done;
}

/* What the inside asks: the first time where the granule is, then whether all is as it was. */
struct question {
	int pid, nr;
};

static int outside(char **arguments)
{
	int from[2], to[2], status;
	unsigned long granule = 0, asked = 0;
	uint64_t first = 0, now;
	struct question q;
	bool failed = false, stays;
	pid_t child;

	if (pipe(from) || pipe(to) || mkdir("/tmp/canary", 0700) || chown("/tmp/canary", NOBODY, NOBODY))
		return 1;
	child = fork();
	if (!child) {
		dup2(from[1], FROM_INSIDE);
		dup2(to[0], TO_INSIDE);
		close(from[0]);
		close(from[1]);
		close(to[0]);
		close(to[1]);
		execvp("dune-run", arguments);
		_exit(127);
	}
	close(from[1]);
	close(to[0]);
	while (read(from[0], &q, sizeof(q)) == sizeof(q)) {
		unsigned long answer = 0;

		if (!granule) {
			answer = granule = granule_of(q.pid);
			if (!granule || !paint(q.pid, granule) || !checksum(q.pid, granule, &first, &stays) || !stays) {
				printf("libdune's memory is not found (%lx)\n", granule);
				failed = true;
				break;
			}
		} else if (!checksum(q.pid, granule, &now, &stays)) {
			printf("%s: what is libdune's cannot be read any more\n", name_of(q.nr));
			failed = true;
		} else if (now != first || !stays) {
			printf("%s: %s has changed\n", name_of(q.nr), stays ? "what is constant" : "the page");
			failed = true;
		} else {
			asked++;
		}
		if (write(to[1], &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	close(to[1]);
	close(from[0]);
	waitpid(child, &status, 0);
	printf("after %lu of the calls all was as before\n", asked);
	return failed || !WIFEXITED(status) || WEXITSTATUS(status);
}

/* ---- inside ---- */

static unsigned long granule;
static unsigned int every = 1;		/* of structures one in so many is tried */
static unsigned long *made;		/* shared: calls */
static unsigned int *failures;

static unsigned long ask(int nr)
{
	const struct itimerval never = { 0 };
	struct question q = { .pid = getpid(), .nr = nr };
	unsigned long answer = 0;

	setitimer(ITIMER_REAL, &never, NULL);
	if (write(FROM_INSIDE, &q, sizeof(q)) != sizeof(q) ||
	    read(TO_INSIDE, &answer, sizeof(answer)) != sizeof(answer))
		_exit(3);
	return answer;
}

/* A child that it makes ends at once, and touches no stack. */
static long __attribute__((noinline)) call(long nr, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	const long forks = nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test	%%rax, %%rax\n\t"
			 "jnz	1f\n\t"
			 "test	%[forks], %[forks]\n\t"
			 "jz	1f\n\t"
			 "mov	$60, %%eax\n\t"
			 "syscall\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(ret), "+r"(r10), "+r"(r8), "+r"(r9)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), [forks] "b"(forks)
			 : "rcx", "r11", "memory");
	return ret;
}

/* The program's memory that calls are given: nothing is behind it, whatever length they have. */
static char *own;
static uint64_t *structure;

static void *get_memory(void)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE) || mprotect(p + 2 * PAGE, PAGE, PROT_NONE))
		_exit(4);
	return p + PAGE;
}

enum { ZERO, DATAGRAM, PEER, PIPE_IN, PIPE_OUT, MEMORY, FOLDER, EPOLL, EVENT, TIMER, NR_FDS };
static int fds[NR_FDS];
static const int tried[] = { ZERO, DATAGRAM, PIPE_IN, PIPE_OUT, MEMORY, FOLDER, EPOLL, TIMER };

static void open_descriptors(void)
{
	int ends[2];

	fds[ZERO] = open("/dev/zero", O_RDWR);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends))
		_exit(4);
	fds[DATAGRAM] = ends[0];
	fds[PEER] = ends[1];
	if (pipe2(ends, O_NONBLOCK))
		_exit(4);
	fds[PIPE_IN] = ends[1];
	fds[PIPE_OUT] = ends[0];
	fds[MEMORY] = memfd_create("canary", 0);
	fds[FOLDER] = open(".", O_RDONLY | O_DIRECTORY);
	fds[EPOLL] = epoll_create1(0);
	fds[EVENT] = eventfd(1, EFD_NONBLOCK);
	fds[TIMER] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (ftruncate(fds[MEMORY], PAGE))
		_exit(4);
}

static bool has_pattern(const void *at, size_t size)
{
	const uint64_t pattern = PATTERN;

	return memmem(at, size, &pattern, sizeof(pattern));
}

/* What has come out, so that there is room for more, and what can be read again. */
static bool leaked(void)
{
	char bytes[PAGE];
	ssize_t n;
	bool found = has_pattern(own, PAGE);

	while (!found && (n = recv(fds[PEER], bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		found = has_pattern(bytes, n);
	while (!found && (n = read(fds[PIPE_OUT], bytes, sizeof(bytes))) > 0)
		found = has_pattern(bytes, n);
	if (!found && (n = pread(fds[MEMORY], bytes, sizeof(bytes), 0)) > 0)
		found = has_pattern(bytes, n);
	if (write(fds[PIPE_IN], "x", 1) < 0 || send(fds[PEER], "x", 1, MSG_DONTWAIT) < 0)
		return found;
	return found;
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* A call that waits is interrupted; what the last ones did to that is undone. */
static void keep_time(void)
{
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } };
	struct sigaction action = { .sa_handler = on_alarm };
	sigset_t none;

	sigemptyset(&none);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Children that clone() makes can end with any. */
static void ignore_signals(void)
{
	static const int needed[] = { SIGALRM, SIGCHLD, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };

	for (int signal = 1; signal <= 64; signal++) {
		struct sigaction action = { .sa_handler = SIG_IGN };
		bool is_needed = false;

		for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
			is_needed |= needed[i] == signal;
		if (!is_needed)
			sigaction(signal, &action, NULL);
	}
}

static void fail(int nr, const uint64_t a[6], int argument, const char *how, long result)
{
	/* Descriptor 2 may be something else by now. */
	char line[256];
	int n = snprintf(line, sizeof(line), "%s(%lx, %lx, %lx, %lx, %lx, %lx), argument %d %s: %ld\n", name_of(nr),
			 a[0], a[1], a[2], a[3], a[4], a[5], argument, how, result);

	if (__atomic_fetch_add(failures, 1, __ATOMIC_RELAXED) < 100 && write(STDOUT_FILENO, line, n) < 0)
		_exit(5);
}

/* What a call is that is not EFAULT: it is refused before or besides. */
static bool refuses(int nr, long result)
{
	const struct call_row *row = call_of(nr);

	switch (nr) {
	case SYS_ptrace:
	case SYS_process_vm_readv:
	case SYS_process_vm_writev:
	case SYS_mount:
	case SYS_move_mount:
	case SYS_open_tree:
	case 467:		/* open_tree_attr */
		return result == -EPERM;
	case SYS_ioctl:
		return result == -ENOTTY;
	}
	return (row->flags & CALL_UNCHECKED || !strcmp(rows[nr].function, "sys_nosys")) && result == -ENOSYS;
}

/* Does the table say that memory is used at argument @n, at least a byte? */
static bool uses(int nr, int n, const uint64_t a[6])
{
	for_each_operand(o, call_of(nr)) {
		bool by_length = o->size == SIZE_COUNT || o->size == SIZE_RESULT || o->size == SIZE_VECTOR ||
				 o->size == SIZE_MESSAGES || o->size == SIZE_BITS || o->size == SIZE_WAITERS ||
				 o->size == SIZE_PAGES;

		if (o->arg != n || o->kind < KEPT || !operand_concerns(o, a))
			continue;
		if (by_length && !(o->size == SIZE_WAITERS && o->bytes) && (!a[o->with] || a[o->with] > 128))
			continue;
		if (o->size == SIZE_BITS && a[o->with] <= o->bytes)
			continue;
		if (o->size == SIZE_CLONE_ARGS && (a[1] < 64 || a[1] > PAGE))
			continue;
		if (o->size == SIZE_SEMAPHORES || o->size == SIZE_FILTER_OF || o->size == SIZE_TIMES ||
		    o->size == SIZE_LENGTH)
			continue;	/* what says how much may say none */
		return true;
	}
	return false;
}

static void try(int nr, const uint64_t a[6], int argument, const char *how, bool refused)
{
	long result = call(nr, a);

	++*made;
	if (nr == SYS_clone || nr == SYS_clone3 || nr == SYS_fork || nr == SYS_vfork)
		while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
			;
	if (refused && result != -EFAULT && !refuses(nr, result))
		fail(nr, a, argument, how, result);
	if (result >= 0 && leaked())
		fail(nr, a, argument, "has brought something out", result);
}

static bool is_area(int nr, int n)
{
	for_each_operand(o, call_of(nr))
		if (o->arg == n && o->kind == AREA)
			return true;
	return false;
}

static bool is_memory(int nr, int n)
{
	for_each_operand(o, call_of(nr))
		if (o->arg == n && o->kind >= KEPT)
			return true;
	return false;
}

static bool is_descriptor(int nr, int n)
{
	for_each_operand(o, call_of(nr))
		if (o->arg == n && o->kind == DESCRIPTOR)
			return true;
	return false;
}

/* One argument after the other, with the others as they are in @base. */
static void try_arguments(int nr, const uint64_t base[6])
{
	static const uint64_t fillers[] = { 0, 8, 2 };
	static unsigned int structures;
	const uint64_t target = granule + TARGET;

	for (int n = 0; n < 6; n++) {
		uint64_t a[6];

		keep_time();
		memcpy(a, base, sizeof(a));
		a[n] = target;
		try(nr, a, n, "is libdune's", uses(nr, n, a));
		a[n] = granule - 8;
		try(nr, a, n, "leads to libdune's", false);
		if (is_area(nr, n) || is_descriptor(nr, n))
			continue;
		if (!is_memory(nr, n)) {
			for (int i = 0; i < WORDS; i++)
				structure[i] = target;
			a[n] = (uint64_t)structure;
			try(nr, a, n, "has libdune's in it", false);
			continue;
		}
		for (int filler = 0; filler < 3; filler++) {
			for (int word = 0; word < WORDS; word++) {
				if (structures++ % every)
					continue;
				for (int i = 0; i < WORDS; i++)
					structure[i] = fillers[filler];
				structure[word] = target;
				a[n] = (uint64_t)structure;
				try(nr, a, n, "has libdune's in it", false);
			}
		}
		memset(own, 0, PAGE);
	}
}

/*
 * These can end the process that makes them, some whatever their arguments are; by its limits, or by having no memory
 * or descriptors left.
 */
static bool is_end(int nr)
{
	return nr == SYS_exit || nr == SYS_exit_group || nr == SYS_rt_sigreturn || nr == SYS_kill ||
	       nr == SYS_setrlimit || nr == SYS_prlimit64 || nr == SYS_munmap || nr == SYS_close_range;
}

/* Numbers, the last of which is 1 where the kernel looks at 32 bits. */
#define PLAIN_VALUES	4

/* In a child. */
static void try_call(int nr)
{
	const struct call_row *row = call_of(nr);
	uint64_t values[64] = { 0, 1, 64, (1UL << 32) + 1 };
	unsigned int nr_values = PLAIN_VALUES;

	for_each_operand(o, row) {
		bool known = false;

		for (unsigned int i = 0; i < nr_values; i++)
			known |= values[i] == o->if_value;
		if (o->if_arg && !known && nr_values < 64)
			values[nr_values++] = o->if_value;
	}
	for (unsigned int v = 0; v < nr_values; v++) {
		bool has_descriptor = false;

		for (size_t fd = 0; fd < sizeof(tried) / sizeof(tried[0]); fd++) {
			uint64_t base[6];

			if (every > 1 && (v + fd) % 2)
				continue;
			for (int n = 0; n < 6; n++) {
				bool chosen = false;

				for_each_operand(o, row)
					chosen |= o->if_arg == n + 1;
				if (is_descriptor(nr, n)) {
					base[n] = fds[tried[fd]];
					has_descriptor = true;
				} else if (is_memory(nr, n)) {
					base[n] = (uint64_t)own;
				} else if (is_area(nr, n)) {
					base[n] = 0;
				} else {
					base[n] = v < PLAIN_VALUES || chosen ? values[v] : 64;
				}
			}
			/* Strict mode would be the end. */
			if (nr == SYS_prctl && base[0] == 22 && base[1] == 1)
				base[1] = 2;
			try_arguments(nr, base);
			if (!has_descriptor)
				break;
		}
	}
}

static void run_call(int nr)
{
	int status;
	pid_t child = fork();

	if (!child) {
		setpgid(0, 0);
		ignore_signals();
		own = get_memory();
		structure = get_memory();
		open_descriptors();
		if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
			_exit(4);
		try_call(nr);
		ask(nr);
		_exit(0);
	}
	for (int tick = 0; tick < SECONDS * 200; tick++) {
		if (waitpid(child, &status, WNOHANG) == child) {
			if (!is_end(nr) && (!WIFEXITED(status) || WEXITSTATUS(status)))
				fail(nr, (uint64_t[6]){ 0 }, -1, "ended the process with", status);
			return;
		}
		usleep(5000);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	fail(nr, (uint64_t[6]){ 0 }, -1, "does not end", 0);
}

static int inside(int first, int last)
{
	made = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	failures = (unsigned int *)(made + 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	granule = ask(0);
	if (!granule || chdir("/tmp/canary"))
		return 1;
	/* Memory of the program's right before libdune's, if there can be any. */
	mmap((void *)(granule - PAGE), PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	for (int nr = first; nr <= last; nr++)
		run_call(nr);
	ask(0);
	printf("%lu calls made, %u failures\n", *made, *failures);
	return *failures != 0;
}

int main(int argc, char **argv)
{
	char *arguments[] = { "dune-run", "--check", argv[0], "inside", "0", "511", "1", NULL };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 4)
		every = atoi(arguments[6] = argv[4]);
	if (argc > 3) {
		arguments[4] = argv[2];
		arguments[5] = argv[3];
	}
	if (!every)
		return 2;
	return argc > 3 && !strcmp(argv[1], "inside") ? inside(atoi(argv[2]), atoi(argv[3])) : outside(arguments);
}
