// SPDX-License-Identifier: MIT
/*
 * Forks of a process that has more address space than RLIMIT_AS allows, as it has lowered that. In the child the pages
 * that the threads shared with the module are holes. They are filled where the limit can be raised for a moment. Else
 * the child ends; it does not go on with holes, into which something of the program's might be put.
 *
 * Children have all of libdune's granule where it cannot be below the stack: so it is here.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "proc.h"

#define THREADS		4		/* besides the first */
#define FORKER		1		/* there are areas of others before and behind its own */
#define PAGE		4096UL
#define GRANULE		(1UL << 30)
#define DISTANCE	(16 * GRANULE)	/* from the stack, STACK_DISTANCE in libdune/threads/region.c */
#define LESS_MAX	(THREADS + 3)	/* pages that the process has too many: fewer than the holes, and more */

static atomic_bool done;
static unsigned long region;
static char maps[1 << 18];

/* Without memory: there is no room for any. */
static void read_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n;

	DIE_UNLESS(fd >= 0, "/proc/self/maps");
	while ((n = read(fd, maps + length, sizeof(maps) - 1 - length)) > 0)
		length += n;
	close(fd);
	maps[length] = '\0';
}

static void find_region(void)
{
	read_maps();
	for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, "/dev/dune"))
			region = strtoul(line, NULL, 16) & -GRANULE;
	DIE_UNLESS(region, "a page shared with the module");
}

/* Is all of it mapped? */
static bool region_is_whole(void)
{
	unsigned long at = region, start, end;

	read_maps();
	for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n"))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= at && end > at)
			at = end;
	return at >= region + GRANULE;
}

static unsigned long address_space(void)
{
	return proc_status_field("VmSize:", 10) * 1024;
}

static void *ends(void *arg)
{
	CHECK_WORLD("a thread of a child");
	return arg;
}

/* The limit is what it was, the granule is whole, and threads begin as they should. */
static void check_child(const struct rlimit *expected)
{
	pthread_t threads[THREADS];
	struct rlimit limit;

	CHECK_WORLD("a child");
	CHECK(!proc_inside || region_is_whole(), "a hole in libdune's granule");
	getrlimit(RLIMIT_AS, &limit);
	CHECK_EQUAL(limit.rlim_cur, expected->rlim_cur, "RLIMIT_AS in the child");
	CHECK_EQUAL(limit.rlim_max, expected->rlim_max, "its hard limit");
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_max != RLIM_INFINITY)
		return;
	CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0, "setrlimit");
	for (int i = 0; i < THREADS; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, ends, NULL), "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* The status of the child of a process that has @less pages more than its limit, and is @user. */
static int fork_under_limit(unsigned int less, bool hard, uid_t user)
{
	struct rlimit limit, old;
	int status;

	getrlimit(RLIMIT_AS, &old);
	limit.rlim_cur = address_space() - less * PAGE;
	limit.rlim_max = hard ? limit.rlim_cur : old.rlim_max;
	CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0, "setrlimit");
	/* The kernel's call, for this thread alone. */
	CHECK_EQUAL(syscall(SYS_setresuid, -1, user, -1), 0, "setresuid");
	status = IN_CHILD(check_child(&limit));
	CHECK_EQUAL(syscall(SYS_setresuid, -1, 0, -1), 0, "setresuid");
	CHECK_EQUAL(setrlimit(RLIMIT_AS, &old), 0, "setrlimit");
	return status;
}

static void *forks(void *arg)
{
	const uid_t user = 1001;

	for (unsigned int less = 0; less <= LESS_MAX; less++) {
		CHECK_EQUAL(fork_under_limit(less, false, 0), EXITED(0), "root's, with a soft limit");
		CHECK_EQUAL(fork_under_limit(less, true, 0), EXITED(0), "root's, with a hard limit");
		CHECK_EQUAL(fork_under_limit(less, false, user), EXITED(0), "a user's, with a soft limit");
		CHECK_EQUAL(fork_under_limit(less, true, user), proc_inside && less ? SIGKILL : EXITED(0),
			    "a user's, with a hard limit");
	}
	done = true;
	return arg;
}

static void *stays(void *arg)
{
	while (!done)
		usleep(1000);
	return arg;
}

int main(int argc, char **argv)
{
	unsigned long stack = (unsigned long)__builtin_frame_address(0);
	pthread_t threads[THREADS];
	char *place = (char *)((stack & -GRANULE) - DISTANCE + GRANULE / 2);

	DIE_UNLESS(mmap(place, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == place,
		   "mmap below the stack");
	proc_begin(argc, argv);
	if (proc_inside)
		find_region();
	for (int i = 0; i < THREADS; i++)
		DIE_UNLESS(!pthread_create(&threads[i], NULL, i == FORKER ? forks : stays, NULL), "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return check_result();
}
