// SPDX-License-Identifier: MIT
/*
 * What of the file can be mapped: one page for each vCPU, the table of granules to read, nothing else.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "check.h"
#include "raw.h"

static struct raw_vm vm;
static struct raw_vcpu vcpu;

static void refused(size_t length, int prot, int flags, uint64_t offset, int error, const char *what)
{
	void *page = mmap(NULL, length, prot, flags, vm.fd, offset);

	CHECK(page == MAP_FAILED && errno == error, "mmap of %zu bytes at %#lx, %s: %s, expected %s", length,
	      (unsigned long)offset, what, page == MAP_FAILED ? strerrorname_np(errno) : "succeeds",
	      strerrorname_np(error));
	if (page != MAP_FAILED)
		munmap(page, length);
}

#define RW	(PROT_READ | PROT_WRITE)

static void check_run_page(void)
{
	uint64_t offset = DUNE_MMAP_RUN(vcpu.index);
	void *page;

	refused(RAW_PAGE, RW, MAP_PRIVATE, offset, EINVAL, "private");
	refused(RAW_PAGE, PROT_READ, MAP_PRIVATE, offset, EINVAL, "private, to read");
	refused(2 * RAW_PAGE, RW, MAP_SHARED, offset, EINVAL, "two pages");
	refused(16 * RAW_PAGE, RW, MAP_SHARED, offset, EINVAL, "16 pages");
	refused(DUNE_GRANULE_SIZE, RW, MAP_SHARED, offset, EINVAL, "1 GiB");
	refused(RAW_PAGE, RW, MAP_SHARED, DUNE_MMAP_RUN(vcpu.index + 1), EINVAL, "no vCPU");
	refused(RAW_PAGE, RW, MAP_SHARED, DUNE_MMAP_GRANULES - RAW_PAGE, EINVAL, "no vCPU");
	refused(RAW_PAGE, RW, MAP_SHARED, offset + 1, EINVAL, "not at a page");

	/* Again, elsewhere: it is the same page. */
	page = mmap(NULL, RAW_PAGE, RW, MAP_SHARED, vm.fd, offset);
	CHECK(page != MAP_FAILED, "a second mapping");
	if (page == MAP_FAILED)
		return;
	((struct dune_run *)page)->regs.r15 = 42;
	CHECK_EQUAL(vcpu.run->regs.r15, 42, "r15 through the other mapping");
	CHECK(mremap(page, RAW_PAGE, 2 * RAW_PAGE, MREMAP_MAYMOVE) == MAP_FAILED, "mremap to two pages");
	munmap(page, RAW_PAGE);
}

/* Of a file that is open for less, less can be mapped. */
static void check_open_modes(void)
{
	struct dune_vcpu_config config = raw_config(&vm, &vcpu, 0);
	int fd;

	close(vm.fd);
	fd = open("/dev/dune", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "open to read: %s", strerrorname_np(errno));
	vm.fd = fd;
	config.gdt_base = (uintptr_t)vcpu.idt;
	CHECK_EQUAL(raw_ioctl(fd, DUNE_CREATE_VCPU, (uintptr_t)&config), 0, "DUNE_CREATE_VCPU");
	refused(RAW_PAGE, RW, MAP_SHARED, 0, EACCES, "to write, of a file open to read");
	close(fd);
	vm.fd = open("/dev/dune", O_WRONLY | O_CLOEXEC);
	CHECK(vm.fd >= 0, "open to write: %s", strerrorname_np(errno));
	config.index = 0;
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_CREATE_VCPU, (uintptr_t)&config), 0, "DUNE_CREATE_VCPU");
	refused(RAW_PAGE, RW, MAP_SHARED, 0, EACCES, "of a file open to write");
	refused(RAW_PAGE, PROT_READ, MAP_SHARED, DUNE_MMAP_GRANULES, EACCES, "of a file open to write");
}

static sigjmp_buf after_fault;
static volatile sig_atomic_t fault_signal;

static void on_fault(int signal)
{
	fault_signal = signal;
	siglongjmp(after_fault, 1);
}

