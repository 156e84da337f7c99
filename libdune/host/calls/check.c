// SPDX-License-Identifier: MIT
/*
 * A checked program (__dune_process.check): no call that it makes has the kernel read or write libdune's memory,
 * whatever its other threads do meanwhile.  HR3.
 *
 * That memory is one granule, which never moves.  So of an argument that is an address it is enough to compare it
 * (operands.c); what memory says of addresses and lengths is copied into that granule first, and the kernel gets the
 * copy.  Here is what operands do not say: calls whose arguments depend on others, and files by which memory can be
 * reached.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "base/program.h"
#include "host/calls.h"
#include "host/host.h"

/* ---- ioctl ---- */

/* What the kernel reads and writes at the third argument, all of it known; where @size is 0 that is a number. */
static const struct known_ioctl {
	uint32_t number;
	uint16_t size;
} ioctls[] = {
	{ TCGETS, 36 }, { TCSETS, 36 }, { TCSETSW, 36 }, { TCSETSF, 36 }, { TCGETS2, 44 }, { TCSETS2, 44 },
	{ TCSETSW2, 44 }, { TCSETSF2, 44 }, { TCGETA, 18 }, { TCSETA, 18 }, { TCSETAW, 18 }, { TCSETAF, 18 },
	{ TCSBRK, 0 }, { TCSBRKP, 0 }, { TCXONC, 0 }, { TCFLSH, 0 }, { TIOCEXCL, 0 }, { TIOCNXCL, 0 },
	{ TIOCSCTTY, 0 }, { TIOCNOTTY, 0 }, { TIOCGPGRP, 4 }, { TIOCSPGRP, 4 }, { TIOCGSID, 4 }, { TIOCOUTQ, 4 },
	{ TIOCGWINSZ, 8 }, { TIOCSWINSZ, 8 }, { TIOCGPTN, 4 }, { TIOCSPTLCK, 4 }, { TIOCGPTPEER, 0 },
	{ FIONREAD, 4 }, { FIONBIO, 4 }, { FIOASYNC, 4 }, { FIOCLEX, 0 }, { FIONCLEX, 0 }, { FIOQSIZE, 8 },
	{ FS_IOC_GETFLAGS, 8 }, { FS_IOC_SETFLAGS, 8 }, { FS_IOC_GETVERSION, 8 }, { FICLONE, 0 },
	{ FICLONERANGE, sizeof(struct file_clone_range) }, { BLKGETSIZE64, 8 }, { BLKSSZGET, 4 },
};

static long check_ioctl(const struct guest_regs *r)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++)
		if (ioctls[i].number == (uint32_t)r->rsi)
			return out_of_bounds(r->rdx, ioctls[i].size) ? -EFAULT : FORWARD_CALL;
	return -ENOTTY;
}

/* ---- options of sockets ---- */

/* Their structures have pointers in them, or the number of bytes is not the argument's. */
#define SO_ATTACH_FILTER		26	/* and SO_GET_FILTER */
#define SO_ATTACH_REUSEPORT_CBPF	51
#define TCP_ZEROCOPY_RECEIVE		35
#define XT_BASE_CTL			64	/* of netfilter, for IP and IPv6; and behind it */
#define SOL_SOCKET			1
#define SOL_TCP				6
#define SOL_IP				0
#define SOL_IPV6			41

static bool socket_option_is_known(int level, int name)
{
	switch (level) {
	case SOL_SOCKET:
		return name != SO_ATTACH_FILTER && name != SO_ATTACH_REUSEPORT_CBPF;
	case SOL_TCP:
		return name != TCP_ZEROCOPY_RECEIVE;
	case SOL_IP:
	case SOL_IPV6:
		return name < XT_BASE_CTL || name > XT_BASE_CTL + 31;
	}
	return true;
}

/* ---- files by which memory can be reached ---- */

#define NAME_MEM	"mem"

