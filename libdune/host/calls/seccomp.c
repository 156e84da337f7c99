// SPDX-License-Identifier: MIT
/*
 * Seccomp filters that the program installs.  HR3.
 *
 * The program's calls are made by the thread itself, so its filter sees them as they are.  But libdune makes some of
 * its own, without which no guest runs.  These come from a place of their own, __dune_own_site, and what is put before
 * each filter lets them pass there.  All else that libdune does for the program is judged as the program's.
 *
 * The program can jump to that place with any registers: it is one with libdune.  So nothing passes that would
 * serve to get round the filter:
 *
 *	what the engine needs on its own descriptors (__dune_engine_rules())
 *	close	a process can always give up its descriptors: it ends
 *	rt_sigprocmask, rt_sigreturn	concern the thread's own mask and registers
 *
 * Never open or mmap.  What needs memory is prepared before there is a filter.
 *
 * Those of a checked program are in filters.c.
 */
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/* Areas for threads that the program may make without mprotect. */
#define SPARE_AREAS	8

#define DATA(field)	((unsigned int)offsetof(struct seccomp_data, field))
#define LOW(field)	DATA(field)
#define HIGH(field)	(DATA(field) + 4)

/* Calls that pass whatever their arguments are, and where the parts of the prefix begin. */
static const unsigned int passing[] = { __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_close };

enum {
	NUMBERS = 1,
	CONDITIONS = NUMBERS + ARRAY_SIZE(passing) + ENGINE_RULES,
	IS_SITE = CONDITIONS + ENGINE_RULE_LENGTH,
	ALLOW = IS_SITE + 6,
	PROGRAM = ALLOW + 1,
	PREFIX = PROGRAM + 1,
};

#define LOAD(here, what)	[here] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, what)
#define EQUAL(here, value, yes, no) \
	[here] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (yes) - (here) - 1, (no) - (here) - 1)

static struct sock_filter jump(unsigned int here, uint32_t value, unsigned int yes, unsigned int no)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes - here - 1, no - here - 1);
}

static bool same_condition(const struct engine_condition *a, const struct engine_condition *b)
{
	return a->arg == b->arg && a->mask == b->mask && a->value == b->value;
}

/* The conditions, which are written from their end on: a filter jumps forward only. */
struct conditions {
	struct sock_filter *to;
	unsigned int begin;
	const struct engine_condition *last;	/* of the first rule, at last_at: others that have it too go there */
	unsigned int last_at;
};

/* Those of @rule; returns where they begin. */
static unsigned int write_conditions(struct conditions *w, const struct engine_rule *rule)
{
	unsigned int next = IS_SITE;

	for (unsigned int i = rule->nr_conditions; i--; ) {
		const struct engine_condition *c = &rule->conditions[i];
		bool high = c->mask >> 32, is_last = i + 1 == rule->nr_conditions;
		uint32_t half = high ? c->mask >> 32 : c->mask;

		if (is_last && w->last && same_condition(c, w->last)) {
			next = w->last_at;
			continue;
		}
		w->begin--;
		w->to[w->begin] = jump(w->begin, high ? c->value >> 32 : c->value, next, PROGRAM);
		if (half != ~0U)
			w->to[--w->begin] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, half);
		next = --w->begin;
		w->to[next] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							   DATA(args) + 8 * c->arg + (high ? 4 : 0));
		if (is_last && !w->last) {
			w->last = c;
			w->last_at = next;
		}
	}
	return next;
}

/* The numbers first: what a filter says of a number alone the kernel finds out once, and keeps. */
static void write_prefix(struct sock_filter to[PREFIX])
{
	const unsigned long rip = (unsigned long)__dune_own_site + SYSCALL_LENGTH;
	const struct sock_filter end[PREFIX] = {
		LOAD(IS_SITE, LOW(instruction_pointer)),
		EQUAL(IS_SITE + 1, (uint32_t)rip, IS_SITE + 2, PROGRAM),
		LOAD(IS_SITE + 2, HIGH(instruction_pointer)),
		EQUAL(IS_SITE + 3, (uint32_t)(rip >> 32), IS_SITE + 4, PROGRAM),
		LOAD(IS_SITE + 4, DATA(arch)),
		EQUAL(IS_SITE + 5, AUDIT_ARCH_X86_64, ALLOW, PROGRAM),

		[ALLOW] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		/* A filter begins with A = 0. */
		[PROGRAM] = BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0),
	};
	struct conditions conditions = { .to = to, .begin = IS_SITE };
	struct engine_rule rules[ENGINE_RULES];
	unsigned int number = NUMBERS;

	__dune_engine_rules(rules);
	memcpy(to, end, sizeof(end));
	to[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(nr));
	for (unsigned int i = 0; i < ARRAY_SIZE(passing); i++, number++)
		to[number] = jump(number, passing[i], IS_SITE, number + 1);
	for (unsigned int i = 0; i < ENGINE_RULES; i++, number++) {
		unsigned int begin = write_conditions(&conditions, &rules[i]);

		to[number] = jump(number, rules[i].nr, begin, i + 1 < ENGINE_RULES ? number + 1 : PROGRAM);
	}
	if (conditions.begin != CONDITIONS)
		__dune_fatal(SIGABRT, "the engine's rules are not as long as it says");
}

