// SPDX-License-Identifier: MIT
/*
 * Calling those who watch a program (dune-ring3.h), and what they may call.  HR3.
 *
 * A callback runs on the host stack, and a signal finds it as it finds any C code of libdune's: it waits.  The
 * program's vector registers and FS base are live.  A fault in it is the process's end, whatever handlers the program
 * has.
 */
#include <linux/fcntl.h>
#include <linux/kcmp.h>

#include "base/program.h"
#include "host/callbacks.h"
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

_Static_assert(DUNE_RING3_CALLS == NR_SYSCALLS, "the table and the masks have the same numbers");
_Static_assert(DUNE_RING3_MEMORY == AREA_MEMORY_SIZE, "it has a place");
_Static_assert(DUNE_RING3_GO == FORWARD_CALL, "what a callback says is what the loop is told");

const struct ring3_header *__dune_ring3_header;
static const struct dune_ring3_callbacks *callbacks;

#define EXIT_BY_CALLBACK	125
#define OUTPUT_MAX		1024

void __dune_callbacks_set(const struct ring3_header *header, unsigned long image)
{
	callbacks = (const struct dune_ring3_callbacks *)(image + header->callbacks);
	__dune_ring3_header = header;
}

static struct dune_ring3_thread *watched(struct dune_thread *t)
{
	return (struct dune_ring3_thread *)t;
}

static struct dune_thread *thread_of(struct dune_ring3_thread *t)
{
	return (struct dune_thread *)t;
}

/* ---- calling them ---- */

/* The one called @name, if there is one. */
#define CALL_BACK(t, name, ...)	do {						\
	if (callbacks->name) {							\
		(t)->in_callback = true;					\
		callbacks->name(watched(t), __VA_ARGS__);			\
		(t)->in_callback = false;					\
	}									\
} while (0)

/*
 * Where signals are blocked, in all but before() and mostly after(), a fault is death by its signal at once: of a
 * blocked one the kernel sees to that itself.
 */
void __dune_callback_failed(const siginfo_t *info, unsigned long rip)
{
	const bool sent = info->si_code <= 0;
	const int signo = info->si_signo;

	if (sent || (signo != SIGSEGV && signo != SIGBUS && signo != SIGILL && signo != SIGFPE && signo != SIGTRAP))
		return;
	__dune_message("a callback has failed: signal %d at %#lx (image at %#lx), address %#lx", signo, rip,
		       __dune_process.region + REGION_IMAGE, (unsigned long)info->si_addr);
	for (;;)
		dune_syscall1(__NR_exit_group, EXIT_BY_CALLBACK);
}

/* By hand: a copy in pieces of a byte would be the most that a callback costs. */
static inline void get_arguments(uint64_t to[6], const struct guest_regs *r)
{
	to[0] = r->rdi;
	to[1] = r->rsi;
	to[2] = r->rdx;
	to[3] = r->r10;
	to[4] = r->r8;
	to[5] = r->r9;
}

static inline void describe(struct dune_ring3_call *call, const struct dune_thread *t, long error)
{
	call->nr = t->output_nr;
	call->error = -error;
	get_arguments(call->args, regs_of_call(t));
	get_arguments(call->given, t->vcpu.regs);
}

/* The kernel gets what the callback has made of the arguments. */
static void change_arguments(struct dune_thread *t, const struct dune_ring3_call *call)
{
	struct call_state *s = call_state(t);
	struct guest_regs *r = &s->regs;

	if (!t->tracked)
		__dune_call_state_clear(t);
	if (!s->moved)
		*r = *t->vcpu.regs;
	t->tracked = s->moved = true;
	set_arguments(r, call->args);
}

static inline bool is_changed(const struct dune_thread *t, const struct dune_ring3_call *call)
{
	const struct guest_regs *r = regs_of_call(t);

	return (call->args[0] ^ r->rdi) | (call->args[1] ^ r->rsi) | (call->args[2] ^ r->rdx) |
	       (call->args[3] ^ r->r10) | (call->args[4] ^ r->r8) | (call->args[5] ^ r->r9);
}

long __dune_callback_before(struct dune_thread *t, long error)
{
	struct dune_ring3_call call;
	long ret = FORWARD_CALL;

	t->seen = true;
	describe(&call, t, error);
	if (callbacks->before) {
		t->in_callback = true;
		ret = callbacks->before(watched(t), &call);
		t->in_callback = false;
	}
	if (error)
		return error;
	if (ret != FORWARD_CALL)
		t->seen = false;
	else if (is_changed(t, &call))
		change_arguments(t, &call);
	return ret;
}

bool __dune_callback_asks(void)
{
	return callbacks && callbacks->path;
}

long __dune_callback_path(struct dune_thread *t, const char *path, unsigned int access)
{
	struct dune_ring3_call call;
	long ret;

	describe(&call, t, 0);
	t->in_callback = true;
	ret = callbacks->path(watched(t), &call, path, access);
	t->in_callback = false;
	return ret;
}

void __dune_callback_after(struct dune_thread *t, long result)
{
	struct dune_ring3_call call;

	t->seen = false;
	if (!callbacks->after)
		return;
	describe(&call, t, 0);
	CALL_BACK(t, after, &call, result);
}

#define CANNOT_START	127