static int signal_of_read(const volatile char *at)
{
	fault_signal = 0;
	if (!sigsetjmp(after_fault, 1))
		(void)*at;
	return fault_signal;
}

static void check_granules(void)
{
	size_t size = (vm.info.nr_granules * sizeof(uint32_t) + RAW_PAGE - 1) & ~(RAW_PAGE - 1);
	struct dune_granule granule = { .va = (uintptr_t)vm.block };
	unsigned int set = 0;
	uint32_t *table;
	char *page;

	refused(RAW_PAGE, RW, MAP_SHARED, DUNE_MMAP_GRANULES, EACCES, "the granules, to write");
	refused(RAW_PAGE, PROT_WRITE, MAP_SHARED, DUNE_MMAP_GRANULES, EACCES, "the granules, to write alone");
	refused(RAW_PAGE, PROT_READ, MAP_PRIVATE, DUNE_MMAP_GRANULES, EINVAL, "the granules, private");
	refused(RAW_PAGE, RW, MAP_PRIVATE, DUNE_MMAP_GRANULES, EINVAL, "the granules, private, to write");

	table = mmap(NULL, size, PROT_READ, MAP_SHARED, vm.fd, DUNE_MMAP_GRANULES);
	CHECK(table != MAP_FAILED, "mmap of the granules: %s", strerrorname_np(errno));
	if (table == MAP_FAILED)
		return;
	CHECK_ERRNO(mprotect(table, RAW_PAGE, RW), EACCES, "mprotect of the granules");
	CHECK_ERRNO(mprotect(table, RAW_PAGE, PROT_WRITE | PROT_EXEC), EACCES, "mprotect of the granules");
	/* Entries: 0, or the granule of the process's address plus one. */
	CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_GRANULE, &granule), 0, "DUNE_GET_GRANULE");
	CHECK_EQUAL(table[granule.gpa >> DUNE_GRANULE_SHIFT], (granule.va >> DUNE_GRANULE_SHIFT) + 1, "entry");
	for (unsigned int i = 0; i < vm.info.nr_granules; i++) {
		uint64_t va = (uint64_t)(table[i] - 1) << DUNE_GRANULE_SHIFT;

		if (!table[i])
			continue;
		set++;
		granule.va = va;
		CHECK(!ioctl(vm.fd, DUNE_GET_GRANULE, &granule) && granule.gpa == (uint64_t)i << DUNE_GRANULE_SHIFT,
		      "granule %u is that of %#lx, which is at %#lx", i, (unsigned long)va,
		      (unsigned long)granule.gpa);
	}
	CHECK(set >= 2 && set < 16, "%u granules in use", set);

	/* Nothing is behind the table. */
	for (uint64_t beyond = 0; beyond < 64; beyond = beyond * 2 + 1) {
		page = mmap(NULL, RAW_PAGE, PROT_READ, MAP_SHARED, vm.fd,
			    DUNE_MMAP_GRANULES + size + beyond * RAW_PAGE);
		if (page == MAP_FAILED)
			continue;
		CHECK_EQUAL(signal_of_read(page), SIGBUS, "signal behind the granules");
		munmap(page, RAW_PAGE);
	}
	page = mmap(NULL, RAW_PAGE, PROT_READ, MAP_SHARED, vm.fd, 0x7fffffffULL << 12);
	if (page != MAP_FAILED) {
		CHECK_EQUAL(signal_of_read(page), SIGBUS, "signal far behind the granules");
		munmap(page, RAW_PAGE);
	}
	/* The table stays readable, of a file that is closed. */
	close(vm.fd);
	CHECK_EQUAL(signal_of_read((char *)table), 0, "signal of a table whose descriptor is closed");
	munmap(table, size);
	vm.fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
	CHECK(vm.fd >= 0, "open when the last mapping is gone: %s", strerrorname_np(errno));
}

int main(void)
{
	signal(SIGBUS, on_fault);
	signal(SIGSEGV, on_fault);
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	check_run_page();
	munmap(vcpu.run, RAW_PAGE);
	check_granules();
	check_open_modes();
	return check_result();
}
