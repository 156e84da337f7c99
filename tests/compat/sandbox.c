/* SPDX-License-Identifier: MIT */
/*
 * A sandbox in the manner of the first libdune's: an ELF file is loaded at the addresses that it wants, mapped for
 * ring 3 with guest-physical addresses that are the virtual ones, and runs there; what it maps begins at mmap_base.
 * Ring 0 sees the rest (dune_init(false)).
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "libdune/dune.h"
#include "libdune/cpu-x86.h"

#include "expect.h"

#define STACK_SIZE	(64 * PGSIZE)

static size_t mapped;
static int calls, opened;
static char said[64];

static int perm_of(const Elf64_Phdr *phdr)
{
	return PERM_U | (phdr->p_flags & PF_R ? PERM_R : 0) | (phdr->p_flags & PF_W ? PERM_W : 0) |
	       (phdr->p_flags & PF_X ? PERM_X : 0);
}

static int load(struct dune_elf *elf, Elf64_Phdr *phdr)
{
	void *va = (void *)phdr->p_vaddr;
	int ret;

	if (phdr->p_type != PT_LOAD)
		return 0;
	ret = dune_vm_map_phys(pgroot, va, phdr->p_memsz, va, PERM_R | PERM_W);
	if (!ret)
		ret = dune_elf_load_ph(elf, phdr, 0);
	if (!ret)
		ret = dune_vm_mprotect(pgroot, va, phdr->p_memsz, perm_of(phdr));
	EXPECT(ret == 0);
	return ret;
}

static char *map(size_t len)
{
	char *at = (char *)mmap_base + mapped;

	len = (len + PGSIZE - 1) & ~(size_t)PGMASK;
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		return NULL;
	if (dune_vm_map_phys(pgroot, at, len, (void *)dune_va_to_pa(at), PERM_R | PERM_W | PERM_U))
		return NULL;
	mapped += len + PGSIZE;
	return at;
}

static void on_syscall(struct dune_tf *tf)
{
	calls++;
	switch (tf->rax) {
	case SYS_mmap:
		tf->rax = (uintptr_t)map(ARG1(tf));
		break;
	case SYS_write:
		if (ARG2(tf) < sizeof(said))
			memcpy(said, (void *)ARG1(tf), ARG2(tf));
		dune_passthrough_syscall(tf);
		break;
	case SYS_exit_group:
		dune_ret_from_user(ARG0(tf));
	case SYS_open:
		opened++;
		/* fall through */
	default:
		tf->rax = -EPERM;
	}
}

static void on_fault(uintptr_t addr, uint64_t fec, struct dune_tf *tf)
{
	printf("page fault at %lx, error %lx\n", addr, fec);
	dune_dump_trap_frame(tf);
	dune_ret_from_user(-EFAULT);
}

int main(void)
{
	static const char text[] = "in the sandbox\n";
	struct dune_elf elf;
	struct dune_tf tf;
	uintptr_t *sp;
	char *stack;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (dune_init(0) || dune_enter())
		return 1;
	if (dune_elf_open(&elf, "/root/boxed")) {
		printf("/root/boxed is not there\n");
		return 1;
	}
	EXPECT(dune_elf_iter_ph(&elf, load) == 0);
	stack = map(STACK_SIZE);
	EXPECT(stack && dune_vm_mprotect(pgroot, stack, STACK_SIZE, PERM_USTACK) == 0);
	dune_register_pgflt_handler(on_fault);
	dune_register_syscall_handler(on_syscall);

	sp = (uintptr_t *)(stack + STACK_SIZE - 128);
	memcpy(sp + 4, text, sizeof(text));
	sp[0] = 2;
	sp[1] = sp[2] = (uintptr_t)(sp + 4);
	sp[3] = 0;
	memset(&tf, 0, sizeof(tf));
	tf.rip = elf.hdr.e_entry;
	tf.rsp = (uintptr_t)sp;
	EXPECT(dune_jump_to_user(&tf) == 12);
	EXPECT(calls == 4 && opened == 1 && !strcmp(said, text));

	/* The sandbox's own data are not the program's: an address of ours as the stack. */
	tf.rsp = (uintptr_t)&tf;
	EXPECT(dune_jump_to_user(&tf) == -EFAULT);
	EXPECT(dune_elf_close(&elf) == 0);
	return verdict();
}
