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

#define NO_PROGRAM	"not a 64-bit x86 program, nor a script that begins with #! and its interpreter"

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

/* What can be said without the kernel's attempt: to open what is no file could do something, or wait. */
static void check_program(const char *path, struct program *program, bool check)
{
	struct stat st;

	if (stat(path, &st))
		die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || access(path, X_OK))
		die(CANNOT_RUN, "%s: %s", path, strerror(S_ISDIR(st.st_mode) ? EISDIR : EACCES));
	__dune_program(program, AT_FDCWD, path, 0, check ? LOADS_ALL : LOADS_STATIC);
	if (program->kind == PROGRAM_PRIVILEGED)
		die(CANNOT_RUN, "%s: set-user-ID, set-group-ID or with capabilities of its own: "
		    "such a program is not run in Dune mode", path);
	if (program->kind == PROGRAM_32BIT || (check && program->fd < 0 && !program->error))
		die(CANNOT_RUN, "%s: " NO_PROGRAM, path);
	if (check && program->fd < 0)
		die(CANNOT_RUN, "%s: %s", path, strerror(-program->error));
}

/* The kernel has refused it with @error.  What it says of a script's interpreter sounds as if the script were meant. */
static void __attribute__((noreturn)) refused(const char *path, const struct program *program, int error)
{
	int status = error == ENOENT ? NOT_FOUND : CANNOT_RUN;

	if (error == ENOEXEC)
		die(status, "%s: %s: " NO_PROGRAM, path, strerror(error));
	if (program->kind == PROGRAM_DYNAMIC && error == ENOENT && !access(path, F_OK))
		die(status, "%s: the dynamic linker that %s names is not there", path,
		    program->nr_args ? program->args[0] : "it");
	if (program->nr_args && error != ELOOP)
		die(status, "%s: %s: bad interpreter: %s", path, program->args[0], strerror(error));
	die(status, "%s: %s", path, strerror(error));
}

/* ../lib beside this program's directory, else where it is installed. */
static void find_object(char path[PATH_MAX])
{
	static const char *const beside[] = { "/../lib/" LAUNCH_OBJECT, "/" LAUNCH_OBJECT };
	static char self[PATH_MAX], tried[PATH_MAX + 32];
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

/*
 * Is this process in Dune mode already?  Then it has the device, and what it executes is in Dune mode too.
 * Where the device cannot be had, one message here is clearer than one from inside the program.
 */
static bool in_dune_mode(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == EBUSY)
		return true;
	if (fd < 0)
		die(FAILED, DEVICE ": %s%s", strerror(errno),
		    errno == ENOENT ? " (is the module loaded?)" : "");
	close(fd);
	return false;
}

/* tracee.c puts the number of the process there. */
static char debug[sizeof(DUNE_DEBUG_VARIABLE) + DUNE_DEBUG_DIGITS] = DUNE_DEBUG_VARIABLE;

/* So many variables go again when the program begins (launch.h). */
static void add_variables(const char *first, const char *second)
{
	size_t count = 0;
	char **env;

	while (environ[count])
		count++;
	env = calloc(count + 3, sizeof(*env));
	if (!env)
		die(FAILED, "%s", strerror(ENOMEM));
	memcpy(env, environ, count * sizeof(*env));
	env[count++] = (char *)first;
	env[count] = (char *)second;
	environ = env;
}

static void set_environment(const char *object, bool debugged)
{
	const char *old = getenv("LD_PRELOAD");
	char *variable;

	if (strpbrk(object, " :"))
		die(FAILED, "%s: LD_PRELOAD cannot name a path with a space or a colon", object);
	if (asprintf(&variable, "LD_PRELOAD=%s%s%s", object, old ? ":" : "", old ? old : "") < 0)
		die(FAILED, "%s", strerror(ENOMEM));
	if (!old)
		add_variables(variable, debugged ? debug : variable);
	else if (putenv(variable))
		die(FAILED, "%s", strerror(ENOMEM));
	else if (debugged)
		add_variables(debug, debug);
}

