// SPDX-License-Identifier: MIT
/*
 * A sleep of the machine is prepared and given up: what is in Dune mode stands still meanwhile, as nothing may run when
 * the machine sleeps, and goes on. It needs nothing that wakes the machine. Who opens /dev/snapshot announces that
 * he will hibernate, or to write that he will go back to what was hibernated; who closes it without that, that he has
 * done with it.
 */
#include <fcntl.h>

#include "companions.h"

#define SNAPSHOT	"/dev/snapshot"
#define ROUNDS		10

static unsigned long rounds(void)
{
	unsigned long sum = 0;

	for (unsigned int i = 0; i < NR_MEMORY_COMPANIONS; i++)
		sum += companions_shared[i].rounds;
	return sum;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	companions_start(memory_companions, NR_MEMORY_COMPANIONS);
	companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 2, "at first");
	for (unsigned int i = 0; i < ROUNDS && !check_failures; i++) {
		int fd = open(SNAPSHOT, (i & 1 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
		unsigned long before;

		DIE_UNLESS(fd >= 0, SNAPSHOT);
		/* A round that has begun may end outside: only what is in the guest stands still. */
		usleep(20000);
		before = rounds();
		usleep(50000);
		CHECK_EQUAL(rounds(), before, "rounds while a sleep is prepared");
		close(fd);
		companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 2, "afterwards");
	}
	companions_end(memory_companions, NR_MEMORY_COMPANIONS);
	return check_result();
}
