// SPDX-License-Identifier: MIT
/*
 * What every policy refuses unless it says otherwise, and what a program has where nobody has written a policy.  Both
 * are rules like those of a file.
 */
#include "build.h"

#define FILE_NAME	"default"

/* ---- calls that are refused ---- */

/* The kernel uses 32 bits of these arguments, so a rule must not look at the others. */
#define LOW(argument)	argument " & 0xffffffff == "

/* Refusals only: what they do not speak of other rules decide. */
static const struct {
	const char *call, *action, *conditions;
} calls[] = {
	/* What concerns the whole machine. */
	{ "@clock", "EPERM", NULL }, { "@module", "ENOSYS", NULL }, { "@mount", "EPERM", NULL },
	{ "@namespace", "EPERM", NULL }, { "@reboot", "EPERM", NULL }, { "acct", "EPERM", NULL },
	{ "quotactl", "EPERM", NULL }, { "quotactl_fd", "EPERM", NULL }, { "sethostname", "EPERM", NULL },
	{ "setdomainname", "EPERM", NULL }, { "syslog", "EPERM", NULL }, { "vhangup", "EPERM", NULL },
	{ "iopl", "EPERM", NULL }, { "ioperm", "EPERM", NULL }, { "lookup_dcookie", "ENOSYS", NULL },
	/* Who the process is. */
	{ "@privilege", "EPERM", NULL },
	{ "prctl", "EPERM", LOW("arg0") "28" },		/* PR_SET_SECUREBITS */
	{ "prctl", "EPERM", LOW("arg0") "47" },		/* PR_CAP_AMBIENT */
	/* What all processes of a user share. */
	{ "add_key", "ENOSYS", NULL }, { "request_key", "ENOSYS", NULL }, { "keyctl", "ENOSYS", NULL },
	{ "@sysv", "ENOSYS", NULL }, { "mq_open", "ENOSYS", NULL }, { "mq_unlink", "ENOSYS", NULL },
	/* Into other processes, and past the names of files. */
	{ "ptrace", "EPERM", NULL }, { "kcmp", "EPERM", NULL }, { "process_vm_readv", "EPERM", NULL },
	{ "process_vm_writev", "EPERM", NULL }, { "pidfd_getfd", "EPERM", NULL },
	{ "perf_event_open", "EPERM", NULL }, { "bpf", "EPERM", NULL }, { "userfaultfd", "EPERM", NULL },
	{ "io_uring_setup", "ENOSYS", NULL }, { "io_uring_enter", "ENOSYS", NULL },
	{ "io_uring_register", "ENOSYS", NULL }, { "fanotify_init", "EPERM", NULL },
	{ "name_to_handle_at", "EOPNOTSUPP", NULL }, { "open_by_handle_at", "EPERM", NULL },
	{ "uselib", "ENOSYS", NULL },
	/* Terminals: input for who reads next, and what belongs to all who use it. */
	{ "ioctl", "EPERM", LOW("arg1") "0x5412" },	/* TIOCSTI */
	{ "ioctl", "EPERM", LOW("arg1") "0x541c" },	/* TIOCLINUX */
	{ "ioctl", "EPERM", LOW("arg1") "0x541d" },	/* TIOCCONS */
	{ "ioctl", "EPERM", LOW("arg1") "0x5423" },	/* TIOCSETD */
	{ "ioctl", "EPERM", LOW("arg1") "0x5437" },	/* TIOCVHANGUP */
	/* Signals for others, when there is input. */
	{ "ioctl", "EPERM", LOW("arg1") "0x8901" },	/* FIOSETOWN */
	{ "ioctl", "EPERM", LOW("arg1") "0x8902" },	/* SIOCSPGRP */
	{ "fcntl", "EPERM", LOW("arg1") "15" },		/* F_SETOWN_EX */
	/* By a descriptor that is open for reading: attributes of files, as that none may write to it. */
	{ "ioctl", "EPERM", LOW("arg1") "0x40086602" },	/* FS_IOC_SETFLAGS */
	{ "ioctl", "EPERM", LOW("arg1") "0x401c5820" },	/* FS_IOC_FSSETXATTR */
	/* By any socket: network interfaces.  SIOCSIFFLAGS and so on. */
	{ "ioctl", "EPERM", LOW("arg1") "0x8914" }, { "ioctl", "EPERM", LOW("arg1") "0x8916" },
	{ "ioctl", "EPERM", LOW("arg1") "0x8918" }, { "ioctl", "EPERM", LOW("arg1") "0x891a" },
	{ "ioctl", "EPERM", LOW("arg1") "0x891c" }, { "ioctl", "EPERM", LOW("arg1") "0x891e" },
	{ "ioctl", "EPERM", LOW("arg1") "0x8922" }, { "ioctl", "EPERM", LOW("arg1") "0x8923" },
	{ "ioctl", "EPERM", LOW("arg1") "0x8924" }, { "ioctl", "EPERM", LOW("arg1") "0x8931" },
	{ "ioctl", "EPERM", LOW("arg1") "0x8932" }, { "ioctl", "EPERM", LOW("arg1") "0x8943" },
	/* Devices, and files with the rights of their owner. */
	{ "mknod", "EPERM", "arg1 & 0xf000 == 0x2000" }, { "mknod", "EPERM", "arg1 & 0xf000 == 0x6000" },
	{ "mknodat", "EPERM", "arg2 & 0xf000 == 0x2000" }, { "mknodat", "EPERM", "arg2 & 0xf000 == 0x6000" },
	{ "mknod", "EPERM", "arg1 & 0x800 == 0x800" }, { "mknodat", "EPERM", "arg2 & 0x800 == 0x800" },
	{ "chmod", "EPERM", "arg1 & 0x800 == 0x800" }, { "fchmod", "EPERM", "arg1 & 0x800 == 0x800" },
	{ "fchmodat", "EPERM", "arg2 & 0x800 == 0x800" }, { "fchmodat2", "EPERM", "arg2 & 0x800 == 0x800" },
	{ "open", "EPERM", "arg1 & 0x40 == 0x40 and arg2 & 0x800 == 0x800" },
	{ "openat", "EPERM", "arg2 & 0x40 == 0x40 and arg3 & 0x800 == 0x800" },
	{ "open", "EPERM", "arg1 & 0x400000 == 0x400000 and arg2 & 0x800 == 0x800" },	/* O_TMPFILE */
	{ "openat", "EPERM", "arg2 & 0x400000 == 0x400000 and arg3 & 0x800 == 0x800" },
	{ "creat", "EPERM", "arg1 & 0x800 == 0x800" },
	/* Sockets: UNIX, TCP, UDP. */
	{ "socket", "EAFNOSUPPORT", "arg0 != 1 and arg0 != 2 and arg0 != 10" },
	{ "socket", "EAFNOSUPPORT", "arg0 != 1 and arg2 != 0 and arg2 != 6 and arg2 != 17" },
	{ "socket", "EPERM", "arg1 & 0xf == 3" },	/* SOCK_RAW */
	/* SCTP and DCCP are such types' protocol where none is named. */
	{ "socket", "EAFNOSUPPORT", "arg0 != 1 and arg1 & 0xf == 4" },
	{ "socket", "EAFNOSUPPORT", "arg0 != 1 and arg1 & 0xf == 5" },
	{ "socket", "EAFNOSUPPORT", "arg0 != 1 and arg1 & 0xf == 6" },
	{ "socket", "EPERM", "arg1 & 0xf == 10" },	/* SOCK_PACKET */
	{ "socketpair", "EAFNOSUPPORT", "arg0 != 1" },
	/* A way of the sender's choice to another address. */
	{ "setsockopt", "EPERM", LOW("arg1") "0 and " LOW("arg2") "4" },	/* IP_OPTIONS */
	{ "setsockopt", "EPERM", LOW("arg1") "41 and " LOW("arg2") "57" },	/* IPV6_RTHDR */
	{ "setsockopt", "EPERM", LOW("arg1") "41 and " LOW("arg2") "5" },	/* IPV6_2292RTHDR */
	{ "setsockopt", "EPERM", LOW("arg1") "41 and " LOW("arg2") "6" },	/* IPV6_2292PKTOPTIONS */
	{ "setsockopt", "EPERM", LOW("arg1") "41 and " LOW("arg2") "32" },	/* IPV6_FLOWLABEL_MGR */
	/* A descriptor of who is at the other end, by which signals go there. */
	{ "setsockopt", "EOPNOTSUPP", LOW("arg1") "1 and " LOW("arg2") "76" },	/* SO_PASSPIDFD */
	{ "getsockopt", "EOPNOTSUPP", LOW("arg1") "1 and " LOW("arg2") "77" },	/* SO_PEERPIDFD */
};

