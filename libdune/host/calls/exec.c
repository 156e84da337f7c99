// SPDX-License-Identifier: MIT
/*
 * execve().  The kernel drops Dune mode with everything else; under dune-run the
 * new program is to load the preload object first, which takes it there again.  So the
 * object, which took itself out of LD_PRELOAD, is put back.  Nothing loads an object into a statically
 * linked program: the kernel is given the object itself to start, which loads the program.
 * One with rights of its own is left as it is, and runs outside Dune mode: the kernel has the
 * dynamic linker ignore the object then, and the loader would run it without these rights.
 *
 * Of a checked program each is loaded so, by an image of the loader that is no file: nobody can write to it, nor put
 * another in its place (launch/sealed.c).
 *
 * All is built in memory of the caller's own: after vfork, its parent's is shared.  HR3.
 */
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "base/program.h"
#include "host/callbacks.h"
#include "host/calls.h"
#include "host/calls/paths.h"
#include "host/host.h"
#include "host/signals.h"

static char preload[PAGE_SIZE];
static size_t preload_length;		/* 0: leave the environment alone */
static char loaded[PAGE_SIZE];		/* the program, if it was loaded by us; else "" */
static char linker[PAGE_SIZE];		/* its dynamic linker, likewise */

static const char variable[] = "LD_PRELOAD=";
#define VARIABLE_LENGTH	(sizeof(variable) - 1)

/* As much as the kernel accepts for one string: 32 pages. */
#define STRING_MAX	(32 * PAGE_SIZE)
/* An address that nobody can read, whatever is mapped. */
#define NOWHERE		(1UL << 63)
/* Pointers read at a time. */
#define CHUNK		64

/* The call that the program makes. */
struct call {
	int dirfd;
	unsigned long path, argv, envp;
	int flags;
};

void __dune_set_preload(const char *path)
{
	size_t length = 0;

	while (path[length] && length < sizeof(preload) - 1) {
		preload[length] = path[length];
		length++;
	}
	preload_length = path[length] ? 0 : length;
}

const char *__dune_set_loaded(int fd)
{
	__dune_descriptor_path(fd, loaded, sizeof(loaded));
	return loaded;
}

void __dune_set_linker(int fd)
{
	__dune_descriptor_path(fd, linker, sizeof(linker));
}

const char *__dune_linker(void)
{
	return linker;
}

const char *__dune_loaded(void)
{
	return loaded;
}

/* "/proc/self/exe" leads to our loader, where the kernel lets nobody change that. */
static const char *file_of(const struct call *c)
{
	return __dune_self_at(c->path) ?: (const char *)c->path;
}

/* A NULL environment is an empty one. */
static long count_strings(unsigned long array)
{
	unsigned long pointer;
	long count = 0;

	while (array) {
		/* One pointer at a time only where a page may end. */
		unsigned long chunk[CHUNK];
		unsigned long room = (PAGE_SIZE - (array & (PAGE_SIZE - 1))) / sizeof(pointer);
		unsigned long want = room < 1 ? 1 : room < CHUNK ? room : CHUNK;

		if (__dune_copy_in(chunk, array, want * sizeof(pointer)))
			return -EFAULT;
		for (unsigned long i = 0; i < want; i++, count++)
			if (!chunk[i])
				return count;
		array += want * sizeof(pointer);
	}
	return count;
}

static bool is_variable(unsigned long string)
{
	char start[VARIABLE_LENGTH];

	if (__dune_copy_in(start, string, sizeof(start)))
		return false;
	for (size_t i = 0; i < sizeof(start); i++)
		if (start[i] != variable[i])
			return false;
	return true;
}

/* Length of the string at @address with its NUL, or -errno. */
static long string_size(unsigned long address)
{
	char piece[256];
	long size = 0;

	for (;;) {
		unsigned long room = PAGE_SIZE - ((address + size) & (PAGE_SIZE - 1));
		unsigned long want = room < sizeof(piece) ? room : sizeof(piece);

		if (__dune_copy_in(piece, address + size, want))
			return -EFAULT;
		for (unsigned long i = 0; i < want; i++)
			if (!piece[i])
				return size + i + 1;
		size += want;
		if (size > STRING_MAX)
			return -E2BIG;
	}
}

