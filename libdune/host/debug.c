// SPDX-License-Identifier: MIT
/*
 * A program under a debugger in another process: debug.h.  HR3.
 */
#include "host/host.h"

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static struct dune_debug debug;

/* From now on exceptions stop this process for its debugger. */
void __dune_debug_begin(void)
{
	debug = (struct dune_debug){
		.magic = DUNE_DEBUG_MAGIC,
		.pid = dune_syscall0(__NR_getpid),
		.region = __dune_process.region,
		.region_end = __dune_process.region + GRANULE_SIZE,
		.area_size = AREA_SIZE,
		.run = AREA_ENGINE,
		.stop = AREA_THREAD + offsetof(struct dune_thread, debug),
		.text = (unsigned long)__ehdr_start,
		.text_end = (unsigned long)_end,
		.site = (unsigned long)__dune_own_site,
		.run_loop = (unsigned long)__dune_run_loop,
		.run_return = (unsigned long)__dune_run_return,
		.touch = (unsigned long)__dune_touch_read,
		.touch_end = (unsigned long)__dune_touch_end,
		.lstar_return = __dune_process.lstar_return,
	};
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
