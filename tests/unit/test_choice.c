// SPDX-License-Identifier: MIT
/* kern/choice.c: measures against bugs that no emulated CPU has, as facts and the administrator's choices say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../kern/choice.h"

/* A machine, what its kernel tells, and what is to be done there. */
struct machine {
	const char *name;
	struct dune_spec_facts facts;
	struct dune_spec wanted;
};

#define TOLD		.verw_told = true, .mmio_told = true, .l1tf_told = true, .user_told = true
#define IBPB		.has_ibpb = true, .use_ibpb = true

static const struct machine machines[] = {
	{ "nothing is known of it", { }, { } },
	{ "Skylake, a kernel that tells",
	  { TOLD, IBPB, .bug_mds = true, .bug_taa = true, .bug_mmio = true, .bug_l1tf = true, .bug_vmscape = true,
	    .verw = true, .l1tf = true, .user = true, .kernel_ibrs = true, .has_flush_l1d = true },
	  { .verw = true, .flush_l1d = true, .flush_l1d_by_msr = true, .ibrs = true, .ibpb = true,
	    .ibpb_user = true } },
	{ "Skylake, a kernel that does not tell",
	  { IBPB, .bug_mds = true, .bug_taa = true, .bug_mmio = true, .bug_l1tf = true, .bug_vmscape = true },
	  { .verw = true, .flush_l1d = true, .ibpb = true, .ibpb_user = true } },
	{ "Skylake with mitigations=off",
	  { TOLD, IBPB, .mitigations_off = true, .bug_mds = true, .bug_l1tf = true, .bug_vmscape = true, .verw = true,
	    .l1tf = true, .user = true, .kernel_ibrs = true, .has_flush_l1d = true }, { } },
	{ "Skylake with mds=off tsx_async_abort=off mmio_stale_data=off",
	  { TOLD, IBPB, .bug_mds = true, .bug_taa = true, .bug_mmio = true, .bug_l1tf = true, .l1tf = true },
	  { .flush_l1d = true, .ibpb = true } },
	{ "Skylake with l1tf=off", { TOLD, IBPB, .bug_l1tf = true, .has_flush_l1d = true }, { .ibpb = true } },
	{ "Skylake with vmscape=off", { TOLD, IBPB, .bug_vmscape = true }, { .ibpb = true } },
	{ "spectre_v2=off", { TOLD, .has_ibpb = true }, { } },
	{ "only stale data of devices", { TOLD, .bug_mmio = true, .mmio = true }, { .verw = true } },
	{ "only stale data of devices, a kernel that does not tell of that",
	  { .verw_told = true, .bug_mmio = true }, { .verw = true } },
	{ "Zen 3 with TSA, a kernel that tells",
	  { TOLD, IBPB, .bug_tsa = true, .verw = true, .bug_vmscape = true, .user = true },
	  { .verw = true, .ibpb = true, .ibpb_user = true } },
	{ "Zen 4 with an IBPB after each exit", { TOLD, IBPB, .bug_vmscape = true, .user = true, .ibpb_on_exit = true },
	  { .ibpb = true } },
	{ "Zen 2: IBPB leaves predictions of returns", { TOLD, IBPB, .bug_ibpb_no_ret = true },
	  { .ibpb = true, .ibpb_fills_rsb = true } },
	{ "microcode without IBPB", { .use_ibpb = true, .bug_vmscape = true }, { } },
	{ "a command to flush, and no L1TF", { TOLD, .has_flush_l1d = true, .l1tf = true }, { } },
};

static void check(const struct machine *m)
{
	struct dune_spec spec;

	dune_spec_choose(&m->facts, &spec);
	print_message("%s\n", m->name);
	assert_int_equal(spec.verw, m->wanted.verw);
	assert_int_equal(spec.flush_l1d, m->wanted.flush_l1d);
	assert_int_equal(spec.flush_l1d_by_msr, m->wanted.flush_l1d_by_msr);
	assert_int_equal(spec.ibrs, m->wanted.ibrs);
	assert_int_equal(spec.ibpb, m->wanted.ibpb);
	assert_int_equal(spec.ibpb_fills_rsb, m->wanted.ibpb_fills_rsb);
	assert_int_equal(spec.ibpb_user, m->wanted.ibpb_user);
}

static void each_machine_gets_what_it_needs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		check(&machines[i]);
}

/* An old kernel, which tells nothing but the bugs. */
static void who_tells_nothing_gets_all(void **state)
{
	struct dune_spec_facts facts = {
		IBPB, .bug_mds = true, .bug_mmio = true, .bug_l1tf = true, .bug_vmscape = true
	};
	struct dune_spec spec;

	(void)state;
	dune_spec_choose(&facts, &spec);
	assert_true(spec.verw && spec.flush_l1d && spec.ibpb && spec.ibpb_user);
	facts.mitigations_off = true;
	dune_spec_choose(&facts, &spec);
	assert_false(spec.verw || spec.flush_l1d || spec.ibrs || spec.ibpb || spec.ibpb_user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_machine_gets_what_it_needs),
		cmocka_unit_test(who_tells_nothing_gets_all),
	};

	return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
