/* SPDX-License-Identifier: MIT */
/*
 * Entering and leaving Dune mode.
 */
#ifndef LIBDUNE_API_H
#define LIBDUNE_API_H

#include "threads/threads.h"

#pragma GCC visibility push(hidden)

/* leave.S */
int __dune_leave_guest(void);
/* pin.c: the library that libdune is in stays where it is, whoever calls dlclose().  0 or -errno. */
int __dune_pin(void);
/* enter.c */
int __dune_enter_ring3(const struct guest_regs *regs, bool debugged);
void __dune_leave_finish(struct dune_thread *t);

#pragma GCC visibility pop

#endif /* LIBDUNE_API_H */
