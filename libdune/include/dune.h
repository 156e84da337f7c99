/* SPDX-License-Identifier: MIT */
/*
 * libdune: run this very thread in the guest mode of the processor, in ring 0.
 *
 * After dune_enter() the program goes on at the same addresses with the same
 * memory and the same system calls, but it owns the page-table root, the
 * interrupt descriptor table and ring 3.  Functions that can fail return
 * -errno; errno itself is never touched.
 */
#ifndef DUNE_H
#define DUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dune-elf.h"
#include "dune-inline.h"
#include "dune-procmap.h"
#include "dune-user.h"
#include "dune-vm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Selectors, as in 64-bit Linux. */
#define GD_KT		0x10
#define GD_KD		0x18
#define GD_UD		0x28
#define GD_UT		0x30
#define GD_TSS		0x40

/* Vectors of exceptions (SDM, "Exception and Interrupt Vectors"). */
#define T_DIVIDE	0	/* divide error */
#define T_DEBUG		1	/* debug exception */
#define T_NMI		2	/* non-maskable interrupt */
#define T_BRKPT		3	/* breakpoint */
#define T_OFLOW		4	/* overflow */
#define T_BOUND		5	/* BOUND range exceeded */
#define T_ILLOP		6	/* invalid opcode */
#define T_DEVICE	7	/* device not available */
#define T_DBLFLT	8	/* double fault */
#define T_TSS		10	/* invalid TSS */
#define T_SEGNP		11	/* segment not present */
#define T_STACK		12	/* stack-segment fault */
#define T_GPFLT		13	/* general protection */
#define T_PGFLT		14	/* page fault */
#define T_FPERR		16	/* x87 floating-point error */
#define T_ALIGN		17	/* alignment check */
#define T_MCHK		18	/* machine check */
#define T_SIMDERR	19	/* SIMD floating-point exception */

/*
 * The registers that an exception interrupted.  A handler may change all of
 * them but cs and ss; they are loaded when it returns.
 */
struct dune_tf {
	uint64_t rdi, rsi, rdx, rcx, r8, r9, r10, r11;
	uint64_t rbx, rbp, r12, r13, r14, r15;
	uint64_t rax;
	uint32_t err, pad1;
	uint64_t rip;
	uint16_t cs, pad2[3];
	uint64_t rflags;
	uint64_t rsp;
	uint16_t ss, pad3[3];
};

#define ARG0(tf)	((tf)->rdi)
#define ARG1(tf)	((tf)->rsi)
#define ARG2(tf)	((tf)->rdx)
#define ARG3(tf)	((tf)->rcx)
#define ARG4(tf)	((tf)->r8)
#define ARG5(tf)	((tf)->r9)

typedef void (*dune_intr_cb)(struct dune_tf *tf);
typedef void (*dune_pgflt_cb)(uintptr_t addr, uint64_t fec, struct dune_tf *tf);

/*
 * A handler with an argument, for the functions dune_set_..._handler().  Those give the one before back, so that the
 * new one can call it, and that it can be put back.  The handlers of the shorter dune_register_..._handler() are called
 * alike, and do not look at the argument.
 */
struct dune_handler {
	union {		/* NULL: none */
		void (*intr)(struct dune_tf *tf, void *arg);	/* of exceptions, interrupts, signals */
		void (*pgflt)(uintptr_t addr, uint64_t fec, struct dune_tf *tf, void *arg);
		void (*syscall)(struct dune_tf *tf, void *arg);
		long (*bare_syscall)(struct dune_tf *tf, void *arg);	/* if bare */
	};
	void *arg;
	bool bare;	/* see dune_register_bare_intr_handler(); a bare handler may call another bare one only */
};

/* ---- entering and leaving ---- */

/**
 * dune_init - prepare this process for Dune mode
 * @map_full: true: the page table maps the address space by entries of 1 GiB.  false ("precise"): it maps
 *	what the process has and nothing else, by pages of 4 KiB, 2 MiB and 1 GiB, with the permissions
 *	that the process has there.  dune-vm.h says what that means for its functions
 *
 * Opens /dev/dune and reserves libdune's own 1 GiB of address space.  A second call
 * does nothing.  All memory of the process is reachable either way, whenever it was mapped; in precise mode at
 * the price of some ten thousand instructions for the first touch of a new mapping (or of each further 2 MiB of it),
 * and of one descriptor for as long: libdune reads /proc/self/maps then.
 *
 * Return: 0, or -errno: -ENOENT no /dev/dune (the module is not loaded), -EACCES not
 * allowed to open it, -ENODEV the CPU lacks something that libdune needs,
 * -EPROTO the module speaks another version of the interface; precise also: -EEXIST something is at PAGEBASE.
 */
int dune_init(bool map_full);

