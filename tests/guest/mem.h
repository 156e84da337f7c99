/* SPDX-License-Identifier: MIT */
/*
 * What the tests of memory share. Each looks at the same memory from two sides:
 * from the guest, and from an ordinary thread or process that was made before the first
 * dune_enter() and does what it is asked to.
 *
 * With NODUNE=1 in the environment nobody enters Dune mode: the same checks must
 * hold, which tests the test.
 */
#ifndef TESTS_MEM_H
#define TESTS_MEM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <dune.h>

#include "mode.h"

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define GIB		(1UL << 30)
#define RW		(PROT_READ | PROT_WRITE)
#define ANON		(MAP_PRIVATE | MAP_ANONYMOUS)
#define N_ELEMENTS(a)	(sizeof(a) / sizeof((a)[0]))

/* exit() would run what the other thread may be in the middle of. */
#define DIE(status, ...)						\
	do {								\
		char die_text[300];					\
		int die_size = snprintf(die_text, sizeof(die_text), __VA_ARGS__); \
									\
		(void)!write(1, die_text, die_size);			\
		_exit(status);						\
	} while (0)

#define FAIL(format, ...)						\
	DIE(1, "%s:%d (%s): " format "\n", __FILE__, __LINE__,		\
	    dune_in_dune_mode() ? "guest" : "outside", ##__VA_ARGS__)

#define CHECK(condition)						\
	do {								\
		if (!(condition))					\
			FAIL("not true: %s (errno %d)", #condition, errno); \
	} while (0)

#define CHECK_EQ(got, expected)						\
	do {								\
		long check_got = (long)(got), check_expected = (long)(expected); \
									\
		if (check_got != check_expected)			\
			FAIL("%s is %#lx, not %#lx", #got, check_got, check_expected); \
	} while (0)

#define SKIP(format, ...)	DIE(77, format "\n", ##__VA_ARGS__)

static inline bool no_dune(void)
{
	return getenv("NODUNE") != NULL;
}

static inline void enter(void)
{
	int r;

	if (no_dune())
		return;
	r = mode_enter();
	if (r)
		FAIL("dune_init_and_enter: %d", r);
	CHECK(dune_in_dune_mode());
}

/* ---- ordinary threads and processes ---- */

typedef long (*job_fn)(long a, long b, long c);

struct job {
	job_fn fn;
	long args[3];
};

struct ordinary {
	int to[2], from[2];
	pid_t pid;		/* of a process */
};

#define HERE	((struct ordinary *)NULL)

static inline void *work(void *arg)
{
	struct ordinary *o = arg;
	struct job job;
	long result;

	CHECK(!dune_in_dune_mode());
	while (read(o->to[0], &job, sizeof(job)) == sizeof(job)) {
		CHECK(!dune_in_dune_mode());
		result = job.fn(job.args[0], job.args[1], job.args[2]);
		CHECK(write(o->from[1], &result, sizeof(result)) == sizeof(result));
	}
	return NULL;
}

static inline struct ordinary *new_ordinary(void)
{
	struct ordinary *o = calloc(1, sizeof(*o));

	CHECK(!dune_in_dune_mode());
	CHECK(o && !pipe(o->to) && !pipe(o->from));
	return o;
}

/* A thread of this process that never is in Dune mode. */
static inline struct ordinary *ordinary_thread(void)
{
	struct ordinary *o = new_ordinary();
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, work, o));
	return o;
}

/* A process that shares what is shared, and has a copy of all else. */
static inline struct ordinary *ordinary_process(void)
{
	struct ordinary *o = new_ordinary();

	o->pid = fork();
	CHECK(o->pid >= 0);
	if (!o->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(o->to[1]);
		work(o);
		_exit(0);
	}
	return o;
}

/* Have @o begin with @fn(@a, @b, @c); wait_for() gives its result. */
static inline void begin(struct ordinary *o, job_fn fn, long a, long b, long c)
{
	struct job job = { fn, { a, b, c } };

	CHECK(write(o->to[1], &job, sizeof(job)) == sizeof(job));
}

static inline long wait_for(struct ordinary *o)
{
	long result;

	CHECK(read(o->from[0], &result, sizeof(result)) == sizeof(result));
	return result;
}

/* The result of @fn(@a, @b, @c) as called by @o. */
static inline long ask(struct ordinary *o, job_fn fn, long a, long b, long c)
{
	if (!o)
		return fn(a, b, c);
	begin(o, fn, a, b, c);
	return wait_for(o);
}

/* ---- jobs ---- */

static inline long job_read(long p, long b, long c)
{
	(void)b;
	(void)c;
	return *(volatile uint64_t *)p;
}

static inline long job_write(long p, long value, long c)
{
	(void)c;
	*(volatile uint64_t *)p = value;
	return 0;
}

static inline long job_mprotect(long p, long size, long prot)
{
	return mprotect((void *)p, size, prot);
}

static inline long job_madvise(long p, long size, long advice)
{
	return madvise((void *)p, size, advice) ? -errno : 0;
}

static inline long job_munmap(long p, long size, long c)
{
	(void)c;
	return munmap((void *)p, size);
}

/* Anonymous memory, at @p if that is not 0. */
static inline long job_map(long p, long size, long prot)
{
	return (long)mmap((void *)p, size, prot, ANON | MAP_NORESERVE | (p ? MAP_FIXED : 0), -1, 0);
}

/* The word at @p as @o sees it. */
static inline uint64_t see(struct ordinary *o, const void *p)
{
	return ask(o, job_read, (long)p, 0, 0);
}

static inline void put(struct ordinary *o, void *p, uint64_t value)
{
	ask(o, job_write, (long)p, value, 0);
}

#define BOTH_SEE(o, p, value)						\
	do {								\
		CHECK_EQ(see(HERE, p), value);				\
		CHECK_EQ(see(o, p), value);				\
	} while (0)

/* ---- memory ---- */

static inline char *map(void *at, size_t size, int prot, int flags, int fd)
{
	char *p = mmap(at, size, prot, flags | (at ? MAP_FIXED : 0), fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static inline char *map_anon(size_t size)
{
	return map(NULL, size, RW, ANON, -1);
}

/* Anonymous memory that begins at a multiple of @align; nothing else is mapped round it. */
static inline char *map_aligned(size_t size, size_t align)
{
	char *p = map(NULL, size + 2 * align, PROT_NONE, ANON | MAP_NORESERVE, -1);

	p += align;
	p += -(uintptr_t)p & (align - 1);
	return map(p, size, RW, ANON, -1);
}

/* A file without a name, of @pages pages; page i begins with the word first + i. */
static inline int new_file(unsigned int pages, uint64_t first)
{
	int fd = memfd_create("mem", MFD_CLOEXEC);

	CHECK(fd >= 0 && !ftruncate(fd, pages * PAGE));
	for (unsigned int i = 0; i < pages; i++, first++)
		CHECK(pwrite(fd, &first, sizeof(first), i * PAGE) == sizeof(first));
	return fd;
}

static inline uint64_t file_word(int fd, off_t offset)
{
	uint64_t word;

	CHECK(pread(fd, &word, sizeof(word), offset) == sizeof(word));
	return word;
}

/* ---- files that the kernel has for us ---- */

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static inline long read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n <= 0 ? -1 : strtol(text, NULL, 0);
}

/* The number after @key in @path, or -1. */
static inline long read_key(const char *path, const char *key)
{
	char line[512];
	FILE *file = fopen(path, "re");
	long value = -1;

	if (!file)
		return -1;
	while (value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			value = strtol(line + strlen(key), NULL, 0);
	fclose(file);
	return value;
}

/* KiB of @key in /proc/self/smaps for the mapping that holds @p. */
static inline long smaps(const void *p, const char *key)
{
	unsigned long start, end, at = (unsigned long)p;
	FILE *file = fopen("/proc/self/smaps", "re");
	bool inside = false;
	char line[512];
	long value = -1;

	CHECK(file);
	while (value < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = at >= start && at < end;
		else if (inside && !strncmp(line, key, strlen(key)))
			value = strtol(line + strlen(key), NULL, 0);
	}
	fclose(file);
	return value;
}

static inline uint64_t pagemap(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	CHECK(fd >= 0);
	CHECK(pread(fd, &entry, 8, (uintptr_t)p / PAGE * 8) == 8);
	close(fd);
	return entry;
}

/* Ends well only if child @pid did. */
static inline void expect_exit(pid_t pid)
{
	int status;

	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

#endif /* TESTS_MEM_H */
