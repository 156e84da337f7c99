// SPDX-License-Identifier: MIT
/*
 * What a path leads to, by text: as the kernel looks it up, link by link.  HR3.
 */
#include <linux/fcntl.h>

#include "base/program.h"
#include "host/calls/paths.h"
#include "host/host.h"

#define LINKS_MAX	40	/* as the kernel follows */

long __dune_path_set(struct file *file, long dirfd, const char *path)
{
	const char *end = path;

	if (!path)
		return -EFAULT;
	if (!*path)
		return -ENOENT;
	while (*end)
		end++;
	file->dirfd = dirfd;
	file->path = path;
	file->end = end;
	if (!file->is_name)
		return 0;
	file->follow = true;
	while (end > path && end[-1] == '/')
		end--;
	while (end > path && end[-1] != '/')
		end--;
	file->last = *end ? end : ".";		/* the root has no name */
	file->end = end;
	return 0;
}

/* ---- text ---- */

static void cut(struct file *f, size_t length)
{
	f->length = length;
	f->text[length] = '\0';
}

static long append(struct file *f, const char *name, size_t length)
{
	if (f->length + 1 + length >= PATH_MAX)
		return -ENAMETOOLONG;
	f->text[f->length] = '/';
	memcpy(f->text + f->length + 1, name, length);
	cut(f, f->length + 1 + length);
	return 0;
}

static size_t parent_length(const struct file *f)
{
	size_t length = f->length;

	while (length && f->text[--length] != '/')
		;
	return length;
}

static const char *skip_slashes(const char *p, const char *end)
{
	while (p < end && *p == '/')
		p++;
	return p;
}

static const char *end_of_name(const char *p, const char *end)
{
	while (p < end && *p != '/')
		p++;
	return p;
}

/* Where the path begins: the text of the root, the working directory, or a descriptor. */
static long begin(struct file *f)
{
	long ret;

	f->found = FOUND_FILE;
	f->behind = "";
	cut(f, 0);
	if (f->resolve & RESOLVE_BENEATH && *f->path == '/')
		return -EXDEV;
	if (f->path < f->end && *f->path == '/' && !(f->resolve & RESOLVE_IN_ROOT))
		return 0;
	if ((int)f->dirfd == AT_FDCWD) {
		ret = dune_syscall2(__NR_getcwd, f->text, PATH_MAX);
		ret -= !is_error(ret);		/* its NUL */
	} else {
		if ((int)f->dirfd < 0 || engine_owns_fd(f->dirfd))
			return -EBADF;
		ret = __dune_descriptor_path(f->dirfd, f->text, sizeof(f->text));
		if (ret == -ENOENT)
			return -EBADF;
	}
	if (is_error(ret))
		return ret;
	if (f->text[0] != '/')
		return -ENOTDIR;
	cut(f, ret == 1 ? 0 : ret);
	return 0;
}

long __dune_path_guess(struct file *f)
{
	const char *p = f->path, *end;
	long ret = begin(f);

	while (!ret && (p = skip_slashes(p, f->end)) < f->end) {
		end = end_of_name(p, f->end);
		if (is_dots(p, end - p)) {
			if (end - p == 2)
				return -ELOOP;
			if (skip_slashes(end, f->end) == f->end)
				f->behind = "/.";
		} else {
			ret = append(f, p, end - p);
		}
		p = end;
	}
	if (!f->is_name && !*f->behind && f->end > f->path && f->end[-1] == '/')
		f->behind = "/";
	return ret;
}

/* ---- links of /proc ---- */

static const char *behind_number(const char *text)
{
	const char *p = text;

	while (p && *p >= '0' && *p <= '9')
		p++;
	return p > text ? p : NULL;
}

/* In the folder of a process or a thread: what is behind that.  NULL. */
static const char *in_process(const struct file *f)
{
	const char *p = text_behind(behind_number(text_behind(f->text, "/proc/")), "/"), *thread;

	thread = text_behind(behind_number(text_behind(p, "task/")), "/");
	return thread ? thread : p;
}

/*
 * Is the link with the text @text one of the process's own descriptors?  Then @f->fd is its number.  Another process's
 * with the same number and text leads to a file that the process has open too.
 */
static bool is_descriptor(struct file *f, const char *text)
{
	const char *name = text_behind(in_process(f), "fd/"), *end = behind_number(name);
	char own[PATH_MAX];
	unsigned int number = 0;

	if (!end || *end || end - name > 9)
		return false;
	for (; name < end; name++)
		number = number * 10 + *name - '0';
	if (engine_owns_fd(number) || is_error(__dune_descriptor_path(number, own, sizeof(own))))
		return false;
	f->fd = number;
	return same_text(own, text);
}

