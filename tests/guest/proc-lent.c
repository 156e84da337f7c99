// SPDX-License-Identifier: MIT
/*
 * execve() with large arguments, whose copies libdune has in areas of threads that there are not: what lay there harms
 * no thread that comes later, and none that runs meanwhile. Several threads have children by vfork() that do so, and
 * have their areas given up by their parents, while others begin and end.
 *
 *	proc-lent [inside|outside [ROUNDS]]
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proc.h"

#define LARGE		80000	/* bytes; of the 180 KiB of an area the record of its call is in the middle */
#define PARENTS		4
#define OTHERS		1
#define STATUS		7

static char large[LARGE];
static char *self;
static unsigned long rounds = 3;
static atomic_int parents_left;

/* In the child, all of it has come. */
static int look_at(const char *text)
{
	size_t length = strlen(text);

	return length == LARGE - 1 && text[0] == 'A' && !memcmp(text, text + 1, length - 1) ? STATUS : 1;
}

static void exec_nothing(void)
{
	char *argv[] = { "nothing", large, NULL };

	CHECK_EQUAL(execv("/nonexistent", argv), -1, "execv of nothing");
	CHECK_EQUAL(errno, ENOENT, "execv of nothing");
}

/* Calls whose structures are copied. */
static void *make_calls(void *unused)
{
	char a[8] = "12345678", b[8];
	int ends[2];

	(void)unused;
	if (pipe(ends))
		return NULL;
	for (int i = 0; i < 4; i++) {
		struct iovec from[] = { { a, 4 }, { a + 4, 4 } }, to[] = { { b, 4 }, { b + 4, 4 } };

		CHECK_EQUAL(writev(ends[1], from, 2), 8, "writev");
		CHECK_EQUAL(readv(ends[0], to, 2), 8, "readv");
		CHECK(!memcmp(a, b, sizeof(a)), "what was read");
	}
	close(ends[0]);
	close(ends[1]);
	return unused;
}

static void have_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, make_calls, NULL))
		return;
	pthread_join(thread, NULL);
}

static pid_t spawn_child(void)
{
	char *argv[] = { self, "outside", "child", large, NULL };
	const pid_t pid = vfork();

	if (!pid) {
		execv(self, argv);
		_exit(99);
	}
	return pid;
}

static void *spawn_children(void *unused)
{
	for (unsigned long i = 0; i < rounds; i++) {
		pid_t pid = spawn_child();

		CHECK(pid > 0, "vfork: %s", strerror(errno));
		CHECK_EQUAL(proc_wait(pid), EXITED(STATUS), "a child");
	}
	parents_left--;
	return unused;
}

static void *begin_and_end(void *unused)
{
	while (parents_left) {
		have_thread();
		exec_nothing();
		usleep(1000);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[PARENTS + OTHERS];

	if (argc > 3 && !strcmp(argv[2], "child"))
		return look_at(argv[3]);
	proc_begin(argc, argv);
	self = argv[0];
	if (argc > 2)
		rounds = strtoul(argv[2], NULL, 0);
	memset(large, 'A', LARGE - 1);

	exec_nothing();
	have_thread();

	parents_left = PARENTS;
	for (int i = 0; i < PARENTS + OTHERS; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, i < PARENTS ? spawn_children : begin_and_end, NULL),
			   "a thread");
	for (int i = 0; i < PARENTS + OTHERS; i++)
		pthread_join(threads[i], NULL);
	return check_result();
}
