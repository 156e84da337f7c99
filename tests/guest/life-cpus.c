// SPDX-License-Identifier: MIT
/*
 * A CPU goes and comes while processes in Dune mode check their memory: no wrong byte, and
 * all of them go on, on the CPU that is left. The module cannot be unloaded meanwhile.
 */
#include <dune.h>

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define CPU_ONLINE	"/sys/devices/system/cpu/cpu1/online"
#define PROCESSES	3
#define ROUNDS		20
#define WORDS		(256 * 1024 / 8)
#define SECONDS		20

static struct shared {
	atomic_bool stop;
	atomic_ulong rounds[PROCESSES];
} *shared;

/* Writes a pattern, reads it back; a new mapping each time. */
static bool memory_is_right(unsigned long seed)
{
	uint64_t *memory = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool right = true;

	if (memory == MAP_FAILED)
		return false;
	for (unsigned long i = 0; i < WORDS; i++)
		memory[i] = (i + seed) * 0x9e3779b97f4a7c15;
	for (unsigned long i = 0; i < WORDS; i++)
		right &= memory[i] == (i + seed) * 0x9e3779b97f4a7c15;
	return !munmap(memory, WORDS * 8) && right;
}

static int be_process(unsigned int index)
{
	if (dune_init_and_enter())
		return 2;
	while (!shared->stop) {
		if (!memory_is_right(shared->rounds[index] * PROCESSES + index))
			return 1;
		shared->rounds[index]++;
	}
	return 0;
}

static bool set_online(const char *value)
{
	int fd = open(CPU_ONLINE, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, value, 1) == 1;

	close(fd);
	return done;
}

/* Each has done a whole round since. */
static void all_go_on(const char *what)
{
	unsigned long before[PROCESSES];
	double end = check_seconds() + SECONDS;

	for (unsigned int i = 0; i < PROCESSES; i++)
		before[i] = shared->rounds[i];
	for (unsigned int i = 0; i < PROCESSES; i++) {
		while (shared->rounds[i] < before[i] + 2 && check_seconds() < end)
			usleep(1000);
		CHECK(shared->rounds[i] >= before[i] + 2, "%s: process %u stands still", what, i);
	}
}

int main(void)
{
	pid_t pids[PROCESSES];
	int status;

	if (access(CPU_ONLINE, W_OK)) {
		printf("the second CPU cannot be switched off\n");
		return CHECK_SKIP;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(be_process(i));
	}
	all_go_on("at first");
	for (unsigned int i = 0; i < ROUNDS && !check_failures; i++) {
		CHECK(set_online("0"), "CPU 1 does not go: %s", strerror(errno));
		all_go_on("one CPU");
		CHECK_ERRNO(syscall(SYS_delete_module, "dune", O_NONBLOCK), EAGAIN, "unloading the module in use");
		CHECK(set_online("1"), "CPU 1 does not come: %s", strerror(errno));
		all_go_on("two CPUs");
	}
	shared->stop = true;
	for (unsigned int i = 0; i < PROCESSES; i++) {
		CHECK(waitpid(pids[i], &status, 0) == pids[i] && !status, "process %u: status %#x", i, status);
	}
	return check_result();
}
