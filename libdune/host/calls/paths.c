// SPDX-License-Identifier: MIT
/*
 * Calls of a watched program that name files, where a callback decides by what names lead to (dune-ring3.h, path()).
 *
 * Its threads, and other processes, can have a name lead elsewhere at any time.  So the callback decides by the text of
 * a path without links (resolve.c), and the kernel is given that text and told to follow no link
 * (RESOLVE_NO_SYMLINKS): it finds that file, or says that there is a link by now, and all begins again.  Only openat2()
 * can be told so.  So other calls get a descriptor that openat2() has opened (O_PATH).
 *
 * A new descriptor has the lowest number that is free, where another thread can put another file.  Where a call only
 * looks at a file, that is of no use: the program gets to see what it has open.  Where it changes something the
 * descriptor is put first where ring 3 reaches none, in a slot (ring3-header.h), and its path is looked at there.
 *
 * The address of a UNIX socket is a path as well: the kernel gets one that leads through the slot.
 *
 * What each call does is a row of the table below.  HR3.
 */
#include <linux/fcntl.h>

#include "base/program.h"
#include "host/callbacks.h"
#include "host/calls/paths.h"
#include "host/host.h"
#include "host/signals.h"

#define TRIES		16	/* names that are changed as often as that lead nowhere */
#define W_OK		2
#define IN_DONT_FOLLOW	0x02000000
#define MSG_DONTWAIT	0x40
#define FCHMODAT2	452	/* newer than the headers */

/* ---- the table ---- */

enum how {
	NO_FILE,
	OPENS,
	EXECUTES,	/* exec.c asks for what it has opened */
	LOOKS,		/* by a descriptor of the file */
	CHANGES,	/* by a descriptor in a slot */
	NAMES,		/* by a descriptor of its folder in a slot */
	NAMES_TWO,
	BY_DESCRIPTOR,	/* what a descriptor of the program's is open on is changed */
	SENDS,		/* to the socket that an address names, or connects to it */
	BINDS,		/* a socket to the name in an address */
	PASSES,		/* it is no file that it names */
};

/* Arguments of the call that is made. */
enum argument {
	ARG0, ARG1, ARG2, ARG3, ARG4, ARG5,	/* those of the program's call */
	NOTHING,
	FD, NAME, FD2, NAME2,	/* the file, or the folder and the name in it */
	LINK,			/* a path that leads to what FD is */
	EMPTY,			/* "": it is FD that is meant */
	FLAGS,			/* the program's AT_* flags, with AT_EMPTY_PATH */
	BY_EMPTY,		/* AT_EMPTY_PATH */
	FOLDER,			/* AT_REMOVEDIR */
	FOLLOW,			/* AT_SYMLINK_FOLLOW */
	CWD,
	WATCHES,		/* the third argument, without IN_DONT_FOLLOW */
};

#define NONE	(-1)

struct row {
	uint8_t how;
	uint8_t access;		/* DUNE_RING3_* */
	bool nofollow;		/* a link that is the last component is the file */
	int8_t dir, path;	/* arguments: the folder's descriptor, and the path */
	int8_t dir2, path2;
	int8_t flags;		/* AT_* */
	uint16_t made;		/* the call that is made */
	uint8_t args[6];
};

#define LOOK	DUNE_RING3_LOOK
#define READ	DUNE_RING3_READ
#define WRITE	DUNE_RING3_WRITE
#define ENTRY	DUNE_RING3_NAME

#define ROW(nr, how, access, nofollow, dir, path, flags, made, ...) \
	[nr] = { how, access, nofollow, dir, path, NONE, NONE, flags, made, { __VA_ARGS__ } }
#define ROW2(nr, dir, path, dir2, path2, flags, access, made, ...) \
	[nr] = { NAMES_TWO, access, true, dir, path, dir2, path2, flags, made, { __VA_ARGS__ } }

