// SPDX-License-Identifier: MIT
/*
 * The object that dune-run has the dynamic linker load first: it takes the program into Dune
 * mode before anything else of it runs, the constructors of its C library included.  So it
 * calls no library, needs none, and serves glibc and musl.
 */
#include "host/calls.h"
#include "host/host.h"
#include "preload.h"

#define OBJECT	"dune-preload.so"
#define FAILED	125		/* as of dune-run itself */

/* Tells glibc, which passes arguments to constructors, from musl, which does not. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));
extern char **__environ __attribute__((weak));

bool preload_starts_with(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return false;
	return true;
}

/* Does the path [start, end) name this object? */
static bool is_object(const char *start, const char *end)
{
	size_t size = sizeof(OBJECT) - 1;

	return (size_t)(end - start) > size && end[-size - 1] == '/' && preload_starts_with(end - size, OBJECT);
}

static bool separates(char c)
{
	return c == ':' || c == ' ';
}

/* Cut our path out of the list of paths; have exec() put it back. */
static void take_out(char *list)
{
	static char path[PAGE_SIZE];
	char *start = list, *end;

	while (*start) {
		for (end = start; *end && !separates(*end); end++)
			;
		if (is_object(start, end) && (size_t)(end - start) < sizeof(path)) {
			memcpy(path, start, end - start);
			path[end - start] = '\0';
			__dune_set_preload(path);
			if (*end)
				end++;
			else if (start > list)
				start--;	/* the separator before it */
			do {
				*start++ = *end;
			} while (*end++);
			return;
		}
		start = *end ? end + 1 : end;
	}
}

static bool debugged;

void preload_clean_environment(char **envp)
{
	static const char variable[] = "LD_PRELOAD=";
	char **to = envp;

	for (; *envp; envp++) {
		if (preload_starts_with(*envp, DUNE_DEBUG_VARIABLE)) {
			debugged = true;
			continue;
		}
		if (preload_starts_with(*envp, variable)) {
			take_out(*envp + sizeof(variable) - 1);
			if (!(*envp)[sizeof(variable) - 1])
				continue;
		}
		*to++ = *envp;
	}
	*to = NULL;
}

static void __attribute__((noreturn)) fail(const char *what, int ret)
{
	__dune_message("%s: error %d%s", what, -ret,
		       ret == -ENOENT ? " (there is no /dev/dune: is the module loaded?)" :
		       ret == -EACCES ? " (no permission to open /dev/dune)" : "");
	for (;;)
		dune_syscall1(__NR_exit_group, FAILED);
}

void preload_enter(void)
{
	int ret;

	dune_set_option(DUNE_OPT_STRICT, true);
	dune_set_option(DUNE_OPT_QUIET, true);
	__dune_process.fresh = true;
	ret = dune_init(true);
	if (ret)
		fail("cannot prepare Dune mode", ret);
	ret = dune_enter();
	__dune_process.fresh = false;
	if (ret)
		fail("cannot enter Dune mode", ret);
	if (debugged) {		/* have the debugger meet us in the guest */
		__dune_debug_begin();
		__asm__ volatile("int3" : : : "memory");
	}
}

static void __attribute__((constructor)) enter(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	if (!gnu_get_libc_version)
		envp = &__environ ? __environ : NULL;
	if (envp)
		preload_clean_environment(envp);
	preload_enter();
}
