// SPDX-License-Identifier: MIT
/*
 * The numbers of vCPUs: out of range, in use by another thread, given back, kept for a child, left by another process
 * with the same memory, used up.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "raw.h"

static struct raw_vm vm;

static void check_range(unsigned long existing)
{
	unsigned long bad[] = {
		existing,
		existing + 1,
		63,
		64,
		4095,
		4096,
		4097,
		65535,
		65536,
		1UL << 20,
		(1UL << 20) - 1,
		1UL << 31,
		(1UL << 32) - 1,
		1UL << 32,
		(1UL << 32) + existing - 1,
		1UL << 51,
		1UL << 52,
		1UL << 63,
		~0UL,
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned long index = bad[i];
		void *page;

		if (index < existing)
			continue;
		CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_RUN, index), -EINVAL, "DUNE_RUN of no vCPU");
		if ((long)index >= 0)
			CHECK_ERRNO(lseek(vm.fd, DUNE_SEEK_VCPU(index), DUNE_SEEK_RUN), EINVAL, "lseek of no vCPU");
		CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, index), -EINVAL, "DUNE_DESTROY_VCPU of no vCPU");
		if (index >= DUNE_MMAP_GRANULES >> 12)
			continue;
		page = mmap(NULL, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vm.fd, DUNE_MMAP_RUN(index));
		CHECK(page == MAP_FAILED && errno == EINVAL, "mmap of vCPU %#lx: %s", index, strerrorname_np(errno));
	}
}

/* ---- one vCPU, two threads ---- */

static struct raw_vcpu shared;
static atomic_bool stop;
static atomic_long busy, other;

/*
 * Where the first thread is back in user mode for a moment, because the kernel had work for it, the
 * second may get in: that is a result too, but there is no third one.
 */
static void *run_too(void *unused)
{
	while (!shared.data[1])
		usleep(100);
	while (!stop) {
		long results[] = {
			raw_ioctl(vm.fd, DUNE_RUN, shared.index),
			lseek(vm.fd, DUNE_SEEK_VCPU(shared.index), DUNE_SEEK_RUN) < 0 ? -errno : 0,
			raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, shared.index),
		};

		for (unsigned int i = 0; i < 3; i++) {
			if (results[i] == -EBUSY)
				busy++;
			else if (results[i] < 0)
				other++;
		}
		stop = busy >= 1000 || other;
	}
	shared.data[0] = 1;
	return unused;
}

static void check_busy(void)
{
	/* movb $1, 1(%rdi); 1: cmpb $0, (%rdi); je 1b */
	static const char code[] = "\xc6\x47\x01\x01\x80\x3f\x00\x74\xfb";
	struct raw_outcome outcome;
	pthread_t thread;
	char text[80];

	raw_load(&shared, code, sizeof(code) - 1, 0);
	pthread_create(&thread, NULL, run_too, NULL);
	do
		raw_outcome(&shared, &outcome);
	while (outcome.kind == RAW_ERROR && outcome.result == -EBUSY);
	pthread_join(thread, NULL);
	CHECK(outcome.kind == RAW_CALL, "the guest: %s", raw_name(&outcome, text));
	CHECK(busy >= 1000, "the other thread got -EBUSY %ld times", busy);
	CHECK_EQUAL(other, 0, "errors other than -EBUSY");
}

/* ---- numbers that come back ---- */

static void *create_one(void *index)
{
	struct raw_vcpu vcpu;

	raw_vcpu(&vm, &vcpu, 0);
	*(unsigned long *)index = vcpu.index;
	munmap(vcpu.run, RAW_PAGE);
	return NULL;
}

static unsigned long index_in_thread(void)
{
	unsigned long index;
	pthread_t thread;

	pthread_create(&thread, NULL, create_one, &index);
	pthread_join(thread, NULL);
	return index;
}

static void check_reuse(void)
{
	unsigned long first = index_in_thread();

	/* The thread is gone, so its vCPU serves the next; some are joined before the kernel is done with them. */
	for (unsigned int i = 0; i < 200; i++) {
		unsigned long next = index_in_thread();

		CHECK(next <= first + 16, "thread %u has vCPU %lu, the first had %lu", i, next, first);
	}
}

