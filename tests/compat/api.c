/* SPDX-License-Identifier: MIT */
/*
 * A program in the manner of those for the first libdune: every function and macro of its interface at least once, by
 * the names of its headers, as plain C: of this project's helpers only those of expect.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libdune/dune.h"
#include "libdune/cpu-x86.h"

#include "expect.h"

/* ---- time, vectors, selectors ---- */

static void constants(void)
{
	static const int vectors[] = {
		T_DIVIDE, T_DEBUG, T_NMI, T_BRKPT, T_OFLOW, T_BOUND, T_ILLOP, T_DEVICE, T_DBLFLT, T_TSS, T_SEGNP,
		T_STACK, T_GPFLT, T_PGFLT, T_FPERR, T_ALIGN, T_MCHK, T_SIMDERR,
	};
	static const int numbers[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19 };
	unsigned long first, second, third;
	unsigned int i;

	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		EXPECT(vectors[i] == numbers[i]);
	EXPECT(GD_KT == 0x10 && GD_KD == 0x18 && GD_UD == 0x28 && GD_UT == 0x30 && GD_TSS);
	EXPECT(DUNE_SIGNAL_INTR_BASE == 200);
	first = dune_get_ticks();
	rdtscll(second);
	third = dune_get_ticks();
	EXPECT(first <= second && second <= third);
	EXPECT(PERM_NONE == 0 && PERM_SSTACK == PERM_STEXT && PERM_USTACK == PERM_UTEXT);
	EXPECT(PERM_SCODE == (PERM_R | PERM_X) && PERM_STEXT == (PERM_R | PERM_W));
	EXPECT(PERM_UCODE == (PERM_SCODE | PERM_U) && PERM_UTEXT == (PERM_STEXT | PERM_U));
	EXPECT((PERM_USR1 | PERM_USR2) == PERM_USR3 && PERM_BIG != PERM_BIG_1GB && PERM_UC && PERM_COW);
	EXPECT(CREATE_NONE == 0 && CREATE_NORMAL == 1 && CREATE_BIG == 2 && CREATE_BIG_1GB == 3);
	EXPECT(PAGEBASE == 0x200000000 && MAX_PAGES == 1UL << 20);
	EXPECT(VA_START == NULL && VA_END == (void *)-1);
}

/* ---- exceptions in ring 0 ---- */

static volatile int divisions, faults, traps;
static uintptr_t fault_address;
static uint64_t fault_code;
static char *volatile guarded;

static void divide_handler(struct dune_tf *tf)
{
	divisions++;
	tf->rip += 2;
	tf->rax = 17;
}

static void pgflt_handler(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	faults++;
	fault_address = addr;
	fault_code = fec;
	(void)tf;
	dune_printf("fault at %p\n", (void *)addr);
	if (addr - (uintptr_t)guarded < PGSIZE)
		dune_vm_mprotect(pgroot, guarded, PGSIZE, PERM_R | PERM_W);
	else
		dune_vm_default_pgflt_handler(addr, fec);
}

static void trap_handler(struct dune_tf *tf)
{
	traps++;
	if (traps == 1)
		dune_dump_trap_frame(tf);
	if (traps == 2) {
		tf->rbx = 99;
		dune_pop_trap_frame(tf);
	}
}