/* The last component of @path. */
static const char *last_name(const char *path)
{
	const char *last = path;

	for (const char *p = path; *p; p++)
		if (*p == '/' && p[1] && p[1] != '/')
			last = p + 1;
	return last;
}

static bool is_name_of_memory(const char *name)
{
	const char *p = name, *mem = NAME_MEM;

	while (*mem && *p == *mem)
		p++, mem++;
	return !*mem && (!*p || *p == '/');
}

/* Is @fd, which no other thread can change, a process's memory in /proc? */
static bool is_memory_file(int fd)
{
	char link[NUMBER_SIZE], path[256];
	struct { uint64_t type, rest[14]; } fs;
	long length;

	if (dune_syscall2(__NR_fstatfs, fd, &fs))
		return true;		/* refuse what cannot be looked at */
	if (fs.type != PROC_SUPER_MAGIC)
		return false;
	length = dune_syscall3(__NR_readlink, __dune_name_descriptor(link, "/proc/self/fd/", fd), path,
			       sizeof(path) - 1);
	if (is_error(length))
		return true;
	path[length] = '\0';
	return is_name_of_memory(last_name(path));
}

/* The open that the program asks for: as openat2() has it. */
struct wanted {
	long dirfd;
	const char *path;
	struct open_how how;
};

/* Flags that the kernel ignores where it does not know them, but for openat2(). */
#define OPEN_FLAGS \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | FASYNC | O_DIRECT | \
	 O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | __O_SYNC | O_PATH | __O_TMPFILE)

static long openat2(const struct wanted *w, uint64_t resolve)
{
	struct open_how how = w->how;

	how.resolve |= resolve;
	return dune_syscall4(__NR_openat2, w->dirfd, w->path, &how, sizeof(how));
}

/* There is no such file: the folder by any way, and in it a new file, of which nobody has had a descriptor. */
static long open_new(const struct wanted *w)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = w->how.resolve };
	struct wanted file = *w;
	char *last = (char *)last_name(w->path), first = *last;
	long folder = w->dirfd, fd;

	if (last != w->path) {
		*last = '\0';
		folder = dune_syscall4(__NR_openat2, w->dirfd, w->path, &how, sizeof(how));
		*last = first;
	}
	if (is_error(folder) && folder != AT_FDCWD)
		return folder;
	file.dirfd = folder;
	file.path = last;
	file.how.flags |= O_EXCL;
	file.how.resolve = 0;
	fd = openat2(&file, RESOLVE_NO_SYMLINKS);
	if (last != w->path)
		dune_syscall1(__NR_close, folder);
	return fd;
}

/* Somebody may make and remove the file meanwhile. */
#define TRIES	64

/*
 * Through links, or to a file with such a name.  Nobody else can do anything with a descriptor that is only a path;
 * what it leads to is looked at, and opened by it.
 */
static long open_carefully(const struct wanted *w)
{
	const bool creates = w->how.flags & O_CREAT;
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | (w->how.flags & (O_NOFOLLOW | O_DIRECTORY)),
				.resolve = w->how.resolve };
	char link[NUMBER_SIZE];
	long path, fd;

	for (unsigned int i = 0; i < TRIES; i++) {
		path = dune_syscall4(__NR_openat2, w->dirfd, w->path, &how, sizeof(how));
		if (path != -ENOENT || !creates)
			break;
		fd = open_new(w);
		if (fd != -EEXIST || w->how.flags & O_EXCL)
			return fd;
	}
	if (is_error(path))
		return path == -ENOENT && creates ? -ELOOP : path;	/* a link to nowhere */
	if (is_memory_file(path))
		fd = -EACCES;
	else if (creates && w->how.flags & O_EXCL)
		fd = -EEXIST;
	else
		fd = dune_syscall4(__NR_openat, AT_FDCWD, __dune_name_descriptor(link, "/proc/self/fd/", path),
				   w->how.flags & ~(uint64_t)(O_NOFOLLOW | O_CREAT | O_EXCL), 0);
	dune_syscall1(__NR_close, path);
	return fd;
}