/* "LD_PRELOAD=", our object, and a colon and the rest of @old ("LD_PRELOAD=...") if there is one, of that size. */
static long write_variable(char *to, unsigned long old, long old_size)
{
	char *p = to;

	memcpy(p, variable, VARIABLE_LENGTH);
	p += VARIABLE_LENGTH;
	memcpy(p, preload, preload_length);
	p += preload_length;
	if (old_size) {
		*p++ = ':';
		return __dune_copy_in(p, old + VARIABLE_LENGTH, old_size - VARIABLE_LENGTH);
	}
	*p = '\0';
	return 0;
}

/* The pointers of @envp, @count of them, with the new variable among them (launch/launch.h); it goes to @string. */
static long build_env(char **pointers, char *string, unsigned long envp, long count)
{
	long found = count, old_size = 0, ret;

	ret = __dune_copy_in(pointers, envp, count * sizeof(char *));
	if (ret)
		return ret;
	for (long i = 0; i < count; i++)
		if (is_variable((unsigned long)pointers[i]))
			found = i;
	if (found < count) {
		old_size = string_size((unsigned long)pointers[found]);
		if (old_size < 0)
			return old_size;
	}
	ret = write_variable(string, (unsigned long)pointers[found], old_size);
	pointers[found] = string;
	if (found == count)
		pointers[count + 1] = string;
	return ret;
}

#define NUMBERS	3	/* pieces of NUMBER_SIZE that build_args() wants */

static char *append(char *to, const char *from)
{
	while (*from)
		*to++ = *from++;
	return to;
}

/* The loader's first argument (base/program.h), in two pieces of @to. */
static char *loader_setting(char *to, const struct program *p, unsigned int nr_filters)
{
	char *text = __dune_decimal(to, p->fd), digits[NUMBER_SIZE];

	if (!__dune_process.check)
		return text;
	to += NUMBER_SIZE;
	to[-1] = LOADER_CHECK;		/* in place of its NUL */
	to = append(to, __dune_decimal(digits, __dune_engine_fds.first + 1));
	if (nr_filters) {
		*to++ = LOADER_FILTERS;
		to = append(to, __dune_decimal(digits, nr_filters));
	}
	*to = '\0';
	return text;
}

/*
 * OBJECT FD NAME and the program's arguments, as the loader wants them (launch/image.c).
 */
static long build_args(const struct dune_thread *t, char **pointers, char *numbers, const struct program *p,
		       const struct call *c, long count)
{
	bool by_fd = c->dirfd != AT_FDCWD && !p->nr_args;
	long skipped = p->nr_args && count ? 1 : 0;
	uint64_t size;
	const unsigned int nr_filters = __dune_filters_count(t, &size);

	pointers[0] = preload;		/* "" if the program is checked */
	pointers[1] = loader_setting(numbers, p, nr_filters);
	pointers[2] = by_fd ? __dune_name_descriptor(numbers + 2 * NUMBER_SIZE, "/dev/fd/", c->dirfd) :
			      (char *)c->path;
	__dune_filters_write(t, pointers + LOADER_ARGS, numbers + NUMBERS * NUMBER_SIZE);
	pointers += nr_filters;
	memcpy(pointers + LOADER_ARGS, p->args, p->nr_args * sizeof(char *));
	pointers += LOADER_ARGS + p->nr_args;
	if (!count && !p->nr_args)
		*pointers = "";		/* as the kernel does where there is none */
	return __dune_copy_in(pointers, c->argv + skipped * sizeof(char *), (count - skipped) * sizeof(char *));
}

static long get_memory(struct dune_thread *t, uint64_t size)
{
	long ret = __dune_call_memory_get(&size);

	if (is_error(ret))
		return ret;
	t->exec.size = size;
	t->exec.memory = (void *)ret;
	return 0;
}

