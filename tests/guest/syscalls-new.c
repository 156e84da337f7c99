// SPDX-License-Identifier: MIT
/*
 * System calls of newer kernels do in Dune mode what they do outside: the
 * same results, the same errors, also for those that do not exist.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dune.h>

#include "check.h"

static char buffer[8192], path[] = "/root/syscalls-new.tmp";
static struct statx status;
static struct timespec instant;

#define NOBODY	(-1L)

static const struct call {
	const char *name;
	long nr, a, b, c, d, e, f;
} calls[] = {
	{ "getrandom", SYS_getrandom, (long)buffer, 256, 0, 0, 0, 0 },
	{ "getrandom, bad pointer", SYS_getrandom, 8, 256, 0, 0, 0, 0 },
	{ "getrandom, bad flags", SYS_getrandom, (long)buffer, 256, 1 << 20, 0, 0, 0 },
	{ "statx", SYS_statx, AT_FDCWD, (long)"/proc/self/exe", 0, STATX_BASIC_STATS, (long)&status, 0 },
	{ "statx, no file", SYS_statx, AT_FDCWD, (long)"/nothing", 0, STATX_BASIC_STATS, (long)&status, 0 },
	{ "clone3, bad size", SYS_clone3, (long)buffer, 8, 0, 0, 0, 0 },
	{ "clone3, bad pointer", SYS_clone3, 8, 88, 0, 0, 0, 0 },
	{ "openat2, bad size", SYS_openat2, AT_FDCWD, (long)path, (long)buffer, 3, 0, 0 },
	{ "faccessat2", SYS_faccessat2, AT_FDCWD, (long)"/root", R_OK, AT_EACCESS, 0, 0 },
	{ "faccessat2, no file", SYS_faccessat2, AT_FDCWD, (long)"/nothing", R_OK, AT_EACCESS, 0, 0 },
	{ "close_range", SYS_close_range, 200, 300, 0, 0, 0, 0 },
	{ "close_range, bad order", SYS_close_range, 300, 200, 0, 0, 0, 0 },
	{ "pidfd_open, no process", SYS_pidfd_open, 999999, 0, 0, 0, 0, 0 },
	{ "pidfd_send_signal, no file", SYS_pidfd_send_signal, NOBODY, 0, 0, 0, 0, 0 },
	{ "copy_file_range, no file", SYS_copy_file_range, NOBODY, 0, NOBODY, 0, 1, 0 },
	{ "membarrier, query", SYS_membarrier, 0, 0, 0, 0, 0, 0 },
	{ "mlock2", SYS_mlock2, (long)buffer, 4096, 0, 0, 0, 0 },
	{ "memfd_create, bad flags", SYS_memfd_create, (long)"x", 1 << 30, 0, 0, 0, 0 },
	{ "preadv2, no file", SYS_preadv2, NOBODY, 0, 0, 0, 0, 0 },
	{ "io_uring_setup, bad pointer", SYS_io_uring_setup, 4, 8, 0, 0, 0, 0 },
	{ "landlock_create_ruleset, version", 444, 0, 0, 1, 0, 0, 0 },
	{ "process_madvise, no file", 440, NOBODY, 0, 0, 0, 0, 0 },
	{ "epoll_pwait2, no file", 441, NOBODY, (long)buffer, 1, (long)&instant, 0, 0 },
	{ "futex_waitv, none", 449, 0, 0, 0, 0, 0, 0 },
	{ "set_mempolicy_home_node", 450, 0, 0, 0, 0, 0, 0 },
	{ "cachestat", 451, NOBODY, 0, 0, 0, 0, 0 },
	{ "a call that does not exist", 999, 0, 0, 0, 0, 0, 0 },
	{ "a call far off", 0x7fffffff, 0, 0, 0, 0, 0, 0 },
	{ "a call that is negative", -1, 0, 0, 0, 0, 0, 0 },
	{ "an old call", SYS_uselib, 0, 0, 0, 0, 0, 0 },
};

#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))

static long results[2][NR_CALLS];

static long make(const struct call *c)
{
	long result = syscall(c->nr, c->a, c->b, c->c, c->d, c->e, c->f);

	return result == -1 ? -errno : result;
}

static void make_all(long into[NR_CALLS])
{
	for (unsigned int i = 0; i < NR_CALLS; i++)
		into[i] = make(&calls[i]);
}

/* Those that hand out something. */
static void check_files(void)
{
	struct open_how how = { .flags = O_RDWR | O_CREAT | O_CLOEXEC, .mode = 0600 };
	int fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)), memory, self;

	CHECK(fd >= 0, "openat2: %s", strerrorname_np(errno));
	CHECK(write(fd, "twelve bytes", 12) == 12, "write");
	memory = syscall(SYS_memfd_create, "memory", 1);
	CHECK(memory >= 0, "memfd_create: %s", strerrorname_np(errno));
	lseek(fd, 0, SEEK_SET);
	CHECK(sendfile(memory, fd, NULL, 12) == 12, "sendfile: %s", strerrorname_np(errno));
	CHECK(pread(memory, buffer, 12, 0) == 12 && !memcmp(buffer, "twelve bytes", 12), "what was sent");
	self = syscall(SYS_pidfd_open, getpid(), 0);
	CHECK(self >= 0 && !syscall(SYS_pidfd_send_signal, self, 0, NULL, 0), "pidfd_open: %s", strerrorname_np(errno));
	CHECK(!syscall(SYS_close_range, self, self, 0) && fcntl(self, F_GETFD) == -1, "close_range");
	CHECK(!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) && status.stx_size == 12, "statx");
	memset(buffer, 0, sizeof(buffer));
	CHECK(syscall(SYS_getrandom, buffer, 4096, 0) == 4096, "getrandom");
	CHECK(memcmp(buffer, buffer + 2048, 2048) != 0, "getrandom gave nothing");
	close(fd);
	close(memory);
	unlink(path);
}

int main(void)
{
	int error;

	make_all(results[0]);
	error = dune_init_and_enter();
	CHECK(!error, "dune_init_and_enter: %d", error);
	if (error)
		return check_result();
	CHECK(dune_in_dune_mode(), "not in Dune mode");
	make_all(results[1]);
	for (unsigned int i = 0; i < NR_CALLS; i++)
		CHECK(results[1][i] == results[0][i], "%s: %ld, outside Dune mode %ld", calls[i].name, results[1][i],
		      results[0][i]);
	check_files();
	return check_result();
}
