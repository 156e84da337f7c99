// SPDX-License-Identifier: MIT
/*
 * For a program in ring 3 its memory map has no libdune in it: collectors and leak checkers scan whatever they find
 * there.  After it has opened /proc/self/maps, or its like, its descriptor becomes one of a memfd with the text as it
 * is at that moment, less libdune's lines.
 *
 * All other open()s pay for a look at the end of their path.  HR3.
 */
#include <linux/fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/resource.h>

#include "base/procmap.h"
#include "base/program.h"
#include "host/calls.h"

#define BUFFER_SIZE	(2 * PROCMAP_LINE_MAX)

/* ---- is it one? ---- */

/* The last four letters of a path that the kernel has just read, or 0. */
static uint32_t last_letters(unsigned long path)
{
	uint32_t last = 0;
	char piece[64];

	for (;;) {
		unsigned long room = PAGE_SIZE - (path & (PAGE_SIZE - 1));
		unsigned long n = room < sizeof(piece) ? room : sizeof(piece);

		if (!__dune_copy(piece, (const void *)path, n))
			return 0;
		for (unsigned long i = 0; i < n; i++) {
			if (!piece[i])
				return last;
			last = last << 8 | (unsigned char)piece[i];
		}
		path += n;
	}
}

/* Behind the last '/' that is before @end; *@end becomes that place. */
static const char *last_part(const char *path, const char **end)
{
	const char *p = *end;

	while (p > path && p[-1] != '/')
		p--;
	*end = p > path ? p - 1 : path;
	return p;
}

static bool is(const char *text, const char *what)
{
	while (*what && *text == *what)
		text++, what++;
	return *text == *what;
}

/* .../ID: of a process or a thread; *@own: one that has this memory. */
static bool is_process(const char *path, const char *end, bool *own)
{
	const char *id_end = end, *id = last_part(path, &end);
	int number = 0;

	for (; id < id_end; id++) {
		if (*id < '0' || *id > '9' || __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *id - '0', &number))
			return false;
	}
	*own = number && !dune_syscall5(__NR_kcmp, dune_syscall0(__NR_getpid), number, KCMP_VM, 0, 0);
	return number;
}

const char *__dune_process_file(int fd, char *path, size_t size, bool *own)
{
	struct {
		long type, rest[14];
	} statfs;
	char link[NUMBER_SIZE];
	const char *end, *name;
	long ret;

	if (dune_syscall2(__NR_fstatfs, fd, &statfs) || statfs.type != PROC_SUPER_MAGIC)
		return NULL;
	ret = dune_syscall3(__NR_readlink, __dune_name_descriptor(link, "/proc/self/fd/", fd), path, size);
	if (ret <= 0 || ret >= (long)size)
		return NULL;
	path[ret] = '\0';
	end = path + ret;
	name = last_part(path, &end);
	return is_process(path, end, own) ? name : NULL;
}

static bool is_own_map(int fd)
{
	long ret = dune_syscall3(__NR_fcntl, fd, F_GETFL, 0);
	char path[256];
	const char *name;
	bool own;

	if (is_error(ret) || ret & (O_PATH | O_ACCMODE))
		return false;
	name = __dune_process_file(fd, path, sizeof(path), &own);
	return name && own && (is(name, "maps") || is(name, "smaps") || is(name, "numa_maps"));
}

/* ---- its lines ---- */

struct filter {
	int from, to;
	uint64_t room;		/* so many bytes may be written without a signal */
	bool hidden;		/* the mapping that is described is libdune's */
	char buffer[BUFFER_SIZE + sizeof(uint64_t)];	/* what is behind the last newline is read, and ignored */
};

/* A line that begins with an address is about another mapping than the line before. */
static void look_at_line(struct filter *f, const char *line)
{
	unsigned long address = 0;
	const char *p = line;

	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			address = address << 4 | (*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			address = address << 4 | (*p - 'a' + 10);
		else
			break;
	}
	if (p > line && (*p == '-' || *p == ' '))
		f->hidden = __dune_is_ours(address);
}

/* Behind the next newline from @at on; there is one.  Eight bytes at a time: a map can be megabytes. */
static size_t end_of_line(const struct filter *f, size_t at)
{
	const uint64_t ones = ~0UL / 0xff;
	uint64_t word, found;

	for (;; at += sizeof(word)) {
		__builtin_memcpy(&word, f->buffer + at, sizeof(word));
		word ^= ones * '\n';
		found = (word - ones) & ~word & ones << 7;	/* the lowest bit is that of the first zero */
		if (found)
			return at + __builtin_ctzl(found) / 8 + 1;
	}
}

