// SPDX-License-Identifier: MIT
/* What a policy says of a system call's number and arguments.  No library. */
#include "policy.h"

static bool holds(const struct policy_condition *c, const uint64_t arguments[6])
{
	const uint64_t a = arguments[c->argument];

	switch ((enum policy_comparison)c->comparison) {
	case COMPARE_EQ:
		return a == c->value;
	case COMPARE_NE:
		return a != c->value;
	case COMPARE_LT:
		return a < c->value;
	case COMPARE_LE:
		return a <= c->value;
	case COMPARE_GT:
		return a > c->value;
	case COMPARE_GE:
		return a >= c->value;
	case COMPARE_MASKED:
		return (a & c->mask) == c->value;
	}
	return false;
}

static bool applies(const struct policy *p, const struct policy_call *call, const uint64_t arguments[6])
{
	const struct policy_condition *c = policy_at(p, call->conditions);

	for (unsigned int i = 0; i < call->nr_conditions; i++)
		if (!holds(&c[i], arguments))
			return false;
	return true;
}

const struct policy_call *policy_call(const struct policy *p, uint64_t nr, const uint64_t arguments[6])
{
	uint32_t at = nr < POLICY_CALLS ? p->calls[nr] : 0;

	while (at) {
		const struct policy_call *call = policy_at(p, at);

		if (applies(p, call, arguments))
			return call;
		at = call->next;
	}
	return &p->other_calls;
}
