// SPDX-License-Identifier: MIT
/*
 * Seccomp filters of a checked program.  The kernel would have them judge libdune's calls, so it is not told of them:
 * libdune runs them on each call, as ring 3 has made it, before anything else becomes of it.  HR3.
 *
 * A filter never changes once a thread has it, and stays: threads and children have those of whoever made them.  They
 * lie behind libdune in its granule, where each child of a fork has them too.
 */
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "base/program.h"
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

struct filter {
	const struct filter *parent;		/* the one that was there before */
	uint32_t length;
	struct sock_filter code[];
};

#define FILTERS_MAX	32768	/* instructions of all filters of a thread, and some for each */
#define FILTER_COST	4
#define DATA_SIZE	((uint32_t)sizeof(struct seccomp_data))
#define UNKNOWN_WAIT	0x7fc00000U	/* SECCOMP_RET_USER_NOTIF */

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH	(1UL << 4)
#endif
#define FLAGS \
	(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | \
	 SECCOMP_FILTER_FLAG_TSYNC_ESRCH)

/* ---- is it a filter? ---- */

/* What the kernel lets a filter of system calls have. */
static bool is_known(const struct sock_filter *i)
{
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return i->k < DATA_SIZE && !(i->k & 3);
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return i->k < BPF_MEMWORDS;
	case BPF_ALU | BPF_DIV | BPF_K:
		return i->k;
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_K:
		return i->k < 32;
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
	case BPF_ALU | BPF_ADD | BPF_K:
	case BPF_ALU | BPF_ADD | BPF_X:
	case BPF_ALU | BPF_SUB | BPF_K:
	case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K:
	case BPF_ALU | BPF_MUL | BPF_X:
	case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K:
	case BPF_ALU | BPF_AND | BPF_X:
	case BPF_ALU | BPF_OR | BPF_K:
	case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K:
	case BPF_ALU | BPF_XOR | BPF_X:
	case BPF_ALU | BPF_LSH | BPF_X:
	case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG:
	case BPF_JMP | BPF_JA:
	case BPF_JMP | BPF_JEQ | BPF_K:
	case BPF_JMP | BPF_JEQ | BPF_X:
	case BPF_JMP | BPF_JGE | BPF_K:
	case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K:
	case BPF_JMP | BPF_JGT | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K:
	case BPF_JMP | BPF_JSET | BPF_X:
		return true;
	}
	return false;
}

static bool is_jump(const struct sock_filter *i)
{
	return BPF_CLASS(i->code) == BPF_JMP;
}

static bool jumps_inside(const struct sock_filter *code, uint32_t length, uint32_t at)
{
	const struct sock_filter *i = &code[at];
	const uint32_t left = length - at - 1;	/* instructions behind it */

	if (!is_jump(i))
		return true;
	return i->code == (BPF_JMP | BPF_JA) ? i->k < left : i->jt < left && i->jf < left;
}

/* A word of its memory is written on each way to where it is read.  Jumps lead forward only. */
static bool memory_is_written(const struct sock_filter *code, uint32_t length)
{
	uint16_t written[BPF_MAXINSNS];		/* on each way to there that jumps */
	uint16_t now = 0;			/* on each way to here */

	memset(written, 0xff, sizeof(written));
	for (uint32_t at = 0; at < length; at++) {
		const struct sock_filter *i = &code[at];

		now &= written[at];
		if (i->code == BPF_ST || i->code == BPF_STX)
			now |= 1U << i->k;
		else if ((i->code == (BPF_LD | BPF_MEM) || i->code == (BPF_LDX | BPF_MEM)) && !(now >> i->k & 1))
			return false;
		if (!is_jump(i))
			continue;
		if (i->code == (BPF_JMP | BPF_JA)) {
			written[at + 1 + i->k] &= now;
		} else {
			written[at + 1 + i->jt] &= now;
			written[at + 1 + i->jf] &= now;
		}
		now = 0xffff;
	}
	return true;
}

static bool is_filter(const struct sock_filter *code, uint32_t length)
{
	for (uint32_t at = 0; at < length; at++)
		if (!is_known(&code[at]) || !jumps_inside(code, length, at))
			return false;
	return BPF_CLASS(code[length - 1].code) == BPF_RET && memory_is_written(code, length);
}