/*
 * A statically linked program, or one that is checked, is started by the object (launch/image.c), which gets its
 * descriptor; of a script the arguments, @args, are what the kernel would make them.
 */
static char **loader_args(const char *object, const char *name, const struct program *program, char **args,
			  const char *setting)
{
	size_t count = 0, skipped = program->nr_args ? 1 : 0;
	char **argv, **p;

	while (args[count])
		count++;
	p = argv = calloc(LOADER_ARGS + program->nr_args + count + 1, sizeof(*argv));
	if (!argv || asprintf(&argv[1], "%d%s", program->fd, setting) < 0)
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

static const char usage[] = "usage: dune-run [--ring0 | --check] [--gdb PORT] [--] PROGRAM [ARGUMENT...]\n";

static const char help[] =
	"Run PROGRAM, and all that it starts, in Dune mode.\n\n"
	"  --ring0      have it run in ring 0 of the guest, not in ring 3\n"
	"  --check      have none of its system calls reach libdune's memory, nor anything of it run outside\n"
	"  --gdb PORT   wait for gdb at this TCP port of this machine (0: any) before it runs\n"
	"  --help       print this\n"
	"  --version    print the version\n\n"
	"The exit status is PROGRAM's; 125: dune-run has failed, 126: PROGRAM cannot be run, 127: it is not found.\n"
	"The manual: man dune-run\n";

static int read_port(const char *text)
{
	char *after;
	unsigned long port = strtoul(text, &after, 10);

	if (*after || after == text || port > 65535)
		die(FAILED, "%s: not a TCP port", text);
	return port;
}

static void __attribute__((noreturn)) execute(const char *start, const char *path, const struct program *program,
					      char **argv, int port)
{
	if (port >= 0)
		remote_run(port, start, symbol_file(path, program), argv);
	execv(start, argv);
	refused(path, program, errno);
}

int main(int argc, char **argv)
{
	/* The stack's limit may be 16 KiB. */
	static char path[PATH_MAX], object[PATH_MAX];
	static struct program program;
	static const char checked[] = { LOADER_CHECK, '\0' };
	bool inside, check = false, ring0 = false;
	int port = -1;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return printf("%s%s", usage, help) < 0 || fflush(stdout) ? FAILED : 0;
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return puts("dune-run (Dune) " DUNE_VERSION) < 0 || fflush(stdout) ? FAILED : 0;
	for (;;) {
		if (argc > 2 && !strcmp(argv[1], "--gdb")) {
			port = read_port(argv[2]);
			argc -= 2, argv += 2;
		} else if (argc > 1 && !strcmp(argv[1], "--ring0")) {
			ring0 = true;
			argc--, argv++;
		} else if (argc > 1 && !strcmp(argv[1], "--check")) {
			check = true;
			argc--, argv++;
		} else {
			break;
		}
	}
	if (argc > 1 && !strcmp(argv[1], "--"))
		argc--, argv++;
	else if (argc > 1 && argv[1][0] == '-')
		die(FAILED, "%s: not an option\n%sdune-run --help says more", argv[1], usage);
	if (argc < 2)
		die(FAILED, "no program\n%sdune-run --help says more", usage);
	if (ring0 && check)
		die(FAILED, "--check: a program in ring 0 cannot be checked: leave out --ring0");
	if (ring0)
		putenv(DUNE_RING0_VARIABLE "1");
	argv++;
	unsetenv("DUNE_DEBUG");
	find_program(argv[0], path);
	inside = in_dune_mode();	/* before the program is opened, for that may take the last descriptor */
	check_program(path, &program, check);
	if (inside && check)
		die(FAILED, "--check: this process is in Dune mode already: start it from outside");
	if (inside) {
		if (port >= 0)
			add_variables(debug, debug);
		execute(path, path, &program, argv, port);
	}
	find_object(object);
	set_environment(object, port >= 0);
	if (program.fd >= 0)
		execute(object, path, &program, loader_args(object, path, &program, argv, check ? checked : ""), port);
	execute(path, path, &program, argv, port);
}
