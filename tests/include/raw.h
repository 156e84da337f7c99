/* SPDX-License-Identifier: MIT */
/*
 * A guest made directly on the ABI of /dev/dune, without libdune, for tests that do what libdune
 * never would.
 *
 * Guest-linear addresses are the process's.  One block of memory holds all that the
 * CPU needs: the page table of 1 GiB leaves (open to ring 3 too), IDT, TSS, stacks, a page for code and
 * one for data.  The handler of each vector is a VMCALL, so an exception comes back
 * as DUNE_EXIT_SYSCALL with RIP behind the VMCALL of that vector's stub and RSP at the frame that the
 * CPU pushed.
 */
#ifndef RAW_H
#define RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <linux/dune.h>

#define RAW_PAGE	4096UL
#define VMCALL		"\x0f\x01\xc1"
#define VMMCALL		"\x0f\x01\xd9"
#define VMCALL_LENGTH	3	/* of both */

/* SDM, "64-Bit IDT Gate Descriptors" */
struct raw_gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

/* SDM, "Task Management in 64-bit Mode" */
struct raw_tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, io_bitmap;
} __attribute__((packed));

/* Page-table entries */
#include <dune-vm.h>
#define PTE_TABLE	(PTE_P | PTE_W | PTE_U | PTE_A)
#define PTE_LEAF	(PTE_TABLE | PTE_D)
#define RAW_TABLES	8

/* Offsets in the block, in pages. */
enum {
	RAW_ROOT,
	RAW_PDPTS,
	RAW_VCPUS = RAW_PDPTS + RAW_TABLES,	/* each: */
	RAW_IDT = 0,
	RAW_TSS,
	RAW_IST,		/* the stack of all vectors */
	RAW_STACK,		/* RSP of code in ring 0, and RSP0 */
	RAW_STACK3,		/* RSP of code in ring 3 */
	RAW_CODE,
	RAW_DATA,
	RAW_VCPU_PAGES,
	RAW_VCPUS_MAX = 8,
	RAW_PAGES = RAW_VCPUS + RAW_VCPUS_MAX * RAW_VCPU_PAGES,
};

struct raw_vm {
	int fd;
	struct dune_info info;
	char *block;
	uint64_t block_gpa;
	unsigned int pdpts;	/* in use */
	unsigned int vcpus;
};

struct raw_vcpu {
	struct raw_vm *vm;
	unsigned long index;
	struct dune_run *run;
	struct raw_gate *idt;
	struct raw_tss *tss;
	char *code, *data;
	uint64_t ist_top, stack_top, stack3_top;
};

/* What ended a run, decoded. */
enum raw_kind {
	RAW_ERROR,		/* DUNE_RUN failed: ->result is -errno */
	RAW_CALL,		/* VMCALL outside the stubs */
	RAW_EXCEPTION,		/* ->vector, ->error, ->rip and ->cs of what raised it */
	RAW_FAULT,		/* run->fault */
	RAW_SHUTDOWN,		/* run->shutdown */
	RAW_INTR,
	RAW_WINDOW,
};

struct raw_outcome {
	enum raw_kind kind;
	long result;
	unsigned int vector;
	uint64_t error, rip, cs, rflags, rsp;
};

/* 256 stubs of RAW_STUB bytes: VMCALL, then the removal of the error code and IRETQ. */
#define RAW_STUB	32
extern char raw_stubs[];
/* As raw_stubs, without a VMCALL: they return at once, or jump to themselves. */
extern char raw_iret[], raw_iret_error[], raw_spin[];

/* Each of these dies where the machine does not do it. */
void raw_open(struct raw_vm *vm);
void raw_close(struct raw_vm *vm);
void raw_vcpu(struct raw_vm *vm, struct raw_vcpu *vcpu, uint32_t flags);
void raw_map(struct raw_vm *vm, const void *va);
void raw_gate(struct raw_vcpu *vcpu, unsigned int vector, const void *handler, unsigned int ist, unsigned int dpl);

/* What raw_vcpu() asks for; to be changed for a vCPU of another kind. */
struct dune_vcpu_config raw_config(struct raw_vm *vm, struct raw_vcpu *vcpu, uint32_t flags);
/* 0 or -errno. */
int raw_vcpu_create(struct raw_vm *vm, struct raw_vcpu *vcpu, struct dune_vcpu_config *config);

/*
 * Put @length bytes of code, and a VMCALL behind it, on the code page; point RIP there; set the rest of the registers
 * to a default.
 */
void raw_load(struct raw_vcpu *vcpu, const void *code, size_t length, unsigned int cpl);

/* The result of DUNE_RUN, or -errno.  FS and GS base are the caller's again afterwards. */
long raw_enter(struct raw_vcpu *vcpu);
/* The same until it is not DUNE_EXIT_INTR.  A signal's handler would run with the guest's bases. */
long raw_run(struct raw_vcpu *vcpu);
void raw_decode(struct raw_vcpu *vcpu, long result, struct raw_outcome *outcome);
/* raw_run() and raw_decode(). */
void raw_outcome(struct raw_vcpu *vcpu, struct raw_outcome *outcome);

/* An ioctl, its result or -errno. */
long raw_ioctl(int fd, unsigned long command, unsigned long argument);

const char *raw_name(const struct raw_outcome *outcome, char text[80]);

/* A pseudo-random number (xorshift64*): the same from the same seed. */
static inline uint64_t raw_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dULL;
}

#endif
