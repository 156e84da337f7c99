// SPDX-License-Identifier: MIT
/*
 * What system calls read and write, as base/syscalls-table.h says.  HR3, but for __dune_track_calls().
 *
 * As soon as the program has changed its page table, calls that use memory are not forwarded without a look.  Before
 * one, all that it would read and write is placed (uaccess.c): mostly that changes nothing; else the kernel gets
 * copies.  After it copies go back, and the pages that were written become dirty.
 */
#include <asm/mman.h>
#include <linux/ipc.h>
#include <linux/ptrace.h>
#include <linux/sched.h>

#include "host/callbacks.h"
#include "host/calls.h"
#include "host/calls/paths.h"
#include "host/host.h"
#include "memory/written.h"

/* In these sizes there are pointers, or their own length. */
#define POINTERS	(1U << SIZE_STRINGS | 1U << SIZE_VECTOR | 1U << SIZE_IOVEC | 1U << SIZE_VALUE | \
			 1U << SIZE_LENGTH | 1U << SIZE_SELF | 1U << SIZE_TIMES | 1U << SIZE_MESSAGE | \
			 1U << SIZE_MESSAGES | 1U << SIZE_CLONE_ARGS | 1U << SIZE_WAITERS | 1U << SIZE_FILTER | \
			 1U << SIZE_NOTICE)
#define SEMID		104	/* struct semid_ds */
#define STRING_MAX	(32 * PGSIZE)	/* of exec; MAX_ARG_STRLEN */
#define VECTORS_MAX	1024	/* UIO_MAXIOV */
#define STRINGS_MAX	(1UL << 20)

/* What a callback may decide by is copied: no data of a file, which is longer, mostly. */
#define SEEN_MAX	128

/* ---- how much ---- */

/*
 * Numbers of old say no size: as much as any of them uses, but for what the kernel has by pointers in it.  Of most it
 * is not known whether it is written.
 */
#define OLD_IOCTL	256

static bool is_old_ioctl(uint64_t number)
{
	return !(number >> 16 & 0xffff);
}

static uint64_t ioctl_size(uint64_t number)
{
	return is_old_ioctl(number) ? OLD_IOCTL : number >> 30 & 3 ? number >> 16 & 0x3fff : 0;
}

/*
 * Of bytes the kernel reads or writes no more by one call (MAX_RW_COUNT, and INT_MAX for 5.10's getrandom()), whatever
 * it is told.  Of what is larger it may go through all: move_pages() does.
 */
#define BYTES_MAX	0x7fffffffUL
#define ADDRESSES	(1UL << 47)

static uint64_t bytes_of(uint64_t n, uint64_t each)
{
	const uint64_t most = each == 1 ? BYTES_MAX : ADDRESSES;

	return n < most / each ? n * each : most;
}

/* Argument @with. */
static uint64_t count_of(const struct operand *o, const struct arguments *args)
{
	uint64_t n = o->with < NO_ARGUMENT ? args->value[o->with] : 0;

	return o->narrow ? (uint32_t)n : n;
}

/* A table of descriptors has seldom more, and the kernel looks at no bits beyond it. */
#define DESCRIPTORS_MAX	(1L << 20)

static uint64_t bits_size(int n)
{
	return n <= 0 ? 0 : ((n < DESCRIPTORS_MAX ? n : DESCRIPTORS_MAX) + 63) / 64 * 8;
}

/*
 * struct semid64_ds says how many there are in the set @id.  Of a checked program they count as the most that there
 * can ever be: it may have been told of others by then, or not be allowed to ask.
 */
#define SEMAPHORES_MAX	(1UL << 25)

static uint64_t nr_semaphores(int id, bool before)
{
	uint64_t ds[SEMID / sizeof(uint64_t)];

	if (__dune_process.check && before)
		return SEMAPHORES_MAX;
	return dune_syscall4(__NR_semctl, id, 0, IPC_STAT, ds) ? 0 : ds[10];
}

static uint64_t nr_instructions(const struct arguments *args)
{
	long ret = dune_syscall4(__NR_ptrace, PTRACE_SECCOMP_GET_FILTER, args->value[1], args->value[2], NULL);

	return is_error(ret) ? 0 : ret;
}

/* Structures that say themselves how long they are: 0 stands for their first size, and a page is the most. */
static uint64_t own_size(uint64_t size)
{
	const uint64_t first = 64;

	return size < first ? first : size < PGSIZE ? size : PGSIZE;
}

/* Through the page table, or from what was moved. */
static long read_int(struct access *a, uint64_t at, uint32_t *value)
{
	if (!a || __dune_copy_of(call_state(a->t), at))
		return __dune_copy_in(value, at, sizeof(*value));
	return __dune_copy_through(a, at, value, sizeof(*value), false);
}

/*
 * Bytes of an operand that is one range, @most of them as the result says; 0 also for all others.  What is in memory is
 * read through the page table before the call (@a), and where the kernel has it afterwards.  It is no less than the
 * kernel makes of it.
 */
