// SPDX-License-Identifier: MIT
/*
 * What a thread is doing when a signal comes, and what becomes of both.  HR3.
 */
#include "host/signals/doing.h"

const struct doing_row __dune_doings[NR_DOINGS] = {
#define DOING(name, settle, sent, trap, access, copy, peek, text)						\
	[DOING_##name] = { SETTLE_##settle,									\
			   { ACTION_##sent, ACTION_##trap, ACTION_##access, ACTION_##copy, ACTION_##peek } },
	DOINGS(DOING)
#undef DOING
};
