// SPDX-License-Identifier: MIT
/* The second wall of a sandbox, by itself: what the kernel of this machine refuses then. Without Landlock: skipped. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/sandbox/sandbox.h"
#include "sandbox/build.h"

/* What wall.c has of its neighbours. */
const struct dune_ring3_callbacks sandbox_callbacks;

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	_exit(125);
}

void folder_of(const char *path, char to[POLICY_PATH_MAX])
{
	char *last;

	snprintf(to, POLICY_PATH_MAX, "%s", path);
	last = strrchr(to, '/');
	last[last == to] = '\0';
}

static char folder[] = "/tmp/wall-XXXXXX";

static long version(void)
{
	return syscall(444, NULL, 0, 1);
}

static void rule(struct builder *b, const char *name, enum policy_access access)
{
	const struct place place = { .rank = 1 };
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_true(builder_path(b, &place, SET_FILES, path, access, NULL, 0));
}

static int open_error(const char *path, int flags)
{
	const int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int error_of(int ret)
{
	return ret ? errno : 0;
}

static int connect_error(unsigned int port)
{
	const struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int error = error_of(connect(fd, (const struct sockaddr *)&to, sizeof(to)));

	close(fd);
	return error;
}

/* cmocka's assertions are for its own process. */
#define EXPECT(expression, expected) do {							\
	const int is_ = (expression);								\
	if (is_ != (expected)) {								\
		fprintf(stderr, "%s: %s, not %s\n", #expression, strerror(is_), strerror(expected));	\
		failed = true;									\
	}											\
} while (0)

static void run_inside(const struct policy *p, enum wall wall, bool (*inside)(void))
{
	const struct run run = { .policy = p, .wall = wall };
	const pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		build_wall(&run);
		_exit(inside());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static struct policy *files_and_ports(void)
{
	const struct place place = { .rank = 1 };
	struct builder *b = builder_new();
	struct policy *p;

	rule(b, "rw", ACCESS_RW);
	rule(b, "ro", ACCESS_RO);
	rule(b, "ro/below", ACCESS_HIDE);
	rule(b, "some/file", ACCESS_RO);
	rule(b, "later/file", ACCESS_RW);
	rule(b, "pattern/*.txt", ACCESS_RO);
	rule(b, "link", ACCESS_RO);
	/* Nothing of the kind is there: `/` is not given away for it. */
	assert_true(builder_path(b, &place, SET_FILES, "/no-such-folder", ACCESS_RO, NULL, 0));
	assert_true(builder_network(b, &place, "connect tcp * 7-9"));
	assert_true(builder_network(b, &place, "deny connect tcp * 7"));
	p = builder_finish(b);
	builder_free(b);
	return p;
}

static bool all_that_it_refuses(void)
{
	bool failed = false;

	EXPECT(open_error("outside", O_RDONLY), EACCES);
	EXPECT(open_error("outside", O_WRONLY), EACCES);
	EXPECT(open_error("/etc/passwd", O_RDONLY), EACCES);
	EXPECT(open_error(".", O_RDONLY | O_DIRECTORY), EACCES);
	EXPECT(open_error("ro/file", O_WRONLY), EACCES);
	EXPECT(open_error("ro/new", O_WRONLY | O_CREAT), EACCES);
	EXPECT(open_error("some/file", O_WRONLY), EACCES);
	EXPECT(open_error("link/file", O_RDONLY), EACCES);
	EXPECT(error_of(mkdir("ro/new", 0700)), EACCES);
	EXPECT(error_of(unlink("ro/file")), EACCES);
	EXPECT(error_of(rename("rw/file", "ro/other")), version() >= 2 ? EACCES : EXDEV);
	EXPECT(error_of(symlink("x", "new")), EACCES);
	EXPECT(error_of(execl("/bin/true", "true", NULL)), EACCES);
	if (version() >= 3)
		EXPECT(error_of(truncate("ro/file", 0)), EACCES);
	if (version() >= 4)
		EXPECT(connect_error(10), EACCES);
	if (version() >= 6)
		EXPECT(error_of(kill(getppid(), 0)), EPERM);
	return failed;
}

static bool all_that_it_permits(void)
{
	bool failed = false;

	EXPECT(open_error("rw/file", O_RDWR), 0);
	EXPECT(open_error("rw", O_RDONLY | O_DIRECTORY), 0);
	EXPECT(open_error("rw/new", O_RDWR | O_CREAT | O_TRUNC), 0);
	EXPECT(error_of(truncate("rw/new", 10)), 0);
	EXPECT(error_of(mkdir("rw/folder", 0700)), 0);
	EXPECT(error_of(rename("rw/new", "rw/folder/newer")), 0);
	EXPECT(error_of(link("rw/folder/newer", "rw/two")), 0);
	EXPECT(error_of(unlink("rw/two")), 0);
	EXPECT(error_of(unlink("rw/folder/newer")), 0);
	EXPECT(error_of(rmdir("rw/folder")), 0);
	EXPECT(error_of(mkfifo("rw/fifo", 0600)), 0);
	EXPECT(error_of(unlink("rw/fifo")), 0);
	EXPECT(open_error("ro/file", O_RDONLY), 0);
	EXPECT(open_error("ro", O_RDONLY | O_DIRECTORY), 0);
	EXPECT(open_error("some/file", O_RDONLY), 0);
	EXPECT(open_error("pattern/a.txt", O_RDONLY), 0);
	EXPECT(open_error("later/file", O_RDWR | O_CREAT), 0);
	EXPECT(open_error("/proc/self/maps", O_RDONLY), 0);
	EXPECT(open_error("/proc/self/fd/0", O_RDONLY), 0);
	EXPECT(connect_error(9), ECONNREFUSED);
	return failed;
}

static bool nothing(void)
{
	bool failed = false;

	EXPECT(open_error("outside", O_RDONLY), 0);
	return failed;
}

static bool filtered(void)
{
	bool failed = false;

	EXPECT(error_of(syscall(SYS_io_uring_setup, 1, NULL)), ENOSYS);
	EXPECT(error_of(syscall(511)), ENOSYS);
	EXPECT(error_of(kill(getpid(), 0)), 0);
	EXPECT(open_error("rw/file", O_RDWR), 0);
	return failed;
}

static void the_wall(void **state)
{
	struct policy *p = files_and_ports();

	(void)state;
	run_inside(p, WALL_SECCOMP, filtered);
	run_inside(p, WALL_NONE, nothing);
	if (version() < 2) {
		free(p);
		skip();
	}
	run_inside(p, WALL_LANDLOCK, all_that_it_refuses);
	run_inside(p, WALL_LANDLOCK, all_that_it_permits);
	run_inside(p, WALL_SECCOMP, all_that_it_permits);
	free(p);
}

/* Another file of the same name is what the policy names. */
static bool see_the_new_file(void)
{
	bool failed = false;
	char byte;

	EXPECT(read(0, &byte, 1) != 1, 0);
	EXPECT(open_error("some/file", O_RDONLY), 0);
	return failed;
}

static void a_file_that_is_replaced(void **state)
{
	const struct run run = { .policy = files_and_ports(), .wall = WALL_SECCOMP };
	int channel[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(channel), 0);
	child = fork();
	if (!child) {
		build_wall(&run);
		dup2(channel[0], 0);
		_exit(see_the_new_file());
	}
	assert_int_equal(open_error("some/new", O_WRONLY | O_CREAT), 0);
	assert_int_equal(rename("some/new", "some/file"), 0);
	assert_int_equal(write(channel[1], "", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(channel[0]);
	close(channel[1]);
	free((void *)run.policy);
}

static void words(void **state)
{
	enum wall wall;

	(void)state;
	assert_true(find_wall("none", &wall) && wall == WALL_NONE);
	assert_true(find_wall("landlock", &wall) && wall == WALL_LANDLOCK);
	assert_true(find_wall("seccomp", &wall) && wall == WALL_SECCOMP);
	assert_false(find_wall("", &wall));
}

static int make_folder(void **state)
{
	(void)state;
	return !mkdtemp(folder) || chdir(folder) ||
	       system("mkdir rw ro ro/below some pattern later linked && ln -s linked link && "
		      "touch rw/file ro/file some/file pattern/a.txt outside linked/file");
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return chdir("/") || system(command);
}

int main(int argc, char **argv)
{
	char self[300];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words),
		cmocka_unit_test(the_wall),
		cmocka_unit_test(a_file_that_is_replaced),
	};

	/* The wall looks for this program's file by its name. */
	self[length > 0 ? length : 0] = '\0';
	if (*argv[0] != '/')
		return execl(self, self, NULL);
	if (argc != 1 || !freopen("/dev/null", "r", stdin))
		return 1;
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
