// SPDX-License-Identifier: MIT
/*
 * Every argument of an ioctl or lseek that is not in order has its errno, and leaves nothing behind.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "check.h"
#include "raw.h"

#define NON_CANONICAL	0x0000800000000000

static struct raw_vm vm;

static struct dune_vcpu_config good_config(void)
{
	return (struct dune_vcpu_config){
		.cr3 = vm.block_gpa, .tss_limit = 0x67, .gdt_limit = 0x7f, .idt_limit = 0xfff,
	};
}

static void check_info(void)
{
	struct dune_info info;

	memset(&info, 0xff, sizeof(info));
	CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_INFO, &info), 0, "DUNE_GET_INFO");
	CHECK_EQUAL(info.version, DUNE_ABI_VERSION, "version");
	CHECK(info.vendor == DUNE_VENDOR_VMX || info.vendor == DUNE_VENDOR_SVM, "vendor %u", info.vendor);
	CHECK(info.gpa_bits >= 36 && info.gpa_bits <= 48, "gpa_bits %u", info.gpa_bits);
	CHECK_EQUAL(info.nr_granules, 1U << (info.gpa_bits - DUNE_GRANULE_SHIFT), "nr_granules");
	CHECK(info.max_vcpus >= 64, "max_vcpus %u", info.max_vcpus);
	CHECK_EQUAL(info.run_size, RAW_PAGE, "run_size");
	CHECK(sizeof(struct dune_run) <= info.run_size, "struct dune_run is larger than its page");
	CHECK_EQUAL(info.features, 0, "features");
	CHECK_EQUAL(info.reserved[0] | info.reserved[1] | info.reserved[2], 0, "reserved");
}

/* Another number, another size, another direction, another type: no such call. */
static void check_unknown(void)
{
	struct dune_vcpu_config config = good_config();
	static const unsigned long known[] = {
		DUNE_GET_INFO, DUNE_CREATE_VCPU, DUNE_DESTROY_VCPU, DUNE_RUN, DUNE_GET_GRANULE, DUNE_ATTACH, DUNE_YIELD,
		DUNE_FLUSH_TLB,
	};
	static const unsigned int sizes[] = { 0,  1,  4,  8,  15, 16,  17,  63,	  64,	 71,
					      72, 88, 95, 96, 97, 104, 112, 4096, 0x3fff };
	static const unsigned int directions[] = { _IOC_NONE, _IOC_READ, _IOC_WRITE, _IOC_READ | _IOC_WRITE };

	for (unsigned int nr = 0; nr < 256; nr++)
		for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			for (unsigned int d = 0; d < 4; d++) {
				unsigned long command = _IOC(directions[d], DUNE_IOC, nr, sizes[s]);
				bool is_known = false;

				for (unsigned int k = 0; k < sizeof(known) / sizeof(known[0]); k++)
					is_known |= known[k] == command;
				if (!is_known)
					CHECK_EQUAL(raw_ioctl(vm.fd, command, (uintptr_t)&config), -ENOTTY,
						    "an unknown ioctl");
			}
	/* Terminal and KVM ioctls. */
	CHECK_ERRNO(ioctl(vm.fd, 0x5401, &config), ENOTTY, "TCGETS");
	CHECK_ERRNO(ioctl(vm.fd, 0xae00, 0), ENOTTY, "KVM_GET_API_VERSION");
	CHECK_ERRNO(ioctl(vm.fd, 0xae80, 0), ENOTTY, "KVM_RUN");
	/* The upper half of the command is cut off by the system call: the same ioctl. */
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_GET_INFO | 1UL << 32, 16), -EFAULT, "a command of 64 bits");
}

static void refuse(struct dune_vcpu_config config, const char *what)
{
	uint32_t index = config.index;

	CHECK_ERRNO(ioctl(vm.fd, DUNE_CREATE_VCPU, &config), EINVAL, what);
	CHECK_EQUAL(config.index, index, "index after a refusal");
}

