// SPDX-License-Identifier: MIT
/* System calls that the kernel makes for the program, and the shortest exit. */
#include <cpuid.h>
#include <dune.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bench.h"

static long own_pid;
static int pipe_ends[2];

static inline long raw_syscall(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static void begin_getpid(void)
{
	own_pid = getpid();
}

static uint64_t getpid_syscall(unsigned int i)
{
	uint64_t start = ticks(), end;
	long pid;

	(void)i;
	__asm__ volatile("syscall" : "=a"(pid) : "0"(SYS_getpid) : "rcx", "r11", "memory");
	end = ticks();
	bench_work += pid == own_pid;
	return end - start;
}

/* Intel's CPUs have VMCALL, all others VMMCALL. */
static uint64_t getpid_vmcall(unsigned int i)
{
	uint64_t start = ticks(), end;
	long pid;

	(void)i;
	__asm__ volatile("vmcall" : "=a"(pid) : "0"(SYS_getpid) : "memory");
	end = ticks();
	bench_work += pid == own_pid;
	return end - start;
}

static uint64_t getpid_vmmcall(unsigned int i)
{
	uint64_t start = ticks(), end;
	long pid;

	(void)i;
	__asm__ volatile("vmmcall" : "=a"(pid) : "0"(SYS_getpid) : "memory");
	end = ticks();
	bench_work += pid == own_pid;
	return end - start;
}

static bool is_intel(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_INTEL_ebx;
}

static void begin_vmcall(void)
{
	if (!is_intel())
		bench_skip("an instruction of Intel's");
	begin_getpid();
}

static void begin_vmmcall(void)
{
	if (is_intel())
		bench_skip("an instruction of AMD's");
	begin_getpid();
}

static uint64_t cpuid(unsigned int i)
{
	uint32_t a = 0, b, c = 0, d;
	uint64_t start = ticks(), end;

	(void)i;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	end = ticks();
	bench_work += a != 0;
	return end - start;
}

/* What a process pays for one turn of DUNE_RUN without a guest: the calls that do least. */
static void begin_pipe(void)
{
	must(!pipe(pipe_ends));
}

static uint64_t trivial_ioctl(unsigned int i)
{
	uint64_t start = ticks(), end;
	long result = raw_syscall(SYS_ioctl, pipe_ends[0], 0xdc7f, i);

	end = ticks();
	bench_work += result == -25;	/* -ENOTTY */
	return end - start;
}

static uint64_t trivial_lseek(unsigned int i)
{
	uint64_t start = ticks(), end;
	long result = raw_syscall(SYS_lseek, pipe_ends[0], i, 0);

	end = ticks();
	bench_work += result == -29;	/* -ESPIPE */
	return end - start;
}

static const struct bench_case cases[] = {
	{ "getpid",			WHERE_BOTH | WHERE_IOCTL, 400, 1, begin_getpid, NULL, getpid_syscall },
	{ "getpid by VMCALL",		WHERE_DUNE, 400, 1, begin_vmcall, NULL, getpid_vmcall },
	{ "getpid by VMMCALL",		WHERE_DUNE, 400, 1, begin_vmmcall, NULL, getpid_vmmcall },
	{ "CPUID (bare exit and entry)",	WHERE_BOTH, 400, 1, NULL, NULL, cpuid },
	{ "trivial ioctl",		WHERE_BOTH, 400, 1, begin_pipe, NULL, trivial_ioctl },
	{ "trivial lseek",		WHERE_BOTH, 400, 1, begin_pipe, NULL, trivial_lseek },
};

BENCH_GROUP(calls, true);
