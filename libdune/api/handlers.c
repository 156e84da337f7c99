// SPDX-License-Identifier: MIT
/*
 * Calls that the C library has as well, for programs that take them from libdune: signal() and mmap(), and signals as
 * interrupts.  In Dune mode and outside.
 *
 * HR3 and GR0.
 */
#include "guest/guest.h"
#include "host/signals.h"

#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define USER_CS		0x33
#define USER_SS		0x2b

static const struct handler *signal_handlers[NR_SIGNALS + 1];

/* Both have these words in these orders. */
static void tf_of_context(struct dune_tf *tf, const struct sigcontext *c)
{
	bool guest = dune_in_guest();

	*tf = (struct dune_tf){
		.rax = c->rax, .rbx = c->rbx, .rcx = c->rcx, .rdx = c->rdx,
		.rsi = c->rsi, .rdi = c->rdi, .rbp = c->rbp, .rsp = c->rsp,
		.r8 = c->r8, .r9 = c->r9, .r10 = c->r10, .r11 = c->r11,
		.r12 = c->r12, .r13 = c->r13, .r14 = c->r14, .r15 = c->r15,
		.rip = c->rip, .rflags = c->eflags, .err = c->err,
		.cs = guest ? SEL_KERNEL_CS : USER_CS,
		.ss = guest ? SEL_KERNEL_DS : USER_SS,
	};
}

static void context_of_tf(struct sigcontext *c, const struct dune_tf *tf)
{
	c->rax = tf->rax;
	c->rbx = tf->rbx;
	c->rcx = tf->rcx;
	c->rdx = tf->rdx;
	c->rsi = tf->rsi;
	c->rdi = tf->rdi;
	c->rbp = tf->rbp;
	c->rsp = tf->rsp;
	c->r8 = tf->r8;
	c->r9 = tf->r9;
	c->r10 = tf->r10;
	c->r11 = tf->r11;
	c->r12 = tf->r12;
	c->r13 = tf->r13;
	c->r14 = tf->r14;
	c->r15 = tf->r15;
	c->rip = tf->rip;
	c->eflags = tf->rflags;
}

PUBLIC struct dune_tf *dune_signal_user_frame(const void *context)
{
	const struct sigcontext *c = &((const struct ucontext *)context)->uc_mcontext;

	return c->rip == (unsigned long)__dune_ring3_resume ? (struct dune_tf *)c->rdi : NULL;
}

static void run_handler(int signo, siginfo_t *info, void *context)
{
	const struct handler *h = __atomic_load_n(&signal_handlers[signo], __ATOMIC_ACQUIRE);
	struct sigcontext *c = &((struct ucontext *)context)->uc_mcontext;
	void (*cb)(struct dune_tf *tf, void *arg);
	struct dune_tf tf;

	(void)info;
	if (!h)
		return;
	cb = (void (*)(struct dune_tf *, void *))h->cb;
	if (dune_signal_user_frame(context)) {
		cb(dune_signal_user_frame(context), h->arg);
		return;
	}
	tf_of_context(&tf, c);
	cb(&tf, h->arg);
	context_of_tf(c, &tf);
}

static int register_signal(int signum, const void *cb, void *arg, struct dune_handler *old)
{
	struct sigaction_kernel before, action = {
		.handler = cb ? (unsigned long)run_handler : (unsigned long)SIG_DFL,
		.flags = SA_SIGINFO | SA_RESTART | SA_RESTORER,
		.restorer = (unsigned long)__dune_sigreturn,
	};
	const struct handler *h = NULL, *last;
	long ret;

	if (signum < 1 || signum > NR_SIGNALS)
		return -EINVAL;
	last = __atomic_load_n(&signal_handlers[signum], __ATOMIC_ACQUIRE);
	if (cb) {
		h = __dune_handler_make(&(struct handler){ .arg = arg, .cb = cb });
		if (!h)
			return -ENOMEM;
		__atomic_store_n(&signal_handlers[signum], h, __ATOMIC_RELEASE);
	}
	ret = set_action(signum, &action, &before);
	if (ret)
		return ret;
	if (!cb)
		__atomic_store_n(&signal_handlers[signum], NULL, __ATOMIC_RELEASE);
	if (old) {
		*old = (struct dune_handler){ 0 };
		if (before.handler == (unsigned long)run_handler && last) {
			old->intr = (void (*)(struct dune_tf *, void *))last->cb;
			old->arg = last->arg;
		}
	}
	return 0;
}

PUBLIC int dune_set_signal_handler(int signum, const struct dune_handler *to, struct dune_handler *old)
{
	return !to || to->bare ? -EINVAL : register_signal(signum, to->intr, to->arg, old);
}

PUBLIC int dune_register_signal_handler(int signum, dune_intr_cb cb)
{
	return register_signal(signum, cb, NULL, NULL);
}

PUBLIC sighandler_t dune_signal(int sig, sighandler_t cb)
{
	const struct sigaction_kernel action = {
		.handler = (unsigned long)cb,
		.flags = SA_RESTART | SA_RESTORER,
		.restorer = (unsigned long)__dune_sigreturn,
	};
	struct sigaction_kernel old;

	if (set_action(sig, &action, &old))
		return (sighandler_t)-1;	/* SIG_ERR */
	return (sighandler_t)old.handler;
}

PUBLIC void *dune_mmap(void *addr, size_t length, int prot, int flags, int fd, long offset)
{
	long ret = dune_syscall6(__NR_mmap, addr, length, prot, flags, fd, offset);

	return is_error(ret) ? (void *)-1 : (void *)ret;
}