static long flat_size(struct access *a, const struct operand *o, const struct arguments *args, uint64_t most,
		      uint64_t *size)
{
	uint64_t n = count_of(o, args), at = 0;
	uint32_t length = 0;
	long ret;

	*size = 0;
	switch ((enum size)o->size) {
	case SIZE_FIXED:
		*size = o->bytes;
		break;
	case SIZE_COUNT:
		*size = bytes_of(n, o->bytes);
		break;
	case SIZE_RESULT:
		*size = bytes_of(n < most ? n : most, o->bytes);
		break;
	case SIZE_AFTER:
		*size = o->bytes + bytes_of(n < most ? n : most, 1);
		break;
	case SIZE_LENGTH:
		at = n;
		break;
	case SIZE_TIMES:
		at = n ? n + o->offset : 0;
		break;
	case SIZE_SELF:
		at = args->value[o->arg] + o->bytes;
		break;
	case SIZE_BITS:
		*size = bits_size(n - o->bytes);
		break;
	case SIZE_PAGES:
		*size = (n < 1UL << 47 ? n + PGMASK : 0) >> PGSHIFT;
		break;
	case SIZE_SEMAPHORES:
		*size = nr_semaphores(args->value[0], a) * o->bytes;
		break;
	case SIZE_FILTER_OF:
		*size = nr_instructions(args) * o->bytes;
		break;
	case SIZE_BY_NUMBER:
		*size = ioctl_size(args->value[1]);
		break;
	default:
		break;
	}
	if (!at)
		return 0;
	ret = read_int(a, at, &length);
	if (a)
		a->length = length;
	if (!ret)
		*size = o->size == SIZE_SELF ? own_size(length) : o->size == SIZE_TIMES ? bytes_of(length, o->bytes) :
			(uint64_t)length + o->bytes;
	/* Where there is none, the kernel says so; but it does not if that is libdune's. */
	return ret == -EFAULT && !__dune_process.check ? 0 : ret;
}

/* ---- before: structures with pointers in them ---- */

/* A structure at *@pointer: *@copy becomes its copy, in which pointers can be changed, or else @own is filled in. */
static long open_structure(struct access *a, uint64_t *pointer, void *own, uint64_t size, unsigned int how, void **copy)
{
	long ret = __dune_place(a, pointer, size, how | PLACE_MOVE);
	struct copy *c = ret ? NULL : __dune_copy_of(call_state(a->t), *pointer);

	*copy = c ? (void *)*pointer : own;
	if (!ret && !c && own)
		ret = __dune_copy_through(a, *pointer, own, size, false);
	return ret;
}

static long place_vectors(struct access *a, uint64_t *pointer, uint64_t n, unsigned int how)
{
	void *copy;
	long ret;

	if (!*pointer || !n || n > VECTORS_MAX)
		return 0;
	ret = open_structure(a, pointer, NULL, n * sizeof(struct vector), 0, &copy);
	for (uint64_t i = 0; !ret && i < n; i++) {
		struct vector v, *at = copy ? (struct vector *)copy + i : &v;

		if (!copy)
			ret = __dune_copy_through(a, *pointer + i * sizeof(v), &v, sizeof(v), false);
		if (!ret)
			ret = __dune_place(a, &at->base, bytes_of(at->length, 1), how);
	}
	return ret;
}

/* Of the data may be written less than the result says (MSG_TRUNC): none is PLACE_FRESH. */
static long place_message(struct access *a, struct message *m, unsigned int how)
{
	const unsigned int write = how & PLACE_WRITE;
	const bool moves = !write && (a->t->seen || __dune_callback_asks());
	long ret = __dune_place(a, &m->name, m->name_length < 0 ? 0 : m->name_length,
				write | (moves && m->name_length <= SEEN_MAX ? PLACE_MOVE : 0));

	if (!ret)
		ret = __dune_place(a, &m->control, bytes_of(m->control_length, 1),
				   write | (a->copies ? PLACE_MOVE : 0));
	if (!ret && a->copies && !write && m->control && __dune_sends_ours((char *)m->control, m->control_length))
		ret = -EBADF;
	if (!ret)
		ret = place_vectors(a, &m->vector, m->nr_vectors, how);
	return ret;
}

static long place_messages(struct access *a, uint64_t *pointer, uint64_t n, unsigned int how)
{
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	if (n > MESSAGES_MAX)
		n = MESSAGES_MAX;
	ret = open_structure(a, pointer, NULL, n * sizeof(struct counted_message), PLACE_WRITE, &copy);
	for (uint64_t i = 0; !ret && i < n; i++) {
		struct counted_message m, *at = copy ? (struct counted_message *)copy + i : &m;

		if (!copy)
			ret = __dune_copy_through(a, *pointer + i * sizeof(m), &m, sizeof(m), false);
		if (!ret)
			ret = place_message(a, &at->message, how);
	}
	return ret;
}

static long count_strings(struct access *a, uint64_t pointer, uint64_t *n)
{
	uint64_t pointers[16];

	for (*n = 0; *n < STRINGS_MAX; ) {
		uint64_t at = pointer + *n * sizeof(pointers[0]), room = (PGSIZE - PGOFF(at)) / sizeof(pointers[0]);
		uint64_t some = room < 1 ? 1 : room < ARRAY_SIZE(pointers) ? room : ARRAY_SIZE(pointers);
		long ret = __dune_copy_through(a, at, pointers, some * sizeof(pointers[0]), false);

		for (uint64_t i = 0; !ret && i < some; i++, ++*n)
			if (!pointers[i])
				return 0;
		if (ret)
			return ret;
	}
	return -E2BIG;
}

static long place_strings(struct access *a, uint64_t *pointer)
{
	uint64_t n;
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	ret = count_strings(a, *pointer, &n);
	if (!ret)
		ret = open_structure(a, pointer, NULL, (n + 1) * sizeof(uint64_t), 0, &copy);
	for (uint64_t i = 0; !ret && i < n; i++) {
		uint64_t string, *at = copy ? (uint64_t *)copy + i : &string;

		if (!copy)
			ret = __dune_copy_through(a, *pointer + i * sizeof(string), &string, sizeof(string), false);
		if (!ret)
			ret = __dune_place_string(a, at, STRING_MAX);
	}
	/* The kernel says so, or finds that there is no such file. */
	return ret == -EFAULT && !a->copies ? 0 : ret;
}

