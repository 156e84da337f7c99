// SPDX-License-Identifier: MIT
/*
 * A forked child can do nothing with the file that it inherited but ask what Dune is and
 * make one of its own; the parent's guest does not notice.
 */
#include <fcntl.h>
#include <sys/mman.h>
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
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, 0), -EIO, "DUNE_YIELD in a child");
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

static void wait_for(pid_t pid, const char *who)
{
	int status = -1;

	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "%s: status %#x", who, status);
}

/* The parent ends, with its vCPU and its memory; the grandchild still holds the file. */
static void check_orphan(void)
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
	check_orphan();
	run_increment(&vcpu, "the guest at the end");
	return check_result();
}
