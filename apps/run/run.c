// SPDX-License-Identifier: MIT
/*
 * dune-run [--gdb PORT] PROGRAM [ARGUMENT...]: run an unmodified program, and all that it starts, in Dune mode.
 *
 * The work is done by an object that the dynamic linker loads into the program (libdune/launch).
 * Exit status: the program's; 125 if dune-run itself fails, 126 if the program cannot be run,
 * 127 if it is not found.
 */
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

#include "launch/launch.h"
#include "remote.h"

#define DEVICE		"/dev/dune"
#define INSTALLED	"/usr/local/lib/" LAUNCH_OBJECT

enum { FAILED = LAUNCH_FAILED, CANNOT_RUN = 126, NOT_FOUND = 127 };

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

/* What the kernel would say, where libdune leaves it to the kernel. */
static void check_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char start[20] = "";
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || access(path, X_OK))
		die(CANNOT_RUN, "%s: %s", path, strerror(S_ISDIR(st.st_mode) ? EISDIR : EACCES));
	if (pread(fd, start, sizeof(start), 0) < 4)
		die(CANNOT_RUN, "%s: %s", path, strerror(ENOEXEC));
	close(fd);
}

static void check_program(const char *path, struct program *program)
{
	check_file(path);
	__dune_program(program, AT_FDCWD, path, 0);
	if (program->kind == PROGRAM_PRIVILEGED)
		die(CANNOT_RUN, "%s: set-user-ID, set-group-ID or with capabilities of its own: "
		    "such a program is not run in Dune mode", path);
	if (program->kind == PROGRAM_OTHER)
		die(CANNOT_RUN, "%s: not a 64-bit x86 program, nor a script for one", path);
}

/* ../lib beside this program's directory, else where it is installed. */
static void find_object(char path[PATH_MAX])
{
	static const char *const beside[] = { "/../lib/" LAUNCH_OBJECT, "/" LAUNCH_OBJECT };
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
	die(FAILED, "cannot find " LAUNCH_OBJECT " beside this program or at " INSTALLED);
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

/*
 * A statically linked program is started by the object (launch/image.c), which gets its descriptor; of a script
 * the arguments, @args, are what the kernel would make them.
 */
static char **loader_args(const char *object, const char *name, const struct program *program, char **args)
{
	size_t count = 0, skipped = program->nr_args ? 1 : 0;
	char **argv, **p;

	while (args[count])
		count++;
	p = argv = calloc(LOADER_ARGS + program->nr_args + count + 1, sizeof(*argv));
	if (!argv || asprintf(&argv[1], "%d", program->fd) < 0)
		die(FAILED, "%s", strerror(ENOMEM));
	argv[0] = (char *)object;
	argv[2] = (char *)name;
	p += LOADER_ARGS;
	memcpy(p, program->args, program->nr_args * sizeof(*argv));
	memcpy(p + program->nr_args, args + skipped, (count - skipped) * sizeof(*argv));
	fcntl(program->fd, F_SETFD, 0);
	return argv;
}

/* Where the code of the program is: for a script, its interpreter's. */
static const char *symbol_file(const char *path, const struct program *program)
{
	char *file = realpath(program->nr_args ? program->args[0] : path, NULL);

	return file ? file : path;
}

static int usage(void)
{
	fprintf(stderr, "usage: dune-run [--ring0] [--gdb PORT] PROGRAM [ARGUMENT...]\n");
	return FAILED;
}

static int read_port(const char *text)
{
	char *after;
	unsigned long port = strtoul(text, &after, 10);

	if (*after || after == text || port > 65535)
		die(FAILED, "%s: not a TCP port", text);
	return port;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX], object[PATH_MAX];
	struct program program;
	const char *start = path;
	int port = -1;

	for (;;) {
		if (argc > 2 && !strcmp(argv[1], "--gdb")) {
			port = read_port(argv[2]);
			argc -= 2, argv += 2;
		} else if (argc > 1 && !strcmp(argv[1], "--ring0")) {
			putenv(DUNE_RING0_VARIABLE "1");
			argc--, argv++;
		} else {
			break;
		}
	}
	if (argc > 1 && !strcmp(argv[1], "--"))
		argc--, argv++;
	if (argc < 2 || argv[1][0] == '-')
		return usage();
	argv++;
	find_program(argv[0], path);
	check_program(path, &program);
	find_object(object);
	check_device();
	set_preload(object);
	if (program.kind == PROGRAM_STATIC) {
		start = object;
		argv = loader_args(object, path, &program, argv);
	}
	if (port >= 0) {
		setenv("DUNE_DEBUG", "1", 1);
		remote_run(port, start, symbol_file(path, &program), argv);
	}
	execv(start, argv);
	die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", path, strerror(errno));
}
