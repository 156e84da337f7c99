// SPDX-License-Identifier: MIT
/*
 * A forked child can do nothing with the file that it inherited but ask what Dune is and
 * make one of its own; the parent's guest does not notice.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"
#include "raw.h"

static struct raw_vm vm;
static struct raw_vcpu vcpu;

/* mov (%rsi), %rax; incq (%rdi) */
static const char increment[] = "\x48\x8b\x06\x48\xff\x07";

static void run_increment(struct raw_vcpu *v, const char *who)
{
	uint64_t before = *(volatile uint64_t *)v->data;
	struct raw_outcome outcome;
	char text[80];

	raw_load(v, increment, sizeof(increment) - 1, 0);
	raw_outcome(v, &outcome);
	CHECK(outcome.kind == RAW_CALL, "%s: %s", who, raw_name(&outcome, text));
	CHECK_EQUAL(*(volatile uint64_t *)v->data, before + 1, who);
}

static bool is_mapped(const void *page)
{
	return !msync((void *)((uintptr_t)page & ~(RAW_PAGE - 1)), RAW_PAGE, MS_ASYNC);
}

static void check_refused(void)
{
	struct dune_vcpu_config config = { .cr3 = vm.block_gpa, .tss_limit = 0x67 };
	struct dune_granule granule = { .va = (uintptr_t)vm.block };
	struct dune_info info;

	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_RUN, vcpu.index), -EIO, "DUNE_RUN in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_RUN, 99), -EIO, "DUNE_RUN of no vCPU in a child");
	CHECK_ERRNO(lseek(vm.fd, DUNE_SEEK_VCPU(vcpu.index), DUNE_SEEK_RUN), EIO, "lseek in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_CREATE_VCPU, (uintptr_t)&config), -EIO, "DUNE_CREATE_VCPU in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, vcpu.index), -EIO, "DUNE_DESTROY_VCPU in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_GET_GRANULE, (uintptr_t)&granule), -EIO, "DUNE_GET_GRANULE in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_GET_GRANULE, 0), -EIO, "DUNE_GET_GRANULE of nothing in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, 0), 0, "DUNE_YIELD in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, 1UL << DUNE_YIELD_FOR_SHIFT), -EIO,
		    "DUNE_YIELD for the parent's in a child");
	CHECK_EQUAL(raw_ioctl(vm.fd, _IO(DUNE_IOC, 99), 0), -EIO, "an unknown ioctl in a child");
	CHECK_ERRNO(mmap(NULL, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vm.fd, DUNE_MMAP_RUN(0)), EIO,
		    "mmap of a run page in a child");
	CHECK_ERRNO(mmap(NULL, RAW_PAGE, PROT_READ, MAP_SHARED, vm.fd, DUNE_MMAP_GRANULES), EIO,
		    "mmap of the granules in a child");
	CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_INFO, &info), 0, "DUNE_GET_INFO in a child");
}

/* A file of the child's own has the parent's granules, so that the parent's page table, copied, is true. */
static void check_attached(void)
{
	struct raw_vm own = vm;
	struct raw_vcpu v;
	struct dune_granule granule = { .va = (uintptr_t)vm.block };

	own.fd = ioctl(vm.fd, DUNE_ATTACH, O_CLOEXEC);
	CHECK(own.fd >= 0, "DUNE_ATTACH in a child: %s", strerrorname_np(errno));
	if (own.fd < 0)
		return;
	CHECK_EQUAL(fcntl(own.fd, F_GETFD), FD_CLOEXEC, "flags of the descriptor");
	CHECK_ERRNO(ioctl(vm.fd, DUNE_ATTACH, 0), EBUSY, "a second DUNE_ATTACH");
	check_refused();
	CHECK_EQUAL(ioctl(own.fd, DUNE_GET_GRANULE, &granule), 0, "DUNE_GET_GRANULE");
	CHECK_EQUAL(granule.gpa, vm.block_gpa & ~(DUNE_GRANULE_SIZE - 1), "a granule of the parent's");
	raw_vcpu(&own, &v, 0);
	CHECK_EQUAL(v.index, 0, "index of the child's first vCPU");
	*(volatile uint64_t *)v.data = 5;
	for (int i = 0; i < 100; i++)
		run_increment(&v, "the child's guest");
	CHECK_EQUAL(*(volatile uint64_t *)v.data, 105, "the child's memory");
	close(own.fd);
}

/*
 * The same in place of the inherited file, at its number, which no limit has to allow.  @is_last: nobody else has that
 * file open.
 */
