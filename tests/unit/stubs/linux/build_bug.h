/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_BUILD_BUG_H
#define STUB_LINUX_BUILD_BUG_H

#undef static_assert
#define static_assert(expr)	_Static_assert(expr, #expr)

#endif