bool builder_refusals(struct builder *b)
{
	const struct place place = { .file = FILE_NAME, .line = 0, .rank = 0 };

	for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!builder_call(b, &place, calls[i].call, calls[i].action, calls[i].conditions))
			return false;
	return true;
}

/* ---- what a program has ---- */

/* The dynamic linker, libraries, locales, and files of the kernel that say nothing of others. */
static const struct {
	const char *path;
	enum policy_access access;
} files[] = {
	{ "/lib", ACCESS_RO }, { "/lib32", ACCESS_RO }, { "/lib64", ACCESS_RO }, { "/libx32", ACCESS_RO },
	{ "/usr/lib", ACCESS_RO }, { "/usr/lib32", ACCESS_RO }, { "/usr/lib64", ACCESS_RO },
	{ "/usr/libx32", ACCESS_RO }, { "/usr/local/lib", ACCESS_RO },
	{ "/etc/ld.so.cache", ACCESS_RO }, { "/etc/ld.so.conf", ACCESS_RO }, { "/etc/ld.so.conf.d", ACCESS_RO },
	{ "/etc/locale.alias", ACCESS_RO }, { "/etc/localtime", ACCESS_RO }, { "/etc/timezone", ACCESS_RO },
	{ "/usr/share/locale", ACCESS_RO }, { "/usr/share/i18n", ACCESS_RO }, { "/usr/share/zoneinfo", ACCESS_RO },
	{ "/dev/null", ACCESS_RW }, { "/dev/zero", ACCESS_RW }, { "/dev/full", ACCESS_RW },
	{ "/dev/random", ACCESS_RO }, { "/dev/urandom", ACCESS_RO },
	{ "/proc/self/auxv", ACCESS_RO }, { "/proc/self/cmdline", ACCESS_RO }, { "/proc/self/comm", ACCESS_RW },
	{ "/proc/self/cwd", ACCESS_RO }, { "/proc/self/exe", ACCESS_RO }, { "/proc/self/fd", ACCESS_RO },
	{ "/proc/self/fdinfo", ACCESS_RO }, { "/proc/self/io", ACCESS_RO }, { "/proc/self/limits", ACCESS_RO },
	{ "/proc/self/maps", ACCESS_RO }, { "/proc/self/smaps", ACCESS_RO },
	{ "/proc/self/smaps_rollup", ACCESS_RO }, { "/proc/self/stat", ACCESS_RO },
	{ "/proc/self/statm", ACCESS_RO }, { "/proc/self/status", ACCESS_RO }, { "/proc/self/task", ACCESS_RO },
};

/* The dynamic linker, wherever its names lead. */
static const char *const linkers[] = {
	"/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1",
	"/usr/lib/ld-musl-x86_64.so.1", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
	"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-2.31.so",
	"/usr/lib/x86_64-linux-gnu/ld-2.31.so", "/usr/lib/x86_64-linux-musl/libc.so",
};

static const char *const environment[] = {
	"PATH=/usr/local/bin:/usr/bin:/bin", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ",
};

bool builder_default(struct builder *b, unsigned int rank)
{
	const struct place place = { .file = FILE_NAME, .line = 0, .rank = rank };

	for (unsigned int i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!builder_path(b, &place, SET_FILES, files[i].path, files[i].access, NULL, 0))
			return false;
	for (unsigned int i = 0; i < sizeof(linkers) / sizeof(linkers[0]); i++)
		if (!builder_path(b, &place, SET_EXEC, linkers[i], ACCESS_RO, NULL, 0))
			return false;
	for (unsigned int i = 0; i < sizeof(environment) / sizeof(environment[0]); i++)
		if (!builder_environment(b, environment[i]))
			return false;
	return true;
}