static long forward_with(const struct dune_thread *t, const struct call *c, void *envp)
{
	if (t->vcpu.regs->rax == __NR_execve)
		return dune_syscall3(__NR_execve, c->path, c->argv, envp);
	return dune_syscall5(__NR_execveat, c->dirfd, c->path, c->argv, envp, c->flags);
}

/* By chroot() the program can have put it out of reach; the dynamic linker would complain. */
static bool preload_is_there(void)
{
	struct { uint64_t status[18]; } status;

	return !dune_syscall4(__NR_newfstatat, AT_FDCWD, preload, &status, 0);
}

struct asker {
	struct dune_thread *t;
	bool has_refused;
};

/* A callback says whether it may be executed: a program, a script or what interprets it. */
static long opened(void *arg, int fd)
{
	struct asker *a = arg;
	long ret = __dune_path_execute(a->t, fd);

	a->has_refused = ret != FORWARD_CALL;
	return a->has_refused ? ret : 0;
}

/* What it would start.  A signal that came while a file is open would leave it so. */
static void find_program(struct dune_thread *t, const struct call *c, struct program *p, unsigned int kinds)
{
	struct asker asker = { .t = t };
	const char *file = file_of(c);

	__dune_call_begin(t);
	__dune_program(p, c->dirfd, file, c->flags, kinds, opened, &asker);
	t->exec.fd = p->fd;
	if (__dune_process.check && p->error && !asker.has_refused)
		p->error = __dune_path_executes(t, c->dirfd, file, p->error);
	__dune_call_end(t, DOING_EXEC);
}

static long with_preload(struct dune_thread *t, const struct call *c)
{
	long env_count = count_strings(c->envp), arg_count = 0, nr_pointers, ret;
	struct program p;
	char **envp, **argv, *strings;
	bool loads;

	if (env_count < 0)
		return env_count;
	find_program(t, c, &p, LOADS_STATIC);
	loads = p.fd >= 0;
	if (p.kind == PROGRAM_PRIVILEGED || p.kind == PROGRAM_32BIT || !preload_is_there())
		return forward_with(t, c, (void *)c->envp);
	if (loads)
		arg_count = count_strings(c->argv);
	if (arg_count < 0)
		return arg_count;
	nr_pointers = LOADER_ARGS + ARRAY_SIZE(p.args) + arg_count + 2;
	/* NULL ends both. */
	ret = get_memory(t, (env_count + 3 + nr_pointers) * sizeof(char *) + NUMBERS * NUMBER_SIZE + STRING_MAX +
			    PAGE_SIZE);
	if (ret)
		return ret;
	envp = t->exec.memory;
	argv = envp + env_count + 3;
	strings = (char *)(argv + nr_pointers);
	ret = build_env(envp, strings + NUMBERS * NUMBER_SIZE, c->envp, env_count);
	if (!ret && loads)
		ret = build_args(t, argv, strings, &p, c, arg_count);
	if (ret)
		return ret;
	if (loads) {
		dune_syscall3(__NR_fcntl, p.fd, F_SETFD, 0);
		ret = dune_syscall3(__NR_execve, preload, argv, envp);
		dune_syscall3(__NR_fcntl, p.fd, F_SETFD, FD_CLOEXEC);
		/* Out of reach for this user: then outside Dune mode. */
		if (ret != -ENOENT && ret != -EACCES)
			return ret;
		envp = (char **)c->envp;
	}
	return forward_with(t, c, envp);
}

/*
 * Nothing of a checked program runs outside, so what is executed is always the loader.  The pointers of arguments and
 * environment are copies already (operands.c).
 */
