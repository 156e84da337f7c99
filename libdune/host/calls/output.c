// SPDX-License-Identifier: MIT
/*
 * What system calls write into memory of the program: its page table sees it as if the program had written.
 *
 * The kernel knows nothing of the guest's page table.  So, as soon as the program has protected a page or cleared
 * a dirty bit, the calls that write to memory (base/syscalls-table.h) are not forwarded without a look: one that would
 * write to a page that is not writable is -EFAULT, as it is of memory that the kernel protects; and the pages that it
 * has written become dirty.  HR3, but for __dune_outputs_begin().
 */
#include <linux/ipc.h>
#include <linux/sched.h>
#include <linux/uio.h>

#include "host/calls.h"
#include "memory/memory.h"

/* struct semid_ds */
#define SEMID		104

/* ---- pages ---- */

/* What is done with each page of a range: 0, or -errno to end. */
typedef int (*page_fn)(ptent_t *e);

/* A page that is not mapped at all, or as the process has it, is the kernel's to refuse, or comes with the first touch. */
static int check_writable(ptent_t *e)
{
	return is_mapped(*e) && (*e & (PTE_P | PTE_W)) != (PTE_P | PTE_W) && !is_made(*e) ? -EFAULT : 0;
}

static int mark_dirty(ptent_t *e)
{
	if (*e & PTE_P)
		__atomic_fetch_or(e, PTE_NOTED, __ATOMIC_RELAXED);
	return 0;
}

static int each_page(struct dune_thread *t, uint64_t start, uint64_t length, page_fn fn)
{
	uint64_t va = start & -(uint64_t)PGSIZE, end = start + length, state;
	int ret = 0;

	if (!start || !length || end < start || !user_address(end))
		return 0;	/* for the kernel to refuse */
	state = memory_lock();
	while (!ret && va < end) {
		int level;
		ptent_t *e = walk_find(table_of(t->cr3), va, &level);

		if (level < LEVEL_ROOT)
			ret = fn(e);
		va = (va & -level_size(level)) + level_size(level);
	}
	memory_unlock(state);
	return ret;
}

/* ---- arguments ---- */

/* The buffers of an iovec; at most @limit bytes of them. */
static int each_vector(struct dune_thread *t, uint64_t vector, uint64_t n, uint64_t limit, page_fn fn)
{
	struct iovec v;
	int ret = 0;

	for (uint64_t i = 0; !ret && i < n && i < 1024 && limit; i++) {
		uint64_t length;

		if (__dune_copy_in(&v, vector + i * sizeof(v), sizeof(v)))
			return 0;
		length = v.iov_len < limit ? v.iov_len : limit;
		ret = each_page(t, (uint64_t)v.iov_base, length, fn);
		limit -= length;
	}
	return ret;
}

static int each_of_message(struct dune_thread *t, uint64_t at, uint64_t limit, page_fn fn)
{
	struct message m;
	int ret;

	if (__dune_copy_in(&m, at, sizeof(m)))
		return 0;
	ret = each_page(t, at, sizeof(m), fn);
	if (!ret)
		ret = each_page(t, m.name, m.name_length, fn);
	if (!ret)
		ret = each_page(t, m.control, m.control_length, fn);
	return ret ? ret : each_vector(t, m.vector, m.nr_vectors, limit, fn);
}

/* Numbers of old say no size: as much as any of them writes. */
static uint64_t ioctl_size(uint64_t number)
{
	uint64_t size = number >> 16 & 0x3fff, direction = number >> 30 & 3;

	if (direction & 2)
		return size;
	return direction || size ? 0 : 64;
}

/* A table of descriptors has seldom more, and the kernel looks at no bits beyond it. */
#define DESCRIPTORS_MAX	(1L << 20)

static uint64_t bits_size(int n)
{
	return n <= 0 ? 0 : ((n < DESCRIPTORS_MAX ? n : DESCRIPTORS_MAX) + 63) / 64 * 8;
}

/* struct semid64_ds says how many there are in the set @id. */
static uint64_t nr_semaphores(int id)
{
	uint64_t ds[SEMID / sizeof(uint64_t)];

	return dune_syscall4(__NR_semctl, id, 0, IPC_STAT, ds) ? 0 : ds[10];
}

/* The beginning of struct clone_args. */
struct clone_pointers {
	uint64_t flags, pidfd, child_tid, parent_tid;
};

static int each_of_clone(struct dune_thread *t, uint64_t at, page_fn fn)
{
	struct clone_pointers c;

	if (__dune_copy_in(&c, at, sizeof(c)))
		return 0;
	if (c.flags & CLONE_PIDFD)
		each_page(t, c.pidfd, sizeof(int), fn);
	if (c.flags & CLONE_CHILD_SETTID)
		each_page(t, c.child_tid, sizeof(int), fn);
	if (c.flags & CLONE_PARENT_SETTID)
		each_page(t, c.parent_tid, sizeof(int), fn);
	return 0;
}