static const struct row rows[NR_SYSCALLS] = {
	ROW(__NR_open, OPENS, 0, false, NONE, 0, NONE, 0, 0),
	ROW(__NR_creat, OPENS, 0, false, NONE, 0, NONE, 0, 0),
	ROW(__NR_openat, OPENS, 0, false, 0, 1, NONE, 0, 0),
	ROW(__NR_openat2, OPENS, 0, false, 0, 1, NONE, 0, 0),
	ROW(__NR_execve, EXECUTES, 0, false, NONE, 0, NONE, 0, 0),
	ROW(__NR_execveat, EXECUTES, 0, false, 0, 1, 4, 0, 0),

	ROW(__NR_stat, LOOKS, LOOK, false, NONE, 0, NONE, __NR_newfstatat, FD, EMPTY, ARG1, BY_EMPTY),
	ROW(__NR_lstat, LOOKS, LOOK, true, NONE, 0, NONE, __NR_newfstatat, FD, EMPTY, ARG1, BY_EMPTY),
	ROW(__NR_newfstatat, LOOKS, LOOK, false, 0, 1, 3, __NR_newfstatat, FD, EMPTY, ARG2, FLAGS),
	ROW(__NR_statx, LOOKS, LOOK, false, 0, 1, 2, __NR_statx, FD, EMPTY, FLAGS, ARG3, ARG4),
	ROW(__NR_access, LOOKS, LOOK, false, NONE, 0, NONE, __NR_faccessat2, FD, EMPTY, ARG1, BY_EMPTY),
	ROW(__NR_faccessat, LOOKS, LOOK, false, 0, 1, NONE, __NR_faccessat2, FD, EMPTY, ARG2, BY_EMPTY),
	ROW(__NR_faccessat2, LOOKS, LOOK, false, 0, 1, 3, __NR_faccessat2, FD, EMPTY, ARG2, FLAGS),
	ROW(__NR_readlink, LOOKS, LOOK, true, NONE, 0, NONE, __NR_readlinkat, FD, EMPTY, ARG1, ARG2),
	ROW(__NR_readlinkat, LOOKS, LOOK, true, 0, 1, NONE, __NR_readlinkat, FD, EMPTY, ARG2, ARG3),
	ROW(__NR_statfs, LOOKS, LOOK, false, NONE, 0, NONE, __NR_fstatfs, FD, ARG1),
	ROW(__NR_chdir, LOOKS, LOOK, false, NONE, 0, NONE, __NR_fchdir, FD),
	ROW(__NR_getxattr, CHANGES, READ, false, NONE, 0, NONE, __NR_getxattr, LINK, ARG1, ARG2, ARG3),
	ROW(__NR_lgetxattr, CHANGES, READ, true, NONE, 0, NONE, __NR_getxattr, LINK, ARG1, ARG2, ARG3),
	ROW(__NR_listxattr, CHANGES, READ, false, NONE, 0, NONE, __NR_listxattr, LINK, ARG1, ARG2),
	ROW(__NR_llistxattr, CHANGES, READ, true, NONE, 0, NONE, __NR_listxattr, LINK, ARG1, ARG2),
	ROW(__NR_inotify_add_watch, CHANGES, READ, false, NONE, 1, NONE, __NR_inotify_add_watch, ARG0, LINK, WATCHES),

	ROW(__NR_truncate, CHANGES, WRITE, false, NONE, 0, NONE, __NR_truncate, LINK, ARG1),
	ROW(__NR_chmod, CHANGES, WRITE, false, NONE, 0, NONE, __NR_chmod, LINK, ARG1),
	ROW(__NR_fchmodat, CHANGES, WRITE, false, 0, 1, NONE, __NR_chmod, LINK, ARG2),
	ROW(FCHMODAT2, CHANGES, WRITE, false, 0, 1, 3, __NR_chmod, LINK, ARG2),
	ROW(__NR_chown, CHANGES, WRITE, false, NONE, 0, NONE, __NR_fchownat, FD, EMPTY, ARG1, ARG2, BY_EMPTY),
	ROW(__NR_lchown, CHANGES, WRITE, true, NONE, 0, NONE, __NR_fchownat, FD, EMPTY, ARG1, ARG2, BY_EMPTY),
	ROW(__NR_fchownat, CHANGES, WRITE, false, 0, 1, 4, __NR_fchownat, FD, EMPTY, ARG2, ARG3, BY_EMPTY),
	ROW(__NR_utime, CHANGES, WRITE, false, NONE, 0, NONE, __NR_utime, LINK, ARG1),
	ROW(__NR_utimes, CHANGES, WRITE, false, NONE, 0, NONE, __NR_utimes, LINK, ARG1),
	ROW(__NR_futimesat, CHANGES, WRITE, false, 0, 1, NONE, __NR_utimes, LINK, ARG2),
	ROW(__NR_utimensat, CHANGES, WRITE, false, 0, 1, 3, __NR_utimensat, CWD, LINK, ARG2, NOTHING),
	ROW(__NR_setxattr, CHANGES, WRITE, false, NONE, 0, NONE, __NR_setxattr, LINK, ARG1, ARG2, ARG3, ARG4),
	ROW(__NR_lsetxattr, CHANGES, WRITE, true, NONE, 0, NONE, __NR_setxattr, LINK, ARG1, ARG2, ARG3, ARG4),
	ROW(__NR_removexattr, CHANGES, WRITE, false, NONE, 0, NONE, __NR_removexattr, LINK, ARG1),
	ROW(__NR_lremovexattr, CHANGES, WRITE, true, NONE, 0, NONE, __NR_removexattr, LINK, ARG1),
	ROW(__NR_fchmod, BY_DESCRIPTOR, WRITE, false, 0, NONE, NONE, 0, 0),
	ROW(__NR_fchown, BY_DESCRIPTOR, WRITE, false, 0, NONE, NONE, 0, 0),
	ROW(__NR_fsetxattr, BY_DESCRIPTOR, WRITE, false, 0, NONE, NONE, 0, 0),
	ROW(__NR_fremovexattr, BY_DESCRIPTOR, WRITE, false, 0, NONE, NONE, 0, 0),

	ROW(__NR_mkdir, NAMES, ENTRY, true, NONE, 0, NONE, __NR_mkdirat, FD, NAME, ARG1),
	ROW(__NR_mkdirat, NAMES, ENTRY, true, 0, 1, NONE, __NR_mkdirat, FD, NAME, ARG2),
	ROW(__NR_mknod, NAMES, ENTRY, true, NONE, 0, NONE, __NR_mknodat, FD, NAME, ARG1, ARG2),
	ROW(__NR_mknodat, NAMES, ENTRY, true, 0, 1, NONE, __NR_mknodat, FD, NAME, ARG2, ARG3),
	ROW(__NR_rmdir, NAMES, ENTRY, true, NONE, 0, NONE, __NR_unlinkat, FD, NAME, FOLDER),
	ROW(__NR_unlink, NAMES, ENTRY, true, NONE, 0, NONE, __NR_unlinkat, FD, NAME, NOTHING),
	ROW(__NR_unlinkat, NAMES, ENTRY, true, 0, 1, NONE, __NR_unlinkat, FD, NAME, ARG2),
	ROW(__NR_symlink, NAMES, ENTRY, true, NONE, 1, NONE, __NR_symlinkat, ARG0, FD, NAME),
	ROW(__NR_symlinkat, NAMES, ENTRY, true, 1, 2, NONE, __NR_symlinkat, ARG0, FD, NAME),
	ROW2(__NR_rename, NONE, 0, NONE, 1, NONE, ENTRY, __NR_renameat2, FD, NAME, FD2, NAME2, NOTHING),
	ROW2(__NR_renameat, 0, 1, 2, 3, NONE, ENTRY, __NR_renameat2, FD, NAME, FD2, NAME2, NOTHING),
	ROW2(__NR_renameat2, 0, 1, 2, 3, NONE, ENTRY, __NR_renameat2, FD, NAME, FD2, NAME2, ARG4),
	/* Under its new name the file can be read and written as it can there. */
	ROW2(__NR_link, NONE, 0, NONE, 1, NONE, READ | WRITE | ENTRY, __NR_linkat, FD, NAME, FD2, NAME2, NOTHING),
	ROW2(__NR_linkat, 0, 1, 2, 3, 4, READ | WRITE | ENTRY, __NR_linkat, FD, NAME, FD2, NAME2, NOTHING),

	/* The arguments where the address is, or a message with one. */
	ROW(__NR_connect, SENDS, WRITE, false, NONE, 1, NONE, 0, 0),
	ROW(__NR_sendto, SENDS, WRITE, false, NONE, 4, NONE, 0, 0),
	ROW(__NR_sendmsg, SENDS, WRITE, false, NONE, 1, NONE, 0, 0),
	ROW(__NR_sendmmsg, SENDS, WRITE, false, NONE, 1, NONE, 0, 0),
	ROW(__NR_bind, BINDS, ENTRY, true, NONE, 1, NONE, 0, 0),

	ROW(__NR_mq_open, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	ROW(__NR_mq_unlink, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	/* Those of __dune_check(), which refuses them in its own way. */
	ROW(__NR_mount, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	ROW(__NR_move_mount, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	ROW(__NR_open_tree, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	ROW(__NR_chroot, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	ROW(__NR_pivot_root, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
	ROW(__NR_umount2, PASSES, 0, false, NONE, NONE, NONE, 0, 0),
};

bool __dune_path_known(unsigned int nr)
{
	return rows[nr].how != NO_FILE;
}

bool __dune_path_in_address(unsigned int nr, unsigned int argument)
{
	return (rows[nr].how == SENDS || rows[nr].how == BINDS) && rows[nr].path == (int)argument;
}

bool __dune_path_decides(unsigned int nr)
{
	return rows[nr].how != NO_FILE && rows[nr].how != PASSES && rows[nr].how != EXECUTES;
}

/* ---- the call that is made ---- */

struct use {
	int fd, fd2;
	const char *name, *name2;
};

static long make(const struct row *row, const struct guest_regs *r, const struct use *use)
{
	const struct arguments given = arguments_of(r);
	char link[NUMBER_SIZE];
	uint64_t a[6] = { 0 };

	for (unsigned int i = 0; i < ARRAY_SIZE(a); i++) {
		switch ((enum argument)row->args[i]) {
		case ARG0 ... ARG5:
			a[i] = given.value[row->args[i]];
			break;
		case NOTHING:
			break;
		case FD:
			a[i] = use->fd;
			break;
		case NAME:
			a[i] = (uint64_t)use->name;
			break;
		case FD2:
			a[i] = use->fd2;
			break;
		case NAME2:
			a[i] = (uint64_t)use->name2;
			break;
		case LINK:
			a[i] = (uint64_t)__dune_name_descriptor(link, "/proc/self/fd/", use->fd);
			break;
		case EMPTY:
			a[i] = (uint64_t)"";
			break;
		case FLAGS:
			a[i] = (given.value[row->flags] & ~(uint64_t)AT_SYMLINK_NOFOLLOW) | AT_EMPTY_PATH;
			break;
		case BY_EMPTY:
			a[i] = AT_EMPTY_PATH;
			break;
		case FOLDER:
			a[i] = AT_REMOVEDIR;
			break;
		case FOLLOW:
			a[i] = AT_SYMLINK_FOLLOW;
			break;
		case CWD:
			a[i] = AT_FDCWD;
			break;
		case WATCHES:
			a[i] = given.value[2] & ~(uint64_t)IN_DONT_FOLLOW;
			break;
		}
	}
	return dune_syscall6(row->made, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- asking ---- */

static long ask_for(struct dune_thread *t, const char *text, unsigned int access)
{
	return __dune_callback_path(t, *text ? text : "/", access);
}

/* FORWARD_CALL, or the result. */
static long ask(struct dune_thread *t, struct file *f, unsigned int access)
{
	const size_t length = f->length;
	size_t more = 0;
	long ret;

	if (f->found == FOUND_DESCRIPTOR)	/* whoever uses it sees that the program gets no more than it has */
		return FORWARD_CALL;
	while (f->is_name && f->last[more] && f->last[more] != '/')
		more++;
	/* No call makes or removes such a name; the kernel says why. */
	if (!f->is_name || is_dots(f->last, more))
		return ask_for(t, f->text, access);
	if (length + 1 + more >= PATH_MAX)
		return -ENAMETOOLONG;
	f->text[length] = '/';
	memcpy(f->text + length + 1, f->last, more);
	f->text[length + 1 + more] = '\0';
	ret = ask_for(t, f->text, access);
	f->text[length] = '\0';
	return ret;
}

/* ---- using what was found ---- */

/* As the kernel is to look it up, to @text, PATH_MAX bytes. */
static bool write_found(char *text, const struct file *f)
{
	const char *behind = f->length ? f->behind : *f->behind ? f->behind : "/";
	size_t length = f->length;

	if (length + 2 >= PATH_MAX)
		return false;
	memcpy(text, f->text, length);
	while (*behind)
		text[length++] = *behind++;
	text[length] = '\0';
	return true;
}

static long open_found(const struct file *f, const struct open_how *wanted)
{
	struct open_how how = *wanted;
	char text[PATH_MAX];

	if (!write_found(text, f))
		return -ENAMETOOLONG;
	if (f->found != FOUND_OF_KERNEL)
		how.resolve |= RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	return __dune_open_by_text(text, &how);
}

static long open_path(struct file *f, uint64_t flags)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags };

	if (f->found == FOUND_FILE && !f->follow && !*f->behind)
		how.flags |= O_NOFOLLOW;
	return open_found(f, &how);
}

static int slot_number(unsigned int slot)
{
	return __dune_engine_fds.first + 1 + LOADER_FD_SLOTS + slot;
}

static uint32_t *slots_lock(void)
{
	return &region_state()->path_slots;
}

static long copy_to_slot(int fd, unsigned int slot)
{
	struct fd_limits limits;
	long ret = dune_syscall3(__NR_dup3, fd, slot_number(slot), 0);

	if (ret != -EBADF)
		return ret;
	__dune_fd_limit_raise(&limits);
	ret = dune_syscall3(__NR_dup3, fd, slot_number(slot), 0);
	__dune_fd_limit_restore(&limits);
	return ret;
}

/* With the lock of the slots held: what is looked at there stays there. */
static long put_in_slot(int fd, unsigned int slot)
{
	return engine_owns_fd(fd) ? -EBADF : copy_to_slot(fd, slot);
}

static void take_slots(void)
{
	word_lock(slots_lock(), __dune_holder_host());
}

/* The first @n have been used.  No file stays open for that: a pipe would not end, a removed file keep its blocks. */
static void leave_slots(unsigned int n)
{
	while (n--)
		copy_to_slot(__dune_engine_fds.first + 1 + LOADER_FD_MEMORY, n);
	word_unlock(slots_lock());
}

static bool has_path(unsigned int slot, const char *text)
{
	char path[PATH_MAX];
	const char *p = path;

	__dune_descriptor_path(slot_number(slot), path, sizeof(path));
	if (!*text)
		return path[0] == '/' && !path[1];
	while (*p && *p == *text)
		p++, text++;
	return *p == *text;
}

/* Have a descriptor of what was found, or of its folder, in the slot.  -ELOOP: names have changed.  0 or -errno. */
static long pin(struct file *f, unsigned int slot)
{
	long fd = open_path(f, f->is_name ? O_DIRECTORY : 0), ret;

	if (is_error(fd))
		return fd;
	ret = put_in_slot(fd, slot);
	dune_syscall1(__NR_close, fd);
	if (is_error(ret))
		return ret;
	return f->found == FOUND_FILE && !has_path(slot, f->text) ? -ELOOP : 0;
}

/*
 * What a descriptor of the program's is open on: its path is asked for, if it has one.  Of a file that has none the
 * program may do what its descriptor may.
 */
static long pin_descriptor(struct dune_thread *t, int fd, unsigned int slot, unsigned int access)
{
	struct { uint64_t dev, ino, nlink, rest[15]; } status;
	char text[PATH_MAX];
	long ret = put_in_slot(fd, slot), flags;

	if (is_error(ret))
		return ret;
	__dune_descriptor_path(slot_number(slot), text, sizeof(text));
	if (*text == '/' && !dune_syscall2(__NR_fstat, slot_number(slot), &status) && status.nlink) {
		ret = ask_for(t, text, access);
		return ret == FORWARD_CALL ? 0 : ret;
	}
	flags = dune_syscall3(__NR_fcntl, slot_number(slot), F_GETFL, 0);
	if (access & DUNE_RING3_WRITE && (flags & O_PATH || (flags & O_ACCMODE) == O_RDONLY))
		return -EACCES;
	if (access & DUNE_RING3_READ && (flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY))
		return -EACCES;
	return 0;
}

/* The file, in the first slot. */
static long pin_file(struct dune_thread *t, struct file *f, unsigned int access)
{
	return f->found == FOUND_DESCRIPTOR ? pin_descriptor(t, f->fd, 0, access) : pin(f, 0);
}

/* ---- each kind of call ---- */

struct asked {
	struct dune_thread *t;
	const struct guest_regs *r;
	const struct row *row;
	unsigned int access;
	struct use use;
	const struct message *message;	/* SENDS: what goes to the address */
	unsigned int flags;		/* ... and how */
};

typedef long (*act_fn)(struct asked *a, struct file *f);

/*
 * Find out what the path leads to, ask, and @act.  First by the text alone, without a look at links: mostly there are
 * none, and that nothing is refused by such a text is not told anyone.
 */
static long with_file(struct asked *a, struct file *f, unsigned int access, act_fn act)
{
	long ret = __dune_path_guess(f), found;

	if (!ret && ask(a->t, f, access | DUNE_RING3_PERHAPS) == FORWARD_CALL) {
		ret = act(a, f);
		if (ret != -ELOOP)
			return ret;
	} else if (ret && ret != -ELOOP) {
		return ret;
	}
	for (int i = 0; i < TRIES; i++) {
		found = __dune_path_walk(f);
		if (found == -EBADF)
			return found;
		ret = ask(a->t, f, access);
		if (ret != FORWARD_CALL)
			return ret;
		if (found)
			return found;
		ret = act(a, f);
		if (ret != -ELOOP)
			return ret;
	}
	return -ELOOP;
}

/* A descriptor of the program's, in its place: what is there is what it gets to see. */
static int own_descriptor(const struct file *f)
{
	return f->found == FOUND_DESCRIPTOR ? f->fd : -1;
}

static long look(struct asked *a, struct file *f)
{
	long ret;

	if (a->row->made == __NR_faccessat2 && arguments_of(a->r).value[a->row->path + 1] & W_OK &&
	    ask(a->t, f, DUNE_RING3_WRITE | DUNE_RING3_PERHAPS) != FORWARD_CALL)
		return -EACCES;
	a->use.fd = own_descriptor(f);
	if (a->use.fd >= 0)
		return make(a->row, a->r, &a->use);
	a->use.fd = open_path(f, 0);
	if (is_error(a->use.fd))
		return a->use.fd;
	ret = make(a->row, a->r, &a->use);
	dune_syscall1(__NR_close, a->use.fd);
	/* Of a descriptor that is no link the kernel says something else than of a name. */
	return a->row->made == __NR_readlinkat && ret == -ENOENT ? -EINVAL : ret;
}

static long change(struct asked *a, struct file *f)
{
	long ret;

	take_slots();
	ret = pin_file(a->t, f, a->access);
	a->use.fd = slot_number(0);
	if (!ret)
		ret = make(a->row, a->r, &a->use);
	leave_slots(1);
	return ret;
}

static long change_name(struct asked *a, struct file *f)
{
	long ret;

	take_slots();
	ret = pin(f, 0);
	a->use = (struct use){ .fd = slot_number(0), .name = f->last };
	if (!ret)
		ret = make(a->row, a->r, &a->use);
	leave_slots(1);
	return ret;
}

/* The second name: the first one's folder is in its slot. */
static long change_second(struct asked *a, struct file *f)
{
	long ret = pin(f, 1);

	a->use.fd2 = slot_number(1);
	a->use.name2 = f->last;
	return ret ? ret : make(a->row, a->r, &a->use);
}

static int64_t argument_of(const struct asked *a, int n, int64_t none)
{
	return n == NONE ? none : (int64_t)arguments_of(a->r).value[n];
}

static long set_second(const struct asked *a, struct file *second)
{
	return __dune_path_set(second, argument_of(a, a->row->dir2, AT_FDCWD),
			       (const char *)argument_of(a, a->row->path2, 0));
}

static long change_two(struct asked *a, struct file *f)
{
	uint64_t status[18];		/* struct stat */
	struct file second = { .is_name = true };
	long ret;

	take_slots();
	ret = pin(f, 0);
	a->use = (struct use){ .fd = slot_number(0), .name = f->last };
	/* The kernel looks at it before it looks at anything of the new name. */
	if (!ret && a->row->made == __NR_linkat)
		ret = dune_syscall4(__NR_newfstatat, a->use.fd, f->last, &status, AT_SYMLINK_NOFOLLOW);
	if (!ret)
		ret = set_second(a, &second);
	if (!ret)
		ret = with_file(a, &second, DUNE_RING3_NAME, change_second);
	leave_slots(2);
	return ret;
}

/* The call as it is, but that the descriptor is first looked at. */
static long by_descriptor(struct asked *a)
{
	struct guest_regs r = *a->r;
	struct arguments args = arguments_of(&r);
	long ret;

	take_slots();
	ret = pin_descriptor(a->t, args.value[a->row->dir], 0, a->access);
	if (!ret) {
		args.value[a->row->dir] = slot_number(0);
		set_arguments(&r, args.value);
		ret = __dune_forward(&r);
	}
	leave_slots(1);
	return ret;
}

/* ---- open ---- */

static unsigned int access_of(const struct open_how *how)
{
	const unsigned int mode = how->flags & O_ACCMODE;
	unsigned int access = mode == O_WRONLY ? DUNE_RING3_WRITE :
			      mode == O_RDONLY ? DUNE_RING3_READ : DUNE_RING3_READ | DUNE_RING3_WRITE;

	if (how->flags & O_PATH)
		return DUNE_RING3_LOOK;
	if (how->flags & O_TRUNC)
		access |= DUNE_RING3_WRITE;
	if ((how->flags & __O_TMPFILE) == __O_TMPFILE)
		access |= DUNE_RING3_NAME;
	return access;
}

static unsigned int access_to_make(const struct open_how *how)
{
	return access_of(how) | (how->flags & O_CREAT && !(how->flags & O_PATH) ? DUNE_RING3_NAME : 0);
}

/* Again what a descriptor is open on, that has no path: with no more rights than it has. */
static long open_descriptor(struct asked *a, const struct file *f, const struct open_how *how)
{
	char link[NUMBER_SIZE];
	struct open_how again = *how;
	long ret;

	again.resolve &= ~(uint64_t)(RESOLVE_BENEATH | RESOLVE_IN_ROOT);
	again.flags &= ~(uint64_t)(O_CREAT | O_EXCL);
	again.mode = 0;
	take_slots();
	ret = pin_descriptor(a->t, f->fd, 0, access_of(how) & ~DUNE_RING3_LOOK);
	if (!ret)
		ret = dune_syscall4(__NR_openat2, AT_FDCWD,
				    __dune_name_descriptor(link, "/proc/self/fd/", slot_number(0)), &again,
				    sizeof(again));
	leave_slots(1);
	return ret;
}

/* What the program asks for, without what the text of the path has taken into account. */
static struct open_how how_found(const struct wanted *w)
{
	struct open_how how = w->how;

	how.resolve &= RESOLVE_CACHED;
	return how;
}

#define RESOLVE_KNOWN \
	(RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED)

static long set_wanted(struct file *f, const struct wanted *w)
{
	f->resolve = w->how.resolve;
	f->follow = !(w->how.flags & O_NOFOLLOW) && (w->how.flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
	return __dune_path_set(f, w->dirfd, w->path);
}

/* Of flags that do not go together the kernel says so before it looks for the file. */
static long error_of_open(const struct wanted *w, long error)
{
	long ret = dune_syscall4(__NR_openat2, AT_FDCWD, "", &w->how, sizeof(w->how));

	return ret == -EINVAL ? ret : error;
}

/*
 * All links are followed, and the file is opened here.  A file that is there may be opened with O_CREAT where none may
 * be made.
 */
static long open_now(struct asked *a, struct file *f, const struct wanted *w)
{
	struct open_how how = how_found(w);
	long ret = -ELOOP, found;

	for (int i = 0; i < TRIES && ret == -ELOOP; i++) {
		bool makes = how.flags & O_CREAT;

		found = __dune_path_walk(f);
		if (found == -EBADF)
			return found;
		if (makes && !(how.flags & O_EXCL) &&
		    ask(a->t, f, access_to_make(&how) | DUNE_RING3_PERHAPS) != FORWARD_CALL)
			makes = false;
		ret = ask(a->t, f, makes ? access_to_make(&how) : access_of(&how));
		if (ret != FORWARD_CALL)
			return ret;
		if (found)
			return error_of_open(w, found);
		if (f->found == FOUND_DESCRIPTOR)
			return open_descriptor(a, f, &how);
		if (makes || !(how.flags & O_CREAT)) {
			ret = open_found(f, &how);
		} else {
			struct open_how there = how;

			there.flags &= ~(uint64_t)O_CREAT;
			there.mode = 0;
			ret = open_found(f, &there);
			if (ret == -ENOENT) {
				ret = ask(a->t, f, access_to_make(&how));
				if (ret == FORWARD_CALL)
					ret = -EACCES;
			}
		}
		if (ret == -ELOOP && !f->follow)	/* the last component is a link, and is not to be followed */
			return ret;
	}
	return ret;
}

/* The kernel gets the text: it can wait for that file as long as it likes, and a signal finds it there. */
static bool have_opened(struct asked *a, struct file *f, const struct wanted *w)
{
	struct call_state *s = call_state(a->t);
	struct guest_regs *r = &s->regs;
	char *text = (char *)s->free;

	if (!s->moved || s->end - s->free < PATH_MAX || !write_found(text, f) || __dune_is_name_of_memory(text))
		return false;
	s->wanted = *w;
	s->how = how_found(w);
	s->how.resolve |= RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	if (s->how.flags & O_CREAT && ask(a->t, f, access_to_make(&s->how) | DUNE_RING3_PERHAPS) != FORWARD_CALL) {
		if (s->how.flags & O_EXCL)
			return false;
		s->how.flags &= ~(uint64_t)O_CREAT;
		s->how.mode = 0;
	}
	if (!(s->how.flags & O_CREAT) && ask(a->t, f, access_of(&s->how) | DUNE_RING3_PERHAPS) != FORWARD_CALL)
		return false;
	r->rax = __NR_openat2;
	r->rdi = AT_FDCWD;
	r->rsi = (uint64_t)text;
	r->rdx = (uint64_t)&s->how;
	r->r10 = sizeof(s->how);
	return true;
}

static long open_file(struct asked *a, struct file *f)
{
	struct wanted w;
	long ret = __dune_open_wanted(a->r, a->t->output_nr, &w);

	call_state(a->t)->wanted.path = NULL;
	if (ret)
		return ret;
	if (w.how.resolve & ~(uint64_t)RESOLVE_KNOWN)	/* RESOLVE_NO_XDEV too: from where on? */
		return -EINVAL;
	ret = set_wanted(f, &w);
	if (!ret)
		ret = __dune_path_guess(f);
	if (ret && ret != -ELOOP)
		return error_of_open(&w, ret);
	if (!ret && have_opened(a, f, &w))
		return FORWARD_CALL;
	ret = open_now(a, f, &w);
	__dune_filter_map(a->t, ret);
	return ret;
}

long __dune_path_open_again(struct dune_thread *t, long result)
{
	const struct call_state *s = call_state(t);
	struct asked a = { .t = t };
	struct file f = { 0 };
	struct wanted w = s->wanted;

	if (!w.path || (result != -ELOOP && (result != -ENOENT || (w.how.flags & ~s->how.flags & O_CREAT) == 0)))
		return result;
	return set_wanted(&f, &w) ? result : open_now(&a, &f, &w);
}

/* ---- exec ---- */

long __dune_path_execute(struct dune_thread *t, int fd)
{
	char text[PATH_MAX];

	if (!__dune_callback_asks())
		return FORWARD_CALL;
	if (is_error(__dune_descriptor_path(fd, text, sizeof(text))))
		return -EACCES;
	return ask_for(t, text, DUNE_RING3_EXECUTE);
}

static long nothing(struct asked *a, struct file *f)
{
	(void)a;
	(void)f;
	return 0;
}

long __dune_path_executes(struct dune_thread *t, int dirfd, const char *path, long error)
{
	struct asked a = { .t = t };
	struct file f = { .follow = true };
	long ret;

	if (!__dune_callback_asks() || __dune_path_set(&f, dirfd, path))
		return error;
	ret = with_file(&a, &f, DUNE_RING3_EXECUTE, nothing);
	return ret ? ret : error;
}

/* ---- UNIX sockets ---- */

#define AF_UNIX		1
#define SOL_SOCKET	1
#define SO_SNDTIMEO	21
#define UNIX_PATH_MAX	108

struct unix_address {
	uint16_t family;
	char path[UNIX_PATH_MAX];
};

#define UNIX_PATH_AT	offsetof(struct unix_address, path)

/*
 * The path in the address of @length bytes at @at, without a NUL behind it perhaps.  0: it has none, or the kernel
 * refuses it.  What is a copy of libdune's no thread changes; there is one of each that can have a path.
 */
static long path_in_address(uint64_t at, int64_t length, char path[UNIX_PATH_MAX + 1])
{
	const struct unix_address *address = (const struct unix_address *)at;
	int64_t n = 0;

	if (!at || length <= (int64_t)UNIX_PATH_AT || length > (int64_t)sizeof(*address))
		return 0;
	if (!out_of_bounds(at, length))
		return -EFAULT;
	if (address->family != AF_UNIX)
		return 0;
	for (; n < length - (int64_t)UNIX_PATH_AT && address->path[n]; n++)
		path[n] = address->path[n];
	path[n] = '\0';
	return n;
}

/* The slot, or the name in it; its length.  -ENAMETOOLONG */
static long slot_address(struct unix_address *address, const char *name)
{
	char link[NUMBER_SIZE];
	const char *from = __dune_name_descriptor(link, "/proc/self/fd/", slot_number(0));
	size_t n = 0;

	*address = (struct unix_address){ .family = AF_UNIX };
	while (*from)
		address->path[n++] = *from++;
	if (name)
		address->path[n++] = '/';
	for (; name && *name; name++) {
		if (n == UNIX_PATH_MAX)
			return -ENAMETOOLONG;
		address->path[n++] = *name;
	}
	return UNIX_PATH_AT + n;
}

static long make_binding(struct asked *a, struct file *f)
{
	struct unix_address address;
	long ret;

	take_slots();
	ret = pin(f, 0);
	if (!ret)
		ret = slot_address(&address, f->last);
	if (!is_error(ret))
		ret = dune_syscall3(__NR_bind, a->r->rdi, &address, ret);
	leave_slots(1);
	return ret;
}

/* A moment, and no longer, for the slot is needed: where nobody accepts it waits for that. */
static long connect_soon(int fd, const struct unix_address *address, unsigned int length)
{
	const uint64_t moment[2] = { 0, ENGINE_YIELD_MAX };	/* struct timeval */
	uint64_t limit[2];
	uint32_t size = sizeof(limit);
	bool limited = !dune_syscall5(__NR_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, limit, &size) &&
		       !dune_syscall5(__NR_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, moment, sizeof(moment));
	long ret = dune_syscall3(__NR_connect, fd, address, length);

	if (limited)
		dune_syscall5(__NR_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, limit, sizeof(limit));
	return ret;
}

static long send_there(struct asked *a, struct file *f)
{
	const int fd = a->r->rdi;
	struct unix_address address;
	struct message message;
	long ret;

	take_slots();
	ret = pin_file(a->t, f, a->access);
	if (!ret)
		ret = slot_address(&address, NULL);
	if (!is_error(ret) && a->message) {
		message = *a->message;
		message.name = (uint64_t)&address;
		message.name_length = ret;
		ret = dune_syscall3(__NR_sendmsg, fd, &message, a->flags | MSG_DONTWAIT);
	} else if (!is_error(ret)) {
		ret = connect_soon(fd, &address, ret);
	}
	leave_slots(1);
	return ret;
}

/*
 * The kernel has not waited, or not for long.  The program is to, if it has not said otherwise: it makes the call again
 * after a moment, but for a signal, which interrupts it.
 */
static long wait_perhaps(struct asked *a, long ret)
{
	if (ret != -EAGAIN || a->flags & MSG_DONTWAIT ||
	    dune_syscall3(__NR_fcntl, a->r->rdi, F_GETFL, 0) & O_NONBLOCK)
		return ret;
	if (a->message)
		__dune_engine_yield(ENGINE_YIELD_MAX, NULL);
	if (READ_ONCE(a->t->deferred))
		return -EINTR;
	__dune_call_again(a->t);
	return CALL_AGAIN;
}

/* FORWARD_CALL: the address at @at names no file. */
static long with_address(struct asked *a, struct file *f, uint64_t at, int64_t length, act_fn act)
{
	char path[UNIX_PATH_MAX + 1];
	long ret = path_in_address(at, length, path);

	if (is_error(ret))
		return ret;
	if (!ret)
		return FORWARD_CALL;
	f->follow = true;
	ret = __dune_path_set(f, AT_FDCWD, path);
	return ret ? ret : with_file(a, f, a->access, act);
}

static long send_message(struct asked *a, struct file *f, const struct message *m)
{
	a->message = m;
	return with_address(a, f, m->name, m->name_length, send_there);
}

/* One after the other, from the first one on whose address names a file. */
static long send_messages(struct asked *a, struct file *f)
{
	struct counted_message *m = (struct counted_message *)a->r->rsi;
	const uint64_t n = (uint32_t)a->r->rdx < MESSAGES_MAX ? (uint32_t)a->r->rdx : MESSAGES_MAX;
	bool named = false;
	long ret = 0;
	uint64_t i;

	for (i = 0; i < n && !named; i++) {
		char path[UNIX_PATH_MAX + 1];

		named = path_in_address(m[i].message.name, m[i].message.name_length, path);
	}
	if (!named)
		return FORWARD_CALL;
	for (i = 0; i < n && !is_error(ret); i++) {
		ret = send_message(a, f, &m[i].message);
		if (ret == FORWARD_CALL)
			ret = dune_syscall3(__NR_sendmsg, a->r->rdi, &m[i].message, a->flags | MSG_DONTWAIT);
		if (!is_error(ret))
			m[i].length = ret;
	}
	return !is_error(ret) ? (long)i : i > 1 ? (long)i - 1 : ret;
}

static long socket_call(struct asked *a, struct file *f)
{
	const struct guest_regs *r = a->r;
	const struct message m = { .name = r->r8, .name_length = r->r9, .vector = (uint64_t)&(struct vector){
					   r->rsi, r->rdx }, .nr_vectors = 1 };
	long ret;

	switch (a->t->output_nr) {
	case __NR_bind:
		return with_address(a, f, r->rsi, (int)r->rdx, make_binding);
	case __NR_connect:
		ret = with_address(a, f, r->rsi, (int)r->rdx, send_there);
		break;
	case __NR_sendto:
		a->flags = r->r10;
		ret = send_message(a, f, &m);
		break;
	case __NR_sendmsg:
		a->flags = r->rdx;
		if (!r->rsi)
			return FORWARD_CALL;
		ret = send_message(a, f, (const struct message *)r->rsi);
		break;
	default:
		a->flags = r->r10;
		if (!r->rsi)
			return FORWARD_CALL;
		ret = send_messages(a, f);
		break;
	}
	return wait_perhaps(a, ret);
}

/* ---- the call ---- */

/* ROW2, where the first path is a file's. */
static const struct row link_followed = {
	NAMES_TWO, DUNE_RING3_NAME, true, 0, 1, 2, 3, 4, __NR_linkat, { CWD, LINK, FD2, NAME2, FOLLOW }
};

/* The file has a second name, whatever the first one was. */
static long link_file(struct asked *a, struct file *f)
{
	struct file second = { .is_name = true };
	long ret;

	a->row = &link_followed;
	take_slots();
	ret = pin_file(a->t, f, DUNE_RING3_WRITE);
	a->use.fd = slot_number(0);
	if (!ret)
		ret = set_second(a, &second);
	if (!ret)
		ret = with_file(a, &second, DUNE_RING3_NAME, change_second);
	leave_slots(2);
	return ret;
}

static const act_fn acts[] = {
	[LOOKS] = look, [CHANGES] = change, [NAMES] = change_name,
	[NAMES_TWO] = change_two,
};

#define KNOWN_FLAGS	(AT_SYMLINK_NOFOLLOW | AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)

/* It names no file, but a descriptor of the program's. */
static long no_path(struct asked *a, const char *path, uint64_t flags)
{
	const unsigned int nr = a->t->output_nr;

	if (a->row->how == CHANGES && (path || nr == __NR_utimensat || nr == __NR_futimesat))
		return by_descriptor(a);
	if (a->row->how == LOOKS && (flags & AT_EMPTY_PATH || nr == __NR_readlinkat))
		return FORWARD_CALL;
	return path ? -ENOENT : -EFAULT;
}

long __dune_path_call(struct dune_thread *t, struct guest_regs *r)
{
	const struct row *row = &rows[t->output_nr];
	struct asked a = { .t = t, .r = r, .row = row, .access = row->access };
	struct file f = { .is_name = row->how == NAMES || row->how == NAMES_TWO || row->how == BINDS };
	const uint64_t flags = argument_of(&a, row->flags, 0);
	const char *path = (const char *)argument_of(&a, row->path, 0);
	act_fn act = acts[row->how];
	long ret;

	if (row->how == SENDS || row->how == BINDS)
		return socket_call(&a, &f);
	if (row->how == OPENS)
		return open_file(&a, &f);
	if (row->how == BY_DESCRIPTOR)
		return by_descriptor(&a);
	if (t->output_nr == __NR_readlink || t->output_nr == __NR_readlinkat) {
		ret = __dune_check_self(t, r);
		if (ret != FORWARD_CALL)
			return ret;
	}
	if (row->made == __NR_symlinkat && (!r->rdi || !*(const char *)r->rdi))
		return r->rdi ? -ENOENT : -EFAULT;
	if (row->how == CHANGES && flags & ~(uint64_t)KNOWN_FLAGS)
		return -EINVAL;
	if (!path || (!*path && (flags & AT_EMPTY_PATH || t->output_nr == __NR_readlinkat)))
		return no_path(&a, path, flags);
	f.follow = !row->nofollow && !(flags & AT_SYMLINK_NOFOLLOW) &&
		   !(row->args[2] == WATCHES && r->rdx & IN_DONT_FOLLOW);
	if (row->how == NAMES_TWO && flags & AT_SYMLINK_FOLLOW) {
		f.is_name = false;
		f.follow = true;
		act = link_file;
	}
	ret = __dune_path_set(&f, argument_of(&a, row->dir, AT_FDCWD), path);
	return ret ? ret : with_file(&a, &f, row->access, act);
}
