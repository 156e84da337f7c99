// SPDX-License-Identifier: MIT
/*
 * futex(), each operation: between threads and between processes, with priority inheritance, several at
 * once, and what is left by an owner that dies.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc.h"

#define NR_FUTEX_WAITV	449

static long futex(atomic_int *word, int op, int value, const void *fourth, atomic_int *word2, int value3)
{
	return syscall(SYS_futex, word, op, value, fourth, word2, value3);
}

struct waiter {
	pthread_t thread;
	atomic_int *word;
	int op, bits;
	atomic_int waits;
	long result;
};

static void *waits(void *arg)
{
	struct waiter *w = arg;

	w->waits = syscall(SYS_gettid);
	do {
		w->result = futex(w->word, w->op, 0, NULL, NULL, w->bits);
	} while (w->result && errno == EINTR);
	return NULL;
}

static void start(struct waiter *w, atomic_int *word, int op, int bits)
{
	*w = (struct waiter){ .word = word, .op = op, .bits = bits };
	DIE_UNLESS(!pthread_create(&w->thread, NULL, waits, w), "pthread_create");
	while (!w->waits)
		sched_yield();
	proc_until_asleep(w->waits);
}

static void end(struct waiter *w)
{
	pthread_join(w->thread, NULL);
	CHECK_EQUAL(w->result, 0, "a futex that was woken");
}

static void waiting(void)
{
	const struct timespec soon = { .tv_nsec = 20000000 };
	atomic_int a = 0, b = 0;
	struct waiter w[3];

	CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN, "another value");
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0), ETIMEDOUT, "a time");
	CHECK_ERRNO(futex((atomic_int *)8, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT, "no memory");

	start(&w[0], &a, FUTEX_WAIT_BITSET_PRIVATE, 1);
	start(&w[1], &a, FUTEX_WAIT_BITSET_PRIVATE, 2);
	CHECK_EQUAL(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 4), 0, "waking no one's bit");
	CHECK_EQUAL(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 2), 1, "waking one's bit");
	end(&w[1]);
	CHECK_EQUAL(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1, "waking");
	end(&w[0]);

	for (int i = 0; i < 3; i++)
		start(&w[i], &a, FUTEX_WAIT_PRIVATE, 0);
	CHECK_ERRNO(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2L, &b, 5), EAGAIN, "requeue of another value");
	CHECK_EQUAL(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2L, &b, 0), 3, "requeue");
	CHECK_EQUAL(futex(&a, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 0, "who was requeued");
	CHECK_EQUAL(futex(&a, FUTEX_WAKE_OP_PRIVATE, 9, (void *)9L, &b,
			  FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 0)), 2, "FUTEX_WAKE_OP");
	CHECK_EQUAL(b, 7, "the word of FUTEX_WAKE_OP");
	for (int i = 0; i < 3; i++)
		end(&w[i]);
}

/* ---- priority inheritance ---- */

static pthread_mutex_t inherits;
static volatile int counter;

static void *adds(void *arg)
{
	for (int i = 0; i < 200; i++) {
		int before;

		pthread_mutex_lock(&inherits);
		before = counter;
		if (!(i % 20))
			sched_yield();
		counter = before + 1;
		pthread_mutex_unlock(&inherits);
	}
	return arg;
}

static void inheritance(void)
{
	pthread_mutexattr_t attributes;
	pthread_t threads[4];

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	CHECK_EQUAL(pthread_mutex_init(&inherits, &attributes), 0, "a mutex with priority inheritance");
	for (int i = 0; i < 4; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, adds, NULL), "pthread_create");
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQUAL(counter, 800, "what four threads added");
	CHECK_EQUAL(pthread_mutex_lock(&inherits), 0, "lock");
	CHECK_EQUAL(futex((atomic_int *)&inherits.__data.__lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) == -1 &&
		    errno == EDEADLK, true, "locking what one has");
	pthread_mutex_unlock(&inherits);
}

/* ---- between processes ---- */

struct both {
	atomic_int word, answer;
	pthread_mutex_t robust;
};

static void processes(void)
{
	struct both *both = mmap(NULL, sizeof(*both), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attributes;
	pid_t pid;

	pid = fork();
	if (!pid) {
		for (int i = 0; i < 200; i++) {
			while (both->word != i + 1)
				futex(&both->word, FUTEX_WAIT, i, NULL, NULL, 0);
			both->answer = i + 1;
			futex(&both->answer, FUTEX_WAKE, 1, NULL, NULL, 0);
		}
		_exit(0);
	}
	for (int i = 0; i < 200; i++) {
		both->word = i + 1;
		futex(&both->word, FUTEX_WAKE, 1, NULL, NULL, 0);
		while (both->answer != i + 1)
			futex(&both->answer, FUTEX_WAIT, i, NULL, NULL, 0);
	}
	CHECK_EQUAL(proc_wait(pid), 0, "the other process");

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&both->robust, &attributes);
	/* libdune follows a checked program's list, not the kernel: a killed process's nobody. */
	if (getenv("EXPECT_CHECKED"))
		CHECK_EQUAL(IN_CHILD(pthread_mutex_lock(&both->robust); _exit(0)), 0, "the owner's end");
	else
		CHECK_EQUAL(IN_CHILD(pthread_mutex_lock(&both->robust); kill(getpid(), SIGKILL)), SIGKILL,
			    "the owner's end");
	CHECK_EQUAL(pthread_mutex_lock(&both->robust), EOWNERDEAD, "a mutex of a dead process");
	CHECK_EQUAL(pthread_mutex_consistent(&both->robust), 0, "pthread_mutex_consistent");
	CHECK_EQUAL(pthread_mutex_unlock(&both->robust), 0, "unlock");
	munmap(both, sizeof(*both));
}

/* ---- several at once (5.16) ---- */

struct waitv {
	__u64 value, address;
	__u32 flags, reserved;
};

static void *wakes(void *arg)
{
	atomic_int *word = arg;

	while (!futex(word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0))
		usleep(1000);
	return NULL;
}

static void several(void)
{
	atomic_int words[3] = { 0 };
	struct waitv w[3] = { 0 };
	pthread_t thread;

	for (int i = 0; i < 3; i++)
		w[i] = (struct waitv){ 0, (unsigned long)&words[i], 2 | FUTEX_PRIVATE_FLAG, 0 };
	if (syscall(NR_FUTEX_WAITV, NULL, 0, 0, NULL, 0) && errno == ENOSYS)
		return;
	DIE_UNLESS(!pthread_create(&thread, NULL, wakes, &words[1]), "pthread_create");
	CHECK_EQUAL(syscall(NR_FUTEX_WAITV, w, 3, 0, NULL, 0), 1, "the one of three that was woken");
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	waiting();
	inheritance();
	processes();
	several();
	return check_result();
}
