// SPDX-License-Identifier: MIT
/*
 * mlockall() locks and counts the program's memory, and none of libdune's: for root, for a user with a limit, and for
 * one with too low a limit.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "proc.h"

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define ONFAULT		4	/* MCL_ONFAULT */

static char data[256 * KIB] = { 1 };

/* The mapping of @address is locked, as /proc says. */
static bool is_locked(const void *address)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long begin, end;
	bool here = false, locked = false;
	char line[512];

	DIE_UNLESS(f, "/proc/self/smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = (unsigned long)address >= begin && (unsigned long)address < end;
		if (here && !strncmp(line, "VmFlags:", 8))
			locked = strstr(line, " lo");
	}
	fclose(f);
	return locked;
}

static void *nothing(void *arg)
{
	return arg;
}

/* All that can be locked is, and no more than the program has. */
static void locks(const char *who)
{
	char *page, *later;
	pthread_t thread;
	pthread_attr_t attr;
	unsigned long before;
	int local;

	page = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQUAL(proc_status_field("VmLck", 10), 0, who);
	CHECK(!mlockall(MCL_CURRENT), "%s: mlockall(MCL_CURRENT): %s", who, strerror(errno));
	CHECK(is_locked(data) && is_locked(page) && is_locked(&local), "%s: MCL_CURRENT", who);
	before = proc_status_field("VmLck", 10);
	CHECK(before >= 256 + 64 && before < 8192, "%s: %lu KiB are locked", who, before);
	later = mmap(NULL, 128 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQUAL(proc_status_field("VmLck", 10), before, "what is mapped after MCL_CURRENT");
	CHECK_EQUAL(munlockall(), 0, "munlockall");
	CHECK_EQUAL(proc_status_field("VmLck", 10), 0, "locked after munlockall");
	munmap(later, 128 * KIB);

	CHECK(!mlockall(MCL_FUTURE), "%s: mlockall(MCL_FUTURE): %s", who, strerror(errno));
	CHECK_EQUAL(proc_status_field("VmLck", 10), 0, "what was there before MCL_FUTURE");
	later = mmap(NULL, 128 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(later != MAP_FAILED && is_locked(later), "%s: mapped after MCL_FUTURE", who);
	CHECK_EQUAL(proc_status_field("VmLck", 10), 128, "mapped after MCL_FUTURE");
	CHECK(!mlockall(MCL_CURRENT), "%s: the same again, MCL_CURRENT: %s", who, strerror(errno));
	page = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!is_locked(page), "%s: MCL_CURRENT takes MCL_FUTURE back", who);
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(proc_status_field("VmLck", 10), 0, "locked in a child");
		page = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(!is_locked(page), "mapped in a child");
		CHECK(!mlockall(MCL_CURRENT | MCL_FUTURE), "mlockall() in a child");
		page = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(page != MAP_FAILED && is_locked(page), "mapped in a child after MCL_FUTURE")
	), EXITED(0), "a child");
	munlockall();

	CHECK(!mlockall(MCL_CURRENT | MCL_FUTURE | ONFAULT), "%s: mlockall() on fault: %s", who, strerror(errno));
	CHECK(is_locked(data), "%s: on fault", who);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KIB);
	CHECK_EQUAL(pthread_create(&thread, &attr, nothing, NULL), 0, "a thread");
	pthread_join(thread, NULL);
	CHECK_WORLD("a program with all its memory locked");
	CHECK_EQUAL(munlockall(), 0, "munlockall");
	page = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!is_locked(page), "mapped after munlockall");

	CHECK_ERRNO(mlockall(0), EINVAL, "mlockall() without flags");
	CHECK_ERRNO(mlockall(8), EINVAL, "an unknown flag");
	CHECK_ERRNO(mlockall(MCL_CURRENT | 8), EINVAL, "MCL_CURRENT and an unknown flag");
	CHECK_ERRNO(mlockall(ONFAULT), EINVAL, "MCL_ONFAULT alone");
}

static void as_user(unsigned long limit)
{
	const struct rlimit memory = { limit, limit };

	CHECK_EQUAL(setrlimit(RLIMIT_MEMLOCK, &memory), 0, "setrlimit");
	CHECK_EQUAL(setresuid(65534, 65534, 65534), 0, "setresuid");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	data[0] = 2;
	locks("root");
	CHECK_EQUAL(IN_CHILD(as_user(8 * MIB), locks("a user")), EXITED(0), "a user with 8 MiB");
	CHECK_EQUAL(IN_CHILD(
		as_user(64 * KIB);
		CHECK_ERRNO(mlockall(MCL_CURRENT), ENOMEM, "more than the limit");
		CHECK_ERRNO(mlockall(MCL_CURRENT | MCL_FUTURE), ENOMEM, "more than the limit, MCL_FUTURE");
		CHECK_EQUAL(proc_status_field("VmLck", 10), 0, "locked then");
	), EXITED(0), "a user with 64 KiB");
	CHECK_EQUAL(IN_CHILD(
		as_user(0);
		CHECK_ERRNO(mlockall(MCL_CURRENT), EPERM, "nothing may be locked");
		CHECK_ERRNO(mlockall(MCL_FUTURE), EPERM, "nothing may be locked, MCL_FUTURE")
	), EXITED(0), "a user who may lock nothing");
	return check_result();
}
