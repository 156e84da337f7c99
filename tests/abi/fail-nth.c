// SPDX-License-Identifier: MIT
/*
 * Each allocation of the kernel's, and each copy from and to user memory, in each call of /dev/dune, in DUNE_RUN and
 * in the faults of a guest fails once: the first one of a call, the second one, until the call has no more. The call
 * then fails with a plain errno, or does without; the same call made again does all that it should. What is lost on
 * the way is found when the machine ends (scripts/testbed.d/leaks.c).
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"
#include "fail-nth.h"
#include "raw.h"

#define POINTS_MAX	400	/* more than any call has */

/* ---- what is done ---- */

/* call() gives 0 or more, or -errno; check() looks at all that a call that went well has done. */
struct subject {
	const char *name;
	unsigned int points;	/* at least */
	void (*prepare)(void);
	long (*call)(void);
	void (*check)(const char *name);
	void (*undo)(void);
};

static void good_call(const struct subject *s)
{
	long result = s->call();

	CHECK(result >= 0, "%s: %s", s->name, strerrorname_np(-result));
	if (result >= 0)
		s->check(s->name);
}

static void try_all(const struct subject *s)
{
	unsigned int failed = 0, nth;
	bool met = true;
	long result;

	/* Once without: what the program itself touches is there then. */
	s->prepare();
	good_call(s);
	s->undo();
	for (nth = 1; met && nth < POINTS_MAX; nth++) {
		s->prepare();
		arm(nth);
		result = s->call();
		met = disarm();
		CHECK(result >= 0 || met, "%s: %s, and nothing was made to fail", s->name, strerrorname_np(-result));
		CHECK(result >= 0 || result == -ENOMEM || result == -EFAULT, "%s: %s at point %u", s->name,
		      strerrorname_np(-result), nth);
		if (result < 0) {
			failed++;
			good_call(s);
		} else {
			s->check(s->name);
		}
		s->undo();
	}
	nth -= 2;
	CHECK(!met, "%s: no end", s->name);
	CHECK(nth >= s->points, "%s: %u points", s->name, nth);
	printf("%s: %u points, of which %u were met with an error\n", s->name, nth, failed);
	fflush(stdout);
}

static void nothing(void)
{
}

/* ---- opening ---- */

static int fd = -1;

static long call_open(void)
{
	fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
	return fd >= 0 ? 0 : -errno;
}

static void check_file(const char *name)
{
	struct dune_info info = { 0 };

	CHECK_EQUAL(ioctl(fd, DUNE_GET_INFO, &info), 0, name);
	CHECK_EQUAL(info.version, DUNE_ABI_VERSION, name);
}

static void close_file(void)
{
	close(fd);
	fd = -1;
}

/* ---- calls on a file ---- */

static struct raw_vm vm;
static struct raw_vcpu vcpu;
static struct raw_outcome outcome;

static void open_vm(void)
{
	raw_open(&vm);
}

static struct dune_info info;

static void clear_info(void)
{
	memset(&info, 0, sizeof(info));
}

static long call_info(void)
{
	return raw_ioctl(vm.fd, DUNE_GET_INFO, (uintptr_t)&info);
}

static void check_info(const char *name)
{
	CHECK_EQUAL(info.version, DUNE_ABI_VERSION, name);
}

/* A vCPU with its page: the first of a file, or one that was another thread's. */
static struct dune_vcpu_config config;
static void *run_page;

