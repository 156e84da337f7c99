/* SPDX-License-Identifier: MIT */
/*
 * HR3: files that a watched program's calls name, where a callback decides by what names lead to (path() of
 * dune-ring3.h).
 */
#ifndef LIBDUNE_PATHS_H
#define LIBDUNE_PATHS_H

#include "host/calls.h"

#pragma GCC visibility push(hidden)

#define PATH_MAX	4096

/* What a path leads to. */
enum found {
	FOUND_FILE,		/* the file that has the path found.text, if there is one */
	FOUND_DESCRIPTOR,	/* what the process's descriptor found.fd is open on, which may have no path */
	FOUND_OF_KERNEL,	/* a link of /proc with the path found.text, made by the kernel, that says no path */
};

/*
 * A file that a call names.  resolve.c finds out, by text, what its path leads to: the kernel is asked for what links
 * say, but what it is asked for next can be another file, whose path has such links again.  So whoever uses what was
 * found has the kernel follow no link.
 */
struct file {
	long dirfd;
	const char *path, *end;	/* a copy; without its last component where @is_name */
	bool follow;		/* a link that is the last component */
	bool is_name;		/* the folder is looked up, and the call is about @last in it */
	uint64_t resolve;	/* RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS */

	enum found found;
	int fd;
	const char *behind;	/* "/" or "/." stood there: it has to be a folder; "" */
	size_t length;		/* of text; "" stands for the root */
	char text[PATH_MAX];	/* without links, as far as was looked; no '.', no '..', no '/' at the end */
	const char *last;	/* with what the path has behind it */
};

static inline bool is_dots(const char *name, size_t length)
{
	return (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.');
}

/* @path, a copy, is what the call says.  0 or -errno. */
long __dune_path_set(struct file *file, long dirfd, const char *path);
/* What the path is without a look at any link.  -ELOOP: a look is needed.  0 or -errno. */
long __dune_path_guess(struct file *file);
/* What it leads to.  0 or -errno; then @text is how far it leads. */
long __dune_path_walk(struct file *file);

/* ---- paths.c ---- */

/* Is it known what files @nr names, if it names any; and is it __dune_path_call() that makes it? */
bool __dune_path_known(unsigned int nr);
/* Is it in an address that @argument of @nr leads to? */
bool __dune_path_in_address(unsigned int nr, unsigned int argument);
bool __dune_path_decides(unsigned int nr);
/* The call of a program whose files are asked for; its result, or FORWARD_CALL. */
long __dune_path_call(struct dune_thread *t, struct guest_regs *r);
/* The kernel has opened for it, with @result: what the program is told. */
long __dune_path_open_again(struct dune_thread *t, long result);

/* May what @fd is open on be executed?  FORWARD_CALL, or the result. */
long __dune_path_execute(struct dune_thread *t, int fd);
/* It cannot: @error, unless it is not to be told of that file at all. */
long __dune_path_executes(struct dune_thread *t, int dirfd, const char *path, long error);

#pragma GCC visibility pop

#endif /* LIBDUNE_PATHS_H */