/* @path is a copy. */
static long open_checked(const struct wanted *w)
{
	long fd;

	if (w->how.flags & O_PATH || w->how.resolve)
		return open_carefully(w);
	if (is_name_of_memory(last_name(w->path)))
		return open_carefully(w);
	fd = openat2(w, RESOLVE_NO_SYMLINKS);
	return fd == -ELOOP ? open_carefully(w) : fd;
}

static long check_open(const struct dune_thread *t, const struct wanted *w)
{
	long fd = open_checked(w);

	__dune_filter_map(t, fd);
	return fd;
}

static long open_as(const struct dune_thread *t, long dirfd, const char *path, uint64_t flags, uint64_t mode)
{
	struct wanted w = { .dirfd = dirfd, .path = path, .how.flags = flags & OPEN_FLAGS };

	if (w.how.flags & O_PATH)
		w.how.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if (w.how.flags & (O_CREAT | __O_TMPFILE))
		w.how.mode = mode & 07777;
	return check_open(t, &w);
}

static long open_by_how(const struct dune_thread *t, const struct guest_regs *r)
{
	struct wanted w = { .dirfd = r->rdi, .path = (const char *)r->rsi };
	long ret;

	if (r->r10 < sizeof(w.how))
		return -EINVAL;
	if (r->r10 > sizeof(w.how))
		return -E2BIG;
	ret = __dune_copy_in(&w.how, r->rdx, sizeof(w.how));
	return ret ? ret : check_open(t, &w);
}

/* ---- the call ---- */

#define OPEN_TREE_ATTR	467	/* newer than the headers */

static long check_prctl(const struct guest_regs *r)
{
	switch ((int)r->rdi) {
	case PR_SET_MM:
		return -EPERM;
	case PR_SET_SECCOMP:
		return -EINVAL;		/* the kernel would have it judge libdune's calls */
	case PR_SET_SYSCALL_USER_DISPATCH:
		return out_of_bounds(r->r8, 1) ? -EFAULT : FORWARD_CALL;
	}
	return FORWARD_CALL;
}

long __dune_check(struct dune_thread *t, struct guest_regs *r)
{
	switch (t->output_nr) {
	case __NR_ptrace:		/* it would find libdune's registers and memory */
	case __NR_process_vm_readv:
	case __NR_process_vm_writev:
	case __NR_pidfd_getfd:
	case __NR_mount:		/* a file of /proc would have any name */
	case __NR_move_mount:
	case __NR_open_tree:
	case OPEN_TREE_ATTR:
		return -EPERM;
	case __NR_clone:
		return r->rdi & CLONE_CHILD_CLEARTID && out_of_bounds(r->r10, sizeof(int)) ? -EFAULT : FORWARD_CALL;
	case __NR_ioctl:
		return check_ioctl(r);
	case __NR_getsockopt:
	case __NR_setsockopt:
		return socket_option_is_known(r->rsi, r->rdx) ? FORWARD_CALL : -ENOPROTOOPT;
	case __NR_open:
		return open_as(t, AT_FDCWD, (const char *)r->rdi, r->rsi, r->rdx);
	case __NR_creat:
		return open_as(t, AT_FDCWD, (const char *)r->rdi, O_CREAT | O_WRONLY | O_TRUNC, r->rsi);
	case __NR_openat:
		return open_as(t, r->rdi, (const char *)r->rsi, r->rdx, r->r10);
	case __NR_openat2:
		return open_by_how(t, r);
	case __NR_prctl:
		return check_prctl(r);
	case __NR_restart_syscall:	/* of what a signal had interrupted no copy is left */
		return -EINTR;
	case __NR_set_robust_list:
		return __dune_robust_set(t, r->rdi, r->rsi);
	case __NR_get_robust_list:
		return __dune_robust_get(t, r->rdi, r->rsi, r->rdx);
	case __NR_exit_group:
		__dune_robust_end(t);
		return FORWARD_CALL;
	}
	return FORWARD_CALL;
}
