// SPDX-License-Identifier: MIT
/* The calls, for programs that watch others.  HR3, or an ordinary program's code. */
#include "launch/launch.h"

const char *const __dune_call_names[NR_SYSCALLS] = {
#define CALL(number, name, ...)	[number] = #name,
#include "base/syscalls-table.h"
#undef CALL
};

const bool __dune_call_is_checked[NR_SYSCALLS] = {
#define CALL(number, name, function, flags, ...)	[number] = !((flags) & CALL_UNCHECKED),
#include "base/syscalls-table.h"
#undef CALL
};