/* What @o says of the call with @args, before (@result < 0) or after it; of one that has failed @result is 0. */
static int each_output(struct dune_thread *t, const struct operand *o, const struct arguments *args, long result,
		       page_fn fn)
{
	uint64_t pointer = args->value[o->arg], most = result < 0 ? ~0UL : (uint64_t)result, n = args->value[o->with];
	uint32_t length;
	int ret = 0;

	if (o->kind != WRITTEN || !pointer || !operand_concerns(o, args->value) || (o->maybe && result < 0))
		return 0;
	switch ((enum size)o->size) {
	case SIZE_FIXED:
		return each_page(t, pointer, o->bytes, fn);
	case SIZE_COUNT:
		return each_page(t, pointer, (n < 1UL << 40 ? n : 0) * o->bytes, fn);
	case SIZE_RESULT:
	case SIZE_AFTER:
		if (n > most)
			n = most;
		if (n >= 1UL << 46)
			n = 0;
		return each_page(t, pointer, o->size == SIZE_AFTER ? o->bytes + n : n * o->bytes, fn);
	case SIZE_ANSWER:
		return each_page(t, pointer, most * o->bytes, fn);
	case SIZE_VECTOR:
		return each_vector(t, pointer, n, most, fn);
	case SIZE_VALUE:
		return each_vector(t, pointer, 1, most, fn);
	case SIZE_IOVEC:
		return each_vector(t, pointer, 1, ~0UL, fn);
	case SIZE_LENGTH:
		if (__dune_copy_in(&length, n, sizeof(length)))
			return 0;
		return each_page(t, pointer, (uint64_t)length + o->bytes, fn);
	case SIZE_MESSAGE:
		return each_of_message(t, pointer, most, fn);
	case SIZE_MESSAGES:
		for (uint64_t i = 0; !ret && i < n && i < most && i < MESSAGES_MAX; i++) {
			uint64_t at = pointer + i * sizeof(struct counted_message);

			ret = each_of_message(t, at, ~0UL, fn);
			if (!ret)
				ret = each_page(t, at, sizeof(struct counted_message), fn);
		}
		return ret;
	case SIZE_BITS:
		return each_page(t, pointer, bits_size(n - o->bytes), fn);
	case SIZE_PAGES:
		return each_page(t, pointer, (n < 1UL << 47 ? n + PGMASK : 0) >> PGSHIFT, fn);
	case SIZE_SEMAPHORES:
		return each_page(t, pointer, nr_semaphores(args->value[0]) * o->bytes, fn);
	case SIZE_CLONE_ARGS:
		return each_of_clone(t, pointer, fn);
	case SIZE_BY_NUMBER:
		/* Where the size is not known, do not refuse what may not be written. */
		n = args->value[1];
		return result < 0 && !(n >> 30 & 2) ? 0 : each_page(t, pointer, ioctl_size(n), fn);
	default:	/* nothing is written so */
		return 0;
	}
}

/* ---- before and after ---- */

static int all_outputs(struct dune_thread *t, long result, page_fn fn)
{
	const struct arguments args = arguments_of(t->vcpu.regs);
	int ret = 0;

	for_each_operand(o, call_of(t->output_nr)) {
		ret = each_output(t, o, &args, result, fn);
		if (ret)
			break;
	}
	return ret;
}

/* Before the call: 0 to make it, else its result. */
long __dune_output_check(struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;

	t->output_nr = r->rax;
	/* All that have a descriptor and come here unwatched. */
	if (engine_owns_fd(r->rdi) && (r->rax == __NR_fstat || r->rax == __NR_newfstatat || r->rax == __NR_statx))
		return -EBADF;
	return all_outputs(t, -1, check_writable);
}

/* Those that fail may have written all the same: the time that is left, or how large a structure is. */
static void mark_outputs(struct dune_thread *t, long result)
{
	all_outputs(t, is_error(result) ? 0 : result, mark_dirty);
}

/* After it; its result is in RAX by now. */
void __dune_output_mark(struct dune_thread *t)
{
	if (t->output_nr == __NR_getdents64)
		__dune_hide_descriptor(t);
	mark_outputs(t, t->vcpu.regs->rax);
}

/* Of calls that write to memory and have a function of libdune's: that. */
static syscall_fn functions[NR_SYSCALLS];

/* A place in the table of system calls: that function, with what it writes or has the kernel write. */
static long call_function(struct dune_thread *t)
{
	unsigned int nr = t->vcpu.regs->rax;
	long ret;

	t->output_nr = nr;
	ret = all_outputs(t, -1, check_writable);
	if (ret)
		return ret;
	ret = functions[nr](t);
	t->output_nr = nr;
	mark_outputs(t, ret);
	return ret;
}

/* A place in the table of system calls; __dune_handle_call() knows it. */
long __dune_sys_look(struct dune_thread *t)
{
	(void)t;
	return -ENOSYS;
}

static bool writes(const struct call_row *call)
{
	for_each_operand(o, call)
		if (o->kind == WRITTEN)
			return true;
	return false;
}

/* With the lock held, on both sides: from now on it matters what system calls write. */
void __dune_outputs_begin(void)
{
	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++) {
		syscall_fn *place = &__dune_syscall_table[nr];

		if (!writes(call_of(nr)) || *place == __dune_sys_look || *place == call_function)
			continue;
		functions[nr] = *place;
		__atomic_store_n(place, *place ? call_function : __dune_sys_look, __ATOMIC_RELEASE);
	}
}