/* ---- looking it up ---- */

/* What is still to be looked up. */
struct rest {
	const char *at, *end;
	char text[PATH_MAX];
};

/* Instead of the link that was followed: its text, and what is behind it. */
static long put_link(struct rest *rest, const char *text, size_t length)
{
	const size_t left = rest->end - rest->at;
	char *const to = rest->text + PATH_MAX - left;

	if (length + left >= PATH_MAX)
		return -ENAMETOOLONG;
	/* What is left stands at the end of the room, always. */
	memcpy(to - length, text, length);
	rest->at = to - length;
	return 0;
}

static bool is_own_program(const struct file *f)
{
	return *__dune_loaded() && __dune_self_path(f->text) != f->text;
}

static long read_link(const struct file *f, char *text)
{
	long length = dune_syscall3(__NR_readlink, f->text, text, PATH_MAX - 1);

	if (!is_error(length))
		text[length] = '\0';
	return length;
}

/* `..`, which may be none of a file. */
static long go_up(struct file *f, size_t floor)
{
	long ret = append(f, ".", 1);

	if (ret)
		return ret;
	ret = dune_syscall3(__NR_faccessat, AT_FDCWD, f->text, 0);
	cut(f, f->length - 2);
	if (ret)
		return ret;
	if (f->length > floor)
		cut(f, parent_length(f));
	else if (f->resolve & RESOLVE_BENEATH)
		return -EXDEV;
	return 0;
}

/* A link with the text @text, not the path of a file. */
static long special(struct file *f, const char *text, bool is_last)
{
	const char *name = in_process(f);

	if (!is_last || !name)
		return -ENOENT;
	if (f->resolve & RESOLVE_NO_MAGICLINKS)
		return -ELOOP;
	if (is_descriptor(f, text)) {
		f->found = FOUND_DESCRIPTOR;
		return 0;
	}
	if (!text_behind(name, "ns/"))
		return -EACCES;
	f->found = FOUND_OF_KERNEL;
	return 0;
}

/* A descriptor's file can have lost its name, or have had none, though /proc says a path. */
static bool has_no_name(struct file *f, const char *text)
{
	struct { uint64_t dev, ino, nlink, rest[15]; } status;

	return is_descriptor(f, text) && !dune_syscall2(__NR_fstat, f->fd, &status) && !status.nlink;
}

long __dune_path_walk(struct file *f)
{
	unsigned int links = 0;
	char text[PATH_MAX];
	struct rest rest;
	size_t floor = 0;
	long ret = begin(f);

	if (ret)
		return ret;
	if (f->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT))
		floor = f->length;
	rest.at = rest.end = rest.text + PATH_MAX;
	if (f->end - f->path >= PATH_MAX)
		return -ENAMETOOLONG;
	put_link(&rest, f->path, f->end - f->path);
	while ((rest.at = skip_slashes(rest.at, rest.end)) < rest.end) {
		const char *name = rest.at, *end = end_of_name(name, rest.end);
		const bool is_last = skip_slashes(end, rest.end) == rest.end;
		long length;

		rest.at = end;
		if (is_last && !f->is_name && !*f->behind)
			f->behind = is_dots(name, end - name) ? "/." : end < rest.end ? "/" : "";
		if (is_dots(name, end - name)) {
			ret = end - name == 2 ? go_up(f, floor) : 0;
			if (ret)
				return ret;
			continue;
		}
		ret = append(f, name, end - name);
		if (ret)
			return ret;
		if (is_last && !f->follow && !*f->behind)
			return 0;
		length = read_link(f, text);
		if (length == -EINVAL)		/* no link */
			continue;
		if (length == -ENOENT && is_last)
			return 0;
		if (is_error(length))
			return length;
		if (++links > LINKS_MAX || f->resolve & RESOLVE_NO_SYMLINKS)
			return -ELOOP;
		if (is_own_program(f)) {
			memcpy(text, __dune_loaded(), PATH_MAX);
			for (length = 0; text[length]; length++)
				;
		} else if (in_process(f) && (*text != '/' || has_no_name(f, text))) {
			return special(f, text, is_last);
		}
		cut(f, *text == '/' ? floor : parent_length(f));
		if (*text == '/' && f->resolve & RESOLVE_BENEATH)
			return -EXDEV;
		ret = put_link(&rest, text, length);
		if (ret)
			return ret;
	}
	return 0;
}
