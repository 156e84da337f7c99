// SPDX-License-Identifier: MIT
/*
 * A CPU goes and comes while processes in Dune mode check their memory: no wrong byte, and
 * all of them go on, on the CPU that is left. The module cannot be unloaded meanwhile.
 */
#include <fcntl.h>

#include "companions.h"

#define CPU_ONLINE	"/sys/devices/system/cpu/cpu1/online"
#define ROUNDS		20

static const struct companion companions[] = {
	{ "a process in Dune mode", memory_companion },
	{ "another one", memory_companion },
	{ "a third", memory_companion },
};

#define NR_COMPANIONS	(sizeof(companions) / sizeof(companions[0]))

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
	companions_start(companions, NR_COMPANIONS);
	companions_go_on(companions, NR_COMPANIONS, 2, "at first");
	for (unsigned int i = 0; i < ROUNDS && !check_failures; i++) {
		CHECK(set_online("0"), "CPU 1 does not go: %s", strerror(errno));
		companions_go_on(companions, NR_COMPANIONS, 2, "one CPU");
		CHECK_ERRNO(syscall(SYS_delete_module, "dune", O_NONBLOCK), EAGAIN, "unloading the module in use");
		CHECK(set_online("1"), "CPU 1 does not come: %s", strerror(errno));
		companions_go_on(companions, NR_COMPANIONS, 2, "two CPUs");
	}
	companions_end(companions, NR_COMPANIONS);
	return check_result();
}
