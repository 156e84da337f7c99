// SPDX-License-Identifier: MIT
/*
 * dune_init() finds room for libdune's granule wherever the program has put its own memory, and
 * what the program maps later does not get into it.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "proc.h"

#define GIB	(1UL << 30)

static void *thread(void *arg)
{
	CHECK_WORLD("a thread");
	return arg;
}

/* Everything that needs a thread area. */
static void try_all(const char *where)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread, NULL), "%s: pthread_create", where);
	CHECK_EQUAL(IN_CHILD(
		char *pages[50];

		/* Holes that the fork has left must not be given to the program. */
		for (int i = 0; i < 50; i++) {
			pages[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			*pages[i] = i;
		}
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_create(&threads[i], NULL, thread, NULL), "%s: pthread_create", where);
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_join(threads[i], NULL), "%s: pthread_join", where);
		for (int i = 0; i < 50; i++)
			CHECK_EQUAL(*pages[i], i, "the program's page");
	), EXITED(0), where);
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL), "%s: pthread_join", where);
}

static void enter(void)
{
	int error = dune_init_and_enter();

	if (!CHECK(!error, "dune_init_and_enter: %s", strerror(-error)))
		_exit(1);
	proc_inside = true;
}

/* Each GiB has something in it then: where the kernel has put the program's libraries, those. */
static void fill_below_stack(void)
{
	unsigned long stack = (unsigned long)__builtin_frame_address(0) & -GIB;

	for (unsigned long at = stack - 32 * GIB; at < stack - GIB; at += GIB)
		CHECK(mmap((void *)at, GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			   MAP_FIXED_NOREPLACE, -1, 0) == (void *)at || errno == EEXIST, "mmap below the stack: %s", strerror(errno));
}

int main(void)
{
	CHECK_EQUAL(IN_CHILD(enter(); try_all("as it is")), EXITED(0), "as it is");
	CHECK_EQUAL(IN_CHILD(
		fill_below_stack();
		enter();
		try_all("below the stack is no room")
	), EXITED(0), "below the stack is no room");
	return check_result();
}
