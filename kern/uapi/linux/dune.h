/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The interface between /dev/dune and user space; the only one.  doc/abi.md
 * describes each call with its results and errors.
 *
 * An open file of /dev/dune is one address space: it is bound to the memory of
 * the process that opened it, and every call from another one is -EIO, except
 * DUNE_GET_INFO, DUNE_ATTACH and DUNE_YIELD.  Threads of the process enter Dune mode on virtual
 * CPUs, which belong to the file and have small numbers ("index").
 */
#ifndef _UAPI_LINUX_DUNE_H
#define _UAPI_LINUX_DUNE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Raised when a new user would go wrong with an older module, or an old one with a newer module: libdune refuses any
 * version but its own, and says so.
 */
#define DUNE_ABI_VERSION	6

/* Bytes of virtual and of guest-physical address space in one granule. */
#define DUNE_GRANULE_SHIFT	30
#define DUNE_GRANULE_SIZE	(1ULL << DUNE_GRANULE_SHIFT)

/* Offsets for mmap() on the file, in bytes. */
#define DUNE_MMAP_RUN(index)	((__u64)(index) << 12)	/* struct dune_run, read and write, MAP_SHARED */
#define DUNE_MMAP_GRANULES	(1ULL << 32)		/* __u32[nr_granules], read-only */

/* ---- DUNE_GET_INFO ------------------------------------------------------- */

#define DUNE_VENDOR_VMX		1	/* hypercalls are made with VMCALL */
#define DUNE_VENDOR_SVM		2	/* hypercalls are made with VMMCALL */

struct dune_info {
	__u32 version;		/* DUNE_ABI_VERSION */
	__u32 vendor;		/* DUNE_VENDOR_* */
	__u32 gpa_bits;		/* width of a guest-physical address */
	__u32 max_vcpus;	/* the most vCPUs that one file can have */
	__u32 nr_granules;	/* 1 << (gpa_bits - DUNE_GRANULE_SHIFT) */
	__u32 run_size;		/* bytes to map for one vCPU's struct dune_run */
	__u64 features;		/* none yet: 0 */
	__u64 cr4_allowed;	/* bits of CR4 that the guest may set itself */
	__u64 reserved[3];	/* 0 */
};

/* ---- DUNE_CREATE_VCPU ---------------------------------------------------- */

/*
 * Selectors of the guest's GDT.  They are those of 64-bit Linux, so that the
 * kernel's STAR and SFMASK serve the guest too.
 */
#define DUNE_SEL_KERNEL_CS	0x10
#define DUNE_SEL_KERNEL_DS	0x18
#define DUNE_SEL_USER_DS	0x2b
#define DUNE_SEL_USER_CS	0x33
#define DUNE_SEL_TSS		0x40
#define DUNE_SEL_CPUNODE	0x7b
#define DUNE_GDT_ENTRIES	16

/*
 * Refuse what an ordinary user program may not do: loads of descriptor tables
 * and of CR3, CR0 or CR4 raise #GP in the guest.
 */
#define DUNE_VCPU_STRICT	(1U << 0)

/*
 * For a thread that is still to be made: the first thread that runs the vCPU becomes its owner. Until then it is
 * nobody else's while that thread lives or can still be made: dune_run.child says which it is.
 */
#define DUNE_VCPU_FOR_CHILD	(1U << 1)

/* A call that is made inside, and came from call_from[0], goes on at RCX, with R11 as RFLAGS: as SYSCALL left them. */
#define DUNE_VCPU_CALL_BY_SYSCALL	(1U << 2)

/*
 * User space confines what runs in the guest: of what that makes the CPU predict nothing is left when DUNE_RUN comes
 * back (VMSCAPE, on CPUs that have it, and as the administrator chooses).  Without it the two trust each other.
 */
#define DUNE_VCPU_CONFINES	(1U << 3)

/* Linear addresses are the guest's; each must be canonical. */
struct dune_vcpu_config {
	__u32 flags;		/* in: DUNE_VCPU_* */
	__u32 index;		/* out: the number of the vCPU; in: 0 */
	__u64 cr3;		/* in: guest-physical address of the page-table root, a page */
	__u64 gdt_base;		/* in */
	__u64 idt_base;		/* in */
	__u64 tss_base;		/* in */
	__u64 lstar;		/* in: where SYSCALL goes, in ring 0 */
	__u16 gdt_limit;	/* in: bytes - 1 */
	__u16 idt_limit;	/* in: bytes - 1 */
	__u32 tss_limit;	/* in: bytes - 1, 0x67 or more */
	__u64 run;		/* in: where to map struct dune_run, in place of what is there; 0: nowhere */
	__u64 cr4;		/* in: bits of dune_info.cr4_allowed that are 1 from the start */
	__u64 call_site;	/* in: behind the SYSCALL as which calls are made inside; in user space, or 0 */
	__u64 call_from[2];	/* in: RIP of the exits that may be calls made inside */
	__u64 reserved[2];	/* 0 */
};

/* ---- DUNE_RUN ------------------------------------------------------------ */

