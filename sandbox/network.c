// SPDX-License-Identifier: MIT
/* What a policy says of addresses.  No library. */
#include "policy.h"

static bool in_prefix(const uint8_t a[16], const uint8_t b[16], unsigned int bits)
{
	for (unsigned int i = 0; i < 16 && bits; i++) {
		const unsigned int some = bits < 8 ? bits : 8;

		if ((a[i] ^ b[i]) >> (8 - some))
			return false;
		bits -= some;
	}
	return true;
}

/* Refusals come first. */
static const struct policy_network *first_that_fits(const struct policy *p, unsigned int operation,
						    unsigned int protocol,
						    bool (*fits)(const struct policy *, const struct policy_network *,
								 const void *, unsigned int),
						    const void *name, unsigned int port)
{
	const struct policy_network *rules = policy_at(p, p->network), *allowed = NULL;

	for (unsigned int i = 0; i < p->nr_network; i++) {
		const struct policy_network *n = &rules[i];

		if (!(n->operations & operation) || !(n->protocols & protocol) || !fits(p, n, name, port))
			continue;
		if (n->deny)
			return n;
		if (!allowed)
			allowed = n;
	}
	return allowed;
}

static bool internet_fits(const struct policy *p, const struct policy_network *n, const void *address,
			  unsigned int port)
{
	(void)p;
	return port >= n->low && port <= n->high && in_prefix(n->address, address, n->prefix);
}

static bool name_fits(const struct policy *p, const struct policy_network *n, const void *name, unsigned int port)
{
	(void)port;
	return policy_glob_matches(policy_at(p, n->name), name);
}

const struct policy_network *policy_internet(const struct policy *p, unsigned int operation, unsigned int protocol,
					     const uint8_t address[16], unsigned int port)
{
	return first_that_fits(p, operation, protocol, internet_fits, address, port);
}

const struct policy_network *policy_unix(const struct policy *p, unsigned int operation, const char *name)
{
	return first_that_fits(p, operation, PROTOCOL_UNIX, name_fits, name, 0);
}
