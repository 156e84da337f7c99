// SPDX-License-Identifier: MIT
/*
 * The processes of a sandbox: which they are, how many there may be, and what they may do to each other and to nobody
 * else.  Callbacks' code.
 *
 * The table has no locks: a slot is taken and left by compare-and-exchange.  A process that the kernel kills leaves its
 * slot behind, which is found when slots are wanted.  Who is of the sandbox the kernel says (dune_ring3_is_ours()); the
 * table only says where to look.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "launch/launch.h"
#include "sandbox.h"

/* ---- the table ---- */

static int32_t load(const int32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static bool replace(int32_t *word, int32_t old, int32_t new)
{
	return __atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* The search for a number begins where it was put, if that was free. */
#define EACH_SLOT(p, number)									\
	(uint32_t i_ = 0, at_ = (uint32_t)(number) % PROCESSES_MAX;				\
	 i_ < PROCESSES_MAX && ((p) = &shared()->processes[(at_ + i_) % PROCESSES_MAX], 1); i_++)

static struct process *find(int32_t number)
{
	struct process *p;

	for EACH_SLOT(p, number)
		if (load(&p->pid) == number)
			return p;
	return NULL;
}

static struct process *take(int32_t old, int32_t new, uint32_t near)
{
	struct process *p;

	for EACH_SLOT(p, near)
		if (load(&p->pid) == old && replace(&p->pid, old, new)) {
			__atomic_store_n(&p->threads, 1, __ATOMIC_RELEASE);
			return p;
		}
	return NULL;
}

static void leave(struct process *p, int32_t pid)
{
	if (p)
		replace(&p->pid, pid, 0);
}

/*
 * Of one that has made itself undumpable the kernel does not say whose it is: it may be one of us, and keeps its slot.
 */
static bool is_gone(struct dune_ring3_thread *t, int32_t pid)
{
	return !dune_ring3_is_ours(t, pid) &&
	       raw_syscall(SYS_kcmp, dune_ring3_pid(t), pid, KCMP_VM, 0, 0) != -EPERM;
}

/* Slots of those that were killed. */
static void forget_dead(struct dune_ring3_thread *t)
{
	for (struct process *p = shared()->processes; p < shared()->processes + PROCESSES_MAX; p++) {
		const int32_t pid = load(&p->pid);

		if (pid && is_gone(t, pid > 0 ? pid : -pid))
			leave(p, pid);
	}
}

static uint64_t count_processes(void)
{
	uint64_t n = 0;

	for (const struct process *p = shared()->processes; p < shared()->processes + PROCESSES_MAX; p++)
		n += load(&p->pid) != 0;
	return n;
}

static uint64_t count_threads(void)
{
	uint64_t n = 0;

	for (const struct process *p = shared()->processes; p < shared()->processes + PROCESSES_MAX; p++)
		if (load(&p->pid))
			n += load(&p->threads);
	return n;
}

/* ---- limits ---- */

static bool is_over(struct dune_ring3_thread *t, enum policy_limit limit, uint64_t (*count)(void))
{
	const uint64_t most = policy()->limits[limit];

	if (most == NO_LIMIT || count() <= most)
		return false;
	forget_dead(t);
	return count() > most;
}

static bool makes_thread(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	uint64_t flags = call->nr == SYS_clone ? call->args[0] : 0;

	if (call->nr == SYS_clone3 && dune_ring3_read(t, &flags, call->args[0], sizeof(flags)))
		return false;
	return flags & CLONE_THREAD;
}

/* Reserved first and then counted: so all together they never have more than the limit. */
int64_t processes_reserve(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	static const struct denial by_processes = { .access = "limits: processes", .origin = NO_ORIGIN };
	static const struct denial by_threads = { .access = "limits: threads", .origin = NO_ORIGIN };
	const int32_t pid = dune_ring3_pid(t);
	const bool thread = makes_thread(t, call);
	struct process *p;

	if (shared()->ending)
		return -EAGAIN;
	if (thread) {
		p = find(pid);
		if (p)
			__atomic_add_fetch(&p->threads, 1, __ATOMIC_ACQ_REL);
	} else {
		p = take(0, -pid, pid + 1);
		if (!p) {
			forget_dead(t);
			p = take(0, -pid, pid + 1);
		}
	}
	if (!p)
		return -EAGAIN;
	if (!thread && is_over(t, LIMIT_PROCESSES, count_processes)) {
		leave(p, -pid);
		return refuse(t, call, -EAGAIN, &by_processes);
	}
	if (is_over(t, LIMIT_THREADS, count_threads)) {
		if (thread)
			__atomic_sub_fetch(&p->threads, 1, __ATOMIC_ACQ_REL);
		else
			leave(p, -pid);
		return refuse(t, call, -EAGAIN, &by_threads);
	}
	return DUNE_RING3_GO;
}

/*
 * Who comes first, the child or its parent here, puts the child's number into the slot.  Where both do, or the child
 * has ended, one that is reserved for another child may be taken: that one takes a new one.
 */
void processes_made(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result)
{
	const int32_t pid = dune_ring3_pid(t);
	const bool thread = makes_thread(t, call);
	struct process *p;

	if (!thread && result >= 0 && !find(result))
		take(-pid, result, result);
	if (result >= 0)
		return;
	if (!thread) {
		leave(find(-pid), -pid);
		return;
	}
	p = find(pid);
	if (p)
		__atomic_sub_fetch(&p->threads, 1, __ATOMIC_ACQ_REL);
}

/* ---- begin and end ---- */

void end_all(struct dune_ring3_thread *t)
{
	shared()->ending = 1;
	raw_syscall(SYS_kill, shared()->broker, SIGALRM, 0, 0, 0);
	for (;;)
		raw_syscall(SYS_kill, dune_ring3_pid(t), SIGKILL, 0, 0, 0);
}

/*
 * Of the first: where our own process is killed, so is this; the others see that by themselves (run.c).  It is so for a
 * thread, and another one may have executed.
 */
static void end_with_broker(struct dune_ring3_thread *t)
{
	raw_syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (raw_syscall(SYS_getppid, 0, 0, 0, 0, 0) != shared()->broker)
		end_all(t);
}

static void begin_first(struct dune_ring3_thread *t)
{
	const uint64_t size = policy()->limits[LIMIT_FILE_SIZE], limit[2] = { size, size };

	if (size != NO_LIMIT && raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, (long)limit, 0, 0))
		end_all(t);
}

void processes_begin(struct dune_ring3_thread *t, enum dune_ring3_begin how)
{
	const int32_t pid = dune_ring3_pid(t);
	struct process *p;

	if (how == DUNE_RING3_BY_EXEC) {
		if (replace(&shared()->first, 0, pid))
			begin_first(t);
		if (shared()->first == pid)
			end_with_broker(t);
		p = find(pid);
		if (p)			/* its other threads are gone */
			__atomic_store_n(&p->threads, 1, __ATOMIC_RELEASE);
		else
			p = take(0, pid, pid);
	} else if (how == DUNE_RING3_BY_THREAD) {
		p = find(pid);
	} else {
		p = find(pid);
		if (!p)
			p = take(-raw_syscall(SYS_getppid, 0, 0, 0, 0, 0), pid, pid);
		if (!p)
			p = take(0, pid, pid);
	}
	if (!p || shared()->ending)
		end_all(t);
}

void processes_end(struct dune_ring3_thread *t, bool whole_process)
{
	const int32_t pid = dune_ring3_pid(t);
	struct process *p = find(pid);

	if (whole_process)
		leave(p, pid);
	else if (p && __atomic_sub_fetch(&p->threads, 1, __ATOMIC_ACQ_REL) <= 0)
		leave(p, pid);
}

/* ---- signals ---- */

/* The number can have become another process's by the time that the kernel looks: a descriptor cannot. */
static int64_t send(struct dune_ring3_thread *t, int32_t pid, int signal)
{
	int64_t ret;
	long fd;

	if (pid == dune_ring3_pid(t))
		return raw_syscall(SYS_kill, pid, signal, 0, 0, 0);
	fd = raw_syscall(SYS_pidfd_open, pid, 0, 0, 0, 0);
	if (fd < 0)
		return fd == -ESRCH ? -ESRCH : -EAGAIN;
	ret = dune_ring3_is_ours(t, pid) ? raw_syscall(SYS_pidfd_send_signal, fd, signal, 0, 0, 0) : -EPERM;
	raw_syscall(SYS_close, fd, 0, 0, 0, 0);
	return ret;
}

static int32_t group_of(int32_t pid)
{
	return raw_syscall(SYS_getpgid, pid, 0, 0, 0, 0);
}

/* To all of the sandbox, or those of process group @group; of the sender's own last. */
static int64_t send_many(struct dune_ring3_thread *t, int32_t group, int signal)
{
	const int32_t self = dune_ring3_pid(t);
	int64_t ret = -ESRCH;

	for (const struct process *p = shared()->processes; p < shared()->processes + PROCESSES_MAX; p++) {
		const int32_t pid = load(&p->pid);

		if (pid > 0 && pid != self && (!group || group_of(pid) == group) && !send(t, pid, signal))
			ret = 0;
	}
	if (group && group_of(0) == group)
		ret = send(t, self, signal);
	return ret;
}

/* Ended, but nobody has waited for it: a signal does nothing. */
static bool is_dead_one_of_us(int32_t pid)
{
	return find(pid) && !raw_syscall(SYS_kill, pid, 0, 0, 0, 0);
}

static const struct denial elsewhere = { .access = "a process that is not of the sandbox", .origin = NO_ORIGIN };

static int64_t judge_kill(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	const int32_t pid = call->args[0], signal = call->args[1];

	if (pid == dune_ring3_pid(t))
		return DUNE_RING3_GO;
	if (signal < 0 || signal > 64)
		return -EINVAL;
	if (pid == -1)
		return send_many(t, 0, signal);
	if (pid <= 0)
		return pid == INT32_MIN ? -ESRCH : send_many(t, pid ? -pid : group_of(0), signal);
	if (dune_ring3_is_ours(t, pid))
		return send(t, pid, signal);
	if (is_dead_one_of_us(pid))
		return 0;
	if (raw_syscall(SYS_kill, pid, 0, 0, 0, 0) == -ESRCH)
		return -ESRCH;
	return refuse(t, call, -EPERM, &elsewhere);
}

/* ---- calls that name a process ---- */

/* Where the number is.  setpgid() is missing: the kernel lets it have children only. */
static const struct about {
	uint16_t nr;
	uint8_t argument;
	bool zero;		/* 0 is the caller */
} abouts[] = {
	{ SYS_kill, 0, false }, { SYS_tkill, 0, false }, { SYS_tgkill, 0, false }, { SYS_rt_sigqueueinfo, 0, false },
	{ SYS_rt_tgsigqueueinfo, 0, false }, { SYS_pidfd_open, 0, false }, { SYS_prlimit64, 0, true },
	{ SYS_setrlimit, 0, true },
	{ SYS_sched_setparam, 0, true }, { SYS_sched_setscheduler, 0, true }, { SYS_sched_setaffinity, 0, true },
	{ SYS_sched_setattr, 0, true }, { SYS_setpriority, 1, true }, { SYS_ioprio_set, 1, true },
	{ SYS_get_robust_list, 0, true }, { SYS_move_pages, 0, true }, { SYS_migrate_pages, 0, true },
	{ SYS_fcntl, 2, true },
};

static const struct about *find_about(unsigned int nr)
{
	for (unsigned int i = 0; i < sizeof(abouts) / sizeof(abouts[0]); i++)
		if (abouts[i].nr == nr)
			return &abouts[i];
	return NULL;
}

bool is_about_processes(unsigned int nr)
{
	return find_about(nr);
}

/* What is said of a limit is exact for root too, who may raise it. */
/* The kernel's limit of descriptors has those that libdune keeps, which the program is not told. */
static int64_t judge_limit(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	static const struct denial raised = { .access = "a hard limit above that of the sandbox", .origin = NO_ORIGIN };
	const bool old_call = call->nr == SYS_setrlimit;
	const uint64_t address = call->args[old_call ? 1 : 2], resource = call->args[old_call ? 0 : 1];
	uint64_t new[2], old[2];

	if (!address)
		return DUNE_RING3_GO;
	if (dune_ring3_read(t, new, address, sizeof(new)))
		return -EFAULT;
	if (raw_syscall(SYS_prlimit64, old_call ? 0 : (int)call->args[0], resource, 0, (long)old, 0) < 0 ||
	    new[1] <= (resource == RLIMIT_NOFILE ? old[1] - CHECKED_FDS : old[1]))
		return DUNE_RING3_GO;
	return refuse(t, call, -EPERM, &raised);
}

/* Is it about all processes of a group or a user? */
static bool is_about_many(const struct dune_ring3_call *call)
{
	if (call->nr == SYS_setpriority)
		return (int)call->args[0] != PRIO_PROCESS;
	return call->nr == SYS_ioprio_set && (int)call->args[0] != 1;	/* IOPRIO_WHO_PROCESS */
}

int64_t judge_process(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	const struct about *about = find_about(call->nr);
	const int32_t number = call->args[about->argument];
	const bool limits = call->nr == SYS_prlimit64 || call->nr == SYS_setrlimit;

	if (call->nr == SYS_kill)
		return judge_kill(t, call);
	if (call->nr == SYS_fcntl && (int)call->args[1] != F_SETOWN)
		return DUNE_RING3_GO;
	if (is_about_many(call))
		return refuse(t, call, -EPERM, &elsewhere);
	if (call->nr != SYS_setrlimit && !(about->zero && !number) && number != dune_ring3_tid(t) &&
	    number != dune_ring3_pid(t) &&
	    (number <= 0 || !dune_ring3_is_ours(t, number))) {
		if (number > 0 && (find(number) || raw_syscall(SYS_getpgid, number, 0, 0, 0, 0) == -ESRCH))
			return -ESRCH;
		return refuse(t, call, -EPERM, &elsewhere);
	}
	return limits ? judge_limit(t, call) : DUNE_RING3_GO;
}
