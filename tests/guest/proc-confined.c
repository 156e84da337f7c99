// SPDX-License-Identifier: MIT
/*
 * What confines a process confines it in Dune mode too, and its children there: chroot, another user without
 * capabilities, namespaces, limits, Landlock, a cgroup.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "proc.h"

static void *nothing(void *arg)
{
	CHECK_WORLD("a confined thread");
	return arg;
}

/* A thread, a child and a child's child of a confined process, each doing @what. */
static void family(void (*what)(void))
{
	pthread_t thread;

	CHECK_WORLD("a confined process");
	what();
	CHECK(!pthread_create(&thread, NULL, nothing, NULL), "a confined thread");
	pthread_join(thread, NULL);
	CHECK_EQUAL(IN_CHILD(
		CHECK_WORLD("a confined child");
		what();
		CHECK_EQUAL(IN_CHILD(CHECK_WORLD("its child"); what()), EXITED(0), "its child")
	), EXITED(0), "a confined child");
}

static void do_nothing(void)
{
}

/* ---- chroot, and another user ---- */

static void in_chroot(void)
{
	struct stat st;

	CHECK_ERRNO(open("/dev/dune", O_RDWR), ENOENT, "the device in a chroot");
	CHECK_ERRNO(stat("/proc/self", &st), ENOENT, "/proc in a chroot");
	CHECK_EQUAL(stat("/only", &st), 0, "what is in the chroot");
}

static void powerless(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	CHECK_EQUAL(getuid(), 1000, "the user");
	CHECK_EQUAL(getegid(), 1000, "the group");
	CHECK_EQUAL(syscall(SYS_capget, &header, caps), 0, "capget");
	CHECK_EQUAL(caps[0].effective | caps[0].permitted | caps[1].effective, 0, "capabilities");
	CHECK_ERRNO(open("/dev/dune", O_RDWR), EACCES, "the device");
	CHECK_ERRNO(setuid(0), EPERM, "setuid");
	CHECK_ERRNO(chroot("/"), EPERM, "chroot");
	CHECK_ERRNO(sethostname("x", 1), EPERM, "sethostname");
	CHECK_ERRNO(kill(1, SIGKILL), EPERM, "kill");
}

static void users(void)
{
	mkdir("/root/jail", 0755);
	close(open("/root/jail/only", O_CREAT | O_WRONLY, 0644));
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(chroot("/root/jail"), 0, "chroot");
		CHECK_EQUAL(chdir("/"), 0, "chdir");
		family(in_chroot)
	), EXITED(0), "chroot");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(setgroups(0, NULL), 0, "setgroups");
		CHECK_EQUAL(setgid(1000), 0, "setgid");
		CHECK_EQUAL(setuid(1000), 0, "setuid");
		family(powerless)
	), EXITED(0), "another user");
	CHECK_EQUAL(IN_CHILD(
		struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct none[2] = { 0 };

		CHECK_EQUAL(syscall(SYS_capset, &header, none), 0, "capset");
		CHECK_ERRNO(sethostname("x", 1), EPERM, "sethostname without capabilities");
		family(do_nothing)
	), EXITED(0), "root without capabilities");
}

/* ---- namespaces ---- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path, strerror(errno));
	close(fd);
}

static void namespaces(void)
{
	struct stat st;

	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(setuid(1000), 0, "setuid");
		prctl(PR_SET_DUMPABLE, 1);
		CHECK_EQUAL(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS), 0, "unshare");
		write_file("/proc/self/uid_map", "0 1000 1");
		write_file("/proc/self/setgroups", "deny");
		write_file("/proc/self/gid_map", "0 0 1");
		CHECK_EQUAL(getuid(), 0, "the user in the namespace");
		CHECK_EQUAL(IN_CHILD(
			CHECK_WORLD("the first process of a namespace");
			CHECK_EQUAL(getpid(), 1, "its number");
			CHECK_EQUAL(mount("none", "/tmp", "tmpfs", 0, NULL), 0, "mount in a namespace");
			CHECK_EQUAL(mkdir("/tmp/seen-within", 0700), 0, "mkdir");
			CHECK_EQUAL(IN_CHILD(
				CHECK_WORLD("the second one");
				CHECK_EQUAL(getpid(), 2, "its number");
				CHECK_EQUAL(stat("/tmp/seen-within", &st), 0, "the mount");
				CHECK_ERRNO(kill(3, 0), ESRCH, "no third one")
			), EXITED(0), "the second process of a namespace");
		), EXITED(0), "the first process of a namespace")
	), EXITED(0), "namespaces");
	CHECK_ERRNO(stat("/tmp/seen-within", &st), ENOENT, "the mount outside");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP), 0, "unshare");
		CHECK_EQUAL(sethostname("within", 6), 0, "sethostname");
		family(do_nothing)
	), EXITED(0), "more namespaces");
}

/* ---- limits ---- */

#define MIB	(1UL << 20)

static unsigned long address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (!file || fscanf(file, "%lu", &pages) != 1)
		CHECK(false, "/proc/self/statm");
	if (file)
		fclose(file);
	return pages * 4096;
}

static bool can_map(unsigned long size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		munmap(p, size);
	return p != MAP_FAILED;
}