static void check_replaced(bool close_on_exec, bool is_last)
{
	const struct rlimit none = { 0, 1024 }, many = { 1024, 1024 };
	const int flags = close_on_exec ? FD_CLOEXEC : 0;
	const int other = open("/dev/null", O_RDONLY), copy = is_last ? -1 : dup(vm.fd), closed = dup(other);
	const int wrong[] = { other, closed, 0, 1023, 0x7fffffff };
	struct dune_granule granule = { .va = (uintptr_t)vm.block };
	struct raw_vcpu v;

	close(closed);
	CHECK_EQUAL(fcntl(vm.fd, F_SETFD, flags), 0, "F_SETFD");
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_ERRNO(ioctl(vm.fd, DUNE_ATTACH, DUNE_ATTACH_REPLACE | wrong[i]), EBADF, "in place of others");
	CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0, "setrlimit");
	CHECK_EQUAL(ioctl(vm.fd, DUNE_ATTACH, DUNE_ATTACH_REPLACE | vm.fd), vm.fd, "DUNE_ATTACH in place");
	CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &many), 0, "setrlimit");
	CHECK_EQUAL(fcntl(vm.fd, F_GETFD), flags, "flags of the descriptor");
	CHECK_ERRNO(ioctl(vm.fd, DUNE_ATTACH, DUNE_ATTACH_REPLACE | vm.fd), EBUSY, "a second one in place");
	CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_GRANULE, &granule), 0, "DUNE_GET_GRANULE");
	CHECK_EQUAL(granule.gpa, vm.block_gpa & ~(DUNE_GRANULE_SIZE - 1), "a granule of the parent's");
	CHECK_ERRNO(ioctl(copy, DUNE_GET_GRANULE, &granule), is_last ? EBADF : EIO,
		    "another descriptor of the parent's file");
	raw_vcpu(&vm, &v, 0);
	*(volatile uint64_t *)v.data = 5;
	for (int i = 0; i < 100; i++)
		run_increment(&v, "the child's guest");
	CHECK_EQUAL(*(volatile uint64_t *)v.data, 105, "the child's memory");
}

static void wait_for(pid_t pid, const char *who)
{
	int status = -1;

	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "%s: status %#x", who, status);
}

/* The parent ends, with its vCPU and its memory; the grandchild still holds the file. */
static void check_orphan(bool in_place)
{
	int done[2], out[2];
	char byte = 1;
	pid_t pid;

	DIE_UNLESS(!pipe(done) && !pipe(out), "pipe");
	pid = fork();
	if (!pid) {
		struct raw_vm middle;
		struct raw_vcpu v;

		close(vm.fd);
		raw_open(&middle);
		raw_vcpu(&middle, &v, 0);
		run_increment(&v, "the middle one's guest");
		if (!fork()) {
			struct dune_info info;

			close(done[1]);
			(void)!read(done[0], &byte, 1);	/* until the middle one is gone */
			vm = middle;
			vcpu = v;
			CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_INFO, &info), 0, "DUNE_GET_INFO of a dead parent's file");
			check_refused();
			if (in_place)
				check_replaced(true, true);
			else
				check_attached();
			byte = check_failures != 0;
			(void)!write(out[1], &byte, 1);
			_exit(0);
		}
		_exit(check_failures != 0);
	}
	close(done[1]);
	wait_for(pid, "the middle one");
	close(out[1]);
	CHECK(read(out[0], &byte, 1) == 1 && !byte, "the grandchild failed");
	close(done[0]);
	close(out[0]);
}

/* ---- a parent that loses granules between the fork and DUNE_ATTACH ---- */

#define FIRST	0x100000000000UL

static int granule_of(int fd, uint64_t va, uint64_t *gpa)
{
	struct dune_granule granule = { .va = va };
	int ret = raw_ioctl(fd, DUNE_GET_GRANULE, (uintptr_t)&granule);

	*gpa = granule.gpa;
	return ret;
}

static void map_granule(uint64_t va)
{
	void *want = (void *)va;

	DIE_UNLESS(mmap(want, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			0) == want,
		   "mmap");
}

