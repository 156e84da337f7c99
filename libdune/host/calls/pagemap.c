// SPDX-License-Identifier: MIT
/*
 * /proc/self/clear_refs and pagemap of a program in ring 3, as a collector uses them: "4" written to the former clears
 * all soft-dirty bits, and bit 55 of an entry of the latter says that the page was written since.  Both are answered
 * from the guest's page table (memory/written.c), also where the kernel has no such bits.
 *
 * Descriptors are known by number: a bitmap says which may be such a file, and fstat() whether it still is.  So close()
 * and whatever else takes a number away need not be looked at.  As long as there is no such descriptor nothing is paid
 * but a look at the end of each path that is opened.
 *
 * HR3.
 */
#include <linux/fcntl.h>

#include "host/calls.h"
#include "host/host.h"
#include "memory/written.h"

#define ENTRY		8UL		/* bytes of pagemap for a page */
#define PRESENT		(1UL << 63)
#define SOFT_DIRTY	(1UL << 55)
#define ADDRESSES	(1UL << 47)

#define SEEK_SET	0
#define SEEK_CUR	1

enum file_kind {
	OTHER,
	CLEAR_REFS,
	PAGEMAP,
	PAGEMAP_OF_ANOTHER,	/* inherited, or received: the kernel answers, with all pages written */
	UNKNOWN,		/* nobody can tell */
};

/* ---- which descriptors ---- */

#define NUMBERS		4096		/* those above may all be such files, once one is */

static uint64_t perhaps[NUMBERS / 64];
static bool perhaps_above;

static bool is_perhaps(unsigned int fd)
{
	return fd < NUMBERS ? READ_ONCE(perhaps[fd / 64]) >> fd % 64 & 1 : READ_ONCE(perhaps_above);
}

static void set_perhaps(unsigned int fd, bool is)
{
	if (fd >= NUMBERS)
		WRITE_ONCE(perhaps_above, perhaps_above || is);
	else if (is)
		__atomic_fetch_or(&perhaps[fd / 64], 1UL << fd % 64, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&perhaps[fd / 64], ~(1UL << fd % 64), __ATOMIC_SEQ_CST);
}

/* Files that were met: opened anew they are the same inode, as long as somebody has them open. */
static struct known {
	uint64_t device, inode;
	enum file_kind kind;
} known[16];
static unsigned int nr_known;		/* written with the lock of the page tables */

static void add_known(const uint64_t *stat, enum file_kind kind)
{
	uint64_t state = memory_lock();

	if (nr_known < ARRAY_SIZE(known)) {
		known[nr_known] = (struct known){ stat[0], stat[1], kind };
		__atomic_store_n(&nr_known, nr_known + 1, __ATOMIC_RELEASE);
		region_state()->pagemaps = true;
	}
	memory_unlock(state);
}

/* By its name in /proc. */
static enum file_kind classify(int fd)
{
	long flags = dune_syscall3(__NR_fcntl, fd, F_GETFL, 0);
	char path[256];
	bool own;
	const char *name = __dune_process_file(fd, path, sizeof(path), &own);

	if (is_error(flags) || flags & O_PATH || !name)
		return OTHER;
	if (same_text(name, "pagemap") && (flags & O_ACCMODE) != O_WRONLY)
		return own ? PAGEMAP : PAGEMAP_OF_ANOTHER;
	return own && same_text(name, "clear_refs") && flags & O_ACCMODE ? CLEAR_REFS : OTHER;
}

static enum file_kind look_at(unsigned int fd)
{
	unsigned int n = __atomic_load_n(&nr_known, __ATOMIC_ACQUIRE);
	enum file_kind kind;
	uint64_t stat[18];
	long ret = dune_syscall2(__NR_fstat, fd, stat);

	if (ret)
		return ret == -EBADF ? OTHER : UNKNOWN;
	for (unsigned int i = 0; i < n; i++)
		if (known[i].device == stat[0] && known[i].inode == stat[1])
			return known[i].kind;
	kind = classify(fd);
	if (kind != OTHER)
		add_known(stat, kind);
	return kind;
}

