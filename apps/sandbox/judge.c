// SPDX-License-Identifier: MIT
/*
 * What a sandbox's calls may do: by the rules of its policy for the call, for the files that it names, for addresses,
 * and for other processes.  Callbacks' code.
 */
#include <errno.h>
#include <linux/openat2.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "sandbox.h"

const struct names *decode_names(void)
{
	return &shared()->names;
}

/* ---- files ---- */

#define OWN_FOLDER	"/proc/self"
#define PROC		"/proc/"
#define PROC_ROOT	1		/* its inode */

/* The caller's folder of /proc is what a policy calls /proc/self.  @path has no links any more. */
static const char *as_policies_say(struct dune_ring3_thread *t, const char *path, char room[POLICY_PATH_MAX])
{
	const int32_t pid = dune_ring3_pid(t);
	const char *p = path, *proc = PROC;
	size_t n = sizeof(OWN_FOLDER) - 1;
	int32_t number = 0;

	while (*proc && *p == *proc)
		p++, proc++;
	if (*proc || *p < '1' || *p > '9')
		return path;
	while (*p >= '0' && *p <= '9' && number <= pid)
		number = 10 * number + *p++ - '0';
	if (number != pid || (*p && *p != '/'))
		return path;
	for (size_t i = 0; i < n; i++)
		room[i] = OWN_FOLDER[i];
	while (n < POLICY_PATH_MAX - 1 && *p)
		room[n++] = *p++;
	room[n] = '\0';
	return room;
}

static bool is_rename(unsigned int nr)
{
	return nr == SYS_rename || nr == SYS_renameat || nr == SYS_renameat2;
}

static bool is_link(unsigned int nr)
{
	return nr == SYS_link || nr == SYS_linkat;
}

static bool removes_name(unsigned int nr)
{
	return is_rename(nr) || nr == SYS_unlink || nr == SYS_unlinkat || nr == SYS_rmdir;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return raw_syscall(SYS_lstat, (long)path, (long)&st, 0, 0, 0) || S_ISDIR(st.st_mode);
}

void folder_of(const char *path, char to[POLICY_PATH_MAX])
{
	size_t last = 0;

	for (size_t i = 0; i < POLICY_PATH_MAX - 1 && path[i]; i++) {
		to[i] = path[i];
		if (path[i] == '/')
			last = i;
	}
	to[last ? last : 1] = '\0';
}

/*
 * A name that goes away, or comes to another file, is one of its folder's: that may be written too.  A folder
 * takes with it what rules say of names below it, so it stays where there are some, as if it were on another disk.
 */
static int64_t judge_name(const struct policy *p, const struct dune_ring3_call *call, const char *path)
{
	char folder[POLICY_PATH_MAX];

	if (!removes_name(call->nr))
		return 0;
	folder_of(path, folder);
	if (policy_path(p, &p->files, folder).access != ACCESS_RW)
		return -EACCES;
	if (is_rename(call->nr) && is_folder(path) &&
	    (policy_speaks_below(p, &p->files, path) || policy_speaks_below(p, &p->exec, path)))
		return -EXDEV;
	return 0;
}

/*
 * The folder in /proc of a process that is not of the sandbox: who has it open can send signals there
 * (pidfd_send_signal).
 */
static bool is_process_elsewhere(struct dune_ring3_thread *t, const char *path)
{
	char folder[POLICY_PATH_MAX];
	struct statfs fs;
	struct stat st;
	const char *name = path;
	int64_t number = 0;

	for (const char *p = path; *p; p++)
		if (*p == '/')
			name = p + 1;
	if (!*name)
		return false;
	for (const char *p = name; *p; p++) {
		if (*p < '0' || *p > '9' || number > INT32_MAX)
			return false;
		number = 10 * number + *p - '0';
	}
	folder_of(path, folder);
	if (raw_syscall(SYS_statfs, (long)folder, (long)&fs, 0, 0, 0) || fs.f_type != PROC_SUPER_MAGIC ||
	    raw_syscall(SYS_stat, (long)folder, (long)&st, 0, 0, 0) || st.st_ino != PROC_ROOT)
		return false;
	return number > INT32_MAX || !dune_ring3_is_ours(t, number);
}

static const char *access_name(unsigned int access)
{
	return access & DUNE_RING3_EXECUTE ? "execute" : access & DUNE_RING3_NAME ? "name" :
	       access & DUNE_RING3_WRITE ? "write" :
	       access & DUNE_RING3_READ ? "read" : "look";
}

