// SPDX-License-Identifier: MIT
/*
 * dune_init() finds room for libdune's granule wherever the program has put its own memory, and
 * what the program maps later does not get into it.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "proc.h"

#define GIB	(1UL << 30)

static void *thread(void *arg)
{
	CHECK_WORLD("a thread");
	return arg;
}

/* Everything that needs a thread area. */
static void try_all(const char *where)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread, NULL), "%s: pthread_create", where);
	CHECK_EQUAL(IN_CHILD(
		char *pages[50];

		/* Holes that the fork has left must not be given to the program. */
		for (int i = 0; i < 50; i++) {
			pages[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			*pages[i] = i;
		}
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_create(&threads[i], NULL, thread, NULL), "%s: pthread_create", where);
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_join(threads[i], NULL), "%s: pthread_join", where);
		for (int i = 0; i < 50; i++)
			CHECK_EQUAL(*pages[i], i, "the program's page");
	), EXITED(0), where);
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL), "%s: pthread_join", where);
}

static void enter(void)
{
	int error = dune_init_and_enter();

	if (!CHECK(!error, "dune_init_and_enter: %s", strerror(-error)))
		_exit(1);
	proc_inside = true;
}

/* Each GiB has something in it then: where the kernel has put the program's libraries, those. */
static void fill_below_stack(void)
{
	unsigned long stack = (unsigned long)__builtin_frame_address(0) & -GIB;

	for (unsigned long at = stack - 32 * GIB; at < stack - GIB; at += GIB)
		CHECK(mmap((void *)at, GIB, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == (void *)at ||
			      errno == EEXIST,
		      "mmap below the stack: %s", strerror(errno));
}

/* ---- what a fork leaves out ---- */

static struct dune_procmap_entry reservation;	/* the largest mapping without permissions */
static unsigned long granule;			/* libdune's */
static unsigned long all, sum;			/* covered() at the beginning, and what it adds up */

static void look_for_reservation(const struct dune_procmap_entry *entry, void *arg)
{
	(void)arg;
	if (!entry->r && !entry->w && !entry->x && entry->p &&
	    entry->end - entry->begin > reservation.end - reservation.begin)
		reservation = *entry;
}

static void add_covered(const struct dune_procmap_entry *entry, void *arg)
{
	(void)arg;
	if (entry->begin >= granule && entry->begin < granule + GIB)
		sum += entry->end - entry->begin;
}

/* How much of libdune's granule is mapped, to something or to nothing. */
static unsigned long covered(void)
{
	sum = 0;
	CHECK_EQUAL(dune_procmap_iterate(add_covered, NULL), 0, "dune_procmap_iterate");
	return sum;
}

#define IS_RESERVED	(covered() > GIB / 2)

/* After dune_init(). */
static void find_granule(void)
{
	CHECK_EQUAL(dune_procmap_iterate(look_for_reservation, NULL), 0, "dune_procmap_iterate");
	CHECK(reservation.end - reservation.begin > GIB / 2, "there is no reservation");
	granule = reservation.begin & -GIB;
	all = covered();
}

static bool is_outside(void *p)
{
	return p != MAP_FAILED && (unsigned long)p - granule >= GIB;
}

static void *map_at(unsigned long hint)
{
	return mmap((void *)hint, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_threads(int n)
{
	pthread_t threads[16];

	for (int i = 0; i < n; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread, NULL), "pthread_create %d", i);
	for (int i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL), "pthread_join");
}

/* A segment goes over what is mapped where it is attached, and behind that. */
static void attach_over(void)
{
	const long mib = 1 << 20;
	int id = shmget(IPC_PRIVATE, mib, IPC_CREAT | 0600);
	char *below = (char *)granule - 4096;
	void *p;

	if (id < 0) {
		CHECK(errno == ENOSYS, "shmget: %s", strerror(errno));
		return;
	}
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(shmat(id, below, SHM_REMAP), (void *)-1, "shmat() that reaches into the granule");
		CHECK_EQUAL(errno, EPERM, "its errno");
		CHECK_EQUAL(shmat(id, below + 1, SHM_REMAP | SHM_RND), (void *)-1, "the same, rounded down");
		CHECK_EQUAL(shmat(id, (void *)granule, SHM_REMAP), (void *)-1, "shmat() at its beginning");
		p = mmap((char *)granule - mib, mib, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			 -1, 0);
		if (p != MAP_FAILED)
			CHECK_EQUAL(shmat(id, p, SHM_REMAP), p, "shmat() that ends below");
		p = mmap(NULL, 2 * mib, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK_EQUAL(shmat(id, p, SHM_REMAP), p, "shmat() over the program's own");
		CHECK_EQUAL(shmat(-1, p, SHM_REMAP), (void *)-1, "shmat() of no segment");
		CHECK_EQUAL(errno, EINVAL, "its errno");
	), EXITED(0), "shmat");
	CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0, "shmctl");
}

