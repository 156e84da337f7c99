// SPDX-License-Identifier: MIT
/*
 * What programs do that start others in Dune mode: find the program, look at it, and prepare how the kernel or the
 * loader is to start it.  An ordinary program's code, with the C library; each ends the process with a message if it
 * fails.
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
#include <sys/syscall.h>
#include <unistd.h>

#include "launch/launch.h"

#define DEVICE		"/dev/dune"
#define NO_PROGRAM	"not a 64-bit x86 program, nor a script that begins with #! and its interpreter"

enum { FAILED = LAUNCH_FAILED, CANNOT_RUN = 126, NOT_FOUND = 127 };

void __dune_launch_die(int status, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

/* The program as execvp() would find it. */
void __dune_launch_find(const char *name, char path[PATH_MAX])
{
	const char *dir = getenv("PATH");
	int error = ENOENT;
	size_t length;
	struct stat st;

	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		if (stat(path, &st))
			__dune_launch_die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", name, strerror(errno));
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
	__dune_launch_die(error == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", name, strerror(error));
}

/* What can be said without the kernel's attempt: to open what is no file could do something, or wait. */
void __dune_launch_check(const char *path, struct program *program, bool check)
{
	struct stat st;

	if (stat(path, &st))
		__dune_launch_die(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || access(path, X_OK))
		__dune_launch_die(CANNOT_RUN, "%s: %s", path, strerror(S_ISDIR(st.st_mode) ? EISDIR : EACCES));
	__dune_program(program, AT_FDCWD, path, 0, check ? LOADS_ALL : LOADS_STATIC, NULL, NULL);
	if (program->kind == PROGRAM_PRIVILEGED)
		__dune_launch_die(CANNOT_RUN, "%s: set-user-ID, set-group-ID or with capabilities of its own: "
		    "such a program is not run in Dune mode", path);
	if (program->kind == PROGRAM_32BIT || (check && program->fd < 0 && !program->error))
		__dune_launch_die(CANNOT_RUN, "%s: " NO_PROGRAM, path);
	if (check && program->fd < 0)
		__dune_launch_die(CANNOT_RUN, "%s: %s", path, strerror(-program->error));
}

/* The kernel has refused it with @error.  What it says of a script's interpreter sounds as if the script were meant. */
void __dune_launch_refused(const char *path, const struct program *program, int error)
{
	int status = error == ENOENT ? NOT_FOUND : CANNOT_RUN;

	if (error == ENOEXEC)
		__dune_launch_die(status, "%s: %s: " NO_PROGRAM, path, strerror(error));
	if (program->kind == PROGRAM_DYNAMIC && error == ENOENT && !access(path, F_OK))
		__dune_launch_die(status, "%s: the dynamic linker that %s names is not there", path,
		    program->nr_args ? program->args[0] : "it");
	if (program->nr_args && error != ELOOP)
		__dune_launch_die(status, "%s: %s: bad interpreter: %s", path, program->args[0], strerror(error));
	__dune_launch_die(status, "%s: %s", path, strerror(error));
}

/*
 * Is this process in Dune mode already?  Then it has the device, and what it executes is in Dune mode too.
 * Where the device cannot be had, one message here is clearer than one from inside the program.
 */
bool __dune_launch_inside(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == EBUSY)
		return true;
	if (fd < 0)
		__dune_launch_die(FAILED, DEVICE ": %s%s", strerror(errno),
		    errno == ENOENT ? " (is the module loaded?)" : "");
	close(fd);
	return false;
}

/* So many variables go again when the program begins (launch.h). */
void __dune_launch_add_variables(const char *first, const char *second)
{
	size_t count = 0;
	char **env;

	while (environ[count])
		count++;
	env = calloc(count + 3, sizeof(*env));
	if (!env)
		__dune_launch_die(FAILED, "%s", strerror(ENOMEM));
	memcpy(env, environ, count * sizeof(*env));
	env[count++] = (char *)first;
	env[count] = (char *)second;
	environ = env;
}

void __dune_launch_environment(const char *object, const char *beside)
{
	const char *old = getenv("LD_PRELOAD");
	char *variable;

	if (strpbrk(object, " :"))
		__dune_launch_die(FAILED, "%s: LD_PRELOAD cannot name a path with a space or a colon", object);
	if (asprintf(&variable, "LD_PRELOAD=%s%s%s", object, old ? ":" : "", old ? old : "") < 0)
		__dune_launch_die(FAILED, "%s", strerror(ENOMEM));
	if (!old)
		__dune_launch_add_variables(variable, beside ? beside : variable);
	else if (putenv(variable))
		__dune_launch_die(FAILED, "%s", strerror(ENOMEM));
	else if (beside)
		__dune_launch_add_variables(beside, beside);
}

void __dune_launch_exec(const char *path, int loader, char **argv)
{
	if (loader >= 0)
		syscall(SYS_execveat, loader, "", argv, environ, AT_EMPTY_PATH);
	else
		execv(path, argv);
}

/*
 * A statically linked program, or one that is checked, is started by the object (launch/image.c), which gets its
 * descriptor; of a script the arguments, @args, are what the kernel would make them.
 */
char **__dune_launch_args(const char *object, const char *name, const struct program *program, char **args,
			  const char *setting)
{
	size_t count = 0, skipped = program->nr_args ? 1 : 0;
	char **argv, **p;

	while (args[count])
		count++;
	p = argv = calloc(LOADER_ARGS + program->nr_args + count + 1, sizeof(*argv));
	if (!argv || asprintf(&argv[1], "%d%s", program->fd, setting) < 0)
		__dune_launch_die(FAILED, "%s", strerror(ENOMEM));
	argv[0] = (char *)object;
	argv[2] = (char *)name;
	p += LOADER_ARGS;
	memcpy(p, program->args, program->nr_args * sizeof(*argv));
	memcpy(p + program->nr_args, args + skipped, (count - skipped) * sizeof(*argv));
	fcntl(program->fd, F_SETFD, 0);
	return argv;
}
