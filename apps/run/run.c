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

#define INSTALLED	"/usr/local/lib/" LAUNCH_OBJECT

#define FAILED		LAUNCH_FAILED
#define die		__dune_launch_die

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

/* tracee.c puts the number of the process there. */
static char debug[sizeof(DUNE_DEBUG_VARIABLE) + DUNE_DEBUG_DIGITS] = DUNE_DEBUG_VARIABLE;

/* Where the code of the program is: for a script, its interpreter's. */
static const char *symbol_file(const char *path, const struct program *program)
{
	char *file = realpath(program->nr_args ? program->args[0] : path, NULL);

	return file ? file : path;
}

static const char usage[] = 
	"usage: dune-run [--ring0 | --check] [--no-dirty] [--gdb PORT] [--] PROGRAM [ARGUMENT...]\n";

static const char help[] =
	"Run PROGRAM, and all that it starts, in Dune mode.\n\n"
	"  --ring0      have it run in ring 0 of the guest, not in ring 3\n"
	"  --check      have none of its system calls reach libdune's memory, nor anything of it run outside\n"
	"  --no-dirty   leave /proc/PID/clear_refs and pagemap to the kernel\n"
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

/* What is started is @start, or, if that is no -1, @loader. */
static void __attribute__((noreturn)) execute(const char *start, int loader, const char *path,
					      const struct program *program, char **argv, int port)
{
	if (port >= 0)
		remote_run(port, start, loader, symbol_file(path, program), argv);
	__dune_launch_exec(start, loader, argv);
	__dune_launch_refused(path, program, errno);
}

int main(int argc, char **argv)
{
	/* The stack's limit may be 16 KiB. */
	static char path[PATH_MAX], object[PATH_MAX];
	static struct program program;
	char setting[16] = "";
	bool inside, check = false, ring0 = false;
	int port = -1, loader = -1;

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
		} else if (argc > 1 && !strcmp(argv[1], "--no-dirty")) {
			putenv(DUNE_NO_DIRTY_VARIABLE "1");
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
	__dune_launch_find(argv[0], path);
	/* Before the program is opened, for that may take the last descriptor. */
	inside = __dune_launch_inside();
	__dune_launch_check(path, &program, check);
	if (inside && check)
		die(FAILED, "--check: this process is in Dune mode already: start it from outside");
	if (inside) {
		if (port >= 0)
			__dune_launch_add_variables(debug, debug);
		execute(path, -1, path, &program, argv, port);
	}
	find_object(object);
	if (check) {
		__dune_launch_need_boundary();
		loader = __dune_launch_seal(object, NULL, 0);
		snprintf(setting, sizeof(setting), "%c%d", LOADER_CHECK, loader);
		if (port >= 0)
			__dune_launch_add_variables(debug, debug);
	} else {
		__dune_launch_environment(object, port >= 0 ? debug : NULL);
	}
	if (program.fd >= 0) {
		char **args = __dune_launch_args(object, path, &program, argv, setting);

		execute(object, loader, path, &program, args, port);
	}
	execute(path, -1, path, &program, argv, port);
}
