// SPDX-License-Identifier: MIT
/*
 * execve().  The kernel drops Dune mode with everything else; under dune-run the
 * new program is to load the preload object first, which takes it there again.  So the
 * object, which took itself out of LD_PRELOAD, is put back.  All is built in memory of the
 * caller's own: after vfork, its parent's is shared.  HR3.
 */
#include <linux/mman.h>

#include "internal.h"

static char preload[PAGE_SIZE];
static size_t preload_length;		/* 0: leave the environment alone */

static const char variable[] = "LD_PRELOAD=";
#define VARIABLE_LENGTH	(sizeof(variable) - 1)

/* As much as the kernel accepts for one string: 32 pages. */
#define STRING_MAX	(32 * PAGE_SIZE)
/* Pointers read at a time. */
#define CHUNK		64

void __dune_set_preload(const char *path)
{
	size_t length = 0;

	while (path[length] && length < sizeof(preload) - 1) {
		preload[length] = path[length];
		length++;
	}
	preload_length = path[length] ? 0 : length;
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

/* "LD_PRELOAD=", our object, and the rest of @old ("LD_PRELOAD=...") if there is one. */
static long write_variable(char *to, unsigned long old, long old_size)
{
	char *p = to;

	memcpy(p, variable, VARIABLE_LENGTH);
	p += VARIABLE_LENGTH;
	memcpy(p, preload, preload_length);
	p += preload_length;
	if (old_size > (long)VARIABLE_LENGTH + 1) {
		*p++ = ':';
		return __dune_copy_in(p, old + VARIABLE_LENGTH, old_size - VARIABLE_LENGTH);
	}
	*p = '\0';
	return 0;
}

/* Fill t->exec.memory: the pointers of @envp, @count of them, and the new string. */
static long build(struct dune_thread *t, unsigned long envp, long count)
{
	char **pointers = t->exec.memory;
	char *string = (char *)(pointers + count + 2);
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
	return ret;
}

static long with_preload(struct dune_thread *t)
{
	long count = count_strings(t->exec.old_envp), ret;

	if (count < 0)
		return count;
	t->exec.size = (count + 2) * sizeof(char *) + STRING_MAX + PAGE_SIZE;
	ret = dune_syscall6(__NR_mmap, 0, t->exec.size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (is_error(ret))
		return ret;
	t->exec.memory = (void *)ret;
	ret = build(t, t->exec.old_envp, count);
	if (ret)
		return ret;
	*t->exec.envp = (unsigned long)t->exec.memory;
	return __dune_forward(t);
}

/* Undo what with_preload() has done. */
void __dune_exec_end(struct dune_thread *t)
{
	__atomic_store_n(&t->exec.active, false, __ATOMIC_RELEASE);
	*t->exec.envp = t->exec.old_envp;
	if (t->exec.memory)
		dune_syscall2(__NR_munmap, t->exec.memory, t->exec.size);
}

/*
 * @envp is an argument of the call: replace it for as long as the call lasts.  exec must not be
 * made with signals blocked, the new program would inherit that: while exec.active is set, a
 * signal has the guest make the call again (sigframe.c).
 */
static long do_exec(struct dune_thread *t, __u64 *envp)
{
	long ret;

	t->exec.envp = envp;
	t->exec.old_envp = *envp;
	t->exec.memory = NULL;
	__atomic_store_n(&t->exec.active, true, __ATOMIC_RELEASE);
	if (READ_ONCE(t->deferred) && t->run->immediate_exit) {	/* it came just before */
		__dune_call_again(t);
		return t->run->regs.rax;
	}
	ret = preload_length ? with_preload(t) : __dune_forward(t);
	__dune_exec_end(t);
	return ret;
}

long __dune_sys_execve(struct dune_thread *t)
{
	return do_exec(t, &t->run->regs.rdx);
}

long __dune_sys_execveat(struct dune_thread *t)
{
	return do_exec(t, &t->run->regs.r10);
}
