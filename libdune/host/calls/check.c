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
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/sockios.h>

#include "base/program.h"
#include "host/callbacks.h"
#include "host/calls.h"
#include "host/calls/paths.h"
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
	{ BLKGETSIZE, 8 }, { BLKROGET, 4 }, { BLKBSZGET, 4 }, { BLKPBSZGET, 4 }, { BLKFLSBUF, 0 }, { FIGETBSZ, 4 },
	{ FS_IOC_FSGETXATTR, sizeof(struct fsxattr) }, { FS_IOC_FSSETXATTR, sizeof(struct fsxattr) },
	{ TIOCPKT, 4 }, { TIOCGPKT, 4 }, { TIOCGPTLCK, 4 }, { TIOCGEXCL, 4 }, { TIOCSTI, 1 }, { TIOCGETD, 4 },
	{ TIOCSETD, 4 }, { TIOCMGET, 4 }, { TIOCMSET, 4 }, { TIOCMBIS, 4 }, { TIOCMBIC, 4 }, { TIOCCONS, 0 },
	{ TIOCGSOFTCAR, 4 }, { TIOCSSOFTCAR, 4 }, { TIOCSBRK, 0 }, { TIOCCBRK, 0 }, { TIOCVHANGUP, 0 },
	{ RNDGETENTCNT, 4 }, { NS_GET_USERNS, 0 }, { NS_GET_PARENT, 0 }, { NS_GET_NSTYPE, 0 },
	{ NS_GET_OWNER_UID, 4 }, { FIOSETOWN, 4 }, { FIOGETOWN, 4 }, { SIOCSPGRP, 4 }, { SIOCGPGRP, 4 },
	{ SIOCATMARK, 4 }, { SIOCGSTAMP_OLD, 16 }, { SIOCGSTAMPNS_OLD, 16 },
};

/* Of network interfaces: a struct ifreq without an address in it. */
#define IFREQ_SIZE	40

static const uint16_t interface_ioctls[] = {
	SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR, SIOCSIFADDR, SIOCGIFDSTADDR,
	SIOCSIFDSTADDR, SIOCGIFBRDADDR, SIOCSIFBRDADDR, SIOCGIFNETMASK, SIOCSIFNETMASK, SIOCGIFMETRIC,
	SIOCSIFMETRIC, SIOCGIFMTU, SIOCSIFMTU, SIOCSIFNAME, SIOCGIFHWADDR, SIOCSIFHWADDR, SIOCADDMULTI,
	SIOCDELMULTI, SIOCGIFTXQLEN, SIOCSIFTXQLEN, SIOCGIFMAP,
};

/* The address of a list is in it.  The kernel does not wait in this call, so it can be made here. */
static long list_interfaces(const struct guest_regs *r)
{
	struct {			/* ifconf */
		uint32_t length;
		uint64_t list;
	} conf;
	long ret = __dune_copy_in(&conf, r->rdx, sizeof(conf));

	if (ret)
		return ret;
	if (conf.list && out_of_bounds(conf.list, conf.length))
		return -EFAULT;
	ret = dune_syscall3(__NR_ioctl, r->rdi, SIOCGIFCONF, &conf);
	return is_error(ret) ? ret : __dune_copy_out(r->rdx, &conf, sizeof(conf)) ? -EFAULT : ret;
}

static long check_ioctl(const struct guest_regs *r)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++)
		if (ioctls[i].number == (uint32_t)r->rsi)
			return out_of_bounds(r->rdx, ioctls[i].size) ? -EFAULT : FORWARD_CALL;
	for (unsigned int i = 0; i < ARRAY_SIZE(interface_ioctls); i++)
		if (interface_ioctls[i] == (uint32_t)r->rsi)
			return out_of_bounds(r->rdx, IFREQ_SIZE) ? -EFAULT : FORWARD_CALL;
	return (uint32_t)r->rsi == SIOCGIFCONF ? list_interfaces(r) : -ENOTTY;
}

/* ---- options of sockets ---- */

#define SOL_SOCKET	1

/*
 * Those whose bytes are all that the kernel looks at: names from @first to @last.  What is missing has addresses in it,
 * or says how much it is in other units: BPF programs (SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, PACKET_FANOUT_DATA),
 * TCP_ZEROCOPY_RECEIVE, tables of netfilter (from 64 on, of IP and IPv6), XDP_UMEM_REG, RDS_GET_MR, MPTCP_FULL_INFO;
 * and IP_MSFILTER and MCAST_MSFILTER, of which so much is written as the structure itself says.
 */
