// SPDX-License-Identifier: MIT
/*
 * Threads in Dune mode, and their vCPUs.  HR3.
 */
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/*
 * The area of a thread that is no more, and has not freed it: it was killed alone, or has called exec() in a process
 * of its own, or was a child of vfork().  Its locks go to whoever waits for them (threads/lock.c).
 */
void __dune_thread_bury(struct dune_thread *t)
{
	__dune_exec_forget(t);
	if (t->looked)
		__dune_call_state_clear(t);
	__dune_touch_forget(t);
	__dune_thread_free(t);
}

/* Ask the engine for a vCPU only to learn of a thread that is no more. */
static bool find_dead(void)
{
	const struct vcpu_config config = { 0 };
	struct vcpu v = { 0 };
	struct dune_thread *dead;

	if (__dune_engine_create(&v, &config))
		return false;
	dead = __dune_vcpu_taken(v.index, NULL);
	__dune_engine_destroy(&v);
	if (dead)
		__dune_thread_bury(dead);
	return dead;
}

/* NULL if there is no area or no memory left. */
struct dune_thread *__dune_thread_alloc(void)
{
	struct dune_thread *t;

	do
		t = __dune_area_alloc();
	while (!t && find_dead());
	if (!t)
		return NULL;
	t->table = __dune_syscall_table;
	/* In ring 3 the loop leaves it to the stub to go back there. */
	t->lstar_return = __dune_process.ring3 ? 0 : __dune_process.lstar_return;
	t->sighand = &__dune_sighand;
	t->altstack.flags = SS_DISABLE;
	__dune_fill_tss(t);
	return t;
}

HOT int __dune_vcpu_create(struct dune_thread *t, bool for_child)
{
	const bool page_is_free = __dune_process.first_page_free && t->vcpu.page == __dune_process.region + AREA_ENGINE;
	const struct vcpu_config config = {
		.cr3 = t->cr3,
		.idt = __dune_process.region + REGION_IDT,
		.tss = (unsigned long)&t->tss,
		.lstar = __dune_process.lstar,
		.cr4 = __dune_process.cr4,
		.strict = option(DUNE_OPT_STRICT),
		.for_child = for_child,
		.stub_is_left = !__dune_process.ring3,
		.confines = __dune_process.check,
		.page_is_free = page_is_free,
	};
	uint32_t before = t->vcpu.index;
	bool had_one = __dune_has_vcpu(t);
	struct dune_thread *dead;
	int ret = __dune_engine_create(&t->vcpu, &config);

	if (ret)
		return ret;
	if (page_is_free)
		__dune_process.first_page_free = false;
	t->pcid = 0;
	t->cr4_bits = 0;
	/* In the child of a fork it is its parent's. */
	if (before != t->vcpu.index && had_one)
		__dune_vcpu_given_up(before);
	dead = __dune_vcpu_taken(t->vcpu.index, t);
	if (dead)
		__dune_thread_bury(dead);
	__dune_thread_made(t);
	__dune_engine_set_other_gs(&t->vcpu, session_gs(t->session));
	__dune_calls_allow(t);
	__dune_fill_gdt(t);
	return 0;
}

void __dune_vcpu_destroy(struct dune_thread *t)
{
	__dune_vcpu_given_up(t->vcpu.index);
	__dune_engine_destroy(&t->vcpu);
}