/* Its page table may have @va at @old, where its parent has something else now. */
static void check_attached_late(uint64_t va, uint64_t old, uint64_t kept, uint64_t kept_gpa, bool told)
{
	uint64_t gpa;
	const uint32_t *owner;
	int fd = ioctl(vm.fd, DUNE_ATTACH, O_CLOEXEC | (uint64_t)told << DUNE_ATTACH_ROUND_SHIFT);

	DIE_UNLESS(fd >= 0, "DUNE_ATTACH");
	owner = mmap(NULL, RAW_PAGE, PROT_READ, MAP_SHARED, fd, DUNE_MMAP_GRANULES);
	DIE_UNLESS(owner != MAP_FAILED, "mmap of the granules");
	CHECK_EQUAL(granule_of(fd, kept, &gpa), 0, "a granule that stayed");
	CHECK_EQUAL(gpa, kept_gpa, "where it is");
	if (told) {
		CHECK_EQUAL(owner[old >> DUNE_GRANULE_SHIFT], (va >> DUNE_GRANULE_SHIFT) + 1, "whose the place is");
		CHECK_EQUAL(granule_of(fd, va, &gpa), 0, "a granule from before the fork");
		CHECK_EQUAL(gpa, old, "where it is");
	} else {
		CHECK_EQUAL(owner[old >> DUNE_GRANULE_SHIFT], 0,
			    "whose the place is that the parent has given to another");
		CHECK_EQUAL(granule_of(fd, va, &gpa), -EAGAIN, "a granule that the parent has lost since the fork");
		CHECK_EQUAL(granule_of(fd, va, &gpa), 0, "it, when the page table has forgotten it");
		CHECK_EQUAL(owner[gpa >> DUNE_GRANULE_SHIFT], (va >> DUNE_GRANULE_SHIFT) + 1, "whose the new place is");
	}
	close(fd);
}

static pid_t fork_late(int go[2], uint64_t va, uint64_t old, uint64_t kept, uint64_t kept_gpa, bool told)
{
	pid_t pid;
	char byte;

	DIE_UNLESS(!pipe(go), "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		check_failures = 0;
		close(go[1]);
		(void)!read(go[0], &byte, 1);
		check_attached_late(va, old, kept, kept_gpa, told);
		fflush(stdout);
		_exit(check_failures != 0);
	}
	close(go[0]);
	return pid;
}

static void check_rounds(void)
{
	uint64_t kept = FIRST, lost = FIRST + DUNE_GRANULE_SIZE, next = lost, kept_gpa, old, gpa;
	int before[2], after[2], ret;
	pid_t early, late;

	map_granule(kept);
	map_granule(lost);
	DIE_UNLESS(!granule_of(vm.fd, kept, &kept_gpa) && !granule_of(vm.fd, lost, &old), "granules");
	early = fork_late(before, lost, old, kept, kept_gpa, false);
	munmap((void *)lost, RAW_PAGE);
	do {
		next += DUNE_GRANULE_SIZE;
		map_granule(next);
		ret = granule_of(vm.fd, next, &gpa);
	} while (!ret);
	CHECK_EQUAL(ret, -EAGAIN, "when all granules are in use");
	CHECK_EQUAL(granule_of(vm.fd, next, &gpa), 0, "when one was taken back");
	CHECK_EQUAL(gpa, old, "the place that was taken back");
	late = fork_late(after, next, gpa, kept, kept_gpa, true);
	close(before[1]);
	close(after[1]);
	wait_for(early, "a child from before its parent lost a granule");
	wait_for(late, "a child from afterwards");
	for (uint64_t va = lost + DUNE_GRANULE_SIZE; va <= next; va += DUNE_GRANULE_SIZE)
		munmap((void *)va, RAW_PAGE);
	munmap((void *)kept, RAW_PAGE);
}

int main(void)
{
	int go[2];
	pid_t pid;
	char byte;

	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	run_increment(&vcpu, "the guest");

	pid = fork();
	if (!pid) {
		CHECK(!is_mapped(vcpu.run), "the run page is in the child");
		check_refused();
		check_attached();
		check_refused();
		fflush(stdout);
		_exit(check_failures != 0);
	}
	/* At the same time. */
	for (int i = 0; i < 1000; i++)
		run_increment(&vcpu, "the guest beside its child");
	wait_for(pid, "the child");

	for (int close_on_exec = 0; close_on_exec <= 1; close_on_exec++) {
		pid = fork();
		if (!pid) {
			check_replaced(close_on_exec, false);
			fflush(stdout);
			_exit(check_failures != 0);
		}
		wait_for(pid, "the child with a file in place of its parent's");
	}

	/* It closes all of them, again and again. */
	DIE_UNLESS(!pipe(go), "pipe");
	for (int i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			close(vm.fd);
			_exit(0);
		}
		run_increment(&vcpu, "the guest while a child closes the file");
		wait_for(pid, "a child that closes");
		run_increment(&vcpu, "the guest after a child has closed the file");
	}
	CHECK_EQUAL(*(volatile uint64_t *)vcpu.data, 1041, "the guest's memory");

	/* A child that is still there when the guest runs its last. */
	pid = fork();
	if (!pid) {
		(void)!read(go[0], &byte, 1);
		check_refused();
		_exit(check_failures != 0);
	}
	run_increment(&vcpu, "the guest");
	(void)!write(go[1], "x", 1);
	wait_for(pid, "a child that waits");
	check_orphan(false);
	check_orphan(true);
	check_rounds();
	run_increment(&vcpu, "the guest at the end");
	return check_result();
}