static void exceptions(void)
{
	unsigned long rax = 1, rbx = 0;

	EXPECT(dune_register_intr_handler(T_DIVIDE, divide_handler) == 0);
	EXPECT(dune_register_intr_handler(T_BRKPT, trap_handler) == 0);
	EXPECT(dune_register_intr_handler(400, trap_handler) < 0);
	__asm__ volatile("div %2" : "+a"(rax) : "d"(0UL), "r"(0U) : "cc");
	EXPECT(divisions == 1 && rax == 17);
	__asm__ volatile("int3; int3" : "+b"(rbx) : : "memory");
	EXPECT(traps == 2 && rbx == 99);

	dune_register_pgflt_handler(pgflt_handler);
	guarded = dune_mmap(NULL, PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(guarded != MAP_FAILED);
	guarded[1] = 1;
	EXPECT(dune_vm_mprotect(pgroot, guarded, PGSIZE, PERM_R) == 0);
	dune_flush_tlb_one((unsigned long)guarded);
	((volatile char *)guarded)[5] = 2;
	EXPECT(faults == 1 && fault_address == (uintptr_t)guarded + 5);
	EXPECT((fault_code & 3) == 3);
}

/* ---- pages and page tables ---- */

static int present;

static int count_entry(const void *arg, ptent_t *pte, void *va)
{
	(void)va;
	if (*pte & PTE_P)
		present++;
	return arg ? 0 : -1;
}

static void pages_and_tables(void)
{
	char *const at = (char *)0x500000000000;
	struct page *one = dune_page_alloc(), *two;
	ptent_t *entry = NULL, *copy;
	uintptr_t pa;
	int local;

	EXPECT(one && one >= pages && one < pages + num_pages);
	pa = dune_page2pa(one);
	EXPECT(dune_pa2page(pa) == one && pa >= PAGEBASE && dune_page_isfrompool(pa));
	EXPECT(!dune_page_isfrompool(0x1000));
	strcpy((char *)pa, "a page");
	EXPECT(dune_page_get(one) == one && one->ref == 2);
	dune_page_put(one);
	EXPECT(one->ref == 1);

	EXPECT(dune_vm_insert_page(pgroot, at, one, PERM_R | PERM_W) == 0);
	EXPECT(dune_vm_lookup_page(pgroot, at) == one);
	EXPECT(!strcmp(at, "a page"));
	EXPECT(dune_vm_lookup(pgroot, at, CREATE_NONE, &entry) == 0 && entry);
	EXPECT(*entry & PTE_P && *entry & PTE_W && !(*entry & PTE_U) && PTE_ADDR(*entry) == pa);
	EXPECT(PTE_FLAGS(*entry) & PTE_P && !(*entry & PTE_PS) && !(*entry & PTE_COW));
	*(volatile char *)at = 'A';
	EXPECT(*entry & PTE_D && *entry & PTE_A);
	EXPECT(dune_vm_map_pages(pgroot, at + PGSIZE, 3 * PGSIZE, PERM_R | PERM_W) == 0);
	EXPECT(at[2 * PGSIZE] == 0);
	EXPECT(dune_vm_page_walk(pgroot, at, at + 4 * PGSIZE - 1, count_entry, "") == 0);
	EXPECT(present == 4);
	EXPECT(dune_vm_page_walk(pgroot, at, at + 4 * PGSIZE - 1, count_entry, NULL) == -1);

	copy = dune_vm_clone(pgroot);
	EXPECT(copy);
	dune_vm_unmap(copy, at, 4 * PGSIZE);
	EXPECT(dune_vm_lookup_page(copy, at) == NULL);
	EXPECT(dune_vm_lookup_page(pgroot, at) == one);
	load_cr3((unsigned long)copy);
	EXPECT(dune_vm_current() == copy);
	load_cr3((unsigned long)pgroot | CR3_NOFLUSH);
	dune_flush_tlb();
	EXPECT(at[0] == 'A');
	dune_vm_free(copy);

	/* Memory of the process a second time. */
	two = dune_page_alloc();
	EXPECT(two);
	dune_page_free(two);
	pa = dune_va_to_pa(guarded);
	EXPECT(pa && pa < phys_limit);
	EXPECT(dune_vm_map_phys(pgroot, at + 8 * PGSIZE, PGSIZE, (void *)pa, PERM_R) == 0);
	EXPECT(at[8 * PGSIZE + 5] == 2);
	EXPECT(dune_mmap_addr_to_pa(guarded) == pa);
	EXPECT(dune_stack_addr_to_pa(&local) == dune_va_to_pa(&local));
	EXPECT(mmap_base < stack_base && (uintptr_t)&local >= stack_base);
	dune_vm_unmap(pgroot, at, 16 * PGSIZE);
	dune_page_put(one);
	dune_page_stats();
}

/* ---- ring 3 ---- */

extern const char user_code[], user_end[];
__asm__(".pushsection .rodata; user_code: mov $39, %eax; syscall; mov %rax, %rbx;"
	"mov $500, %eax; mov $1, %edi; mov $2, %esi; mov $3, %edx; mov $4, %r10d; mov $5, %r8d; mov $6, %r9d; syscall;"
	"ud2; user_end: .popsection");

static long user_pid;
static int arguments;

static void syscall_handler(struct dune_tf *tf)
{
	if (tf->rax == 500) {
		user_pid = tf->rbx;
		arguments = ARG0(tf) == 1 && ARG1(tf) == 2 && ARG2(tf) == 3 && ARG3(tf) == 4 && ARG4(tf) == 5 &&
			    ARG5(tf) == 6;
		dune_ret_from_user(88);
	}
	dune_passthrough_syscall(tf);
}

static void ring_3(void)
{
	char *memory = dune_mmap(NULL, 2 * PGSIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dune_tf tf;
	unsigned long fs;

	memcpy(memory, user_code, user_end - user_code);
	memory[PGSIZE] = 0;
	EXPECT(dune_vm_mprotect(pgroot, memory, PGSIZE, PERM_UCODE) == 0);
	EXPECT(dune_vm_mprotect(pgroot, memory + PGSIZE, PGSIZE, PERM_USTACK) == 0);
	dune_register_syscall_handler(syscall_handler);
	fs = dune_get_user_fs();
	dune_set_user_fs((unsigned long)memory);
	EXPECT(dune_get_user_fs() == (unsigned long)memory);
	memset(&tf, 0, sizeof(tf));
	tf.rip = (uintptr_t)memory;
	tf.rsp = (uintptr_t)memory + 2 * PGSIZE;
	tf.rflags = 0;
	EXPECT(dune_jump_to_user(&tf) == 88);
	EXPECT(user_pid == getpid() && arguments);
	dune_set_user_fs(fs);
	dune_register_syscall_handler(NULL);
}

/* ---- signals ---- */

static volatile int signals;

static void on_signal(int signo)
{
	signals += signo == SIGUSR1;
}

static void on_signal_frame(struct dune_tf *tf)
{
	signals += 100;
	(void)tf;
}

static void signal_handlers(void)
{
	EXPECT(dune_signal(SIGUSR1, on_signal) != SIG_ERR);
	kill(getpid(), SIGUSR1);
	EXPECT(signals == 1);
	EXPECT(dune_register_signal_handler(SIGUSR2, on_signal_frame) == 0);
	kill(getpid(), SIGUSR2);
	EXPECT(signals == 101);
}

/* ---- the memory map, ELF files ---- */

static int entries, types[8], sections, segments, text;

static void entry_of_map(const struct dune_procmap_entry *e)
{
	entries++;
	if (e->type >= 0 && e->type < 8)
		types[e->type]++;
	if (e->begin <= (uintptr_t)entry_of_map && e->end > (uintptr_t)entry_of_map)
		text = e->r && !e->w && e->x && e->p && e->path[0] == '/' && e->type == PROCMAP_TYPE_FILE &&
		       e->offset < 1 << 30;
}

static int section(struct dune_elf *elf, const char *name, int number, Elf64_Shdr *header)
{
	sections++;
	(void)number;
	(void)elf;
	return !strcmp(name, ".text") && header->sh_size ? 1234 : 0;
}

static int segment(struct dune_elf *elf, Elf64_Phdr *header)
{
	segments++;
	(void)elf;
	return header->p_type == PT_LOAD && header->p_flags & PF_X ? 4321 : 0;
}

static int load(struct dune_elf *elf, Elf64_Phdr *header)
{
	const unsigned long where = 0x300000000000;
	int ret;

	if (header->p_type != PT_LOAD)
		return 0;
	ret = dune_elf_load_ph(elf, header, where);
	if (!ret && memcmp((char *)where + header->p_vaddr, elf->mem + header->p_offset, header->p_filesz))
		ret = 1;
	return ret;
}

static void maps_and_elf(void)
{
	struct dune_elf elf;
	int fd = open("/proc/self/exe", O_RDONLY);
	long size = lseek(fd, 0, SEEK_END);
	char *copy = malloc(size);

	dune_procmap_iterate(entry_of_map);
	dune_procmap_dump();
	EXPECT(entries > 5 && text);
	EXPECT(types[PROCMAP_TYPE_FILE] && types[PROCMAP_TYPE_ANONYMOUS] && types[PROCMAP_TYPE_STACK]);
	EXPECT(types[PROCMAP_TYPE_VDSO] && types[PROCMAP_TYPE_VVAR] && types[PROCMAP_TYPE_HEAP]);
	EXPECT(PROCMAP_TYPE_UNKNOWN == 0 && PROCMAP_TYPE_VSYSCALL == 5);

	EXPECT(dune_elf_open(&elf, "/proc/self/exe") == 0);
	EXPECT(elf.hdr.e_entry && elf.phdr && elf.shdr && elf.shdrstr);
	EXPECT(dune_elf_iter_sh(&elf, section) == 1234 && sections > 1);
	EXPECT(dune_elf_iter_ph(&elf, segment) == 4321 && segments > 1);
	EXPECT(dune_elf_dump(&elf) == 0);
	EXPECT(dune_elf_close(&elf) == 0);
	EXPECT(dune_elf_close(&elf) < 0);
	EXPECT(dune_elf_open(&elf, "/nowhere") == -ENOENT);
	EXPECT(dune_elf_open(&elf, "/proc/self/maps") == -ENOEXEC);

	EXPECT(pread(fd, copy, size, 0) == size);
	EXPECT(dune_elf_open_mem(&elf, copy, size) == 0);
	EXPECT(elf.mem == (unsigned char *)copy && elf.len == size);
	EXPECT(dune_elf_iter_ph(&elf, load) == 0);
	EXPECT(dune_elf_iter_ph(&elf, load) == 0);
	EXPECT(dune_elf_close(&elf) == 0);
	EXPECT(dune_elf_open_mem(&elf, copy, 40) == -ENOEXEC);
	EXPECT(dune_elf_open_mem(&elf, NULL, 40) == -EINVAL);
	close(fd);
}

int main(int argc, char *argv[])
{
	int ret, status;

	(void)argv;

	if (argc > 1)
		ret = dune_init(1) || dune_enter();
	else
		ret = dune_init_and_enter();
	if (ret) {
		printf("failed to initialize dune\n");
		return ret;
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	EXPECT(dune_enter() == 0);
	constants();
	exceptions();
	pages_and_tables();
	ring_3();
	signal_handlers();
	maps_and_elf();
	if (!fork())
		dune_die();
	wait(&status);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status));
	dune_printf("%d of %d checks failed\n", failures, checks);
	return failures != 0;
}
