// SPDX-License-Identifier: MIT
/*
 * What execve() of a file would start: a dynamically linked program, a static one, or one with rights of
 * its own; through scripts to their interpreters, as the kernel goes.
 *
 * HR3.
 */
#include <elf.h>

#include <linux/fcntl.h>
#include <linux/stat.h>

#include "base/base.h"
#include "base/program.h"

/* asm/stat.h has what newfstatat() fills in, but clashes with others. */
struct file_status {
	unsigned long dev, ino, nlink;
	unsigned int mode, uid, gid, pad;
	unsigned long rest[13];
};

_Static_assert(sizeof(struct file_status) == 144, "struct stat of the kernel");

#define EXECUTE	1	/* what faccessat2() is asked */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

char *__dune_decimal(char *to, unsigned int number)
{
	char *p = to + NUMBER_SIZE;

	*--p = '\0';
	do {
		*--p = '0' + number % 10;
		number /= 10;
	} while (number);
	return p;
}

char *__dune_name_descriptor(char *to, const char *folder, unsigned int fd)
{
	char *p = __dune_decimal(to, fd);
	size_t length = 0;

	while (folder[length])
		length++;
	p -= length;
	memcpy(p, folder, length);
	return p;
}

long __dune_descriptor_path(int fd, char *to, size_t size)
{
	char link[NUMBER_SIZE];
	long length = dune_syscall3(__NR_readlink, __dune_name_descriptor(link, "/proc/self/fd/", fd), to, size - 1);

	to[is_error(length) ? 0 : length] = '\0';
	return length;
}

static int open_file(int dirfd, const char *path, int flags, struct file_status *status)
{
	int open_flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0);
	char name[NUMBER_SIZE];
	long ret;

	/* Before it is opened: what is no file may do something then, or wait (if it has become that since). */
	ret = dune_syscall4(__NR_newfstatat, dirfd, path, status, flags);
	if (ret)
		return ret;
	if ((status->mode & S_IFMT) != S_IFREG)
		return -EACCES;
	ret = dune_syscall4(__NR_openat, dirfd, path, open_flags, 0);
	if (ret == -ENOENT && flags & AT_EMPTY_PATH && dirfd >= 0)
		ret = dune_syscall4(__NR_openat, AT_FDCWD, __dune_name_descriptor(name, "/proc/self/fd/", dirfd),
				    open_flags & ~O_NOFOLLOW, 0);
	return is_error(ret) ? ret : __dune_fd_hide(ret);
}

/* Would the kernel make the new program one with rights that its caller has not? */
static bool is_privileged(int fd, const struct file_status *status)
{
	const unsigned int setgid = S_ISGID | S_IXGRP;
	unsigned int uid = dune_syscall0(__NR_geteuid), gid = dune_syscall0(__NR_getegid);

	if (status->mode & S_ISUID && status->uid != uid)
		return true;
	if ((status->mode & setgid) == setgid && status->gid != gid)
		return true;
	return uid && dune_syscall4(__NR_fgetxattr, fd, "security.capability", NULL, 0) > 0;
}

/*
 * What libdune starts in the kernel's place is started only if the kernel would: its permissions, and noexec of its
 * mount.  Where a filter forbids to ask, exec() of the interpreter or the loader is all that is judged.
 */
static bool may_execute(int fd)
{
	return dune_syscall4(__NR_faccessat2, fd, "", EXECUTE, AT_EMPTY_PATH | AT_EACCESS) != -EACCES;
}

static long read_at(int fd, void *to, size_t size, uint64_t offset)
{
	return dune_syscall4(__NR_pread64, fd, to, size, offset);
}

/* The kernel does not look at what class the file says that it is. */
static enum program_kind elf_kind(int fd, const Elf64_Ehdr *header)
{
	Elf64_Phdr some[16];

	if (header->e_machine == EM_386)
		return PROGRAM_32BIT;
	if (header->e_machine != EM_X86_64 || (header->e_type != ET_EXEC && header->e_type != ET_DYN) ||
	    header->e_phentsize != sizeof(some[0]) || !header->e_phnum || header->e_phnum > PROGRAM_HEADERS)
		return PROGRAM_OTHER;
	for (unsigned int i = 0; i < header->e_phnum; i += ARRAY_SIZE(some)) {
		unsigned int left = header->e_phnum - i, count = left < ARRAY_SIZE(some) ? left : ARRAY_SIZE(some);
		long size = count * sizeof(some[0]);

		if (read_at(fd, some, size, header->e_phoff + i * sizeof(some[0])) != size)
			return PROGRAM_OTHER;
		for (unsigned int k = 0; k < count; k++)
			if (some[k].p_type == PT_INTERP)
				return PROGRAM_DYNAMIC;
	}
	return PROGRAM_STATIC;
}

