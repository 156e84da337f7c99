// SPDX-License-Identifier: MIT
/*
 * Callbacks of dune-ring3.h: each mode runs `/tests/watchee MODE`, which finds what the callbacks make of its calls,
 * and looks afterwards at what they have seen.
 *
 *	watch MODE [ARG]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dune-ring3.h>

enum mode { NOTHING, REFUSE, ANSWER, REWRITE, THREADS, PROCESSES, SIGNALS, RACE, DESCRIPTORS, CRASH, LIBRARY, MODES };

static const char *const names[MODES] = {
	"nothing", "refuse", "answer", "rewrite", "threads", "processes", "signals", "race", "descriptors", "crash",
	"library",
};

/* What the callbacks have seen, in all processes. */
struct seen {
	int mode;
	int before[DUNE_RING3_CALLS], after[DUNE_RING3_CALLS];
	int begin[4], end[2], killed;
	int signal[65], fault[65];
	int restarted, interrupted, bad_pointer, memory_wrong, path, data_wrong, strangers;
	int main;		/* the process of main() */
};

/* What all callbacks can read and nobody can write. */
#define DATA_SIZE	300001

static unsigned char byte_of(unsigned int at)
{
	return at * 7 + (at >> 8);
}

static struct seen *seen_by(void)
{
	return dune_ring3_shared();
}

static void count(int *number)
{
	__atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
}

