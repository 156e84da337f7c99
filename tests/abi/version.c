// SPDX-License-Identifier: MIT
/*
 * A module of another version than libdune: what it says of itself is changed on the way, by a tracer. Programs then
 * end, and say what does not match and what to do; they do not go on until some later call fails.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <linux/dune.h>

#include "check.h"

static char said[4096];

static _Noreturn void become(const char *const *argv, int output)
{
	dup2(output, 1);
	dup2(output, 2);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	execvp(argv[0], (char **)argv);
	_exit(127);
}

/* Behind a call of DUNE_GET_INFO, *@changed counts them. */
static void change_version(pid_t pid, unsigned int version, unsigned int *changed)
{
	struct user_regs_struct regs;
	long word;

	DIE_UNLESS(!ptrace(PTRACE_GETREGS, pid, NULL, &regs), "PTRACE_GETREGS");
	if (regs.orig_rax != SYS_ioctl || (unsigned int)regs.rsi != DUNE_GET_INFO || regs.rax)
		return;
	_Static_assert(!__builtin_offsetof(struct dune_info, version), "the first word has it");
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, regs.rdx, NULL);
	DIE_UNLESS(!errno, "PTRACE_PEEKDATA");
	CHECK_EQUAL((unsigned int)word, DUNE_ABI_VERSION, "the module's version");
	word = (word & ~0xffffffffL) | version;
	DIE_UNLESS(!ptrace(PTRACE_POKEDATA, pid, regs.rdx, word), "PTRACE_POKEDATA");
	++*changed;
}

/* The wait status of @argv, for which the module has @version; what it prints is in said. */
static int run(const char *const *argv, unsigned int version)
{
	unsigned int changed = 0;
	int output[2], status, signal;
	ssize_t length;
	pid_t pid;

	DIE_UNLESS(!pipe(output), "pipe");
	pid = fork();
	if (!pid)
		become(argv, output[1]);
	close(output[1]);
	DIE_UNLESS(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "waitpid");
	DIE_UNLESS(!ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
		   "PTRACE_SETOPTIONS");
	for (signal = 0; !ptrace(PTRACE_SYSCALL, pid, NULL, signal); ) {
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			break;
		signal = WSTOPSIG(status);
		/* Once before the call and once behind it: RAX is -ENOSYS before. */
		if (signal == (SIGTRAP | 0x80))
			change_version(pid, version, &changed);
		if (signal == SIGTRAP || signal == (SIGTRAP | 0x80))
			signal = 0;
	}
	length = read(output[0], said, sizeof(said) - 1);
	said[length > 0 ? length : 0] = '\0';
	close(output[0]);
	CHECK(changed, "%s asks the module for its version", argv[0]);
	return status;
}

static void try_version(unsigned int version, const char *advice)
{
	static const struct {
		const char *argv[4];
		int status;
	} programs[] = {
		{ { "hello" }, 1 },
		{ { "dune-run", "true" }, 125 },
		{ { "dune-run", "--ring0", "true" }, 125 },
	};
	char versions[80];

	snprintf(versions, sizeof(versions), "version %u of the interface of /dev/dune, this libdune version %u: ",
		 version, DUNE_ABI_VERSION);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		int status = run(programs[i].argv, version);

		CHECK_EQUAL(status, programs[i].status << 8, programs[i].argv[0]);
		CHECK(strstr(said, versions) && strstr(said, advice), "%s says: %s", programs[i].argv[0], said);
	}
}

int main(void)
{
	static const char *const hello[] = { "hello", NULL };

	try_version(DUNE_ABI_VERSION - 1, "build, install and load the module of this libdune");
	try_version(DUNE_ABI_VERSION + 1, "use the libdune of that module");
	CHECK_EQUAL(run(hello, DUNE_ABI_VERSION), 0, "with the same version");
	CHECK(!strstr(said, "version"), "hello says: %s", said);
	return check_result();
}