static const struct known_options {
	int level, first, last;
} options[] = {
	{ SOL_SOCKET, 0, 25 }, { SOL_SOCKET, 27, 50 }, { SOL_SOCKET, 52, 255 },
	{ 0 /* IP */, 0, 40 }, { 0, 42, 47 }, { 0, 49, 63 },
	{ 6 /* TCP */, 0, 34 }, { 6, 36, 37 },
	{ 17 /* UDP */, 0, 255 }, { 136 /* UDP-Lite */, 0, 255 },
	{ 41 /* IPv6 */, 0, 47 }, { 41, 49, 63 }, { 41, 66, 67 }, { 41, 70, 78 },
	{ 58 /* ICMPv6 */, 0, 255 }, { 255 /* raw */, 0, 255 },
	{ 263 /* packets */, 0, 21 }, { 263, 23, 24 },
	{ 270 /* netlink */, 0, 255 }, { 279 /* AF_ALG */, 0, 255 }, { 282 /* TLS */, 0, 255 },
	{ 40 /* AF_VSOCK */, 0, 255 },
};

static bool socket_option_is_known(int level, int name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].level == level && name >= options[i].first && name <= options[i].last)
			return true;
	return false;
}

#define OPEN_FLAGS \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | FASYNC | O_DIRECT | \
	 O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | __O_SYNC | O_PATH | __O_TMPFILE)

/*
 * ---- files by which memory can be reached ----
 *
 * /proc/PID/mem.  Only symbolic links of the program's lead to it, so its name is the last of a path, once no link
 * follows it.  So each open is made without following the last link (O_NOFOLLOW), and what such a link says is looked
 * at, and opened in the same way.  No descriptor is ever open on that file, also none of O_PATH, by which another
 * thread could have it in the meantime; so what /proc/self/fd leads to needs no look.
 */

#define NAME_MEM	"mem"
#define LINKS_MAX	40	/* as the kernel follows */

/* The last component of @path. */
static const char *last_name(const char *path)
{
	const char *last = path;

	for (const char *p = path; *p; p++)
		if (*p == '/' && p[1] && p[1] != '/')
			last = p + 1;
	return *last == '/' ? last + 1 : last;
}

static bool is_name_of_memory(const char *name)
{
	const char *p = name, *mem = NAME_MEM;

	while (*mem && *p == *mem)
		p++, mem++;
	return !*mem && (!*p || *p == '/');
}

static long openat2(const struct wanted *w, uint64_t flags, uint64_t resolve)
{
	struct open_how how = w->how;

	how.flags |= flags;
	how.resolve |= resolve;
	return dune_syscall4(__NR_openat2, w->dirfd, w->path, &how, sizeof(how));
}

/*
 * A file with that name which is certainly another one: it is new, or where `/` is, which /proc is not.  The program
 * cannot change what `/` is (__dune_check()), but may call any folder its root for this call alone.
 */
static long open_namesake(const struct wanted *w)
{
	long fd = -EEXIST;

	if (w->how.flags & O_CREAT)
		fd = openat2(w, O_EXCL | O_NOFOLLOW, 0);
	if (fd != -EEXIST || (w->how.flags & O_CREAT && w->how.flags & O_EXCL))
		return fd;
	fd = *w->path == '/' && !(w->how.resolve & RESOLVE_IN_ROOT) ?
	     openat2(w, O_NOFOLLOW, RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS) : -EXDEV;
	return fd == -EXDEV ? -EACCES : fd;
}

bool __dune_is_name_of_memory(const char *path)
{
	return is_name_of_memory(last_name(path));
}

long __dune_open_by_text(const char *path, const struct open_how *how)
{
	const struct wanted w = { .dirfd = AT_FDCWD, .path = path, .how = *how };

	return __dune_is_name_of_memory(path) ? open_namesake(&w) : openat2(&w, 0, 0);
}

static long read_link(long dirfd, const char *path, char *text)
{
	long length = dune_syscall4(__NR_readlinkat, dirfd, path, text, PATH_MAX - 1);

	if (!is_error(length))
		text[length] = '\0';
	return length;
}

static bool copy_path(char to[PATH_MAX], const char *from)
{
	for (unsigned int i = 0; i < PATH_MAX; i++)
		if (!(to[i] = from[i]))
			return true;
	return false;
}