/* A vCPU that serves another has nothing of the first in its page. */
static void check_clean(void)
{
	struct raw_vcpu vcpu, next;
	unsigned long index;
	bool clean = true;

	raw_vcpu(&vm, &vcpu, 0);
	memset(vcpu.run, 0x55, RAW_PAGE);
	index = vcpu.index;
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, index), 0, "DUNE_DESTROY_VCPU");
	for (unsigned int i = 0; i < 32; i++) {
		raw_vcpu(&vm, &next, 0);
		if (next.index == index)
			break;
	}
	CHECK_EQUAL(next.index, index, "index of a vCPU given back");
	/* What raw_vcpu() writes is the descriptor table. */
	for (size_t i = 0; i < sizeof(struct dune_run); i++)
		if (i < offsetof(struct dune_run, gdt) && ((char *)next.run)[i])
			clean = false;
	CHECK(clean, "the page of a new vCPU is not empty");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, index), 0, "DUNE_DESTROY_VCPU");
}

/* ---- a vCPU for a thread that does not exist yet ---- */

struct work {
	void (*run)(struct raw_vcpu *vcpu);
	struct raw_vcpu *vcpu;
	pid_t thread;
};

static void *do_work(void *work)
{
	struct work *w = work;

	w->thread = gettid();
	w->run(w->vcpu);
	return NULL;
}

/* Until the kernel has forgotten the thread. */
static void in_thread(void (*run)(struct raw_vcpu *vcpu), struct raw_vcpu *vcpu)
{
	struct work work = { run, vcpu };
	pthread_t thread;
	char path[64];

	pthread_create(&thread, NULL, do_work, &work);
	pthread_join(thread, NULL);
	snprintf(path, sizeof(path), "/proc/self/task/%d", work.thread);
	while (!access(path, F_OK))
		sched_yield();
}

static void create_for_child(struct raw_vcpu *vcpu)
{
	raw_vcpu(&vm, vcpu, DUNE_VCPU_FOR_CHILD);
}

static void create_own(struct raw_vcpu *vcpu)
{
	raw_vcpu(&vm, vcpu, 0);
}

static void run(struct raw_vcpu *vcpu)
{
	struct raw_outcome outcome;
	char text[80];

	raw_load(vcpu, "\x90", 1, 0);
	raw_outcome(vcpu, &outcome);
	CHECK(outcome.kind == RAW_CALL, "a vCPU for a child: %s", raw_name(&outcome, text));
}

#define MANY	20

/* Does one of the next vCPUs have the number @index? */
static bool comes_back(unsigned long index)
{
	struct raw_vcpu v[MANY];
	bool found = false;

	for (unsigned int i = 0; i < MANY; i++)
		create_own(&v[i]);
	for (unsigned int i = 0; i < MANY; i++) {
		found |= v[i].index == index;
		CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, v[i].index), 0, "DUNE_DESTROY_VCPU");
		munmap(v[i].run, RAW_PAGE);
	}
	return found;
}

/* It is the child's, when whoever made it is gone, and after the child has begun; then it ends with the child. */
static void check_for_child(void)
{
	struct raw_vcpu v;

	in_thread(create_for_child, &v);
	CHECK(!comes_back(v.index), "a vCPU for a child is another's");
	in_thread(run, &v);
	CHECK(comes_back(v.index), "a vCPU stays when the child that ran it has ended");
	create_for_child(&v);
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, v.index), 0, "DUNE_DESTROY_VCPU");
	CHECK(comes_back(v.index), "a vCPU stays that was for a child, and destroyed");
	/* Made by who runs it: as any other. */
	create_for_child(&v);
	run(&v);
	CHECK(!comes_back(v.index), "a vCPU of a thread that lives is another's");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, v.index), 0, "DUNE_DESTROY_VCPU");
}

static long yield_for(unsigned long index)
{
	return raw_ioctl(vm.fd, DUNE_YIELD, (index + 1) << DUNE_YIELD_FOR_SHIFT);
}

/* Another process with this memory, which ends before it runs its vCPU; the module is told its number. */
static int ends_at_once(void *arg)
{
	(void)arg;
	syscall(SYS_exit, 0);
	return 0;
}