/* struct futex_waitv */
struct waiter {
	uint64_t value, address;
	uint32_t flags, reserved;
};

#define WAITERS_MAX	128

static long place_waiters(struct access *a, uint64_t *pointer, uint64_t n)
{
	void *copy;
	long ret;

	if (!*pointer || !n || n > WAITERS_MAX)
		return 0;
	ret = open_structure(a, pointer, NULL, n * sizeof(struct waiter), 0, &copy);
	for (uint64_t i = 0; !ret && i < n; i++) {
		struct waiter w, *at = copy ? (struct waiter *)copy + i : &w;

		if (!copy)
			ret = __dune_copy_through(a, *pointer + i * sizeof(w), &w, sizeof(w), false);
		if (!ret)
			ret = __dune_place_word(a, &at->address, false);
	}
	return ret;
}

/* The beginning of struct clone_args. */
struct clone_pointers {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size;
};

/*
 * A child reads, and clears, the word where its parent's call puts its number before that call has returned: no copy
 * that goes back then, if it can be.
 */
static long place_tid(struct access *a, uint64_t *va)
{
	long ret = __dune_place_word(a, va, true);

	return ret == NEEDS_FAULT || ret == UNKNOWN_PLACE ?
	       __dune_place(a, va, sizeof(uint32_t), PLACE_WRITE | PLACE_MAYBE) : ret;
}

static long place_clone_args(struct access *a, uint64_t *pointer, uint64_t size)
{
	struct clone_pointers own = { 0 }, *c;
	void *copy;
	long ret;

	if (!*pointer || size < CLONE_ARGS_SIZE_VER0 || size > PGSIZE)
		return 0;
	ret = open_structure(a, pointer, NULL, size, 0, &copy);
	if (!ret && !copy)
		ret = __dune_copy_through(a, *pointer, &own, size < sizeof(own) ? size : sizeof(own), false);
	c = copy ? copy : &own;
	if (!ret && c->flags & CLONE_PIDFD)
		ret = __dune_place(a, &c->pidfd, sizeof(int), PLACE_WRITE);
	if (!ret && c->flags & CLONE_PARENT_SETTID)
		ret = place_tid(a, &c->parent_tid);
	if (!ret && c->flags & CLONE_CHILD_SETTID)
		ret = __dune_refuse_elsewhere(a, c->child_tid, sizeof(int));
	if (!ret && c->flags & CLONE_CHILD_CLEARTID && out_of_bounds(c->child_tid, sizeof(int)))
		ret = -EFAULT;
	if (!ret && size >= sizeof(own) && c->set_tid_size <= 32)
		ret = __dune_place(a, &c->set_tid, c->set_tid_size * sizeof(int), 0);
	return ret;
}

static long place_filter(struct access *a, uint64_t *pointer)
{
	struct {
		uint16_t length, pad[3];
		uint64_t filter;
	} own, *f;
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	ret = open_structure(a, pointer, &own, sizeof(own), 0, &copy);
	f = copy;
	return ret ? ret : __dune_place(a, &f->filter, f->length * 8UL, 0);
}

/* struct sigevent */
struct notice {
	uint64_t value;
	int32_t signal, how, rest[12];
};

#define BY_COOKIE	2	/* SIGEV_THREAD */
#define COOKIE_SIZE	32

/* Of mq_notify(): the kernel sends the cookie by the socket whose descriptor is in place of the signal. */
static long place_notice(struct access *a, uint64_t *pointer)
{
	struct notice own, *n;
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	ret = open_structure(a, pointer, &own, sizeof(own), 0, &copy);
	n = copy;
	if (!ret && n->how == BY_COOKIE && a->copies && engine_owns_fd(n->signal))
		return -EBADF;
	return ret || n->how != BY_COOKIE ? ret : __dune_place(a, &n->value, COOKIE_SIZE, 0);
}

/* { mask, size }, or struct io_uring_getevents_arg, with a timeout. */
static long place_mask_at(struct access *a, uint64_t *pointer, uint64_t size)
{
	struct {
		uint64_t mask, size, timeout;
	} own, *m;
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	ret = open_structure(a, pointer, &own, size, 0, &copy);
	m = copy;
	if (!ret)
		ret = __dune_place(a, &m->mask, sizeof(uint64_t), 0);
	if (!ret && size == sizeof(own))
		ret = __dune_place(a, &m->timeout, 2 * sizeof(uint64_t), 0);
	return ret;
}

static long place_value(struct access *a, uint64_t *pointer, unsigned int how)
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} own, *v;
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	ret = open_structure(a, pointer, &own, sizeof(own), 0, &copy);
	v = copy;
	return ret ? ret : __dune_place(a, &v->value, v->size, how);
}

static long place_one_message(struct access *a, uint64_t *pointer, unsigned int how)
{
	struct message own;
	void *copy;
	long ret;

	if (!*pointer)
		return 0;
	ret = open_structure(a, pointer, &own, sizeof(own), how & PLACE_WRITE, &copy);
	return ret ? ret : place_message(a, copy, how);
}

/* ---- before ---- */

/* Below this it is a number. */
#define OLD_POINTER_MIN	0x10000

