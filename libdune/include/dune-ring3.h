/* SPDX-License-Identifier: MIT */
/*
 * A program that runs another one, unmodified, in ring 3, and is called for what that does: its system calls, signals,
 * faults, threads and processes.  The other program, and all that it starts, is checked as by `dune-run --check`: it
 * cannot reach the memory in which the callbacks are, nor leave Dune mode.
 *
 * One file has both main(), which calls dune_ring3_run(), and the callbacks:
 *
 *	cc -o tracer tracer.c $(pkg-config --cflags --libs libdune-ring3)
 *
 * main() is an ordinary program's code, with the C library.  The callbacks run in each process of the other program,
 * in a copy of this file that main() never ran in: only what is initialized statically is there, and
 * dune_ring3_shared().  There is no C library: a callback may call what is declared below behind "for callbacks",
 * and functions of its own file.  It uses general registers only, no floating point, no thread-local storage, no
 * errno; pkg-config's flags see to the compiler.  The linker does not complain of a function of the C library: its
 * call is a fault.  A callback has 32 KiB of stack, and nothing guards its end.  It must return, soon: signals for
 * its thread wait meanwhile.  Callbacks of several threads run at once.  A fault in before() or after() ends the
 * process with status 125 and one line on standard error; one in another callback, or where signals are blocked,
 * kills it.  No handler of the program's is called.
 */
#ifndef DUNE_RING3_H
#define DUNE_RING3_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A thread of the program; what it leads to is nobody's but libdune's. */
struct dune_ring3_thread;

#define DUNE_RING3_CALLS	512	/* no system call has this number */
#define DUNE_RING3_MEMORY	4096	/* bytes of dune_ring3_memory() */

struct dune_ring3_call {
	uint32_t nr;		/* SYS_* */
	int32_t error;		/* not 0: an address is bad, the call fails with -error, whatever before() says */
	/*
	 * What the kernel gets.  Strings, and all that the call reads and that is at most 128 bytes or has addresses
	 * in it, are copies that no thread of the program can change, at addresses of libdune's.  Other memory is the
	 * program's own.  dune_ring3_read() reads both.
	 */
	uint64_t args[6];
	uint64_t given[6];	/* what the program has put into its registers */
};

/* What before() says: have the call made, with args[] as they are now.  Any other value is the call's result. */
#define DUNE_RING3_GO		INT64_MIN

/* What after() gets for a call that a signal has interrupted and that will be made again, as a new one: -ERESTARTSYS */
#define DUNE_RING3_RESTART	(-512L)

/* How a thread begins. */
enum dune_ring3_begin {
	DUNE_RING3_BY_EXEC,	/* a program was loaded: the first one, or by execve, which has no after() then */
	DUNE_RING3_BY_FORK,	/* a process with a copy of its parent's memory, the callbacks' too */
	DUNE_RING3_BY_VFORK,	/* a process that shares its parent's memory */
	DUNE_RING3_BY_THREAD,
};

/* What a call does with a file that it names, or with that name. */
enum dune_ring3_access {
	DUNE_RING3_LOOK = 1,	/* is it there, what is it: stat, access, readlink, chdir, O_PATH */
	DUNE_RING3_READ = 2,	/* its content, names in it, extended attributes; watch it */
	DUNE_RING3_WRITE = 4,	/* its content and attributes: truncate, chmod, chown, utimes, setxattr too; connect
				 * or send to the UNIX socket that it is */
	DUNE_RING3_NAME = 8,	/* the name is made, removed or given to another file */
	DUNE_RING3_EXECUTE = 16,	/* as a program, an interpreter or a dynamic linker */
	/*
	 * So the path reads, but links in it were not looked at.  If it is refused, what it leads to is asked for: the
	 * program is not told of this refusal.
	 */
	DUNE_RING3_PERHAPS = 1 << 15,
};

/*
 * A static, constant object of the program.  Each may be NULL.
 *
 * before	a call that options.calls has; may change args[]: a number, or an address of the callbacks' own memory
 *		(dune_ring3_memory(), static objects).  The result is DUNE_RING3_GO, -errno or any other value
 * path		a call, whatever options.calls has, is about to use the file @path in these ways (DUNE_RING3_*).  It
 *		is absolute, without `.`, `..`, empty names and, but for the last name of some calls, links.  No other
 *		file is used, whatever others do with names meanwhile.  The result is DUNE_RING3_GO or -errno.  It is
 *		called once for each of two files, and may be called more than once for the same.  Files without a name
 *		(pipes, memfd, what was removed) are not asked for: by /proc/self/fd the program gets no more of them
 *		than its descriptor may do
 * after	that call was made, or refused by path() or by libdune, and this is what the program is told.  Not for a
 *		call whose result before() has said, nor after exit or an execve that works
 * begin	the first thing of a thread.  Its parent sees after() of fork, vfork, clone or clone3
 * end		of a thread (exit), or of the process (exit_group, a signal that libdune knows to be fatal).  @status is
 *		wait()'s.  A process that the kernel kills has none
 * signal	a handler of the program's is about to be called
 * fault	an instruction of the program's has failed: what signal that is.  signal() or end() follows
 */