static void check_process(void)
{
	static char stack[16384] __attribute__((aligned(16)));
	struct raw_vcpu v;
	pid_t pid, number;

	create_for_child(&v);
	CHECK_EQUAL(v.run->child, 0, "dune_run.child of a new vCPU");
	CHECK_EQUAL(yield_for(v.index), 0, "DUNE_YIELD for a thread that is still to be made");
	pid = clone(ends_at_once, stack + sizeof(stack), CLONE_VM | CLONE_PARENT_SETTID | SIGCHLD, NULL, &v.run->child);
	CHECK(pid > 0, "clone: %s", strerror(errno));
	number = v.run->child;
	CHECK_EQUAL(number, pid, "dune_run.child");
	CHECK_EQUAL(waitpid(pid, NULL, 0), pid, "waitpid");
	CHECK_EQUAL(yield_for(v.index), -ESRCH, "DUNE_YIELD for a process that has ended");
	CHECK(comes_back(v.index), "a vCPU stays that was for a process that has ended");

	create_for_child(&v);
	v.run->child = getpid();
	CHECK_EQUAL(yield_for(v.index), 0, "DUNE_YIELD for one that lives");
	CHECK(!comes_back(v.index), "a vCPU for one that lives is another's");
	v.run->child = DUNE_CHILD_UNKNOWN;
	CHECK_EQUAL(yield_for(v.index), 0, "DUNE_YIELD for an unknown one");
	CHECK(!comes_back(v.index), "a vCPU for an unknown one is another's");
	v.run->child = 1U << 31;
	CHECK_EQUAL(yield_for(v.index), 0, "DUNE_YIELD for what is no number");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, v.index), 0, "DUNE_DESTROY_VCPU");
	CHECK_EQUAL(yield_for(v.index), -ESRCH, "DUNE_YIELD for nobody");
}

/* Whose thread has called exec(), or is dead and not waited for. */
static bool executes;

static int creates_and_leaves(void *arg)
{
	raw_vcpu(&vm, arg, 0);
	if (executes)
		execl("/proc/self/exe", "vcpu", "executed", NULL);
	syscall(SYS_exit, 0);
	return 0;
}

static void check_left(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	for (int i = 0; i < 2; i++) {
		struct raw_vcpu v;
		int ends[2], status;
		siginfo_t info;
		pid_t pid;
		char byte;

		executes = i;
		DIE_UNLESS(!pipe2(ends, O_CLOEXEC), "pipe");
		pid = clone(creates_and_leaves, stack + sizeof(stack), CLONE_VM | SIGCHLD, &v);
		CHECK(pid > 0, "clone: %s", strerror(errno));
		close(ends[1]);
		/* The other process has it until its exec(). */
		CHECK_EQUAL(read(ends[0], &byte, 1), 0, "read");
		if (!executes)
			CHECK(!waitid(P_PID, pid, &info, WEXITED | WNOWAIT), "waitid");
		CHECK_EQUAL(yield_for(v.index), -ESRCH, executes ? "DUNE_YIELD for who has called exec()" :
			    "DUNE_YIELD for a dead one");
		CHECK(comes_back(v.index), "the vCPU stays of one who has left: exec() %d", executes);
		kill(pid, SIGKILL);
		CHECK_EQUAL(waitpid(pid, &status, 0), pid, "waitpid");
		close(ends[0]);
	}
}

/* All of them; then the limit; then the process goes on with those it has. */
static void check_limit(void)
{
	struct dune_vcpu_config config;
	struct raw_outcome outcome;
	unsigned int created = 0;
	struct raw_vcpu vcpu;
	long result;
	char text[80];

	do {
		config = raw_config(&vm, &vcpu, 0);
		config.gdt_base = (uintptr_t)vcpu.idt;
		result = raw_ioctl(vm.fd, DUNE_CREATE_VCPU, (uintptr_t)&config);
		created += !result;
	} while (!result && created <= vm.info.max_vcpus);
	CHECK_EQUAL(result, -ENOSPC, "one vCPU too many");
	CHECK(created <= vm.info.max_vcpus && created >= vm.info.max_vcpus - 16, "%u vCPUs of %u", created,
	      vm.info.max_vcpus);
	check_range(vm.info.max_vcpus);
	raw_load(&shared, "\x90", 1, 0);
	raw_outcome(&shared, &outcome);
	CHECK(outcome.kind == RAW_CALL, "a vCPU of many: %s", raw_name(&outcome, text));
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return pause();
	raw_open(&vm);
	check_range(0);
	raw_vcpu(&vm, &shared, 0);
	CHECK_EQUAL(shared.index, 0, "index of the first vCPU");
	check_range(1);
	check_busy();
	check_reuse();
	check_clean();
	check_for_child();
	check_process();
	check_left();
	check_limit();
	return check_result();
}