/**
 * dune_enter - take the calling thread into Dune mode
 *
 * Return: 0, in ring 0 of the guest; 0 if the thread is there already; or -errno, in
 * user mode: -EBUSY in a process that an ordinary thread has forked while another one was changing page tables.
 */
int dune_enter(void);

/**
 * dune_leave - take the calling thread back into ordinary user mode
 *
 * Return: 0. The thread can enter again. -EBUSY, still in Dune mode: in a handler of an exception or of ring 3, which
 * has to return first (dune_ret_from_user(), longjmp()).
 */
int dune_leave(void);

/** dune_init_and_enter - dune_init() and dune_enter(); 0, or what failed */
DUNE_INLINE int dune_init_and_enter(void)
{
	int ret = dune_init(true);

	return ret ? ret : dune_enter();
}

/** dune_in_dune_mode - does the calling thread run in ring 0 of the guest? */
DUNE_INLINE bool dune_in_dune_mode(void)
{
	uint16_t cs;

	__asm__ volatile("movw %%cs, %0" : "=r"(cs));
	return (cs & 3) == 0;
}

/**
 * dune_threads_outside - how many threads of the process are not in Dune mode
 *
 * They see none of what a page table of the program's says, and their stores leave no dirty bit.  The number is that of
 * a moment: where threads begin or end meanwhile, those may count as outside.  Reads /proc/self/stat; anywhere.
 *
 * Return: the number, or -errno: -ENOENT no /proc.
 */
int dune_threads_outside(void);

/* Choices to be made before dune_enter(). */
#define DUNE_OPT_RUN_IOCTL	0	/* run the guest by ioctl(DUNE_RUN) instead of lseek() */
#define DUNE_OPT_STRICT		1	/* #GP for loads of descriptor tables and control registers */
#define DUNE_OPT_QUIET		2	/* no reason and no dump when an exception kills the process */

#define DUNE_OPT_SMEP		3	/* ring 0 cannot execute memory of ring 3: from the dune_jump_to_user() on */
#define DUNE_OPT_SMAP		4	/* nor read or write it, but between dune_user_access_begin() and _end() */
/* With DUNE_OPT_STRICT ring 0 cannot load CR4: dune_jump_to_user() is -EPERM with either of these two then. */

/**
 * dune_set_option - switch a DUNE_OPT_* on or off; they begin switched off
 *
 * Return: 0; -EINVAL: no such option; -ENODEV: the CPU does not have it.
 */
int dune_set_option(unsigned int option, bool on);

/**
 * dune_set_handler_stack - choose the size of the stack that handlers of exceptions run on
 * @size: bytes for each thread, a multiple of 4096, from 32 KiB to 128 KiB; 64 KiB where this is not called
 *
 * To be called before dune_init().  Handlers of exceptions in handlers run on the same stack, and about 4 KiB go for
 * each: what the CPU has interrupted, and vector registers.  Where less than 12 KiB is left the process dies with a
 * message, and so it does where a handler uses more than there is.
 *
 * Return: 0, or -errno: -EINVAL for another size; -EBUSY: dune_init() has been called.
 */
int dune_set_handler_stack(size_t size);

/* ---- exceptions ---- */

/**
 * dune_register_intr_handler - call @cb for exceptions and interrupts of @vec
 * @vec: 0 to 255
 * @cb: called in ring 0 with interrupts off, on a stack of libdune's (dune_set_handler_stack()); NULL to
 *	have the exception become the signal that it is outside Dune mode
 *
 * Vector registers are saved and restored around @cb.  An exception in
 * @cb is handled like any other.  For T_PGFLT see dune_register_pgflt_handler(), which also says
 * where the fault was.
 *
 * Return: 0, or -errno: -EINVAL; -ENOMEM: see dune_set_intr_handler().
 */
int dune_register_intr_handler(int vec, dune_intr_cb cb);

/**
 * dune_set_intr_handler - the same with an argument, and with what was there before
 * @vec: 0 to 255; to 31 if bare
 * @to: the new one; NULL: leave it
 * @old: what it was goes there; may be NULL
 *
 * A thread that is on its way to the old handler meanwhile still calls it, with its argument.
 *
 * Return: 0, or -errno: -EINVAL; -ENOMEM: the process has registered 2,048 different handlers and arguments.
 */
int dune_set_intr_handler(int vec, const struct dune_handler *to, struct dune_handler *old);

/*
 * For the handlers of the functions with "bare" in their name, and what these call: no vector registers.
 */
#define DUNE_BARE	__attribute__((target("general-regs-only")))

/**
 * dune_register_bare_intr_handler - the same for a handler that is content with less
 * @vec: 0 to 31
 * @cb: must be compiled without vector registers (DUNE_BARE, or the whole file with -mgeneral-regs-only), and so
 *	must be all that it calls: no function of the C library.  After an exception in ring 3, FS and GS base are
 *	ring 3's: it uses no thread-local storage, errno and stack protector included.  The stack is aligned to 8
 *	bytes.  It leaves tf->rip canonical
 *
 * Saves about 30 instructions, and memory accesses of some KiB: nothing is saved but the registers in @tf.
 *
 * Return: as dune_register_intr_handler().
 */