/* brk() takes away what lies below the old break: it cannot be put beyond the granule. */
static void move_break(void)
{
	unsigned long now = syscall(SYS_brk, 0);

	if (prctl(PR_SET_MM, PR_SET_MM_BRK, now, 0, 0)) {
		CHECK(errno == EPERM || errno == EINVAL, "PR_SET_MM_BRK: %s", strerror(errno));
		return;
	}
	CHECK_EQUAL(IN_CHILD(
		unsigned long beyond = now < granule ? granule + GIB : granule - 4096;

		CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_BRK, beyond, 0, 0), EPERM, "a break beyond the granule");
		CHECK_ERRNO(prctl(PR_SET_MM, PR_SET_MM_BRK, granule + 4096, 0, 0), EPERM, "a break in it");
		CHECK_EQUAL(prctl(PR_SET_MM, PR_SET_MM_BRK, now, 0, 0), 0, "a break that is the program's");
		syscall(SYS_brk, granule + 4096);
		make_threads(1);
	), EXITED(0), "PR_SET_MM");
}

/* In a child: whatever may need the addresses gets them reserved, or stays out of them. */
static void use_addresses(void)
{
	const unsigned long middle = granule + GIB / 2;
	void *p;

	CHECK_EQUAL(IN_CHILD(
		CHECK(!IS_RESERVED, "a child has inherited the reservation");
		CHECK(is_outside(map_at(middle)), "mmap with a hint");
		CHECK(IS_RESERVED, "after mmap nothing is reserved");
		CHECK_EQUAL(covered(), all, "what is mapped in the granule after mmap");
	), EXITED(0), "mmap");
	CHECK_EQUAL(IN_CHILD(CHECK_EQUAL(mmap((void *)middle, 4096, PROT_READ,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
					 MAP_FAILED, "mmap into libdune's granule");
			     CHECK_EQUAL(errno, EEXIST, "its errno");),
		    EXITED(0), "MAP_FIXED_NOREPLACE");
	CHECK_EQUAL(IN_CHILD(
		p = map_at(0);
		CHECK_EQUAL(mremap(p, 4096, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)middle), MAP_FAILED, "mremap");
		CHECK_EQUAL(errno, EPERM, "its errno");
	), EXITED(0), "mremap");
	attach_over();
	move_break();
	CHECK_EQUAL(IN_CHILD(
		make_threads(16);
		CHECK(IS_RESERVED, "after threads nothing is reserved");
		CHECK_EQUAL(IN_CHILD(
			CHECK(!IS_RESERVED, "a child's child has inherited the reservation");
			make_threads(16)
		), EXITED(0), "a child's child");
	), EXITED(0), "threads");
}

/* What describes the pages of the pool is left out of a fork only as long as there are none. */
static void use_pool(unsigned int depth)
{
	struct page *page = dune_page_alloc();
	char *data;

	if (!CHECK(page, "dune_page_alloc()"))
		return;
	data = (char *)dune_page2pa(page);
	strcpy(data, "mine");
	CHECK_EQUAL(IN_CHILD(
		CHECK_EQUAL(page->ref, 1, "the page's references in a child");
		CHECK(!strcmp(data, "mine"), "the page in a child: %.8s", data);
		strcpy(data, "other");
		if (depth)
			use_pool(depth - 1);
		CHECK(is_outside(map_at(0)), "mmap");
		CHECK(IS_RESERVED, "after mmap nothing is reserved");
		make_threads(16);
		if (depth)
			use_pool(depth - 1);
	), EXITED(0), "a child with a page of its parent's");
	CHECK(!strcmp(data, "mine"), "the page in the parent: %.8s", data);
	dune_page_put(page);
}