static long place_ioctl(struct access *a, uint64_t *pointer, uint64_t number)
{
	uint64_t size = ioctl_size(number), room = PGSIZE - PGOFF(*pointer);

	if (!is_old_ioctl(number))
		return __dune_place(a, pointer, size, number >> 30 & 2 ? PLACE_WRITE : 0);
	if (*pointer < OLD_POINTER_MIN || __dune_copy_of(call_state(a->t), *pointer))
		return 0;
	/* Perhaps the next page is not its. */
	if (size > room && !__dune_may_read(a, *pointer + room, size - room))
		size = room;
	return __dune_place(a, pointer, size, PLACE_WRITE | PLACE_MAYBE | PLACE_READ | PLACE_SPARSE);
}

/* A structure says itself how long it is: what was looked at, whatever another thread makes of it. */
static void keep_length(const struct access *a, const struct operand *o, uint64_t pointer)
{
	uint64_t at = pointer + (o->size == SIZE_SELF ? o->bytes : 0);

	if ((o->size == SIZE_SELF || (o->size == SIZE_LENGTH && o->with == o->arg)) &&
	    __dune_copy_of(call_state(a->t), pointer))
		*(uint32_t *)at = a->length;
}

static long place_word(struct access *a, uint64_t *va, const struct operand *o)
{
	return o->maybe ? place_tid(a, va) : __dune_place_word(a, va, o->kind == WORD_WRITTEN);
}

/* Of calls that use memory and have a function of libdune's: that. */
static syscall_fn functions[NR_SYSCALLS];

/* By a name, which is not to change after it was looked at. */
static bool opens(unsigned int nr)
{
	return nr == __NR_open || nr == __NR_creat || nr == __NR_openat || nr == __NR_openat2;
}

/* An address of a UNIX socket, where a callback decides by it. */
static bool is_address(unsigned int nr, unsigned int argument)
{
	return __dune_callback_asks() && __dune_path_in_address(nr, argument);
}

static bool by_name(unsigned int nr)
{
	return opens(nr) || (__dune_callback_asks() && __dune_path_known(nr));
}

/* Of a checked program: what memory says of addresses and lengths, or of a file, is copied. */
static bool copied[NR_SYSCALLS];

/* No memory, but what it is of: of a mapping each function says itself what it refuses. */
static long check_argument(const struct dune_thread *t, const struct operand *o, const struct arguments *args)
{
	uint64_t value = args->value[o->arg];

	if (!operand_concerns(o, args->value))
		return 0;
	if (o->kind == DESCRIPTOR)
		return engine_owns_fd(value) ? -EBADF : 0;
	return !functions[t->output_nr] && out_of_bounds(value, o->with == NO_ARGUMENT ? 1 : count_of(o, args)) ?
	       -ENOMEM : 0;
}

static long place_operand(struct access *a, const struct operand *o, struct arguments *args)
{
	uint64_t *pointer = &args->value[o->arg], n = count_of(o, args), size;
	unsigned int how = o->kind == WRITTEN ? PLACE_WRITE : 0;
	long ret;

	if (o->kind < KEPT && __dune_process.check)
		return check_argument(a->t, o, args);
	if (o->kind < KEPT || o->kind == WRITTEN_REMOTE || !*pointer || !operand_concerns(o, args->value))
		return 0;
	if (o->kind == WORD || o->kind == WORD_WRITTEN)
		return *pointer == arguments_of(a->t->vcpu.regs).value[o->arg] ?
		       place_word(a, pointer, o) : 0;
	if (o->kind == MASK_AT)
		return place_mask_at(a, pointer, o->bytes);
	if (o->maybe)
		how |= PLACE_MAYBE;
	if (o->moved)
		how |= PLACE_MOVE;
	if (o->sparse)
		how |= PLACE_SPARSE;
	if (a->copies && (o->size == SIZE_SELF || o->size == SIZE_LENGTH))
		how |= PLACE_MOVE;
	if (o->kind == PAGES_LENT)
		how |= PLACE_SAME;
	switch ((enum size)o->size) {
	case SIZE_STRING:
		return __dune_place_string(a, pointer, o->bytes);
	case SIZE_STRINGS:
		return place_strings(a, pointer);
	case SIZE_VECTOR:
		/* The kernel says so too, but not of what is there: nobody has looked at that. */
		if (n > VECTORS_MAX && a->copies)
			return -EINVAL;
		return place_vectors(a, pointer, n, how & PLACE_WRITE ? how | PLACE_FRESH : how);
	case SIZE_IOVEC:
		return place_vectors(a, pointer, 1, how);
	case SIZE_VALUE:
		return place_value(a, pointer, how);
	case SIZE_MESSAGE:
		return place_one_message(a, pointer, how);
	case SIZE_MESSAGES:
		return place_messages(a, pointer, n, how);
	case SIZE_CLONE_ARGS:
		return place_clone_args(a, pointer, args->value[1]);
	case SIZE_WAITERS:
		return place_waiters(a, pointer, o->bytes ? o->bytes : n);
	case SIZE_FILTER:
		return place_filter(a, pointer);
	case SIZE_NOTICE:
		return place_notice(a, pointer);
	case SIZE_BY_NUMBER:
		return place_ioctl(a, pointer, args->value[1]);
	default:
		break;
	}
	ret = flat_size(a, o, args, ~0UL, &size);
	if (ret)
		return ret;
	if (o->kind == KEPT)
		return __dune_refuse_elsewhere(a, *pointer, size);
	if ((a->t->seen || is_address(a->t->output_nr, o->arg)) && o->kind == READ && size <= SEEN_MAX)
		how |= PLACE_MOVE;
	ret = __dune_place(a, pointer, size, how);
	if (!ret && size)
		keep_length(a, o, *pointer);
	return ret;
}

