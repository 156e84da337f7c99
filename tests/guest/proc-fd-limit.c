// SPDX-License-Identifier: MIT
/*
 * RLIMIT_NOFILE: a program has all descriptors that it may have, and each number, libdune's none of them.  So it is in
 * all threads, in children by fork, vfork and with the same table, and in programs that are executed.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

#define USUAL	1024	/* what Linux gives to the first process; up to here libdune's is above it */
#define CHECKED	10	/* numbers that libdune has above the limit of a checked program */

/* The limit and what is in the way is all that a program gets to know when it is executed. */
static const char *self, *where;

static bool is_checked(void)
{
	return getenv("EXPECT_CHECKED");
}

/* The limit is what was set, in this process and in a child, whoever asks for it. */
static void expect_limit(rlim_t soft, rlim_t hard)
{
	struct rlimit limit = { 0, 0 };
	pid_t parent = getpid();

	CHECK_EQUAL(syscall(SYS_getrlimit, RLIMIT_NOFILE, &limit), 0, "getrlimit");
	CHECK(limit.rlim_cur == soft && limit.rlim_max == hard, "the limit is %ld of %ld, expected %ld of %ld",
	      (long)limit.rlim_cur, (long)limit.rlim_max, (long)soft, (long)hard);
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(prlimit(parent, RLIMIT_NOFILE, NULL, &limit), 0, "prlimit of the parent");
		CHECK(limit.rlim_cur == soft && limit.rlim_max == hard, "the parent's limit: %ld of %ld",
		      (long)limit.rlim_cur, (long)limit.rlim_max);
		CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0, "getrlimit in a child");
		CHECK(limit.rlim_cur == soft && limit.rlim_max == hard, "a child's limit: %ld of %ld",
		      (long)limit.rlim_cur, (long)limit.rlim_max)
	), EXITED(0), "a child that asks for limits");
}

static void set_limit(rlim_t soft, rlim_t hard)
{
	const struct rlimit limit = { soft, hard };

	CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0, "setrlimit");
}

static bool sets(rlim_t soft, rlim_t hard)
{
	const struct rlimit limit = { soft, hard };

	return !syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
}

/* What the kernel says of limits: whoever has no right to more cannot have more than what he sees. */
static void limits(void)
{
	struct rlimit old = { 0, 0 };

	set_limit(64, 128);
	expect_limit(64, 128);
	CHECK(!sets(65, 64) && errno == EINVAL, "more than the hard limit");
	CHECK_ERRNO(syscall(SYS_setrlimit, RLIMIT_NOFILE, NULL), EFAULT, "no limit");
	CHECK_EQUAL(prlimit(0, RLIMIT_NOFILE, &(struct rlimit){ 32, 100 }, &old), 0, "prlimit");
	CHECK(old.rlim_cur == 64 && old.rlim_max == 128, "the old limit: %ld of %ld", (long)old.rlim_cur,
	      (long)old.rlim_max);
	expect_limit(32, 100);
	CHECK_EQUAL(setresuid(1000, 1000, 1000), 0, "setresuid");
	CHECK(sets(100, 100), "the soft limit as high as the hard one");
	expect_limit(100, 100);
	CHECK(!sets(100, 101) && errno == EPERM, "a hard limit that is one higher");
	CHECK(!sets(0, 100 + CHECKED) && errno == EPERM, "a hard limit that is higher");
	CHECK(sets(50, 60), "lower limits");
	expect_limit(50, 60);
	CHECK(!sets(50, 61) && errno == EPERM, "a hard limit as before");
}

/* The first number that dup2() does not give, from 3 on; -1: dup2() gives more than the limit. */
static long first_refused(int limit)
{
	for (int fd = 3; fd < limit; fd++) {
		if (syscall(SYS_dup2, 0, fd) != fd)
			return fd;
		syscall(SYS_close, fd);
	}
	return syscall(SYS_dup2, 0, limit) == -1 && errno == EBADF ? limit : -1;
}

