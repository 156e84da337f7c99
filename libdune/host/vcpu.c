// SPDX-License-Identifier: MIT
/*
 * Threads in Dune mode, and their vCPUs.  HR3.
 */
#include <linux/mman.h>

#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/* NULL if there is no area or no memory left. */
struct dune_thread *__dune_thread_alloc(void)
{
	struct dune_thread *t = __dune_area_alloc();

	if (!t)
		return NULL;
	t->table = __dune_syscall_table;
	t->lstar_return = __dune_process.lstar_return;
	t->sighand = &__dune_sighand;
	t->altstack.flags = SS_DISABLE;
	__dune_fill_tss(t);
	return t;
}

static void set_run_call(struct dune_thread *t)
{
	bool by_ioctl = option(DUNE_OPT_RUN_IOCTL);

	t->run_nr = by_ioctl ? __NR_ioctl : __NR_lseek;
	t->run_arg0 = t->fd;
	t->run_arg1 = by_ioctl ? DUNE_RUN : (unsigned long)DUNE_SEEK_VCPU(t->index);
	t->run_arg2 = by_ioctl ? t->index : DUNE_SEEK_RUN;
}

/*
 * The page of the first thread of all: where it goes there is nothing, and if something came meanwhile it is not
 * replaced.
 */
static long map_first_run(struct dune_thread *t)
{
	long ret = dune_syscall6(__NR_mmap, t->run, PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED_NOREPLACE, t->fd, DUNE_MMAP_RUN(t->index));

	__dune_process.first_run_absent = false;
	return is_error(ret) ? ret : 0;
}

/* Make a vCPU for @t and map its page, which comes zeroed. */
HOT int __dune_vcpu_create(struct dune_thread *t)
{
	bool first = __dune_process.first_run_absent && (unsigned long)t->run == __dune_process.region + AREA_RUN;
	struct dune_vcpu_config config = {
		.flags = option(DUNE_OPT_STRICT) ? DUNE_VCPU_STRICT : 0,
		.cr3 = t->cr3,
		.gdt_base = (unsigned long)t->run->gdt,
		.gdt_limit = sizeof(t->run->gdt) - 1,
		.idt_base = __dune_process.region + REGION_IDT,
		.idt_limit = 256 * 16 - 1,
		.tss_base = (unsigned long)&t->tss,
		.tss_limit = sizeof(t->tss) - 1,
		.lstar = __dune_process.lstar,
		.run = first ? 0 : (unsigned long)t->run,
	};
	long ret;

	ret = own_syscall3(__NR_ioctl, t->fd, DUNE_CREATE_VCPU, &config);
	if (ret)
		return ret;
	t->pcid = 0;
	t->cr4_bits = 0;
	/* In the child of a fork it is its parent's. */
	if (t->index != config.index && __dune_has_vcpu(t))
		__dune_vcpu_given_up(t->index);
	__dune_vcpu_taken(config.index, t);
	t->index = config.index;
	if (first)
		ret = map_first_run(t);
	if (ret) {
		__dune_vcpu_destroy(t);
		return ret;
	}
	t->run->kernel_gs_base = session_gs(t->session);
	set_run_call(t);
	__dune_fill_gdt(t);
	return 0;
}

void __dune_vcpu_destroy(struct dune_thread *t)
{
	__dune_vcpu_given_up(t->index);
	own_syscall3(__NR_ioctl, t->fd, DUNE_DESTROY_VCPU, t->index);
}
