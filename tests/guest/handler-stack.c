// SPDX-License-Identifier: MIT
/*
 * The size of the stack that handlers of exceptions run on: what is no size, a handler that needs 100 KiB, and what is
 * said where a handler uses more than there is.
 */
#include <alloca.h>
#include <pthread.h>
#include <sys/resource.h>

#include "proc.h"

#define KIB		1024UL
#define UD2_LENGTH	2

static size_t need;		/* bytes that the handler uses */
static volatile int nested;	/* ... and how often an exception comes in it */
static char text[4096];

static void ud2(void)
{
	__asm__ volatile("ud2" : : : "memory");
}

static void use(struct dune_tf *tf)
{
	volatile char *p = alloca(need);

	/* As a function that uses all of it does: none of the pages is left out. */
	for (size_t i = 0; i < need; i += KIB)
		p[need - 1 - i] = 1;
	if (nested-- > 0)
		ud2();
	tf->rip += UD2_LENGTH;
}

DUNE_BARE static void use_bare(struct dune_tf *tf)
{
	volatile char p[100 * KIB];

	for (size_t i = 0; i < sizeof(p); i += KIB)
		p[sizeof(p) - 1 - i] = 1;
	tf->rip += UD2_LENGTH;
}

/* It would run on the stack that has no room. */
static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	(void)addr, (void)fec, (void)tf;
	_exit(98);
}

static void *on_thread(void *arg)
{
	ud2();
	return arg;
}

static void use_everywhere(void)
{
	pthread_t thread;

	ud2();
	CHECK(!pthread_create(&thread, NULL, on_thread, NULL), "pthread_create");
	CHECK(!pthread_join(thread, NULL), "pthread_join");
	CHECK_EQUAL(IN_CHILD(
		ud2();
		CHECK(!pthread_create(&thread, NULL, on_thread, NULL) && !pthread_join(thread, NULL), "a thread");
	), EXITED(0), "a child");
}

static const struct scene {
	const char *name;
	size_t size;		/* of the stack, or 0: the default */
	size_t need;
	int nested;
	bool bare;
	const char *reason;	/* why it dies; NULL: it lives */
} scenes[] = {
	{ "40 KiB", 0, 40 * KIB, 0, false, NULL },
	{ "100 KiB of 64", 0, 100 * KIB, 0, false, "more than its stack of 64 KiB" },
	{ "100 KiB of 64, bare", 0, 100 * KIB, 0, true, "more than its stack of 64 KiB" },
	{ "100 KiB of 128", 128 * KIB, 100 * KIB, 0, false, NULL },
	{ "100 KiB of 128, bare", 128 * KIB, 100 * KIB, 0, true, NULL },
	{ "twice 50 KiB of 128", 128 * KIB, 50 * KIB, 1, false, NULL },
	{ "150 KiB of 128", 128 * KIB, 150 * KIB, 0, false, "more than its stack of 128 KiB" },
	{ "200 times 1 KiB of 128", 128 * KIB, KIB, 200, false, "exception in a handler" },
	{ "10 KiB of 32", 32 * KIB, 10 * KIB, 0, false, NULL },
	{ "10 times 10 KiB of 32", 32 * KIB, 10 * KIB, 10, false, "of 32 KiB" },
};

static void play(const struct scene *s)
{
	if (s->size)
		CHECK_EQUAL(dune_set_handler_stack(s->size), 0, s->name);
	DIE_UNLESS(!mode_enter(), "Dune mode");
	CHECK_EQUAL(dune_set_handler_stack(128 * KIB), -EBUSY, "after dune_init()");
	need = s->need;
	nested = s->nested;
	if (s->bare)
		dune_register_bare_intr_handler(T_ILLOP, use_bare);
	else
		dune_register_intr_handler(T_ILLOP, use);
	dune_register_pgflt_handler(on_fault);
	use_everywhere();
	_exit(check_failures != 0);
}

static void check_scene(const struct scene *s)
{
	const struct rlimit no_core = { 0, 0 };
	size_t size = 0;
	int ends[2], status;
	ssize_t got;
	pid_t pid;

	DIE_UNLESS(!pipe(ends), "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		play(s);
	}
	close(ends[1]);
	while ((got = read(ends[0], text + size, sizeof(text) - 1 - size)) > 0)
		size += got;
	text[size] = '\0';
	close(ends[0]);
	status = proc_wait(pid);
	if (!s->reason) {
		CHECK(status == EXITED(0), "%s: status %#x: %s", s->name, status, text);
		return;
	}
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%s: status %#x: %s", s->name, status, text);
	CHECK(strstr(text, s->reason) && strstr(text, "dune_set_handler_stack()"), "%s: no \"%s\" in: %s", s->name,
	      s->reason, text);
}

int main(void)
{
	static const size_t wrong[] = { 0, 4 * KIB, 28 * KIB, 33 * KIB, 64 * KIB + 1, 132 * KIB, 1 << 20, -4096UL };

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_EQUAL(dune_set_handler_stack(wrong[i]), -EINVAL, "what is no size");
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		check_scene(&scenes[i]);
	return check_result();
}