static long place_all(struct access *a, const struct call_row *row, struct arguments *args)
{
	long ret = 0;

	*args = arguments_of(a->t->vcpu.regs);
	a->page = 0;
	for_each_operand(o, row) {
		ret = place_operand(a, o, args);
		if (ret)
			break;
	}
	return ret;
}

/* 0, and regs_of_call() is what the kernel is to get; else the call's result, or CALL_AGAIN. */
static long track_before(struct dune_thread *t)
{
	const struct call_row *row = call_of(t->output_nr);
	struct call_state *s = call_state(t);
	struct repeat *repeat = __dune_call_repeated(t);
	struct access a = { .t = t, .skip = repeat ? repeat->page : 0, .copies = copied[t->output_nr],
			    .strings = t->seen || (__dune_process.check && by_name(t->output_nr)) };
	struct arguments args;
	bool skipped;
	long ret;

	__dune_call_state_clear(t);
	if (__dune_call_refused(t, repeat))
		return -EFAULT;
	/* What was there when the fault came may not be there any more. */
	do {
		skipped = a.skip;
		a.elsewhere = a.copies;
		ret = a.copies ? 0 : place_all(&a, row, &args);
		a.skip = 0;
	} while (!ret && skipped);
	if (!ret && a.elsewhere) {
		a.moving = true;
		ret = place_all(&a, row, &args);
		s->regs = *t->vcpu.regs;
		set_arguments(&s->regs, args.value);
		s->moved = !ret;
	}
	if (ret == UNKNOWN_PLACE)
		ret = -EFAULT;
	if (ret == NEEDS_FAULT)
		ret = __dune_call_fault(&a);
	else if (repeat)
		repeat->rip = 0;
	if (ret)
		__dune_call_state_clear(t);
	return ret;
}

/*
 * Of a checked program: what memory it uses its arguments say alone.  As long as its page table is as libdune made it,
 * a compare of each is enough, and there is nothing to do after it.
 */
static bool bounded[NR_SYSCALLS];

static bool is_bounded(const struct operand *o)
{
	const uint32_t sizes = 1U << SIZE_FIXED | 1U << SIZE_COUNT | 1U << SIZE_RESULT | 1U << SIZE_AFTER;

	return o->kind < KEPT || (o->kind != WRITTEN_REMOTE && o->kind < MASK && sizes >> o->size & 1);
}

static inline uint64_t argument(const struct guest_regs *r, unsigned int n)
{
	static const uint8_t at[] = {
		offsetof(struct guest_regs, rdi), offsetof(struct guest_regs, rsi), offsetof(struct guest_regs, rdx),
		offsetof(struct guest_regs, r10), offsetof(struct guest_regs, r8), offsetof(struct guest_regs, r9),
		[NO_ARGUMENT] = offsetof(struct guest_regs, rax),	/* of no use */
	};

	return *(const uint64_t *)((const char *)r + at[n]);
}

/* The most that it can be. */
static uint64_t bound_of(const struct operand *o, const struct guest_regs *r)
{
	uint64_t n = argument(r, o->with);

	switch ((enum size)o->size) {
	case SIZE_FIXED:
		return o->bytes;
	case SIZE_AFTER:
		return o->bytes + bytes_of(n, 1);
	default:
		return bytes_of(o->narrow ? (uint32_t)n : n, o->bytes);
	}
}

HOT static long check_bounds(const struct guest_regs *r, unsigned int nr)
{
	const struct operand *o = first_operand(call_of(nr)), *const end = end_of_operands(call_of(nr));
	const bool has_function = functions[nr];

	for (; o < end; o++) {
		const uint64_t value = argument(r, o->arg);

		if (o->if_arg && ((uint32_t)argument(r, o->if_arg - 1) & o->if_mask) != o->if_value)
			continue;
		if (o->kind == DESCRIPTOR) {
			if (engine_owns_fd(value))
				return -EBADF;
		} else if (o->kind >= KEPT) {
			if (value && out_of_bounds(value, bound_of(o, r)))
				return -EFAULT;
		} else if (!has_function && out_of_bounds(value, o->with == NO_ARGUMENT ? 1 : argument(r, o->with))) {
			return -ENOMEM;		/* a mapping: each function says itself what it refuses */
		}
	}
	return 0;
}

static long look_before(struct dune_thread *t)
{
	const struct guest_regs *r = t->vcpu.regs;

	t->output_nr = r->rax;
	/* All that have a descriptor and come here untracked. */
	if (engine_owns_fd(r->rdi) && (r->rax == __NR_fstat || r->rax == __NR_newfstatat || r->rax == __NR_statx))
		return -EBADF;
	if (__dune_process.check) {
		if (!__dune_engine_cpl(&t->vcpu))	/* libdune's own */
			return 0;
		if (bounded[t->output_nr] && !READ_ONCE(__dune_tracking))
			return check_bounds(r, t->output_nr);
	} else if (!READ_ONCE(__dune_tracking)) {
		return 0;
	}
	t->tracked = true;
	t->looked = true;
	return track_before(t);
}

/* The kernel is about to have the call: 0; or its result. */
static long check(struct dune_thread *t)
{
	long ret;

	if (!__dune_process.check || !__dune_engine_cpl(&t->vcpu))
		return FORWARD_CALL;
	ret = __dune_check(t, t->tracked && call_state(t)->moved ? &call_state(t)->regs : t->vcpu.regs);
	if (t->tracked && !call_state(t)->moved && !t->seen)
		t->tracked = false;
	return ret;
}

