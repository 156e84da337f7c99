// SPDX-License-Identifier: MIT
/*
 * A process that shares its parent's memory is killed, at each of its system calls and at random instructions: by
 * vfork(), and by clone() with CLONE_VM. The parent goes on: it catches signals, maps and touches memory, makes
 * threads, forks; and nothing of the dead is left.
 *
 *	proc-killed inside|outside [DEATHS [STEP]]
 *
 * With STEP the child is killed at each STEP-th entry or exit of a call, at others by clone() than by vfork(). An odd
 * STEP has both entries and exits.
 */
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "proc.h"

#define GRANULE		(1UL << 30)
#define FAR		(1UL << 40)	/* from here on nothing is mapped */
#define NR_FAR		1000UL		/* granules, for each of the two; more than the guest can have at once */
#define STACK		65536
#define AREAS		16UL		/* of threads, of 256 KiB */
#define SECONDS		100		/* for what takes milliseconds */

static char child_stack[STACK] __attribute__((aligned(16)));
static char thread_stack[STACK] __attribute__((aligned(16)));
static volatile pid_t victim;
static volatile int thread_word;
static unsigned long seed = 1;

static unsigned long next_random(void)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return seed >> 33;
}

static void note(int signo)
{
	(void)signo;
}

static void too_late(int signo)
{
	static const char text[] = "FAIL: somebody waits for ever\n";

	(void)signo;
	_exit(write(STDOUT_FILENO, text, sizeof(text) - 1) > 0 ? 1 : 2);
}

/* A first touch there, of a granule that the guest may not have yet. */
static bool touch_far(unsigned long first, unsigned long number)
{
	volatile char *p = mmap((void *)(FAR + (first + number % NR_FAR) * GRANULE), 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	*p = 1;
	return !munmap((void *)p, 4096);
}

static int thread_of_child(void *arg)
{
	(void)arg;
	syscall(SYS_exit, 0);
	return 0;
}

/* What takes locks, and memory. No function of the C library's that has a lock of its own. */
static void work(unsigned long number)
{
	const struct sigaction action = { .sa_handler = note };
	static char *const words[] = { "x", NULL };
	pid_t pid;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	touch_far(0, number);
	pid = syscall(SYS_fork);
	if (!pid)
		syscall(SYS_exit_group, 0);
	syscall(SYS_wait4, pid, NULL, 0, NULL);
	thread_word = 1;
	clone(thread_of_child, thread_stack + STACK, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
	      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID, NULL, NULL, NULL, &thread_word);
	while (thread_word)
		syscall(SYS_futex, &thread_word, 0 /* FUTEX_WAIT */, 1, NULL);
	execve("/nothing", words, words);
}

static int works_once(void *arg)
{
	work((unsigned long)arg);
	syscall(SYS_exit_group, 0);
	return 0;
}

static int works(void *arg)
{
	unsigned long number = (unsigned long)arg;

	victim = syscall(SYS_getpid);
	do
		work(number++);
	while (victim != -1);		/* never */
	return 0;
}

/* A child that does @what with this memory, or -errno.  After vfork() it has ended. */
static pid_t start(int (*what)(void *), unsigned long arg, bool by_vfork)
{
	return clone(what, child_stack + STACK, CLONE_VM | SIGCHLD | (by_vfork ? CLONE_VFORK : 0), (void *)arg);
}

static void *ends(void *arg)
{
	return arg;
}

/* All that needs what the dead may have had. */
static void go_on(unsigned long number)
{
	const struct sigaction action = { .sa_handler = SIG_DFL };
	pthread_t thread;

	CHECK(!sigaction(SIGSEGV, &action, NULL) && !sigaction(SIGBUS, &action, NULL), "sigaction");
	CHECK(touch_far(NR_FAR, number), "mmap: %s", strerror(errno));
	CHECK(!pthread_create(&thread, NULL, ends, NULL) && !pthread_join(thread, NULL), "a thread");
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child");
			     CHECK(touch_far(NR_FAR, number + 1), "mmap in a child: %s", strerror(errno));
			     CHECK(!pthread_create(&thread, NULL, ends, NULL) && !pthread_join(thread, NULL),
				   "a thread of a child")), EXITED(0), "a child");
}

/* ---- at each system call ---- */

/* The process that loses a child at once. */
static void loses(bool by_vfork)
{
	pid_t pid;

	raise(SIGSTOP);
	pid = start(works_once, 1, by_vfork);
	CHECK(pid > 0, "clone: %s", strerror(errno));
	if (pid > 0)
		proc_wait(pid);
	go_on(2);
}

/*
 * Kill the tracee's child at its @stop-th stop, entries and exits of system calls.  Returns false when it has ended
 * before.
 */
