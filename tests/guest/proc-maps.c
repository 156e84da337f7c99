// SPDX-License-Identifier: MIT
/*
 * The program's memory map has nothing in it where libdune is, and all that is the program's.
 *
 *	proc-maps outside|inside [cost]		cost: what it takes, where the TSC counts instructions
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "proc.h"

#define GIB	(1UL << 30)
#define PAGE	4096UL
#define MANY	1500
#define ROOM	(4 << 20)

static unsigned long hole;	/* 1 GiB, where libdune is or nothing */
static char *text, *whole;

static char *map(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int open_checked(const char *path, int flags)
{
	int fd = open(path, flags);

	CHECK(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static size_t read_all(int fd, char *to)
{
	size_t size = 0;
	ssize_t n;

	while ((n = read(fd, to + size, ROOM - 1 - size)) > 0)
		size += n;
	CHECK_EQUAL(n, 0, "read");
	to[size] = 0;
	return size;
}

static bool in_hole(const char *line)
{
	return strtoul(line, NULL, 16) - hole < GIB;
}

/* Lines of mappings: those that begin with an address. */
static bool is_mapping(const char *line)
{
	return strspn(line, "0123456789abcdef") >= 8;
}

static char *next_line(char *line)
{
	char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

static void check_text(const char *path)
{
	unsigned int lines = 0, hidden = 0;

	for (char *line = text; *line; line = next_line(line)) {
		if (!is_mapping(line))
			continue;
		lines++;
		hidden += in_hole(line);
	}
	CHECK(lines > 5, "%s has %u mappings", path, lines);
	CHECK(!hidden, "%s has %u mappings where libdune is", path, hidden);
	CHECK(!lines || strstr(text, "stack"), "%s has no stack", path);
}

static void look(const char *path)
{
	int fd = open_checked(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	CHECK(read_all(fd, text) > 100, "%s is empty", path);
	check_text(path);
	close(fd);
}

static void look_at_all(void)
{
	static const char *const names[] = { "maps", "smaps", "numa_maps" };
	char path[64];

	for (int i = 0; i < 3; i++) {
		if (access("/proc/self/numa_maps", R_OK) && i == 2)
			continue;
		snprintf(path, sizeof(path), "/proc/self/%s", names[i]);
		look(path);
		snprintf(path, sizeof(path), "/proc/thread-self/%s", names[i]);
		look(path);
		snprintf(path, sizeof(path), "/proc/%d/%s", getpid(), names[i]);
		look(path);
		snprintf(path, sizeof(path), "/proc/self/task/%ld/%s", syscall(SYS_gettid), names[i]);
		look(path);
	}
	CHECK(!chdir("/proc/self"), "chdir");
	look("maps");
	CHECK(!chdir("/"), "chdir");
}

/* By another name it is the kernel's own: less the hole's it must be the same. */
static void compare(const char *name)
{
	char path[64];
	char *to = whole;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	unlink("/tmp/plain");
	CHECK(!symlink(path, "/tmp/plain"), "symlink");
	fd = open_checked("/tmp/plain", O_RDONLY);
	read_all(fd, whole);
	close(fd);
	fd = open_checked(path, O_RDONLY);
	read_all(fd, text);
	for (char *line = whole, *next; *line; line = next) {
		next = next_line(line);
		if (!in_hole(line)) {
			memmove(to, line, next - line);
			to += next - line;
		}
	}
	*to = 0;
	CHECK(!strcmp(text, whole), "%s is not the same without the hole", path);
	CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0, "lseek");
	memcpy(whole, text, ROOM);
	read_all(fd, text);
	CHECK(!strcmp(text, whole), "%s is not the same when read again", path);
	close(fd);
}

static void descriptors(void)
{
	const char *path = "/proc/self/maps";
	struct { uint64_t flags, mode, resolve; } how = { O_RDONLY | O_CLOEXEC, 0, 0 };
	int lowest = dup(0), fd, directory = open("/proc/self", O_PATH | O_DIRECTORY);
	char byte;

	close(lowest);
	close(directory);
	fd = open_checked(path, O_RDONLY);
	CHECK_EQUAL(fd, lowest, "the lowest number");
	CHECK_EQUAL(fcntl(fd, F_GETFD), 0, "without O_CLOEXEC");
	CHECK_EQUAL(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY, "the access mode");
	CHECK_EQUAL(write(fd, "x", 1), -1, "write");
	CHECK_EQUAL(errno, EBADF, "its errno");
	close(fd);
	fd = open_checked(path, O_RDONLY | O_CLOEXEC);
	CHECK_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC, "with O_CLOEXEC");
	close(fd);
	fd = open_checked(path, O_PATH);
	CHECK_EQUAL(read(fd, &byte, 1), -1, "read with O_PATH");
	close(fd);
	directory = open_checked("/proc/self", O_PATH | O_DIRECTORY);
	fd = openat(directory, "maps", O_RDONLY);
	CHECK(fd >= 0, "openat: %s", strerror(errno));
	read_all(fd, text);
	check_text("openat()");
	close(fd);
	fd = syscall(SYS_openat2, directory, "maps", &how, sizeof(how));
	CHECK(fd >= 0, "openat2: %s", strerror(errno));
	CHECK_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC, "openat2 with O_CLOEXEC");
	read_all(fd, text);
	check_text("openat2()");
	close(fd);
	close(directory);
	fd = dup(0);
	CHECK_EQUAL(fd, lowest, "the lowest number after that");
	close(fd);
}

/* What only has the name. */
static void other_files(void)
{
	int fd = open("/tmp/maps", O_CREAT | O_RDWR, 0600);

	CHECK_EQUAL(write(fd, "mine", 4), 4, "write");
	CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0, "lseek");
	CHECK_EQUAL(read_all(fd, text), 4, "read");
	close(fd);
	unlink("/tmp/maps");
	CHECK(open("/tmp/no/maps", O_RDONLY) == -1 && errno == ENOENT, "what is not there: %s", strerror(errno));
	CHECK(open((char *)8, O_RDONLY) == -1 && errno == EFAULT, "a bad path: %s", strerror(errno));
}

static void limits(void)
{
	struct rlimit limit = { 16, 16 };

	CHECK(!setrlimit(RLIMIT_FSIZE, &limit), "RLIMIT_FSIZE");
	close(open_checked("/proc/self/maps", O_RDONLY));
	limit.rlim_cur = limit.rlim_max = dup(0) + 1;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit), "RLIMIT_NOFILE");
	close(limit.rlim_cur - 1);
	close(open_checked("/proc/self/maps", O_RDONLY));
}