/* Is a link with this name and text one of the process's own descriptors?  Its path then goes to @path. */
static bool is_descriptor(const char *name, const char *text, char *path, char *room)
{
	static const char folder[] = "/proc/self/fd/";
	char *p = path;

	memcpy(p, folder, sizeof(folder) - 1);
	for (p += sizeof(folder) - 1; *name >= '0' && *name <= '9' && p < path + NUMBER_SIZE; name++)
		*p++ = *name;
	*p = '\0';
	return !*name && p > path + sizeof(folder) - 1 && !is_error(read_link(AT_FDCWD, path, room)) &&
	       same_text(room, text);
}

/* Is the path of a descriptor, which is_descriptor() has made, that of one of libdune's? */
static bool names_ours(const char *path)
{
	unsigned int number = 0;

	for (const char *p = last_name(path); *p; p++)
		number = 10 * number + *p - '0';
	return engine_owns_fd(number);
}

/* In a folder of /proc: where links lead that say no path, or that of a file which is not there any more. */
static bool is_link_of_kernel(const char *name)
{
	static const char names[][18] = {
		"exe", "cwd", "root", "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time",
		"time_for_children", "user", "uts",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (same_text(name, names[i]))
			return true;
	return false;
}

/* What is behind the folder of a process, or a thread; NULL. */
static const char *behind_process(const char *text)
{
	const char *p = text;

	while (*p >= '0' && *p <= '9')
		p++;
	if (p > text)
		return text_behind(p, "/");
	p = text_behind(text, "self/");
	return p ? p : text_behind(text, "thread-self/");
}

/* /proc/PID/NAME, or the same with task/TID, ns or both between: all of it is made by the kernel. */
static bool is_of_process(const char *path, const char *name)
{
	const char *p = text_behind(path, "/proc/"), *inner;

	p = p ? behind_process(p) : NULL;
	inner = text_behind(p, "task/");
	if (inner)
		p = behind_process(inner);
	inner = text_behind(p, "ns/");
	return name == (inner ? inner : p);
}

static bool proc_is_mounted(void)
{
	struct {
		long type, rest[14];
	} statfs;

	return !dune_syscall2(__NR_statfs, "/proc", &statfs) && statfs.type == PROC_SUPER_MAGIC;
}

/*
 * The link @name, the last one in @path, if it is one that the kernel alone makes: opened.  None of these leads to the
 * memory.  By a path without anything of the program's in it: a descriptor of the folder would have a number that
 * another thread can give to another folder meanwhile.  FORWARD_CALL: it is none of them.
 */
static long open_link_of_kernel(const struct wanted *w, const char *path, const char *name)
{
	struct wanted link = { .dirfd = AT_FDCWD, .path = path, .how = w->how };

	if (!is_link_of_kernel(name) || !is_of_process(path, name) || !proc_is_mounted())
		return FORWARD_CALL;
	return openat2(&link, 0, 0);
}

/* What the last link of @w says takes the place of it.  @path: what @w has, room for PATH_MAX bytes. */
static long follow(struct wanted *w, char *path)
{
	static const unsigned int max = PATH_MAX;
	char text[PATH_MAX], room[PATH_MAX], descriptor[2 * NUMBER_SIZE];
	long length = read_link(w->dirfd, path, text), folder = last_name(path) - path, fd;

	if (is_error(length))
		return length;
	if (is_descriptor(path + folder, text, descriptor, room)) {
		struct wanted own = { .dirfd = AT_FDCWD, .path = descriptor, .how = w->how };

		return names_ours(descriptor) ? -EACCES : openat2(&own, 0, 0);
	}
	fd = open_link_of_kernel(w, path, path + folder);
	if (fd != FORWARD_CALL)
		return fd;
	if (*text == '/') {
		w->dirfd = AT_FDCWD;
		folder = 0;
	}
	if (folder + length >= max)
		return -ENAMETOOLONG;
	memcpy(path + folder, text, length + 1);
	return -ELOOP;
}

static bool met_link(const struct wanted *w, long result)
{
	return result == -ELOOP || (result == -ENOTDIR && w->how.flags & O_DIRECTORY);
}

/* The last name in @w is of a link, as @met says; or may be (O_PATH: what was opened would be the link). */
static long open_link(const struct wanted *wanted, long met)
{
	const bool is_path = wanted->how.flags & O_PATH;
	char path[PATH_MAX];
	struct wanted w = { .dirfd = wanted->dirfd, .path = path, .how = wanted->how };
	long fd;

	if (!copy_path(path, wanted->path))
		return -ENAMETOOLONG;
	for (unsigned int i = 0; i < LINKS_MAX; i++) {
		fd = follow(&w, path);
		if (fd == -EINVAL)		/* no link */
			return is_path ? openat2(&w, O_NOFOLLOW, 0) : met;
		if (fd != -ELOOP)
			return fd;
		if (!copy_path(path, __dune_self_path(path)))
			return -ENAMETOOLONG;
		if (is_name_of_memory(last_name(path)))
			return open_namesake(&w);
		if (is_path)
			continue;
		met = openat2(&w, O_NOFOLLOW, 0);
		if (!met_link(&w, met))
			return met;
	}
	return -ELOOP;
}

/* What the call says.  false: it is no open. */
static bool read_open(const struct guest_regs *r, unsigned int nr, struct wanted *w)
{
	*w = (struct wanted){ .dirfd = AT_FDCWD, .path = (const char *)r->rdi, .how.flags = r->rsi,
			      .how.mode = r->rdx };
	switch (nr) {
	case __NR_open:
		break;
	case __NR_creat:
		w->how.flags = O_CREAT | O_WRONLY | O_TRUNC;
		w->how.mode = r->rsi;
		break;
	case __NR_openat:
		*w = (struct wanted){ .dirfd = r->rdi, .path = (const char *)r->rsi, .how.flags = r->rdx,
				      .how.mode = r->r10 };
		break;
	default:
		return false;
	}
	/* What the kernel ignores but for openat2(). */
	w->how.flags &= w->how.flags & O_PATH ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC : OPEN_FLAGS;
	w->how.mode = w->how.flags & (O_CREAT | __O_TMPFILE) ? w->how.mode & 07777 : 0;
	return true;
}

/* Of openat2() no link is followed last that its resolve flags might forbid. */
static long check_openat2(struct guest_regs *r, struct open_how *how)
{
	struct wanted w = { .dirfd = r->rdi, .path = (const char *)r->rsi };
	long ret;

	if (!w.path)
		return -EFAULT;
	if (r->r10 < sizeof(*how))
		return -EINVAL;
	if (r->r10 > sizeof(*how))
		return -E2BIG;
	ret = __dune_copy_in(how, r->rdx, sizeof(*how));
	if (ret)
		return ret;
	w.how = *how;
	if (!(how->flags & O_NOFOLLOW) && !how->resolve)
		w.path = __dune_self_path(w.path);
	r->rsi = (uint64_t)w.path;
	if (is_name_of_memory(last_name(w.path)))
		return open_namesake(&w);
	if (how->flags & O_PATH && !(how->flags & O_NOFOLLOW) && !how->resolve)
		return open_link(&w, 0);
	how->flags |= O_NOFOLLOW;
	r->rdx = (uint64_t)how;
	return FORWARD_CALL;
}

/* FORWARD_CALL: the kernel is to open it, and it can wait for that as long as it likes; __dune_open_again() then. */
static long check_open(struct dune_thread *t, struct guest_regs *r)
{
	struct wanted w;

	if (!read_open(r, t->output_nr, &w))
		return check_openat2(r, &call_state(t)->how);
	if (!w.path)
		return -EFAULT;
	if (!(w.how.flags & O_NOFOLLOW))
		w.path = __dune_self_path(w.path);
	if (is_name_of_memory(last_name(w.path)))
		return open_namesake(&w);
	if (w.how.flags & O_PATH && !(w.how.flags & O_NOFOLLOW))
		return open_link(&w, 0);
	call_state(t)->how = w.how;
	call_state(t)->how.flags |= O_NOFOLLOW;
	r->rax = __NR_openat2;
	r->rdi = w.dirfd;
	r->rsi = (uint64_t)w.path;
	r->rdx = (uint64_t)&call_state(t)->how;
	r->r10 = sizeof(call_state(t)->how);
	return FORWARD_CALL;
}

long __dune_open_wanted(const struct guest_regs *r, unsigned int nr, struct wanted *w)
{
	if (read_open(r, nr, w))
		return 0;
	*w = (struct wanted){ .dirfd = r->rdi, .path = (const char *)r->rsi };
	if (r->r10 < sizeof(w->how))
		return -EINVAL;
	return r->r10 > sizeof(w->how) ? -E2BIG : __dune_copy_in(&w->how, r->rdx, sizeof(w->how));
}

long __dune_open_again(struct dune_thread *t, long result)
{
	const struct guest_regs *r = &call_state(t)->regs;
	struct wanted w = { .dirfd = r->rdi, .path = (const char *)r->rsi, .how = call_state(t)->how };
	bool follows = t->output_nr != __NR_openat2;

	if (t->output_nr == __NR_openat)
		follows = !(t->vcpu.regs->rdx & O_NOFOLLOW);
	else if (t->output_nr == __NR_open)
		follows = !(t->vcpu.regs->rsi & O_NOFOLLOW);
	if (!follows || !met_link(&w, result))
		return result;
	w.how.flags &= ~(uint64_t)O_NOFOLLOW;
	return open_link(&w, result);
}

/* ---- the call ---- */

#define OPEN_TREE_ATTR	467	/* newer than the headers */
#define EPOLL_EVENT_SIZE	12

/* What else there is has pointers in it, or is about memory. */
static const int prctls[] = {
	PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS,
	PR_GET_TIMING, PR_SET_TIMING, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_SET_SECCOMP, PR_CAPBSET_READ,
	PR_CAPBSET_DROP,
	PR_GET_TSC, PR_SET_TSC, PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK,
	PR_MCE_KILL, PR_MCE_KILL_GET, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS,
	PR_GET_NO_NEW_PRIVS, PR_GET_TID_ADDRESS, PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_CAP_AMBIENT,
	PR_GET_SPECULATION_CTRL, PR_SET_SPECULATION_CTRL, PR_SET_IO_FLUSHER, PR_GET_IO_FLUSHER,
	PR_SET_SYSCALL_USER_DISPATCH, PR_SET_VMA, PR_TASK_PERF_EVENTS_DISABLE, PR_TASK_PERF_EVENTS_ENABLE,
};

static long check_prctl(const struct guest_regs *r)
{
	if ((int)r->rdi == PR_SET_SYSCALL_USER_DISPATCH && out_of_bounds(r->r8, 1))
		return -EFAULT;
	for (unsigned int i = 0; i < ARRAY_SIZE(prctls); i++)
		if (prctls[i] == (int)r->rdi)
			return FORWARD_CALL;
	return -EINVAL;
}

long __dune_check(struct dune_thread *t, struct guest_regs *r)
{
	if (__dune_callback_asks() && __dune_path_decides(t->output_nr))
		return __dune_path_call(t, r);
	switch (t->output_nr) {
	case __NR_ptrace:		/* it would find libdune's registers and memory */
	case __NR_process_vm_readv:
	case __NR_process_vm_writev:
	case __NR_pidfd_getfd:
	case __NR_mount:		/* a file of /proc would have any name */
	case __NR_move_mount:
	case __NR_fsmount:
	case __NR_open_tree:
	case OPEN_TREE_ATTR:
	case __NR_chroot:		/* absolute paths lead elsewhere: those of libdune's object, and of /proc */
	case __NR_pivot_root:
	case __NR_umount2:
		return -EPERM;
	case __NR_setns:		/* so does the root of another mount namespace; 0 stands for all kinds */
		return !(int)r->rsi || r->rsi & CLONE_NEWNS ? -EPERM : FORWARD_CALL;
	case __NR_clone:
		return r->rdi & CLONE_CHILD_CLEARTID && out_of_bounds(r->r10, sizeof(int)) ? -EFAULT : FORWARD_CALL;
	case __NR_epoll_ctl:		/* read for all operations but this one, also if there is none such */
		return (int)r->rsi != EPOLL_CTL_DEL && out_of_bounds(r->r10, EPOLL_EVENT_SIZE) ? -EFAULT :
		       FORWARD_CALL;
	case __NR_ioctl:
		return check_ioctl(r);
	case __NR_getsockopt:
	case __NR_setsockopt:
		return socket_option_is_known(r->rsi, r->rdx) ? FORWARD_CALL : -ENOPROTOOPT;
	case __NR_open:
	case __NR_creat:
	case __NR_openat:
	case __NR_openat2:
		return check_open(t, r);
	case __NR_readlink:
	case __NR_readlinkat:
	case __NR_stat:
	case __NR_newfstatat:
	case __NR_statx:
	case __NR_access:
	case __NR_faccessat:
	case __NR_faccessat2:
		return __dune_check_self(t, r);
	case __NR_prctl:
		return check_prctl(r);
	case __NR_getrlimit:
	case __NR_setrlimit:
	case __NR_prlimit64:
		return __dune_check_limit(r, t->output_nr);
	case __NR_restart_syscall:	/* of what a signal had interrupted no copy is left */
		return -EINTR;
	case __NR_set_robust_list:
		return __dune_robust_set(t, r->rdi, r->rsi);
	case __NR_get_robust_list:
		return __dune_robust_get(t, r->rdi, r->rsi, r->rdx);
	case __NR_exit_group:
		__dune_robust_end(t);
		__dune_callback_end(t, (r->rdi & 0xff) << 8, true);
		return FORWARD_CALL;
	}
	return FORWARD_CALL;
}
