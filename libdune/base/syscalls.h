/* SPDX-License-Identifier: MIT */
/*
 * What libdune knows of each system call: one row in syscalls-table.h says it all, and the tables here are made of it.
 */
#ifndef LIBDUNE_SYSCALLS_H
#define LIBDUNE_SYSCALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/regs.h"

/* Numbers from here on the kernel does not have. */
#define NR_SYSCALLS	512

/* What an argument is.  One that has no operand is a number, or is not looked at. */
enum kind {
	DESCRIPTOR,
	AREA,		/* addresses of mappings, not what is there; argument @with is the length, or NO_ARGUMENT */
	KEPT,		/* an address that the kernel keeps, and writes to after the call */
	WRITTEN_REMOTE,	/* memory of another process, or of this one, that it writes to */
	READ,		/* memory that the call reads */
	WRITTEN,	/* memory that it writes, or reads and writes */
	PAGES_LENT,	/* memory that it uses as pages, also after the call: no copy can take its place */
	WORD,		/* memory that stands for itself by its address, of a futex: no copy either */
	WORD_WRITTEN,	/* the same, which it writes to; that is said first */
	MASK,		/* of signals, which is in force while the call waits */
	MASK_AT,	/* the same, in the first word of a structure */
};

/* How many bytes. */
enum size {
	SIZE_FIXED,		/* so many */
	SIZE_COUNT,		/* bytes times argument @with */
	SIZE_RESULT,		/* at most bytes times argument @with; the result says how many of them */
	SIZE_TIMES,		/* bytes times the int at @offset of what argument @with leads to (MOVED) */
	SIZE_AFTER,		/* so many, and at most argument @with more; the result says how many more */
	SIZE_STRING,		/* up to a NUL, but no more than so many */
	SIZE_STRINGS,		/* pointers to strings, up to NULL */
	SIZE_VECTOR,		/* struct iovec: argument @with of them; the result says how many bytes */
	SIZE_IOVEC,		/* one of them, in which it says itself how much */
	SIZE_VALUE,		/* one struct xattr_args */
	SIZE_LENGTH,		/* so many, and what the int at argument @with says: this one, or one before (MOVED) */
	SIZE_SELF,		/* what the int at offset @bytes in it says */
	SIZE_MESSAGE,		/* struct msghdr */
	SIZE_MESSAGES,		/* struct mmsghdr: argument @with of them */
	SIZE_BITS,		/* one bit for each number below argument @with less @bytes, in words of 64 */
	SIZE_PAGES,		/* one for each page of argument @with bytes */
	SIZE_SEMAPHORES,	/* bytes for each one of the set in argument 0 */
	SIZE_CLONE_ARGS,	/* struct clone_args, and what it points to */
	SIZE_WAITERS,		/* struct futex_waitv: @bytes of them, or if that is 0 argument @with */
	SIZE_FILTER,		/* struct sock_fprog */
	SIZE_NOTICE,		/* struct sigevent, and of SIGEV_THREAD the cookie that its value leads to */
	SIZE_FILTER_OF,		/* bytes for each instruction of filter argument 2 of process argument 1 */
	SIZE_BY_NUMBER,		/* what the number in argument 1 says: ioctl */
};

#define NO_ARGUMENT	6

struct operand {
	uint8_t arg;		/* 0 to 5 */
	uint8_t kind;		/* enum kind */
	uint8_t size;		/* enum size */
	uint8_t with;		/* 0 to 5, or NO_ARGUMENT */
	bool maybe : 1;		/* left out where it cannot be written: none is refused */
	bool narrow : 1;	/* of argument @with the kernel looks at 32 bits */
	bool moved : 1;		/* copied if anything is: it says how much another operand is, and must not change */
	bool sparse : 1;	/* the kernel writes to some of it, and other threads may to the rest */
	uint8_t offset : 4;
	uint8_t if_arg;		/* 0: always; else only if argument @if_arg - 1 has in the bits of @if_mask @if_value */
	uint16_t bytes;
	uint32_t if_mask, if_value;
};

struct call_row {
	uint16_t first;		/* its operands: __dune_operands[first] and the next ones */
	uint8_t nr_operands;
	uint8_t flags;
};

#define CALL_KNOWN	0x01	/* there is a row */
#define CALL_STRICT	0x02	/* seccomp's strict mode allows it */
/* Not for the kernel's fast path: it may not return, or reads or changes registers, thread-local storage or the mm. */
#define CALL_SLOW	0x04
/* For ring 3; else dune_passthrough_syscall() makes it as it is. */
#define CALL_OWN	0x08	/* in a way of its own: ring3.c */
#define CALL_NOSYS	0x10	/* -ENOSYS */
#define CALL_PERM	0x20	/* -EPERM */
/* A checked program does not have it: what it may reach is not said by its operands.  -ENOSYS */
#define CALL_UNCHECKED	0x40

#pragma GCC visibility push(hidden)
extern const struct call_row __dune_calls[NR_SYSCALLS];
extern const struct operand __dune_operands[];
#pragma GCC visibility pop

/* Where @nr has no row, all is 0. */
static inline const struct call_row *call_of(uint64_t nr)
{
	return &__dune_calls[nr < NR_SYSCALLS ? nr : NR_SYSCALLS - 1];
}

static inline const struct operand *first_operand(const struct call_row *call)
{
	return &__dune_operands[call->first];
}

static inline const struct operand *end_of_operands(const struct call_row *call)
{
	return first_operand(call) + call->nr_operands;
}

#define for_each_operand(o, call) \
	for (const struct operand *o = first_operand(call); o < end_of_operands(call); o++)

/* Does @o say anything of a call with these arguments? */
static inline bool operand_concerns(const struct operand *o, const uint64_t args[6])
{
	return !o->if_arg || ((uint32_t)args[o->if_arg - 1] & o->if_mask) == o->if_value;
}

struct arguments {
	uint64_t value[6];
};

static inline struct arguments arguments_of(const struct guest_regs *r)
{
	return (struct arguments){ { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 } };
}

static inline void set_arguments(struct guest_regs *r, const uint64_t args[6])
{
	r->rdi = args[0];
	r->rsi = args[1];
	r->rdx = args[2];
	r->r10 = args[3];
	r->r8 = args[4];
	r->r9 = args[5];
}

/* ---- structures of the kernel ---- */

/* struct user_msghdr */
struct message {
	uint64_t name;
	int32_t name_length, pad1;
	uint64_t vector, nr_vectors;
	uint64_t control, control_length;
	uint32_t flags, pad2;
};

/* struct mmsghdr */
struct counted_message {
	struct message message;
	uint32_t length, pad;
};

/* struct iovec; struct xattr_args is one with a shorter length */
struct vector {
	uint64_t base, length;
};

#define MESSAGES_MAX	1024	/* the kernel looks at no more */

#endif /* LIBDUNE_SYSCALLS_H */
