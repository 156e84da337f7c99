/* SPDX-License-Identifier: MIT */
/*
 * Ring 3 for tests: a page of code and a page of stack and data that it may use.
 */
#ifndef TESTS_RING3_H
#define TESTS_RING3_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <dune.h>

#include "check.h"
#include "mode.h"

#define RING3_PAGE	4096UL

/* Code written in assembly between two labels. */
#define RING3_CODE(name, ...)							\
	extern const char name[], name##_end[];					\
	__asm__(".pushsection .rodata; .globl " #name ", " #name "_end; " #name ": "	\
		__VA_ARGS__ "; " #name "_end: .popsection")

struct ring3 {
	char *code, *stack;	/* a page each */
};

static inline void ring3_allow(void *va, size_t len, int perm)
{
	CHECK_EQUAL(dune_vm_mprotect(dune_vm_root(), va, len, perm), 0, "dune_vm_mprotect");
}

static inline struct ring3 ring3_make(void)
{
	struct ring3 r;

	r.code = mmap(NULL, 2 * RING3_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DIE_UNLESS(r.code != MAP_FAILED, "mmap");
	memset(r.code, 0xcc, 2 * RING3_PAGE);
	r.stack = r.code + RING3_PAGE;
	ring3_allow(r.code, RING3_PAGE, PERM_UCODE | PERM_W);
	ring3_allow(r.stack, RING3_PAGE, PERM_USTACK);
	return r;
}

/* Registers with which ring 3 begins at @code, in its own page. */
static inline struct dune_tf ring3_frame(const struct ring3 *r, const char *code, const char *end)
{
	struct dune_tf tf;

	memset(&tf, 0, sizeof(tf));
	memcpy(r->code, code, end - code);
	tf.rip = (uintptr_t)r->code;
	tf.rsp = (uintptr_t)r->stack + RING3_PAGE - 64;
	return tf;
}

#define RING3_FRAME(r, name)	ring3_frame(r, name, name##_end)

#endif
