// SPDX-License-Identifier: MIT
/*
 * dune_procmap_iterate(): reads /proc/self/maps, with system calls only.
 *
 * HR3 and GR0.
 */
#include <linux/fcntl.h>

#include "base/base.h"
#include "base/procmap.h"

/* More than the kernel prints at once, and two lines. */
#define BUFFER_SIZE	(2 * PROCMAP_LINE_MAX + 4096)

struct reader {
	int fd;
	size_t at, end;		/* what of the buffer is still to be looked at */
	uintptr_t seen;		/* up to this address */
	char buffer[BUFFER_SIZE];
};

/* Returns whether there was more, or -errno. */
static long fill(struct reader *r)
{
	long ret;

	for (size_t i = r->at; i < r->end; i++)	/* they may overlap */
		r->buffer[i - r->at] = r->buffer[i];
	r->end -= r->at;
	r->at = 0;
	if (r->end == BUFFER_SIZE)
		return -EIO;
	do
		ret = dune_syscall3(__NR_read, r->fd, r->buffer + r->end, BUFFER_SIZE - r->end);
	while (ret == -EINTR);
	if (ret > 0)
		r->end += ret;
	return ret;
}

/* The end of the line at r->at; 0: there is no line left; or -errno. */
static long find_line(struct reader *r)
{
	size_t i = r->at;
	long ret;

	for (;;) {
		for (; i < r->end; i++)
			if (r->buffer[i] == '\n')
				return i;
		i -= r->at;
		ret = fill(r);
		if (ret <= 0)
			return ret ? ret : r->end ? -EIO : 0;
	}
}

int __dune_procmap_each(bool (*cb)(const struct dune_procmap_entry *entry, void *arg), void *arg)
{
	struct dune_procmap_entry entry;
	struct reader r;
	long end, ret;

	ret = dune_syscall4(__NR_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (is_error(ret))
		return ret;
	r.fd = ret;
	r.at = r.end = r.seen = 0;
	while ((end = find_line(&r)) > 0) {
		bool good = __dune_procmap_parse(r.buffer + r.at, end - r.at, &entry);

		r.at = end + 1;
		if (!good) {
			end = -EIO;
			break;
		}
		/* The kernel goes on by address; a mapping may have grown together with the last one. */
		if (entry.begin < r.seen)
			entry.begin = r.seen;
		if (entry.begin >= entry.end)
			continue;
		r.seen = entry.end;
		if (!cb(&entry, arg))
			break;
	}
	dune_syscall1(__NR_close, r.fd);
	return end < 0 ? end : 0;
}

struct iteration {
	dune_procmap_cb cb;
	void *arg;
};

static bool call(const struct dune_procmap_entry *entry, void *arg)
{
	const struct iteration *i = arg;

	i->cb(entry, i->arg);
	return true;
}

PUBLIC int dune_procmap_iterate(dune_procmap_cb cb, void *arg)
{
	return cb ? __dune_procmap_each(call, &(struct iteration){ cb, arg }) : -EINVAL;
}

static const char *permissions(const struct dune_procmap_entry *e, char text[5])
{
	text[0] = e->r ? 'r' : '-';
	text[1] = e->w ? 'w' : '-';
	text[2] = e->x ? 'x' : '-';
	text[3] = e->p ? 'p' : 's';
	text[4] = 0;
	return text;
}

static bool print(const struct dune_procmap_entry *e, void *arg)
{
	char text[5];

	(void)arg;
	/* A path can be longer than what dune_printf() prints. */
	dune_printf("%#014lx-%#014lx %s %08lx ", e->begin, e->end, permissions(e, text), e->offset);
	__dune_print_text(e->path);
	return true;
}

PUBLIC int dune_procmap_dump(void)
{
	return __dune_procmap_each(print, NULL);
}

struct find {
	unsigned long address;
	procmap_found found;
	void *arg;
	bool is_found;
};

static bool look(const struct dune_procmap_entry *e, void *arg)
{
	struct find *f = arg;

	if (f->address >= e->end)
		return true;
	f->is_found = f->address >= e->begin;
	if (f->is_found)
		f->found(e, f->arg);
	return false;
}

/* Call @found with the entry of @address; false: there is none. */
bool __dune_procmap_find(unsigned long address, procmap_found found, void *arg)
{
	struct find f = { address, found, arg, false };

	return !__dune_procmap_each(look, &f) && f.is_found;
}