/* Opens all that may be open, each the lowest; how many there are then, or -1: another one comes. */
static long open_all(void)
{
	int expected = 3, fd;

	while ((fd = open("/dev/null", O_RDONLY)) == expected)
		expected++;
	return fd == -1 && errno == EMFILE ? expected : -1;
}

static void every_one(int limit, const char *who)
{
	CHECK_EQUAL(first_refused(limit), limit, who);
	CHECK_EQUAL(open_all(), limit, who);
	CHECK_WORLD(who);
	for (int fd = 3; fd < limit; fd++) {
		CHECK_EQUAL(dup2(1, fd), fd, who);
		CHECK_EQUAL(close(fd), 0, who);
		CHECK_EQUAL(fcntl(1, F_DUPFD, fd > 3 ? 4 : 3), fd, who);
	}
	CHECK_ERRNO(fcntl(1, F_DUPFD, 3), EMFILE, who);
	CHECK_ERRNO(fcntl(1, F_DUPFD, limit), EINVAL, who);
	CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 0), EMFILE, who);
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child of one with all descriptors")), EXITED(0), who);
	CHECK_EQUAL(syscall(SYS_close_range, 3, ~0U, 0), 0, who);
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child of one with few descriptors")), EXITED(0), who);
}

/* ---- threads ---- */

static bool done;

static void *calls(void *arg)
{
	unsigned long wrong = 0;

	while (!__atomic_load_n(&done, __ATOMIC_RELAXED))
		wrong += syscall(SYS_getppid) != getppid();
	CHECK_EQUAL(wrong, 0, "calls while descriptors come and go");
	return arg;
}

static void *in_thread(void *arg)
{
	every_one(USUAL, "a thread");
	return arg;
}

static void threads(void)
{
	pthread_t caller, opener;

	DIE_UNLESS(!pthread_create(&caller, NULL, calls, NULL), "pthread_create");
	every_one(USUAL, "beside a thread");
	DIE_UNLESS(!pthread_create(&opener, NULL, in_thread, NULL), "pthread_create");
	pthread_join(opener, NULL);
	done = true;
	pthread_join(caller, NULL);
}

/* ---- children ---- */

