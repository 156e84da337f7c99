// SPDX-License-Identifier: MIT
/*
 * /proc/self/exe and its other names, in a process whose program was loaded by libdune, where the kernel lets nobody
 * say so: the link leads to libdune's loader, and must not for the program.  HR3.
 */
#include <linux/fcntl.h>

#include "base/program.h"
#include "host/calls.h"
#include "host/host.h"

#define LONGEST	64	/* "/proc/self/task/", a number, "/exe" and a NUL */

/* What is behind the number of one of the process's threads; NULL. */
static const char *behind_own_number(const char *text)
{
	static const char folder[] = "/proc/self/task/";
	char path[sizeof(folder) + NUMBER_SIZE];
	size_t n = 0;

	memcpy(path, folder, sizeof(folder) - 1);
	for (; n < NUMBER_SIZE && text[n] >= '0' && text[n] <= '9'; n++)
		path[sizeof(folder) - 1 + n] = text[n];
	path[sizeof(folder) - 1 + n] = '\0';
	return n && n < NUMBER_SIZE && !dune_syscall3(__NR_faccessat, AT_FDCWD, path, 0) ? text + n : NULL;
}

static bool is_link(const char *path)
{
	const char *p = text_behind(path, "/proc/"), *q;

	if (!p)
		return false;
	q = text_behind(p, "thread-self");
	if (!q)
		q = text_behind(p, "self");
	if (!q)
		q = behind_own_number(p);
	if (!q)
		return false;
	p = text_behind(q, "/task/");
	if (p)
		q = behind_own_number(p);
	return q && same_text(q, "/exe");
}

const char *__dune_self_path(const char *path)
{
	const char *loaded = __dune_loaded();

	return *loaded && is_link(path) ? loaded : path;
}

const char *__dune_self_at(uint64_t va)
{
	const char *loaded = __dune_loaded();
	uint64_t n = PAGE_SIZE - (va & (PAGE_SIZE - 1));
	char path[LONGEST + 1];

	if (!*loaded)
		return NULL;
	if (n > LONGEST)
		n = LONGEST;
	path[n] = '\0';
	if (out_of_bounds(va, LONGEST) || __dune_copy_in(path, va, n))
		return NULL;
	if (n < LONGEST && !__dune_copy_in(path + n, va + n, LONGEST - n))
		path[LONGEST] = '\0';
	return is_link(path) ? loaded : NULL;
}

static long read_own_link(struct dune_thread *t, const char *loaded, uint64_t to, long size)
{
	struct access a = { .t = t };
	long length = 0;

	if (size <= 0)
		return -EINVAL;
	while (loaded[length] && length < size)
		length++;
	return __dune_copy_through(&a, to, (char *)loaded, length, true) ? -EFAULT : length;
}

/* The same call with the file's name, as its first argument or its second one. */
static long forward_of(const struct guest_regs *r, unsigned int nr, const char *loaded, bool second)
{
	struct guest_regs regs = *r;

	regs.rax = nr;
	if (second)
		regs.rsi = (uint64_t)loaded;
	else
		regs.rdi = (uint64_t)loaded;
	return __dune_forward(&regs);
}

long __dune_check_self(struct dune_thread *t, const struct guest_regs *r)
{
	const unsigned int nr = t->output_nr;
	const bool second = nr != __NR_readlink && nr != __NR_stat && nr != __NR_access;
	const char *loaded = __dune_self_at(second ? r->rsi : r->rdi);
	uint64_t flags = nr == __NR_statx ? r->rdx : nr == __NR_newfstatat || nr == __NR_faccessat2 ? r->r10 : 0;

	if (!loaded || flags & AT_SYMLINK_NOFOLLOW)
		return FORWARD_CALL;
	if (nr == __NR_readlink)
		return read_own_link(t, loaded, r->rsi, (int)r->rdx);
	if (nr == __NR_readlinkat)
		return read_own_link(t, loaded, r->rdx, (int)r->r10);
	return forward_of(r, nr, loaded, second);
}
