// SPDX-License-Identifier: MIT
/*
 * The second wall: what the kernel refuses all processes of a sandbox, should the first one, libdune's look at each
 * call, have a hole.  It is as wide as the policy needs, and no narrower: it knows inodes and no names, so it never
 * refuses what the policy permits.  An ordinary program's code.
 *
 * Landlock costs nothing where no file is opened.  A seccomp filter ends the fast path of calls, so only who asks for
 * it has one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/audit.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch/launch.h"
#include "sandbox.h"

/* ---- Landlock: <linux/landlock.h> of 6.12, for headers may be older ---- */

#define CREATE_RULESET	444
#define ADD_RULE	445
#define RESTRICT_SELF	446
#define GET_VERSION	1U

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,	/* version 3 */

	FS_ALL = FS_REFER - 1 + FS_REFER,
	FS_READ = FS_READ_FILE | FS_READ_DIR,
	FS_OF_FILES = FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
};

enum { NET_BIND = 1, NET_CONNECT = 2 };			/* version 4 */
enum { SCOPE_ABSTRACT = 1, SCOPE_SIGNAL = 2 };		/* version 6 */

#define RULE_PATH	1
#define RULE_PORT	2
#define PORTS_MAX	1024	/* for more a wall would take longer to build than it is worth */

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_rule {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

struct port_rule {
	uint64_t rights, port;
};

struct landlock {
	struct ruleset handles;
	int fd;
};

static void allow_descriptor(const struct landlock *l, int fd, uint64_t rights)
{
	const struct path_rule rule = { .rights = rights & l->handles.fs & ~(uint64_t)FS_EXECUTE, .fd = fd };

	/* EBADF, EBADFD: not there, or a pipe or the like, which Landlock lets alone. */
	if (rule.rights && syscall(ADD_RULE, l->fd, RULE_PATH, &rule, 0) && errno != EBADF && errno != EBADFD)
		die("Landlock: a rule for a path: %s", strerror(errno));
}

/*
 * A file can be replaced by another one of the same name, so what holds for it holds for its folder; and for that above
 * where there is none.  A path with a link in it is no file's path.
 */
static void allow_path(const struct landlock *l, const char *path, uint64_t rights)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	char at[POLICY_PATH_MAX], folder[POLICY_PATH_MAX];
	struct stat st;
	int fd;

	/* A process's own folder has another number in each. */
	strcpy(at, strncmp(path, "/proc/", 6) ? path : "/proc");
	for (;;) {
		fd = syscall(SYS_openat2, AT_FDCWD, at, &how, sizeof(how));
		if (fd < 0 && errno == ELOOP)
			return;
		if (fd >= 0 && fstat(fd, &st))
			die("%s: %s", at, strerror(errno));
		if (fd >= 0 && (S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
			break;
		if (fd >= 0)
			close(fd);
		else if (!at[1])
			die("/: %s", strerror(errno));
		folder_of(at, folder);
		/* What is not there, and would only be read, is not worth all that is on the machine. */
		if (fd < 0 && !folder[1] && !(rights & FS_WRITE_FILE))
			return;
		strcpy(at, folder);
	}
	allow_descriptor(l, fd, S_ISDIR(st.st_mode) ? rights : rights & FS_OF_FILES);
	close(fd);
}

static uint64_t rights_of(uint32_t access)
{
	return access == ACCESS_RW ? FS_ALL | FS_TRUNCATE : access == ACCESS_RO ? FS_READ : 0;
}

static void allow_node(const struct landlock *l, const struct policy *p, uint32_t number, char *path, size_t length)
{
	const struct policy_node *node = (const struct policy_node *)policy_at(p, p->files.nodes) + number;

	if (node->name) {
		path[length++] = '/';
		memcpy(path + length, policy_at(p, node->name), node->length);
		length += node->length;
	}
	path[length] = '\0';
	if (rights_of(node->rule.access))
		allow_path(l, length ? path : "/", rights_of(node->rule.access));
	for (uint32_t i = 0; i < node->count; i++)
		allow_node(l, p, node->first + i, path, length);
}

/* All that a pattern can match is below the folder in front of its first wildcard. */
static void allow_patterns(const struct landlock *l, const struct policy *p)
{
	const struct policy_glob *globs = policy_at(p, p->files.globs);
	char path[POLICY_PATH_MAX], folder[POLICY_PATH_MAX];

	for (uint32_t i = 0; i < p->files.nr_globs; i++) {
		const char *pattern = policy_at(p, globs[i].pattern);

		if (!rights_of(globs[i].rule.access))
			continue;
		strcpy(path, pattern);
		path[strcspn(pattern, "*?[")] = '\0';
		folder_of(path, folder);
		allow_path(l, folder, rights_of(globs[i].rule.access));
	}
}

/* By /proc/self/fd a program opens once more what it has. */
static void allow_inherited(const struct landlock *l)
{
	for (int fd = 0; fd < 3; fd++) {
		const int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
		struct stat st;

		if (!fstat(fd, &st))
			allow_descriptor(l, fd, S_ISDIR(st.st_mode) ? FS_READ : (mode != O_WRONLY ? FS_READ_FILE : 0) |
					 (mode != O_RDONLY ? FS_WRITE_FILE | FS_TRUNCATE : 0));
	}
}

/* What libdune opens itself: the device, its own object's file, and what the kernel says of mappings. */
static void allow_own(const struct landlock *l)
{
	Dl_info self;
	int fd = open("/dev/dune", O_PATH | O_CLOEXEC);

	if (fd >= 0) {		/* else it is said later what is missing */
		allow_descriptor(l, fd, FS_READ_FILE | FS_WRITE_FILE);
		close(fd);
	}
	allow_path(l, "/proc", FS_READ);
	if (!dladdr(&sandbox_callbacks, &self))
		die("cannot find the file of this program");
	fd = open(self.dli_fname, O_PATH | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", self.dli_fname, strerror(errno));
	allow_descriptor(l, fd, FS_READ_FILE);
	close(fd);
}

/* Ports that some rule permits for @operation; their number. */
static unsigned int find_ports(const struct policy *p, unsigned int operation, uint8_t ports[65536])
{
	const struct policy_network *rules = policy_at(p, p->network);
	unsigned int n = 0;

	memset(ports, 0, 65536);
	for (uint32_t i = 0; i < p->nr_network; i++) {
		if (rules[i].deny || !(rules[i].operations & operation) || !(rules[i].protocols & PROTOCOL_TCP))
			continue;
		for (unsigned int port = rules[i].low; port <= rules[i].high; port++) {
			n += !ports[port];
			ports[port] = 1;
		}
	}
	return n;
}

static void allow_ports(const struct landlock *l, const struct policy *p, unsigned int operation, uint64_t right)
{
	uint8_t ports[65536];

	if (!(l->handles.net & right))
		return;
	find_ports(p, operation, ports);
	for (unsigned int port = 0; port < 65536; port++) {
		const struct port_rule rule = { .rights = right, .port = port };

		if (ports[port] && syscall(ADD_RULE, l->fd, RULE_PORT, &rule, 0))
			die("Landlock: a rule for port %u: %s", port, strerror(errno));
	}
}

/* Does the policy permit connections to some abstract name?  That can be another's. */
static bool connects_to_abstract(const struct policy *p)
{
	const struct policy_network *rules = policy_at(p, p->network);

	for (uint32_t i = 0; i < p->nr_network; i++)
		if (rules[i].protocols == PROTOCOL_UNIX && !rules[i].deny && rules[i].operations & NETWORK_CONNECT &&
		    *(const char *)policy_at(p, rules[i].name) == '@')
			return true;
	return false;
}

static struct ruleset what_to_handle(const struct policy *p, long version)
{
	struct ruleset handles = { .fs = FS_ALL };
	uint8_t ports[65536];

	if (version >= 3)
		handles.fs |= FS_TRUNCATE;
	if (version >= 4 && find_ports(p, NETWORK_BIND, ports) <= PORTS_MAX)
		handles.net |= NET_BIND;
	if (version >= 4 && find_ports(p, NETWORK_CONNECT, ports) <= PORTS_MAX)
		handles.net |= NET_CONNECT;
	if (version >= 6)
		handles.scoped = SCOPE_SIGNAL | (connects_to_abstract(p) ? 0 : SCOPE_ABSTRACT);
	return handles;
}

/* Version 1 forbids that a file comes to another folder, whatever rules say. */
static void restrict_by_landlock(const struct policy *p, bool must)
{
	const long version = syscall(CREATE_RULESET, NULL, 0, GET_VERSION);
	char path[POLICY_PATH_MAX];
	struct landlock l;

	if (version < 2) {
		if (must)
			die("--second-wall=landlock: this kernel has no Landlock of version 2 or later");
		return;
	}
	l.handles = what_to_handle(p, version);
	l.fd = syscall(CREATE_RULESET, &l.handles, sizeof(l.handles), 0);
	if (l.fd < 0)
		die("Landlock: %s", strerror(errno));
	allow_node(&l, p, 0, path, 0);
	allow_patterns(&l, p);
	allow_inherited(&l);
	allow_own(&l);
	allow_ports(&l, p, NETWORK_BIND, NET_BIND);
	allow_ports(&l, p, NETWORK_CONNECT, NET_CONNECT);
	if (syscall(RESTRICT_SELF, l.fd, 0))
		die("Landlock: %s%s", strerror(errno),
		    errno == E2BIG ? " (too many rulesets round this process already: --second-wall=none)" : "");
	close(l.fd);
}

/* ---- seccomp ---- */

/* Calls that a checked program may make are made, others are ENOSYS. */
static void restrict_by_filter(void)
{
	struct sock_filter filter[4 + 2 * NR_SYSCALLS + 2];
	struct sock_fprog program = { .filter = filter };
	unsigned int n = 0;

	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	/* Where what is said of a number changes: below it, that holds which was said before. */
	for (unsigned int nr = 1; nr <= NR_SYSCALLS; nr++) {
		const bool now = nr < NR_SYSCALLS && __dune_call_is_checked[nr];
		const bool before = __dune_call_is_checked[nr - 1];

		if (now == before)
			continue;
		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, nr, 1, 0);
		filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, before ? SECCOMP_RET_ALLOW :
							   SECCOMP_RET_ERRNO | ENOSYS);
	}
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	program.len = n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("--second-wall=seccomp: %s", strerror(errno));
}

bool find_wall(const char *name, enum wall *wall)
{
	static const char *const names[] = { [WALL_NONE] = "none", [WALL_LANDLOCK] = "landlock",
					     [WALL_SECCOMP] = "seccomp" };

	for (unsigned int i = WALL_NONE; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], name)) {
			*wall = i;
			return true;
		}
	}
	return false;
}

void build_wall(const struct run *run)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs: %s", strerror(errno));
	if (run->wall == WALL_NONE)
		return;
	restrict_by_landlock(run->policy, run->wall == WALL_LANDLOCK);
	if (run->wall == WALL_SECCOMP)
		restrict_by_filter();
}