static void *use_them(void *arg)
{
	use_addresses();
	return arg;
}

/* The child runs on in the area of the thread that has forked, and has no other. */
static void *fork_here(void *arg)
{
	use_addresses();
	CHECK_EQUAL(
		IN_CHILD(pthread_t other;
			 /* It has the first area and a stack from before, so until it forks nothing is reserved. */
			 CHECK(!pthread_create(&other, NULL, use_them, NULL) && !pthread_join(other, NULL), "a thread");
			 CHECK_EQUAL(IN_CHILD(use_addresses(); make_threads(16)), EXITED(0), "a child's child");
			 make_threads(3); use_addresses();
			 CHECK_EQUAL(IN_CHILD(use_pool(1)), EXITED(0), "the pool in a child");
			 /* No thread but one that was made in this child. */
			 CHECK(!pthread_create(&other, NULL, arg ? fork_here : thread, NULL) &&
				       !pthread_join(other, NULL),
			       "a thread")),
		EXITED(0), "a child");
	return NULL;
}

static void *wait_for_end(void *end)
{
	while (!__atomic_load_n((bool *)end, __ATOMIC_ACQUIRE))
		usleep(1000);
	return NULL;
}

static void forks(void)
{
	pthread_t others[5], forker;
	bool end = false;

	enter();
	find_granule();
	use_addresses();
	CHECK_EQUAL(IN_CHILD(use_pool(2)), EXITED(0), "the pool");
	for (int i = 0; i < 5; i++)
		CHECK(!pthread_create(&others[i], NULL, wait_for_end, &end), "pthread_create");
	CHECK(!pthread_create(&forker, NULL, fork_here, "") && !pthread_join(forker, NULL), "fork in a thread");
	fork_here("");
	CHECK(IS_RESERVED, "the parent has lost its reservation");
	__atomic_store_n(&end, true, __ATOMIC_RELEASE);
	for (int i = 0; i < 5; i++)
		pthread_join(others[i], NULL);
	CHECK_EQUAL(IN_CHILD(
		dune_leave();
		CHECK_EQUAL(IN_CHILD(
			proc_inside = true;
			CHECK(!dune_enter(), "dune_enter() in a child");
			use_addresses();
			make_threads(16)
		), EXITED(0), "a child that enters again")
	), EXITED(0), "a fork outside Dune mode");
}

/* ---- what the kernel does by itself ---- */

/* It goes down from above: past the region, and never into it. */
static void go_past(void)
{
	unsigned long size = 8 * GIB, at;
	unsigned int n = 0;

	enter();
	find_granule();
	while (size >= 4096 && n++ < 2000) {
		at = (unsigned long)mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		CHECK(at >= granule + GIB || at + size <= granule, "%#lx bytes at %#lx, in the region at %#lx", size,
		      at, granule);
		if (at < granule)
			size /= 2;
	}
	CHECK(size < 4096, "the kernel does not get past the region");
	use_addresses();
	CHECK_EQUAL(IN_CHILD(
		at = (unsigned long)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(at < granule, "a page of a child at %#lx, the region is at %#lx", at, granule);
		make_threads(4)
	), EXITED(0), "a child");
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		go_past();
		return check_result();
	}
	CHECK_EQUAL(IN_CHILD(enter(); try_all("as it is")), EXITED(0), "as it is");
	CHECK_EQUAL(IN_CHILD(
		fill_below_stack();
		enter();
		try_all("below the stack is no room")
	), EXITED(0), "below the stack is no room");
	CHECK_EQUAL(IN_CHILD(forks()), EXITED(0), "forks");
	CHECK_EQUAL(IN_CHILD(execl("/proc/self/exe", *argv, "past", NULL)), EXITED(0), "a random layout");
	CHECK_EQUAL(IN_CHILD(
		personality(ADDR_NO_RANDOMIZE);
		execl("/proc/self/exe", *argv, "past", NULL)
	), EXITED(0), "a layout that is not random");
	return check_result();
}