static enum file_kind kind_of(unsigned int fd)
{
	enum file_kind kind;

	if (!is_perhaps(fd))
		return OTHER;
	kind = look_at(fd);
	if (kind != OTHER)
		return kind;
	set_perhaps(fd, false);
	/* Another thread may have opened one with this number, and have set the bit, before it was taken back. */
	kind = look_at(fd);
	if (kind != OTHER)
		set_perhaps(fd, true);
	return kind;
}

/* ---- calls under way ---- */

/*
 * What they write counts as written, whether they have done so yet or not.  A thread that has made no call since calls
 * are looked at may be in one from before: its registers are those of that, or of another that it has made.
 */
static void mark_calls_under_way(struct dune_thread *t)
{
	struct guest_regs regs;

	for (struct dune_thread *other = __dune_thread_after(NULL); other; other = __dune_thread_after(other)) {
		if (other == t || READ_ONCE(*__dune_thread_slot(other)) != SLOT_BUSY ||
		    (READ_ONCE(other->looked) && !READ_ONCE(other->tracked)))
			continue;
		if (__dune_copy_safely(t, &regs, other->vcpu.regs, sizeof(regs)))
			__dune_mark_call(t, &regs);
	}
}

/* ---- pagemap ---- */

#define PIECE		512

/* All pages of what the kernel has said were written. */
static long mark_all(struct dune_thread *t, uint64_t buffer, long size)
{
	uint64_t entries[PIECE];

	for (uint64_t at = 0, some; (long)at < size; at += some) {
		some = size - at < sizeof(entries) ? size - at : sizeof(entries);
		if (!__dune_copy_safely(t, entries, (const void *)(buffer + at), some))
			return -EFAULT;
		for (unsigned int i = 0; i < some / ENTRY; i++)
			entries[i] |= SOFT_DIRTY;
		if (!__dune_copy_safely(t, (void *)(buffer + at), entries, some))
			return -EFAULT;
	}
	return size;
}

/* As much of [@position, @position + @size) as there is, in bytes; -errno. */
static long answer(struct dune_thread *t, uint64_t buffer, uint64_t size, uint64_t position)
{
	static const uint64_t meaning[] = { 0, PRESENT, SOFT_DIRTY, PRESENT | SOFT_DIRTY };
	const uint64_t end = ADDRESSES / PGSIZE * ENTRY;
	uint64_t entries[PIECE], done = 0, some;
	uint8_t pages[PIECE];

	if ((position | size) % ENTRY)
		return -EINVAL;
	if (position >= end)
		return 0;
	if (size > end - position)
		size = end - position;
	mark_calls_under_way(t);
	for (; done < size; done += some) {
		some = size - done < sizeof(entries) ? size - done : sizeof(entries);
		__dune_written_read((position + done) / ENTRY * PGSIZE, some / ENTRY, pages);
		for (unsigned int i = 0; i < some / ENTRY; i++)
			entries[i] = meaning[pages[i]];
		if (!__dune_copy_safely(t, (void *)(buffer + done), entries, some))
			return -EFAULT;
	}
	return done;
}

static long read_at(struct dune_thread *t, const struct guest_regs *r, bool here)
{
	const unsigned int fd = r->rdi;
	const enum file_kind kind = kind_of(fd);
	long position = r->r10, ret;

	if (kind == UNKNOWN)
		return -EIO;
	if (kind != PAGEMAP && kind != PAGEMAP_OF_ANOTHER)
		return FORWARD_CALL;
	if (kind == PAGEMAP_OF_ANOTHER || !READ_ONCE(__dune_written_on)) {
		ret = __dune_forward(r);
		return ret > 0 ? mark_all(t, r->rsi, ret) : ret;
	}
	if (here)
		position = dune_syscall3(__NR_lseek, fd, 0, SEEK_CUR);
	if (position < 0)
		return here ? position : FORWARD_CALL;
	ret = answer(t, r->rsi, r->rdx, position);
	if (here && ret > 0)
		dune_syscall3(__NR_lseek, fd, position + ret, SEEK_SET);
	return ret;
}