static int is(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

#define STACK	(32 << 10)

/* All of the stack that a callback may use.  Behind that of most is the thread's own memory, which is 0 at its end. */
static void use_stack(struct dune_ring3_thread *t)
{
	volatile unsigned char stack[STACK];
	const long *own = dune_ring3_memory(t);

	for (unsigned int i = 0; i < STACK; i += 64)
		stack[i] = byte_of(i) | 1;
	if (stack[0] != 1)
		count(&seen_by()->memory_wrong);
	for (unsigned int i = DUNE_RING3_MEMORY / 2 / sizeof(*own); i < DUNE_RING3_MEMORY / sizeof(*own); i++)
		if (own[i])
			count(&seen_by()->memory_wrong);
}

static int64_t decide(struct dune_ring3_thread *t, struct dune_ring3_call *call)
{
	char *own = (char *)dune_ring3_memory(t) + 64, path[64];
	volatile int *volatile nowhere = (int *)16;

	switch (seen_by()->mode) {
	case REFUSE:
		if (call->nr != SYS_openat)
			break;
		if (call->error)	/* what is said here is not asked for */
			count(&seen_by()->bad_pointer);
		return dune_ring3_read_string(t, path, call->args[1], sizeof(path)) >= 0 && is(path, "/tmp/secret") ?
		       -EOWNERDEAD : DUNE_RING3_GO;
	case ANSWER:
		if (call->nr == SYS_getcwd) {
			if (dune_ring3_write(t, (uint64_t)own, "", 1) != -EFAULT ||
			    dune_ring3_read(t, own, 8, 1) != -EFAULT)
				return -EBADMSG;
			return dune_ring3_write(t, call->args[0], "/made", 6) ? -EFAULT : 6;
		}
		__attribute__((fallthrough));
	case DESCRIPTORS:
		return call->nr == SYS_getppid ? 4242 : call->nr == SYS_getuid ? -EXDEV : DUNE_RING3_GO;
	case REWRITE:
		if (call->nr == SYS_openat && dune_ring3_read_string(t, path, call->args[1], sizeof(path)) >= 0 &&
		    is(path, "/tmp/from") && !call->args[2]) {
			dune_ring3_format(own, 64, "/tmp/%s", "to");
			call->args[1] = (uint64_t)own;
		} else if (call->nr == SYS_pread64 && call->args[2] == 2) {
			call->args[2] = 1;
		}
		break;
	case RACE:
		return call->nr == SYS_openat && dune_ring3_read_string(t, path, call->args[1], sizeof(path)) >= 0 &&
		       is(path, "/tmp/evil") && !call->args[2] ? -EPERM : DUNE_RING3_GO;
	case CRASH:
		if (call->nr == SYS_getppid)
			*nowhere = 0;
		break;
	case LIBRARY:
		if (call->nr == SYS_getppid)
			return strtol(own, NULL, 10);
		break;
	}
	return DUNE_RING3_GO;
}

static int64_t before(struct dune_ring3_thread *t, struct dune_ring3_call *call)
{
	count(&seen_by()->before[call->nr]);
	use_stack(t);
	return decide(t, call);
}

static void after(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result)
{
	char path[64];

	count(&seen_by()->after[call->nr]);
	use_stack(t);
	if (seen_by()->mode == REFUSE && call->nr == SYS_openat && result >= 0 &&
	    dune_ring3_path(t, result, path, sizeof(path)) == 9 && is(path, "/tmp/open"))
		count(&seen_by()->path);
	if (call->nr == SYS_read && result == DUNE_RING3_RESTART)
		count(&seen_by()->restarted);
	if (call->nr == SYS_read && result == -EINTR)
		count(&seen_by()->interrupted);
}

/* Each thread has memory of its own, which is empty at first. */
static void begin(struct dune_ring3_thread *t, enum dune_ring3_begin how)
{
	int *own = dune_ring3_memory(t);

	const unsigned char *data = dune_ring3_data();

	count(&seen_by()->begin[how]);
	use_stack(t);
	for (unsigned int i = 0; i < DATA_SIZE; i += i < 100 || i > DATA_SIZE - 100 ? 1 : 57)
		if (data[i] != byte_of(i))
			count(&seen_by()->data_wrong);
	if (!dune_ring3_is_ours(t, dune_ring3_pid(t)) || !dune_ring3_is_ours(t, dune_ring3_tid(t)) ||
	    dune_ring3_is_ours(t, seen_by()->main) || dune_ring3_is_ours(t, 1) || dune_ring3_is_ours(t, -1))
		count(&seen_by()->strangers);
	if (how != DUNE_RING3_BY_FORK && *own)
		count(&seen_by()->memory_wrong);
	*own = dune_ring3_tid(t);
}

static void end(struct dune_ring3_thread *t, int status, int whole_process)
{
	if (*(int *)dune_ring3_memory(t) != dune_ring3_tid(t))
		count(&seen_by()->memory_wrong);
	count(&seen_by()->end[!!whole_process]);
	use_stack(t);
	if (status & 0x7f)
		count(&seen_by()->killed);
}

static void signal_comes(struct dune_ring3_thread *t, const void *siginfo)
{
	use_stack(t);
	count(&seen_by()->signal[*(const int *)siginfo]);
}

static void fault(struct dune_ring3_thread *t, const void *siginfo)
{
	use_stack(t);
	count(&seen_by()->fault[*(const int *)siginfo]);
}

static const struct dune_ring3_callbacks callbacks = {
	.before = before, .after = after, .begin = begin, .end = end, .signal = signal_comes, .fault = fault,
};

static int failures;

static void check(int claim, const char *text)
{
	if (claim)
		return;
	printf("watch: not so: %s\n", text);
	failures++;
}
#define CHECK(claim)	check(claim, #claim)

int main(int argc, char **argv)
{
	char *args[] = { "/tests/watchee", argv[1], argv[2], NULL };
	uint64_t wanted[DUNE_RING3_CALLS / 64] = { 0 };
	char *environment[] = { "WATCHED=yes", NULL };
	static unsigned char data[DATA_SIZE];
	struct dune_ring3_options options = { .argv = args, .data = data, .data_size = sizeof(data) };
	struct seen *seen = dune_ring3_share(sizeof(*seen));
	int status, others = 0;

	if (argc < 2 || !seen)
		return 2;
	while (seen->mode < MODES && strcmp(names[seen->mode], argv[1]))
		seen->mode++;
	if (seen->mode == THREADS || seen->mode == ANSWER) {
		dune_ring3_want(wanted, SYS_getppid);
		dune_ring3_want(wanted, SYS_getuid);
		dune_ring3_want(wanted, SYS_getcwd);
		options.calls = wanted;
	}
	if (seen->mode == ANSWER)
		options.environment = environment;
	for (unsigned int i = 0; i < DATA_SIZE; i++)
		data[i] = byte_of(i);
	seen->main = getpid();
	status = dune_ring3_run(&options, &callbacks);
	for (int nr = 0; nr < DUNE_RING3_CALLS; nr++)
		others += nr == SYS_getppid || nr == SYS_getuid || nr == SYS_getcwd ? 0 :
			  seen->before[nr] + seen->after[nr];
	if (seen->mode == CRASH || seen->mode == LIBRARY)
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 125);
	else
		CHECK(!status);
	CHECK(seen->begin[DUNE_RING3_BY_EXEC] == (seen->mode == PROCESSES ? 2 : 1));
	CHECK(!seen->memory_wrong && !seen->data_wrong && !seen->strangers);
	switch (seen->mode) {
	case REFUSE:
		CHECK(seen->bad_pointer == 2 && seen->path == 2);
		CHECK(seen->before[SYS_openat] == seen->after[SYS_openat] + 1);	/* the refused one */
		break;
	case ANSWER:
		CHECK(seen->before[SYS_getppid] == 1 && !seen->after[SYS_getppid] && !others);
		break;
	case THREADS:
		CHECK(seen->begin[DUNE_RING3_BY_THREAD] == 12 && seen->end[0] == 12 && seen->end[1] == 1);
		CHECK(seen->before[SYS_getppid] == 13 && seen->after[SYS_getppid] == 13 && !others);
		break;
	case PROCESSES:
		CHECK(seen->begin[DUNE_RING3_BY_FORK] == 2 && seen->begin[DUNE_RING3_BY_VFORK] == 1);
		CHECK(seen->end[1] == 4 && seen->killed == 1 && seen->fault[SIGSEGV] == 1 && !seen->signal[SIGSEGV]);
		CHECK(seen->before[SYS_execve] == 1 && !seen->after[SYS_execve]);
		break;
	case SIGNALS:
		CHECK(seen->signal[SIGUSR1] >= 2);
		CHECK(seen->restarted >= 1 && seen->interrupted == 1);
		break;
	}
	return failures != 0;
}
