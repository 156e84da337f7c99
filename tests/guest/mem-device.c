// SPDX-License-Identifier: MIT
/*
 * Device memory that the process has mapped (here a clock's registers) is the device's in the guest, too; but with the
 * module's parameter device_memory=N it is SIGBUS, as on CPUs with ENQCMDS.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "module.h"
#include "proc.h"

#define CLOCK		"/dev/hpet"

/* IA-PC HPET Specification, "Memory Mapped Registers"; in words of 64 bits */
#define CAPABILITIES	0
#define COUNTER		(0xf0 / 8)

static void look(const volatile uint64_t *clock, uint64_t capabilities)
{
	uint64_t before;

	DIE_UNLESS(!dune_init_and_enter(), "Dune mode");
	CHECK_EQUAL(clock[CAPABILITIES], capabilities, "the clock's capabilities");
	before = clock[COUNTER];
	for (unsigned int i = 0; i < 1000000 && clock[COUNTER] == before; i++)
		;
	CHECK(clock[COUNTER] != before, "the clock stands still in the guest");
}

int main(void)
{
	int fd = open(CLOCK, O_RDONLY | O_CLOEXEC), status;
	const volatile uint64_t *clock = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t capabilities;

	if (fd < 0 || clock == MAP_FAILED) {
		printf("no registers of a clock by %s: %s\n", CLOCK, strerror(errno));
		return CHECK_SKIP;
	}
	capabilities = clock[CAPABILITIES];
	CHECK(capabilities && ~capabilities, "capabilities %#lx outside Dune mode", (unsigned long)capabilities);

	status = IN_CHILD(look(clock, capabilities));
	CHECK_EQUAL(status, EXITED(0), "status of the guest with the clock");
	module_set_parameter("device_memory", "N");
	status = IN_CHILD(look(clock, capabilities));
	module_set_parameter("device_memory", "Y");
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "status of the guest without: %#x", status);
	return check_result();
}
