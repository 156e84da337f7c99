// SPDX-License-Identifier: MIT
/*
 * The vDSO's clocks in the guest, without system calls: they agree with the system calls
 * and with an ordinary thread, and never go backwards.
 */
#include "mem.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static struct ordinary *outside;

static int (*vdso_clock_gettime)(clockid_t clock, struct timespec *t);
static int (*vdso_gettimeofday)(struct timeval *t, void *zone);
static time_t (*vdso_time)(time_t *t);
static int (*vdso_clock_getres)(clockid_t clock, struct timespec *t);
static long (*vdso_getcpu)(unsigned int *cpu, unsigned int *node, void *unused);

/* A static program has to find them itself to be sure that they are what it calls. */
static void *vdso_symbol(const char *name)
{
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *elf = (const Elf64_Ehdr *)base;
	const Elf64_Shdr *section = (const Elf64_Shdr *)(base + elf->e_shoff);

	for (unsigned int i = 0; i < elf->e_shnum; i++) {
		const Elf64_Sym *symbols = (const Elf64_Sym *)(base + section[i].sh_offset);
		const char *names;

		if (section[i].sh_type != SHT_DYNSYM)
			continue;
		names = base + section[section[i].sh_link].sh_offset;
		for (unsigned int n = 0; n < section[i].sh_size / sizeof(*symbols); n++)
			if (!strcmp(names + symbols[n].st_name, name))
				return (void *)(base + symbols[n].st_value);
	}
	FAIL("no %s in the vDSO", name);
}

static int64_t nanoseconds(const struct timespec *t)
{
	return t->tv_sec * 1000000000L + t->tv_nsec;
}

static int64_t by_vdso(clockid_t clock)
{
	struct timespec t;

	CHECK_EQ(vdso_clock_gettime(clock, &t), 0);
	return nanoseconds(&t);
}

static int64_t by_system_call(clockid_t clock)
{
	struct timespec t;

	CHECK_EQ(syscall(__NR_clock_gettime, clock, &t), 0);
	return nanoseconds(&t);
}

static long job_clock(long clock, long b, long c)
{
	(void)b;
	(void)c;
	return by_vdso(clock);
}

static void clocks(void)
{
	static const clockid_t all[] = {
		CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI,
		CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME_COARSE,
	};

	for (unsigned int i = 0; i < N_ELEMENTS(all); i++) {
		struct timespec a, b;

		for (unsigned int round = 0; round < 100; round++) {
			int64_t before = by_system_call(all[i]), here, there, after;

			here = by_vdso(all[i]);
			there = ask(outside, job_clock, all[i], 0, 0);
			after = by_system_call(all[i]);
			if (before > here || here > there || there > after)
				FAIL("clock %d: %ld, %ld in the guest, %ld outside, %ld", all[i],
				     before, here, there, after);
		}
		CHECK_EQ(vdso_clock_getres(all[i], &a), syscall(__NR_clock_getres, all[i], &b));
		CHECK_EQ(nanoseconds(&a), nanoseconds(&b));
	}
	/* Clocks that it leaves to the kernel. */
	CHECK(by_vdso(CLOCK_PROCESS_CPUTIME_ID) > 0);
	CHECK(by_vdso(CLOCK_THREAD_CPUTIME_ID) > 0);
}

static void other_calls(void)
{
	struct timeval t;
	time_t before = by_system_call(CLOCK_REALTIME) / 1000000000, now, after;

	CHECK_EQ(vdso_gettimeofday(&t, NULL), 0);
	now = vdso_time(NULL);
	after = by_system_call(CLOCK_REALTIME) / 1000000000;
	CHECK(before <= t.tv_sec && t.tv_sec <= after);
	CHECK(before - 1 <= now && now <= after);
}

/* On each CPU that this process may use. */
static void cpu_numbers(void)
{
	cpu_set_t given, set;

	CHECK(!sched_getaffinity(0, sizeof(given), &given));
	for (unsigned int i = 0; i < CPU_SETSIZE; i++) {
		unsigned int cpu = 1000, node = 1000, cpu_call, node_call;

		if (!CPU_ISSET(i, &given))
			continue;
		CPU_ZERO(&set);
		CPU_SET(i, &set);
		CHECK(!sched_setaffinity(0, sizeof(set), &set));
		CHECK_EQ(vdso_getcpu(&cpu, &node, NULL), 0);
		CHECK_EQ(syscall(__NR_getcpu, &cpu_call, &node_call, NULL), 0);
		CHECK_EQ(cpu, i);
		CHECK_EQ(cpu_call, i);
		CHECK_EQ(node, node_call);
		CHECK_EQ(sched_getcpu(), i);
	}
}

/* The data page changes under us at every tick. */
static void going_on(void)
{
	int64_t start = by_vdso(CLOCK_MONOTONIC), last = start, now;
	int64_t coarse = by_vdso(CLOCK_MONOTONIC_COARSE);
	unsigned int ticks = 0;

	while (ticks < 5) {
		now = by_vdso(CLOCK_MONOTONIC);
		CHECK(now >= last);
		last = now;
		CHECK(now - start < 60 * 1000000000L);
		now = by_vdso(CLOCK_MONOTONIC_COARSE);
		CHECK(now >= coarse);
		ticks += now > coarse;
		coarse = now;
	}
}

int main(void)
{
	outside = ordinary_thread();
	vdso_clock_gettime = vdso_symbol("__vdso_clock_gettime");
	vdso_gettimeofday = vdso_symbol("__vdso_gettimeofday");
	vdso_time = vdso_symbol("__vdso_time");
	vdso_clock_getres = vdso_symbol("__vdso_clock_getres");
	vdso_getcpu = vdso_symbol("__vdso_getcpu");
	enter();
	clocks();
	other_calls();
	cpu_numbers();
	going_on();
	return 0;
}
