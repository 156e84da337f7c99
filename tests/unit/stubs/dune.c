// SPDX-License-Identifier: MIT
/* Stands in for the rest of libdune, and for the module, under its page tables. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "dune-stubs.h"

/* <stdlib.h> and <unistd.h> do not go with the kernel's headers. */
void abort(void);
long syscall(long nr, ...);

static struct region_state state;
struct dune_process __dune_process = { .state = &state };
uint32_t stub_owners[STUB_GRANULES];	/* by guest-physical granule: the process's + 1 */
bool (*stub_mapped)(uint64_t va);	/* has the process something in this granule?  NULL: always */
unsigned long stub_calls[512];

/*
 * ---- an engine of its own; places as kern/mmu/granule.c gives them: the same address where that is free, else the
 * highest ----
 */

long __dune_engine_granule(uint64_t address, int (*drop)(void))
{
	uint64_t va = address >> GRANULE_SHIFT, gpa;

	(void)drop;
	if (address >> 47)
		return -EINVAL;
	if (stub_mapped && !stub_mapped(address))
		return -EFAULT;
	for (gpa = 0; gpa < STUB_GRANULES; gpa++)
		if (stub_owners[gpa] == va + 1)
			return gpa << GRANULE_SHIFT;
	gpa = va;
	if (va >= STUB_GRANULES || stub_owners[va])
		for (gpa = STUB_GRANULES - 1; stub_owners[gpa]; gpa--)
			if (!gpa)
				return -ENOSPC;
	stub_owners[gpa] = va + 1;
	return gpa << GRANULE_SHIFT;
}

uint32_t __dune_engine_granule_owner(uint64_t gpa)
{
	return stub_owners[gpa >> GRANULE_SHIFT];
}

bool __dune_engine_looks(void)
{
	return true;
}

long __dune_engine_look(unsigned long at)
{
	(void)at;
	return 0;
}

void __dune_engine_flush_all(void)
{
}

void __dune_engine_doubt(void)
{
}

bool __dune_engine_yield(unsigned long sleep, const struct vcpu *whom)
{
	(void)sleep;
	(void)whom;
	return false;
}

/* ---- system calls ---- */

long dune_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;

	stub_calls[nr]++;
	ret = syscall(nr, a, b, c, d, e, f);
	return ret == -1 ? -errno : ret;
}

long __dune_own_syscall(long nr, long a, long b, long c, long d)
{
	return dune_syscall(nr, a, b, c, d, 0, 0);
}

uint64_t __dune_signals_block(void)
{
	return 0;
}

void __dune_signals_restore(uint64_t mask)
{
	(void)mask;
}

int dune_printf(const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = vprintf(fmt, args);
	va_end(args);
	return ret;
}

void __dune_fatal(int signo, const char *fmt, ...)
{
	(void)signo;
	fprintf(stderr, "fatal: %s\n", fmt);
	abort();
}

static void nothing(void)
{
}

const struct dune_procmap_entry *stub_map;
unsigned int stub_map_size;
int stub_map_error;
unsigned int stub_map_reads;

int __dune_procmap_each(bool (*cb)(const struct dune_procmap_entry *entry, void *arg), void *arg)
{
	stub_map_reads++;
	if (stub_map_error)
		return stub_map_error;
	for (unsigned int i = 0; i < stub_map_size; i++)
		if (!cb(&stub_map[i], arg))
			break;
	return 0;
}

bool __dune_thread_in(uint64_t gpa)
{
	(void)gpa;
	return false;
}

void stub_begin(void)
{
	unsigned long size = GRANULE_SIZE;
	unsigned long start = (unsigned long)mmap(NULL, 2 * size, PROT_NONE,
						  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	__dune_tracking_begins = nothing;
	__dune_process.ready = 1;
	__dune_process.nr_granules = STUB_GRANULES;
	__dune_process.region = (start + size - 1) & -size;
	mprotect((void *)(__dune_process.region + AREA_TRAP), REGION_TABLES_END - AREA_TRAP, PROT_READ | PROT_WRITE);
	__dune_process.region_gpa = __dune_granule_get(__dune_process.region);
	__dune_process.full = true;
	__dune_process.root = (ptent_t *)(__dune_process.region + REGION_ROOT);
	__dune_granule_set(__dune_process.region, __dune_process.region_gpa);
}

/* base.h gives these names to memcpy() and memset(). */
void *copy(void *to, const void *from, size_t size) __asm__("__dune_memcpy");
void *copy(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *fill(void *to, int byte, size_t size) __asm__("__dune_memset");
void *fill(void *to, int byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((volatile char *)to)[i] = byte;
	return to;
}
