// SPDX-License-Identifier: MIT
/*
 * Opening and DUNE_ATTACH without descriptors to be had, and while another thread puts files of its own over every
 * descriptor: an errno, or a file of Dune's, and nothing that leaks.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"
#include "raw.h"

static void set_limit(rlim_t descriptors)
{
	struct rlimit limit = { .rlim_cur = descriptors, .rlim_max = 1024 };

	DIE_UNLESS(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

static void check_open_limit(void)
{
	int next = dup(0), fd;

	close(next);
	for (int limit = 0; limit <= next; limit++) {
		set_limit(limit);
		CHECK_ERRNO(open("/dev/dune", O_RDWR | O_CLOEXEC), EMFILE, "open with too few descriptors");
	}
	/* None of those has left the address space occupied. */
	set_limit(next + 1);
	fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
	CHECK(fd == next, "open with one descriptor: %d, %s", fd, strerrorname_np(errno));
	close(fd);
	set_limit(1024);
}

/* In a child. */
static void attach_limits(int inherited)
{
	int next = dup(0), fd;

	close(next);
	for (int i = 0; i < 50; i++) {
		set_limit(i % (next + 1));
		CHECK_ERRNO(ioctl(inherited, DUNE_ATTACH, O_CLOEXEC), EMFILE, "DUNE_ATTACH with too few descriptors");
	}
	set_limit(next + 1);
	for (int i = 0; i < 50; i++) {
		fd = ioctl(inherited, DUNE_ATTACH, i & 1 ? O_CLOEXEC : 0);
		CHECK(fd == next, "DUNE_ATTACH with one descriptor: %d, %s", fd, strerrorname_np(errno));
		CHECK_EQUAL(fcntl(fd, F_GETFD), i & 1 ? FD_CLOEXEC : 0, "flags of the descriptor");
		close(fd);
	}
	set_limit(1024);
}

/* ---- a storm of dup2() ------------------------------------------------------------ */

static atomic_bool stop;
static int null_fd, low;
static atomic_ulong storms;

static void *storm(void *unused)
{
	while (!stop) {
		for (int fd = low; fd < low + 4; fd++)
			dup2(null_fd, fd);
		for (int fd = low; fd < low + 4; fd++)
			close(fd);
		storms++;
	}
	return unused;
}

/* @fd may be anything by now; what the calls say has to fit one of the two. */
static void use(int fd, unsigned long counts[2])
{
	struct dune_vcpu_config config = { .tss_limit = 0x67 };
	struct dune_info info = { 0 };
	long result = raw_ioctl(fd, DUNE_GET_INFO, (uintptr_t)&info);

	CHECK((!result && info.version == DUNE_ABI_VERSION) || result == -ENOTTY || result == -EBADF,
	      "DUNE_GET_INFO in a storm: %ld", result);
	counts[!result]++;
	result = raw_ioctl(fd, DUNE_CREATE_VCPU, (uintptr_t)&config);
	CHECK(!result || result == -ENOTTY || result == -EBADF, "DUNE_CREATE_VCPU in a storm: %ld", result);
}

static void in_storm(int (*get)(int), int inherited, const char *what)
{
	unsigned long counts[2] = { 0 }, busy = 0;
	pthread_t threads[2];

	stop = false;
	low = dup(0);
	close(low);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, storm, NULL);
	for (int i = 0; i < 2000; i++) {
		int fd = get(inherited);

		if (fd < 0) {
			/* A storm that copied our file holds the address space until it closes it. */
			CHECK(errno == EBUSY || errno == EMFILE, "%s in a storm: %s", what, strerrorname_np(errno));
			busy++;
			sched_yield();
			continue;
		}
		use(fd, counts);
		close(fd);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK(counts[1] > 10, "%s: %lu of Dune's, %lu of the storm's, %lu busy", what, counts[1], counts[0], busy);
	for (int fd = low; fd < low + 8; fd++)
		close(fd);
}

static int get_by_open(int unused)
{
	(void)unused;
	return open("/dev/dune", O_RDWR | O_CLOEXEC);
}

static int get_by_attach(int inherited)
{
	return ioctl(inherited, DUNE_ATTACH, O_CLOEXEC);
}

/* All of it is released: the address space is free. */
static void check_free(const char *after)
{
	int fd = open("/dev/dune", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0, "open after %s: %s", after, strerrorname_np(errno));
	close(fd);
}

static void in_child(int inherited)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid) {
		attach_limits(inherited);
		in_storm(get_by_attach, inherited, "DUNE_ATTACH");
		check_free("a storm during DUNE_ATTACH");
		fflush(stdout);
		_exit(check_failures != 0);
	}
	waitpid(pid, &status, 0);
	CHECK(!status, "the child: status %#x", status);
}

int main(void)
{
	int fd;

	null_fd = fcntl(open("/dev/null", O_RDWR), F_DUPFD_CLOEXEC, 500);
	DIE_UNLESS(null_fd >= 500, "/dev/null");
	close(3);
	check_open_limit();
	in_storm(get_by_open, 0, "open");
	check_free("a storm during open");
	fd = fcntl(open("/dev/dune", O_RDWR | O_CLOEXEC), F_DUPFD, 600);
	close(3);
	CHECK(fd >= 600, "open: %s", strerrorname_np(errno));
	in_child(fd);
	printf("%lu storms\n", storms);
	return check_result();
}
