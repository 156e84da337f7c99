// SPDX-License-Identifier: MIT
/*
 * The memory map, and what is printed of a frame: by an ordinary program and in Dune mode.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "proc.h"

static unsigned int entries;
static uintptr_t last_end, wanted;
static struct dune_procmap_entry found;
static char found_path[8192];

static void see(const struct dune_procmap_entry *e, void *arg)
{
	(*(unsigned int *)arg)++;
	CHECK(e->begin < e->end && e->begin >= last_end, "entry %#lx-%#lx after %#lx", e->begin, e->end, last_end);
	last_end = e->end;
	if (wanted < e->begin || wanted >= e->end)
		return;
	found = *e;
	snprintf(found_path, sizeof(found_path), "%s", e->path);
}

static bool find(const void *address)
{
	entries = last_end = 0;
	wanted = (uintptr_t)address;
	memset(&found, 0, sizeof(found));
	CHECK_EQUAL(dune_procmap_iterate(see, &entries), 0, "dune_procmap_iterate");
	CHECK(entries > 5, "%u entries", entries);
	return found.end;
}

static void *map_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	void *ret;

	DIE_UNLESS(fd >= 0 && !ftruncate(fd, 3 * 4096), path);
	ret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 * 4096);
	DIE_UNLESS(ret != MAP_FAILED, "mmap");
	close(fd);
	return ret;
}

static void names(void)
{
	char path[4000], name[201];
	void *file;
	int local = 0, i;

	CHECK(find(&local), "the stack is missing");
	CHECK_EQUAL(found.type, PROCMAP_TYPE_STACK, "type of the stack");
	CHECK(found.r && found.w && found.p, "permissions of the stack");
	CHECK(find(names), "the program is missing");
	CHECK_EQUAL(found.type, PROCMAP_TYPE_FILE, "type of the program");
	CHECK(found.r && !found.w && found.x, "permissions of the program");

	file = map_file("/tmp/ a name\nwith [blanks]");
	CHECK(find(file), "a file is missing");
	CHECK(!strcmp(found_path, "/tmp/ a name\\012with [blanks]"), "path %s", found_path);
	CHECK_EQUAL(found.offset, 2 * 4096, "offset");
	CHECK(!found.p, "private");
	unlink("/tmp/ a name\nwith [blanks]");
	CHECK(find(file), "a deleted file is missing");
	CHECK(!strcmp(found_path, "/tmp/ a name\\012with [blanks] (deleted)"), "path %s", found_path);
	munmap(file, 4096);

	memset(name, 'n', 200);
	name[200] = 0;
	strcpy(path, "/tmp");
	for (i = 0; i < 18; i++) {
		strcat(strcat(path, "/"), name);
		mkdir(path, 0700);
	}
	strcat(path, "/file");
	file = map_file(path);
	CHECK(find(file), "a file with a long path is missing");
	CHECK(!strcmp(found_path, path), "a path of %zu characters became %zu", strlen(path), strlen(found_path));
	munmap(file, 4096);

	file = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(find(file), "a mapping without permissions is missing");
	CHECK(!found.r && !found.w && !found.x, "permissions");
	CHECK_EQUAL(dune_procmap_iterate(NULL, NULL), -EINVAL, "no function");
}

/* More lines than the kernel prints at once, while the map changes. */
static int changes;

static void change(const struct dune_procmap_entry *e, void *arg)
{
	(void)arg;
	void *p;

	CHECK(e->begin >= last_end, "an address came twice");
	last_end = e->end;
	entries++;
	p = mmap(NULL, 4096, changes++ & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (changes % 3)
		munmap(p, 4096);
}

static void many(void)
{
	char *p = mmap(NULL, 2000 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 2000; i += 2)
		mprotect(p + i * 4096, 4096, PROT_NONE);
	find(p);
	CHECK(entries > 2000, "%u entries", entries);
	entries = last_end = 0;
	CHECK_EQUAL(dune_procmap_iterate(change, NULL), 0, "while it changes");
	CHECK(entries > 2000, "%u entries", entries);
	munmap(p, 2000 * 4096);
}

/* ---- what is printed ---- */

static char output[65536];

/* All that the child prints to descriptor @fd; its wait status. */
static int printed(int fd, void (*function)(void))
{
	int ends[2], status;
	size_t length = 0;
	ssize_t got;
	pid_t pid;

	DIE_UNLESS(!pipe(ends), "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(ends[1], fd);
		close(ends[0]);
		close(ends[1]);
		function();
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], output + length, sizeof(output) - 1 - length)) > 0)
		length += got;
	output[length] = 0;
	close(ends[0]);
	status = proc_wait(pid);
	return status;
}

static void dump_map(void)
{
	dune_procmap_dump();
}

void __attribute__((noinline)) die_here(void)
{
	dune_set_option(DUNE_OPT_QUIET, false);
	__asm__ volatile("mov $0x5ca1ab1e, %%ebx; push $0x77; ud2; .byte 0x90, 0x90" : : : "rbx", "memory");
}

static void dump_nowhere(void)
{
	struct dune_tf tf = { .rip = 0x123456789abc, .rsp = 0x8000000000000000, .rax = 0xfeed };

	dune_dump_trap_frame(&tf);
	tf.rip = ~0UL;
	tf.rsp = ~0UL - 8;
	dune_dump_trap_frame(&tf);
	dune_dump_trap_frame(NULL);
}

static void expect(const char *what)
{
	CHECK(strstr(output, what), "\"%s\" is missing in:\n%.500s", what, output);
}

static void texts(void)
{
	CHECK_EQUAL(printed(1, dump_map), 0, "dune_procmap_dump");
	expect("[stack]\n");
	expect(" r-xp ");
	if (proc_inside) {
		CHECK_EQUAL(printed(2, die_here) & 0x7f, SIGILL, "an exception without a handler");
		expect("invalid opcode");
		expect("rbx 000000005ca1ab1e");
		expect("<0f> 0b 90 90");
		expect("stack: 0000000000000077 ");
		expect("function: die_here + 0x");
		expect("tests/guest/procmap + 0x");
	}
	CHECK_EQUAL(printed(2, dump_nowhere), 0, "frames of nothing");
	expect("rax 000000000000feed");
	expect("code: cannot be read");
	expect("stack: cannot be read");
	expect("rip is in no memory");
	expect("no frame at");
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	names();
	many();
	texts();
	return check_result();
}
