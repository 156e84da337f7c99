// SPDX-License-Identifier: MIT
/*
 * dune_init(): open the engine, reserve libdune's granule, build the tables that all
 * threads share.  HR3.
 */
#include <cpuid.h>

#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/resource.h>

#include "api/api.h"
#include "base/object.h"
#include "guest/guest.h"
#include "host/calls.h"
#include "host/host.h"

#define bit_SMEP	(1U << 7)
#define bit_SMAP	(1U << 20)

#define CR4_UMIP	(1UL << 11)
#define CR4_SMEP	(1UL << 20)
#define CR4_SMAP	(1UL << 21)

static int check_cpu(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) || !(edx & 1 << 26))
		return -ENODEV;		/* no 1 GiB pages */
	return 0;
}

/*
 * Of an XSAVE area with the components of @mask.  Not that of all in XCR0, CPUID's first answer: with AMX's tiles it
 * is more than the kernel takes in a signal frame of a program that has not asked for them.  SDM, "CPUID-Instruction
 * Processor Extended State Enumeration Main Leaf": sub-leaf i, EAX size, EBX offset of component i.
 */
static uint32_t xsave_size(uint64_t mask)
{
	uint32_t size = XSAVE_HEADER + 64, eax, ebx, ecx, edx;

	for (unsigned int i = 2; i < 64; i++) {
		if (!(mask >> i & 1))
			continue;
		__cpuid_count(0xd, i, eax, ebx, ecx, edx);
		if (size < ebx + eax)
			size = ebx + eax;
	}
	return size;
}

/* What a program's handler could change: x87, SSE, AVX, AVX-512.  SDM, "XSAVE-Supported Features". */
static void find_xsave(void)
{
	uint32_t eax, ebx, ecx, edx, low, high;

	__cpuid(1, eax, ebx, ecx, edx);
	if (!(ecx & bit_OSXSAVE))
		return;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	__dune_process.xsave_mask = low & 0xe7;
	__dune_process.xsave_size = xsave_size(__dune_process.xsave_mask);
}

static bool has_invpcid(void)
{
	uint32_t eax, ebx, ecx, edx;

	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ebx & 1 << 10;
}

/*
 * What keeps ring 0 from a program in ring 3; and UMIP, which a guest may have where the kernel emulates what that
 * forbids, as libdune does then (host/emulate.c).
 */
static void choose_cr4(uint64_t possible)
{
	if (!__dune_process.ring3)
		return;
	__dune_process.cr4 = possible & (CR4_SMEP | CR4_SMAP | CR4_UMIP);
	if (__dune_process.cr4 & CR4_SMAP)
		__dune_process.options |= 1U << DUNE_OPT_SMAP;
}

static int open_engine(void)
{
	struct engine_info info;
	int ret = __dune_engine_open(&info);

	if (ret)
		return ret;
	__dune_process.nr_granules = info.nr_granules;
	__dune_process.pcid = info.flags & ENGINE_PCID && has_invpcid();
	__dune_lstar_choose(info.way_out);
	choose_cr4(info.cr4);
	return 0;
}

static int fill_region(void)
{
	unsigned long region = __dune_process.region;
	struct region_state *state = (struct region_state *)(region + REGION_STATE);
	long ret;

	ret = dune_syscall3(__NR_mprotect, trap_low(region), region + REGION_TABLES_END - trap_low(region),
			    PROT_READ | PROT_WRITE);
	if (ret)
		return ret;
	ret = __dune_granule_get(region);
	if (is_error(ret))
		return ret;
	__dune_process.region_gpa = ret;
	*state = *region_state();
	__dune_process.state = state;
	__dune_threads_begin();
	__dune_fill_idt();
	__dune_granule_set(region, __dune_process.region_gpa);
	__dune_process.full = true;
	__dune_process.root = (ptent_t *)(region + REGION_ROOT);
	return 0;
}

#define NO_ROOT		((ptent_t *)1)

static void set_switch_root(void)
{
	__dune_process.switch_root = option(DUNE_OPT_STRICT) ? NO_ROOT : __dune_process.root;
}

/* The C library's, if there is one. */
extern char **__environ __attribute__((weak, visibility("default")));

/* In every program that is linked with this: dune-run leaves it to enter by itself (base/object.h). */
__asm__(".pushsection .note.dune, \"a\", @note\n"
	".balign 4\n"
	".long 5, 0, 1\n"
	".asciz \"" DUNE_NOTE_NAME "\"\n"
	".balign 4\n"
	".popsection");

_Static_assert(sizeof(DUNE_NOTE_NAME) == 5 && DUNE_NOTE_ENTERS == 1, "the note has them");

PUBLIC int dune_init(bool map_full)
{
	struct region_state *before = region_state();
	int ret;

	if (__dune_process.ready)
		return 0;
	ret = check_cpu();
	if (ret)
		return ret;
	ret = __dune_pin();
	if (ret)
		return ret;
	find_xsave();
	ret = open_engine();
	if (ret == -EBUSY)
		__dune_message("this process is in Dune mode already, by dune-run or by another copy of libdune: where "
			       "a library enters that is loaded later, run the program without dune-run");
	if (ret)
		return ret;
	if (!__dune_process.region)	/* launch/monitor.c has been there */
		ret = __dune_region_reserve();
	if (ret)
		goto close;
	ret = fill_region();
	if (ret)
		goto unmap;
	set_switch_root();
	if (!map_full) {
		ret = __dune_precise_begin();
		if (ret)
			goto unmap;
	}
	__dune_memory_mutex = &region_state()->mutex;
	__dune_process.ready = true;
	__dune_tracking_begins = __dune_track_calls;
	__dune_trap_entries_choose();
	__dune_ring3_call_choose();
	/* Where dune-run's object calls this it has looked itself. */
	if (!__dune_process.fresh && &__environ && __environ)
		__dune_process.debugged = __dune_debug_take(__environ);
	return 0;

unmap:
	*before = *region_state();
	__dune_process.state = before;
	__dune_process.areas_left_out = false;
	dune_syscall2(__NR_munmap, __dune_process.region, GRANULE_SIZE);
close:
	__dune_engine_close();
	return ret;
}

/* Is the option one that the CPU has? */
static bool has(unsigned int number)
{
	uint32_t eax, ebx, ecx, edx;

	if (number != DUNE_OPT_SMEP && number != DUNE_OPT_SMAP)
		return true;
	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ebx & (number == DUNE_OPT_SMEP ? bit_SMEP : bit_SMAP);
}

PUBLIC int dune_set_option(unsigned int number, bool on)
{
	if (number > DUNE_OPT_SMAP)
		return -EINVAL;
	if (on && !has(number))
		return -ENODEV;
	if (on)
		__dune_process.options |= 1U << number;
	else
		__dune_process.options &= ~(1U << number);
	if (number == DUNE_OPT_SMAP && __dune_process.ready)
		__dune_fill_idt();
	set_switch_root();
	return 0;
}

/* The layout of all areas depends on it, and the first one is made by dune_init(). */
PUBLIC int dune_set_handler_stack(size_t size)
{
	if (size < TRAP_MIN || size > TRAP_MAX || size & PGMASK)
		return -EINVAL;
	if (__dune_process.region)
		return -EBUSY;
	__dune_process.trap_size = size;
	return 0;
}
