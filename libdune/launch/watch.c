// SPDX-License-Identifier: MIT
/*
 * dune_ring3_run(): start the program that is to be watched, and wait for it.  An ordinary program's code, with the C
 * library: it runs where main() does.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dune-ring3.h"
#include "host/ring3-header.h"
#include "launch/launch.h"

#define PAGE		4096UL
#define SHARED_MAX	(64UL << 10)
#define DATA_MAX	(1UL << 20)

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static struct ring3_header *header;
static int memory = -1, data = -1;

void *dune_ring3_share(size_t size)
{
	size_t whole = PAGE + ((size + PAGE - 1) & -PAGE);
	void *at;

	if (header || size > SHARED_MAX)
		return NULL;
	memory = memfd_create("dune-ring3", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory < 0 || ftruncate(memory, whole) ||
	    fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return NULL;
	at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (at == MAP_FAILED)
		return NULL;
	header = at;
	header->size = size;
	return size ? (char *)at + PAGE : at;
}

/* What nobody can write any more. */
static bool keep_data(const void *from, size_t size)
{
	size_t done = 0;

	data = memfd_create("dune-ring3-data", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	while (data >= 0 && done < size) {
		ssize_t n = write(data, (const char *)from + done, size - done);

		if (n <= 0)
			return false;
		done += n;
	}
	return data >= 0 && !fcntl(data, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

/* The file that this code is mapped from: where the dynamic linker was started, /proc/self/exe is that. */
static void find_self(char path[PATH_MAX])
{
	static char line[PATH_MAX + 128];
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start;
	int at;

	*path = '\0';
	while (maps && fgets(line, sizeof(line), maps)) {
		at = 0;
		if (sscanf(line, "%lx-%*x %*s %*x %*s %*u %n", &start, &at) != 1 || !at ||
		    start != (unsigned long)__ehdr_start)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(path, PATH_MAX, "%s", line + at);
	}
	if (maps)
		fclose(maps);
	if (*path != '/')
		__dune_launch_die(LAUNCH_FAILED, "cannot find the file of this program in /proc/self/maps");
}

static void __attribute__((noreturn)) start(const struct dune_ring3_options *options)
{
	static char path[PATH_MAX], self[PATH_MAX], setting[32];
	static struct program program;
	const int output = options->output ? options->output : STDERR_FILENO;
	const int others[] = { memory, output, data >= 0 ? data : memory, memory, memory };
	int loader;
	char **argv;

	__dune_launch_find(options->argv[0], path);
	if (__dune_launch_inside())
		__dune_launch_die(LAUNCH_FAILED, "this process is in Dune mode already: start it from outside");
	find_self(self);
	__dune_launch_check(path, &program, true);
	loader = __dune_launch_seal(self, others, sizeof(others) / sizeof(others[0]));
	snprintf(setting, sizeof(setting), "%c%d", LOADER_CHECK, loader);
	argv = __dune_launch_args(self, path, &program, (char **)options->argv, setting);
	if (options->environment)
		environ = (char **)options->environment;
	__dune_launch_exec(self, loader, argv);
	__dune_launch_refused(path, &program, errno);
}

static int failed(const char *why)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, why);
	return LAUNCH_FAILED << 8;
}

int dune_ring3_run(const struct dune_ring3_options *options, const struct dune_ring3_callbacks *callbacks)
{
	const uintptr_t offset = (uintptr_t)callbacks - (uintptr_t)__ehdr_start;
	struct sigaction ignore = { .sa_handler = SIG_IGN }, interrupt, quit;
	int status;
	pid_t child;

	if (!options->argv || !options->argv[0])
		return failed("no program");
	if (offset >= (uintptr_t)_end - (uintptr_t)__ehdr_start)
		return failed("dune_ring3_run(): the callbacks are no static object of this program");
	if (!header && !dune_ring3_share(0))
		return failed("no memory to share with callbacks");
	if (options->data_size > DATA_MAX)
		return failed("options.data: more than 1 MiB");
	if (options->data_size && !keep_data(options->data, options->data_size))
		return failed(strerror(errno));
	header->data_size = options->data_size;
	header->callbacks = offset;
	if (options->calls)
		memcpy(header->calls, options->calls, sizeof(header->calls));
	else
		memset(header->calls, 0xff, sizeof(header->calls));
	fflush(NULL);
	child = fork();
	if (!child)
		start(options);
	if (child < 0)
		return failed(strerror(errno));
	sigaction(SIGINT, &ignore, &interrupt);
	sigaction(SIGQUIT, &ignore, &quit);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			status = LAUNCH_FAILED << 8;
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGQUIT, &quit, NULL);
	return status;
}
