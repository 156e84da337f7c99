// SPDX-License-Identifier: MIT
/*
 * Trackers of dirty bits, as several readers use them at once: threads write on other CPUs and through system calls
 * meanwhile, others scan, and children have trackers of their own.
 *
 *	vm-dirty [outside|precise|COLLECTIONS]
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "proc.h"

#define PAGE		4096UL
#define NR		2048UL
#define READERS		3
#define WRITERS		2

static char *area;
static unsigned long collections = 200;
static atomic_bool stop, pause_wanted;
static atomic_uint paused;

static unsigned long *word_of(unsigned long page)
{
	return (unsigned long *)(area + page * PAGE);
}

static struct dune_dirty *open_range(unsigned long first, unsigned long pages)
{
	struct dune_dirty_range range = { area + first * PAGE, pages * PAGE };
	struct dune_dirty *d = NULL;

	CHECK_EQUAL(dune_dirty_open(&d, dune_vm_root(), &range, 1), 0, "open");
	return d;
}

/* ---- one thread ---- */

static int add_pages(void *arg, void *va, size_t len)
{
	(void)va;
	*(unsigned long *)arg += len / PAGE;
	return 0;
}

static void in_turn(void)
{
	struct dune_dirty *a = open_range(0, 100), *b = open_range(50, 100);
	uint64_t bitmap[2];
	unsigned long pages = 0;
	int fd = open("/dev/zero", O_RDONLY);

	*word_of(60) = 1;
	*word_of(10) = 1;
	CHECK_EQUAL(dune_dirty_collect(a, bitmap), 2, "a sees both");
	CHECK(bitmap[0] == (1UL << 10 | 1UL << 60) && !bitmap[1], "%lx %lx", bitmap[0], bitmap[1]);
	CHECK_EQUAL(dune_dirty_collect(a, NULL), 0, "a has seen them");
	CHECK_EQUAL(dune_dirty_collect(b, bitmap), 1, "b sees its own");
	CHECK_EQUAL(bitmap[0], 1UL << 10, "b's bits");
	*word_of(70) = 1;
	CHECK(dune_vm_scan(dune_vm_root(), area, NR * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, NULL) > 0, "scan");
	CHECK_EQUAL(dune_dirty_collect_each(a, add_pages, &pages), 1, "a, after a scan");
	CHECK_EQUAL(pages, 1, "pages of a");
	CHECK_EQUAL(dune_dirty_collect(b, NULL), 1, "b, after a scan");
	/* System calls. */
	CHECK_EQUAL(read(fd, area + 80 * PAGE, 3 * PAGE), 3 * PAGE, "read");
	CHECK_EQUAL(dune_dirty_collect(a, NULL), 3, "a, after read()");
	close(fd);
	/* What was there has gone; and there is a mapping that was not there. */
	CHECK_EQUAL(madvise(area + 90 * PAGE, PAGE, MADV_DONTNEED), 0, "madvise");
	CHECK_EQUAL(*word_of(90), 0, "zeros");
	CHECK_EQUAL(dune_dirty_collect(a, NULL), 1, "a, after MADV_DONTNEED");
	CHECK(mmap(area + 91 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	      area + 91 * PAGE, "mmap");
	CHECK_EQUAL(*word_of(91), 0, "new zeros");
	CHECK_EQUAL(dune_dirty_collect(a, NULL), 1, "a, after mmap()");
	CHECK_EQUAL(dune_dirty_close(a), 0, "close");
	CHECK_EQUAL(dune_dirty_close(b), 0, "close");
	CHECK_EQUAL(dune_dirty_collect(a, NULL), -EINVAL, "a closed one");
}

/* ---- processes ---- */

static void children(void)
{
	struct dune_dirty *d = open_range(0, NR);
	int status;
	pid_t pid;

	*word_of(1) = 2;
	pid = fork();
	if (!pid) {
		*word_of(2) = 3;
		*word_of(3) = 3;
		/* What the child has from its parent it has, and may have more. */
		CHECK(dune_dirty_collect(d, NULL) >= 3, "in the child");
		*word_of(4) = 3;
		CHECK_EQUAL(dune_dirty_collect(d, NULL), 1, "in the child, again");
		CHECK_EQUAL(dune_dirty_close(d), 0, "close in the child");
		_exit(check_failures != 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status, "the child: %#x", status);
	CHECK_EQUAL(dune_dirty_collect(d, NULL), 1, "the parent's");
	CHECK_EQUAL(dune_dirty_close(d), 0, "close");
}

/* ---- many ---- */

static void *write_all(void *arg)
{
	unsigned long seed = (unsigned long)arg + 1;
	int fd = open("/dev/urandom", O_RDONLY);

	while (!stop) {
		if (pause_wanted) {
			paused++;
			while (pause_wanted)
				__builtin_ia32_pause();
			paused--;
		}
		for (int i = 0; i < 30; i++) {
			seed = seed * 6364136223846793005UL + 1442695040888963407UL;
			*(volatile unsigned long *)word_of((seed >> 33) % NR) = seed;
		}
		CHECK_EQUAL(read(fd, word_of((seed >> 20) % NR), 8), 8, "read");
	}
	close(fd);
	return NULL;
}

struct reader {
	struct dune_dirty *d;
	unsigned long first, pages, known[NR], wrong, found;
};

static int copy_run(void *arg, void *va, size_t len)
{
	struct reader *r = arg;
	unsigned long page = ((char *)va - area) / PAGE;

	for (; len; len -= PAGE, page++)
		r->known[page] = *(volatile unsigned long *)word_of(page);
	return 0;
}

static void compare(struct reader *r)
{
	for (unsigned long page = r->first; page < r->first + r->pages; page++)
		r->wrong += r->known[page] != *word_of(page);
}

/*
 * Who keeps a copy of each page by a tracker alone must have the right one in the end, whoever else clears bits.  All
 * readers collect, then the writers stand still for one more collection of each, and then copies are compared.
 */
static void together(void)
{
	static struct reader readers[READERS];
	pthread_t writers[WRITERS];

	for (unsigned long i = 0; i < READERS; i++) {
		struct reader *r = &readers[i];

		r->first = i * 300;
		r->pages = NR - i * 500;
		if (r->first + r->pages > NR)
			r->pages = NR - r->first;
		r->d = open_range(r->first, r->pages);
		for (unsigned long page = 0; page < NR; page++)
			r->known[page] = *word_of(page);
	}
	for (unsigned long i = 0; i < WRITERS; i++)
		DIE_UNLESS(!pthread_create(&writers[i], NULL, write_all, (void *)i), "pthread_create");
	for (unsigned long n = 0; n < collections && !check_failures; n++) {
		for (int i = 0; i < READERS; i++) {
			long found = dune_dirty_collect_each(readers[i].d, copy_run, &readers[i]);

			CHECK(found >= 0, "collect: %ld", found);
			readers[i].found += found;
		}
		if (n % 4 == 3)
			CHECK(dune_vm_scan(dune_vm_root(), area, NR * PAGE, DUNE_VM_DIRTY | DUNE_VM_CLEAR, NULL) >= 0,
			      "scan");
		if (n % 10 != 9)
			continue;
		pause_wanted = true;
		while (paused < WRITERS)
			__builtin_ia32_pause();
		for (int i = 0; i < READERS; i++) {
			dune_dirty_collect_each(readers[i].d, copy_run, &readers[i]);
			compare(&readers[i]);
		}
		pause_wanted = false;
		while (paused)
			__builtin_ia32_pause();
	}
	stop = true;
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	for (int i = 0; i < READERS; i++) {
		CHECK_EQUAL(readers[i].wrong, 0, "pages that a tracker missed");
		CHECK(readers[i].found > collections, "few pages were dirty: %lu", readers[i].found);
		CHECK_EQUAL(dune_dirty_close(readers[i].d), 0, "close");
	}
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	if (!proc_inside)
		return CHECK_SKIP;
	if (argc > 1 && !mode_precise)
		collections = strtoul(argv[1], NULL, 0);
	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(area != MAP_FAILED, "mmap");
	memset(area, 1, NR * PAGE);
	in_turn();
	children();
	together();
	return check_result();
}