/* ---- running it ---- */

static uint32_t compute(uint32_t a, uint16_t operation, uint32_t b)
{
	switch (operation) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return a / b;
	case BPF_AND:
		return a & b;
	case BPF_OR:
		return a | b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	}
	return -a;		/* BPF_NEG */
}

static bool compare(uint32_t a, uint16_t operation, uint32_t b)
{
	switch (operation) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGE:
		return a >= b;
	case BPF_JGT:
		return a > b;
	}
	return a & b;		/* BPF_JSET */
}

/* What @f, which is_filter(), says of a call. */
static uint32_t run(const struct filter *f, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = { 0 };

	for (const struct sock_filter *i = f->code; ; i++) {
		const uint32_t operand = BPF_SRC(i->code) == BPF_X ? x : i->k;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			a = BPF_MODE(i->code) == BPF_IMM ? i->k : BPF_MODE(i->code) == BPF_MEM ? memory[i->k] :
			    BPF_MODE(i->code) == BPF_LEN ? DATA_SIZE :
			    *(const uint32_t *)((const char *)data + i->k);
			break;
		case BPF_LDX:
			x = BPF_MODE(i->code) == BPF_IMM ? i->k : BPF_MODE(i->code) == BPF_MEM ? memory[i->k] :
			    DATA_SIZE;
			break;
		case BPF_ST:
			memory[i->k] = a;
			break;
		case BPF_STX:
			memory[i->k] = x;
			break;
		case BPF_ALU:
			if (BPF_OP(i->code) == BPF_DIV && !operand)
				return 0;
			a = compute(a, BPF_OP(i->code), operand);
			break;
		case BPF_JMP:
			i += BPF_OP(i->code) == BPF_JA ? i->k :
			     compare(a, BPF_OP(i->code), operand) ? i->jt : i->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? a : i->k;
		default:		/* BPF_MISC */
			if (BPF_MISCOP(i->code) == BPF_TAX)
				x = a;
			else
				a = x;
		}
	}
}

/* That of all filters which comes first; of two alike, that of the newer one. */
static uint32_t judge(const struct filter *f, const struct seccomp_data *data)
{
	uint32_t result = SECCOMP_RET_ALLOW;

	for (; f; f = f->parent) {
		uint32_t now = run(f, data);

		if ((int32_t)(now & SECCOMP_RET_ACTION_FULL) < (int32_t)(result & SECCOMP_RET_ACTION_FULL))
			result = now;
	}
	return result;
}

static siginfo_t trap_info(const struct guest_regs *r, uint32_t data)
{
	const int by_filter = 1;	/* SYS_SECCOMP */
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = SIGSYS;
	info.si_code = by_filter;
	info.si_errno = data;
	info.si_call_addr = (void *)r->rip;
	info.si_syscall = r->rax;
	info.si_arch = AUDIT_ARCH_X86_64;
	return info;
}

/* The thread ends by @signo, and with it the process if it has no other. */
static void end_thread(struct dune_thread *t, int signo)
{
	struct guest_regs end = { .rax = __NR_exit, .rdi = signo };

	__dune_sys_exit(t, &end);
}

static bool is_alone(const struct dune_thread *t)
{
	for (const struct dune_thread *other = NULL; (other = __dune_thread_after(other)); )
		if (other != t && READ_ONCE(other->group) == t->group)
			return false;
	return true;
}

bool __dune_filters_refuse(struct dune_thread *t, struct guest_regs *r)
{
	const struct filter *f = __atomic_load_n(&t->filter, __ATOMIC_ACQUIRE);
	const struct seccomp_data data = {
		.nr = r->rax, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = r->rip,
		.args = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 },
	};
	const uint32_t result = judge(f, &data), value = result & SECCOMP_RET_DATA, errno_max = 4095;
	siginfo_t info;

	if (!t->filter_tid)
		t->filter_tid = dune_syscall0(__NR_gettid);
	switch (result & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return false;
	case SECCOMP_RET_ERRNO:
		r->rax = -(long)(value < errno_max ? value : errno_max);
		return true;
	case SECCOMP_RET_TRACE:		/* there is no tracer, nor one that waits */
	case UNKNOWN_WAIT:
		r->rax = -ENOSYS;
		return true;
	case SECCOMP_RET_TRAP:
		info = trap_info(r, value);
		__dune_signal_dispatched(t, &info);
		return true;
	case SECCOMP_RET_KILL_THREAD:
		if (!is_alone(t))
			end_thread(t, SIGSYS);
	}
	info = trap_info(r, value);
	__dune_signal_killing(t, &info);
}