struct dune_ring3_callbacks {
	int64_t (*before)(struct dune_ring3_thread *t, struct dune_ring3_call *call);
	int64_t (*path)(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path,
			unsigned int access);
	void (*after)(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result);
	void (*begin)(struct dune_ring3_thread *t, enum dune_ring3_begin how);
	void (*end)(struct dune_ring3_thread *t, int status, int whole_process);
	void (*signal)(struct dune_ring3_thread *t, const void *siginfo);
	void (*fault)(struct dune_ring3_thread *t, const void *siginfo);
};

struct dune_ring3_options {
	char *const *argv;	/* the program, looked up in PATH, and its arguments; ends with NULL */
	const uint64_t *calls;	/* the calls that before() and after() are for: DUNE_RING3_CALLS bits; NULL: all */
	int output;		/* where dune_ring3_print() writes to; 0: standard error */
	char *const *environment;	/* the program's; NULL: main()'s */
	const void *data;	/* @data_size bytes, at most 1 MiB, of which all processes' callbacks get one copy */
	size_t data_size;
};

/* ---- for main() ---- */

/*
 * Run it.  Returns its status as wait() has it; 125, 126 or 127 as exit status, after a message, where it cannot be
 * run.  To be called once.  SIGINT and SIGQUIT are ignored meanwhile.
 */
int dune_ring3_run(const struct dune_ring3_options *options, const struct dune_ring3_callbacks *callbacks);

/*
 * Memory that the callbacks of all processes share with main(), all 0: @size bytes, at most 64 KiB.  NULL: there is
 * none.  To be called once, before dune_ring3_run().
 */
void *dune_ring3_share(size_t size);

/*
 * The name of a bug by which, on this CPU, the program can read the callbacks' memory by speculation; NULL: there is
 * none, or the administrator has switched off what Linux does against it.  It cannot change that memory in any case.
 */
const char *dune_ring3_leak(void);

static inline void dune_ring3_want(uint64_t calls[DUNE_RING3_CALLS / 64], unsigned int nr)
{
	calls[nr / 64] |= (uint64_t)1 << nr % 64;
}

/* ---- for callbacks ---- */

/* What dune_ring3_share() has made; NULL. */
void *dune_ring3_shared(void);

/* The copy of options.data, at the beginning of a page: nobody can write it any more.  NULL: there is none. */
const void *dune_ring3_data(void);

/* Memory of the thread's own, DUNE_RING3_MEMORY bytes, 0 when it begins; after fork a copy of its parent's. */
void *dune_ring3_memory(struct dune_ring3_thread *t);

/* Its number in the kernel, and its process's. */
int dune_ring3_tid(struct dune_ring3_thread *t);
int dune_ring3_pid(struct dune_ring3_thread *t);

/*
 * Is the process, or thread, with this number one of the program that these callbacks are for, here or in another
 * process?  False also for one that has ended.  That stays true until somebody waits for it.
 */
int dune_ring3_is_ours(struct dune_ring3_thread *t, int pid);

/* Copy @size bytes from @address, of the program's or from args[].  0 or -EFAULT. */
int dune_ring3_read(struct dune_ring3_thread *t, void *to, uint64_t address, size_t size);

/* The same up to a NUL, at most @size bytes with it.  Its length; @size if it has not ended, -EFAULT. */
long dune_ring3_read_string(struct dune_ring3_thread *t, char *to, uint64_t address, size_t size);

/* Copy @size bytes to @address of the program's.  0 or -EFAULT. */
int dune_ring3_write(struct dune_ring3_thread *t, uint64_t address, const void *from, size_t size);

/* What /proc says of descriptor @fd: a path, mostly.  Its length, or -errno. */
long dune_ring3_path(struct dune_ring3_thread *t, int fd, char *to, size_t size);

/* Formatted output to options.output, in one write; at most 1,023 bytes.  The formats are those of dune_printf(). */
int dune_ring3_print(struct dune_ring3_thread *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same to @to, at most @size bytes with the NUL.  The length that all of it has. */
int dune_ring3_format(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Write @size bytes to options.output. */
int dune_ring3_output(struct dune_ring3_thread *t, const void *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* DUNE_RING3_H */
