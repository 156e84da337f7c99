// SPDX-License-Identifier: MIT
/*
 * Reading and writing memory of the program's at addresses that may be bad.  HR3 and GR0.
 */
#include "base/base.h"

/*
 * The program's pointers may be bad, and a fault here would kill it where the kernel says -EFAULT: have the kernel look
 * at each page that is touched, as rt_sigprocmask does before it sees that the rest of the call makes no
 * sense.  A filter of the program's lets that pass (seccomp.c).  What another thread unmaps in that very moment
 * is -EFAULT too, where SIGSEGV comes to libdune.
 */
int __dune_copy_in(void *to, unsigned long from, size_t size)
{
	const int no_way = -1;
	unsigned long at = from & -8UL, last = from + size - 1;

	if (!size)
		return 0;
	if (dune_in_guest())
		return __dune_process.gate(PRIVATE_COPY_IN, (unsigned long)to, from, size);
	for (;;) {
		/* NULL would be no set. */
		if (own_syscall4(__NR_rt_sigprocmask, no_way, at ? at : 8, NULL, sizeof(uint64_t)) == -EFAULT)
			return -EFAULT;
		if ((at ^ last) < PGSIZE)
			break;
		at = (at & -(unsigned long)PGSIZE) + PGSIZE;
	}
	return __dune_copy(to, (const void *)from, size) ? 0 : -EFAULT;
}

/*
 * Can so many bytes be written there?  A mask of signals is written to each page of it.  Fewer bytes than that has are
 * refused: those beside them are somebody else's, and may be in a page that cannot be written.  HR3.
 */
bool __dune_can_write(unsigned long to, size_t size)
{
	unsigned long at = to, end = to + size - COPY_OUT_MIN;

	if (size < COPY_OUT_MIN)
		return false;
	/* NULL would be no place. */
	while (at && own_syscall4(__NR_rt_sigprocmask, SIG_BLOCK, NULL, at, sizeof(uint64_t)) != -EFAULT) {
		if (at == end || (at ^ (to + size - 1)) < PGSIZE)
			return true;
		at = (at & -(unsigned long)PGSIZE) + PGSIZE;
		if (at > end)
			at = end;
	}
	return false;
}

int __dune_copy_out(unsigned long to, const void *from, size_t size)
{
	if (dune_in_guest())
		return __dune_process.gate(PRIVATE_COPY_OUT, to, (unsigned long)from, size);
	if (!__dune_can_write(to, size))
		return -EFAULT;
	return __dune_copy((void *)to, from, size) ? 0 : -EFAULT;
}