static long sys_read(struct dune_thread *t, struct guest_regs *r)
{
	return is_perhaps(r->rdi) ? read_at(t, r, true) : FORWARD_CALL;
}

static long sys_pread(struct dune_thread *t, struct guest_regs *r)
{
	return is_perhaps(r->rdi) ? read_at(t, r, false) : FORWARD_CALL;
}

/* readv, preadv and preadv2(fd, vector, n, ...): the kernel answers, with all pages written. */
static long sys_readv(struct dune_thread *t, struct guest_regs *r)
{
	enum file_kind kind = kind_of(r->rdi);
	struct vector v;
	long ret;

	if (kind == UNKNOWN)
		return -EIO;
	if (kind != PAGEMAP && kind != PAGEMAP_OF_ANOTHER)
		return FORWARD_CALL;
	ret = __dune_forward(r);
	for (long left = ret, i = 0; left > 0; left -= v.length, i++) {
		if (!__dune_copy_safely(t, &v, (const struct vector *)r->rsi + i, sizeof(v)))
			return -EFAULT;
		if (v.length > (uint64_t)left)
			v.length = left;
		if (mark_all(t, v.base, v.length) < 0)
			return -EFAULT;
	}
	return ret;
}

/* ---- clear_refs ---- */

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The number that the kernel would read there; -1: another text. */
static int number_in(const char *text, unsigned int n)
{
	unsigned int i = 0, digits = 0;
	int number = 0;

	while (i < n && is_space(text[i]))
		i++;
	if (i < n && text[i] == '+')
		i++;
	for (; i < n && text[i] >= '0' && text[i] <= '9'; i++, digits++)
		number = number < 100 ? number * 10 + text[i] - '0' : 100;
	while (i < n && is_space(text[i]))
		i++;
	return digits && (i == n || !text[i]) ? number : -1;
}

#define TEXT_MAX	12	/* the kernel reads no more */
#define CLEAR_SOFT_DIRTY	4

static long sys_write(struct dune_thread *t, struct guest_regs *r)
{
	char text[TEXT_MAX];
	unsigned int n = r->rdx < sizeof(text) ? r->rdx : sizeof(text);
	enum file_kind kind = kind_of(r->rdi);

	if (kind == UNKNOWN)
		return -EIO;
	if (kind != CLEAR_REFS || !__dune_copy_safely(t, text, (const void *)r->rsi, n) ||
	    number_in(text, n) != CLEAR_SOFT_DIRTY)
		return FORWARD_CALL;
	if (!READ_ONCE(__dune_written_on))
		__dune_break_is(dune_syscall1(__NR_brk, 0));
	__dune_written_clear();
	mark_calls_under_way(t);
	return r->rdx;
}

/* ---- more descriptors of the same file ---- */

static syscall_fn before[NR_SYSCALLS];		/* the functions that calls had */

/* dup, dup2, dup3, fcntl(fd, F_DUPFD), pidfd_getfd: the result may be such a descriptor. */
static long sys_duplicate(struct dune_thread *t, struct guest_regs *r)
{
	const unsigned int nr = r->rax, from = r->rdi;
	const bool duplicates = nr != __NR_fcntl || r->rsi == F_DUPFD || r->rsi == F_DUPFD_CLOEXEC;
	const bool is = nr == __NR_pidfd_getfd || is_perhaps(from);
	long ret = before[nr] ? before[nr](t, r) : FORWARD_CALL;

	if (!duplicates || !is)
		return ret;
	if (ret == FORWARD_CALL)
		ret = __dune_forward(r);
	if (ret >= 0)
		set_perhaps(ret, true);
	return ret;
}

static long sys_receive(struct dune_thread *t, struct guest_regs *r)
{
	t->output_nr = r->rax;
	return FORWARD_CALL;
}

struct control {
	uint64_t length;
	int level, type;
	int fds[];
};

#define SOL_SOCKET	1
#define SCM_RIGHTS	1