/* ---- after ---- */

static void mark_dirty(struct dune_thread *t, uint64_t start, uint64_t length)
{
	uint64_t va = start & -(uint64_t)PGSIZE, end = start + length, state;
	const ptent_t mark = written_mark();

	if (!start || !length || end < start || !user_address(end))
		return;
	state = memory_lock();
	while (va < end) {
		int level;
		ptent_t *e = walk_find(t->cr3 ? table_of(t->cr3) : __dune_process.root, va, &level);

		if (level < LEVEL_ROOT && *e & PTE_P)
			__atomic_fetch_or(e, mark, __ATOMIC_RELAXED);
		va = (va & -level_size(level)) + level_size(level);
	}
	memory_unlock(state);
}

void __dune_mark_written(struct dune_thread *t, uint64_t start, uint64_t length)
{
	if (READ_ONCE(__dune_tracking))
		mark_dirty(t, start, length);
}

/* The kernel has written @n bytes at @address, a copy or not.  0 or -EFAULT. */
static long written(struct dune_thread *t, uint64_t address, uint64_t n)
{
	struct copy *c = __dune_copy_of(call_state(t), address);
	struct access a = { .t = t };
	uint64_t offset;
	long ret = 0;

	if (c) {
		offset = address - (uint64_t)c->data;
		if (n > c->size - offset)
			n = c->size - offset;
		ret = __dune_copy_back(&a, c, offset, n);
		address = c->va + offset;
	}
	mark_dirty(t, address, n);
	/* Of what is sparse it is known that there was something to be copied back. */
	return ret && (!c->maybe || c->sparse) ? -EFAULT : 0;
}

/* The buffers of an iovec; at most @limit bytes of them. */
static long written_vectors(struct dune_thread *t, uint64_t vector, uint64_t n, uint64_t limit)
{
	long ret = 0;

	for (uint64_t i = 0; !ret && i < n && i < VECTORS_MAX && limit; i++) {
		struct vector v;

		if (__dune_copy_in(&v, vector + i * sizeof(v), sizeof(v)))
			break;
		if (v.length > limit)
			v.length = limit;
		ret = written(t, v.base, v.length);
		limit -= v.length;
	}
	return ret;
}

#define WRITTEN_FIELD(t, type, at, field) \
	written(t, (at) + offsetof(type, field), sizeof(((type *)0)->field))

/* Of a message only what is no pointer is the kernel's. */
static long written_message(struct dune_thread *t, uint64_t at, uint64_t limit)
{
	struct message m;
	long ret;

	if (__dune_copy_in(&m, at, sizeof(m)))
		return 0;
	ret = written_vectors(t, m.vector, m.nr_vectors, limit);
	if (!ret && m.name_length > 0)
		ret = written(t, m.name, m.name_length);
	if (!ret)
		ret = written(t, m.control, m.control_length);
	if (!ret)
		ret = WRITTEN_FIELD(t, struct message, at, name_length);
	if (!ret)
		ret = WRITTEN_FIELD(t, struct message, at, control_length);
	if (!ret)
		ret = WRITTEN_FIELD(t, struct message, at, flags);
	return ret;
}

static long written_messages(struct dune_thread *t, uint64_t at, uint64_t n, bool received)
{
	const uint64_t length = offsetof(struct counted_message, length);
	long ret = 0;

	for (uint64_t i = 0; !ret && i < n && i < MESSAGES_MAX; i++, at += sizeof(struct counted_message)) {
		uint32_t limit;

		if (received && !__dune_copy_in(&limit, at + length, sizeof(limit)))
			ret = written_message(t, at, limit);
		if (!ret)
			ret = WRITTEN_FIELD(t, struct counted_message, at, length);
	}
	return ret;
}

static long written_clone_args(struct dune_thread *t, uint64_t at)
{
	struct clone_pointers c = { 0 };

	if (__dune_copy_in(&c, at, CLONE_ARGS_SIZE_VER0))
		return 0;
	if (c.flags & CLONE_PIDFD)
		written(t, c.pidfd, sizeof(int));
	if (c.flags & CLONE_CHILD_SETTID)
		mark_dirty(t, c.child_tid, sizeof(int));
	if (c.flags & CLONE_PARENT_SETTID)
		written(t, c.parent_tid, sizeof(int));
	return 0;
}

/* @result of a call that has failed is 0: it may have written all the same, the time that is left or a size. */
static long written_operand(struct dune_thread *t, const struct operand *o, const struct arguments *args,
			    uint64_t result)
{
	uint64_t pointer = args->value[o->arg], n = count_of(o, args), size;

	if (!pointer || !operand_concerns(o, args->value))
		return 0;
	if (o->kind == WORD_WRITTEN)	/* not where the process has it */
		mark_dirty(t, arguments_of(t->vcpu.regs).value[o->arg], sizeof(uint32_t));
	if (o->kind == READ && o->size == SIZE_MESSAGES)
		return written_messages(t, pointer, n < result ? n : result, false);
	if (o->kind == READ && o->size == SIZE_CLONE_ARGS)
		return written_clone_args(t, pointer);
	if (o->kind != WRITTEN && o->kind != WRITTEN_REMOTE)
		return 0;
	switch ((enum size)o->size) {
	case SIZE_VECTOR:
		return written_vectors(t, pointer, n, result);
	case SIZE_VALUE:
		return written_vectors(t, pointer, 1, result);
	case SIZE_IOVEC:
		return written_vectors(t, pointer, 1, ~0UL);
	case SIZE_MESSAGE:
		return written_message(t, pointer, result);
	case SIZE_MESSAGES:
		return written_messages(t, pointer, n < result ? n : result, true);
	default:
		flat_size(NULL, o, args, result, &size);
		return written(t, pointer, size);
	}
}