/* ---- strict mode ---- */

void __dune_filters_strict_kill(struct dune_thread *t)
{
	if (!is_alone(t))
		end_thread(t, SIGKILL);
	for (;;)
		dune_syscall2(__NR_kill, dune_syscall0(__NR_getpid), SIGKILL);
}

long __dune_filters_strict(struct dune_thread *t)
{
	if (t->filter)
		return -EINVAL;
	t->strict = true;
	__dune_watch(t);
	return 0;
}

/* ---- having it ---- */

/* With the lock of memory: room for a filter; NULL. */
static struct filter *get_room(uint32_t length)
{
	static uint64_t used;
	const uint64_t begin = __dune_process.region + REGION_IMAGE + __dune_process.image_size - FILTERS_SIZE;
	const uint64_t size = (sizeof(struct filter) + length * sizeof(struct sock_filter) + 7) & -8UL;

	if (size > FILTERS_SIZE - used)
		return NULL;
	if (!used && dune_syscall3(__NR_mprotect, begin, FILTERS_SIZE, PROT_READ | PROT_WRITE))
		return NULL;
	used += size;
	return (struct filter *)(begin + used - size);
}

static uint32_t cost(const struct filter *f)
{
	uint32_t n = 0;

	for (; f; f = f->parent)
		n += f->length + FILTER_COST;
	return n;
}

static bool has(const struct filter *f, const struct filter *ancestor)
{
	while (f && f != ancestor)
		f = f->parent;
	return f == ancestor;
}

/* With the lock: a thread of its process that has a filter which @t has not; NULL. */
static const struct dune_thread *stranger(const struct dune_thread *t)
{
	for (const struct dune_thread *other = NULL; (other = __dune_thread_after(other)); )
		if (other->group == t->group && (other->strict || !has(t->filter, other->filter)))
			return other;
	return NULL;
}

static void give(struct dune_thread *t, const struct filter *f)
{
	__atomic_store_n(&t->filter, f, __ATOMIC_SEQ_CST);
	__dune_watch(t);
}

/* With the lock. */
static long add(struct dune_thread *t, uint64_t flags, const struct sock_filter *code, uint32_t length)
{
	const struct dune_thread *other = stranger(t);
	struct filter *f;

	if (flags & SECCOMP_FILTER_FLAG_TSYNC && other)
		return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH || !other->filter_tid ? -ESRCH : (long)other->filter_tid;
	if (cost(t->filter) + length > FILTERS_MAX)
		return -ENOMEM;
	f = get_room(length);
	if (!f)
		return -ENOMEM;
	f->parent = t->filter;
	f->length = length;
	memcpy(f->code, code, length * sizeof(code[0]));
	give(t, f);
	for (struct dune_thread *each = NULL; flags & SECCOMP_FILTER_FLAG_TSYNC && (each = __dune_thread_after(each)); )
		if (each->group == t->group)
			give(each, f);
	return 0;
}