static long by_loader(struct dune_thread *t, const struct call *c)
{
	uint64_t filters_size;
	const unsigned int nr_filters = __dune_filters_count(t, &filters_size);
	long arg_count, nr_pointers, ret;
	struct program p;
	char **argv, *strings;

	if (!c->path)
		return -EFAULT;
	find_program(t, c, &p, LOADS_ALL);
	if (p.fd < 0) {
		/* Linux before 6.9 looks at the arguments before it looks at the file; a folder is never executed. */
		ret = dune_syscall5(__NR_execveat, AT_FDCWD, "/", c->argv, c->envp, 0);
		return ret == -EFAULT || ret == -E2BIG ? ret : p.error ? p.error : -ENOEXEC;
	}
	arg_count = count_strings(c->argv);
	if (arg_count < 0)
		return arg_count;
	nr_pointers = LOADER_ARGS + nr_filters + ARRAY_SIZE(p.args) + arg_count + 2;
	ret = get_memory(t, nr_pointers * sizeof(char *) + NUMBERS * NUMBER_SIZE + filters_size);
	if (ret)
		return ret;
	argv = t->exec.memory;
	strings = (char *)(argv + nr_pointers);
	/* NULL ends them.  This memory had another use before. */
	memset(argv, 0, strings - (char *)argv);
	ret = build_args(t, argv, strings, &p, c, arg_count);
	if (ret)
		return ret;
	dune_syscall3(__NR_fcntl, p.fd, F_SETFD, 0);
	ret = dune_syscall5(__NR_execveat, __dune_engine_fds.first + 1 + LOADER_FD_IMAGE, "", argv, c->envp,
			    AT_EMPTY_PATH);
	dune_syscall3(__NR_fcntl, p.fd, F_SETFD, FD_CLOEXEC);
	return ret;
}

/* Undo what these two have done. */
void __dune_exec_end(struct dune_thread *t)
{
	set_doing(t, DOING_LOOP);
	if (t->exec.fd >= 0)
		dune_syscall1(__NR_close, t->exec.fd);
	__dune_exec_forget(t);
}

/* The memory of an exec() in a process that still uses it: its parent's, after vfork. */
void __dune_exec_forget(struct dune_thread *t)
{
	void *const memory = t->exec.memory;

	WRITE_ONCE(t->exec.memory, NULL);
	if (memory)
		__dune_call_memory_put(t, (unsigned long)memory, t->exec.size);
}

/*
 * exec must not be made with signals blocked, the new program would inherit that: while it is made, a
 * signal has the guest make the call again (deliver.c).  A signal that waits until the guest has interrupts on, as in a
 * handler of traps, cannot: that would be after exec, and nobody would have it.  Its handler runs now.  In a bare
 * handler of ring 3's traps the program's could not: there the call fails.
 */
static long do_exec(struct dune_thread *t, const struct guest_regs *r, const struct call *c)
{
	long ret;

	t->exec.fd = -1;
	t->exec.memory = NULL;
	set_doing(t, DOING_EXEC);
	if (READ_ONCE(t->deferred)) {
		bool at_once = __dune_engine_comes_out(&t->vcpu);	/* it came just before */

		if (!at_once && t->ring3_bases) {
			__dune_exec_end(t);
			return -EAGAIN;
		}
		__dune_call_again(t);
		if (!at_once)
			__dune_signals_now(t);
		return CALL_AGAIN;
	}
	ret = __dune_process.check ? by_loader(t, c) : preload_length ? with_preload(t, c) : __dune_forward(r);
	/* The kernel opens the file before it looks at the arguments, so what it says of that comes first. */
	if (ret == -EFAULT)
		ret = forward_with(t, &(struct call){ c->dirfd, c->path, NOWHERE, 0, c->flags }, NULL);
	__dune_exec_end(t);
	return ret;
}

long __dune_sys_execve(struct dune_thread *t, struct guest_regs *r)
{
	return do_exec(t, r, &(struct call){ AT_FDCWD, r->rdi, r->rsi, r->rdx, 0 });
}

long __dune_sys_execveat(struct dune_thread *t, struct guest_regs *r)
{
	return do_exec(t, r, &(struct call){ r->rdi, r->rsi, r->rdx, r->r10, r->r8 });
}
