/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose a vCPU is. */
#ifndef DUNE_OWNER_H
#define DUNE_OWNER_H

#include "vcpu.h"

/* Takes over the references of @owner, a thread, and @maker, a process that is to make one: one of them, or none. */
void dune_set_owner(struct dune_vcpu *vcpu, struct pid *owner, struct pid *maker);
/* Will that thread never run it again?  Both with vm->lock held. */
bool dune_owner_is_gone(const struct dune_vcpu *vcpu);
/* The same by number; also where there is no such vCPU.  May sleep. */
bool dune_vcpu_is_left(struct dune_vm *vm, unsigned long index);

#endif