/*
 * "#!INTERPRETER [ARGUMENT]": make them strings in @line.  Returns the first; NULL: the kernel refuses
 * such a line.
 */
static char *split_line(char *line, char **argument)
{
	char *end = line, *name = line + 2, *p;

	while (end < line + SCRIPT_LINE - 1 && *end && *end != '\n')
		end++;
	if (end == line + SCRIPT_LINE - 1 && *end != '\n') {	/* cut off: the interpreter's name must not be */
		for (p = name; is_blank(*p); p++)
			;
		while (p < end && !is_blank(*p))
			p++;
		if (p == end)
			return NULL;
	}
	while (end > name && is_blank(end[-1]))
		end--;
	*end = '\0';
	while (is_blank(*name))
		name++;
	for (p = name; *p && !is_blank(*p); p++)
		;
	*argument = p;
	if (*p) {
		*p++ = '\0';
		while (is_blank(*p))
			p++;
		*argument = p;
	}
	return *name ? name : NULL;
}

/* The arguments of a script @path: @name, @argument if there is one, and @path, before those there are. */
static void add_arguments(struct program *p, const char *name, const char *argument, const char *path)
{
	unsigned int more = *argument ? 2 : 1;

	if (!p->nr_args)
		p->args[p->nr_args++] = path;
	for (unsigned int i = p->nr_args; i-- > 0;)
		p->args[i + more] = p->args[i];
	p->args[0] = name;
	if (*argument)
		p->args[1] = argument;
	p->nr_args += more;
}

/*
 * One file of the chain.  Returns the interpreter if it is a script, else p->kind says what it is.
 * @line: room for a script's first line; NULL: it must be none.
 */
static const char *look_at(struct program *p, int fd, const struct file_status *status, const char *path, char *line,
			   unsigned int kinds)
{
	union {
		Elf64_Ehdr elf;
		char text[SCRIPT_LINE];
	} start;
	char *name, *argument;

	memset(&start, 0, sizeof(start));
	if (read_at(fd, &start, sizeof(start), 0) < 4)
		return NULL;
	if (start.text[0] == '#' && start.text[1] == '!') {
		if (!line)
			return NULL;
		memcpy(line, start.text, SCRIPT_LINE);
		name = split_line(line, &argument);
		if (name)
			add_arguments(p, name, argument, path);
		return name;
	}
	if (*(const uint32_t *)start.text == *(const uint32_t *)ELFMAG)
		p->kind = !(kinds & 1U << PROGRAM_PRIVILEGED) && is_privileged(fd, status) ?
			  PROGRAM_PRIVILEGED : elf_kind(fd, &start.elf);
	return NULL;
}

void __dune_program(struct program *p, int dirfd, const char *path, int flags, unsigned int kinds,
		    program_opened_fn opened, void *arg)
{
	struct file_status status;

	p->kind = PROGRAM_OTHER;
	p->error = 0;
	p->fd = -1;
	p->nr_args = 0;
	for (unsigned int depth = 0; path; depth++) {
		int fd = open_file(dirfd, path, flags, &status);
		long refused = fd >= 0 && opened ? opened(arg, fd) : 0;

		if (refused)
			dune_syscall1(__NR_close, fd);
		if (fd < 0 || refused) {
			p->error = fd < 0 ? fd : refused;
			return;
		}
		/* A script that is reached by a descriptor has no name to give to its interpreter. */
		path = look_at(p, fd, &status, path,
			       depth < SCRIPT_DEPTH && dirfd == AT_FDCWD ? p->lines[depth] : NULL, kinds);
		/* Where nothing is left to the kernel, why it would refuse the file has to be known. */
		if ((path || 1U << p->kind & kinds || kinds == LOADS_ALL) && !may_execute(fd)) {
			p->kind = PROGRAM_OTHER;
			p->error = -EACCES;
			path = NULL;
		}
		if (1U << p->kind & kinds) {
			p->fd = fd;
			return;
		}
		dune_syscall1(__NR_close, fd);
		flags = 0;
	}
}