/* What can be needed later, and a filter might forbid. */
static void prepare(struct dune_thread *t)
{
	__dune_faults_keep(t->sighand);
	if (!region_state()->filtered) {
		__dune_thread_reserve(SPARE_AREAS);
		__dune_threads_inherit();
	}
	__atomic_store_n(&region_state()->filtered, true, __ATOMIC_SEQ_CST);
}

/* The call in @r, with what is at *@arg in place of the program's struct sock_fprog. */
static long forward_with(const struct guest_regs *r, __u64 *arg, const struct sock_fprog *program)
{
	const __u64 old = *arg;
	long ret;

	*arg = (unsigned long)program;
	ret = __dune_forward(r);
	*arg = old;
	return ret;
}

/* seccomp(SECCOMP_SET_MODE_FILTER) and prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER); @arg is the pointer in @r. */
long __dune_set_filter(struct dune_thread *t, const struct guest_regs *r, __u64 *arg)
{
	struct sock_filter filter[BPF_MAXINSNS];
	struct sock_fprog program;
	size_t size;

	/* What is not in order is the kernel's to refuse. */
	if (__dune_copy_in(&program, *arg, sizeof(program)))
		return __dune_forward(r);
	if (!program.len || program.len > BPF_MAXINSNS)
		return __dune_forward(r);
	if (program.len > BPF_MAXINSNS - PREFIX)
		return -EINVAL;
	size = program.len * sizeof(filter[0]);
	if (__dune_copy_in(filter + PREFIX, (unsigned long)program.filter, size))
		return __dune_forward(r);
	write_prefix(filter);
	program.len += PREFIX;
	program.filter = filter;
	prepare(t);
	return forward_with(r, arg, &program);
}

/* ---- strict mode ---- */

bool __dune_strict_allows(unsigned int nr)
{
	return call_of(nr)->flags & CALL_STRICT;
}

#define STRICT_MAX	8	/* calls that it allows */

/* Let pass what the table allows; the number is in A. */
static struct sock_filter *write_strict_calls(struct sock_filter *to)
{
	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++) {
		if (!__dune_strict_allows(nr))
			continue;
		*to++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
		*to++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	return to;
}

/*
 * The kernel's own would not let the loop pass: it is a filter, which kills the thread.  A thread that is alone
 * has to die by SIGKILL, which libdune sends; so that passes too.
 */
long __dune_set_strict(struct dune_thread *t)
{
	const int pid = dune_syscall0(__NR_getpid), tid = dune_syscall0(__NR_gettid);
	enum { KILL = 7, GOOD = 8 };
	const struct sock_filter head[] = {
		LOAD(0, DATA(arch)),
		EQUAL(1, AUDIT_ARCH_X86_64, 3, 2),
		[2] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		LOAD(3, DATA(nr)),
	};
	const struct sock_filter tail[] = {
		EQUAL(0, __NR_tgkill, 1, KILL),
		LOAD(1, LOW(args[0])),
		EQUAL(2, (unsigned int)pid, 3, KILL),
		LOAD(3, LOW(args[1])),
		EQUAL(4, (unsigned int)tid, 5, KILL),
		LOAD(5, LOW(args[2])),
		EQUAL(6, SIGKILL, GOOD, KILL),
		[KILL] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		[GOOD] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter filter[PREFIX + ARRAY_SIZE(head) + 2 * STRICT_MAX + ARRAY_SIZE(tail)], *end;
	struct sock_fprog program = { .filter = filter };
	long ret;

	/* In place of a filter there is no strict mode, nor in place of strict mode a filter. */
	if (dune_syscall1(__NR_prctl, PR_GET_SECCOMP))
		return -EINVAL;
	write_prefix(filter);
	memcpy(filter + PREFIX, head, sizeof(head));
	end = write_strict_calls(filter + PREFIX + ARRAY_SIZE(head));
	memcpy(end, tail, sizeof(tail));
	program.len = end + ARRAY_SIZE(tail) - filter;
	prepare(t);
	dune_syscall5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	ret = dune_syscall5(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
	if (ret)
		return ret;
	t->strict = true;
	t->strict_pid = pid;
	t->strict_tid = tid;
	__dune_watch(t);
	return 0;
}

/* One of several threads is killed by the filter. */
void __dune_strict_kill(struct dune_thread *t)
{
	if (__dune_process.check)
		__dune_filters_strict_kill(t);
	if (__dune_thread_alone(t))
		dune_syscall3(__NR_tgkill, t->strict_pid, t->strict_tid, SIGKILL);
}