#ifndef MADV_DONTNEED_LOCKED	/* newer than the headers of the oldest system that this builds on */
#define MADV_DONTNEED_LOCKED	24
#endif

/*
 * Calls after which something else is there than before: written, for trackers (memory/dirty.c).  Where nothing was
 * mapped yet, a first touch makes it dirty.
 */
static bool changes_content(unsigned int nr)
{
	return nr == __NR_mmap || nr == __NR_mremap || nr == __NR_madvise || nr == __NR_shmat || nr == __NR_brk;
}

static uint64_t last_break;	/* 0: nobody has asked */

void __dune_break_is(uint64_t now)
{
	__atomic_store_n(&last_break, now, __ATOMIC_SEQ_CST);
}

/* The break has become @now: what is between the last one and this is new. */
static void mark_break(struct dune_thread *t, uint64_t now)
{
	const uint64_t from = __atomic_exchange_n(&last_break, now, __ATOMIC_SEQ_CST);

	if (from && now > from)
		mark_dirty(t, from, now - from);
}

static void mark_content(struct dune_thread *t, const struct arguments *args, uint64_t result)
{
	uint64_t shmid_ds[14];		/* its size is the seventh word */

	switch (t->output_nr) {
	case __NR_brk:
		mark_break(t, result);
		break;
	case __NR_mmap:
		mark_dirty(t, result, args->value[1]);
		break;
	case __NR_mremap:
		mark_dirty(t, result, args->value[2]);
		mark_dirty(t, args->value[0], args->value[1]);	/* MREMAP_DONTUNMAP */
		break;
	case __NR_madvise:
		if (args->value[2] == MADV_DONTNEED || args->value[2] == MADV_FREE || args->value[2] == MADV_REMOVE ||
		    args->value[2] == MADV_DONTNEED_LOCKED)
			mark_dirty(t, args->value[0], args->value[1]);
		break;
	case __NR_shmat:
		if (!dune_syscall3(__NR_shmctl, args->value[0], IPC_STAT, shmid_ds))
			mark_dirty(t, result, shmid_ds[6]);
		break;
	}
}

/* After it; @result becomes what the program is told. */
static long track_after(struct dune_thread *t, long result)
{
	const struct arguments args = arguments_of(regs_of_call(t));
	long ret = 0;

	for_each_operand(o, call_of(t->output_nr)) {
		long error = written_operand(t, o, &args, is_error(result) ? 0 : result);

		if (error)
			ret = error;
	}
	if (!is_error(result) && (region_state()->trackers || READ_ONCE(__dune_written_on)))
		mark_content(t, &args, result);
	if (!ret || is_error(result))
		ret = result;
	if (t->seen)
		__dune_callback_after(t, ret);
	/* A handler of signals is to find the mask that it waited with (deliver.c). */
	if (result != -EINTR) {
		__dune_call_state_clear(t);
		t->tracked = false;
	}
	return ret;
}

/*
 * Of a call of another thread's, with the registers @r, that may be under way: all that it can write counts as written.
 * @t: the calling thread; of one that is not checked.
 */
void __dune_mark_call(struct dune_thread *t, const struct guest_regs *r)
{
	const struct arguments args = arguments_of(r);
	const unsigned int nr = r->rax;

	if (nr >= NR_SYSCALLS)
		return;
	for_each_operand(o, call_of(nr))
		written_operand(t, o, &args, BYTES_MAX);
}

/* Its result is in RAX by now. */
void __dune_output_mark(struct dune_thread *t)
{
	if (__dune_process.check && t->tracked && opens(t->output_nr))
		t->vcpu.regs->rax = __dune_callback_asks() ? __dune_path_open_again(t, t->vcpu.regs->rax) :
				    __dune_open_again(t, t->vcpu.regs->rax);
	if (t->output_nr == __NR_getdents64)
		__dune_hide_descriptor(t);
	else if (t->output_nr == __NR_open || t->output_nr == __NR_openat || t->output_nr == __NR_openat2)
		__dune_filter_map(t, t->vcpu.regs->rax);
	else if (t->output_nr == __NR_recvmsg || t->output_nr == __NR_recvmmsg)
		__dune_pagemap_received(t);
	if (t->tracked)
		t->vcpu.regs->rax = track_after(t, t->vcpu.regs->rax);
	else if (t->seen)
		__dune_callback_after(t, t->vcpu.regs->rax);
}

/* ---- the table of calls ---- */

/* Libdune has made the call itself. */
static long finish(struct dune_thread *t, long ret)
{
	if (ret == FORWARD_CALL || ret == CALL_AGAIN)
		return ret;
	if (t->tracked)
		return track_after(t, ret);
	if (t->seen)
		__dune_callback_after(t, ret);
	return ret;
}

/* A place in the table: that function, with what it reads and writes, or has the kernel do so. */
static long call_function(struct dune_thread *t, struct guest_regs *r)
{
	unsigned int nr = r->rax;
	long ret = look_before(t);

	if (ret)
		return ret;
	ret = check(t);
	if (ret != FORWARD_CALL)
		return finish(t, ret);
	ret = functions[nr](t, t->tracked && call_state(t)->moved ? &call_state(t)->regs : r);
	return finish(t, ret);
}