int64_t access_error(const struct policy_verdict *v, unsigned int access)
{
	const unsigned int look = DUNE_RING3_LOOK, read = look | DUNE_RING3_READ;

	switch (v->access) {
	case ACCESS_RW:
		return 0;
	case ACCESS_RO:
		return access & ~read ? -EACCES : 0;
	case ACCESS_NONE:
		return !v->leads ? -ENOENT : access & ~look ? -EACCES : 0;
	case ACCESS_HIDE:
		return -ENOENT;
	default:
		return -EACCES;
	}
}

static int64_t judge_file(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path,
			  unsigned int access)
{
	const struct policy *p = policy();
	/* A second name for a file is as good as the first: both need all rights. */
	const unsigned int wanted = is_link(call->nr) ? access | DUNE_RING3_WRITE : access;
	const struct policy_verdict v = policy_path(p, &p->files, path);
	struct denial why = { .path = path, .access = access_name(wanted), .section = "files", .line = path,
			      .origin = v.access ? v.origin : NO_ORIGIN };
	char folder[POLICY_PATH_MAX];
	int64_t error;

	why.quiet = access & DUNE_RING3_PERHAPS;
	why.value = wanted & (DUNE_RING3_WRITE | DUNE_RING3_NAME) ? "rw" : "ro";
	/* New names come and go: it is the folder that such a program needs. */
	if (wanted & DUNE_RING3_NAME) {
		folder_of(path, folder);
		why.line = folder;
	}
	error = access_error(&v, wanted & ~(DUNE_RING3_EXECUTE | DUNE_RING3_PERHAPS));
	if (!error)
		error = judge_name(p, call, path);
	if (!error && wanted & (DUNE_RING3_READ | DUNE_RING3_WRITE) && is_process_elsewhere(t, path)) {
		why.access = "the folder of a process that is not of the sandbox: signals are sent by it";
		why.section = NULL;
		error = -EACCES;
	}
	return error ? refuse(t, call, error, &why) : DUNE_RING3_GO;
}

static int64_t judge_program(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path,
			     bool quiet)
{
	const struct policy *p = policy();
	const struct policy_verdict v = policy_path(p, &p->exec, path);
	const struct denial why = { .path = path, .access = "execute", .origin = NO_ORIGIN, .section = "exec",
				    .line = path, .quiet = quiet };

	return v.access == ACCESS_RO ? DUNE_RING3_GO : refuse(t, call, -EACCES, &why);
}

/* A socket's file needs a rule for addresses; and its name, where that is made, one for files. */
static int64_t judge_address_file(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path,
				  unsigned int access)
{
	const int64_t ret = judge_socket(t, call, path, access & DUNE_RING3_PERHAPS);

	return ret == DUNE_RING3_GO && access & DUNE_RING3_NAME ? judge_file(t, call, path, access) : ret;
}

/* Rules for programs come beside those for files. */
static int64_t path(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *resolved,
		    unsigned int access)
{
	char room[POLICY_PATH_MAX];
	const char *path = as_policies_say(t, resolved, room);
	int64_t ret;

	if (shared()->ending)
		end_all(t);
	if (is_about_network(call->nr))
		return judge_address_file(t, call, path, access);
	ret = judge_file(t, call, path, access & DUNE_RING3_EXECUTE ? access | DUNE_RING3_READ : access);
	if (ret == DUNE_RING3_GO && access & DUNE_RING3_EXECUTE)
		ret = judge_program(t, call, path, access & DUNE_RING3_PERHAPS);
	return ret;
}

/* ---- calls ---- */

/* @nr: the call that the rule is for. */
static int64_t judge_rule(struct dune_ring3_thread *t, const struct dune_ring3_call *call,
			  const struct policy_call *rule, unsigned int nr)
{
	struct denial why = { .origin = rule->origin, .section = "calls", .line = call_name(nr), .value = "allow" };
	int64_t ret;

	if (!why.line)
		why.section = NULL;
	ret = refuse(t, call, rule->action == ACTION_KILL ? 0 : -(int64_t)rule->error, &why);
	if (rule->action == ACTION_KILL && ret != DUNE_RING3_GO) {
		shared()->by_policy = 1;
		end_all(t);
	}
	return ret;
}

/* A file that is made with the rights of its owner for whoever executes it: openat2() says so in memory. */
static int64_t judge_openat2(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	static const struct denial owner = { .access = "a file with the rights of its owner", .origin = NO_ORIGIN };
	struct open_how how;

	if (dune_ring3_read(t, &how, call->args[2], sizeof(how)))
		return -EFAULT;
	return how.flags & (O_CREAT | O_TMPFILE) && how.mode & S_ISUID ? refuse(t, call, -EPERM, &owner) :
	       DUNE_RING3_GO;
}