static void received_by(struct dune_thread *t, const struct message *m)
{
	struct control c;
	int fd;

	for (uint64_t at = 0; at + sizeof(c) <= m->control_length; at += (c.length + 7) & -8UL) {
		if (!__dune_copy_safely(t, &c, (const char *)m->control + at, sizeof(c)) || c.length < sizeof(c))
			return;
		if (c.level != SOL_SOCKET || c.type != SCM_RIGHTS)
			continue;
		for (uint64_t i = sizeof(c); i + sizeof(fd) <= c.length && at + i < m->control_length; i += sizeof(fd))
			if (__dune_copy_safely(t, &fd, (const char *)m->control + at + i, sizeof(fd)))
				set_perhaps(fd, true);
	}
}

/* After recvmsg() or recvmmsg(). */
void __dune_pagemap_received(struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;
	const bool many = t->output_nr == __NR_recvmmsg;
	long n = many ? (long)r->rax : !is_error(r->rax);
	struct counted_message m;

	if (!nr_known || is_error(r->rax))
		return;
	for (long i = 0; i < n; i++) {
		const uint64_t at = r->rsi + i * sizeof(m);

		if (!__dune_copy_safely(t, &m, (const void *)at, many ? sizeof(m) : sizeof(m.message)))
			return;
		received_by(t, &m.message);
	}
}

/* ---- the beginning ---- */

static bool asynchronous;	/* the kernel may write at any time, and nobody would know where */

static long sys_asynchronous(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	(void)r;
	if (nr_known)
		return -ENOSYS;
	WRITE_ONCE(asynchronous, true);
	return FORWARD_CALL;
}

static void look_at_calls(void)
{
	static const struct {
		unsigned int nr;
		syscall_fn function;
	} calls[] = {
		{ __NR_read, sys_read }, { __NR_pread64, sys_pread }, { __NR_readv, sys_readv },
		{ __NR_preadv, sys_readv }, { __NR_preadv2, sys_readv }, { __NR_write, sys_write },
		{ __NR_pwrite64, sys_write }, { __NR_dup, sys_duplicate }, { __NR_dup2, sys_duplicate },
		{ __NR_dup3, sys_duplicate }, { __NR_fcntl, sys_duplicate }, { __NR_pidfd_getfd, sys_duplicate },
		{ __NR_recvmsg, sys_receive }, { __NR_recvmmsg, sys_receive },
	};
	static bool done;
	uint64_t state = memory_lock();

	for (unsigned int i = 0; !done && i < ARRAY_SIZE(calls); i++)
		before[calls[i].nr] = __dune_add_function(calls[i].nr, calls[i].function);
	done = true;
	memory_unlock(state);
}

/* The program has opened @fd by a path that ends with these four letters. */
void __dune_pagemap_opened(long fd, uint32_t letters)
{
	uint64_t stat[18];
	enum file_kind kind;

	if ((letters != LETTERS('e', 'm', 'a', 'p') && letters != LETTERS('r', 'e', 'f', 's')) ||
	    __dune_process.no_dirty || __dune_process.check || READ_ONCE(asynchronous))
		return;
	kind = classify(fd);
	set_perhaps(fd, false);
	if ((kind != PAGEMAP && kind != CLEAR_REFS) || dune_syscall2(__NR_fstat, fd, stat))
		return;
	set_perhaps(fd, true);
	if (kind_of(fd) == kind)	/* which has made it known */
		look_at_calls();
}

/* In the child of a fork, which has its parent's files, but no thread else; if there are such files. */
void __dune_pagemap_forked(void)
{
	for (unsigned int i = 0; i < nr_known; i++)
		known[i].kind = known[i].kind == PAGEMAP ? PAGEMAP_OF_ANOTHER :
				known[i].kind == CLEAR_REFS ? OTHER : known[i].kind;
	__dune_written_forked();
}

void __dune_pagemap_begin(void)
{
	static const unsigned int calls[] = { __NR_io_setup, __NR_io_uring_setup };

	if (__dune_process.no_dirty || __dune_process.check)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++)
		__dune_set_function(calls[i], sys_asynchronous);
}
