/* SPDX-License-Identifier: MIT */
/*
 * A KVM guest that checks itself: in 64-bit mode it executes SYSCALL and RDTSCP again and again and looks
 * whether it arrives at its own LSTAR, with its own STAR and FMASK, and finds its own TSC_AUX, CR2 and DR0.  KVM
 * leaves those live in the CPU, so the guest notices when somebody forgets to put them back.
 */
#ifndef KVM_GUEST_H
#define KVM_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KVM_GUEST_PORT		0x10
#define KVM_GUEST_ROUNDS	200		/* for each exit, if not said otherwise */

struct kvm_guest {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	char *memory;
};

#define KVM_GUEST_CODE		0x4000
#define KVM_GUEST_NUMBER	0x7000		/* of rounds: see kvm_guest_rounds() */
#define KVM_GUEST_MEMORY	0x8000
#define KVM_GUEST_AUX		0x5a5a
#define KVM_GUEST_CR2		0x77665544332000
#define KVM_GUEST_DR0		0x12345678
#define KVM_GUEST_STAR_CS	0x38		/* not Linux's */

extern const char kvm_guest_code[], kvm_guest_lstar[], kvm_guest_end[];

#define KVM_STRING_(x)	#x
#define KVM_STRING(x)	KVM_STRING_(x)

__asm__(
"	.pushsection .rodata\n"
"kvm_guest_code:\n"
"	movl	$" KVM_STRING(KVM_GUEST_DR0) ", %eax\n"
"	movq	%rax, %dr0\n"
"	movl	" KVM_STRING(KVM_GUEST_NUMBER) ", %ebx\n"
"1:	rdtscp\n"
"	cmpl	$" KVM_STRING(KVM_GUEST_AUX) ", %ecx\n"
"	jne	2f\n"
"	movq	%dr0, %rax\n"
"	cmpl	$" KVM_STRING(KVM_GUEST_DR0) ", %eax\n"
"	jne	2f\n"
"	movabsq	$" KVM_STRING(KVM_GUEST_CR2) ", %rdx\n"
"	movq	%cr2, %rax\n"
"	cmpq	%rdx, %rax\n"
"	jne	2f\n"
"	xorl	%esi, %esi\n"
"	pushfq\n"
"	orl	$0x200400, (%rsp)\n"
"	popfq\n"
"	syscall\n"			/* at LSTAR %esi becomes 0x1234 */
"	cmpl	$0x1234, %esi\n"
"	jne	2f\n"
"	decl	%ebx\n"
"	jnz	1b\n"
"	outb	%al, $" KVM_STRING(KVM_GUEST_PORT) "\n"
"	jmp	kvm_guest_code\n"
"2:	hlt\n"
"kvm_guest_lstar:\n"
"	pushfq\n"
"	popq	%rax\n"
"	andl	$0x200400, %eax\n"	/* FMASK has cleared DF, but not ID, which Linux's clears */
"	cmpl	$0x200000, %eax\n"
"	jne	2b\n"
"	movl	%cs, %eax\n"
"	cmpw	$" KVM_STRING(KVM_GUEST_STAR_CS) ", %ax\n"
"	jne	2b\n"
"	movl	$0x1234, %esi\n"
"	jmp	*%rcx\n"
"kvm_guest_end:\n"
"	.popsection\n"
);

/* With many rounds, the guest's thread is preempted in KVM_RUN: then KVM leaves its registers in the CPU. */
__attribute__((unused)) static void kvm_guest_rounds(struct kvm_guest *g, uint32_t rounds)
{
	memcpy(g->memory + KVM_GUEST_NUMBER, &rounds, sizeof(rounds));
}

/* 0, or what failed. */
__attribute__((unused)) static const char *kvm_guest_open(struct kvm_guest *g)
{
	struct kvm_userspace_memory_region region = { .memory_size = KVM_GUEST_MEMORY };
	struct { struct kvm_msrs head; struct kvm_msr_entry entries[4]; } msrs = {
		.head.nmsrs = 4,
		.entries = {
			{ .index = 0xc0000081, .data = (uint64_t)KVM_GUEST_STAR_CS << 32 },
			{ .index = 0xc0000082, .data = KVM_GUEST_CODE + (kvm_guest_lstar - kvm_guest_code) },
			{ .index = 0xc0000084, .data = 0x400 },			/* FMASK */
			{ .index = 0xc0000103, .data = KVM_GUEST_AUX },
		},
	};
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[256]; } cpuid;
	struct kvm_segment code = { .limit = ~0U, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = ~0U, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = KVM_GUEST_CODE, .rsp = KVM_GUEST_MEMORY, .rflags = 2 };
	struct kvm_sregs sregs;
	uint64_t *tables;
	int size;

	memset(g, 0, sizeof(*g));
	g->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (g->kvm < 0)
		return "/dev/kvm";
	g->vm = ioctl(g->kvm, KVM_CREATE_VM, 0);
	if (g->vm < 0)
		return "KVM_CREATE_VM";
	g->memory = mmap(NULL, KVM_GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->memory == MAP_FAILED)
		return "mmap";
	region.userspace_addr = (uintptr_t)g->memory;
	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region))
		return "KVM_SET_USER_MEMORY_REGION";
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	size = ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (g->vcpu < 0 || size < 0)
		return "KVM_CREATE_VCPU";
	g->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (g->run == MAP_FAILED)
		return "mmap of the vCPU";
	cpuid.head.nent = 256;
	if (ioctl(g->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) || ioctl(g->vcpu, KVM_SET_CPUID2, &cpuid))
		return "KVM_SET_CPUID2";

	/* Identity: one leaf of 2 MiB. */
	tables = (uint64_t *)(g->memory + 0x1000);
	tables[0] = 0x2003;
	tables[512] = 0x3003;
	tables[1024] = 0x83;
	memcpy(g->memory + KVM_GUEST_CODE, kvm_guest_code, kvm_guest_end - kvm_guest_code);
	kvm_guest_rounds(g, KVM_GUEST_ROUNDS);
	if (ioctl(g->vcpu, KVM_GET_SREGS, &sregs))
		return "KVM_GET_SREGS";
	sregs.cr0 = 0x80000033;
	sregs.cr2 = KVM_GUEST_CR2;
	sregs.cr3 = 0x1000;
	sregs.cr4 = 0x20;
	sregs.efer = 0x501;		/* SCE, LME, LMA */
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	if (ioctl(g->vcpu, KVM_SET_SREGS, &sregs) || ioctl(g->vcpu, KVM_SET_REGS, &regs))
		return "KVM_SET_SREGS";
	if (ioctl(g->vcpu, KVM_SET_MSRS, &msrs) != 4)
		return "KVM_SET_MSRS";
	return NULL;
}

/* So many rounds.  Did each go well? */
__attribute__((unused)) static bool kvm_guest_run(struct kvm_guest *g)
{
	int error;

	/* The freezer of a suspend interrupts it. */
	do
		error = ioctl(g->vcpu, KVM_RUN, 0);
	while (error && errno == EINTR);
	return !error && g->run->exit_reason == KVM_EXIT_IO && g->run->io.port == KVM_GUEST_PORT;
}

__attribute__((unused)) static void kvm_guest_close(struct kvm_guest *g)
{
	munmap(g->run, ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(g->vcpu);
	close(g->vm);
	close(g->kvm);
	munmap(g->memory, KVM_GUEST_MEMORY);
}

#endif