/* A program names its dynamic linker itself, which is mapped by now. */
static void ask_for_linker(struct dune_thread *t)
{
	if (!__dune_callback_asks() || !*__dune_linker() ||
	    __dune_callback_path(t, __dune_linker(), DUNE_RING3_EXECUTE) == FORWARD_CALL)
		return;
	__dune_message("%s: not permitted as a dynamic linker", __dune_linker());
	for (;;)
		dune_syscall1(__NR_exit_group, CANNOT_START);
}

void __dune_callback_begin(struct dune_thread *t, enum dune_ring3_begin how)
{
	if (!__dune_ring3_header)
		return;
	t->seen = t->in_callback = false;
	t->number = 0;
	__dune_faults_keep(t->sighand);
	if (how != DUNE_RING3_BY_FORK)
		memset(dune_ring3_memory(watched(t)), 0, DUNE_RING3_MEMORY);
	CALL_BACK(t, begin, how);
	if (how == DUNE_RING3_BY_EXEC)
		ask_for_linker(t);
}

void __dune_callback_end(struct dune_thread *t, int status, bool whole_process)
{
	if (__dune_ring3_header)
		CALL_BACK(t, end, status, whole_process);
}

void __dune_callback_signal(struct dune_thread *t, const siginfo_t *info)
{
	if (__dune_ring3_header)
		CALL_BACK(t, signal, info);
}

void __dune_callback_fault(struct dune_thread *t, const siginfo_t *info)
{
	if (__dune_ring3_header)
		CALL_BACK(t, fault, info);
}

/* ---- what they may call ---- */

PUBLIC void *dune_ring3_shared(void)
{
	return __dune_ring3_header && __dune_ring3_header->size ? (char *)__dune_ring3_header + PGSIZE : NULL;
}

PUBLIC const void *dune_ring3_data(void)
{
	const struct ring3_header *h = __dune_ring3_header;

	return h && h->data_size ? (const char *)h + PGSIZE + ((h->size + PGMASK) & ~PGMASK) : NULL;
}

PUBLIC void *dune_ring3_memory(struct dune_ring3_thread *t)
{
	return (void *)(thread_area(thread_of(t)) + AREA_MEMORY);
}

PUBLIC int dune_ring3_tid(struct dune_ring3_thread *t)
{
	struct dune_thread *thread = thread_of(t);

	if (!thread->number)
		thread->number = dune_syscall0(__NR_gettid);
	return thread->number;
}

PUBLIC int dune_ring3_pid(struct dune_ring3_thread *t)
{
	(void)t;
	return dune_syscall0(__NR_getpid);
}

/* All processes of a program have the same open file for what they share, and nobody else has it there. */
PUBLIC int dune_ring3_is_ours(struct dune_ring3_thread *t, int pid)
{
	const unsigned int fd = __dune_engine_fds.first + 1 + LOADER_FD_MEMORY;

	return !dune_syscall5(__NR_kcmp, dune_ring3_pid(t), pid, KCMP_FILE, fd, fd);
}

PUBLIC int dune_ring3_read(struct dune_ring3_thread *t, void *to, uint64_t address, size_t size)
{
	const struct copy *c = __dune_copy_of(call_state(thread_of(t)), address);
	struct access a = { .t = thread_of(t) };

	if (!c)
		return __dune_copy_through(&a, address, to, size, false) ? -EFAULT : 0;
	if (size > c->size - (address - (uint64_t)c->data))
		return -EFAULT;
	memcpy(to, (const void *)address, size);
	return 0;
}

PUBLIC long dune_ring3_read_string(struct dune_ring3_thread *t, char *to, uint64_t address, size_t size)
{
	const struct copy *c = __dune_copy_of(call_state(thread_of(t)), address);
	size_t done = 0, piece;

	while (done < size) {
		piece = c ? c->size - (address - (uint64_t)c->data) : PGSIZE - PGOFF(address);
		if (piece > size - done)
			piece = size - done;
		if (!piece || dune_ring3_read(t, to + done, address, piece))
			return -EFAULT;
		for (size_t end = done + piece; done < end; done++)
			if (!to[done])
				return done;
		address += piece;
	}
	return size;
}

PUBLIC int dune_ring3_write(struct dune_ring3_thread *t, uint64_t address, const void *from, size_t size)
{
	struct access a = { .t = thread_of(t) };

	return __dune_copy_through(&a, address, (void *)from, size, true) ? -EFAULT : 0;
}

PUBLIC long dune_ring3_path(struct dune_ring3_thread *t, int fd, char *to, size_t size)
{
	(void)t;
	return !size || fd < 0 ? -EINVAL : __dune_descriptor_path(fd, to, size);
}

PUBLIC int dune_ring3_output(struct dune_ring3_thread *t, const void *data, size_t size)
{
	const char *from = data;
	size_t done = 0;

	(void)t;
	while (done < size) {
		long ret = dune_syscall3(__NR_write, __dune_engine_fds.first + 1 + LOADER_FD_OUTPUT, from + done,
					 size - done);

		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			return ret;
		done += ret;
	}
	return done;
}

PUBLIC int dune_ring3_print(struct dune_ring3_thread *t, const char *format, ...)
{
	char text[OUTPUT_MAX];
	va_list args;
	size_t length;

	va_start(args, format);
	length = __dune_format(text, sizeof(text), format, args);
	va_end(args);
	return dune_ring3_output(t, text, length < sizeof(text) ? length : sizeof(text) - 1);
}

PUBLIC int dune_ring3_format(char *to, size_t size, const char *format, ...)
{
	va_list args;
	size_t length;

	va_start(args, format);
	length = __dune_format(to, size, format, args);
	va_end(args);
	return length;
}