#define REFUSE(field, value) do {				\
	struct dune_vcpu_config config_ = good_config();	\
	config_.field = (value);				\
	refuse(config_, #field " = " #value);			\
} while (0)

static void check_config(void)
{
	for (unsigned int bit = 4; bit < 32; bit++)
		REFUSE(flags, 1U << bit);
	REFUSE(flags, ~0U);
	REFUSE(index, 1);
	REFUSE(index, ~0U);
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int bit = 0; bit < 64; bit++)
			REFUSE(reserved[i], 1ULL << bit);
	for (unsigned int bit = 0; bit < 64; bit++)
		if (!(vm.info.cr4_allowed & 1ULL << bit))
			REFUSE(cr4, 1ULL << bit);
	for (unsigned int bit = 0; bit < 12; bit++) {
		REFUSE(cr3, vm.block_gpa | 1ULL << bit);
		REFUSE(run, (uintptr_t)vm.block | 1ULL << bit);
	}
	for (unsigned int bit = vm.info.gpa_bits; bit < 64; bit++)
		REFUSE(cr3, 1ULL << bit);
	REFUSE(cr3, ~0ULL);
	for (unsigned int bit = 47; bit < 64; bit++) {
		REFUSE(gdt_base, 1ULL << bit);
		REFUSE(idt_base, 1ULL << bit);
		REFUSE(tss_base, 1ULL << bit);
		REFUSE(lstar, 1ULL << bit);
		REFUSE(gdt_base, ~(1ULL << bit));
		REFUSE(idt_base, ~(1ULL << bit));
		REFUSE(tss_base, ~(1ULL << bit));
		REFUSE(lstar, ~(1ULL << bit));
		REFUSE(call_site, 1ULL << bit);
	}
	REFUSE(tss_limit, 0);
	REFUSE(tss_limit, 0x66);
	REFUSE(tss_limit, 0x100000);
	REFUSE(tss_limit, ~0U);
}

/* The run page comes where it is asked for, in place of what is there; where that cannot be, there is no vCPU. */
static void check_run_address(void)
{
	struct dune_run *page = mmap(NULL, RAW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dune_vcpu_config config = good_config();
	unsigned int index;

	config.run = 1ULL << 47;
	CHECK_ERRNO(ioctl(vm.fd, DUNE_CREATE_VCPU, &config), ENOMEM, "a run page beyond user space");
	config.run = (uintptr_t)page;
	CHECK_EQUAL(ioctl(vm.fd, DUNE_CREATE_VCPU, &config), 0, "DUNE_CREATE_VCPU with a run page");
	index = config.index;
	page->cpl = 1;
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_RUN, index), -EINVAL, "what was written to the run page");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_DESTROY_VCPU, index), 0, "DUNE_DESTROY_VCPU");
	CHECK_EQUAL(page->cpl, 1, "the run page after that");
	munmap(page, RAW_PAGE);
}

/* Nothing that was refused above has taken a number. */
static void check_first_index(unsigned int expected)
{
	struct dune_vcpu_config config = good_config();

	CHECK_EQUAL(ioctl(vm.fd, DUNE_CREATE_VCPU, &config), 0, "DUNE_CREATE_VCPU");
	CHECK_EQUAL(config.index, expected, "index of the first vCPU");
}

