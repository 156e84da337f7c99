// SPDX-License-Identifier: MIT
/*
 * Threads: many at once and one after another, in any order of ending, with what each has of
 * its own; cancellation; the end of the process while they run.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc.h"

#define SMALL_STACK	65536

static __thread int own = 7;
static __thread char own_name[64];
static pthread_attr_t small;

static pthread_t start(void *(*body)(void *), void *arg)
{
	pthread_t thread = 0;

	CHECK_EQUAL(pthread_create(&thread, &small, body, arg), 0, "pthread_create");
	return thread;
}

static void *join(pthread_t thread)
{
	void *result = NULL;

	CHECK_EQUAL(pthread_join(thread, &result), 0, "pthread_join");
	return result;
}

/* ---- many at once ---- */

static pthread_barrier_t all_here;

static void *one_of_many(void *arg)
{
	long number = (long)arg;

	CHECK_WORLD("a thread");
	CHECK_EQUAL(own, 7, "a fresh thread's variable");
	own = number;
	snprintf(own_name, sizeof(own_name), "thread %ld", number);
	pthread_barrier_wait(&all_here);
	CHECK_EQUAL(own, number, "a thread's variable");
	CHECK_EQUAL(syscall(SYS_gettid) == getpid(), 0, "a thread's number");
	return (void *)(number * 3);
}

static void many_at_once(unsigned int count)
{
	pthread_t threads[count];

	pthread_barrier_init(&all_here, NULL, count + 1);
	for (unsigned long i = 0; i < count; i++)
		threads[i] = start(one_of_many, (void *)i);
	pthread_barrier_wait(&all_here);
	for (unsigned long i = 0; i < count; i++)
		CHECK_EQUAL((long)join(threads[i]), i * 3, "a thread's result");
	pthread_barrier_destroy(&all_here);
}

/* ---- one after another: nothing stays ---- */

static void *trivial(void *arg)
{
	return arg;
}

static void one_after_another(unsigned int count)
{
	struct proc_size before = { 0 };

	for (unsigned int i = 0; i < count; i++) {
		if (i == 10)
			before = proc_size();
		CHECK_EQUAL((long)join(start(trivial, (void *)5L)), 5, "a thread's result");
	}
	proc_check_growth(&before, "threads one after another");
}

/* ---- cancellation ---- */

static volatile int cleaned;
static sem_t ready;

static void clean(void *arg)
{
	cleaned += (int)(long)arg;
}

static void *waits_for_ever(void *arg)
{
	int pipe_ends[2];
	char c;

	(void)arg;
	DIE_UNLESS(!pipe(pipe_ends), "pipe");
	pthread_cleanup_push(clean, (void *)10L);
	sem_post(&ready);
	if (read(pipe_ends[0], &c, 1) >= 0)
		CHECK(false, "the read returned");
	pthread_cleanup_pop(0);
	return NULL;
}

