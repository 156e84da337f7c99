// SPDX-License-Identifier: MIT
/*
 * Which measures against speculation bugs are in use follows from what the kernel says of the CPU and of its own, and
 * where the L1 data cache is to be flushed it is: before an entry after a system call, and not after an exit that the
 * module answers without doing anything else.
 *
 * The time-stamp counter has to count instructions for the latter (vmx), and no emulated CPU has IBPB, IBRS or the
 * command that flushes: of these it is only tested that they are not taken for there.
 */
#include <cpuid.h>
#include <dune.h>
#include <sys/syscall.h>
#include <x86intrin.h>

#include "check.h"
#include "module.h"

#define ROUNDS		64

/* SDM, "Cache Control": 64 KiB in lines of 64 bytes, at least a load and a jump for each. */
#define FLUSH_TAKES	2048U

static bool mitigations_off;

static void read_line(const char *path, const char *start, char *line, int size)
{
	FILE *file = fopen(path, "r");

	DIE_UNLESS(file, path);
	do {
		line[0] = 0;
	} while (fgets(line, size, file) && strncmp(line, start, strlen(start)));
	fclose(file);
	DIE_UNLESS(line[0], path);
}

/* What the kernel says of a bug; "" if it does not know it. */
static const char *kernel_says(const char *bug)
{
	static char line[512];
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/vulnerabilities/%s", bug);
	line[0] = 0;
	if (!access(path, R_OK))
		read_line(path, "", line, sizeof(line));
	return line;
}

static bool has_bug(const char *bug)
{
	const char *says = kernel_says(bug);

	return !strncmp(says, "Mitigation", 10) || !strncmp(says, "Vulnerable", 10);
}

/* "Mitigation: Clear CPU buffers; ...", or "Vulnerable: Clear CPU buffers attempted, no microcode" */
static bool clears_buffers(const char *bug)
{
	return strstr(kernel_says(bug), "Clear CPU buffers");
}

static bool has_flag(const char *flag)
{
	char line[4096], word[64];

	read_line("/proc/cpuinfo", "flags", line, sizeof(line));
	line[strcspn(line, "\n")] = ' ';
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(line, word);
}

static bool in_use(const char *measure)
{
	unsigned long says = module_says("speculation", measure);

	CHECK(says <= 1, "%s %lu", measure, says);
	return says;
}

static void expect(const char *measure, bool wanted)
{
	CHECK_EQUAL(in_use(measure), wanted && !mitigations_off, measure);
}

static void check_choice(void)
{
	bool ibpb = has_flag("ibpb");

	expect("verw", clears_buffers("mds") || clears_buffers("tsx_async_abort") ||
	       clears_buffers("mmio_stale_data") || clears_buffers("reg_file_data_sampling") || clears_buffers("tsa"));
	expect("flush_l1d", has_bug("l1tf"));
	CHECK_EQUAL(in_use("flush_l1d_by_msr"), !mitigations_off && has_flag("flush_l1d"), "flush_l1d_by_msr");
	expect("ibrs", !strncmp(kernel_says("spectre_v2"), "Mitigation: IBRS", 16));
	expect("ibpb", ibpb);
	expect("ibpb_user", ibpb && has_bug("vmscape"));
	expect("rsb_fill", strstr(kernel_says("spectre_v2"), "RSB filling"));
}

static void call_kernel(void)
{
	CHECK(syscall(SYS_getppid) > 0, "getppid");
}

/* CPUID exits. */
static void exit_only(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
}

/* The least of some: without an interrupt. */
static uint64_t ticks_of(void (*function)(void))
{
	uint64_t least = -1;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = __rdtsc(), took;

		function();
		took = __rdtsc() - start;
		if (took < least)
			least = took;
	}
	return least;
}

static void check_flush(void)
{
	uint64_t outside = ticks_of(call_kernel), call, only;

	DIE_UNLESS(!dune_init_and_enter(), "Dune mode");
	call = ticks_of(call_kernel);
	only = ticks_of(exit_only);
	printf("getppid outside %llu, in Dune mode %llu; CPUID %llu\n", (unsigned long long)outside,
	       (unsigned long long)call, (unsigned long long)only);
	CHECK_EQUAL(call - outside > FLUSH_TAKES, in_use("flush_l1d"), "a call is followed by a flush");
	CHECK(only < FLUSH_TAKES, "an exit that the module answers takes %llu", (unsigned long long)only);
}

int main(int argc, char **argv)
{
	char line[1024];

	(void)argc;
	read_line("/proc/cmdline", "", line, sizeof(line));
	mitigations_off = strstr(line, "mitigations=off");
	check_choice();
	if (argv[1] && !strcmp(argv[1], "flush"))
		check_flush();
	return check_result();
}