/* A place in the table: the trampoline makes the call, with a look before and after. */
HOT long __dune_sys_look(struct dune_thread *t, struct guest_regs *r)
{
	long ret = look_before(t);

	(void)r;
	return ret ? ret : finish(t, check(t));
}

/* The same for a checked program's call whose bounds are enough. */
HOT static long sys_bounded(struct dune_thread *t, struct guest_regs *r)
{
	const unsigned int nr = r->rax;
	long ret;

	if (READ_ONCE(__dune_tracking))
		return __dune_sys_look(t, r);
	if (!__dune_engine_cpl(&t->vcpu))
		return FORWARD_CALL;
	ret = check_bounds(r, nr);
	t->output_nr = nr;
	return ret ? ret : __dune_check(t, r);
}

/* It is not made: @ret is its result, or CALL_AGAIN. */
static long not_made(struct dune_thread *t, long ret)
{
	if (t->tracked)
		__dune_call_state_clear(t);
	t->seen = t->tracked = false;
	return ret;
}

/* A place in the table: a checked program's call, of which a callback is to know. */
static long call_wanted(struct dune_thread *t, struct guest_regs *r)
{
	unsigned int nr = r->rax;
	long error, ret = FORWARD_CALL;

	t->seen = __dune_engine_cpl(&t->vcpu);
	error = look_before(t);
	if (t->seen)
		ret = __dune_callback_before(t, error);
	else if (error)
		return error;
	if (t->seen && error)
		__dune_callback_after(t, ret);
	if (ret != FORWARD_CALL)
		return not_made(t, ret);
	ret = check(t);
	if (ret == FORWARD_CALL && functions[nr])
		ret = functions[nr](t, t->tracked && call_state(t)->moved ? &call_state(t)->regs : r);
	return finish(t, ret);
}

static bool uses_memory(const struct call_row *call)
{
	for_each_operand(o, call)
		if (o->kind >= KEPT)
			return true;
	return false;
}

static void look_at(unsigned int nr)
{
	const syscall_fn *place = &__dune_syscall_table[nr];

	if (*place == __dune_sys_look || *place == call_function || *place == sys_bounded)
		return;
	functions[nr] = *place;
	__dune_set_function(nr, *place ? call_function : bounded[nr] ? sys_bounded : __dune_sys_look);
}

/* A call gets this function, whoever looks at it besides.  The one that it had before, for the new one to call. */
syscall_fn __dune_add_function(unsigned int nr, syscall_fn function)
{
	const syscall_fn place = __dune_syscall_table[nr];
	const bool looked_at = place == __dune_sys_look || place == call_function || place == sys_bounded ||
			       place == call_wanted;
	const syscall_fn old = looked_at ? functions[nr] : place;

	if (looked_at)
		__atomic_store_n(&functions[nr], function, __ATOMIC_SEQ_CST);
	if (place != call_wanted)
		__dune_set_function(nr, looked_at ? call_function : function);
	return old;
}

/* With the lock held, on both sides: from now on it matters what system calls read and write. */
void __dune_track_calls(void)
{
	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++)
		if (uses_memory(call_of(nr)) || changes_content(nr))
			look_at(nr);
}

/* ---- a checked program ---- */

static long no_such_call(struct dune_thread *t, struct guest_regs *r)
{
	(void)t;
	(void)r;
	return -ENOSYS;
}

/* Before the call is made as it would be else, and after it, a callback is called. */
static void have_seen(unsigned int nr)
{
	const syscall_fn *place = &__dune_syscall_table[nr];

	if (*place != __dune_sys_look && *place != call_function && *place != sys_bounded)
		functions[nr] = *place;
	__dune_set_function(nr, call_wanted);
}

static bool reads_string(unsigned int nr)
{
	for_each_operand(o, call_of(nr))
		if (o->kind == READ && o->size == SIZE_STRING)
			return true;
	return false;
}

/* Does memory say where more of it is, or how much; or is a file opened by what it says? */
static bool is_copied(unsigned int nr)
{
	for_each_operand(o, call_of(nr))
		if (o->moved || o->kind == MASK_AT || (1U << o->size & POINTERS))
			return true;
	for_each_operand(o, call_of(nr))
		if (is_address(nr, o->arg))
			return true;
	return by_name(nr) && reads_string(nr);
}

/* By a path: names of attributes and keys are shorter. */
static bool names_file(unsigned int nr)
{
	for_each_operand(o, call_of(nr))
		if (o->kind == READ && o->size == SIZE_STRING && o->bytes == PATH_MAX)
			return true;
	return false;
}

static bool reads_memory(unsigned int nr)
{
	for_each_operand(o, call_of(nr))
		if (o->kind == READ)
			return true;
	return false;
}

void __dune_check_calls(void)
{
	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++) {
		const struct call_row *call = call_of(nr);

		copied[nr] = is_copied(nr) || (callback_wants(nr) && reads_memory(nr));
		bounded[nr] = !copied[nr];
		for_each_operand(o, call)
			bounded[nr] &= is_bounded(o);
		if (!(call->flags & CALL_KNOWN) || call->flags & CALL_UNCHECKED ||
		    (__dune_callback_asks() && names_file(nr) && !__dune_path_known(nr)))
			__dune_set_function(nr, no_such_call);
		else if (call->nr_operands || nr == __NR_restart_syscall || nr == __NR_exit_group)
			look_at(nr);
		if (callback_wants(nr))
			have_seen(nr);
	}
}