static void by_vfork(void)
{
	volatile long refused, open;
	pid_t pid = vfork();

	if (!pid) {
		refused = first_refused(USUAL);
		open = open_all();
		_exit(0);
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a child of vfork");
	CHECK_EQUAL(refused, USUAL, "the first number that a child of vfork does not get");
	CHECK_EQUAL(open, USUAL, "what a child of vfork can open");
	every_one(USUAL, "after vfork");
}

/*
 * The parent's table is the child's, which has its own memory: each has a descriptor of libdune's in it, of which the
 * other does not know.  So close_range() of all is for neither.
 */
static void same_table(void)
{
	pid_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (is_checked()) {		/* it could have the parent's descriptors of libdune */
		CHECK(pid == -1 && errno == EPERM, "a checked program's child with the same table: %d", pid);
		return;
	}
	if (!pid) {
		check_failures = 0;
		CHECK_EQUAL(first_refused(USUAL), USUAL, "a child with the same table");
		CHECK_EQUAL(open_all(), USUAL, "a child with the same table");
		CHECK_EQUAL(IN_CHILD(CHECK_WORLD("its child")), EXITED(0), "its child");
		for (int fd = 3; fd < USUAL; fd++)
			close(fd);
		_exit(check_failures != 0);
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "a child with the same table");
	every_one(USUAL, "after a child with the same table");
}

/* Children of one that has all that it may have, with the limit where it is, lower, and at nothing. */
static void full(void)
{
	const rlim_t limits[] = { USUAL, 16, 4, 0 };

	CHECK_EQUAL(open_all(), USUAL, "all");
	for (unsigned int i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		CHECK_EQUAL(IN_CHILD(
			set_limit(limits[i], limits[i]);
			CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child's child")), EXITED(0), "a child's child");
			CHECK_ERRNO(dup(0), EMFILE, "dup")
		), EXITED(0), "a child with all descriptors");
}

/* ---- programs that are executed ---- */

/* In a child, by root or somebody else. */
static void executed(rlim_t soft, rlim_t hard, uid_t user, long expected)
{
	char text[16], most[16];
	pid_t pid;

	snprintf(text, sizeof(text), "%ld", expected);
	snprintf(most, sizeof(most), "%ld", (long)hard);
	pid = fork();
	if (!pid) {
		set_limit(soft, hard);
		if (setresuid(user, user, user))
			_exit(99);
		execl(self, self, where, text, most, NULL);
		_exit(98);
	}
	CHECK(proc_wait(pid) == EXITED(0), "a program with a limit of %ld of %ld, user %d", (long)soft, (long)hard,
	      user);
}

static int execute_me(long expected, long hard)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	CHECK_EQUAL(limit.rlim_max, hard, "the hard limit of a program that is executed");
	if (expected == (long)limit.rlim_cur) {
		every_one(expected, "a program that is executed");
	} else {
		/* One less: number @expected is libdune's. */
		CHECK_EQUAL(first_refused(limit.rlim_cur), expected, "the number in the way");
		CHECK_EQUAL(open_all(), expected, "what can be open");
	}
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child of a program that is executed")), EXITED(0), "its child");
	return check_result();
}

static void programs(bool inside)
{
	const int user = 1000;

	executed(USUAL, 4 * USUAL, 0, USUAL);
	executed(USUAL, 4 * USUAL, user, USUAL);
	executed(USUAL, USUAL, 0, USUAL);
	executed(64, 64, 0, 64);
	executed(64, 65, user, 64);
	executed(4, 4, 0, 4);
	executed(4, 1000, user, 4);
	/* Who may not have more has one less: the last. */
	inside &= !is_checked();
	executed(USUAL, USUAL, user, USUAL - inside);
	executed(64, 64, user, 64 - inside);
	executed(5, 5, user, 5 - inside);
}

/* Of a higher limit libdune's is in the way as before, but is not closed, and children go on. */
static void raised(bool inside)
{
	const int limit = 2 * USUAL, last = USUAL + (is_checked() ? CHECKED : 1);

	set_limit(limit, 4 * USUAL);
	CHECK_EQUAL(first_refused(limit), inside ? USUAL : limit, "with a limit that is raised");
	for (int fd = 3; fd < limit; fd++)
		CHECK(dup2(0, fd) == fd || (fd >= USUAL && fd < last && inside && errno == EBADF), "dup2 to %d", fd);
	CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a child with many descriptors")), EXITED(0), "a child");
	CHECK_EQUAL(syscall(SYS_close_range, 3, ~0U, 0), 0, "close_range");
	set_limit(USUAL, 4 * USUAL);
	every_one(USUAL, "with the old limit again");
}

int main(int argc, char **argv)
{
	const bool inside = argc < 2 || strcmp(argv[1], "outside") || getenv("EXPECT_RING3");

	self = argv[0];
	where = argc > 1 ? argv[1] : "inside";
	syscall(SYS_close_range, 3, ~0U, 0);
	if (argc > 3) {
		/* To find out that it is in ring 3 takes more descriptors than it may have. */
		if (strcmp(where, "outside"))
			proc_begin(argc, argv);
		return execute_me(atol(argv[2]), atol(argv[3]));
	}
	chmod("/dev/dune", 0666);
	set_limit(USUAL, 4 * USUAL);
	proc_begin(argc, argv);
	every_one(USUAL, "the first thread");
	CHECK_EQUAL(IN_CHILD(every_one(USUAL, "a child")), EXITED(0), "a child");
	CHECK_EQUAL(IN_CHILD(limits()), EXITED(0), "limits");
	CHECK_EQUAL(IN_CHILD(by_vfork()), EXITED(0), "vfork");
	CHECK_EQUAL(IN_CHILD(same_table()), EXITED(0), "CLONE_FILES");
	CHECK_EQUAL(IN_CHILD(full()), EXITED(0), "all descriptors");
	CHECK_EQUAL(IN_CHILD(threads()), EXITED(0), "threads");
	programs(inside);
	CHECK_EQUAL(IN_CHILD(raised(inside)), EXITED(0), "a limit that is raised");
	chmod("/dev/dune", 0660);
	return check_result();
}
