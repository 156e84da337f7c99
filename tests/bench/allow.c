// SPDX-License-Identifier: MIT
/*
 * A callback that allows each call, and does nothing else: `allow none|before|both PROGRAM [ARGUMENT...]`, for no call,
 * before each, or also after it (tests/bench/watched).
 */
#include <string.h>
#include <sys/wait.h>

#include <dune-ring3.h>

static int64_t before(struct dune_ring3_thread *t, struct dune_ring3_call *call)
{
	(void)t;
	(void)call;
	return DUNE_RING3_GO;
}

static void after(struct dune_ring3_thread *t, const struct dune_ring3_call *call, int64_t result)
{
	(void)t;
	(void)call;
	(void)result;
}

static const struct dune_ring3_callbacks one = { .before = before }, two = { .before = before, .after = after };

int main(int argc, char **argv)
{
	static const uint64_t none[DUNE_RING3_CALLS / 64];
	struct dune_ring3_options options = { .argv = argv + 2 };

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "none"))
		options.calls = none;
	return WEXITSTATUS(dune_ring3_run(&options, strcmp(argv[1], "both") ? &one : &two));
}
