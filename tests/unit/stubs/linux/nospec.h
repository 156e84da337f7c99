/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_NOSPEC_H
#define STUB_LINUX_NOSPEC_H

#define array_index_nospec(index, size)	((index) < (size) ? (index) : 0)

#endif