static bool may_filter(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (dune_syscall5(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return true;
	return !dune_syscall2(__NR_capget, &header, data) && data[0].effective & 1U << CAP_SYS_ADMIN;
}

/* @at: struct sock_fprog, whose addresses were looked at. */
static long set_filter(struct dune_thread *t, uint64_t flags, uint64_t at)
{
	struct sock_filter code[BPF_MAXINSNS];
	struct sock_fprog program;
	uint64_t state;
	long ret;

	if (flags & ~(uint64_t)FLAGS)
		return -EINVAL;
	if (__dune_copy_in(&program, at, sizeof(program)))
		return -EFAULT;
	if (!program.len || program.len > BPF_MAXINSNS)
		return -EINVAL;
	if (!may_filter())
		return -EACCES;
	if (__dune_copy_in(code, (uint64_t)program.filter, program.len * sizeof(code[0])))
		return -EFAULT;
	if (!is_filter(code, program.len))
		return -EINVAL;
	state = memory_lock();
	ret = add(t, flags, code, program.len);
	memory_unlock(state);
	return ret;
}

/* Those that a filter can have an effect by. */
static long is_available(uint64_t at)
{
	static const uint32_t actions[] = {
		SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
		SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW,
	};
	uint32_t action;

	if (__dune_copy_in(&action, at, sizeof(action)))
		return -EFAULT;
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		if (actions[i] == action)
			return 0;
	return -EOPNOTSUPP;
}

long __dune_filters_seccomp(struct dune_thread *t, const struct guest_regs *r)
{
	const uint32_t flags = r->rsi;

	switch ((uint32_t)r->rdi) {
	case SECCOMP_SET_MODE_STRICT:
		return flags || r->rdx ? -EINVAL : __dune_filters_strict(t);
	case SECCOMP_SET_MODE_FILTER:
		return set_filter(t, flags, r->rdx);
	case SECCOMP_GET_ACTION_AVAIL:
		return flags ? -EINVAL : is_available(r->rdx);
	}
	return -EINVAL;
}

long __dune_filters_prctl(struct dune_thread *t, const struct guest_regs *r)
{
	if ((int)r->rdi == PR_GET_SECCOMP)
		return t->filter ? SECCOMP_MODE_FILTER : FORWARD_CALL;
	if (r->rsi == SECCOMP_MODE_STRICT)
		return __dune_filters_strict(t);
	return r->rsi == SECCOMP_MODE_FILTER ? set_filter(t, 0, r->rdx) : -EINVAL;
}

/* ---- who else has it ---- */

void __dune_filters_clone(struct dune_thread *child, const struct dune_thread *parent, bool same_process)
{
	uint64_t state;

	if (!__dune_process.check)
		return;
	/* Whoever gives one to all threads does so before this, or to the child too. */
	state = memory_lock();
	child->group = same_process ? parent->group : child->holder;
	give(child, parent->filter);
	memory_unlock(state);
}

/*
 * Each as text, the newest first: a program that is executed gets them as arguments of its loader, which nobody else
 * can change meanwhile.
 */
static char digit(unsigned int value)
{
	return 'a' + (value & 15);
}

unsigned int __dune_filters_count(const struct dune_thread *t, uint64_t *size)
{
	unsigned int n = 0;

	*size = 0;
	for (const struct filter *f = t->filter; f; f = f->parent, n++)
		*size += 2UL * f->length * sizeof(f->code[0]) + 1;
	return n;
}

char *__dune_filters_write(const struct dune_thread *t, char **pointers, char *to)
{
	for (const struct filter *f = t->filter; f; f = f->parent) {
		const unsigned char *bytes = (const unsigned char *)f->code;

		*pointers++ = to;
		for (uint64_t i = 0; i < f->length * sizeof(f->code[0]); i++) {
			*to++ = digit(bytes[i] >> 4);
			*to++ = digit(bytes[i]);
		}
		*to++ = '\0';
	}
	return to;
}

/* What __dune_filters_write() has written. */
static bool read_filter(struct dune_thread *t, const char *text)
{
	struct sock_filter code[BPF_MAXINSNS];
	unsigned char *bytes = (unsigned char *)code;
	uint64_t n = 0;

	for (; text[0] && text[1] && n < sizeof(code); text += 2)
		bytes[n++] = (text[0] - 'a') << 4 | (text[1] - 'a');
	n /= sizeof(code[0]);
	return n && !*text && is_filter(code, n) && !add(t, 0, code, n);
}

static char **inherited;
static unsigned int nr_inherited;
static unsigned long inherited_size;

void __dune_filters_inherit(char **texts, unsigned int n, unsigned long size)
{
	inherited = texts;
	nr_inherited = n;
	inherited_size = size;
}

void __dune_filters_begin(struct dune_thread *t)
{
	uint64_t state = memory_lock();
	bool done = true;

	t->group = t->holder;
	for (unsigned int i = nr_inherited; done && i--; )
		done = read_filter(t, inherited[i]);
	memory_unlock(state);
	if (nr_inherited)
		dune_syscall2(__NR_munmap, inherited, inherited_size);
	if (!done)
		__dune_fatal(SIGKILL, "the program's seccomp filters cannot be read");
}
