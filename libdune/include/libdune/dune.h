/* SPDX-License-Identifier: MIT */
/*
 * The names of the first libdune, with the meaning that they had there.  New programs include dune.h, which does the
 * same where DUNE_COMPAT is defined.
 */
#ifndef LIBDUNE_DUNE_H
#define LIBDUNE_DUNE_H

#include <sys/types.h>
#if __has_include(<sys/queue.h>)	/* musl has none */
#include <sys/queue.h>
#endif

#include "../dune-compat.h"
#include "elf.h"
#include "fpu.h"
#include "mmu.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Variables, by names of the linker's that no program has; dune_compat_init() gives them their values.  They are for
 * reading.
 */
extern ptent_t *pgroot __asm__("dune_compat_pgroot");		/* the root of the first address space */
extern uintptr_t phys_limit __asm__("dune_compat_phys_limit");	/* the end of guest-physical memory */
extern uintptr_t mmap_base __asm__("dune_compat_mmap_base");	/* what mmap() finds by itself is from here on ... */
extern uintptr_t stack_base __asm__("dune_compat_stack_base");	/* ... up to here, to a GiB; behind it the stack */
extern struct page *pages __asm__("dune_compat_pages");		/* one for each page of the pool */
extern int num_pages __asm__("dune_compat_num_pages");		/* so many the pool has at the moment */

#ifdef __cplusplus
}
#endif

/** load_cr3 - dune_load_cr3() */
static inline void load_cr3(unsigned long cr3)
{
	dune_load_cr3(cr3);
}

DUNE_INLINE int dune_compat_init_and_enter(void)
{
	int ret = dune_compat_init(true);

	return ret ? ret : dune_enter();
}

#define dune_init		dune_compat_init
#define dune_init_and_enter	dune_compat_init_and_enter
#define dune_va_to_pa		dune_compat_va_to_pa
#define dune_mmap_addr_to_pa	dune_compat_va_to_pa
#define dune_stack_addr_to_pa	dune_compat_va_to_pa
#define dune_vm_mprotect	dune_compat_vm_mprotect
#define dune_vm_map_phys	dune_compat_vm_map_phys
#define dune_vm_map_pages	dune_compat_vm_map_pages
#define dune_vm_insert_page	dune_compat_vm_insert_page
#define dune_vm_unmap		dune_compat_vm_unmap
#define dune_vm_page_walk	dune_compat_vm_page_walk
#define dune_elf_load_ph	dune_compat_elf_load_ph
#define dune_elf_phcb		dune_compat_elf_phcb
#define dune_elf_iter_ph	dune_compat_elf_iter_ph
#define dune_elf_shcb		dune_compat_elf_shcb
#define dune_elf_iter_sh	dune_compat_elf_iter_sh
#define dune_procmap_cb		dune_compat_procmap_cb
#define dune_procmap_iterate	dune_compat_procmap_iterate
#define apic_id_for_cpu		dune_compat_apic_id_for_cpu
#define setup_apic		dune_compat_setup_apic
#define apic_init_rt_entry	dune_compat_apic_init_rt_entry

#ifndef assert
#define assert(expression)									\
	((expression) ? (void)0 : (void)(dune_printf("ASSERT(%s) at %s:%d in function %s\n",	\
						     #expression, __FILE__, __LINE__, __func__), dune_die()))
#endif

#define GD_TSS2		(GD_TSS + 8)	/* its second half */
#define NR_GDT_ENTRIES	16

#ifdef SLIST_HEAD
SLIST_HEAD(page_head, page);
typedef SLIST_ENTRY(page) page_entry_t;
#endif

/* The stack has the GiB at stack_base, and what mmap() finds by itself is in those from mmap_base on. */
#define GPA_STACK_SIZE	(1UL << 30)
#define GPA_MAP_SIZE	((1UL << 36) - GPA_STACK_SIZE)

#endif /* LIBDUNE_DUNE_H */