static void check_pointers(void)
{
	static const unsigned long with_pointer[] = { DUNE_GET_INFO, DUNE_CREATE_VCPU, DUNE_GET_GRANULE };
	char *pages = mmap(NULL, 3 * RAW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dune_vcpu_config config = good_config();
	struct dune_granule granule = { .va = (uintptr_t)vm.block };
	unsigned long bad[] = {
		0, 1, 0xfff, (unsigned long)pages + RAW_PAGE, (unsigned long)pages + 2 * RAW_PAGE,
		0x7ffffffff000, 0x7fffffffffff, NON_CANONICAL, 0xffff800000000000, 0xffffffff81000000,
		0xffffffffffffe000, ~0UL, ~0UL - 64,
	};

	munmap(pages + RAW_PAGE, RAW_PAGE);
	mprotect(pages + 2 * RAW_PAGE, RAW_PAGE, PROT_NONE);
	for (unsigned int c = 0; c < 3; c++)
		for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			CHECK_EQUAL(raw_ioctl(vm.fd, with_pointer[c], bad[i]), -EFAULT, "a bad pointer");
	/* Straddles the end of a mapping. */
	for (unsigned int bytes = 1; bytes < 16; bytes++) {
		unsigned long edge = (unsigned long)pages + RAW_PAGE - bytes;

		for (unsigned int c = 0; c < 3; c++)
			CHECK_EQUAL(raw_ioctl(vm.fd, with_pointer[c], edge), -EFAULT, "a pointer at an edge");
	}
	/* In order, but the result cannot be stored. */
	memcpy(pages, &config, sizeof(config));
	memcpy(pages + 512, &granule, sizeof(granule));
	mprotect(pages, RAW_PAGE, PROT_READ);
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_GET_INFO, (unsigned long)pages), -EFAULT, "DUNE_GET_INFO, read-only");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_CREATE_VCPU, (unsigned long)pages), -EFAULT, "DUNE_CREATE_VCPU, read-only");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_GET_GRANULE, (unsigned long)pages + 512), -EFAULT,
		    "DUNE_GET_GRANULE, read-only");
	munmap(pages, RAW_PAGE);
	munmap(pages + 2 * RAW_PAGE, RAW_PAGE);
}

static void check_granules(void)
{
	static const uint64_t not_user[] = {
		1ULL << 47, NON_CANONICAL, 0xffff800000000000, 0xffffffff81000000, ~0ULL, 1ULL << 63, 1ULL << 57,
	};
	struct dune_granule granule;
	uint64_t gpa;

	for (unsigned int i = 0; i < sizeof(not_user) / sizeof(not_user[0]); i++) {
		granule = (struct dune_granule){ .va = not_user[i], .gpa = 42 };
		CHECK_ERRNO(ioctl(vm.fd, DUNE_GET_GRANULE, &granule), EINVAL, "granule of no user address");
		CHECK_EQUAL(granule.gpa, 42, "gpa after a refusal");
	}
	/* Nothing is mapped there. */
	granule = (struct dune_granule){ .va = 0x123400000000, .gpa = 42 };
	CHECK_ERRNO(ioctl(vm.fd, DUNE_GET_GRANULE, &granule), EFAULT, "granule of nothing");
	CHECK_EQUAL(granule.gpa, 42, "gpa after a refusal");
	/* The same each time, a granule's start, inside the guest-physical space. */
	granule = (struct dune_granule){ .va = (uintptr_t)vm.block };
	CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_GRANULE, &granule), 0, "DUNE_GET_GRANULE");
	gpa = granule.gpa;
	granule.va = ((uintptr_t)vm.block & ~(DUNE_GRANULE_SIZE - 1)) + 0x1234567;
	CHECK_EQUAL(ioctl(vm.fd, DUNE_GET_GRANULE, &granule), 0, "DUNE_GET_GRANULE");
	CHECK_EQUAL(granule.gpa, gpa, "gpa, asked for again");
	CHECK_EQUAL(gpa & (DUNE_GRANULE_SIZE - 1), 0, "offset of a granule");
	CHECK(gpa >> vm.info.gpa_bits == 0, "gpa %#lx", (unsigned long)gpa);
}