static void prepare_config(void)
{
	raw_open(&vm);
	config = raw_config(&vm, &vcpu, 0);
	run_page = mmap(NULL, RAW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	config.run = (uintptr_t)run_page;
	raw_map(&vm, run_page);
}

static pid_t thread_id;

static void *create_for_thread(void *result)
{
	struct dune_vcpu_config other = config;

	thread_id = gettid();
	*(long *)result = raw_ioctl(vm.fd, DUNE_CREATE_VCPU, (uintptr_t)&other);
	return NULL;
}

/* Joined is not yet gone: the vCPU is free when the kernel has forgotten the thread. */
static void prepare_used(void)
{
	pthread_t thread;
	char path[64];
	long result;

	prepare_config();
	DIE_UNLESS(!pthread_create(&thread, NULL, create_for_thread, &result), "pthread_create");
	pthread_join(thread, NULL);
	CHECK_EQUAL(result, 0, "DUNE_CREATE_VCPU of a thread");
	snprintf(path, sizeof(path), "/proc/self/task/%d", thread_id);
	while (!access(path, F_OK))
		sched_yield();
	munmap(run_page, RAW_PAGE);
	run_page = mmap(run_page, RAW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static long call_create(void)
{
	config.index = 0;
	return raw_ioctl(vm.fd, DUNE_CREATE_VCPU, (uintptr_t)&config);
}

static void check_created(const char *name)
{
	CHECK_EQUAL(config.index, 0, name);
	((struct dune_run *)run_page)->cr2 = 1;
	CHECK_EQUAL(((struct dune_run *)run_page)->cr2, 1, name);
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, 0), 0, name);
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, 1), -EINVAL, name);
}

static void forget_vcpu(void)
{
	munmap(run_page, RAW_PAGE);
	raw_close(&vm);
}

/* The same page by mmap(). */
static void prepare_vcpu(void)
{
	prepare_config();
	config.run = 0;
	CHECK_EQUAL(call_create(), 0, "DUNE_CREATE_VCPU");
}

static long call_map_run(void)
{
	void *page = mmap(run_page, RAW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, vm.fd, DUNE_MMAP_RUN(0));

	return page == MAP_FAILED ? -errno : 0;
}

static long call_destroy(void)
{
	return raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, 0);
}

static void check_destroyed(const char *name)
{
	long result = call_create();

	CHECK_EQUAL(result, 0, name);
	CHECK_EQUAL(config.index, 0, name);
}

static long call_yield(void)
{
	return raw_ioctl(vm.fd, DUNE_YIELD, 1);
}

static void check_nothing(const char *name)
{
	CHECK(true, "%s", name);
}

/* The array of granules: its pages come with a fault of the process. */
static const uint32_t *granules;
static sigjmp_buf no_page;

static void on_bus_error(int signal)
{
	siglongjmp(no_page, signal);
}

static long call_map_granules(void)
{
	granules = mmap(NULL, vm.info.nr_granules * sizeof(*granules), PROT_READ, MAP_SHARED, vm.fd,
			DUNE_MMAP_GRANULES);
	return granules == MAP_FAILED ? -errno : 0;
}

static void check_granules(const char *name)
{
	CHECK_EQUAL(granules[vm.block_gpa >> DUNE_GRANULE_SHIFT], ((uintptr_t)vm.block >> DUNE_GRANULE_SHIFT) + 1,
		    name);
}

static void unmap_granules(void)
{
	munmap((void *)granules, vm.info.nr_granules * sizeof(*granules));
	raw_close(&vm);
}

static void prepare_granules(void)
{
	raw_open(&vm);
	CHECK_EQUAL(call_map_granules(), 0, "mmap of the granules");
}

/* As memory that is short for a moment does not kill a process anywhere else, there must be no signal. */
static long call_touch_granules(void)
{
	if (sigsetjmp(no_page, 1)) {
		CHECK(false, "SIGBUS at the granules");
		return -EFAULT;
	}
	(void)*(volatile const uint32_t *)granules;
	return 0;
}

/* ---- memory of the guest ---- */

#define AREA		(4UL << 20)
#define AREAS		(64UL << 30)	/* where nothing else is: below what mmap() chooses */

static char *area;
static unsigned long next_area;
static uint64_t gpa;