/* [from, end) of the buffer to the place @to, which is not behind it. */
static size_t move_down(struct filter *f, size_t to, size_t from, size_t end)
{
	if (to == from)
		return end;
	while (from < end)
		f->buffer[to++] = f->buffer[from++];
	return to;
}

/*
 * Keeps what of the first @size bytes of the buffer, whole lines, is to be seen; how much that is.  Most pieces have
 * nothing of libdune's, and stay where they are.
 */
static size_t keep_lines(struct filter *f, size_t size)
{
	size_t kept = 0, shown = 0;	/* lines from @shown on are to be seen, or none, so far */
	bool was_hidden;

	for (size_t at = 0; at < size; at = end_of_line(f, at)) {
		was_hidden = f->hidden;
		look_at_line(f, f->buffer + at);
		if (f->hidden && !was_hidden)
			kept = move_down(f, kept, shown, at);
		if (!f->hidden && was_hidden)
			shown = at;
	}
	return f->hidden ? kept : move_down(f, kept, shown, size);
}

static bool write_all(struct filter *f, size_t size)
{
	if (size > f->room)
		return false;
	f->room -= size;
	return !size || dune_syscall3(__NR_write, f->to, f->buffer, size) == (long)size;
}

/* The descriptor stays at its beginning. */
static bool copy_lines(struct filter *f)
{
	size_t at = 0, have = 0, lines, kept;
	long ret;

	for (;;) {
		ret = dune_syscall4(__NR_pread64, f->from, f->buffer + have, BUFFER_SIZE - have, at);
		if (ret <= 0)
			return !ret && !have;
		have += ret;
		at += ret;
		for (lines = have; lines && f->buffer[lines - 1] != '\n';)
			lines--;
		if (!lines && have == BUFFER_SIZE)
			return false;
		/* What follows the lines is kept apart from what is kept of them. */
		kept = keep_lines(f, lines);
		if (!write_all(f, kept))
			return false;
		move_down(f, 0, lines, have);
		have -= lines;
	}
}

/* ---- in its place ---- */

/* @memory is open for writing, which @fd is not. */
static void put_in_place(int fd, int memory)
{
	char link[NUMBER_SIZE];
	long flags = dune_syscall3(__NR_fcntl, fd, F_GETFD, 0);
	long again = dune_syscall4(__NR_openat, AT_FDCWD, __dune_name_descriptor(link, "/proc/self/fd/", memory),
				   O_RDONLY | O_CLOEXEC, 0);

	if (is_error(again))
		return;
	dune_syscall3(__NR_dup3, again, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	dune_syscall1(__NR_close, again);
}

/*
 * After open(), openat() or openat2() with the result @fd.  Where something is missing (a descriptor, memory, the
 * limit of a file's size) the program gets what it has opened.  So it does under a filter of its own, which may
 * forbid what is done here.
 */
void __dune_filter_map(const struct dune_thread *t, long fd)
{
	const struct guest_regs *r = t->vcpu.regs;
	struct { uint64_t soft, hard; } limit;
	struct filter f;
	uint32_t letters;
	long memory;

	if (is_error(fd))
		return;
	letters = last_letters(t->output_nr == __NR_open ? r->rdi : r->rsi);
	if (letters != LETTERS('m', 'a', 'p', 's')) {
		__dune_pagemap_opened(fd, letters);
		return;
	}
	if (!is_own_map(fd) || dune_syscall4(__NR_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit))
		return;
	memory = dune_syscall2(__NR_memfd_create, "maps", MFD_CLOEXEC);
	if (is_error(memory))
		return;
	f.from = fd;
	f.to = memory;
	f.room = limit.soft;
	f.hidden = false;
	if (copy_lines(&f))
		put_in_place(fd, f.to);
	dune_syscall1(__NR_close, f.to);
}

static long open_looked(struct dune_thread *t, struct guest_regs *r)
{
	if (!region_state()->filtered)
		t->output_nr = t->vcpu.regs->rax;
	(void)r;		/* it may be another call for the kernel: check.c */
	return FORWARD_CALL;
}

/* Had this been said in syscalls-table.h, programs in ring 0 would pay for it. */
void __dune_filter_maps(void)
{
	static const unsigned int calls[] = { __NR_open, __NR_openat, __NR_openat2 };

	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++)
		__dune_set_function(calls[i], open_looked);
}