/* The guest's general-purpose registers, by their numbers in instruction encodings. */
struct dune_regs {
	__u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
	__u64 r8, r9, r10, r11, r12, r13, r14, r15;
	__u64 rip, rflags;
};

/* Why DUNE_RUN came back: its result, and dune_run.exit_reason. */
#define DUNE_EXIT_SYSCALL	1	/* VMCALL in ring 0 that is no hypercall; RIP is behind it */
#define DUNE_EXIT_INTR		2	/* a signal or other work is pending, or immediate_exit: do it, run again */
#define DUNE_EXIT_FAULT		3	/* an access that the kernel could not resolve: dune_run.fault */
#define DUNE_EXIT_SHUTDOWN	4	/* the guest cannot go on: dune_run.shutdown */
#define DUNE_EXIT_WINDOW	5	/* DUNE_RUN_WINDOW was asked for, and IF is 1 now */

/* dune_run.flags */
#define DUNE_RUN_WINDOW		(1U << 0)	/* come back as soon as the guest has IF = 1 and no event in flight */

/*
 * dune_run.event_info: an exception that is being delivered.  After an exit it
 * is what the exit interrupted: leave it as it is and the next DUNE_RUN goes on
 * delivering it.  User space can write one to raise an exception.  The
 * layout is that of the VMCS and the VMCB (SDM, "Format of the VM-Entry
 * Interruption-Information Field").
 */
#define DUNE_EVENT_VECTOR	0x000000ffU
#define DUNE_EVENT_TYPE		0x00000700U
#define DUNE_EVENT_HARD		0x00000300U	/* exception raised by the CPU */
#define DUNE_EVENT_SOFT_INT	0x00000400U	/* INT n */
#define DUNE_EVENT_ICEBP	0x00000500U	/* INT1 */
#define DUNE_EVENT_SOFT_EXC	0x00000600U	/* INT3, INTO */
#define DUNE_EVENT_ERROR	0x00000800U	/* event_error is valid */
#define DUNE_EVENT_LEN		0x000f0000U	/* INT n, INT1, INT3, INTO: bytes of the instruction */
#define DUNE_EVENT_LEN_SHIFT	16
#define DUNE_EVENT_VALID	0x80000000U

/* dune_run.fault.flags */
#define DUNE_FAULT_READ		(1U << 0)
#define DUNE_FAULT_WRITE	(1U << 1)
#define DUNE_FAULT_EXEC		(1U << 2)
#define DUNE_FAULT_GVA		(1U << 3)	/* fault.gva is valid */
#define DUNE_FAULT_WALK		(1U << 4)	/* met while the CPU walked the guest's page table */
#define DUNE_FAULT_NO_GRANULE	(1U << 5)	/* nothing is at fault.gpa; fault.hva is 0 */
#define DUNE_FAULT_DEVICE	(1U << 7)	/* device memory, which no guest gets on this machine */

/* dune_run.shutdown.code */
#define DUNE_SHUTDOWN_TRIPLE	1	/* triple fault */
#define DUNE_SHUTDOWN_STATE	2	/* the CPU refused the guest's state */
#define DUNE_SHUTDOWN_EXIT	3	/* an exit that Dune does not know */
#define DUNE_SHUTDOWN_HARDWARE	4	/* virtualization went away (reboot, suspend, CPU offline) */

struct dune_run {
	struct dune_regs regs;		/* in, out */
	__u64 kernel_gs_base;		/* in, out: what SWAPGS would make the guest's GS base */
	__u64 cr2;			/* in, out */
	__u32 event_info;		/* in, out: DUNE_EVENT_* */
	__u32 event_error;		/* in, out */
	__u32 cpl;			/* in, out: 0 or 3; setting another loads CS and SS */
	__u32 flags;			/* in: DUNE_RUN_* */
	__u32 immediate_exit;		/* in: not 0: DUNE_EXIT_INTR before the guest runs; not cleared */
	__u32 exit_reason;		/* out: DUNE_EXIT_* */
	union {
		struct {
			__u64 hva;	/* the process's address */
			__u64 gpa;
			__u64 gva;	/* the guest's linear address */
			__u32 flags;	/* DUNE_FAULT_* */
			__u32 reserved;
		} fault;		/* out */
		struct {
			__u32 code;	/* DUNE_SHUTDOWN_* */
			__u32 hw_reason;	/* the CPU's own number of the exit or the error */
			__u64 qualification;
		} shutdown;		/* out */
		__u64 exit_args[8];
	};
	/*
	 * A place for the guest's GDT: put gdt_base here.  The kernel keeps the
	 * descriptor of DUNE_SEL_CPUNODE, from which the vDSO's getcpu() reads the number of the CPU
	 * and its node (limit = node << 12 | cpu); the others are user space's.
	 */
	__u64 gdt[DUNE_GDT_ENTRIES];
	/*
	 * The guest's, as a stack frame, while the host handles an interrupt that has ended it; else 0. A caller of
	 * DUNE_RUN whose own frames lead here has perf's call chains go on into the guest.
	 */
	struct {
		__u64 rbp, rip;
	} frame;			/* out */
	/*
	 * in: of DUNE_VCPU_FOR_CHILD, as long as no thread has run it.  0: that thread is one of this process, or
	 * is not made yet; the number of one of another process with this memory, as clone() stores it where
	 * CLONE_PARENT_SETTID says; DUNE_CHILD_UNKNOWN.
	 */
	__u32 child;
	__u32 reserved;
	/* Calls made inside: see DUNE_CALL_FROM(). */
	struct {
		__u64 allowed;	/* in: the address of __u8[DUNE_CALLS], one for each number; 0: there is none */
		__u32 making;	/* out: 1 + the number of the one under way, with its arguments in regs; or 0 */
		__u32 made;	/* out: how many have been made (modulo 1 << 32) */
	} call;
};