/* Rights that a program has by its file, whoever executes it. */
static int64_t judge_attribute(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	static const struct denial rights = { .access = "a file with capabilities", .origin = NO_ORIGIN };
	static const char capabilities[] = "security.capability";
	char name[sizeof(capabilities)];
	long length = dune_ring3_read_string(t, name, call->args[1], sizeof(name));

	if (length < 0)
		return length;
	for (size_t i = 0; i < sizeof(capabilities); i++)
		if ((size_t)length < sizeof(capabilities) - 1 || name[i] != capabilities[i])
			return DUNE_RING3_GO;
	return refuse(t, call, -EPERM, &rights);
}

static bool sets_attribute(unsigned int nr)
{
	return nr == SYS_setxattr || nr == SYS_lsetxattr || nr == SYS_fsetxattr;
}

#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define NEW_TIME	0x80		/* of clone3(): a signal's number in clone() */

/* A child in namespaces of its own, by the rules for unshare(). */
static int64_t judge_namespaces(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	uint64_t arguments[6] = { call->args[0] & NAMESPACES };
	const struct policy_call *rule;

	if (call->nr == SYS_clone3) {
		if (dune_ring3_read(t, arguments, call->args[0], sizeof(arguments[0])))
			return -EFAULT;
		arguments[0] &= NAMESPACES | NEW_TIME;
	}
	if (!arguments[0])
		return DUNE_RING3_GO;
	rule = policy_call(policy(), SYS_unshare, arguments);
	return rule->action == ACTION_ERRNO || rule->action == ACTION_KILL ? judge_rule(t, call, rule, SYS_unshare) :
	       DUNE_RING3_GO;
}

/* The first process is to end with ours (processes.c), and keeps the signal for that. */
static int64_t judge_prctl(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	if ((int)call->args[0] != PR_SET_PDEATHSIG || dune_ring3_pid(t) != shared()->first)
		return DUNE_RING3_GO;
	return call->args[1] > 64 ? -EINVAL : 0;
}

static bool makes_process(unsigned int nr)
{
	return nr == SYS_clone || nr == SYS_clone3 || nr == SYS_fork || nr == SYS_vfork;
}

static int64_t before(struct dune_ring3_thread *t, struct dune_ring3_call *call)
{
	const struct policy_call *rule = policy_call(policy(), call->nr, call->args);
	int64_t ret = DUNE_RING3_GO;

	if (shared()->ending)
		end_all(t);
	if (call->error)
		return DUNE_RING3_GO;
	if (rule->action == ACTION_ERRNO || rule->action == ACTION_KILL)
		ret = judge_rule(t, call, rule, call->nr);
	if (ret == DUNE_RING3_GO && is_about_network(call->nr))
		ret = judge_network(t, call);
	if (ret == DUNE_RING3_GO && is_about_processes(call->nr))
		ret = judge_process(t, call);
	if (ret == DUNE_RING3_GO && call->nr == SYS_openat2)
		ret = judge_openat2(t, call);
	if (ret == DUNE_RING3_GO && sets_attribute(call->nr))
		ret = judge_attribute(t, call);
	if (ret == DUNE_RING3_GO && (call->nr == SYS_clone || call->nr == SYS_clone3))
		ret = judge_namespaces(t, call);
	if (ret == DUNE_RING3_GO && call->nr == SYS_prctl)
		ret = judge_prctl(t, call);
	return ret == DUNE_RING3_GO && makes_process(call->nr) ? processes_reserve(t, call) : ret;
}

static void after(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result)
{
	if (makes_process(call->nr))
		processes_made(t, call, result);
}

static void begin(struct dune_ring3_thread *t, enum dune_ring3_begin how)
{
	processes_begin(t, how);
}

static void end(struct dune_ring3_thread *t, int status, int whole_process)
{
	(void)status;
	processes_end(t, whole_process);
}

/* Is something said of the call but that it is allowed? */
static bool has_rule(const struct policy *p, unsigned int nr)
{
	const struct policy_call *rule = p->calls[nr] ? policy_at(p, p->calls[nr]) : &p->other_calls;

	return rule->action != ACTION_NONE && (rule->action != ACTION_ALLOW || rule->nr_conditions);
}

bool is_judged(const struct policy *p, unsigned int nr)
{
	return has_rule(p, nr) || is_about_network(nr) || is_about_processes(nr) || nr == SYS_openat2 ||
	       sets_attribute(nr) || nr == SYS_prctl || makes_process(nr);
}

const struct dune_ring3_callbacks sandbox_callbacks = {
	.before = before, .after = after, .begin = begin, .end = end, .path = path,
};