static void *runs_for_ever(void *arg)
{
	(void)arg;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cleanup_push(clean, (void *)100L);
	sem_post(&ready);
	for (volatile unsigned long i = 0;; i++)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

static void *polls_for_cancel(void *arg)
{
	(void)arg;
	pthread_cleanup_push(clean, (void *)1000L);
	sem_post(&ready);
	for (;;) {
		pthread_testcancel();
		sched_yield();
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel(void)
{
	void *(*const bodies[])(void *) = { waits_for_ever, runs_for_ever, polls_for_cancel };
	pthread_t thread;

	sem_init(&ready, 0, 0);
	for (unsigned int i = 0; i < 9; i++) {
		thread = start(bodies[i % 3], NULL);
		sem_wait(&ready);
		if (i >= 3)
			sched_yield();
		CHECK_EQUAL(pthread_cancel(thread), 0, "pthread_cancel");
		CHECK(join(thread) == PTHREAD_CANCELED, "a thread that was cancelled");
	}
	CHECK_EQUAL(cleaned, 3330, "clean-up handlers");
}

/* ---- locks ---- */

#define TURNS	2000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned int turn;

static void *take_turns(void *arg)
{
	unsigned long me = (unsigned long)arg;

	pthread_mutex_lock(&lock);
	while (turn < TURNS) {
		if (turn % 3 == me) {
			turn++;
			pthread_cond_broadcast(&changed);
		} else {
			pthread_cond_wait(&changed, &lock);
		}
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static pthread_mutex_t robust;

static void *dies_with_lock(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&robust);
	return NULL;
}

static void locks(void)
{
	pthread_mutexattr_t attr;
	pthread_t threads[3];

	for (unsigned long i = 0; i < 3; i++)
		threads[i] = start(take_turns, (void *)i);
	for (unsigned int i = 0; i < 3; i++)
		join(threads[i]);
	CHECK_EQUAL(turn, TURNS, "turns taken");

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
	join(start(dies_with_lock, NULL));
	CHECK_EQUAL(pthread_mutex_lock(&robust), EOWNERDEAD, "the lock of a dead thread");
	CHECK_EQUAL(pthread_mutex_consistent(&robust), 0, "pthread_mutex_consistent");
	pthread_mutex_unlock(&robust);
}

/* ---- the end of the process ---- */

static void *spins(void *arg)
{
	sem_post(&ready);
	for (;;)
		if (arg)
			sched_yield();
	return NULL;
}

static void *exits_process(void *arg)
{
	exit((int)(long)arg);
}

static void *exits_late(void *arg)
{
	CHECK_EQUAL(pthread_join((pthread_t)arg, NULL), 0, "joining the main thread");
	CHECK_WORLD("a thread that outlives the main one");
	_exit(check_failures ? 1 : 33);
}

static void start_spinning(unsigned int count)
{
	for (unsigned long i = 0; i < count; i++) {
		start(spins, (void *)(i % 2));
		sem_wait(&ready);
	}
}

static void endings(void)
{
	int status;

	status = IN_CHILD(start_spinning(4); _exit(31));
	CHECK_EQUAL(status, EXITED(31), "_exit() while threads run");
	status = IN_CHILD(start_spinning(4); start(exits_process, (void *)32L); for (;;) pause());
	CHECK_EQUAL(status, EXITED(32), "exit() of a thread while others run");
	status = IN_CHILD(start(exits_late, (void *)pthread_self()); pthread_exit(NULL));
	CHECK_EQUAL(status, EXITED(33), "the main thread ended first");
	status = IN_CHILD(start_spinning(4); kill(getpid(), SIGKILL); for (;;) pause());
	CHECK_EQUAL(status, SIGKILL, "SIGKILL while threads run");
	status = IN_CHILD(start_spinning(4); __builtin_trap());
	CHECK_EQUAL(WTERMSIG(status), SIGILL, "a fatal exception while threads run");
	status = IN_CHILD(pthread_t t = start(spins, NULL); sem_wait(&ready); pthread_kill(t, SIGUSR1);
			  for (;;) pause());
	CHECK_EQUAL(status, SIGUSR1, "a thread that runs in the guest is killed");
	status = IN_CHILD(start_spinning(2); execl("/proc/self/exe", "proc-threads", "exit", NULL));
	CHECK_EQUAL(status, EXITED(34), "exec() while threads run");
}

/* ---- clone() itself ---- */

static int raw_thread(void *arg)
{
	CHECK_WORLD("a raw clone");
	*(volatile int *)arg = 99;
	return 0;
}

static volatile int cleared_at_exit = 1;

static int moves_clear_tid(void *arg)
{
	*(volatile int *)arg = syscall(SYS_set_tid_address, &cleared_at_exit) == syscall(SYS_gettid) ? 98 : -1;
	return 0;
}

/* What is cleared and woken at the end of a thread is said by it, not by who made it. */
static void set_tid_address(void)
{
	static char stack[SMALL_STACK] __attribute__((aligned(16)));
	static volatile int value, untouched = 1;
	int tid = clone(moves_clear_tid, stack + sizeof(stack),
			CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			CLONE_CHILD_CLEARTID, (void *)&value, NULL, NULL, &untouched);

	CHECK(tid > 0, "clone: %s", strerror(errno));
	while (cleared_at_exit)
		syscall(SYS_futex, &cleared_at_exit, 0, 1, NULL);
	CHECK_EQUAL(value, 98, "set_tid_address() of a thread");
	CHECK_EQUAL(untouched, 1, "what CLONE_CHILD_CLEARTID named before");
	/* The kernel takes any address, and one that is bad is not written. */
	CHECK_EQUAL(IN_CHILD(syscall(SYS_set_tid_address, 1)), EXITED(0), "the end of a process with a bad one");
}

/* glibc has registered its own by now where there are such. */
static void restartable_sequences(void)
{
	CHECK_ERRNO(syscall(SYS_rseq, NULL, 0, 0, 0), proc_inside || world_has_run_page() ? ENOSYS : EINVAL, "rseq");
}

/* What is longer than the kernel knows must be 0 there. */
static void clone3_sizes(void)
{
	const size_t page = 4096, size = 300;
	/* What a checked program has in memory is copied before anything of it is looked at. */
	const int too_big = getenv("EXPECT_CHECKED") ? EFAULT : E2BIG;
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long *args = (unsigned long *)(pages + page - 400);	/* exit_signal is word 4, stack 5, its size 6 */
	pid_t pid;

	mprotect(pages + page, page, PROT_NONE);
	args[4] = SIGCHLD;
	pid = syscall(SYS_clone3, args, size);
	if (!pid)
		_exit(3);
	CHECK(pid > 0 && proc_wait(pid) == EXITED(3), "clone3 with zeros behind: %s", strerror(errno));
	CHECK_ERRNO(syscall(SYS_clone3, args, 500), EFAULT, "clone3, and not all is there");
	((char *)args)[size - 1] = 1;
	CHECK_ERRNO(syscall(SYS_clone3, args, size), E2BIG, "clone3 with something behind");
	CHECK_ERRNO(syscall(SYS_clone3, args, 500), too_big, "the same, and not all is there");
	CHECK_ERRNO(syscall(SYS_clone3, args, page + 1), E2BIG, "clone3 of more than a page");
	CHECK_ERRNO(syscall(SYS_clone3, pages + page - 88 - sizeof(long), 200), EFAULT, "clone3, and not all is there");
	pages[page - 1] = 1;
	CHECK_ERRNO(syscall(SYS_clone3, pages + page - 88 - sizeof(long), 200), too_big, "the same, and not zeros");
	args[5] = 0x7ffffffff000;
	args[6] = 2;
	CHECK_ERRNO(syscall(SYS_clone3, args, 88), EINVAL, "clone3 with a stack that ends too high");
	args[5] = -8192;
	args[6] = 4096;
	CHECK_ERRNO(syscall(SYS_clone3, args, 88), EINVAL, "clone3 with a stack that is nowhere");
	args[6] = 8192;
	CHECK_ERRNO(syscall(SYS_clone3, args, 88), EINVAL, "clone3 with a stack that wraps");
	munmap(pages, 2 * page);
}

static void raw_clone(void)
{
	static char stack[SMALL_STACK] __attribute__((aligned(16)));
	static volatile int value;
	int tid, parent = 0;
	static volatile int cleared = 1;

	tid = clone(raw_thread, stack + sizeof(stack),
		    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
		    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, (void *)&value, &parent, NULL, &cleared);
	CHECK(tid > 0, "clone: %s", strerror(errno));
	while (cleared)
		syscall(SYS_futex, &cleared, 0, 1, NULL);
	CHECK_EQUAL(value, 99, "what the clone wrote");
	CHECK_EQUAL(parent, tid, "CLONE_PARENT_SETTID");

	/* A process that shares memory. */
	value = 0;
	tid = clone(raw_thread, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)&value);
	CHECK(tid > 0, "clone: %s", strerror(errno));
	CHECK_EQUAL(proc_wait(tid), 0, "the end of a process that shared memory");
	CHECK_EQUAL(value, 99, "what it wrote");
	CHECK_ERRNO(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), EINVAL, "clone with impossible flags");
	CHECK_ERRNO(syscall(SYS_clone3, NULL, 64), EFAULT, "clone3 of nothing");
	CHECK_ERRNO(syscall(SYS_clone3, &value, 8), EINVAL, "clone3 of too little");
	clone3_sizes();
}

static volatile int handled;

static void handle(int signo)
{
	handled += signo;
}

static int forks(void *arg)
{
	int child = syscall(SYS_fork);

	if (!child) {
		syscall(SYS_kill, syscall(SYS_getpid), SIGUSR2);
		syscall(SYS_exit_group, handled == SIGUSR2 ? 37 : 1);
	}
	*(volatile int *)arg = proc_wait(child);
	return 0;
}

static int sets_handler(void *arg)
{
	static char stack[SMALL_STACK] __attribute__((aligned(16)));
	int child;

	signal(SIGUSR2, handle);
	child = clone(forks, stack + sizeof(stack), CLONE_VM | CLONE_SIGHAND | SIGCHLD, arg);
	return proc_wait(child);
}

/* Handlers are shared by two of three processes with one memory; one of those forks. */
static void shared_handlers(void)
{
	static char stack[SMALL_STACK] __attribute__((aligned(16)));
	static volatile int value;
	int child = clone(sets_handler, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)&value);

	CHECK(child > 0, "clone: %s", strerror(errno));
	CHECK_EQUAL(proc_wait(child), 0, "processes that share memory and handlers");
	CHECK_EQUAL(value, EXITED(37), "the child of one of them, which handles a signal");
	CHECK(signal(SIGUSR2, SIG_DFL) == SIG_DFL, "another's handler is ours");
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 2 ? atoi(argv[2]) : 1000;

	if (argc > 1 && !strcmp(argv[1], "exit"))
		return 34;
	proc_begin(argc, argv);
	sem_init(&ready, 0, 0);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, SMALL_STACK);
	many_at_once(500);
	one_after_another(count);
	cancel();
	locks();
	raw_clone();
	shared_handlers();
	set_tid_address();
	restartable_sequences();
	endings();
	many_at_once(50);
	return check_result();
}
