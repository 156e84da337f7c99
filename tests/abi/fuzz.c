// SPDX-License-Identifier: MIT
/*
 * Random calls with random arguments, from four threads in each of two processes, from a seed that is printed: each
 * ends with a result that it can have.  For some seconds, and until enough of them were made on a slow machine.
 *
 *	fuzz [SECONDS [SEED]]
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "raw.h"

#define THREADS		4
#define RUN_PAGES	4
#define CALLS		500
#define GOOD_RUNS	50	/* in which a guest came to something */

static struct raw_vm vm;
static struct dune_run *run_pages[RUN_PAGES];
static char *scratch;		/* at 2 MiB */
#define SCRATCH_SIZE	(64 * RAW_PAGE)
#define HUGE		(2UL << 20)
static int code_fd;		/* a file of random code */
#define CODE_SIZE	65536

static atomic_bool stop;
static uint64_t base_seed;
static atomic_ulong calls, good_runs;

static uint64_t interesting(uint64_t *seed)
{
	uint64_t n = raw_random(seed);

	switch (n % 12) {
	case 0:		return raw_random(seed);
	case 1:		return raw_random(seed) & 0xff;
	case 2:		return (uintptr_t)scratch + raw_random(seed) % SCRATCH_SIZE;
	case 3:		return (uintptr_t)scratch + SCRATCH_SIZE - (n >> 8 & 15);
	case 4:		return 1ULL << (n >> 8 & 63);
	case 5:		return ~(1ULL << (n >> 8 & 63));
	case 6:		return -(n >> 8 & 0xff);
	case 7:		return DUNE_HC(n >> 8 & 7);
	case 8:		return 0x80000000 | (raw_random(seed) & 0xfffff);
	case 9:		return vm.block_gpa + (n >> 8 & 15) * RAW_PAGE;
	default:	return 0;
	}
}

static bool is_known_error(long result)
{
	switch (-result) {
	case EINVAL: case EFAULT: case ENOTTY: case EBUSY: case ENOSPC: case ENOMEM: case EAGAIN: case EINTR:
	case EIO: case EACCES: case ENODEV: case EOVERFLOW: case EBADF: case EMFILE: case ESRCH:
		return true;
	}
	return false;
}

static void fill(void *at, size_t size, uint64_t *seed)
{
	uint64_t *words = at;

	for (size_t i = 0; i < size / 8; i++)
		words[i] = interesting(seed);
}

static void any_ioctl(uint64_t *seed)
{
	static const unsigned long known[] = {
		DUNE_GET_INFO, DUNE_CREATE_VCPU, DUNE_DESTROY_VCPU, DUNE_GET_GRANULE, DUNE_ATTACH, DUNE_YIELD,
		DUNE_FLUSH_TLB,
	};
	unsigned long command = raw_random(seed) & 7 ? known[raw_random(seed) % 7] : interesting(seed);
	uint64_t argument = interesting(seed);
	char structure[256] __attribute__((aligned(8)));
	long result;

	if (raw_random(seed) & 1) {
		fill(structure, sizeof(structure), seed);
		/* Often enough with nothing where nothing may be. */
		if (raw_random(seed) & 1) {
			memset(structure, 0, sizeof(structure));
			((struct dune_vcpu_config *)structure)->cr3 = vm.block_gpa;
			((struct dune_vcpu_config *)structure)->tss_limit = 0x67;
		}
		argument = (uintptr_t)structure;
	}
	if ((uint32_t)command == DUNE_RUN)
		return;		/* any_run() restores the thread's bases */
	result = raw_ioctl(vm.fd, command, argument);
	CHECK(result >= 0 || is_known_error(result), "ioctl %#lx of %#lx: %ld", command, (unsigned long)argument,
	      result);
}