static void check_lseek(void)
{
	static const int whences[] = { 1, 2, 3, 4, 5, -1, 0x7fffffff };

	for (unsigned int i = 0; i < sizeof(whences) / sizeof(whences[0]); i++)
		CHECK_ERRNO(lseek(vm.fd, 0, whences[i]), EINVAL, "lseek with another whence");
	CHECK_ERRNO(lseek(vm.fd, -1, DUNE_SEEK_RUN), EINVAL, "lseek to -1");
	CHECK_ERRNO(lseek(vm.fd, 0, DUNE_SEEK_RUN), EINVAL, "lseek to 0");
	CHECK_ERRNO(lseek(vm.fd, DUNE_SEEK_VCPU(9999), DUNE_SEEK_RUN), EINVAL, "lseek to no vCPU");
	CHECK_ERRNO(lseek(vm.fd, INT64_MAX, DUNE_SEEK_RUN), EINVAL, "lseek to the highest");
}

/* It is no file to be read. */
static void check_others(void)
{
	char byte = 0;

	CHECK_ERRNO(read(vm.fd, &byte, 1), EINVAL, "read");
	CHECK_ERRNO(write(vm.fd, &byte, 1), EINVAL, "write");
	CHECK(pread(vm.fd, &byte, 1, 0) == -1, "pread succeeds");
	CHECK_ERRNO(ftruncate(vm.fd, 0), EINVAL, "ftruncate");
}

static void check_yield(void)
{
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, 0), 0, "DUNE_YIELD");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, 1), 0, "DUNE_YIELD");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, DUNE_YIELD_MAX), 0, "DUNE_YIELD");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, DUNE_YIELD_MAX + 1), -EINVAL, "DUNE_YIELD for too long");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, ~0UL), -EINVAL, "DUNE_YIELD for too long");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, 99UL << DUNE_YIELD_FOR_SHIFT), -ESRCH, "DUNE_YIELD for no vCPU");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_YIELD, ~0UL << DUNE_YIELD_FOR_SHIFT), -ESRCH, "DUNE_YIELD for no vCPU");
}

static void check_flush(void)
{
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_FLUSH_TLB, 0), 0, "DUNE_FLUSH_TLB");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_FLUSH_TLB, ~0UL), 0, "DUNE_FLUSH_TLB");
}

static void check_attach(void)
{
	unsigned long flags[] = { 1, 2, O_APPEND, O_NONBLOCK, ~0UL >> 33, O_CLOEXEC | 1, O_CLOEXEC | 1UL << 30 };

	for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_ATTACH, flags[i]), -EINVAL, "DUNE_ATTACH with unknown flags");
	/* One file for each address space. */
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_ATTACH, 0), -EBUSY, "DUNE_ATTACH in the same process");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_ATTACH, O_CLOEXEC), -EBUSY, "DUNE_ATTACH in the same process");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_ATTACH, ~0UL << DUNE_ATTACH_ROUND_SHIFT), -EBUSY,
		    "DUNE_ATTACH in the same process");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_ATTACH, DUNE_ATTACH_REPLACE | vm.fd), -EBUSY,
		    "DUNE_ATTACH in place in the same process");
	CHECK_EQUAL(raw_ioctl(vm.fd, DUNE_ATTACH, ~0UL), -EBUSY, "DUNE_ATTACH in place of nothing in the same process");
	for (unsigned int i = 0; i < 100; i++)
		CHECK_ERRNO(open("/dev/dune", O_RDWR | O_CLOEXEC), EBUSY, "a second open");
}

/* After close() the address space is free for another file, at once. */
static void check_reopen(void)
{
	for (unsigned int i = 0; i < 100; i++) {
		int fd;

		close(vm.fd);
		fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0, "open after close: %s", strerrorname_np(errno));
		if (fd < 0)
			return;
		vm.fd = fd;
		check_first_index(0);
	}
}

int main(void)
{
	raw_open(&vm);
	check_info();
	check_unknown();
	check_config();
	check_pointers();
	check_granules();
	check_lseek();
	check_others();
	check_yield();
	check_flush();
	check_attach();
	check_first_index(0);
	check_run_address();
	check_reopen();
	return check_result();
}