static void few_files(void)
{
	int fds[32], n = 0, highest = -1;

	/* Some are taken, by libdune one of them. */
	while (n < 32 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
		highest = fds[n++];
	CHECK_EQUAL(errno, EMFILE, "errno at the limit");
	CHECK(highest <= 15, "the highest descriptor: %d", highest);
	CHECK(n >= 8, "descriptors: %d", n);
	while (n)
		close(fds[--n]);
}

static void little_space(void)
{
	CHECK(can_map(8 * MIB), "a small mapping under RLIMIT_AS");
	CHECK(!can_map(256 * MIB), "a large mapping under RLIMIT_AS");
	CHECK_EQUAL(errno, ENOMEM, "its errno");
}

static void limits(void)
{
	const struct rlimit files = { 16, 16 }, processes = { 0, 0 };
	struct rlimit space;

	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &files), 0, "RLIMIT_NOFILE");
		family(few_files)
	), EXITED(0), "RLIMIT_NOFILE");
	CHECK_EQUAL(IN_CHILD(
		space.rlim_cur = space.rlim_max = address_space() + 64 * MIB;
		CHECK_EQUAL(setrlimit(RLIMIT_AS, &space), 0, "RLIMIT_AS");
		family(little_space)
	), EXITED(0), "RLIMIT_AS");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(setuid(1001), 0, "setuid");
		CHECK_EQUAL(setrlimit(RLIMIT_NPROC, &processes), 0, "RLIMIT_NPROC");
		CHECK_ERRNO(fork(), EAGAIN, "fork under RLIMIT_NPROC");
		CHECK_WORLD("a process that could not fork")
	), EXITED(0), "RLIMIT_NPROC");
}

/* ---- Landlock ---- */

static void locked(void)
{
	CHECK_ERRNO(open("/root/locked-out", O_WRONLY | O_CREAT, 0600), EACCES, "a write outside the rules");
	CHECK(open("/root/locked-in/file", O_WRONLY | O_CREAT, 0600) >= 0, "a write by the rules: %s", strerror(errno));
	CHECK_ERRNO(open("/dev/dune", O_RDWR), EACCES, "the device");
}

static void landlock(void)
{
	const uint64_t write_and_make[] = { 1UL << 1 | 1UL << 8 };	/* WRITE_FILE, MAKE_REG */
	struct { uint64_t access; int fd; } __attribute__((packed)) rule = { write_and_make[0], -1 };
	long version = syscall(444, NULL, 0, 1), ruleset;

	if (version < 1) {
		printf("this kernel has no Landlock\n");
		return;
	}
	mkdir("/root/locked-in", 0700);
	CHECK_EQUAL(IN_CHILD(
		ruleset = syscall(444, write_and_make, sizeof(write_and_make), 0);
		CHECK(ruleset >= 0, "landlock_create_ruleset");
		rule.fd = open("/root/locked-in", O_PATH | O_CLOEXEC);
		CHECK_EQUAL(syscall(445, ruleset, 1, &rule, 0), 0, "landlock_add_rule");
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		CHECK_EQUAL(syscall(446, ruleset, 0), 0, "landlock_restrict_self");
		family(locked)
	), EXITED(0), "Landlock");
}

/* ---- a cgroup ---- */

static unsigned long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned long number = 0;

	CHECK(file && fscanf(file, "%lu", &number) == 1, "%s: %s", path, strerror(errno));
	if (file)
		fclose(file);
	return number;
}

static void use_memory(void)
{
	char *p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long before = read_number("/root/cgroup/small/memory.current");

	for (unsigned long i = 0; i < 8 * MIB; i += 4096)
		p[i] = 1;
	CHECK(read_number("/root/cgroup/small/memory.current") >= before + 7 * MIB, "memory that is not charged");
	munmap(p, 8 * MIB);
}

static bool is_in_cgroup(const char *name)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[256], *found = NULL;

	while (!found && file && fgets(line, sizeof(line), file))
		found = !strncmp(line, "0::", 3) ? strstr(line, name) : NULL;
	if (file)
		fclose(file);
	return found;
}

/* clone3() puts the child there before it runs. */
static void born_in_cgroup(void)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD };
	int fd = open("/root/cgroup/small", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long pid;

	args.cgroup = fd;
	fflush(stdout);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (!pid) {
		check_failures = 0;
		CHECK(is_in_cgroup("/small"), "a child born into a cgroup is not in it");
		family(use_memory);
		_exit(check_failures != 0);
	}
	CHECK(pid > 0, "CLONE_INTO_CGROUP: %s", strerror(errno));
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a child born into a cgroup");
	CHECK(!is_in_cgroup("/small"), "its parent is there too");
	close(fd);
	args.cgroup = fd;
	CHECK_ERRNO(syscall(SYS_clone3, &args, sizeof(args)), EBADF, "CLONE_INTO_CGROUP with a closed descriptor");
}

/*
 * The kernel says much when it kills for want of memory, and the testbed takes that for a fault: so it is not tested.
 */
static void cgroup(void)
{
	mkdir("/root/cgroup", 0755);
	DIE_UNLESS(!mount("none", "/root/cgroup", "cgroup2", 0, NULL), "mount of cgroup2");
	write_file("/root/cgroup/cgroup.subtree_control", "+memory +pids");
	CHECK(!mkdir("/root/cgroup/small", 0755), "mkdir: %s", strerror(errno));
	write_file("/root/cgroup/small/memory.max", "67108864");
	write_file("/root/cgroup/small/pids.max", "3");
	CHECK_EQUAL(IN_CHILD(
		write_file("/root/cgroup/small/cgroup.procs", "0");
		family(use_memory);
		CHECK_EQUAL(IN_CHILD(CHECK_EQUAL(IN_CHILD(CHECK_ERRNO(fork(), EAGAIN, "a fourth process")),
						 EXITED(0), "the third process")), EXITED(0), "the second");
		CHECK_WORLD("their parent")
	), EXITED(0), "a cgroup");
	born_in_cgroup();
	rmdir("/root/cgroup/small");
	umount("/root/cgroup");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	users();
	namespaces();
	limits();
	landlock();
	cgroup();
	return check_result();
}
