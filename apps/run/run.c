// SPDX-License-Identifier: MIT
/*
 * dune-run PROGRAM [ARGUMENT...]: run an unmodified program, and all that it starts, in Dune mode.
 *
 * The work is done by an object that the dynamic linker loads into the program (preload.c).
 * Exit status: the program's; 125 if dune-run itself fails, 126 if the program cannot be run,
 * 127 if it is not found.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE		"/dev/dune"
#define OBJECT		"dune-preload.so"
#define INSTALLED	"/usr/local/lib/" OBJECT

enum { FAILED = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

static void __attribute__((noreturn, format(printf, 2, 3))) die(int status, const char *fmt, ...)
{
	va_list args;

	fputs("dune-run: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

/* The program as execvp() would find it. */
static void find_program(const char *name, char path[PATH_MAX])
{
	const char *dir = getenv("PATH");
	int error = ENOENT;
	size_t length;
	struct stat st;

	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		if (stat(path, &st))
			die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", name, strerror(errno));
		return;
	}
	if (!dir)
		dir = "/bin:/usr/bin";
	for (;; dir += length + 1) {
		length = strcspn(dir, ":");
		snprintf(path, PATH_MAX, "%.*s/%s", length ? (int)length : 1, length ? dir : ".", name);
		if (!stat(path, &st) && S_ISREG(st.st_mode)) {
			if (!access(path, X_OK))
				return;
			error = EACCES;
		}
		if (!dir[length])
			break;
	}
	die(error == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", name, strerror(error));
}

static bool read_at(int fd, void *to, size_t size, off_t offset)
{
	return pread(fd, to, size, offset) == (ssize_t)size;
}

static void check_elf(int fd, const Elf64_Ehdr *header, const char *path)
{
	Elf64_Phdr segment;

	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
		die(CANNOT_RUN, "%s: not a 64-bit x86 program", path);
	for (int i = 0; i < header->e_phnum; i++) {
		if (!read_at(fd, &segment, sizeof(segment), header->e_phoff + (off_t)i * header->e_phentsize))
			break;
		if (segment.p_type == PT_INTERP)
			return;
	}
	die(CANNOT_RUN, "%s: statically linked; only a program with a dynamic linker can be taken into Dune mode "
	    "(link libdune into it and call dune_init_and_enter())", path);
}

static void check_program(const char *path, int depth);

/* "#!INTERPRETER [ARGUMENT]" */
static void check_script(const char *line, const char *path, int depth)
{
	char interpreter[256];

	if (depth > 4 || sscanf(line, " %255s", interpreter) != 1)
		die(CANNOT_RUN, "%s: no usable interpreter", path);
	check_program(interpreter, depth + 1);
}

static void check_program(const char *path, int depth)
{
	union {
		Elf64_Ehdr elf;
		char text[256];
	} start = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || access(path, X_OK))
		die(CANNOT_RUN, "%s: %s", path, strerror(S_ISDIR(st.st_mode) ? EISDIR : EACCES));
	if (geteuid() && st.st_mode & S_ISUID && st.st_uid != geteuid())
		die(CANNOT_RUN, "%s: set-user-ID; the dynamic linker loads nothing else into it", path);
	if (geteuid() && (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getegid())
		die(CANNOT_RUN, "%s: set-group-ID; the dynamic linker loads nothing else into it", path);
	if (pread(fd, &start, sizeof(start) - 1, 0) < 4)
		die(CANNOT_RUN, "%s: %s", path, strerror(ENOEXEC));
	if (!memcmp(start.text, "#!", 2))
		check_script(start.text + 2, path, depth);
	else if (!memcmp(start.text, ELFMAG, SELFMAG))
		check_elf(fd, &start.elf, path);
	else
		die(CANNOT_RUN, "%s: %s", path, strerror(ENOEXEC));
	close(fd);
}

/* ../lib beside this program's directory, else where it is installed. */
static void find_object(char path[PATH_MAX])
{
	static const char *const beside[] = { "/../lib/" OBJECT, "/" OBJECT };
	char self[PATH_MAX], tried[PATH_MAX + 32];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (length > 0) {
		self[length] = '\0';
		slash = strrchr(self, '/');
		*slash = '\0';
		for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
			snprintf(tried, sizeof(tried), "%s%s", self, beside[i]);
			if (realpath(tried, path))
				return;
		}
	}
	if (realpath(INSTALLED, path))
		return;
	die(FAILED, "cannot find " OBJECT " beside this program or at " INSTALLED);
}

/* One message here is clearer than one from inside the program. */
static void check_device(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(FAILED, DEVICE ": %s%s", strerror(errno),
		    errno == ENOENT ? " (is the module loaded?)" : "");
	close(fd);
}

static void set_preload(const char *object)
{
	const char *old = getenv("LD_PRELOAD");
	char *value;

	if (strpbrk(object, " :"))
		die(FAILED, "%s: LD_PRELOAD cannot name a path with a space or a colon", object);
	if (asprintf(&value, "%s%s%s", object, old && *old ? ":" : "", old ? old : "") < 0 ||
	    setenv("LD_PRELOAD", value, 1))
		die(FAILED, "%s", strerror(ENOMEM));
	free(value);
}

int main(int argc, char **argv)
{
	char program[PATH_MAX], object[PATH_MAX];

	if (argc > 1 && !strcmp(argv[1], "--"))
		argc--, argv++;
	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: dune-run PROGRAM [ARGUMENT...]\n");
		return FAILED;
	}
	find_program(argv[1], program);
	check_program(program, 0);
	find_object(object);
	check_device();
	set_preload(object);
	execv(program, argv + 1);
	die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", program, strerror(errno));
}
