/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_BITMAP_H
#define STUB_LINUX_BITMAP_H

#include <stdbool.h>

#define BITS_PER_LONG	64
#define DECLARE_BITMAP(name, bits)	unsigned long name[((bits) + BITS_PER_LONG - 1) / BITS_PER_LONG]

static inline void __set_bit(unsigned long i, unsigned long *map)
{
	map[i / BITS_PER_LONG] |= 1UL << i % BITS_PER_LONG;
}

static inline bool test_bit(unsigned long i, const unsigned long *map)
{
	return map[i / BITS_PER_LONG] >> i % BITS_PER_LONG & 1;
}

#define for_each_set_bit(i, map, bits)		\
	for ((i) = 0; (i) < (bits); (i)++)	\
		if (test_bit(i, map))

#endif