static void any_map(uint64_t *seed)
{
	static const int prots[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_READ | PROT_EXEC, PROT_WRITE, 7
	};
	uint64_t offset = raw_random(seed) & 3 ? (raw_random(seed) & 15) << 12 : interesting(seed);
	size_t length = raw_random(seed) & 3 ? RAW_PAGE : interesting(seed) & 0xffffff;
	int flags = raw_random(seed) & 7 ? MAP_SHARED : MAP_PRIVATE;
	char *at;

	if (raw_random(seed) & 1)
		offset += DUNE_MMAP_GRANULES;
	at = mmap(NULL, length, prots[raw_random(seed) % 6], flags, vm.fd, offset);
	if (at == MAP_FAILED) {
		CHECK(is_known_error(-errno), "mmap: %s", strerrorname_np(errno));
		return;
	}
	CHECK(flags == MAP_SHARED, "a private mapping at %#lx", (unsigned long)offset);
	if (raw_random(seed) & 1)
		mprotect(at, RAW_PAGE, prots[raw_random(seed) % 6]);
	if (raw_random(seed) & 1)
		madvise(at, RAW_PAGE, (int)(raw_random(seed) % 26));
	munmap(at, length);
}

static void any_memory(uint64_t *seed)
{
	char *at = scratch + raw_random(seed) % 64 * RAW_PAGE;
	size_t size = (raw_random(seed) % 8 + 1) * RAW_PAGE;

	if (at + size > scratch + SCRATCH_SIZE)
		return;
	switch (raw_random(seed) % 4) {
	case 0:
		mprotect(at, size, (int)(raw_random(seed) & 7));
		break;
	case 1:
		madvise(at, size, MADV_DONTNEED);
		break;
	default:
		mmap(at, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	}
}

/* By a system call, as another thread may just take the memory away. */
static void any_code(uint64_t *seed)
{
	if (pread(code_fd, scratch + raw_random(seed) % (SCRATCH_SIZE - 4096), 4096,
		  raw_random(seed) % (CODE_SIZE - 4096)) < 0)
		CHECK(errno == EFAULT, "pread: %s", strerrorname_np(errno));
}

static void write_code(void)
{
	static const char *const some[] = {
		"\x0f\x01\xc1", "\x0f\xa2", "\x0f\x32", "\x0f\x30", "\x0f\x22\xd8", "\x0f\x22\xe0", "\x0f\x22\xc0",
		"\xf4", "\xcc", "\x0f\x0b", "\xeb\xfe", "\xfb", "\xfa", "\x9d", "\x48\xcf", "\x0f\x05", "\x48\x0f\x07",
		"\x8e\xd8", "\x0f\x01\x17", "\x0f\x01\xf8", "\x0f\x01\xd1", "\xec", "\x0f\x23\xf8", "\xcd\x80", "\xf1",
	};
	unsigned char code[CODE_SIZE];
	uint64_t seed = base_seed;

	for (size_t i = 0; i < sizeof(code) - 8;) {
		const char *one = some[raw_random(&seed) % (sizeof(some) / sizeof(some[0]))];

		if (raw_random(&seed) & 1) {
			code[i++] = raw_random(&seed);
			continue;
		}
		memcpy(code + i, one, strlen(one));
		i += strlen(one);
	}
	code_fd = memfd_create("code", MFD_CLOEXEC);
	DIE_UNLESS(write(code_fd, code, sizeof(code)) == sizeof(code), "memfd");
}

static void any_run(uint64_t *seed)
{
	struct raw_vcpu vcpu = { .vm = &vm };
	struct dune_run *run;
	long result;

	vcpu.index = raw_random(seed) & 15 ? raw_random(seed) % RUN_PAGES : interesting(seed);
	run = vcpu.index < RUN_PAGES ? run_pages[vcpu.index] : NULL;
	if (run) {
		for (unsigned int i = raw_random(seed) % 8; i; i--)
			((uint64_t *)run)[raw_random(seed) % (sizeof(*run) / 8)] = interesting(seed);
		if (raw_random(seed) & 7) {
			run->regs.rip = (uintptr_t)scratch + raw_random(seed) % SCRATCH_SIZE;
			run->kernel_gs_base = 0;
			run->event_info = raw_random(seed) & 3 ? 0 : DUNE_EVENT_VALID | DUNE_EVENT_HARD | 6;
			run->flags = raw_random(seed) & 1;
			run->cpl = raw_random(seed) & 1 ? 3 : 0;
		}
		/* Comes back also when nothing else ends it: the signal handler sets it. */
		run->immediate_exit = (raw_random(seed) & 15) == 0;
	}
	for (unsigned int i = 0; i < 3; i++) {
		result = raw_enter(&vcpu);
		if (result != DUNE_EXIT_INTR)
			break;
	}
	CHECK((result > 0 && result <= DUNE_EXIT_WINDOW) || result == -EINVAL || result == -EBUSY || result == -ENOMEM,
	      "DUNE_RUN of %#lx: %ld", vcpu.index, result);
	good_runs += result > 0;
}

static void *attack(void *argument)
{
	uint64_t seed = base_seed + (uintptr_t)argument;

	while (!stop) {
		switch (raw_random(&seed) % 8) {
		case 0:
			any_ioctl(&seed);
			break;
		case 1:
			any_map(&seed);
			break;
		case 2:
			any_memory(&seed);
			break;
		case 3:
			any_code(&seed);
			break;
		default:
			any_run(&seed);
		}
		calls++;
	}
	return NULL;
}

static uint64_t table_at(unsigned int page)
{
	return (vm.block_gpa + page * RAW_PAGE) | PTE_TABLE;
}

/*
 * A guest that runs wild must not ruin what the test itself needs: its page table maps the scratch memory
 * alone.  So an exception ends in a triple fault.
 */
static void map_scratch_only(void)
{
	enum { PDPT = RAW_PDPTS + RAW_TABLES - 3, PD, PT };
	struct dune_granule granule = { .va = (uintptr_t)scratch };
	uint64_t gpa, *tables = (uint64_t *)vm.block;

	DIE_UNLESS(!ioctl(vm.fd, DUNE_GET_GRANULE, &granule), "DUNE_GET_GRANULE");
	gpa = granule.gpa + ((uintptr_t)scratch & (DUNE_GRANULE_SIZE - 1));
	memset(tables, 0, RAW_VCPUS * RAW_PAGE);
	tables[RAW_ROOT * 512 + ((uintptr_t)scratch >> 39 & 511)] = table_at(PDPT);
	tables[PDPT * 512 + ((uintptr_t)scratch >> 30 & 511)] = table_at(PD);
	tables[PD * 512 + ((uintptr_t)scratch >> 21 & 511)] = table_at(PT);
	for (unsigned int i = 0; i < SCRATCH_SIZE / RAW_PAGE; i++)
		tables[PT * 512 + i] = (gpa + i * RAW_PAGE) | PTE_LEAF;
}

static pthread_t threads[THREADS];

/* Something to do in user mode for a guest that would never end. */
static void on_signal(int signal)
{
	(void)signal;
}

static int attack_for(double seconds)
{
	double end = check_seconds() + seconds;
	struct raw_vcpu vcpu;

	signal(SIGUSR1, on_signal);
	raw_open(&vm);
	write_code();
	scratch = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(scratch != MAP_FAILED, "mmap");
	scratch = (char *)(((uintptr_t)scratch + HUGE - 1) & ~(HUGE - 1));
	for (unsigned int i = 0; i < RUN_PAGES; i++) {
		raw_vcpu(&vm, &vcpu, 0);
		DIE_UNLESS(vcpu.index == i, "numbers of vCPUs");
		run_pages[i] = vcpu.run;
	}
	map_scratch_only();
	for (unsigned long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, attack, (void *)(i + 1));
	while (check_seconds() < end || calls <= CALLS || good_runs <= GOOD_RUNS) {
		usleep(5000);
		for (unsigned int i = 0; i < THREADS; i++)
			pthread_kill(threads[i], SIGUSR1);
	}
	stop = true;
	/* One signal ends one entry into the guest, and each may go round for ever. */
	for (unsigned int i = 0; i < THREADS; i++)
		while (pthread_tryjoin_np(threads[i], NULL)) {
			pthread_kill(threads[i], SIGUSR1);
			usleep(1000);
		}
	printf("seed %lu: %lu calls, %lu runs of a guest\n", (unsigned long)base_seed, calls, good_runs);
	return check_result();
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 5;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 20240611;
	pid_t pids[2];
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			base_seed = seed + 100 * i;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(attack_for(seconds));
		}
	}
	for (unsigned int i = 0; i < 2; i++) {
		status = -1;
		waitpid(pids[i], &status, 0);
		CHECK(!status, "process %u: status %#x", i, status);
	}
	return check_result();
}
