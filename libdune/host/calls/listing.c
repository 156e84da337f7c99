// SPDX-License-Identifier: MIT
/*
 * libdune's descriptor does not exist for the program, so it is not in /proc/self/fd and the like either.  HR3.
 */
#include <linux/fcntl.h>
#include <linux/magic.h>

#include "host/calls.h"

/* struct linux_dirent64 of the kernel */
struct entry {
	uint64_t ino;
	int64_t off;
	uint16_t length;	/* bytes, to the next one */
	uint8_t type;
	char name[];
} __attribute__((packed));

#define DT_DIR	4

/* "../fd/" and the number. */
static void write_path(char *path, unsigned int fd)
{
	static const char directory[] = "../fd/";
	char digits[12], *d = digits + sizeof(digits), *p = path;

	*--d = 0;
	do
		*--d = '0' + fd % 10;
	while (fd /= 10);
	memcpy(p, directory, sizeof(directory) - 1);
	p += sizeof(directory) - 1;
	memcpy(p, d, digits + sizeof(digits) - d);
}

static bool read_link(int directory, const char *path, char *to, size_t size)
{
	long ret = dune_syscall4(__NR_readlinkat, directory, path, to, size - 1);

	if (is_error(ret))
		return false;
	to[ret] = 0;
	return true;
}

/*
 * Has the directory @fd of a procfs an entry for libdune's descriptor: is the one at @path, seen from there, what
 * this process has?  So it is in PID/fd, PID/fdinfo and PID/task/TID/..., of all processes in Dune mode.
 */
static bool lists_ours(int fd, const char *path)
{
	struct {
		long type, rest[14];
	} statfs;
	char ours[64], theirs[64];
	long self;
	bool same;

	if (dune_syscall2(__NR_fstatfs, fd, &statfs) || statfs.type != PROC_SUPER_MAGIC)
		return false;
	self = dune_syscall4(__NR_openat, AT_FDCWD, "/proc/self/fd", O_PATH | O_CLOEXEC, 0);
	if (is_error(self))
		return false;
	same = read_link(fd, path, theirs, sizeof(theirs)) && read_link(self, path, ours, sizeof(ours)) &&
	       same_text(ours, theirs);
	dune_syscall1(__NR_close, self);
	return same;
}

/* The number that is all of @name, if it is one of libdune's descriptors; else -1.  Other threads may change it. */
static int our_number(const char *name)
{
	int number = 0;
	char c = READ_ONCE(*name);

	if (c == '0')
		return -1;
	for (; c >= '0' && c <= '9' && number < 100000000; c = READ_ONCE(*++name))
		number = number * 10 + c - '0';
	return !c && engine_owns_fd(number) ? number : -1;
}

/* Takes the entries of libdune's descriptors out of @size bytes that getdents64 has written; how many are left. */
static long hide(const struct dune_thread *t, char *buffer, long size)
{
	long at = 0;

	while (at < size) {
		struct entry *e = (struct entry *)(buffer + at);
		const unsigned int length = READ_ONCE(e->length);
		char path[32];
		int number;

		if (length < sizeof(*e) || length > size - at)
			break;
		number = e->type == DT_DIR ? -1 : our_number(e->name);
		if (number >= 0)
			write_path(path, number);
		if (number < 0 || !lists_ours(regs_of_call(t)->rdi, path)) {
			at += length;
			continue;
		}
		size -= length;
		for (char *to = (char *)e, *from = to + length, *end = buffer + size; to < end;)
			*to++ = *from++;
	}
	return size;
}

/*
 * After getdents64: its result is in RAX.  Where nothing else was in the buffer the next entries are read, as 0 is
 * the end.  Not under a filter of the program's, which may forbid what is asked here.
 */
void __dune_hide_descriptor(struct dune_thread *t)
{
	const struct guest_regs *args = regs_of_call(t);
	struct guest_regs *r = t->vcpu.regs;
	long size = r->rax, left;

	if (region_state()->filtered)
		return;
	while (size > 0) {
		left = hide(t, (char *)args->rsi, size);
		if (left) {
			r->rax = left;
			return;
		}
		size = dune_syscall3(__NR_getdents64, args->rdi, args->rsi, args->rdx);
		r->rax = size;
	}
}