/* Each in a granule of its own, for which Dune and the host have no tables yet. */
static void place_area(int protection, int flags, int file)
{
	area = mmap((void *)(AREAS + (next_area++ << DUNE_GRANULE_SHIFT)), AREA, protection,
		    flags | MAP_FIXED_NOREPLACE, file, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap of an area");
}

static void prepare_anonymous(void)
{
	place_area(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void drop_area(void)
{
	munmap(area, AREA);
}

static void prepare_granule(void)
{
	raw_open(&vm);
	prepare_anonymous();
}

static long call_granule(void)
{
	struct dune_granule granule = { .va = (uintptr_t)area + RAW_PAGE };
	long result = raw_ioctl(vm.fd, DUNE_GET_GRANULE, (uintptr_t)&granule);

	gpa = granule.gpa;
	return result;
}

static void check_granule(const char *name)
{
	uint64_t first = gpa;

	CHECK(gpa && gpa != (vm.block_gpa & ~(DUNE_GRANULE_SIZE - 1)), "%s: %#lx", name, (unsigned long)gpa);
	CHECK_EQUAL(call_granule(), 0, name);
	CHECK_EQUAL(gpa, first, name);
}

static void drop_granule(void)
{
	drop_area();
	raw_close(&vm);
}

/* ---- the guest ---- */

static int memory_file;

static void prepare_guest(void)
{
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
}

static void load_access(const char *code, size_t length)
{
	raw_map(&vm, area);
	raw_load(&vcpu, code, length, 0);
	vcpu.run->regs.rdi = (uintptr_t)area;
	vcpu.run->regs.rax = 0x55;
}

/* mov (%rdi), %rax */
static const char read_code[] = "\x48\x8b\x07";
/* mov %rax, (%rdi) */
static const char write_code[] = "\x48\x89\x07";
/* call *%rdi */
static const char call_code[] = "\xff\xd7";
#define LOAD(code)	load_access(code, sizeof(code) - 1)

static void prepare_run(void)
{
	prepare_guest();
	raw_load(&vcpu, "\x90", 1, 0);
	raw_run(&vcpu);
	raw_load(&vcpu, "\x90", 1, 0);
}

static void prepare_read(void)
{
	prepare_guest();
	prepare_anonymous();
	LOAD(read_code);
}

static void prepare_write(void)
{
	prepare_guest();
	prepare_anonymous();
	LOAD(write_code);
}

static void prepare_huge_write(void)
{
	prepare_write();
	madvise(area, AREA, MADV_HUGEPAGE);
}

/* Copy on write: the zero page is mapped, in the guest too. */
static void prepare_copy(void)
{
	prepare_guest();
	prepare_anonymous();
	CHECK_EQUAL(*(volatile uint64_t *)area, 0, "a page that nobody wrote to");
	LOAD(read_code);
	raw_run(&vcpu);
	LOAD(write_code);
}

static void prepare_file_read(void)
{
	prepare_guest();
	place_area(PROT_READ, MAP_SHARED, memory_file);
	LOAD(read_code);
}

static void prepare_file_write(void)
{
	prepare_guest();
	place_area(PROT_READ | PROT_WRITE, MAP_SHARED, memory_file);
	LOAD(write_code);
}

static void prepare_private_write(void)
{
	prepare_guest();
	place_area(PROT_READ | PROT_WRITE, MAP_PRIVATE, memory_file);
	LOAD(write_code);
}

static void prepare_call(void)
{
	prepare_guest();
	prepare_anonymous();
	area[0] = 0xc3;	/* ret */
	LOAD(call_code);
}

/* A piece of a huge page: Dune's leaf was large, and becomes small. */
static void prepare_split(void)
{
	prepare_huge_write();
	raw_run(&vcpu);
	mprotect(area + RAW_PAGE, RAW_PAGE, PROT_READ);
	LOAD(write_code);
}

/*
 * A fault that the kernel could not resolve is one that user mode makes the kernel resolve; the guest's access is
 * made again.
 */
static long call_run(void)
{
	raw_outcome(&vcpu, &outcome);
	if (outcome.kind == RAW_FAULT)
		return -EFAULT;
	return outcome.kind == RAW_ERROR ? outcome.result : 0;
}

static void check_ran(const char *name)
{
	char text[80];

	CHECK(outcome.kind == RAW_CALL, "%s: %s", name, raw_name(&outcome, text));
}

static void check_written(const char *name)
{
	check_ran(name);
	CHECK_EQUAL(*(volatile uint64_t *)area, 0x55, name);
}

static void check_read(const char *name)
{
	check_ran(name);
	CHECK_EQUAL(vcpu.run->regs.rax, *(volatile uint64_t *)area, name);
}

static void drop_guest(void)
{
	munmap(vcpu.run, RAW_PAGE);
	raw_close(&vm);
}

static void drop_guest_and_area(void)
{
	drop_area();
	drop_guest();
}

static void drop_file_pages(void)
{
	drop_guest_and_area();
	DIE_UNLESS(!ftruncate(memory_file, 0) && !ftruncate(memory_file, AREA), "ftruncate");
}

/* The shorter way in. */
static long call_seek(void)
{
	off_t result;

	do	/* it goes on with its own */
		result = lseek(vm.fd, DUNE_SEEK_VCPU(vcpu.index), DUNE_SEEK_RUN);
	while (result == DUNE_EXIT_INTR);
	raw_decode(&vcpu, result < 0 ? -errno : result, &outcome);
	return result < 0 ? -errno : 0;
}

/* A granule by hypercall: RAX is the result. */
static void prepare_hypercall(void)
{
	prepare_guest();
	prepare_anonymous();
	raw_load(&vcpu, VMCALL "\x90", VMCALL_LENGTH + 1, 0);
	vcpu.run->regs.rdi = (uintptr_t)area;
	vcpu.run->regs.rax = DUNE_HC_GET_GRANULE;
}

static long call_hypercall(void)
{
	long result;

	raw_load(&vcpu, VMCALL "\x90", VMCALL_LENGTH + 1, 0);
	vcpu.run->regs.rdi = (uintptr_t)area;
	vcpu.run->regs.rax = DUNE_HC_GET_GRANULE;
	result = call_run();
	return result < 0 ? result : (long)vcpu.run->regs.rax;
}

static void check_hypercall(const char *name)
{
	gpa = vcpu.run->regs.rax;
	check_granule(name);
}

/* The other hypercalls: none needs memory, and none must fail for want of it. */
static void load_hypercall(uint64_t number)
{
	raw_load(&vcpu, VMCALL "\x90", VMCALL_LENGTH + 1, 0);
	vcpu.run->regs.rax = number;
	vcpu.run->regs.rdi = number == DUNE_HC_FAULT ? (uintptr_t)area : 0;
	vcpu.run->regs.rsi = DUNE_FAULT_READ;
}

static void prepare_flush(void)
{
	prepare_guest();
	load_hypercall(DUNE_HC_FLUSH_TLB);
}

static void prepare_yield(void)
{
	prepare_guest();
	load_hypercall(DUNE_HC_YIELD);
}

static void check_zero(const char *name)
{
	check_ran(name);
	CHECK_EQUAL(vcpu.run->regs.rax, 0, name);
}

static void prepare_fault(void)
{
	prepare_guest();
	prepare_anonymous();
	raw_load(&vcpu, "\x90", 1, 0);
	raw_run(&vcpu);
	load_hypercall(DUNE_HC_FAULT);
}

static long call_fault(void)
{
	raw_outcome(&vcpu, &outcome);
	return outcome.kind == RAW_ERROR ? outcome.result : 0;
}

static void check_fault(const char *name)
{
	char text[80];

	CHECK(outcome.kind == RAW_FAULT, "%s: %s", name, raw_name(&outcome, text));
	CHECK_EQUAL(vcpu.run->fault.hva, (uintptr_t)area, name);
}

/* The first entry of a vCPU: the CPU walks page tables of the guest's that the second-level table does not have. */
static void prepare_first_run(void)
{
	prepare_guest();
	raw_load(&vcpu, "\x90", 1, 0);
}

/* For a thread that is still to be made. */
static void prepare_for_child(void)
{
	prepare_config();
	config.flags = DUNE_VCPU_FOR_CHILD;
}

static void prepare_huge_read(void)
{
	prepare_guest();
	prepare_anonymous();
	madvise(area, AREA, MADV_HUGEPAGE);
	LOAD(read_code);
}

/* Huge pages of hugetlbfs; there is one. */
static void prepare_hugetlb(void)
{
	prepare_guest();
	area = mmap((void *)(AREAS + (next_area++ << DUNE_GRANULE_SHIFT)), AREA / 2, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_HUGETLB, -1, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap of a huge page");
	LOAD(write_code);
}

static void drop_hugetlb(void)
{
	munmap(area, AREA / 2);
	drop_guest();
}

/* Pages without a struct page of the kernel's own kind: those of the vDSO's data. */
static void prepare_special(void)
{
	unsigned long start = 0;
	char line[256];
	FILE *maps = fopen("/proc/self/maps", "re");

	DIE_UNLESS(maps, "/proc/self/maps");
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vvar]"))
			start = strtoul(line, NULL, 16);
	fclose(maps);
	DIE_UNLESS(start, "[vvar]");
	prepare_guest();
	area = (char *)start;
	LOAD(read_code);
}

/* What the process does to memory that the guest has: a call of the kernel's, which tells the module. */
static void prepare_change(void)
{
	prepare_write();
	raw_run(&vcpu);
	LOAD(read_code);
}

static long call_protect(void)
{
	return mprotect(area + RAW_PAGE, RAW_PAGE, PROT_READ) ? -errno : 0;
}

static long call_unmap(void)
{
	return munmap(area + RAW_PAGE, RAW_PAGE) ? -errno : 0;
}

static long call_move(void)
{
	void *to = area + (DUNE_GRANULE_SIZE / 2);

	return mremap(area + RAW_PAGE, RAW_PAGE, RAW_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ? 0 : -errno;
}

static void check_changed(const char *name)
{
	call_run();
	check_read(name);
	CHECK_EQUAL(*(volatile uint64_t *)area, 0x55, name);
}

static void drop_moved(void)
{
	munmap(area + DUNE_GRANULE_SIZE / 2, RAW_PAGE);
	drop_guest_and_area();
}

static const struct subject on_file[] = {
	{ "DUNE_GET_INFO", 1, clear_info, call_info, check_info, nothing },
	{ "DUNE_YIELD", 0, nothing, call_yield, check_nothing, nothing },
};

static const struct subject with_file[] = {
	{ "DUNE_CREATE_VCPU", 6, prepare_config, call_create, check_created, forget_vcpu },
	{ "DUNE_CREATE_VCPU for a child", 6, prepare_for_child, call_create, check_created, forget_vcpu },
	{ "DUNE_CREATE_VCPU of one that was used", 1, prepare_used, call_create, check_created, forget_vcpu },
	{ "mmap of the run page", 1, prepare_vcpu, call_map_run, check_created, forget_vcpu },
	{ "DUNE_DESTROY_VCPU", 0, prepare_vcpu, call_destroy, check_destroyed, forget_vcpu },
	{ "mmap of the granules", 1, open_vm, call_map_granules, check_granules, unmap_granules },
	{ "a fault at the granules", 1, prepare_granules, call_touch_granules, check_granules, unmap_granules },
	{ "DUNE_GET_GRANULE", 3, prepare_granule, call_granule, check_granule, drop_granule },
	{ "DUNE_HC_GET_GRANULE", 1, prepare_hypercall, call_hypercall, check_hypercall, drop_guest_and_area },
	{ "DUNE_HC_FLUSH_TLB", 0, prepare_flush, call_run, check_zero, drop_guest },
	{ "DUNE_HC_YIELD", 0, prepare_yield, call_run, check_zero, drop_guest },
	{ "DUNE_HC_FAULT", 0, prepare_fault, call_fault, check_fault, drop_guest_and_area },
	{ "the first DUNE_RUN", 1, prepare_first_run, call_run, check_ran, drop_guest },
	{ "DUNE_RUN", 0, prepare_run, call_run, check_ran, drop_guest },
	{ "DUNE_RUN by lseek", 0, prepare_run, call_seek, check_ran, drop_guest },
	{ "a read", 3, prepare_read, call_run, check_read, drop_guest_and_area },
	{ "a write", 4, prepare_write, call_run, check_written, drop_guest_and_area },
	{ "a write, huge", 4, prepare_huge_write, call_run, check_written, drop_guest_and_area },
	{ "a write to a piece of a huge page", 1, prepare_split, call_run, check_written, drop_guest_and_area },
	{ "a copy on write", 1, prepare_copy, call_run, check_written, drop_guest_and_area },
	{ "a read of a file", 3, prepare_file_read, call_run, check_read, drop_file_pages },
	{ "a write to a file", 3, prepare_file_write, call_run, check_written, drop_file_pages },
	{ "a write to a private copy of a file", 3, prepare_private_write, call_run, check_written, drop_file_pages },
	{ "a fetch", 3, prepare_call, call_run, check_ran, drop_guest_and_area },
	{ "a read, huge", 3, prepare_huge_read, call_run, check_read, drop_guest_and_area },
	{ "a write to a page of hugetlbfs", 3, prepare_hugetlb, call_run, check_written, drop_hugetlb },
	{ "a read of the vDSO's data", 3, prepare_special, call_run, check_ran, drop_guest },
	{ "mprotect of what the guest has", 1, prepare_change, call_protect, check_changed, drop_guest_and_area },
	{ "munmap of what the guest has", 1, prepare_change, call_unmap, check_changed, drop_guest_and_area },
	{ "mremap of what the guest has", 1, prepare_change, call_move, check_changed, drop_moved },
};

/* ---- a forked child ---- */

static long call_attach(void)
{
	fd = ioctl(vm.fd, DUNE_ATTACH, O_CLOEXEC);
	return fd >= 0 ? 0 : -errno;
}

/* In place of one that is the parent's. */
static void prepare_replace(void)
{
	fd = dup(vm.fd);
}

static long call_replace(void)
{
	return raw_ioctl(fd, DUNE_ATTACH, DUNE_ATTACH_REPLACE | fd);
}

static void check_replaced(const char *name)
{
	check_file(name);
	CHECK_EQUAL(call_replace(), -EBUSY, name);
}

static const struct subject attaching[] = {
	{ "DUNE_ATTACH", 5, nothing, call_attach, check_file, close_file },
	{ "DUNE_ATTACH in place", 5, prepare_replace, call_replace, check_replaced, close_file },
};

static void try_attach(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		close(nth_fd);
		inject_all();
		for (size_t i = 0; i < sizeof(attaching) / sizeof(attaching[0]); i++)
			try_all(&attaching[i]);
		fflush(stdout);
		_exit(!!check_failures);
	}
	DIE_UNLESS(waitpid(child, &status, 0) == child, "waitpid");
	CHECK_EQUAL(status, 0, "the child's checks");
}

int main(void)
{
	static const struct subject opening = { "open", 6, nothing, call_open, check_file, close_file };

	signal(SIGBUS, on_bus_error);
	inject_all();
	set_number("/proc/sys/vm/nr_hugepages", "1");
	memory_file = memfd_create("file", MFD_CLOEXEC);
	DIE_UNLESS(memory_file >= 0 && !ftruncate(memory_file, AREA), "memfd_create");
	try_all(&opening);
	raw_open(&vm);
	for (size_t i = 0; i < sizeof(on_file) / sizeof(on_file[0]); i++)
		try_all(&on_file[i]);
	try_attach();
	raw_close(&vm);
	for (size_t i = 0; i < sizeof(with_file) / sizeof(with_file[0]); i++)
		try_all(&with_file[i]);
	set_number("/proc/sys/vm/nr_hugepages", "0");
	return check_result();
}