/*
 * Bits of the bytes at dune_run.call.allowed.  A call that the guest makes by an exit from call_from[i] (RIP is that)
 * DUNE_RUN may make itself where bit i is set: the result goes to RAX, and the guest goes on.  Or DUNE_RUN becomes that
 * call: to the kernel and to user space it is the SYSCALL before call_site, made with the guest's registers, and with
 * RSP 8 more than DUNE_RUN had, so that another return address is there.  doc/abi.md
 *
 * Only lseek() can be DUNE_RUN then: an ioctl's result has 32 bits.
 */
#define DUNE_CALL_FROM(i)	(1U << (i))
#define DUNE_CALLS		512

#define DUNE_CHILD_UNKNOWN	(~0U)

/* ---- DUNE_GET_GRANULE ---------------------------------------------------- */

struct dune_granule {
	__u64 va;		/* in: any address of the process */
	__u64 gpa;		/* out: where the granule that holds it begins in guest-physical memory */
};

/* ---- ioctls -------------------------------------------------------------- */

#define DUNE_IOC		0xdd

#define DUNE_GET_INFO		_IOR(DUNE_IOC, 0x00, struct dune_info)
#define DUNE_CREATE_VCPU	_IOWR(DUNE_IOC, 0x01, struct dune_vcpu_config)
#define DUNE_DESTROY_VCPU	_IO(DUNE_IOC, 0x02)	/* argument: index */
#define DUNE_RUN		_IO(DUNE_IOC, 0x03)	/* argument: index; result: DUNE_EXIT_* */
#define DUNE_GET_GRANULE	_IOWR(DUNE_IOC, 0x04, struct dune_granule)
#define DUNE_ATTACH		_IO(DUNE_IOC, 0x05)	/* argument: where, and a round; result: a descriptor */
#define DUNE_YIELD		_IO(DUNE_IOC, 0x06)	/* argument: us to sleep, or 0: only let others run; for whom */
#define DUNE_FLUSH_TLB		_IO(DUNE_IOC, 0x07)	/* as DUNE_HC_FLUSH_TLB */

/*
 * Where: a new descriptor (O_CLOEXEC or 0); or DUNE_ATTACH_REPLACE | fd, the descriptor itself on which the call is
 * made: it keeps its number and its flags.
 */
#define DUNE_ATTACH_REPLACE	0x80000000U

/* Above that: how often DUNE_GET_GRANULE had given EAGAIN when the process was forked (modulo 1 << 32). */
#define DUNE_ATTACH_ROUND_SHIFT	32

#define DUNE_YIELD_MAX		1000

/* Above the microseconds, which thread is waited for: the index of its vCPU + 1, or 0. */
#define DUNE_YIELD_FOR_SHIFT	32

/*
 * lseek(fd, DUNE_SEEK_VCPU(index), DUNE_SEEK_RUN) is DUNE_RUN by a shorter way: no security
 * module has a hook on llseek.  The offset is one that no ordinary file has.
 */
#define DUNE_SEEK_RUN		0
#define DUNE_SEEK_VCPU(index)	((__s64)((__u64)(index) | 1ULL << 63))

/*
 * ---- hypercalls: VMCALL in ring 0, RAX the number, RDI RSI RDX the arguments,
 *      the result in RAX (0 or more, or -errno).  All other registers are kept. ----
 */

#define DUNE_HC(nr)		(0x44554e4500000000ULL | (nr))
#define DUNE_HC_GET_GRANULE	DUNE_HC(0)	/* RDI: va.  RAX: gpa */
#define DUNE_HC_FLUSH_TLB	DUNE_HC(1)	/* flush the TLB of every vCPU of this process; done when it returns */
#define DUNE_HC_FAULT		DUNE_HC(2)	/* RDI: va, RSI: DUNE_FAULT_*.  DUNE_EXIT_FAULT, hva = gva = va */
#define DUNE_HC_YIELD		DUNE_HC(3)	/* RDI: as DUNE_YIELD */

/* CPUID leaf that says that this is Dune mode: EAX = highest Dune leaf, EBX ECX EDX = "DuneDuneDune". */
#define DUNE_CPUID_SIGNATURE	0x40000000
#define DUNE_CPUID_EBX		0x656e7544	/* "Dune" */

#endif /* _UAPI_LINUX_DUNE_H */
