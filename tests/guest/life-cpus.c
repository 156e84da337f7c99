// SPDX-License-Identifier: MIT
/*
 * A CPU goes and comes while processes in Dune mode check their memory: no wrong byte, and
 * all of them go on, on the CPU that is left. The module cannot be unloaded meanwhile.
 */
#include <fcntl.h>

#include "companions.h"

#define CPU_ONLINE	"/sys/devices/system/cpu/cpu1/online"
#define ROUNDS		20

static bool set_online(const char *value)
{
	int fd = open(CPU_ONLINE, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, value, 1) == 1;

	close(fd);
	return done;
}

int main(void)
{
	if (access(CPU_ONLINE, W_OK)) {
		printf("the second CPU cannot be switched off\n");
		return CHECK_SKIP;
	}
	companions_start(memory_companions, NR_MEMORY_COMPANIONS);
	companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 2, "at first");
	for (unsigned int i = 0; i < ROUNDS && !check_failures; i++) {
		CHECK(set_online("0"), "CPU 1 does not go: %s", strerror(errno));
		companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 2, "one CPU");
		CHECK_ERRNO(syscall(SYS_delete_module, "dune", O_NONBLOCK), EAGAIN, "unloading the module in use");
		CHECK(set_online("1"), "CPU 1 does not come: %s", strerror(errno));
		companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 2, "two CPUs");
	}
	companions_end(memory_companions, NR_MEMORY_COMPANIONS);
	return check_result();
}
