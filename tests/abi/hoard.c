// SPDX-License-Identifier: MIT
/*
 * vCPUs are memory of the kernel's: a process gets no more of them than it can have threads, and they end with the
 * memory that they belong to, not with the last descriptor, which may be another process's.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>

#include "check.h"
#include "kept-pages.h"
#include "raw.h"

#define USER	1000

static int open_dune(void)
{
	int fd = open("/dev/dune", O_RDWR | O_CLOEXEC);

	DIE_UNLESS(fd >= 0, "/dev/dune");
	return fd;
}

/* How many there are before the one that fails with @error. */
static unsigned int create_all(int fd, long error)
{
	unsigned int created = 0;
	long result;

	for (;;) {
		struct dune_vcpu_config config = { .tss_limit = 0x67 };

		result = raw_ioctl(fd, DUNE_CREATE_VCPU, (uintptr_t)&config);
		if (result)
			break;
		created++;
	}
	CHECK(result == error, "a vCPU after %u: %ld, not %ld", created, result, error);
	return created;
}

static void in_child(void (*test)(int), int argument)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		test(argument);
		fflush(stdout);
		_exit(check_failures != 0);
	}
	waitpid(pid, &status, 0);
	CHECK(!status, "the child: status %#x", status);
	check_count++;
}

/* ---- how many ---- */

static void become_user(rlim_t tasks)
{
	struct rlimit limit = { .rlim_cur = tasks, .rlim_max = tasks };

	DIE_UNLESS(!setrlimit(RLIMIT_NPROC, &limit) && !setresuid(USER, USER, USER), "another user");
}

static void at_most(int tasks)
{
	int fd = open_dune();

	become_user(tasks);
	CHECK_EQUAL(create_all(fd, -EAGAIN), tasks, "vCPUs of a user with that many tasks");
}

static void *wait_for_ever(void *unused)
{
	/* A signal comes when the process becomes another user's. */
	for (;;)
		pause();
	return unused;
}

/* Those that it has already count, whatever the limit has become. */
static void at_least(int tasks)
{
	int fd = open_dune();
	unsigned int created;
	pthread_t thread;

	for (int i = 1; i < tasks; i++)
		pthread_create(&thread, NULL, wait_for_ever, NULL);
	become_user(0);
	created = create_all(fd, -EAGAIN);
	/* Who looks at the memory, by way of /proc, counts for a moment. */
	CHECK(created >= (unsigned int)tasks && created <= tasks + 2U, "%u vCPUs for %d threads", created, tasks);
}

/* clone() holds everybody to RLIMIT_NPROC but root. */
static void root_without_capabilities(int created)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	struct rlimit limit = { 1, 1 };
	int fd = open_dune();

	DIE_UNLESS(!setrlimit(RLIMIT_NPROC, &limit) && !syscall(SYS_capset, &header, none), "capset");
	for (int i = 0; i < created; i++) {
		struct dune_vcpu_config config = { .tss_limit = 0x67 };

		CHECK_EQUAL(raw_ioctl(fd, DUNE_CREATE_VCPU, (uintptr_t)&config), 0, "a vCPU of root's");
	}
}

/* ---- how long ---- */

static long free_kib(void)
{
	char line[100];
	long kib = 0;
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof(line), file) && sscanf(line, "MemFree: %ld", &kib) != 1)
		;
	if (file)
		fclose(file);
	return kib + kept_by_cpus();
}

static void send_descriptor(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec vector = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	DIE_UNLESS(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

static int receive_descriptor(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec vector = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(socket, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	DIE_UNLESS(fd >= 0, "recvmsg");
	return fd;
}

static void create_and_send(int socket)
{
	int fd = open_dune();

	CHECK(create_all(fd, -ENOSPC) > 4000, "few vCPUs");
	send_descriptor(socket, fd);
}

#define PROCESSES	4
#define KIB_LEFT	8192	/* for one: 4096 vCPUs take more than 32 MiB */

static void check_end(void)
{
	int pair[2], fds[PROCESSES];
	long before, used;

	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	before = free_kib();
	for (unsigned int i = 0; i < PROCESSES; i++) {
		in_child(create_and_send, pair[0]);
		fds[i] = receive_descriptor(pair[1]);
	}
	/* Pages are given back after a while. */
	for (unsigned int i = 0; i < 100; i++) {
		used = before - free_kib();
		if (used < KIB_LEFT)
			break;
		usleep(100000);
	}
	printf("%u descriptors of processes that are gone: %ld KiB\n", PROCESSES, used);
	CHECK(used < KIB_LEFT, "%ld KiB are in use by descriptors of processes that are gone", used);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		CHECK_EQUAL(raw_ioctl(fds[i], DUNE_RUN, 0), -EIO, "DUNE_RUN of memory that is gone");
		CHECK_EQUAL(raw_ioctl(fds[i], DUNE_DESTROY_VCPU, 0), -EIO, "DUNE_DESTROY_VCPU of memory that is gone");
		close(fds[i]);
	}
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	in_child(at_most, 20);
	in_child(at_most, 1);
	in_child(at_least, 5);
	in_child(root_without_capabilities, 20);
	check_end();
	return check_result();
}