static bool kill_at(unsigned int stop, bool by_vfork)
{
	const long options = PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL;
	bool killed = false;
	int status, parent_status = -1, signo;
	pid_t parent, child = 0, pid;
	unsigned int stops = 0;

	fflush(stdout);
	parent = fork();
	if (!parent) {
		check_failures = 0;
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		loses(by_vfork);
		_exit(check_failures != 0);
	}
	CHECK(waitpid(parent, &status, 0) == parent && WIFSTOPPED(status), "the parent's beginning: %#x", status);
	CHECK(!ptrace(PTRACE_SETOPTIONS, parent, 0, options), "PTRACE_SETOPTIONS: %s", strerror(errno));
	CHECK(!ptrace(PTRACE_CONT, parent, 0, 0), "PTRACE_CONT");
	alarm(SECONDS);
	while (parent_status == -1) {
		pid = waitpid(-1, &status, __WALL);
		if (!CHECK(pid > 0, "waitpid: %s", strerror(errno)))
			break;
		if (!WIFSTOPPED(status)) {
			if (pid == parent)
				parent_status = status;
			continue;
		}
		if (pid != parent && !child)
			child = pid;
		if (pid == child && stops++ == stop) {
			killed = true;
			kill(child, SIGKILL);
			continue;
		}
		signo = WSTOPSIG(status);
		if (status >> 16 || signo == SIGTRAP || signo == SIGSTOP)
			signo = 0;
		ptrace(pid == child ? PTRACE_SYSCALL : PTRACE_CONT, pid, 0, signo);
	}
	alarm(0);
	CHECK(parent_status == EXITED(0), "%s, killed at stop %u: its parent's status is %#x",
	      by_vfork ? "a child of vfork()" : "a process with this memory", stop, parent_status);
	return killed;
}

static void at_each_call(bool by_vfork, unsigned int step)
{
	unsigned int stop = by_vfork ? 0 : step / 2;

	while (kill_at(stop, by_vfork) && !check_failures)
		stop += step;
	printf("%s: killed at one in %u of %u stops\n", by_vfork ? "vfork" : "clone", step, stop);
	CHECK(stop > 10, "the child has stopped only %u times", stop);
}

/* ---- at random instructions ---- */

static volatile bool over;

/* Kills whoever says that it works, after so many rounds. */
static void *kills(void *arg)
{
	unsigned long range = 200000;

	(void)arg;
	while (!over) {
		pid_t pid = victim;

		if (!pid) {
			sched_yield();
			continue;
		}
		victim = 0;
		for (volatile unsigned long n = next_random() % range; n; n--)
			;
		kill(pid, SIGKILL);
	}
	return NULL;
}

static void at_random(unsigned long deaths)
{
	struct proc_size before = { 0 }, after;
	pthread_t killer;
	double start_time = check_seconds();

	CHECK(!pthread_create(&killer, NULL, kills, NULL), "pthread_create");
	for (unsigned long i = 0; i < deaths && !check_failures; i++) {
		pid_t pid;
		int status;

		munmap((void *)FAR, NR_FAR * GRANULE);		/* what the last one has left there */
		if (i == deaths / 4)
			before = proc_size();
		pid = start(works, i, i % 2);
		if (!CHECK(pid > 0, "clone: %s", strerror(errno)))
			break;
		if (i % 8 == 0)		/* the dead is not waited for yet */
			go_on(i);
		alarm(SECONDS);
		status = proc_wait(pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "who was killed: %#x", status);
		if (i % 8 == 3)
			go_on(i);
	}
	alarm(0);
	over = true;
	pthread_join(killer, NULL);
	munmap((void *)FAR, NR_FAR * GRANULE);
	after = proc_size();
	printf("%lu deaths in %.0f s; data %+ld KiB, resident %+ld, mappings %+ld\n", deaths,
	       check_seconds() - start_time, (long)(after.data - before.data), (long)(after.resident - before.resident),
	       (long)(after.mappings - before.mappings));
	/* A few thread areas may be those of dead ones that nobody has met yet. */
	CHECK(after.data < before.data + AREAS * 256 && after.mappings < before.mappings + 3 * AREAS &&
	      after.resident < before.resident + AREAS * 64,
	      "the dead have left: data %lu -> %lu KiB, resident %lu -> %lu, mappings %lu -> %lu", before.data,
	      after.data, before.resident, after.resident, before.mappings, after.mappings);
}

int main(int argc, char **argv)
{
	unsigned long deaths = argc > 2 ? strtoul(argv[2], NULL, 0) : 400;
	unsigned int step = argc > 3 ? strtoul(argv[3], NULL, 0) : 1;

	proc_begin(argc, argv);
	signal(SIGALRM, too_late);
	DIE_UNLESS(step > 0, "a step of 0");
	at_each_call(true, step);
	at_each_call(false, step);
	at_random(deaths);
	return check_result();
}
