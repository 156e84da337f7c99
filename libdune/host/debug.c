// SPDX-License-Identifier: MIT
/*
 * A program under a debugger in another process: base/debug.h.  HR3.
 */
#include "base/object.h"
#include "host/host.h"

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static struct dune_debug debug = {
	.magic = DUNE_DEBUG_MAGIC,
	.version = DUNE_DEBUG_VERSION,
	.size = sizeof(debug),
};

_Static_assert(sizeof(struct debug_regs) == sizeof(struct guest_regs) &&
	       offsetof(struct debug_regs, rsp) == offsetof(struct guest_regs, rsp) &&
	       offsetof(struct debug_regs, r8) == offsetof(struct guest_regs, r8) &&
	       offsetof(struct debug_regs, rip) == offsetof(struct guest_regs, rip), "debuggers find the registers");

bool __dune_debug_asked(const char *number)
{
	long n = 0;

	while (*number >= '0' && *number <= '9' && n < 1L << 32)
		n = n * 10 + *number++ - '0';
	return !*number && n == dune_syscall0(__NR_getpid);
}

static const char *value_of(const char *string)
{
	for (const char *name = DUNE_DEBUG_VARIABLE; *name; name++)
		if (*string++ != *name)
			return NULL;
	return string;
}

bool __dune_debug_take(char **envp)
{
	char **to = envp;
	bool asked = false;

	for (; *envp; envp++) {
		const char *value = value_of(*envp);

		if (value)
			asked = asked || __dune_debug_asked(value);
		else if (to++ != envp)		/* what stays in its place need not be writable */
			to[-1] = *envp;
	}
	if (to != envp)
		*to = NULL;
	return asked;
}

/*
 * HR3 executes most of it.  In a program that is linked with libdune.a it does not lie in one place: there only the
 * loop is guarded.
 */
static void set_text(void)
{
	const bool alone = __dune_own_object() != OBJECT_PROGRAM;

	debug.text = (unsigned long)(alone ? __ehdr_start : (const char *)__dune_enter_guest);
	debug.text_end = (unsigned long)(alone ? _end : (const char *)__dune_touch_end);
}

void __dune_debug_begin(const struct dune_thread *t)
{
	debug.region = __dune_process.region;
	debug.region_end = __dune_process.region + GRANULE_SIZE;
	debug.area_size = AREA_SIZE;
	debug.regs = (unsigned long)t->vcpu.regs - thread_area(t);
	debug.stop = AREA_THREAD + offsetof(struct dune_thread, debug);
	set_text();
	debug.run_loop = (unsigned long)__dune_run_loop;
	debug.run_return = (unsigned long)__dune_run_return;
	debug.site = (unsigned long)__dune_own_site;
	debug.site_end = (unsigned long)__dune_own_site + SYSCALL_LENGTH;
	debug.complete_results = __dune_engine_complete_results();
	debug.touch = (unsigned long)__dune_touch_read;
	debug.touch_end = (unsigned long)__dune_touch_end;
	debug.lstar_return = __dune_process.lstar_return;
	__atomic_store_n(&debug.pid, dune_syscall0(__NR_getpid), __ATOMIC_RELEASE);
}

bool __dune_debugged(void)
{
	return READ_ONCE(debug.pid);
}

/*
 * The guest's registers are in t->vcpu.regs, and @info is the signal that it is about to get for an exception;
 * signals are blocked.  Returns whether the debugger, if there is one, wants it to go on without.
 * A child after vfork has its parent's memory, but is not debugged.
 */
bool __dune_debug_stop(struct dune_thread *t, const siginfo_t *info)
{
	long pid;

	if (!READ_ONCE(debug.pid))
		return false;
	pid = dune_syscall0(__NR_getpid);
	if (pid != READ_ONCE(debug.pid))
		return false;
	t->debug = (struct debug_stop){
		.state = DEBUG_ASK, .signo = info->si_signo, .code = info->si_code, .complete = true,
		.addr = (unsigned long)info->si_addr,
	};
	/* Again, if a SIGCONT has taken it away. */
	while (READ_ONCE(t->debug.state) == DEBUG_ASK && READ_ONCE(debug.pid))
		dune_syscall4(__NR_tgkill, pid, dune_syscall0(__NR_gettid), SIGSTOP, &debug);
	t->debug.complete = false;
	return READ_ONCE(t->debug.state) == DEBUG_GO_ON;
}
