// SPDX-License-Identifier: MIT
/*
 * The program's descriptors, as /proc lists them: those that it has, and no other.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

#define MANY	1024

struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* Marks the numbers that @path lists, read by pieces of @size bytes; how many there are. */
static unsigned int list(const char *path, size_t size, bool *listed)
{
	char buffer[4096];
	unsigned int count = 0;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	CHECK(fd >= 0, "%s: %s", path, strerror(errno));
	memset(listed, 0, MANY);
	while ((n = syscall(SYS_getdents64, fd, buffer, size)) > 0) {
		for (long at = 0; at < n;) {
			const struct entry *e = (const struct entry *)(buffer + at);
			char *end;
			long number = strtol(e->name, &end, 10);

			if (!*end && number < MANY) {
				CHECK(!listed[number], "%s lists %ld twice", path, number);
				listed[number] = true;
				count++;
			}
			at += e->length;
		}
	}
	CHECK_EQUAL(n, 0, "getdents64");
	close(fd);
	if (fd < MANY && listed[fd]) {	/* the directory's own */
		listed[fd] = false;
		count--;
	}
	return count;
}

/* Has the program a descriptor of this number?  The kernel says so of libdune's too. */
static bool is_open(int fd)
{
	char path[32], target[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && !strstr(target, "dune");
}

static void same_as_open(const char *path, size_t size)
{
	bool listed[MANY];
	unsigned int count = list(path, size, listed);

	CHECK(count > 2, "%s lists %u", path, count);
	for (int fd = 0; fd < MANY; fd++)
		CHECK(listed[fd] == is_open(fd), "descriptor %d, %s by %zu bytes", fd, path, size);
}

/* Large enough for all at once, for a few, and for one. */
static const size_t sizes[] = { 4096, 128, 24 };

static void each_size(const char *path)
{
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		same_as_open(path, sizes[i]);
}

static void *in_thread(void *unused)
{
	each_size("/proc/thread-self/fd");
	each_size("/proc/self/fdinfo");
	return unused;
}

/* Files and processes may have the same number as a descriptor. */
static void other_directories(void)
{
	char name[32];
	bool listed[MANY];

	CHECK(!mkdir("/tmp/listing", 0700), "%s", strerror(errno));
	CHECK(!chdir("/tmp/listing"), "%s", strerror(errno));
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%d", i);
		CHECK(!symlink("/dev/dune", name), "symlink");
	}
	CHECK_EQUAL(list(".", 4096, listed), MANY - 1, "links");	/* less that of the directory's own number */
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%d", i);
		CHECK(!unlink(name), "unlink");
	}
	CHECK(!chdir("/"), "%s", strerror(errno));
	CHECK(!rmdir("/tmp/listing"), "%s", strerror(errno));
}

int main(int argc, char **argv)
{
	char path[64];
	pthread_t thread;
	int status;

	proc_begin(argc, argv);
	each_size("/proc/self/fd");
	each_size("/proc/self/fdinfo");
	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", getpid(), getpid());
	each_size(path);
	CHECK(!pthread_create(&thread, NULL, in_thread, NULL), "pthread_create");
	CHECK(!pthread_join(thread, NULL), "pthread_join");
	status = IN_CHILD(each_size("/proc/self/fd"));
	CHECK_EQUAL(status, EXITED(0), "in a child");
	other_directories();
	return check_result();
}
