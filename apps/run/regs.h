/* SPDX-License-Identifier: MIT */
/*
 * The registers that gdb knows, in its order.
 */
#ifndef RUN_REGS_H
#define RUN_REGS_H

#include "tracee.h"

unsigned int regs_count(void);
/* Bytes of register @n, and its value; @r is only changed where there is a place for it. */
unsigned int regs_size(unsigned int n);
void regs_get(const struct registers *r, unsigned int n, void *to);
void regs_set(struct registers *r, unsigned int n, const void *from);

/* The description of all that gdb asks for: XML. */
const char *regs_description(void);

#endif /* RUN_REGS_H */
