/* SPDX-License-Identifier: MIT */
/*
 * Functions with the meaning of the first libdune, under names of their own.  A program written for it includes
 * libdune/dune.h, or defines DUNE_COMPAT before dune.h: that gives them the old names. doc/porting.md says what is
 * different all the same.
 */
#ifndef DUNE_COMPAT_H
#define DUNE_COMPAT_H

#include "dune.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * dune_compat_init - dune_init() for programs of the first libdune
 * @map_full: true: all memory of the process, present and future, is mapped for ring 0 and ring 3, by entries of
 *	4 KiB.  false: dune_init(false), by entries of 4 KiB
 *
 * Guest-physical addresses are what dune_compat_va_to_pa() says, mapped or not.  Call it outside Dune mode, before the
 * program has other threads.
 *
 * Return: as dune_init(), and in both modes -EEXIST: something is at PAGEBASE.  A second call returns the same.
 */
int dune_compat_init(bool map_full);

/**
 * dune_compat_va_to_pa - the guest-physical address that stands for @va of the process
 *
 * Whether something is mapped there yet or not.  It is @va itself below 4 GiB, and what is in one piece in the 63 GiB
 * from mmap_base (libdune/dune.h) on is so in guest-physical memory.
 *
 * Return: 0 if there is none.
 */
uintptr_t dune_compat_va_to_pa(const void *va);

/** dune_compat_vm_mprotect - dune_vm_mprotect() of the pages that the range touches, as far as there are any */
int dune_compat_vm_mprotect(ptent_t *root, void *va, size_t len, int perm);

/**
 * dune_compat_vm_map_phys - dune_vm_map_phys() of the pages that the range touches
 * @pa: for @va, page or not.  Nothing need be there yet
 */
int dune_compat_vm_map_phys(ptent_t *root, void *va, size_t len, void *pa, int perm);

/** dune_compat_vm_map_pages - dune_vm_map_pages() of the pages that the range touches */
int dune_compat_vm_map_pages(ptent_t *root, void *va, size_t len, int perm);

/** dune_compat_vm_insert_page - dune_vm_insert_page() at the page that holds @va */
int dune_compat_vm_insert_page(ptent_t *root, void *va, struct page *pg, int perm);

/** dune_compat_vm_unmap - dune_vm_unmap() of the pages that the range touches */
void dune_compat_vm_unmap(ptent_t *root, void *va, size_t len);

/** dune_compat_vm_page_walk - dune_vm_page_walk(); the process's memory has entries, touched or not */
int dune_compat_vm_page_walk(ptent_t *root, void *start_va, void *end_va, page_walk_cb cb, const void *arg);

/* Functions that are called without an argument of the program's. */
typedef void (*dune_compat_procmap_cb)(const struct dune_procmap_entry *entry);
typedef int (*dune_compat_elf_phcb)(struct dune_elf *elf, Elf64_Phdr *phdr);
typedef int (*dune_compat_elf_shcb)(struct dune_elf *elf, const char *sname, int snum, Elf64_Shdr *shdr);

/** dune_compat_procmap_iterate, dune_compat_elf_iter_ph, dune_compat_elf_iter_sh - those of dune.h with such */
int dune_compat_procmap_iterate(dune_compat_procmap_cb cb);
int dune_compat_elf_iter_ph(struct dune_elf *elf, dune_compat_elf_phcb cb);
int dune_compat_elf_iter_sh(struct dune_elf *elf, dune_compat_elf_shcb cb);

/** dune_compat_elf_load_ph - map a segment over what is there; 0, -EINVAL or -ENOMEM.  With libelf, like dune-elf.h */
int dune_compat_elf_load_ph(struct dune_elf *elf, Elf64_Phdr *phdr, long off);

/* ---- interrupts from thread to thread: there are none yet ---- */

/** dune_apic_id - all ones */
uint32_t dune_apic_id(void);

/** dune_apic_send_ipi - ends the process with a message */
void dune_apic_send_ipi(uint8_t vector, uint32_t apic_id);

/** dune_apic_eoi - does nothing */
void dune_apic_eoi(void);

/** dune_compat_apic_id_for_cpu - 0, and true in @error, which may be NULL */
uint32_t dune_compat_apic_id_for_cpu(uint32_t cpu, bool *error);

/** dune_compat_setup_apic, dune_compat_apic_init_rt_entry - do nothing */
void dune_compat_setup_apic(void);
void dune_compat_apic_init_rt_entry(void);

#ifdef __cplusplus
}
#endif

#endif /* DUNE_COMPAT_H */