int dune_register_bare_intr_handler(int vec, dune_intr_cb cb);

/**
 * dune_register_pgflt_handler - call @cb for page faults
 * @cb: called like that of dune_register_intr_handler(), with the address, the error code of
 *	the CPU, and the registers; NULL to have the fault become a signal again
 *
 * Page faults are those of the program's own page-table entries, and those accesses to memory of the
 * process for which the kernel would send SIGSEGV or SIGBUS outside Dune mode.  What the kernel
 * resolves - pages that come on first touch, a growing stack, userfaultfd - never gets
 * here.  When @cb returns, the access is made again.
 *
 * Return: 0, or -ENOMEM as dune_set_intr_handler().
 */
int dune_register_pgflt_handler(dune_pgflt_cb cb);

/** dune_register_bare_pgflt_handler - the same for a handler as of dune_register_bare_intr_handler() */
int dune_register_bare_pgflt_handler(dune_pgflt_cb cb);

/** dune_set_pgflt_handler - the same with an argument, and with what was there before: dune_set_intr_handler() */
int dune_set_pgflt_handler(const struct dune_handler *to, struct dune_handler *old);

/**
 * dune_dump_trap_frame - print to standard error what @tf stands for
 *
 * The registers, the code at rip and the words on the stack as far as they can be read, what is mapped
 * at rip, the function, if the file has symbols, and its callers: by frame pointers, or what looks like one.  In any
 * context, also in a handler of page faults; what cannot be read is left out.
 */
void dune_dump_trap_frame(struct dune_tf *tf);

/* ---- signals ---- */

typedef void (*sighandler_t)(int);

#define DUNE_SIGNAL_INTR_BASE	200	/* old programs know it; signals use no vectors */

/**
 * dune_signal - signal(): run @cb in ring 0 when @sig comes
 * @cb: or SIG_DFL, SIG_IGN
 *
 * System calls that it interrupts are made again.  The C library's sigaction() does as well.
 *
 * Return: the last handler, or SIG_ERR.
 */
sighandler_t dune_signal(int sig, sighandler_t cb);

/**
 * dune_register_signal_handler - call @cb with the interrupted registers when @signum comes
 * @signum: 1 to 64
 * @cb: what it changes in the frame is loaded when it returns, but for cs and ss.  For a signal that has interrupted
 *	ring 3 the frame is ring 3's (tf->cs & 3), and @cb may call dune_ret_from_user().  NULL: the default action
 *
 * For the process, like all handlers of signals.
 *
 * Return: 0, or -errno: -EINVAL no such signal, or one that cannot be caught; -ENOMEM as dune_set_intr_handler().
 */
int dune_register_signal_handler(int signum, dune_intr_cb cb);

/**
 * dune_set_signal_handler - the same with an argument, and with what was there before
 * @to: not NULL, not bare
 * @old: may be NULL; there is none where the action of the signal was another
 *
 * Return: as dune_register_signal_handler(), and -ENOMEM as dune_set_intr_handler().
 */
int dune_set_signal_handler(int signum, const struct dune_handler *to, struct dune_handler *old);

/* ---- memory ---- */

/** dune_mmap - mmap(), without the C library; MAP_FAILED if it fails */
void *dune_mmap(void *addr, size_t length, int prot, int flags, int fd, long offset);

/* ---- system calls and messages, from both sides and without the C library ---- */

/** dune_syscall - system call @nr by the shortest way; the kernel's result, -errno included */
long dune_syscall(long nr, long a, long b, long c, long d, long e, long f);

/**
 * dune_printf - print to standard output, without buffering
 *
 * Knows d i u x X o c s p %, the flags - 0 + # and space, width and precision
 * (also as *), and the lengths hh h l ll z j t; no floating point.
 *
 * Return: the number of characters, or -errno.
 */
int dune_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** dune_die - end the process at once with exit status 1 */
void dune_die(void) __attribute__((noreturn));

/* ---- addresses ---- */

/**
 * dune_get_granule - where in guest-physical memory lies the 1 GiB that holds @va?
 *
 * Return: the guest-physical address at which this granule begins, -EFAULT if nothing is
 * mapped at @va, or another -errno.
 */
long dune_get_granule(const void *va);

/* ---- time ---- */

/** dune_get_ticks - the time-stamp counter */
DUNE_INLINE unsigned long dune_get_ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

#ifdef __cplusplus
}
#endif

/* With the first libdune's names and meanings. */
#ifdef DUNE_COMPAT
#include "libdune/dune.h"
#endif

#endif /* DUNE_H */