static unsigned long took(const char *path, bool read_it)
{
	const unsigned long start = __builtin_ia32_rdtsc();
	int fd = open_checked(path, O_RDONLY);

	if (read_it)
		read_all(fd, text);
	close(fd);
	return __builtin_ia32_rdtsc() - start;
}

/* Where the TSC counts instructions: to open the map takes 1.2 times what it takes to read the kernel's own text. */
static void cost(void)
{
	unlink("/tmp/plain");
	CHECK(!symlink("/proc/self/smaps", "/tmp/plain"), "symlink");
	for (int i = 0; i < 3; i++) {
		const unsigned long plain = took("/tmp/plain", true), ours = took("/proc/self/smaps", false);

		printf("the kernel's own, read: %lu; opened: %lu\n", plain, ours);
		CHECK(i < 1 || ours < plain * 7 / 5, "%lu, that is %lu%% of %lu", ours, ours * 100 / plain, plain);
	}
}

static void *in_thread(void *unused)
{
	look_at_all();
	return unused;
}

static void in_vfork(void)
{
	static int failures;
	pid_t pid = vfork();

	if (!pid) {
		int before = check_failures;

		look("/proc/self/maps");
		failures = check_failures - before;
		_exit(0);
	}
	CHECK_EQUAL(proc_wait(pid), EXITED(0), "vfork");
	CHECK_EQUAL(failures, 0, "failures in a child of vfork");
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char *many;

	proc_begin(argc, argv);
	hole = ((unsigned long)__builtin_frame_address(0) & -GIB) - 16 * GIB;
	text = map(ROOM);
	whole = map(ROOM);
	many = map(MANY * PAGE);
	for (int i = 0; i < MANY; i += 2)
		mprotect(many + i * PAGE, PAGE, PROT_READ);
	mmap((void *)(hole - PAGE), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	mmap((void *)(hole + GIB), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (argc > 2) {
		cost();
		return check_result();
	}
	look_at_all();
	compare("maps");
	descriptors();
	other_files();
	CHECK(!pthread_create(&thread, NULL, in_thread, NULL) && !pthread_join(thread, NULL), "a thread");
	in_vfork();
	CHECK_EQUAL(IN_CHILD(look_at_all(); compare("maps")), EXITED(0), "in a child");
	CHECK_EQUAL(IN_CHILD(limits()), EXITED(0), "at limits");
	return check_result();
}
