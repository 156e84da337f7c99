// SPDX-License-Identifier: MIT
/*
 * Copying and clearing.  HR3 and GR0.
 */
#include "base/base.h"

/* By words, for CPUs on which only that is fast; then what is left. */
void *memcpy(void *to, const void *from, size_t size)
{
	void *ret = to;
	size_t words = size / 8;

	size %= 8;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return ret;
}

void *memset(void *to, int byte, size_t size)
{
	void *ret = to;
	size_t words = size / 8;

	size %= 8;
	__asm__ volatile("rep stosq" : "+D"(to), "+c"(words)
			 : "a"((byte & 0xff) * 0x0101010101010101UL) : "memory");
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
	return ret;
}
